"""What `fuse` wants of a graph: results that are values of their own, and nodes in an order that suits."""

from __future__ import annotations

from kcompile.ir import cost
from kcompile.ir.graph import Graph, Value
from kcompile.ir.rewrite import rebuild
from kcompile.ir.types import Batch, Shape, numel


def materialise(graph: Graph) -> Graph:
    """Every result gets a value of its own that some op computes: inputs, variables, views of them
    and values that leave twice are copied."""
    base: dict[Value, Value] = {}
    for node in graph.live():
        if node.op.view:
            base[Value(node.id)] = base.get(node.inputs[0], node.inputs[0])
    new = rebuild(graph, lambda *_: None)
    taken: set[Value] = set()
    for results, fresh in ((graph.outputs, new.outputs), (graph.updates, new.updates)):
        for name, value in results.items():
            origin = base.get(value, value)
            if graph.nodes[origin.node].op.kind == "source" or origin in taken:
                fresh[name] = Value(new.add("copy", [fresh[name]]).id)
            taken.add(origin)
    return new


def arrange(graph: Graph) -> Graph:
    """The same graph in another order. Scalars that do not depend on inputs (a learning rate, a bias
    correction) come first, so that every epilogue can read them. Nodes that only results read (the loss) come
    last, where their operands are small enough to wait in memory, so that they fuse with the gradients."""
    nodes = graph.live()
    users = graph.users()
    early: set[int] = set()
    late: set[int] = set()
    data: set[int] = set()
    for node in nodes:
        if node.op.origin == "input" or any(v.node in data for v in node.inputs):
            data.add(node.id)
        elif node.op.kind == "source" or (
            all(v.node in early for v in node.inputs) and all(numel(t.shape) == 1 for t in node.types)
        ):
            early.add(node.id)
    for node in reversed(nodes):
        readers = [u for i in range(len(node.types)) for u, _ in users.get(Value(node.id, i), [])]
        if (
            node.id in data
            and node.inputs
            and node.op.kind in ("elementwise", "movement", "reduction")
            and all(u.id in late for u in readers)
            and not any(isinstance(numel(t.shape), Batch) for t in node.types)
            and all(_is_small(graph.type(v).shape) for v in node.inputs)
        ):
            late.add(node.id)
    return rebuild(
        graph, lambda *_: None, sorted(nodes, key=lambda node: (node.id not in early, node.id in late))
    )


def _is_small(shape: Shape) -> bool:
    size = numel(shape)
    return (size.multiple if isinstance(size, Batch) else size) <= cost.WAITING

"""What fusion wants of a graph beforehand: a buffer for each result, an order in which more nodes fuse."""

from __future__ import annotations

from collections.abc import Sequence

from kcompile.ir import cost
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.rewrite import rebuild
from kcompile.ir.types import Batch, Shape, numel


def insert_copies(graph: Graph) -> Graph:
    """Every result gets a value of its own that some op computes: inputs, variables, views of them
    and values that leave twice are copied."""
    nodes = graph.live()
    base: dict[Value, Value] = {}
    for node in nodes:
        if node.op.view:
            base[Value(node.id)] = base.get(node.inputs[0], node.inputs[0])
    new = rebuild(graph, lambda *_: None, nodes)
    taken: set[Value] = set()
    for results, fresh in ((graph.outputs, new.outputs), (graph.updates, new.updates)):
        for name, value in results.items():
            origin = base.get(value, value)
            if graph.nodes[origin.node].op.kind == "source" or origin in taken:
                fresh[name] = Value(new.add("copy", [fresh[name]]).id)
            taken.add(origin)
    return new


def schedule_nodes(graph: Graph) -> Graph:
    """The same graph in another order, in three parts: what can be prepared before the data are looked at, so
    that every epilogue can read it; the rest; and what can sink to the end, so that it fuses with the
    gradients."""
    nodes = graph.live()
    fed = _fed_by_inputs(nodes)
    first = _prepared(nodes, fed)
    last = _sinkable(graph, nodes, fed)
    return rebuild(
        graph, lambda *_: None, sorted(nodes, key=lambda node: (node.id not in first, node.id in last))
    )


def _fed_by_inputs(nodes: Sequence[Node]) -> set[int]:
    """The nodes that depend on inputs."""
    fed: set[int] = set()
    for node in nodes:
        if node.op.origin == "input" or any(v.node in fed for v in node.inputs):
            fed.add(node.id)
    return fed


def _prepared(nodes: Sequence[Node], fed: set[int]) -> set[int]:
    """Sources, and what is made of nothing else: scalars (a learning rate, a bias correction), and views."""
    prepared: set[int] = set()
    for node in nodes:
        if node.id not in fed and (
            node.op.kind == "source"
            or (
                all(v.node in prepared for v in node.inputs)
                and (node.op.view or all(numel(t.shape) == 1 for t in node.types))
            )
        ):
            prepared.add(node.id)
    return prepared


def _sinkable(graph: Graph, nodes: Sequence[Node], fed: set[int]) -> set[int]:
    """Nodes that only results read (the loss), and whose operands are small enough to wait in memory."""
    users = graph.users(nodes)
    sinkable: set[int] = set()
    for node in reversed(nodes):
        readers = [u for i in range(len(node.types)) for u, _ in users.get(Value(node.id, i), [])]
        if (
            node.id in fed
            and node.inputs
            and node.op.kind in ("elementwise", "movement", "reduction")
            and all(u.id in sinkable for u in readers)
            and not any(isinstance(numel(t.shape), Batch) for t in node.types)
            and all(_can_wait(graph.type(v).shape) for v in node.inputs)
        ):
            sinkable.add(node.id)
    return sinkable


def _can_wait(shape: Shape) -> bool:
    size = numel(shape)
    return (size.multiple if isinstance(size, Batch) else size) <= cost.WAITING

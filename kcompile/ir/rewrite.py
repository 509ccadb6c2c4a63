"""Tools to make a graph of another: what passes, and those who make scans, are written with. Most rebuild the
live part, node by node, with a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch
from kcompile_runtime.errors import KcompileError

Rule = Callable[[Graph, Node, tuple[Value, ...]], "Sequence[Value] | Tensor | None"]


def copy(graph: Graph, node: Node, inputs: Sequence[Value]) -> list[Value]:
    """The node again in another graph, with these inputs. It keeps its types, as passes keep values."""
    if node.op.origin == "input":
        return [graph.input(node.attrs["name"], node.attrs["type"])]
    if node.op.origin == "variable":
        return [graph.variable(node.attrs["name"], node.attrs["type"])]
    new = graph.add_again(node, inputs)
    return [Value(new.id, i) for i in range(len(node.types))]


class PassError(RuntimeError):
    """An error in a pass: a bug of ours. The message names the pass, and the node with its Keras layer."""


def rebuild(graph: Graph, rule: Rule, nodes: Sequence[Node] | None = None) -> Graph:
    """A new graph where each live node is replaced by `rule(new graph, node, new inputs)`, or copied
    where the rule gives None. Dead nodes disappear. nodes: the live ones in another order. Raises PassError,
    which names the node, for an error in the rule."""
    new = Graph(graph.name)
    table: dict[Value, Value] = {}
    for node in graph.live() if nodes is None else nodes:
        inputs = tuple([table[v] for v in node.inputs])
        new.current = node.sources
        try:
            results = rule(new, node, inputs)
        except (PassError, KcompileError, MemoryError):
            raise
        except Exception as error:
            where = f"node %{node.id} {node.op.name} ({node.label})"
            raise PassError(f"{where}: {type(error).__name__}: {error}") from error
        if results is None:
            results = copy(new, node, inputs)
        elif isinstance(results, Tensor):
            results = [results.value]
        for number, value in enumerate(results):
            table[Value(node.id, number)] = value
    new.current = ()
    new.outputs = {name: table[v] for name, v in graph.outputs.items()}
    new.updates = {name: table[v] for name, v in graph.updates.items()}
    return new


def in_regions(graph: Graph, rewrite: Callable[[Graph], Graph]) -> Graph:
    """The graph with `rewrite` done to every region; everything else is shared with the one before."""
    changed: dict[int, Node] = {}
    for node in graph.nodes.values():
        if node.regions:
            regions = tuple(map(rewrite, node.regions))
            if any(new is not old for new, old in zip(regions, node.regions)):
                changed[node.id] = replace(node, regions=regions)
    if not changed:
        return graph
    new = Graph(graph.name)
    new.nodes = {**graph.nodes, **changed}
    new.inputs, new.variables = dict(graph.inputs), dict(graph.variables)
    new.outputs, new.updates = dict(graph.outputs), dict(graph.updates)
    return new


def written_alike(a: Graph, b: Graph) -> bool:
    """Whether two graphs are the same node by node, with names, numbers and sources, and hold the same
    regions."""
    if a.name != b.name or len(a.nodes) != len(b.nodes):
        return False
    for x, y in (
        (a.inputs, b.inputs),
        (a.variables, b.variables),
        (a.outputs, b.outputs),
        (a.updates, b.updates),
    ):
        if list(x.items()) != list(y.items()):
            return False
    for m, n in zip(a.nodes.values(), b.nodes.values()):  # written out: passes ask this of every region
        if (m.id, m.op, m.inputs, m.types) != (n.id, n.op, n.inputs, n.types):
            return False
        if (m.attrs, m.sources, m.regions) != (n.attrs, n.sources, n.regions):
            return False
    return True


def literal(graph: Graph, value: Value) -> float | None:
    """The number that a scalar constant holds, else None."""
    node = graph.nodes[value.node]
    if node.op.origin != "constant" or node.attrs["value"].shape != ():
        return None
    number: float = node.attrs["value"].array.item()
    return number


def weights_only(graph: Graph, nodes: Iterable[Node]) -> set[int]:
    """The nodes that depend on constants and on variables that the graph does not update, not on
    chance nor on the batch."""
    found: set[int] = set()
    for node in nodes:
        if any(isinstance(d, Batch) for t in node.types for d in t.shape):
            continue
        if node.op.origin == "variable" and node.attrs["name"] in graph.updates:
            continue
        if node.op.origin in ("variable", "constant") or (
            node.inputs and node.op.kind != "random" and all(v.node in found for v in node.inputs)
        ):
            found.add(node.id)
    return found

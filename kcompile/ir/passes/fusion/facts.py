"""What fusion asks of a graph again and again, found once. Nothing here changes while groups are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kcompile.ir import cost
from kcompile.ir.domain import Domain
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.types import Shape, numel


@dataclass(frozen=True, eq=False)
class Facts:
    """A graph, read for fusion.

    row_passes: see `passes.fuse`. nodes: the live ones in order. users: for each value the nodes that read
    it, with the slot. results: the values that leave the graph. stored: the nodes that these come from, as
    they are or as views. inlined: nodes that every group computes which reads them. rows: nodes that depend
    on a row reduction, with the domain of that.
    """

    graph: Graph
    row_passes: bool
    nodes: Sequence[Node]
    users: Mapping[Value, Sequence[tuple[Node, int]]]
    results: frozenset[Value]
    stored: frozenset[int]
    inlined: frozenset[int]
    rows: Mapping[int, Domain]

    @classmethod
    def of(cls, graph: Graph, row_passes: bool) -> Facts:
        nodes = graph.live()
        results = frozenset(graph.results())
        return cls(
            graph,
            row_passes,
            nodes,
            graph.users(nodes),
            results,
            _stored(graph, results),
            _inlined(nodes),
            _rows(graph, nodes),
        )

    def readers(self, value: Value) -> list[Node]:
        return [user for user, _ in self.users.get(value, ())]

    def shape(self, value: Value) -> Shape:
        return self.graph.type(value).shape

    def is_inlined(self, node: Node) -> bool:
        return node.id in self.inlined

    def is_result(self, node: Node) -> bool:
        return any(v in self.results for v in values_of(node))

    def is_cheap(self, node: Node) -> bool:
        """Whether computing a node again costs no more memory traffic than reading it: one operand
        of its size, the others small."""
        if node.op.kind != "elementwise" or node.op.expensive:
            return False
        size = numel(node.types[0].shape)
        large = {v for v in node.inputs if numel(self.shape(v)) == size}
        return len(large) <= 1 and size != 1

    def base(self, value: Value) -> Value:
        """The value in memory that a view shows."""
        return self.graph.shown(value)

    def operands(self, ids: Iterable[int]) -> list[Value]:
        """The values that these nodes read from outside, in a fixed order."""
        inside = set(ids)
        seen: dict[Value, None] = {}
        for id in sorted(inside):
            for value in self.graph.nodes[id].inputs:
                if value.node not in inside:
                    seen[value] = None
        return list(seen)


def values_of(node: Node) -> list[Value]:
    return [Value(node.id, i) for i in range(len(node.types))]


def is_scalar_constant(node: Node) -> bool:
    return node.op.origin == "constant" and node.types[0].shape == ()


def is_anchor(node: Node) -> bool:
    """Whether a node reads its operands from memory, and is the anchor of its group: a contraction, or a
    scan, whose region is fused by itself."""
    return node.op.kind == "contraction" or node.op.loop


def _stored(graph: Graph, values: Iterable[Value]) -> frozenset[int]:
    """The nodes of these values, and of those that they are views of."""
    stored: set[int] = set()
    for value in values:
        stored.add(value.node)
        while graph.nodes[value.node].op.view:
            value = graph.nodes[value.node].inputs[0]
            stored.add(value.node)
    return frozenset(stored)


def _inlined(nodes: Iterable[Node]) -> frozenset[int]:
    """Nodes that cost nothing: comparisons, broadcasts, constants, and scalars made of such. Of a long
    chain of them some are computed once."""
    chains: dict[int, int] = {}  # of each, how many in a chain
    for node in nodes:
        chain = 1 + max((chains.get(v.node, 0) for v in node.inputs), default=0)
        if chain <= cost.INLINED_CHAIN and _costs_nothing(node, chains):
            chains[node.id] = chain
    return frozenset(chains)


def _costs_nothing(node: Node, inlined: Mapping[int, int]) -> bool:
    if node.op.inlined or is_scalar_constant(node):
        return True
    if node.op.kind != "elementwise" or node.op.expensive:
        return False
    (type,) = node.types
    return type.dtype == "bool" or (type.shape == () and all(v.node in inlined for v in node.inputs))


def _rows(graph: Graph, nodes: Iterable[Node]) -> dict[int, Domain]:
    """Nodes that depend on a row reduction, with its domain: they want to be computed row by row, and not in
    a group that goes down the columns."""
    rows: dict[int, Domain] = {}
    for node in nodes:
        if node.op.kind == "reduction":
            domain = Domain.of_reduction(graph, node)
            if domain.is_row_reduction:
                rows[node.id] = domain
        elif node.op.kind == "elementwise" or node.op.view:
            domain_of_operand = next((rows[v.node] for v in node.inputs if v.node in rows), None)
            if domain_of_operand is not None:
                rows[node.id] = domain_of_operand
    return rows

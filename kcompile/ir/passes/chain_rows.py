"""chain_rows: attention's three groups become one, so that nobody needs all its scores at once.

    scores = q @ k'      weights = softmax(scores)      result = weights @ v        for each sample and head

A row of the scores gives one row of the weights, and this one of the result. Where nobody else reads what
lies between, the three are a group of groups: one kernel, which does them for some rows at a time. Runs
after `fuse`, where graphs are frozen: a training step keeps the weights for its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kcompile.ir.contraction import Contraction
from kcompile.ir.domain import domain_of, only_ones
from kcompile.ir.graph import Graph, Node, Source, Value
from kcompile.ir.rewrite import rebuild
from kcompile.ir.types import Dim, numel


@dataclass(frozen=True)
class _Chain:
    """Groups that follow one another, and the views between them. operands: values from outside."""

    groups: tuple[Node, ...]
    views: tuple[Node, ...]
    operands: tuple[Value, ...]


def chain_rows(graph: Graph) -> Graph:
    """See the module. Groups that are now part of another are gone where nobody reads them."""
    chains = {chain.groups[-1].id: chain for chain in _chains(graph)}
    if not chains:
        return graph
    table: dict[Value, Value] = {}

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
        table.update(zip(node.inputs, inputs))
        chain = chains.get(node.id)
        if chain is None:
            return None
        body = Graph("chain")
        inner = {v: body.input(str(i), graph.type(v)) for i, v in enumerate(chain.operands)}
        for m in sorted((*chain.groups, *chain.views), key=lambda m: m.id):
            with body.source(*m.sources):
                made = body.add_again(m, [inner[v] for v in m.inputs])
            inner[Value(m.id)] = Value(made.id)
        body.outputs = {"0": inner[Value(node.id)]}
        sources: dict[Source, None] = dict.fromkeys(s for m in chain.groups for s in m.sources)
        with new.source(*sources):
            made = new.add("group", [table[v] for v in chain.operands], regions=(body,))
        return [Value(made.id)]

    return rebuild(graph, rule)


def _chains(graph: Graph) -> list[_Chain]:
    nodes = graph.live()
    users = graph.users(nodes)
    results = set(graph.results())
    found = []
    for last in nodes:
        spec = _product(last)
        if spec is None:
            continue
        views: list[Node] = []
        between = _only_maker(graph, last.inputs[_operand(last, spec)], users, results, views)
        if between is None or not _goes_by_rows(between):
            continue
        before = [_only_maker(graph, v, users, results, []) for v in between.inputs]
        firsts = [(slot, m) for slot, m in enumerate(before) if m is not None and _product(m) is not None]
        for slot, first in firsts:
            own = _product(first)
            assert first is not None and own is not None
            if _fits(graph, first, own, between, slot, spec):
                _only_maker(graph, between.inputs[slot], users, results, views)
                groups = (first, between, last)
                inside = {Value(m.id) for m in (*groups, *views)}
                operands = dict.fromkeys(v for m in groups for v in m.inputs if v not in inside)
                found.append(_Chain(groups, tuple(views), tuple(operands)))
                break
    return found


def _product(node: Node) -> Contraction | None:
    """The maps of a group's product for each sample, which is its only one; None where it has none."""
    if node.op.kind != "composite" or node.op.loop or len(node.types) != 1:
        return None
    anchors = [m for m in node.body.nodes.values() if m.op.kind == "contraction"]
    specs = [m.attrs["spec"] for m in anchors if m.op.contraction is not None and "spec" in m.attrs]
    return specs[0] if len(specs) == 1 and specs[0].g else None


def _operand(group: Node, spec: Contraction) -> int:
    """Which operand of a group is A of its product."""
    assert group.anchor is not None
    names = [v.node for v in group.body.inputs.values()]
    return names.index(group.anchor.inputs[spec.a.operand].node)


def _only_maker(
    graph: Graph,
    value: Value,
    users: dict[Value, list[tuple[Node, int]]],
    results: set[Value],
    views: list[Node],
) -> Node | None:
    """The group whose result a value is, or a view of it, where nobody else reads it. views: gets these."""
    passed: list[Node] = []
    while len(users[value]) == 1 and value not in results:
        node = graph.nodes[value.node]
        if node.op.kind == "composite":
            views += passed
            return node if not node.op.loop else None
        if not node.op.view:
            return None
        passed.append(node)
        value = node.inputs[0]
    return None


def _goes_by_rows(group: Node) -> bool:
    """Whether a group reduces rows and gives one result of their elements, each of which depends on its row
    alone."""
    body = group.body
    domain = domain_of(body)
    last = (len(domain.shape) - 1,)
    if len(group.types) != 1 or group.types[0].shape != domain.shape or domain.axes != last:
        return False
    plain = ("elementwise", "source", "reduction")
    return all(
        m.op.kind in plain or m.op.broadcasts or only_ones(m, body.type(m.inputs[0]).shape)
        for m in body.nodes.values()
    )


def _fits(graph: Graph, first: Node, own: Contraction, between: Node, slot: int, after: Contraction) -> bool:
    """Whether the rows of a product are those of what lies between, and these those of the last product."""
    shape = graph.type(between.inputs[slot]).shape
    types = {first.types[0].dtype, between.types[0].dtype}
    return (
        len(types) == 1
        and numel(shape) == numel(between.types[0].shape)
        and own.shape[-1] == shape[-1] == between.types[0].shape[-1]
        and numel(own.g) == numel(after.g)
        and numel(own.m) == numel(after.m)
        and numel(own.j) == numel(after.k)
        and 1 not in (numel(own.j), numel(own.m))
        and _in_order(after)
    )


def _in_order(spec: Contraction) -> bool:
    """Whether A lies in memory as rows of all samples, one after the other."""
    sizes = spec.variables
    m, k, j = len(spec.m), len(spec.k), len(spec.j)
    order = (*range(m + k + j, len(sizes)), *range(m + k))
    return _counted(spec, sizes) == [v for v in order if sizes[v] != 1]


def _counted(spec: Contraction, sizes: Sequence[Dim]) -> list[int]:
    """The variables of A's coordinates, from the outermost in; they count up as their sizes say, or the list
    ends with -1."""
    found = []
    for affine in spec.a.index:
        step = 1
        for v, c in reversed(affine.terms):
            if c != step or affine.offset or affine.divisor != 1:
                return [-1]
            size = sizes[v]
            step = step * size if isinstance(size, int) else 0
        found += [v for v, _ in affine.terms if sizes[v] != 1]
    return found

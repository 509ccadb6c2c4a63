"""In how many passes a kernel goes over a row of its domain, and what each pass does.

Enters: a group's body, its `Domain`, and where its results are stored. Leaves: a list of `RowPass`. A
reduction needs a pass of its own after the reductions that it depends on: softmax takes the maximum of a
row in the first pass, the sum of exponentials in the second, and divides in the third.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kcompile.codegen import cost
from kcompile.codegen.loops import Buffer
from kcompile.ir.domain import Domain
from kcompile.ir.graph import Graph, Node, Value

Results = Sequence[tuple[Value, Buffer]]


@dataclass
class RowPass:
    """What is done in one pass over a row.

    reductions: computed in it. results: element-wise values stored in it. cached: element-wise values that
    later passes read from memory. per_row: per-row values that are known at its end.
    """

    reductions: list[Node] = field(default_factory=list)
    results: list[tuple[Value, Buffer]] = field(default_factory=list)
    cached: list[Node] = field(default_factory=list)
    per_row: list[Node] = field(default_factory=list)


def plan_passes(
    body: Graph, domain: Domain, results: Results, weights: Mapping[int, int], row_vectors: bool, caches: bool
) -> list[RowPass]:
    """The passes, at least one. row_vectors: vectors lie along the row, so a per-row value is one number
    for a whole vector. caches: element-wise values may be cached from one pass to another."""
    nodes = body.live()
    first = first_passes(nodes, domain)
    per_row = [m for m in nodes if row_vectors and _is_per_row(m, nodes, domain)]
    passes = [RowPass() for _ in range(max(first.values(), default=0) + 1)]
    for value, buffer in results:
        if body.type(value).shape == domain.shape:
            passes[first[value.node]].results.append((value, buffer))
    for m in nodes:
        if reduces(m, domain):
            passes[first[m.id] - 1].reductions.append(m)
    for m in per_row:
        passes[max(first[m.id] - 1, 0)].per_row.append(m)
    if row_vectors and caches:
        for m in _worth_caching(nodes, domain, first, {m.id for m in per_row}, weights):
            passes[first[m.id]].cached.append(m)
    while len(passes) > 1 and not (passes[-1].reductions or passes[-1].results):
        passes.pop()
    return passes


def reduces(m: Node, domain: Domain) -> bool:
    """Whether a node is a reduction over the reduced axes of the domain."""
    return m.op.kind == "reduction" and bool(domain.axes)


def first_passes(nodes: Sequence[Node], domain: Domain) -> dict[int, int]:
    """For each node, by its id, the first pass in which its elements can be computed; for a reduction, the
    first pass that can read its result."""
    first: dict[int, int] = {}
    for m in nodes:
        first[m.id] = max((first[v.node] for v in m.inputs), default=0) + reduces(m, domain)
    return first


def _is_per_row(m: Node, nodes: Sequence[Node], domain: Domain) -> bool:
    """Whether a node is a per-row value for everything that reads it."""
    if m.op.kind == "source":
        return False
    shape = m.types[0].shape
    return reduces(m, domain) or (
        shape in (domain.reduced_shape, domain.keepdims_shape)
        and all(
            domain.reads_per_row(shape, user) for user in nodes if any(v.node == m.id for v in user.inputs)
        )
    )


def _worth_caching(
    nodes: Sequence[Node],
    domain: Domain,
    first: Mapping[int, int],
    per_row: set[int],
    weights: Mapping[int, int],
) -> list[Node]:
    """Element-wise values that a later pass reads and that cost more to compute again than to load."""
    last: dict[int, int] = {}
    for m in reversed(nodes):
        for v in m.inputs:
            last[v.node] = max(last.get(v.node, 0), first[m.id] - reduces(m, domain))
    total: dict[int, int] = {}
    cached = []
    for m in nodes:
        again = weights.get(m.id, 0) + sum(total[v.node] for v in m.inputs)
        total[m.id] = 0 if m.id in per_row else again
        elementwise = m.types[0].shape == domain.shape and m.op.kind != "source"
        if elementwise and last.get(m.id, 0) > first[m.id] and total[m.id] > cost.REPEATED:
            cached.append(m)
            total[m.id] = 1
    return cached

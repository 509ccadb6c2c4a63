"""Stage 2 of fusion: every node that no epilogue has finds its group, from the last node to the first.

When a node's turn comes, all its readers have their groups. The ways are tried in the order of `WAYS`. A
node joins the earliest of the groups that read it, so the order of groups holds by construction. What one
node finds depends on all that come after it, so this is one walk and not one for each way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from kcompile.ir import cost
from kcompile.ir.domain import Domain, only_ones
from kcompile.ir.graph import Node
from kcompile.ir.passes.fusion import rules
from kcompile.ir.passes.fusion.drafts import Draft, Drafts
from kcompile.ir.passes.fusion.facts import Facts, values_of
from kcompile.ir.passes.fusion.plan import FusionPlan
from kcompile.ir.types import Shape, numel


def fuse_producers(plan: FusionPlan) -> FusionPlan:
    """A plan in which every node that must be computed is in some group."""
    drafts = Drafts(plan.facts, plan.groups)
    for node in reversed(plan.facts.nodes):
        if node.op.in_memory or node.id in drafts.owned:
            continue
        if node.op.view:
            _show(drafts, node)
            continue
        demand = _demand(drafts, node)
        if demand.readers or demand.is_stored:
            next(way for way in WAYS if way(drafts, demand))
    return replace(plan, groups=tuple([draft.frozen() for draft in drafts.groups]))


@dataclass(frozen=True)
class Demand:
    """What a node is wanted for. readers: groups that compute with it. needed_at: the place of the first
    group that reads it in memory. is_stored: whether it must be in memory whoever computes it."""

    node: Node
    readers: list[Draft]
    needed_at: float
    is_stored: bool


def _demand(drafts: Drafts, node: Node) -> Demand:
    readers = _readers(drafts, node)
    in_memory = [*drafts.view_readers.get(node.id, ()), *(draft for draft in readers if draft.is_anchored)]
    needed_at = min([draft.place for draft in in_memory], default=math.inf)
    return Demand(node, readers, needed_at, needed_at < math.inf or node.id in drafts.facts.stored)


def _readers(drafts: Drafts, node: Node) -> list[Draft]:
    """The groups that compute with a node and do not rematerialise it."""
    return [draft for draft in drafts.readers.get(node.id, ()) if node.id not in draft.rematerialised]


def _show(drafts: Drafts, node: Node) -> None:
    """A reshape that only moves ones is no more than an index, and is rematerialised; the result of another
    is read as a view of its operand in memory."""
    operand = node.inputs[0]
    in_memory = list(drafts.view_readers.get(node.id, ()))
    is_index = only_ones(node, drafts.facts.shape(operand))
    for draft in _readers(drafts, node):
        if is_index and not draft.is_anchored and draft.has_room(node):
            drafts.rematerialise(draft, node)
        else:
            in_memory.append(draft)
    drafts.view_readers.setdefault(operand.node, []).extend(in_memory)


# ---------------------------------------------------------------- ways


def run_scan(drafts: Drafts, demand: Demand) -> bool:
    """A scan is a kernel, or several, by itself."""
    return demand.node.op.loop and begin_group(drafts, demand)


def rematerialise(drafts: Drafts, demand: Demand) -> bool:
    """Every group that reads a node computes it, where it costs nothing, or less than to read it."""
    if demand.is_stored or not all(draft.has_room(demand.node) for draft in demand.readers):
        return False
    if not drafts.facts.is_inlined(demand.node) and not _repeats_cheaply(drafts, demand):
        return False
    for draft in demand.readers:
        drafts.rematerialise(draft, demand.node)
    return True


def join_window(drafts: Drafts, demand: Demand) -> bool:
    """Sibling fusion of windows: one moves beside another on the same operand."""
    node = demand.node
    if node.op.kind != "window" or not drafts.facts.row_passes:
        return False
    for draft in drafts.readers.get(node.inputs[0].node, ()):
        if len(draft.members) == 1 and rules.is_same_window(draft.root, node):
            draft.place = node.id
            drafts.take(draft, node)
            return True
    return False


def join_consumer(drafts: Drafts, demand: Demand) -> bool:
    """Producer-consumer fusion: a node moves into the first group that reads it, or into one that can run as
    early as the first."""
    node, facts = demand.node, drafts.facts
    stored = demand.is_stored or len(demand.readers) > 1
    for draft in sorted(demand.readers, key=lambda draft: draft.place):
        if draft in drafts.view_readers.get(node.id, ()):  # it reads the node from memory
            continue
        domain = rules.domain_with(facts, draft, node, stored)
        if domain is None or (rules.goes_down_columns(domain) and rules.is_in_rows(facts, node)):
            continue
        first = min([demand.needed_at, *(other.place for other in demand.readers if other is not draft)])
        if draft.place > first:
            if not rules.could_run_at(facts, draft, node):
                continue
            draft.place = node.id
        draft.domain = domain
        drafts.take(draft, node)
        return True
    return False


def join_sibling(drafts: Drafts, demand: Demand) -> bool:
    """Sibling fusion: a node moves into a group that does not read it, but reads what it reads, and runs
    before all that read the node."""
    node, facts = demand.node, drafts.facts
    if node.op.kind not in ("elementwise", "reduction"):
        return False
    shape = node.types[0].shape if node.op.kind == "elementwise" else facts.shape(node.inputs[0])
    if numel(shape) == 1:
        return False
    first = min([demand.needed_at, *(draft.place for draft in demand.readers)])
    for draft in _readers_of_large_operands(drafts, node, shape):
        if draft.place >= first or draft.domain is None or node.id in draft.members:
            continue
        domain = rules.domain_with(facts, draft, node, stored=True)
        if domain is not None and domain.shape == shape:
            draft.domain = domain
            drafts.take(draft, node)
            return True
    return False


def begin_group(drafts: Drafts, demand: Demand) -> bool:
    """A node is the root of a group."""
    node = demand.node
    drafts.take(drafts.begin(node, _domain_of_root(drafts.facts, node), node.id), node)
    return True


WAYS: tuple[Callable[[Drafts, Demand], bool], ...] = (
    run_scan,
    rematerialise,
    join_window,
    join_consumer,
    join_sibling,
    begin_group,
)

# ---------------------------------------------------------------- what the ways ask


def _repeats_cheaply(drafts: Drafts, demand: Demand) -> bool:
    """Whether several groups each compute a node for themselves. Not one that is concatenated: it can be
    written where it will lie."""
    node, facts = demand.node, drafts.facts
    users = [user for value in values_of(node) for user in facts.readers(value)]
    chain = 1 + max((drafts.chains.get(user.id, 0) for user in users), default=0)
    if (
        len(demand.readers) < 2
        or not facts.is_cheap(node)
        or chain > cost.REMATERIALISED_CHAIN
        or any(user.op.joins for user in users)
        or any(draft.domain is None or rules.is_under_window(facts, draft, node) for draft in demand.readers)
    ):
        return False
    drafts.chains[node.id] = chain
    return True


def _readers_of_large_operands(drafts: Drafts, node: Node, shape: Shape) -> Iterator[Draft]:
    """The groups that read an operand of this shape that a node reads, itself or by way of one other
    elementwise node."""
    facts = drafts.facts
    near = [v for v in node.inputs if facts.shape(v) == shape]
    between = [facts.graph.nodes[v.node] for v in near]
    far = [
        v
        for other in between
        if other.op.kind == "elementwise"
        for v in other.inputs
        if facts.shape(v) == shape
    ]
    for value in dict.fromkeys([*near, *far]):
        yield from drafts.readers.get(value.node, ())


def _domain_of_root(facts: Facts, node: Node) -> Domain | None:
    """What a group runs over that has this node alone; None where no other can join."""
    if node.op.kind == "reduction":
        return Domain.of_reduction(facts.graph, node)
    if node.op.kind == "scatter":
        return Domain(facts.shape(node.inputs[-2:][0]))  # its (last) values
    if node.op.kind in ("window", "composite") or node.op.name == "pack_panels":
        return None
    return Domain(node.types[0].shape)

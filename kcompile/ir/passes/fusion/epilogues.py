"""Stage 1 of fusion: a contraction takes the elementwise nodes that follow it as its epilogue.

Bias, activation, residual addition, an optimizer's update of the weights whose gradient it is. The group runs
at the place of the contraction, so everything else that it reads must come earlier in the order of the graph:
no cycle can arise, and no search for one is needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace

from kcompile.ir import cost
from kcompile.ir.domain import is_column, is_row
from kcompile.ir.graph import Node, Value
from kcompile.ir.passes.fusion.facts import Facts, values_of
from kcompile.ir.passes.fusion.plan import FusedGroup, FusionPlan
from kcompile.ir.types import Shape, numel

_STEPS = 3  # rematerialised nodes between an operand of the epilogue and memory


def fuse_epilogues(plan: FusionPlan) -> FusionPlan:
    """A group for each contraction. A node goes to the first contraction that can take it."""
    taken = {id for group in plan.groups for id in group.members}
    groups = list(plan.groups)
    for node in plan.facts.nodes:
        if node.op.kind == "contraction":
            group = _pruned(plan.facts, _grown(plan.facts, node, taken))
            groups.append(group)
            taken.update(set(group.members).difference(group.rematerialised))
    return replace(plan, groups=tuple(groups))


def _grown(facts: Facts, anchor: Node, taken: Collection[int]) -> FusedGroup:
    """The contraction with all that can follow it, breadth first."""
    made = _Epilogue(facts, anchor, taken, {anchor.id}, set())
    depth = {anchor.id: 1}
    frontier = deque([anchor])
    while frontier:
        for user in facts.readers(Value(frontier.popleft().id)):
            if user.id in made.members or user.id in taken:
                continue
            chain = 1 + max(depth.get(v.node, 0) for v in user.inputs)
            if chain > cost.GROUP_DEPTH or len(made.members) + len(made.rematerialised) > cost.GROUP_NODES:
                continue
            needed = made.needed_by(user)
            if needed is not None:
                depth[user.id] = chain
                made.members.add(user.id)
                made.rematerialised |= needed
                frontier.append(user)
    return FusedGroup(anchor.id, anchor.id, tuple(sorted(made.members)), tuple(sorted(made.rematerialised)))


@dataclass
class _Epilogue:
    """An epilogue while it grows. taken: members of the groups before it."""

    facts: Facts
    anchor: Node
    taken: Collection[int]
    members: set[int]
    rematerialised: set[int]

    def needed_by(self, user: Node) -> set[int] | None:
        """What must be rematerialised for a node to join, None where it cannot."""
        if not _computes_elements_of(user, self.anchor):
            return None
        return self._all_needed(user, _STEPS)

    def _all_needed(self, node: Node, steps: int) -> set[int] | None:
        """What must be rematerialised for all operands of a node."""
        needed: set[int] = set()
        for value in node.inputs:
            if value.node not in self.members:
                more = self._needed_for(value, steps)
                if more is None:
                    return None
                needed |= more
        return needed

    def _needed_for(self, value: Value, steps: int) -> set[int] | None:
        """How the epilogue gets an operand: by rematerialising what is cheap, or from memory, with nothing to
        rematerialise; None where neither is possible."""
        node = self.facts.graph.nodes[value.node]
        if not _broadcasts_to_output(self.facts.shape(value), self.anchor):
            return None
        if steps and self._may_rematerialise(node, value):
            needed = self._all_needed(node, steps - 1)
            if needed is not None:
                return {node.id, *needed}
        return set() if self._is_in_memory(node) else None

    def _may_rematerialise(self, node: Node, value: Value) -> bool:
        """Whether a node is computed anew in the epilogue: it costs nothing, or it is a cheap one that only
        the epilogue reads and that is not there yet when the contraction runs."""
        mine = (
            node.op.kind == "elementwise"
            and not node.op.expensive
            and len(self.facts.users[value]) == 1
            and value not in self.facts.results
            and node.id > self.anchor.id
        )
        return (
            (self.facts.is_inlined(node) or mine)
            and node.id not in self.taken
            and node.op.kind in ("elementwise", "source", "movement")
            and node.op.origin != "index"
        )

    def _is_in_memory(self, node: Node) -> bool:
        """Whether a value is in memory when the contraction runs: it comes with the call, or it is computed
        earlier and stored."""
        return node.op.in_memory or (node.id < self.anchor.id and not self.facts.is_inlined(node))


def _computes_elements_of(user: Node, anchor: Node) -> bool:
    """Whether a node gives one number for each element of the contraction, which its kernel can store."""
    (type, *_) = user.types
    return user.op.kind == "elementwise" and type.shape == anchor.types[0].shape and type.dtype != "bool"


def _broadcasts_to_output(shape: Shape, anchor: Node) -> bool:
    """Whether an epilogue can read a value of this shape: one number, one for each column (a bias), for each
    row, or for each element."""
    spec = anchor.attrs["spec"]
    rows, columns = spec.rows, spec.columns
    return (
        numel(shape) == 1
        or shape == rows + columns
        or is_column(shape, columns)
        or is_row(shape, rows, columns)
    )


def _pruned(facts: Facts, group: FusedGroup) -> FusedGroup:
    """The group without members that cost memory: further results made of results, which the elementwise
    nodes and reductions that read them can compute as well."""
    members = set(group.members)
    for id in reversed(group.members):
        node = facts.graph.nodes[id]
        if id != group.root and not node.op.expensive and _is_left_to_readers(facts, group, members, node):
            members.discard(id)
    return replace(group, members=tuple(id for id in group.members if id in members))


def _is_left_to_readers(facts: Facts, group: FusedGroup, members: Collection[int], node: Node) -> bool:
    """Whether all readers of a node are outside and can compute it from values that are stored anyway."""
    value = Value(node.id)
    if value in facts.results:
        return False
    for user in facts.readers(value):
        inside = user.id in members or user.id in group.rematerialised
        if inside or user.op.kind not in ("elementwise", "reduction"):
            return False
    return all(_is_stored(facts, members, v.node) for v in node.inputs if v.node in members)


def _is_stored(facts: Facts, members: Collection[int], id: int) -> bool:
    """Whether some value of a member leaves the group."""
    node = facts.graph.nodes[id]
    readers = [user for value in values_of(node) for user in facts.readers(value)]
    return facts.is_result(node) or any(user.id not in members for user in readers)

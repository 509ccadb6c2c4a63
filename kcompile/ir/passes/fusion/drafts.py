"""The groups of stage 2 while they grow, and who reads what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kcompile.ir import cost
from kcompile.ir.domain import Domain
from kcompile.ir.graph import Node
from kcompile.ir.passes.fusion.facts import Facts, is_anchor
from kcompile.ir.passes.fusion.plan import FusedGroup


@dataclass(eq=False)
class Draft:
    """A group that grows: see `FusedGroup`.

    shifted: nodes of which some reader in the group reads other elements than its own (a shifted window,
    a transpose). heights: for each node that is computed or read here, the length of the longest chain from
    it to a result.
    """

    root: Node
    place: int
    domain: Domain | None = None
    members: set[int] = field(default_factory=set)
    rematerialised: set[int] = field(default_factory=set)
    shifted: set[int] = field(default_factory=set)
    heights: dict[int, int] = field(default_factory=dict)

    @property
    def is_anchored(self) -> bool:
        """Whether the group reads its operands from memory."""
        return is_anchor(self.root)

    def computes(self, id: int) -> bool:
        return id in self.members or id in self.rematerialised

    def has_room(self, node: Node) -> bool:
        """Whether a group may take a node, by its budget: code is made by a walk of bounded depth."""
        return len(self.heights) < cost.GROUP_NODES and self.heights.get(node.id, 1) <= cost.GROUP_DEPTH

    def compute(self, node: Node) -> None:
        """Note what follows from computing a node here."""
        shifts = node.id in self.shifted or _reads_other_places(node)
        height = self.heights.setdefault(node.id, 1)
        for value in node.inputs:
            self.heights[value.node] = max(self.heights.get(value.node, 0), height + 1)
            if shifts:
                self.shifted.add(value.node)

    def frozen(self) -> FusedGroup:
        return FusedGroup(
            self.root.id,
            self.place,
            tuple(sorted(self.members)),
            tuple(sorted(self.rematerialised)),
            self.domain,
        )


def _reads_other_places(node: Node) -> bool:
    """Whether a node reads elements at other places than the one that it computes."""
    return node.op.kind == "window" or (
        node.op.kind == "movement" and not (node.op.view or node.op.broadcasts)
    )


class Drafts:
    """All groups of a graph, from its last node to its first.

    owned: nodes that are a member of some group and of that alone. readers: node -> groups that compute with
    it. view_readers: node -> groups that read a view of it in memory. chains: of nodes that several groups
    compute, how many of these in a row.
    """

    def __init__(self, facts: Facts, groups: Iterable[FusedGroup]) -> None:
        self.facts = facts
        self.groups: list[Draft] = []
        self.owned: set[int] = set()
        self.readers: dict[int, dict[Draft, None]] = {}
        self.view_readers: dict[int, list[Draft]] = {}
        self.chains: dict[int, int] = {}
        for group in groups:
            draft = self.begin(facts.graph.nodes[group.root], group.domain, group.place)
            for id in group.nodes:
                node = facts.graph.nodes[id]
                (self.rematerialise if id in group.rematerialised else self.take)(draft, node)
            draft.members.update(group.members)

    def begin(self, root: Node, domain: Domain | None, place: int) -> Draft:
        draft = Draft(root, place, domain)
        self.groups.append(draft)
        return draft

    def take(self, draft: Draft, node: Node) -> None:
        """Compute a node in this group."""
        draft.members.add(node.id)
        self.owned.add(node.id)
        self._compute(draft, node)

    def rematerialise(self, draft: Draft, node: Node) -> None:
        """Compute a node in this group, as others may do for themselves."""
        draft.rematerialised.add(node.id)
        self._compute(draft, node)

    def _compute(self, draft: Draft, node: Node) -> None:
        draft.compute(node)
        for value in node.inputs:
            self.readers.setdefault(value.node, {})[draft] = None

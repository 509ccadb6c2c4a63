"""Stage 3 of fusion: what each group reads and stores, now that all groups are there, and their order."""

from __future__ import annotations

from dataclasses import replace

from kcompile.ir.passes.fusion.facts import Facts, is_scalar_constant, values_of
from kcompile.ir.passes.fusion.plan import FusedGroup, FusionPlan


def find_boundaries(plan: FusionPlan) -> FusionPlan:
    """The groups in the order in which they run, with their operands and outputs. Rematerialised are now the
    nodes that members need, and constants, which have no place in memory."""
    facts = plan.facts
    groups = [_with_operands(facts, group) for group in sorted(plan.groups, key=lambda group: group.place)]
    wanted = {facts.base(v) for group in groups for v in group.operands}
    wanted |= {facts.base(v) for v in facts.results}
    made = [
        replace(
            group,
            outputs=tuple(
                [v for id in group.members for v in values_of(facts.graph.nodes[id]) if v in wanted]
            ),
        )
        for group in groups
    ]
    return replace(plan, groups=tuple(made))


def _with_operands(facts: Facts, group: FusedGroup) -> FusedGroup:
    needed = _needed_by_members(facts, group)
    operands = tuple(facts.operands([*group.members, *needed]))
    return replace(group, rematerialised=tuple(sorted(needed)), operands=operands)


def _needed_by_members(facts: Facts, group: FusedGroup) -> set[int]:
    """The rematerialised nodes that members read, or such nodes."""
    members, able = set(group.members), set(group.rematerialised)
    needed: set[int] = set()
    stack = list(group.members)
    while stack:
        for value in facts.graph.nodes[stack.pop()].inputs:
            id = value.node
            if id in members or id in needed:
                continue
            if id in able or is_scalar_constant(facts.graph.nodes[id]):
                needed.add(id)
                stack.append(id)
    return needed

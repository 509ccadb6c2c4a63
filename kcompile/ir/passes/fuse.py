"""fuse: ops become groups, each of them one kernel that writes memory once.

Two kinds of group:
- a contraction takes the elementwise ops that follow it as its epilogue;
- any other op that must be in memory is the root of a group with a `Domain`, and takes in what computes
  over the same domain: elementwise ops, reductions of it, and where these go along rows also what
  depends on them (softmax and its gradient are one group). What others read too is a further result.

Comparisons, broadcasts, scalars and the like cost nothing, and an elementwise op over one large operand
costs little: they are rematerialised in every group that wants them. Reshapes of values in memory are views
and stay outside.

A group is bounded: of a chain it takes `cost.GROUP_DEPTH` nodes, altogether `cost.GROUP_NODES`, and the
rest begins another group. Code is made of a group by walking down its chains, and registers are few.

What is fused is decided in a plan (`passes.fusion`), before any node is made.
"""

from __future__ import annotations

from kcompile.ir.graph import Graph
from kcompile.ir.passes.fusion.boundary import find_boundaries
from kcompile.ir.passes.fusion.emit import emit
from kcompile.ir.passes.fusion.epilogues import fuse_epilogues
from kcompile.ir.passes.fusion.facts import Facts
from kcompile.ir.passes.fusion.order import insert_copies, schedule_nodes
from kcompile.ir.passes.fusion.plan import FusionPlan
from kcompile.ir.passes.fusion.producers import fuse_producers

STAGES = (fuse_epilogues, fuse_producers, find_boundaries)


def fuse(graph: Graph, row_passes: bool = True) -> Graph:
    """See the module. In the result every node that computes is a `group`.

    row_passes: whether a kernel can go over its domain several times, and store results of the domain's
    shape beside reduced ones. Without it all results of a group have one shape, and no element
    depends on a reduction of others.
    """
    return emit(plan_fusion(graph, row_passes))


def plan_text(graph: Graph, row_passes: bool = True) -> str:
    """The plan of a graph, then those of the regions of its scans."""
    regions = [region for node in graph.live() for region in node.regions]
    return "\n\n".join(
        [str(plan_fusion(graph, row_passes)), *(plan_text(region, row_passes) for region in regions)]
    )


def plan_fusion(graph: Graph, row_passes: bool = True) -> FusionPlan:
    """The groups of a graph, as its nodes are after `insert_copies` and `schedule_nodes`."""
    plan = FusionPlan(Facts.of(schedule_nodes(insert_copies(graph)), row_passes))
    for stage in STAGES:
        plan = stage(plan)
    return plan

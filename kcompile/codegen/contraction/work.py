"""How much work a plan is: the iterations that threads share, and the cycles of one.

Enters: a `Plan`. Leaves: numbers, by which the runtime decides how many threads are woken.
"""

from __future__ import annotations

from collections.abc import Sequence

from kcompile.codegen import cost
from kcompile.codegen.contraction.blocking import ceil_div, multiple
from kcompile.codegen.contraction.plan import Plan
from kcompile.codegen.program import Size
from kcompile.ir.types import Batch, Dim


def iterations_of(plan: Plan) -> Dim:
    """Iterations of the parallel loop: items of rows times parts of the columns."""
    return plan.rows.items * plan.columns.parts


def cycles_of_iteration(plans: Sequence[Plan]) -> Size:
    """Cycles of an iteration of the first plan, with its share of the others' iterations."""
    first = multiple(iterations_of(plans[0]))
    made = [(_cycles_of_plan(plan), multiple(iterations_of(plan))) for plan in plans]
    return Size(
        sum(ceil_div(size.fixed * count, first) for size, count in made),
        sum(ceil_div(size.per_sample * count, first) for size, count in made),
    )


def _cycles_of_plan(plan: Plan) -> Size:
    """Cycles of an iteration: the multiply-adds, two vectors a cycle, what is copied and what is written;
    reading B when that is large, because a product with few rows is bound by it."""
    total, depth = plan.spec.sizes[1:]
    assert isinstance(total, int)
    block = min(plan.columns.part * plan.columns.lanes, total)
    rows = plan.rows.sums_rows
    vectors = ceil_div(block, plan.columns.lanes) * rows
    cycles = vectors * multiple(depth) // cost.MULTIPLY_ADDS
    if isinstance(depth, Batch):
        return Size(0, cycles)
    cycles += vectors * cost.WRITTEN
    if plan.read_a.by_column:
        cycles += vectors * cost.COPIED
    if plan.read_a.copied:
        cycles += plan.read_a.size // plan.columns.lanes * cost.COPIED // plan.columns.parts
    if total * depth >= cost.FAR_OPERAND:
        cycles = max(cycles, block * depth // cost.FAR_READ)
    return Size(cycles)

"""check_indices: whether numbers that come from data name rows that are there, as further outputs.

    gather(table, numbers)   ->   the same, and an output "check/0": int64[]

The output is `FINE`, or the first place (in row-major order) that is out of range, in its upper half, and
the number there plus 2^31 in its lower half. An entry looks at these outputs before anything else happens.
`gather` itself takes such a number for the first or last row, so that nothing outside a table is ever read.
"""

from __future__ import annotations

from kcompile.ir import ops
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.indices import CHECK, FINE, IndexCheck, before_cast, index_checks
from kcompile.ir.rewrite import copy, rebuild
from kcompile.ir.tensor import Tensor, constant
from kcompile.ir.types import FLOATS, numel

_SHIFT = 2**31


def check_indices(graph: Graph) -> Graph:
    """See the module."""
    checks = index_checks(graph)
    if not checks:
        return graph
    wanted: dict[IndexCheck, Value] = {}

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
        for check in checks:
            if check.node == node.id:
                wanted[check] = before_cast(new, inputs[check.slot])
        return copy(new, node, inputs)

    made = rebuild(graph, rule)
    for number, check in enumerate(checks):
        made.outputs[f"{CHECK}{number}"] = _first_outside(Tensor(made, wanted[check]), check.rows).value
    return made


def _first_outside(x: Tensor, rows: int) -> Tensor:
    """The output for numbers x of any dtype. Fractions are cut off, as they are where rows are read."""
    count = numel(x.shape)
    x = ops.reshape(x, (count,))
    wide = x if x.dtype in FLOATS else ops.cast(x, "int64")
    least = -1 if x.dtype in FLOATS else 0
    inside = ops.logical_and(wide > least if least else wide >= 0, wide < rows)
    number = ops.cast(ops.cast(x, "int32"), "int64") + constant(x.graph, _SHIFT, "int64")
    place = ops.cast(ops.iota(x.graph, (count,), 0, "int32"), "int64")
    found = place * constant(x.graph, 2 * _SHIFT, "int64") + number
    return ops.reduce_min(ops.select(inside, constant(x.graph, FINE, "int64"), found))

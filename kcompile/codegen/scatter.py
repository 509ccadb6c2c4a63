"""The kernel of `scatter_rows`: enters a group around it, leaves a `Kernel`.

Threads share the rows of the result. Each clears its rows, then walks all positions in order and adds
those that fall into its rows: no two threads write the same row, and the order of a sum does not
depend on how many there are. Walking is cheap beside adding: an index is read once for a whole row.
"""

from __future__ import annotations

from collections.abc import Callable

from kcompile.codegen import loops
from kcompile.codegen.builder import ZERO, Builder
from kcompile.codegen.loops import Buffer, Expr, Function, Var
from kcompile.codegen.lowering import Kernel
from kcompile.codegen.program import Size
from kcompile.codegen.pull import Pull, parameters
from kcompile.codegen.targets import Target
from kcompile.ir.graph import Graph, Node
from kcompile.ir.ops.gather import clamped
from kcompile.ir.types import Batch, numel

BEGIN, END = Var("begin"), Var("end")


def lower_scatter(name: str, node: Node, scatter: Node, target: Target) -> Kernel:
    """The kernel of a group whose root is `scatter`; its operands may be computed on the way."""
    body: Graph = node.attrs["body"]
    inputs, outputs = parameters(body)
    (result,) = outputs
    b = Builder(target, target.lanes(result.dtype))
    pull = Pull(body, inputs, b)
    values, indices = scatter.inputs
    positions, rest = body.type(indices).shape, scatter.types[0].shape[1:]
    rows, width = scatter.attrs["rows"], numel(rest)
    assert isinstance(width, int)

    def add(at: Expr, row: Expr) -> None:
        def element(column: Expr, lanes: int, mask: Expr | None) -> None:
            with b.lanes_of(lanes), b.where(mask):
                place = b.unflatten(column, rest) if rest else ()
                value = pull.at(values, (*b.unflatten(at, positions), *place))
            target_at = row * width + column
            old = loops.load(result, target_at, mask)
            b.emit(loops.store(result, target_at, loops.binary("add", old, value), mask))

        _columns(b, width, element)

    with b.block() as code:
        _clear(b, result, b.share(BEGIN * width), b.share(END * width))
        with b.loop("i", 0, b.extent(numel(positions))) as at:
            row = clamped(b, pull.at(indices, b.unflatten(at, positions)), rows)
            mine = b.logical_and(b.greater_equal(row, BEGIN), b.less(row, END))
            with b.block() as hit:
                add(at, row)
            b.emit(loops.If(mine, tuple(hit)))
    b.emit(loops.loop(Var("part"), 0, loops.const(rows), code, kind="span"))
    function = Function(name, (*inputs, *outputs), tuple(b.blocks[0]), node.label)
    count = numel(positions)
    each = 2 * -(-width // b.lanes)
    share = (Size(each, -(-count.multiple * each // rows)) if isinstance(count, Batch)
             else Size(each + -(-count * each // rows)))
    return Kernel(function, Size(rows), share)


def _clear(b: Builder, result: Buffer, start: Expr, stop: Expr) -> None:
    zero = loops.const(0, result.dtype)
    whole = b.share(start + (stop - start) // b.lanes * b.lanes)
    with b.loop("z", start, whole, b.lanes) as i:
        b.emit(loops.store(result, loops.ramp(i, b.lanes), zero))
    with b.loop("z", whole, stop) as i:
        b.emit(loops.store(result, i, zero))


def _columns(b: Builder, width: int, element: Callable[[Expr, int, Expr | None], None]) -> None:
    """element(column, lanes, mask) for all columns: vectors, then a masked one or single ones."""
    lanes, whole = b.lanes, width // b.lanes * b.lanes
    if whole:
        with b.loop("v", 0, whole, lanes) as i:
            element(loops.ramp(i, lanes), lanes, None)
    if width == 1:
        element(ZERO, 1, None)
    elif whole < width and b.target.masks:
        place = loops.ramp(whole, lanes)
        element(place, lanes, b.share(loops.binary("lt", place, width)))
    elif whole < width:
        with b.loop("s", whole, width) as i:
            element(i, 1, None)

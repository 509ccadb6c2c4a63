"""The kernels of the ops of kind "scatter": enters a group around one, leaves a `Kernel`.

Rows are added up by walking all positions in order: an index is read once for a whole row. Threads
divide the columns among them: each has as much to do however often a row number occurs, no two write the
same element, and the order of a sum does not depend on the number of threads. Values and indices are
inlined: elementwise ops and transposes that make them are computed on the way.
"""

from __future__ import annotations

from kcompile.codegen import cost, loops
from kcompile.codegen.cpu.nests import over_vectors
from kcompile.codegen.groups.elements import Inliner, lanes_of, parameters
from kcompile.codegen.loops import ZERO, Buffer, Expr, Function, Var
from kcompile.codegen.loops.builder import Builder
from kcompile.codegen.program import Kernel, Size, size_of
from kcompile.codegen.targets import Target
from kcompile.ir.graph import Node, Value
from kcompile.ir.ops.gather import clamped
from kcompile.ir.types import Shape, numel

BEGIN, END = Var("begin"), Var("end")


def lower_scatter(name: str, node: Node, scatter: Node, target: Target, aliased: bool) -> Kernel:
    """The kernel of a group whose root is `scatter`. aliased: its result lies where its table does."""
    body = node.body
    inputs, outputs = parameters(body)
    b = Builder(target, lanes_of(body, target))
    inliner = Inliner(body, inputs, b)
    if scatter.op.name == "first_occurrence":
        extent, work = _first_occurrences(b, inliner, scatter, outputs[0])
    else:
        extent, work = _sums(b, inliner, scatter, outputs[0], aliased)
    function = Function(name, (*inputs, *outputs), tuple(b.blocks[0]), node.label, aliased)
    return Kernel(function, extent, work)


def _sums(b: Builder, inliner: Inliner, scatter: Node, result: Buffer, aliased: bool) -> tuple[Size, Size]:
    """The iterations of the parallel loop, each a vector of columns, and the cycles of one."""
    shape = scatter.types[0].shape
    width = numel(shape[1:])
    assert isinstance(width, int)
    slot = scatter.op.in_place
    table = None if slot is None else scatter.inputs[slot]
    pairs = scatter.inputs if slot is None else scatter.inputs[1:]
    parts = -(-width // b.lanes)
    start: Expr = ZERO
    stop: Expr = loops.const(width)
    work = size_of(shape[0])
    with b.block() as code:
        if parts > 1:
            start = b.let(BEGIN * b.lanes)
            stop = b.let(loops.binary("min", END * b.lanes, loops.const(width)))
        if not (aliased and table is not None and table in inliner.body.inputs.values()):
            _begin(b, inliner, shape, table, result, start, stop)
        for values, indices in zip(pairs[::2], pairs[1::2]):
            _walk(b, inliner, shape, values, indices, result, start, stop)
            work += size_of(numel(inliner.body.type(indices).shape)) * cost.SCATTER
    if parts == 1:
        for statement in code:
            b.emit(statement)
    else:
        b.emit(loops.loop(Var("part"), 0, loops.const(parts), code, kind="chunk"))
    return Size(parts), work


def _begin(
    b: Builder, inliner: Inliner, shape: Shape, table: Value | None, result: Buffer, start: Expr, stop: Expr
) -> None:
    """Write what the sums start from: the table's elements, or zeros."""
    zero = loops.const(0, result.dtype)

    def write(flat: Expr, mask: Expr | None) -> None:
        with b.where(mask):
            value = zero if table is None else inliner.compute_at(table, b.unflatten(flat, shape))
        b.store(result, flat, value, mask)

    if isinstance(start, loops.Const):  # all columns: rows lie without gaps
        over_vectors(b, ZERO, b.extent(numel(shape)), numel(shape), write)
        return
    width = numel(shape[1:])
    with b.loop("r", 0, b.extent(shape[0])) as row:
        base = b.let(row * b.extent(width))
        over_vectors(b, start, stop, width, lambda column, mask: write(base + column, mask))


def _walk(
    b: Builder,
    inliner: Inliner,
    shape: Shape,
    values: Value,
    indices: Value,
    result: Buffer,
    start: Expr,
    stop: Expr,
) -> None:
    """Add the values of all positions, in the columns [start, stop)."""
    positions, rest = inliner.body.type(indices).shape, shape[1:]
    width = numel(rest)
    with b.loop("i", 0, b.extent(numel(positions))) as flat:
        at = tuple(b.let(i) for i in b.unflatten(flat, positions))
        base = b.let(clamped(b, inliner.compute_at(indices, at), shape[0]) * width)

        def add(column: Expr, mask: Expr | None) -> None:
            with b.where(mask):
                value = inliner.compute_at(values, (*at, *b.unflatten(column, rest)))
            old = loops.load(result, base + column, mask)
            b.store(result, base + column, loops.binary("add", old, value), mask)

        over_vectors(b, start, stop, width, add)


def _first_occurrences(b: Builder, inliner: Inliner, scatter: Node, result: Buffer) -> tuple[Size, Size]:
    """Threads divide the rows. Positions are walked from last to first, so that the first stays."""
    (indices,), rows = scatter.inputs, scatter.attrs["rows"]
    positions = inliner.body.type(indices).shape
    count = b.extent(numel(positions))

    def clear(row: Expr, mask: Expr | None) -> None:
        b.store(result, row, loops.const(-1, result.dtype), mask)

    with b.block() as code:
        over_vectors(b, BEGIN, END, rows, clear)
        with b.loop("i", 0, count) as i:
            flat = b.let(count - 1 - i)
            row = clamped(b, inliner.compute_at(indices, b.unflatten(flat, positions)), rows)
            mine = b.logical_and(b.greater_equal(row, BEGIN), b.less(row, END))
            with b.when(mine):
                b.store(result, row, loops.cast(flat, result.dtype))
    b.emit(loops.loop(Var("part"), 0, loops.const(rows), code, kind="chunk"))
    each = size_of(numel(positions)) * cost.SCATTER
    return Size(rows), Size(1 + each.fixed // rows, -(-each.per_sample // rows))

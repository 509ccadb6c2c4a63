"""Contractions as loops: matrix products, convolutions and their gradients on one register tile.

What enters: an `ir.contraction.Contraction`, how its operands can be read, and the epilogue. What
leaves: a `Kernel`, whose function covers any range of the parallel iterations.

The blocking is the one of Goto and van de Geijn (Anatomy of High-Performance Matrix
Multiplication, 2008): panels of B against tiles of rows, blocks of rows that stay in L2. A is read
in place where its index is linear and unguarded; else a block is copied (see `packing`) to where it
is. Threads share rows and column blocks, never the sum: each output element is one chain of fused
multiply-adds over ascending k, so the bits do not depend on threads, blocks or tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kcompile.codegen import cost, loops
from kcompile.codegen.contraction.blocking import (
    FlatRows,
    GridRows,
    Strip,
    cache_elements,
    ceil_div,
    items_buffer,
    merge,
    multiple,
)
from kcompile.codegen.contraction.guards import Guard
from kcompile.codegen.contraction.microkernel import (
    BlockContext,
    DepthLoop,
    Panels,
    TileBody,
    TileOrigin,
    cover,
    cover_rows,
    finish_rows,
)
from kcompile.codegen.contraction.packing import Copy, PanelCopy, Side, copy_box, copy_panels
from kcompile.codegen.contraction.plan import Plan, group_is_column, make_plan
from kcompile.codegen.contraction.polyphase import Phase, phases
from kcompile.codegen.contraction.words import of_words
from kcompile.codegen.contraction.work import cycles_of_iteration, iterations_of
from kcompile.codegen.groups.operands import Epilogue, Source, of_group, of_sample
from kcompile.codegen.loops import TRUE, ZERO, Buffer, Expr, Function, Var
from kcompile.codegen.loops.builder import Builder
from kcompile.codegen.loops.indexing import extent, unflatten
from kcompile.codegen.program import Kernel, Size, size_of
from kcompile.codegen.targets import Target
from kcompile.ir.contraction import Contraction
from kcompile.ir.types import Batch, Dim, numel


def lower_contraction(
    name: str,
    spec: Contraction,
    a: Source,
    b: Source,
    epilogue: Epilogue,
    target: Target,
    *,
    buffers: Sequence[Buffer] = (),
    b_panels: int | None = None,
    words: bool = False,
    note: str = "",
) -> Kernel:
    """The kernel of a contraction of operands of one float type.

    buffers: the function's parameters in order, when there are others than the sources' and the
    epilogue's outputs. b_panels: the columns of the panels (`PanelLayout`) that `b.buffer` holds B in,
    what `panel_width` says; None where B is as it was. words: float32 operands are rounded to bfloat16, and
    multiplied in words (`words`), of which panels are. Either M or K may contain the batch, J must
    not. Raises ValueError for sizes that are not covered, naming them.
    """
    parameters = tuple(
        buffers or dict.fromkeys(x for x in (a.buffer, b.buffer, *epilogue.outputs) if x is not None)
    )
    out = Builder(target, target.lanes(a.dtype))
    if words:
        spec, a, b = of_words(spec, a, b, b_panels is not None, out)
    if spec.g:
        return _for_each_sample(name, spec, a, b, epilogue, out, parameters, note)
    by_group = bool(spec.groups) and not group_is_column(spec)
    with out.block() as body:
        if not by_group:
            plans = [make_plan(phase, a, b, epilogue, target, b_panels) for phase in phases(spec, a.shape)]
            items = iterations_of(plans[0])
            _interleaved([Code(plan, out) for plan in plans], items)
        else:
            with out.loop("group", 0, extent(numel(spec.groups))) as number:
                plans = _group_by_group(spec, a, b, epilogue, out, number)
            items = iterations_of(plans[0])
    run = loops.loop(Var("part"), 0, extent(items), body, kind="chunk")
    cycles = cycles_of_iteration(plans)
    if by_group:
        count = multiple(numel(spec.groups))
        cycles = Size(cycles.fixed * count, cycles.per_sample * count)
    return Kernel(Function(name, parameters, (run,), note), size_of(items), cycles)


def _group_by_group(
    spec: Contraction, a: Source, b: Source, epilogue: Epilogue, out: Builder, number: Expr
) -> list[Plan]:
    """The iterations of one group, which all have the same plans: columns of its own in the same rows."""
    one, a, b = of_group(spec, a, b, number)
    plans = [make_plan(phase, a, b, epilogue, out.target, None) for phase in phases(one, a.shape)]
    first = number * multiple(numel(one.j))
    width = multiple(numel(spec.j))
    _interleaved([Code(plan, out, ZERO, first, width) for plan in plans], iterations_of(plans[0]))
    return plans


def _interleaved(codes: Sequence[Code], items: Dim) -> None:
    """The iterations of the first plan from `begin` to `end`, and the same share of the others'.
    Phases write to lines between each other's: a block of the output is finished while in L2."""
    begin, end = Var("begin"), Var("end")
    if len(codes) == 1:
        _rectangle(codes[0], items, begin, end)
        return
    plan, out = codes[0].plan, codes[0].out
    rows = plan.rows.sums_rows
    written = rows * len(codes) * plan.columns.total // plan.columns.parts
    step = max(cache_elements(plan.target) // max(written, 1), 1)
    with out.loop("part", begin, end, step) as low:
        high = out.let(loops.binary("min", low + step, end), "stop")
        for code in codes:
            _rectangle(code, items, low, high)


def _for_each_sample(
    name: str,
    spec: Contraction,
    a: Source,
    b: Source,
    epilogue: Epilogue,
    out: Builder,
    parameters: tuple[Buffer, ...],
    note: str,
) -> Kernel:
    """A product for each sample: threads share the samples."""
    number, samples = Var("sample"), numel(spec.g)
    if isinstance(numel(spec.m + spec.k + spec.j), Batch):
        raise ValueError(f"the batch must be among the samples. Received: {spec}")
    one, a, b = of_sample(spec, a, b, number)
    plan = make_plan(phases(one, a.shape)[0], a, b, epilogue, out.target, None)
    items = iterations_of(plan)
    with out.block() as body:
        _rectangle(Code(plan, out, number * multiple(numel(spec.m))), items, ZERO, extent(items))
    run = loops.loop(number, 0, extent(samples), body, kind="parallel")
    work = cycles_of_iteration([plan]).fixed * multiple(items)
    return Kernel(Function(name, parameters, (run,), note), size_of(samples), Size(work))


# ---------------------------------------------------------------- the loops outside


@dataclass(frozen=True)
class Code:
    """A plan, where its statements go, and the flat row and the column of the output where its own begin.
    width: columns of the output, None where these are all."""

    plan: Plan
    out: Builder
    first_row: Expr = ZERO
    first_column: Expr = ZERO
    width: int | None = None


def _rectangle(code: Code, iterations: Dim, low: Expr, high: Expr) -> None:
    """The iterations from `low` to `high` of `iterations`, as one rectangle of rows and columns. Threads
    share the rows when there are many, else the columns. A tile of rows, or a part of the columns, belongs
    to the thread that has its first iteration."""
    plan, columns, out = code.plan, code.plan.columns, code.out
    own = iterations_of(plan)
    if own != iterations:  # a phase that has not as many rows as the first: the same share of its own
        low, high = (x * multiple(own) // multiple(iterations) for x in (low, high))
    if columns.parts == 1:
        _row_range(code, low, high, loops.const(0), loops.const(columns.vectors))
        return
    items = out.let(loops.binary("max", extent(plan.rows.items), 1), "items")
    enough = cost.MANY_TILES
    if isinstance(plan.rows, FlatRows):
        enough = max(columns.total, enough * plan.rows.tiles[0].rows)
    many = out.let(loops.binary("ge", items, enough), "many")

    def up(x: Expr, item: Expr) -> Expr:
        return (x + item - 1) // item

    first = loops.select(many, 0, up(low, items) * columns.part)
    last = loops.select(
        many, columns.vectors, loops.binary("min", up(high, items) * columns.part, columns.vectors)
    )
    first, last = out.let(first, "first"), out.let(last, "last")
    low = loops.select(many, up(low, loops.const(columns.parts)), 0)
    high = loops.select(many, up(high, loops.const(columns.parts)), items)
    _row_range(code, low, high, first, last)


def _row_range(code: Code, low: Expr, high: Expr, first: Expr, last: Expr) -> None:
    """The items low .. high, in the columns of the vectors first .. last. Of `FlatRows` both ends are rounded
    up to the main tile."""
    plan, columns, out = code.plan, code.plan.columns, code.out
    if isinstance(plan.rows, FlatRows):
        main = plan.rows.tiles[0].rows
        low = (low + (main - 1)) // main * main
        high = loops.binary("min", (high + (main - 1)) // main * main, extent(plan.rows.size))
    low, high = out.let(low, "low"), out.let(high, "high")
    with out.when(loops.binary("lt", low, high)):
        if columns.vectors <= columns.block:
            block_vectors = out.let(loops.binary("sub", last, first), "vectors")
            _column_block(code, low, high, first, block_vectors)
            return
        with out.loop("v", first, last, columns.block) as vector:
            block_vectors = out.let(
                loops.binary("min", loops.binary("sub", last, vector), columns.block), "vectors"
            )
            _column_block(code, low, high, vector, block_vectors)


def _column_block(code: Code, low: Expr, high: Expr, vector: Expr, block_vectors: Expr) -> None:
    """The items low .. high, in the columns of `block_vectors` vectors from `vector` on, whose part of B
    stays in the cache."""
    copied_b = begin_columns(code, vector, block_vectors)
    over_items(code, copied_b, low, high, vector, block_vectors)


def begin_columns(code: Code, vector: Expr, block_vectors: Expr) -> Buffer | None:
    """What the items of a block of columns have in common: memory for sums, and the copy of B, which is made
    once where it is of all k. Gives the copy's buffer."""
    plan, out = code.plan, code.out
    if plan.sums is not None:
        out.alloc(plan.sums)
    copied_b = _b_buffer(code)
    if copied_b is not None:
        out.alloc(copied_b)
        if plan.depth.single and not plan.by_depth:
            _pack_b(code, copied_b, vector, block_vectors, (), loops.const(0))
    return copied_b


def over_items(
    code: Code, copied_b: Buffer | None, low: Expr, high: Expr, vector: Expr, block_vectors: Expr
) -> None:
    """The items low .. high, once their columns have begun."""
    plan, out = code.plan, code.out
    with out.loop("u", low, high, plan.rows.block_items) as item:
        count = out.let(loops.binary("min", loops.binary("sub", high, item), plan.rows.block_items), "count")
        _block(code, vector, block_vectors, copied_b, item, count)


def _b_buffer(code: Code) -> Buffer | None:
    plan = code.plan
    if not plan.read_b.copied:
        return None
    panels = ceil_div(plan.columns.block, plan.columns.tile)
    return Buffer("panels", plan.b.dtype, "scratch", panels * plan.read_b.stride)


def _a_buffer(plan: Plan) -> Buffer | None:
    """Scratch for the copies of A that one block of rows, or of k, needs."""
    if not plan.read_a.copied:
        return None
    if plan.by_depth:
        return Buffer("copy", plan.a.dtype, "scratch", plan.read_a.size)
    return items_buffer("copy", plan.a.dtype, plan.rows, plan.read_a.size)


def _block(
    code: Code, vector: Expr, block_vectors: Expr, copied_b: Buffer | None, item: Expr, count: Expr
) -> None:
    """The items item .. item + count: copies of A, blocks of k, tiles, and the epilogue."""
    plan, out = code.plan, code.out
    copied_a = _a_buffer(plan)
    if copied_a is not None:
        out.alloc(copied_a)
        if not plan.by_depth and not plan.phase.empty:
            _copy_rows(code, copied_a, item, count)
    a, b = copied_a or plan.a.buffer, copied_b or plan.b.buffer
    assert a is not None and b is not None  # what has no buffer is copied
    base = BlockContext(
        a=a,
        b=Panels(b, loops.const(0)),
        depth_loops=(),
        columns=plan.columns,
        vector=vector,
        block_vectors=block_vectors,
        epilogue=plan.epilogue,
        sums=plan.sums,
        is_first=TRUE,
        is_last=TRUE,
        in_registers=plan.in_registers,
        partial_loads=plan.columns.ragged and (plan.read_b.panel is None or _masked_a(plan)),
        out=out,
        output_row=_output_row(plan.phase, code.first_row),
        by_column=plan.read_a.by_column,
        first_column=code.first_column,
        width=code.width,
    )

    def one_block(outer: tuple[Expr, ...], start: Expr, length: Expr, first: Expr, last: Expr) -> None:
        a_start, b_start = _depth_start(plan, outer, start)
        if copied_b is not None and (plan.by_depth or not plan.depth.single):
            _pack_b(code, copied_b, vector, block_vectors, outer, start)
        if plan.by_depth and copied_a is not None:
            _copy_depth(code, copied_a, outer, start)
        panel = plan.read_b.panel
        parts = panel is not None and plan.columns.tile % panel != 0
        panels = replace(base.b, base=b_start, panel=panel, stride=plan.read_b.stride, parts=parts)
        if copied_b is None:
            panels = replace(panels, base=panels.start(vector, plan.columns.lanes))
        context = replace(
            base, b=panels, depth_loops=_depth_loops(plan, length), is_first=first, is_last=last
        )
        _tiles(code, context, a_start, item, count)

    _over_blocks(code, one_block)
    if not plan.in_registers:
        _finish(code, base, item, count)


def _masked_a(plan: Plan) -> bool:
    """Whether vectors of A must not be read beyond the columns."""
    return plan.read_a.by_column and plan.target.masks


def _output_row(phase: Phase, first: Expr) -> Callable[[Expr], Expr]:
    """The flat row of the output that a flat row of a phase is, where its rows begin at `first`."""

    def output_row(row: Expr) -> Expr:
        out: Expr = loops.const(0)
        for rows, at in zip(phase.rows, unflatten(row, phase.spec.m)):
            out = out * extent(rows.size) + at * rows.step + rows.start
        return first + out

    return (lambda row: first + row) if phase.is_whole else output_row


# ---------------------------------------------------------------- depth


def _over_blocks(code: Code, body: Callable[[tuple[Expr, ...], Expr, Expr, Expr, Expr], None]) -> None:
    """Loops over the blocks of k. body: emits one, from (index of each stepped axis, start and length
    in the cut axis, whether the block is the first, the last)."""
    depth, out = code.plan.depth, code.out
    if depth.single:
        body((), loops.const(0), extent(depth.axes[0].size), TRUE, TRUE)
        return
    sizes = [extent(axis.size) for axis in depth.axes[: depth.cut + 1]]
    whole = sizes[-1]
    with out.nest("t", sizes, [1] * depth.cut + [depth.chunk]) as (*outer, start):
        first: Expr = loops.binary("eq", start, 0)
        last: Expr = loops.binary("ge", start + depth.chunk, whole)
        for var, size in zip(outer, sizes):
            first = loops.binary("and", first, loops.binary("eq", var, 0))
            last = loops.binary("and", last, loops.binary("eq", var, loops.binary("sub", size, 1)))
        first, last = out.let(first, "is_first"), out.let(last, "is_last")
        length = out.let(loops.binary("min", loops.binary("sub", whole, start), depth.chunk), "length")
        body(tuple(outer), start, length, first, last)


def _depth_start(plan: Plan, outer: tuple[Expr, ...], start: Expr) -> tuple[Expr, Expr]:
    """How far into A and B a block of k starts; copies start at their own beginning."""
    a, b = plan.a.start, plan.b.start
    cut = plan.depth.axes[plan.depth.cut]
    for index, axis in [*zip(outer, plan.depth.axes), (start, cut)]:
        a, b = a + index * axis.a, b + index * axis.b
    if plan.read_a.copied:
        a = loops.const(0)
    if plan.read_b.copied:
        b = loops.const(0)
    return a, b + plan.read_b.offset


def _depth_loops(plan: Plan, length: Expr) -> tuple[DepthLoop, ...]:
    """The loops over the summed elements of one block, as few as the strides allow."""
    depth = plan.depth
    if plan.phase.empty:
        return (DepthLoop(loops.const(0), 0, 0),)
    cut = depth.axes[depth.cut]
    if plan.read_a.kind == "guarded":
        return tuple(DepthLoop(extent(x.size), x.a, x.b) for x in depth.axes)
    inner = [x for x in merge(depth.axes[depth.cut + 1 :]) if x.size != 1]
    inner_loops = [DepthLoop(extent(x.size), x.a, x.b) for x in inner]
    if inner and (cut.a, cut.b) == (
        inner[0].a * multiple(inner[0].size),
        inner[0].b * multiple(inner[0].size),
    ):
        size = multiple(inner[0].size)
        return (DepthLoop(length * size, inner[0].a, inner[0].b), *inner_loops[1:])
    return (DepthLoop(length, cut.a, cut.b), *inner_loops)


# ---------------------------------------------------------------- tiles


def _tiles(code: Code, context: BlockContext, a_start: Expr, item: Expr, count: Expr) -> None:
    rows = code.plan.rows
    if isinstance(rows, FlatRows):
        _flat_tiles(code, context, rows, a_start, item, count)
    else:
        _grid_tiles(code, context, rows, a_start, item, count)


def _flat_tiles(
    code: Code, context: BlockContext, rows: FlatRows, a_start: Expr, item: Expr, count: Expr
) -> None:
    """Main tiles over the rows item .. item + count, then smaller ones for the rest."""
    plan = code.plan
    relative = plan.read_a.kind == "packed_rows"

    def origin_of(at: Expr, height: int) -> TileOrigin:
        row = item + at
        a = a_start + plan.read_a.offset + (at if relative else row) * rows.stride
        return TileOrigin(a, tuple(r * rows.stride for r in range(height)), row, at)

    cover_rows(context, rows.tiles, count, origin_of, plan.rows_outside)


@dataclass(frozen=True)
class _LineBlock:
    """An item of a `GridRows`. outer: index of each outer axis. line: its first line.
    lines: how many. row: flat output row of its first."""

    outer: tuple[Expr, ...]
    line: Expr
    lines: Expr
    row: Expr


def _decode(out: Builder, rows: GridRows, item: Expr) -> _LineBlock:
    lines = extent(rows.lines.size)
    width = multiple(rows.width.size)
    blocks: Expr = lines
    if isinstance(rows.lines.size, int):
        blocks = loops.const(rows.line_blocks)
    rest: Expr = out.let(item // blocks, "rest") if rows.outer else loops.const(0)
    block = item % blocks if rows.outer else item
    line = out.let(block * rows.item_lines, "line")
    count: Expr = loops.const(rows.item_lines)
    if isinstance(rows.lines.size, int) and rows.lines.size % rows.item_lines:
        count = out.let(loops.binary("min", loops.binary("sub", lines, line), rows.item_lines), "lines")
    row = out.let((rest * lines + line) * width, "row")
    return _LineBlock(_unravel(out, rest, [x.size for x in rows.outer]), line, count, row)


def _unravel(out: Builder, flat: Expr, sizes: Sequence[Dim]) -> tuple[Expr, ...]:
    """`unflatten` with a name for each number on the way."""
    index: list[Expr] = []
    for size in reversed(sizes[1:]):
        index.append(out.let(flat % extent(size), "n"))
        flat = out.let(flat // extent(size), "n")
    return (*([flat] if sizes else []), *reversed(index))


def _grid_tiles(
    code: Code, context: BlockContext, rows: GridRows, a_start: Expr, item: Expr, count: Expr
) -> None:
    """For each kind of tile, loops over items, lines and the tiles along a line."""
    plan, out = code.plan, code.out
    boxed = plan.read_a.kind == "packed_box" and not plan.by_depth
    width = multiple(rows.width.size)
    for strip in rows.strips:
        height = strip.tile.rows
        offsets = tuple(r // width * rows.lines.a + r % width * rows.width.a for r in range(height))

        def over_rows(
            inner: TileBody, strip: Strip = strip, height: int = height, offsets: tuple[int, ...] = offsets
        ) -> None:
            with out.loop("q", 0, count) as q:
                at = _decode(out, rows, item + q)
                a: Expr = a_start + plan.read_a.offset
                if boxed:
                    a = a + q * plan.read_a.size
                else:
                    a = a + at.line * rows.lines.a
                    for index, axis in zip(at.outer, rows.outer):
                        a = a + index * axis.a
                a = out.let(a, "a")
                first, stop = _strip_range(strip, at.lines)
                with out.loop("i", first, stop) as i, out.loop("t", 0, strip.count) as t:
                    line = i * strip.lines
                    start = t * height + strip.start
                    inside = line * width + start
                    place = a + line * rows.lines.a + start * rows.width.a
                    guard = None
                    if plan.read_a.kind == "guarded":
                        where = (*at.outer, out.let(at.line + line, "y"), out.let(start, "x"))
                        guard = Guard(plan.spec, plan.a.shape, strip, where)
                    inner(TileOrigin(place, offsets, at.row + inside, q * rows.sums_rows + inside, guard))

        cover(context, strip.tile.vectors, over_rows, plan.rows_outside)


def _strip_range(strip: Strip, lines: Expr) -> tuple[Expr, Expr]:
    """The first and the end of a strip's iterations, each of which covers `strip.lines` lines."""
    if strip.lines > 1:
        return loops.const(0), lines // strip.lines
    if strip.after:
        return lines // strip.after * strip.after, lines
    return loops.const(0), lines


def _finish(code: Code, context: BlockContext, item: Expr, count: Expr) -> None:
    """The epilogue over the sums in scratch."""
    plan, rows, out = code.plan, code.plan.rows, code.out
    masks = plan.target.masks
    if isinstance(rows, FlatRows):
        finish_rows(context, count, item, loops.const(0), masks)
        return
    with out.loop("q", 0, count) as q:
        at = _decode(out, rows, item + q)
        finish_rows(context, at.lines * multiple(rows.width.size), at.row, q * rows.sums_rows, masks)


# ---------------------------------------------------------------- copies


def _sides(plan: Plan, starts: Sequence[Expr], ragged: frozenset[int]) -> list[Side]:
    """The box whose variables start at `starts` (the value, for those that are fixed); the
    variables in `ragged` may run past their end."""
    access, out = plan.spec.a, []
    for d, (size, stride) in enumerate(plan.read_a.sides):
        affine = access.index[d]
        down = sum(c * (plan.read_a.reach[v] - 1) for v, c in affine.terms if c < 0 and plan.read_a.reach[v])
        base = affine.at(dict(enumerate(starts)), loops.const(affine.offset)) + down
        checked = access.guarded[d] or any(v in ragged for v, _ in affine.terms)
        out.append(Side(base, size, stride, affine.divisor, checked))
    return out


def _copy_rows(code: Code, buffer: Buffer, item: Expr, count: Expr) -> None:
    """Copy A for each row (packed rows) or each item (packed boxes)."""
    plan, rows, out = code.plan, code.plan.rows, code.out
    m, k = len(plan.spec.m), [loops.const(0)] * len((*plan.spec.k, *plan.spec.j))
    ragged: frozenset[int] = frozenset()
    starts: tuple[Expr, ...]
    with out.loop("q", 0, count) as q:
        if isinstance(rows, FlatRows):
            starts = _unravel(out, item + q, plan.spec.m)
        else:
            at = _decode(out, rows, item + q)
            starts = (*at.outer, at.line, loops.const(0))
            if multiple(rows.lines.size) % rows.item_lines:
                ragged = frozenset([m - 2])
        sides = _sides(plan, (*starts, *k), ragged)
        copy_box(Copy(plan.a, buffer, out, plan.spec.outside), sides, q * plan.read_a.size)


def _copy_depth(code: Code, buffer: Buffer, outer: tuple[Expr, ...], start: Expr) -> None:
    """Copy what all rows read of A in a block of k."""
    plan, depth = code.plan, code.plan.depth
    m = len(plan.spec.m)
    size = depth.axes[depth.cut].size
    even = depth.chunk == 1 or (isinstance(size, int) and size % depth.chunk == 0)
    rest = [loops.const(0)] * (len(plan.spec.k) - len(outer) - 1 + len(plan.spec.j))
    starts = (*[loops.const(0)] * m, *outer, start, *rest)
    ragged: frozenset[int] = frozenset() if even else frozenset([m + depth.cut])
    copy = Copy(plan.a, buffer, code.out, plan.spec.outside)
    copy_box(copy, _sides(plan, starts, ragged), loops.const(0))


def _pack_b(
    code: Code, buffer: Buffer, vector: Expr, block_vectors: Expr, outer: tuple[Expr, ...], start: Expr
) -> None:
    """Pack the panels of B for a block of columns and a block of k, or all of k where there is one block."""
    plan, columns, out = code.plan, code.plan.columns, code.out
    sizes = [extent(s) for s in plan.spec.k]
    starts: list[Expr] = [loops.const(0)] * len(sizes)
    if plan.by_depth or not plan.depth.single:
        depth = plan.depth
        for i, index in enumerate(outer):
            starts[i], sizes[i] = index, loops.const(1)
        starts[depth.cut] = start
        left = loops.binary("sub", sizes[depth.cut], start)
        sizes[depth.cut] = out.let(loops.binary("min", left, depth.chunk), "length")
    pack = PanelCopy(plan.spec, columns, tuple(zip(starts, sizes, plan.read_b.k)), plan.read_b.stride)
    copy_panels(Copy(plan.b, buffer, out), pack, vector, block_vectors)

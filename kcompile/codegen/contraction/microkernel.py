"""The register tile of a contraction, and what happens to its sums.

What enters: where A and B lie (buffers, an index of the first element, strides along k), a tile of
rows x vectors, and the epilogue. What leaves: statements, to a `Builder`. Each output element is one
chain of fused multiply-adds over ascending k, whatever tile it falls in: the bits do not depend on the
blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from kcompile.codegen import loops
from kcompile.codegen.contraction.blocking import Columns, Tile
from kcompile.codegen.contraction.guards import Guard
from kcompile.codegen.groups.operands import Epilogue
from kcompile.codegen.loops import Buffer, Expr, Window
from kcompile.codegen.loops.builder import Builder


@dataclass(frozen=True)
class Panels:
    """Where a block of B lies. base: index of its first element. panel: vectors of a panel, with
    `stride` elements between panels; None when rows of B are whole. parts: tiles may open within a panel."""

    buffer: Buffer
    base: Expr
    panel: int | None = None
    stride: int = 0
    parts: bool = False

    def start(self, vector: Expr, lanes: int) -> Expr:
        """Index of the vector that opens a tile (a multiple of the panel, or a part that divides it)."""
        if self.panel is None:
            return self.base + vector * lanes
        start = self.base + vector // self.panel * self.stride
        return start + vector % self.panel * lanes if self.parts else start

    def step(self, vector: int, lanes: int) -> int:
        if self.panel is None:
            return vector * lanes
        return vector // self.panel * self.stride + vector % self.panel * lanes


@dataclass(frozen=True)
class DepthLoop:
    """A loop over k: iterations, and elements of A and of B from one to the next."""

    count: Expr
    a: int
    b: int


@dataclass(frozen=True)
class TileOrigin:
    """Where a tile begins. a: index in A's buffer of its first row at the block's first k. offsets: of
    its rows from there. row: flat output row of the first. sums_row: its row in the scratch block.
    guard: which elements of A exist, where not all do; there is a loop for each variable of k then."""

    a: Expr
    offsets: tuple[int, ...]
    row: Expr
    sums_row: Expr
    guard: Guard | None = None


TileBody = Callable[[TileOrigin], None]  # emits a tile there


@dataclass(frozen=True)
class BlockContext:
    """What all tiles of one block have in common.

    vector: number of the column block's first vector. block_vectors: vectors in it. sums: scratch [rows,
    block columns] for partial sums, or None when the tiles finish in registers. is_first, is_last:
    whether this is the first and the last block of k. in_registers: the tile itself applies the epilogue.
    partial_loads: lanes of B outside the columns must not be read. out: where statements go.
    output_row: where in the output a row of the tiles' numbering is. by_column: whether A is read in
    vectors, see `ReadA`. first_column: where the columns begin in a row of the output, which has `width`
    (None: no others than these).
    """

    a: Buffer
    b: Panels
    depth_loops: tuple[DepthLoop, ...]
    columns: Columns
    vector: Expr
    block_vectors: Expr
    epilogue: Epilogue
    sums: Buffer | None
    is_first: Expr
    is_last: Expr
    in_registers: bool
    partial_loads: bool
    out: Builder
    output_row: Callable[[Expr], Expr]
    by_column: bool = False
    first_column: Expr = loops.ZERO
    width: int | None = None

    def column(self, vector: Expr) -> Expr:
        """The first column of a vector of the block."""
        return (self.vector + vector) * self.columns.lanes

    def sums_index(self, row: Expr, vector: Expr) -> Expr:
        lanes = self.columns.lanes
        return row * (self.columns.block * lanes) + vector * lanes


def over_columns(context: BlockContext, vectors: int, body: Callable[[int, Expr], None]) -> None:
    """Tiles of so many vectors over the columns of the block, and a narrower one for the rest.
    body: emits a tile of (vectors, from this one of the block on)."""
    block_vectors, out = context.block_vectors, context.out
    with out.loop("g", 0, block_vectors // vectors) as group:
        body(vectors, group * vectors)
    rest = context.columns.vectors % vectors
    if rest:
        known = isinstance(block_vectors, loops.Const)
        with nullcontext() if known else out.when(loops.binary("eq", block_vectors % vectors, rest)):
            body(rest, block_vectors - rest)


def cover(
    context: BlockContext, vectors: int, over_rows: Callable[[TileBody], None], rows_outside: bool
) -> None:
    """Tiles of so many vectors at every origin that a loop over rows gives. rows_outside: all columns of a
    tile of rows before the next, else all rows of a panel of B before the next."""
    if rows_outside:
        over_rows(
            lambda origin: over_columns(
                context, vectors, lambda wide, vector: tile(context, origin, wide, vector)
            )
        )
    else:
        over_columns(
            context,
            vectors,
            lambda wide, vector: over_rows(lambda origin: tile(context, origin, wide, vector)),
        )


def cover_rows(
    context: BlockContext,
    tiles: Sequence[Tile],
    count: Expr,
    origin_of: Callable[[Expr, int], TileOrigin],
    rows_outside: bool,
) -> None:
    """The rows 0 .. count in the first kind of tile, and what it leaves over in the next ones.
    origin_of: (first row of a tile, its rows) -> its origin."""
    out = context.out
    done: Expr = loops.const(0)
    rest = count
    for number, (height, vectors) in enumerate((t.rows, t.vectors) for t in tiles):
        if number:  # what is left is less than the tile before
            rest = out.let(rest % tiles[number - 1].rows, "rest")
            done = out.let(loops.binary("sub", count, rest), "done")

        def over_rows(inner: TileBody, height: int = height, done: Expr = done, rest: Expr = rest) -> None:
            with out.loop("t", 0, rest // height) as t:
                inner(origin_of(done + t * height, height))

        with out.when(loops.binary("ge", rest, height)) if number else nullcontext():
            cover(context, vectors, over_rows, rows_outside)


def tile(context: BlockContext, origin: TileOrigin, vectors: int, vector: Expr) -> None:
    """Emit one tile: start the sums, add the terms over k, keep or finish the sums."""
    out, rows = context.out, len(origin.offsets)
    sums = Buffer("acc", context.columns.dtype, "register", rows * vectors, context.columns.lanes)
    first = out.let(origin.sums_row, "c")
    places = [
        (r * vectors + v, context.sums_index(first + r, vector + v))
        for r in range(rows)
        for v in range(vectors)
    ]
    out.alloc(sums)
    _start(context, sums, places)
    mask = _mask(context, vectors, vector) if context.partial_loads or context.in_registers else None
    _over_depth(context, origin, vectors, vector, sums, mask if context.partial_loads else None)

    def finish() -> None:
        _finish_tile(context, origin, vectors, vector, sums, mask)

    def keep() -> None:
        assert context.sums is not None
        for i, place in places:
            out.store(context.sums, loops.ramp(place, context.columns.lanes), loops.load(sums, i))

    if not context.in_registers:
        keep()
    elif context.sums is None:
        finish()
    else:
        out.either(context.is_last, finish, keep)


def _start(context: BlockContext, sums: Buffer, places: Sequence[tuple[int, Expr]]) -> None:
    """The sums of a tile before a block of k: zeros in the first, else what is in scratch. places:
    (register, index in scratch) of each vector."""
    zero = loops.broadcast(loops.const(0.0, context.columns.dtype), context.columns.lanes)

    def clear() -> None:
        for i, _ in places:
            context.out.store(sums, i, zero)

    def resume() -> None:
        assert context.sums is not None
        for i, place in places:
            context.out.store(sums, i, _vector(context, context.sums, place))

    if context.sums is None or context.is_first is context.is_last:
        clear()
    else:
        context.out.either(context.is_first, clear, resume)


def _vector(context: BlockContext, buffer: Buffer, index: Expr) -> Expr:
    return loops.load(buffer, loops.ramp(index, context.columns.lanes))


def _mask(context: BlockContext, vectors: int, vector: Expr) -> Expr | None:
    """Which lanes of a tile's last vector are columns; None when all are."""
    columns = context.columns
    if not columns.ragged:
        return None
    ramp = loops.ramp(context.column(vector + (vectors - 1)), columns.lanes)
    return context.out.let(loops.binary("lt", ramp, columns.total), "m")


def _over_depth(
    context: BlockContext, origin: TileOrigin, vectors: int, vector: Expr, sums: Buffer, mask: Expr | None
) -> None:
    """The loops over k around the multiply-adds of a tile."""
    out, lanes = context.out, context.columns.lanes

    guard = origin.guard
    ranges = guard.ranges(out) if guard else {}

    def multiply(a: Expr, b: Expr, ks: Sequence[Expr]) -> None:
        row: list[Expr] = []
        for v in range(vectors):
            index = loops.ramp(b + context.b.step(v, lanes), lanes)
            row.append(out.let(loops.load(context.b.buffer, index, mask if v == vectors - 1 else None), "b"))
        for r, offset in enumerate(origin.offsets):
            inside = guard.inside(r, ks) if guard else None
            for v, (of_a, of_b) in enumerate(zip(elements_of_a(a + offset, inside), row)):
                i = r * vectors + v
                out.store(sums, i, loops.multiply_add(of_a, of_b, loops.load(sums, i), exact=False))

    def elements_of_a(place: Expr, inside: Expr | None) -> list[Expr]:
        """What a row of the tile has of A, for each of its vectors; zeros unless it is inside."""
        if not context.by_column:
            return [out.let(loops.broadcast(loops.load(context.a, place), lanes), "x")] * vectors
        masks = [None] * (vectors - 1) + [mask]
        if inside is None:
            return [
                loops.load(context.a, loops.ramp(place + v * lanes, lanes), m) for v, m in enumerate(masks)
            ]
        exists = out.let(loops.broadcast(out.let(inside, "inside"), lanes), "m")
        if out.target.masks:
            both = [exists if m is None else loops.binary("and", exists, m) for m in masks]
            return [
                loops.load(context.a, loops.ramp(place + v * lanes, lanes), m) for v, m in enumerate(both)
            ]
        place = out.let(loops.select(inside, place, context.column(vector)), "x")  # the first of these exist
        zero = loops.broadcast(loops.const(0.0, context.columns.dtype), lanes)
        whole = [loops.load(context.a, loops.ramp(place + v * lanes, lanes)) for v in range(vectors)]
        return [loops.select(exists, x, zero) for x in whole]

    def nest(rest: Sequence[DepthLoop], a: Expr, b: Expr, ks: tuple[Expr, ...]) -> None:
        a, b = out.let(a, "p"), out.let(b, "q")
        if not rest:
            multiply(a, b, ks)
            return
        first, stop = ranges.get(len(ks), (loops.ZERO, rest[0].count))
        with out.loop("k", first, stop) as k:
            nest(rest[1:], a + k * rest[0].a, b + k * rest[0].b, (*ks, k))

    first = origin.a + context.column(vector) if context.by_column else origin.a
    nest(context.depth_loops, first, context.b.start(vector, lanes), ())


def _finish_tile(
    context: BlockContext, origin: TileOrigin, vectors: int, vector: Expr, sums: Buffer, mask: Expr | None
) -> None:
    row = context.out.let(origin.row, "o")
    for r in range(len(origin.offsets)):
        for v in range(vectors):
            value = loops.load(sums, r * vectors + v)
            write(context, value, row + r, context.column(vector + v), mask if v == vectors - 1 else None)


def write(context: BlockContext, value: Expr, row: Expr, column: Expr, mask: Expr | None) -> None:
    """The epilogue of one vector (or one element) and its stores."""
    out, epilogue = context.out, context.epilogue
    row, column = out.let(context.output_row(row), "o"), context.first_column + column
    width = context.width or context.columns.total
    index = loops.ramp(row * width + column - epilogue.start, value.lanes)
    values = epilogue.values(value, row, loops.ramp(column, value.lanes), mask)
    if len(values) != len(epilogue.outputs):
        raise ValueError(f"the epilogue gives {len(values)} values for {len(epilogue.outputs)} outputs")
    # All values before the first store: an output may be written over an operand (a slot of the
    # optimizer) that the values of the others are made of.
    for buffer, x in zip(epilogue.outputs, [out.let(x, "y") for x in values]):
        at = (
            index
            if buffer.window is None
            else loops.ramp(_within(buffer.window, row, column, width), value.lanes)
        )
        out.store(buffer, at, x, mask)


def _within(window: Window, row: Expr, column: Expr, width: int) -> Expr:
    """Where an element lies in an output whose runs are of whole rows."""
    rows = window.run // width
    if rows == 1:
        return row * window.stride + column
    return row // rows * window.stride + row % rows * width + column


def finish_rows(context: BlockContext, rows: Expr, row: Expr, sums_row: Expr, masked: bool) -> None:
    """The epilogue over `rows` rows of the scratch block, from `sums_row` there and `row` in the
    output, as a rolled loop. masked: partial vectors are stored by mask, else by element."""
    assert context.sums is not None
    out, columns, sums, lanes = context.out, context.columns, context.sums, context.columns.lanes
    block_columns = _block_columns(context)
    with out.loop("r", 0, rows) as r:
        start = context.sums_index(sums_row + r, loops.const(0))
        with out.loop("v", 0, block_columns // lanes) as v:
            write(context, _vector(context, sums, start + v * lanes), row + r, context.column(v), None)
        if not columns.ragged:
            return
        rest = block_columns // lanes * lanes
        first = context.vector * lanes
        if masked:
            with out.when(loops.binary("lt", rest, block_columns)):
                ramp = loops.ramp(first + rest, lanes)
                mask = out.let(loops.binary("lt", ramp, columns.total), "m")
                write(context, _vector(context, sums, start + rest), row + r, first + rest, mask)
        else:
            with out.loop("e", rest, block_columns) as e:
                write(context, loops.load(sums, start + e), row + r, first + e, None)


def _block_columns(context: BlockContext) -> Expr:
    lanes, total = context.columns.lanes, context.columns.total
    if not context.columns.ragged:
        return context.block_vectors * lanes
    return loops.binary(
        "min", context.block_vectors * lanes, loops.binary("sub", total, context.vector * lanes)
    )

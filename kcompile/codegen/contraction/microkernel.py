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
from kcompile.codegen.groups.operands import Epilogue
from kcompile.codegen.loops import Buffer, Expr
from kcompile.codegen.loops.builder import Builder


@dataclass(frozen=True)
class Panels:
    """Where a block of B lies. base: index of its first element. panel: vectors of a panel, with
    `stride` elements between panels; None when rows of B are whole."""

    buffer: Buffer
    base: Expr
    panel: int | None = None
    stride: int = 0

    def start(self, vector: Expr, lanes: int) -> Expr:
        """Index of the vector that opens a tile (a multiple of the panel)."""
        if self.panel is None:
            return self.base + vector * lanes
        return self.base + vector // self.panel * self.stride

    def step(self, vector: int, lanes: int) -> int:
        if self.panel is None:
            return vector * lanes
        return vector // self.panel * self.stride + vector % self.panel * lanes


@dataclass(frozen=True)
class Step:
    """A loop over k: iterations, and elements of A and of B from one to the next."""

    count: Expr
    a: int
    b: int


@dataclass(frozen=True)
class Site:
    """Where a tile is. a: index in A's buffer of its first row at the block's first k. offsets: of
    its rows from there. row: flat output row of the first. slot: its row in the scratch block."""

    a: Expr
    offsets: tuple[int, ...]
    row: Expr
    slot: Expr


Inner = Callable[[Site], None]  # emits what is done at a site


@dataclass(frozen=True)
class Task:
    """What all tiles of one block share.

    vector: number of the column block's first vector. here: vectors in it. sums: scratch [rows,
    block columns] for partial sums, or None when the tiles finish in registers. first, last: (bool)
    whether this is the first and the last block of k. direct: the tile itself applies the epilogue.
    partial_loads: lanes of B outside the columns must not be read. out: where statements go.
    output_row: where in the output a row of the tiles' numbering is.
    """

    a: Buffer
    b: Panels
    steps: tuple[Step, ...]
    columns: Columns
    vector: Expr
    here: Expr
    epilogue: Epilogue
    sums: Buffer | None
    first: Expr
    last: Expr
    direct: bool
    partial_loads: bool
    out: Builder
    output_row: Callable[[Expr], Expr]

    def column(self, vector: Expr) -> Expr:
        """The first column of a vector of the block."""
        return (self.vector + vector) * self.columns.lanes

    def sums_index(self, row: Expr, vector: Expr) -> Expr:
        lanes = self.columns.lanes
        return row * (self.columns.block * lanes) + vector * lanes


def over_columns(task: Task, vectors: int, body: Callable[[int, Expr], None]) -> None:
    """Tiles of so many vectors over the columns of the block, and a narrower one for the rest.
    body: emits a tile of (vectors, from this one of the block on)."""
    here, out = task.here, task.out
    with out.loop("g", 0, here // vectors) as group:
        body(vectors, group * vectors)
    rest = task.columns.vectors % vectors
    if rest:
        known = isinstance(here, loops.Const)
        with nullcontext() if known else out.when(loops.binary("eq", here % vectors, rest)):
            body(rest, here - rest)


def cover(task: Task, vectors: int, over_rows: Callable[[Inner], None], rows_outside: bool) -> None:
    """Tiles of so many vectors at every site of a loop over rows. rows_outside: all columns of a
    tile of rows before the next, else all rows of a panel of B before the next."""
    if rows_outside:
        over_rows(
            lambda site: over_columns(task, vectors, lambda wide, vector: tile(task, site, wide, vector))
        )
    else:
        over_columns(
            task, vectors, lambda wide, vector: over_rows(lambda site: tile(task, site, wide, vector))
        )


def cover_rows(
    task: Task, tiles: Sequence[Tile], count: Expr, site: Callable[[Expr, int], Site], rows_outside: bool
) -> None:
    """The rows 0 .. count in the first kind of tile, and what it leaves over in the next ones.
    site: (first row of a tile, its rows) -> where it is."""
    out = task.out
    done: Expr = loops.const(0)
    rest = count
    for number, (height, vectors) in enumerate((t.rows, t.vectors) for t in tiles):
        if number:  # what is left is less than the tile before
            rest = out.let(rest % tiles[number - 1].rows, "rest")
            done = out.let(loops.binary("sub", count, rest), "done")

        def over_rows(inner: Inner, height: int = height, done: Expr = done, rest: Expr = rest) -> None:
            with out.loop("t", 0, rest // height) as t:
                inner(site(done + t * height, height))

        with out.when(loops.binary("ge", rest, height)) if number else nullcontext():
            cover(task, vectors, over_rows, rows_outside)


def tile(task: Task, site: Site, vectors: int, vector: Expr) -> None:
    """All of one tile: start the sums, run over k, keep or finish the sums."""
    out, rows = task.out, len(site.offsets)
    sums = Buffer("acc", "float32", "register", rows * vectors, task.columns.lanes)
    slot = out.let(site.slot, "c")
    places = [
        (r * vectors + v, task.sums_index(slot + r, vector + v)) for r in range(rows) for v in range(vectors)
    ]
    out.alloc(sums)
    _start(task, sums, places)
    mask = _mask(task, vectors, vector) if task.partial_loads or task.direct else None
    _over_depth(task, site, vectors, vector, sums, mask if task.partial_loads else None)

    def finish() -> None:
        _finish_tile(task, site, vectors, vector, sums, mask)

    def keep() -> None:
        assert task.sums is not None
        for i, place in places:
            out.store(task.sums, loops.ramp(place, task.columns.lanes), loops.load(sums, i))

    if not task.direct:
        keep()
    elif task.sums is None:
        finish()
    else:
        out.either(task.last, finish, keep)


def _start(task: Task, sums: Buffer, places: Sequence[tuple[int, Expr]]) -> None:
    """The sums of a tile before a block of k: zeros in the first, else what is in scratch. places:
    (register, index in scratch) of each vector."""
    zero = loops.broadcast(loops.const(0.0, "float32"), task.columns.lanes)

    def clear() -> None:
        for i, _ in places:
            task.out.store(sums, i, zero)

    def resume() -> None:
        assert task.sums is not None
        for i, place in places:
            task.out.store(sums, i, _vector(task, task.sums, place))

    if task.sums is None or task.first is task.last:
        clear()
    else:
        task.out.either(task.first, clear, resume)


def _vector(task: Task, buffer: Buffer, index: Expr) -> Expr:
    return loops.load(buffer, loops.ramp(index, task.columns.lanes))


def _mask(task: Task, vectors: int, vector: Expr) -> Expr | None:
    """Which lanes of a tile's last vector are columns; None when all are."""
    columns = task.columns
    if not columns.ragged:
        return None
    ramp = loops.ramp(task.column(vector + (vectors - 1)), columns.lanes)
    return task.out.let(loops.binary("lt", ramp, columns.total), "m")


def _over_depth(task: Task, site: Site, vectors: int, vector: Expr, sums: Buffer, mask: Expr | None) -> None:
    """The loops over k around the multiply-adds of a tile."""
    out, lanes = task.out, task.columns.lanes

    def multiply(a: Expr, b: Expr) -> None:
        row: list[Expr] = []
        for v in range(vectors):
            index = loops.ramp(b + task.b.step(v, lanes), lanes)
            row.append(out.let(loops.load(task.b.buffer, index, mask if v == vectors - 1 else None), "b"))
        for r, offset in enumerate(site.offsets):
            one = out.let(loops.broadcast(loops.load(task.a, a + offset), lanes), "x")
            for i, of_b in enumerate(row, r * vectors):
                out.store(sums, i, loops.fma(one, of_b, loops.load(sums, i), exact=False))

    def nest(steps: Sequence[Step], a: Expr, b: Expr) -> None:
        a, b = out.let(a, "p"), out.let(b, "q")
        if not steps:
            multiply(a, b)
            return
        with out.loop("k", 0, steps[0].count) as k:
            nest(steps[1:], a + k * steps[0].a, b + k * steps[0].b)

    nest(task.steps, site.a, task.b.start(vector, lanes))


def _finish_tile(task: Task, site: Site, vectors: int, vector: Expr, sums: Buffer, mask: Expr | None) -> None:
    row = task.out.let(site.row, "o")
    for r in range(len(site.offsets)):
        for v in range(vectors):
            value = loops.load(sums, r * vectors + v)
            write(task, value, row + r, task.column(vector + v), mask if v == vectors - 1 else None)


def write(task: Task, value: Expr, row: Expr, column: Expr, mask: Expr | None) -> None:
    """The epilogue of one vector (or one element) and its stores."""
    out, epilogue = task.out, task.epilogue
    row = out.let(task.output_row(row), "o")
    index = loops.ramp(row * task.columns.total + column, value.lanes)
    values = epilogue.values(value, row, loops.ramp(column, value.lanes), mask)
    if len(values) != len(epilogue.outputs):
        raise ValueError(f"the epilogue gives {len(values)} values for {len(epilogue.outputs)} outputs")
    # All values before the first store: an output may be written over an operand (a slot of the
    # optimizer) that the values of the others are made of.
    for buffer, x in zip(epilogue.outputs, [out.let(x, "y") for x in values]):
        out.store(buffer, index, x, mask)


def finish_rows(task: Task, rows: Expr, row: Expr, slot: Expr, masked: bool) -> None:
    """The epilogue over `rows` rows of the scratch block, from `slot` there and `row` in the
    output, as a rolled loop. masked: partial vectors are stored by mask, else by element."""
    assert task.sums is not None
    out, columns, sums, lanes = task.out, task.columns, task.sums, task.columns.lanes
    here = _columns_here(task)
    with out.loop("r", 0, rows) as r:
        start = task.sums_index(slot + r, loops.const(0))
        with out.loop("v", 0, here // lanes) as v:
            write(task, _vector(task, sums, start + v * lanes), row + r, task.column(v), None)
        if not columns.ragged:
            return
        rest = here // lanes * lanes
        first = task.vector * lanes
        if masked:
            with out.when(loops.binary("lt", rest, here)):
                ramp = loops.ramp(first + rest, lanes)
                mask = out.let(loops.binary("lt", ramp, columns.total), "m")
                write(task, _vector(task, sums, start + rest), row + r, first + rest, mask)
        else:
            with out.loop("e", rest, here) as e:
                write(task, loops.load(sums, start + e), row + r, first + e, None)


def _columns_here(task: Task) -> Expr:
    lanes, total = task.columns.lanes, task.columns.total
    if not task.columns.ragged:
        return task.here * lanes
    return loops.binary("min", task.here * lanes, loops.binary("sub", total, task.vector * lanes))

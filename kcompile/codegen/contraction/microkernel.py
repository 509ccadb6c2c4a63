"""The register tile of a contraction, and what happens to its sums.

What enters: where A and B lie (buffers, an index of the first element, strides along k), a tile of
rows x vectors, and the epilogue. What leaves: statements. Each output element is one chain of fused
multiply-adds over ascending k, whatever tile it falls in: the bits do not depend on the blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kcompile.codegen import loops
from kcompile.codegen.contraction.blocking import Columns, Tile
from kcompile.codegen.groups.operands import Epilogue
from kcompile.codegen.loops import Buffer, Expr, Names, Stmt


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


Inner = Callable[[Site], "list[Stmt]"]


@dataclass(frozen=True)
class Task:
    """What all tiles of one block share.

    vector: number of the column block's first vector. here: vectors in it. sums: scratch [rows,
    block columns] for partial sums, or None when the tiles finish in registers. first, last: (bool)
    whether this is the first and the last block of k. direct: the tile itself applies the epilogue.
    partial_loads: lanes of B outside the columns must not be read. output_row: where in the output
    a row of the tiles' numbering is.
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
    names: Names
    output_row: Callable[[Expr], Expr]

    def column(self, vector: Expr) -> Expr:
        """The first column of a vector of the block."""
        return (self.vector + vector) * self.columns.lanes

    def sums_index(self, row: Expr, vector: Expr) -> Expr:
        lanes = self.columns.lanes
        return row * (self.columns.block * lanes) + vector * lanes


def over_columns(task: Task, vectors: int, body: Callable[[int, Expr], list[Stmt]]) -> list[Stmt]:
    """Tiles of so many vectors over the columns of the block, and a narrower one for the rest.
    body: (vectors of the tile, its first vector in the block) -> statements."""
    here, group = task.here, task.names.fresh("g")
    rest = task.columns.vectors % vectors
    out: list[Stmt] = [loops.loop(group, 0, here // vectors, body(vectors, group * vectors))]
    if rest:
        tail = body(rest, here - rest)
        out += (
            tail
            if isinstance(here, loops.Const)
            else [loops.If(loops.binary("eq", here % vectors, rest), tuple(tail))]
        )
    return out


def cover(
    task: Task, vectors: int, over_rows: Callable[[Inner], list[Stmt]], rows_outside: bool
) -> list[Stmt]:
    """Tiles of so many vectors at every site of a loop over rows. rows_outside: all columns of a
    tile of rows before the next, else all rows of a panel of B before the next."""
    if rows_outside:
        return over_rows(
            lambda site: over_columns(task, vectors, lambda wide, vector: tile(task, site, wide, vector))
        )
    return over_columns(
        task, vectors, lambda wide, vector: over_rows(lambda site: tile(task, site, wide, vector))
    )


def cover_rows(
    task: Task, tiles: Sequence[Tile], count: Expr, site: Callable[[Expr, int], Site], rows_outside: bool
) -> list[Stmt]:
    """The rows 0 .. count in the first kind of tile, and what it leaves over in the next ones.
    site: (first row of a tile, its rows) -> where it is."""
    out: list[Stmt] = []
    done: Expr = loops.const(0)
    rest = count
    for number, (height, vectors) in enumerate((t.rows, t.vectors) for t in tiles):
        if number:  # what is left is less than the tile before
            lets, rest = task.names.bind("rest", rest % tiles[number - 1].rows)
            more, done = task.names.bind("done", loops.binary("sub", count, rest))
            out += [*lets, *more]

        def over_rows(inner: Inner, height: int = height, done: Expr = done, rest: Expr = rest) -> list[Stmt]:
            t = task.names.fresh("t")
            return [loops.loop(t, 0, rest // height, inner(site(done + t * height, height)))]

        body = cover(task, vectors, over_rows, rows_outside)
        out += body if number == 0 else [loops.If(loops.binary("ge", rest, height), tuple(body))]
    return out


def tile(task: Task, site: Site, vectors: int, vector: Expr) -> list[Stmt]:
    """All of one tile: start the sums, run over k, keep or finish the sums."""
    lanes, rows = task.columns.lanes, len(site.offsets)
    sums = Buffer("acc", "float32", "register", rows * vectors, lanes)
    zero = loops.broadcast(loops.const(0.0, "float32"), lanes)
    clear: list[Stmt] = [loops.store(sums, i, zero) for i in range(rows * vectors)]
    out, slot = task.names.bind("c", site.slot)
    out.append(loops.Alloc(sums))
    if task.sums is None or task.first is task.last:
        out += clear
    else:
        out.append(
            loops.If(
                task.first,
                tuple(clear),
                tuple(
                    loops.store(
                        sums, r * vectors + v, _vector(task, task.sums, task.sums_index(slot + r, vector + v))
                    )
                    for r in range(rows)
                    for v in range(vectors)
                ),
            )
        )
    masks, mask = _mask(task, vectors, vector)
    out += masks if task.partial_loads or task.direct else []
    out += _over_depth(task, site, vectors, vector, sums, mask if task.partial_loads else None)
    keep: list[Stmt] = []
    if task.sums is not None:
        keep = [
            loops.store(
                task.sums,
                loops.ramp(task.sums_index(slot + r, vector + v), lanes),
                loops.load(sums, r * vectors + v),
            )
            for r in range(rows)
            for v in range(vectors)
        ]
    if not task.direct:
        return out + keep
    finish = _finish_tile(task, site, vectors, vector, sums, mask)
    return out + ([loops.If(task.last, tuple(finish), tuple(keep))] if keep else finish)


def _vector(task: Task, buffer: Buffer, index: Expr) -> Expr:
    return loops.load(buffer, loops.ramp(index, task.columns.lanes))


def _mask(task: Task, vectors: int, vector: Expr) -> tuple[list[Stmt], Expr | None]:
    """Which lanes of a tile's last vector are columns; None when all are."""
    columns = task.columns
    if not columns.ragged:
        return [], None
    ramp = loops.ramp(task.column(vector + (vectors - 1)), columns.lanes)
    statement, mask = loops.let(task.names.fresh("m").name, loops.binary("lt", ramp, columns.total))
    return [statement], mask


def _over_depth(
    task: Task, site: Site, vectors: int, vector: Expr, sums: Buffer, mask: Expr | None
) -> list[Stmt]:
    """The loops over k around the multiply-adds of a tile."""
    lanes = task.columns.lanes

    def multiply(a: Expr, b: Expr) -> list[Stmt]:
        out: list[Stmt] = []
        row: list[Expr] = []
        for v in range(vectors):
            index = loops.ramp(b + task.b.step(v, lanes), lanes)
            value = loops.load(task.b.buffer, index, mask if v == vectors - 1 else None)
            statement, name = loops.let(f"b{v}", value)
            out.append(statement)
            row.append(name)
        for r, offset in enumerate(site.offsets):
            one = loops.broadcast(loops.load(task.a, a + offset), lanes)
            statement, name = loops.let("x", one)
            out.append(statement)
            out += [
                loops.store(sums, i, loops.fma(name, row[v], loops.load(sums, i), exact=False))
                for v in range(vectors)
                for i in (r * vectors + v,)
            ]
        return out

    def nest(steps: Sequence[Step], a: Expr, b: Expr) -> list[Stmt]:
        if not steps:
            return multiply(a, b)
        k = task.names.fresh("k")
        lets_a, a = task.names.bind("p", a + k * steps[0].a)
        lets_b, b = task.names.bind("q", b + k * steps[0].b)
        return [loops.loop(k, 0, steps[0].count, lets_a + lets_b + nest(steps[1:], a, b))]

    lets_a, a = task.names.bind("p", site.a)
    lets_b, b = task.names.bind("q", task.b.start(vector, lanes))
    return lets_a + lets_b + nest(task.steps, a, b)


def _finish_tile(
    task: Task, site: Site, vectors: int, vector: Expr, sums: Buffer, mask: Expr | None
) -> list[Stmt]:
    out, row = task.names.bind("o", site.row)
    for r in range(len(site.offsets)):
        for v in range(vectors):
            out += write(
                task,
                loops.load(sums, r * vectors + v),
                row + r,
                task.column(vector + v),
                mask if v == vectors - 1 else None,
            )
    return out


def write(task: Task, value: Expr, row: Expr, column: Expr, mask: Expr | None) -> list[Stmt]:
    """The epilogue of one vector (or one element) and its stores."""
    columns = loops.ramp(column, value.lanes)
    place, row = task.names.bind("o", task.output_row(row))
    index = loops.ramp(row * task.columns.total + column, value.lanes)
    epilogue = task.epilogue
    values = epilogue.values(value, row, columns, mask)
    if len(values) != len(epilogue.outputs):
        raise ValueError(f"the epilogue gives {len(values)} values for {len(epilogue.outputs)} outputs")
    # All values before the first store: an output may be written over an operand (a slot of the
    # optimizer) that the values of the others are made of.
    lets, bound = zip(*(loops.let(task.names.fresh("y").name, x) for x in values))
    return [
        *place,
        *lets,
        *(loops.store(buffer, index, x, mask) for buffer, x in zip(epilogue.outputs, bound)),
    ]


def finish_rows(task: Task, rows: Expr, row: Expr, slot: Expr, masked: bool) -> list[Stmt]:
    """The epilogue over `rows` rows of the scratch block, from `slot` there and `row` in the
    output, as a rolled loop. masked: partial vectors are stored by mask, else by element."""
    assert task.sums is not None
    columns, sums = task.columns, task.sums
    r, v, e = task.names.fresh("r"), task.names.fresh("v"), task.names.fresh("e")
    lanes = columns.lanes
    here = _columns_here(task)
    start = task.sums_index(slot + r, loops.const(0))
    whole = [*write(task, _vector(task, sums, start + v * lanes), row + r, task.column(v), None)]
    body: list[Stmt] = [loops.loop(v, 0, here // lanes, whole)]
    if columns.ragged:
        rest = here // lanes * lanes
        first = task.vector * lanes
        if masked:
            ramp = loops.ramp(first + rest, lanes)
            let, mask = loops.let(task.names.fresh("m").name, loops.binary("lt", ramp, columns.total))
            tail = [let, *write(task, _vector(task, sums, start + rest), row + r, first + rest, mask)]
            body.append(loops.If(loops.binary("lt", rest, here), tuple(tail)))
        else:
            body.append(
                loops.loop(e, rest, here, write(task, loops.load(sums, start + e), row + r, first + e, None))
            )
    return [loops.loop(r, 0, rows, body)]


def _columns_here(task: Task) -> Expr:
    lanes, total = task.columns.lanes, task.columns.total
    if not task.columns.ragged:
        return task.here * lanes
    return loops.binary("min", task.here * lanes, loops.binary("sub", total, task.vector * lanes))

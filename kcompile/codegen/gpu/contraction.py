"""Contractions on a graphics processor: a tile of the result in each block, slices of A and B in shared
memory, a small tile of sums in the registers of each thread.

What enters: the same index maps, operands and epilogue as on other processors
(`codegen.contraction.lower_contraction`), so dense layers, convolutions and all their gradients are
covered, padding included. What leaves: a `Kernel` of a `DeviceFunction`. Each output element is one chain
of fused multiply-adds over ascending k, as it is there: the bits are the same. Only where there are few
results of very many terms (`is_split_k`), the threads of a block share a sum, in a tree of fixed shape.
Where groups of columns have an A of their own, a thread has one result and reads its operands where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kcompile.codegen import cost, loops
from kcompile.codegen.gpu.device import BLOCK, THREAD, Grid, device_function
from kcompile.codegen.gpu.teams import Team, TeamBuilder
from kcompile.codegen.groups.operands import Epilogue, Source, of_sample
from kcompile.codegen.loops import TRUE, ZERO, Buffer, Expr
from kcompile.codegen.loops.builder import Builder
from kcompile.codegen.program import Kernel, Size, size_of
from kcompile.codegen.targets import Target
from kcompile.ir.contraction import Access, Contraction
from kcompile.ir.types import Batch, Dim, numel


@dataclass(frozen=True)
class Tile:
    """Sums of one thread: `rows` x `columns`, SIDE apart from each other."""

    rows: int
    columns: int


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
    note: str = "",
    chosen: Tile | None = None,
) -> Kernel:
    """The kernel of a contraction; the arguments are those of `codegen.contraction`. chosen: the
    tile, `choose_tile`'s by default. Raises ValueError for panels and for a batch in the columns."""
    rows, columns, _ = spec.sizes
    if b_panels is not None or isinstance(columns, Batch):
        raise ValueError(
            f"{note or name}: a product with panels or with the batch in its columns has "
            "no kernel for graphics processors"
        )
    plain = [x for x in (a.buffer, b.buffer, *epilogue.outputs) if x is not None]
    parameters = tuple(buffers or dict.fromkeys(plain))
    shared = chosen is None and not spec.g and is_split_k(spec)
    if shared or spec.groups:
        return _by_result(name, spec, a, b, epilogue, target, parameters, note, shared)
    tile = chosen or choose_tile(rows, columns)
    wide = -(-columns // (cost.SIDE * tile.columns))
    grid = Grid(size_of(rows), cost.SIDE * tile.rows, wide, cost.SIDE * cost.SIDE)
    block: Expr = BLOCK
    first: Expr = ZERO
    if spec.g:
        if isinstance(rows, Batch):
            raise ValueError(f"{note or name}: the batch must be among the samples. Received: {spec}")
        each = wide * -(-rows // (cost.SIDE * tile.rows))
        grid, block = Grid(size_of(numel(spec.g)), 1, each, cost.SIDE * cost.SIDE), BLOCK % each
        first = BLOCK // each * rows
        spec, a, b = of_sample(spec, a, b, BLOCK // each)
    code = _Code(spec, a, b, epilogue, tile, Builder(target, 1), first)
    with code.b.block() as body:
        code.run(block // wide, block % wide)
    function = device_function(name, parameters, grid, body, note)
    return Kernel(function, Size(1), Size(cost.THREAD_CYCLES))


def is_split_k(spec: Contraction) -> bool:
    """Whether to split k between the threads of a block: a product has few results of many terms each, as the
    gradients of small kernels and of biases."""
    rows, columns, depth = spec.sizes
    return (
        isinstance(rows, int)
        and isinstance(columns, int)
        and _blocks(rows, columns, 1, 1) < cost.BUSY // 4
        and (isinstance(depth, Batch) or depth >= cost.SPLIT_K_TERMS)
    )


def _by_result(
    name: str,
    spec: Contraction,
    a: Source,
    b: Source,
    epilogue: Epilogue,
    target: Target,
    buffers: tuple[Buffer, ...],
    note: str,
    shared: bool,
) -> Kernel:
    """A kernel with a block for each result, whose threads share its sum (`shared`), or with a thread."""
    rows, columns, _ = spec.sizes
    assert isinstance(columns, int)
    threads = cost.SIDE * cost.SIDE
    team = Team(1, threads, False)
    code = _Code(
        spec, a, b, epilogue, Tile(1, 1), TeamBuilder(target, team) if shared else Builder(target, 1)
    )
    with code.b.block() as body:
        if shared:
            grid = Grid(size_of(rows), 1, columns, threads)
            code.run_split_k(BLOCK // columns, BLOCK % columns)
        else:
            grid = Grid(size_of(numel((*spec.m, *spec.j))), threads, 1, threads)
            code.run_result(BLOCK * threads + THREAD)
    return Kernel(device_function(name, buffers, grid, body, note), Size(1), Size(cost.THREAD_CYCLES))


def lower_samples(
    b: Builder,
    spec: Contraction,
    a: Source,
    other: Source,
    epilogue: Epilogue,
    first: Expr,
    samples: Expr,
    most: int,
    threads: int,
) -> None:
    """A contraction for `samples` samples from `first` on (at most `most` of them), by one block of so
    many threads, as a part of a kernel that does more. Columns and depth must be known."""
    each, columns = numel(spec.m), spec.sizes[1]
    assert isinstance(each, Batch) and isinstance(columns, int)
    tile = choose_thread_tile(most * each.multiple, columns)
    code = _Code(spec, a, other, epilogue, tile, b)
    code.run_samples(b.let(first * each.multiple), b.let(samples * each.multiple), threads)


def choose_thread_tile(rows: int, columns: int) -> Tile:
    """The sums of one thread, where a block has few rows: a tile reads less for each multiply-add, as
    long as every scheduler of a multiprocessor has a warp."""
    down = across = 1
    while True:
        wider = 2 * across if across <= down and across < 4 and columns % (2 * across) == 0 else 0
        taller = 2 * down if down < 8 and 2 * down <= rows else 0
        if not (wider or taller) or rows * columns < 2 * down * across * cost.LEAST_THREADS:
            return Tile(down, across)
        down, across = (down, wider) if wider else (taller, across)


def choose_tile(rows: Dim, columns: int) -> Tile:
    """Large tiles read less from memory; but every multiprocessor should have a block."""
    across = _fit(columns, 4)
    if isinstance(rows, Batch):
        down = 8 if rows.multiple >= 128 and across == 4 else 4 if rows.multiple >= 16 else 2
        return Tile(down, across)
    down = _fit(rows, 8 if across == 4 else 4)
    while down * across > 1 and _blocks(rows, columns, down, across) < cost.BUSY:
        down, across = (down // 2, across) if down >= across else (down, across // 2)
    return Tile(down, across)


def _fit(size: int, most: int) -> int:
    """The smallest tile (in units of SIDE) that covers `size`, at most `most`."""
    tile = 1
    while tile < most and cost.SIDE * tile < size:
        tile *= 2
    return tile


def _blocks(rows: int, columns: int, down: int, across: int) -> int:
    return -(-rows // (cost.SIDE * down)) * -(-columns // (cost.SIDE * across))


@dataclass(frozen=True)
class _Slice:
    """A slice of an operand in shared memory, [SLICE, SIDE * thread_elements + BANK_PADDING].

    outer_first: neighbours in the operand's memory are neighbouring rows (of A) or columns (of B), else
    neighbouring k. Neighbouring threads read neighbours in memory.
    """

    buffer: Buffer
    thread_elements: int
    outer_first: bool

    @property
    def size(self) -> int:
        return cost.SIDE * self.thread_elements

    def place(self, k: Expr, at: Expr) -> Expr:
        return k * (self.size + cost.BANK_PADDING) + at

    def element(self, number: int) -> tuple[Expr, Expr]:
        """(k, row or column) of the `number`-th element that this thread copies."""
        flat = THREAD + number * cost.SIDE * cost.SIDE
        if self.outer_first:
            return flat // self.size, flat % self.size
        return flat % cost.SLICE, flat // cost.SLICE


class _Code:
    """The code of one thread. first: the flat row of the output where its rows begin."""

    def __init__(
        self,
        spec: Contraction,
        a: Source,
        b: Source,
        epilogue: Epilogue,
        tile: Tile,
        builder: Builder,
        first: Expr = ZERO,
    ) -> None:
        self.first = first
        self.spec, self.operands, self.epilogue, self.tile = spec, (a, b), epilogue, tile
        self.b = builder
        self.rows, self.columns, self.depth = map(builder.extent, spec.sizes)
        assert a.buffer is not None and b.buffer is not None
        self.dtype = a.buffer.dtype
        shared = [
            self._slice(name, access, thread_elements, first)
            for name, access, thread_elements, first in (
                ("a", spec.a, tile.rows, range(len(spec.m))),
                (
                    "b",
                    spec.b,
                    tile.columns,
                    range(len(spec.m) + len(spec.k), len(spec.m) + len(spec.k) + len(spec.j)),
                ),
            )
        ]
        self.a, self.c = shared
        self.sums = Buffer("sums", self.dtype, "register", tile.rows * tile.columns)

    def _slice(self, name: str, access: Access, thread_elements: int, outer: range) -> _Slice:
        last = access.index[-1].terms
        first = bool(last) and last[-1][0] in outer
        size = cost.SLICE * (cost.SIDE * thread_elements + cost.BANK_PADDING)
        return _Slice(Buffer(f"slice_{name}", self.dtype, "shared", size), thread_elements, first)

    def run(self, block_row: Expr, block_column: Expr) -> None:
        b, tile = self.b, self.tile
        top = b.let(block_row * (cost.SIDE * tile.rows))
        left = b.let(block_column * (cost.SIDE * tile.columns))
        b.alloc(self.a.buffer)
        b.alloc(self.c.buffer)
        b.alloc(self.sums)
        for i in range(self.sums.size):
            b.store(self.sums, i, 0.0)
        copies = [*self._copies(0, self.a, top), *self._copies(1, self.c, left)]
        with b.loop("k", 0, self.depth, cost.SLICE) as k:
            for copy in copies:
                copy(k)
            b.emit(loops.Barrier())
            self._multiply()
            b.emit(loops.Barrier())
        self._finish(top, left)

    def run_split_k(self, row: Expr, column: Expr) -> None:
        """One result: all threads of the block share the terms of its sum."""
        b, spec = self.b, self.spec
        row, column = b.let(row), b.let(column)
        ends, none = self._ends(row, column), loops.const(0, self.dtype)

        def term(index: tuple[Expr, ...]) -> Expr:
            x, y = (self._element(side, ends[side], index[0], TRUE) for side in (0, 1))
            return loops.dot_bytes(x, y, none) if self.dtype == "int32" else b.mul(x, y)

        total = b.reduce("add", [spec.sizes[2]], term, none)
        self._write(total, row, column, loops.binary("eq", THREAD, 0))

    def _ends(self, row: Expr, column: Expr) -> tuple[tuple[Expr, ...], tuple[Expr, ...]]:
        """What A is read at for a result, besides k (its row, and its group), and B (its column)."""
        b, spec = self.b, self.spec
        m, j = (tuple(map(b.let, b.unflatten(at, dims))) for at, dims in ((row, spec.m), (column, spec.j)))
        return (*m, *j[: len(spec.groups)]), j

    def run_result(self, number: Expr) -> None:
        """The result of this number, row by row, where there is one."""
        b = self.b
        number = b.let(number)
        with b.when(loops.binary("lt", number, self.rows * self.columns)):
            row, column = b.let(number // self.columns), b.let(number % self.columns)
            ends = self._ends(row, column)
            b.alloc(self.sums)
            b.store(self.sums, 0, 0.0)
            with b.loop("k", 0, self.depth) as k:
                x, y = (b.let(self._element(side, ends[side], k, TRUE)) for side in (0, 1))
                self._fma([x], [y])
            self._write(loops.load(self.sums, 0), row, column, TRUE)

    def run_samples(self, first: Expr, count: Expr, threads: int) -> None:
        """The rows [first, first + count), by one block. A thread has `tile.rows` neighbouring rows, in
        columns that lie apart, and reads its operands where they are. As everywhere, sums are chains
        over k."""
        b, spec, tile = self.b, self.spec, self.tile
        columns, depth = spec.sizes[1:]
        assert isinstance(columns, int) and isinstance(depth, int)
        wide = columns // tile.columns
        last = b.let(first + count - 1)
        tiles = b.let((count + (tile.rows - 1)) // tile.rows)
        with b.loop("i", THREAD, tiles * wide, threads) as item:
            left, top = b.let(item % wide), b.let(first + item // wide * tile.rows)
            across = [b.let(left + j * wide) for j in range(tile.columns)]
            down = [b.let(loops.binary("min", top + i, last)) for i in range(tile.rows)]
            ends = [
                [tuple(b.let(i) for i in b.unflatten(at, dims)) for at in places]
                for places, dims in ((down, spec.m), (across, spec.j))
            ]
            b.alloc(self.sums)
            for i in range(self.sums.size):
                b.store(self.sums, i, 0.0)
            whole = depth // cost.LOADS_AHEAD * cost.LOADS_AHEAD
            with b.loop("k", 0, whole, cost.LOADS_AHEAD) as k:
                self._add([b.let(k + i) for i in range(cost.LOADS_AHEAD)], *ends)
            self._add([loops.const(k) for k in range(whole, depth)], *ends)
            for i, row in enumerate(down):
                there = loops.binary("le", top + i, last)
                for j, column in enumerate(across):
                    self._write(loops.load(self.sums, i * tile.columns + j), row, column, there)

    def _add(
        self, ks: Sequence[Expr], rows: Sequence[tuple[Expr, ...]], columns: Sequence[tuple[Expr, ...]]
    ) -> None:
        """Add some terms to the sums; all elements of B are loaded before the first is used."""
        b = self.b
        right = [[b.let(self._element(1, end, k, TRUE)) for end in columns] for k in ks]
        for k, terms in zip(ks, right):
            left = [b.let(self._element(0, end, k, TRUE)) for end in rows]
            self._fma(left, terms)

    # ---- slices

    def _copies(self, side: int, slice: _Slice, origin: Expr) -> list[Callable[[Expr], None]]:
        """Functions that write the copy of one element of the slice at k, for each element that this thread
        copies. What does not depend on k is computed now."""
        spec, b = self.spec, self.b
        outer, limit = ((spec.m, self.rows), (spec.j, self.columns))[side]
        out: list[Callable[[Expr], None]] = []
        for number in range(slice.thread_elements):
            depth, at = slice.element(number)
            place = b.let(slice.place(depth, at))
            position = b.let(origin + at)
            inside = b.let(loops.binary("lt", position, limit))
            index = tuple(b.let(i) for i in b.unflatten(position, outer))
            depth = b.let(depth)

            def copy(
                k: Expr,
                place: Expr = place,
                index: tuple[Expr, ...] = index,
                inside: Expr = inside,
                depth: Expr = depth,
            ) -> None:
                at = b.let(k + depth)
                there = loops.binary("and", inside, loops.binary("lt", at, self.depth))
                value = self._element(side, index, at, there)
                b.store(slice.buffer, place, value)

            out.append(copy)
        return out

    def _element(self, side: int, outer: tuple[Expr, ...], k: Expr, inside: Expr) -> Expr:
        """The element of A at (row and group, k) or of B at (k, column); zero, or of A `Contraction.outside`,
        where that is not inside, or in the padding."""
        b, spec = self.b, self.spec
        source, access = self.operands[side], (spec.a, spec.b)[side]
        m, k_dims, j = (len(dims) for dims in (spec.m, spec.k, spec.j))
        columns = range(m + k_dims, m + k_dims + j)
        known = dict(zip(columns if side else (*range(m), *columns), outer))
        known |= {m + i: e for i, e in enumerate(b.unflatten(k, spec.k))}
        valid = inside
        coordinates = []
        for affine, guarded, size in zip(access.index, access.guarded, source.shape):
            at = affine.at(known, loops.const(affine.offset))
            if guarded:
                at, within = b.within(b.let(at), affine.divisor, size)
                valid = loops.binary("and", valid, within)
            coordinates.append(at)
        valid = b.let(valid)
        assert source.buffer is not None
        place = source.start + b.flatten(coordinates, source.shape)
        flat = loops.select(valid, place, b.safe(source.buffer))
        return loops.select(valid, loops.load(source.buffer, flat), 0 if side else spec.outside)

    # ---- sums

    def _multiply(self) -> None:
        """Add the terms of one slice to the sums."""
        b, tile = self.b, self.tile
        down, across = THREAD // cost.SIDE, THREAD % cost.SIDE
        for k in range(cost.SLICE):
            at = loops.const(k)
            left = [
                b.let(loops.load(self.a.buffer, self.a.place(at, down + i * cost.SIDE)))
                for i in range(tile.rows)
            ]
            right = [
                b.let(loops.load(self.c.buffer, self.c.place(at, across + j * cost.SIDE)))
                for j in range(tile.columns)
            ]
            self._fma(left, right)

    def _fma(self, left: Sequence[Expr], right: Sequence[Expr]) -> None:
        """Add one term to each sum."""
        for i, x in enumerate(left):
            for j, y in enumerate(right):
                number = i * self.tile.columns + j
                total = loops.multiply_add(x, y, loops.load(self.sums, number))
                self.b.store(self.sums, number, total)

    def _finish(self, top: Expr, left: Expr) -> None:
        """The epilogue: written out when it is light, else in a loop over sums in local memory."""
        b, tile = self.b, self.tile
        top, left = b.let(top + THREAD // cost.SIDE), b.let(left + THREAD % cost.SIDE)
        if self.epilogue.light or self.sums.size == 1:
            for i in range(tile.rows):
                for j in range(tile.columns):
                    total = loops.load(self.sums, i * tile.columns + j)
                    self._write(total, top + i * cost.SIDE, left + j * cost.SIDE)
            return
        kept = Buffer("kept", self.dtype, "stack", self.sums.size)
        b.alloc(kept)
        for i in range(self.sums.size):
            b.store(kept, i, loops.load(self.sums, i))
        with b.loop("i", 0, tile.rows) as down, b.loop("j", 0, tile.columns) as across:
            kept_sum = b.let(loops.load(kept, down * tile.columns + across))
            self._write(kept_sum, b.let(top + down * cost.SIDE), b.let(left + across * cost.SIDE))

    def _write(self, total: Expr, row: Expr, column: Expr, where: Expr | None = None) -> None:
        columns = self.spec.sizes[1]
        place = self.first + row
        flat = place * self.b.extent(columns) + column
        inside = loops.binary(
            "and", loops.binary("lt", row, self.rows), loops.binary("lt", column, self.columns)
        )
        inside = inside if where is None else where
        with self.b.when(inside):
            # All before the first is written: it may be in the place of an operand.
            values = [self.b.let(x) for x in self.epilogue.values(total, place, column, None)]
            for buffer, value in zip(self.epilogue.outputs, values):
                self.b.store(buffer, flat, value)

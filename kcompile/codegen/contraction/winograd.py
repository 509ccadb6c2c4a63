"""Convolutions in tiles, by Winograd's algorithm (see `ir.ops.winograd`), as loops.

What enters: a convolution's tiling, how its input can be read, the transformed kernel, the epilogue.
What leaves: a `Kernel`. For a block of tiles that fills the cache, numbered through all samples:
patches of the input are transformed to V [patch, tiles, channels]; for each place in a patch, V times
its part of the kernel is M [patch, tiles, filters], by the register tile of all contractions; M is
transformed to outputs, which the epilogue takes. Tiles whose inputs differ too much are marked on the way
in, and computed directly on the way out; outputs whose windows see zeros only are zeros.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kcompile.codegen import cost, loops
from kcompile.codegen.contraction.blocking import (
    Columns,
    block_buffer,
    cache_elements,
    choose_flat,
    tile_vectors,
    within_panels,
)
from kcompile.codegen.contraction.microkernel import (
    BlockContext,
    DepthLoop,
    Panels,
    TileOrigin,
    cover_rows,
    write,
)
from kcompile.codegen.contraction.packing import Copy, Side, copy_box
from kcompile.codegen.groups.operands import Epilogue, Source
from kcompile.codegen.loops import TRUE, Buffer, Expr, Function, Var
from kcompile.codegen.loops.builder import Builder
from kcompile.codegen.loops.indexing import extent
from kcompile.codegen.program import Kernel, Size, size_of
from kcompile.codegen.targets import Target
from kcompile.ir.contraction import Contraction, PanelLayout
from kcompile.ir.ops.winograd import LARGEST, MOST, SPREAD, Tiling
from kcompile.ir.types import Batch, Dim, numel, row_major, static

EVEN, DIRECT, BLANKS = range(3)  # marks of a tile; the last has windows of zeros only


def choose_tiling(
    spec: Contraction, target: Target, in_halves: bool = False
) -> tuple[tuple[int, ...], int] | None:
    """(outputs of a tile, columns of a panel) where Winograd's algorithm is faster for a convolution
    of stride 1; None where the direct one is. in_halves: this multiplies two numbers at once."""
    channels, filters = spec.k[-1], spec.j[0]
    assert isinstance(channels, int) and isinstance(filters, int)
    if target.is_gpu or channels % cost.WINOGRAD_LANES or filters % cost.WINOGRAD_LANES:
        return None
    options = [range(2, MOST - r + 2) if r > 1 else (1,) for r in static(spec.k[:-1])]
    tilings = [Tiling(spec, outputs) for outputs in itertools.product(*options)]
    if not tilings:  # an axis has more taps than a patch gains from
        return None
    best = min(tilings, key=_cycles)
    rows = math.prod(best.positions)
    whole = rows * math.prod(best.taps) * channels * filters // (cost.MULTIPLY_ADDS * cost.WINOGRAD_LANES)
    direct = cost.WINOGRAD_GAIN_IN_HALVES * whole / 2 if in_halves else cost.WINOGRAD_GAIN * whole
    if _cycles(best) >= direct:
        return None
    lanes = target.lanes("float32")
    if target.panel_bits:
        return best.outputs, target.panel_bits // 32
    width = tile_vectors(filters // lanes, lanes, target.registers) * lanes
    return best.outputs, width if filters % width == 0 else lanes


def _cycles(t: Tiling) -> int:
    """Cycles for one sample, roughly: those of the products, or of reading the kernel where it does not
    stay in L2, and those of the transforms."""
    tiles = math.prod(t.counts)
    kernel = math.prod(t.patch) * t.channels * t.filters
    products = tiles * kernel // (cost.MULTIPLY_ADDS * cost.WINOGRAD_LANES)
    if kernel > 2 * cost.WINOGRAD_SHARE:
        products = max(
            products, kernel // cost.FAR_READ * -(-tiles // _tiles_per_block(t, cost.WINOGRAD_SHARE))
        )
    moves = _operations(t, True) * t.channels + _operations(t, False) * t.filters
    return products + tiles * moves // cost.WINOGRAD_LANES


def _operations(t: Tiling, inputs: bool) -> int:
    """Vector operations, loads and stores to transform a patch of inputs, or of products; about one
    a cycle."""
    total, sizes = math.prod(t.patch), list(t.patch)
    for axis, made in enumerate(t.transforms):
        matrix = made.b.T if inputs else made.a.T
        sizes[axis] = 1
        total += int(np.count_nonzero(matrix)) * math.prod(sizes)
        sizes[axis] = len(matrix)
    return total + math.prod(sizes)


def _tiles_per_block(t: Tiling, budget: int) -> int:
    """Tiles whose V and M stay in L2, a multiple of the rows of the register tile."""
    each = math.prod(t.patch) * (t.channels + t.filters)
    return max(2 * budget // each // cost.TILE_ROWS, 1) * cost.TILE_ROWS


def lower_winograd(
    name: str, t: Tiling, a: Source, kernel: Source, direct: Source, epilogue: Epilogue, target: Target
) -> Kernel:
    """The kernel of a convolution of float32 operands whose channels fill vectors. kernel: a buffer, for each
    place of the patch a matrix [channels, filters] in panels (`PanelLayout`). direct: a buffer, [taps...,
    channels, filters]."""
    panel = kernel.shape[-1]
    assert kernel.buffer is not None and direct.buffer is not None and isinstance(panel, int)
    out = Builder(target, target.lanes("float32"))
    code = _Code(t, a, kernel.buffer, direct.buffer, panel, epilogue, out)
    with out.block() as body:
        code.blocks()
    tiles = code.tiles
    run = loops.loop(Var("part"), 0, extent(tiles), body, kind="chunk")
    buffers = [x for x in (a.buffer, kernel.buffer, direct.buffer, *epilogue.outputs) if x is not None]
    function = Function(name, tuple(dict.fromkeys(buffers)), (run,))
    work = _cycles(t) * cost.WINOGRAD_LANES // target.lanes("float32") // math.prod(t.counts)
    return Kernel(function, size_of(tiles), Size(work))


@dataclass(frozen=True)
class _Code:
    t: Tiling
    a: Source
    kernel: Buffer
    direct: Buffer
    panel: int
    epilogue: Epilogue
    out: Builder

    # V and M hold one row more than there are tiles for each place in a patch: places a power of two
    # apart would fall into few sets of the cache.

    @property
    def lanes(self) -> int:
        return self.out.lanes

    @property
    def block_tiles(self) -> int:
        return _tiles_per_block(self.t, cache_elements(self.out.target))

    @property
    def tiles(self) -> Dim:
        """Of all samples."""
        return numel((self.t.spec.m[0], *self.t.counts))

    def scratch(self, name: str, columns: int) -> Buffer:
        """What the last place of a patch has of few tiles ends earlier."""
        before = (math.prod(self.t.patch) - 1) * (self.block_tiles + 1) * columns
        return block_buffer(name, "float32", self.tiles, self.block_tiles, columns, before)

    def of_tiles(self, name: str, each: int) -> Buffer:
        return block_buffer(name, "int32", self.tiles, self.block_tiles, each)

    def blocks(self) -> None:
        """All tiles from `begin` to `end`, in blocks."""
        t, out = self.t, self.out
        v = out.alloc(self.scratch("inputs", t.channels))
        m = out.alloc(self.scratch("products", t.filters))
        marks = out.alloc(self.of_tiles("marks", 1))
        windows = out.alloc(self.of_tiles("windows", math.prod(t.outputs)))
        end = Var("end")
        with out.loop("u", Var("begin"), end, self.block_tiles) as first_tile:
            count = out.let(
                loops.binary("min", loops.binary("sub", end, first_tile), self.block_tiles), "count"
            )
            with out.loop("i", 0, count) as i:
                self.inputs(v, marks, windows, first_tile, i)
            self.products(v, m, count)
            with out.loop("o", 0, count) as o:
                self.outputs(m, marks, windows, first_tile, o)

    def place(self, tile: Expr) -> tuple[Expr, list[Expr]]:
        """The sample of a tile, and its first output along each axis."""
        first: list[Expr] = []
        for count, outputs in zip(reversed(self.t.counts), reversed(self.t.outputs)):
            first.insert(0, self.out.let(tile % count * outputs, "y"))
            tile = self.out.let(tile // count, "n")
        return tile, first

    # ---- inputs

    @property
    def patch(self) -> Buffer:
        return Buffer("patch", "float32", "scratch", math.prod(self.t.patch) * self.t.channels)

    def copied(self, sample: Expr, bases: Sequence[Expr]) -> None:
        """Copy a patch to where it has zeros for padding."""
        sizes = (1, *self.t.patch, self.t.channels)
        strides = row_major(sizes)
        assert strides is not None
        sides = [
            Side(base, size, stride, checked=0 < axis <= len(bases))
            for axis, (base, size, stride) in enumerate(zip((sample, *bases, loops.const(0)), sizes, strides))
        ]
        copy_box(Copy(self.a, self.patch, self.out), sides, loops.const(0))

    def inputs(self, v: Buffer, marks: Buffer, windows: Buffer, first_tile: Expr, i: Expr) -> None:
        """Transform the patch of tile i of the block, and mark it where its numbers are uneven."""
        t, lanes, out, copied = self.t, self.lanes, self.out, self.patch
        sample, first = self.place(first_tile + i)
        bases = [out.let(x - before, "x") for x, before in zip(first, t.before)]
        out.alloc(copied)
        self.copied(sample, bases)
        keys = self.keys(bases)
        nothing = loops.broadcast(loops.const(0, "int32"), lanes)
        cells = [out.accumulator(nothing, lanes) for _ in range(1 + len(keys))]
        with out.loop("c", 0, t.channels, lanes) as c:
            patch = np.empty(t.patch, object)
            for number, at in enumerate(np.ndindex(*t.patch)):
                patch[at] = out.let(loops.load(copied, loops.ramp(c + number * t.channels, lanes)), "p")
            seen = [loops.load(copied, loops.ramp(key * t.channels + c, lanes)) for key in keys]
            for cell, group in zip(cells, [list(patch.flat), *([x] for x in seen)]):
                most: Expr = loops.load(cell, 0)
                for value in group:
                    most = out.let(loops.binary("max", most, _magnitude(value)), "b")
                out.store(cell, 0, most)
            result = self.transformed(patch, [x.b.T for x in t.transforms])
            for number, value in enumerate(result.flat):
                place = (number * (self.block_tiles + 1) + i) * t.channels + c
                out.store(v, loops.ramp(place, lanes), value)
        largest, *others = [out.let(loops.reduce_lanes("max", loops.load(cell, 0)), "l") for cell in cells]
        uneven = loops.binary("gt", largest, _bits(LARGEST))
        for other in others:
            uneven = loops.binary("or", uneven, _far(largest, other))
        out.store(marks, i, loops.const(EVEN, "int32"))
        with out.when(uneven):
            self.judged(marks, windows, i, largest, first)

    def judged(self, marks: Buffer, windows: Buffer, i: Expr, largest: Expr, first: Sequence[Expr]) -> None:
        """Mark tile i by what its windows see; `windows` gets the bits of the largest input of each."""
        t, out, zero = self.t, self.out, loops.const(0, "int32")
        most = out.alloc(Buffer("largest", "int32", "scratch", math.prod(t.patch)))
        self.magnitudes(most)
        large = loops.cast(loops.binary("gt", largest, _bits(LARGEST)), "int32")
        bad = out.accumulator(large, 1)
        with out.nest("a", t.outputs) as at:
            seen: Expr = zero
            for taps in np.ndindex(*t.taps):
                there = _row([a + tap for a, tap in zip(at, taps)], t.patch)
                seen = out.let(loops.binary("max", seen, loops.load(most, there)), "seen")
            used: Expr = TRUE
            for x, a, size in zip(first, at, t.positions):
                used = loops.binary("and", used, loops.binary("lt", x + a, loops.const(size)))
            faint = loops.binary("and", loops.binary("ne", seen, zero), _far(largest, seen))
            out.store(windows, i * math.prod(t.outputs) + _row(at, t.outputs), seen)
            with out.when(loops.binary("and", used, faint)):
                out.store(bad, 0, loops.const(1, "int32"))
        direct, blanks = loops.const(DIRECT, "int32"), loops.const(BLANKS, "int32")
        out.store(marks, i, loops.select(loops.binary("ne", loops.load(bad, 0), zero), direct, blanks))

    def magnitudes(self, most: Buffer) -> None:
        """The bits of the largest input at each place of the patch."""
        t, lanes, out = self.t, self.lanes, self.out
        with out.loop("place", 0, math.prod(t.patch)) as place:
            cell = out.accumulator(loops.broadcast(loops.const(0, "int32"), lanes), lanes)
            with out.loop("c", 0, t.channels, lanes) as c:
                value = loops.load(self.patch, loops.ramp(place * t.channels + c, lanes))
                out.update("max", cell, _magnitude(value))
            out.store(most, place, loops.reduce_lanes("max", loops.load(cell, 0)))

    def keys(self, bases: Sequence[Expr]) -> list[Expr]:
        """The numbers of the key places in a patch."""
        out = self.out
        flat: list[Expr] = [loops.const(0)]
        for base, places, patch, size in zip(bases, self.t.keys, self.t.patch, self.a.shape[1:-1]):
            assert isinstance(size, int)
            first = loops.binary("sub", loops.const(0), base)
            last = loops.binary("max", loops.binary("sub", loops.const(size - 1), base), 0)
            clamped = [
                out.let(loops.binary("min", loops.binary("max", loops.const(key), first), last), "k")
                for key in places
            ]
            flat = [x * patch + k for x in flat for k in clamped]
        return [out.let(x, "k") for x in flat]

    def transformed(self, values: np.ndarray, matrices: Sequence[np.ndarray]) -> np.ndarray:
        """The array of expressions `values`, multiplied by a matrix along each axis."""
        for axis, matrix in enumerate(matrices):
            if matrix.shape == (1, 1):
                continue
            last = np.moveaxis(values, axis, -1)
            made = np.empty((*last.shape[:-1], len(matrix)), object)
            for at in np.ndindex(*last.shape[:-1]):
                for row, factors in enumerate(matrix):
                    made[(*at, row)] = self.out.let(combine(factors, list(last[at])), "s")
            values = np.moveaxis(made, -1, axis)
        return values

    # ---- products

    def products(self, v: Buffer, m: Buffer, count: Expr) -> None:
        """M = V times the kernel, for each place in a patch."""
        t, rows = self.t, self.block_tiles + 1
        with self.out.loop("xi", 0, math.prod(t.patch)) as xi:
            context = self.context(v, xi, Epilogue((m,), lambda sums, row, column, mask: (sums,), True))

            def origin_of(at: Expr, height: int) -> TileOrigin:
                row = xi * rows + at
                return TileOrigin(row * t.channels, tuple(r * t.channels for r in range(height)), row, at)

            registers = self.out.target.registers
            flat = choose_flat(Batch(), t.channels, context.columns, registers, self.block_tiles)
            cover_rows(context, flat.tiles, count, origin_of, False)

    def context(self, v: Buffer, place: Expr, epilogue: Epilogue) -> BlockContext:
        """Products for one place in a patch, all columns at once."""
        t, lanes, width, target = self.t, self.lanes, self.panel, self.out.target
        vectors = t.filters // lanes
        tile = width // lanes
        if target.panel_bits:
            tile = within_panels(tile_vectors(vectors, lanes, target.registers), tile)
        columns = Columns(t.filters, lanes, vectors, tile, vectors, vectors)
        panel, row = PanelLayout(width).steps(t.channels)
        at = place * (t.filters * t.channels)
        b = Panels(self.kernel, at, width // lanes, panel, tile % (width // lanes) != 0)
        return BlockContext(
            a=v,
            b=b,
            depth_loops=(DepthLoop(loops.const(t.channels), 1, row),),
            columns=columns,
            vector=loops.const(0),
            block_vectors=loops.const(vectors),
            epilogue=epilogue,
            sums=None,
            is_first=TRUE,
            is_last=TRUE,
            in_registers=True,
            partial_loads=False,
            out=self.out,
            output_row=lambda row: row,
        )

    # ---- outputs

    def outputs(self, m: Buffer, marks: Buffer, windows: Buffer, first_tile: Expr, i: Expr) -> None:
        """Transform the products of tile i of the block, and finish its outputs."""
        t, lanes, out = self.t, self.lanes, self.out
        sample, first = self.place(first_tile + i)
        counts = [
            out.let(loops.binary("min", loops.binary("sub", loops.const(size), x), outputs), "many")
            for x, size, outputs in zip(first, t.positions, t.outputs)
        ]
        mark = out.let(loops.load(marks, i), "mark")
        direct, blanks = [
            out.let(loops.binary("eq", mark, loops.const(kind, "int32")), "u") for kind in (DIRECT, BLANKS)
        ]
        bases = [out.let(x - before, "x") for x, before in zip(first, t.before)]
        out.alloc(self.patch)
        with out.when(direct):
            self.copied(sample, bases)
        done = Buffer("outputs", "float32", "scratch", math.prod(t.outputs) * lanes)
        with out.loop("j", 0, t.filters, lanes) as j:
            out.alloc(done)
            out.either(
                direct,
                lambda: self.directly(done, j),
                lambda: self.by_transform(done, m, windows, i, j, blanks),
            )
            self.finish(self.context(m, loops.const(0), self.epilogue), done, sample, first, counts, j)

    def by_transform(self, done: Buffer, m: Buffer, windows: Buffer, i: Expr, j: Expr, blanks: Expr) -> None:
        """A vector of each output of a tile, from its products. blanks: windows of zeros give zeros."""
        t, lanes, out = self.t, self.lanes, self.out
        values = np.empty(t.patch, object)
        for number, at in enumerate(np.ndindex(*t.patch)):
            index = (number * (self.block_tiles + 1) + i) * t.filters + j
            values[at] = out.let(loops.load(m, loops.ramp(index, lanes)), "m")
        result = self.transformed(values, [x.a.T for x in t.transforms])
        for number, value in enumerate(result.flat):
            out.store(done, loops.ramp(number * lanes, lanes), value)
        count = math.prod(t.outputs)
        with out.when(blanks), out.loop("k", 0, count) as k:
            blank = loops.binary("eq", loops.load(windows, i * count + k), loops.const(0, "int32"))
            there = loops.ramp(k * lanes, lanes)  # zero times weights is zero, or NaN as they are
            with out.when(blank):
                out.store(done, there, loops.load(done, there) * loops.const(0.0, "float32"))

    def directly(self, done: Buffer, j: Expr) -> None:
        """A vector of each output of a tile, as sums over taps and channels of the copied patch."""
        t, lanes, out = self.t, self.lanes, self.out
        *lead, last = t.outputs
        steps = [1] * len(lead)
        if lead:  # as many sums side by side as there are registers for
            steps[-1] = max(
                d
                for d in range(1, lead[-1] + 1)
                if lead[-1] % d == 0 and (d == 1 or d * last <= out.target.registers - 4)
            )
        zero = loops.broadcast(loops.const(0.0, "float32"), lanes)
        with out.nest("a", lead, steps) as at:
            places = [
                [x + o for x, o in zip((*at, loops.const(0)), offset)] for offset in np.ndindex(*steps, last)
            ]
            cells = [out.accumulator(zero, lanes) for _ in places]
            with out.nest("t", (*t.taps, t.channels)) as (*taps, c):
                weights = (_row(taps, t.taps) * t.channels + c) * t.filters + j
                w = out.let(loops.load(self.direct, loops.ramp(weights, lanes)), "w")
                for place, cell in zip(places, cells):
                    source = _row([a + tap for a, tap in zip(place, taps)], t.patch) * t.channels + c
                    value = loops.broadcast(loops.load(self.patch, source), lanes)
                    out.store(cell, 0, loops.fma(value, w, loops.load(cell, 0), exact=False))
            for place, cell in zip(places, cells):
                out.store(done, loops.ramp(_row(place, t.outputs) * lanes, lanes), loops.load(cell, 0))

    def finish(
        self,
        context: BlockContext,
        done: Buffer,
        sample: Expr,
        first: Sequence[Expr],
        counts: Sequence[Expr],
        column: Expr,
    ) -> None:
        """The epilogue of a vector of each output of a tile."""
        t, lanes = self.t, self.lanes
        with self.out.nest("a", counts) as at:
            row = sample
            for x, a, size in zip(first, at, t.positions):
                row = row * size + (x + a)
            value = loops.load(done, loops.ramp(_row(at, t.outputs) * lanes, lanes))
            write(context, value, row, column, None)


def _row(places: Sequence[Expr], sizes: Sequence[int]) -> Expr:
    """The number of a place in an array of these sizes."""
    number: Expr = loops.const(0)
    for place, size in zip(places, sizes):
        number = number * size + place
    return number


def _far(largest: Expr, other: Expr) -> Expr:
    """Whether a magnitude is below 1 / `SPREAD` of the largest, of their bits."""
    return loops.binary("gt", loops.binary("sub", largest, other), _bits(SPREAD) - _bits(1.0))


def _bits(x: float) -> int:
    """A positive float32 as the integer of its bits. Bits of magnitudes have the order of numbers, a NaN is
    the largest, and the difference of a quotient of a power of two is that of the exponents."""
    return int(np.float32(x).view(np.int32))


def _magnitude(x: Expr) -> Expr:
    """The bits of |x|."""
    return loops.binary("and", loops.bitcast(x, "int32"), loops.const(2**31 - 1, "int32"))


def combine(factors: Sequence[float], values: Sequence[Expr]) -> Expr:
    """The sum of factors times values."""
    terms = sorted(((f, x) for f, x in zip(factors, values) if f), key=lambda term: abs(term[0]) != 1)
    (factor, total), *rest = terms
    if factor != 1:
        total = total * float(factor)
    for factor, x in rest:
        if abs(factor) == 1:
            total = loops.binary("add" if factor > 0 else "sub", total, x)
        else:
            total = loops.fma(x, loops.const(float(factor), "float32"), total, exact=False)
    return total

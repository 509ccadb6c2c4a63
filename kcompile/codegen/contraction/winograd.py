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
from kcompile.codegen.contraction.blocking import Columns, cache_share, choose_flat, row_major, tile_vectors
from kcompile.codegen.contraction.microkernel import Panels, Site, Step, Task, cover_rows, write
from kcompile.codegen.contraction.packing import Copy, Side, copy_box
from kcompile.codegen.groups.operands import Epilogue, Source
from kcompile.codegen.loops import TRUE, Buffer, Expr, Function, Names, Stmt, Var
from kcompile.codegen.loops.indexing import extent
from kcompile.codegen.program import Kernel, Size, size_of
from kcompile.codegen.targets import Target
from kcompile.ir.contraction import Contraction
from kcompile.ir.ops.winograd import LARGEST, MOST, SPREAD, Tiling
from kcompile.ir.types import Batch, numel

EVEN, DIRECT, BLANKS = range(3)  # marks of a tile; the last has windows of zeros only


def choose_tiling(spec: Contraction, target: Target) -> tuple[tuple[int, ...], int] | None:
    """(outputs of a tile, columns of a panel) where Winograd's algorithm is faster for a convolution
    of stride 1; None where the direct one is."""
    channels, filters = spec.k[-1], spec.j[0]
    assert isinstance(channels, int) and isinstance(filters, int)
    if target.is_gpu or channels % cost.WINOGRAD_LANES or filters % cost.WINOGRAD_LANES:
        return None
    options = [range(2, MOST - r + 2) if r > 1 else (1,) for r in spec.k[:-1]]  # type: ignore
    tilings = [Tiling(spec, outputs) for outputs in itertools.product(*options)]
    if not tilings:  # an axis has more taps than a patch gains from
        return None
    best = min(tilings, key=_cycles)
    rows = math.prod(best.positions)
    whole = rows * math.prod(best.taps) * channels * filters // (cost.MULTIPLY_ADDS * cost.WINOGRAD_LANES)
    if _cycles(best) >= cost.WINOGRAD_GAIN * whole:
        return None
    lanes = target.lanes("float32")
    width = tile_vectors(filters // lanes, lanes, target.registers) * lanes
    return best.outputs, width if filters % width == 0 else lanes


def _cycles(t: Tiling) -> int:
    """For one sample, roughly: products, or reading the kernel where it does not stay in L2; and
    transforms."""
    tiles = math.prod(t.counts)
    kernel = math.prod(t.patch) * t.channels * t.filters
    products = tiles * kernel // (cost.MULTIPLY_ADDS * cost.WINOGRAD_LANES)
    if kernel > 2 * cost.WINOGRAD_SHARE:
        products = max(products, kernel // cost.FAR_READ * -(-tiles // _block(t, cost.WINOGRAD_SHARE)))
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


def _block(t: Tiling, share: int) -> int:
    """Tiles whose V and M stay in L2, a multiple of the rows of the register tile."""
    each = math.prod(t.patch) * (t.channels + t.filters)
    return max(2 * share // each // cost.TILE_ROWS, 1) * cost.TILE_ROWS


def lower_winograd(
    name: str, t: Tiling, a: Source, kernel: Source, direct: Source, epilogue: Epilogue, target: Target
) -> Kernel:
    """The kernel of a convolution of float32 operands whose channels fill vectors. kernel: a buffer,
    packed [patch, filters / panel, channels, panel]. direct: a buffer, [taps..., channels, filters]."""
    panel = kernel.shape[-1]
    assert kernel.buffer is not None and direct.buffer is not None and isinstance(panel, int)
    code = _Code(t, a, kernel.buffer, direct.buffer, panel, epilogue, target, Names())
    tiles = numel((t.spec.m[0], *t.counts))
    run = loops.loop(Var("part"), 0, extent(tiles), code.blocks(), kind="span")
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
    target: Target
    names: Names

    # V and M hold one row more than there are tiles for each place in a patch: places a power of two
    # apart would fall into few sets of the cache.

    @property
    def lanes(self) -> int:
        return self.target.lanes("float32")

    @property
    def block(self) -> int:
        return _block(self.t, cache_share(self.target))

    def scratch(self, name: str, columns: int) -> Buffer:
        return Buffer(name, "float32", "scratch", math.prod(self.t.patch) * (self.block + 1) * columns)

    def blocks(self) -> list[Stmt]:
        v, m = self.scratch("inputs", self.t.channels), self.scratch("products", self.t.filters)
        marks = Buffer("marks", "int32", "scratch", self.block)
        windows = Buffer("windows", "int32", "scratch", self.block * math.prod(self.t.outputs))
        unit, body = self.names.fresh("u"), list[Stmt]()
        count = self.names.let(
            body, "count", loops.binary("min", loops.binary("sub", Var("end"), unit), self.block)
        )
        i, o = self.names.fresh("i"), self.names.fresh("o")
        body += [
            loops.loop(i, 0, count, self.inputs(v, marks, windows, unit, i)),
            *self.products(v, m, count),
            loops.loop(o, 0, count, self.outputs(m, marks, windows, unit, o)),
        ]
        return [
            loops.Alloc(v),
            loops.Alloc(m),
            loops.Alloc(marks),
            loops.Alloc(windows),
            loops.loop(unit, Var("begin"), Var("end"), body, self.block),
        ]

    def place(self, out: list[Stmt], tile: Expr) -> tuple[Expr, list[Expr]]:
        """The sample of a tile, and its first output along each axis."""
        first: list[Expr] = []
        for count, outputs in zip(reversed(self.t.counts), reversed(self.t.outputs)):
            first.insert(0, self.names.let(out, "y", tile % count * outputs))
            tile = self.names.let(out, "n", tile // count)
        return tile, first

    # ---- inputs

    @property
    def patch(self) -> Buffer:
        return Buffer("patch", "float32", "scratch", math.prod(self.t.patch) * self.t.channels)

    def copied(self, sample: Expr, bases: Sequence[Expr]) -> list[Stmt]:
        """Copy a patch to where it has zeros for padding."""
        sizes = (1, *self.t.patch, self.t.channels)
        strides = row_major(sizes)
        assert strides is not None
        sides = [
            Side(base, size, stride, checked=0 < axis <= len(bases))
            for axis, (base, size, stride) in enumerate(zip((sample, *bases, loops.const(0)), sizes, strides))
        ]
        return copy_box(Copy(self.a, self.target, self.patch, self.names), sides, loops.const(0))

    def inputs(self, v: Buffer, marks: Buffer, windows: Buffer, unit: Expr, i: Expr) -> list[Stmt]:
        """Transform the patch of tile i of the block, and mark it where its numbers are uneven."""
        t, lanes, out, copied = self.t, self.lanes, list[Stmt](), self.patch
        sample, first = self.place(out, unit + i)
        bases = [self.names.let(out, "x", x - before) for x, before in zip(first, t.before)]
        out += [loops.Alloc(copied), *self.copied(sample, bases)]
        c, body = self.names.fresh("c"), list[Stmt]()
        keys = self.keys(out, bases)
        cells = [
            Buffer(self.names.fresh("most").name, "int32", "register", 1, lanes) for _ in range(1 + len(keys))
        ]
        for cell in cells:
            nothing = loops.broadcast(loops.const(0, "int32"), lanes)
            out += [loops.Alloc(cell), loops.store(cell, 0, nothing)]
        patch = np.empty(t.patch, object)
        for number, at in enumerate(np.ndindex(*t.patch)):
            patch[at] = self.names.let(
                body, "p", loops.load(copied, loops.ramp(c + number * t.channels, lanes))
            )
        seen = [loops.load(copied, loops.ramp(key * t.channels + c, lanes)) for key in keys]
        groups: list[list[Expr]] = [list(patch.flat)]
        groups += [[x] for x in seen]
        for cell, group in zip(cells, groups):
            most: Expr = loops.load(cell, 0)
            for value in group:
                most = self.names.let(body, "b", loops.binary("max", most, _magnitude(value)))
            body.append(loops.store(cell, 0, most))
        result = self.transformed(body, patch, [x.b.T for x in t.transforms])
        for number, value in enumerate(result.flat):
            place = (number * (self.block + 1) + i) * t.channels + c
            body.append(loops.store(v, loops.ramp(place, lanes), value))
        out.append(loops.loop(c, 0, t.channels, body, lanes))
        largest, *others = (
            self.names.let(out, "l", loops.across("max", loops.load(cell, 0))) for cell in cells
        )
        uneven = loops.binary("gt", largest, _bits(LARGEST))
        for other in others:
            uneven = loops.binary("or", uneven, _far(largest, other))
        out += [
            loops.store(marks, i, loops.const(EVEN, "int32")),
            loops.If(uneven, tuple(self.judged(marks, windows, i, largest, first))),
        ]
        return out

    def judged(
        self, marks: Buffer, windows: Buffer, i: Expr, largest: Expr, first: Sequence[Expr]
    ) -> list[Stmt]:
        """Mark tile i by what its windows see; `windows` gets the bits of the largest input of each."""
        t, lanes, count = self.t, self.lanes, math.prod(self.t.outputs)
        most = Buffer("largest", "int32", "scratch", math.prod(t.patch))
        place, c = self.names.fresh("place"), self.names.fresh("c")
        cell = Buffer(self.names.fresh("most").name, "int32", "register", 1, lanes)
        value = loops.load(self.patch, loops.ramp(place * t.channels + c, lanes))
        zero = loops.const(0, "int32")
        of_place: list[Stmt] = [
            loops.Alloc(cell),
            loops.store(cell, 0, loops.broadcast(zero, lanes)),
            loops.loop(
                c,
                0,
                t.channels,
                [loops.store(cell, 0, loops.binary("max", loops.load(cell, 0), _magnitude(value)))],
                lanes,
            ),
            loops.store(most, place, loops.across("max", loops.load(cell, 0))),
        ]
        at = [self.names.fresh("a") for _ in t.outputs]
        body = list[Stmt]()
        seen: Expr = zero
        used: Expr = TRUE
        for taps in np.ndindex(*t.taps):
            there = _row([a + tap for a, tap in zip(at, taps)], t.patch)
            seen = self.names.let(body, "seen", loops.binary("max", seen, loops.load(most, there)))
        for x, a, size in zip(first, at, t.positions):
            used = loops.binary("and", used, loops.binary("lt", x + a, loops.const(size)))
        bad = Buffer(self.names.fresh("bad").name, "int32", "register", 1)
        faint = loops.binary("and", loops.binary("ne", seen, zero), _far(largest, seen))
        body += [
            loops.store(windows, i * count + _row(at, t.outputs), seen),
            loops.If(loops.binary("and", used, faint), (loops.store(bad, 0, loops.const(1, "int32")),)),
        ]
        for a, m in reversed(list(zip(at, t.outputs))):
            body = [loops.loop(a, 0, m, body)]
        large = loops.cast(loops.binary("gt", largest, _bits(LARGEST)), "int32")
        direct, blanks = loops.const(DIRECT, "int32"), loops.const(BLANKS, "int32")
        return [
            loops.Alloc(most),
            loops.loop(place, 0, math.prod(t.patch), of_place),
            loops.Alloc(bad),
            loops.store(bad, 0, large),
            *body,
            loops.store(marks, i, loops.select(loops.binary("ne", loops.load(bad, 0), zero), direct, blanks)),
        ]

    def keys(self, out: list[Stmt], bases: Sequence[Expr]) -> list[Expr]:
        """The numbers of the key places in a patch."""
        flat: list[Expr] = [loops.const(0)]
        for base, places, patch, size in zip(bases, self.t.keys, self.t.patch, self.a.shape[1:-1]):
            assert isinstance(size, int)
            last = loops.binary("max", loops.binary("sub", loops.const(size - 1), base), 0)
            here = [
                self.names.let(
                    out,
                    "k",
                    loops.binary(
                        "min",
                        loops.binary("max", loops.const(key), loops.binary("sub", loops.const(0), base)),
                        last,
                    ),
                )
                for key in places
            ]
            flat = [x * patch + k for x in flat for k in here]
        return [self.names.let(out, "k", x) for x in flat]

    def transformed(self, out: list[Stmt], values: np.ndarray, matrices: Sequence[np.ndarray]) -> np.ndarray:
        """An array of expressions times a matrix along each axis."""
        for axis, matrix in enumerate(matrices):
            if matrix.shape == (1, 1):
                continue
            turned = np.moveaxis(values, axis, -1)
            made = np.empty((*turned.shape[:-1], len(matrix)), object)
            for at in np.ndindex(*turned.shape[:-1]):
                for row, factors in enumerate(matrix):
                    made[(*at, row)] = self.names.let(out, "s", combine(factors, list(turned[at])))
            values = np.moveaxis(made, -1, axis)
        return values

    # ---- products

    def products(self, v: Buffer, m: Buffer, count: Expr) -> list[Stmt]:
        """M = V times the kernel, for each place in a patch."""
        t, xi, rows = self.t, self.names.fresh("xi"), self.block + 1
        task = self.task(v, xi, Epilogue((m,), lambda sums, row, column, mask: (sums,), True))

        def site(at: Expr, height: int) -> Site:
            row = xi * rows + at
            return Site(row * t.channels, tuple(r * t.channels for r in range(height)), row, at)

        flat = choose_flat(Batch(), t.channels, task.columns, self.target.registers, self.block)
        body = cover_rows(task, flat.tiles, count, site, False)
        return [loops.loop(xi, 0, math.prod(t.patch), body)]

    def task(self, v: Buffer, place: Expr, epilogue: Epilogue) -> Task:
        """Products for one place in a patch, all columns at once."""
        t, lanes, width = self.t, self.lanes, self.panel
        vectors = t.filters // lanes
        columns = Columns(t.filters, lanes, vectors, width // lanes, vectors, vectors)
        b = Panels(self.kernel, place * (t.filters * t.channels), width // lanes, t.channels * width)
        return Task(
            a=v,
            b=b,
            steps=(Step(loops.const(t.channels), 1, width),),
            columns=columns,
            vector=loops.const(0),
            here=loops.const(vectors),
            epilogue=epilogue,
            sums=None,
            first=TRUE,
            last=TRUE,
            direct=True,
            partial_loads=False,
            names=self.names,
            output_row=lambda row: row,
        )

    # ---- outputs

    def outputs(self, m: Buffer, marks: Buffer, windows: Buffer, unit: Expr, i: Expr) -> list[Stmt]:
        """Transform the products of tile i of the block, and finish its outputs."""
        t, lanes, out = self.t, self.lanes, list[Stmt]()
        sample, first = self.place(out, unit + i)
        counts = [
            self.names.let(
                out, "many", loops.binary("min", loops.binary("sub", loops.const(size), x), outputs)
            )
            for x, size, outputs in zip(first, t.positions, t.outputs)
        ]
        mark = self.names.let(out, "mark", loops.load(marks, i))
        direct, blanks = (
            self.names.let(out, "u", loops.binary("eq", mark, loops.const(kind, "int32")))
            for kind in (DIRECT, BLANKS)
        )
        bases = [self.names.let(out, "x", x - before) for x, before in zip(first, t.before)]
        out += [loops.Alloc(self.patch), loops.If(direct, tuple(self.copied(sample, bases)))]
        j, body = self.names.fresh("j"), list[Stmt]()
        done = Buffer("outputs", "float32", "scratch", math.prod(t.outputs) * lanes)
        values = np.empty(t.patch, object)
        for number, at in enumerate(np.ndindex(*t.patch)):
            index = (number * (self.block + 1) + i) * t.filters + j
            values[at] = self.names.let(body, "m", loops.load(m, loops.ramp(index, lanes)))
        result = self.transformed(body, values, [x.a.T for x in t.transforms])
        body += [
            loops.store(done, loops.ramp(number * lanes, lanes), value)
            for number, value in enumerate(result.flat)
        ]
        k, count = self.names.fresh("k"), math.prod(t.outputs)
        blank = loops.binary("eq", loops.load(windows, i * count + k), loops.const(0, "int32"))
        there = loops.ramp(k * lanes, lanes)  # zero times weights is zero, or NaN as they are
        nothing = loops.store(done, there, loops.load(done, there) * loops.const(0.0, "float32"))
        body.append(loops.If(blanks, (loops.loop(k, 0, count, [loops.If(blank, (nothing,))]),)))
        body = [loops.Alloc(done), loops.If(direct, tuple(self.directly(done, j)), tuple(body))]
        task = self.task(m, loops.const(0), self.epilogue)
        body += self.finish(task, done, sample, first, counts, j)
        return [*out, loops.loop(j, 0, t.filters, body, lanes)]

    def directly(self, done: Buffer, j: Expr) -> list[Stmt]:
        """A vector of each output of a tile, as sums over taps and channels of the copied patch."""
        t, lanes = self.t, self.lanes
        *lead, last = t.outputs
        steps = [1] * len(lead)
        if lead:  # as many sums side by side as there are registers for
            steps[-1] = max(
                d
                for d in range(1, lead[-1] + 1)
                if lead[-1] % d == 0 and (d == 1 or d * last <= self.target.registers - 4)
            )
        at, taps = ([self.names.fresh(stem) for _ in sizes] for stem, sizes in (("a", lead), ("t", t.taps)))
        places = [
            [x + o for x, o in zip((*at, loops.const(0)), offset)] for offset in np.ndindex(*steps, last)
        ]
        c, body = self.names.fresh("c"), list[Stmt]()
        w = self.names.let(
            body,
            "w",
            loops.load(self.direct, loops.ramp((_row(taps, t.taps) * t.channels + c) * t.filters + j, lanes)),
        )
        cells = [Buffer(self.names.fresh("sum").name, "float32", "register", 1, lanes) for _ in places]
        for place, cell in zip(places, cells):
            source = _row([a + tap for a, tap in zip(place, taps)], t.patch) * t.channels + c
            value = loops.broadcast(loops.load(self.patch, source), lanes)
            body.append(loops.store(cell, 0, loops.fma(value, w, loops.load(cell, 0), exact=False)))
        for x, extent_ in zip(reversed((*taps, c)), reversed((*t.taps, t.channels))):
            body = [loops.loop(x, 0, extent_, body)]
        zero = loops.broadcast(loops.const(0.0, "float32"), lanes)
        body = [
            *(s for cell in cells for s in (loops.Alloc(cell), loops.store(cell, 0, zero))),
            *body,
            *(
                loops.store(done, loops.ramp(_row(place, t.outputs) * lanes, lanes), loops.load(cell, 0))
                for place, cell in zip(places, cells)
            ),
        ]
        for a, size, step in reversed(list(zip(at, lead, steps))):
            body = [loops.loop(a, 0, size, body, step)]
        return body

    def finish(
        self,
        task: Task,
        done: Buffer,
        sample: Expr,
        first: Sequence[Expr],
        counts: Sequence[Expr],
        column: Expr,
    ) -> list[Stmt]:
        """The epilogue of a vector of each output of a tile."""
        t, lanes = self.t, self.lanes
        at = [self.names.fresh("a") for _ in counts]
        row = sample
        for x, a, size in zip(first, at, t.positions):
            row = row * size + (x + a)
        value = loops.load(done, loops.ramp(_row(at, t.outputs) * lanes, lanes))
        body = write(task, value, row, column, None)
        for a, count in reversed(list(zip(at, counts))):
            body = [loops.loop(a, 0, count, body)]
        return body


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

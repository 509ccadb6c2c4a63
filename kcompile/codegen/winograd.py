"""Convolutions in tiles, by Winograd's algorithm (see `ir.ops.winograd`), as loops.

What enters: a convolution's tiling, how its input can be read, the transformed kernel, the epilogue.
What leaves: a `Kernel`. For a block of tiles that fills the cache, numbered through all samples:
patches of the input are transformed to V [patch, tiles, channels]; for each place in a patch, V times
its part of the kernel is M [patch, tiles, filters], by the register tile of all contractions; M is
transformed to outputs, which the epilogue takes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kcompile.codegen import loops
from kcompile.codegen.blocking import Columns, cache_share, choose_flat, row_major, tile_vectors
from kcompile.codegen.loops import TRUE, Buffer, Expr, Function, Names, Stmt, Var
from kcompile.codegen.microkernel import Epilogue, Panels, Site, Step, Task, cover_rows, write
from kcompile.codegen.packing import Copy, Side, Source, copy_box, extent
from kcompile.codegen.program import Kernel, Size, size_of
from kcompile.codegen.targets import Target
from kcompile.ir.contraction import Contraction
from kcompile.ir.ops.winograd import MOST, Tiling
from kcompile.ir.types import Batch, numel

GAIN = 0.85  # of the direct algorithm's cycles that a tiling must stay below

# Where it is used must not depend on the target, so that results do not: cycles are counted for a
# processor with these properties.
LANES = 16
READ = 2  # elements a cycle from behind L2
SHARE = 131072  # elements, a fourth of L2


def choose_tiling(spec: Contraction, target: Target) -> tuple[tuple[int, ...], int] | None:
    """(outputs of a tile, columns of a panel) where Winograd's algorithm is faster for a convolution
    of stride 1; None where the direct one is."""
    channels, filters = spec.k[-1], spec.j[0]
    assert isinstance(channels, int) and isinstance(filters, int)
    if target.is_gpu or channels % LANES or filters % LANES:
        return None
    options = [range(2, MOST - r + 2) if r > 1 else (1,) for r in spec.k[:-1]]  # type: ignore
    tilings = [Tiling(spec, outputs) for outputs in itertools.product(*options)]
    if not tilings:  # an axis has more taps than a patch gains from
        return None
    best = min(tilings, key=_cycles)
    rows = math.prod(best.positions)
    whole = rows * math.prod(best.taps) * channels * filters // (2 * LANES)
    if _cycles(best) >= GAIN * whole:
        return None
    lanes = target.lanes("float32")
    width = tile_vectors(filters // lanes, lanes, target.registers) * lanes
    return best.outputs, width if filters % width == 0 else lanes


def _cycles(t: Tiling) -> int:
    """For one sample, roughly: products, or reading the kernel where it does not stay in L2; and
    transforms."""
    tiles = math.prod(t.counts)
    kernel = math.prod(t.patch) * t.channels * t.filters
    products = tiles * kernel // (2 * LANES)
    if kernel > 2 * SHARE:
        products = max(products, kernel // READ * -(-tiles // _block(t, SHARE)))
    moves = _operations(t, True) * t.channels + _operations(t, False) * t.filters
    return products + tiles * moves // LANES


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
    """Tiles whose V and M stay in L2, a multiple of 14 rows of the register tile."""
    each = math.prod(t.patch) * (t.channels + t.filters)
    return max(2 * share // each // 14, 1) * 14


def lower_winograd(name: str, t: Tiling, a: Source, kernel: Source, epilogue: Epilogue,
                   target: Target) -> Kernel:
    """The kernel of a convolution of float32 operands whose channels fill vectors. kernel: a buffer,
    packed [patch, filters / panel, channels, panel]."""
    panel = kernel.shape[-1]
    assert kernel.buffer is not None and isinstance(panel, int)
    code = _Code(t, a, kernel.buffer, panel, epilogue, target, Names())
    tiles = numel((t.spec.m[0], *t.counts))
    run = loops.loop(Var("part"), 0, extent(tiles), code.blocks(), kind="span")
    buffers = [x for x in (a.buffer, kernel.buffer, *epilogue.outputs) if x is not None]
    function = Function(name, tuple(dict.fromkeys(buffers)), (run,))
    work = _cycles(t) * LANES // target.lanes("float32") // math.prod(t.counts)
    return Kernel(function, size_of(tiles), Size(work))


@dataclass(frozen=True)
class _Code:
    t: Tiling
    a: Source
    kernel: Buffer
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
        return Buffer(name, "float32", "scratch",
                      math.prod(self.t.patch) * (self.block + 1) * columns)

    def blocks(self) -> list[Stmt]:
        v, m = self.scratch("inputs", self.t.channels), self.scratch("products", self.t.filters)
        unit, body = self.names.fresh("u"), list[Stmt]()
        count = self.names.let(body, "count", loops.binary(
            "min", loops.binary("sub", Var("end"), unit), self.block))
        i, o = self.names.fresh("i"), self.names.fresh("o")
        body += [loops.loop(i, 0, count, self.inputs(v, unit, i)), *self.products(v, m, count),
                 loops.loop(o, 0, count, self.outputs(m, unit, o))]
        return [loops.Alloc(v), loops.Alloc(m),
                loops.loop(unit, Var("begin"), Var("end"), body, self.block)]

    def place(self, out: list[Stmt], tile: Expr) -> tuple[Expr, list[Expr]]:
        """The sample of a tile, and its first output along each axis."""
        first: list[Expr] = []
        for count, outputs in zip(reversed(self.t.counts), reversed(self.t.outputs)):
            first.insert(0, self.names.let(out, "y", tile % count * outputs))
            tile = self.names.let(out, "n", tile // count)
        return tile, first

    # ---- inputs

    def inputs(self, v: Buffer, unit: Expr, i: Expr) -> list[Stmt]:
        """Transform the patch of tile i of the block, copied to where it has zeros for padding."""
        t, lanes, out = self.t, self.lanes, list[Stmt]()
        sample, first = self.place(out, unit + i)
        sizes = (1, *t.patch, t.channels)
        strides = row_major(sizes)
        assert strides is not None
        copied = Buffer("patch", "float32", "scratch", math.prod(sizes))
        bases = [self.names.let(out, "x", x - before) for x, before in zip(first, t.before)]
        sides = [Side(base, size, stride, checked=0 < axis <= len(first)) for axis, (
            base, size, stride) in enumerate(zip((sample, *bases, loops.const(0)), sizes, strides))]
        copy = Copy(self.a, self.target, copied, self.names)
        out += [loops.Alloc(copied), *copy_box(copy, sides, loops.const(0))]
        c, body = self.names.fresh("c"), list[Stmt]()
        patch = np.empty(t.patch, object)
        for number, at in enumerate(np.ndindex(*t.patch)):
            patch[at] = self.names.let(body, "p", loops.load(
                copied, loops.ramp(c + number * t.channels, lanes)))
        result = self.transformed(body, patch, [x.b.T for x in t.transforms])
        for number, value in enumerate(result.flat):
            place = (number * (self.block + 1) + i) * t.channels + c
            body.append(loops.store(v, loops.ramp(place, lanes), value))
        return [*out, loops.loop(c, 0, t.channels, body, lanes)]

    def transformed(self, out: list[Stmt], values: np.ndarray, matrices: Sequence[np.ndarray]
                    ) -> np.ndarray:
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
            a=v, b=b, steps=(Step(loops.const(t.channels), 1, width),), columns=columns,
            vector=loops.const(0), here=loops.const(vectors), epilogue=epilogue, sums=None,
            first=TRUE, last=TRUE, direct=True, partial_loads=False, names=self.names,
            output_row=lambda row: row)

    # ---- outputs

    def outputs(self, m: Buffer, unit: Expr, i: Expr) -> list[Stmt]:
        """Transform the products of tile i of the block, and finish its outputs."""
        t, lanes, out = self.t, self.lanes, list[Stmt]()
        sample, first = self.place(out, unit + i)
        counts = [self.names.let(out, "many", loops.binary(
            "min", loops.binary("sub", loops.const(size), x), outputs))
            for x, size, outputs in zip(first, t.positions, t.outputs)]
        j, body = self.names.fresh("j"), list[Stmt]()
        done = Buffer("outputs", "float32", "scratch", math.prod(t.outputs) * lanes)
        values = np.empty(t.patch, object)
        for number, at in enumerate(np.ndindex(*t.patch)):
            index = (number * (self.block + 1) + i) * t.filters + j
            values[at] = self.names.let(body, "m", loops.load(m, loops.ramp(index, lanes)))
        body.append(loops.Alloc(done))
        result = self.transformed(body, values, [x.a.T for x in t.transforms])
        body += [loops.store(done, loops.ramp(number * lanes, lanes), value)
                 for number, value in enumerate(result.flat)]
        task = self.task(m, loops.const(0), self.epilogue)
        body += self.finish(task, done, sample, first, counts, j)
        return [*out, loops.loop(j, 0, t.filters, body, lanes)]

    def finish(self, task: Task, done: Buffer, sample: Expr, first: Sequence[Expr],
               counts: Sequence[Expr], column: Expr) -> list[Stmt]:
        """The epilogue of a vector of each output of a tile."""
        t, lanes = self.t, self.lanes
        at = [self.names.fresh("a") for _ in counts]
        row: Expr = sample
        number: Expr = loops.const(0)
        for x, a, size, outputs in zip(first, at, t.positions, t.outputs):
            row, number = row * size + (x + a), number * outputs + a
        value = loops.load(done, loops.ramp(number * lanes, lanes))
        body = write(task, value, row, column, None)
        for a, count in reversed(list(zip(at, counts))):
            body = [loops.loop(a, 0, count, body)]
        return body


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

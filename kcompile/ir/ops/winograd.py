"""Convolutions of stride 1 by Winograd's algorithm: fewer multiplications, for some additions.

m neighbouring outputs of r taps need m + r - 1 multiplications instead of m * r (along each axis):

    y = A^T [ (G w) * (B^T x) ]

for a patch x of m + r - 1 inputs (Winograd, Arithmetic Complexity of Computations, 1980; Lavin and
Gray, Fast Algorithms for Convolutional Neural Networks, 2015). A, G and B are made here for any m and
r, by the method of Toom and Cook: polynomials are multiplied through their values at points. With the
points below, and six of them, results differ from the direct sum by about 4e-6 of the largest (the
direct sum in float32 by 3e-7): one order worse, and within what is promised.

That is of the largest input of a patch, also for outputs whose windows do not see it. So a tile is
computed directly where its numbers are uneven: unless each of its windows sees an input of at least
1 / `SPREAD` of the largest of the patch (in magnitude, over all channels) or nothing but zeros, and all are
at most `LARGEST`, so that nothing overflows on the way; an infinity or a NaN is too large. The output of a
window of zeros is zero (a black background is ordinary). Most tiles pass by their `keys` alone, few places
of which every window sees one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from kcompile.ir.contraction import Contraction, PanelLayout, reference
from kcompile.ir.op import Case, Draw, Op, register
from kcompile.ir.ops.contraction import conv_maps, matmul, same_padding
from kcompile.ir.ops.movement import reshape, transpose
from kcompile.ir.tensor import Tensor, constant, emit
from kcompile.ir.types import Batch, TensorType, static

if TYPE_CHECKING:
    from fractions import Fraction

# Infinity is the last point of all. Halves and doubles of either sign keep rounding errors small
# (Barabasz et al., Error Analysis and Improving the Accuracy of Winograd Convolution, 2020).
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
MOST = len(POINTS) + 1  # inputs of a patch along an axis
SPREAD = 2.0**5
LARGEST = 2.0**100


@dataclass(frozen=True)
class Transforms:
    """The matrices for `outputs` of a filter with `taps`: A [patch, outputs], G [patch, taps] and
    B [patch, patch], all to be applied from the left as A^T, G, B^T."""

    a: np.ndarray
    g: np.ndarray
    b: np.ndarray


@cache
def transforms(outputs: int, taps: int) -> Transforms:
    """The matrices for a tile, see the module. B^T is the inverse of the transposed Vandermonde matrix with
    each row scaled to small numbers, which G's rows make up for."""
    if taps == 1:
        one = np.ones((1, 1))
        return Transforms(one, one, one)
    from fractions import Fraction  # here: it loads decimal, for convolutions alone

    size = outputs + taps - 1
    points = [Fraction(p) for p in POINTS[: size - 1]]
    scales = [math.prod((p - q for q in points if q != p), start=Fraction(1)) for p in points]
    scales.append(Fraction(1))

    def powers(count: int) -> list[list[Fraction]]:
        return [[p**i for i in range(count)] for p in points] + [
            [Fraction(i == count - 1) for i in range(count)]
        ]

    g = [[x / s for x in row] for row, s in zip(powers(taps), scales)]
    inverse = _inverse(powers(size))
    b = [[x * s for x, s in zip(row, scales)] for row in inverse]
    return Transforms(*(np.array(x, np.float64) for x in (powers(outputs), g, b)))


def _inverse(matrix: Sequence[Sequence[Fraction]]) -> list[list[Fraction]]:
    """The inverse of a matrix, exact, by elimination."""
    size = len(matrix)
    rows: list[list[Any]] = [[*row, *(int(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(i for i in range(column, size) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [x / rows[column][column] for x in rows[column]]
        for i in range(size):
            if i != column:
                rows[i] = [x - rows[i][column] * y for x, y in zip(rows[i], rows[column])]
    return [row[size:] for row in rows]


@dataclass(frozen=True)
class Tiling:
    """A convolution in tiles of `outputs` positions along each spatial axis (1 where there is one tap,
    and nothing to gain)."""

    spec: Contraction
    outputs: tuple[int, ...]

    @property
    def taps(self) -> tuple[int, ...]:
        return static(self.spec.k[:-1])

    @property
    def channels(self) -> int:
        return static(self.spec.k)[-1]

    @property
    def filters(self) -> int:
        return static(self.spec.j)[0]

    @property
    def positions(self) -> tuple[int, ...]:
        return static(self.spec.m[1:])

    @property
    def before(self) -> tuple[int, ...]:
        """Padding before the first input."""
        return tuple(-x.offset for x in self.spec.a.index[1:-1])

    @property
    def counts(self) -> tuple[int, ...]:
        """Tiles along each axis; the last may be partial."""
        return tuple(-(-p // m) for p, m in zip(self.positions, self.outputs))

    @property
    def patch(self) -> tuple[int, ...]:
        """Inputs of a tile."""
        return tuple(m + r - 1 for m, r in zip(self.outputs, self.taps))

    @property
    def keys(self) -> tuple[tuple[int, ...], ...]:
        """Places of a patch along each axis, of which each window sees one. Those outside the image
        are moved to its edge, which then is seen instead."""
        return tuple(tuple(range(r - 1, m + r - 1, r)) for m, r in zip(self.outputs, self.taps))

    @property
    def transforms(self) -> tuple[Transforms, ...]:
        return tuple(map(transforms, self.outputs, self.taps))


def _along(matrix: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    made: np.ndarray = np.tensordot(matrix.astype(x.dtype), x, (1, axis))
    return np.moveaxis(made, 0, axis)


def _meaning(
    image: np.ndarray,
    kernel: np.ndarray,
    direct: np.ndarray,
    spec: Contraction,
    outputs: tuple[int, ...],
    panels: int,
) -> np.ndarray:
    t, rank, x = Tiling(spec, outputs), len(outputs), image
    wide = [
        (0, 0),
        *(
            (b, max(c * m + r - 1 - b - d, 0))
            for b, c, m, r, d in zip(t.before, t.counts, t.outputs, t.taps, x.shape[1:])
        ),
        (0, 0),
    ]
    x = np.pad(x, wide)
    for i, (count, m, size) in enumerate(zip(t.counts, t.outputs, t.patch)):
        at = np.arange(count)[:, None] * m + np.arange(size)
        x = np.take(x, at, 1 + 2 * i)  # [n, tiles, inputs of the patch, ..., channels]
    even, blank = _even(np.abs(x).max(-1), t)
    inputs, tiles = [2 + 2 * i for i in range(rank)], [1 + 2 * i for i in range(rank)]
    for axis, made in zip(inputs, t.transforms):
        x = _along(made.b.T, x, axis)
    x = x.transpose(*inputs, 0, *tiles, 2 * rank + 1)
    flat = PanelLayout(panels).unpack(kernel, t.filters)
    y = x.reshape(len(kernel), -1, t.channels) @ flat
    y = y.reshape(*x.shape[:-1], t.filters)
    for axis, made in enumerate(t.transforms):
        y = _along(made.a.T, y, axis)
    order = [rank, *(a for i in range(rank) for a in (rank + 1 + i, i)), 2 * rank + 1]
    y = y.transpose(order).reshape(y.shape[rank], *(c * m for c, m in zip(t.counts, t.outputs)), t.filters)
    here = (slice(None), *map(slice, t.positions))
    y = np.where(blank[..., None], y * np.float32(0), y)[here]
    out: np.ndarray = np.where(even[here][..., None], y, reference(spec, image, direct))
    return out


def _even(largest: np.ndarray, t: Tiling) -> tuple[np.ndarray, np.ndarray]:
    """For each output, with those of the last tiles that nobody asks for: whether the numbers of its tile
    are near enough to each other; whether its window has zeros only. largest: of each place, [n, tiles,
    inputs of the patch, ...]."""
    places = tuple(range(2, largest.ndim, 2))
    most, seen, used = largest.max(places, keepdims=True), largest, np.ones(1, bool)
    for axis, count, m, r, size in zip(places, t.counts, t.outputs, t.taps, t.positions):
        seen = np.max([np.take(seen, np.arange(m) + tap, axis) for tap in range(r)], 0)
        outputs = np.arange(count)[:, None] * m + np.arange(m)
        used = used & (outputs < size).reshape(outputs.shape + (1,) * (largest.ndim - 1 - axis))
    good = (most <= SPREAD * seen) | (seen == 0) | ~used
    even = np.broadcast_to(good.all(places, keepdims=True) & (most <= LARGEST), seen.shape)
    whole = len(seen), *(c * m for c, m in zip(t.counts, t.outputs))
    return even.reshape(whole), (seen == 0).reshape(whole)


def _infer(
    x: TensorType,
    kernel: TensorType,
    direct: TensorType,
    spec: Contraction,
    outputs: tuple[int, ...],
    panels: int,
) -> TensorType:
    t = Tiling(spec, outputs)
    expected = (math.prod(t.patch), *PanelLayout(panels).shape(t.channels, t.filters))
    if direct.shape != (*t.taps, t.channels, t.filters):
        raise ValueError(f"winograd: expected the kernel of the convolution. Received: {direct}")
    if kernel.shape != expected or t.filters % panels:
        raise ValueError(f"winograd: expected a kernel of shape {expected}. Received: {kernel}")
    return x.with_shape(spec.shape)


def _case(draw: Draw) -> Case:
    rank = draw.integer(1, 2)
    sizes, taps = ([draw.integer(*range_) for _ in range(rank)] for range_ in ((3, 9), (1, 3)))
    outputs = tuple(1 if r == 1 else draw.integer(2, MOST - r + 1) for r in taps)
    x = TensorType((draw.choice((Batch(), 2)), *sizes, 16))
    w = TensorType((*taps, 16, 16 * draw.integer(1, 2)))
    padding = tuple(draw.choice(((0, 0), same_padding(d, r, 1))) for d, r in zip(sizes, taps))
    spec = conv_maps(x, w, (1,) * rank, padding, (1,) * rank)
    t = Tiling(spec, outputs)
    kernel = TensorType((math.prod(t.patch), *PanelLayout(16).shape(16, t.filters)))
    return Case((x, kernel, w), {"spec": spec, "outputs": outputs, "panels": 16})


register(
    Op(
        "winograd",
        "contraction",
        _infer,
        _meaning,
        tolerance=1e-5,
        expensive=True,
        cases=_case,
        contraction=lambda x, kernel, direct, spec, outputs, panels: spec,
    )
)


def winograd(x: Tensor, kernel: Tensor, spec: Contraction, outputs: Sequence[int], panels: int) -> Tensor:
    """The convolution `spec` of x with a kernel [spatial..., in, out], in tiles of `outputs`; the
    transformed kernel is packed in panels of so many columns."""
    t = Tiling(spec, tuple(outputs))
    g = np.ones((1, 1))
    for made in t.transforms:
        g = np.kron(g, made.g)
    flat = reshape(kernel, (math.prod(t.taps), t.channels * t.filters))
    made_kernel = reshape(
        matmul(constant(x.graph, g, x.dtype), flat), (len(g), t.channels, t.filters // panels, panels)
    )
    return emit(
        "winograd",
        [x, transpose(made_kernel, (0, 2, 1, 3)), kernel],
        spec=spec,
        outputs=t.outputs,
        panels=panels,
    )

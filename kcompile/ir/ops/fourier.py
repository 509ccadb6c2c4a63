"""Fourier's transform, written over the ops; complex numbers are pairs (real, imaginary) of one type.

A size that is a product of two is transformed by them, one after the other (Cooley and Tukey, 1965), until
a matrix of sines and cosines is small. Gradients and code follow from what the functions are made of.
"""

from __future__ import annotations

import math

import numpy as np

from kcompile.ir.ops.einsum import dot_general
from kcompile.ir.ops.elementwise import zeros_like
from kcompile.ir.ops.movement import broadcast_to, concatenate, pad, reshape, reverse, transpose
from kcompile.ir.ops.order import part_of, take
from kcompile.ir.ops.windows import windows_of
from kcompile.ir.tensor import Tensor, constant
from kcompile.ir.types import numel, static

__all__ = ["fourier", "fourier_of_real", "real_of_fourier", "short_time_fourier"]

Complex = tuple[Tensor, Tensor]
SMALL = 64  # up to which size a matrix is used


def fourier(x: Complex, sign: int = -1) -> Complex:
    """sum over j of x[j] exp(sign 2 pi i j k / n), along the last axis, of a known size."""
    a, b = x
    size = _last_size(a)
    first = next((d for d in range(math.isqrt(size), 1, -1) if size % d == 0), 1)
    if size <= SMALL or first == 1:
        c, s = _turns(size, size, size, sign)
        return _times(a, c) - _times(b, s), _times(a, s) + _times(b, c)
    second, lead = size // first, a.shape[:-1]

    def swapped(x: Tensor) -> Tensor:
        return transpose(x, (*range(x.rank - 2), x.rank - 1, x.rank - 2))

    def split(x: Tensor) -> Tensor:
        return swapped(reshape(x, (*lead, first, second)))

    made = fourier((split(a), split(b)), sign)
    made = _scaled(made, *_turns(second, first, size, sign))
    made = fourier((swapped(made[0]), swapped(made[1])), sign)
    return reshape(swapped(made[0]), a.shape), reshape(swapped(made[1]), a.shape)


def fourier_of_real(x: Tensor, size: int | None = None) -> Complex:
    """The transform of real numbers along the last axis: the half of it, size // 2 + 1, that says all. size:
    to which the axis is cut or filled with zeros before."""
    x = x if size is None else _of_size(x, size)
    half = _last_size(x) // 2 + 1
    made = fourier((x, broadcast_to(zeros_like(x), x.shape)))
    return part_of(made[0], x.rank - 1, 0, half), part_of(made[1], x.rank - 1, 0, half)


def real_of_fourier(x: Complex, size: int | None = None) -> Tensor:
    """The inverse of `fourier_of_real`. size: of the result, default the even one."""
    a, b = x
    size = 2 * (_last_size(a) - 1) if size is None else size
    half, axis = size // 2 + 1, a.rank - 1
    a, b = _of_size(a, half), _of_size(b, half)
    edge = np.ones(half)  # what has no counterpart in the other half is real
    edge[0] = 0
    if size % 2 == 0:
        edge[-1] = 0
    b = b * constant(b.graph, edge, b.dtype)
    if size > half:
        back = [reverse(part_of(t, axis, 1, size - half + 1), [axis]) if size - half > 1
                else part_of(t, axis, 1, 2) for t in (a, b)]  # fmt: skip
        a, b = concatenate([a, back[0]], axis), concatenate([b, -back[1]], axis)
    return fourier((a, b), 1)[0] * (1.0 / size)


def short_time_fourier(x: Tensor, weights: np.ndarray, stride: int, center: bool) -> Complex:
    """The transforms of parts of signals [..., time], each part times `weights` [size]: [..., parts,
    size // 2 + 1]. Parts begin at multiples of the stride; center: they have their middle there, and the
    signal is mirrored at its ends. Raises ValueError for a signal shorter than a part."""
    size, time = len(weights), _last_size(x)
    if center:
        rows = np.pad(np.arange(time, dtype=np.int32), size // 2, "reflect")
        x = take(x, rows, x.rank - 1)
        time += size // 2 * 2
    if time < size:
        raise ValueError(f"a signal of {time} has no part of {size}")
    lead = x.shape[:-1]
    parts = windows_of(reshape(x, (numel(lead), time, 1)), (size,), (stride,), ((0, 0),), (1,))
    parts = reshape(parts, (*lead, (time - size) // stride + 1, size))
    return fourier_of_real(parts * constant(x.graph, weights, x.dtype))


def _last_size(x: Tensor) -> int:
    return static(x.shape[-1:])[0]


def _times(x: Tensor, matrix: np.ndarray) -> Tensor:
    return dot_general(x, constant(x.graph, matrix, x.dtype), ([x.rank - 1], [0]))


def _scaled(x: Complex, cosines: np.ndarray, sines: np.ndarray) -> Complex:
    """x times cos + i sin, element by element."""
    a, b = x
    c, s = (constant(a.graph, v, a.dtype) for v in (cosines, sines))
    return a * c - b * s, a * s + b * c


def _turns(rows: int, columns: int, size: int, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of 2 pi j k / size. The product is taken modulo the size, so that angles are exact."""
    angle = np.outer(np.arange(rows), np.arange(columns)) % size * (2 * np.pi / size)
    return np.cos(angle), sign * np.sin(angle)


def _of_size(x: Tensor, size: int) -> Tensor:
    """The last axis cut, or with zeros behind, to a size."""
    have = _last_size(x)
    if have >= size:
        return part_of(x, x.rank - 1, 0, size)
    return pad(x, [0] * x.rank, [0] * (x.rank - 1) + [size - have])

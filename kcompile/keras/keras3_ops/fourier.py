"""keras.ops of Fourier's transform, over axes of known sizes; complex numbers are pairs (real, imaginary).

A size that is a product of two is transformed by them, one after the other (Cooley and Tukey, 1965), until
a matrix of sines and cosines is small.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS, numel
from kcompile.keras.keras3_ops.calls import operation, real, reals
from kcompile.keras.operands import fixed_size, sizes
from kcompile_runtime.errors import UnsupportedError

Complex = tuple[Tensor, Tensor]
SMALL = 64  # up to which size a matrix is used


def _pair(x: Any) -> Complex:
    if not isinstance(x, (list, tuple)) or len(x) != 2:
        raise ValueError(f"expected x=(real, imaginary). Received: {type(x).__name__}")
    a, b = reals(*x)
    if a.shape != b.shape:
        raise ValueError(f"expected parts of one shape. Received: {a.type}, {b.type}")
    return a, b


def _scaled(x: Complex, cosines: np.ndarray, sines: np.ndarray) -> Complex:
    """x times cos + i sin, element by element."""
    a, b = x
    c, s = (ops.constant(a.graph, v, a.dtype) for v in (cosines, sines))
    return a * c - b * s, a * s + b * c


def _last(x: Tensor, matrix: np.ndarray) -> Tensor:
    return ops.dot_general(x, ops.constant(x.graph, matrix, x.dtype), ([x.rank - 1], [0]))


def _turns(rows: int, columns: int, size: int, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of 2 pi j k / size. The product is taken modulo the size, so that angles are exact."""
    angle = np.outer(np.arange(rows), np.arange(columns)) % size * (2 * np.pi / size)
    return np.cos(angle), sign * np.sin(angle)


def _transformed(x: Complex, sign: int) -> Complex:
    """sum over j of x[j] exp(sign 2 pi i j k / n), along the last axis."""
    a, b = x
    size = fixed_size(a, a.rank - 1)
    first = next((d for d in range(math.isqrt(size), 1, -1) if size % d == 0), 1)
    if size <= SMALL or first == 1:
        c, s = _turns(size, size, size, sign)
        return _last(a, c) - _last(b, s), _last(a, s) + _last(b, c)
    second, lead = size // first, a.shape[:-1]

    def swapped(x: Tensor) -> Tensor:
        return ops.transpose(x, (*range(x.rank - 2), x.rank - 1, x.rank - 2))

    made = _transformed((swapped(ops.reshape(a, (*lead, first, second))),
                         swapped(ops.reshape(b, (*lead, first, second)))), sign)  # fmt: skip
    made = _scaled(made, *_turns(second, first, size, sign))
    made = _transformed((swapped(made[0]), swapped(made[1])), sign)
    return ops.reshape(swapped(made[0]), a.shape), ops.reshape(swapped(made[1]), a.shape)


def _over_two(x: Complex, sign: int) -> Complex:
    def swapped(x: Complex) -> Complex:
        order = (*range(x[0].rank - 2), x[0].rank - 1, x[0].rank - 2)
        return ops.transpose(x[0], order), ops.transpose(x[1], order)

    if x[0].rank < 2:
        raise ValueError(f"expected parts of rank 2 or more. Received: {x[0].type}")
    return swapped(_transformed(swapped(_transformed(x, sign)), sign))


@operation
def fft(x: Any) -> Any:
    """Fourier's transform of (real, imaginary) along the last axis."""
    return _transformed(_pair(x), -1)


@operation
def fft2(x: Any) -> Any:
    """Fourier's transform of (real, imaginary) along the last two axes."""
    return _over_two(_pair(x), -1)


@operation
def ifft2(x: Any) -> Any:
    """The inverse of fft2."""
    a, b = _over_two(_pair(x), 1)
    share = 1.0 / (fixed_size(a, a.rank - 1) * fixed_size(a, a.rank - 2))
    return a * share, b * share


def _of_size(x: Tensor, size: int) -> Tensor:
    """The last axis cut, or with zeros behind, to a size."""
    have = fixed_size(x, x.rank - 1)
    if have >= size:
        return ops.part_of(x, x.rank - 1, 0, size)
    return ops.pad(x, [0] * x.rank, [0] * (x.rank - 1) + [size - have])


@operation
def rfft(x: Any, fft_length: int | None = None) -> Any:
    """The transform of real numbers, cut or padded to a length: the half that says all."""
    x = real(x)
    return _of_real(x if fft_length is None else _of_size(x, int(fft_length)))


def _of_real(x: Tensor) -> Complex:
    half = fixed_size(x, x.rank - 1) // 2 + 1
    made = _transformed((x, ops.broadcast_to(ops.zeros_like(x), x.shape)), -1)
    return ops.part_of(made[0], x.rank - 1, 0, half), ops.part_of(made[1], x.rank - 1, 0, half)


@operation
def irfft(x: Any, fft_length: int | None = None) -> Any:
    """The inverse of rfft. fft_length: default the even one."""
    return _to_real(_pair(x), fft_length)


def _to_real(x: Complex, length: int | None) -> Tensor:
    a, b = x
    size = 2 * (fixed_size(a, a.rank - 1) - 1) if length is None else int(length)
    half, axis = size // 2 + 1, a.rank - 1
    a, b = _of_size(a, half), _of_size(b, half)
    edge = np.ones(half)  # what has no counterpart in the other half is real
    edge[0] = 0
    if size % 2 == 0:
        edge[-1] = 0
    b = b * ops.constant(b.graph, edge, b.dtype)
    if size > half:
        back = [ops.reverse(ops.part_of(t, axis, 1, size - half + 1), [axis]) if size - half > 1
                else ops.part_of(t, axis, 1, 2) for t in (a, b)]  # fmt: skip
        a, b = ops.concatenate([a, back[0]], axis), ops.concatenate([b, -back[1]], axis)
    return _transformed((a, b), 1)[0] * (1.0 / size)


# ---------------------------------------------------------------- of parts


WINDOWS = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46)}


def _window(window: Any, length: int, size: int) -> np.ndarray:
    """Weights of the parts, with zeros around up to the size of the transform."""
    if size < length:
        raise ValueError(f"fft_length={size} is smaller than sequence_length={length}")
    if window is None:
        return np.ones(size)
    if isinstance(window, str):
        if window not in WINDOWS:
            raise ValueError(f"window: expected 'hann', 'hamming', an array or None. Received: {window!r}")
        a, b = WINDOWS[window]
        values = a - b * np.cos(2 * np.pi * np.arange(length) / length)
    elif hasattr(window, "__tensor__") or isinstance(window, Tensor):
        raise UnsupportedError("a window is numbers that are known now")
    else:
        values = np.asarray(window, np.float64)
    if values.shape != (length,):
        raise ValueError(f"window: expected [{length}]. Received: {list(values.shape)}")
    before = (size - length) // 2
    return np.pad(values, (before, size - length - before))


@operation
def stft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> Any:
    """The transforms of parts of a signal [..., time], [..., parts, fft_length // 2 + 1], real and imaginary.
    center: parts have their middle at multiples of the stride; the signal is mirrored at its ends."""
    x = real(x)
    if x.dtype not in FLOATS:
        raise ValueError(f"stft: expected floats. Received: {x.type}")
    size, step = int(fft_length), int(sequence_stride)
    weights = _window(sizes(window), int(sequence_length), size)
    time = fixed_size(x, x.rank - 1)
    if center:
        rows = np.pad(np.arange(time, dtype=np.int32), size // 2, "reflect")
        x = ops.take(x, rows, x.rank - 1)
        time += size // 2 * 2
    if time < size:
        raise ValueError(f"stft: a signal of {time} has no part of {size}")
    lead = x.shape[:-1]
    parts = ops.windows_of(ops.reshape(x, (numel(lead), time, 1)), (size,), (step,), ((0, 0),), (1,))
    parts = ops.reshape(parts, (*lead, (time - size) // step + 1, size))
    return _of_real(parts * ops.constant(x.graph, weights, x.dtype))


@operation
def istft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> Any:
    """The inverse of stft: parts added up where they overlap, by the weights that they have there."""
    a, b = _pair(x)
    if a.rank < 2:
        raise ValueError(f"istft: expected parts of rank 2 or more. Received: {a.type}")
    size, step = int(fft_length), int(sequence_stride)
    given = sizes(window)
    weights = _window(given, int(sequence_length), size)
    count, lead = fixed_size(a, a.rank - 2), a.shape[:-2]
    total = size + step * (count - 1)
    parts = _to_real((a, b), size) * ops.constant(a.graph, weights, a.dtype)
    flat = ops.reshape(parts, (numel(lead), count, size, 1))
    made = ops.reshape(ops.windows_added(flat, (total,), (step,), ((0, 0),), (1,)), (*lead, total))
    square = np.zeros(total)
    for k in range(count):
        square[k * step : k * step + size] += weights**2
    square = np.where(square > 1e-10, square, 1.0)
    if given is None:  # Keras divides by the stride here, not by the sum of the weights
        square = square * step / size
    made = made * ops.constant(a.graph, 1.0 / square, a.dtype)
    first = size // 2 if center else 0
    last = first + int(length) if length is not None else total - size // 2 if center else total
    return ops.part_of(made, made.rank - 1, first, min(last, total))

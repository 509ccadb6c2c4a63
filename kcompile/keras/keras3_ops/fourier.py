"""keras.ops of Fourier's transform, over axes of known sizes; complex numbers are pairs (real, imaginary)."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS, numel
from kcompile.keras.keras3_ops.calls import operation, real, reals
from kcompile.keras.operands import fixed_size, sizes
from kcompile.keras.signal_windows import window_of_parts
from kcompile_runtime.errors import UnsupportedError

Complex = tuple[Tensor, Tensor]


def _pair(x: Any) -> Complex:
    if not isinstance(x, (list, tuple)) or len(x) != 2:
        raise ValueError(f"expected x=(real, imaginary). Received: {type(x).__name__}")
    a, b = reals(*x)
    if a.shape != b.shape:
        raise ValueError(f"expected parts of one shape. Received: {a.type}, {b.type}")
    return a, b


def _over_two(x: Complex, sign: int) -> Complex:
    def swapped(x: Complex) -> Complex:
        order = (*range(x[0].rank - 2), x[0].rank - 1, x[0].rank - 2)
        return ops.transpose(x[0], order), ops.transpose(x[1], order)

    if x[0].rank < 2:
        raise ValueError(f"expected parts of rank 2 or more. Received: {x[0].type}")
    return swapped(ops.fourier(swapped(ops.fourier(x, sign)), sign))


@operation
def fft(x: Any) -> Any:
    """Fourier's transform of (real, imaginary) along the last axis."""
    return ops.fourier(_pair(x), -1)


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


@operation
def rfft(x: Any, fft_length: int | None = None) -> Any:
    """The transform of real numbers, cut or padded to a length: the half that says all."""
    return ops.fourier_of_real(real(x), None if fft_length is None else int(fft_length))


@operation
def irfft(x: Any, fft_length: int | None = None) -> Any:
    """The inverse of rfft. fft_length: default the even one."""
    return ops.real_of_fourier(_pair(x), None if fft_length is None else int(fft_length))


# ---------------------------------------------------------------- of parts


def _window(window: Any, length: int, size: int) -> np.ndarray:
    """Weights of the parts, with zeros around up to the size of the transform."""
    if isinstance(window, Tensor) or hasattr(window, "__tensor__"):
        raise UnsupportedError("a window is numbers that are known now")
    return window_of_parts(window, length, size)


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
    return ops.short_time_fourier(x, weights, step, bool(center))


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
    parts = ops.real_of_fourier((a, b), size) * ops.constant(a.graph, weights, a.dtype)
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

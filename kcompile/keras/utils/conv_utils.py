"""Sizes and windows of convolutions: what Keras 2 has in public for layers of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import InputError, describe

__all__ = [
    "conv_input_length",
    "conv_output_length",
    "convert_kernel",
    "deconv_length",
    "normalize_padding",
    "normalize_tuple",
]


def normalize_tuple(value: Any, n: int, name: str) -> tuple[int, ...]:
    """A number n times, or n numbers as a tuple. Raises InputError; name: of the argument, for its text."""
    try:
        found = (int(value),) * n if isinstance(value, (int, np.integer)) else tuple(map(int, value))
    except (TypeError, ValueError):
        found = ()
    if len(found) != n:
        raise InputError(describe(f"argument {name!r}", f"an integer or {n} integers", repr(value)))
    return found


def normalize_padding(value: str) -> str:
    """A padding in lower case. Raises InputError."""
    padding = value.lower()
    if padding not in ("valid", "same", "causal"):
        raise InputError(describe("padding", "'valid', 'same' or 'causal'", repr(value)))
    return padding


def convert_kernel(kernel: Any) -> np.ndarray:
    """A kernel of a convolution of 1 to 3 axes turned around in space, as Theano and TensorFlow differ."""
    array = as_array(kernel, "convert_kernel")
    if not 3 <= array.ndim <= 5:
        raise InputError(describe("convert_kernel", "a kernel of rank 3, 4 or 5", f"shape {array.shape}"))
    return np.copy(np.flip(array, tuple(range(array.ndim - 2))))


def conv_output_length(
    input_length: int | None, filter_size: int, padding: str, stride: int, dilation: int = 1
) -> int | None:
    """The size of an axis behind a convolution or a pooling; "full" is every overlap."""
    if input_length is None:
        return None
    window = (filter_size - 1) * dilation + 1
    reach = {"valid": 1 - window, "same": 0, "causal": 0, "full": window - 1}
    return (input_length + _one_of(padding, reach) + stride - 1) // stride


def conv_input_length(output_length: int | None, filter_size: int, padding: str, stride: int) -> int | None:
    """The smallest size of an axis of which a convolution makes output_length."""
    if output_length is None:
        return None
    before = _one_of(padding, {"same": filter_size // 2, "valid": 0, "full": filter_size - 1})
    return (output_length - 1) * stride - 2 * before + filter_size


def deconv_length(
    dim_size: int | None,
    stride_size: int,
    kernel_size: int,
    padding: str,
    output_padding: int | None = None,
    dilation: int = 1,
) -> int | None:
    """The size of an axis behind a transposed convolution. output_padding: how much one side is longer;
    without it, the largest size that a convolution of these strides brings back."""
    if dim_size is None:
        return None
    window = (kernel_size - 1) * dilation + 1
    if output_padding is None:
        more = {"valid": max(window - stride_size, 0), "full": stride_size + window - 2, "same": 0}
        size = dim_size * stride_size
        return size - more["full"] if padding == "full" else size + _one_of(padding, more)
    before = _one_of(padding, {"same": window // 2, "valid": 0, "full": window - 1})
    return (dim_size - 1) * stride_size + window - 2 * before + output_padding


def _one_of(padding: str, values: dict[str, int]) -> int:
    if padding not in values:
        raise InputError(describe("padding", ", ".join(map(repr, values)), repr(padding)))
    return values[padding]

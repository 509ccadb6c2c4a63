"""What functions over spatial axes share: where channels stand, and what padding means.

Enters: tensors in a data format, names of paddings. Leaves: tensors with channels last, as the ops take them,
and zeros before and after each axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, Dim, static


def channels_to_last(x: Tensor, data_format: str) -> Tensor:
    """[batch, channels, ...] as [batch, ..., channels] for channels_first."""
    return x if data_format == "channels_last" else ops.transpose(x, (0, *range(2, x.rank), 1))


def channels_back(x: Tensor, data_format: str) -> Tensor:
    """The inverse of `channels_to_last`."""
    return x if data_format == "channels_last" else ops.transpose(x, (0, x.rank - 1, *range(1, x.rank - 1)))


def pads(
    padding: str,
    sizes: Sequence[Any],
    windows: Sequence[Any],
    strides: Sequence[int],
    dilation: Sequence[int] | None = None,
) -> tuple[tuple[int, int], ...]:
    """The padding of each axis, before and behind. "causal", of one axis: so that a window ends at its own
    place. Raises ValueError for an unknown name."""
    dilation = (1,) * len(windows) if dilation is None else dilation
    if padding == "same":
        return tuple(ops.same_padding(*args) for args in zip(sizes, windows, strides, dilation))
    if padding == "causal" and len(windows) == 1:
        return ((dilation[0] * (windows[0] - 1), 0),)
    if padding != "valid":
        raise ValueError(f"expected padding 'valid' or 'same'. Received: {padding!r}")
    return ((0, 0),) * len(windows)


def transposed_size(
    size: Any, window: int, stride: int, padding: str, more: int | None, dilation: int = 1
) -> int:
    """The size of an axis that a transposed convolution makes of one of `size`. more: elements added; None:
    as many as make the size a multiple of the stride (`same`), or cover all windows (`valid`).
    Source: `deconv_length` of Keras 2.2."""
    reach = (window - 1) * dilation + 1
    if more is None:
        return int(size * stride + (0 if padding == "same" else max(reach - stride, 0)))
    return int((size - 1) * stride + reach + more - (2 * (reach // 2) if padding == "same" else 0))


def conv_transpose(
    x: Tensor,
    kernel: Tensor,
    sizes: Sequence[Any],
    strides: Sequence[int],
    padding: str,
    dilation: Sequence[int],
) -> Tensor:
    """The transpose of the convolution that makes x [batch, spatial..., channels] of an input of these
    spatial sizes, with a kernel [spatial..., filters, channels]. Raises ValueError where no convolution
    makes a tensor of x's sizes of it."""
    windows = static(kernel.shape[: len(strides)])
    around = pads(padding, sizes, windows, strides, dilation)
    made = [ops.window_size(*args) for args in zip(sizes, windows, strides, around, dilation)]
    if tuple(made) != tuple(x.shape[1:-1]):
        raise ValueError(
            f"transposed convolution: expected an output of which the convolution makes {x.shape[1:-1]}. "
            f"Received: {tuple(sizes)}, of which it makes {tuple(made)}"
        )
    return ops.conv_transpose(x, kernel, tuple(sizes), tuple(strides), around, tuple(dilation))


def depthwise(
    x: Tensor, kernel: Tensor, strides: Sequence[int], padding: str, dilation: Sequence[int]
) -> Tensor:
    """Each channel of x [batch, spatial..., channels] convolved with kernels of its own
    [taps..., channels, multiplier]: [batch, positions..., channels * multiplier]."""
    *taps, channels, multiplier = static(kernel.shape)
    around = pads(padding, x.shape[1:-1], taps, strides, dilation)
    grouped = ops.reshape(kernel, (*taps, 1, channels * multiplier))
    return ops.conv(x, grouped, strides, around, dilation, channels)


def local(
    x: Tensor, kernel: Tensor, size: Sequence[int], strides: Sequence[int], padding: str, channels_first: bool
) -> Tensor:
    """x [batch, spatial..., channels] seen through windows that have weights of their own, kernel
    [positions, taps * channels, filters]: [batch, positions..., filters]. channels_first: whether a
    kernel's channels stand before its taps."""
    ones = (1,) * len(size)
    seen = ops.windows_of(x, size, strides, pads(padding, x.shape[1:-1], size, strides), ones)
    rank, positions = len(size), seen.shape[1 : 1 + len(size)]
    if channels_first:
        last = seen.rank - 1
        seen = ops.transpose(seen, (*range(1 + rank), last, *range(1 + rank, last)))
    flat = ops.reshape(seen, (x.shape[0], *kernel.shape[:2], 1))
    return ops.reshape(ops.reduce_sum(flat * kernel, 2), (x.shape[0], *positions, kernel.shape[2]))


def repeated(x: Tensor, counts: Sequence[Any], each: bool) -> Tensor:
    """x [...] with every axis counts[i] times as long: each element repeated, or the whole one after the
    other. Of axes of known sizes, a count may be the number of samples."""
    if not all(
        isinstance(d, int) if isinstance(count, Batch) else isinstance(count, (int, np.integer)) and count > 0
        for d, count in zip(x.shape, counts)
    ):
        raise ValueError(f"expected factors that are positive integers. Received: {list(counts)}")
    split: list[Dim] = []
    wide: list[Dim] = []
    for d, count in zip(x.shape, counts):
        split += [d, 1] if each else [1, d]
        wide += [d, count] if each else [count, d]
    result = ops.broadcast_to(ops.reshape(x, split), wide)
    return ops.reshape(result, [d * count for d, count in zip(x.shape, counts)])


def enlarged(x: Tensor, axis: int, factor: int, middles: bool) -> Tensor:
    """x with an axis `factor` times as long, by linear interpolation; beyond the ends, the last element.

    middles: elements are areas whose middles are matched; else their first corners are."""
    (size,) = static(x.shape[axis : axis + 1])
    rest = [(0, d) for d in x.shape]

    def part(low: int, high: Any) -> Tensor:
        bounds = [*rest[:axis], (low, high), *rest[axis + 1 :]]
        return ops.slice_(x, [a for a, _ in bounds], [z for _, z in bounds])

    before = ops.concatenate([part(0, 1), part(0, size - 1)], axis) if size > 1 else x
    behind = ops.concatenate([part(1, size), part(size - 1, size)], axis) if size > 1 else x
    places = (np.arange(factor) + 0.5) / factor - 0.5 if middles else np.arange(factor) / factor
    weights = [np.maximum(0, 1 - np.abs(places - k)) for k in (-1, 0, 1)]
    shape = (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :])
    column = [factor if i == axis + 1 else 1 for i in range(len(shape))]
    y: Any = None
    for value, weight in zip((before, x, behind), weights):
        if weight.any():
            term = ops.reshape(value, shape) * ops.constant(x.graph, weight.reshape(column), x.dtype)
            y = term if y is None else y + term
    return ops.reshape(y, tuple(d * factor if i == axis else d for i, d in enumerate(x.shape)))

"""Networks' functions: convolutions, pooling, normalisation, crossentropies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Dim
from kcompile.keras import spatial
from kcompile.keras.crossentropy import binary_terms, log_probabilities
from kcompile.keras.operands import axes_of, fixed_size, sizes, tensor, traced
from kcompile.keras.settings import checked_data_format
from kcompile.keras.spatial import channels_back, channels_to_last, pads


def _last(x: Tensor, data_format: str | None) -> Tensor:
    return channels_to_last(x, checked_data_format(data_format))


def _back(x: Tensor, data_format: str | None) -> Tensor:
    return channels_back(x, checked_data_format(data_format))


def each_of(value: Any, count: int) -> tuple[int, ...]:
    value = sizes(value)
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,) * count
    if len(values) != count or not all(isinstance(v, int) and v > 0 for v in values):
        raise ValueError(f"expected {count} positive integers. Received: {value}")
    return values


def convolved(
    rank: int, x: Any, kernel: Any, strides: Any, padding: str, data_format: str | None, dilation_rate: Any
) -> Tensor:
    x, kernel = _last(tensor(x), data_format), tensor(kernel)
    strides, dilation = each_of(strides, rank), each_of(dilation_rate, rank)
    around = pads(padding, x.shape[1:-1], kernel.shape[:rank], strides, dilation)
    many, own = x.shape[-1], kernel.shape[-2] if kernel.rank > 1 else 0
    groups = many // own if isinstance(many, int) and isinstance(own, int) and own and many % own == 0 else 1
    return _back(ops.conv(x, kernel, strides, around, dilation, groups), data_format)


@traced
def conv1d(
    x: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """[batch, steps, channels] with a kernel [taps, channels, filters]; padding may be 'causal'."""
    return convolved(1, x, kernel, strides, padding, data_format, dilation_rate)


@traced
def conv2d(
    x: Any,
    kernel: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """Images with a kernel [rows, columns, channels, filters]."""
    return convolved(2, x, kernel, strides, padding, data_format, dilation_rate)


@traced
def conv3d(
    x: Any,
    kernel: Any,
    strides: Any = (1, 1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1, 1),
) -> Any:
    """Volumes with a kernel [three taps, channels, filters]."""
    return convolved(3, x, kernel, strides, padding, data_format, dilation_rate)


def _conv_transpose(
    rank: int,
    x: Any,
    kernel: Any,
    output_shape: Sequence[Any],
    strides: Any,
    padding: str,
    data_format: str | None,
    dilation_rate: Any,
) -> Tensor:
    x, kernel = _last(tensor(x), data_format), tensor(kernel)
    first = checked_data_format(data_format) == "channels_first"
    output_shape = sizes(output_shape)
    places = tuple(output_shape[2:] if first else output_shape[1:-1])
    strides, dilation = each_of(strides, rank), each_of(dilation_rate, rank)
    return _back(spatial.conv_transpose(x, kernel, places, strides, padding, dilation), data_format)


@traced
def conv2d_transpose(
    x: Any,
    kernel: Any,
    output_shape: Sequence[Any],
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """The gradient of conv2d by its input: kernel [rows, columns, filters, channels]; output_shape with
    the batch."""
    return _conv_transpose(2, x, kernel, output_shape, strides, padding, data_format, dilation_rate)


@traced
def conv3d_transpose(
    x: Any,
    kernel: Any,
    output_shape: Sequence[Any],
    strides: Any = (1, 1, 1),
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """The gradient of conv3d by its input."""
    return _conv_transpose(3, x, kernel, output_shape, strides, padding, data_format, 1)


# ---------------------------------------------------------------- a kernel for each channel, or each place


def _depthwise(
    rank: int, x: Any, kernel: Any, strides: Any, padding: str, data_format: str | None, dilation_rate: Any
) -> Tensor:
    x, kernel = _last(tensor(x), data_format), tensor(kernel)
    return spatial.depthwise(x, kernel, each_of(strides, rank), padding, each_of(dilation_rate, rank))


@traced
def depthwise_conv2d(
    x: Any,
    depthwise_kernel: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """Each channel of images convolved with kernels of its own [rows, columns, channels, multiplier]."""
    return _back(
        _depthwise(2, x, depthwise_kernel, strides, padding, data_format, dilation_rate), data_format
    )


def separated(
    rank: int,
    x: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any,
    padding: str,
    data_format: str | None,
    dilation_rate: Any,
) -> Tensor:
    y = _depthwise(rank, x, depthwise_kernel, strides, padding, data_format, dilation_rate)
    ones = (1,) * rank
    return _back(ops.conv(y, tensor(pointwise_kernel), ones, ((0, 0),) * rank, ones), data_format)


@traced
def separable_conv1d(
    x: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """A depthwise convolution over steps, whose channels a kernel [1, channels, filters] mixes."""
    return separated(1, x, depthwise_kernel, pointwise_kernel, strides, padding, data_format, dilation_rate)


@traced
def separable_conv2d(
    x: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """The same over images, with a pointwise kernel [1, 1, channels, filters]."""
    return separated(2, x, depthwise_kernel, pointwise_kernel, strides, padding, data_format, dilation_rate)


def _local(
    rank: int, inputs: Any, kernel: Any, kernel_size: Any, strides: Any, data_format: str | None
) -> Tensor:
    x, first = _last(tensor(inputs), data_format), checked_data_format(data_format) == "channels_first"
    size, steps = each_of(kernel_size, rank), each_of(strides, rank)
    return _back(spatial.local(x, tensor(kernel), size, steps, "valid", first), data_format)


@traced
def local_conv1d(
    inputs: Any, kernel: Any, kernel_size: Any, strides: Any, data_format: str | None = None
) -> Any:
    """[batch, steps, channels] through windows that have kernels of their own [windows, taps * channels,
    filters]."""
    return _local(1, inputs, kernel, kernel_size, strides, data_format)


@traced
def local_conv2d(
    inputs: Any,
    kernel: Any,
    kernel_size: Any,
    strides: Any,
    output_shape: Any,
    data_format: str | None = None,
) -> Any:
    """The same over images. output_shape: the number of windows along rows and columns."""
    made = _local(2, inputs, kernel, kernel_size, strides, data_format)
    places = made.shape[2:] if checked_data_format(data_format) == "channels_first" else made.shape[1:3]
    if tuple(sizes(output_shape)) != tuple(places):
        raise ValueError(f"local_conv2d: expected output_shape={tuple(places)}. Received: {output_shape}")
    return made


def pooled(
    rank: int, x: Any, pool_size: Any, strides: Any, padding: str, data_format: str | None, pool_mode: str
) -> Tensor:
    x = _last(tensor(x), data_format)
    size, steps = each_of(pool_size, rank), each_of(strides, rank)
    around = pads(padding, x.shape[1:-1], size, steps, (1,) * rank)
    if pool_mode not in ("max", "avg"):
        raise ValueError(f"expected pool_mode 'max' or 'avg'. Received: {pool_mode!r}")
    function = ops.max_pool if pool_mode == "max" else ops.average_pool
    return _back(function(x, size, steps, around), data_format)


@traced
def pool2d(
    x: Any,
    pool_size: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    pool_mode: str = "max",
) -> Any:
    """The largest ('max') or the mean ('avg') element under each window of images."""
    return pooled(2, x, pool_size, strides, padding, data_format, pool_mode)


@traced
def pool3d(
    x: Any,
    pool_size: Any,
    strides: Any = (1, 1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    pool_mode: str = "max",
) -> Any:
    """The same for volumes."""
    return pooled(3, x, pool_size, strides, padding, data_format, pool_mode)


# ---------------------------------------------------------------- normalisation


def _along(x: Tensor, values: Any, axis: int) -> Tensor:
    """A vector of the size of an axis (or what broadcasts already), so shaped that it broadcasts."""
    values = tensor(values)
    if values.rank != 1 or x.rank == 1:
        return values
    shape: list[Dim] = [d if i == axis % x.rank else 1 for i, d in enumerate(x.shape)]
    return ops.reshape(values, shape)


@traced
def batch_normalization(
    x: Any, mean: Any, var: Any, beta: Any, gamma: Any, axis: int = -1, epsilon: float = 1e-3
) -> Any:
    """(x - mean) / sqrt(var + epsilon) * gamma + beta; beta and gamma may be None."""
    x = tensor(x)
    scale = ops.rsqrt(_along(x, var, axis) + epsilon)
    if gamma is not None:
        scale = scale * _along(x, gamma, axis)
    y = (x - _along(x, mean, axis)) * scale
    return y if beta is None else y + _along(x, beta, axis)


@traced
def normalize_batch_in_training(
    x: Any, gamma: Any, beta: Any, reduction_axes: Sequence[int], epsilon: float = 1e-3
) -> Any:
    """(x normalised by its own statistics, their mean, their variance)."""
    x = tensor(x)
    axes = axes_of(x, list(reduction_axes))
    mean = ops.reduce_mean(x, axes, True)
    variance = ops.reduce_mean(ops.square(x - mean), axes, True)
    rest = [i for i in range(x.rank) if i not in axes]
    scale = ops.rsqrt(variance + epsilon)
    y = (x - mean) * (scale if gamma is None else scale * _along(x, gamma, rest[-1]))
    y = y if beta is None else y + _along(x, beta, rest[-1])
    shape = [x.shape[i] for i in rest]
    return y, ops.reshape(mean, shape), ops.reshape(variance, shape)


# ---------------------------------------------------------------- crossentropies


@traced
def categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """-sum(target * log(output)) along `axis`; output: probabilities or logits."""
    output = tensor(output)
    target = ops.cast(tensor(target), output.dtype)
    return -ops.reduce_sum(target * log_probabilities(output, from_logits, axis), axis)


@traced
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-log(output at the class number) along `axis`; target [...] or [..., 1]."""
    output = tensor(output)
    (place,) = axes_of(output, axis)
    order = [*(i for i in range(output.rank) if i != place), place]
    logs = ops.transpose(log_probabilities(output, from_logits, axis, sparse=True), order)
    numbers = ops.cast(ops.reshape(tensor(target), logs.shape[:-1]), "int32")
    return -ops.value_at(logs, ops.checked_places(numbers, fixed_size(logs, -1)))


@traced
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-t log(p) - (1 - t) log(1 - p), of each element."""
    output = tensor(output)
    target = ops.cast(tensor(target), output.dtype)
    return binary_terms(target, output, from_logits)


@traced
def in_top_k(predictions: Any, targets: Any, k: int) -> Any:
    """Whether fewer than k classes score higher than the target's, bool. A target that is no class, or
    whose score is not finite, is among none, as in TensorFlow."""
    predictions = tensor(predictions)
    numbers = ops.cast(ops.reshape(tensor(targets), predictions.shape[:-1]), "int32")
    score = ops.value_at(predictions, numbers)
    higher = ops.cast(predictions > ops.reshape(score, (*score.shape, 1)), "float32")
    known = ops.logical_and(numbers >= 0, numbers < predictions.shape[-1])
    known = ops.logical_and(known, ops.abs(score) < math.inf)
    return ops.logical_and(known, ops.reduce_sum(higher, -1) < float(k))

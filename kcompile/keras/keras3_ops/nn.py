"""keras.ops of networks: activations, convolutions, pooling, normalisation, attention, crossentropies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS, axis_of, numel, static
from kcompile.keras import activations, spatial
from kcompile.keras.backend.nn import binary_crossentropy as _binary_crossentropy
from kcompile.keras.backend.nn import categorical_crossentropy as _categorical_crossentropy
from kcompile.keras.backend.nn import convolved, each_of, pooled, separated
from kcompile.keras.backend.nn import sparse_categorical_crossentropy as _sparse_crossentropy
from kcompile.keras.keras3_ops.calls import flag, number, operation, places, real, reals, to, unary
from kcompile.keras.keras3_ops.elementwise import dtype_of
from kcompile.keras.operands import axes_of, fixed_size, sizes, tensor
from kcompile.keras.settings import checked_data_format
from kcompile.keras.settings import epsilon as default_epsilon
from kcompile.keras.spatial import channels_back, channels_to_last
from kcompile_runtime.errors import UnsupportedError

# ---------------------------------------------------------------- activations


def _activation(name: str, function: Callable[..., Tensor], doc: str = "") -> Any:
    return unary(name, function, doc or str(function.__doc__))


relu = unary("relu", lambda x: ops.relu(x) if x.dtype in FLOATS else ops.maximum(x, 0), "max(x, 0)", number)
relu6 = _activation("relu6", activations.relu6)
sigmoid = _activation("sigmoid", ops.sigmoid, "1 / (1 + exp(-x))")
softplus = _activation("softplus", ops.softplus, "log(exp(x) + 1)")
softsign = _activation("softsign", activations.softsign)
silu = _activation("silu", activations.silu)
swish = _activation("swish", activations.silu)
log_sigmoid = _activation("log_sigmoid", activations.log_sigmoid)
hard_sigmoid = _activation("hard_sigmoid", activations.hard_sigmoid_keras3)
hard_silu = _activation("hard_silu", activations.hard_silu)
hard_swish = _activation("hard_swish", activations.hard_silu)
hard_tanh = unary("hard_tanh", lambda x: ops.minimum(ops.maximum(x, -1), 1), "x within [-1, 1].", number)
tanh_shrink = _activation("tanh_shrink", activations.tanh_shrink)
selu = _activation("selu", activations.selu)
sparse_plus = _activation("sparse_plus", activations.sparse_plus)
sparse_sigmoid = _activation("sparse_sigmoid", activations.sparse_sigmoid)


@operation
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x where positive, else negative_slope * x."""
    return activations.relu(real(x), negative_slope)


@operation
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where positive, else alpha * (exp(x) - 1)."""
    return activations.elu(real(x), alpha)


@operation
def celu(x: Any, alpha: float = 1.0) -> Any:
    """x where positive, else alpha * (exp(x / alpha) - 1)."""
    return activations.celu(real(x), alpha)


@operation
def gelu(x: Any, approximate: bool = True) -> Any:
    """x times the normal distribution's share below x; approximate: by tanh."""
    return activations.gelu(real(x), approximate)


@operation
def glu(x: Any, axis: int = -1) -> Any:
    """a * sigmoid(b), where a and b are the halves of x along an axis."""
    return activations.glu(real(x), axis)


@operation
def squareplus(x: Any, b: float = 4) -> Any:
    """(x + sqrt(x^2 + b)) / 2"""
    return activations.squareplus(real(x), b)


@operation
def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x where |x| is above the threshold, else 0."""
    return activations.hard_shrink(real(x), threshold)


@operation
def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x brought nearer to 0 by the threshold; 0 where |x| is not above it."""
    return activations.soft_shrink(real(x), threshold)


@operation
def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x where it is above the threshold, else default_value."""
    return activations.threshold(real(x), threshold, default_value)


def _over(x: Tensor, axis: Any, function: Callable[[Tensor, int], Tensor]) -> Tensor:
    """A function along one axis, several, or (None) all."""
    axes = axes_of(x, axis)
    if len(axes) == 1:
        return function(x, axes[0])
    rest = [i for i in range(x.rank) if i not in axes]
    order = [*rest, *axes]
    moved = ops.transpose(x, order)
    flat = ops.reshape(moved, (*(x.shape[i] for i in rest), numel([x.shape[i] for i in axes])))
    made = ops.reshape(function(flat, len(rest)), moved.shape)
    return ops.transpose(made, [order.index(i) for i in range(x.rank)])


@operation
def softmax(x: Any, axis: Any = -1) -> Any:
    """exp(x) / sum(exp(x)) along an axis, or several."""
    return _over(real(x), axis, ops.softmax)


@operation
def log_softmax(x: Any, axis: Any = -1) -> Any:
    """log(softmax(x)) along an axis, or several."""
    return _over(real(x), axis, ops.log_softmax)


@operation
def sparsemax(x: Any, axis: int = -1) -> Any:
    """max(x - t, 0) along an axis, with t so that few are above 0."""
    x = real(x)
    moved, back = ops.axis_last(x, axis_of(axis, x.rank))
    return ops.transpose(_sparsemax(moved), back)


def _sparsemax(x: Tensor) -> Tensor:
    made = activations.sparsemax(ops.reshape(x, (1, *x.shape)), -1)
    return ops.reshape(made, x.shape)


# ---------------------------------------------------------------- convolutions and pooling


def _rank(x: Tensor) -> int:
    if not 3 <= x.rank <= 5:
        raise ValueError(f"expected [batch, one to three spatial axes, channels]. Received: {x.type}")
    return x.rank - 2


@operation
def conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """A convolution over one to three spatial axes, with a kernel [taps..., channels, filters]; of more
    channels than the kernel has: in groups."""
    x, kernel = reals(inputs, kernel)
    return convolved(_rank(x), x, kernel, strides, padding.lower(), data_format, dilation_rate)


@operation
def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """Each channel convolved with kernels of its own [taps..., channels, multiplier]."""
    x, kernel = reals(inputs, kernel)
    rank = _rank(x)
    layout = checked_data_format(data_format)
    made = spatial.depthwise(
        channels_to_last(x, layout),
        kernel,
        each_of(strides, rank),
        padding.lower(),
        each_of(dilation_rate, rank),
    )
    return channels_back(made, layout)


@operation
def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """A depthwise convolution, whose channels a kernel of one tap mixes."""
    x, depthwise, pointwise = reals(inputs, depthwise_kernel, pointwise_kernel)
    return separated(_rank(x), x, depthwise, pointwise, strides, padding.lower(), data_format, dilation_rate)


@operation
def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """The transpose of a convolution, with a kernel [taps..., filters, channels]."""
    x, kernel = reals(inputs, kernel)
    rank, layout, padding = _rank(x), checked_data_format(data_format), padding.lower()
    x = channels_to_last(x, layout)
    steps, dilation = each_of(strides, rank), each_of(dilation_rate, rank)
    more = [None] * rank if output_padding is None else list(_each_int(output_padding, rank))
    places_ = [
        spatial.transposed_size(*args)
        for args in zip(x.shape[1:-1], static(kernel.shape[:rank]), steps, (padding,) * rank, more, dilation)
    ]
    return channels_back(spatial.conv_transpose(x, kernel, places_, steps, padding, dilation), layout)


def _each_int(value: Any, count: int) -> tuple[int, ...]:
    value = sizes(value)
    return tuple(value) if isinstance(value, (list, tuple)) else (value,) * count


@operation
def max_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> Any:
    """The largest element under each window."""
    x = real(inputs)
    return pooled(
        _rank(x), x, pool_size, pool_size if strides is None else strides, padding.lower(), data_format, "max"
    )


@operation
def average_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> Any:
    """The mean of the elements under each window."""
    x = real(inputs)
    return pooled(
        _rank(x), x, pool_size, pool_size if strides is None else strides, padding.lower(), data_format, "avg"
    )


def _adaptive(
    inputs: Any, output_size: Any, data_format: str | None, reduce: Callable[..., Tensor]
) -> Tensor:
    """So many windows, that begin and end where equal parts do, rounded outwards."""
    x, layout = real(inputs), checked_data_format(data_format)
    x = channels_to_last(x, layout)
    for axis, count in enumerate(each_of(output_size, _rank(x)), 1):
        size = fixed_size(x, axis)
        bounds = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
        parts = [reduce(ops.part_of(x, axis, a, b), axis, True) for a, b in bounds]
        x = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis)
    return channels_back(x, layout)


@operation
def adaptive_average_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Any:
    """The means of so many equal parts."""
    return _adaptive(inputs, output_size, data_format, ops.reduce_mean)


@operation
def adaptive_max_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Any:
    """The largest of so many equal parts."""
    return _adaptive(inputs, output_size, data_format, ops.reduce_max)


@operation
def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Channels of images as blocks of pixels."""
    layout = checked_data_format(data_format)
    x = channels_to_last(tensor(x), layout)
    n, h, w, _ = x.shape
    b = block_size
    made = ops.reshape(x, (n, h, w, b, b, fixed_size(x, 3) // (b * b)))
    made = ops.transpose(made, (0, 1, 3, 2, 4, 5))
    return channels_back(ops.reshape(made, (n, h * b, w * b, fixed_size(x, 3) // (b * b))), layout)


@operation
def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Blocks of pixels as channels of images."""
    layout = checked_data_format(data_format)
    x = channels_to_last(tensor(x), layout)
    n, c, b = x.shape[0], x.shape[3], block_size
    h, w = fixed_size(x, 1) // b, fixed_size(x, 2) // b
    made = ops.transpose(ops.reshape(x, (n, h, b, w, b, c)), (0, 1, 3, 2, 4, 5))
    return channels_back(ops.reshape(made, (n, h, w, c * (b * b))), layout)


# ---------------------------------------------------------------- numbers of classes


@operation
def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """1 at the class, along a new axis; zeros alone for what is no class."""
    if sparse:
        raise UnsupportedError("ops.one_hot: sparse arrays are not supported")
    x = places(x)
    made = ops.one_hot(x, num_classes, dtype_of(dtype))
    place = axis_of(axis, made.rank)
    order = list(range(made.rank - 1))
    order.insert(place, made.rank - 1)
    return ops.transpose(made, order)


@operation
def multi_hot(
    inputs: Any, num_classes: int | None = None, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Any:
    """1 at each class among the elements of the last axis."""
    if sparse or num_classes is None:
        raise UnsupportedError("ops.multi_hot: num_classes is a number, and sparse arrays are not supported")
    x = places(inputs)
    made = ops.reduce_max(ops.one_hot(x, num_classes, dtype_of(dtype)), 1 if x.rank > 1 else 0)
    order = list(range(made.rank - 1))
    order.insert(axis_of(axis, made.rank), made.rank - 1)
    return ops.transpose(made, order)


@operation
def categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """-sum(target * log(output)) along an axis; output: probabilities or logits."""
    return _categorical_crossentropy(real(target), real(output), from_logits, axis)


@operation
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-log(output at the class) along an axis."""
    return _sparse_crossentropy(places(target), real(output), from_logits, axis)


@operation
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-t log(p) - (1 - t) log(1 - p), of each element."""
    return _binary_crossentropy(real(target), real(output), from_logits)


# ---------------------------------------------------------------- normalisation


@operation
def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> Any:
    """The mean and the (biased) variance over axes."""
    if synchronized:
        raise UnsupportedError("ops.moments: synchronized: there is one device")
    x = real(x)
    over = axes_of(x, axes)
    mean = ops.reduce_mean(x, over, True)
    variance = ops.reduce_mean(ops.square(x - mean), over, keepdims)
    return (mean if keepdims else ops.reduce_sum(mean, over)), variance


def _along(x: Tensor, values: Any, axes: list[int]) -> Tensor:
    """Values of these axes beside x."""
    v = to(tensor(values), x.dtype)
    if v.rank == x.rank:
        return v
    return ops.reshape(v, [d if i in axes else 1 for i, d in enumerate(x.shape)])


@operation
def batch_normalization(
    x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, along an axis."""
    x = real(x)
    at = axes_of(x, axis)
    factor = ops.rsqrt(_along(x, variance, at) + epsilon)
    factor = factor if scale is None else factor * _along(x, scale, at)
    made = (x - _along(x, mean, at)) * factor
    return made if offset is None else made + _along(x, offset, at)


@operation
def layer_normalization(
    x: Any, gamma: Any = None, beta: Any = None, axis: Any = -1, epsilon: float | None = None
) -> Any:
    """x with mean 0 and variance 1 over axes, scaled and moved."""
    x = real(x)
    axes = axes_of(x, axis)
    off = x - ops.reduce_mean(x, axes, True)
    made = off * ops.rsqrt(
        ops.reduce_mean(ops.square(off), axes, True) + (default_epsilon() if epsilon is None else epsilon)
    )
    made = made if gamma is None else made * _along(x, gamma, axes)
    return made if beta is None else made + _along(x, beta, axes)


@operation
def rms_normalization(x: Any, scale: Any = None, axis: Any = -1, epsilon: float | None = None) -> Any:
    """x by the root of its mean square over axes, scaled."""
    x = real(x)
    axes = axes_of(x, axis)
    square = ops.reduce_mean(ops.square(x), axes, True)
    made = x * ops.rsqrt(square + (default_epsilon() if epsilon is None else epsilon))
    return made if scale is None else made * _along(x, scale, axes)


@operation
def normalize(x: Any, axis: Any = -1, order: Any = 2, epsilon: float | None = None) -> Any:
    """x by its norm along axes, which is at least epsilon."""
    x = real(x)
    least = default_epsilon() if epsilon is None else epsilon
    axes = axes_of(x, axis)
    if order == 2:
        return x * ops.rsqrt(ops.maximum(ops.reduce_sum(x * x, axes, True), least**2))
    size = ops.abs(x)
    if order == math.inf:
        length = ops.reduce_max(size, axes, True)
    elif order == 1:
        length = ops.reduce_sum(size, axes, True)
    else:
        length = ops.pow(ops.reduce_sum(ops.pow(size, float(order)), axes, True), 1.0 / order)
    return x / ops.maximum(length, least)


# ---------------------------------------------------------------- attention


@operation
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Any:
    """The values [batch, keys, heads, size] weighted by softmax(query key / sqrt(size)), for each query.

    Queries may have a multiple of the heads. flash_attention: by which kernel, which changes no result.
    """
    q, k, v = reals(query, key, value)
    if {q.rank, k.rank, v.rank} != {4}:
        raise ValueError(f"expected tensors of rank 4. Received: {q.type}, {k.type}, {v.type}")
    heads = fixed_size(q, 2) // fixed_size(k, 2)
    if heads > 1:
        k, v = (spatial.repeated(t, (1, 1, heads, 1), True) for t in (k, v))
    q, k, v = (ops.transpose(t, (0, 2, 1, 3)) for t in (q, k, v))
    factor = 1.0 / math.sqrt(fixed_size(q, 3)) if scale is None else scale
    logits = ops.product(q, ops.transpose(k, (0, 1, 3, 2))) * factor
    if attn_logits_soft_cap is not None:
        logits = ops.tanh(logits / attn_logits_soft_cap) * attn_logits_soft_cap
    logits = logits if bias is None else logits + to(tensor(bias), logits.dtype)
    *_, rows, columns = logits.shape
    if is_causal:
        at = [
            ops.reshape(ops.iota(q.graph, (n,), 0, "int32"), s)
            for n, s in ((rows, (rows, 1)), (columns, (1, columns)))
        ]
        logits = _masked(logits, at[0] >= at[1])
    if mask is not None:
        logits = _masked(logits, flag(mask))
    return ops.transpose(ops.product(ops.softmax(logits), v), (0, 2, 1, 3))


def _masked(logits: Tensor, mask: Tensor) -> Tensor:
    return ops.select(mask, logits, ops.zeros_like(logits) - 0.7 * 3.4028234663852886e38)


@operation
def psnr(x1: Any, x2: Any, max_val: float) -> Any:
    """10 log10(max_val^2 / the mean square of the difference)."""
    a, b = reals(x1, x2)
    error = ops.reduce_mean(ops.square(a - b))
    return (ops.log(ops.zeros_like(error) + float(max_val) ** 2) - ops.log(error)) * (10.0 / math.log(10.0))


def _windows(x: Tensor, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> tuple[Tensor, Any]:
    size, apart, steps = (each_of(v, 2) for v in (kernel_size, dilation, stride))
    around = tuple((p, p) for p in _each_int(padding, 2))
    last = ops.transpose(x, (0, 2, 3, 1))
    return ops.windows_of(last, size, steps, around, apart), size


@operation
def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """What each window of images [batch, channels, rows, columns] sees, as columns."""
    x = real(x)
    seen, size = _windows(x, kernel_size, dilation, padding, stride)  # [n, oh, ow, kh, kw, c]
    n, high, wide, *_ = seen.shape
    made = ops.transpose(seen, (0, 5, 3, 4, 1, 2))
    return ops.reshape(made, (n, fixed_size(x, 1) * size[0] * size[1], numel([high, wide])))


@operation
def fold(
    x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """The way back of `unfold`: columns [batch, channels * taps, windows] added up where windows overlap, as
    images [batch, channels, rows, columns] of `output_size`."""
    x = real(x)
    whole, size, apart, steps = (each_of(v, 2) for v in (output_size, kernel_size, dilation, stride))
    around = tuple((p, p) for p in _each_int(padding, 2))
    taps = size[0] * size[1]
    if x.rank != 3 or fixed_size(x, 1) % taps:
        raise ValueError(f"fold: expected [batch, channels * {taps}, windows]. Received: {x.type}")
    places = [
        (d + 2 * p - a * (k - 1) - 1) // s + 1
        for d, (p, _), a, k, s in zip(whole, around, apart, size, steps)
    ]
    seen = ops.reshape(x, (x.shape[0], fixed_size(x, 1) // taps, *size, *places))
    seen = ops.transpose(seen, (0, 4, 5, 2, 3, 1))
    return ops.transpose(ops.windows_added(seen, whole, steps, around, apart), (0, 3, 1, 2))


@operation
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Any:
    """Parts of the last axis, of one length, that begin at equal distances."""
    x = tensor(x)
    size = fixed_size(x, x.rank - 1)
    starts = range(0, size - sequence_length + 1, sequence_stride)
    parts = [ops.part_of(x, x.rank - 1, s, s + sequence_length) for s in starts]
    parts = [ops.reshape(p, (*x.shape[:-1], 1, sequence_length)) for p in parts]
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, x.rank - 1)

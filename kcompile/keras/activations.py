"""Activation functions, written over symbolic tensors.

`get` finds one by name, as a vintage means it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS, axis_of
from kcompile.keras import settings
from kcompile.keras.editions import edition
from kcompile.keras.operands import lift
from kcompile.keras.semantics import Semantics
from kcompile.keras.utils.serialization import deserialize as _deserialize
from kcompile.keras.utils.serialization import deserializer, serialize

__all__ = [
    "celu",
    "deserialize",
    "elu",
    "exponential",
    "gelu",
    "get",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "serialize",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]

# Klambauer et al., Self-Normalizing Neural Networks, 2017, equation 14
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis`. Raises ValueError for a tensor of rank 1."""
    if x.rank < 2:
        raise ValueError(f"softmax: expected a tensor of rank 2 or more. Received: {x.type}")
    if not -x.rank <= axis < x.rank or axis % x.rank == 0:
        raise ValueError(f"softmax: expected an axis of {x.type} that is not the batch. Received: {axis}")
    return ops.softmax(x, axis)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where positive, else alpha * (exp(x) - 1)."""
    positive = x > 0.0
    negative = ops.select(positive, ops.zeros_like(x), x)  # keeps exp finite where it is not used
    return ops.select(positive, x, ops.expm1(negative) * alpha)


def selu(x: Tensor) -> Tensor:
    """Scaled elu, with the constants that keep mean 0 and variance 1."""
    return elu(x, SELU_ALPHA) * SELU_SCALE


def softplus(x: Tensor) -> Tensor:
    """log(exp(x) + 1)."""
    return ops.softplus(x)


def softsign(x: Tensor) -> Tensor:
    """x / (|x| + 1)."""
    return x / (ops.abs(x) + 1.0)


def relu(x: Tensor, alpha: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Tensor:
    """x above the threshold, at most max_value; alpha * (x - threshold) below."""
    if alpha == 0.0 and threshold == 0.0:
        above = ops.relu(x) if x.dtype in FLOATS else ops.maximum(x, 0)
        return above if max_value is None else ops.minimum(above, max_value)
    above = x if max_value is None else ops.minimum(x, max_value)
    below = (x - threshold) * alpha if alpha else ops.zeros_like(x)
    return ops.select(x <= threshold, below, above)  # NaN is not below


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent, element by element."""
    return ops.tanh(x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return ops.sigmoid(x)


def hard_sigmoid(x: Tensor) -> Tensor:
    """0.2 x + 0.5 within [0, 1], as Keras 1 and 2 have it."""
    return ops.clip(x * 0.2 + 0.5, 0.0, 1.0)


def hard_sigmoid_keras3(x: Tensor) -> Tensor:
    """x / 6 + 0.5 within [0, 1], as Keras 3 has it."""
    return ops.clip(x + 3.0, 0.0, 6.0) / 6.0


hard_sigmoid_keras3.__name__ = "hard_sigmoid"  # what Keras 3 calls it in configurations


def exponential(x: Tensor) -> Tensor:
    """exp(x)."""
    return ops.exp(x)


def relu6(x: Tensor) -> Tensor:
    """x within [0, 6]."""
    return relu(x, max_value=6.0)


def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """x where positive, else negative_slope * x."""
    return relu(x, negative_slope)


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where positive, else alpha * (exp(x / alpha) - 1) (Barron 2017)."""
    return ops.maximum(x, 0.0) + ops.expm1(ops.minimum(x, 0.0) / alpha) * alpha


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """x times the normal distribution's share below x; approximate: by tanh (Hendrycks and Gimpel 2016)."""
    if approximate:
        inner = (x + x * x * x * 0.044715) * math.sqrt(2.0 / math.pi)
        return x * 0.5 * (ops.tanh(inner) + 1.0)
    return x * 0.5 * (ops.erf(x * math.sqrt(0.5)) + 1.0)


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x)."""
    return x * ops.sigmoid(x)


def mish(x: Tensor) -> Tensor:
    """x * tanh(softplus(x)) (Misra 2019)."""
    return x * ops.tanh(ops.softplus(x))


def squareplus(x: Tensor, b: float = 4) -> Tensor:
    """(x + sqrt(x^2 + b)) / 2 (Barron 2021)."""
    return (x + ops.sqrt(ops.square(x) + float(b))) * 0.5


def log_sigmoid(x: Tensor) -> Tensor:
    """log(sigmoid(x))."""
    return -ops.softplus(-x)


def hard_silu(x: Tensor) -> Tensor:
    """x * (x / 6 + 0.5, within [0, 1])."""
    return x * hard_sigmoid_keras3(x)


def hard_tanh(x: Tensor) -> Tensor:
    """x within [-1, 1]."""
    return ops.clip(x, -1.0, 1.0)


def tanh_shrink(x: Tensor) -> Tensor:
    """x - tanh(x)."""
    return x - ops.tanh(x)


def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """x where |x| is above the threshold, else 0."""
    return ops.select(ops.abs(x) > threshold, x, ops.zeros_like(x))


def soft_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """x brought nearer to 0 by the threshold; 0 where |x| is not above it."""
    low, high = x + threshold, x - threshold
    return ops.select(x > threshold, high, ops.select(x < -threshold, low, ops.zeros_like(x)))


def threshold(x: Tensor, threshold: float, default_value: float) -> Tensor:
    """x where it is above the threshold, else default_value."""
    return ops.select(x > threshold, x, ops.zeros_like(x) + default_value)


def sparse_plus(x: Tensor) -> Tensor:
    """0 up to -1, (x + 1)^2 / 4 up to 1, and x above."""
    between = ops.square(x + 1.0) * 0.25
    return ops.select(x <= -1.0, ops.zeros_like(x), ops.select(x < 1.0, between, x))


def sparse_sigmoid(x: Tensor) -> Tensor:
    """(x + 1) / 2 within [0, 1] (Blondel et al. 2019)."""
    return ops.clip((x + 1.0) * 0.5, 0.0, 1.0)


def glu(x: Tensor, axis: int = -1) -> Tensor:
    """a * sigmoid(b), where a and b are the halves of x along `axis` (Dauphin 2017)."""
    at = axis_of(axis, x.rank)
    size = x.shape[at]
    if not isinstance(size, int) or size % 2:  # the batch's has no halves
        raise ValueError(f"glu: expected an even size of axis {axis}. Received: {x.type}")
    half = size // 2
    return ops.part_of(x, at, 0, half) * ops.sigmoid(ops.part_of(x, at, half, size))


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log(softmax(x)) along `axis`."""
    return ops.log_softmax(x, _axis("log_softmax", x, axis))


def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """max(x - t, 0) along `axis`, with Keras 3's t: (the sum of the support's cumulative sums - 1) / k.

    The support are the k elements where 1 + r x is above the sum of the r elements that are not smaller. In
    the paper (Martins and Astudillo 2016) t takes the last of these sums alone, so that the result sums to 1.
    """
    at = _axis("sparsemax", x, axis)
    size = x.shape[at]
    if not isinstance(size, int):
        raise ValueError(f"sparsemax: expected a known size of axis {axis}. Received: {x.type}")
    order = [a for a in range(x.rank) if a != at] + [at]
    last = ops.transpose(x, order)
    one, other = (ops.reshape(last, (*last.shape[:-1], *sides)) for sides in ((size, 1), (1, size)))
    not_smaller = ops.cast(other >= one, x.dtype)
    larger = ops.reduce_sum(ops.cast(other > one, x.dtype), -1)
    number = ops.reduce_sum(not_smaller, -1)
    support = ops.cast(last * number + 1.0 > ops.reduce_sum(not_smaller * other, -1), x.dtype)
    k = ops.reduce_sum(support, -1, keepdims=True)
    times = k - (larger + number - 1.0) * 0.5  # in how many sums each element is; equal ones on the average
    t = (ops.reduce_sum(last * support * ops.stop_gradient(times), -1, keepdims=True) - 1.0) / k
    return ops.transpose(ops.relu(last - t), [order.index(a) for a in range(x.rank)])


def _axis(name: str, x: Tensor, axis: int) -> int:
    """An axis of x that is not the batch's, from 0 on; of a vector the only one. Raises ValueError."""
    if -x.rank <= axis < x.rank and (axis % x.rank or x.rank == 1):
        return axis % x.rank
    raise ValueError(f"{name}: expected an axis of {x.type} that is not the batch. Received: {axis}")


lift(globals(), "x")


def linear(x: Any) -> Any:
    """x."""
    return x


swish, hard_swish = silu, hard_silu
_KNOWN = {
    name: function
    for name, function in list(globals().items())
    if name in __all__ and name not in ("deserialize", "get", "hard_sigmoid", "serialize")
}
LAYERS: dict[str, Any] = {}  # those that activations may be; `layers.advanced_activations` names them
_HARD_SIGMOIDS = {"x / 5": hard_sigmoid, "x / 6": hard_sigmoid_keras3}


def get(identifier: Any, meaning: Semantics | None = None) -> Callable[..., Tensor]:
    """The function for a name, a function, or None (linear). meaning: whose names they are, default
    those of the Keras that runs. Raises UnsupportedError."""
    meaning = meaning or settings.meaning()
    if hasattr(identifier, "compute_output_shape") and not edition(meaning.name).eager:
        kind = type(identifier).__name__
        warnings.warn(f"activation: {kind} is a layer. Call it as one, behind this layer", stacklevel=2)
    slope = meaning.hard_sigmoid
    known = {**_KNOWN, **LAYERS, "hard_sigmoid": _HARD_SIGMOIDS[slope]}
    found: Callable[..., Tensor] | None = _deserialize(identifier, known, "activation")
    return linear if found is None else found


deserialize = deserializer(get)

"""Activation functions, written over symbolic tensors.

`get` finds one by name, as a vintage means it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import settings
from kcompile.keras.editions import edition
from kcompile.keras.operands import lift
from kcompile.keras.semantics import Semantics
from kcompile.keras.utils.serialization import deserialize as _deserialize
from kcompile.keras.utils.serialization import serialize

__all__ = [
    "deserialize",
    "elu",
    "exponential",
    "get",
    "hard_sigmoid",
    "linear",
    "relu",
    "selu",
    "serialize",
    "sigmoid",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
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
        above = ops.relu(x)
        return above if max_value is None else ops.minimum(above, max_value)
    above = x if max_value is None else ops.minimum(x, max_value)
    below = (x - threshold) * alpha if alpha else ops.zeros_like(x)
    return ops.select(x <= threshold, below, above)  # NaN is not below


def tanh(x: Tensor) -> Tensor:
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


lift(globals(), "x")


def linear(x: Any) -> Any:
    """x."""
    return x


_KNOWN = {
    f.__name__: f for f in (softmax, elu, selu, softplus, softsign, relu, tanh, sigmoid, exponential, linear)
}
_HARD_SIGMOIDS = {"x / 5": hard_sigmoid, "x / 6": hard_sigmoid_keras3}


def get(identifier: Any, meaning: Semantics | None = None) -> Callable[..., Tensor]:
    """The function for a name, a function, or None (linear). meaning: whose names they are, default
    those of the Keras that runs. Raises UnsupportedError."""
    meaning = meaning or settings.meaning()
    if hasattr(identifier, "compute_output_shape") and not edition(meaning.name).eager:
        kind = type(identifier).__name__
        warnings.warn(f"activation: {kind} is a layer. Call it as one, behind this layer", stacklevel=2)
    slope = meaning.hard_sigmoid
    known = {**_KNOWN, "hard_sigmoid": _HARD_SIGMOIDS[slope]}
    found: Callable[..., Tensor] | None = _deserialize(identifier, known, "activation")
    return linear if found is None else found


deserialize = get

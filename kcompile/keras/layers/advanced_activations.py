"""Activations with arguments, or with weights of their own, as layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import activations
from kcompile.keras.engine import InputSpec, KerasShape, Layer, as_list, is_integer
from kcompile.keras.layers.kernel import Weighted
from kcompile.keras.operands import sizes
from kcompile_runtime.errors import ModelError, describe

__all__ = ["ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax", "ThresholdedReLU"]


class LeakyReLU(Layer):
    """x where positive, else alpha * x."""

    supports_masking = True
    wants_floats = True

    def __init__(self, alpha: float = 0.3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = self.number("alpha", alpha)

    def call(self, x: Tensor) -> Tensor:
        return activations.relu(x, self.alpha)


class PReLU(Weighted):
    """x where positive, else alpha * x, with an alpha to learn for every element of a sample (He 2015).

    shared_axes: axes along which one alpha serves all elements, counted with the batch as 0.
    """

    supports_masking = True

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.choose(
            alpha_initializer=alpha_initializer,
            alpha_regularizer=alpha_regularizer,
            alpha_constraint=alpha_constraint,
        )
        self.shared_axes = None if shared_axes is None else as_list(sizes(shared_axes))

    def build(self, input_shape: KerasShape) -> None:
        shared = self.shared_axes or []
        if not all(is_integer(a) and 0 < a < len(input_shape) for a in shared):
            raise ModelError(
                describe("shared_axes", f"axes of {input_shape} other than the batch", str(self.shared_axes))
            )
        shape = [1 if i in shared else d for i, d in enumerate(input_shape)][1:]
        self.alpha = self.add("alpha", shape)
        self.input_spec = InputSpec(
            ndim=len(input_shape), axes={i: d for i, d in enumerate(input_shape) if i and i not in shared}
        )

    def call(self, x: Tensor) -> Tensor:
        return ops.relu(x) - ops.relu(-x) * self.alpha.__tensor__(x.graph)


class ELU(Layer):
    """x where positive, else alpha * (exp(x) - 1) (Clevert 2015)."""

    supports_masking = True
    wants_floats = True

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = self.number("alpha", alpha)

    def call(self, x: Tensor) -> Tensor:
        return activations.elu(x, self.alpha)


class ThresholdedReLU(Layer):
    """x where it is above theta, else 0 (Konda 2014)."""

    supports_masking = True

    def __init__(self, theta: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.theta = self.number("theta", theta)

    def call(self, x: Tensor) -> Tensor:
        return ops.select(x <= self.theta, ops.zeros_like(x), x)  # NaN stays


class Softmax(Layer):
    """exp(x) / sum(exp(x)) along `axis`, which is not the batch."""

    supports_masking = True
    wants_floats = True

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not is_integer(axis):
            raise ModelError(describe(f"{self.label}: axis", "an integer", repr(axis)))
        self.axis = int(axis)

    def call(self, x: Tensor) -> Tensor:
        return activations.softmax(x, self.axis)


class ReLU(Layer):
    """x above the threshold, at most max_value; negative_slope * (x - threshold) below."""

    supports_masking = True

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else self.number("max_value", max_value, 0)
        self.negative_slope = self.number("negative_slope", negative_slope, 0)
        self.threshold = self.number("threshold", threshold, 0)
        self.wants_floats = max_value is not None or bool(negative_slope or threshold)

    def call(self, x: Tensor) -> Tensor:
        return activations.relu(x, self.negative_slope, self.max_value, self.threshold)


activations.LAYERS.update(
    (layer.__name__, layer) for layer in (ELU, LeakyReLU, ReLU, Softmax, ThresholdedReLU)
)

"""Activations with arguments, or with weights of their own, as layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import activations
from kcompile.keras.engine import InputSpec, KerasShape, Layer, as_list, is_integer
from kcompile.keras.layers.attention import LOW, softmax_over
from kcompile.keras.layers.kernel import Weighted
from kcompile.keras.operands import sizes
from kcompile.keras.written_masks import COUNT
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

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
    """exp(x) / sum(exp(x)) along `axis`, or along several axes together, none of which is the batch.

    A mask (since tf.keras) leaves out elements: of x, or of last axes of x, or 1 for all of an axis.
    robust_masking (tf.keras): values that are left out count as a low number, and are not lowered by one.
    """

    supports_masking = True
    wants_floats = True

    def __init__(self, axis: Any = -1, robust_masking: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        axes = list(axis) if isinstance(axis, (list, tuple)) else [axis]
        if not axes or not all(map(is_integer, axes)):
            raise ModelError(describe(f"{self.label}: axis", "an integer, or a list of them", repr(axis)))
        self.axis = [int(a) for a in axes] if isinstance(axis, (list, tuple)) else int(axis)
        self.robust_masking = self.flag("robust_masking", robust_masking)

    def _check_arguments(self, arguments: dict[str, Any]) -> None:
        if self.semantics.softmax_mask == "ignored" and ("mask" in arguments or COUNT in arguments):
            raise UnsupportedError(
                f"{self.label}: call: Keras 2 takes no mask. Multiply by it, or use tf.keras"
            )
        super()._check_arguments(arguments)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if not self.robust_masking:
            del config["robust_masking"]  # which not all Kerases know
        return config

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        masks = self.semantics.softmax_mask
        if mask is None or masks == "ignored":
            return self._softmax(x)
        if mask.rank > x.rank or any(m not in (1, d) for m, d in zip(mask.shape[::-1], x.shape[::-1])):
            raise ModelError(describe("call: mask", f"sizes of {x.type} or of 1", str(mask.type)))
        mask = ops.broadcast_to(mask, x.shape)
        lowered = masks == "lowered" and not self.robust_masking
        y = self._softmax(ops.select(mask, x, x - LOW if lowered else -LOW))
        return ops.select(mask, y, ops.zeros_like(y)) if masks == "left out" else y

    def _softmax(self, x: Tensor) -> Tensor:
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        if len(axes) == 1:
            return activations.softmax(x, axes[0])
        if not all(-x.rank <= a < x.rank and a % x.rank for a in axes):
            raise ModelError(describe("axis", f"axes of {x.type} but the batch", repr(axes)))
        last = [a % x.rank for a in axes]
        order = [i for i in range(x.rank) if i not in last] + last
        back = [order.index(i) for i in range(x.rank)]
        return ops.transpose(softmax_over(ops.transpose(x, order), len(last)), back)


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

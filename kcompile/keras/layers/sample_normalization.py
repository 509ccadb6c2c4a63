"""Normalisation of each sample by itself: over axes, over groups of channels, by root mean square or norm.

Nothing is kept between calls, and training and prediction are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Dim
from kcompile.keras.engine import InputSpec, KerasShape, Layer, Variable, is_integer
from kcompile.keras.layers.kernel import Weighted, known_channels
from kcompile.keras.operands import sizes
from kcompile_runtime.errors import KindError, ModelError, describe

__all__ = ["GroupNormalization", "LayerNormalization", "RMSNormalization", "UnitNormalization"]

Axes = int | Sequence[int]


def checked_axes(layer: Layer, axis: Any) -> Any:
    """An axis, or a list of several different ones, as given. Raises KindError naming the layer."""
    given = sizes(axis)
    several = list(given) if isinstance(given, (list, tuple)) else [given]
    if not several or not all(map(is_integer, several)):
        raise KindError(describe(f"{layer.label}: axis", "an axis, or a list of them", repr(axis)))
    return [int(a) for a in several] if isinstance(given, (list, tuple)) else int(given)


def axes_within(axis: Any, shape: Sequence[Any]) -> list[int]:
    """The axes, from the first on, that an argument names of an input of this shape. Raises ModelError."""
    rank, given = len(shape), axis if isinstance(axis, list) else [axis]
    places = [a % rank for a in given if -rank <= a < rank]
    if len(places) < len(given) or len(set(places)) < len(given) or 0 in places:
        raise ModelError(
            describe("axis", f"different axes of the input {tuple(shape)} other than the batch", str(axis))
        )
    return places


def along(values: Variable | Tensor, x: Tensor, places: Sequence[int]) -> Tensor:
    """Weights of the sizes of these axes, so shaped that they broadcast along these axes of x."""
    shape: list[Dim] = [d if i in places else 1 for i, d in enumerate(x.shape)]
    weights = values if isinstance(values, Tensor) else values.__tensor__(x.graph)
    return ops.reshape(weights, shape)


class _Scaled(Weighted):
    """Its choices for gamma and beta, and the weights."""

    wants_floats = False  # Keras 3 takes whole numbers, and cuts its results down to whole numbers

    def __init__(
        self,
        axis: Axes = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis: Any = checked_axes(self, axis)
        self.epsilon = self.number("epsilon", epsilon, 0)
        self.center, self.scale = self.flag("center", center), self.flag("scale", scale)
        self.choose(
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
        )

    def add_both(self, shape: Sequence[int | None], center: bool) -> None:
        self.gamma = self.add("gamma", shape) if self.scale else None
        self.beta = self.add("beta", shape) if center else None


class LayerNormalization(_Scaled):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, of each sample over `axis` (Ba et al. 2016).

    gamma and beta have the sizes of these axes. rms_scaling: x / sqrt(variance + epsilon) * gamma, which
    Keras 3 has beside `RMSNormalization`.
    """

    supports_masking = True

    def __init__(
        self,
        axis: Axes = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        rms_scaling: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            axis,
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        self.rms_scaling = self.flag("rms_scaling", rms_scaling)

    def get_config(self) -> dict[str, Any]:
        """Most Kerases know no such argument as rms_scaling."""
        config = super().get_config()
        if not self.rms_scaling:
            del config["rms_scaling"]
        return config

    def build(self, input_shape: KerasShape) -> None:
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        places = axes_within(axes, input_shape)
        self.axis = sorted(axes) if self.semantics.normalized_axes == "sorted" else places
        scale, self.scale = self.scale, self.scale or self.rms_scaling
        self.add_both(
            [known_channels(input_shape, a) for a in self.axis], self.center and not self.rms_scaling
        )
        self.scale = scale
        self.input_spec = InputSpec(ndim=len(input_shape), axes={a: input_shape[a] for a in self.axis})

    def call(self, x: Tensor) -> Tensor:
        places = axes_within(self.axis, x.shape)
        mean = ops.reduce_mean(x, places, keepdims=True)
        centered = x - mean
        scale = ops.rsqrt(ops.reduce_mean(ops.square(centered), places, keepdims=True) + self.epsilon)
        y = (x if self.rms_scaling else centered) * scale
        y = y if self.gamma is None else y * along(self.gamma, x, places)
        return y if self.beta is None else y + along(self.beta, x, places)


class GroupNormalization(_Scaled):
    """The same with mean and variance of each of `groups` groups of channels of a sample (Wu and He 2018).

    groups: -1 makes each channel a group. axis: of the channels, of whose size gamma and beta are. A mask
    goes on, and all steps count; in tf.keras a mask of single elements
    leaves out the others.
    """

    supports_masking = True
    masks_of_tensors = True

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            axis,
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        if isinstance(self.axis, list):
            raise ModelError(describe(f"{self.label}: axis", "one axis", repr(axis)))
        self.groups = -1 if is_integer(groups) and groups == -1 else self.positive("groups", groups)

    def build(self, input_shape: KerasShape) -> None:
        axes_within(self.axis, input_shape)
        channels = known_channels(input_shape, self.axis)
        self.groups = channels if self.groups == -1 else self.groups
        if channels % self.groups:
            raise ModelError(describe("groups", f"a divisor of the {channels} channels", str(self.groups)))
        self.add_both((channels,), self.center)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        place = self.axis % x.rank
        each = x.shape[place] // self.groups

        def in_groups(values: Tensor) -> Tensor:
            return ops.reshape(values, (*x.shape[:place], self.groups, each, *x.shape[place + 1 :]))

        split = in_groups(x)
        axes = [i for i in range(1, split.rank) if i != place]
        mean_of: Callable[[Tensor], Tensor]
        if mask is None or self.semantics.group_norm_mask == "goes on":
            mean_of = partial(ops.reduce_mean, axes=axes, keepdims=True)
        else:
            mean_of = partial(_mean_of_some, in_groups(self._counted(mask, x)), axes)
        centered = split - mean_of(split)
        variance = mean_of(ops.square(centered))
        y = ops.reshape(centered * ops.rsqrt(variance + self.epsilon), x.shape)
        y = y if self.gamma is None else y * along(self.gamma, x, [place])
        return y if self.beta is None else y + along(self.beta, x, [place])

    def _counted(self, mask: Tensor, x: Tensor) -> Tensor:
        """1 where elements count, else 0. Raises ModelError for a mask of anything else than single elements,
        which tf.keras does not broadcast either."""
        if mask.rank != x.rank:
            raise ModelError(
                describe(
                    "mask",
                    f"one of single elements, of {x.rank} axes",
                    f"shape {tuple(mask.shape)}",
                    "GroupNormalization of tf.keras takes no mask of steps: put it before the mask is made",
                )
            )
        return ops.broadcast_to(ops.cast(mask, x.dtype), x.shape)


def _mean_of_some(counted: Tensor, axes: Sequence[int], x: Tensor) -> Tensor:
    """The mean of the elements of x at which `counted` is 1."""
    total = ops.reduce_sum(x * counted, axes, keepdims=True)
    return total / ops.reduce_sum(counted, axes, keepdims=True)


class RMSNormalization(Layer):
    """x / sqrt(mean of x^2 + epsilon) * scale, over `axis` (Zhang and Sennrich 2019)."""

    def __init__(self, axis: Axes = -1, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis: Any = checked_axes(self, axis)
        self.epsilon = self.number("epsilon", epsilon, 0)

    def build(self, input_shape: KerasShape) -> None:
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        axes_within(axes, input_shape)
        self.axis = sorted(axes)
        shape = [known_channels(input_shape, a) for a in self.axis]
        self.scale = self.add_weight("scale", shape, initializer="ones")

    def call(self, x: Tensor) -> Tensor:
        places = axes_within(self.axis, x.shape)
        mean = ops.reduce_mean(ops.square(x), places, keepdims=True)
        return x * ops.rsqrt(mean + self.epsilon) * along(self.scale, x, places)


class UnitNormalization(Layer):
    """x over its Euclidean norm along `axis`; zeros stay zeros."""

    supports_masking = True

    def __init__(self, axis: Axes = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis: Any = checked_axes(self, axis)

    def call(self, x: Tensor) -> Tensor:
        norm = ops.reduce_sum(ops.square(x), axes_within(self.axis, x.shape), keepdims=True)
        smallest = 1e-24 if self.semantics.smallest_norm == "1e-12" else 1e-12
        return x * ops.rsqrt(ops.maximum(norm, smallest))

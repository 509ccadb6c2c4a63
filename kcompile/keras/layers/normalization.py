"""Batch normalisation (Ioffe and Szegedy 2015)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Dim
from kcompile.keras import initializers
from kcompile.keras.engine import InputSpec, KerasShape, Variable, is_integer
from kcompile.keras.layer_weights import filled
from kcompile.keras.layers.kernel import Weighted
from kcompile.keras.moving import followed
from kcompile.keras.settings import epsilon
from kcompile.keras.tracing import trace_of
from kcompile_runtime.errors import KeywordError, ModelError, UnsupportedError, describe

__all__ = ["BatchNormalization"]

# Arguments of tf.keras, with the values at which they do nothing
_UNSUPPORTED = {"virtual_batch_size": None, "adjustment": None}
_LIMITS = ("rmin", "rmax", "dmax")  # of the corrections of renorm


class BatchNormalization(Weighted):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, along `axis`.

    In training mean and (biased) variance are the batch's, and the moving ones follow with
    `momentum` (in Keras 2.2 as averages of the batches so far: `kcompile.keras.moving`). The moving variance
    follows the biased one in Keras 3, an unbiased estimate in Keras 2;
    in tf.keras an unbiased one for images and volumes, where
    it has a fused kernel, and the biased one elsewhere. A frozen layer (trainable=False) keeps its
    moving values; after Keras 2 it also uses them, in Keras 2 it goes on using the batch's. Otherwise it
    is x * s + t with s and t made of variables alone, which a pass folds into the layer before.
    renorm (since tf.keras): training normalizes by averages of mean and standard deviation, which follow with
    `renorm_momentum`, as far as renorm_clipping lets the corrections r (from rmin to rmax) and d (up to dmax,
    either way) go; gradients pass through neither (Ioffe 2017, arXiv 1702.03275).
    """

    supports_masking = True
    moving_mean_initializer: Any
    moving_variance_initializer: Any

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Mapping[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        fused: bool | None = None,
        **kwargs: Any,
    ) -> None:
        options = {name: kwargs.pop(name, silent) for name, silent in _UNSUPPORTED.items()}
        super().__init__(**kwargs)
        self._refuse(options)
        self.synchronized = self.flag("synchronized", synchronized)  # devices, of which there is one
        self.fused = fused if fused is None else self.flag("fused", fused)
        if fused is not None and self.semantics.moving_variance != "once if fused":
            raise KeywordError(f"{self.label}: unknown keyword: fused, which tf.keras alone has")
        self._choose_renorm(renorm, renorm_clipping, renorm_momentum)
        if self.fused and self.synchronized:
            raise ModelError(describe(f"{self.label}: fused", "None or False with synchronized=True", "True"))
        # tf.keras writes the axis as a list of one
        self.axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
        if not is_integer(self.axis):
            raise ModelError(describe(f"{self.label}: axis", "an integer", repr(axis)))
        self.momentum = self.number("momentum", momentum, 0.0, 1.0 + 1e-9)
        self.epsilon = self.number("epsilon", epsilon, 0)
        self.center, self.scale = self.flag("center", center), self.flag("scale", scale)
        self.choose(
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            moving_mean_initializer=moving_mean_initializer,
            moving_variance_initializer=moving_variance_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
        )

    def _choose_renorm(self, renorm: bool, clipping: Mapping[str, float] | None, momentum: float) -> None:
        self.renorm = self.flag("renorm", bool(renorm) if renorm is None else renorm)
        if self.renorm and self.semantics.moving_variance == "twice if fused":
            raise KeywordError(f"{self.label}: unknown keyword: renorm, which Keras has since tf.keras")
        if self.renorm and self.fused:
            raise ModelError(describe(f"{self.label}: fused", "None or False with renorm=True", "True"))
        limits = {} if clipping is None else clipping
        if not isinstance(limits, Mapping) or not set(limits) <= set(_LIMITS):
            wanted = "a dict of rmin, rmax and dmax"
            raise ModelError(describe(f"{self.label}: renorm_clipping", wanted, repr(clipping)))
        self._limits = {
            name: self.number(f"renorm_clipping: {name}", limits[name], 0)
            for name in _LIMITS
            if limits.get(name) is not None
        }
        if self._limits.get("rmin", 0.0) > self._limits.get("rmax", np.inf):
            raise ModelError(describe(f"{self.label}: renorm_clipping", "rmin up to rmax", repr(clipping)))
        self.renorm_clipping = dict(limits) if clipping is not None or self.renorm else None
        self.renorm_momentum = self.number("renorm_momentum", momentum, 0.0, 1.0 + 1e-9)

    def _refuse(self, options: Mapping[str, Any]) -> None:
        """Raises UnsupportedError for options of tf.keras that change what a batch is."""
        for name, value in options.items():
            if value is not None and value is not False:
                raise UnsupportedError(
                    f"{self.label}: {name}={value!r} is not supported. Leave it out, or write the layer as a "
                    "subclass of Layer, with moving statistics by add_weight(trainable=False) and add_update"
                )

    def get_config(self) -> dict[str, Any]:
        """As tf.keras has it, without `fused`, and with `synchronized` where it is set."""
        silent = ["fused"] if self.synchronized else ["fused", "synchronized"]
        silent += [] if self.renorm else ["renorm", "renorm_clipping", "renorm_momentum"]
        return {key: value for key, value in super().get_config().items() if key not in silent}

    @property
    def meets_samples(self) -> bool:
        return True

    def build(self, input_shape: KerasShape) -> None:
        rank = len(input_shape)
        if not -rank <= self.axis < rank or self.axis % rank == 0:
            raise ModelError(
                describe("axis", f"an axis of the input {input_shape} other than the batch", str(self.axis))
            )
        if self.fused and not self._fused(rank):
            wanted = "None or False, but for images and volumes whose channels come first or last"
            raise ModelError(describe("fused", wanted, f"True, for an input of shape {input_shape}"))
        size = (input_shape[self.axis],)
        self.gamma = self.add("gamma", size) if self.scale else None
        self.beta = self.add("beta", size) if self.center else None
        self.moving_mean = self.add_weight(
            "moving_mean", size, initializer=self.moving_mean_initializer, trainable=False
        )
        self.moving_variance = self.add_weight(
            "moving_variance", size, initializer=self.moving_variance_initializer, trainable=False
        )
        if self.renorm:
            self.moving_stddev = self._statistic("moving_stddev", size, True)
            self.renorm_mean = self._statistic("renorm_mean", size, False)
            self.renorm_stddev = self._statistic("renorm_stddev", size, True)
        self.input_spec = InputSpec(ndim=rank, axes={self.axis: size[0]})

    def _statistic(self, name: str, size: tuple[int, ...], deviation: bool) -> Variable:
        """A further average, which begins as the moving mean or the root of the moving variance do."""
        first = initializers.get(copy.copy(self.moving_mean_initializer))
        if deviation:
            variance = copy.copy(self.moving_variance_initializer)

            def first(shape: Any) -> Any:
                return np.sqrt(np.asarray(filled(variance, shape, self.dtype)))

        return self.add_weight(name, size, initializer=first, trainable=False)

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        trace = trace_of(x)
        frozen = trace.frozen and self.semantics.frozen_batch_norm == "moving"
        if trace.training and not frozen:
            counted = self.semantics.batch_norm_counts_masked
            every = counted == "yes" or (counted == "if fused" and self._fused(x.rank))
            return self._normalize_batch(x, None if every else mask)
        mean, variance = trace.read(self.moving_mean), trace.read(self.moving_variance)
        scale = self._times_gamma(ops.rsqrt(variance + self.epsilon))
        shift = mean * scale
        shift = -shift if self.beta is None else trace.read(self.beta) - shift
        return x * self._along(x, scale) + self._along(x, shift)

    def _normalize_batch(self, x: Tensor, mask: Tensor | None) -> Tensor:
        axes = [i for i in range(x.rank) if i != self.axis % x.rank]
        mean_of: Callable[[Tensor], Tensor]
        if mask is None:
            mean_of = partial(ops.reduce_mean, axes=axes)
        else:
            there = ops.broadcast_to(ops.reshape(ops.cast(mask, x.dtype), (*mask.shape, 1)), x.shape)
            number = ops.reduce_sum(there, axes) + epsilon()

            def mean_of(values: Tensor) -> Tensor:
                return ops.reduce_sum(values * there, axes) / number

        mean = mean_of(x)
        centered = x - self._along(x, mean)
        variance = mean_of(ops.square(centered))
        if self.renorm:
            factor, offset = self._renormalize(mean, variance)
            y = centered * self._along(x, self._times_gamma(factor))
            y = y + self._along(x, self._times_gamma(offset))
        else:
            self._follow(self.moving_mean, mean)
            self._follow(self.moving_variance, self._estimate(x, variance, ops.count(x, axes)))
            y = centered * self._along(x, self._times_gamma(ops.rsqrt(variance + self.epsilon)))
        return y if self.beta is None else y + self._along(x, self.beta.__tensor__(x.graph))

    def _renormalize(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """What centered values are multiplied by, and what is added then."""
        trace = trace_of(mean)
        deviation = ops.sqrt(variance + self.epsilon)
        usual = ops.maximum(trace.read(self.renorm_stddev), math.sqrt(self.epsilon))
        ratio, shift = deviation / usual, (mean - trace.read(self.renorm_mean)) / usual
        ratio = ops.clip(ratio, self._limits.get("rmin", 0.0), self._limits.get("rmax", np.inf))
        furthest = self._limits.get("dmax", np.inf)
        shift = ops.clip(shift, -furthest, furthest)
        self._follow(self.renorm_mean, mean, self.renorm_momentum)
        self._follow(self.renorm_stddev, deviation, self.renorm_momentum)
        self._follow(self.moving_mean, mean)
        moved = self._follow(self.moving_stddev, deviation)
        self.add_update(self.moving_variance, ops.maximum(ops.square(moved) - self.epsilon, 0.0))
        return ops.stop_gradient(ratio) / deviation, ops.stop_gradient(shift)

    def _estimate(self, x: Tensor, variance: Tensor, count: Any) -> Tensor:
        """The variance that the moving one follows. TensorFlow's fused kernels give n / (n - 1) of the biased
        one, or that where n is 1; Keras 2 takes n / (n - 1 - epsilon) of what it is given."""
        followed = self.semantics.moving_variance
        twice = followed == "twice if fused"
        if followed != "biased" and self._fused(x.rank) and (x.rank == 4 or not twice):
            rest = max(count - 1.0, 1.0) if isinstance(count, float) else ops.maximum(count - 1.0, 1.0)
            variance = variance * (count / rest)
        return variance * (count / (count - (1.0 + self.epsilon))) if twice else variance

    def _fused(self, rank: int) -> bool:
        """Whether TensorFlow has a fused kernel, and takes it."""
        if self.fused is False or self.synchronized or self.renorm:
            return False
        return rank in (4, 5) and self.axis % rank in (1, rank - 1)

    def _follow(self, moving: Variable, batch: Tensor, momentum: float | None = None) -> Tensor:
        """The next value of a moving average, by the layer's momentum or another."""
        found = followed(moving, batch, self.momentum if momentum is None else momentum, self.semantics)
        for variable, value in found:
            self.add_update(variable, value)
        moved: Tensor = found[0][1]
        return moved

    def _times_gamma(self, x: Tensor) -> Tensor:
        return x if self.gamma is None else x * self.gamma

    def _along(self, x: Tensor, values: Tensor) -> Tensor:
        """A vector of the axis' size, so shaped that it broadcasts along that axis of x."""
        place = self.axis % x.rank
        shape: list[Dim] = [d if i == place else 1 for i, d in enumerate(x.shape)]
        return values if place == x.rank - 1 else ops.reshape(values, shape[place:])

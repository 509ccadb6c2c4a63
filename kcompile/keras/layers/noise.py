"""Layers that make training harder: they drop elements, or disturb them. In inference they do nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.activations import SELU_ALPHA, SELU_SCALE
from kcompile.keras.engine import InputSpec, Layer, is_integer
from kcompile.keras.settings import checked_data_format
from kcompile.keras.tracing import trace_of
from kcompile_runtime.errors import ModelError, describe

__all__ = [
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
]


class _Random(Layer):
    """A layer that draws numbers in training: a function of seed, step, layer and element.

    seed: of this layer alone; default the model's."""

    supports_masking = True

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = self.random_seed(seed)

    def call(self, x: Tensor) -> Tensor:
        return self.disturb(x) if trace_of(x).training else x

    def disturb(self, x: Tensor) -> Tensor:
        """What becomes of x in training."""
        raise NotImplementedError

    def draw(self, function: Any, x: Tensor, *args: Any) -> Tensor:
        """Random numbers by a function of (seed, step, stream, ...)."""
        trace = trace_of(x)
        drawn: Tensor = function(trace.seed(self.seed), trace.step, trace.stream(), *args)
        return drawn if drawn.dtype == "bool" else ops.cast(drawn, x.dtype)


class _Dropping(_Random):
    """Elements, or more of them together, are dropped with probability `rate`."""

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.rate = self.number("rate", rate, 0, 1)

    def disturb(self, x: Tensor) -> Tensor:
        return self.drop(x, self.draw(ops.dropout_mask, x, self.mask_shape(x), self.rate)) if self.rate else x

    def drop(self, x: Tensor, kept: Tensor) -> Tensor:
        """x without the elements that are not kept."""
        return ops.select(kept, x * (1 / (1 - self.rate)), ops.zeros_like(x))

    def mask_shape(self, x: Tensor) -> Sequence[Any]:
        """The shape of what is drawn."""
        raise NotImplementedError


class _DroppingElements(_Dropping):
    """noise_shape: one choice for all elements along axes of size 1 (None: the input's size; the batch may be
    written as a number)."""

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed, **kwargs)
        if noise_shape is not None and not isinstance(noise_shape, (list, tuple, np.ndarray)):
            raise ModelError(describe(f"{self.label}: noise_shape", "a shape or None", repr(noise_shape)))
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def call(self, x: Tensor) -> Tensor:
        self.mask_shape(x)  # which does not fit in inference either
        return super().call(x)

    def mask_shape(self, x: Tensor) -> Sequence[Any]:
        noise = self.noise_shape or (None,) * x.rank
        fits = len(noise) == x.rank and all(
            d in (None, 1, size) or (i == 0 and is_integer(d) and not isinstance(size, int))
            for i, (d, size) in enumerate(zip(noise, x.shape))
        )
        if not fits:
            raise ModelError(describe("noise_shape", f"1 or None for each axis of {x.type}", str(noise)))
        return [1 if d == 1 else size for d, size in zip(noise, x.shape)]


class Dropout(_DroppingElements):
    """In training, elements become 0 with probability `rate`, the others grow by 1 / (1 - rate)."""


class AlphaDropout(_DroppingElements):
    """Dropout that keeps mean and variance of what selu makes: dropped elements get selu's least value, and
    all are scaled and shifted (Klambauer 2017)."""

    def drop(self, x: Tensor, kept: Tensor) -> Tensor:
        low = -SELU_SCALE * SELU_ALPHA
        scale = ((1 - self.rate) * (1 + self.rate * low**2)) ** -0.5
        return ops.select(kept, x, ops.zeros_like(x) + low) * scale - scale * low * self.rate


class _SpatialDropout(_Dropping):
    """Whole channels become 0 with probability `rate` (Tompson 2014)."""

    rank: int

    def __init__(
        self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(rate, seed, **kwargs)
        with self.named_errors():
            self.data_format = checked_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def mask_shape(self, x: Tensor) -> Sequence[Any]:
        channels = 1 if self.data_format == "channels_first" else x.rank - 1
        return [d if i in (0, channels) else 1 for i, d in enumerate(x.shape)]


class SpatialDropout1D(_SpatialDropout):
    """Of [batch, steps, channels]."""

    rank = 1

    def __init__(
        self, rate: float, seed: int | None = None, data_format: str = "channels_last", **kwargs: Any
    ) -> None:
        super().__init__(rate, data_format, seed, **kwargs)
        self.one_of("data_format", data_format, ("channels_last",))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["data_format"]
        return config


class SpatialDropout2D(_SpatialDropout):
    """Of images."""

    rank = 2


class SpatialDropout3D(_SpatialDropout):
    """Of volumes."""

    rank = 3


class GaussianNoise(_Random):
    """In training, x plus normal noise of standard deviation `stddev`."""

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.stddev = self.number("stddev", stddev, 0)

    def disturb(self, x: Tensor) -> Tensor:
        return x + self.draw(ops.random_normal, x, x.shape) * self.stddev


class GaussianDropout(_Random):
    """In training, x times normal noise of mean 1 and standard deviation sqrt(rate / (1 - rate)) (Srivastava
    2014)."""

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.rate = self.number("rate", rate, 0, 1)

    def disturb(self, x: Tensor) -> Tensor:
        deviation = math.sqrt(self.rate / (1 - self.rate))
        return x * (self.draw(ops.random_normal, x, x.shape) * deviation + 1.0) if self.rate else x

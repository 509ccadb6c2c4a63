"""Dense, Activation, Dropout, and the layers that only arrange: Flatten, Reshape."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import numel
from kcompile.keras import activations
from kcompile.keras.engine import InputSpec, KerasShape, Layer, is_integer
from kcompile.keras.layers.kernel import KernelLayer
from kcompile.keras.operands import sizes
from kcompile.keras.settings import checked_data_format
from kcompile.keras.spatial import channels_to_last
from kcompile.keras.tracing import trace_of
from kcompile_runtime.errors import ModelError, describe

__all__ = ["Activation", "Dense", "Dropout", "Flatten", "Reshape"]


class Dense(KernelLayer):
    """activation(x @ kernel + bias), along the last axis of x [batch, ..., inputs].

    Dense(units, activation=None, use_bias=True, kernel_initializer="glorot_uniform", ...): the
    arguments after units are those of `KernelLayer`.
    """

    supports_masking = True

    def __init__(self, units: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.units = self.positive("units", units)

    def build(self, input_shape: KerasShape) -> None:
        InputSpec(min_ndim=2).check(input_shape)
        self.add_kernel((input_shape[-1], self.units))
        self.input_spec = InputSpec(min_ndim=2, axes={-1: input_shape[-1]})

    def call(self, x: Tensor) -> Tensor:
        rows = ops.reshape(x, (numel(x.shape[:-1]), x.shape[-1]))
        product = self.add_bias(ops.matmul(rows, self.kernel))
        return self.activation(ops.reshape(product, (*x.shape[:-1], self.units)))


class Activation(Layer):
    """A function of each tensor: a name, or a function over symbolic tensors."""

    supports_masking = True

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.named_errors():
            self.activation = activations.get(activation, self.semantics)

    def call(self, x: Tensor) -> Tensor:
        return self.activation(x)


class Dropout(Layer):
    """Elements become 0 with probability `rate` in training, the others grow by 1 / (1 - rate).

    noise_shape: one choice for all elements along axes of size 1 (None: the input's size). seed: of
    this layer alone; default the model's. Masks are a function of seed, step, layer and element.
    """

    supports_masking = True

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rate = self.number("rate", rate, 0, 1)
        if noise_shape is not None and not isinstance(noise_shape, (list, tuple, np.ndarray)):
            raise ModelError(describe(f"{self.label}: noise_shape", "a shape or None", repr(noise_shape)))
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        self.seed = seed
        if seed is not None and not (is_integer(seed) and 0 <= seed < 2**32):
            raise ModelError(describe(f"{self.label}: seed", "an integer in [0, 2**32)", repr(seed)))

    def call(self, x: Tensor) -> Tensor:
        trace = trace_of(x)
        shape = self._mask_shape(x)
        if not trace.training or self.rate == 0:
            return x
        seed = trace.seed if self.seed is None else ops.constant(trace.graph, self.seed, "uint32")
        kept = ops.dropout_mask(seed, trace.step, trace.stream(), shape, self.rate)
        return ops.select(kept, x * (1 / (1 - self.rate)), ops.zeros_like(x))

    def _mask_shape(self, x: Tensor) -> Sequence[Any]:
        noise = self.noise_shape or (None,) * x.rank
        if len(noise) != x.rank or any(d not in (None, 1, size) for d, size in zip(noise, x.shape)):
            raise ModelError(describe("noise_shape", f"1 or None for each axis of {x.type}", str(noise)))
        return [1 if d == 1 else size for d, size in zip(noise, x.shape)]


class Flatten(Layer):
    """[batch, ...] as [batch, elements]; channels_first moves the channels last before."""

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.named_errors():
            self.data_format = checked_data_format(data_format)

    def call(self, x: Tensor) -> Tensor:
        if x.rank > 2:
            x = channels_to_last(x, self.data_format)
        return ops.reshape(x, (x.shape[0], numel(x.shape[1:])))


class Reshape(Layer):
    """[batch, ...] as [batch, *target_shape]; one size may be -1, which is what remains."""

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        given = sizes(target_shape)
        given = tuple(given) if isinstance(given, (list, tuple)) else (given,)
        if given.count(-1) > 1 or not all(is_integer(d) and (d > 0 or d == -1) for d in given):
            raise ModelError(
                describe(
                    f"{self.label}: target_shape", "positive sizes, at most one of them -1", str(target_shape)
                )
            )
        self.target_shape = tuple(map(int, given))

    def call(self, x: Tensor) -> Tensor:
        known, total = prod(d for d in self.target_shape if d != -1), numel(x.shape[1:])
        assert isinstance(total, int)
        if total % known or (-1 not in self.target_shape and total != known):
            raise ModelError(
                describe(
                    "target_shape",
                    f"{total} elements, as the input {x.type} has for each sample",
                    str(self.target_shape),
                )
            )
        return ops.reshape(x, (x.shape[0], *(total // known if d == -1 else d for d in self.target_shape)))

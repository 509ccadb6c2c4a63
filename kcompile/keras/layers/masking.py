"""Masking: marks the steps of a sequence that are padding."""

from __future__ import annotations

from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS
from kcompile.keras.engine import InputSpec, Layer

__all__ = ["Masking"]


class Masking(Layer):
    """Steps of [batch, time, ...] whose elements all are `mask_value` are masked, and made zeros."""

    supports_masking = True
    input_spec = InputSpec(min_ndim=2)

    def __init__(self, mask_value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = self.number("mask_value", mask_value)

    def call(self, x: Tensor) -> Tensor:
        return x * ops.cast(self._there(x, True), x.dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Tensor:
        return self._there(inputs, False) > 0.5

    def _there(self, x: Tensor, keepdims: bool) -> Tensor:
        """1 where some element differs from the mask value, else 0, as floats."""
        x = x if x.dtype in FLOATS else ops.cast(x, self.dtype)
        differs = ops.cast(ops.not_equal(x, self.mask_value), x.dtype)
        return ops.reduce_max(differs, -1, keepdims=keepdims)

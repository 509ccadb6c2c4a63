"""Projections of weights after an update, as graph formulas: a tensor enters, a tensor leaves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.operands import over, sizes
from kcompile.keras.settings import epsilon
from kcompile.keras.utils.serialization import deserialize as _deserialize
from kcompile.keras.utils.serialization import deserializer, serialize
from kcompile_runtime.errors import ModelError

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "serialize",
    "unit_norm",
]

Axes = int | Sequence[int]


class Constraint:
    """Base: called with a weight, gives the nearest one that is allowed. Here all are."""

    def __call__(self, w: Tensor) -> Tensor:
        return w

    def get_config(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Constraint:
        return cls(**config)


def _size(name: str, value: Any) -> float:
    """A norm, or a share of one. Raises ModelError."""
    if isinstance(value, bool) or not (isinstance(value, Real) and 0 <= float(value) < math.inf):
        raise ModelError(f"{name}: expected a number of at least 0. Received: {value!r}")
    return float(value)


def _axes(axis: Any) -> Axes:
    """One axis or several. Raises ModelError."""
    axis = sizes(axis)
    several = isinstance(axis, (list, tuple))
    for one in axis if several else (axis,):
        if isinstance(one, bool) or not isinstance(one, Integral):
            raise ModelError(f"axis: expected an integer, or several. Received: {axis!r}")
    return type(axis)(map(int, axis)) if several else int(axis)


def _norms(w: Tensor, axis: Axes) -> Tensor:
    """Norms over `axis`, whose size becomes 1. Axis 0 is what reaches one unit of a Dense."""
    return ops.sqrt(ops.reduce_sum(ops.square(w), axis, keepdims=True))


class MaxNorm(Constraint):
    """Norms over `axis` are at most max_value (Srivastava et al. 2014)."""

    def __init__(self, max_value: float = 2, axis: Axes = 0) -> None:
        self.max_value, self.axis = _size("max_value", max_value), _axes(axis)

    @over("w")
    def __call__(self, w: Any) -> Any:
        norms = _norms(w, self.axis)
        return w * (ops.clip(norms, 0.0, self.max_value) / (norms + epsilon()))


class NonNeg(Constraint):
    """Negative weights become 0."""

    @over("w")
    def __call__(self, w: Any) -> Any:
        return ops.maximum(w, 0.0)


class UnitNorm(Constraint):
    """Norms over `axis` are 1."""

    def __init__(self, axis: Axes = 0) -> None:
        self.axis = _axes(axis)

    @over("w")
    def __call__(self, w: Any) -> Any:
        return w / (_norms(w, self.axis) + epsilon())


class MinMaxNorm(Constraint):
    """Norms over `axis` move into [min_value, max_value], by the share `rate` of the way."""

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axes = 0
    ) -> None:
        self.min_value, self.max_value = _size("min_value", min_value), _size("max_value", max_value)
        self.rate, self.axis = _size("rate", rate), _axes(axis)

    @over("w")
    def __call__(self, w: Any) -> Any:
        norms = _norms(w, self.axis)
        wanted = ops.clip(norms, self.min_value, self.max_value) * self.rate + norms * (1 - self.rate)
        return w * (wanted / (norms + epsilon()))


max_norm = maxnorm = MaxNorm
non_neg = nonneg = NonNeg
unit_norm = unitnorm = UnitNorm
min_max_norm = MinMaxNorm

_KNOWN = {
    name: value
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, Constraint)
}


def get(identifier: Any) -> Callable[[Tensor], Tensor] | None:
    """The constraint for a name, an object, a function of a tensor, or a configuration."""
    found: Callable[[Tensor], Tensor] | None = _deserialize(identifier, _KNOWN, "constraint")
    return found


deserialize = deserializer(get)

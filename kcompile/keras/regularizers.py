"""Penalties on weights or outputs, as graph formulas: a tensor enters, a scalar leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import static
from kcompile.keras.editions import edition
from kcompile.keras.operands import over
from kcompile.keras.settings import vintage_running
from kcompile.keras.tensors import is_number
from kcompile.keras.utils.serialization import deserialize as _deserialize
from kcompile.keras.utils.serialization import deserializer, serialize
from kcompile_runtime.errors import ModelError, describe

__all__ = ["L1", "L1L2", "L2", "Regularizer", "deserialize", "get", "l1", "l1_l2", "l2", "serialize"]
__all__ += ["OrthogonalRegularizer", "orthogonal_regularizer"]


class Regularizer:
    """Base: called with a tensor, gives a scalar. Here 0."""

    def __call__(self, x: Tensor) -> Any:
        return 0.0

    def get_config(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Regularizer:
        return cls(**config)


class L1L2(Regularizer):
    """l1 * sum(|x|) + l2 * sum(x^2)."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        for name, value in (("l1", l1), ("l2", l2)):
            if not is_number(value) or not value >= 0:
                raise ModelError(describe(f"regularizer: {name}", "a number >= 0", repr(value)))
        self.l1, self.l2 = float(l1), float(l2)

    @over("x")
    def __call__(self, x: Any) -> Any:
        parts = [
            ops.reduce_sum(f(x)) * factor
            for f, factor in ((ops.abs, self.l1), (ops.square, self.l2))
            if factor
        ]
        return sum(parts[1:], parts[0]) if parts else ops.constant(x.graph, 0.0, x.dtype)


class L1(L1L2):
    """l1 * sum(|x|)."""

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


class L2(L1L2):
    """l2 * sum(x^2)."""

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """factor * the mean |cosine| of the angles between each two rows (or columns) of a matrix."""

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        if not is_number(factor) or not factor >= 0:
            raise ModelError(describe("OrthogonalRegularizer: factor", "a number >= 0", repr(factor)))
        if not isinstance(mode, str) or mode not in ("rows", "columns"):
            raise ModelError(describe("OrthogonalRegularizer: mode", "'rows' or 'columns'", repr(mode)))
        self.factor, self.mode = float(factor), mode

    @over("inputs")
    def __call__(self, inputs: Any) -> Any:
        if inputs.rank != 2:
            raise ModelError(describe("OrthogonalRegularizer", "weights of rank 2", str(inputs.type)))
        axis = 1 if self.mode == "rows" else 0
        least = ops.maximum(ops.reduce_sum(inputs * inputs, axis, True), 1e-12)
        x = inputs * ops.rsqrt(least)
        cosines = ops.abs(ops.dot_general(x, x, ([axis], [axis])))
        (count, _) = static(cosines.shape)
        apart = 1.0 - np.eye(count)
        total = ops.reduce_sum(cosines * ops.constant(x.graph, apart, x.dtype))
        return total * (0.5 * self.factor / (count * (count - 1.0) / 2.0))


orthogonal_regularizer = OrthogonalRegularizer


def l1(l: float = 0.01) -> L1L2:  # noqa: E741 (Keras' name)
    """The penalty l * sum |w|."""
    return L1(l) if _have_classes() else L1L2(l1=l)


def l2(l: float = 0.01) -> L1L2:  # noqa: E741 (Keras' name)
    """The penalty l * sum w^2."""
    return L2(l) if _have_classes() else L1L2(l2=l)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """The penalty l1 * sum |w| + l2 * sum w^2."""
    return L1L2(l1, l2)


def _have_classes() -> bool:
    return edition(vintage_running()).norms == "L1 and L2"


_NAMED: dict[str, Callable[[], L1L2]] = {"l1": l1, "l2": l2, "l1_l2": l1_l2, "l1l2": lambda: L1L2(0.0, 0.0)}
_KNOWN = {"L1": L1, "L2": L2, "L1L2": L1L2, "OrthogonalRegularizer": OrthogonalRegularizer}


def get(identifier: Any) -> Callable[[Tensor], Tensor] | None:
    """The regularizer for a name, an object, a function of a tensor, or a configuration."""
    if isinstance(identifier, str) and identifier in _NAMED:
        return _NAMED[identifier]()
    found: Callable[[Tensor], Tensor] | None = _deserialize(identifier, _KNOWN, "regularizer")
    return found


deserialize = deserializer(get)

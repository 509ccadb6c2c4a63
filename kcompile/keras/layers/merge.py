"""Layers that make one tensor of several: elementwise, or side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS
from kcompile.keras import backend
from kcompile.keras.engine import Layer, as_list, is_integer
from kcompile.keras.policies import common_dtype
from kcompile.keras.settings import floatx
from kcompile.keras.tracing import trace_of
from kcompile_runtime.errors import ModelError, describe

__all__ = [
    "Add",
    "Average",
    "Concatenate",
    "Dot",
    "Maximum",
    "Minimum",
    "Multiply",
    "Subtract",
    "add",
    "average",
    "concatenate",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
]


class _Merge(Layer):
    """Called on a list of tensors; Keras 2 wants at least two, Keras 3 one."""

    wants_list = True
    supports_masking = True

    def __init__(self, operator: bool = False, **kwargs: Any) -> None:
        """operator: x + y and the like made it."""
        super().__init__(**kwargs)
        self.operator = self.flag("operator", operator)

    def get_config(self) -> dict[str, Any]:
        """Kerases know no such argument."""
        config = super().get_config()
        if not self.operator:
            del config["operator"]
        return config

    def operand_masks(self, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """The masks of the inputs with the inputs' ranks; None where all values of an input count."""
        if not self.semantics.merges_leave_out_masked or self.operator:
            return [None] * len(inputs)
        masks = [trace_of(x).masks.get(x.value) for x in inputs]
        return [
            None if m is None else ops.broadcast_to(ops.reshape(m, (*m.shape, 1)), x.shape)
            for x, m in zip(inputs, masks)
        ]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Tensor | None:
        """The conjunction of the masks that there are; in some vintages the disjunction, if all are there."""
        given = [m for m in as_list(mask) if m is not None]
        if self.operator and not self.semantics.operators_keep_masks:
            return None
        if not given or (self.semantics.merged_masks == "any" and len(given) < len(as_list(inputs))):
            return None
        return self._joined(given)

    def _joined(self, masks: Sequence[Tensor]) -> Tensor:
        return reduce(ops.logical_or if self.semantics.merged_masks == "any" else ops.logical_and, masks)

    def build(self, input_shape: Any) -> None:
        least = 1 if self.semantics.merges_one else 2
        several = isinstance(input_shape, list)
        if not several or len(input_shape) < least:
            raise ModelError(describe("call", f"a list of at least {least} tensors", f"shapes {input_shape}"))

    def _called(self, inputs: Sequence[Tensor], single: bool, given: dict[str, Any]) -> list[Any]:
        """Tensors of several dtypes meet in the one that they have in common."""
        dtype = common_dtype([x.dtype for x in inputs])
        return super()._called([ops.cast(x, dtype) for x in inputs], single, given)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        rank = max(x.rank for x in inputs)
        return reduce(self.merge, [_with_rank(x, rank) for x in inputs])

    def merge(self, x: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError


def _with_rank(x: Tensor, rank: int) -> Tensor:
    """Axes of size 1 after the batch, so that samples meet samples where ranks differ."""
    return ops.reshape(x, (x.shape[0], *(1,) * (rank - x.rank), *x.shape[1:]))


def _all_true(x: Tensor) -> Tensor:
    """The mask of an input that has none."""
    return ops.broadcast_to(ops.constant(x.graph, True), x.shape[:-1])


class Add(_Merge):
    """The sum of the inputs; of bools, whether any is true."""

    def merge(self, x: Tensor, y: Tensor) -> Tensor:
        return ops.logical_or(x, y) if x.dtype == "bool" else x + y


class Multiply(_Merge):
    """The product of the inputs, element by element."""

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        masks = self.operand_masks(inputs)
        ones = [x if m is None else ops.select(m, x, ops.ones_like(x)) for x, m in zip(inputs, masks)]
        product = super().call(ones)
        there = [m for m in masks if m is not None]
        if len(there) < len(masks):
            return product
        return ops.select(reduce(ops.logical_or, there), product, ops.zeros_like(product))

    def merge(self, x: Tensor, y: Tensor) -> Tensor:
        return ops.logical_and(x, y) if x.dtype == "bool" else x * y


class Subtract(_Merge):
    """The first of two inputs minus the second."""

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if len(input_shape) != 2:
            raise ModelError(describe("call", "a list of two tensors", f"shapes {input_shape}"))

    def merge(self, x: Tensor, y: Tensor) -> Tensor:
        return x - y


class Average(_Merge):
    """The mean of the inputs, element by element."""

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        total = super().call(inputs)
        total = total if total.dtype in FLOATS else ops.cast(total, floatx())
        return total * (1.0 / len(inputs))

    def merge(self, x: Tensor, y: Tensor) -> Tensor:
        return ops.logical_or(x, y) if x.dtype == "bool" else x + y


class _Extremum(_Merge):
    """The larger or the smaller; where one input is masked, the other's value is taken."""

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        masks = self.operand_masks(inputs)
        if all(m is None for m in masks):
            return super().call(inputs)
        found, known = inputs[0], masks[0]
        for x, mask in zip(inputs[1:], masks[1:]):
            x = x if mask is None else ops.select(mask, x, found)
            found = found if known is None else ops.select(known, found, x)
            known = None if mask is None or known is None else ops.logical_or(known, mask)
            found = self.merge(found, x)
        return found


class Maximum(_Extremum):
    """The largest of the inputs, element by element."""

    def merge(self, x: Tensor, y: Tensor) -> Tensor:
        return ops.maximum(x, y)


class Minimum(_Extremum):
    """The smallest of the inputs, element by element."""

    def merge(self, x: Tensor, y: Tensor) -> Tensor:
        return ops.minimum(x, y)


class Concatenate(_Merge):
    """The inputs side by side along `axis`, which counts the batch as 0 and must not be it."""

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not is_integer(axis) or axis == 0:
            raise ModelError(
                describe(f"{self.label}: axis", "an axis other than 0, which is the batch", repr(axis))
            )
        self.axis = int(axis)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        ranks = {x.rank for x in inputs}
        if len(ranks) > 1 or not -min(ranks) < self.axis < min(ranks):
            raise ModelError(
                describe(
                    "call",
                    f"inputs of one rank that have the axis {self.axis}",
                    ", ".join(str(x.type) for x in inputs),
                )
            )
        return ops.concatenate(inputs, self.axis)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Tensor | None:
        """Along the last axis, where all masks hold (Keras 3: any); along time, one after the other."""
        given = as_list(mask)
        if all(m is None for m in given):
            return None
        masks = [_all_true(x) if m is None else m for x, m in zip(inputs, given)]
        axis, rank = self.axis % inputs[0].rank, inputs[0].rank
        if any(m.rank != rank - 1 for m in masks):
            raise ModelError(
                describe("call", "masks of all axes but the last", ", ".join(str(m.type) for m in masks))
            )
        if axis < rank - 1:
            return ops.concatenate(masks, axis)
        return self._joined(masks)


class Dot(_Merge):
    """The product of two tensors of each sample along an axis of each: K.batch_dot.

    axes: one axis for both, or a pair, counting the batch as 0. normalize: make vectors along these
    axes of length 1 first, so that the products are cosines.
    """

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        pair = list(axes) if isinstance(axes, (list, tuple)) else [axes]
        if len(pair) > 2 or not pair or not all(is_integer(a) and a != 0 for a in pair):
            raise ModelError(
                describe(
                    f"{self.label}: axes",
                    "an axis other than 0, which is the batch, or two of them",
                    repr(axes),
                )
            )
        self.axes = axes
        self.normalize = self.flag("normalize", normalize)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if len(input_shape) != 2:
            raise ModelError(describe("call", "a list of two tensors", f"shapes {input_shape}"))

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, y = inputs
        axes = self.axes if isinstance(self.axes, (list, tuple)) else [self.axes]
        if self.normalize:
            x, y = backend.l2_normalize(x, axes[0]), backend.l2_normalize(y, axes[-1])
        result: Tensor = backend.batch_dot(x, y, [axes[0], axes[-1]])
        return result

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None, as in Keras."""


def add(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The layer `Add` on these inputs; kwargs: its arguments, name and dtype."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The layer `Subtract` on these inputs; kwargs: its arguments, name and dtype."""
    return Subtract(**kwargs)(inputs)


def average(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The layer `Average` on these inputs; kwargs: its arguments, name and dtype."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The layer `Maximum` on these inputs; kwargs: its arguments, name and dtype."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The layer `Minimum` on these inputs; kwargs: its arguments, name and dtype."""
    return Minimum(**kwargs)(inputs)


def dot(inputs: Sequence[Any], axes: int | Sequence[int], normalize: bool = False, **kwargs: Any) -> Any:
    """The layer `Dot` on two inputs; axes, normalize and the others are its arguments."""
    return Dot(axes, normalize, **kwargs)(inputs)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The layer `Multiply` on these inputs; kwargs: its arguments, name and dtype."""
    return Multiply(**kwargs)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """The layer `Concatenate` on these inputs; axis and the others are its arguments."""
    return Concatenate(axis, **kwargs)(inputs)

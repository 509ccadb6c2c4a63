"""Reductions over axes, and the ops on rows written with them (mean, softmax, argmax)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir.op import Call, Case, Draw, Op, register
from kcompile.ir.ops.elementwise import (
    cast,
    count,
    equal,
    exp,
    log,
    logical_or,
    not_equal,
    select,
    stop_gradient,
    zeros_like,
)
from kcompile.ir.ops.movement import broadcast_to, iota, reshape
from kcompile.ir.tensor import Tensor, constant, emit
from kcompile.ir.types import FLOATS, Dim, TensorType, axis_of

__all__ = [
    "argmax",
    "argmin",
    "log_softmax",
    "one_hot",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_prod",
    "reduce_sum",
    "softmax",
    "value_at",
]


def _infer(x: TensorType, axes: tuple[int, ...]) -> TensorType:
    if tuple(sorted(set(axes))) != axes or any(not 0 <= a < x.rank for a in axes):
        raise ValueError(f"reduction: axes must be increasing and within {x}. Received: {axes}")
    return x.with_shape([d for i, d in enumerate(x.shape) if i not in axes])


def _keep(x: Tensor, axes: Sequence[int], reduced: Tensor) -> Tensor:
    """The reduced tensor with its axes back as ones."""
    return reshape(reduced, [1 if i in axes else d for i, d in enumerate(x.shape)])


def _case(draw: Draw) -> Case:
    shape = draw.shape(1, 4)
    axes = tuple(i for i in range(len(shape)) if draw.choice((True, False)))
    return Case((TensorType(shape),), {"axes": axes}, spaced=True)


def _product_case(draw: Draw) -> Case:
    """Operands with few enough factors for their product to stay in range."""
    shape = (*draw.shape(0, 1), draw.integer(1, 5), draw.choice((1, 2, 3, 17)))
    axes = tuple(i for i in range(len(shape) - 2, len(shape)) if draw.choice((True, False)))
    return Case((TensorType(shape),), {"axes": axes}, low=0.6, high=1.5)


def _make(
    name: str,
    ufunc: Any,
    gradient: Callable[[Call, Tensor], Tensor],
    combine: str,
    start: float,
    tolerance: float,
    cases: Callable[[Draw], Case] = _case,
    **traits: Any,
) -> Callable[..., Tensor]:
    """A reduction by one associative operation; an empty one gives `start`."""

    def meaning(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        result: np.ndarray = ufunc.reduce(x, axis=axes, dtype=x.dtype, initial=_start(start, x.dtype))
        return result

    def lower(b: Any, call: Any, index: tuple[Any, ...], x: Callable[..., Any]) -> Any:
        axes, shape = call.attrs["axes"], call.types[0].shape
        kept = [i for i in range(len(shape)) if i not in axes]
        first = b.const(_start(start, np.dtype(call.type.dtype)).item(), call.type.dtype)

        def body(inner: tuple[Any, ...]) -> Any:
            full = dict(zip(kept, index)) | dict(zip(axes, inner))
            return x(tuple(full[i] for i in range(len(shape))))

        return b.reduce(combine, [shape[a] for a in axes], body, first)

    register(
        Op(
            name,
            "reduction",
            _infer,
            meaning,
            gradient=lambda c, g: [gradient(c, g)],
            lower=lower,
            cases=cases,
            tolerance=tolerance,
            expensive=True,
            row_by_row=lambda axes: 0 not in axes,
            **traits,
        )
    )

    def apply(x: Tensor, axes: Sequence[int] | int | None = None, keepdims: bool = False) -> Tensor:
        axes = range(x.rank) if axes is None else [axes] if isinstance(axes, int) else axes
        chosen = tuple(sorted({axis_of(a, x.rank) for a in axes}))
        if not chosen:
            return x
        if combine == "add" and x.dtype == "bool":
            raise TypeError(f"{name}: expected numbers. Received: {x.type}")
        reduced = emit(name, [x], axes=chosen)
        return _keep(x, chosen, reduced) if keepdims else reduced

    return apply


def _start(start: float, dtype: np.dtype) -> Any:
    if dtype.kind in "iu" and not np.isfinite(start):
        return getattr(np.iinfo(dtype), "max" if start > 0 else "min") * dtype.type(1)
    return dtype.type(start)


def _spread(call: Call, g: Tensor) -> Tensor:
    x = call.inputs[0]
    return broadcast_to(_keep(x, call.attrs["axes"], g), x.shape)


def _chosen(call: Call, g: Tensor) -> Tensor:
    """The gradient of an extremum: elements that equal it share the gradient in equal parts."""
    x, axes = call.inputs[0], call.attrs["axes"]
    hit = equal(x, _keep(x, axes, call.output))
    ones = select(hit, constant(x.graph, 1, x.dtype), zeros_like(x))
    return ones * _keep(x, axes, g / reduce_sum(ones, axes))


def _product_gradient(call: Call, g: Tensor) -> Tensor:
    """The gradient of a product for each factor, which is the product of the other factors: output / x where
    no factor is zero. The one zero of a product has the product of the rest, and all others have zero."""
    x, axes = call.inputs[0], call.attrs["axes"]
    one, zero = constant(x.graph, 1, x.dtype), zeros_like(x)
    empty = equal(x, zero)
    zeros = _keep(x, axes, reduce_sum(select(empty, one, zero), axes))
    filled = select(empty, one, x)
    others = _keep(x, axes, reduce_prod(filled, axes)) / filled
    alone = select(equal(zeros, one), select(empty, others, zero), zero)
    return _keep(x, axes, g) * select(equal(zeros, zero), others, alone)


reduce_sum = _make(
    "reduce_sum", np.add, _spread, "add", 0.0, 1e-5, linear=(0,), sums_rows=lambda axes: 0 in axes
)
reduce_prod: Callable[..., Tensor] = _make(
    "reduce_prod", np.multiply, _product_gradient, "mul", 1.0, 1e-5, _product_case
)
reduce_max = _make("reduce_max", np.maximum, _chosen, "max", -np.inf, 0.0)
reduce_min = _make("reduce_min", np.minimum, _chosen, "min", np.inf, 0.0)


def reduce_mean(x: Tensor, axes: Sequence[int] | int | None = None, keepdims: bool = False) -> Tensor:
    axes = range(x.rank) if axes is None else [axes] if isinstance(axes, int) else axes
    return reduce_sum(x, axes, keepdims) / count(x, [axis_of(a, x.rank) for a in axes])


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x - max) / sum, along `axis`."""
    shifted = exp(x - stop_gradient(reduce_max(x, axis, keepdims=True)))
    result = shifted / reduce_sum(shifted, axis, keepdims=True)
    x.graph.softmax_of[result.value] = x.value
    return result


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log(softmax(x)) without overflow."""
    shifted = x - stop_gradient(reduce_max(x, axis, keepdims=True))
    return shifted - log(reduce_sum(exp(shifted), axis, keepdims=True))


def argmax(x: Tensor, axis: int = -1) -> Tensor:
    """The first position of the largest element, int32; of the first NaN where there is one (numpy's
    rule)."""
    return _place("argmax", x, axis, reduce_max)


def argmin(x: Tensor, axis: int = -1) -> Tensor:
    """The first position of the smallest element, int32; of the first NaN where there is one."""
    return _place("argmin", x, axis, reduce_min)


def _place(name: str, x: Tensor, axis: int, extremum: Callable[..., Tensor]) -> Tensor:
    axis %= x.rank
    size: Dim = x.shape[axis]
    if not isinstance(size, int):
        raise ValueError(f"{name} over the batch is not supported")
    x = cast(x, "int32") if x.dtype == "bool" else x
    place = iota(x.graph, [size if i == axis else 1 for i in range(x.rank)], axis, "int32")
    hit = equal(x, extremum(x, axis, keepdims=True))
    if x.dtype in FLOATS:
        hit = logical_or(hit, not_equal(x, x))
    return reduce_min(select(hit, place, constant(x.graph, size, "int32")), axis)


def one_hot(indices: Tensor, classes: int, dtype: str = "float32") -> Tensor:
    """[..., classes] with 1 at the index and 0 elsewhere (all 0 for an index out of range)."""
    return cast(_is_place(indices, classes), dtype)


def _is_place(indices: Tensor, size: int) -> Tensor:
    """[..., size], true at the index alone."""
    place = iota(indices.graph, (1,) * indices.rank + (size,), indices.rank, indices.dtype)
    return equal(reshape(indices, (*indices.shape, 1)), place)


def value_at(values: Tensor, indices: Tensor) -> Tensor:
    """values [..., size] at int32 indices [...]; 0 for an index that is out of range. The other values of a
    row do not count, be they infinite or NaN."""
    size = values.shape[-1]
    if not isinstance(size, int):
        raise ValueError(f"value_at: expected values with a known last axis. Received: {values.type}")
    return reduce_sum(select(_is_place(indices, size), values, zeros_like(values)), -1)

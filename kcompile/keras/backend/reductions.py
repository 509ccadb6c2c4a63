"""Over axes: sums, extrema, statistics, running sums, products of tensors."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from kcompile.ir import ops
from kcompile.ir.ops.scan_build import scan
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS, Batch, Dim, numel
from kcompile.keras.operands import axes_of, floating, tensor, traced
from kcompile.keras.settings import floatx, meaning


def _reduction(name: str, function: Callable[..., Tensor], doc: str) -> Callable[..., Any]:
    def apply(x: Any, axis: Any = None, keepdims: builtins.bool = False) -> Any:
        x = tensor(x)
        return function(_number(x), axes_of(x, axis), keepdims)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"{doc} axis: one, several, or None for all. keepdims: axes stay, of size 1."
    return traced(apply)


def _number(x: Tensor) -> Tensor:
    return ops.cast(x, floatx()) if x.dtype == "bool" else x


def _mean(x: Tensor, axes: Any, keepdims: builtins.bool) -> Tensor:
    return ops.reduce_mean(floating(x, floatx()), axes, keepdims)


def _variance(x: Tensor, axes: Any, keepdims: builtins.bool) -> Tensor:
    return _mean(ops.square(x - _mean(x, axes, True)), axes, keepdims)


def _of_its_type(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Integers are added up and multiplied as int64."""
    return lambda x, axes, keepdims: ops.cast(function(x, axes, keepdims), x.dtype)


sum = _reduction("sum", _of_its_type(ops.reduce_sum), "The sum.")
prod = _reduction("prod", _of_its_type(ops.reduce_prod), "The product.")
max = _reduction("max", ops.reduce_max, "The largest.")
min = _reduction("min", ops.reduce_min, "The smallest.")
mean = _reduction("mean", _mean, "The mean, of bools the share of true ones.")
var = _reduction("var", _variance, "The (biased) variance.")
std = _reduction("std", lambda *a: ops.sqrt(_variance(*a)), "The (biased) standard deviation.")


def _of_bools(name: str, reduce: Callable[..., Tensor], doc: str) -> Callable[..., Any]:
    def apply(x: Any, axis: Any = None, keepdims: builtins.bool = False) -> Any:
        x = tensor(x)
        hit = x if x.dtype == "bool" else ops.not_equal(x, 0)
        return reduce(ops.cast(hit, "float32"), axes_of(x, axis), keepdims) > 0.5

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return traced(apply)


any = _of_bools("any", ops.reduce_max, "Whether at least one is true (not 0), bool.")
all = _of_bools("all", ops.reduce_min, "Whether none is false (0), bool.")


@traced
def argmax(x: Any, axis: int = -1) -> Any:
    """The first position of the largest element, int64; of the first NaN where there is one, as in numpy."""
    return ops.cast(ops.argmax(tensor(x), axis), "int64")


@traced
def argmin(x: Any, axis: int = -1) -> Any:
    """The first position of the smallest element, int64; of the first NaN where there is one."""
    return ops.cast(ops.argmin(tensor(x), axis), "int64")


def _running(x: Tensor, axis: int, combine: Callable[[Tensor, Tensor], Tensor], first: float) -> Tensor:
    """first combined with all elements up to each, along an axis."""
    (place,) = axes_of(x, axis)
    order = [place, *(i for i in range(x.rank) if i != place)]
    if isinstance(x.shape[place], Batch):
        raise ValueError(
            f"running sums and products go along an axis other than the batch. "
            f"Received: axis {axis} of {x.type}"
        )
    steps = ops.transpose(x, order)
    start = ops.broadcast_to(ops.constant(x.graph, first, x.dtype), steps.shape[1:])

    def step(states: list[Tensor], elements: list[Tensor], _: list[Tensor]) -> tuple[Any, Any]:
        total = combine(states[0], elements[0])
        return [total], [total]

    _, (result,) = scan(step, [start], [steps])
    return ops.transpose(result, [order.index(i) for i in range(x.rank)])


@traced
def cumsum(x: Any, axis: int = 0) -> Any:
    """Sums of all elements up to each, along an axis that is not the batch."""
    return _running(tensor(x), axis, ops.add, 0.0)


@traced
def cumprod(x: Any, axis: int = 0) -> Any:
    """Products of all elements up to each, along an axis that is not the batch."""
    return _running(tensor(x), axis, ops.mul, 1.0)


# ---------------------------------------------------------------- products of tensors


@traced
def batch_dot(x: Any, y: Any, axes: Any = None) -> Any:
    """The product of x and y of each sample, summed over axis axes[0] of x and axes[1] of y; an int means
    both. Default: the last of x and the last but one of y (its last, for rank 2). Axes count the batch as
    0. Shape: that of x, then that of y without the batch, both without the axis; [batch, 1] for two of
    rank 2. In Keras 2.2 a product of matrices for each entry of all axes before the last two."""
    x, y = tensor(x), tensor(y)
    if x.rank < 2 or y.rank < 2:
        raise ValueError(f"batch_dot: expected tensors of rank 2 or more. Received: {x.type}, {y.type}")
    if meaning().batch_dot == "paired":
        return _paired_dot(x, y, axes)
    if axes is None:
        axes = (x.rank - 1, y.rank - 1 if y.rank == 2 else y.rank - 2)
    pairs = axes if isinstance(axes, (list, tuple)) else (axes, axes)
    (a,), (b,) = axes_of(x, pairs[0]), axes_of(y, pairs[1])
    if a == 0 or b == 0 or x.shape[a] != y.shape[b]:
        raise ValueError(f"batch_dot: axes {axes} of {x.type} and {y.type} differ in size, or are the batch")
    shape = [t.shape[i] for t, axis in ((x, a), (y, b)) for i in range(1, t.rank) if i != axis]
    (left, down, rows), (right, along, columns) = _matrices(x, a), _matrices(y, b)
    if x.dtype in FLOATS:
        result = ops.batch_matmul(left, right, down, not along)
    else:
        left, right = (
            ops.transpose(t, (0, 2, 1)) if first else t for t, first in ((left, down), (right, along))
        )
        result = ops.reduce_sum(
            ops.reshape(left, (x.shape[0], rows, 1, x.shape[a]))
            * ops.reshape(right, (x.shape[0], 1, columns, x.shape[a])),
            -1,
        )
    return ops.reshape(result, (x.shape[0], *shape) if shape else (x.shape[0], 1))


def _paired_dot(x: Tensor, y: Tensor, axes: Any) -> Tensor:
    """`batch_dot` of Keras 2.2: it sums over the last axis of x and of y where axes say so (not -1), and
    over the last but one for any other."""
    pair = axes if isinstance(axes, (list, tuple)) else (axes, axes)
    a, b = (x.rank - 1, y.rank - 2) if axes is None else pair
    if x.rank == y.rank == 2:
        if a != b or x.shape != y.shape:
            raise ValueError(f"batch_dot: axes {axes} of {x.type} and {y.type} differ")
        found = ops.reduce_sum(x * y, axes_of(x, a))
        return ops.reshape(found, (*found.shape, 1))
    rank = builtins.max(x.rank, y.rank)
    left, right = (ops.reshape(t, (*t.shape, *(1,) * (rank - t.rank))) for t in (x, y))
    down, across = a != rank - 1, b == rank - 1
    added = x.rank - 1 if x.rank < y.rank else x.rank + y.rank - 3  # the place of an axis that is to go
    sides = left.shape[-1 if down else -2], right.shape[-2 if across else -1]
    shape = (*left.shape[:-2], *sides)
    if (
        left.shape[:-2] != right.shape[:-2]
        or left.shape[-2 if down else -1] != right.shape[-1 if across else -2]
        or (x.rank != y.rank and (x.rank + y.rank != 2 * rank - 1 or shape[added : added + 1] != (1,)))
    ):
        raise ValueError(
            f"batch_dot: as in Keras 2.2, {x.type} and {y.type} with axes {axes} are no matrices to be "
            'multiplied. keras.set_version("2.3.1") sums over any axes'
        )
    if x.dtype in FLOATS:
        result = ops.batch_matmul(left, right, down, across)
    else:
        swapped = [*range(rank - 2), rank - 1, rank - 2]
        left = ops.transpose(left, swapped) if down else left
        right = right if across else ops.transpose(right, swapped)
        rows = ops.reshape(left, (*left.shape[:-1], 1, left.shape[-1]))
        result = ops.reduce_sum(rows * ops.reshape(right, (*right.shape[:-2], 1, *right.shape[-2:])), -1)
    return result if x.rank == y.rank else ops.reshape(result, (*shape[:added], *shape[added + 1 :]))


def _matrices(x: Tensor, axis: int) -> tuple[Tensor, bool, Dim]:
    """x as one matrix for each sample: `axis` is one of its axes, all others in their order are the other.
    With it, whether `axis` is the first, and the size of the other axis."""
    rest = [i for i in range(1, x.rank) if i != axis]
    size = numel([x.shape[i] for i in rest])
    if axis == 1 and rest:
        return ops.reshape(x, (x.shape[0], x.shape[1], size)), True, size
    last = x if axis == x.rank - 1 else ops.transpose(x, (0, *rest, axis))
    return ops.reshape(last, (x.shape[0], size, x.shape[axis])), False, size


@traced
def l2_normalize(x: Any, axis: Any = None) -> Any:
    """x over its Euclidean norm along `axis` (None: of the whole tensor)."""
    x = tensor(x)
    norm = ops.reduce_sum(ops.square(x), axes_of(x, axis), True)
    return x * ops.rsqrt(ops.maximum(norm, 1e-12))

"""Elements in an order, results that run along an axis, and elements at places along one.

Functions over the ops, from which gradients and code follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir.ops.elementwise import (
    cast,
    equal,
    greater,
    less,
    logical_and,
    logical_not,
    logical_or,
    not_equal,
    select,
)
from kcompile.ir.ops.gather import gather, gather_each
from kcompile.ir.ops.movement import broadcast_to, concatenate, iota, reshape, slice_, transpose
from kcompile.ir.ops.reduction import reduce_sum
from kcompile.ir.tensor import Tensor, constant
from kcompile.ir.types import Batch, Dim
from kcompile_runtime.errors import UnsupportedError

__all__ = ["axis_last", "in_order", "part_of", "ranks", "rows_at", "running", "take"]


def part_of(x: Tensor, axis: int, start: int, stop: Dim) -> Tensor:
    """x[start:stop] along one axis."""
    starts = [start if i == axis else 0 for i in range(x.rank)]
    return slice_(x, starts, [stop if i == axis else d for i, d in enumerate(x.shape)])


def running(x: Tensor, axis: int, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The results of all elements up to each, in log2(size) steps: in each, elements meet what lies a power
    of two before them."""
    size, step = x.shape[axis], 1
    assert isinstance(size, int)
    while step < size:
        met = combine(part_of(x, axis, step, size), part_of(x, axis, 0, size - step))
        x = concatenate([part_of(x, axis, 0, step), met], axis)
        step *= 2
    return x


def ranks(x: Tensor, largest_first: bool = False) -> Tensor:
    """The place of each element in the order along the last axis; equal ones in the order they are in. NaN
    counts as the largest."""
    size = x.shape[-1]
    if not isinstance(size, int) or size > 4096:
        raise UnsupportedError("sorting is supported along axes of a known size, of up to 4096")
    a, b = reshape(x, (*x.shape, 1)), reshape(x, (*x.shape[:-1], 1, size))
    if x.dtype == "bool":
        a, b = cast(a, "int32"), cast(b, "int32")
    i, j = (iota(x.graph, (1,) * (x.rank - 1) + (size, size), x.rank - k, "int32") for k in (1, 0))
    before = greater(b, a) if largest_first else less(b, a)
    level = logical_and(equal(a, b), less(j, i))
    if x.dtype.startswith("float"):
        odd_a, odd_b = not_equal(a, a), not_equal(b, b)
        both = logical_and(odd_a, odd_b)
        first, other = (odd_b, odd_a) if largest_first else (odd_a, odd_b)
        before = logical_or(before, logical_and(first, logical_not(other)))
        level = logical_or(level, logical_and(both, less(j, i)))
    return reduce_sum(cast(logical_or(before, level), "int32"), -1)


def in_order(x: Tensor, places: Tensor, count: int) -> Tensor:
    """The first `count` elements along the last axis, in the order of their places (`ranks`)."""
    row = iota(x.graph, (1,) * (x.rank - 1) + (count, 1), x.rank - 1, "int32")
    here = equal(reshape(places, (*places.shape[:-1], 1, places.shape[-1])), row)
    rows = reshape(cast(x, "int32") if x.dtype == "bool" else x, (*x.shape[:-1], 1, x.shape[-1]))
    zero = constant(x.graph, 0, rows.dtype)
    return cast(reduce_sum(select(here, rows, zero), -1), x.dtype)


def axis_last(x: Tensor, axis: int) -> tuple[Tensor, list[int]]:
    """x with this axis as the last, and the order of axes that brings it back"""
    order = [*(i for i in range(x.rank) if i != axis), axis]
    return transpose(x, order), [order.index(i) for i in range(x.rank)]


def rows_at(table: Tensor, places: Any) -> Tensor:
    """The rows of a table at the places."""
    if not isinstance(places, Tensor):
        places = constant(table.graph, np.asarray(places, np.int32), "int32")
    return gather(table, places)


def take(x: Tensor, places: Any, axis: int) -> Tensor:
    """x at places along one axis, which the axes of the places replace. Places that are out of range are an
    error of the run."""
    batch = [i for i, d in enumerate(x.shape) if isinstance(d, Batch)]
    rest = [i for i in range(x.rank) if i not in (axis, *batch)]
    if not isinstance(places, Tensor):
        places = constant(x.graph, np.asarray(places, np.int32), "int32")
    moved = transpose(x, [*batch, axis, *rest])
    if batch:  # a table of each sample's own, so that its gradient is one too
        each = broadcast_to(reshape(places, (1, *places.shape)), (x.shape[batch[0]], *places.shape))
        made = gather_each(moved, each)
    else:
        made = gather(moved, places)
    new = range(len(batch), len(batch) + places.rank)
    at = {**dict(zip(batch, range(len(batch)))), **dict(zip(rest, range(new.stop, made.rank)))}
    order = [place for i in range(x.rank) for place in (new if i == axis else [at[i]])]
    return transpose(made, order)

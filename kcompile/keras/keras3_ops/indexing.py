"""keras.ops that read and write at places: items, slices, rows, diagonals and triangles."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, axis_of, numel
from kcompile.keras.keras3_ops.calls import alike, alike_everywhere, number, operation, places, to
from kcompile.keras.keras3_ops.shapes import converted, joined, listed
from kcompile.keras.operands import fixed_size, sizes, tensor
from kcompile.keras.operators import getitem
from kcompile_runtime.errors import UnsupportedError

# ---------------------------------------------------------------- at places


def _key_part(x: Tensor, axis: int, at: Any) -> Tensor:
    """x at a tensor of places along one axis, counted from behind where they are negative."""
    at = places(at)
    size = x.shape[axis]
    return ops.take(x, ops.select(at < 0, at + size, at), axis)


@operation
def get_item(x: Any, key: Any) -> Any:
    """x[key]: integers, slices with known bounds, `...` and None; and one array or tensor of places."""
    x, parts = tensor(x), list(key) if isinstance(key, (list, tuple)) else [key]
    arrays = [
        i for i, p in enumerate(parts) if isinstance(p, (np.ndarray, Tensor)) or hasattr(p, "__tensor__")
    ]
    if not arrays:
        return getitem(x, tuple(parts))
    if len(arrays) > 1 or any(p is None or p is Ellipsis for p in parts[: arrays[0]]):
        raise UnsupportedError("x[key]: one array or tensor of places is supported, behind no `...` or None")
    at = arrays[0]
    if to(tensor(parts[at]), tensor(parts[at]).dtype).dtype == "bool":
        raise UnsupportedError("x[mask]: the number of elements depends on the data. Use ops.where")
    axis = at - sum(isinstance(p, int) for p in parts[:at])
    rest = getitem(x, tuple(builtins.slice(None) if i == at else p for i, p in enumerate(parts)))
    return _key_part(rest, axis, parts[at])


@operation
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """x at places along an axis, negative ones counted from behind; without one, of a vector of all."""
    x = tensor(x)
    if axis is None:
        x, axis = ops.reshape(x, (x.type.numel,)), 0
    return _key_part(x, axis_of(axis, x.rank), indices)


@operation
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Any:
    """x at places along an axis, which differ from row to row."""
    x, at = tensor(x), places(indices)
    if axis is None:
        x, axis = ops.reshape(x, (x.type.numel,)), 0
    return along(x, at, axis_of(axis, x.rank))


def along(x: Tensor, at: Tensor, axis: int) -> Tensor:
    """x at int32 places [...], of its rank, along an axis."""
    moved, back = ops.axis_last(x, axis)
    places_, _ = ops.axis_last(at, axis)
    size = moved.shape[-1]
    if isinstance(size, Batch):
        raise ValueError("samples are not picked out of a batch")
    lead = [b if a == 1 else a for a, b in zip(moved.shape[:-1], places_.shape[:-1])]
    count = places_.shape[-1]
    rows = ops.broadcast_to(ops.reshape(moved, (*moved.shape[:-1], 1, size)), (*lead, count, size))
    places_ = ops.broadcast_to(places_, (*lead, count))
    whole = ops.cast(rows, "int32") if rows.dtype == "bool" else rows
    made = ops.value_at(whole, ops.select(places_ < 0, places_ + size, places_))
    return ops.transpose(to(made, x.dtype), back)


@operation
def slice(inputs: Any, start_indices: Any, shape: Any) -> Any:
    """`shape` elements from `start_indices` on."""
    x, starts, lengths = tensor(inputs), sizes(start_indices), listed(shape)
    if isinstance(starts, (list, tuple)) and all(isinstance(s, int) for s in starts):
        stops = [d if isinstance(n, Batch) or n == -1 else s + n for s, n, d in zip(starts, lengths, x.shape)]
        return ops.slice_(x, list(starts), stops)
    at = places(converted(starts, None))
    for axis, length in enumerate(lengths):
        if length != x.shape[axis]:
            first = ops.reshape(ops.part_of(at, 0, axis, axis + 1), ())
            first = ops.minimum(ops.maximum(first, 0), x.shape[axis] - length)
            x = ops.take(x, tensor(np.arange(length), "int32") + first, axis)
    return x


@operation
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Any:
    """x with these values from `start_indices` on."""
    x, new, starts = tensor(inputs), tensor(updates), sizes(start_indices)
    if not (isinstance(starts, (list, tuple)) and all(isinstance(s, int) for s in starts)):
        raise UnsupportedError("ops.slice_update: the places are numbers that are known now")
    new = to(new, x.dtype)
    high: list[Any] = []
    for s, n, d in zip(starts, new.shape, x.shape):
        high.append(0 if n == d else d - s - n)
    inside = ops.pad(alike_everywhere(to(new, "float32"), 1.0), list(starts), high) > 0.0
    return ops.select(inside, ops.pad(new, list(starts), high), x)


@operation
def scatter(indices: Any, values: Any, shape: Any) -> Any:
    """Zeros of a shape, to which values are added at places."""
    values = number(values)
    return _scattered(ops.broadcast_to(tensor(0, values.dtype), tuple(listed(shape))), indices, values, "add")


@operation
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Any:
    """x with values at places: in place of those there, or with 'add', 'max', 'min', 'mul', 'sub' of both."""
    x = tensor(inputs)
    return _scattered(x, indices, to(tensor(updates), x.dtype), reduction)


def _scattered(x: Tensor, indices: Any, values: Tensor, how: str | None) -> Tensor:
    """x [sizes..., rest...] with values [places..., rest...] at [places..., k]."""
    at = places(indices)
    depth = at.shape[-1]
    if not isinstance(depth, int) or any(isinstance(d, Batch) for d in x.shape[:depth]):
        raise UnsupportedError("scatter: samples are not picked out of a batch")
    sizes_, rest = x.shape[:depth], x.shape[depth:]
    row: Any = 0
    for k, d in enumerate(sizes_):
        part = ops.reshape(ops.part_of(at, at.rank - 1, k, k + 1), at.shape[:-1])
        part = ops.select(part < 0, part + fixed_size(x, k), part)
        row = part if k == 0 else row * d + part
    count = numel(at.shape[:-1])
    row, values = ops.reshape(row, (count,)), ops.reshape(values, (count, *rest))
    total = numel(sizes_)
    table = ops.reshape(x, (total, *rest))
    if how in ("add", "sub"):
        summed = ops.scatter_rows(values, row, total)
        made = table + summed if how == "add" else table - summed
    else:
        made = _put(table, row, values, how)
    return ops.reshape(made, x.shape)


def _put(table: Tensor, row: Tensor, values: Tensor, how: str | None) -> Tensor:
    """Values one after the other, so that the last one counts."""
    if how not in (None, "max", "min", "mul"):
        raise ValueError(
            f"expected a reduction among None, 'add', 'max', 'min', 'mul', 'sub'. Received: {how!r}"
        )
    number_ = ops.iota(table.graph, (table.shape[0],), 0, "int32")
    count = values.shape[0]
    if isinstance(count, Batch) or count > 256:
        raise UnsupportedError("scatter_update: up to 256 places that are set, multiplied or compared")
    combine = {None: lambda a, b: b, "max": ops.maximum, "min": ops.minimum, "mul": ops.mul}[how]
    for k in range(count):
        here = ops.equal(number_, ops.part_of(row, 0, k, k + 1))
        here = ops.reshape(here, (table.shape[0], *(1,) * (table.rank - 1)))
        new = ops.broadcast_to(ops.part_of(values, 0, k, k + 1), table.shape)
        table = ops.select(here, combine(table, new), table)
    return table


@operation
def unravel_index(indices: Any, shape: Any) -> Any:
    """The places along each axis of elements that are numbered."""
    at, made = number(indices), []
    sizes_ = listed(shape)
    for axis in range(len(sizes_)):
        step = math.prod(sizes_[axis + 1 :])
        made.append((at // step) % sizes_[axis])
    return tuple(made)


@operation
def diag(x: Any, k: int = 0) -> Any:
    """A matrix with a vector on a diagonal; of a matrix, the diagonal."""
    x = tensor(x)
    return on_diagonal(x, k) if x.rank == 1 else diagonal_of(x, k, 0, 1)


@operation
def diagflat(x: Any, k: int = 0) -> Any:
    """A matrix with all elements on a diagonal."""
    x = tensor(x)
    return on_diagonal(ops.reshape(x, (x.type.numel,)), k)


def on_diagonal(x: Tensor, k: int) -> Tensor:
    """A matrix with a vector on its k-th diagonal."""
    side = fixed_size(x, 0) + builtins.abs(k)
    here = tensor(np.eye(side, k=k, dtype=bool))
    padded = ops.pad(x, [builtins.max(0, -k)], [builtins.max(0, k)])
    rows = ops.reshape(padded, (side, 1))
    return ops.select(here, rows, ops.zeros_like(rows))


def diagonal_of(x: Tensor, offset: int, axis1: int, axis2: int) -> Tensor:
    """The elements of a diagonal of two axes, as the last axis."""
    a, b = axis_of(axis1, x.rank), axis_of(axis2, x.rank)
    rows, columns = x.shape[a], x.shape[b]
    if isinstance(rows, Batch) or isinstance(columns, Batch):
        raise ValueError("diagonal: of two axes of known size")
    top, left = builtins.max(0, -offset), builtins.max(0, offset)
    count = builtins.min(rows - top, columns - left)
    return ops.diagonal(ops.part_of(ops.part_of(x, a, top, top + count), b, left, left + count), a, b)


@operation
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The elements on a diagonal of two axes, as the last axis."""
    return diagonal_of(tensor(x), offset, axis1, axis2)


def _triangle(x: Tensor, k: int, lower: bool) -> Tensor:
    shape = fixed_size(x, x.rank - 2), fixed_size(x, x.rank - 1)
    below = np.subtract.outer(np.arange(shape[0]), np.arange(shape[1])) >= (-k if lower else 1 - k)
    here = tensor(below if lower else np.logical_not(below))
    return ops.select(here, x, ops.zeros_like(x))


@operation
def tril(x: Any, k: int = 0) -> Any:
    """Matrices with zeros above a diagonal."""
    return _triangle(number(x), k, True)


@operation
def triu(x: Any, k: int = 0) -> Any:
    """Matrices with zeros below a diagonal."""
    return _triangle(number(x), k, False)


@operation
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Powers of a vector's elements, as columns."""
    x = number(x)
    count = x.shape[0] if N is None else N
    column = ops.reshape(x, (*x.shape, 1))
    powers = [alike_everywhere(column, 1)]
    for _ in range(count - 1):
        powers.append(powers[-1] * column)
    return joined(powers if increasing else powers[::-1], 1)


@operation
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether each element is one of x2's."""
    x, among = (number(t) for t in alike(x1, x2))
    hit = ops.equal(ops.reshape(x, (*x.shape, 1)), ops.reshape(among, (among.type.numel,)))
    found = ops.reduce_max(ops.cast(hit, "int32"), -1) > 0
    return ops.logical_not(found) if invert else found

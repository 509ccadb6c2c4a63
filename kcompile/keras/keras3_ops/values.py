"""keras.ops of values alone: their results have sizes that depend on the data, or are complex numbers.

In a model, where sizes are known when it is compiled, they are refused with what to write instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import numel, static
from kcompile.keras.keras3_ops.calls import on_values, operation
from kcompile.keras.operands import tensor
from kcompile_runtime.errors import UnsupportedError

_SIZES = "the size of its result depends on the data, and sizes are known when a model is compiled"
_COMPLEX = "complex numbers are values alone; a model has none"


def _nonzero(x: Any) -> Any:
    return tuple(np.nonzero(x))


@on_values(_nonzero)
@operation
def nonzero(x: Any) -> Any:
    """The places of what is not 0, an array for each axis: of values."""
    raise UnsupportedError(f"ops.nonzero: {_SIZES}. Use ops.where with two choices, or ops.top_k")


def _unique(
    x: Any,
    sorted: bool,
    return_index: bool,
    return_inverse: bool,
    return_counts: bool,
    axis: int | None,
    size: int | None,
    fill_value: Any,
) -> Any:
    made = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis, equal_nan=False
    )
    values, first, inverse, counts = made
    if axis is None:
        inverse = inverse.reshape(np.shape(x))
    if size is not None:
        along = 0 if axis is None else axis
        count = min(size, values.shape[along])
        more = size - count
        kept = np.take(values, range(count), along)
        fill = np.take(values, [0], along) if fill_value is None else np.full_like(kept[:1], fill_value)
        values = np.concatenate([kept, *[fill] * more], along)
        first = np.concatenate([first[:count], np.full(more, first[0] if len(first) else 0)])
        counts = np.concatenate([counts[:count], np.zeros(more, int)])
    wanted = [(first, return_index), (inverse, return_inverse), (counts, return_counts)]
    more_results = [part for part, asked in wanted if asked]
    return (values, *more_results) if more_results else values


@on_values(_unique)
@operation
def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The values that occur, from the smallest on. size: so many, the rest of `fill_value` (by default the
    smallest); without it, of values alone. In a graph, of all elements (axis=None), up to 4096."""
    if size is None:
        raise UnsupportedError(f"ops.unique: {_SIZES}. Use size=, or ops.sort, and compare neighbours")
    x = tensor(x)
    if axis is not None or not all(isinstance(d, int) for d in x.shape):
        raise UnsupportedError(
            "along an axis, or of a batch of unknown size, of values alone. Use ops.sort, and "
            "compare neighbours"
        )
    (count,) = static([numel(x.shape)])
    flat = ops.reshape(x, (count,))
    order = ops.ranks(flat)
    ascending = ops.in_order(flat, order, count)
    source = ops.in_order(ops.iota(x.graph, (count,), 0, "int32"), order, count)
    before, behind = ops.part_of(ascending, 0, 0, count - 1), ops.part_of(ascending, 0, 1, count)
    one = ops.constant(x.graph, np.ones(1, np.int32), "int32")
    new = ops.concatenate([one, ops.cast(ops.not_equal(before, behind), "int32")], 0)
    number = ops.running(new, 0, ops.add) - 1
    row = ops.iota(x.graph, (int(size), 1), 0, "int32")
    member = ops.equal(ops.reshape(number, (1, count)), row)
    here = ops.logical_and(member, ops.reshape(ops.equal(new, 1), (1, count)))
    there = ops.reduce_max(ops.cast(here, "int32"), 1) > 0

    def firsts(values: Tensor, rest: Any) -> Tensor:
        whole = ops.cast(values, "int32") if values.dtype == "bool" else values
        picked = ops.reduce_sum(ops.select(here, ops.reshape(whole, (1, count)), 0), 1)
        return ops.cast(ops.select(there, picked, ops.cast(rest, whole.dtype)), values.dtype)

    smallest = ops.part_of(ascending, 0, 0, 1)
    fill = smallest if fill_value is None else tensor(fill_value, x.dtype)
    made = [firsts(ascending, fill)]
    if return_index:
        made.append(firsts(source, ops.part_of(source, 0, 0, 1)))
    if return_inverse:
        made.append(ops.reshape(ops.rows_at(number, order), x.shape))
    if return_counts:
        made.append(ops.reduce_sum(ops.cast(member, "int32"), 1))
    return tuple(made) if len(made) > 1 else made[0]


def _bincount(x: Any, weights: Any, minlength: int, sparse: bool) -> Any:
    if sparse:
        raise UnsupportedError("ops.bincount: sparse arrays are not supported")
    given = np.asarray(x)
    rows = given if given.ndim == 2 else given[None]
    shares = [None] * len(rows) if weights is None else np.asarray(weights).reshape(rows.shape)
    made = [np.bincount(row, share, minlength) for row, share in zip(rows, shares)]
    if len({m.shape for m in made}) > 1:
        raise ValueError("bincount: rows of different largest values. Give minlength")
    kind = np.int32 if weights is None else np.asarray(weights).dtype
    made_array = np.stack(made).astype(kind)
    return made_array if given.ndim == 2 else made_array[0]


@on_values(_bincount)
@operation
def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    """How often each number occurs, or the sum of its weights: of values."""
    raise UnsupportedError(
        f"ops.bincount: {_SIZES}. Use ops.sum(ops.one_hot(x, classes), axis=-2), or ops.segment_sum"
    )


def _polar(abs_: Any, angle: Any) -> Any:
    return np.asarray(abs_) * np.exp(1j * np.asarray(angle))


@on_values(_polar)
@operation
def polar(abs_: Any, angle: Any) -> Any:
    """Complex numbers of these sizes and angles: of values."""
    raise UnsupportedError(f"ops.polar: {_COMPLEX}. Use abs * ops.cos(angle) and abs * ops.sin(angle)")


def _view_as_complex(x: Any) -> Any:
    x = np.asarray(x)
    if not x.ndim or x.shape[-1] != 2:
        raise ValueError(f"view_as_complex: expected a last axis of 2. Received: {x.shape}")
    return (x[..., 0] + 1j * x[..., 1]).astype(np.complex64)


@on_values(_view_as_complex)
@operation
def view_as_complex(x: Any) -> Any:
    """Complex numbers of pairs along the last axis: of values."""
    raise UnsupportedError(f"ops.view_as_complex: {_COMPLEX}. Keep the two parts apart")


def _view_as_real(x: Any) -> Any:
    x = np.asarray(x)
    return np.stack((x.real, x.imag), -1)


@on_values(_view_as_real)
@operation
def view_as_real(x: Any) -> Any:
    """Real and imaginary parts along a new last axis: of values."""
    raise UnsupportedError(f"ops.view_as_real: {_COMPLEX}. Keep the two parts apart")

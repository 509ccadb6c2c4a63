"""Primitives of JAX that read and write at places: slices whose start is computed, gather and scatter.

A place is made one number, its row in the operand with the axes that indices name as the first one. Rows are
taken by `gather`, and by `gather_each` where each sample has indices of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, Dim, numel, static
from kcompile.jaxpr.replay import Equation, rule

Index = Any  # an array that is known, or a tensor
MOST_PLACES = 4096  # that are compared with each other


def _clipped(x: Index, high: int) -> Index:
    """Within 0 and `high`."""
    if isinstance(x, Tensor):
        return ops.minimum(ops.maximum(x, 0), high)
    return np.clip(x, 0, high)


def _int32(x: Index) -> Index:
    return ops.cast(x, "int32") if isinstance(x, Tensor) else np.asarray(x, np.int32)


def _shaped(x: Index, shape: Sequence[Dim]) -> Index:
    return ops.reshape(x, shape) if isinstance(x, Tensor) else np.reshape(x, static(shape))


def _component(x: Index, k: int) -> Index:
    """The numbers along one axis of the operand."""
    if isinstance(x, Tensor):
        return ops.reshape(ops.part_of(x, x.rank - 1, k, k + 1), x.shape[:-1])
    return x[..., k]


def _row_numbers(
    x: Tensor, indices: Index, axes: Sequence[int], spans: Mapping[int, Any], inside: Sequence[int]
) -> Index:
    """[indices..., spans...]: the numbers of rows of x, whose axes that indices name are one, -1 for what
    lies outside along one of several. spans: axes of which an index names the first of so many places.
    inside: axes along which indices are brought within."""
    lead = tuple(indices.shape[:-1])
    rows: Index = 0
    outside: Index | None = None
    for k, axis in enumerate(axes):
        size = x.shape[axis]
        assert isinstance(size, int)
        start = _component(indices, k)
        start = _clipped(start, size - spans.get(axis, 1)) if axis in inside else start
        start = _shaped(start, (*lead, *(1,) * len(spans)))
        if axis in spans:
            steps = np.arange(spans[axis], dtype=np.int32)
            start = start + steps.reshape([-1 if a == axis else 1 for a in spans])
        rows = rows * size + start if k else start
        if len(axes) > 1 and axis not in inside:
            here = _outside(start, size)
            outside = here if outside is None else _either(outside, here)
    if outside is None:
        return rows
    if isinstance(rows, Tensor):
        return ops.select(outside, -1, rows)
    return np.where(outside, np.int32(-1), rows)


def _outside(x: Index, size: int) -> Index:
    if isinstance(x, Tensor):
        return ops.logical_or(x < 0, x > size - 1)
    return (x < 0) | (x >= size)


def _either(x: Index, y: Index) -> Index:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return ops.logical_or(x, y)
    return x | y


# ---------------------------------------------------------------- gather


@rule("gather")
def _gather(e: Equation, x: Any, indices: Any) -> Tensor:
    numbers, window = e["dimension_numbers"], e["slice_sizes"]
    type, at = e.input_types
    x = e.replay.tensor(x, type)
    indices = _int32(indices if isinstance(indices, np.ndarray) else e.replay.tensor(indices, at))
    clip = str(e.first.params["mode"]).rpartition(".")[2].upper().startswith("CLIP")
    if numbers.operand_batching_dims:
        return _gather_each(e, x, indices, clip)
    axes = [int(a) for a in numbers.start_index_map]
    named = [k for k, a in enumerate(axes) if window[a] != x.shape[a] or a in numbers.collapsed_slice_dims]
    if 0 < len(named) < len(axes) and (clip or "FILL" not in str(e.first.params["mode"]).upper()):
        axes = [axes[k] for k in named]  # the others are taken whole, so from 0 on
        indices = (
            ops.concatenate([_component(indices, k)[..., None] for k in named], -1)
            if isinstance(indices, Tensor)
            else indices[..., named]
        )
    free = [i for i in range(x.rank) if i not in axes]
    if any(window[i] != x.shape[i] for i in free):
        raise e.refuse("it takes parts of axes that no index names")
    if any(isinstance(x.shape[a], Batch) for a in axes):
        raise e.refuse("samples are not picked out of a batch")
    collapsed = {int(a) for a in numbers.collapsed_slice_dims}
    lead = tuple(indices.shape[:-1])
    spans = [a for a in axes if a not in collapsed]
    inside = [a for a in axes if clip or window[a] > 1]
    places = _row_numbers(x, indices, axes, {a: window[a] for a in spans}, inside)
    sizes = [x.shape[a] for a in axes]
    table = ops.reshape(ops.transpose(x, [*axes, *free]), (numel(sizes), *(x.shape[i] for i in free)))
    fill = e.first.params.get("fill_value")
    outside = None if clip or fill is None else _outside(places, int(numel(sizes)))
    if outside is not None:
        places = _clipped(places, int(numel(sizes)) - 1)
    made = ops.rows_at(table, places)  # [lead..., spans..., free...]
    if outside is not None:
        far = _shaped(outside, (*outside.shape, *(1,) * len(free)))
        far = far if isinstance(far, Tensor) else ops.constant(made.graph, far, "bool")
        made = ops.select(far, ops.constant(made.graph, fill, made.dtype), made)
    kept = [*spans, *free]
    order = _result_order(len(lead), [int(d) for d in numbers.offset_dims], kept, collapsed)
    # free axes of length 1 may be collapsed too
    shape = (*lead, *(window[a] for a in spans), *(x.shape[i] for i in free if i not in collapsed))
    return ops.transpose(ops.reshape(made, shape), order)


def _result_order(lead: int, offsets: Sequence[int], kept: Sequence[int], collapsed: set[int]) -> list[int]:
    """Where each axis of the result is in [lead..., kept...]: axes of the operand come in their order at the
    offsets, those of the indices at all other places."""
    left = [axis for axis in kept if axis not in collapsed]
    windows = iter(sorted(range(len(left)), key=left.__getitem__))
    batches = iter(range(lead))
    return [lead + next(windows) if i in offsets else next(batches) for i in range(lead + len(left))]


def _gather_each(e: Equation, x: Tensor, indices: Index, clip: bool) -> Tensor:
    """Where samples have indices of their own: `take_along_axis`, and functions under `vmap`."""
    numbers, window = e["dimension_numbers"], e["slice_sizes"]
    each = [int(a) for a in numbers.operand_batching_dims]
    of_indices = [int(a) for a in numbers.start_indices_batching_dims]
    axes = [int(a) for a in numbers.start_index_map]
    free = [i for i in range(x.rank) if i not in (*axes, *each)]
    if any(window[axis] != 1 for axis in axes):
        raise e.refuse("where samples have indices of their own, these name single elements")
    if any(isinstance(x.shape[a], Batch) for a in axes) or any(window[i] != x.shape[i] for i in free):
        raise e.refuse("it takes parts of axes that no index names")
    collapsed = {int(a) for a in numbers.collapsed_slice_dims} | set(each)
    starts = indices if isinstance(indices, Tensor) else e.replay.tensor(indices, e.input_types[1])
    places = _row_numbers(x, starts, axes, {}, axes if clip or len(axes) > 1 else ())
    others = [i for i in range(places.rank) if i not in of_indices]
    lead = [places.shape[i] for i in others]
    samples, sizes = [x.shape[i] for i in each], [x.shape[i] for i in free]
    at = ops.reshape(ops.transpose(places, [*of_indices, *others]), (numel(samples), *lead))
    rows = numel([x.shape[a] for a in axes])
    table = ops.reshape(ops.transpose(x, [*each, *axes, *free]), (numel(samples), rows, *sizes))
    spans = [a for a in axes if a not in collapsed]
    made = ops.reshape(ops.gather_each(table, at), (*samples, *lead, *sizes, *(1,) * len(spans)))
    # [each..., others..., free...], where `each` and `others` go to the places of the indices' axes
    where = [*of_indices, *others]
    kept = [*free, *spans]
    order = _result_order(len(where), [int(d) for d in numbers.offset_dims], kept, collapsed)
    return ops.transpose(made, [where.index(i) if i < len(where) else i for i in order])


# ---------------------------------------------------------------- slices


@rule("dynamic_slice")
def _dynamic_slice(e: Equation, x: Any, *starts: Any) -> Tensor:
    """Cut so that it lies inside, as JAX has it."""
    part: Tensor = e.tensors(x, *starts)[0]
    for axis, (start, length) in enumerate(zip(starts, e["slice_sizes"])):
        size = part.shape[axis]
        if length == size:
            continue
        if isinstance(size, Batch):
            raise e.refuse("batches are not cut")
        start = _clipped(_int32(start), size - length)
        if isinstance(start, np.ndarray):
            part = ops.part_of(part, axis, int(start), int(start) + length)
        else:
            steps = ops.constant(part.graph, np.arange(length, dtype=np.int32), "int32")
            part = ops.take(part, steps + start, axis)
    return part


@rule("dynamic_update_slice")
def _dynamic_update_slice(e: Equation, x: Any, new: Any, *starts: Any) -> Tensor:
    x, new, *_ = e.tensors(x, new, *starts)
    inside = None
    for axis, start in enumerate(starts):
        size, length = x.shape[axis], new.shape[axis]
        if length == size:
            continue
        if isinstance(size, Batch) or isinstance(length, Batch):
            raise e.refuse("batches are not cut")
        start = _clipped(_int32(start), size - length)
        place = ops.iota(x.graph, (size,), 0, "int32") - (start if isinstance(start, Tensor) else int(start))
        here = ops.logical_and(place >= 0, place < length)
        here = ops.reshape(here, [size if i == axis else 1 for i in range(x.rank)])
        inside = here if inside is None else ops.logical_and(inside, here)
        new = ops.take(new, _clipped(place, length - 1), axis)
    return new if inside is None else ops.select(inside, new, x)


# ---------------------------------------------------------------- scatter


@rule("scatter", "scatter-add", "scatter_add", "scatter-mul", "scatter_mul", "scatter-min", "scatter-max",
      "scatter_min", "scatter_max")  # fmt: skip
def _scatter(e: Equation, x: Any, indices: Any, new: Any) -> Tensor:
    """x with values set, or added, at places. Values are [rows..., free axes...] at rows of x with the axes
    that indices name as the first."""
    numbers = e["dimension_numbers"]
    how = e.name.replace("-", "_")
    if getattr(numbers, "operand_batching_dims", ()):
        raise e.refuse("samples with indices of their own are not supported")
    known = isinstance(indices, np.ndarray)
    places = _int32(indices if known else e.tensors(x, indices, new)[1])
    x, _, new = e.tensors(x, indices, new)
    axes = [int(a) for a in numbers.scatter_dims_to_operand_dims]
    free = [i for i in range(x.rank) if i not in axes]
    inserted = {int(a) for a in numbers.inserted_window_dims}
    windows = [int(d) for d in numbers.update_window_dims]
    if any(isinstance(x.shape[a], Batch) for a in axes) or inserted & set(free):
        raise e.refuse("samples are not picked out of a batch")
    # The axis of the operand that each window axis of the values is along
    along = dict(zip([i for i in range(x.rank) if i not in inserted], windows))
    lead = [i for i in range(new.rank) if i not in windows]
    spans = [a for a in axes if a not in inserted]
    if any(new.shape[along[i]] != x.shape[i] for i in free):
        raise e.refuse("it writes to parts of axes that no index names")
    rows = _row_numbers(x, places, axes, {a: new.shape[along[a]] for a in spans}, ())
    count = prod(d for d in (x.shape[a] for a in axes) if isinstance(d, int))
    values = ops.transpose(new, [*lead, *(along[a] for a in spans), *(along[i] for i in free)])
    over = values.shape[: len(lead) + len(spans)]
    rest = values.shape[len(over) :]
    values = ops.reshape(values, (numel(over), *rest))
    rows = _shaped(rows, (numel(over),))
    order = [*axes, *free]
    table = ops.reshape(ops.transpose(x, order), (count, *rest))
    made = _written(e, how, table, rows, values)
    made = ops.reshape(made, [x.shape[i] for i in order])
    return ops.transpose(made, [order.index(i) for i in range(x.rank)])


def _written(e: Equation, how: str, table: Tensor, rows: Index, values: Tensor) -> Tensor:
    """The table [rows, ...] with values [places, ...]."""
    if how == "scatter_add":
        return table + _summed(table, rows, values)
    if isinstance(rows, Tensor):
        if values.shape[0] != 1:
            return _placed(e, how, table, rows, values)
        spread = (table.shape[0], *(1,) * (table.rank - 1))
        here = ops.reshape(ops.equal(ops.iota(table.graph, (table.shape[0],), 0, "int32"), rows), spread)
        return ops.select(here, _combined(how, table, values), table)
    unique, last = np.unique(rows[::-1], return_index=True)
    if len(unique) < len(rows) and how != "scatter":
        raise e.refuse("it meets one place more than once")
    source = np.full(table.shape[0], -1, np.int32)
    inside = (unique >= 0) & (unique < len(source))
    source[unique[inside]] = (len(rows) - 1 - last)[inside]
    taken = ops.rows_at(values, np.maximum(source, 0))
    here = ops.constant(table.graph, (source >= 0).reshape(-1, *(1,) * (table.rank - 1)), "bool")
    return ops.select(here, _combined(how, table, taken), table)


def _placed(e: Equation, how: str, table: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """The table with values at rows that the data name; of those at one row, the last is set."""
    (count,) = static(values.shape[:1])
    if not e.get("unique_indices", False):
        if how != "scatter" or count > MOST_PLACES:
            raise e.refuse(
                f"at places that depend on the data, {MOST_PLACES} values are set; multiplied or compared, "
                "they need unique_indices"
            )
        i, j = (ops.iota(table.graph, (count, count), axis, "int32") for axis in (0, 1))
        same = ops.equal(ops.reshape(rows, (count, 1)), ops.reshape(rows, (1, count)))
        later = ops.cast(ops.logical_and(same, j > i), "int32")
        rows = ops.select(ops.reduce_sum(later, 1) > 0, -1, rows)
    whole = ops.cast(values, "int32") if values.dtype == "bool" else values
    placed = ops.cast(_summed(table, rows, whole), values.dtype)
    ones = ops.broadcast_to(ops.constant(table.graph, 1, "int32"), (count,))
    hit = _summed(ops.broadcast_to(ops.constant(table.graph, 0, "int32"), table.shape[:1]), rows, ones) > 0
    here = ops.reshape(hit, (*hit.shape, *(1,) * (table.rank - 1)))
    return ops.select(here, _combined(how, table, placed), table)


def _combined(how: str, table: Tensor, values: Tensor) -> Tensor:
    if how == "scatter":
        return ops.broadcast_to(values, table.shape)
    function = {"scatter_mul": ops.mul, "scatter_min": ops.minimum, "scatter_max": ops.maximum}[how]
    return function(table, values)


def _summed(table: Tensor, rows: Index, values: Tensor) -> Tensor:
    """Values added up at their rows."""
    count, rest = table.shape[0], values.shape[1:]
    if isinstance(rows, Tensor):  # JAX drops what lies outside
        inside = ops.logical_and(rows >= 0, ops.less(rows, ops.constant(rows.graph, count, "int32")))
        inside = ops.reshape(inside, (*inside.shape, *(1,) * len(rest)))
        values = ops.select(inside, values, ops.zeros_like(values))
    elif isinstance(count, int) and not ((rows >= 0) & (rows < count)).all():
        kept = np.flatnonzero((rows >= 0) & (rows < count))
        if not len(kept):
            return ops.zeros_like(table)
        rows, values = rows[kept], ops.rows_at(values, kept)
    if not any(isinstance(d, Batch) for d in rest):
        if not isinstance(rows, Tensor):
            rows = ops.constant(table.graph, rows, "int32")
        return ops.scatter_rows(values, rows, count)
    assert isinstance(count, int)
    if isinstance(rows, Tensor):
        one_hot = ops.one_hot(rows, count, values.dtype)
    else:
        one_hot = ops.constant(table.graph, (rows[:, None] == np.arange(count)).astype(values.dtype))
    summed = ops.dot_general(values, one_hot, ((0,), (0,)))
    return ops.transpose(summed, [len(rest), *range(len(rest))])

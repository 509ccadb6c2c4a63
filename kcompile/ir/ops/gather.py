"""Rows of a table by number, and the gradient: rows added up at their numbers.

    gather(table, indices)[i..., d...]          = table[indices[i...], d...]
    scatter_rows(values, indices, rows)[v, ...] = sum of values[i...] over all i with indices[i] == v

Numbers outside the table mean its first or last row, so nothing is ever read or written beyond it. Those
that data give are checked before (`ir.indices`), and a graph with such numbers is not run.

What `passes.compact_scatters` makes of a scatter most of whose rows are zero:

    scatter_add(table, values, indices, ...)  = table + scatter_rows(values, indices) + ...
    first_occurrence(indices, rows)[v]        = the first i (counted in one) with indices[i] == v, else -1
    masked_gather(table, places)[v, d...]     = table[places[v], d...], and 0 where places[v] < 0
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir.indices import before_cast, outside_rows
from kcompile.ir.op import Call, Case, Draw, Op, register
from kcompile.ir.ops.movement import iota, reshape
from kcompile.ir.tensor import Tensor, constant, emit
from kcompile.ir.types import Batch, Dim, TensorType, format_shape, numel

__all__ = ["checked_places", "gather", "gather_each", "scatter_rows"]

Index = tuple[Any, ...]
Element = Callable[[Index], Any]


def _check_indices(name: str, indices: TensorType) -> None:
    if indices.dtype != "int32":
        raise TypeError(f"{name}: expected indices of int32. Received: {indices}")


def _infer_gather(table: TensorType, indices: TensorType) -> TensorType:
    _check_indices("gather", indices)
    if table.rank < 1 or table.shape[0] == 0:
        raise ValueError(f"gather: expected a table with rows. Received: {table}")
    return table.with_shape((*indices.shape, *table.shape[1:]))


def _gather(table: np.ndarray, indices: np.ndarray) -> np.ndarray:
    result: np.ndarray = table[np.clip(indices, 0, len(table) - 1)]
    return result


def _lower_gather(b: Any, call: Any, index: Index, table: Element, indices: Element) -> Any:
    rank = len(call.types[1].shape)
    row = clamped(b, indices(index[:rank]), call.types[0].shape[0])
    return table((row, *index[rank:]))


def clamped(b: Any, row: Any, rows: Dim) -> Any:
    """A row number as an index into a table of so many rows."""
    row = b.cast(row, "int64")
    return b.let(b.minimum(b.maximum(row, b.const(0, "int64")), b.extent(rows) - 1))


def _gather_case(draw: Draw) -> Case:
    table = TensorType((draw.integer(1, 9), *draw.shape(0, 2)))
    if any(not isinstance(d, int) for d in table.shape):
        table = TensorType((table.shape[0], draw.choice((1, 4, 17, 33))))
    if draw.integer(0, 4) == 0:
        table = TensorType((Batch(), *table.shape[1:]))
        return Case(
            (table, TensorType((draw.choice((Batch(), 3)),), "int32")), {}, low=(-2.0, 0.0), high=(2.0, 1.0)
        )
    return Case(
        (table, TensorType(draw.shape(0, 2), "int32")), {}, low=(-2.0, 0.0), high=(2.0, float(table.shape[0]))
    )


register(
    Op(
        "gather",
        "movement",
        _infer_gather,
        _gather,
        gradient=lambda c, g: [scatter_rows(g, c.inputs[1], c.inputs[0].shape[0]), None],
        lower=_lower_gather,
        cases=_gather_case,
        linear=(0,),
        numbered=0,
    )
)


def gather(table: Tensor, indices: Tensor) -> Tensor:
    """table [rows, d...] by int32 indices [i...] -> [i..., d...]. Raises ValueError where the indices are
    numbers of the graph that are out of range; others are checked in each run (`ir.indices`), but for those
    of the samples of a batch: these are the first or last one then."""
    known, rows = indices.graph.nodes[before_cast(indices.graph, indices.value).node], table.shape[0]
    if known.op.origin == "constant" and isinstance(rows, int) and not indices.graph.types_only:
        numbers = np.ravel(known.attrs["value"].array)
        outside = outside_rows(numbers, rows)
        if outside.any():
            raise ValueError(
                f"expected whole numbers from 0 to {rows - 1}. Received: {numbers[outside.argmax()]}"
            )
    return emit("gather", [table, indices])


def checked_places(indices: Tensor, size: int) -> Tensor:
    """int32 indices into an axis of this size as they are; one that is out of range is an error of the run,
    as that of a gather is."""
    return gather(iota(indices.graph, (size,), 0, "int32"), indices)


def _infer_each(table: TensorType, places: TensorType) -> TensorType:
    _check_indices("gather_each", places)
    if min(table.rank - 1, places.rank) < 1 or table.shape[0] != places.shape[0]:
        raise ValueError(
            f"gather_each: expected a table for each of the samples. Received: {table}, {places}"
        )
    if not isinstance(table.shape[1], int) or table.shape[1] < 1:
        raise ValueError(f"gather_each: expected a known number of rows. Received: {table}")
    return table.with_shape((*places.shape, *table.shape[2:]))


def _gather_of_each(table: np.ndarray, places: np.ndarray) -> np.ndarray:
    sample = np.arange(len(table)).reshape(-1, *(1,) * (places.ndim - 1))
    result: np.ndarray = table[sample, np.clip(places, 0, table.shape[1] - 1)]
    return result


def _lower_each(b: Any, call: Any, index: Index, table: Element, places: Element) -> Any:
    rank = len(call.types[1].shape)
    row = clamped(b, places(index[:rank]), call.types[0].shape[1])
    return table((index[0], row, *index[rank:]))


def _each_gradient(call: Call, g: Tensor) -> Sequence[Tensor | None]:
    """As that of a gather from one table, where all rows of all samples are."""
    table, places = call.inputs
    samples, rows, *rest = table.shape
    assert isinstance(rows, int)
    sample = iota(places.graph, (samples, *(1,) * (places.rank - 1)), 0, "int32")
    low, high = (constant(places.graph, at, "int32") for at in (0, rows - 1))
    clipped = emit("minimum", [emit("maximum", [places, low]), high])
    at = reshape(clipped + sample * rows, (numel(places.shape),))
    values = reshape(g, (numel(places.shape), *rest))
    return [reshape(scatter_rows(values, at, samples * rows), table.shape), None]


def _each_case(draw: Draw) -> Case:
    samples, rows = draw.choice((Batch(), 3)), draw.integer(1, 9)
    rest = draw.choice(((), (1,), (4,), (2, 5), (33,)))
    places = (samples, *draw.choice(((), (3,), (2, 4))))
    return Case(
        (TensorType((samples, rows, *rest)), TensorType(places, "int32")),
        {},
        low=(-2.0, 0.0),
        high=(2.0, float(rows)),
    )


register(
    Op(
        "gather_each",
        "movement",
        _infer_each,
        _gather_of_each,
        gradient=_each_gradient,
        lower=_lower_each,
        cases=_each_case,
        linear=(0,),
        numbered=1,
    )
)


def gather_each(table: Tensor, places: Tensor) -> Tensor:
    """table [samples, rows, d...] by int32 places [samples, i...] -> [samples, i..., d...]: rows of each
    sample's own. Places that are out of range are an error of the run."""
    return emit("gather_each", [table, places])


# ---------------------------------------------------------------- rows added up
#
# Threads have kernels of their own for these (`kcompile.codegen.cpu.scatter`), which walk the positions
# once for all elements; the `lower` rules here walk them for one element, as graphics processors do.


def _check_rows(name: str, values: TensorType, indices: TensorType) -> tuple[int, ...]:
    """The axes of a row, with all checks."""
    _check_indices(name, indices)
    if values.shape[: indices.rank] != indices.shape:
        raise ValueError(
            f"{name}: values {values} do not begin with the axes of the indices {format_shape(indices.shape)}"
        )
    rest = tuple(d for d in values.shape[indices.rank :] if isinstance(d, int))
    if len(rest) < values.rank - indices.rank:
        raise ValueError(f"{name}: the batch of {values} must be an axis of the indices")
    return rest


def _infer_scatter(values: TensorType, indices: TensorType, rows: Dim) -> TensorType:
    return values.with_shape((rows, *_check_rows("scatter_rows", values, indices)))


def _scatter(values: np.ndarray, indices: np.ndarray, rows: int) -> np.ndarray:
    result = np.zeros((rows, *values.shape[indices.ndim :]), values.dtype)
    np.add.at(result, np.clip(indices, 0, rows - 1), values)
    return result


def _scatter_gradient(call: Call, g: Tensor) -> Sequence[Tensor | None]:
    return [gather(g, call.inputs[1]), None]


def _rows_at(
    b: Any, type: TensorType, index: Index, positions: Sequence[Dim], values: Element, indices: Element
) -> Any:
    """The sum of all values whose row is index[0], at the rest of the index. type: of the result."""
    zero = b.const(0, type.dtype)

    def body(at: Index) -> Any:
        place = b.unflatten(at[0], positions)
        hit = b.equal(clamped(b, indices(place), type.shape[0]), index[0])
        return b.guard(hit, lambda: values((*place, *index[1:])), zero)

    return b.reduce("add", [numel(positions)], body, zero)


def _lower_scatter(b: Any, call: Any, index: Index, values: Element, indices: Element) -> Any:
    return _rows_at(b, call.type, index, call.types[1].shape, values, indices)


def _rows_case(draw: Draw) -> tuple[TensorType, TensorType, int]:
    """Values, indices, and a number of rows."""
    indices = TensorType(draw.shape(0, 2), "int32")
    rest = draw.choice(((), (1,), (3,), (17,), (2, 5), (33,), (64,)))
    return TensorType((*indices.shape, *rest)), indices, draw.integer(1, 9)


def _scatter_case(draw: Draw) -> Case:
    values, indices, rows = _rows_case(draw)
    return Case((values, indices), {"rows": rows}, low=(-2.0, -2.0), high=(2.0, 11.0))


register(
    Op(
        "scatter_rows",
        "scatter",
        _infer_scatter,
        _scatter,
        gradient=_scatter_gradient,
        lower=_lower_scatter,
        cases=_scatter_case,
        linear=(0,),
        expensive=True,
    )
)


def scatter_rows(values: Tensor, indices: Tensor, rows: Dim) -> Tensor:
    """values [i..., d...] added up at the rows that int32 indices [i...] name: [rows, d...]."""
    return emit("scatter_rows", [values, indices], rows=rows)


def _infer_scatter_add(table: TensorType, *pairs: TensorType) -> TensorType:
    for values, indices in zip(pairs[::2], pairs[1::2]):
        rest = _check_rows("scatter_add", values, indices)
        if table.shape[1:] != rest or table.dtype != values.dtype:
            raise ValueError(f"scatter_add: rows of {values} do not fit a table of {table}")
    return table


def _scatter_add(table: np.ndarray, *pairs: np.ndarray) -> np.ndarray:
    result = table.copy()
    for values, indices in zip(pairs[::2], pairs[1::2]):
        np.add.at(result, np.clip(indices, 0, len(table) - 1), values)
    return result


def _lower_scatter_add(b: Any, call: Any, index: Index, table: Element, *pairs: Element) -> Any:
    total = table(index)
    for values, indices, type in zip(pairs[::2], pairs[1::2], call.types[2::2]):
        total = b.add(total, _rows_at(b, call.type, index, type.shape, values, indices))
    return total


def _scatter_add_gradient(call: Call, g: Tensor) -> Sequence[Tensor | None]:
    taken = [(gather(g, indices), None) for indices in call.inputs[2::2]]
    return [g, *(x for pair in taken for x in pair)]


def _scatter_add_case(draw: Draw) -> Case:
    values, indices, rows = _rows_case(draw)
    table = TensorType((rows, *values.shape[indices.rank :]))
    pairs = (values, indices) * draw.integer(1, 2)
    return Case((table, *pairs), {}, low=-2.0, high=(2.0, *(2.0, 11.0) * (len(pairs) // 2)))


register(
    Op(
        "scatter_add",
        "scatter",
        _infer_scatter_add,
        _scatter_add,
        gradient=_scatter_add_gradient,
        lower=_lower_scatter_add,
        cases=_scatter_add_case,
        expensive=True,
        in_place=0,
    )
)


def scatter_add(table: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The table [rows, d...] with values [i..., d...] added at the rows that int32 indices [i...]
    name, for each pair (values, indices)."""
    return emit("scatter_add", [table, *(x for pair in pairs for x in pair)])


# ---------------------------------------------------------------- few rows of many


def _infer_first(indices: TensorType, rows: int) -> TensorType:
    _check_indices("first_occurrence", indices)
    return TensorType((rows,), "int32")


def _first(indices: np.ndarray, rows: int) -> np.ndarray:
    result = np.full(rows, -1, np.int32)
    flat = np.clip(indices.ravel(), 0, rows - 1)
    result[flat[::-1]] = np.arange(len(flat), dtype=np.int32)[::-1]
    return result


def _lower_first(b: Any, call: Any, index: Index, indices: Element) -> Any:
    shape, rows = call.types[0].shape, call.type.shape[0]
    none = b.cast(b.extent(numel(shape)), "int32")

    def body(at: Index) -> Any:
        hit = b.equal(clamped(b, indices(b.unflatten(at[0], shape)), rows), index[0])
        return b.select(hit, b.cast(at[0], "int32"), none)

    first = b.reduce("min", [numel(shape)], body, none)
    return b.select(b.less(first, none), first, b.const(-1, "int32"))


def _first_case(draw: Draw) -> Case:
    _, indices, rows = _rows_case(draw)
    return Case((indices,), {"rows": rows}, low=-2.0, high=11.0)


register(
    Op(
        "first_occurrence",
        "scatter",
        _infer_first,
        _first,
        lower=_lower_first,
        cases=_first_case,
        expensive=True,
    )
)


def first_occurrence(indices: Tensor, rows: int) -> Tensor:
    """int32 [rows]: for each row number the first position, in row-major order, at which int32 indices have
    it, or -1."""
    return emit("first_occurrence", [indices], rows=rows)


def _infer_masked(table: TensorType, places: TensorType) -> TensorType:
    _check_indices("masked_gather", places)
    if table.rank < 1 or any(not isinstance(d, int) for d in table.shape[1:]):
        raise ValueError(f"masked_gather: expected a table of rows. Received: {table}")
    return table.with_shape((*places.shape, *table.shape[1:]))


def _masked_gather(table: np.ndarray, places: np.ndarray) -> np.ndarray:
    there = np.reshape(places >= 0, (*places.shape, *(1,) * (table.ndim - 1)))
    result: np.ndarray = np.where(there, _gather(table, places), table.dtype.type(0))
    return result


def _lower_masked(b: Any, call: Any, index: Index, table: Element, places: Element) -> Any:
    rank = len(call.types[1].shape)
    place = b.let(places(index[:rank]))
    row = clamped(b, place, call.types[0].shape[0])
    return b.guard(
        b.greater_equal(place, b.const(0, "int32")),
        lambda: table((row, *index[rank:])),
        b.const(0, call.type.dtype),
    )


def _masked_case(draw: Draw) -> Case:
    places = TensorType(draw.shape(0, 2), "int32")
    rest = draw.choice(((), (1,), (4,), (17,), (2, 5), (33,)))
    rows: Dim = draw.integer(1, 9)
    if places.rank == 0 or isinstance(places.shape[0], int):
        rows = draw.choice((rows, Batch(2)))
    return Case((TensorType((rows, *rest)), places), {}, low=(-2.0, -5.0), high=(2.0, 11.0))


register(
    Op(
        "masked_gather",
        "movement",
        _infer_masked,
        _masked_gather,
        lower=_lower_masked,
        cases=_masked_case,
        linear=(0,),
        inlined=True,
    )
)


def masked_gather(table: Tensor, places: Tensor) -> Tensor:
    """The rows of table [rows, d...] that int32 places [i...] name, [i..., d...]; zeros where a place is
    below 0. A compact gradient is read by it as if it were whole."""
    return emit("masked_gather", [table, places])

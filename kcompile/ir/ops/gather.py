"""Rows of a table by number, and the gradient: rows added up at their numbers.

    gather(table, indices)[i..., d...]        = table[indices[i...], d...]
    scatter_rows(values, indices, rows)[v, ...] = sum of values[i...] over all i with indices[i] == v

Numbers outside the table mean its first or last row, so nothing is ever read or written beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir.op import Call, Case, Draw, Op, register
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import TensorType, format_shape

Index = tuple[Any, ...]
Element = Callable[[Index], Any]


def _check_indices(name: str, indices: TensorType) -> None:
    if indices.dtype != "int32":
        raise TypeError(f"{name}: expected indices of int32. Received: {indices}")


def _infer_gather(table: TensorType, indices: TensorType) -> TensorType:
    _check_indices("gather", indices)
    if table.rank < 1 or not isinstance(table.shape[0], int) or table.shape[0] < 1:
        raise ValueError(f"gather: expected a table with a known number of rows. Received: {table}")
    return table.with_shape((*indices.shape, *table.shape[1:]))


def _gather(table: np.ndarray, indices: np.ndarray) -> np.ndarray:
    result: np.ndarray = table[np.clip(indices, 0, len(table) - 1)]
    return result


def _lower_gather(b: Any, call: Any, index: Index, table: Element, indices: Element) -> Any:
    rank = len(call.types[1].shape)
    row = clamped(b, indices(index[:rank]), call.types[0].shape[0])
    return table((row, *index[rank:]))


def clamped(b: Any, row: Any, rows: int) -> Any:
    """A row number as an index into a table of so many rows."""
    row = b.cast(row, "int64")
    low, high = b.const(0, "int64"), b.const(rows - 1, "int64")
    return b.share(b.minimum(b.maximum(row, low), high))


def _gather_case(draw: Draw) -> Case:
    table = TensorType((draw.integer(1, 9), *draw.shape(0, 2)))
    if any(not isinstance(d, int) for d in table.shape):
        table = TensorType((table.shape[0], draw.choice((1, 4, 17, 33))))
    return Case((table, TensorType(draw.shape(0, 2), "int32")), {}, low=-2.0, high=11.0)


register(Op("gather", "movement", _infer_gather, _gather,
            gradient=lambda c, g: [scatter_rows(g, c.inputs[1], c.inputs[0].shape[0]), None],
            lower=_lower_gather, cases=_gather_case))


def gather(table: Tensor, indices: Tensor) -> Tensor:
    """table [rows, d...] by int32 indices [i...] -> [i..., d...]."""
    return emit("gather", [table, indices])


def _infer_scatter(values: TensorType, indices: TensorType, rows: int) -> TensorType:
    _check_indices("scatter_rows", indices)
    if values.shape[:indices.rank] != indices.shape:
        raise ValueError(f"scatter_rows: values {values} do not begin with the axes of the indices "
                         f"{format_shape(indices.shape)}")
    rest = values.shape[indices.rank:]
    if any(not isinstance(d, int) for d in rest):
        raise ValueError(f"scatter_rows: the batch of {values} must be an axis of the indices")
    return values.with_shape((rows, *rest))


def _scatter(values: np.ndarray, indices: np.ndarray, rows: int) -> np.ndarray:
    result = np.zeros((rows, *values.shape[indices.ndim:]), values.dtype)
    np.add.at(result, np.clip(indices, 0, rows - 1), values)
    return result


def _scatter_gradient(call: Call, g: Tensor) -> Sequence[Tensor | None]:
    return [gather(g, call.inputs[1]), None]


def _scatter_case(draw: Draw) -> Case:
    indices = TensorType(draw.shape(0, 2), "int32")
    rest = draw.choice(((), (1,), (3,), (17,), (2, 5), (33,), (64,)))
    return Case((TensorType((*indices.shape, *rest)), indices), {"rows": draw.integer(1, 9)},
                low=(-2.0, -2.0), high=(2.0, 11.0))


# Its kernel is `kcompile.codegen.scatter`: an element of the result is no simple sum over operands.
register(Op("scatter_rows", "composite", _infer_scatter, _scatter, gradient=_scatter_gradient,
            cases=_scatter_case, expensive=True))


def scatter_rows(values: Tensor, indices: Tensor, rows: int) -> Tensor:
    """values [i..., d...] added up at the rows that int32 indices [i...] name: [rows, d...]."""
    return emit("scatter_rows", [values, indices], rows=rows)

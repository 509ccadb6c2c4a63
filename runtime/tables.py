"""Parquet in and out, as batches: dicts of numpy arrays by column.

Enters and leaves: files of Parquet, through pyarrow (extra `parquet`), which is imported when it is used. An
array of more than one axis is a column of lists of fixed size, in each other where there are more axes;
readers of Parquet elsewhere know these as lists.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from kcompile_runtime.arrays import Array
from kcompile_runtime.checks import check_count, check_path, check_text
from kcompile_runtime.errors import InputError, describe
from kcompile_runtime.extras import library
from kcompile_runtime.replacing import replacing


def read_parquet(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None, rows: int = 65536
) -> Iterator[dict[str, Array]]:
    """The rows of a file of Parquet in order, as dicts of arrays by column, at most so many at a time.

    path: of a file, or of a folder, whose files `*.parquet` are read in the order of their names. columns:
    which ones, default all. rows: of a batch; the last ones of a file may be fewer. Lists become further axes
    [rows, ...], texts and other things columns of objects. No more than a row group and a batch are in
    memory. Raises ExtraError without pyarrow; FileNotFoundError; InputError for columns that are not there,
    for numbers that are missing in a column of integers, and for lists of unequal lengths.
    """
    parquet = library("pyarrow.parquet", "parquet")
    size = check_count("read_parquet: rows", rows)
    place = Path(check_path("read_parquet: path", path))
    wanted = None if columns is None else [check_text("read_parquet: columns", name) for name in columns]
    return _read(parquet, _files(place), wanted, size)


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        if not place.exists():
            raise FileNotFoundError(f"{place}: no such file or folder")
        return [place]
    found = sorted(place.glob("*.parquet"))
    if not found:
        raise FileNotFoundError(f"{place}: no files *.parquet in it")
    return found


def _read(parquet: Any, files: Sequence[Path], columns: Any, size: int) -> Iterator[dict[str, Array]]:
    for path in files:
        with parquet.ParquetFile(path) as file:
            there = file.schema_arrow.names
            missing = sorted({*(columns or ())} - {*there})
            if missing:
                raise InputError(describe(str(path), f"columns {missing}", f"columns {there}"))
            for batch in file.iter_batches(size, columns=columns):
                yield {name: _array(batch.column(name), name) for name in columns or there}


def _array(column: Any, name: str) -> Array:
    """A column of Arrow as an array [rows, ...]."""
    types = library("pyarrow", "parquet").types
    kind = column.type
    if hasattr(column, "storage"):  # of an extension type, as tensors are
        shape = getattr(kind, "shape", None)
        stored = _array(column.storage, name)
        return stored if shape is None else stored.reshape(len(column), *shape)
    if types.is_dictionary(kind):
        return _array(column.dictionary_decode(), name)
    nested = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if column.null_count and (nested or types.is_integer(kind) or types.is_boolean(kind)):
        missing = f"{column.null_count} nulls"
        raise InputError(describe(f"column {name!r}", f"a value in each row ({kind})", missing))
    if not nested:
        found: Array = column.to_numpy(zero_copy_only=False)
        return found
    if types.is_fixed_size_list(kind):
        length = kind.list_size
    else:
        lengths = np.unique(np.diff(column.offsets.to_numpy()))
        if len(lengths) > 1:
            got = f"lengths from {lengths[0]} to {lengths[-1]}"
            raise InputError(describe(f"column {name!r}", "lists of one length", got))
        length = int(lengths[0]) if len(lengths) else 0
    values = _array(column.flatten(), name)
    return values.reshape(len(column), length, *values.shape[1:])


def write_parquet(path: str | os.PathLike[str], batches: Iterable[Mapping[str, Any]]) -> int:
    """Write batches to a file of Parquet as they come, and give the number of rows.

    path: of the file, which appears when it is whole, in place of an older one. batches: dicts of arrays by
    column, all with the same columns, dtypes and sizes of a row; each that has rows is a row group. Raises
    ExtraError without pyarrow; InputError for no batches, for columns of different lengths, and for a batch
    that is not like the first; OSError. Nothing is left of a file that is not whole.
    """
    arrow, parquet = library("pyarrow", "parquet"), library("pyarrow.parquet", "parquet")
    tables = (_table(arrow, batch) for batch in batches)
    first: Any = None
    for table in tables:
        first = table if first is None or table.num_rows else first
        if table.num_rows:  # only these tell what a column of objects holds
            break
    if first is None:
        raise InputError(describe("write_parquet: batches", "at least one batch", "none"))
    place = check_path("write_parquet: path", path)
    with replacing(place) as part, parquet.ParquetWriter(part, first.schema) as writer:
        return _write(writer, chain([first], tables))


def _write(writer: Any, tables: Iterable[Any]) -> int:
    rows = 0
    for table in tables:
        if table.num_rows:
            if table.schema != writer.schema:
                raise InputError(
                    describe("write_parquet: a batch", _said(writer.schema), _said(table.schema))
                )
            writer.write_table(table)
            rows += table.num_rows
    return rows


def _said(schema: Any) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)


def _table(arrow: Any, batch: Mapping[str, Any]) -> Any:
    arrays = {name: np.asarray(column) for name, column in batch.items()}
    lengths = {len(array) if array.ndim else None for array in arrays.values()}
    if len(lengths) != 1 or None in lengths:
        got = ", ".join(f"{name}: shape {array.shape}" for name, array in arrays.items()) or "no columns"
        raise InputError(describe("write_parquet: a batch", "columns with the same number of rows", got))
    return arrow.table({name: _column(arrow, array) for name, array in arrays.items()})


def _column(arrow: Any, array: Array) -> Any:
    """An array [rows, ...] as a column of Arrow."""
    found = arrow.array(array.reshape(-1))
    for size in reversed(array.shape[1:]):
        found = arrow.FixedSizeListArray.from_arrays(found, size)
    return found

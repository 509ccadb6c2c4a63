"""Data sets of files: lines, and columns of tables; and what else stands in `tf.data.experimental`.

Enters: paths, options. Leaves: data sets of `kcompile.keras.pipelines`, and functions for `Dataset.apply`.
"""

from __future__ import annotations

import collections
import glob
import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kcompile.keras.eager import EagerTensor
from kcompile.keras.pipelines import Dataset
from kcompile.tensorflow.files import decode_csv, fields, path_of
from kcompile_runtime.errors import InputError, UnsupportedError, describe


def _paths(filenames: Any) -> list[str]:
    if isinstance(filenames, Dataset):
        return [path_of(one) for one in filenames]
    return [path_of(one) for one in np.ravel(np.asarray(filenames)).tolist()]


def _lines(path: str, compression: str | None) -> list[bytes]:
    with open(path, "rb") as file:
        held = file.read()
    if compression:
        held = gzip.decompress(held) if compression == "GZIP" else zlib.decompress(held)
    lines = held.split(b"\n")
    lines = lines[:-1] if lines[-1] == b"" else lines
    return [line.removesuffix(b"\r") for line in lines]


def text_lines(
    filenames: Any,
    compression_type: Any = None,
    buffer_size: Any = None,
    num_parallel_reads: Any = None,
    name: Any = None,
) -> Dataset:
    """tf.data.TextLineDataset: the lines of files, without their ends."""

    def make() -> Iterator[Any]:
        for path in _paths(filenames):
            for line in _lines(path, compression_type):
                yield np.array(line.decode()).view(EagerTensor)

    return Dataset(make)


def table_rows(
    filenames: Any,
    record_defaults: Any,
    compression_type: Any = None,
    buffer_size: Any = None,
    header: bool = False,
    field_delim: str = ",",
    use_quote_delim: bool = True,
    na_value: str = "",
    select_cols: Any = None,
    exclude_cols: Any = None,
) -> Dataset:
    """tf.data.experimental.CsvDataset: the rows of tables as tuples, in the dtypes of their defaults."""

    def make() -> Iterator[Any]:
        for path in _paths(filenames):
            for line in _lines(path, compression_type)[int(bool(header)) :]:
                columns = select_cols
                if exclude_cols is not None:
                    width = len(fields([line.decode()], field_delim, use_quote_delim)[0])
                    columns = [k for k in range(width) if k not in list(exclude_cols)]
                row = decode_csv(
                    np.array(line.decode()), record_defaults, field_delim, use_quote_delim, na_value, columns
                )
                yield tuple(_text(x).view(EagerTensor) for x in row)

    return Dataset(make)


def _text(x: np.ndarray) -> np.ndarray:
    return x.astype(str) if x.dtype == object else x


def table_batches(
    file_pattern: Any,
    batch_size: int,
    column_names: Any = None,
    column_defaults: Any = None,
    label_name: str | None = None,
    select_columns: Any = None,
    field_delim: str = ",",
    use_quote_delim: bool = True,
    na_value: str = "",
    header: bool = True,
    num_epochs: Any = None,
    shuffle: bool = True,
    shuffle_buffer_size: int = 10000,
    shuffle_seed: Any = None,
    prefetch_buffer_size: Any = None,
    num_parallel_reads: Any = None,
    sloppy: bool = False,
    num_rows_for_inference: Any = 100,
    compression_type: Any = None,
    ignore_errors: bool = False,
    encoding: str = "utf-8",
) -> Dataset:
    """tf.data.experimental.make_csv_dataset: batches of dicts of columns, with the labels beside where a
    column has them; without an end unless num_epochs says one."""
    if ignore_errors:
        raise UnsupportedError("tensorflow.data.experimental.make_csv_dataset: ignore_errors")
    patterns = file_pattern if isinstance(file_pattern, (list, tuple)) else [file_pattern]
    paths = sorted({path for one in patterns for path in glob.glob(path_of(one))})
    if not paths:
        raise InputError(
            describe("make_csv_dataset: file_pattern", "a pattern that files match", str(patterns))
        )
    rows: list[list[str]] = []
    first: list[str] | None = None
    for path in paths:
        lines = [line.decode(encoding) for line in _lines(path, compression_type)]
        found = fields(lines, field_delim, use_quote_delim)
        first = found[0] if header and first is None else first
        rows += found[1:] if header else found
    names = list(first or []) if column_names is None else list(column_names)
    if select_columns is not None:
        places = [names.index(c) if isinstance(c, str) else int(c) for c in select_columns]
    else:
        places = list(range(len(names)))
    if label_name is not None and label_name not in [names[k] for k in places]:
        raise InputError(describe("make_csv_dataset: label_name", f"one of {names}", repr(label_name)))
    table: dict[str, Any] = collections.OrderedDict()
    for place, default in zip(places, column_defaults or [None] * len(places)):
        words = [row[place] for row in rows]
        sample = words if num_rows_for_inference is None else words[: int(num_rows_for_inference)]
        given = [_default_of(sample, na_value)] if default is None else [default]
        (made,) = decode_csv(np.array([_quoted(word) for word in words]), given, ",", True, na_value)
        table[names[place]] = _text(made)
    labels = None if label_name is None else table.pop(label_name)
    data = Dataset.from_tensor_slices(table if labels is None else (table, labels))
    if shuffle:
        data = data.shuffle(int(shuffle_buffer_size), shuffle_seed)
    return data.repeat(num_epochs).batch(batch_size, drop_remainder=num_epochs is None)


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def _default_of(words: list[str], missing: str) -> Any:
    """What stands for no value in a column, in the dtype that its words have."""
    given = [word for word in words if word not in ("", missing)]
    for convert, default in ((int, np.int32(0)), (float, np.float32(0))):
        try:
            values = [convert(word) for word in given]
        except ValueError:
            continue
        large = convert is int and any(not -(2**31) <= v < 2**31 for v in values)
        return np.int64(0) if large else default
    return ""


def _applied(method: str) -> Callable[..., Any]:
    """What tf.data.experimental has for `apply`, of a method of data sets."""
    return lambda *args, **kwargs: lambda dataset: getattr(dataset, method)(*args, **kwargs)


def asserted(expected_cardinality: int) -> Callable[[Any], Any]:
    """The data set, which says that it has so many elements."""
    return lambda dataset: dataset.apply(lambda given: given._like(given._make, int(expected_cardinality)))


def _mapped(
    map_func: Any,
    batch_size: int,
    num_parallel_batches: Any = None,
    drop_remainder: bool = False,
    num_parallel_calls: Any = None,
) -> Any:
    return lambda dataset: dataset.map(map_func).batch(batch_size, drop_remainder)


def _shuffled(buffer_size: int, count: Any = None, seed: Any = None) -> Any:
    return lambda dataset: dataset.shuffle(buffer_size, seed).repeat(count)


def _interleaved(map_func: Any, cycle_length: int, block_length: int = 1, **options: Any) -> Any:
    return lambda dataset: dataset.interleave(map_func, cycle_length, block_length)


NAMES: dict[str, Any] = {
    "data.TextLineDataset": text_lines,
    "data.experimental.CsvDataset": table_rows,
    "data.experimental.Counter": lambda start=0, step=1, dtype="int64": Dataset.counter(start, step, dtype),
    "data.experimental.assert_cardinality": asserted,
    "data.experimental.bucket_by_sequence_length": _applied("bucket_by_sequence_length"),
    "data.experimental.choose_from_datasets": Dataset.choose_from_datasets,
    "data.experimental.enumerate_dataset": _applied("enumerate"),
    "data.experimental.get_single_element": lambda dataset: dataset.get_single_element(),
    "data.experimental.group_by_window": _applied("group_by_window"),
    "data.experimental.make_csv_dataset": table_batches,
    "data.experimental.map_and_batch": _mapped,
    "data.experimental.parallel_interleave": _interleaved,
    "data.experimental.prefetch_to_device": lambda device, buffer_size=None: lambda dataset: dataset,
    "data.experimental.sample_from_datasets": Dataset.sample_from_datasets,
    "data.experimental.scan": _applied("scan"),
    "data.experimental.shuffle_and_repeat": _shuffled,
    "data.experimental.take_while": _applied("take_while"),
    "data.experimental.unbatch": _applied("unbatch"),
    "data.experimental.unique": _applied("unique"),
}

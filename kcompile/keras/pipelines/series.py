"""Windows of time series, and data sets in two parts."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from kcompile.keras.eager import EagerTensor
from kcompile.keras.pipelines.dataset import Dataset
from kcompile.keras.pipelines.elements import element, over, row, rows, stacked
from kcompile_runtime.checks import check_count, check_flag
from kcompile_runtime.errors import InputError, InputTypeError, UnsupportedError, describe


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Dataset:
    """Batches (windows, targets), windows alone where targets is None.

    A window is sequence_length rows of data, sampling_rate apart; the next one begins sequence_stride
    behind it. targets[i] belongs to the window that begins at row i of the part from start_index to
    end_index. seed: of the order of windows with shuffle. Raises InputError, a ValueError.
    """
    if format != "tf":
        raise UnsupportedError(describe("format", "'tf'", repr(format), "Its batches are numpy's."))
    series = np.asarray(data)
    length, count = check_count("sequence_length", sequence_length), len(series)
    stride = _below("sequence_stride", sequence_stride, count)
    rate = _below("sampling_rate", sampling_rate, count)
    first = check_count("start_index", start_index or 0, 0)
    last = count if not end_index else _below("end_index", end_index, count)
    if first >= count or last <= first:
        raise InputError(
            describe("start_index and end_index", f"a part of {count} rows", f"{start_index} and {end_index}")
        )
    whole = last - first - (length - 1) * rate
    labels = None if targets is None else np.asarray(targets)
    starts = np.arange(0, whole if labels is None else min(whole, len(labels)), stride)
    if check_flag("shuffle", shuffle):
        seed = int(np.random.randint(10**6)) if seed is None else int(seed)
        np.random.RandomState(seed).shuffle(starts)
    part = series[first:last]
    places = np.arange(length) * rate
    held = None if labels is None else labels[first:last]
    if held is not None and len(starts) and starts.max() >= len(held):
        raise InputError(
            describe(
                "targets", f"a row for each of {starts.max() + 1} windows from start_index on", f"{len(held)}"
            )
        )

    def window(number: Any) -> Any:
        start = int(starts[int(number)])
        made = part[start + places].view(EagerTensor)
        return made if held is None else (made, np.asarray(held[start]).view(EagerTensor))

    made = Dataset.range(len(starts)).map(window)
    if shuffle:
        made = made.shuffle(1024 if batch_size is None else batch_size * 8, seed)
    return made if batch_size is None else made.batch(batch_size)


def _below(name: str, value: Any, count: int) -> int:
    if check_count(name, value) >= count:
        raise InputError(describe(name, f"a number below {count}, the rows of the data", repr(value)))
    return int(value)


def split_dataset(
    dataset: Any,
    left_size: Any = None,
    right_size: Any = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: Any = None,
) -> tuple[Dataset, Dataset]:
    """Two data sets of the rows of arrays, or of the elements (those of batches, where it has them) of a data
    set: the first left_size and the last right_size, as numbers or shares; by default, all the others.

    shuffle: in an order that Python's generator of the seed draws first. preferred_backend: None or
    "tensorflow", whose kind of data set this is.
    """
    if preferred_backend not in (None, "tensorflow", "jax", "numpy"):
        raise UnsupportedError(
            describe("split_dataset: preferred_backend", "None or 'tensorflow'", repr(preferred_backend))
        )
    size = dataset.batch_size if isinstance(dataset, Dataset) else None
    found = _elements(dataset)
    if shuffle:
        random.seed(random.randint(0, 10**6) if seed is None else seed)
        random.shuffle(found)
    left, right = _sizes(left_size, right_size, len(found))
    parts = found[:left], found[-right:]
    made = [Dataset.from_tensor_slices(stacked(part)) for part in parts]
    first, second = (part.batch(size) for part in made) if size else made
    return first, second


def _elements(dataset: Any) -> list[Any]:
    if isinstance(dataset, Dataset):
        found = list(dataset.unbatch() if dataset.batch_size else dataset)
    elif isinstance(dataset, (list, tuple, np.ndarray)) and len(dataset):
        nested = element(tuple(dataset) if isinstance(dataset, list) else dataset)
        found = [row(nested, at) for at in range(rows(nested))]
    else:
        raise InputTypeError(
            describe("split_dataset", "a data set, or arrays of as many rows", type(dataset).__name__)
        )
    if not found:
        raise InputError(describe("split_dataset", "at least two elements", "none"))
    return [over(lambda a: a, one) for one in found]


def _sizes(left: Any, right: Any, count: int) -> tuple[int, int]:
    """How many elements the two parts have. Raises ValueError, TypeError as Keras does."""
    if left is None and right is None:
        raise InputError("split_dataset: give left_size or right_size")
    numbers: list[int | None] = []
    for name, value in (("left_size", left), ("right_size", right)):
        if value is None:
            numbers.append(None)
        elif type(value) not in (int, float):
            raise InputTypeError(describe(f"split_dataset: {name}", "a number or a share", repr(value)))
        elif not 0 < value < (1 if isinstance(value, float) else count):
            raise InputError(
                describe(f"split_dataset: {name}", f"a number below {count}, or a share below 1", repr(value))
            )
        else:
            numbers.append(round(value * count) if isinstance(value, float) else value)
    first, second = numbers
    first = count - (second or 0) if first is None else first
    second = count - first if second is None else second
    if not first or not second or first + second > count:
        raise InputError(
            describe("split_dataset", f"two parts of {count} elements", f"{first} and {second} of them")
        )
    return first, second

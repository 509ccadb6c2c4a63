"""Data whose rows become arrays batch by batch: they lie in a file, are sparse, or texts.

Enters: an `HDF5Matrix`, a data set of h5py, a `numpy.memmap`, a sparse matrix of scipy, texts; lists and
dicts of these and of arrays. Leaves: `StoredRows`, over which a model is trained, evaluated and predicts as
over rows of arrays. No more than a batch of them is in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kcompile.keras.feeding import Rows
from kcompile.keras.utils.io_utils import HDF5Matrix
from kcompile_runtime.arrays import Array, as_array
from kcompile_runtime.errors import InputError, InputTypeError, describe
from kcompile_runtime.loop import joined


def is_sparse(value: Any) -> bool:
    """Whether it is a sparse matrix of scipy, or of another library with its methods."""
    return hasattr(value, "tocsr") and hasattr(value, "toarray")


def is_stored(value: Any) -> bool:
    """Whether rows of it should be read when they are needed."""
    if isinstance(value, np.ndarray):
        return isinstance(value, np.memmap) and value.filename is not None
    return is_sparse(value) or isinstance(value, HDF5Matrix) or _is_dataset(value)


def _is_dataset(value: Any) -> bool:
    """Whether it is a data set of h5py, which is not loaded to find out."""
    kind = type(value)
    return kind.__module__.partition(".")[0] == "h5py" and kind.__name__ == "Dataset"


def leaves(value: Any) -> list[Any]:
    """The arrays of data: of a dict, a list or a tuple of arrays."""
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, (list, tuple)) and any(hasattr(v, "shape") for v in value):
        return list(value)
    return [value]


def holds_stored(*values: Any) -> bool:
    """Whether any of the arrays of some data are stored."""
    return any(is_stored(leaf) for value in values for leaf in leaves(value))


def whole(value: Any) -> Any:
    """Data with all that is stored in memory: for a single batch."""
    return _mapped(value, lambda leaf: rows_of(_readable(leaf), slice(None)) if is_stored(leaf) else leaf)


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: None if v is None else change(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)) and any(hasattr(v, "shape") for v in value):
        return [None if v is None else change(v) for v in value]
    return None if value is None else change(value)


def _readable(leaf: Any) -> Any:
    """What rows are taken of: compressed rows of a sparse matrix; other arrays in memory as arrays."""
    if is_sparse(leaf):
        if len(leaf.shape) != 2:
            raise InputTypeError(describe("sparse data", "a matrix", f"shape {leaf.shape}"))
        return leaf.tocsr()
    if is_stored(leaf):
        return leaf
    found = np.asarray(leaf)
    return found if found.dtype.kind in "USO" else as_array(leaf, "data")


def rows_of(leaf: Any, rows: Any) -> Array:
    """The rows of a slice or of numbers in any order. Files are read in ascending order."""
    if is_sparse(leaf):
        found: Array = leaf[rows].toarray()
        return found
    if isinstance(rows, slice) or isinstance(leaf, np.ndarray):
        return np.asarray(leaf[rows])
    first, last = int(rows.min()), int(rows.max())
    if last - first + 1 == len(rows) == len(np.unique(rows)):
        return np.asarray(leaf[first : last + 1])[rows - first]
    ascending, places = np.unique(rows, return_inverse=True)
    return np.asarray(leaf[ascending])[places.reshape(-1)]


class StoredRows(Rows):
    """Rows of stored data: x, y and sample_weight as a user gave them, from `start` to `stop`.

    Raises InputError for data of different lengths, and for no samples.
    """

    def __init__(
        self,
        trainer: Any,
        data: tuple[Any, Any, Any],
        class_weight: Any = None,
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        self._data = [_mapped(value, _readable) for value in data]
        counts = {len_of(leaf) for value in self._data for leaf in leaves(value) if leaf is not None}
        if len(counts) != 1:
            raise InputError(
                describe("data", "the same number of samples in all arrays", ", ".join(map(str, counts)))
            )
        self._start = start
        self._class_weight = class_weight
        self.count = (counts.pop() if stop is None else stop) - start
        if self.count < 1:
            raise InputError(describe("data", "at least one sample", "none"))
        super().__init__(trainer, [np.empty((self.count, 0), np.float32)], 1, None)

    def of_size(self, size: int, steps: int | None) -> StoredRows:
        """The same, in batches of this size."""
        super().__init__(self._trainer, self.arrays, size, steps)
        return self

    def first(self, entry: str, size: int) -> list[Array]:
        """The arrays of the first batch, which is looked at before anything begins."""
        return self._batch(entry, slice(0, min(size, self.count)))[0]

    def _batch(self, entry: str, rows: Any) -> tuple[list[Array], int]:
        if isinstance(rows, slice):
            rows = slice(rows.start + self._start, rows.stop + self._start)
        else:
            rows = rows + self._start
        x, y, weight = (_mapped(value, lambda leaf: rows_of(leaf, rows)) for value in self._data)
        adapter = self._trainer.adapter
        if entry == "predict":
            found: tuple[list[Array], int] = adapter.inputs(x)
        else:
            found = adapter.batch(x, y, weight, self._class_weight if entry == "train" else None)
        return found

    def _runner(self, entry: str) -> Any:
        def run(arrays: Any, order: Array | None, size: int, start: int, stop: int) -> list[Array]:
            results = []
            for first in range(start, stop, size):
                end = min(first + size, stop)
                rows = slice(first, end) if order is None else order[first:end]
                batch, n = self._batch(entry, rows)
                results.append(self._trainer.engines.needed().run(entry, n, batch))
            return joined(results)

        return run


def len_of(leaf: Any) -> int:
    """The number of rows; a sparse matrix has no len."""
    shape = leaf.shape if hasattr(leaf, "shape") else np.shape(leaf)
    return int(shape[0]) if shape else 0

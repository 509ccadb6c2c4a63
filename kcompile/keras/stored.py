"""Data whose rows become arrays batch by batch: they lie in a file, are sparse, or texts.

Enters: an `HDF5Matrix`, a data set of h5py, a `numpy.memmap`, a sparse matrix of scipy, texts; lists and
dicts of these and of arrays. Leaves: `StoredRows`, over which a model is trained, evaluated and predicts as
over rows of arrays. No more than a few batches of them are in memory: the one that is computed, and those
that a thread reads from files meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kcompile.keras import teams
from kcompile.keras.feeding import Rows
from kcompile.keras.step_choice import needs_steps
from kcompile.keras.step_data import packed, weighted
from kcompile.keras.utils.io_utils import HDF5Matrix
from kcompile_runtime.arrays import Array, as_array
from kcompile_runtime.errors import InputError, InputTypeError, describe
from kcompile_runtime.loop import joined

if TYPE_CHECKING:
    from concurrent.futures import Future

READ_AHEAD = 2  # batches
Part = Callable[[int, int], tuple[int, int]]


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


def holds_files(*values: Any) -> bool:
    """Whether any of the arrays of some data lie in files."""
    return any(is_stored(leaf) and not is_sparse(leaf) for value in values for leaf in leaves(value))


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


class Ahead:
    """The rows of a pass, batch by batch, which a thread reads in their order up to `most` batches ahead."""

    def __init__(self, read: Callable[[Any], Any], most: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._read, self._most = read, most
        self._thread = ThreadPoolExecutor(1, "rows")
        self._waiting: deque[tuple[int, Future[Any]]] = deque()  # with the first row of each
        self._order: Array | None = None
        self._next = 0

    def rows(self, order: Array | None, first: int, size: int, stop: int, part: Part) -> Any:
        """The rows of the batch that begins with `first`, of a pass in an order up to `stop`. part: those of
        a batch to read."""
        if not self._waiting or self._order is not order or self._waiting[0][0] != first:  # another pass
            self._forget()
            self._order, self._next = order, first
        while len(self._waiting) <= self._most and self._next < stop:
            rows = rows_from(order, *part(self._next, min(self._next + size, stop)))
            self._waiting.append((self._next, self._thread.submit(self._read, rows)))
            self._next += size
        return self._waiting.popleft()[1].result()

    def _forget(self) -> None:
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()

    def close(self) -> None:
        """End the thread; what it is reading is waited for."""
        self._forget()
        self._thread.shutdown(wait=True)


def rows_from(order: Array | None, first: int, end: int) -> Any:
    """The rows of a batch: a slice, or their numbers."""
    return slice(first, end) if order is None else order[first:end]


class StoredRows(Rows):
    """Rows of stored data: x, y and sample_weight as a user gave them, from `start` to `stop`.

    ahead: how many batches a thread reads ahead of the one that is computed, where there are files to read;
    0 for none. Raises InputError for data of different lengths, and for no samples. `close` must be called
    at the end.
    """

    def __init__(
        self,
        trainer: Any,
        data: tuple[Any, Any, Any],
        class_weight: Any = None,
        start: int = 0,
        stop: int | None = None,
        ahead: int = 0,
    ) -> None:
        self._most = ahead if holds_files(*data) else 0
        self._ahead: Ahead | None = None
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

    def _read(self, rows: Any) -> tuple[Any, Any, Any]:
        """x, y and weights of some rows, as arrays."""
        if isinstance(rows, slice):
            rows = slice(rows.start + self._start, rows.stop + self._start)
        else:
            rows = rows + self._start
        x, y, weight = (_mapped(value, lambda leaf: rows_of(leaf, rows)) for value in self._data)
        return x, y, weight

    def _batch(self, entry: str, rows: Any) -> tuple[list[Array], int]:
        return self._conforming(entry, *self._read(rows))

    def _conforming(self, entry: str, x: Any, y: Any, weight: Any) -> tuple[list[Array], int]:
        trainer, classes = self._trainer, self._class_weight if entry == "train" else None
        if trainer.owns_for(entry, x):
            seen: tuple[list[Array], int] = trainer.model.see(entry, weighted(packed(x, y, weight), classes))
            return seen
        if entry == "predict":
            found: tuple[list[Array], int] = trainer.adapter.inputs(x)
            return found
        found = trainer.adapter.batch(x, y, weight, classes)
        return needs_steps(trainer, entry, (x, y, weight), classes, found)

    def _part(self, entry: str) -> Part:
        """The rows of a batch that this process reads: where others train with it, its own, at least one. All
        where they are texts, which are as long as the longest of the batch."""
        team = None if entry == "predict" or self._trainer.model.varies else teams.team()
        if team is None:
            return lambda first, end: (first, end)

        def own(first: int, end: int) -> tuple[int, int]:
            low, high = team.part(end - first)
            return (first + low, first + high) if low < high else (first, first + 1)

        return own

    def _runner(self, entry: str) -> Any:
        steps, part = self._options["steps"], self._part(entry)

        def run(arrays: Any, order: Array | None, size: int, start: int, stop: int) -> list[Array]:
            results = []
            last = self.count if steps is None else min(steps * size, self.count)
            for first in range(start, stop, size):
                end = min(first + size, stop)
                if self._most:
                    self._ahead = self._ahead or Ahead(self._read, self._most)
                    read = self._ahead.rows(order, first, size, last, part)
                else:
                    read = self._read(rows_from(order, *part(first, end)))
                batch, _ = self._conforming(entry, *read)
                results.append(self._trainer.engines.needed().run(entry, end - first, batch))
            return joined(results)

        return run

    def close(self) -> None:
        """End the thread that reads."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None


def len_of(leaf: Any) -> int:
    """The number of rows; a sparse matrix has no len."""
    shape = leaf.shape if hasattr(leaf, "shape") else np.shape(leaf)
    return int(shape[0]) if shape else 0

"""Data in HDF5 files, read as they are needed: `HDF5Matrix`; a question before a file is overwritten."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile_runtime.checks import check_count, check_path, check_text
from kcompile_runtime.errors import InputError, InputTypeError, describe


class HDF5Matrix:
    """The rows from `start` to `end` of a data set in an HDF5 file, which are read when they are asked for.

    datapath: the path of the file, opened to be read. dataset: the name of the data set in it.
    normalizer: a function that whatever was read goes through. `x[rows]` takes a number, a slice or numbers
    in ascending order; Keras' methods take the object as data, with shuffle="batch" or, slowly, True.
    """

    def __init__(
        self, datapath: Any, dataset: str, start: int = 0, end: int | None = None, normalizer: Any = None
    ) -> None:
        import h5py

        if normalizer is not None and not callable(normalizer):
            raise InputTypeError(describe("HDF5Matrix: normalizer", "a function", repr(normalizer)))
        self.file = h5py.File(check_path("HDF5Matrix: datapath", datapath), "r")
        name = check_text("HDF5Matrix: dataset", dataset)
        if not isinstance(self.file.get(name), h5py.Dataset):
            raise InputError(
                describe(f"HDF5Matrix: dataset of {datapath}", f"one of {list(self.file)}", name)
            )
        self.data = self.file[name]
        rows = len(self.data)
        self.start = check_count("HDF5Matrix: start", start, 0)
        self.end = rows if end is None else check_count("HDF5Matrix: end", end, 0)
        if not self.start <= self.end <= rows:
            raise InputError(
                describe("HDF5Matrix", f"0 <= start <= end <= {rows}", f"start {self.start}, end {self.end}")
            )
        self.normalizer = normalizer
        first = self._read(slice(0, 1))
        self._shape, self._dtype = first.shape[1:], first.dtype

    def _read(self, where: Any) -> Any:
        found = self.data[where]
        return found if self.normalizer is None else self.normalizer(found)

    def __len__(self) -> int:
        return self.end - self.start

    def __getitem__(self, key: Any) -> Any:
        """Rows, after the normalizer. Raises IndexError beyond the last."""
        if isinstance(key, slice):
            first, stop, step = key.indices(len(self))
            if key.stop is not None and key.stop > len(self):
                raise IndexError(f"rows up to {key.stop} of {len(self)}")
            return self._read(slice(self.start + first, self.start + max(first, stop), step))
        rows = np.asarray(key)
        if rows.size and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"rows from {rows.min()} to {rows.max()} of {len(self)}")
        return self._read(int(rows) + self.start if rows.ndim == 0 else (rows + self.start).tolist())

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def dtype(self) -> Any:
        return self._dtype


def ask_to_proceed_with_overwrite(filepath: Any) -> bool:
    """Ask on the terminal whether a file may be overwritten, until the answer is y or n."""
    question = f"{filepath} exists. Overwrite it? [y/n] "
    while True:
        answer = input(question).strip().lower()
        if answer in ("y", "n"):
            return answer == "y"
        question = "Type y to overwrite it, n to keep it: "

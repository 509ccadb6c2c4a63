"""Predictions of an exported model as a function that other processes and machines can be sent.

Enters: the path of a library, and which columns are its inputs. Leaves: a `Predictor`, which takes batches as
engines for large data have them (dicts of arrays, arrays, tables of pandas) and gives batches of the same
kind. What is sent is the path and the digest of the file; a process opens it once, whatever it is sent.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile_runtime.arrays import Array, as_array
from kcompile_runtime.artifact import Artifact
from kcompile_runtime.checks import check_count, check_path, check_text
from kcompile_runtime.contents import read_contents
from kcompile_runtime.errors import ArtifactError, InputError, InputTypeError, describe
from kcompile_runtime.loading import load
from kcompile_runtime.spec import specs_of
from kcompile_runtime.threads import ForkLock, check_threads

_opened: dict[tuple[str, str, int], Artifact] = {}
_lock = ForkLock()


class Predictor:
    """A function of a batch around an exported model; `predictor` makes it, with the same arguments.

    path, batch_size, threads, columns, keep, outputs: as `predictor` takes them. `inputs` and `results` are
    the specs of the model's arrays, digest is the SHA-256 of the file. pickle and copy keep these, and none
    of the code. Raises InputError and whatever else `predictor` does.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        batch_size: int = 32,
        threads: int = 1,
        columns: Mapping[str, str | Sequence[str]] | None = None,
        keep: Sequence[str] | bool = (),
        outputs: Mapping[str, str] | None = None,
    ) -> None:
        self.path = os.path.abspath(check_path("predictor: path", path))
        metadata = read_contents(self.path).metadata
        self.digest = _digest(self.path)
        self.inputs = specs_of(metadata["inputs"])
        self.results = specs_of(metadata["outputs"])
        self.batch_size = check_count("predictor: batch_size", batch_size)
        self.threads = check_threads("predictor: threads", check_count("predictor: threads", threads)) or 1
        names = [spec.name for spec in self.inputs]
        given = _named("columns", columns, names)
        self.columns = {name: _columns_of(name, given.get(name, name)) for name in names}
        self.keep = keep if isinstance(keep, bool) else _texts("predictor: keep", keep)
        names = [spec.name for spec in self.results]
        renamed = _named("outputs", outputs, names)
        self.names = [check_text("predictor: a name of outputs", renamed.get(name, name)) for name in names]
        twice = {n for n in self.names if self.names.count(n) > 1} | ({*self.names} & {*_kept(self.keep)})
        if twice:
            raise InputError(
                describe("predictor: outputs", "a name of its own for each column", ", ".join(sorted(twice)))
            )

    def __repr__(self) -> str:
        return f"Predictor({self.path!r}, batch_size={self.batch_size}, threads={self.threads})"

    @property
    def artifact(self) -> Artifact:
        """The model, opened in this process when it is first asked for. Raises FileNotFoundError;
        ArtifactError for what `load` refuses, and for another file than the predictor was made of."""
        key = (self.path, self.digest, self.threads)
        found = _opened.get(key)
        if found is None:
            with _lock:
                found = _opened.get(key) or self._open()
                _opened[key] = found
        return found

    def _open(self) -> Artifact:
        if _digest(self.path) != self.digest:
            raise ArtifactError(
                f"{self.path}: another file than the predictor was made of. Give every machine the same file"
            )
        return load(self.path, self.threads)

    def __call__(self, batch: Any) -> Any:
        """The outputs for all rows of a batch, computed `batch_size` at a time.

        batch: a dict (any Mapping) of arrays by column, whose rows are samples: of it a dict of arrays comes,
        the columns that are kept and then an array of each output. A table of pandas: of it a table with the
        same index, in which an output of several numbers has a column for each, NAME_0, NAME_1, ... Or an
        array, or a list of arrays in the order of the inputs: of these what `Artifact.predict` gives. Columns
        of objects, as readers give lists, are stacked. Raises InputError and InputTypeError for columns that
        are missing or do not fit, and what `artifact` raises.
        """
        if _is_table(batch):
            return self._of_table(batch)
        if isinstance(batch, Mapping):
            return self._of_columns(batch)
        return self.artifact.predict(batch, self.batch_size)

    def _of_columns(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that are kept, as they are, and the outputs."""
        kept = [*batch] if self.keep is True else [*_kept(self.keep)]
        clash = {*kept} & {*self.names}
        if clash:
            raise InputError(
                describe(
                    "predictor: outputs",
                    "names that no kept column has",
                    ", ".join(sorted(clash)),
                    "Say outputs={...} to rename them.",
                )
            )
        found = {name: _column(batch, name) for name in kept}
        arrays = [self._input(batch, spec) for spec in self.inputs]
        rows = len(arrays[0]) if arrays else 0
        if not rows and all(len(a) == 0 for a in arrays):
            outputs = [np.empty((0, *spec.bind(1)[1:]), spec.numpy_dtype) for spec in self.results]
        else:
            given = self.artifact.predict(arrays if len(arrays) > 1 else arrays[0], self.batch_size)
            outputs = given if isinstance(given, list) else [given]
        for name, array in zip(self.names, outputs):
            if array.ndim == 0 or len(array) != rows:
                raise InputError(
                    describe(
                        f"predictor: output {name!r}", f"{rows} rows, one a sample", f"shape {array.shape}"
                    )
                )
            found[name] = array
        return found

    def _input(self, batch: Mapping[str, Any], spec: Any) -> Array:
        source = self.columns[spec.name]
        if isinstance(source, str):
            return _numbers(_column(batch, source), source)
        return np.stack([_numbers(_column(batch, name), name) for name in source], axis=-1)

    def _of_table(self, table: Any) -> Any:
        """The same for a table of pandas, of which nothing is imported."""
        arrays = self._of_columns({str(name): table[name].to_numpy() for name in table.columns})
        flat: dict[str, Any] = {}
        for name, array in arrays.items():
            if name not in self.names or array.ndim == 1:
                flat[name] = array
                continue
            rows = array.reshape(len(array), -1)
            several = rows.shape[1] != 1
            flat.update({f"{name}_{k}" if several else name: rows[:, k] for k in range(rows.shape[1])})
        return type(table)(flat, index=table.index)


def predictor(
    path: str | os.PathLike[str],
    batch_size: int = 32,
    threads: int = 1,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    keep: Sequence[str] | bool = (),
    outputs: Mapping[str, str] | None = None,
) -> Predictor:
    """A function of a batch around an exported model, for engines that predict in many processes: Ray Data,
    Dask, a pool of processes. Of a dict of arrays it gives a dict of arrays (see `Predictor`).

    path: of the library, which every machine finds there. Pickled, the function is the path and the digest of
    the file, and each process opens it once. batch_size: how many rows are computed at once. threads: of each
    process, 1 where there are as many processes as processors. columns: by the name of an input its column,
    or the names of columns of numbers that are stacked along the last axis; default: the input's own name.
    keep: the columns of a batch that come out with the outputs (True: all of them). outputs: by the name of
    an output the column to write, default the output's own name. Raises FileNotFoundError; ArtifactError for
    a file that is no artifact; InputError and InputTypeError for arguments that do not fit the model.
    """
    return Predictor(path, batch_size, threads, columns, keep, outputs)


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        found = hashlib.sha256()
        while part := file.read(2**20):
            found.update(part)
    return found.hexdigest()


def _kept(keep: bool | tuple[str, ...]) -> tuple[str, ...]:
    return () if isinstance(keep, bool) else keep


def _texts(name: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InputTypeError(describe(name, "a list of names of columns", repr(given)))
    return tuple(check_text(name, part) for part in given)


def _named(argument: str, given: Any, names: Sequence[str]) -> Mapping[str, Any]:
    """What was given by name. Raises InputError for names that the model has not."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InputTypeError(describe(f"predictor: {argument}", "a dict by name", repr(given)))
    unknown = sorted(map(repr, {*given} - {*names}))
    if unknown:
        raise InputError(describe(f"predictor: {argument}", f"keys among {list(names)}", ", ".join(unknown)))
    return given


def _columns_of(name: str, source: Any) -> str | tuple[str, ...]:
    if isinstance(source, str):
        return source
    found = _texts(f"predictor: columns of {name!r}", source)
    if not found:
        raise InputError(describe(f"predictor: columns of {name!r}", "at least one column", "none"))
    return found


def _is_table(batch: Any) -> bool:
    return hasattr(batch, "columns") and hasattr(batch, "index") and not isinstance(batch, Mapping)


def _column(batch: Mapping[str, Any], name: str) -> Any:
    try:
        return batch[name]
    except KeyError:
        raise InputError(
            describe(
                "predictor",
                f"a column {name!r}",
                f"columns {sorted(map(str, batch))}",
                "Say columns={INPUT: COLUMN} where it has another name.",
            )
        ) from None


def _numbers(column: Any, name: str) -> Array:
    """A column as an array of numbers; rows that are objects are stacked. Raises InputError for rows of
    unequal shapes."""
    if isinstance(column, np.ndarray) and column.dtype == object and column.size:
        rows = [_numbers(row, name) for row in column]
        shapes = sorted({row.shape for row in rows})
        if len(shapes) > 1:
            got = f"rows of shapes {shapes[0]} and {shapes[1]}"
            raise InputError(describe(f"predictor: column {name!r}", "rows of one shape", got))
        return np.stack(rows)
    if isinstance(column, np.ndarray) and column.dtype == object:
        return np.empty(0, np.float32)
    return as_array(column, f"predictor: column {name!r}")

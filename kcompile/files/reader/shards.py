"""Weights that Keras 3 cut into several files: an index in JSON, `NAME.weights.json`, and beside it the
shards, HDF5 files called `NAME_00000.weights.h5`, `NAME_00001.weights.h5`, ...

Enters: the path of the index. Leaves: one `Hdf5` that stands for all shards together. The index says in
which shards each group has its arrays (`weight_map`); index and shards must agree in everything.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kcompile.files.reader import limits
from kcompile.files.reader.hdf5 import Hdf5, Stored
from kcompile.files.reader.json_texts import read_json
from kcompile.files.reader.limits import PathLike, bad
from kcompile.files.reader.opening import open_hdf5

SUFFIX = ".weights.json"
_SHARD = re.compile(r"[^/\\:\0]+_[0-9]{5,9}\.weights\.h5")


def is_index(path: PathLike) -> bool:
    """Whether a path is that of an index of shards, by its name."""
    return str(path).endswith(SUFFIX)


@contextmanager
def open_shards(path: PathLike, isolated: bool = False) -> Iterator[Hdf5]:
    """The shards of an index, checked whole. isolated: by other processes. Raises ModelError, OSError;
    warns of shards that the index does not name."""
    index = Path(path)
    placed = _weight_map(index, read_json(index))
    names = sorted({name for found in placed.values() for name in found})
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise bad(index, f"its {len(names)} shards beside it", f"none called {_some(missing)}")
    if len(names) > limits.MAX_SHARDS:
        raise bad(index, f"at most {limits.MAX_SHARDS} shards", str(len(names)))
    _warn_of_others(index, names)
    with ExitStack() as stack:
        yield _joined(
            index,
            placed,
            {name: stack.enter_context(open_hdf5(index.parent / name, isolated)) for name in names},
        )


def _weight_map(index: Path, value: Any) -> dict[str, tuple[str, ...]]:
    """The names of the shards of each group, which are names and lead nowhere."""
    given = value.get("weight_map") if isinstance(value, Mapping) else None
    if not isinstance(given, Mapping):
        raise bad(index, "an index of shards, with a weight_map", type(value).__name__)
    placed = {}
    for group, names in given.items():
        listed = tuple(names) if isinstance(names, list) else (names,)
        for name in listed:
            if not (isinstance(name, str) and _SHARD.fullmatch(name)):
                raise bad(index, "shards called NAME_00000.weights.h5, beside the index", repr(name)[:200])
        if not listed or len(set(listed)) < len(listed):
            raise bad(index, "shards of a name of their own", f"{names!r}"[:200] + f" for {group!r}")
        placed[group.strip("/")] = listed
    if len(placed) < len(given):
        raise bad(index, "each group once", "groups whose names differ by a slash alone")
    return placed


def _warn_of_others(index: Path, names: list[str]) -> None:
    """Shards of the same name are not read when the index is silent about them."""
    base = re.escape(index.name.removesuffix(SUFFIX))
    others = sorted(
        file.name
        for file in index.parent.iterdir()
        if file.name not in names and re.fullmatch(rf"{base}_[0-9]{{5,9}}\.weights\.h5", file.name)
    )
    if others and names:
        warnings.warn(
            f"{index}: shards that the index does not name are not read: {_some(others)}", stacklevel=6
        )


def _joined(index: Path, placed: Mapping[str, tuple[str, ...]], files: Mapping[str, Hdf5]) -> Hdf5:
    """All shards as one file. Raises ModelError where index and shards disagree."""
    attributes: dict[str, dict[str, Any]] = {}
    datasets: dict[str, Stored] = {}
    homes: dict[str, Hdf5] = {}
    for name, file in files.items():
        for path, found in file.attributes.items():
            attributes.setdefault(path, found)
        for path, stored in file.datasets.items():
            if path in datasets:
                raise bad(index, "each array in one shard", f"{path!r} in {homes[path].name} and {name}")
            if name not in placed.get(path.rpartition("/")[0], ()):
                raise bad(index, f"the shard of {path!r} in the index", f"none, and it is in {name}")
            datasets[path], homes[path] = stored, file
    filled = {(path.rpartition("/")[0], file.name) for path, file in homes.items()}
    for group, names in placed.items():
        for name in names:
            if (group, files[name].name) not in filled:
                raise bad(index, f"arrays of {group!r} in {name}, as the index says", "none")
    size = sum(stored.size * stored.dtype.itemsize for stored in datasets.values())
    if size > limits.MAX_ARRAYS:
        raise bad(index, f"at most {limits.MAX_ARRAYS} bytes of arrays", f"{size} bytes")

    def values(path: str) -> np.ndarray:
        return homes[path].read(path)

    return Hdf5(str(index), attributes, datasets, values)


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")

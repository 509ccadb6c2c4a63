"""A group of an HDF5 file, or a dict, under one interface: what Keras 2 serializes models into.

Enters: a path, a group of h5py, or a dict. Leaves: an object over it, in which arrays are data sets, other
values attributes, and a name that is not there yet is a new group.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kcompile_runtime.errors import InputError, InputTypeError, describe

LIMIT = 64512  # bytes of an attribute of HDF5
GROUP = "_is_group"  # marks a dict that stands for a group


def in_parts(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Attributes that hold an array: one, or as many as it takes, with numbers behind the name."""
    parts = 1
    while any(part.nbytes > LIMIT for part in np.array_split(values, parts)):
        parts += 1
    return {name if parts == 1 else f"{name}{i}": x for i, x in enumerate(np.array_split(values, parts))}


class H5Dict:
    """`path`: of a file, which is opened in this mode; a group of h5py; or a dict, in which arrays are kept
    as they are."""

    def __init__(self, path: Any, mode: str = "a") -> None:
        import h5py

        self._is_file = isinstance(path, str)
        if isinstance(path, str):
            path = h5py.File(path, mode=mode)
        elif isinstance(path, dict):
            if mode == "w":
                path.clear()
            path[GROUP] = True
        elif not isinstance(path, h5py.Group):
            raise InputTypeError(
                describe("h5dict", "a path, a group of h5py, or a dict", type(path).__name__)
            )
        self.data = path
        self.read_only = mode == "r"

    @property
    def _attributes(self) -> Any:
        return self.data if isinstance(self.data, dict) else self.data.attrs

    def __setitem__(self, name: Any, value: Any) -> None:
        if self.read_only:
            raise InputError(f"h5dict: {name!r} cannot be set in read only mode")
        array = isinstance(value, (np.ndarray, np.generic))
        if isinstance(self.data, dict):
            name = _text(name)
            self.data[name] = np.array(value)[()] if array else value
        elif name in self.data:
            raise KeyError(f"h5dict: there is a group or an array {name!r} already")
        elif array:
            self.data.create_dataset(name, data=value)
        elif isinstance(value, list):
            self._set_list(name, value)
        else:
            self.data.attrs[name] = value

    def _set_list(self, name: Any, value: list[Any]) -> None:
        """A list that is too long for an attribute is in several, with numbers behind their names."""
        values = [x.encode() if isinstance(x, str) else x for x in value]
        if long := [x for x in values if isinstance(x, bytes) and len(x) > LIMIT]:
            raise RuntimeError(f"h5dict: {name!r}: no attribute of HDF5 holds {len(long[0])} bytes")
        self.data.attrs.update(in_parts(_text(name), np.asarray(values)))

    def __getitem__(self, name: Any) -> Any:
        name = _text(name)
        known = self._attributes
        if isinstance(self.data, dict) and name in known:
            value = known[name]
            return H5Dict(value) if isinstance(value, dict) and value.get(GROUP) else value
        if name in known:
            value = known[name]
            return value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind == "S" else value
        if name in self.data:
            value = self.data[name]
            return np.asarray(value) if hasattr(value, "dtype") else H5Dict(value)
        if f"{name}0" in known:
            return self._chunks(name)
        if self.read_only:
            raise InputError(f"h5dict: there is no {name!r}, and no group is made in read only mode")
        if isinstance(self.data, dict):
            self.data[name] = {GROUP: True}
            return H5Dict(self.data[name])
        return H5Dict(self.data.create_group(name))

    def _chunks(self, name: str) -> list[Any]:
        found: list[Any] = []
        number = 0
        while f"{name}{number}" in self._attributes:
            found += [x.decode() if isinstance(x, bytes) else x for x in self._attributes[f"{name}{number}"]]
            number += 1
        return found

    def __contains__(self, name: Any) -> bool:
        return name in self.data or name in self._attributes

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.data)

    def iter(self) -> Iterator[Any]:
        return iter(self.data)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "data":
            raise AttributeError(name)
        return getattr(self.data, name)  # keys, items, values, ...

    def get(self, name: Any, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401

    def update(self, *given: Any) -> None:
        """Of a dict alone."""
        if not isinstance(self.data, dict):
            raise NotImplementedError("h5dict: update is of dicts, and not of groups of HDF5")
        self.data.update(*given)

    def close(self) -> None:
        if not isinstance(self.data, dict):
            self.data.file.flush()
            if self._is_file:
                self.data.close()


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


h5dict = H5Dict

"""HDF5 files of which every object is checked before any is used.

Enters: a path or an open file. Leaves: `Hdf5`: attributes, shapes and dtypes of everything in it, and
arrays one by one. What leads out of the file (links, external and virtual storage, references) or
needs code (filters) is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

import numpy as np

from kcompile.files.reader import limits
from kcompile.files.reader.heaps import check_heaps
from kcompile.files.reader.limits import bad, damaged
from kcompile.files.reader.trees import check_trees
from kcompile_runtime.errors import KcompileError


@dataclass(frozen=True)
class Stored:
    """The shape and dtype of a dataset, as an HDF5 file says them."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Hdf5:
    """A checked HDF5 file, or arrays in the form of one.

    attributes: of each group by its path ("" the root): text, lists of text, integers. datasets: by
    path. values: gives those of a dataset.
    """

    name: str
    attributes: dict[str, dict[str, Any]]
    datasets: dict[str, Stored]
    values: Callable[[str], np.ndarray]

    def names(self, group: str, attribute: str) -> list[str] | None:
        """A list of text, which Keras cuts in parts (layer_names0, ...) when it is long."""
        found = self.attributes.get(group, {})
        if attribute in found:
            parts = [found[attribute]]
        else:
            parts = []
            while f"{attribute}{len(parts)}" in found:
                parts.append(found[f"{attribute}{len(parts)}"])
            if not parts:
                return None
        values = [value for part in parts for value in (part if isinstance(part, list) else [part])]
        if not all(isinstance(value, str) for value in values):
            raise damaged(self.name, f"{attribute} of {group or '/'} is no list of names")
        return values

    def text(self, group: str, attribute: str) -> str | None:
        value = self.attributes.get(group, {}).get(attribute)
        return value if isinstance(value, str) else None

    @cached_property
    def filled(self) -> set[str]:
        """The groups with weights below them; states of random generators are none."""
        return {
            path[:at]
            for path in self.datasets
            if "seed_generator" not in path
            for at, c in enumerate(path)
            if c == "/"
        }

    def inside(self, group: str) -> list[str]:
        """The paths of all datasets below a group."""
        return [path for path in self.datasets if path.startswith(f"{group}/" if group else "")]

    def read(self, path: str) -> np.ndarray:
        """The values of a dataset, whose size the caller has compared with what it expects."""
        values, stored = self.values(path), self.datasets[path]
        if values.shape != stored.shape or values.dtype != stored.dtype:
            raise damaged(self.name, f"the dataset {path!r} changed its shape or type")
        return values


@contextmanager
def open_here(stream: IO[bytes], name: str) -> Iterator[Hdf5]:
    """An HDF5 file that is open already, checked whole, read by this process. name: for messages. Raises
    ModelError."""
    import h5py

    check_heaps(stream, name)
    check_trees(stream, name)
    with _errors(name):
        file = h5py.File(stream, "r")

    def values(path: str) -> np.ndarray:
        with _errors(name):
            return _numbers(np.asarray(file[path][()]))

    try:
        checked = Hdf5(name, {}, {}, values)
        with _errors(name):
            _walk(checked, file)
        yield checked
    finally:
        file.close()


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Turn the many kinds of errors by which h5py reports damage into one."""
    try:
        yield
    except KcompileError:
        raise
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        OverflowError,
        MemoryError,
        AttributeError,
        AssertionError,
        EOFError,
    ) as error:
        raise damaged(name, error) from error


def _walk(checked: Hdf5, file: Any) -> None:
    """Visit every object through its links; none but hard links, to groups and plain datasets."""
    import h5py

    room = min(limits.MAX_TEXT, file.id.get_filesize())  # attributes are not compressed
    seen: set[Any] = set()
    waiting = [("", file.id)]
    while waiting:
        path, group = waiting.pop()
        info = h5py.h5o.get_info(group)
        if (info.fileno, info.addr) in seen:
            raise bad(checked.name, "a tree of groups", f"a second way to the group {path!r}")
        seen.add((info.fileno, info.addr))
        checked.attributes[path] = _attributes(checked.name, path, group, room)
        names: list[bytes] = []
        group.links.iterate(names.append)
        if len(seen) + len(checked.datasets) + len(names) > limits.MAX_OBJECTS:
            raise bad(checked.name, f"at most {limits.MAX_OBJECTS} objects", "more")
        for raw in names:
            try:
                name = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise damaged(checked.name, f"a name in {path or '/'} is not UTF-8") from error
            below = f"{path}/{name}" if path else name
            if below.count("/") > limits.MAX_DEPTH:
                raise bad(checked.name, f"groups nested at most {limits.MAX_DEPTH} deep", "deeper")
            if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                raise bad(
                    checked.name,
                    "objects of this file alone",
                    f"{below!r}, a soft or external link, which is not followed",
                )
            found = h5py.h5o.open(group, raw)
            if isinstance(found, h5py.h5g.GroupID):
                waiting.append((below, found))
            elif isinstance(found, h5py.h5d.DatasetID):
                checked.datasets[below] = _stored(checked.name, below, found)
            else:
                raise bad(checked.name, "groups and datasets", f"{below!r}, a named datatype")


def _stored(name: str, path: str, dataset: Any) -> Stored:
    """Shape and dtype of a dataset whose bytes are all in this file, behind known filters."""
    import h5py

    plist = dataset.get_create_plist()
    if plist.get_external_count():
        raise bad(name, "data in this file alone", f"{path!r}, which is stored in other files")
    if plist.get_layout() not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
        raise bad(name, "data in this file alone", f"{path!r}, a virtual dataset")
    known = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)
    for number in range(plist.get_nfilters()):
        if (code := plist.get_filter(number)[0]) not in known:
            raise bad(name, "the filters gzip, shuffle, fletcher32", f"{path!r} with filter {code}")
    type_ = dataset.get_type()
    half = type_.get_class() == h5py.h5t.OPAQUE and type_.get_size() == 2
    if not half and type_.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) and not _is_bool(type_):
        raise bad(name, "datasets of numbers", f"{path!r} of another type")
    dtype = np.dtype(np.float32) if half else type_.dtype
    shape = tuple(map(int, dataset.shape))
    if dtype.itemsize > 8 or dtype.kind not in "fiub":
        raise bad(name, "numbers of at most 64 bits", f"{path!r} of dtype {dtype}")
    if math.prod(shape) >= 2**62 or any(d < 0 for d in shape):
        raise bad(name, "sizes that can be counted", f"{path!r} of shape {shape}")
    if plist.get_layout() == h5py.h5d.CHUNKED:
        chunk = math.prod(plist.get_chunk()) * dtype.itemsize
        if chunk > max(math.prod(shape) * dtype.itemsize, limits.CHUNK):
            raise bad(name, "chunks no larger than the data", f"{path!r} with chunks of {chunk} bytes")
    return Stored(shape, dtype)


def _numbers(values: np.ndarray) -> np.ndarray:
    """Values as numbers: Keras 3 writes bfloat16, the upper half of a float32, as two bytes that HDF5 has no
    type for."""
    if values.dtype.kind != "V":
        return values
    return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _is_bool(type_: Any) -> bool:
    import h5py

    return bool(type_.get_class() == h5py.h5t.ENUM and type_.dtype.kind == "b")


def _attributes(name: str, path: str, group: Any, room: int) -> dict[str, Any]:
    """The attributes of a group: text, lists of text, numbers. room: bytes that one may take."""
    import h5py

    found: dict[str, Any] = {}
    if h5py.h5a.get_num_attrs(group) > 10_000:
        raise bad(name, "fewer attributes", f"more than 10000 of {path or '/'}")
    keys: list[bytes] = []
    h5py.h5a.iterate(group, keys.append)
    for key in keys:
        attribute = h5py.h5a.open(group, key)
        allowed = (h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT)
        if attribute.get_type().get_class() not in allowed and not _is_bool(attribute.get_type()):
            raise bad(
                name,
                "attributes of text and numbers",
                f"{key!r} of {path or '/'}, a reference or another type",
            )
        none = attribute.get_space().get_simple_extent_type() == h5py.h5s.NULL
        count = 0 if none else math.prod(attribute.shape)
        if count * attribute.get_type().get_size() > room:
            raise bad(name, f"attributes of at most {room} bytes", f"{key!r} of {path or '/'}")
        if count == 0:
            found[key.decode("utf-8")] = []
        else:
            found[key.decode("utf-8")] = _plain(_raw(attribute))
    return found


def _raw(attribute: Any) -> np.ndarray:
    """Values as the file has them: text as bytes, whatever its length and padding."""
    import h5py

    type_ = attribute.get_type()
    if type_.get_class() == h5py.h5t.STRING and type_.is_variable_str():
        values = np.empty(attribute.shape, dtype=h5py.string_dtype("ascii"))
    else:
        values = np.empty(attribute.shape, dtype=attribute.dtype)
    attribute.read(values, mtype=h5py.h5t.py_create(values.dtype))
    return values


def _plain(values: np.ndarray) -> Any:
    """Text and lists of text, numbers and lists of numbers."""

    def one(value: Any) -> Any:
        if isinstance(value, str):
            return value
        return value.decode("utf-8") if isinstance(value, bytes) else value

    flat = [one(value) for value in values.ravel().tolist()]
    return flat[0] if values.ndim == 0 else flat

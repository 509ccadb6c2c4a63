"""The one module that opens model files. Data only: nothing in a file is run, imported or followed.

Enters: a path. Leaves: parsed JSON or YAML, arrays, a checked .keras archive, a checked HDF5 file.
Whatever is wrong with a file raises ModelError: another type is named for what it is, a file that
cannot be read to its end is damaged, and what could lead out of the file (links, external storage,
references, YAML tags) or blow it up (sizes, depth, aliases) is refused before it is followed.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from kcompile_runtime.errors import KcompileError, ModelError, describe

PathLike = str | os.PathLike[str]

MAX_TEXT = 64 * 1024 * 1024  # bytes of a configuration
MAX_DEPTH = 100
MAX_NODES = 2_000_000  # values in a YAML file
MAX_DIGITS = 18
MAX_OBJECTS = 200_000  # groups and datasets of an HDF5 file
MAX_ARRAYS = 4 * 1024**3  # bytes of all weights of a model
CHUNK = 1024 * 1024


def _bad(name: PathLike, expected: str, received: str, remedy: str = "") -> ModelError:
    return ModelError(describe(str(name), expected, received, remedy))


def _damaged(name: PathLike, why: object) -> ModelError:
    text = " ".join(str(why).split())[:300] or type(why).__name__
    return ModelError(f"{name}: the file is damaged: {text}")


# ---------------------------------------------------------------- what a file is

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SIGNATURES = (
    (HDF5_SIGNATURE, "hdf5"), (b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"),
    (b"version https://git-lfs.github.com/spec", "a git-LFS pointer, not the file itself. Fetch it "
     "with `git lfs pull`"), (b"\x1f\x8b", "a gzip file. Unpack it first"),
    (b"\x93NUMPY", "a .npy array"), (b"BZh", "a bzip2 file. Unpack it first"),
    (b"\x80\x02", "a Python pickle, which is never loaded"),
    (b"\x80\x03", "a Python pickle, which is never loaded"),
    (b"\x80\x04", "a Python pickle, which is never loaded"),
    (b"\x80\x05", "a Python pickle, which is never loaded"))


def kind_of(path: PathLike) -> str:
    """"hdf5", "zip", "text", or in words what else the file is. Raises OSError."""
    file = Path(path)
    if file.is_dir():
        return "a folder. A SavedModel is not read: save the model as .keras or .h5"
    with file.open("rb") as stream:
        start = stream.read(4096)
        if not start:
            return "an empty file"
        for signature, kind in _SIGNATURES:
            if start.startswith(signature):
                return kind
        offset = 512  # HDF5 may stand behind a user block of 512, 1024, 2048, ... bytes
        while stream.seek(offset) == offset and (found := stream.read(8)):
            if found == HDF5_SIGNATURE:
                return "hdf5"
            offset *= 2
    head = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "an HTML page. Download the file itself"
    return "an unknown binary file" if b"\0" in start else "text"


_NAMES = {"hdf5": "an HDF5 file (.h5)", "zip": "a zip archive (.keras)", "text": "a text file"}


def check_kind(path: PathLike, expected: str) -> None:
    """Raises ModelError, saying what the file is, unless it is of the expected kind."""
    found = kind_of(path)
    if found != expected:
        raise _bad(path, _NAMES[expected], _NAMES.get(found, found))


def read_text(path: PathLike) -> str:
    """The text of a configuration file. Raises ModelError, OSError."""
    check_kind(path, "text")
    file = Path(path)
    size = file.stat().st_size
    if size > MAX_TEXT:
        raise _bad(file, f"at most {MAX_TEXT} bytes", f"{size} bytes")
    return _decoded(file.read_bytes(), file)


def _decoded(data: bytes, name: PathLike) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad(name, "text in UTF-8", "other bytes") from error


# ---------------------------------------------------------------- JSON


def read_json(path: PathLike) -> Any:
    """The value in a JSON file. Raises ModelError naming what is wrong, OSError."""
    return parse_json(read_text(path), str(path))


def parse_json(text: str | bytes, name: str) -> Any:
    """The value of a JSON text. Refuses NaN, infinities, duplicate keys, integers of more than 18
    digits and nesting beyond 100. Raises ModelError."""
    if len(text) > MAX_TEXT:
        raise _bad(name, f"at most {MAX_TEXT} bytes of JSON", f"{len(text)}")
    if isinstance(text, bytes):
        text = _decoded(text, name)
    if _depth(text) > MAX_DEPTH:
        raise _bad(name, f"JSON nested at most {MAX_DEPTH} deep", "deeper")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse,
                           parse_int=_integer, parse_float=_number)
        json.dumps(value, ensure_ascii=False).encode()  # no halves of surrogate pairs in names
    except ValueError as error:
        start = text.lstrip()[:40].splitlines()[:1] or ["nothing"]
        raise _bad(name, "JSON", f"{start[0]!r}, not JSON: {error}") from error
    return value


_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)


def _depth(text: str) -> int:
    """How deep brackets nest outside strings: json.loads would recurse so deep."""
    deepest = depth = 0
    for found in _BRACKET.finditer(text):
        first = found.group()[0]
        if first in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in "]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [k for k, _ in pairs]
        raise ValueError(f"duplicate key {next(k for k in names if names.count(k) > 1)!r}")
    return result


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON")


def _integer(text: str) -> int:
    if len(text.lstrip("+-")) > MAX_DIGITS:
        raise ValueError("an integer out of range")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


# ---------------------------------------------------------------- YAML

_TUPLE = "tag:yaml.org,2002:python/tuple"  # Keras 1 and 2 wrote tuples, and Python 2's text, so
_TEXT_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:python/unicode", "!")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
# Octal, hexadecimal, binary, with underscores, of base 60, or a date, for some YAML versions
_DOUBTFUL = re.compile(r"[-+]?0[0-9_]+|[-+]?0[xob][0-9a-fA-F_]+|[-+]?[0-9.]*[0-9][0-9_.]*_[0-9_.eE+-]*|"
                       r"[-+]?[0-9_]+(:[0-9]{1,2})+(\.[0-9_]*)?|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*|"
                       r"(?i:yes|no|on|off|[-+]?\.(nan|inf))|<<|=")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True,
          "TRUE": True, "false": False, "False": False, "FALSE": False}


def read_yaml(path: PathLike) -> Any:
    """The value in a YAML file. Raises ModelError naming what is wrong, OSError."""
    return parse_yaml(read_text(path), str(path))


def parse_yaml(text: str, name: str) -> Any:
    """The value of a YAML text, which may hold what JSON may hold.

    Tags are refused but for Keras' own `!!python/tuple`, a list; aliases but for those to such a
    tuple. Plain words that YAML versions read differently (no, 010, 1_000, 1:30) are refused, 1e-3 is
    a number. Raises ModelError.
    """
    import yaml

    if len(text) > MAX_TEXT:
        raise _bad(name, f"at most {MAX_TEXT} bytes of YAML", f"{len(text)}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        value = _from_events(yaml.parse(text, Loader=loader))
        json.dumps(value, ensure_ascii=False).encode()
        return value
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _bad(name, "YAML of plain values", " ".join(str(error).split())[:300]) from error


def _from_events(events: Iterator[Any]) -> Any:
    """The value of a stream of YAML events. Without recursion; raises ValueError."""
    import yaml

    root: list[Any] = []
    stack: list[tuple[list[Any], Any]] = [(root, None)]  # children of open nodes, their start events
    anchors: dict[str, list[Any]] = {}
    count = 0
    for event in events:
        count += 1
        if count > MAX_NODES or len(stack) > MAX_DEPTH:
            raise ValueError("too many values, or nested too deep")
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise ValueError(f"the alias *{event.anchor}. Write the value itself")
            value = list(anchors[event.anchor])
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            _check_tag(event)
            stack.append(([], event))
            continue
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            children, start = stack.pop()
            value = children
            if isinstance(start, yaml.MappingStartEvent):
                value = _mapping(children)
            elif start.anchor and start.tag == _TUPLE and len(children) <= 16 and not any(
                    isinstance(child, (list, dict)) for child in children):
                anchors[start.anchor] = children
        else:
            continue
        stack[-1][0].append(value)
    if len(root) != 1:
        raise ValueError(f"{len(root)} documents")
    return root[0]


def _check_tag(event: Any) -> None:
    plain = ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map", "!")
    if event.tag is not None and event.tag not in plain and not (
            event.tag == _TUPLE and type(event).__name__ == "SequenceStartEvent"):
        raise ValueError(f"the tag {event.tag!r}. Tags are not read")


def _mapping(children: list[Any]) -> dict[str, Any]:
    keys = children[::2]
    if not all(isinstance(key, str) for key in keys):
        raise ValueError("a key that is not text")
    return _unique(list(zip(keys, children[1::2])))


def _scalar(event: Any) -> Any:
    """Text, a number, true, false or null: the same in all YAML versions, or an error."""
    text = event.value
    if event.tag is not None and event.tag not in _TEXT_TAGS:
        raise ValueError(f"the tag {event.tag!r}. Tags are not read")
    if event.tag in _TEXT_TAGS or event.style in ("'", '"', "|", ">"):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _number(text)
    if _DOUBTFUL.fullmatch(text):
        raise ValueError(f"{text!r}, which YAML versions read differently. Quote it, or write true, "
                         "false or a plain number")
    return text


# ---------------------------------------------------------------- zip


@contextmanager
def _archive(path: PathLike) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except KcompileError:
        raise
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, NotImplementedError, EOFError,
            RuntimeError, ValueError, OSError, OverflowError, MemoryError, KeyError) as error:
        raise _damaged(path, error) from error


def _members(archive: zipfile.ZipFile, path: PathLike, limit: int) -> dict[str, zipfile.ZipInfo]:
    """The members of an archive by name. Refuses what no writer of models makes."""
    members: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for member in archive.infolist():
        name = member.filename
        parts = name.replace("\\", "/").split("/")
        if name in members:
            raise _bad(path, "members with names of their own", f"two called {name!r}")
        if name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
            raise _bad(path, "names inside the archive", f"the member {name!r}")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise _bad(path, "plain files", f"the symbolic link {name!r}")
        if member.flag_bits & 0x1:
            raise _bad(path, "members that are not encrypted", f"the encrypted {name!r}")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _bad(path, "members stored or deflated", f"compression {member.compress_type}")
        members[name] = member
        total += member.file_size
        if total > limit:
            raise _bad(path, f"at most {limit} bytes unpacked", f"{total} bytes or more")
    return members


def _stream(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: PathLike, limit: int,
            write: Callable[[bytes], Any]) -> None:
    """Unpack a member piece by piece; sizes that an archive declares may lie."""
    size = 0
    with archive.open(member) as source:
        while piece := source.read(CHUNK):
            size += len(piece)
            if size > limit:
                raise _bad(path, f"at most {limit} bytes in {member.filename!r}", "more")
            write(piece)
    if size != member.file_size:
        raise _damaged(path, f"{member.filename!r} has {size} bytes, not {member.file_size}")


@dataclass(frozen=True)
class KerasArchive:
    """A .keras file: its configuration and metadata, and its weights as an open HDF5 file."""

    config: Any
    metadata: Any
    weights: Hdf5


@contextmanager
def open_keras(path: PathLike) -> Iterator[KerasArchive]:
    """A .keras archive (TF 2.12 to 2.15, Keras 3). Raises ModelError, OSError."""
    check_kind(path, "zip")
    with _archive(path) as archive, tempfile.TemporaryFile() as unpacked:
        members = _members(archive, path, MAX_ARRAYS + 2 * MAX_TEXT)
        wanted = ("metadata.json", "config.json", "model.weights.h5")
        if missing := [name for name in wanted if name not in members]:
            raise _bad(path, "a .keras archive with " + ", ".join(wanted),
                       f"one without {', '.join(missing)}")
        if extra := [name for name in members if name not in wanted
                     and not (name.startswith("assets/") and name.endswith("/"))]:
            raise _bad(path, "no members but " + ", ".join(wanted), ", ".join(map(repr, extra[:5])))
        texts = []
        for name in wanted[:2]:
            data = bytearray()
            _stream(archive, members[name], path, MAX_TEXT, data.extend)
            texts.append(parse_json(bytes(data), f"{path}: {name}"))
        _stream(archive, members[wanted[2]], path, MAX_ARRAYS, unpacked.write)
        unpacked.seek(0)
        if unpacked.read(8) != HDF5_SIGNATURE:
            raise _bad(path, f"HDF5 in {wanted[2]}", "other data")
        unpacked.seek(0)
        with _hdf5(unpacked, f"{path}: {wanted[2]}") as weights:
            yield KerasArchive(texts[1], texts[0], weights)


# ---------------------------------------------------------------- npz


def read_arrays(path: PathLike) -> list[np.ndarray]:
    """The arrays of an .npz file as `numpy.savez(path, *arrays)` wrote them, in that order."""
    check_kind(path, "zip")
    with _archive(path) as archive:
        members = _members(archive, path, MAX_ARRAYS)
        expected = [f"arr_{i}.npy" for i in range(len(members))]
        if sorted(members) != sorted(expected):
            raise _bad(path, "the members arr_0, arr_1, ... of numpy.savez(path, *weights)",
                       ", ".join(map(repr, list(members)[:5])) or "none")
        return [_read_npy(archive, members[name], path) for name in expected]


def _read_npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: PathLike) -> np.ndarray:
    data = bytearray()
    _stream(archive, member, path, MAX_ARRAYS, data.extend)
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    header = {(1, 0): np.lib.format.read_array_header_1_0,
              (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if header is None:
        raise _bad(path, ".npy of version 1 or 2", f"version {version}")
    shape, fortran, dtype = header(stream)
    if dtype.kind not in "fiub":
        raise _bad(path, "arrays of numbers", f"{member.filename!r} of dtype {dtype}")
    if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise _damaged(path, f"{member.filename!r} of shape {shape} has another number of bytes")
    flat = np.frombuffer(data, dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


# ---------------------------------------------------------------- HDF5


@dataclass(frozen=True)
class Stored:
    """What an HDF5 file says about a dataset."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Hdf5:
    """An open HDF5 file of which every object was checked.

    attributes: of each group by its path ("" the root): text, lists of text, numbers. datasets: by
    path. `read` gives the values of one.
    """

    def __init__(self, name: str, file: Any) -> None:
        self.name = name
        self._file = file
        self.attributes: dict[str, dict[str, Any]] = {}
        self.datasets: dict[str, Stored] = {}

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
            raise _damaged(self.name, f"{attribute} of {group or '/'} is no list of names")
        return values

    def text(self, group: str, attribute: str) -> str | None:
        value = self.attributes.get(group, {}).get(attribute)
        return value if isinstance(value, str) else None

    @cached_property
    def filled(self) -> set[str]:
        """The groups with weights below them; states of random generators are none."""
        return {path[:at] for path in self.datasets if "seed_generator" not in path
                for at, c in enumerate(path) if c == "/"}

    def inside(self, group: str) -> list[str]:
        """The paths of all datasets below a group."""
        return [path for path in self.datasets if path.startswith(f"{group}/" if group else "")]

    def read(self, path: str) -> np.ndarray:
        """The values of a dataset, whose size the caller has compared with what it expects."""
        with _hdf5_errors(self.name):
            values = np.asarray(self._file[path][()])
        if values.shape != self.datasets[path].shape:
            raise _damaged(self.name, f"the dataset {path!r} changed its shape")
        return values


@contextmanager
def open_hdf5(path: PathLike) -> Iterator[Hdf5]:
    """An HDF5 file, checked whole. Raises ModelError, OSError."""
    check_kind(path, "hdf5")
    with Path(path).open("rb") as stream, _hdf5(stream, str(path)) as file:
        yield file


@contextmanager
def _hdf5(stream: IO[bytes], name: str) -> Iterator[Hdf5]:
    import h5py

    with _hdf5_errors(name):
        file = h5py.File(stream, "r")
    try:
        checked = Hdf5(name, file)
        with _hdf5_errors(name):
            _walk(checked, file)
        yield checked
    finally:
        file.close()


@contextmanager
def _hdf5_errors(name: str) -> Iterator[None]:
    """h5py tells of damage by errors of many kinds."""
    try:
        yield
    except KcompileError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError,
            AttributeError, AssertionError, EOFError) as error:
        raise _damaged(name, error) from error


def _walk(checked: Hdf5, file: Any) -> None:
    """Visit every object through its links; none but hard links, to groups and plain datasets."""
    import h5py

    seen: set[Any] = set()
    waiting = [("", file.id)]
    while waiting:
        path, group = waiting.pop()
        info = h5py.h5o.get_info(group)
        if (info.fileno, info.addr) in seen:
            raise _bad(checked.name, "a tree of groups", f"a second way to the group {path!r}")
        seen.add((info.fileno, info.addr))
        checked.attributes[path] = _attributes(checked.name, path, group)
        names: list[bytes] = []
        group.links.iterate(names.append)
        if len(seen) + len(checked.datasets) + len(names) > MAX_OBJECTS:
            raise _bad(checked.name, f"at most {MAX_OBJECTS} objects", "more")
        for raw in names:
            try:
                name = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise _damaged(checked.name, f"a name in {path or '/'} is not UTF-8") from error
            below = f"{path}/{name}" if path else name
            if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                raise _bad(checked.name, "objects of this file alone", f"{below!r}, a soft or external "
                           "link, which is not followed")
            found = h5py.h5o.open(group, raw)
            if isinstance(found, h5py.h5g.GroupID):
                waiting.append((below, found))
            elif isinstance(found, h5py.h5d.DatasetID):
                checked.datasets[below] = _stored(checked.name, below, found)
            else:
                raise _bad(checked.name, "groups and datasets", f"{below!r}, a named datatype")


def _stored(name: str, path: str, dataset: Any) -> Stored:
    """Shape and dtype of a dataset whose bytes are all in this file, behind known filters."""
    import h5py

    plist = dataset.get_create_plist()
    if plist.get_external_count():
        raise _bad(name, "data in this file alone", f"{path!r}, which is stored in other files")
    if plist.get_layout() not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
        raise _bad(name, "data in this file alone", f"{path!r}, a virtual dataset")
    known = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)
    for number in range(plist.get_nfilters()):
        if (code := plist.get_filter(number)[0]) not in known:
            raise _bad(name, "the filters gzip, shuffle, fletcher32", f"{path!r} with filter {code}")
    type_ = dataset.get_type()
    if type_.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) and not _is_bool(type_):
        raise _bad(name, "datasets of numbers", f"{path!r} of another type")
    dtype = type_.dtype
    shape = tuple(map(int, dataset.shape))
    if dtype.itemsize > 8 or dtype.kind not in "fiub":
        raise _bad(name, "numbers of at most 64 bits", f"{path!r} of dtype {dtype}")
    if math.prod(shape) >= 2**62 or any(d < 0 for d in shape):
        raise _bad(name, "sizes that can be counted", f"{path!r} of shape {shape}")
    if plist.get_layout() == h5py.h5d.CHUNKED:
        chunk = math.prod(plist.get_chunk()) * dtype.itemsize
        if chunk > max(math.prod(shape) * dtype.itemsize, CHUNK):
            raise _bad(name, "chunks no larger than the data", f"{path!r} with chunks of {chunk} bytes")
    return Stored(shape, dtype)


def _is_bool(type_: Any) -> bool:
    import h5py

    return bool(type_.get_class() == h5py.h5t.ENUM and type_.dtype.kind == "b")


def _attributes(name: str, path: str, group: Any) -> dict[str, Any]:
    """The attributes of a group: text, lists of text, numbers."""
    import h5py

    found: dict[str, Any] = {}
    if h5py.h5a.get_num_attrs(group) > 10_000:
        raise _bad(name, "fewer attributes", f"more than 10000 of {path or '/'}")
    keys: list[bytes] = []
    h5py.h5a.iterate(group, keys.append)
    for key in keys:
        attribute = h5py.h5a.open(group, key)
        allowed = (h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT)
        if attribute.get_type().get_class() not in allowed and not _is_bool(attribute.get_type()):
            raise _bad(name, "attributes of text and numbers",
                       f"{key!r} of {path or '/'}, a reference or another type")
        none = attribute.get_space().get_simple_extent_type() == h5py.h5s.NULL
        count = 0 if none else math.prod(attribute.shape)
        if count * attribute.get_type().get_size() > MAX_TEXT:
            raise _bad(name, f"attributes of at most {MAX_TEXT} bytes", f"{key!r} of {path or '/'}")
        if count == 0:
            found[key.decode("utf-8")] = []
        else:
            found[key.decode("utf-8")] = _plain(_raw(attribute))
    return found


def _raw(attribute: Any) -> np.ndarray:
    """Values as they stand in the file: text as bytes, whatever its length and padding."""
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


def is_archive_of_arrays(path: PathLike) -> bool:
    """Whether a zip file is an .npz of arrays, not a .keras model."""
    with _archive(path) as archive:
        return all(name.endswith(".npy") for name in archive.namelist())


"""Zip archives: .keras files, and .npz files of arrays.

Enters: a path. Leaves: a checked .keras archive whose weights are an open HDF5 file, or arrays. Sizes
that an archive declares are not believed; members that no writer of models makes are refused.
"""

from __future__ import annotations

import math
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile.files.reader import limits
from kcompile.files.reader.hdf5 import Hdf5
from kcompile.files.reader.json_texts import parse_json
from kcompile.files.reader.kinds import HDF5_SIGNATURE, check_kind
from kcompile.files.reader.limits import PathLike, bad, damaged
from kcompile.files.reader.opening import open_stream
from kcompile_runtime.errors import KcompileError


@contextmanager
def _archive(path: PathLike) -> Iterator[zipfile.ZipFile]:
    """An open archive. What its user does with it is none of the file's faults."""
    with _errors(path):
        archive = zipfile.ZipFile(path)
    with archive:
        yield archive


@contextmanager
def _errors(path: PathLike) -> Iterator[None]:
    """zipfile and zlib tell of damage by errors of many kinds."""
    try:
        yield
    except KcompileError:
        raise
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        zlib.error,
        NotImplementedError,
        EOFError,
        RuntimeError,
        ValueError,
        OSError,
        OverflowError,
        MemoryError,
        KeyError,
    ) as error:
        raise damaged(path, error) from error


def _members(archive: zipfile.ZipFile, path: PathLike, limit: int) -> dict[str, zipfile.ZipInfo]:
    """The members of an archive by name. Refuses what no writer of models makes."""
    members: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for member in archive.infolist():
        name = member.filename
        parts = name.replace("\\", "/").split("/")
        if name in members:
            raise bad(path, "members with names of their own", f"two called {name!r}")
        if name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
            raise bad(path, "names inside the archive", f"the member {name!r}")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise bad(path, "plain files", f"the symbolic link {name!r}")
        if member.flag_bits & 0x1:
            raise bad(path, "members that are not encrypted", f"the encrypted {name!r}")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise bad(path, "members stored or deflated", f"compression {member.compress_type}")
        members[name] = member
        total += member.file_size
        if total > limit:
            raise bad(path, f"at most {limit} bytes unpacked", f"{total} bytes or more")
    return members


def _stream(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    path: PathLike,
    limit: int,
    write: Callable[[bytes], Any],
) -> None:
    """Unpack a member piece by piece; sizes that an archive declares may lie."""
    size = 0
    with _errors(path):
        source = archive.open(member)
    with source:
        while True:
            with _errors(path):
                piece = source.read(limits.CHUNK)
            if not piece:
                break
            size += len(piece)
            if size > limit:
                raise bad(path, f"at most {limit} bytes in {member.filename!r}", "more")
            write(piece)
    if size != member.file_size:
        raise damaged(path, f"{member.filename!r} has {size} bytes, not {member.file_size}")


@dataclass(frozen=True)
class KerasArchive:
    """A .keras file: its configuration and metadata, its weights as an open HDF5 file, and the vocabularies
    of its layers by the names of their members."""

    config: Any
    metadata: Any
    weights: Hdf5
    assets: Mapping[str, str]


@contextmanager
def open_keras(path: PathLike, isolated: bool = False) -> Iterator[KerasArchive]:
    """A .keras archive (TF 2.12 to 2.15, Keras 3). isolated: another process opens the HDF5 file in
    it. Raises ModelError, OSError."""
    check_kind(path, "zip")
    with _archive(path) as archive, tempfile.TemporaryFile() as unpacked:
        members = _members(archive, path, limits.MAX_ARRAYS + 2 * limits.MAX_TEXT)
        wanted = ("metadata.json", "config.json", "model.weights.h5")
        if missing := [name for name in wanted if name not in members]:
            raise bad(path, "a .keras archive with " + ", ".join(wanted), f"one without {', '.join(missing)}")
        if extra := [
            name
            for name in members
            if name not in wanted
            and not (name.startswith("assets/") and name.endswith(("/", "/vocabulary.txt")))
        ]:
            raise bad(path, "no members but " + ", ".join(wanted), ", ".join(map(repr, extra[:5])))
        texts = []
        for name in wanted[:2]:
            data = bytearray()
            _stream(archive, members[name], path, limits.MAX_TEXT, data.extend)
            texts.append(parse_json(bytes(data), f"{path}: {name}"))
        assets = _vocabularies(archive, members, path)
        _stream(archive, members[wanted[2]], path, limits.MAX_ARRAYS, unpacked.write)
        unpacked.seek(0)
        if unpacked.read(8) != HDF5_SIGNATURE:
            raise bad(path, f"HDF5 in {wanted[2]}", "other data")
        unpacked.seek(0)
        with open_stream(unpacked, f"{path}: {wanted[2]}", isolated) as weights:
            yield KerasArchive(texts[1], texts[0], weights, assets)


def _vocabularies(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], path: PathLike
) -> dict[str, str]:
    """The texts of the members that are vocabularies, at most as long together as a text may be."""
    found: dict[str, str] = {}
    room = limits.MAX_TEXT
    for name in members:
        if name.endswith("/vocabulary.txt"):
            data = bytearray()
            _stream(archive, members[name], path, room, data.extend)
            room -= len(data)
            try:
                found[name] = data.decode("utf-8")
            except UnicodeDecodeError as error:
                raise bad(path, f"UTF-8 in {name!r}", str(error)) from error
    return found


# ---------------------------------------------------------------- npz


def read_arrays(path: PathLike) -> list[np.ndarray]:
    """The arrays of an .npz file as `numpy.savez(path, *arrays)` wrote them, in that order."""
    check_kind(path, "zip")
    with _archive(path) as archive:
        members = _members(archive, path, limits.MAX_ARRAYS)
        expected = [f"arr_{i}.npy" for i in range(len(members))]
        if sorted(members) != sorted(expected):
            raise bad(
                path,
                "the members arr_0, arr_1, ... of numpy.savez(path, *weights)",
                ", ".join(map(repr, list(members)[:5])) or "none",
            )
        return [_read_npy(archive, members[name], path) for name in expected]


# As numpy has written headers ever since: a dict of three entries, in this order.
_HEADER = re.compile(
    rb"\{'descr': '([^']*)', 'fortran_order': (True|False), "
    rb"'shape': \(((?:[0-9]{1,18}L?(?:, ?|(?=\))))*)\),? ?\}\s*"
)


def _read_npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: PathLike) -> np.ndarray:
    """An array in the format of numpy (numpy.lib.format), versions 1 and 2."""
    data = bytearray()
    _stream(archive, member, path, limits.MAX_ARRAYS, data.extend)
    start = {b"\x93NUMPY\1\0": 10, b"\x93NUMPY\2\0": 12}.get(bytes(data[:8]))
    if start is None:
        raise bad(path, ".npy of version 1 or 2", f"other data in {member.filename!r}")
    end = start + int.from_bytes(data[8:start], "little")
    header = _HEADER.fullmatch(bytes(data[start : min(end, limits.CHUNK)]))
    if header is None or end > len(data):
        raise damaged(path, f"{member.filename!r} has no header of an array")
    name = header[1].decode("latin-1")
    if not limits.DTYPE.fullmatch(name):
        raise bad(path, "arrays of numbers", f"{member.filename!r} of dtype {name}")
    dtype = np.dtype(name)
    shape = tuple(int(d) for d in re.findall(rb"[0-9]+", header[3]))
    if math.prod(shape) * dtype.itemsize != len(data) - end:
        raise damaged(path, f"{member.filename!r} of shape {shape} has another number of bytes")
    flat = np.frombuffer(data, dtype, offset=end)
    return flat.reshape(shape, order="F" if header[2] == b"True" else "C")


def is_archive_of_arrays(path: PathLike) -> bool:
    """Whether a zip file is an .npz of arrays, not a .keras model."""
    with _archive(path) as archive:
        return all(name.endswith(".npy") for name in archive.namelist())

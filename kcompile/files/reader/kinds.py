"""What a file is, by its first bytes.

Enters: a path. Leaves: "hdf5", "zip", "text", or in words what else the file is.
"""

from __future__ import annotations

from pathlib import Path

from kcompile.files.reader import limits
from kcompile.files.reader.limits import PathLike, bad

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SIGNATURES = (
    (HDF5_SIGNATURE, "hdf5"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (
        b"version https://git-lfs.github.com/spec",
        "a git-LFS pointer, not the file itself. Fetch it with `git lfs pull`",
    ),
    (b"\x1f\x8b", "a gzip file. Unpack it first"),
    (b"\x93NUMPY", "a .npy array"),
    (b"BZh", "a bzip2 file. Unpack it first"),
    (b"\x80\x02", "a Python pickle, which is never loaded"),
    (b"\x80\x03", "a Python pickle, which is never loaded"),
    (b"\x80\x04", "a Python pickle, which is never loaded"),
    (b"\x80\x05", "a Python pickle, which is never loaded"),
    (b"\x7fELF", "a shared object. A library that was exported is loaded by kcompile_runtime.load"),
    (b"\0asm", "a WebAssembly module, which runs in Node or a browser"),
)


def kind_of(path: PathLike) -> str:
    """ "hdf5", "zip", "text", or in words what else the file is. Raises OSError."""
    file = Path(path)
    if file.is_dir():
        return "a folder. A SavedModel is not read: save the model as .keras or .h5"
    if file.exists() and not file.is_file():
        return "a device or a pipe"
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
        raise bad(path, _NAMES[expected], _NAMES.get(found, found))


def read_text(path: PathLike) -> str:
    """The text of a configuration file. Raises ModelError, OSError."""
    check_kind(path, "text")
    file = Path(path)
    size = file.stat().st_size
    if size > limits.MAX_TEXT:
        raise bad(file, f"at most {limits.MAX_TEXT} bytes", f"{size} bytes")
    return decoded(file.read_bytes(), file)


def decoded(data: bytes, name: PathLike) -> str:
    """Bytes as text. Raises ModelError."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad(name, "text in UTF-8", "other bytes") from error

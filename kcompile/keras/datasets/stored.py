"""Arrays as data sets of Keras hold them, read so that no code in a file runs.

Enters: an `.npz` file, or a pickle that holds arrays of numbers, lists and texts. Leaves: numpy arrays, lists
and dicts. numpy reads arrays of objects by pickle, which calls whatever a file names; here only
what makes arrays and their types has a meaning, and that is said by functions of ours.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile_runtime.errors import InputError, describe

Path = str | os.PathLike[str]


class _Refused(Exception):
    """A pickle that holds something else."""


class _Type:
    """A numpy type in a pickle: of numbers, or of objects."""

    def __init__(self, text: Any, align: Any = False, copy: Any = True) -> None:
        text = text.decode("ascii") if isinstance(text, bytes) else text
        if not isinstance(text, str) or np.dtype(text).kind not in "biufO":
            raise _Refused(f"arrays of type {text!r}")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        self.dtype = self.dtype.newbyteorder("<" if order == "<" else ">" if order == ">" else "=")


class _Array:
    """An array in a pickle, whose contents come by `__setstate__`."""

    value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, held = state
        self.value = _filled(held, kind, shape, "F" if fortran else "C")


def _reconstruct(kind: Any, shape: Any, letter: Any) -> _Array:
    if kind is not _Array:
        raise _Refused("an array of another class")
    return _Array()


def _filled(held: Any, kind: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(kind, _Type) or not isinstance(shape, tuple):
        raise _Refused("an array without a type or shape")
    size = math.prod(shape)
    if kind.dtype.hasobject:
        if not isinstance(held, list) or len(held) != size:
            raise _Refused("an array of objects without them")
        array = np.empty(size, dtype=object)
        for i, item in enumerate(held):  # numpy would look into lists
            array[i] = _plain(item)
    else:
        if not isinstance(held, (bytes, bytearray)) or len(held) != size * kind.dtype.itemsize:
            raise _Refused("an array without its numbers")
        array = np.frombuffer(bytearray(held), dtype=kind.dtype)
    return array.reshape(shape, order="F" if order == "F" else "C")


def _frombuffer(held: Any, kind: Any, shape: Any, order: Any) -> _Array:
    """Arrays of numbers in pickles since protocol 5."""
    array = _Array()
    array.value = _filled(held, kind, shape, order)
    return array


def _scalar(kind: Any, held: Any = b"") -> Any:
    return _filled(held, kind, (1,), "C").item()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused("bytes in another encoding")
    return text.encode("latin1")


KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    **{
        (f"numpy.{core}.{module}", name): made
        for core in ("core", "_core")
        for module, name, made in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
}


class _Call:
    """A function in a pickle, of which it changes nothing."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise _Refused("a change of a function")


class _Known:
    """What both unpicklers find."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise _Refused(f"{module}.{name}")
        found = KNOWN[module, name]
        return found if isinstance(found, type) else _Call(found)

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("an object from elsewhere")


class _Unpickler(_Known, pickle.Unpickler):
    """In C, which makes room for as many objects as a file says: for files whose digest was checked."""


class _CarefulUnpickler(_Known, pickle._Unpickler):
    """In Python, a tenth as fast."""


def _plain(value: Any) -> Any:
    """A value of a pickle with its arrays as arrays. Raises _Refused for other objects."""
    kind = type(value)
    if kind in (int, float, bool, str, bytes) or value is None:
        return value
    if kind is _Array:
        if value.value is None:
            raise _Refused("an array without contents")
        return value.value
    if kind in (list, tuple):
        if all(type(item) is int for item in value):  # most are, and long
            return value
        return kind(_plain(item) for item in value)
    if kind is dict:
        return {_text(key): _plain(item) for key, item in value.items()}
    raise _Refused(f"an object of type {kind.__name__}")


def _text(key: Any) -> Any:
    return key.decode("utf-8") if isinstance(key, bytes) else key


def read_pickle(path: Path) -> Any:
    """What a pickle holds: arrays, numbers, texts, lists, dicts with texts as keys. Raises InputError for a
    damaged file, and one that holds anything else."""
    with open(path, "rb") as file:
        return _unpickled(path, io.BytesIO(file.read()), _CarefulUnpickler)


def _unpickled(path: Path, file: Any, unpickler: Any) -> Any:
    try:
        return _plain(unpickler(file, encoding="bytes").load())
    except _Refused as error:
        raise InputError(
            describe(
                os.fspath(path), "arrays of numbers and of lists", str(error), "The file is not to be trusted"
            )
        ) from None
    except Exception as error:  # a damaged pickle raises anything
        raise InputError(_damaged(path, error)) from error


def _damaged(path: Path, error: Exception) -> str:
    return describe(
        os.fspath(path),
        "a whole file",
        f"one that cannot be read ({type(error).__name__}: {error})",
        "Remove it, so that it is loaded again",
    )


def read_npz(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """Arrays of an `.npz` file by their names. Raises InputError for a damaged file, a name that is not in
    it, and arrays that hold anything but numbers and lists of numbers."""
    try:
        with zipfile.ZipFile(path) as archive:
            texts = [archive.read(f"{name}.npy") for name in names]
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(_damaged(path, error)) from error
    return [_array(path, text) for text in texts]


def _array(path: Path, text: bytes) -> np.ndarray:
    file = io.BytesIO(text)
    try:
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = header[version](file)
        if not dtype.hasobject:
            file.seek(0)
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except (ValueError, KeyError, EOFError) as error:
        raise InputError(_damaged(path, error)) from error
    found = _unpickled(path, file, _Unpickler)
    if not isinstance(found, np.ndarray) or found.shape != shape:
        raise InputError(describe(os.fspath(path), f"an array of shape {shape}", type(found).__name__))
    return found

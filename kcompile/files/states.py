"""The state of a training as files: written whole under a digest, the last ones kept, read back.

Enters: a tree of values (None, bool, int, float, str, bytes, numpy's arrays and scalars, lists, tuples,
dicts) and a folder. Leaves: a file `state-00000001.kcs` that appears whole or not at all, numbered on; the
tree of the newest one that is whole. The layout of a file: `reader.states`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from kcompile.files.reader import PathLike, read_state
from kcompile.files.reader.states import DTYPE, MAGIC
from kcompile_runtime.errors import InputTypeError, ModelError, describe
from kcompile_runtime.replacing import replacing

_NAME = re.compile(r"state-(\d{8,18})\.kcs")
_PLAIN = (bool, str)
_LARGEST = 10**17  # of the integers that are written as numbers


def states_in(folder: PathLike) -> list[Path]:
    """The files of states in a folder, the newest first; none where there is no folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = [(int(match[1]), match[0]) for match in map(_NAME.fullmatch, names) if match]
    return [Path(folder) / name for _, name in sorted(found, reverse=True)]


def write_state(folder: PathLike, tree: Any, keep: int) -> Path:
    """A new file with a tree, behind the newest one; of all, the last `keep` stay. Raises InputTypeError for
    values of other types, OSError: then the files before are there as they were."""
    before = states_in(folder)
    number = 1 + max((int(_number(path)) for path in before), default=0)
    place = Path(folder) / f"state-{number:08d}.kcs"
    arrays: list[np.ndarray] = []
    encoded = _encoded(tree, arrays)
    table = [[array.dtype.str, list(array.shape)] for array in arrays]
    text = json.dumps({"arrays": table, "tree": encoded}, allow_nan=False).encode()
    Path(folder).mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with replacing(place) as part, open(part, "wb") as file:
        for piece in (MAGIC, len(text).to_bytes(8, "little"), text, *map(_bytes_of, arrays)):
            digest.update(piece)
            file.write(piece)
        file.write(digest.digest())
    for old in before[keep - 1 :] if keep > 0 else ():
        with contextlib.suppress(OSError):
            old.unlink()
    return place


def read_newest(path: PathLike) -> tuple[Path, Any] | None:
    """The newest whole state of a folder, or that of a file, with its path; None for a folder that is not
    there or has none. Warns of damaged ones before it. Raises ModelError where all are damaged, OSError."""
    place = Path(path)
    if not place.is_dir():
        if _NAME.fullmatch(place.name) or place.exists():
            return place, read_state(place)
        return None
    found = states_in(place)
    errors = []
    for file in found:
        try:
            return file, read_state(file)
        except FileNotFoundError:  # removed in between, as it was the oldest
            continue
        except (ModelError, OSError) as error:
            errors.append(str(error))
            if file != found[-1]:
                warnings.warn(f"{error}. The state before it is read", stacklevel=2)
    if errors:
        told = "; ".join(errors)
        raise ModelError(describe(str(place), "the state of a training that is whole", f"none: {told}"))
    return None


def _number(path: Path) -> str:
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return found[1]


def _bytes_of(array: np.ndarray) -> Any:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b""


def _encoded(value: Any, arrays: list[np.ndarray]) -> Any:
    """A value as JSON has it, see `reader.states`. The arrays that it names are appended."""
    if value is None or type(value) in _PLAIN:
        return value
    if type(value) is int:
        return value if abs(value) < _LARGEST else {"int": str(value)}
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, (np.ndarray, np.generic)):
        scalar = isinstance(value, np.generic)
        array = np.asarray(value)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if not DTYPE.fullmatch(array.dtype.str):
            raise InputTypeError(describe("the state of a training", "arrays of numbers", str(array.dtype)))
        arrays.append(array)
        return {"scalar" if scalar else "array": len(arrays) - 1}
    if isinstance(value, (bytes, bytearray)):
        arrays.append(np.frombuffer(bytes(value), np.uint8))
        return {"bytes": len(arrays) - 1}
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_encoded(v, arrays) for v in value]}
    if isinstance(value, dict):
        return {"dict": [[_encoded(k, arrays), _encoded(v, arrays)] for k, v in value.items()]}
    wanted = "None, numbers, texts, arrays, and lists, tuples and dicts of them"
    raise InputTypeError(describe("the state of a training", wanted, repr(value)[:200]))

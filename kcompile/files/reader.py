"""The one module that opens model files. Data only: nothing in a file is run, imported or followed.

Enters: a path. Leaves: parsed JSON, or arrays. Limits: JSON without NaN, infinities, duplicate keys,
huge integers or deep nesting; npz members of plain numeric dtype, within a budget of bytes.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from kcompile_runtime.errors import ModelError, describe

MAX_JSON = 64 * 1024 * 1024  # bytes
MAX_DEPTH = 100
MAX_DIGITS = 18
MAX_ARRAYS = 4 * 1024**3  # bytes of all arrays of a weights file


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file. Raises ModelError naming what is wrong, OSError."""
    file = Path(path)
    size = file.stat().st_size
    if size > MAX_JSON:
        raise _bad(file, f"at most {MAX_JSON} bytes", f"{size} bytes")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _bad(file, "JSON in UTF-8", "other bytes") from error
    return parse_json(text, str(file))


def parse_json(text: str, name: str) -> Any:
    """The value of a JSON text. Raises ModelError."""
    if _depth(text) > MAX_DEPTH:
        raise ModelError(describe(name, f"JSON nested at most {MAX_DEPTH} deep", "deeper"))
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse,
                          parse_int=_integer, parse_float=_number)
    except ValueError as error:
        start = text.lstrip()[:40].splitlines()[:1] or ["nothing"]
        raise ModelError(describe(name, "JSON", f"{start[0]!r} ({error})")) from error


def _depth(text: str) -> int:
    """How deep brackets nest outside strings: json.loads would recurse so deep."""
    deepest = depth = 0
    quoted = escaped = False
    for c in text:
        if quoted:
            quoted = escaped or c != '"'
            escaped = c == "\\" and not escaped
        elif c == '"':
            quoted = True
        elif c in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif c in "]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [k for k, _ in pairs]
        raise ValueError(f"duplicate key {next(k for k in names if names.count(k) > 1)!r}")
    return result


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("an integer out of range")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not np.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


def read_arrays(path: str | os.PathLike[str]) -> list[np.ndarray]:
    """The arrays of an .npz file as `numpy.savez(path, *arrays)` wrote them, in that order."""
    file = Path(path)
    try:
        with zipfile.ZipFile(file) as archive:
            names = [member.filename for member in archive.infolist()]
            total = sum(member.file_size for member in archive.infolist())
        expected = [f"arr_{i}.npy" for i in range(len(names))]
        if sorted(names) != sorted(expected):
            raise _bad(file, "the members arr_0, arr_1, ... of numpy.savez(path, *weights)",
                       ", ".join(map(repr, names[:5])) or "none")
        if total > MAX_ARRAYS:
            raise _bad(file, f"at most {MAX_ARRAYS} bytes of arrays", f"{total} bytes")
        with np.load(file, allow_pickle=False) as arrays:
            return [arrays[name[:-4]] for name in expected]
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        if isinstance(error, ModelError):
            raise
        raise _bad(file, "an undamaged .npz file of plain arrays", str(error)) from error


def _bad(file: Path, expected: str, received: str) -> ModelError:
    return ModelError(describe(str(file), expected, received))

"""Files of the state of a training: plain values and arrays, under a digest.

Enters: a path. Leaves: the tree of values that `kcompile.files.states.write` was given; or ModelError, where
a bit of the file is another than was written. The layout: MAGIC; the length of the text, 8 bytes, the lowest
first; the text, JSON; the bytes of the arrays, one behind the other; the SHA-256 of all before.

The text has {"arrays": [[dtype, shape], ...], "tree": ...}. In the tree an object of one key is no dict:
"list", "tuple" and "dict" (a list of pairs) hold values; "array" and "scalar" the number of an array; "bytes"
likewise; "float" and "int" digits that JSON has no number for.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kcompile.files.reader.json_texts import parse_json
from kcompile.files.reader.limits import PathLike, bad, damaged
from kcompile_runtime.errors import ModelError

MAGIC = b"kcstate1"
DIGEST = hashlib.sha256().digest_size
DTYPE = re.compile(r"\|b1|[<|][fiuc](1|2|4|8|16)|<U[1-9]\d{0,5}|\|S[1-9]\d{0,5}")
Made = Callable[[Any], Any]


def read_state(path: PathLike) -> Any:
    """The tree of values in a file. Raises ModelError for a file that is no state, or is damaged; OSError."""
    content = Path(path).read_bytes()
    start = len(MAGIC) + 8
    if not content.startswith(MAGIC):
        raise bad(path, "the state of a training", f"{content[:8]!r} at its beginning")
    if len(content) < start + DIGEST:
        raise damaged(path, f"it ends after {len(content)} bytes")
    if hashlib.sha256(content[:-DIGEST]).digest() != content[-DIGEST:]:
        raise damaged(path, "its digest is not that of its content")
    length = int.from_bytes(content[len(MAGIC) : start], "little")
    if length > len(content) - start - DIGEST:
        raise damaged(path, f"a text of {length} bytes")
    text = parse_json(content[start : start + length], str(path))
    try:
        arrays = _arrays(text["arrays"], content, start + length)
        return _decoded(text["tree"], arrays)
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError) as error:
        raise damaged(path, error) from error


def _arrays(table: Any, content: bytes, place: int) -> list[np.ndarray]:
    """The arrays that the table lists, whose bytes end where the digest begins."""
    made = []
    for kind, shape in table:
        if not DTYPE.fullmatch(kind):
            raise ValueError(f"dtype {kind!r}")
        dtype = np.dtype(kind)
        count = math.prod(shape)
        if min(shape, default=0) < 0 or place + count * dtype.itemsize > len(content) - DIGEST:
            raise ValueError(f"an array of shape {shape}")
        made.append(np.frombuffer(content, dtype, count, place).reshape(shape).copy())
        place += count * dtype.itemsize
    if place != len(content) - DIGEST:
        raise ValueError("bytes that belong to no array")
    return made


def _decoded(value: Any, arrays: list[np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inside),) = value.items()
    made: dict[str, Made] = {
        "list": lambda v: [_decoded(x, arrays) for x in v],
        "tuple": lambda v: tuple(_decoded(x, arrays) for x in v),
        "dict": lambda v: {_decoded(k, arrays): _decoded(x, arrays) for k, x in v},
        "array": lambda v: arrays[v],
        "scalar": lambda v: arrays[v][()],
        "bytes": lambda v: arrays[v].tobytes(),
        "float": float,
        "int": int,
    }
    return made[kind](inside)

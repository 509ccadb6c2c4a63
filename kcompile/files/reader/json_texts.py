"""JSON from files: data without surprises.

Enters: text. Leaves: its value, in which every number is finite, every key stands once, and nothing
is nested deeper than Python can walk.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

from kcompile.files.reader import limits
from kcompile.files.reader.kinds import decoded, read_text
from kcompile.files.reader.limits import PathLike, bad


def read_json(path: PathLike) -> Any:
    """The value in a JSON file. Raises ModelError naming what is wrong, OSError."""
    return parse_json(read_text(path), str(path))


def parse_json(text: str | bytes, name: str) -> Any:
    """The value of a JSON text. Refuses NaN, infinities, duplicate keys, integers of more than 18
    digits, nesting beyond 100 and more values than `limits` has. Raises ModelError."""
    if len(text) > limits.MAX_TEXT:
        raise bad(name, f"at most {limits.MAX_TEXT} bytes of JSON", f"{len(text)}")
    if isinstance(text, bytes):
        text = decoded(text, name)
    _check_size(text, name)
    try:
        value = json.loads(
            text, object_pairs_hook=unique, parse_constant=_refuse, parse_int=integer, parse_float=number
        )
        json.dumps(value, ensure_ascii=False).encode()  # no halves of surrogate pairs in names
    except ValueError as error:
        start = text.lstrip()[:40].splitlines()[:1] or ["nothing"]
        raise bad(name, "JSON", f"{start[0]!r}, not JSON: {error}") from error
    return value


# A bracket, a comma, or a string without escapes, whose end may be missing. No group repeats in it, as the
# matcher keeps a state for each repetition.
_MARK = re.compile(r'"[^"]*"?|[\[{\]},]')


def _check_size(text: str, name: str) -> None:
    """How deep brackets nest outside strings, as json.loads would recurse so deep, and how many values
    there are, before any is made. Raises ModelError."""
    if text.count("\\") > limits.MAX_ESCAPES:
        raise bad(name, f"at most {limits.MAX_ESCAPES} backslashes in JSON", "more")
    plain = text.replace("\\\\", "").replace('\\"', "") if "\\" in text else text
    depth, values = 0, 1
    for found in _MARK.finditer(plain):
        mark = plain[found.start()]
        if mark in "[{":
            depth += 1
            values += 1
        elif mark == ",":
            values += 1
        elif mark in "]}":
            depth -= 1
        if depth > limits.MAX_DEPTH:
            raise bad(name, f"JSON nested at most {limits.MAX_DEPTH} deep", "deeper")
        if values > limits.MAX_NODES:
            raise bad(name, f"at most {limits.MAX_NODES} values in JSON", "more")


def unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A mapping of pairs. Raises ValueError for a key that occurs twice."""
    result = dict(pairs)
    if len(result) != len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"duplicate key {twice!r}")
    return result


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON")


def integer(text: str) -> int:
    """Raises ValueError for more digits than any size or index has."""
    if len(text.lstrip("+-")) > limits.MAX_DIGITS:
        raise ValueError("an integer out of range")
    return int(text)


def number(text: str) -> float:
    """Raises ValueError for what overflows."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value

"""What users give as arguments: checked where it enters, so that no step is made with a wrong value.

Enters: any value. Leaves: Python's own number, flag, name or path, or an `InputError` (of another type an
`InputTypeError`) that names the argument.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from kcompile_runtime.errors import InputError, InputTypeError, describe


def check_count(name: str, value: Any, low: int = 1) -> int:
    """An integer of at least `low`, of Python or numpy."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= low:
        return int(value)
    raise InputError(describe(name, f"an integer of at least {low}", repr(value)))


def finite(value: Any) -> float | None:
    """A number of Python or numpy as a finite float; None for what is none, or too large."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def check_number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number from `low` to `high`, of Python or numpy."""
    number = finite(value)
    if number is not None and low <= number <= high:
        return number
    bounds = (
        ""
        if low == -math.inf
        else (f" of at least {low:g}" if high == math.inf else f" from {low:g} to {high:g}")
    )
    raise InputError(describe(name, f"a finite number{bounds}", repr(value)))


def check_flag(name: str, value: Any) -> bool:
    """True or False, 1 or 0."""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise InputError(describe(name, "True or False", repr(value)))


def check_text(name: str, value: Any, optional: bool = False) -> Any:
    """A str; with `optional` also None."""
    if isinstance(value, str) or (optional and value is None):
        return value
    raise InputTypeError(describe(name, "text" + (" or None" if optional else ""), repr(value)))


def check_path(name: str, value: Any, remedy: str = "") -> str | os.PathLike[str]:
    """The path of a file, as text or a path object."""
    if isinstance(value, str) or (isinstance(value, os.PathLike) and isinstance(os.fspath(value), str)):
        if "\0" in os.fspath(value):
            raise InputError(describe(name, "the path of a file, without NUL", repr(value)))
        return value
    raise InputTypeError(
        describe(name, "the path of a file", f"{type(value).__module__}.{type(value).__qualname__}", remedy)
    )

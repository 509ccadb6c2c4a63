"""Numbers that users give as arguments: checked where they enter, so that no step is made with a wrong one.

Enters: any value. Leaves: Python's own number, or an `InputError` that names the argument.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kcompile_runtime.errors import InputError, describe


def check_count(name: str, value: Any, low: int = 1) -> int:
    """An integer of at least `low`, of Python or numpy."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= low:
        return int(value)
    raise InputError(describe(name, f"an integer of at least {low}", repr(value)))


def check_number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number from `low` to `high`, of Python or numpy."""
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        number = float(value)
        if math.isfinite(number) and low <= number <= high:
            return number
    bounds = [f"of at least {low:g}"] * (low > -math.inf) + [f"of at most {high:g}"] * (high < math.inf)
    raise InputError(describe(name, " ".join(["a finite number", *bounds]), repr(value)))


def check_flag(name: str, value: Any) -> bool:
    """True or False, 1 or 0."""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise InputError(describe(name, "True or False", repr(value)))

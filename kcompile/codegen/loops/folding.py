"""Constant folding of indices, and the strides of vectors of indices.

Enters: an operation on numbers, or on vectors at known strides. Leaves: its value, or its stride. The
constructors of the loop language fold constants by these functions. The emitter, which knows more constants
(the variable of a loop that runs once, the difference of two indices with one base), uses them again.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

_NUMBERS: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "min": min,
    "max": max,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def fold(op: str, a: float, b: float) -> int | None:
    """`a op b` on numbers of int64 or bool, with C's division; None for a division by zero or another op."""
    if op in ("div", "mod"):
        if b == 0:
            return None
        quotient = int(abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1)
        return quotient if op == "div" else int(a) - int(b) * quotient
    return _NUMBERS[op](int(a), int(b)) if op in _NUMBERS else None


def stride_of(op: str, s: int, t: int, x: int | None, y: int | None) -> int | None:
    """The stride of `(x, x + s, ...) op (y, y + t, ...)`, whose first lane is `x op y`; None where lanes are
    not at one stride. x, y: the numbers where these are constants."""
    if op in ("add", "sub"):
        return s + t if op == "add" else s - t
    if op == "mul" and t == 0 and y is not None:
        return s * y
    if op == "mul" and s == 0 and x is not None:
        return t * x
    return 0 if s == t == 0 else None

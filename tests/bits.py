"""Whether two structures of values and arrays are the same, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np


def same_arrays(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same_arrays(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same_arrays, a, b))
    x, y = np.asarray(a), np.asarray(b)
    if x.dtype == object:  # None, long integers
        return type(a) is type(b) and bool(a == b)
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()

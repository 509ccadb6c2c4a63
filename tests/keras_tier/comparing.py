"""What a test that compares two Keras says over and over."""

from __future__ import annotations

from typing import Any

import numpy as np


def close(got: Any, right: Any, tolerance: float, notes: object) -> None:
    """Within `tolerance` of the largest number, or of 1. notes: what a failure shows."""
    right = np.asarray(right)
    scale = max(1.0, np.abs(right).max(initial=0.0))
    np.testing.assert_allclose(got, right, rtol=0, atol=tolerance * scale, err_msg=repr(notes))


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]

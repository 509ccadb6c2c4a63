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


def trained(model: Any, x: Any, y: Any, steps: int) -> np.ndarray:
    """The total losses of training steps on one batch."""
    return np.array([np.ravel(model.train_on_batch(x, y))[0] for _ in range(steps)])


def conditioned(
    fresh: Any, losses: np.ndarray, weights: list[np.ndarray], x: Any, y: Any, tolerance: float
) -> float:
    """Within what two libraries can agree after such training: `tolerance`, or ten times what it makes of
    one rounding of each first weight, where it is ill-conditioned (a batch normalisation of nearly equal
    numbers, an L1 penalty's signs).

    fresh: the model before training. losses, weights: after training without that rounding."""
    rng = np.random.default_rng(0)
    fresh.set_weights(
        [(w * (1 + rng.uniform(-1, 1, w.shape) * 2.0**-23)).astype(w.dtype) for w in fresh.get_weights()]
    )
    other = trained(fresh, x, y, len(losses))
    moved = [
        np.abs(a - b).max(initial=0.0) / max(1.0, np.abs(a).max(initial=0.0))
        for a, b in zip((losses, *weights), (other, *fresh.get_weights()))
    ]
    return max(tolerance, 10 * max(moved))

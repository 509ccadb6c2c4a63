"""Handwritten digits, 1,797 images of 8x8. Leaves: numpy arrays, split for training and test.

The data are part of the package (kcompile/data/README.md names their authors and license), so no
network is used.
"""

from __future__ import annotations

import gzip
from importlib import resources

import numpy as np

Split = tuple[np.ndarray, np.ndarray]


def load_data(test_split: float = 0.2, seed: int = 113) -> tuple[Split, Split]:
    """The digits as `(x_train, y_train), (x_test, y_test)`, shuffled in the same way every time.

    test_split: the share of the images held back for test, 0 to 1.
    seed: of the shuffle before the split; the same seed gives the same split on every machine.
    Returns x: uint8 of shape (images, 8, 8), values 0 to 16; y: uint8 of shape (images,), 0 to 9.
    The interface is that of Keras' small data sets (`boston_housing.load_data`).
    Raises ValueError for a test_split outside 0 to 1.
    """
    if not 0 <= test_split <= 1:
        raise ValueError(f"digits.load_data: test_split must lie in 0..1. Received: {test_split!r}")
    path = resources.files("kcompile") / "data" / "digits.csv.gz"
    with path.open("rb") as packed, gzip.open(packed, "rt", encoding="ascii") as lines:
        rows = np.loadtxt(lines, dtype=np.uint8, delimiter=",")
    rows = rows[np.random.RandomState(seed).permutation(len(rows))]
    x, y = np.ascontiguousarray(rows[:, :-1]).reshape(-1, 8, 8), rows[:, -1].copy()
    train = round(len(rows) * (1 - test_split))
    return (x[:train], y[:train]), (x[train:], y[train:])

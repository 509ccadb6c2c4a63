"""Prices of houses in California, 20,640 districts with 8 features, from Keras' cache or the network."""

from __future__ import annotations

import numpy as np

from kcompile.keras.datasets.boston_housing import shuffled_split
from kcompile.keras.datasets.published import fetch
from kcompile.keras.datasets.stored import read_npz
from kcompile_runtime.errors import InputError, describe

SMALL = 600  # districts of the small version
Split = tuple[np.ndarray, np.ndarray]


def load_data(
    version: str = "large", path: str = "california_housing.npz", test_split: float = 0.2, seed: int = 113
) -> tuple[Split, Split]:
    """The districts as `(x_train, y_train), (x_test, y_test)`, shuffled by the seed. Of Keras 3.

    version: "large", or "small" for the first 600. The others: see `boston_housing.load_data`.
    Returns x: of shape (districts, 8); y: of shape (districts,), dollars.
    """
    if version not in ("large", "small"):
        raise InputError(
            describe("california_housing.load_data: version", "'large' or 'small'", repr(version))
        )
    x, y = read_npz(fetch("california_housing.npz", path), ("x", "y"))
    rows = slice(SMALL if version == "small" else None)
    return shuffled_split("california_housing", x[rows], y[rows], test_split, seed)

"""Prices of houses in Boston, 506 with 13 features, from Keras' cache or the network."""

from __future__ import annotations

import numpy as np

from kcompile.keras.datasets.published import fetch
from kcompile.keras.datasets.stored import read_npz
from kcompile_runtime.errors import InputError, describe

Split = tuple[np.ndarray, np.ndarray]


def load_data(
    path: str = "boston_housing.npz", test_split: float = 0.2, seed: int = 113
) -> tuple[Split, Split]:
    """The houses as `(x_train, y_train), (x_test, y_test)`, shuffled by the seed.

    path: of the file in Keras' cache. test_split: the share held back for test, from 0 to below 1.
    Returns x: float64 of shape (houses, 13); y: float64 of shape (houses,), thousands of dollars.
    Raises InputError for another share, FetchError where the file is not there and cannot be loaded.
    """
    x, y = read_npz(fetch("boston_housing.npz", path), ("x", "y"))
    return shuffled_split("boston_housing", x, y, test_split, seed)


def shuffled_split(
    name: str, x: np.ndarray, y: np.ndarray, test_split: float, seed: int
) -> tuple[Split, Split]:
    """Both arrays shuffled in the same way, and cut in two. Raises InputError for a share outside 0 to 1."""
    if not 0 <= test_split < 1:
        raise InputError(describe(f"{name}.load_data: test_split", "0 or more, below 1", repr(test_split)))
    order = np.arange(len(x))
    np.random.RandomState(seed).shuffle(order)
    train = int(len(x) * (1 - test_split))
    return (x[order[:train]], y[order[:train]]), (x[order[train:]], y[order[train:]])

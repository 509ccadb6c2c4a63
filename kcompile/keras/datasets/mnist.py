"""MNIST: handwritten digits, 28x28, from Keras' cache or the network."""

from __future__ import annotations

import numpy as np

from kcompile.keras.datasets.published import fetch
from kcompile.keras.datasets.stored import read_npz

Split = tuple[np.ndarray, np.ndarray]


def load_data(path: str = "mnist.npz") -> tuple[Split, Split]:
    """The digits as `(x_train, y_train), (x_test, y_test)`: 60,000 and 10,000.

    path: of the file in Keras' cache. Returns x: uint8 of shape (images, 28, 28); y: uint8 of shape
    (images,). Raises FetchError where the file is not there and cannot be loaded.
    """
    file = fetch("mnist.npz", path)
    x_train, y_train, x_test, y_test = read_npz(file, ("x_train", "y_train", "x_test", "y_test"))
    return (x_train, y_train), (x_test, y_test)

"""CIFAR-10: photographs, 32x32, of ten kinds, from Keras' cache or the network."""

from __future__ import annotations

import os

import numpy as np

from kcompile.keras.datasets.cifar import as_images, load_batch
from kcompile.keras.datasets.published import fetch_folder

TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
Split = tuple[np.ndarray, np.ndarray]


def load_data() -> tuple[Split, Split]:
    """The photographs as `(x_train, y_train), (x_test, y_test)`: 50,000 and 10,000.

    Returns x: uint8 of shape (images, 32, 32, 3), or (images, 3, 32, 32) where channels come first; y: of
    shape (images, 1), 0 to 9. Raises FetchError where the files are not there and cannot be loaded.
    """
    folder = fetch_folder("cifar-10-batches-py", (*TRAIN, "test_batch"))
    parts = [load_batch(os.path.join(folder, name)) for name in TRAIN]
    x_test, labels = load_batch(os.path.join(folder, "test_batch"))
    x_train = np.concatenate([x for x, _ in parts])
    y_train = np.concatenate([np.asarray(y, dtype=np.uint8) for _, y in parts])
    return (as_images(x_train), y_train.reshape(-1, 1)), (as_images(x_test), np.reshape(labels, (-1, 1)))

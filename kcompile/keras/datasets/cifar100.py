"""CIFAR-100: photographs, 32x32, of a hundred kinds in twenty groups, from Keras' cache or the network."""

from __future__ import annotations

import os

import numpy as np

from kcompile.keras.datasets.cifar import as_images, load_batch
from kcompile.keras.datasets.published import fetch_folder
from kcompile_runtime.errors import InputError, describe

Split = tuple[np.ndarray, np.ndarray]


def load_data(label_mode: str = "fine") -> tuple[Split, Split]:
    """The photographs as `(x_train, y_train), (x_test, y_test)`: 50,000 and 10,000.

    label_mode: "fine" for the kinds, 0 to 99, "coarse" for the groups, 0 to 19. Returns x: uint8 of shape
    (images, 32, 32, 3), or (images, 3, 32, 32) where channels come first; y: of shape (images, 1).
    Raises InputError (a ValueError) for another mode, FetchError where the files cannot be loaded.
    """
    if label_mode not in ("fine", "coarse"):
        raise InputError(describe("cifar100.load_data: label_mode", "'fine' or 'coarse'", repr(label_mode)))
    folder = fetch_folder("cifar-100-python", ("train", "test"))
    train, test = (
        load_batch(os.path.join(folder, name), f"{label_mode}_labels") for name in ("train", "test")
    )
    return _split(*train), _split(*test)


def _split(x: np.ndarray, labels: list[int]) -> Split:
    return as_images(x), np.reshape(labels, (-1, 1))

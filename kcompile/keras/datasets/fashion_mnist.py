"""Fashion-MNIST: articles of clothing, 28x28, from Keras' cache or the network."""

from __future__ import annotations

import gzip
import os
import zlib

import numpy as np

from kcompile.keras.datasets.published import fetch
from kcompile_runtime.errors import InputError, describe

FOLDER = os.path.join("datasets", "fashion-mnist")
Split = tuple[np.ndarray, np.ndarray]


def load_data() -> tuple[Split, Split]:
    """The articles as `(x_train, y_train), (x_test, y_test)`: 60,000 and 10,000.

    Returns x: uint8 of shape (images, 28, 28); y: uint8 of shape (images,), 0 to 9.
    Raises FetchError where a file is not there and cannot be loaded.
    """
    train, test = (
        (_read(f"{part}-images-idx3-ubyte.gz", 3), _read(f"{part}-labels-idx1-ubyte.gz", 1))
        for part in ("train", "t10k")
    )
    return train, test


def _read(name: str, rank: int) -> np.ndarray:
    """An array of the IDX format: two zeros, a type (8: uint8), the rank, sizes, and the numbers."""
    path = fetch(name, folder=FOLDER)
    try:
        with gzip.open(path, "rb") as file:
            held = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: the file is damaged ({error}). Remove it, so that it is loaded again"
        ) from error
    head = 4 + 4 * rank
    sizes = np.frombuffer(held[4:head], ">u4").tolist()
    if held[:4] != bytes([0, 0, 8, rank]) or len(held) != head + int(np.prod(sizes)):
        raise InputError(
            describe(
                path,
                f"an IDX file of rank {rank}",
                f"{len(held)} bytes",
                "Remove it, so that it is loaded again",
            )
        )
    return np.frombuffer(held, np.uint8, offset=head).reshape(sizes).copy()

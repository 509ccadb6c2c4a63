"""What CIFAR-10 and CIFAR-100 share: the batches that their archives hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.keras.datasets.stored import Path, read_pickle
from kcompile.keras.settings import image_data_format
from kcompile_runtime.errors import InputError, describe


def load_batch(fpath: Path, label_key: str = "labels") -> tuple[np.ndarray, Any]:
    """The images of a batch file, uint8 of shape (images, 3, 32, 32), and their labels. Raises InputError."""
    held = read_pickle(fpath)
    data, labels = (held.get(key) if isinstance(held, dict) else None for key in ("data", label_key))
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3072 or labels is None:
        raise InputError(describe(str(fpath), f"rows of 3072 numbers, and {label_key}", type(held).__name__))
    return data.reshape(len(data), 3, 32, 32), labels


def as_images(x: np.ndarray) -> np.ndarray:
    """The images in the default data format."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if image_data_format() == "channels_last" else x

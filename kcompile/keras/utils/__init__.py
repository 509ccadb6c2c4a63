"""Helpers of Keras scripts: labels to one-hot rows, row norms, seeds, custom objects, files, batches."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from kcompile.ir.tensor import Tensor
from kcompile.keras.lazy import lazily as _lazily
from kcompile.keras.summary import print_summary
from kcompile.keras.utils.data_utils import PyDataset, Sequence, get_file
from kcompile.keras.utils.enqueuers import GeneratorEnqueuer, OrderedEnqueuer, SequenceEnqueuer
from kcompile.keras.utils.io_utils import HDF5Matrix
from kcompile.keras.utils.progbar import Progbar
from kcompile.keras.utils.serialization import CustomObjectScope, custom_object_scope, get_custom_objects
from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import InputError, describe

__getattr__, __dir__ = _lazily(
    __name__, model_to_dot="vis_utils", multi_gpu_model="multi_gpu_utils", plot_model="vis_utils"
)

_late, _ = _lazily("kcompile.keras", "keras3_ops")  # for tensors

__all__ = [
    "CustomObjectScope",
    "GeneratorEnqueuer",
    "HDF5Matrix",
    "OrderedEnqueuer",
    "Progbar",
    "PyDataset",
    "Sequence",
    "SequenceEnqueuer",
    "custom_object_scope",
    "get_custom_objects",
    "get_file",
    "normalize",
    "print_summary",
    "set_random_seed",
    "to_categorical",
]


def to_categorical(y: Any, num_classes: int | None = None, dtype: str = "float32") -> Any:
    """Class numbers as one-hot rows: shape (..., num_classes). A last axis of size 1 is dropped.

    num_classes: default the largest label plus one. Raises InputError for labels outside.
    """
    if (isinstance(y, Tensor) or hasattr(y, "__tensor__")) and num_classes is not None:  # as tensors
        return _late("keras3_ops").one_hot(y, num_classes)
    labels = as_array(y, "to_categorical")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    numbers = labels.astype(np.int64)
    classes = int(numbers.max(initial=-1)) + 1 if num_classes is None else num_classes
    outside = (numbers < 0) | (numbers >= classes)
    if not np.array_equal(numbers, labels) or outside.any():
        raise InputError(
            describe(
                "to_categorical",
                f"whole numbers in [0, {classes})",
                f"values in [{labels.min()}, {labels.max()}]",
            )
        )
    return np.eye(classes, dtype=dtype)[numbers]


def normalize(x: Any, axis: int = -1, order: int = 2) -> Any:
    """x divided by its norm of that order along `axis`; vectors of zeros stay. Tensors as arrays."""
    if isinstance(x, Tensor) or hasattr(x, "__tensor__"):
        return _late("keras3_ops").normalize(x, axis=axis, order=order)
    array = as_array(x, "normalize")
    norms = np.atleast_1d(np.linalg.norm(array, order, axis, keepdims=True))
    return np.asarray(array / np.where(norms == 0, 1, norms))


def set_random_seed(seed: int) -> None:
    """Seed Python's and numpy's generators, from which every seed not given is drawn."""
    random.seed(seed)
    np.random.seed(seed)

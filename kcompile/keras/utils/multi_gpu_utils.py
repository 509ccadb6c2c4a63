"""`multi_gpu_model`, for scripts that call it: a model runs on the device that its target names."""

from __future__ import annotations

import warnings
from typing import Any

from kcompile.keras.engine import is_integer
from kcompile_runtime.errors import InputError, describe

__all__ = ["multi_gpu_model"]


def multi_gpu_model(
    model: Any, gpus: Any = None, cpu_merge: bool = True, cpu_relocation: bool = False
) -> Any:
    """The model itself, with a warning: it is not split between devices. Its results are those that Keras
    computes with copies on each device. gpus: a number from 2 on, or a list of numbers."""
    count = gpus if is_integer(gpus) else 2 if gpus is None else len(gpus)
    if count < 2:
        raise InputError(describe("multi_gpu_model: gpus", "2 or more", repr(gpus)))
    warnings.warn("multi_gpu_model: the model is not split, and runs on one device", stacklevel=2)
    return model

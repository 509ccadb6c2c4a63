"""Arrays as calls on arrays give them: since tf.keras they are tensors, which have a method `numpy`."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.keras.editions import edition


class EagerArray(np.ndarray):
    """An array with the method `numpy` of tensors."""

    def set_shape(self, shape: object) -> None:
        """Nothing: it has its shape."""

    def numpy(self) -> np.ndarray:
        return self.view(np.ndarray)


class CalledArray(EagerArray):
    """The array of a variable, which `variable.value()` gives once more."""

    def __call__(self) -> np.ndarray:
        return self


def as_eager(found: Any, vintage: str) -> Any:
    """An array, or a list, tuple or dict of them, as a call in this vintage gives it."""
    if not edition(vintage).eager:
        return found
    if isinstance(found, dict):
        return {key: a.view(EagerArray) for key, a in found.items()}
    if isinstance(found, (list, tuple)):
        return type(found)(a.view(EagerArray) for a in found)
    return found.view(EagerArray)

"""keras.Variable of Keras 3, and what stands beside it at the top of the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from kcompile.keras import initializers
from kcompile.keras.editions import EDITIONS
from kcompile.keras.layer_weights import filled, unnamed
from kcompile.keras.settings import floatx
from kcompile.keras.tensors import Variable as _Variable
from kcompile_runtime.errors import InputError, UnsupportedError, describe


class Variable(_Variable):
    """An array that is written in place: a weight of the layer or model whose attribute it becomes.

    initializer: the values, or a function of (shape, dtype) with `shape`. autocast, aggregation,
    synchronization: how other backends keep it, which says nothing here.
    """

    def __init__(
        self,
        initializer: Any,
        shape: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: Any = "none",
        synchronization: Any = "auto",
        name: str | None = None,
    ) -> None:
        word = dtype.__name__ if isinstance(dtype, type) else str(dtype)
        kind = None if dtype is None else {"int": "int32", "float": floatx()}.get(word, word)
        if callable(initializer) or isinstance(initializer, str):
            if shape is None:
                raise InputError(describe("Variable: shape", "a shape, where values are drawn", "None"))
            value = filled(initializers.get(initializer), tuple(shape), kind or floatx())
        else:
            value = np.asarray(initializer)
            kind = kind or (floatx() if value.dtype.kind == "f" else value.dtype.name)
        name = unnamed("keras3") if name is None else name
        super().__init__(np.asarray(value), name, trainable, kind)
        self.vintage = "keras3"


def version() -> str:
    """The version of Keras that this is."""
    return EDITIONS["keras3"].version


@contextmanager
def device(device_name: str) -> Iterator[None]:
    """Nothing: a model runs where its target says. Raises UnsupportedError for no name."""
    if not isinstance(device_name, str):
        raise UnsupportedError(describe("device", "a name", repr(device_name)))
    yield

"""Keras 3's module of settings; those of Keras 2 are in `backend`."""

from kcompile.keras.settings import (
    backend,
    dtype_policy,
    epsilon,
    image_data_format,
    set_dtype_policy,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from kcompile.keras.settings import said_floatx as floatx

__all__ = [
    "backend",
    "dtype_policy",
    "epsilon",
    "floatx",
    "image_data_format",
    "set_dtype_policy",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
]

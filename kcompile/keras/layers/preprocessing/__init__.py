"""Layers that prepare data: they scale, number, sort and draw anew what comes into a model."""

from __future__ import annotations

from kcompile.keras.layers.preprocessing import scaling as _scaling
from kcompile.keras.layers.preprocessing.scaling import *

__all__ = [*_scaling.__all__]

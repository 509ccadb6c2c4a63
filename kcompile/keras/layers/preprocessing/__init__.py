"""Layers that prepare data: they scale, number, sort and draw anew what comes into a model."""

from __future__ import annotations

from kcompile.keras.layers.preprocessing import categories as _categories
from kcompile.keras.layers.preprocessing import chains as _chains
from kcompile.keras.layers.preprocessing import colours as _colours
from kcompile.keras.layers.preprocessing import geometry as _geometry
from kcompile.keras.layers.preprocessing import hashing as _hashing
from kcompile.keras.layers.preprocessing import histograms as _histograms
from kcompile.keras.layers.preprocessing import lookup as _lookup
from kcompile.keras.layers.preprocessing import mixing as _mixing
from kcompile.keras.layers.preprocessing import scaling as _scaling
from kcompile.keras.layers.preprocessing import spectra as _spectra
from kcompile.keras.layers.preprocessing import text_vectorization as _text_vectorization
from kcompile.keras.layers.preprocessing.categories import *
from kcompile.keras.layers.preprocessing.chains import *
from kcompile.keras.layers.preprocessing.colours import *
from kcompile.keras.layers.preprocessing.geometry import *
from kcompile.keras.layers.preprocessing.hashing import *
from kcompile.keras.layers.preprocessing.histograms import *
from kcompile.keras.layers.preprocessing.lookup import *
from kcompile.keras.layers.preprocessing.mixing import *
from kcompile.keras.layers.preprocessing.scaling import *
from kcompile.keras.layers.preprocessing.spectra import *
from kcompile.keras.layers.preprocessing.text_vectorization import *

__all__ = [*_categories.__all__, *_chains.__all__, *_colours.__all__, *_geometry.__all__, *_hashing.__all__]
__all__ += [
    *_histograms.__all__,
    *_lookup.__all__,
    *_mixing.__all__,
    *_scaling.__all__,
    *_spectra.__all__,
    *_text_vectorization.__all__,
]

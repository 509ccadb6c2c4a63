"""The Keras-compatible front end: it describes models and never computes.

Modules and names are Keras' own: `from keras.layers import Dense` becomes
`from kcompile.keras.layers import Dense`.
"""

from kcompile.keras import (
    activations,
    backend,
    callbacks,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    utils,
)
from kcompile.keras.engine import Input
from kcompile.keras.lazy import lazily as _lazily
from kcompile.keras.models import Model, Sequential
from kcompile.keras.places import install as _install

__getattr__, __dir__ = _lazily(__name__, "applications", "datasets", "preprocessing", "wrappers")

__version__ = "2.3.1"  # of the Keras whose public API this is

__all__ = [
    "Input",
    "Model",
    "Sequential",
    "activations",
    "backend",
    "callbacks",
    "constraints",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "regularizers",
    "utils",
]

_install(__name__)

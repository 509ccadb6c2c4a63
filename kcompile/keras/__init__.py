"""The Keras-compatible front end: it describes models and never computes.

Modules and names are Keras' own: `from keras.layers import Dense` becomes
`from kcompile.keras.layers import Dense`. Which Keras 2 it is, 2.3.1 or 2.2.4, `set_version` says.
"""

from typing import Any as _Any

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
from kcompile.keras.inputs import Input
from kcompile.keras.lazy import lazily as _lazily
from kcompile.keras.models import Model, Sequential
from kcompile.keras.places import install as _install
from kcompile.keras.settings import set_version
from kcompile.keras.settings import version as _version

_get, __dir__ = _lazily(__name__, "applications", "datasets", "preprocessing", "wrappers")


def __getattr__(name: str) -> _Any:
    return _version() if name == "__version__" else _get(name)


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
    "set_version",
    "utils",
]

_install(__name__)

"""Configurations of users' own layers: what their `get_config` gives, in Keras 3's words, and back.

Enters: the values of a configuration that a class of the user's makes: numbers, text, lists and dicts, but
layers, models, functions, arrays and objects with a `get_config` too, which Keras 3 serializes itself.
Leaves: what JSON can hold; and from a file, configurations that `deserialize_keras_object` takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kcompile.files.problems import MODELS
from kcompile.keras import layers
from kcompile.keras.engine import Layer
from kcompile.keras.layers.custom import Custom
from kcompile.keras.models import Model
from kcompile.keras.names_of_scripts import is_ours
from kcompile.keras.settings import dtype_name
from kcompile.keras.utils.newer import get_registered_name
from kcompile.keras.utils.serialization import get_custom_objects, serialize
from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import UnsupportedError

Config = dict[str, Any]


def _is_layer(kind: str) -> bool:
    """Whether a name is that of a class of layers or models, of ours or of the user's."""
    found = vars(layers).get(kind, get_custom_objects().get(kind))
    return kind in MODELS or (isinstance(found, type) and issubclass(found, Layer))


def written(value: Any, layer: Callable[[Layer], Config]) -> Any:
    """A value in Keras 3's words. layer: those of a layer or model."""
    if isinstance(value, Layer):
        return layer(value)
    if isinstance(value, Mapping):
        return {key: written(part, layer) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [written(part, layer) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": value.tolist(), "dtype": value.dtype.name}}
    if hasattr(value, "get_config") and not isinstance(value, type):
        kind = type(value)
        known = is_ours(kind)
        return {
            "module": _home(kind) if known else None,
            "class_name": kind.__name__,
            "config": written(value.get_config(), layer),
            "registered_name": None if known else get_registered_name(kind),
        }
    if callable(value) and hasattr(value, "__name__") and not isinstance(value, str):
        return {"module": "builtins", "class_name": "function", "config": value.__name__}
    return value


def _home(kind: type) -> str:
    """The module of Keras 3 that has a class of ours."""
    name = kind.__module__.rpartition(".")[2]
    return "keras." + {"metric": "metrics", "optimizer": "optimizers"}.get(name, name)


def read(config: Mapping[str, Any], layer: Callable[[Any], Any]) -> Config:
    """The arguments of a user's class as its `from_config` takes them. layer: of the configuration of a layer
    or model in a file, ours."""
    return {key: _read(value, layer) for key, value in config.items()}


def _read(value: Any, layer: Callable[[Any], Any]) -> Any:
    if isinstance(value, list):
        return [_read(part, layer) for part in value]
    if not isinstance(value, Mapping):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "DTypePolicy" and isinstance(config, Mapping):
        return config.get("name")
    if kind == "__numpy__" and isinstance(config, Mapping):
        return as_array(np.asarray(config.get("value"), dtype_name(config.get("dtype"))), "get_config")
    if isinstance(kind, str) and isinstance(config, (Mapping, list)) and _is_layer(kind):
        return layer(value)
    return {key: _read(part, layer) for key, part in value.items()}


def is_own(layer: Any) -> bool:
    """Whether a layer is of a class of the user's."""
    return not is_ours(type(layer))


def name_of(layer: Any) -> str | None:
    """The name under which files find a class of the user's, where it has been registered."""
    return get_registered_name(type(layer)) if is_own(layer) else None


def build_config(layer: Any) -> Config:
    """What a class of the user's wants to know when it is built anew, where it says so itself."""
    own = is_own(layer) and type(layer).get_build_config is not Layer.get_build_config
    return {"build_config": written(layer.get_build_config(), serialize)} if own else {}


def makes_itself(cls: Any) -> bool:
    """Whether a class of the user's has a `from_config` of its own, which is given all that its
    `get_config` gave."""
    return issubclass(cls, Custom) and cls.from_config.__qualname__ != Layer.from_config.__qualname__


def builds_itself(cls: Any) -> bool:
    """Whether a class of the user's is built anew by what it wants to know then."""
    return cls is not None and cls.build_from_config is not Layer.build_from_config


def stores(layer: Any) -> bool:
    """Whether a class of the user's says itself what of it is stored, and how it is read."""
    kind = type(layer)
    methods = ("save_own_variables", "load_own_variables")
    return is_own(layer) and any(getattr(kind, name) is not getattr(Layer, name) for name in methods)


def check_assets(layer: Any) -> None:
    """Raises UnsupportedError for a class that wants to write files into that of the model."""
    if is_own(layer) and hasattr(layer, "save_assets"):
        raise UnsupportedError(
            f"{layer.label}: save_assets: files inside of a model's are not written. Keep what they hold in "
            "get_config, or as arrays by save_own_variables and load_own_variables"
        )


def compiles_itself(model: Any) -> bool:
    """Whether a class of the user's says itself what of `compile` is stored, and how it is read."""
    kind, given = type(model), ("get_compile_config", "compile_from_config")
    return is_own(model) and all(getattr(kind, name) is not getattr(Model, name) for name in given)

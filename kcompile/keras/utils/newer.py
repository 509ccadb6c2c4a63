"""Names of keras.utils and keras.saving that came after Keras 2: registered classes, objects as
configurations, parts of batches, switches of what is printed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kcompile.keras.lazy import lazily
from kcompile.keras.settings import clear_session, dtype_name, floatx
from kcompile.keras.tensors import KerasTensor
from kcompile.keras.utils.serialization import deserialize, get_custom_objects, serialize
from kcompile_runtime.errors import InputError, InputTypeError, describe

__all__ = [
    "Config",
    "clear_session",
    "deserialize_keras_object",
    "disable_interactive_logging",
    "enable_interactive_logging",
    "get_registered_name",
    "get_registered_object",
    "is_interactive_logging_enabled",
    "is_keras_tensor",
    "pack_x_y_sample_weight",
    "register_keras_serializable",
    "serialize_keras_object",
    "standardize_dtype",
    "to_ordinal",
    "unpack_x_y_sample_weight",
]

_late, _ = lazily("kcompile.keras", known="known_objects")
_registered: dict[Any, str] = {}
_printed = {"interactive": True}


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Any], Any]:
    """A decorator: files may name the class or function, as "package>name" and by the name alone."""

    def register(given: Any) -> Any:
        own = given.__name__ if name is None else name
        if inspect.isclass(given) and not hasattr(given, "get_config"):
            raise InputError(
                describe(f"register_keras_serializable: {own}", "a class with get_config", "one without")
            )
        full = f"{package}>{own}"
        _registered[given] = full
        get_custom_objects().update({full: given, own: given})
        return given

    return register


def get_registered_name(obj: Any) -> str:
    """The name under which a class or function was registered, else its own."""
    return _registered.get(obj, getattr(obj, "__name__", str(obj)))


def get_registered_object(name: str, custom_objects: Any = None, module_objects: Any = None) -> Any:
    """The class or function of a registered name, None for one that nobody knows."""
    for known in (custom_objects, get_custom_objects(), module_objects):
        if known and name in known:
            return known[name]
    return None


def serialize_keras_object(obj: Any) -> Any:
    """An object as a configuration."""
    return serialize(obj)


def deserialize_keras_object(
    config: Any, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True, **others: Any
) -> Any:
    """The object of a configuration: a layer, a model, an optimizer, a loss, a metric, an initializer, a
    regularizer, a constraint, or a registered one. safe_mode: code in files is not run, whatever it says."""
    if others:
        raise InputTypeError(
            describe("deserialize_keras_object", "config and custom_objects", ", ".join(map(repr, others)))
        )
    if not isinstance(config, (Mapping, str)):
        return config
    return deserialize(
        config, {**_late("known")(), **get_custom_objects(), **(custom_objects or {})}, "object"
    )


# ---------------------------------------------------------------- parts of batches


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """A batch as fit takes it."""
    if y is None and sample_weight is None:
        return (x,) if isinstance(x, (list, tuple)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """x, y and sample_weight of a batch, None for what it has not."""
    parts = tuple(data) if isinstance(data, (list, tuple)) else (data,)
    if not 1 <= len(parts) <= 3:
        raise InputError(describe("a batch", "(x,), (x, y) or (x, y, sample_weight)", f"{len(parts)} parts"))
    x, y, weight = (*parts, None, None)[:3]
    return x, y, weight


def to_ordinal(y: Any, num_classes: int | None = None, dtype: str = "float32") -> np.ndarray:
    """Class numbers as rows of ones up to the class: shape (..., num_classes - 1)."""
    numbers = np.asarray(y).astype(int)
    numbers = numbers[..., 0] if numbers.ndim > 1 and numbers.shape[-1] == 1 else numbers
    count = int(numbers.max(initial=-1)) + 1 if num_classes is None else num_classes
    return np.asarray(np.arange(count - 1) < numbers[..., None], dtype)


# ---------------------------------------------------------------- others


class Config(dict[str, Any]):
    """Settings by name, which are attributes too."""

    __setattr__ = dict.__setitem__

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(f"Config has no setting {name!r}", name=name, obj=self)
        return self[name]

    def as_dict(self) -> dict[str, Any]:
        """The settings alone."""
        return dict(self)

    def freeze(self) -> None:
        """Nothing: settings may be changed."""


def is_keras_tensor(x: Any) -> bool:
    """Whether x is a tensor of a model."""
    return isinstance(x, KerasTensor)


def standardize_dtype(dtype: Any) -> str:
    """The name of a dtype, by default of `floatx`."""
    named = floatx() if dtype is None else dtype_name(getattr(dtype, "name", dtype))
    return str({"float": "float32", "int": "int32", "bfloat16": "bfloat16"}.get(str(named), named))


def enable_interactive_logging() -> None:
    """Bars go to the terminal: so they do in any case."""
    _printed["interactive"] = True


def disable_interactive_logging() -> None:
    """Bars go to the terminal all the same; verbose=0 leaves them out."""
    _printed["interactive"] = False


def is_interactive_logging_enabled() -> bool:
    """What was last said of it."""
    return _printed["interactive"]

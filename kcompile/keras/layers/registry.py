"""Layers from configurations: which class a name means, and the layer that a configuration describes.

Enters: configurations, {"class_name", "config"}. Leaves: layers that are not built. The modules that define
layers and models say which classes there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from kcompile.keras.engine import Layer
from kcompile.keras.utils import serialization
from kcompile_runtime.errors import ModelError, describe

__all__ = ["deserialize", "serialize"]

# Walks over layers recurse into those that a layer holds. A level of layers is three of brackets in a file,
# so that the reader takes every model that was made here.
MOST_NESTED = 24

_classes: dict[str, type[Layer]] = {}

_depth: ContextVar[int] = ContextVar("depth", default=0)  # how many layers are being made, one in another


def register(classes: Mapping[str, type[Layer]]) -> None:
    """Configurations mean these classes by these names."""
    _classes.update(classes)


def classes_of(module: ModuleType) -> dict[str, type[Layer]]:
    """The layers among a module's public names."""
    public = {name: getattr(module, name) for name in module.__all__}
    return {
        name: value
        for name, value in public.items()
        if isinstance(value, type) and issubclass(value, Layer) and value is not Layer
    }


def serialize(layer: Layer) -> dict[str, Any]:
    """A layer (or a model) as {"class_name", "config"}."""
    config: dict[str, Any] = serialization.serialize(layer)
    return config


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None, vintage: str | None = None
) -> Layer:
    """The layer (or model) of a configuration. vintage: of layers whose configuration says none, default
    that of `set_version`. Raises UnsupportedError for a class nobody knows."""

    def dated(value: Any, deep: int = 0) -> Any:
        if not isinstance(value, (list, tuple, Mapping)):
            return value
        if deep > 4 * MOST_NESTED:  # far more than so many layers need
            raise _too_deep()
        if not isinstance(value, Mapping):
            return [dated(v, deep + 1) for v in value]
        found = {key: dated(v, deep + 1) for key, v in value.items()}
        if found.get("class_name") in _classes and isinstance(found.get("config"), dict):
            found["config"] = {"vintage": vintage, **found["config"]}
        return found

    shared, number = _shared.get(), config.get(SHARED) if isinstance(config, Mapping) else None
    if shared is not None and number in shared:
        return shared[number]
    with _one_deeper():
        if vintage is not None:
            config = dated(config)
        with serialization.custom_object_scope(custom_objects):
            layer: Layer = serialization.deserialize(config, _classes, "layer")
    if shared is not None and number is not None:
        shared[number] = layer
    return layer


@contextmanager
def _one_deeper() -> Iterator[None]:
    """Count how deep layers are nested: inside the `with`, one is made, perhaps as a part of another. Raises
    ModelError for a layer nested too deep."""
    depth = _depth.get()
    if depth > MOST_NESTED:
        raise _too_deep()
    token = _depth.set(depth + 1)
    try:
        yield
    finally:
        _depth.reset(token)


def _too_deep() -> ModelError:
    return ModelError(
        describe("configuration", f"models and wrappers nested at most {MOST_NESTED} deep", "more")
    )


# Beside the class of a layer in a configuration: a number that is the same wherever the layer is the same.
SHARED = "shared"
_shared: ContextVar[dict[Any, Layer] | None] = ContextVar("shared", default=None)


@contextmanager
def sharing() -> Iterator[None]:
    """Inside the `with`, configurations with one number under SHARED are one layer."""
    token = _shared.set({})
    try:
        yield
    finally:
        _shared.reset(token)

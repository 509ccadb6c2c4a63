"""keras.saving: files, and the classes that they may name."""

from kcompile.keras.models import load_model, save_model
from kcompile.keras.utils.newer import (
    deserialize_keras_object,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    serialize_keras_object,
)
from kcompile.keras.utils.serialization import CustomObjectScope, custom_object_scope, get_custom_objects

__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]


def save_weights(model: object, filepath: object, overwrite: bool = True) -> None:
    """`Model.save_weights`."""
    model.save_weights(filepath, overwrite)  # type: ignore[attr-defined]


def load_weights(model: object, filepath: object, skip_mismatch: bool = False) -> None:
    """`Model.load_weights`."""
    model.load_weights(filepath, skip_mismatch=skip_mismatch)  # type: ignore[attr-defined]

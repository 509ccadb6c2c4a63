"""Models, under the name that Keras gives the module: `Model`, `Sequential`, and models from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kcompile.keras.cloning import clone_model
from kcompile.keras.engine import Layer
from kcompile.keras.functional import Model
from kcompile.keras.inputs import Input
from kcompile.keras.inputs import InputLayer as InputLayer  # which scripts of Keras 2 import from here
from kcompile.keras.layers.registry import deserialize, sharing
from kcompile.keras.saving import load_model, model_from_json, model_from_yaml, save_model
from kcompile.keras.sequential import Sequential
from kcompile.keras.subclassing import SubclassedModel as _SubclassedModel  # noqa: F401 (it registers itself)
from kcompile_runtime.errors import ModelError, describe

__all__ = [
    "Input",
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_config",
    "model_from_json",
    "model_from_yaml",
    "save_model",
]


def model_from_config(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Model:
    """The model of {"class_name", "config"}."""
    with sharing():
        model = deserialize(config, custom_objects) if isinstance(config, Mapping) else config
    if not isinstance(config, Mapping) or not isinstance(model, Model):
        raise ModelError(
            describe(
                "model_from_config",
                "the configuration of a model",
                f"that of {model.label}" if isinstance(model, Layer) else repr(config),
            )
        )
    return model

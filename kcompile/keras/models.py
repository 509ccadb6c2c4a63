"""Models, under the name that Keras gives the module: `Model`, `Sequential`, and models from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kcompile.keras.configurations import make_layers, own_arguments
from kcompile.keras.engine import KerasTensor, Layer, as_list
from kcompile.keras.functional import Model
from kcompile.keras.inputs import Input, InputLayer
from kcompile.keras.layers.registry import deserialize, sharing
from kcompile.keras.saving import load_model, model_from_json, model_from_yaml, save_model
from kcompile.keras.sequential import Sequential
from kcompile.keras.subclassing import SubclassedModel as _SubclassedModel  # noqa: F401 (it registers itself)
from kcompile.keras.utils.serialization import custom_object_scope
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError, describe

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


def clone_model(model: Model, input_tensors: Any = None, clone_function: Any = None) -> Model:
    """A model of the same configuration with its own, fresh weights. input_tensors: what Input gave, to take
    the place of the model's inputs. Raises UnsupportedError for a clone_function."""
    if not isinstance(model, Model):
        raise InputError(describe("clone_model", "a model", repr(model)))
    if clone_function is not None:
        raise UnsupportedError(describe("clone_model: clone_function", "None", repr(clone_function)))
    with custom_object_scope(*(layer.classes() for layer in model.owned_layers)):
        return _clone(model, input_tensors)


def _clone(model: Model, input_tensors: Any) -> Model:
    config = model.get_config()
    if input_tensors is None:
        return type(model).from_config(config)
    given = as_list(input_tensors)
    if len(given) != len(model.inputs) or not all(
        isinstance(x, KerasTensor) and isinstance(x.layer, InputLayer) for x in given
    ):
        raise ModelError(
            describe(
                "clone_model: input_tensors",
                f"{len(model.inputs)} tensors that Input gave",
                repr(input_tensors),
            )
        )
    if not model.functional:
        made = make_layers([e for e in config["layers"] if e["class_name"] != "InputLayer"])
        return type(model)([given[0], *made], **own_arguments(config))
    replaced = {x.layer.name: y for x, y in zip(model.inputs, given)}
    return type(model).from_config(config, inputs=replaced)

"""The layers, by the names Keras gives them, and layers as configurations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from kcompile.keras.engine import Input, InputLayer, InputSpec, Layer
from kcompile.keras.layers.advanced_activations import ELU, LeakyReLU, PReLU, ReLU, Softmax, ThresholdedReLU
from kcompile.keras.layers.cells import GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from kcompile.keras.layers.convolutional import (
    Conv1D,
    Conv2D,
    Conv3D,
    Convolution1D,
    Convolution2D,
    Convolution3D,
)
from kcompile.keras.layers.core import Activation, Dense, Dropout, Flatten, Reshape
from kcompile.keras.layers.embedding import Embedding
from kcompile.keras.layers.held import MOST_NESTED
from kcompile.keras.layers.lambda_ import Lambda
from kcompile.keras.layers.masking import Masking
from kcompile.keras.layers.merge import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from kcompile.keras.layers.normalization import BatchNormalization
from kcompile.keras.layers.old_merge import Merge, merge
from kcompile.keras.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    AvgPool1D,
    AvgPool2D,
    AvgPool3D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalAvgPool3D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    GlobalMaxPool3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
    MaxPool1D,
    MaxPool2D,
    MaxPool3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)
from kcompile.keras.layers.recurrent import GRU, LSTM, RNN, CuDNNGRU, CuDNNLSTM, SimpleRNN
from kcompile.keras.layers.wrappers import Bidirectional, TimeDistributed, Wrapper
from kcompile.keras.semantics import DEFAULT
from kcompile.keras.utils import serialization
from kcompile_runtime.errors import ModelError, describe

__all__ = [
    "ELU",
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "Add",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "AvgPool1D",
    "AvgPool2D",
    "AvgPool3D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "Convolution1D",
    "Convolution2D",
    "Convolution3D",
    "CuDNNGRU",
    "CuDNNLSTM",
    "Dense",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "Input",
    "InputLayer",
    "InputSpec",
    "LSTMCell",
    "Lambda",
    "Layer",
    "LeakyReLU",
    "Masking",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "Maximum",
    "Merge",
    "Minimum",
    "Multiply",
    "PReLU",
    "ReLU",
    "Reshape",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "StackedRNNCells",
    "Subtract",
    "ThresholdedReLU",
    "TimeDistributed",
    "Wrapper",
    "add",
    "average",
    "concatenate",
    "deserialize",
    "dot",
    "maximum",
    "merge",
    "minimum",
    "multiply",
    "serialize",
    "subtract",
]

_depth: ContextVar[int] = ContextVar("depth", default=0)  # how many layers are being made, one in another

_KNOWN = {
    name: value
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, Layer) and value is not Layer
}


def serialize(layer: Layer) -> dict[str, Any]:
    """A layer (or a model) as {"class_name", "config"}."""
    config: dict[str, Any] = serialization.serialize(layer)
    return config


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None, vintage: str = DEFAULT
) -> Layer:
    """The layer (or model) of a configuration. vintage: of layers whose configuration says none. Raises
    UnsupportedError for a class nobody knows."""
    from kcompile.keras.models import Model, Sequential

    known = {**_KNOWN, "Model": Model, "Functional": Model, "Sequential": Sequential}

    def dated(value: Any, deep: int = 0) -> Any:
        if not isinstance(value, (list, tuple, Mapping)):
            return value
        if deep > 4 * MOST_NESTED:  # far more than so many layers need
            raise _too_deep()
        if not isinstance(value, Mapping):
            return [dated(v, deep + 1) for v in value]
        found = {key: dated(v, deep + 1) for key, v in value.items()}
        if found.get("class_name") in known and isinstance(found.get("config"), dict):
            found["config"] = {"vintage": vintage, **found["config"]}
        return found

    shared, number = _shared.get(), config.get(SHARED) if isinstance(config, Mapping) else None
    if shared is not None and number in shared:
        return shared[number]
    with _one_deeper():
        if vintage != DEFAULT:
            config = dated(config)
        with serialization.custom_object_scope(custom_objects):
            layer: Layer = serialization.deserialize(config, known, "layer")
    if shared is not None and number is not None:
        shared[number] = layer
    return layer


@contextmanager
def _one_deeper() -> Iterator[None]:
    """Inside the `with`, a layer is made, which may stand in the configuration of another. Raises ModelError
    for one that stands in too many."""
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

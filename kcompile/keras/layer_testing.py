"""Data and a check for tests of layers of one's own, under the names of Keras 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.keras.models import Input, Model, Sequential, model_from_config

__all__ = ["get_test_data", "layer_test"]

Data = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def get_test_data(
    num_train: int = 1000,
    num_test: int = 500,
    input_shape: tuple[int, ...] = (10,),
    output_shape: tuple[int, ...] = (2,),
    classification: bool = True,
    num_classes: int = 2,
) -> Data:
    """Random (x, y) to train and to test: x spreads around its class number, or, without classification,
    x and y do around one number of each sample."""
    n = num_train + num_test
    centers = np.random.randint(0, num_classes, n) if classification else np.random.random(n)
    x = np.zeros((n, *input_shape), "float32")
    y = centers if classification else np.zeros((n, *output_shape), "float32")
    for i, center in enumerate(centers):
        x[i] = np.random.normal(center, 0.7, input_shape)
        if not classification:
            y[i] = np.random.normal(center, 0.7, output_shape)
    return (x[:num_train], y[:num_train]), (x[num_train:], y[num_train:])


def layer_test(
    layer_cls: Any,
    kwargs: Mapping[str, Any] | None = None,
    input_shape: Sequence[Any] | None = None,
    input_dtype: str | None = None,
    input_data: Any = None,
    expected_output: Any = None,
    expected_output_dtype: str | None = None,
    fixed_batch_size: bool = False,
) -> np.ndarray:
    """Check that a layer of one input and one output gets and sets its weights, has the shapes it says,
    gives the expected output, comes back from its configuration alone and in either kind of model, and
    trains. Gives the output. Raises AssertionError."""
    arguments = dict(kwargs or {})
    if input_data is None:
        assert input_shape, "input_shape or input_data is needed"
        sizes = [np.random.randint(1, 4) if d is None else d for d in input_shape]
        input_data = (10 * np.random.random(sizes)).astype(input_dtype or "float32")
    shape = tuple(input_data.shape if input_shape is None else input_shape)
    dtype = str(input_dtype or input_data.dtype)

    layer = layer_cls(**arguments)
    layer.set_weights(layer.get_weights())
    x = Input(batch_shape=shape, dtype=dtype) if fixed_batch_size else Input(shape[1:], dtype=dtype)
    y = layer(x)
    assert y.dtype == (expected_output_dtype or dtype), f"output of {y.dtype}"
    model = Model(x, y)
    said = layer.compute_output_shape(shape)
    found = model.predict(input_data)
    _check_shape(found.shape, said)
    if expected_output is not None:
        np.testing.assert_allclose(found, expected_output, rtol=1e-3)
    _check_copy(model, Model, found, input_data)
    layer_cls.from_config(layer.get_config())

    model.compile("rmsprop", "mse")
    model.train_on_batch(input_data, found)

    first = layer_cls(**{**arguments, "batch_input_shape": shape, "dtype": dtype})
    stacked = Sequential([first])
    found = stacked.predict(input_data)
    _check_shape(found.shape, said)
    if expected_output is not None:
        np.testing.assert_allclose(found, expected_output, rtol=1e-3)
    _check_copy(stacked, Sequential, found, input_data)
    stacked.compile("rmsprop", "mse")
    stacked.train_on_batch(input_data, found)
    return found


def _check_shape(found: Sequence[int], said: Sequence[Any]) -> None:
    assert len(found) == len(said) and all(b in (None, a) for a, b in zip(found, said)), (found, said)


def _check_copy(model: Model, kind: type[Model], found: np.ndarray, data: Any) -> None:
    """The model of its own configuration, with its weights, gives the same."""
    copy = kind.from_config(model.get_config())
    if model.weights:
        copy.set_weights(model.get_weights())
    np.testing.assert_allclose(copy.predict(data), found, rtol=1e-3)
    model_from_config({"class_name": kind.__name__, "config": model.get_config()})

"""Python's operators on the tensors that `call` gets, and on tensors of a model: the sums that Keras 3.15 on
JAX and tf_keras 2.21 gave for the same arrays, and the dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.interpreted import InterpreterEngine
from kcompile.tensorflow import names
from kcompile_runtime.errors import KcompileError

A = np.arange(24).reshape(2, 3, 4).astype("float32") / 10 - 1
B = np.arange(24).reshape(2, 4, 3).astype("float32") / 7 - 1
C = (np.arange(24).reshape(2, 3, 4) % 3).astype("int32")
W = np.arange(8).reshape(4, 2).astype("float32")

Found = tuple[tuple[int, ...], str, float]
# By name: the function of the arrays, and in Keras 3 and tf.keras what a layer and what a model of it gives
CASES: dict[str, tuple[Callable[..., Any], Found, Found, Found]] = {
    "matmul": (lambda a, b, c: a @ b, *[((2, 3, 3), "float32", 47.829)] * 3),
    "matmul of an array": (lambda a, b, c: a @ W, *[((2, 3, 2), "float32", 37.2)] * 3),
    "and": (lambda a, b, c: (a > 0) & (c > 0), *[((2, 3, 4), "bool", 9.0)] * 3),
    "xor": (lambda a, b, c: (a > 0) ^ (c > 0), *[((2, 3, 4), "bool", 11.0)] * 3),
    "not": (lambda a, b, c: ~(a > 0), *[((2, 3, 4), "bool", 11.0)] * 3),
    "bits of both": (
        lambda a, b, c: c & 1,
        *(((2, 3, 4), "int32", 8.0), ((2, 3, 4), "bool", 16.0), ((2, 3, 4), "int32", 8.0)),
    ),
    "bits of either": (
        lambda a, b, c: c | 4,
        *(((2, 3, 4), "int32", 120.0), ((2, 3, 4), "bool", 24.0), ((2, 3, 4), "int32", 120.0)),
    ),
    "every other bit": (
        lambda a, b, c: ~c,
        *(((2, 3, 4), "int32", -48.0), ((2, 3, 4), "bool", 8.0), ((2, 3, 4), "int32", -48.0)),
    ),
    "quotient of integers": (
        lambda a, b, c: c / 2,
        *(((2, 3, 4), "float32", 12.0), ((2, 3, 4), "float32", 12.0), ((2, 3, 4), "float64", 12.0)),
    ),
    "power of integers": (lambda a, b, c: c**2, *[((2, 3, 4), "int32", 40.0)] * 3),
    "floor": (lambda a, b, c: a // 0.3, *[((2, 3, 4), "float32", 2.0)] * 3),
}


def found_by(keras: Any, function: Callable[..., Any], layer: bool) -> Found:
    class Own(keras.layers.Layer):  # type: ignore[name-defined, misc]
        def call(self, x: Any) -> Any:
            return function(*x)

    inputs = [keras.Input(x.shape[1:], dtype=x.dtype.name) for x in (A, B, C)]
    model = keras.Model(inputs, Own()(inputs) if layer else function(*inputs))
    model.use_engine(InterpreterEngine(model))
    y = np.asarray(model.predict([A, B, C], verbose=0))
    return y.shape, y.dtype.name, round(float(y.astype("float64").sum()), 3)


@pytest.mark.parametrize("name", list(CASES))
def test_operators_give_what_real_keras_gives(name: str) -> None:
    function, layer, model, of_tf = CASES[name]
    assert found_by(keras3, function, True) == layer
    assert found_by(keras3, function, False) == model
    assert found_by(tf_keras, function, True) == found_by(tf_keras, function, False) == of_tf


def test_dtypes_meet_in_keras_3_alone() -> None:
    assert found_by(keras3, lambda a, b, c: a + c, True) == ((2, 3, 4), "float32", 27.6)
    assert found_by(keras3, lambda a, b, c: c * 0.5, True) == ((2, 3, 4), "float32", 12.0)
    for layer in (True, False):
        with pytest.raises(KcompileError):
            found_by(tf_keras, lambda a, b, c: a + c, layer)


def test_constants_of_tensorflow_on_the_left() -> None:
    constant = names("")["constant"]

    class Own(tf_keras.layers.Layer):
        def call(self, x):
            two = constant(2.0)
            return two * x + constant([[1.0, 2.0]]) / x - (two - x) + constant([1.0, 0.0]) ** x

    x = tf_keras.Input((2,))
    model = tf_keras.Model(x, Own()(x))
    model.use_engine(InterpreterEngine(model))
    found = model.predict(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), verbose=0)
    np.testing.assert_allclose(found, [[3.0, 5.0], [8.333333, 10.5]], rtol=1e-6)

"""Penalties on the outputs of layers in a model in TimeDistributed, by the vintages' rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras as keras2
from kcompile import keras3, tf_keras

X = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)


def largest(k: Any) -> Any:
    return lambda y: 0.1 * k.backend.max(y)


def steps(found: Any) -> Any:
    """Of each step, divided by the samples."""
    return sum(found(X[:, t]) for t in range(4)) / 5


@pytest.mark.parametrize(
    ("keras", "expected"),
    [
        (keras2, lambda found: found(X.reshape(20, 3))),  # not divided
        (tf_keras, lambda found: 2 * found(X.reshape(20, 3)) / 20),  # the model runs twice
        (keras3, steps),
    ],
    ids=["keras2", "tf_keras", "keras3"],
)
@pytest.mark.parametrize("penalty", ["sum", "largest"])
def test_penalties(keras: Any, expected: Any, penalty: str) -> None:
    k = keras2 if penalty == "largest" else keras
    regularizer = largest(k) if penalty == "largest" else keras.regularizers.l2(0.01)
    dense = keras.layers.Dense(
        3, kernel_initializer="identity", activity_regularizer=regularizer, input_shape=(3,)
    )
    inputs = keras.layers.Input((4, 3))
    model = keras.models.Model(inputs, keras.layers.TimeDistributed(keras.models.Sequential([dense]))(inputs))
    model.compile("sgd", "mse")
    loss = np.ravel(kcompile.compile(model, verify=True).test_on_batch(X, X))[0]
    right = expected(lambda y: 0.1 * y.max() if penalty == "largest" else 0.01 * (y**2).sum())
    assert loss == pytest.approx(right, rel=1e-5)

"""Crossentropies of probabilities that a sigmoid or a softmax gave, in models of tf.keras: of their logits.
The numbers are those of tf_keras 2.21 and Keras 3.15 on JAX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.interpreted import InterpreterEngine

X = np.array([[-3.0], [-1.0], [-0.5], [0.5], [1.0], [3.0]], np.float32)
Y = np.array([[1], [0], [1], [0], [1], [1]], np.float32)
CLASSES = np.array([0, 1, 2, 0, 1, 2])
LABELS = np.eye(3, dtype=np.float32)[CLASSES]


def stepped(keras: Any, last: Any, loss: Any, y: Any, largest: float = 12.0) -> list[float]:
    """The loss of a Dense, on which a last layer or function stands, and how far a step moves its first
    weight."""
    units = int(y.shape[-1]) if y.ndim > 1 else 3
    x = keras.layers.Input((1,))
    model = keras.Model(x, last(keras.layers.Dense(units, use_bias=False, name="scores")(x)))
    start = np.linspace(-largest, largest, units)[None] if units > 1 else np.full((1, 1), largest)
    model.set_weights([start])
    model.compile(keras.optimizers.SGD(1.0), loss)
    model.use_engine(InterpreterEngine(model))
    value = float(np.ravel(model.train_on_batch(X, y))[0])
    return [round(value, 4), round(float(model.get_weights()[0][0, 0] - start[0, 0]), 4)]


def activation(name: str) -> Any:
    return lambda keras: keras.layers.Activation(name)


CASES = {
    "binary": (activation("sigmoid"), "binary_crossentropy", Y, [8.0008, -0.6663], [4.6872, -0.1663]),
    "focal": (activation("sigmoid"), "binary_focal_crossentropy", Y, [7.9909, -0.6704], [4.6773, -0.1704]),
    "classes": (activation("softmax"), "categorical_crossentropy", LABELS, [20.0, 0.3333], [10.7454, 0.0]),
    "numbers": (
        activation("softmax"),
        "sparse_categorical_crossentropy",
        CLASSES,
        [20.0, 0.3333],
        [10.7454, 0.0],
    ),
    "softmax as binary": (
        activation("softmax"),
        "binary_crossentropy",
        LABELS,
        [2.8983, 0.111],
        [4.6662, 0.1946],
    ),
    "sigmoid as classes": (
        activation("sigmoid"),
        "categorical_crossentropy",
        LABELS,
        [8.0008, 0.3331],
        [2.6373, 0.0831],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loss_is_of_the_logits_behind_it(name: str) -> None:
    last, loss, y, of_tf_keras, of_keras3 = CASES[name]
    largest = 30.0 if name in ("classes", "numbers") else 12.0
    assert stepped(tf_keras, last(tf_keras), loss, y, largest) == pytest.approx(of_tf_keras, abs=2e-4)
    assert stepped(keras3, last(keras3), loss, y, largest) == pytest.approx(of_keras3, abs=2e-4)

"""tf_keras (Keras 2 on TensorFlow), where it is installed: predictions and training steps agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile_runtime.errors import UnsupportedError

pytestmark = pytest.mark.keras
keras = pytest.importorskip("tf_keras")
layers = keras.layers
N = 16


def mlp() -> Any:
    return keras.Sequential(
        [
            layers.Dense(24, activation="relu", input_shape=(12,)),
            layers.Dense(16, activation="hard_sigmoid", kernel_regularizer="l2"),
            layers.Dense(5, activation="softmax"),
        ]
    )


def conv() -> Any:
    return keras.Sequential(
        [
            layers.Conv2D(6, 3, strides=2, padding="same", input_shape=(9, 8, 2)),
            layers.Activation("relu"),
            layers.AveragePooling2D(2, padding="same"),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ]
    )


def lstm() -> Any:
    return keras.Sequential(
        [
            layers.Masking(input_shape=(7, 4)),
            layers.LSTM(9, recurrent_activation="hard_sigmoid", return_sequences=True),
            layers.Bidirectional(layers.LSTM(5)),
            layers.Dense(5, activation="softmax"),
        ]
    )


def gru() -> Any:
    return keras.Sequential(
        [
            layers.GRU(
                9,
                reset_after=False,
                recurrent_activation="hard_sigmoid",
                return_sequences=True,
                input_shape=(7, 4),
            ),
            layers.GRU(6, go_backwards=True),
            layers.Dense(5, activation="softmax"),
        ]
    )


NETS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "mlp": (mlp, (12,)),
    "conv": (conv, (9, 8, 2)),
    "lstm": (lstm, (7, 4)),
    "gru": (gru, (7, 4)),
}


def made(name: str) -> tuple[Any, np.ndarray, np.ndarray]:
    keras.utils.set_random_seed(3)
    make, shape = NETS[name]
    rng = np.random.default_rng(4)
    x = rng.normal(size=(N, *shape)).astype(np.float32)
    if name == "lstm":
        for i, row in enumerate(x):
            row[2 + i % 6 :] = 0  # masked
    return make(), x, np.eye(5, dtype=np.float32)[rng.integers(0, 5, N)]


@pytest.mark.parametrize("name", NETS)
def test_predictions(name: str) -> None:
    model, x, _ = made(name)
    np.testing.assert_allclose(
        kcompile.compile(model).predict(x), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        lambda: keras.optimizers.RMSprop(0.01),
        lambda: keras.optimizers.Adam(0.01),
    ],
    ids=["SGD", "RMSprop", "Adam"],
)
@pytest.mark.parametrize("name", NETS)
def test_20_steps(name: str, optimizer: Callable[[], Any]) -> None:
    model, x, y = made(name)
    model.compile(optimizer(), "categorical_crossentropy")
    start = model.get_weights()
    ours = kcompile.compile(model)
    losses = [ours.train_on_batch(x, y) for _ in range(20)]
    model.set_weights(start)
    model.compile(optimizer(), "categorical_crossentropy")
    theirs = [model.train_on_batch(x, y) for _ in range(20)]
    np.testing.assert_allclose(losses, theirs, rtol=1e-4)


def test_legacy_optimizers_are_refused() -> None:
    model = mlp()
    model.compile(keras.optimizers.legacy.Adam(), "mse")
    with pytest.raises(UnsupportedError, match=r"legacy optimizer.*tf_keras\.optimizers\.Adam"):
        kcompile.compile(model)

"""States of trainings of models with more than weights: each goes on to the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_checkpoint import X, Y, same

from kcompile import keras, keras3
from kcompile.keras import callbacks as C
from kcompile.keras import layers as L

STEPS = X[:40].reshape(40, 3, 2)


def listed(folder: Path) -> list[Any]:
    return [C.CSVLogger(folder / "log.csv")]


def stateful() -> Any:
    model = keras.models.Sequential([L.LSTM(4, stateful=True, batch_input_shape=(8, 3, 2)), L.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, decay=0.01), "mse")
    return model


def averaged() -> Any:
    layers, optimizers = keras3.layers, keras3.optimizers
    model = keras3.Sequential(
        [keras3.Input((6,)), layers.GaussianNoise(0.1), layers.Dense(4, "relu"), layers.Dense(1)]
    )
    rate = optimizers.schedules.ExponentialDecay(0.05, 5, 0.8)
    optimizer = optimizers.AdamW(rate, use_ema=True, ema_overwrite_frequency=7, gradient_accumulation_steps=2)
    model.compile(
        optimizer,
        "binary_crossentropy",
        metrics=[keras3.metrics.AUC(from_logits=True, name="auc"), "accuracy"],
    )
    return model


def of_own_steps() -> Any:
    class Model(keras3.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.drop = keras3.layers.Dense(4, "relu"), keras3.layers.Dropout(0.3)
            self.out, self.seen = keras3.layers.Dense(1), keras3.metrics.Mean(name="seen")

        def call(self, x: Any, training: Any = None) -> Any:
            return self.out(self.drop(self.dense(x), training=training))

        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, **_: Any) -> Any:
            loss = keras3.ops.mean((y - y_pred) ** 2)
            self.seen.update_state(loss * 2)
            return loss

    model = Model()
    model.compile("rmsprop")
    model(X[:2])
    return model


def several() -> Any:
    a = keras.Input((6,), name="a")
    h = L.Dropout(0.2)(L.Dense(5, activation="tanh")(a))
    model = keras.Model(a, [L.Dense(1, name="one")(h), L.Dense(1, activation="sigmoid", name="two")(h)])
    losses = {"one": "mse", "two": "binary_crossentropy"}
    model.compile("nadam", losses, metrics={"two": "accuracy"}, loss_weights={"one": 0.3, "two": 1})
    return model


def any_length() -> Any:
    embedded = L.Embedding(9, 4, mask_zero=True, input_length=None)
    model = keras.models.Sequential([embedded, L.GRU(4), L.Dense(1)])
    model.compile("adagrad", "mse")
    return model


def words() -> Iterator[Any]:
    while True:
        length = np.random.randint(2, 4)
        yield np.random.randint(0, 9, (8, length)), np.random.random((8, 1))


CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "stateful": (stateful, lambda: {"x": STEPS, "y": Y[:40], "batch_size": 8}, {"shuffle": False}),
    "averages of weights": (
        averaged,
        lambda: {"x": X, "y": Y, "batch_size": 8},
        {
            "validation_split": 0.2,
            "listed": lambda folder: [*listed(folder), keras3.callbacks.SwapEMAWeights()],
        },
    ),
    "a loss of its own": (of_own_steps, lambda: {"x": X, "y": Y, "batch_size": 8}, {}),
    "several outputs": (
        several,
        lambda: {"x": X, "y": [Y, Y], "batch_size": 8, "sample_weight": [Y[:, 0] + 1, Y[:, 0] + 2]},
        {"validation_data": (X[:9], [Y[:9], Y[:9]]), "initial_epoch": 1},
    ),
    "any length": (any_length, lambda: {"x": words()}, {"steps_per_epoch": 5}),
}


@pytest.mark.parametrize("case", CASES)
def test_models(tmp_path: Path, case: str) -> None:
    make, data, options = CASES[case]
    same(tmp_path, (7, 6), "3 batches", make=make, data=data, **{"listed": listed, **options})

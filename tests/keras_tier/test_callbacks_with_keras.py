"""EarlyStopping and ReduceLROnPlateau beside those of Keras 3 and tf_keras, told of the same values."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kcompile import keras3
from kcompile import tf_keras as ours_tf
from kcompile.keras.semantics import semantics
from kcompile_runtime.errors import ModelError

pytestmark = pytest.mark.keras
OURS = {"keras": (keras3, "keras3"), "tf_keras": (ours_tf, "tf_keras")}


class Stand:
    """What the callbacks ask of a model; its weights are the number of the epoch."""

    def __init__(self, vintage: str) -> None:
        self.semantics, self.vintage = semantics(vintage), vintage
        self.stop_training, self.epoch, self.back = False, 0, None
        self.output_names: list[str] = []
        self.compile_arguments = None

    def get_weights(self) -> list[np.ndarray]:
        return [np.array(self.epoch)]

    def set_weights(self, weights: list[np.ndarray]) -> None:
        self.back = int(weights[0])


def told(callback: Any, vintage: str, values: list[float]) -> tuple[Any, ...]:
    """Epochs, the epoch that stopped, the epoch whose weights were brought back, and the best value."""
    model = Stand(vintage)
    callback.set_model(model)
    callback.on_train_begin({})
    for epoch, value in enumerate(values):
        model.epoch = epoch
        callback.on_epoch_end(epoch, {"val_loss": value})
        if model.stop_training:
            break
    callback.on_train_end({})
    return epoch, callback.stopped_epoch, model.back, callback.best


OPTIONS: list[dict[str, Any]] = [
    {},
    {"patience": 2},
    {"mode": "max"},
    {"mode": "max", "patience": 3, "min_delta": 0.3},
    {"min_delta": -0.5},
    {"baseline": 1.0, "patience": 2},
    {"baseline": 1.0},
    {"baseline": 1e9, "patience": 1},
    {"baseline": 2.0, "mode": "max", "patience": 3},
    {"start_from_epoch": 2, "patience": 1},
    {"baseline": 0.5, "min_delta": 0.2, "patience": 3},
]


@pytest.mark.parametrize("library", OURS)
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_early_stopping_of_any_values(library: str, back: bool, number: int) -> None:
    theirs, (ours, vintage) = pytest.importorskip(library), OURS[library]
    generator = np.random.default_rng(number)
    for _ in range(20):
        values = np.round(generator.uniform(0, 4, 8) * np.linspace(1, generator.uniform(0, 1), 8), 2).tolist()
        options = {"mode": "min", "restore_best_weights": back, **OPTIONS[number]}
        found = told(ours.callbacks.EarlyStopping(**options), vintage, values)
        assert found == told(theirs.callbacks.EarlyStopping(**options), vintage, values), values


METRICS: dict[str, list[str]] = {
    "keras": [
        "mse",
        "mae",
        "accuracy",
        "acc",
        "cosine_similarity",
        "kl_divergence",
        "hinge",
        "categorical_accuracy",
        "top_k_categorical_accuracy",
        "MeanSquaredError",
    ],
    "tf_keras": ["mse", "accuracy", "acc", "cosine_similarity", "categorical_accuracy"],
}


@pytest.mark.parametrize("library", OURS)
def test_which_metrics_are_better_when_larger(library: str) -> None:
    theirs, (ours, _) = pytest.importorskip(library), OURS[library]
    x = np.eye(4, dtype="float32")

    def made(keras: Any) -> Any:
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Activation("softmax")])
        model.compile("sgd", "categorical_crossentropy", metrics=METRICS[library])
        model.evaluate(x, x, verbose=0)
        return model

    live, mine = made(theirs), made(ours)
    greater = importlib.import_module("keras").ops.greater if library == "keras" else np.greater
    for name in ["loss", *METRICS[library]]:
        right, found = (k.callbacks.EarlyStopping(f"val_{name}") for k in (theirs, ours))
        right.set_model(live)
        if library == "keras":
            right._set_monitor_op()
        found.set_model(mine)
        found.on_train_begin({})
        assert (found.best < 0) == (right.monitor_op is greater), name


def test_keras_3_does_not_guess_what_is_better() -> None:
    model = keras3.Sequential([keras3.layers.Input((4,)), keras3.layers.Dense(1)])

    def accuracy_of_mine(y_true: Any, y_pred: Any) -> Any:
        return y_pred - y_true

    model.compile("sgd", "mse", metrics=[accuracy_of_mine])
    for kind in (keras3.callbacks.EarlyStopping, keras3.callbacks.ReduceLROnPlateau):
        callback = kind("val_accuracy_of_mine")
        callback.set_model(model)
        with pytest.raises(ModelError, match=r"'min' or 'max'"):
            callback.on_train_begin({})


@pytest.mark.parametrize("monitor", ["val_acc_of_x", "val_my_auc"])
def test_the_rate_follows_names_until_keras_3(monitor: str) -> None:
    theirs, (ours, vintage) = pytest.importorskip("tf_keras"), OURS["tf_keras"]
    model = SimpleNamespace(semantics=semantics(vintage), output_names=[], compile_arguments=None)
    found, right = (k.callbacks.ReduceLROnPlateau(monitor) for k in (ours, theirs))
    found.set_model(model)
    found.on_train_begin({})
    right.on_train_begin({})
    assert found.best == right.best

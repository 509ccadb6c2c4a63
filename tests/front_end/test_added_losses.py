"""Losses that functions of K add to a model, and the layers that only they need."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras as keras2
from kcompile import tf_keras
from kcompile_runtime.errors import ModelError, UnsupportedError

X, Y = np.ones((4, 2), np.float32), np.zeros((4, 1), np.float32)


def with_side(keras: Any, weight: float = 1.0) -> Any:
    """A layer that only the added loss needs, behind one that the output needs too."""
    x = keras.layers.Input((2,))
    h = keras.layers.Dense(3, name="shared")(x)
    model = keras.models.Model(x, keras.layers.Dense(1, name="out")(h))
    model.add_loss(weight * keras.backend.mean(keras.backend.square(keras.layers.Dense(2, name="side")(h))))
    model.compile("sgd", "mse")
    return model


def test_tf_keras_takes_such_layers() -> None:
    model = with_side(tf_keras)
    assert [layer.name for layer in model.layers][1:] == ["shared", "out", "side"]
    assert model.count_params() == 9 + 4 + 8
    before = model.get_weights()
    loss = kcompile.compile(model, verify=True).train_on_batch(X, Y)
    assert all(np.any(a != b) for a, b in zip(before, model.get_weights()))
    out, side = (X @ before[0] @ before[i] for i in (2, 4))  # biases start as zeros
    assert loss == pytest.approx(float(np.mean(out**2) + np.mean(side**2)), rel=1e-5)


def test_keras_2_reads_and_does_not_train_them() -> None:
    model = with_side(keras2)
    assert [layer.name for layer in model.layers][1:] == ["shared", "out"]
    assert model.count_params() == 9 + 4
    without = with_side(keras2, 0.0)
    without.set_weights(model.get_weights())
    assert model.test_on_batch(X, Y) > without.test_on_batch(X, Y)


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_files_hold_the_layers_and_not_the_loss(name: str, tmp_path: Path) -> None:
    model = with_side(tf_keras)
    model.save(tmp_path / name)
    back = kcompile.load(tmp_path / name)
    assert [layer.name for layer in back.layers] == [layer.name for layer in model.layers]
    for a, b in zip(back.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(back.predict(X), model.predict(X))


@pytest.mark.parametrize("keras", [keras2, tf_keras])
def test_copies_keep_the_loss(keras: Any) -> None:
    model = with_side(keras)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other.test_on_batch(X, Y) == model.test_on_batch(X, Y)


def test_a_function_of_k_before_such_a_layer_cannot_be_saved(tmp_path: Path) -> None:
    x = tf_keras.layers.Input((2,))
    model = tf_keras.models.Model(x, tf_keras.layers.Dense(1)(x))
    model.add_loss(tf_keras.backend.mean(tf_keras.layers.Dense(2)(tf_keras.backend.abs(x))))
    model.compile("sgd", "mse")
    assert len(model.get_weights()) == 4 and np.isfinite(model.train_on_batch(X, Y))
    with pytest.raises(UnsupportedError, match=r"K\.abs"):
        model.save(tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())


def test_losses_that_do_not_fit_leave_the_model_as_it_is() -> None:
    model = with_side(tf_keras)
    layers, other = tf_keras.layers, tf_keras.layers.Input((2,))
    same_name = layers.Dense(2, name="out")(model.layers[1].output)
    for tensor, message in ((layers.Dense(1)(other), "graph disconnected"), (same_name, "a name of its own")):
        with pytest.raises(ModelError, match=message):
            model.add_loss(tf_keras.backend.mean(tensor))
    assert [layer.name for layer in model.layers][1:] == ["shared", "out", "side"]
    assert np.isfinite(model.train_on_batch(X, Y))


# ---------------------------------------------------------------- added metrics


def test_layers_and_models_report_what_they_add():
    """Values of tf_keras 2.21."""
    keras, layers = tf_keras, tf_keras.layers

    class Reports(layers.Layer):
        def call(self, x):
            self.add_metric(keras.backend.mean(x), name="mean", aggregation="mean")
            self.add_metric(x * 2, name="each", aggregation="mean")
            return x

    inputs = keras.Input((3,))
    hidden = Reports()(layers.Dense(4, kernel_initializer="ones")(inputs))
    model = keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(hidden))
    model.add_metric(keras.backend.std(hidden), name="std", aggregation="mean")
    model.compile("sgd", "mse", metrics=["mae"])
    x = np.linspace(-1, 1, 30, dtype=np.float32).reshape(10, 3)
    history = model.fit(x, x[:, :1], 4, 2, shuffle=False, verbose=0).history
    assert list(history) == ["loss", "mae", "mean", "each", "std"] == model.metrics_names
    np.testing.assert_allclose(history["mean"], [0.38715, 0.37371], rtol=1e-4)
    np.testing.assert_allclose(history["each"], [-0.00114, 0.06565], atol=1e-5)
    np.testing.assert_allclose(history["std"], [0.53292, 0.46709], rtol=1e-4)
    found = model.evaluate(x, x[:, :1], 4, verbose=0)
    np.testing.assert_allclose(found[2:], [0.36491, 0.06075, 0.45766], rtol=1e-3)
    with pytest.raises(ModelError, match="a name, and aggregation='mean'"):
        model.add_metric(hidden)
    with pytest.raises(ModelError, match="a tensor computed in call, or of the model"):
        model.add_metric(3.0, name="three")


def test_a_model_of_ones_own_reports_first():
    class Own(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = tf_keras.layers.Dense(1)

        def call(self, x):
            y = self.dense(x)
            self.add_metric(tf_keras.backend.sum(y), name="sum")
            return y

    model = Own()
    model.compile("sgd", "mse")
    x = np.ones((4, 2), np.float32)
    assert list(model.fit(x, x[:, :1], verbose=0).history) == ["loss", "sum"]

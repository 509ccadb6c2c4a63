"""The form in which models give outputs, and the names of these and of their results.

Of executed tf_keras 2.21 and Keras 3 (on JAX).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras3, tf_keras

BOTH = pytest.mark.parametrize("keras", [tf_keras, keras3])
X = np.ones((4, 3), np.float32)


def functional(keras: Any, form: Any) -> Any:
    x = keras.Input((3,), name="x")
    a, b = keras.layers.Dense(1, name="a_layer")(x), keras.layers.Dense(2, name="b_layer")(x)
    return keras.Model(x, form(a, b))


def own(keras: Any, form: Any) -> Any:
    class Own(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = keras.layers.Dense(1), keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return form(self.a(x), self.b(x))

    return Own()


@BOTH
@pytest.mark.parametrize("make", [functional, own])
def test_dicts_are_in_their_own_order(keras: Any, make: Any, tmp_path: Any) -> None:
    model = make(keras, lambda a, b: {"z": a, "b": b})
    assert list(model(X)) == ["z", "b"]
    found = model.predict(X, verbose=0)
    assert list(found) == list(model.predict_on_batch(X)) == (["z", "b"] if keras is tf_keras else ["b", "z"])
    assert found["z"].shape == (4, 1)
    if make is functional:
        assert list(model.output) == list(model(keras.Input((3,)))) == ["z", "b"]
        assert model.output_names == ["b_layer", "a_layer"]
        model.save(tmp_path / "model.keras")
        back = kcompile.load(tmp_path / "model.keras")
        assert list(back(X)) == ["z", "b"] == list(keras.models.clone_model(model)(X))
        np.testing.assert_array_equal(back(X)["z"], found["z"])


@BOTH
@pytest.mark.parametrize("make", [functional, own])
def test_tuples(keras: Any, make: Any) -> None:
    model = make(keras, lambda a, b: (b, a))
    assert [type(y) for y in (model(X), model.predict(X, verbose=0), model.predict_on_batch(X))] == [
        tuple
    ] * 3
    assert isinstance(make(keras, lambda a, b: [b, a])(X), list)


@BOTH
def test_names_of_results(keras: Any) -> None:
    model = functional(keras, lambda a, b: {"z": a, "b": b})
    assert model.metrics_names == []
    model.compile("sgd", "mse")
    later = keras is keras3
    assert model.metrics_names == (["loss"] if later else [])
    model.fit(X, {"z": X[:, :1], "b": X[:, :2]}, verbose=0)
    names = ["loss", "b_loss", "z_loss"] if later else ["loss", "b_layer_loss", "a_layer_loss"]
    assert model.metrics_names == names
    assert list(model.history.history) == (sorted(names) if later else names)


@BOTH
def test_metrics_names_of_one_output(keras: Any) -> None:
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    later = keras is keras3
    assert model.metrics_names == (["loss", "compile_metrics"] if later else [])
    model.test_on_batch(X, X[:, :1])
    assert model.metrics_names == ["loss", "compile_metrics" if later else "mae"]


@BOTH
def test_outputs_of_one_layer(keras: Any) -> None:
    """In Keras 3 the losses of both have one name, and the second is told."""
    x, layer = keras.Input((3,)), keras.layers.Dense(1, name="a", kernel_initializer="ones")
    model = keras.Model(x, [layer(x), layer(x)])
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=[["mae"], ["mae"]])
    history = model.fit(X, [X[:, :1], X[:, :1] * 0], verbose=0).history
    values = {name: value for name, (value,) in history.items()}
    if keras is keras3:
        assert model.output_names == ["a", "a"]
        assert values == {"a_loss": 9.0, "a_mae": 2.0, "a_mae_1": 3.0, "loss": 13.0}
        found = model.evaluate(X, [X[:, :1], X[:, :1] * 0], verbose=0)
        assert found == [13.0, 9.0, 9.0, 2.0, 3.0]
        assert model.metrics_names == ["loss", "compile_metrics", "a_loss", "a_loss"]
    else:
        assert model.output_names == ["a", "a_1"]
        assert values == {"loss": 13.0, "a_loss": 4.0, "a_1_loss": 9.0, "a_mae": 2.0, "a_1_mae": 3.0}

"""pickle, copy and deepcopy: what comes back predicts and trains on as the original; nothing is shared."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile.keras import backend as K
from kcompile.keras import layers, losses, models, optimizers
from kcompile_runtime.errors import UnsupportedError

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 2)).astype("float32")


class Scaled(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight("factor", (1,), initializer="ones")
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        return x * self.factor


def twice(x: Any) -> Any:
    return 2.0 * x


def sequential() -> models.Model:
    return models.Sequential(
        [
            layers.Dense(8, activation="tanh", input_shape=(4,)),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            Scaled(),
            layers.Lambda(twice),
            layers.Dense(2),
        ]
    )


def shared() -> models.Model:
    x, dense = layers.Input((4,)), layers.Dense(4, kernel_regularizer="l2")
    inside = models.Sequential([layers.Dense(4, input_shape=(4,)), layers.Activation("relu")])
    y = layers.Add()([inside(dense(x)), dense(inside(x))])
    model = models.Model(x, layers.Dense(2)(y))
    model.add_loss(K.mean(K.square(y)))
    return model


def recurrent() -> models.Model:
    return models.Sequential(
        [
            layers.Reshape((4, 1), input_shape=(4,)),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.GRU(5),
            layers.Dense(2),
        ]
    )


def deep() -> models.Model:
    x = layers.Input((4,))
    y = x
    for _ in range(150):
        y = layers.Add()([layers.Activation("tanh")(y), y])
    return models.Model(x, layers.Dense(2)(y))


MODELS = {f.__name__: f for f in (sequential, shared, recurrent)}
WAYS: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "old protocol": lambda m: pickle.loads(pickle.dumps(m, 2)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODELS)
def test_models_come_back_and_train_on(name: str, way: str) -> None:
    for state in ("fresh", "compiled", "trained"):
        model = MODELS[name]()
        if state != "fresh":
            model.compile(optimizers.Adam(0.01, clipnorm=1.0), "mse", metrics=["mae"])
        if state == "trained":
            model.fit(X, Y, epochs=2, batch_size=4, verbose=0)
            model.optimizer.lr = 0.02
        made = WAYS[way](model)
        assert type(made) is type(model) and made.name == model.name
        np.testing.assert_array_equal(made.predict(X), model.predict(X))
        mine = {id(v) for v in (*model.weights, *model.random_state)}
        assert not mine & {id(v) for v in (*made.weights, *made.random_state)}
        if state != "fresh":
            np.random.seed(3)
            first = model.fit(X, Y, epochs=2, batch_size=4, verbose=0).history
            np.random.seed(3)
            assert made.fit(X, Y, epochs=2, batch_size=4, verbose=0).history == first
            for a, b in zip(made.get_weights(), model.get_weights()):
                np.testing.assert_array_equal(a, b)
            assert float(made.optimizer.lr.value) == float(model.optimizer.lr.value)
        before = model.predict(X)
        made.set_weights([w * 0 for w in made.get_weights()])
        np.testing.assert_array_equal(model.predict(X), before)
        assert not made.predict(X).any()


def test_deep_models_and_models_that_share() -> None:
    model = deep()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    x = layers.Input((4,))
    hidden = layers.Dense(20)(x)
    pair = models.Model(x, hidden), models.Model(x, layers.Dense(2)(hidden))
    encoder, whole = pickle.loads(pickle.dumps(pair))
    whole.compile("sgd", "mse")
    before = encoder.predict(X)
    whole.fit(X, Y, verbose=0)
    assert encoder.weights[0] is whole.weights[0] and (encoder.predict(X) != before).any()
    np.testing.assert_array_equal(models.Model(encoder.input, whole.output).predict(X), whole.predict(X))


def test_a_shallow_copy_predicts_too() -> None:
    model = sequential()
    np.testing.assert_array_equal(copy.copy(model).predict(X), model.predict(X))


@pytest.mark.parametrize("way", WAYS)
def test_compiled_models(way: str) -> None:
    model = sequential()
    model.compile("adam", losses.Huber(0.5) if hasattr(losses, "Huber") else "mse")
    compiled = kcompile.compile(model, threads=1)
    compiled.fit(X, Y, verbose=0)
    made = WAYS[way](compiled)
    assert made.engine.threads == 1 and made.model is not model
    np.testing.assert_array_equal(made.predict(X), compiled.predict(X))


@pytest.mark.parametrize("way", WAYS)
def test_parts(way: str) -> None:
    model = sequential()
    model.compile(optimizers.RMSprop(0.125), "mse")
    history = model.fit(X, Y, verbose=0)
    again = WAYS[way]
    assert again(history).history == history.history and again(history).model is None
    for a, b in zip(again(model.optimizer).get_weights(), model.optimizer.get_weights()):
        np.testing.assert_array_equal(a, b)
    layer = again(model.layers[0])
    np.testing.assert_array_equal(layer.get_weights()[0], model.layers[0].get_weights()[0])
    assert models.Sequential([layer]).predict(X).shape == (12, 8)
    variable = again(model.weights[0])
    variable.assign(variable.value * 0)
    assert model.weights[0].value.any() and variable.value.ctypes.data % 64 == 0


def test_what_has_no_name_is_refused() -> None:
    for part in (layers.Lambda(lambda x: x + 1), layers.Activation(lambda x: K.tanh(x))):
        model = models.Sequential([layers.Dense(2, input_shape=(4,)), part])
        with pytest.raises(UnsupportedError, match="cannot be found again by its name"):
            pickle.dumps(model)
        np.testing.assert_array_equal(copy.deepcopy(model).predict(X), model.predict(X))


def spawned(model: Any, queue: Any) -> None:
    model.train_on_batch(X, Y)
    queue.put((model.predict(X), pickle.dumps(model)))


def test_spawned_processes() -> None:
    context = multiprocessing.get_context("spawn")
    model, queue = recurrent(), context.Queue()
    model.compile("adam", "mse")
    process = context.Process(target=spawned, args=(model, queue))
    process.start()
    found, back = queue.get(timeout=300)
    process.join(60)
    model.train_on_batch(X, Y)
    np.testing.assert_array_equal(found, model.predict(X))
    np.testing.assert_array_equal(pickle.loads(back).predict(X), found)

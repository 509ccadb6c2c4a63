"""Metrics with a state that layers and models hold, and what add_metric makes of their results.

Values are of tf_keras 2.21, and of Keras 3 on TensorFlow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras as keras2
from kcompile import keras3, tf_keras

X = np.random.default_rng(0).normal(size=(10, 4)).astype("float32")
Y = (np.arange(10) * 7 % 3).astype("int32")
WEIGHTS = np.linspace(0.1, 2, 10).astype("float32")


class End(tf_keras.layers.Layer):
    """The softmax of scores, whose accuracy it counts and reports as `how` says."""

    def __init__(self, how: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.acc = tf_keras.metrics.SparseCategoricalAccuracy(name="own_acc")
        self.how = how

    def call(self, scores: Any, labels: Any) -> Any:
        if self.how == "call":
            self.add_metric(self.acc(labels, scores), name="accuracy", aggregation="mean")
        elif self.how == "derived":
            self.add_metric(self.acc(labels, scores) * 2.0, name="twice")
        else:
            self.acc.update_state(labels, scores)
        return tf_keras.backend.softmax(scores)


def functional(how: str) -> Any:
    x, y = tf_keras.Input((4,)), tf_keras.Input((1,), dtype="int32")
    return tf_keras.Model([x, y], End(how)(tf_keras.layers.Dense(3)(x), y))


class Own(tf_keras.Model):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.dense, self.end = tf_keras.layers.Dense(3), End(how)

    def call(self, inputs: Any) -> Any:
        return self.end(self.dense(inputs[0]), inputs[1])


def trained(model: Any) -> tuple[Any, Any]:
    model.build([(None, 4), (None, 1)])
    weights = [np.random.default_rng(k).normal(size=s).astype("float32") for k, s in ((1, (4, 3)), (2, (3,)))]
    model.set_weights(weights)
    model.compile(tf_keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    options = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0, "sample_weight": WEIGHTS}
    history = model.fit([X, Y[:, None]], Y, **options).history
    return history, model.evaluate([X, Y[:, None]], Y, batch_size=3, verbose=0)


@pytest.mark.parametrize("make", [functional, Own])
def test_add_metric_takes_the_metric_for_its_result(make: Any) -> None:
    model = make("call")
    history, values = trained(model)
    assert list(history) == ["loss", "own_acc"] == model.metrics_names
    np.testing.assert_allclose(history["loss"], [1.2891, 1.2587], atol=1e-4)
    np.testing.assert_allclose(history["own_acc"], [0.4, 0.4])
    np.testing.assert_allclose(values, [1.2672, 0.6], atol=1e-4)
    first, rest = slice(5), slice(5, None)
    np.testing.assert_allclose(model.test_on_batch([X[rest], Y[rest, None]], Y[rest])[1], 0.8)
    found = model.test_on_batch([X[first], Y[first, None]], Y[first], reset_metrics=False)
    np.testing.assert_allclose(found[1], 0.6)


def test_what_follows_from_a_result_is_a_mean_beside_the_metric() -> None:
    history, values = trained(functional("derived"))
    np.testing.assert_allclose([history[k] for k in ("own_acc", "twice")], [[0.4, 0.4], [0.85, 0.85]])
    np.testing.assert_allclose(values[1:], [0.6, 0.99444], atol=1e-4)


def test_metrics_in_attributes_are_reported_by_themselves() -> None:
    history, values = trained(Own("counts alone"))
    np.testing.assert_allclose(history["own_acc"], [0.4, 0.4])
    np.testing.assert_allclose(values[1], 0.6)


def test_values_of_a_held_metric_s_name_are_counted_by_it() -> None:
    class Reports(tf_keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.kept = {"a": [tf_keras.metrics.Sum(name="size")]}

        def call(self, x: Any) -> Any:
            self.add_metric(x, name="size")
            return x

    model = tf_keras.Sequential([Reports(), tf_keras.layers.Dense(1)])
    model.compile(loss="mse")
    model.build((None, 4))
    found = model.evaluate(X, X[:, :1], batch_size=4, verbose=0)
    np.testing.assert_allclose(found[1], X.sum(), rtol=1e-5)


def test_in_keras_3() -> None:
    class Holds(keras3.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras3.layers.Dense(1, kernel_initializer="ones")
            self.mean, self.idle = keras3.metrics.Mean(name="own"), keras3.metrics.MeanSquaredError(name="ms")

        def call(self, x: Any) -> Any:
            y = self.dense(x)
            self.mean.update_state(y)
            return y

    x = np.arange(20, dtype="float32").reshape(10, 2) / 20
    inputs = keras3.Input((2,))
    model = keras3.Model(inputs, Holds()(inputs))
    model.compile("sgd", "mse", metrics=["mae"])
    history = model.fit(x, x[:, :1], batch_size=4, epochs=2, shuffle=False, verbose=0).history
    assert list(history) == ["loss", "mae", "ms", "own"]
    np.testing.assert_allclose(history["own"], [0.94196, 0.88758], atol=1e-5)
    found = model.evaluate(x, x[:, :1], batch_size=4, verbose=0)
    np.testing.assert_allclose(found, [0.22403, 0.39753, 0.84443, 0.0], atol=1e-5)


def test_in_keras_2() -> None:
    """Of those that are held, what add_metric is given counts: Keras 2.3.1."""

    class Holds(keras2.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.idle = keras2.metrics.Mean(name="own"), keras2.metrics.Mean(name="idle")

        def call(self, x: Any) -> Any:
            self.add_metric(self.mean(x), name="other")
            return x

    x = np.arange(20, dtype="float32").reshape(10, 2) / 20
    inputs = keras2.layers.Input((2,))
    model = keras2.models.Model(inputs, Holds()(keras2.layers.Dense(1, kernel_initializer="ones")(inputs)))
    model.compile("sgd", "mse")
    history = model.fit(x, x[:, :1], batch_size=4, epochs=2, shuffle=False, verbose=0).history
    assert list(history) == ["loss", "own"]
    np.testing.assert_allclose(history["own"], [0.94196, 0.88758], atol=1e-5)


@pytest.mark.parametrize("keras", [tf_keras, keras3])
def test_binary_accuracy_counts_elements(keras: Any) -> None:
    t, p = np.array([0, 1, 1, 0.0]), np.array([0.1, 0.7, 0.4, 0.9])
    metric = keras.metrics.BinaryAccuracy()
    metric.update_state(t[:3], p[:3])
    metric.update_state(t[3:], p[3:])
    assert float(metric.result()) == 0.5
    metric.reset_state()
    metric.update_state(t.reshape(2, 2), p.reshape(2, 2), sample_weight=[[2.0, 1.0], [1.0, 1.0]])
    assert float(metric.result()) == pytest.approx(0.6)
    of_function = {tf_keras: 0.5, keras3: [1, 1, 0, 0]}[keras]
    np.testing.assert_allclose(keras.metrics.binary_accuracy(t, p), of_function)


def test_labels_of_one_column_and_vectors_are_vectors_in_tf_keras() -> None:
    metric = tf_keras.metrics.MeanSquaredError()
    for rows in (slice(3), slice(3, 4)):
        t, p = np.array([0, 1, 1, 0.0])[rows], np.array([0.1, 0.7, 0.4, 0.9])[rows]
        metric.update_state(t[:, None], p)
    assert float(metric.result()) == pytest.approx(0.48167, abs=1e-4)  # each batch is one value

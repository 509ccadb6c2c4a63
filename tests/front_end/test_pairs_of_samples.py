"""Losses and metrics of a script's own that look at all pairs of samples, and labels as these see them,
against values of Keras 3.15 on JAX."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import keras, keras3, tf_keras
from kcompile.keras3 import ops
from kcompile_runtime.errors import ModelError

X = np.random.RandomState(0).normal(size=(40, 6)).astype("float32")
Y = np.arange(40) % 4


class Contrastive(keras3.losses.Loss):
    """Khosla et al. 2020, as scripts write it: it takes over `__call__`."""

    def __call__(self, labels, features, sample_weight=None):
        unit = keras3.utils.normalize(features, axis=1, order=2)
        logits = ops.divide(ops.matmul(unit, ops.transpose(unit)), 0.05)
        y = ops.reshape(labels, (-1, 1))
        same = ops.cast(ops.equal(y, ops.transpose(y)), "float32")
        same = same / ops.sum(same, axis=1, keepdims=True)
        return ops.mean(keras3.losses.categorical_crossentropy(same, logits, from_logits=True))


class Right(keras3.metrics.Metric):
    """How many are right: of labels [n], which are compared with all predictions where these are [n, 1]."""

    def __init__(self, column=False, **options):
        super().__init__(**options)
        self.column = column
        self.right = self.add_weight(name="right", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        guess = ops.argmax(y_pred, axis=1)
        guess = ops.reshape(guess, (-1, 1)) if self.column else guess
        right = ops.cast(ops.equal(ops.cast(y_true, "int32"), ops.cast(guess, "int32")), "float32")
        right = right if sample_weight is None else right * sample_weight
        self.right.assign_add(ops.sum(right))

    def result(self):
        return self.right + 0


def model(units, activation=None):
    made = keras3.Sequential([keras3.Input((6,)), keras3.layers.Dense(units, activation)])
    made.set_weights([np.sin(np.arange(6.0 * units)).reshape(6, units), np.zeros(units)])
    return made


def test_a_loss_over_all_pairs_trains_for_each_number_of_samples():
    net = model(8)
    net.compile(keras3.optimizers.SGD(0.1), Contrastive())
    history = net.fit(X, Y, epochs=2, batch_size=16, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], [13.203936576843262, 11.837618827819824], rtol=1e-5)
    assert net.evaluate(X, Y, batch_size=16, verbose=0) == pytest.approx(11.161070823669434, rel=1e-5)


def test_metrics_of_ones_own_see_labels_as_they_are_given():
    net = model(4, "softmax")
    net.compile("sgd", "sparse_categorical_crossentropy", metrics=[Right(name="a"), Right(True, name="b")])
    weighted = model(4, "softmax")
    weighted.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=[Right(name="a")])
    tested = net.evaluate(X, Y, batch_size=16, verbose=0, return_dict=True)
    assert (tested["a"], tested["b"]) == (8.0, 144.0)
    weights = np.arange(40) / 40
    assert weighted.evaluate(X, Y, sample_weight=weights, verbose=0)[1] == pytest.approx(3.3)


def test_an_error_of_the_script_stays_that():
    def wrong(y_true, y_pred):
        return ops.reshape(y_pred, (-1, 5))

    net = model(4)
    net.compile("sgd", wrong)
    with pytest.raises(ValueError, match=r"Loss 'wrong'.*ops\.reshape"):
        net.fit(X, X[:, :4], verbose=0)


def test_tf_keras_gives_metrics_labels_with_a_last_axis():
    seen = []

    def metric(y_true, y_pred):
        seen.append(str(y_true.shape))
        return tf_keras.backend.mean(y_pred, axis=-1)

    net = tf_keras.Sequential([tf_keras.Input((6,)), tf_keras.layers.Dense(1)])
    net.compile("sgd", "mse", metrics=[metric])
    net.evaluate(X, X[:, 0], verbose=0)
    assert set(seen) == {"(n, 1)"}


# ---------------------------------------------------------------- losses of Keras over pairs


def scores_of_each_for_each():
    class Scores(keras3.layers.Layer):
        def call(self, x):
            return keras3.ops.matmul(x, keras3.ops.transpose(x))

    inputs = keras3.Input((4,))
    dense = keras3.layers.Dense(3, kernel_initializer="ones", use_bias=False)
    return keras3.Model(inputs, Scores()(dense(inputs)))


def test_classes_may_be_the_samples_of_the_batch():
    model = scores_of_each_for_each()
    model.compile("sgd", keras3.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(6, 4)
    options = {"epochs": 3, "batch_size": 6, "shuffle": False, "verbose": 0}
    history = model.fit(x, np.arange(6), **options).history["loss"]
    np.testing.assert_allclose(history, [4.85817, 4.78225, 4.70762], rtol=1e-5)  # Keras 3.15


def test_the_circle_loss_trains_a_model():
    inputs = keras3.Input((4,))
    y = keras3.layers.UnitNormalization()(keras3.layers.Dense(3, kernel_initializer="ones")(inputs))
    model = keras3.Model(inputs, y)
    model.compile("sgd", keras3.losses.Circle(gamma=2.0))
    x = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    before = model.evaluate(x, np.array([0, 1, 0, 1, 2, 2]), verbose=0)
    wanted = keras3.losses.Circle(gamma=2.0)(np.array([0, 1, 0, 1, 2, 2]), model.predict(x, verbose=0))
    np.testing.assert_allclose(before, wanted, rtol=1e-5)


@pytest.mark.parametrize("library", [keras3, tf_keras])
def test_labels_come_to_a_function_with_the_axes_of_outputs_and_may_be_broadcast(library):
    """Values of executed tf_keras 2.21 and Keras 3.15."""
    x, y = np.arange(18, dtype="f").reshape(6, 3) / 18, np.arange(6, dtype="f") / 6
    model = library.Sequential([library.layers.Input((3,)), library.layers.Dense(1, use_bias=False)])
    model.set_weights([np.full((3, 1), 0.5, "f")])
    model.compile("sgd", lambda y_true, y_pred: (y_true[:, 0] - y_pred) ** 2)
    losses = model.fit(x, y, batch_size=6, epochs=3, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, [0.3483796, 0.3403669, 0.3326451], rtol=1e-5)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(0.3252037, rel=1e-5)


def test_keras_2_says_what_is_broadcast():
    model = keras.models.Sequential([keras.layers.Dense(1, input_shape=(3,))])
    model.compile("sgd", lambda y_true, y_pred: (y_true[:, 0] - y_pred) ** 2)
    with pytest.raises(ModelError, match=r"each pair of samples.*flatten both"):
        model.fit(np.ones((4, 3)), np.ones(4), verbose=0)

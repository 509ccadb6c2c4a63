"""Layers that need the number of samples: graphs for each number that comes, against numpy and Keras 3.15."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import keras, keras3, tf_keras
from kcompile.keras3 import ops
from kcompile_runtime.errors import KcompileError

X = np.random.RandomState(0).normal(size=(10, 4)).astype("float32")


class Across(keras3.layers.Layer):
    """The order of the samples, sums of those before, and a share of the others by likeness."""

    def call(self, x):
        near = ops.softmax(ops.matmul(x, ops.transpose(x)), axis=-1)
        order = ops.argsort(ops.argsort(x[:, 0]))
        mixed = ops.cumsum(x, axis=0) + ops.roll(x, 1, axis=0) + ops.matmul(near, x)
        return mixed + ops.cast(order, "float32")[:, None]


def by_numpy(x):
    near = np.exp(x @ x.T - (x @ x.T).max(-1, keepdims=True))
    order = np.argsort(np.argsort(x[:, 0]))
    return np.cumsum(x, 0) + np.roll(x, 1, 0) + near / near.sum(-1, keepdims=True) @ x + order[:, None]


def model():
    x = keras3.Input((4,))
    h = Across()(x)
    return keras3.Model(x, {"all": h, "first": h - h[:1]})


def test_predictions_for_each_number_of_samples():
    net = model()
    assert [y.shape for y in net.outputs] == [(None, 4), (None, 4)]
    for n in (10, 7):
        expected = by_numpy(X[:n])
        found = net.predict(X[:n], batch_size=10, verbose=0)
        np.testing.assert_allclose(found["all"], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found["first"], expected - expected[:1], rtol=1e-5, atol=1e-5)
    parts = net.predict(X, batch_size=4, verbose=0)["all"]  # the last batch has two
    for at in (0, 4, 8):
        np.testing.assert_allclose(parts[at : at + 4], by_numpy(X[at : at + 4]), rtol=1e-5, atol=1e-5)


def test_twice_the_samples_between_two_layers_and_training():
    x = keras3.Input((4,))
    both = ops.concatenate([x, 2 * x], axis=0)
    assert both.shape == (None, 4)
    h = keras3.layers.Dense(1, kernel_initializer="ones", use_bias=False)(both)
    one, two = ops.split(h, 2, axis=0)
    net = keras3.Model(x, two - one)
    net.compile(keras3.optimizers.SGD(0.1), "mse")
    y = X.sum(1)
    np.testing.assert_allclose(net.predict(X, verbose=0)[:, 0], y, rtol=1e-5, atol=1e-5)
    losses = net.fit(X, 2 * y, batch_size=4, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, [4.689870834350586], rtol=1e-5)


def test_what_is_wrong_is_said_as_before():
    with pytest.raises(KcompileError, match="cannot reshape float32"):
        keras3.layers.Lambda(lambda t: ops.reshape(t, (7, 3)))(keras3.Input((4,)))
    with pytest.raises(KcompileError, match="batch"):  # half as many samples
        keras3.layers.Lambda(lambda t: t[::2])(keras3.Input((4,)))


def test_keras_2_has_no_such_steps():
    with pytest.raises(KcompileError, match="other than the batch"):
        keras.layers.Lambda(lambda t: keras.backend.cumsum(t, axis=0))(keras.layers.Input((4,)))


def test_a_model_by_subclassing():
    class Net(tf_keras.Model):
        def call(self, x):
            return x - tf_keras.backend.reverse(x, 0) + tf_keras.backend.cumsum(x, axis=0)

    net = Net()
    for n in (6, 3):
        expected = X[:n] - X[:n][::-1] + np.cumsum(X[:n], 0)
        np.testing.assert_allclose(net.predict(X[:n], verbose=0), expected, rtol=1e-5, atol=1e-5)

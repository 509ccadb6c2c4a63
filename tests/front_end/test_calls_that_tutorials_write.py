"""How tutorials of TensorFlow call layers and models of their own."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.ir.described import TensorShape
from kcompile.keras.eager import EagerTensor, as_tensors
from kcompile.tensorflow import names

tf = names("")
X = np.random.RandomState(0).normal(size=(2, 3)).astype("float32")


@pytest.mark.parametrize("keras", [tf_keras, keras3])
def test_a_cell_is_called_by_itself(keras):
    cell = keras.layers.LSTMCell(4)
    states = [np.zeros((2, 4), "float32"), np.zeros((2, 4), "float32")]
    y, (h, c) = cell(X, states)
    wanted = keras.layers.RNN(cell, return_state=True)(X[:, None])
    for ours, theirs in zip((y, h, c), wanted):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    stacked = keras.layers.StackedRNNCells([cell, keras.layers.GRUCell(5)])
    y, new = stacked(X, [states, np.zeros((2, 5), "float32")])
    assert y.shape == (2, 5) and [len(new), new[0][0].shape, new[1].shape] == [2, (2, 4), (2, 5)]


def test_shapes_of_build_and_tuples_of_call_are_those_of_tensorflow():
    class Both(tf_keras.layers.Layer):
        def build(self, input_shape):
            assert isinstance(input_shape, TensorShape) and input_shape.as_list()[-1] == 3
            super().build(input_shape)

        def call(self, x, mask):
            assert mask is None
            return x, 2 * x

    found = Both()(X, mask=None)
    assert type(found) is tuple and isinstance(found[1], EagerTensor)
    np.testing.assert_allclose(found[1], 2 * X)


def test_a_model_is_tried_at_the_sizes_that_its_data_have():
    table = np.arange(16, dtype="float32").reshape(1, 8, 2)

    class Placed(tf_keras.Model):
        def __init__(self):
            super().__init__(self)
            self.dense = tf_keras.layers.Dense(2, kernel_initializer="ones")

        def call(self, x):
            return self.dense(x + table[:, : x.shape[1]])

    model = Placed()
    for steps in (8, 3, 5):
        given = np.zeros((2, steps, 2), "float32")
        wanted = np.broadcast_to(table[:, :steps].sum(-1, keepdims=True), (2, steps, 2))
        np.testing.assert_allclose(model(given), wanted)


def test_a_value_for_each_sample_of_a_fixed_batch():
    x = tf_keras.Input((3,), batch_size=2)
    model = tf_keras.Model(x, x * 2 + as_tensors(X))
    np.testing.assert_allclose(model.predict(X, batch_size=2, verbose=0), 3 * X, rtol=1e-6)


def test_assignments_make_other_tensors():
    a = tf["constant"]([1.0, 2.0])
    b = a
    b += 1
    assert a.numpy().tolist() == [1, 2] and b.numpy().tolist() == [2, 3]
    assert f"{a[0]:.1f}" == "1.0" and str(a) == "tf.Tensor([1. 2.], shape=(2,), dtype=float32)"
    assert (a * np.array([0.5, 2.0])).dtype == np.float32

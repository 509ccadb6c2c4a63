"""Variables in numpy's functions, `variable.value()`, and the names of weights that were given none."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import keras3, tf_keras


def weight_of(keras):
    layer = keras.layers.Dense(2)
    layer.build((None, 2))
    layer.set_weights([np.ones((2, 2)), np.array([1.0, 4.0])])
    return layer.bias


@pytest.mark.parametrize("keras", [keras3, tf_keras])
def test_functions_of_numpy_read_the_numbers(keras):
    v = weight_of(keras)
    for found, wanted in (
        (np.sqrt(v), [1, 2]),
        (np.maximum(v, 2), [2, 4]),
        (np.maximum(np.array([2, 2]), v), [2, 4]),
        (np.isnan(v), [False, False]),
        (np.add(v, 1), [2, 5]),
        (np.add(1, v), [2, 5]),
        (v * np.ones(2, "f"), [1, 4]),
        (np.ones(2, "f") - v, [0, -3]),
        (np.ones(2) < v, [False, True]),
        (np.ones((2, 2), "f") @ v, [5, 5]),
        (np.max(v), 4),
        (np.mean(v), 2.5),
        (np.add.reduce(v), 5),
    ):
        np.testing.assert_array_equal(np.asarray(found), wanted)


def test_value_is_a_method_before_keras_3():
    v = weight_of(tf_keras)
    assert v.value().tolist() == v.value().numpy().tolist() == v.value.tolist() == [1, 4]

    class Scaled(tf_keras.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight("scale", (2,), initializer="ones")

        def call(self, x):
            return x * self.scale.value()

    layer = Scaled()
    model = tf_keras.Sequential([tf_keras.layers.Input((2,)), layer])
    layer.set_weights([np.array([2.0, 3.0])])
    np.testing.assert_array_equal(model.predict(np.ones((1, 2)), verbose=0), [[2, 3]])


def test_a_trace_says_what_numpy_cannot_do():
    class Root(keras3.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight((2,), initializer="ones")

        def call(self, x):
            return x * np.sqrt(self.scale)

    with pytest.raises(TypeError, match="while a model is traced"):
        Root()(keras3.layers.Input((2,)))


def test_weights_that_are_given_no_name():
    """Recorded from Keras 3.15; tf_keras has Variable for both."""
    keras3.utils.clear_session()

    class Two(keras3.layers.Layer):
        def build(self, input_shape):
            self.a, self.b = self.add_weight(shape=(3,)), self.add_weight(shape=(2,))

    layer = Two(name="two")
    layer.build((None, 3))
    assert [v.path for v in layer.weights] == ["two/variable", "two/variable_1"]
    assert keras3.Variable([1.0]).name == "variable_2"
    assert keras3.Variable([1.0], name="mine", dtype=float).name == "mine"

    class Old(tf_keras.layers.Layer):
        def build(self, input_shape):
            self.a = self.add_weight(shape=(3,))

    old = Old(name="old")
    old(np.ones((1, 3), "f"))
    assert [v.name for v in old.weights] == ["old/Variable:0"]


def test_cosines_over_the_batch():
    """Recorded from Keras 3.15 and tf_keras: each batch gives one for each feature."""
    for keras in (keras3, tf_keras):
        metric = keras.metrics.CosineSimilarity(axis=0)
        metric.update_state(np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([[1.0, 0.2], [1.0, 0.3]]))
        assert float(metric.result()) == pytest.approx(0.8438437)
    x, y = (np.random.default_rng(k).standard_normal((8, n)) for k, n in ((0, 3), (1, 2)))
    inputs = keras3.layers.Input((3,))
    model = keras3.Model(inputs, keras3.layers.Dense(2)(inputs))
    model.set_weights([np.ones((3, 2)), np.zeros(2)])
    model.compile("sgd", "mse", metrics=[keras3.metrics.CosineSimilarity(axis=0)])
    assert model.evaluate(x, y, batch_size=4, verbose=0)[1] == pytest.approx(-0.0343437, abs=1e-6)

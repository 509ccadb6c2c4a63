"""clone_model with functions of the user's: each layer, and each call, goes through them."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.keras import backend as K
from kcompile_runtime.errors import InputError


def chain(keras):
    layers = keras.layers
    x = layers.Input((3,), name="x")
    return keras.Model(x, layers.Dense(1, name="b")(layers.Dense(2, activation="relu", name="a")(x)))


def linear(layer):
    return type(layer).from_config({**layer.get_config(), "activation": "linear"})


@pytest.mark.parametrize("keras", [keras3, tf_keras])
def test_layers_are_swapped_and_weights_are_new(keras):
    model = chain(keras)
    model.compile("sgd", "mse")
    clone = keras.models.clone_model(model, clone_function=linear)
    assert clone.get_layer("a").activation.__name__ == "linear"
    assert not {id(v) for v in clone.weights} & {id(v) for v in model.weights}
    assert (clone.optimizer is not None) == (keras is keras3)  # as each Keras has it
    assert clone.optimizer is not model.optimizer
    clone.set_weights(values := [-np.ones_like(v) for v in model.get_weights()])
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_allclose(clone.predict(x), (x @ values[0] + values[1]) @ values[2] + values[3])


def test_a_layer_stands_for_its_calls_and_calls_go_through_their_function():
    layers = keras3.layers
    x, dense = layers.Input((3,)), layers.Dense(3, name="dense")
    inner = keras3.Sequential([layers.Input((3,)), layers.Dense(3, name="inside")], name="inner")
    model = keras3.Model(x, inner(dense(dense(x))) * 2.0)
    seen, calls = [], []

    def again(layer):
        seen.append(layer.name)
        return layer

    def call(layer, *args, **kwargs):
        calls.append(layer.name)
        return layers.Activation("relu")(layer(*args, **kwargs))

    clone = keras3.models.clone_model(model, None, again, call, recursive=True)
    operation = seen[-1]
    assert seen == ["dense", "inside", operation] and calls == ["dense", "dense", "inner", operation]
    assert operation.startswith("multiply")
    assert clone.get_layer("dense") is dense and clone.get_layer("inner") is not inner
    assert sum(isinstance(layer, layers.Activation) for layer in clone.layers) == 4


def test_functions_of_k_are_called_again():
    x = tf_keras.layers.Input((3,))
    model = tf_keras.Model(x, K.square(tf_keras.layers.Dense(2)(x)))
    clone = tf_keras.models.clone_model(model)
    clone.set_weights([np.full((3, 2), 2.0), np.zeros(2)])
    np.testing.assert_allclose(clone.predict(np.ones((1, 3))), [[36, 36]])


def test_what_is_refused():
    model = chain(keras3)
    clone = keras3.models.clone_model
    for given in ({"clone_function": 3}, {"call_function": 3}, {"clone_function": lambda layer: 3}):
        with pytest.raises(InputError, match="clone_model"):
            clone(model, **given)
    with pytest.raises(InputError, match="is a Sequential"):
        clone(keras3.Sequential([keras3.layers.Dense(2)]), call_function=lambda layer, x: layer(x))

    class Own(keras3.Model):
        def call(self, x):
            return x

    with pytest.raises(InputError, match="a call of its own"):
        clone(Own(), clone_function=linear)

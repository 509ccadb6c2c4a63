"""Layers and variables in the attributes of custom layers, and calls with several tensors.

Beside Keras: tests/keras_tier/test_scripts_with_keras.py."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import keras, keras3, tf_keras

EAGER = pytest.mark.parametrize("kind", [keras3, tf_keras])


def block_of(kind):
    class Block(kind.layers.Layer):
        def __init__(self, width, steps=2, **kwargs):
            super().__init__(**kwargs)
            self.first = kind.layers.Dense(width)
            self.rest = [kind.layers.Dense(width, use_bias=False) for _ in range(steps)]
            self.norm = kind.layers.BatchNormalization()

        def build(self, input_shape):
            self.scale = self.add_weight(name="scale", shape=(), initializer="ones")
            super().build(input_shape)

        def call(self, x, beside=None, factor=1.0, training=None):
            y = self.first(x) * self.scale
            y = y if beside is None else y + beside * factor
            for layer in self.rest:
                y = layer(y)
            return {"y": self.norm(y, training=training), "x": x}

    return Block


@EAGER
def test_weights_inside_are_the_layers(kind, tmp_path):
    block_class = block_of(kind)
    x, beside = kind.Input((3,)), kind.Input((4,))
    made = block_class(4)(x, beside=beside, factor=2.0)
    assert set(made) == {"y", "x"}
    model = kind.Model([x, beside], made["y"])
    block = model.layers[-1]
    assert len(model.trainable_weights) == 7 and len(model.weights) == 9
    assert block.weights[0].path.endswith("/scale")
    model.compile("sgd", "mse")
    before = model.get_weights()
    data = [np.random.rand(8, 3).astype("f"), np.random.rand(8, 4).astype("f")]
    model.fit(data, np.ones((8, 4)), verbose=0)
    moved = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights())]
    assert all(moved)
    block.trainable = False
    assert not model.trainable_weights and not block.first.trainable
    # the same on arrays, at once
    now = block(data[0], data[1], factor=2.0)
    np.testing.assert_allclose(now["y"], model.predict(data, verbose=0), rtol=1e-5, atol=1e-6)
    # and through a file: the configuration has what the constructor was given
    model.save_weights(tmp_path / "m.weights.h5")
    model.save(tmp_path / "m.keras")
    again = kind.models.load_model(tmp_path / "m.keras", custom_objects={"Block": block_class})
    np.testing.assert_array_equal(again.predict(data, verbose=0), model.predict(data, verbose=0))


@EAGER
def test_layers_of_layers_of_layers(kind):
    block_class = block_of(kind)

    class Outer(kind.layers.Layer):
        def __init__(self):
            super().__init__()
            self.blocks = {"a": block_class(3), "b": block_class(3, 1)}

        def call(self, x):
            first = self.blocks["a"](x)["y"]
            return self.blocks["b"](first, first)["y"]

    x = kind.Input((3,))
    model = kind.Model(x, Outer()(x))
    assert len(model.trainable_weights) == 7 + 6 and len({v.path for v in model.weights}) == 17


def test_keras_2_3_has_layers_that_are_attributes_themselves_and_2_2_none():
    def model_of(nested):
        class Inner(keras.layers.Layer):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(2) if not nested else [keras.layers.Dense(2)]

            def call(self, x):
                return (self.dense[0] if nested else self.dense)(x)

        x = keras.layers.Input((3,))
        model = keras.models.Model(x, Inner()(x))
        model.compile("sgd", "mse")
        return model

    assert len(model_of(nested=False).trainable_weights) == 2
    with pytest.raises(ValueError, match="attributes of the layer"):
        model_of(nested=True).predict(np.ones((2, 3)))


def test_what_a_call_needs_is_said():
    block = block_of(keras3)(2)
    with pytest.raises(ValueError, match="tensors of a model, or arrays"):
        block(None, factor=3)

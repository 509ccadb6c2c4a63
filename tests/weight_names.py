"""Models of each kind of layers in layers, by a Keras of any vintage, and the names of their weights.

The same code runs in the real libraries (tests/keras_tier/test_layers_of_layers_with_keras.py).
"""

from __future__ import annotations

from typing import Any


def block_of(layers: Any) -> Any:
    """A layer that holds layers in attributes."""

    class Block(layers.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.norm = layers.BatchNormalization()
            self.first = layers.Dense(6, activation="relu")
            self.second = layers.Dense(6)

        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(name="scale", shape=(1,), initializer="ones")
            self.shift = self.add_weight(name="shift", shape=(1,), initializer="zeros", trainable=False)
            super().build(shape)

        def call(self, x: Any, training: Any = None) -> Any:
            return x + self.second(self.norm(self.first(x))) * self.scale + self.shift

    return Block


def models(keras: Any) -> dict[str, Any]:
    """By kind, a model whose weights have these names."""
    layers = keras.layers

    def after(*several: Any, shape: Any = (4, 6)) -> Any:
        x = y = layers.Input(shape)
        for layer in several:
            y = layer(y)
        return keras.models.Model(x, y)

    chain = keras.models.Sequential([layers.Dense(2, input_shape=(4, 6)), layers.BatchNormalization()])
    late = keras.models.Sequential([layers.Dense(2)])
    late.build((None, 3))
    return {
        "layer": after(layers.Dense(2)),
        "chain": chain,
        "chain built late": late,
        "model inside": after(
            keras.models.Sequential([layers.Dense(3, input_shape=(4, 6))]), layers.Dense(1)
        ),
        "recurrent": after(layers.LSTM(2)),
        "cell": after(layers.RNN(layers.GRUCell(2))),
        "cells": after(layers.RNN([layers.GRUCell(2), layers.LSTMCell(2)])),
        "both ways": after(layers.Bidirectional(layers.SimpleRNN(2))),
        "steps": after(layers.TimeDistributed(layers.Dense(2))),
        "convolved steps": after(layers.ConvLSTM2D(2, 2), shape=(4, 6, 6, 1)),
        "of the user": after(block_of(layers)(), shape=(6,)),
        "of the user, frozen": after(block_of(layers)(trainable=False), shape=(6,)),
    }


def names(keras: Any) -> dict[str, list[str]]:
    """The paths in Keras 3, and the names before it."""
    keras.backend.clear_session()
    return {
        kind: [w.name if ":" in w.name else w.path for w in model.weights]
        for kind, model in models(keras).items()
    }

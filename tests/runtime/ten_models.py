"""Ten models as libraries, for comparison of bytes: `python ten_models.py FOLDER [TARGET...]` exports each
for each target and prints the SHA-256 of every library, a line each. Whatever the processor, the
instructions that numpy finds on it and the threads, the lines are the same.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

import kcompile
from kcompile.keras import backend as K
from kcompile.keras import layers, models

TARGETS = ("x86-64-v2", "x86-64-v4", "aarch64", "wasm32")


def chain(*parts):
    return models.Sequential(list(parts))


def conv():
    """By Winograd's algorithm, over a batch normalisation that is folded."""
    return chain(
        layers.Conv2D(32, 3, padding="same", use_bias=False, input_shape=(12, 12, 16)),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        layers.Conv2D(32, 5),
        layers.GlobalAveragePooling2D(),
        layers.Dense(7, activation="softmax"),
    )


def branches():
    a, b = layers.Input((6,)), layers.Input((6,))
    both = layers.Concatenate()([layers.Dense(5, activation="softplus")(a), layers.Dense(9)(b)])
    return models.Model([a, b], [layers.Dense(3, activation="elu")(both), layers.Add()([a, b])])


def constants():
    """Products and functions of constants, and of weights."""
    table = np.random.RandomState(1).rand(200, 50).astype("float32")
    x = layers.Input((50,))

    def call(t):
        made = K.constant(table)
        return K.dot(t, K.dot(K.transpose(made), K.exp(made))) + K.softmax(K.constant(table[0]))

    return models.Model(x, layers.Lambda(call)(x))


class Gram(layers.Layer):
    """x W W^T, where the product of weights is prepared."""

    def build(self, input_shape):
        self.w = self.add_weight("w", (input_shape[-1], 40), initializer="glorot_uniform")

    def call(self, x):
        return K.dot(x, K.dot(self.w, K.transpose(self.w))) / K.sqrt(K.sum(K.exp(self.w)))


MODELS = {
    "dense": lambda: chain(layers.Dense(64, activation="relu", input_dim=40), layers.Dense(5, "softmax")),
    "wide": lambda: chain(layers.Dense(300, activation="tanh", input_dim=257), layers.Dense(130, "sigmoid")),
    "conv": conv,
    "strided": lambda: chain(
        layers.Conv2D(20, 3, strides=2, activation="elu", input_shape=(15, 15, 3)),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(4),
    ),
    "signal": lambda: chain(
        layers.Conv1D(24, 7, dilation_rate=2, input_shape=(40, 5)),
        layers.GlobalMaxPooling1D(),
        layers.Dense(2),
    ),
    "lstm": lambda: chain(
        layers.Masking(input_shape=(6, 5)),
        layers.LSTM(9, kernel_initializer="he_normal"),
        layers.Dense(2, "softmax"),
    ),
    "gru": lambda: chain(layers.Embedding(30, 8, input_length=7), layers.Bidirectional(layers.GRU(6))),
    "branches": branches,
    "constants": constants,
    "gram": lambda: chain(Gram(input_shape=(33,)), layers.Dense(3)),
}


def main(folder: str, *targets: str) -> None:
    for name, make in MODELS.items():
        np.random.seed(0)
        model = make()
        model.name = name
        for target in targets or TARGETS:
            path = kcompile.export(model, Path(folder) / f"{name}.{target}.so", target=target)
            print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

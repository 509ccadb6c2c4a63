"""A layer, a loss and an activation of one's own, written over `keras.backend` and compiled.

A layer of learned ripples, sin(x w + b), fits a wave that a plain network of this size cannot; in
training it is given noisy weights, so that it finds broad minima. Run: python examples/custom_layer.py
"""

import numpy as np

from kcompile.keras import backend as K
from kcompile.keras.layers import Dense, Layer
from kcompile.keras.models import Sequential


def wide(shape, dtype=None):
    """Frequencies to begin with, slow and fast ones."""
    return K.random_normal(shape, stddev=3.0, dtype=dtype)


class Ripples(Layer):
    """sin(x w + b) * gain, with `noise` on w in training."""

    def __init__(self, units, noise=0.01, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.noise = noise

    def build(self, input_shape):
        self.w = self.add_weight(
            "w", (input_shape[-1], self.units), initializer=wide, constraint=lambda w: K.clip(w, -8.0, 8.0)
        )
        self.b = self.add_weight("b", (self.units,), initializer="zeros")
        self.gain = self.add_weight(
            "gain", (self.units,), initializer="ones", regularizer=lambda g: 1e-4 * K.sum(K.abs(g))
        )

    def call(self, x, training=None):
        noisy = self.w + K.random_normal(self.w.shape, 0.0, self.noise)
        w = K.in_train_phase(noisy, self.w, training=training)
        return K.sin(K.dot(x, w) + self.b) * self.gain


def soft_absolute(y_true, y_pred):
    """Squares of small errors, sizes of large ones."""
    error = K.abs(y_true - y_pred)
    return K.mean(K.switch(error < 0.1, K.square(error) * 5.0, error - 0.05), axis=-1)


def swish(x):
    return x * K.sigmoid(x)


def worst(y_true, y_pred):
    """Metric: the largest error of a sample."""
    return K.max(K.abs(y_true - y_pred), axis=-1)


def main(epochs=60):
    np.random.seed(2)
    x = np.random.uniform(-3, 3, (2000, 1)).astype("float32")
    y = (np.sin(3 * x) + 0.5 * np.sin(7 * x)).astype("float32")
    model = Sequential([Ripples(64, input_shape=(1,)), Dense(32, activation=swish), Dense(1)])
    model.compile(optimizer="adam", loss=soft_absolute, metrics=[worst])
    model.summary()
    before = model.evaluate(x, y, verbose=0)[0]
    model.fit(x, y, epochs=epochs, batch_size=50, verbose=2)
    loss, error = model.evaluate(x, y, verbose=0)
    print(f"loss {before:.3f} -> {loss:.4f}; errors of {error:.3f} on average")
    return loss / before


if __name__ == "__main__":
    main()

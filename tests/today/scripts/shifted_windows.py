"""Attention inside of windows that move by half a window from block to block, with a table of biases."""

import numpy as np

import keras
from keras import layers, ops

side, window, dim, heads = 8, 2, 12, 3
rng = np.random.RandomState(0)
images = rng.rand(64, 16, 16, 3).astype("float32")
labels = keras.utils.to_categorical(rng.randint(0, 5, 64), 5)


def cut(x):
    """[n, side, side, c] as windows [n * count, window * window, c]."""
    count, channels = side // window, x.shape[-1]
    x = ops.reshape(x, (-1, count, window, count, window, channels))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, window * window, channels))


def joined(x):
    count, channels = side // window, x.shape[-1]
    x = ops.reshape(x, (-1, count, count, window, window, channels))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, side, side, channels))


class InWindows(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.three, self.out = layers.Dense(3 * dim), layers.Dense(dim)
        self.biases = self.add_weight(
            shape=((2 * window - 1) ** 2, heads), initializer="zeros", name="biases"
        )
        rows, columns = np.meshgrid(np.arange(window), np.arange(window), indexing="ij")
        places = np.stack([rows.ravel(), columns.ravel()], -1)
        apart = places[:, None] - places[None] + window - 1
        self.places = keras.Variable(
            apart[..., 0] * (2 * window - 1) + apart[..., 1], dtype="int", trainable=False
        )

    def call(self, x, mask=None):
        size = window * window
        parts = ops.transpose(ops.reshape(self.three(x), (-1, size, 3, heads, dim // heads)), (2, 0, 3, 1, 4))
        query, key, value = parts[0] * (dim // heads) ** -0.5, parts[1], parts[2]
        scores = query @ ops.transpose(key, (0, 1, 3, 2))
        bias = ops.take(self.biases, ops.reshape(self.places, (-1,)), axis=0)
        scores = scores + ops.transpose(ops.reshape(bias, (size, size, heads)), (2, 0, 1))[None]
        if mask is not None:
            count = mask.shape[0]
            apart = ops.cast(mask, "float32")[None, :, None]
            scores = ops.reshape(scores, (-1, count, heads, size, size)) + apart
            scores = ops.reshape(scores, (-1, heads, size, size))
        mixed = ops.transpose(ops.softmax(scores) @ value, (0, 2, 1, 3))
        return self.out(ops.reshape(mixed, (-1, size, dim)))


class Block(layers.Layer):
    def __init__(self, shift, **kwargs):
        super().__init__(**kwargs)
        self.shift, self.attention = shift, InWindows()
        self.before, self.behind = layers.LayerNormalization(), layers.LayerNormalization()
        self.mlp = keras.Sequential([layers.Dense(24, activation=ops.gelu), layers.Dense(dim)])

    def build(self, input_shape):
        self.barrier = None
        if self.shift:
            region = np.zeros((1, side, side, 1))
            spans = (slice(0, -window), slice(-window, -self.shift), slice(-self.shift, None))
            for number, (down, across) in enumerate((a, b) for a in spans for b in spans):
                region[:, down, across] = number
            region = ops.reshape(cut(ops.convert_to_tensor(region)), (-1, window * window))
            apart = region[:, None, :] - region[:, :, None]
            barrier = ops.where(apart != 0, -100.0, 0.0)
            self.barrier = keras.Variable(barrier, trainable=False)

    def call(self, x):
        inner = ops.reshape(self.before(x), (-1, side, side, dim))
        if self.shift:
            inner = ops.roll(inner, shift=(-self.shift, -self.shift), axis=(1, 2))
        inner = joined(self.attention(cut(inner), mask=self.barrier))
        if self.shift:
            inner = ops.roll(inner, shift=(self.shift, self.shift), axis=(1, 2))
        x = x + ops.reshape(inner, (-1, side * side, dim))
        return x + self.mlp(self.behind(x))


inputs = keras.Input((16, 16, 3))
x = layers.Conv2D(dim, 2, strides=2, padding="VALID")(inputs)
x = layers.Reshape((side * side, dim))(x)
x = Block(0)(x)
x = Block(window // 2)(x)
x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
model = keras.Model(inputs, layers.Dense(5, activation="softmax")(x))
model.compile(
    keras.optimizers.AdamW(1e-3, weight_decay=1e-4),
    keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
    metrics=["accuracy", keras.metrics.TopKCategoricalAccuracy(3, name="top3")],
)
model.fit(images, labels, batch_size=16, epochs=5, validation_split=0.25, verbose=0)
model.predict(images[:8], verbose=0)

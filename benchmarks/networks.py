"""More kinds of networks, as functions of a Keras 3 package: ours (`kcompile.keras3`) or Keras itself.

Enters: the package. Leaves: a model, the same in both. `python -m benchmarks.networks NAME FILE` writes the
network as ONNX, by Keras on TensorFlow and tf2onnx, in a process of its own.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np


def autoencoder(keras: Any) -> Any:
    """Convolutions down to 7x7, and transposed ones back."""
    layers, x = keras.layers, keras.Input((28, 28, 1))
    y = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(x)
    y = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(y)
    y = layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu")(y)
    y = layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu")(y)
    return keras.Model(x, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(y))


def unet(keras: Any) -> Any:
    """Three levels, with concatenations across."""
    layers, x = keras.layers, keras.Input((64, 64, 3))

    def pair(y: Any, filters: int) -> Any:
        for _ in range(2):
            y = layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)
            y = layers.Activation("relu")(layers.BatchNormalization()(y))
        return y

    down, y = [], x
    for filters in (16, 32, 64):
        y = pair(y, filters)
        down.append(y)
        y = layers.MaxPooling2D()(y)
    y = pair(y, 128)
    for filters, skip in zip((64, 32, 16), reversed(down)):
        y = layers.Concatenate()([layers.UpSampling2D()(y), skip])
        y = pair(y, filters)
    return keras.Model(x, layers.Conv2D(1, 1, activation="sigmoid")(y))


def tagger(keras: Any) -> Any:
    """Words to tags, by an LSTM in both directions."""
    layers, x = keras.layers, keras.Input((40,), dtype="int32")
    y = layers.Embedding(5000, 64)(x)
    y = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(y)
    return keras.Model(x, layers.Dense(17, activation="softmax")(y))


def tabular(keras: Any) -> Any:
    """Three columns of categories and one of numbers."""
    layers = keras.layers
    categories = [keras.Input((1,), dtype="int32") for _ in range(3)]
    numbers = keras.Input((20,))
    parts = [layers.Flatten()(layers.Embedding(n, 16)(x)) for n, x in zip((50, 200, 1000), categories)]
    y = layers.Concatenate()([*parts, numbers])
    for units in (128, 64):
        y = layers.Dropout(0.0)(layers.Dense(units, activation="relu")(y))
    return keras.Model([*categories, numbers], layers.Dense(1, activation="sigmoid")(y))


def transformer(keras: Any) -> Any:
    """Two encoder blocks over 64 steps of 128 features."""
    layers, x = keras.layers, keras.Input((64, 128))
    y = x
    for _ in range(2):
        z = layers.MultiHeadAttention(4, 32)(y, y)
        y = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([y, z]))
        z = layers.Dense(256)(y)
        z = z * 0.5 * (1.0 + keras.ops.erf(z * 0.7071067811865476))  # gelu, as what writes ONNX knows it
        z = layers.Dense(128)(z)
        y = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([y, z]))
    return keras.Model(x, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling1D()(y)))


def volumes(keras: Any) -> Any:
    """Convolutions over volumes."""
    layers, x = keras.layers, keras.Input((16, 32, 32, 1))
    y = x
    for filters in (16, 32, 64):
        y = layers.Conv3D(filters, 3, padding="same", activation="relu")(y)
        y = layers.MaxPooling3D()(y)
    return keras.Model(x, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling3D()(y)))


def tcn(keras: Any) -> Any:
    """A temporal convolutional network: causal, dilated, residual."""
    layers, x = keras.layers, keras.Input((128, 16))
    y = layers.Conv1D(32, 1)(x)
    for rate in (1, 2, 4, 8):
        z = layers.Conv1D(32, 3, padding="causal", dilation_rate=rate, activation="relu")(y)
        z = layers.Conv1D(32, 3, padding="causal", dilation_rate=rate, activation="relu")(z)
        y = layers.Add()([y, z])
    return keras.Model(x, layers.Dense(1)(layers.GlobalAveragePooling1D()(y)))


def siamese(keras: Any) -> Any:
    """Two images through one network, compared."""
    layers = keras.layers
    one, two, x = keras.Input((32, 32, 1)), keras.Input((32, 32, 1)), keras.Input((32, 32, 1))
    y = x
    for filters in (16, 32):
        y = layers.MaxPooling2D()(layers.Conv2D(filters, 3, activation="relu")(y))
    shared = keras.Model(x, layers.Dense(64)(layers.Flatten()(y)))
    apart = layers.Subtract()([shared(one), shared(two)])
    return keras.Model([one, two], layers.Dense(1, activation="sigmoid")(layers.Multiply()([apart, apart])))


def generator(keras: Any) -> Any:
    """A GAN's generator below its discriminator, as the generator's step trains them."""
    layers, x = keras.layers, keras.Input((64,))
    y = layers.Reshape((7, 7, 64))(layers.Dense(7 * 7 * 64, activation="relu")(x))
    for filters in (32, 16):
        y = layers.Conv2DTranspose(filters, 4, strides=2, padding="same", use_bias=False)(y)
        y = layers.LeakyReLU(negative_slope=0.2)(layers.BatchNormalization()(y))
    y = layers.Conv2D(1, 3, padding="same", activation="tanh")(y)
    for filters in (16, 32):
        y = layers.Conv2D(filters, 4, strides=2, padding="same")(y)
        y = layers.LeakyReLU(negative_slope=0.2)(y)
    return keras.Model(x, layers.Dense(1, activation="sigmoid")(layers.Flatten()(y)))


def mobile(keras: Any) -> Any:
    """Inverted residuals with squeeze and excitation, as MobileNetV3 has them."""
    layers, x = keras.layers, keras.Input((96, 96, 3))

    def normal(y: Any, activation: str | None) -> Any:
        y = layers.BatchNormalization()(y)
        return y if activation is None else layers.Activation(activation)(y)

    y = normal(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(x), "hard_swish")
    for filters, expanded, strides in ((16, 64, 1), (24, 72, 2), (24, 88, 1), (40, 96, 2), (40, 240, 1)):
        z = normal(layers.Conv2D(expanded, 1, use_bias=False)(y), "hard_swish")
        z = layers.DepthwiseConv2D(5, strides=strides, padding="same", use_bias=False)(z)
        z = normal(z, "hard_swish")
        s = layers.GlobalAveragePooling2D(keepdims=True)(z)
        s = layers.Conv2D(expanded // 4, 1, activation="relu")(s)
        z = layers.Multiply()([z, layers.Conv2D(expanded, 1, activation="hard_sigmoid")(s)])
        z = normal(layers.Conv2D(filters, 1, use_bias=False)(z), None)
        y = layers.Add()([y, z]) if strides == 1 and filters == y.shape[-1] else z
    return keras.Model(x, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(y)))


def mobilenet_v2(keras: Any) -> Any:
    return keras.applications.MobileNetV2(weights=None)


def resnet50(keras: Any) -> Any:
    return keras.applications.ResNet50(weights=None)


NETWORKS = {
    f.__name__: f
    for f in (
        *(autoencoder, unet, tagger, tabular, transformer, volumes, tcn, siamese, generator, mobile),
        *(mobilenet_v2, resnet50),
    )
}


def random_weights(model: Any) -> list[np.ndarray]:
    """Weights for `set_weights`, by shapes alone, so that both packages get the same."""
    rng = np.random.default_rng(7)
    made = []
    for w in model.get_weights():
        if w.ndim > 1:
            made.append(rng.normal(size=w.shape) * np.sqrt(1.5 / np.prod(w.shape[:-1])))
        else:
            made.append(rng.uniform(0.5, 1.5, w.shape))  # a variance among them
    return [w.astype(np.float32) for w in made]


def onnx(name: str) -> bytes:
    """The network, with its random weights, as ONNX."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow as tf
    import tf2onnx

    model = NETWORKS[name](keras)
    model.set_weights(random_weights(model))
    signature = [
        tf.TensorSpec((None, *x.shape[1:]), x.dtype, name=f"x{k}") for k, x in enumerate(model.inputs)
    ]
    function = tf.function(lambda *x: model(list(x), training=False), input_signature=signature)
    made, _ = tf2onnx.convert.from_function(function, signature, opset=17)
    text: bytes = made.SerializeToString()
    return text


if __name__ == "__main__":
    with open(sys.argv[2], "wb") as file:
        file.write(onnx(sys.argv[1]))

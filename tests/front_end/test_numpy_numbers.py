"""numpy's numbers and arrays where Python's are expected: sizes, axes, factors, in K, layers and optimizers;
and sizes as tensors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kcompile.keras import activations, constraints, initializers, layers, losses, optimizers, regularizers
from kcompile.keras import backend as K
from kcompile.keras.layers import Dense, Input, Lambda
from kcompile.keras.models import Model
from kcompile_runtime.errors import UnsupportedError

RNG = np.random.default_rng(0)
V = K.variable(np.arange(24).reshape(2, 3, 4))
IMAGES, KERNEL = K.variable(RNG.random((2, 4, 4, 3))), K.variable(RNG.random((3, 3, 3, 2)))
M = K.variable([[1.0, 2.0], [3.0, 4.0]])
CLASSES = K.variable([1, 0], dtype="int32")

# Functions of (integer, float, array): the types that make them
FUNCTIONS = {
    "repeat_elements": lambda n, f, a: K.repeat_elements(M, n(2), n(1)),
    "resize_images": lambda n, f, a: K.resize_images(IMAGES, n(2), n(2), "channels_last"),
    "resize_volumes": lambda n, f, a: K.resize_volumes(
        K.ones((1, 2, 2, 2, 1)), n(2), n(1), n(2), "channels_last"
    ),
    "tile": lambda n, f, a: K.tile(M, a([2, 1])),
    "repeat": lambda n, f, a: K.repeat(M, n(3)),
    "reshape": lambda n, f, a: K.reshape(V, a([4, 6])),
    "permute": lambda n, f, a: K.permute_dimensions(V, a([1, 0, 2])),
    "sum": lambda n, f, a: K.sum(V, axis=n(1)),
    "mean": lambda n, f, a: K.mean(V, axis=a([0, 1])),
    "argmax": lambda n, f, a: K.argmax(V, n(1)),
    "cumsum": lambda n, f, a: K.cumsum(V, n(1)),
    "expand": lambda n, f, a: K.squeeze(K.expand_dims(V, n(1)), n(1)),
    "one_hot": lambda n, f, a: K.one_hot(CLASSES, n(3)),
    "stack": lambda n, f, a: K.stack([M, M], n(1)),
    "concatenate": lambda n, f, a: K.concatenate([M, M], axis=n(0)),
    "clip": lambda n, f, a: K.clip(M, f(1.5), f(3)),
    "clip reversed": lambda n, f, a: K.clip(M, f(3), f(1)),
    "pow": lambda n, f, a: K.pow(M, f(2)),
    "cube": lambda n, f, a: K.pow(M, n(3)),
    "relu": lambda n, f, a: K.relu(M - 2, f(0.1), f(1.5), f(0.2)),
    "elu": lambda n, f, a: K.elu(M - 2, f(0.5)),
    "softmax": lambda n, f, a: K.softmax(V, n(1)),
    "add": lambda n, f, a: f(2) * M + n(2),
    "arange": lambda n, f, a: K.arange(n(2), n(8), n(2)),
    "zeros": lambda n, f, a: K.zeros(a([2, 3])),
    "constant": lambda n, f, a: K.constant(f(3), shape=a([2, 2])),
    "eye": lambda n, f, a: K.eye(n(3)),
    "gather": lambda n, f, a: K.gather(M, a([1, 0])),
    "batch_dot": lambda n, f, a: K.batch_dot(V, V, axes=(n(2), n(2))),
    "slice": lambda n, f, a: K.slice(V, a([0, 1, 0]), a([2, 2, 1])),
    "temporal_padding": lambda n, f, a: K.temporal_padding(V, (n(1), n(2))),
    "spatial_2d_padding": lambda n, f, a: K.spatial_2d_padding(IMAGES, a([[1, 1], [0, 2]]), "channels_last"),
    "conv2d": lambda n, f, a: K.conv2d(IMAGES, KERNEL, strides=a([1, 1]), dilation_rate=n(1)),
    "conv2d_transpose": lambda n, f, a: K.conv2d_transpose(K.ones((2, 4, 4, 2)), KERNEL, a([2, 6, 6, 3])),
    "pool2d": lambda n, f, a: K.pool2d(IMAGES, a([2, 2]), strides=(n(2), n(2))),
    "l2_normalize": lambda n, f, a: K.l2_normalize(V, n(1)),
    "logsumexp": lambda n, f, a: K.logsumexp(V, n(1)),
    "in_top_k": lambda n, f, a: K.in_top_k(M, CLASSES, n(1)),
    "reverse": lambda n, f, a: K.reverse(V, a([0, 1])),
    "getitem": lambda n, f, a: V[:, n(1)] + V[n(0) : n(1), n(2)],
    "std": lambda n, f, a: K.std(V, a([1])),
    "normalize": lambda n, f, a: K.normalize_batch_in_training(V, None, None, a([0, 1]), f(0.01))[0],
    "huber": lambda n, f, a: losses.Huber(delta=f(0.5))(M, M * 3),
    "smoothing": lambda n, f, a: losses.categorical_crossentropy(M, M, label_smoothing=f(0.1)),
    "activation": lambda n, f, a: activations.relu(M, max_value=f(1.5)),
    "max_norm": lambda n, f, a: constraints.MaxNorm(f(1), axis=n(0))(M),
    "min_max_norm": lambda n, f, a: constraints.MinMaxNorm(f(0.5), f(1), f(0.5), axis=a([0, 1]))(M),
    "l1_l2": lambda n, f, a: regularizers.l1_l2(f(0.1), f(0.2))(M),
    "uniform": lambda n, f, a: initializers.RandomUniform(f(-1), f(1), seed=n(3))((n(2), n(3))),
    "scaling": lambda n, f, a: initializers.VarianceScaling(f(2), seed=n(3))(a([2, 3])),
}
LAYERS = {
    "Dense": (lambda n, f, a: Dense(n(3)), (4,)),
    "Reshape": (lambda n, f, a: layers.Reshape(a([2, 2])), (4,)),
    "Dropout": (lambda n, f, a: layers.Dropout(f(0.5), noise_shape=(None, n(1)), seed=n(3)), (4,)),
    "Conv2D": (lambda n, f, a: layers.Conv2D(n(2), a([3, 3]), strides=a([2, 2])), (6, 6, 3)),
    "Conv1D": (lambda n, f, a: layers.Conv1D(n(2), n(3), strides=n(2)), (6, 3)),
    "MaxPooling2D": (lambda n, f, a: layers.MaxPooling2D(a([2, 2]), strides=n(2)), (6, 6, 3)),
    "BatchNormalization": (lambda n, f, a: layers.BatchNormalization(n(-1), f(0.5), f(0.01)), (6, 3)),
    "LSTM": (lambda n, f, a: layers.LSTM(n(3), dropout=f(0.1), recurrent_dropout=f(0.1)), (5, 2)),
    "cells": (lambda n, f, a: layers.RNN([layers.LSTMCell(n(2)), layers.GRUCell(n(3))]), (5, 2)),
    "PReLU": (lambda n, f, a: layers.PReLU(shared_axes=a([1])), (4, 3)),
    "ReLU": (lambda n, f, a: layers.ReLU(f(0.5), f(0.1), f(0.2)), (4,)),
    "LeakyReLU": (lambda n, f, a: layers.LeakyReLU(f(0.1)), (4,)),
    "Masking": (lambda n, f, a: layers.Masking(f(0)), (4, 3)),
}
KINDS = {
    "int64, float32": (np.int64, np.float32, np.array),
    "int16, float64": (np.int16, np.float64, np.array),
}


@pytest.mark.parametrize("kinds", sorted(KINDS))
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions(name, kinds):
    function = FUNCTIONS[name]
    np.testing.assert_allclose(K.eval(function(*KINDS[kinds])), K.eval(function(int, float, list)), rtol=1e-5)


@pytest.mark.parametrize("kinds", sorted(KINDS))
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layers(name, kinds):
    make, shape = LAYERS[name]
    x, made = RNG.random((2, *shape)), []
    for types in ((int, float, list), KINDS[kinds]):
        np.random.seed(0)
        i, layer = Input(np.array(shape)), make(*types)
        model = Model(i, layer(i))
        assert json.loads(json.dumps(layer.get_config()))
        made.append(model.predict(x))
    np.testing.assert_allclose(*made, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam"])
def test_optimizers(name):
    optimizer = getattr(optimizers, name)(np.float32(0.01), decay=np.float64(0.1), clipnorm=np.float32(1))
    assert json.dumps(optimizer.get_config())
    i = Input((np.int64(2),))
    model = Model(i, Dense(1)(i))
    model.compile(optimizer, "mse", loss_weights=[np.float32(2)])
    model.fit(np.ones((4, 2)), np.ones((4, 1)), batch_size=np.int64(2), epochs=np.int64(1), verbose=0)


def test_sizes_as_tensors():
    i, x = Input((3, 4)), np.ones((5, 3, 4))
    size, rows, mean = K.function(
        [i],
        [
            K.cast(K.shape(i), "float32"),
            K.cast(K.shape(i)[0], "float32"),
            K.sum(i) / K.cast(K.prod(K.shape(i)), "float32"),
        ],
    )([x])
    assert size.tolist() == [5, 3, 4] and rows == 5 and mean == 1
    model = Model(i, Lambda(lambda t: t / K.cast(K.shape(t), "float32")[0] + t.get_shape().as_list()[1])(i))
    np.testing.assert_allclose(model.predict(x), x / 5 + 3, rtol=1e-6)
    assert i.get_shape().as_list() == [None, 3, 4] and i.get_shape()[-1] == 4
    unknown = Input((None, 2))
    (found,) = K.function([unknown], [K.shape(unknown)])([np.ones((5, 7, 2))])
    assert found.tolist() == [5, 7, 2]
    with pytest.raises(UnsupportedError, match="known"):
        K.arange(K.variable(3))


def test_a_larger_bias_of_channels_first_is_reshaped():
    """As in Keras' TensorFlow backend, which LocallyConnected layers use."""
    x, bias = np.zeros((1, 3, 2, 2)), np.arange(12).reshape(2, 2, 3)
    np.testing.assert_array_equal(
        K.eval(K.bias_add(K.variable(x), K.variable(bias), "channels_first"))[0], bias.reshape(3, 2, 2)
    )

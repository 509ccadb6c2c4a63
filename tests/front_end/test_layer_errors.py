"""Layers: errors that name the layer, variables, and nodes."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.keras import layers, regularizers
from kcompile.keras.engine import Variable
from kcompile.keras.inputs import Input
from kcompile.keras.models import Model, Sequential
from kcompile_runtime.errors import InputError, InputTypeError, ModelError, UnsupportedError

# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: layers.Dense(-1, name="d"),
            r"Layer 'd' \(Dense\): units: expected a positive integer. Received: -1",
        ),
        (lambda: layers.Dense(True), r"units: .*Received: True"),
        (lambda: layers.Dense(2.5), r"units: .*Received: 2.5"),
        (lambda: layers.Dense(2, kernel_init="ones"), r"\(Dense\): unknown or .* Received: kernel_init"),
        (lambda: layers.Dense(2, dtype="int32"), r"dtype: expected one of 'float32', 'float64', 'float16'"),
        (lambda: layers.Dense(2, dtype="float128"), r"'dense.*DTypePolicy: expected one of 'float32'"),
        (lambda: layers.Dense(2, dtype="int8_from_float32"), r"before quantize"),
        (lambda: layers.Dense(2).quantize("int8"), r"quantize: Quantized weights are not supported"),
        (lambda: layers.Dense(2, activation="sine"), r"\(Dense\): activation 'sine' is not known"),
        (lambda: layers.Dense(2, kernel_initializer="foo"), r"initializer 'foo' is not known"),
        (lambda: layers.Dense(2, kernel_regularizer=regularizers.L1L2(-1.0)), r"l1: expected"),
        (lambda: layers.Conv2D(2, (3, 3, 3)), r"kernel_size: expected a positive integer or 2 of them"),
        (lambda: layers.Conv2D(2, 3, padding="causal"), r"padding: expected one of 'valid', 'same'"),
        (lambda: layers.Conv2D(2, 3, strides=2, dilation_rate=2), r"strides or dilation_rate of 1"),
        (lambda: layers.Conv2D(2, 3, data_format="NHWC"), r"data_format: expected 'channels_last'"),
        (lambda: layers.MaxPooling2D(0), r"pool_size: .*Received: 0"),
        (lambda: layers.Dropout(1.0), r"rate: expected a number in \[0, 1\)"),
        (lambda: layers.Dropout(0.5, seed=1.5), r"seed: expected"),
        (lambda: layers.Reshape((-1, -1)), r"target_shape: expected"),
        (lambda: layers.BatchNormalization(axis=[1, 2]), r"axis: expected an integer"),
        (lambda: layers.Concatenate(axis=0), r"axis: expected an axis other than 0"),
        (lambda: Input(()).shape and Input((0,)), r"positive sizes"),
        (lambda: Input(), r"Input: expected shape"),
    ],
)
def test_bad_arguments_are_told(make, message):
    with pytest.raises((ModelError, UnsupportedError), match=message):
        make()


@pytest.mark.parametrize(
    "layer, shape, message",
    [
        (lambda: layers.Conv2D(2, 9), (5, 5, 1), r"'conv2d_\d+' \(Conv2D\): .*larger than the input"),
        (lambda: layers.Conv2D(2, 3), (5, 5), r"expected an input of rank 4. Received: shape \(None, 5, 5\)"),
        (lambda: layers.Conv2D(4, 3, groups=2), (5, 5, 3), r"groups: expected a divisor"),
        (lambda: layers.MaxPooling2D(6), (5, 5, 3), r"\(MaxPooling2D\): .*larger than the input"),
        (lambda: layers.MaxPooling2D(), (5, 3), r"expected an input of rank 4"),
        (lambda: layers.Reshape((4,)), (5,), r"\(Reshape\): target_shape: expected 5 elements"),
        (lambda: layers.Dropout(0.5, (2, 3)), (5,), r"noise_shape: expected"),
        (lambda: layers.BatchNormalization(axis=3), (5,), r"axis: expected an axis of the input"),
        (lambda: layers.BatchNormalization(axis=0), (5,), r"other than the batch"),
        (lambda: layers.Activation("softmax"), (), r"softmax: expected a tensor of rank 2"),
        (lambda: layers.Dense(3), (), r"\(Dense\): .*rank >= 2"),
        (lambda: layers.Add(), (5,), r"expected a list of at least 2 tensors"),
    ],
)
def test_inputs_that_do_not_fit_are_told_with_the_layer(layer, shape, message):
    x = Input(shape)
    with pytest.raises(ModelError, match=message):
        layer()(x)


def test_other_wrong_calls():
    dense = layers.Dense(3, name="d")
    x = Input((4,))
    dense(x)
    with pytest.raises(ModelError, match=r"'d' \(Dense\): call: expected size 4 on axis -1"):
        dense(Input((5,)))
    with pytest.raises(InputTypeError, match=r"'d' .*Data goes into predict"):
        dense(np.ones((2, 4)))
    with pytest.raises(UnsupportedError, match="mood='good'"):
        dense(x, mood="good")
    with pytest.raises(ModelError, match=r"\(Add\): .*do not broadcast"):
        layers.add([Input((4,)), Input((5,))])
    with pytest.raises(ModelError, match="inputs of one rank"):
        layers.concatenate([Input((4,)), Input((5, 1))])
    with pytest.raises(AttributeError, match="called 2 times"):
        _ = [dense(x), dense.input]
    with pytest.raises(InputError, match=r"set_weights: expected 2 arrays. Received: 1"):
        dense.set_weights([np.ones((4, 3))])
    with pytest.raises(InputError, match=r"shape \(4, 3\) for 'd/kernel'. Received: shape \(3, 4\)"):
        dense.set_weights([np.ones((3, 4)), np.ones(3)])
    with pytest.raises(ModelError, match="no weights yet"):
        layers.Dense(3).count_params()
    with pytest.raises(ModelError, match="vintage"):
        layers.Dense(3, vintage="keras9")


# ---------------------------------------------------------------- variables and nodes


class Calls(list):
    def count(self):
        self.append(1)


def test_variables_are_aligned_and_written_in_place():
    variable = Variable(np.ones((3, 5)), "v")
    address, calls = variable.value.ctypes.data, Calls()
    variable.listeners.add(calls.count)
    variable.assign(np.arange(15).reshape(3, 5))
    assert variable.value.ctypes.data == address and address % 64 == 0 and calls == [1]
    assert variable.value.dtype == np.float32 and variable.value[2, 4] == 14
    variable.numpy()[:] = 0
    assert variable.value[2, 4] == 14
    with pytest.raises(InputError, match=r"expected shape \(3, 5\). Received: shape \(5, 3\)"):
        variable.assign(np.ones((5, 3)))
    with pytest.raises(InputTypeError, match="numbers"):
        variable.assign([["a"] * 5] * 3)


def test_initial_weights_and_nodes():
    dense = layers.Dense(2, weights=[np.full((3, 2), 2.0), np.ones(2)])
    a, b = Input((3,)), Input((3,))
    first, second = dense(a), dense(b)
    np.testing.assert_array_equal(dense.get_weights()[0], np.full((3, 2), 2.0))
    assert dense.get_input_at(1) is b and dense.get_output_at(0) is first
    assert second.history == (dense, 1, 0)
    assert dense.output_shape == (None, 2) and dense.get_input_shape_at(1) == (None, 3)
    assert layers.Dense(3).compute_output_shape((None, 4, 5)) == (None, 4, 3)


def test_compute_output_shape_leaves_seeds_alone():
    np.random.seed(1)
    layers.Conv2D(3, 2).compute_output_shape((None, 5, 5, 1))
    after = np.random.rand()
    np.random.seed(1)
    assert np.random.rand() == after


@pytest.mark.parametrize("vintage", ["keras2", "tf_keras", "keras3"])
def test_an_activation_sees_channels_first(vintage):
    """softmax of a convolution goes along the last axis, whatever that is, as in Keras."""
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6)).astype("float32")
    inputs = Input((3, 5, 6))
    layer = layers.Conv2D(4, 2, activation="softmax", data_format="channels_first", vintage=vintage)
    y = Model(inputs, layer(inputs)).predict(x)
    assert y.shape == (2, 4, 4, 5) and np.allclose(y.sum(-1), 1, atol=1e-5)
    plain = layers.Conv2D(4, 2, data_format="channels_first", weights=layer.get_weights())
    raw = Model(inputs, plain(inputs)).predict(x)
    shares = np.exp(raw - raw.max(-1, keepdims=True))
    assert np.allclose(y, shares / shares.sum(-1, keepdims=True), atol=1e-5)


def test_weights_of_layers_inside_cannot_be_set_from_outside():
    inner = layers.LSTM(2, input_shape=(3, 4), name="inner")
    for layer in (Sequential([inner]), layers.Bidirectional(layers.LSTM(2), name="both")):
        with pytest.raises(ModelError, match="those of the layers inside"):
            layer.trainable_weights = []

"""Documents 001, 002 and 003 on layers: samples run, and what they say of themselves holds."""

from __future__ import annotations

import numpy as np
import pytest
from samples import Model, Sequential, keras, sample

layers = keras.layers
Dense, Embedding, Input, LSTM = layers.Dense, layers.Embedding, layers.Input, layers.LSTM


def shapes(model):
    return [layer.output_shape for layer in model.layers]


@sample("001:1142-1144", "001:1149-1154")
def test_a_layer_is_made_from_its_configuration():
    from keras import layers

    layer = Dense(32)
    config = layer.get_config()
    assert Dense.from_config(config).get_config() == config
    made = layers.deserialize({"class_name": layer.__class__.__name__, "config": config})
    assert isinstance(made, Dense) and made.units == 32


@sample("003:8-11", "003:14-23")
def test_what_a_layer_has():
    layer = Dense(3, input_dim=4)
    Sequential([layer])
    weights = [w + 1 for w in layer.get_weights()]
    layer.set_weights(weights)
    assert all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), weights))
    assert layer.input is layer.get_input_at(0) and layer.output is layer.get_output_at(0)
    assert layer.input_shape == layer.get_input_shape_at(0) == (None, 4)
    assert layer.output_shape == layer.get_output_shape_at(0) == (None, 3)
    assert Dense.from_config(layer.get_config()).units == 3


@sample("000:122-128", "001:1346-1353", "003:75-82")
@pytest.mark.parametrize("name", ["Conv2D", "Convolution2D", "keras 1"])
@pytest.mark.filterwarnings("ignore:Update your")
def test_flatten_after_a_convolution(name, channels_first):
    from keras.layers import Conv2D, Convolution2D, Flatten

    model = Sequential()
    if name == "keras 1":
        model.add(Convolution2D(64, 3, 3, border_mode="same", input_shape=(3, 32, 32)))
    else:
        model.add(
            {"Conv2D": Conv2D, "Convolution2D": Convolution2D}[name](
                64, (3, 3), padding="same", input_shape=(3, 32, 32)
            )
        )
    # now: model.output_shape == (None, 64, 32, 32)
    model.add(Flatten())
    # now: model.output_shape == (None, 65536)
    assert shapes(model) == [(None, 64, 32, 32), (None, 65536)]
    assert model.layers[0].get_weights()[0].shape == (3, 3, 3, 64)
    assert model.predict(np.random.rand(1, 3, 32, 32)).shape == (1, 65536)


@sample("001:1283-1292")
def test_dense_as_first_layer():
    model = Sequential()
    model.add(Dense(32, input_shape=(16,)))
    # now the model will take as input arrays of shape (*, 16) and output arrays of shape (*, 32)
    assert (model.input_shape, model.output_shape) == ((None, 16), (None, 32))
    model.add(Dense(32))
    assert model.predict(np.ones((2, 16))).shape == (2, 32)


@sample("001:1375-1387", "003:98-110")
def test_reshape():
    from keras.layers import Reshape

    model = Sequential()
    model.add(Reshape((3, 4), input_shape=(12,)))
    # now: model.output_shape == (None, 3, 4)
    model.add(Reshape((6, 2)))
    # now: model.output_shape == (None, 6, 2)
    model.add(Reshape((-1, 2, 2)))
    # now: model.output_shape == (None, 3, 2, 2)
    assert shapes(model) == [(None, 3, 4), (None, 6, 2), (None, 3, 2, 2)]
    x = np.random.rand(5, 12).astype("float32")
    assert np.array_equal(model.predict(x), x.reshape(5, 3, 2, 2))


@sample("002:60-60")
def test_reshape_takes_no_input_length():
    with pytest.raises(TypeError, match="input_length"):
        layers.Reshape((3, 3), input_length=(16,))


@sample("001:1402-1405", "003:121-124")
def test_permute():
    from keras.layers import Permute

    model = Sequential()
    model.add(Permute((2, 1), input_shape=(10, 64)))
    # now: model.output_shape == (None, 64, 10)
    assert model.output_shape == (None, 64, 10)
    x = np.random.rand(2, 10, 64).astype("float32")
    assert np.array_equal(model.predict(x), x.transpose(0, 2, 1))


@sample("001:1432-1438", "003:143-149")
def test_repeat_vector():
    from keras.layers import RepeatVector

    model = Sequential()
    model.add(Dense(32, input_dim=32))
    # now: model.output_shape == (None, 32)
    model.add(RepeatVector(3))
    # now: model.output_shape == (None, 3, 32)
    assert shapes(model) == [(None, 32), (None, 3, 32)]
    found = model.predict(np.random.rand(2, 32))
    assert (found[:, 0] == found[:, 2]).all()


@sample("001:1457-1478", "003:167-188")
def test_lambda():
    from keras import backend as K
    from keras.layers import Lambda

    model = Sequential()
    model.add(Dense(4, input_dim=3))
    model.add(Lambda(lambda x: x**2))

    def antirectifier(x):
        x -= K.mean(x, axis=1, keepdims=True)
        x = K.l2_normalize(x, axis=1)
        pos = K.relu(x)
        neg = K.relu(-x)
        return K.concatenate([pos, neg], axis=1)

    def antirectifier_output_shape(input_shape):
        shape = list(input_shape)
        assert len(shape) == 2  # only valid for 2D tensors
        shape[-1] *= 2
        return tuple(shape)

    model.add(Lambda(antirectifier, output_shape=antirectifier_output_shape))
    assert model.output_shape == (None, 8)
    data = np.random.rand(2, 3)
    x = (data @ model.get_weights()[0]) ** 2
    x -= x.mean(1, keepdims=True)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    expected = np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], 1)
    assert np.allclose(model.predict(data), expected, atol=1e-5)


@sample("001:1523-1525")
def test_masking_skips_steps():
    from keras.layers import Masking

    timesteps, features = 7, 3
    model = Sequential()
    model.add(Masking(mask_value=0.0, input_shape=(timesteps, features)))
    model.add(LSTM(32))
    x = np.random.rand(2, 7, 3)
    x[:, [3, 5], :] = 0.0
    short = Sequential([LSTM(32, input_shape=(5, 3), weights=model.get_weights())])
    assert np.allclose(model.predict(x), short.predict(x[:, [0, 1, 2, 4, 6]]), atol=1e-5)


@sample("001:1555-1565")
def test_embedding():
    model = Sequential()
    model.add(Embedding(1000, 64, input_length=10))
    # now model.output_shape == (None, 10, 64), where None is the batch dimension.
    assert model.output_shape == (None, 10, 64)
    input_array = np.random.randint(1000, size=(32, 10))
    model.compile("rmsprop", "mse")
    output_array = model.predict(input_array)
    assert output_array.shape == (32, 10, 64)
    assert np.array_equal(output_array, model.get_weights()[0][input_array])


@sample("002:138-138")
def test_the_third_argument_of_embedding_is_an_initializer():
    with pytest.raises((TypeError, ValueError)):
        Embedding(20, 4, 7)


@sample("001:1589-1598", "001:1612-1622", "001:1682-1691", "001:1709-1718")
@pytest.mark.parametrize("merge", ["Add", "Subtract", "add", "subtract"])
def test_two_branches_are_merged(merge):
    input1 = keras.layers.Input(shape=(16,))
    x1 = keras.layers.Dense(8, activation="relu")(input1)
    input2 = keras.layers.Input(shape=(32,))
    x2 = keras.layers.Dense(8, activation="relu")(input2)
    named = getattr(keras.layers, merge)
    merged = named()([x1, x2]) if isinstance(named, type) else named([x1, x2])
    out = keras.layers.Dense(4)(merged)
    model = keras.models.Model(inputs=[input1, input2], outputs=out)
    data = [np.random.rand(2, 16), np.random.rand(2, 32)]
    one, two = Model([input1, input2], [x1, x2]).predict(data)
    kernel, bias = model.layers[-1].get_weights()
    expected = (one + two if merge.lower() == "add" else one - two) @ kernel + bias
    assert np.allclose(model.predict(data), expected, atol=1e-5)


MERGES = {
    "001:1669-1669": ("add(inputs)", sum),
    "001:1696-1696": ("subtract(inputs)", lambda data: data[0] - data[1]),
    "001:1723-1723": ("multiply(inputs)", lambda data: np.prod(data, axis=0)),
    "001:1736-1736": ("average(inputs)", lambda data: np.mean(data, axis=0)),
    "001:1749-1749": ("maximum(inputs)", lambda data: np.max(data, axis=0)),
    "001:1761-1761": ("concatenate(inputs, axis=-1)", lambda data: np.concatenate(data, -1)),
    "001:1772-1772": ("dot(inputs, axes, normalize=False)", lambda data: np.einsum("nij,nik->njk", *data)),
}


@pytest.mark.parametrize("place", MERGES)
def test_functions_that_merge(place):
    call, expected = MERGES[place]
    count = 2 if call.startswith(("subtract", "dot")) else 3
    inputs = [Input(shape=(4, 5)) for _ in range(count)]
    data = [np.random.rand(6, 4, 5) for _ in range(count)]
    outputs = eval(f"keras.layers.{call}", {"keras": keras, "inputs": inputs, "axes": 1})
    assert np.allclose(Model(inputs, outputs).predict(data), expected(data), atol=1e-5)


@sample("001:1924-1932", "001:1924-1943", "001:1936-1943")
def test_recurrent_layers_are_stacked():
    model = Sequential()
    model.add(LSTM(32, input_shape=(10, 64)))
    # now model.output_shape == (None, 32)
    assert model.output_shape == (None, 32)
    model = Sequential()
    model.add(LSTM(32, input_dim=64, input_length=10))
    assert (model.input_shape, model.output_shape) == ((None, 10, 64), (None, 32))
    with pytest.raises(ValueError, match=r"ndim|dimension|rank"):
        model.add(LSTM(16))  # to stack recurrent layers, you must use return_sequences=True
    model = Sequential()
    model.add(LSTM(64, input_dim=64, input_length=10, return_sequences=True))
    model.add(LSTM(32, return_sequences=True))
    model.add(LSTM(10))
    assert shapes(model) == [(None, 10, 64), (None, 10, 32), (None, 10)]


@sample("001:2071-2078")
def test_time_distributed():
    from keras.layers import TimeDistributed

    model = Sequential()
    model.add(TimeDistributed(Dense(8), input_shape=(10, 16)))
    # now model.output_shape == (None, 10, 8)
    model.add(TimeDistributed(Dense(32)))
    # now model.output_shape == (None, 10, 32)
    assert shapes(model) == [(None, 10, 8), (None, 10, 32)]
    assert model.predict(np.ones((32, 10, 16))).shape == (32, 10, 32)


@sample("001:2085-2086")
@pytest.mark.filterwarnings("ignore:Update your")
def test_a_convolution_of_keras_1_for_every_frame(channels_first):
    from keras.layers import Convolution2D, TimeDistributed

    model = Sequential()
    model.add(TimeDistributed(Convolution2D(64, 3, 3), input_shape=(10, 3, 299, 299)))
    assert model.output_shape == (None, 10, 64, 297, 297)


@sample("001:2101-2106")
def test_bidirectional():
    from keras.layers import Activation, Bidirectional

    model = Sequential()
    model.add(Bidirectional(LSTM(10, return_sequences=True), input_shape=(5, 10)))
    model.add(Bidirectional(LSTM(10)))
    model.add(Dense(5))
    model.add(Activation("softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="rmsprop")
    assert shapes(model)[:2] == [(None, 5, 20), (None, 20)]
    labels = np.eye(5)[np.random.randint(0, 5, 8)]
    model.fit(np.random.rand(8, 5, 10), labels, verbose=0)


@sample("002:71-88")
def test_a_layer_of_tf_keras():
    import tensorflow as tf

    layer = tf.keras.layers.Conv2D(
        4,
        3,
        strides=(1, 1),
        padding="valid",
        data_format=None,
        dilation_rate=(1, 1),
        activation=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
    )
    inputs = tf.keras.layers.Input((8, 8, 3))
    model = tf.keras.models.Model(inputs, layer(inputs))
    assert model.predict(np.random.rand(2, 8, 8, 3)).shape == (2, 6, 6, 4)

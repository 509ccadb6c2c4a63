"""What scripts of Keras 2 do with models and layers, besides training them; answers are those of Keras 2."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

import kcompile
from kcompile import tf_keras
from kcompile.keras import backend as K
from kcompile.keras import losses, metrics
from kcompile.keras.layers import (
    LSTM,
    RNN,
    Dense,
    Embedding,
    Input,
    InputLayer,
    Lambda,
    Layer,
    LeakyReLU,
    LSTMCell,
)
from kcompile.keras.models import Model, Sequential, clone_model, model_from_json, model_from_yaml

X = np.array([[1.0, 3.0, 2.0], [-1.0, 0.5, 2.0]], "float32")


def antirectifier(x):
    x = K.l2_normalize(x - K.mean(x, axis=1, keepdims=True), axis=1)
    return K.concatenate([K.relu(x), K.relu(-x)], axis=1)


def twice_as_wide(shape):
    return (*shape[:-1], 2 * shape[-1])


def of_lambdas():
    return Sequential(
        [
            Lambda(antirectifier, output_shape=twice_as_wide, input_shape=(3,), name="anti"),
            Lambda(lambda x, by: x * by, arguments={"by": 3.0}, name="times"),
        ]
    )


# ---------------------------------------------------------------- Lambda


def test_lambdas_come_back_from_configurations_of_this_process():
    model = of_lambdas()
    expected = model.predict(X)
    config = model.get_config()
    for made in (
        clone_model(model),
        Sequential.from_config(config),
        Sequential.from_config(copy.deepcopy(config)),
    ):
        np.testing.assert_array_equal(made.predict(X), expected)
    layer = Lambda.from_config(model.layers[0].get_config())
    assert layer.function is antirectifier and layer.output_shape_given is twice_as_wide


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_lambda_with_functions_is_saved_and_read_with_them(tmp_path, suffix):
    model = of_lambdas()
    path = tmp_path / f"m{suffix}"
    model.save(path)
    functions = {"anti": antirectifier, "times": lambda x, by: x * by}
    np.testing.assert_array_equal(kcompile.load(path, custom_objects=functions).predict(X), model.predict(X))
    with pytest.raises(ValueError, match=r"custom_objects=.'anti': function"):
        kcompile.load(path)
    functions = {
        "antirectifier": antirectifier,
        "<lambda>": functions["times"],
        "twice_as_wide": twice_as_wide,
    }
    for made in (
        model_from_json(model.to_json(), custom_objects=functions),
        model_from_yaml(model.to_yaml(), custom_objects=functions),
    ):
        np.testing.assert_array_equal(made.predict(X), model.predict(X))
    assert json.loads(model.to_json())  # text that JSON can hold


def test_a_lambda_with_a_mask_is_copied_with_it(tmp_path):
    i = Input((3, 2))
    y = LSTM(2)(Lambda(lambda x: x, mask=lambda x, mask: K.any(x > 0, axis=-1))(i))
    model = Model(i, y)
    made = clone_model(model)
    made.set_weights(model.get_weights())
    x = np.random.RandomState(0).randn(4, 3, 2)
    np.testing.assert_array_equal(made.predict(x), model.predict(x))
    model.save(tmp_path / "m.h5")
    with pytest.raises(ValueError, match="its mask is a function"):
        kcompile.load(tmp_path / "m.h5")


# ---------------------------------------------------------------- layers of a model


def test_layers_pop_shows_the_layer_before(tmp_path):
    i = Input((3,))
    model = Model(i, Dense(2, name="o")(Dense(4, name="h")(i)))
    expected = model.predict(X)
    model.layers.pop()
    assert model.layers[-1].name == "h" == model.get_layer(index=-1).name
    assert Model(model.input, model.layers[-1].output).predict(X).shape == (2, 4)
    np.testing.assert_array_equal(model.predict(X), expected)
    model.save(tmp_path / "m.h5")
    np.testing.assert_array_equal(kcompile.load(tmp_path / "m.h5").predict(X), expected)


def test_in_tf_keras_layers_is_a_copy():
    i = tf_keras.layers.Input((3,))
    model = tf_keras.models.Model(i, tf_keras.layers.Dense(2, name="o")(i))
    model.layers.pop()
    assert model.layers[-1].name == "o"


def test_what_is_set_trainable_after_compile_is_told():
    model = Sequential([Dense(2, input_dim=3), Dense(2)])
    model.compile("sgd", "mse")
    model.fit(X, np.ones((2, 2)), verbose=0)
    model.layers[0].trainable = False
    before = model.layers[0].get_weights()[0].copy()
    with pytest.warns(UserWarning, match="counts from the next compile on"):
        model.fit(X, np.ones((2, 2)), verbose=0)
    assert not np.array_equal(model.layers[0].get_weights()[0], before)
    model.compile("sgd", "mse")
    model.layers[0].trainable = True
    with pytest.warns(UserWarning, match="`trainable` of a layer was set after compile"):
        model.train_on_batch(X, np.ones((2, 2)))


# ---------------------------------------------------------------- kinds of errors


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (lambda: Sequential().pop(), TypeError, "there are no layers"),
        (lambda: Dense(3)(np.ones((1, 2))), ValueError, "Data goes into predict"),
        (lambda: Dense(3, foo=1), TypeError, "foo"),
        (lambda: Sequential([Dense(2, input_dim=3)]).fit(X, X), RuntimeError, "must be compiled"),
    ],
)
def test_errors_are_of_the_kinds_that_scripts_catch(wrong, kind, message):
    with pytest.raises(kind, match=message):
        wrong()


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize("dtype", [np.dtype("int32"), np.int32, "int32"])
def test_dtypes_are_given_as_numpy_has_them(dtype):
    assert Input((3,), dtype=dtype).dtype == K.placeholder((2, 3), dtype=dtype).dtype == "int32"
    assert K.cast(K.variable(1.0), dtype).dtype == K.zeros((2,), dtype=dtype).dtype == "int32"
    assert K.variable(1.0, dtype=dtype).dtype == K.constant(1, dtype).dtype == K.arange(3, dtype=dtype).dtype
    assert Dense(2).add_weight("n", (2,), dtype=dtype, initializer="zeros").dtype == "int32"
    assert Embedding(3, 2, input_length=4, dtype=dtype).input_dtype == "int32"


def test_an_input_layer_takes_its_shape_first():
    layer = InputLayer((3,), 4)
    assert layer.output_shape == (4, 3)
    assert InputLayer.from_config(layer.get_config()).output_shape == (4, 3)


# ---------------------------------------------------------------- cells, sizes, losses


class PlainCell:
    """A cell that is no layer, as Keras 2 takes them."""

    def __init__(self, units):
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = K.variable(np.full((input_shape[-1], self.units), 0.1))
        self.recurrent = K.variable(np.eye(self.units) * 0.5)

    def call(self, inputs, states):
        output = K.dot(inputs, self.kernel) + K.dot(states[0], self.recurrent)
        return output, [output]


def test_a_cell_need_not_be_a_layer():
    i = Input((4, 3))
    layer = RNN(PlainCell(2))
    model = Model(i, layer(i))
    x = np.random.RandomState(0).randn(5, 4, 3)
    state = np.zeros((5, 2))
    for t in range(4):
        state = (x[:, t] * 0.1).sum(1, keepdims=True) + 0.5 * state
    np.testing.assert_allclose(model.predict(x), state, rtol=1e-5)
    assert layer.trainable_weights == []
    stacked = Model(i, Dense(1)(RNN([PlainCell(2), LSTMCell(3)])(i)))
    stacked.compile("sgd", "mse")
    assert stacked.train_on_batch(x, np.ones((5, 1))) > 0
    with pytest.raises(ValueError, match="PlainCell is no layer"):
        layer.get_config()
    with pytest.raises(ValueError, match="cell: expected a layer"):
        RNN("tanh")


def test_sizes_that_only_the_data_say_are_tensors():
    """Deep dream divides by them."""
    image = Input((None, None, 3))
    scaling = K.prod(K.cast(K.shape(image), "float32"))
    loss = K.sum(K.square(image[:, 2:-2, 2:-2, :])) / scaling
    fetch = K.function([image], [scaling, loss, K.gradients(loss, image)[0]])
    for rows in (8, 11):
        count, value, slope = fetch([np.ones((1, rows, 9, 3))])
        assert count == rows * 27
        np.testing.assert_allclose(value, (rows - 4) * 5 * 3 / count, rtol=1e-6)
        assert slope.shape == (1, rows, 9, 3) and slope[0, 0, 0, 0] == 0


def test_numbers_and_variables_are_added_to_the_loss():
    class Costs(Layer):
        def call(self, inputs):
            self.add_loss(3.0)
            return inputs

    def value(layers, *losses):
        model = Sequential(layers)
        for loss in losses:
            model.add_loss(loss)
        model.compile("sgd", "mse")
        return model.evaluate(np.zeros((3, 3)), np.zeros((3, 2)), verbose=0)

    assert value([Dense(2, input_dim=3)], 1) == 1
    assert value([Dense(2, input_dim=3)], 1, K.variable(2.0)) == 3
    assert value([Costs(input_shape=(3,)), Dense(2)]) == 3


def test_a_shape_with_its_batch_keeps_it():
    assert Dense(4).compute_output_shape((10, 3)) == (10, 4)
    assert Dense(4).compute_output_shape((None, 3)) == (None, 4)
    assert RNN(LSTMCell(4), return_state=True).compute_output_shape((2, 5, 3)) == [(2, 4)] * 3


def test_objects_of_the_users_own_are_serialized_as_losses_and_metrics():
    class Mine:
        def get_config(self):
            return {"a": 1}

    for module in (losses, metrics):
        assert module.serialize(Mine()) == {"class_name": "Mine", "config": {"a": 1}}
        assert module.serialize(losses.mean_squared_error) == "mean_squared_error"


def test_a_layer_for_an_activation_is_warned_of():
    with pytest.warns(UserWarning, match="LeakyReLU is a layer"):
        found = Dense(2, activation=LeakyReLU(0.5), kernel_initializer="ones")(Input((1,)))
    m = Model(found.node.inputs[0], found)
    np.testing.assert_allclose(m.predict(np.array([[-2.0]])), [[-1.0, -1.0]])

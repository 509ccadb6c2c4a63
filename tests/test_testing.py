"""`kcompile.testing`: what it asserts holds of models that are right, and fails for those that are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import kcompile
from kcompile import keras
from kcompile.ir import ops
from kcompile.ir.op import OPS
from kcompile.keras import backend as K
from kcompile.keras import layers
from kcompile.testing import assert_agrees, assert_gradients, find_smallest, inputs_for, make_inputs, models
from kcompile_runtime.errors import InputError, NotCompiledError

FEW = settings(
    max_examples=3, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
)


@FEW
@given(models())
def test_random_models_agree_with_the_interpreter(sample: Any) -> None:
    assert_agrees(sample.model, sample.inputs(3), rtol=1e-4, atol=1e-4)


@settings(FEW, max_examples=2)
@given(models(compiled=True, depth=3))
def test_random_gradients_are_finite_differences(sample: Any) -> None:
    assert_gradients(sample.model, sample.inputs(3), sample.targets(3), rtol=5e-3, atol=1e-3, entries=2)


def mlp() -> Any:
    model = keras.Sequential([layers.Dense(4, "tanh", input_dim=3), layers.Dense(2, name="last")])
    model.compile("adam", "mse")
    return model


def test_against_functions_and_models() -> None:
    model, x = mlp(), np.ones((2, 3), np.float32)
    w, b, v, c = model.get_weights()
    assert_agrees(model, x, against=lambda x: np.tanh(x @ w + b) @ v + c)
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    assert_agrees(model, x, against=kcompile.compile(twin), rtol=0, atol=0)
    with pytest.raises(AssertionError, match=r"output 'last': 4 of 4 elements .* at \(\d, \d\)"):
        assert_agrees(model, x, against=lambda x: np.tanh(x @ w + b) @ v + c + 0.1)
    with pytest.raises(AssertionError, match=r"its shape is \(2, 2\), expected \(2, 3\)"):
        assert_agrees(model, x, against=lambda x: x)
    with pytest.raises(AssertionError, match="1 outputs, what it is compared with 2"):
        assert_agrees(model, x, against=lambda x: [x, x])
    with pytest.raises(InputError, match="against"):
        assert_agrees(model, x, against="keras")


def test_nothing_that_is_no_number_agrees_with_a_number() -> None:
    model = keras.Sequential([layers.Lambda(lambda x: K.sqrt(x), input_shape=(2,))])
    x = np.array([[-1, 4]], np.float32)
    assert_agrees(model, x)
    assert_agrees(model, x, against=lambda x: np.array([[0.0, 2.0]]))  # K.sqrt clips
    with pytest.raises(AssertionError, match="1 of 2"):
        assert_agrees(model, x, against=lambda x: np.array([[np.nan, 2.0]]))


class Wrong(layers.Layer):
    """Twice its input, whose gradient it says is one."""

    def call(self, x: Any) -> Any:
        return x + ops.stop_gradient(x)


def test_wrong_gradients_are_found_and_the_model_is_left_as_it_was() -> None:
    model = keras.Sequential([layers.Dense(4, "tanh", input_dim=3, name="first"), Wrong(), layers.Dense(2)])
    with pytest.raises(NotCompiledError):
        assert_gradients(model, np.ones((2, 3)), np.ones((2, 2)))
    model.compile("adam", "mse")
    x, y = np.random.default_rng(0).random((2, 5, 3)).astype(np.float32)[..., :3], np.ones((5, 2), np.float32)
    model.train_on_batch(x[0], y)
    before, optimizer, slots = model.get_weights(), model.optimizer, model.optimizer.get_weights()
    with pytest.raises(AssertionError, match=r"first/kernel.*\[\d, \d\]: the gradient is .*, by finite"):
        assert_gradients(model, x[0], y)
    assert model.optimizer is optimizer
    for a, b in zip((*before, *slots), (*model.get_weights(), *optimizer.get_weights()), strict=True):
        np.testing.assert_array_equal(a, b)
    right = mlp()
    assert_gradients(right, x[0], y, sample_weight=np.arange(5.0))
    dropped = keras.Sequential([layers.Dense(9, input_dim=3), layers.Dropout(0.5), layers.Dense(2)])
    dropped.compile("sgd", "mse")
    assert_gradients(dropped, x[0], y)


def tower() -> Any:
    a, b = keras.Input((6,)), keras.Input((6,))
    x = layers.Dense(6, "tanh", name="one")(layers.Add()([a, b]))
    y = layers.Dense(6, name="two")(x)
    y = layers.LeakyReLU(name="culprit")(layers.Activation("sigmoid")(y))
    y = layers.BatchNormalization()(y)
    return keras.Model([a, b], [layers.Dense(2)(layers.Concatenate()([x, y])), layers.Dense(3)(x)])


def kinds(model: Any) -> list[str]:
    return sorted(type(layer).__name__ for layer in model.layers)


def test_the_smallest_model_that_fails() -> None:
    """Whatever holds the layer fails."""
    model = tower()
    found = find_smallest(model, lambda m: "LeakyReLU" in kinds(m))
    assert kinds(found) == ["InputLayer", "LeakyReLU"] and kinds(model) == kinds(tower())
    two = find_smallest(model, lambda m: {"LeakyReLU", "BatchNormalization"} <= set(kinds(m)))
    assert kinds(two) == ["BatchNormalization", "InputLayer", "LeakyReLU"]
    with pytest.raises(InputError, match="the predicate fails"):
        find_smallest(model, lambda m: False)


def test_a_fault_of_ours_is_found_by_what_is_asserted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter, made wrong for one op, differs from compiled code where that op is; weights stay."""
    model = keras.Sequential(
        [layers.Dense(5, input_dim=4), layers.Activation("relu"), layers.Dense(5, "tanh"), layers.Dense(3)]
    )
    tanh = OPS["tanh"]
    object.__setattr__(tanh, "numpy", lambda x, meaning=tanh.numpy: meaning(x) + 0.5)
    try:
        found = find_smallest(model, lambda m: assert_agrees(m, make_inputs(m)))
        with pytest.raises(AssertionError, match="the first layer that differs: dense_"):
            assert_agrees(found, make_inputs(found))
    finally:
        object.__setattr__(tanh, "numpy", tanh.numpy.__defaults__[0])
    assert len(found.layers) == 2 and found.layers[-1].activation.__name__ == "tanh"
    np.testing.assert_array_equal(found.get_weights()[0], model.layers[2].get_weights()[0])


@FEW
@given(inputs_for(keras.Sequential([layers.Embedding(5, 2, input_length=9), layers.Flatten()])))
def test_numbers_are_below_the_vocabulary(arrays: list[np.ndarray]) -> None:
    (x,) = arrays
    assert (x.shape[1:] == (9,) and x.dtype == np.int32) or x.dtype == np.float32
    assert x.min() >= 0 and x.max() < 5


def test_data_fit_the_model() -> None:
    ragged = keras.Sequential([layers.LSTM(2, input_shape=(None, 3))])
    assert make_inputs(ragged, 4, length=11)[0].shape == (4, 11, 3)
    own = keras.Sequential([layers.LSTM(2, batch_input_shape=(2, 5, 3), stateful=True)])
    with pytest.raises(InputError, match="batch size"):
        make_inputs(own, 3)
    assert make_inputs(own, 2)[0].shape == (2, 5, 3)
    assert_agrees(ragged, make_inputs(ragged))

"""Spellings of Keras 1: configurations that Keras 2.2.4 makes of them, and one warning for each call.

`keras1_calls.json` holds calls with the spellings of Keras 1, each with the configuration of the layer that
Keras 2.2.4 made of it.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile import tf_keras
from kcompile.keras import backend as K
from kcompile.keras import keras1, layers
from kcompile.keras.layers import LSTM, Conv2D, Dense, Input
from kcompile.keras.models import Model, Sequential

CALLS = json.loads((Path(__file__).parent / "keras1_calls.json").read_text())
# What a configuration of 2.2.4 says otherwise than ours, in the same meaning
OLDER = {
    "GlorotUniform": ("VarianceScaling", {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform"}),
    "L1": ("L1L2", {"l2": 0.0}),
    "L2": ("L1L2", {"l1": 0.0}),
}


def as_given(value: Any) -> Any:
    return tuple(map(as_given, value)) if isinstance(value, list) else value


def comparable(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        kind, more = OLDER.get(value.get("class_name", ""), ("", {}))
        if kind:
            value = {"class_name": kind, "config": {**more, **value["config"]}}
        return {k: comparable(v) for k, v in value.items() if k != "seed"}
    return [comparable(v) for v in value] if isinstance(value, (list, tuple)) else value


def label(call: dict[str, Any]) -> str:
    return f"{call['layer']}-{'-'.join(call['options'])}"


@pytest.mark.parametrize("call", CALLS, ids=label)
def test_a_call_of_keras_1_makes_the_layer_that_keras_2_makes(call: dict[str, Any]) -> None:
    options = {name: as_given(value) for name, value in call["options"].items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        layer = getattr(layers, call["layer"])(*map(as_given, call["args"]), **options)
    found = comparable(layer.get_config())
    wanted = comparable(call["config"])
    if call["layer"] == "Embedding":  # ours says no shape before it is called
        wanted = {name: value for name, value in wanted.items() if name not in ("batch_input_shape", "dtype")}
    assert {name: found.get(name) for name in wanted} == wanted
    updates = [w for w in caught if "Keras 2 API" in str(w.message)]
    assert len(updates) == (call["layer"] not in ("Highway", "MaxoutDense"))
    if not call["layer"].startswith("Atrous"):
        assert all(w.filename == __file__ for w in updates)


def test_every_name_of_the_table_is_in_a_call() -> None:
    tried = {name for call in CALLS for name in call["options"]}
    assert {name for spelling in keras1.LAYERS.values() for name in spelling.names} <= tried
    assert set(keras1.LAYERS) <= {getattr(layers, call["layer"]).__name__ for call in CALLS}


def test_two_integers_behind_filters_are_the_kernel() -> None:
    with pytest.warns(UserWarning, match=r"Conv2D\(64, \(3, 3\)\)"):
        layer = Conv2D(64, 3, 3)
    assert layer.compute_output_shape((None, 10, 10, 1)) == (None, 8, 8, 64)
    assert tf_keras.layers.Conv2D(64, 3, 3).compute_output_shape((None, 10, 10, 1)) == (None, 3, 3, 64)
    assert Conv2D(64, 3, strides=3).compute_output_shape((None, 10, 10, 1)) == (None, 3, 3, 64)


def test_sizes_that_say_two_things_are_refused() -> None:
    with pytest.raises(ValueError, match="kernel_size and strides by name"):
        Conv2D(8, 3, 3, padding="same")
    with pytest.raises(TypeError, match="3 sizes of the kernel"):
        layers.Conv3D(8, 3, 3)


def test_a_subclass_passes_on_old_names_and_is_not_read_twice() -> None:
    class Narrow(Dense):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(output_dim=3, **kwargs)

    class Square(Conv2D):
        def __init__(self, filters: int, size: int, stride: int) -> None:
            super().__init__(filters, size, strides=stride)

    with pytest.warns(UserWarning, match="output_dim is units"):
        assert Narrow().units == 3
    assert Square(4, 3, 2).kernel_size == (3, 3)


@pytest.mark.parametrize(
    "make, kind, text",
    [
        (lambda: Dense(3, output_dim=3), TypeError, "units"),
        (lambda: Dense(units=4, output_dim=3), TypeError, "given twice"),
        (lambda: layers.BatchNormalization(mode=1), TypeError, "mode"),
        (lambda: Conv2D(3, 3, dim_ordering="channels"), ValueError, "'th', 'tf'"),
        (lambda: LSTM(3, forget_bias_init="uniform"), ValueError, "'one'"),
        (lambda: Dense(3, nb_filter=3), TypeError, "nb_filter"),
        (lambda: tf_keras.layers.Dense(output_dim=3), TypeError, "units"),
    ],
)
@pytest.mark.filterwarnings("ignore:Update your")
def test_what_has_no_meaning_is_refused(make: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        make()


def test_models_and_fit_take_their_old_names_with_a_warning() -> None:
    x = Input((3,), dtype="float32")
    with pytest.warns(UserWarning, match="input is inputs; output is outputs"):
        model = Model(input=x, output=Dense(2)(x))
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="nb_epoch is epochs"):
        history = model.fit(np.zeros((4, 3)), np.zeros((4, 2)), nb_epoch=3, verbose=0)
    assert history.epoch == [0, 1, 2]
    with pytest.warns(UserWarning, match="input_dtype is dtype"):
        first = layers.Activation("linear", input_shape=(3,), input_dtype="int32")
    assert Sequential([first]).inputs[0].dtype == "int32"


@pytest.mark.filterwarnings("ignore:.*is a layer of Keras 1")
def test_highway_and_maxout_compute_what_they_say() -> None:
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("f")
    model = Sequential([layers.Highway(activation="tanh", input_dim=4)])
    w, carry, b, b_carry = model.get_weights()
    gate = 1 / (1 + np.exp(-(x @ carry + b_carry)))
    assert b_carry.tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(
        model.predict(x), np.tanh(x @ w + b) * gate + (1 - gate) * x, rtol=1e-5, atol=1e-6
    )
    model = Sequential([layers.MaxoutDense(3, nb_feature=2, input_dim=4)])
    w, b = model.get_weights()
    assert (w.shape, b.shape) == ((2, 4, 3), (2, 3))
    np.testing.assert_allclose(
        model.predict(x), (np.einsum("ni,fio->nfo", x, w) + b).max(1), rtol=1e-5, atol=1e-6
    )


@pytest.mark.filterwarnings("ignore:.*is a layer of Keras 1")
def test_a_recurrent_layer_of_ones_own_runs_its_step() -> None:
    class Sums(layers.Recurrent):
        units = 4

        def step(self, inputs: Any, states: Any) -> Any:
            total = states[0] + inputs
            return K.tanh(total), [total]

    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("f")
    given = Input((5, 4))
    model = Model(given, Sums(return_sequences=True, return_state=True)(given))
    outputs, total = model.predict(x)
    np.testing.assert_allclose(outputs, np.tanh(np.cumsum(x, 1)), rtol=1e-5)
    np.testing.assert_allclose(total, x.sum(1), rtol=1e-5)

"""Constants of recurrent layers against tf_keras: the same cell, written over each one's K."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras as ours

theirs = pytest.importorskip("tf_keras")
N, STEPS, INPUTS, UNITS, FIXED = 8, 5, 3, 4, 2
rng = np.random.default_rng(2)
X, C, S = (rng.normal(size=s).astype("f") for s in ((N, STEPS, INPUTS), (N, FIXED), (N, UNITS)))
PADDED = X.copy()
PADDED[::2, 3:] = 0


def cell_of(keras: Any) -> Any:
    K = keras.backend

    class WithConstant(keras.layers.Layer):
        def __init__(self, units: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = self.state_size = units

        def build(self, input_shape: Any) -> None:
            # Keras 2 tells the shapes of the constants too, tf_keras does not
            shape = input_shape[0] if isinstance(input_shape, list) else input_shape
            self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.units))
            self.recurrent = self.add_weight(name="recurrent", shape=(self.units, self.units))
            self.constant = self.add_weight(name="constant", shape=(FIXED, self.units))
            self.built = True

        def call(self, inputs: Any, states: Any, constants: Any) -> Any:
            (h,), (c,) = states, constants
            h = K.tanh(K.dot(inputs, self.kernel) + K.dot(h, self.recurrent) + K.dot(c, self.constant))
            return h, [h]

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    return WithConstant


def plain(keras: Any) -> Any:
    x, c = (keras.layers.Input(s) for s in ((STEPS, INPUTS), (FIXED,)))
    layer = keras.layers.RNN(cell_of(keras)(UNITS), return_sequences=True)
    return keras.Model([x, c], layer(keras.layers.Masking()(x), constants=c))


def with_state(keras: Any) -> Any:
    x, c, s = (keras.layers.Input(k) for k in ((STEPS, INPUTS), (FIXED,), (UNITS,)))
    layer = keras.layers.RNN(cell_of(keras)(UNITS), go_backwards=True)
    return keras.Model([x, c, s], layer(x, initial_state=s, constants=c))


def stacked(keras: Any) -> Any:
    x, c = (keras.layers.Input(s) for s in ((STEPS, INPUTS), (FIXED,)))
    cells = [keras.layers.SimpleRNNCell(3), cell_of(keras)(UNITS)]
    return keras.Model([x, c], keras.layers.RNN(cells)(x, constants=c))


def both_ways(keras: Any) -> Any:
    x, c = (keras.layers.Input(s) for s in ((STEPS, INPUTS), (FIXED,)))
    cell = cell_of(keras)
    with keras.utils.custom_object_scope({"WithConstant": cell}):
        layer = keras.layers.Bidirectional(keras.layers.RNN(cell(UNITS)), merge_mode="sum")
        return keras.Model([x, c], layer(x, constants=c))


NETS: dict[str, tuple[Callable[[Any], Any], list[np.ndarray]]] = {
    "masked": (plain, [PADDED, C]),
    "state": (with_state, [X, C, S]),
    "stacked": (stacked, [X, C]),
    "both ways": (both_ways, [X, C]),
}


@pytest.mark.parametrize("name", NETS)
def test_predictions_and_training(name: str) -> None:
    make, data = NETS[name]
    live, mine = make(theirs), make(ours)
    mine.set_weights(live.get_weights())
    right = live.predict_on_batch(data)
    np.testing.assert_allclose(mine.predict_on_batch(data), right, rtol=1e-5, atol=1e-6)
    if name == "masked":  # whose loss is divided otherwise in Keras 2 than in tf_keras
        return
    y = rng.normal(size=right.shape).astype("f")
    live.compile(theirs.optimizers.SGD(0.1), "mse")
    mine.compile(ours.optimizers.SGD(0.1), "mse")
    for _ in range(10):
        assert mine.train_on_batch(data, y) == pytest.approx(live.train_on_batch(data, y), rel=1e-4)


@pytest.mark.parametrize("name", NETS)
def test_configurations_are_read_both_ways(name: str) -> None:
    make, data = NETS[name]
    live = make(theirs)
    read = kcompile.keras.models.model_from_json(live.to_json(), {"WithConstant": cell_of(ours)})
    read.set_weights(live.get_weights())
    np.testing.assert_allclose(read.predict_on_batch(data), live.predict_on_batch(data), rtol=1e-5, atol=1e-6)

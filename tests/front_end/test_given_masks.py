"""Masks that calls are given, as `layer(x, mask=m)`: in models, on arrays, inside layers of a user's own.

Files with them: tests/files/zoo.py; beside real Keras: `given_masks_go_on` among the questions of semantics.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile.interpreted import InterpreterEngine
from kcompile.keras import layers as L
from kcompile.keras.models import Model
from kcompile_runtime.errors import KcompileError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 4, 3)).astype("float32")
THERE = RNG.random((6, 4)) < 0.6
S = RNG.normal(size=(6, 2)).astype("float32")


class Mean(L.Layer):
    """The mean over the steps that are there; it is asked for, as the mask of the input is not used."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return L.GlobalAveragePooling1D()(inputs, mask=mask)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None


def heads(x: Any, **mask: Any) -> list[Any]:
    layers = [
        L.LSTM(2),
        L.Bidirectional(L.GRU(2)),
        L.TimeDistributed(L.Dense(2)),
        L.GlobalAveragePooling1D(),
        L.RNN([L.GRUCell(2), L.LSTMCell(3)]),
        Mean(),
    ]
    return [layer(x, **mask) for layer in layers]


def filled(model: Any) -> Any:
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model


@pytest.mark.parametrize("dtype", ["bool", "float32"])
def test_a_mask_that_is_given_counts_like_that_of_the_input(dtype: str) -> None:
    x, there = L.Input((4, 3)), L.Input((4,), dtype=dtype)
    model = filled(Model([x, there], heads(x, mask=there)))
    masked = L.Masking()(x)
    other = filled(Model(x, heads(masked)))
    zeros = X * THERE[:, :, None]  # the steps at which Masking holds back
    found = model.predict([X * THERE[:, :, None], THERE.astype(dtype)])
    for y, expected in zip(found, other.predict(zeros)):
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_training_agrees_with_the_interpreter() -> None:
    losses = []
    for interpreted in (False, True):
        x, there, s = L.Input((4, 3)), L.Input((4,), dtype="bool"), L.Input((2,))
        h = L.GRU(2, return_sequences=True)(x, initial_state=s, mask=there)
        model = filled(Model([x, there, s], L.Dense(1)(L.LSTM(3)(h, mask=there))))
        model.compile("sgd", "mse")
        if interpreted:
            model.use_engine(InterpreterEngine(model))
        losses.append([model.train_on_batch([X, THERE, S], X[:, 0, :1]) for _ in range(3)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_a_model_comes_back_from_its_configuration() -> None:
    x, there, s = L.Input((4, 3)), L.Input((4,), dtype="bool"), L.Input((2,))
    model = filled(Model([x, there, s], L.GRU(2)(x, initial_state=s, mask=there)))
    again = Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict([X, THERE, S]), model.predict([X, THERE, S]))


def test_what_is_no_mask_is_refused() -> None:
    x, there = L.Input((4, 3)), L.Input((4,), dtype="bool")
    with pytest.raises(KcompileError, match="arguments among"):
        L.Dense(2)(x, mask=there)
    with pytest.raises(KcompileError, match="one mask for each input"):
        L.LSTM(2)(x, mask=[there, there])

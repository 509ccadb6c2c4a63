"""Models in models, each called twice: what is known of one is not found out again at each level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import layers
from kcompile.keras.topology import MAX_RUNS
from kcompile_runtime.errors import ModelError


class Counted(layers.Layer):
    """Counts how often it is traced."""

    traced = 0

    def call(self, x: Any) -> Any:
        type(self).traced += 1
        return x * 2.0


def doubled(levels: int, shape: tuple[int | None, ...] = (3,)) -> keras.Model:
    x = layers.Input(shape)
    made = keras.Model(x, Counted()(x))
    for _ in range(levels):
        x = layers.Input(shape)
        made = keras.Model(x, made(made(x)))
    return made


def test_a_layer_is_traced_once_for_each_signature() -> None:
    Counted.traced = 0
    made = doubled(9)
    assert Counted.traced == 1 + 1  # its own call, and its model's
    assert made.outputs[0].shape == (None, 3)
    other = layers.Input((3,))
    made(other)
    assert Counted.traced == 2
    Counted.traced = 0
    doubled(9, (None, 3))  # two probes
    assert Counted.traced == 2 + 2


def test_what_runs_is_every_call() -> None:
    made = doubled(4)
    made.use_engine(InterpreterEngine(made))
    np.testing.assert_array_equal(made.predict(np.ones((2, 3))), np.full((2, 3), 2.0**16))


def test_more_than_the_budget_is_refused_before_it_is_built() -> None:
    Counted.traced = 0
    with pytest.raises(ModelError, match=f"at most {MAX_RUNS} layers to run"):
        doubled(60)
    assert Counted.traced == 2


def test_wrappers_around_models_count_what_is_inside() -> None:
    x = layers.Input((2, 3))
    made = keras.Model(x, layers.TimeDistributed(doubled(3))(x))
    assert made.runs == 1 + 1 + 1 + doubled(3).runs


def test_types_follow_the_data_of_each_call() -> None:
    """Another size, another mask: other types are inferred."""
    x = layers.Input((None, 3))
    inner = keras.Model(x, layers.LSTM(4, return_sequences=True)(x))
    a, b = layers.Input((5, 3)), layers.Input((7, 3))
    masked = layers.Masking()(b)
    first, second = inner(a), inner(masked)
    assert (first.shape, second.shape) == ((None, 5, 4), (None, 7, 4))
    assert first.mask is None and second.mask is not None and second.mask.shape[1] == 7
    with pytest.raises(ModelError, match="does not support masking"):
        layers.Flatten()(second)
    grown = keras.Sequential([layers.Dense(4, input_shape=(3,))])
    y = layers.Input((3,))
    assert grown(y).shape == (None, 4)
    grown.add(layers.Dense(6))
    assert grown(y).shape == (None, 6)

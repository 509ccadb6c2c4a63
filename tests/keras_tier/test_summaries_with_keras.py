"""Tables of `summary`, line by line those of Keras 3 and tf_keras."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.keras

OPTIONS: list[dict[str, Any]] = [
    {},
    {"expand_nested": True, "show_trainable": True},
    {"expand_nested": True},
    {"line_length": 60},
    {"line_length": 100, "positions": [0.3, 0.6, 0.7, 1.0]},
    {"line_length": 90, "show_trainable": True, "positions": [0.3, 0.6, 0.7, 1.0]},
    {"layer_range": ["first", "l"]},
    {"layer_range": ["last", "fi|st"], "show_trainable": True},
]


def models(keras: Any) -> list[Any]:
    """Nested, shared, frozen, of several outputs, and trained; each has layers first and last."""
    layers = keras.layers
    keras.backend.clear_session()
    first, second, other = (keras.Input((8,), name=name) for name in ("first", "second", "other"))
    inner = keras.Sequential(
        [layers.Dense(4, input_shape=(8,)), layers.Dropout(0.5), layers.BatchNormalization()], name="inner"
    )
    deep = keras.Model(other, layers.Dense(3)(inner(other)), name="deep")
    long = "a_name_of_a_layer_that_is_longer_than_most_columns_are"
    x = layers.Concatenate(name=long)([inner(first), inner(second), deep(first)])
    two = keras.Model([first, second], [layers.Dense(1000)(x), layers.Dense(2, name="last")(x)], name="two")
    middle = keras.Sequential([layers.Dense(5, input_shape=(4,)), layers.Dense(6)], name="middle")
    chain = keras.Sequential(
        [layers.Dense(4, input_shape=(8,), name="first"), middle, layers.Dense(2, name="last")], name="chain"
    )
    chain.layers[0].trainable = False
    start = keras.Input((8, 3), name="first")
    states = keras.Model(start, layers.LSTM(4, return_state=True, name="last")(start), name="states")
    trained = keras.Sequential(
        [layers.Dense(4, input_shape=(3,), name="first"), layers.Dense(3, name="last")], name="trained"
    )
    trained.compile("adam", "mse")
    trained.train_on_batch(np.zeros((4, 3), "float32"), np.zeros((4, 3), "float32"))
    return [two, chain, states, trained]


@pytest.mark.parametrize("ours, theirs", [("kcompile.keras3", "keras"), ("kcompile.tf_keras", "tf_keras")])
def test_tables_are_theirs(ours, theirs, monkeypatch):
    pytest.importorskip(theirs)
    monkeypatch.setenv("COLUMNS", "130")
    found = []
    for package in (ours, theirs):
        keras, texts = importlib.import_module(package), []
        for model in models(keras):
            for options in OPTIONS:
                lines: list[str] = []
                model.summary(print_fn=lambda line, *_, lines=lines, **__: lines.append(line), **options)
                texts.append((model.name, options, lines))
        found.append(texts)
    for mine, real in zip(*found):
        assert mine == real


def test_a_model_that_is_not_built_has_a_table_in_keras3():
    texts = []
    for keras in (importlib.import_module("kcompile.keras3"), pytest.importorskip("keras")):
        keras.backend.clear_session()
        model, lines = keras.Sequential([keras.layers.Dense(4)], name="open"), []
        model.summary(print_fn=lambda line, *_, lines=lines, **__: lines.append(line))
        texts.append(lines)
    assert texts[0] == texts[1]

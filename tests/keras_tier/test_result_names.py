"""What `evaluate` reports, by name: random losses and metrics, in every form that compile takes, beside the
real Keras and tf_keras."""

from __future__ import annotations

import importlib
import random

import numpy as np
import pytest

pytestmark = pytest.mark.keras

PAIRS = [("keras", "kcompile.keras3"), ("tf_keras", "kcompile.tf_keras")]
NAMES = (
    "mae",
    "mse",
    "accuracy",
    "acc",
    "binary_accuracy",
    "categorical_accuracy",
    "cosine_similarity",
    "top_k_categorical_accuracy",
    "MeanAbsoluteError",
    "CategoricalAccuracy",
)
OBJECTS = (("MeanAbsoluteError", {}), ("BinaryAccuracy", {"name": "hits"}), ("CategoricalAccuracy", {}))


def first(y_true, y_pred):
    return y_pred[..., 0]


def metric(draw):
    kind = draw.choice(("name", "name", "object", "function", "loss"))
    return (kind, draw.choice(NAMES if kind == "name" else OBJECTS))


def metrics(draw, names):
    def some():
        return [metric(draw) for _ in range(draw.choice((0, 1, 1, 2)))]

    form = draw.choice(("none", "list", "nested", "dict", "one"))
    if form == "none":
        return None
    if form == "list" or (form == "nested" and len(names) == 1):
        return some()
    if form == "nested":
        return [some() for _ in names]
    if form == "dict":
        return {name: some() or [metric(draw)] for name in names}
    return {draw.choice(names): draw.choice((metric(draw), [metric(draw)]))}


def made(keras, value):
    if isinstance(value, dict):
        return {k: made(keras, v) for k, v in value.items()}
    if isinstance(value, list):
        return [made(keras, v) for v in value]
    if value is None or value[0] == "name":
        return value and value[1]
    if value[0] == "object":
        return getattr(keras.metrics, value[1][0])(**value[1][1])
    return first if value[0] == "function" else keras.losses.mean_squared_error


def compiled(keras, sizes, names, loss, plain, weighted, **options):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3)(inputs)
    outputs = [
        keras.layers.Dense(size, activation="softmax" if size > 1 else "sigmoid", name=name)(hidden)
        for size, name in zip(sizes, names)
    ]
    model = keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0])
    loss = keras.losses.MeanSquaredError() if loss == "object" else loss
    model.compile("sgd", loss, metrics=made(keras, plain), weighted_metrics=made(keras, weighted), **options)
    return model


def differences(theirs, ours, seed, count):
    """Of so many random models, those whose results differ from the real ones."""
    real, here = importlib.import_module(theirs), importlib.import_module(ours)
    draw, generator = random.Random(seed), np.random.default_rng(seed)
    for _ in range(count):
        sizes = [draw.choice((1, 3, 5)) for _ in range(draw.choice((1, 1, 2, 3)))]
        names = [f"out{k}" for k in range(len(sizes))]
        each = [
            "binary_crossentropy" if size == 1 else draw.choice(("categorical_crossentropy", "mse"))
            for size in sizes
        ]
        loss = draw.choice(("mse", "object", each if len(each) > 1 else each[0], dict(zip(names, each))))
        wanted = sizes, names, loss, metrics(draw, names), metrics(draw, names)
        x = generator.normal(size=(8, 4)).astype("float32")
        y = [np.eye(size, dtype="float32")[generator.integers(0, size, 8)] for size in sizes]
        weights = [generator.random(8).astype("float32") for _ in sizes]
        given = [x, y, weights] if len(sizes) > 1 else [x, y[0], weights[0]]
        try:
            there = compiled(real, *wanted, run_eagerly=True)
            expected = there.evaluate(*given[:2], sample_weight=given[2], verbose=0, return_dict=True)
        except ValueError:
            continue  # two metrics of one name in tf_keras; a flat list for several outputs in Keras 3
        mine = compiled(here, *wanted)
        mine.set_weights(there.get_weights())
        got = mine.evaluate(*given[:2], sample_weight=given[2], verbose=0, return_dict=True)
        if set(got) != set(expected) or not all(np.isclose(got[k], expected[k], 1e-3, 1e-4) for k in got):
            yield wanted, expected, got


@pytest.mark.parametrize("theirs, ours", PAIRS)
def test_results_have_the_real_names_and_values(theirs, ours):
    pytest.importorskip(theirs)
    assert list(differences(theirs, ours, 5, 12)) == []

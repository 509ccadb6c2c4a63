"""Recurrent layers, Embedding, wrappers and masks against live Keras 3: predictions, gradients, steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nets import ENGINES

keras = pytest.importorskip("keras")
layers = keras.layers

STEPS, INPUTS, UNITS = 7, 5, 6
TRAINED = 20


def sequences(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.normal(size=(n, STEPS, INPUTS)).astype(np.float32)]


def padded(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Some steps are zeros: at the end, some at the start, some between."""
    (x,) = sequences(n, rng)
    there = rng.random((n, STEPS)) < 0.6
    there[:, 2] = True
    return [x * there[..., None]]


def numbers(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    x = rng.integers(1, 20, (n, STEPS)).astype(np.int32)
    return [x * (np.arange(STEPS) < rng.integers(1, STEPS + 1, (n, 1)))]


def with_states(count: int, data: Callable[..., Any] = sequences) -> Callable[..., Any]:
    return lambda n, rng: [
        *data(n, rng),
        *(rng.normal(size=(n, UNITS)).astype(np.float32) for _ in range(count)),
    ]


def chain(*made: Any, shape: tuple[int, ...] = (STEPS, INPUTS), dtype: str = "float32") -> Any:
    return keras.Sequential([layers.Input(shape, dtype=dtype), *made])


def words(*made: Any, **options: Any) -> Any:
    return chain(layers.Embedding(20, 4, **options), *made, shape=(STEPS,), dtype="int32")


def _started(masked: bool = False) -> Any:
    x, h, c = (layers.Input(s) for s in ((STEPS, INPUTS), (UNITS,), (UNITS,)))
    first = layers.Masking()(x) if masked else x
    y, h1, c1 = layers.LSTM(UNITS, return_state=True)(first, initial_state=[h, c])
    return keras.Model([x, h, c], [y, layers.Dense(2)(h1), c1])


def _two_ways() -> Any:
    x = layers.Input((STEPS, INPUTS))
    return keras.Model(
        x, list(layers.Bidirectional(layers.LSTM(UNITS, return_state=True, return_sequences=True))(x))
    )


def _merged() -> Any:
    x = layers.Input((STEPS, INPUTS))
    masked = layers.Masking()(x)
    a, b = (layers.GRU(UNITS, return_sequences=True)(masked) for _ in range(2))
    joined = layers.Concatenate()([layers.Add()([a, b]), a])
    return keras.Model(x, layers.LSTM(UNITS)(joined))


def _written_out() -> Any:
    """Keras 3 writes the masks of functional models as operations."""
    x = layers.Input((STEPS,), dtype="int32")
    y = layers.LSTM(3, return_sequences=True)(layers.Embedding(20, 4, mask_zero=True)(x))
    y = layers.Bidirectional(layers.GRU(3))(layers.Dropout(0.0)(y))
    return keras.Model(x, y)


NETS: dict[str, tuple[Callable[[], Any], Callable[..., Any]]] = {
    "embedding": (lambda: words(layers.LSTM(UNITS), layers.Dense(1, activation="sigmoid")), numbers),
    "embedding, masked": (lambda: words(layers.GRU(UNITS), layers.Dense(1), mask_zero=True), numbers),
    "masked loss": (
        lambda: words(layers.GRU(UNITS, return_sequences=True), layers.Dense(3), mask_zero=True),
        numbers,
    ),
    "masked mean": (lambda: words(layers.GlobalAveragePooling1D(), layers.Dense(2), mask_zero=True), numbers),
    "stack": (
        lambda: chain(
            layers.LSTM(8, return_sequences=True), layers.LSTM(7, return_sequences=True), layers.LSTM(6)
        ),
        sequences,
    ),
    "GRU reset before": (lambda: chain(layers.GRU(UNITS, reset_after=False)), sequences),
    "relu, regularized": (
        lambda: chain(
            layers.LSTM(
                UNITS,
                activation="relu",
                recurrent_activation="hard_sigmoid",
                kernel_regularizer="l2",
                recurrent_regularizer="l1",
                use_bias=False,
            )
        ),
        sequences,
    ),
    "time distributed": (
        lambda: chain(
            layers.Masking(), layers.TimeDistributed(layers.Dense(3, activation="relu")), layers.LSTM(UNITS)
        ),
        padded,
    ),
    "cells": (
        lambda: chain(layers.RNN(layers.GRUCell(4), return_sequences=True), layers.RNN(layers.LSTMCell(4))),
        sequences,
    ),
    "stacked cells": (lambda: chain(layers.RNN([layers.GRUCell(4), layers.LSTMCell(3)])), sequences),
    "stacked cells, masked": (
        lambda: chain(
            layers.Masking(), layers.RNN([layers.GRUCell(4), layers.LSTMCell(3)], return_sequences=True)
        ),
        padded,
    ),
    "initial state": (_started, with_states(2)),
    "initial state, masked": (lambda: _started(True), with_states(2, padded)),
    "both directions, states": (_two_ways, sequences),
    "merged masks": (_merged, padded),
    "functional, masked": (_written_out, numbers),
    **{
        f"{kind} {'masked ' * masked}{options}": (
            lambda kind=kind, options=options, masked=masked: chain(
                *[layers.Masking()] * masked, getattr(layers, kind)(UNITS, **options)
            ),
            padded if masked else sequences,
        )
        for kind in ("SimpleRNN", "LSTM", "GRU")
        for masked in (False, True)
        for options in ({}, {"return_sequences": True, "go_backwards": True})
    },
    **{
        f"both directions, {mode}": (
            lambda mode=mode: chain(
                layers.Masking(),
                layers.Bidirectional(layers.LSTM(4, return_sequences=True), merge_mode=mode),
                layers.GRU(3),
            ),
            padded,
        )
        for mode in ("sum", "mul", "ave", "concat")
    },
}


def fill(model: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    for v in model.weights:
        shape = tuple(v.shape)
        if "seed" not in v.path:
            scale = 1 / np.sqrt(shape[0]) if len(shape) > 1 else 0.1
            v.assign((rng.normal(size=shape) * scale).astype(np.float32))
    return model


def as_list(values: Any) -> list[np.ndarray]:
    return [np.asarray(v) for v in (values if isinstance(values, (list, tuple)) else [values])]


def one(values: list[np.ndarray]) -> Any:
    return values[0] if len(values) == 1 else values


@pytest.mark.parametrize("name", list(NETS))
def test_predictions_gradients_and_training(name: str) -> None:
    """The momentum of plain SGD after one step at rate 1 is minus the gradient. The interpreter is slow, and
    trains for three steps."""
    make, data = NETS[name]
    rng = np.random.default_rng(1)
    live, twins = fill(make()), {engine: fill(make()) for engine in ENGINES}
    x = data(9, rng)
    expected = as_list(live.predict_on_batch(one(x)))
    y = [rng.normal(size=e.shape).astype(np.float32) for e in expected]
    for model in (live, *twins.values()):
        model.compile(keras.optimizers.SGD(0.05, momentum=0.5), ["mse"] * len(y) if y[1:] else "mse")
    ours = {engine: ENGINES[engine](mine) for engine, mine in twins.items()}
    for engine in ENGINES:
        for a, b in zip(as_list(ours[engine].predict_on_batch(one(x))), expected):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6, err_msg=engine)
    steps = {"native": TRAINED, "interpreter": 3}
    for step in range(TRAINED):
        live.reset_metrics()
        theirs = np.ravel(live.train_on_batch(one(x), one(y)))[0]
        for engine, mine in twins.items():
            if step >= steps[engine]:
                continue
            loss = np.ravel(ours[engine].train_on_batch(one(x), one(y)))[0]
            assert loss == pytest.approx(theirs, rel=1e-4), engine
            if step == 0:
                same(mine.optimizer.momentums, live.optimizer.momentums, engine)
            if step == steps[engine] - 1:
                for a, b in zip(mine.get_weights(), live.get_weights()):
                    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4, err_msg=engine)


def same(found: list[Any], expected: list[Any], engine: str) -> None:
    """Relative to the largest of each array."""
    for a, b in zip(found, expected):
        scale = np.abs(np.asarray(b)).max()
        atol = 1e-4 * scale + 1e-8
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=atol, err_msg=engine)


def test_metrics_of_a_masked_output() -> None:
    make, data = NETS["masked loss"]
    x = data(9, np.random.default_rng(1))[0]
    y = np.random.default_rng(2).normal(size=(9, STEPS, 3)).astype(np.float32)
    live = fill(make())
    live.compile("sgd", "mse", metrics=["mae"])
    ours = ENGINES["native"](live)
    expected = live.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(ours.evaluate(x, y, verbose=0), expected, rtol=1e-4)

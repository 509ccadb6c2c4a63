"""Steps of training an Embedding with many words, against live Keras 3: numbers that occur often, padding,
one table for two inputs, limits, a regularizer, a constraint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nets import ENGINES, one

keras = pytest.importorskip("keras")
layers = keras.layers

WORDS, LENGTH, STEPS = 400, 5, 3

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: keras.optimizers.SGD(0.5),
    "sgd, norm": lambda: keras.optimizers.SGD(0.5, clipnorm=0.02),
    "sgd, value": lambda: keras.optimizers.SGD(0.5, clipvalue=1e-3),
    "momentum": lambda: keras.optimizers.SGD(0.2, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.01, epsilon=1e-4),
    "adam, norms": lambda: keras.optimizers.Adam(0.01, epsilon=1e-4, global_clipnorm=0.05),
    "adagrad": lambda: keras.optimizers.Adagrad(0.1),
}


def text(**options: Any) -> Any:
    return keras.Sequential(
        [
            layers.Input((LENGTH,), dtype="int32"),
            layers.Embedding(WORDS, 18, **options),
            layers.LSTM(6),
            layers.Dense(1),
        ]
    )


def shared() -> Any:
    inputs = [layers.Input((LENGTH,), dtype="int32") for _ in range(2)]
    table = layers.Embedding(WORDS, 18)
    first, second = (layers.GlobalAveragePooling1D()(table(x)) for x in inputs)
    return keras.Model(inputs, layers.Dense(1)(layers.Multiply()([first, layers.Activation("tanh")(second)])))


NETS: dict[str, Callable[[], Any]] = {
    "plain": text,
    "masked": lambda: text(mask_zero=True),
    "shared": shared,
    "regularized": lambda: text(embeddings_regularizer="l2"),
    "constrained": lambda: text(embeddings_constraint="unit_norm"),
}


def started(net: str, optimizer: str) -> Any:
    """The live model, its table large enough for every gradient to count."""
    live, rng = NETS[net](), np.random.default_rng(0)
    for w in live.weights:
        w.assign(rng.normal(size=tuple(w.shape)).astype(np.float32) * 0.4)
    live.compile(OPTIMIZERS[optimizer](), "mse")
    return live


def batch(live: Any, rng: np.random.Generator) -> tuple[Any, np.ndarray]:
    x = []
    for _ in live.inputs:
        numbers = rng.choice([0, 1, 2, WORDS - 1, *rng.integers(0, WORDS, 9)], (8, LENGTH))
        x.append((numbers * (np.arange(LENGTH) < rng.integers(1, LENGTH + 1, (8, 1)))).astype(np.int32))
    return one(x), rng.normal(size=(8, 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("net", "optimizer"),
    [
        *(("plain", name) for name in OPTIMIZERS),
        *((net, name) for net in NETS if net != "plain" for name in ("sgd", "adam")),
    ],
)
def test_steps(net: str, optimizer: str) -> None:
    ends, losses = [], []
    for ours in (False, True):
        live, rng = started(net, optimizer), np.random.default_rng(1)
        runner = ENGINES["native"](live) if ours else live
        results = []
        for _ in range(STEPS):
            x, y = batch(live, rng)
            if not ours:
                live.reset_metrics()
            results.append(np.ravel(runner.train_on_batch(x, y))[0])
        ends.append(live.get_weights())
        losses.append(results)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    for mine, theirs in zip(*ends[::-1]):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=2e-5)

"""TimeDistributed around layers and models, beside Keras 3 and tf_keras: losses with what the layers inside
add to them, moving statistics, masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kcompile.files.live import from_keras
from kcompile.interpreted import InterpreterEngine

pytestmark = pytest.mark.keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 4, 3)).astype(np.float32) + 1
X[0, 0] = 0
X[3, 2:] = 0


def penalised(k: Any, **options: Any) -> Any:
    return k.layers.Dense(3, activity_regularizer=k.regularizers.L2(0.01), **options)


def two_ways(k: Any, last: Any) -> Any:
    x = k.Input((3,))
    return k.Model(x, last([k.layers.Dense(3)(x), k.layers.BatchNormalization(momentum=0.8)(x)]))


INSIDE: dict[str, Callable[[Any], Any]] = {
    "a layer": penalised,
    "a normalisation": lambda k: k.layers.BatchNormalization(momentum=0.8),
    "a model": lambda k: k.Sequential([penalised(k), k.layers.BatchNormalization(momentum=0.8)]),
    "models in models": lambda k: k.Sequential([k.Sequential([penalised(k)]), penalised(k)]),
    "merges": lambda k: two_ways(k, k.layers.Multiply()),
    "joins": lambda k: two_ways(k, k.layers.Concatenate()),
    "a wrapper": lambda k: k.layers.TimeDistributed(
        k.Sequential([k.layers.BatchNormalization(momentum=0.8), penalised(k)])
    ),
}


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize(("inside", "masked"), [*((name, True) for name in INSIDE), ("a model", False)])
def test_losses_and_statistics(library: str, inside: str, masked: bool) -> None:
    k = pytest.importorskip(library)
    k.utils.set_random_seed(0)
    x = X if inside != "a wrapper" else np.stack([X, X + 1], 1)
    inputs = k.Input(x.shape[1:])
    h = k.layers.Masking()(inputs) if masked else inputs
    model = k.Model(inputs, k.layers.Dense(2)(k.layers.TimeDistributed(INSIDE[inside](k))(h)))
    model.compile(k.optimizers.SGD(0.05), "mse")
    ours = from_keras(model)
    ours.use_engine(InterpreterEngine(ours))
    y = np.ones((*x.shape[:-1], 2), np.float32)
    np.testing.assert_allclose(ours.predict_on_batch(x), model.predict_on_batch(x), rtol=1e-5, atol=1e-6)
    for method in ("test_on_batch", "train_on_batch", "train_on_batch"):
        if library == "keras":
            model.reset_metrics()
        found, right = (np.ravel(getattr(m, method)(x, y))[0] for m in (ours, model))
        assert found == pytest.approx(right, rel=1e-5)
    for a, b in zip(ours.get_weights(), model.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

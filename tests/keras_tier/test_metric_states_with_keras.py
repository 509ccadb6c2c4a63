"""A metric of the script's own, of Keras 3 and of tf_keras, beside the same in our editions of them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from kcompile.keras import backend

pytestmark = pytest.mark.keras
GENERATOR = np.random.default_rng(3)
X = GENERATOR.random((10, 3)).astype("float32")
Y = GENERATOR.random((10, 1)).astype("float32")
WEIGHTS = GENERATOR.random(10).astype("float32")


def metric_of(keras: Any, functions: Any) -> Any:
    class Distance(keras.metrics.Metric):  # type: ignore[misc]
        """The weighted mean distance, the largest one, and how many batches there were."""

        def __init__(self, name: str = "distance", **options: Any) -> None:
            super().__init__(name=name, **options)
            self.total = self.add_weight(name="total", shape=(), initializer="zeros")
            self.count = self.add_weight(name="count", shape=(), initializer="zeros")
            self.batches = self.add_weight(name="batches", shape=(), initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            each = functions.mean(functions.abs(y_true - y_pred), axis=-1)
            weight = functions.ones_like(each)
            if sample_weight is not None:
                weight = weight * functions.reshape(sample_weight, (-1,))
            self.total.assign_add(functions.sum(each * weight))
            self.count.assign_add(functions.sum(weight))
            self.batches.assign(self.batches + 1.0)

        def result(self) -> Any:
            return self.total / self.count + self.batches

    return Distance


def trained(keras: Any, functions: Any, weights: Any = None) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    kind = metric_of(keras, functions)
    x = keras.layers.Input((3,))
    model = keras.models.Model(x, keras.layers.Dense(1, name="d")(x))
    weights = model.get_weights() if weights is None else weights
    model.set_weights(weights)
    metric = kind()
    model.compile("sgd", "mse", metrics=["mae", metric], weighted_metrics=[kind("weighted")])
    options = {"batch_size": 4, "verbose": 0, "shuffle": False, "validation_data": (X[:5], Y[:5])}
    history = model.fit(X, Y, epochs=2, sample_weight=WEIGHTS, **options).history
    tested = model.evaluate(X, Y, batch_size=3, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    model.reset_metrics()
    batch = model.test_on_batch(X, Y, sample_weight=WEIGHTS, return_dict=True)
    metric.reset_state()
    metric.update_state(Y, Y - 0.5)
    alone = {"alone": [float(np.asarray(metric.result()))]}
    history |= {f"tested_{k}": [v] for k, v in tested.items()} | {f"batch_{k}": [v] for k, v in batch.items()}
    return weights, {key: np.asarray(value, float) for key, value in (history | alone).items()}, {}


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_values_are_those_of_the_library(library: str) -> None:
    theirs = pytest.importorskip(library)
    functions = theirs.ops if library == "keras" else theirs.backend
    ours = importlib.import_module("kcompile.keras3" if library == "keras" else "kcompile.tf_keras")
    weights, expected, _ = trained(theirs, functions)
    _, found, _ = trained(ours, backend, weights)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-6, err_msg=key)

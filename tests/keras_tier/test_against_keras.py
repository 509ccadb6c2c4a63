"""Predictions, gradients and training against live Keras with equal weights and data."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from nets import ENGINES, NETS, one

pytest.importorskip("keras")

BATCHES = (1, 2, 7, 31, 32, 33, 100, 257)
TRAINED = (1, 7, 33, 257)  # Keras compiles for each
STEPS = {"native": 50, "interpreter": 5}  # the interpreter is slow, and native code checked against it

OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"learning_rate": 0.05}),
    "momentum": ("SGD", {"learning_rate": 0.02, "momentum": 0.9}),
    "nesterov": ("SGD", {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {"learning_rate": 1e-3}),
    "adam": ("Adam", {"learning_rate": 1e-3}),
    "amsgrad": ("Adam", {"learning_rate": 1e-3, "amsgrad": True}),
    "clipnorm": ("SGD", {"learning_rate": 0.05, "clipnorm": 0.1}),
    "global_clipnorm": ("SGD", {"learning_rate": 0.05, "global_clipnorm": 0.2}),
    "clipvalue": ("Adam", {"learning_rate": 1e-3, "clipvalue": 0.01}),
}


def optimizer(name: str) -> Any:
    import keras

    kind, arguments = OPTIMIZERS[name]
    return getattr(keras.optimizers, kind)(**arguments)


def live_step(model: Any, x: Any, y: Any, **options: Any) -> np.ndarray:
    """Keras' results for this batch alone, in the order of metrics_names."""
    model.reset_metrics()
    return np.ravel(model.train_on_batch(x, y, **options)).astype(np.float64)


def as_list(values: Any) -> list[Any]:
    return list(values) if isinstance(values, (list, tuple)) else [values]


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> Any:
    return ENGINES[request.param]


@pytest.mark.parametrize("name", list(NETS))
def test_predictions_at_any_batch_size(name: str) -> None:
    net = NETS[name]
    live = net.model()
    x, _ = net.data(max(BATCHES), np.random.default_rng(1))
    expected = [np.asarray(y) for y in as_list(live.predict_on_batch(one(x)))]
    for engine, make in ENGINES.items():
        ours = make(live)
        for n in BATCHES:
            got = as_list(ours.predict_on_batch(one([a[:n] for a in x])))
            assert len(got) == len(expected)
            for mine, theirs in zip(got, expected):
                np.testing.assert_allclose(mine, theirs[:n], rtol=1e-5, atol=1e-6, err_msg=engine)


@pytest.mark.parametrize("name", list(NETS))
def test_gradients(name: str) -> None:
    """The momentum of plain SGD after one step at rate 1 is minus the gradient, exactly."""
    import keras

    net = NETS[name]
    x, y = net.data(16, np.random.default_rng(2))

    def gradients(engine: Any) -> list[np.ndarray]:
        live = net.compiled(keras.optimizers.SGD(1.0, momentum=0.5))
        engine(live).train_on_batch(one(x), one(y))
        return [-np.asarray(m) for m in live.optimizer.momentums]

    expected = gradients(lambda live: live)
    for engine, make in ENGINES.items():
        found = gradients(make)
        assert len(found) == len(expected)
        for theirs, mine in zip(expected, found):
            scale = np.abs(theirs).max()
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4 * scale + 1e-9, err_msg=engine)


@functools.cache
def trained_by_keras(name: str, how: str, sizes: tuple[int, ...]) -> tuple[np.ndarray, list[Any]]:
    """Keras' results [steps, losses and metrics], and the weights after each step."""
    net = NETS[name]
    live, rng = net.compiled(optimizer(how)), np.random.default_rng(3)
    results, weights = [], []
    for n in sizes:
        x, y = net.data(n, rng)
        results.append(live_step(live, one(x), one(y)))
        weights.append(live.get_weights())
    return np.array(results), weights


def trained(engine: Any, live: Any, name: str, sizes: tuple[int, ...]) -> np.ndarray:
    """Our results, on the same batches; the weights are the live model's after it."""
    ours, rng = engine(live), np.random.default_rng(3)
    batches = [NETS[name].data(n, rng) for n in sizes]
    return np.array([np.ravel(ours.train_on_batch(one(x), one(y))) for x, y in batches])


def engines(how: str, name: str) -> list[str]:
    """Those that are compared with one training of Keras; the interpreter is slow."""
    return [e for e in ENGINES if e == "native" or how == "adam" or name == "mlp"]


@pytest.mark.parametrize("how", list(OPTIMIZERS))
@pytest.mark.parametrize("name", list(NETS))
def test_losses_of_training(name: str, how: str) -> None:
    expected, weights = trained_by_keras(name, how, (32,) * STEPS["native"])
    for engine in engines(how, name):
        steps, live = STEPS[engine], NETS[name].compiled(optimizer(how))
        got = trained(ENGINES[engine], live, name, (32,) * steps)
        np.testing.assert_allclose(got[:, 0], expected[:steps, 0], rtol=1e-4, err_msg=engine)
        for theirs, back in zip(weights[steps - 1], live.get_weights()):
            np.testing.assert_allclose(back, theirs, rtol=1e-2, atol=1e-3, err_msg=engine)
        assert int(live.optimizer.iterations.value) == steps
        if how == "adam" and name in ("mlp", "conv"):  # with metrics
            np.testing.assert_allclose(got[:5], expected[:5], rtol=1e-4, err_msg=engine)


@pytest.mark.parametrize("name", list(NETS))
def test_training_at_any_batch_size(name: str) -> None:
    expected, _ = trained_by_keras(name, "sgd", TRAINED)
    for engine, make in ENGINES.items():
        got = trained(make, NETS[name].compiled(optimizer("sgd")), name, TRAINED)
        np.testing.assert_allclose(got[:, 0], expected[:, 0], rtol=1e-4, err_msg=engine)


def test_sample_weights(engine: Any) -> None:
    """Keras 3 divides a weighted loss by the batch, zeros included."""
    net = NETS["mlp"]
    live, mine = net.compiled(optimizer("sgd")), net.compiled(optimizer("sgd"))
    ours, rng = engine(mine), np.random.default_rng(4)
    for _ in range(5):
        x, y = net.data(20, rng)
        weights = rng.integers(0, 3, 20).astype(np.float32)
        expected = live_step(live, x[0], y[0], sample_weight=weights)[0]
        got = np.ravel(ours.train_on_batch(x[0], y[0], sample_weight=weights))[0]
        assert got == pytest.approx(expected, rel=1e-4)


def test_training_goes_on_where_keras_stopped(engine: Any) -> None:
    """Iterations and slots of the live optimizer come along, and go back."""
    net, rng = NETS["mlp"], np.random.default_rng(5)
    live, mine = net.compiled(optimizer("adam")), net.compiled(optimizer("adam"))
    batches = [net.data(32, rng) for _ in range(15)]
    expected = [live_step(live, x[0], y[0])[0] for x, y in batches]
    got = [live_step(mine, x[0], y[0])[0] for x, y in batches[:5]]
    ours = engine(mine)
    got += [np.ravel(ours.train_on_batch(x[0], y[0]))[0] for x, y in batches[5:10]]
    got += [live_step(mine, x[0], y[0])[0] for x, y in batches[10:]]
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_frozen_layers_are_those_of_keras_3(engine: Any) -> None:
    """A frozen BatchNormalization uses and keeps its moving statistics in training."""
    net = NETS["conv"]
    pair = []
    for _ in range(2):
        live = net.model()
        for layer in live.layers[:3]:
            layer.trainable = False
        live.compile(optimizer=optimizer("momentum"), loss=net.loss)
        pair.append(live)
    before = [np.asarray(w.value) for layer in pair[1].layers[:3] for w in layer.weights]
    ours, rng = engine(pair[1]), np.random.default_rng(6)
    for _ in range(5):
        x, y = net.data(32, rng)
        expected = live_step(pair[0], x[0], y[0])[0]
        assert np.ravel(ours.train_on_batch(x[0], y[0]))[0] == pytest.approx(expected, rel=1e-4)
    after = [np.asarray(w.value) for layer in pair[1].layers[:3] for w in layer.weights]
    for a, b in zip(before, after):
        np.testing.assert_array_equal(a, b)

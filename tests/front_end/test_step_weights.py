"""Weights of the steps of samples: sample_weight [n, time], against the formulas of Keras 2 in numpy.

Against real Keras: `tests/keras_tier/test_step_weights_with_keras.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import layers as L
from kcompile.keras import losses
from kcompile.keras.models import Model, Sequential
from kcompile.keras.optimizers import SGD
from kcompile_runtime.errors import InputError, ModelError

N, STEPS, WIDTH = 6, 4, 3
rng = np.random.default_rng(7)
X = rng.normal(size=(N, STEPS, WIDTH)).astype("f")
THERE = np.ones((N, STEPS), bool)
THERE[0, 2:] = THERE[3, :2] = False
PADDED = X * THERE[..., None]
Y = rng.normal(size=(N, STEPS, 2)).astype("f")
W = rng.uniform(0.2, 2, (N, STEPS)).astype("f") * (rng.random((N, STEPS)) < 0.7)


def net(
    *first: Any,
    mode: Any = "temporal",
    engine: str = "native",
    vintage: str = "keras2",
    loss: Any = "mse",
    **options: Any,
) -> Any:
    model = Sequential([L.Input((STEPS, WIDTH)), *first, L.Dense(2)], vintage=vintage)
    values = np.random.default_rng(1)
    for v in model.weights:
        v.assign(values.normal(size=v.shape))
    model.compile(SGD(0.1), loss, sample_weight_mode=mode, **options)
    if engine == "interpreter":
        model.use_engine(InterpreterEngine(model))
    return model


def errors(model: Any, x: np.ndarray, y: np.ndarray = Y) -> np.ndarray:
    """Squared errors of the steps [n, time], in float64."""
    kernel, bias = (w.astype("d") for w in model.get_weights()[-2:])
    return ((x.astype("d") @ kernel + bias - y) ** 2).mean(-1)


def weighted(each: np.ndarray, w: np.ndarray, mask: np.ndarray | None = None) -> float:
    """The loss of Keras 2: `weighted_masked_objective`."""
    if mask is not None:
        each = each * mask / mask.mean()
    return float((each * w).mean() / (w != 0).mean())


@pytest.mark.parametrize("engine", ["native", "interpreter"])
@pytest.mark.parametrize("masked", [False, True])
def test_the_loss_is_divided_by_the_share_of_weights_that_are_not_zero(masked: bool, engine: str) -> None:
    model = net(*[L.Masking()] * masked, engine=engine)
    x, mask = (PADDED, THERE) if masked else (X, None)
    right = weighted(errors(model, x), W, mask)
    assert model.test_on_batch(x, Y, W) == pytest.approx(right, rel=1e-5)
    assert model.evaluate(x, Y, sample_weight=W, verbose=0) == pytest.approx(right, rel=1e-5)
    halves = [
        weighted(errors(model, x[s], Y[s]), W[s], None if mask is None else mask[s])
        for s in (slice(0, 3), slice(3, 6))
    ]
    assert model.evaluate(x, Y, 3, sample_weight=W, verbose=0) == pytest.approx(np.mean(halves), rel=1e-5)
    ones = weighted(errors(model, x), np.ones((N, STEPS)), mask)
    assert model.test_on_batch(x, Y) == pytest.approx(ones, rel=1e-5)
    assert model.test_on_batch(x, Y, np.zeros((N, STEPS))) == 0


def test_a_step_of_training_follows_the_weights() -> None:
    """The gradient of that loss, in numpy."""
    model = net()
    kernel, bias = (w.astype("d") for w in model.get_weights())
    slope = 2 * (X @ kernel + bias - Y) / 2 * (W / (W != 0).sum())[..., None]
    assert model.train_on_batch(X, Y, W) == pytest.approx(
        weighted(((X @ kernel + bias - Y) ** 2).mean(-1), W), rel=1e-5
    )
    np.testing.assert_allclose(
        model.get_weights()[0], kernel - 0.1 * np.einsum("nti,nto->io", X, slope), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(model.get_weights()[1], bias - 0.1 * slope.sum((0, 1)), rtol=1e-4, atol=1e-6)


def test_fit_with_validation_data_that_have_weights() -> None:
    model, again = net(), net()
    history = model.fit(
        X, Y, batch_size=3, epochs=2, verbose=0, shuffle=False, sample_weight=W, validation_data=(X, Y, W)
    ).history
    for _ in range(2):
        for s in (slice(0, 3), slice(3, 6)):
            again.train_on_batch(X[s], Y[s], W[s])
    for a, b in zip(model.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert history["val_loss"][-1] == pytest.approx(
        model.evaluate(X, Y, 3, sample_weight=W, verbose=0), rel=1e-6
    )
    split = net().fit(X, Y, epochs=1, verbose=0, sample_weight=W, validation_split=0.5).history
    start = net()
    start.fit(X[:3], Y[:3], epochs=1, verbose=0, sample_weight=W[:3])
    assert split["val_loss"][0] == pytest.approx(start.test_on_batch(X[3:], Y[3:], W[3:]), rel=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_weighted_metrics(masked: bool) -> None:
    model = net(*[L.Masking()] * masked, metrics=["mse"], weighted_metrics=["mse"])
    x, mask = (PADDED, THERE) if masked else (X, np.ones((N, STEPS)))
    assert model.metrics_names == ["loss", "mean_squared_error", "weighted_mean_squared_error"]
    each = errors(model, x)
    _, plain, found = model.test_on_batch(x, Y, W)
    assert found == pytest.approx((each * mask * W).sum() / (mask * W).sum(), rel=1e-5)
    assert plain == pytest.approx((each * mask).sum() / mask.sum(), rel=1e-5)


def test_outputs_have_modes_of_their_own() -> None:
    def made(mode: Any) -> Any:
        x = L.Input((STEPS, WIDTH))
        y = L.Dense(2, name="steps")(x)
        model = Model(x, [y, L.Dense(1, name="whole")(L.Flatten()(x))])
        for v in model.weights:
            v.assign(np.full(v.shape, 0.1))
        model.compile("sgd", "mse", sample_weight_mode=mode)
        return model

    whole, sample = np.ones((N, 1), "f"), np.arange(N, dtype="f")
    results = []
    for mode in (["temporal", None], {"steps": "temporal"}, {"steps": "temporal", "whole": None}):
        model = made(mode)
        results.append(model.test_on_batch(X, [Y, whole], [W, sample]))
        assert results[-1][1] == pytest.approx(weighted(errors_of_steps(), W), rel=1e-5)
        assert results[-1] == model.test_on_batch(
            X, {"steps": Y, "whole": whole}, {"steps": W, "whole": sample}
        )
    assert results[0] == results[1] == results[2]
    with pytest.raises(ModelError, match=r"'whole'.*time"):
        made("temporal")


def errors_of_steps() -> np.ndarray:
    return ((X.sum(-1, keepdims=True) * 0.1 + 0.1 - Y) ** 2).mean(-1)


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
@pytest.mark.filterwarnings("ignore:.*decay")
def test_files_keep_the_mode(name: str, tmp_path: Any) -> None:
    model = net()
    model.save(tmp_path / name)
    again = kcompile.load(tmp_path / name)
    assert again.test_on_batch(X, Y, W) == pytest.approx(model.test_on_batch(X, Y, W), rel=1e-6)


def test_sizes_that_only_the_data_say() -> None:
    x = L.Input((None, WIDTH))
    model = Model(x, L.Dense(2)(x))
    model.compile("sgd", "mse", sample_weight_mode="temporal")
    for t in (STEPS, 2):
        right = weighted(errors(model, X[:, :t], Y[:, :t]), W[:, :t])
        assert model.test_on_batch(X[:, :t], Y[:, :t], W[:, :t]) == pytest.approx(right, rel=1e-5)


def test_class_numbers_at_every_step() -> None:
    model = Sequential([L.Dense(3, activation="softmax", input_shape=(STEPS, WIDTH))])
    model.compile("sgd", "sparse_categorical_crossentropy", sample_weight_mode="temporal")
    y = rng.integers(0, 3, (N, STEPS, 1))
    p = model.predict(X)
    each = -np.log(np.take_along_axis(p, y, -1))[..., 0]
    assert model.test_on_batch(X, y, W) == pytest.approx(weighted(each, W), rel=1e-5)


def test_in_keras_3_the_data_say_it() -> None:
    """Divided by the number of steps; weights of whole samples go on working."""
    model = net(mode=None, vintage="keras3", weighted_metrics=["mse"])
    each = errors(model, X)
    assert model.test_on_batch(X, Y) == pytest.approx([each.mean()] * 2, rel=1e-5)
    found = model.test_on_batch(X, Y, W)
    assert found == pytest.approx([(each * W).mean(), (each * W).sum() / W.sum()], rel=1e-5)
    assert model.test_on_batch(X, Y)[0] == pytest.approx(each.mean(), rel=1e-5)
    samples = np.arange(N, dtype="f")
    for given in (samples, samples[:, None]):
        assert model.test_on_batch(X, Y, given)[0] == pytest.approx((each.mean(1) * samples).mean(), rel=1e-5)


@pytest.mark.parametrize("vintage", ["keras2", "keras3"])
@pytest.mark.parametrize("w", [None, W])
def test_a_summed_loss_adds_up_the_steps(vintage: str, w: Any) -> None:
    model = net(
        loss=losses.MeanSquaredError(reduction="sum"), vintage=vintage, mode=None if w is None else "temporal"
    )
    right = (errors(model, X) * (1 if w is None else w)).sum()
    assert model.test_on_batch(X, Y, w) == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda: net(mode="steps"), ModelError, "'temporal'"),
        (lambda: net(mode=["temporal"] * 2), ModelError, "outputs"),
        (lambda: net(mode={"no": "temporal"}), ModelError, "names of outputs"),
        (lambda: net(mode=None).test_on_batch(X, Y, W), InputError, "sample_weight_mode='temporal'"),
        (lambda: net().test_on_batch(X, Y, W[:, :2]), InputError, "sample_weight of output 'dense"),
        (lambda: net().test_on_batch(X, Y, W[:3]), InputError, "samples"),
        (lambda: net().fit(X, Y, class_weight={0: 1}, verbose=0), InputError, "class_weight"),
        (lambda: net(vintage="keras3", mode=None).test_on_batch(X, Y, W[:, :2]), InputError, "shape"),
        (lambda: net(loss=lambda y, p: (y - p)[:, 0, 0]).test_on_batch(X, Y, W), ModelError, "each step"),
    ],
)
def test_errors(act: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        act()

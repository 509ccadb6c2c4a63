"""sample_weight [n, time] against live Keras 3 and tf_keras, where the data alone say that steps have
weights: losses, metrics, training steps, with masks and without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile

N, STEPS, WIDTH = 9, 5, 3
rng = np.random.default_rng(3)
X = rng.normal(size=(N, STEPS, WIDTH)).astype("f")
X[::2, 3:] = 0  # masked, where there is a Masking
Y = rng.normal(size=(N, STEPS, 2)).astype("f")
W = rng.uniform(0.2, 2, (N, STEPS)).astype("f") * (rng.random((N, STEPS)) < 0.7)


@pytest.fixture(params=["keras", "tf_keras"])
def keras(request: Any) -> Any:
    return pytest.importorskip(request.param)


def net(keras: Any, *first: Any, loss: Any = "mse", **options: Any) -> Any:
    keras.utils.set_random_seed(4)
    layers = keras.layers
    model = keras.Sequential(
        [layers.Input((STEPS, WIDTH)), *first, layers.SimpleRNN(4, return_sequences=True), layers.Dense(2)]
    )
    model.compile(keras.optimizers.SGD(0.05), loss, **options)
    return model


@pytest.mark.parametrize("masked", [False, True])
def test_training_and_evaluation(keras: Any, masked: bool) -> None:
    first = [keras.layers.Masking()] * masked
    live, other = (net(keras, *first, weighted_metrics=["mae"]) for _ in range(2))
    ours = kcompile.compile(other)
    for x, y, w in ((X, Y, W), (X[:4], Y[:4], W[:4])):
        np.testing.assert_allclose(
            ours.evaluate(x, y, sample_weight=w, verbose=0),
            live.evaluate(x, y, sample_weight=w, verbose=0),
            rtol=2e-5,
        )
    options: dict[str, Any] = {
        "batch_size": 4,
        "epochs": 3,
        "verbose": 0,
        "shuffle": False,
        "sample_weight": W,
        "validation_data": (X, Y, W[::-1].copy()),
    }
    theirs, mine = (m.fit(X, Y, **options).history for m in (live, ours))
    for key in ("loss", "val_loss", "val_mae"):
        np.testing.assert_allclose(mine[key], theirs[key], rtol=1e-4)
    for a, b in zip(other.get_weights(), live.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_summed_loss_adds_up_the_steps(keras: Any) -> None:
    live = net(keras, loss=keras.losses.MeanSquaredError(reduction="sum"))
    for w in (None, W):
        np.testing.assert_allclose(
            kcompile.compile(live).evaluate(X, Y, sample_weight=w, verbose=0),
            live.evaluate(X, Y, sample_weight=w, verbose=0),
            rtol=1e-5,
        )


def test_images_have_weights_for_every_element(keras: Any) -> None:
    layers = keras.layers
    x = rng.normal(size=(N, 6, 4, 2)).astype("f")
    y, w = rng.normal(size=(N, 6, 4, 3)).astype("f"), rng.uniform(0, 2, (N, 6, 4)).astype("f")
    live = keras.Sequential([layers.Input((6, 4, 2)), layers.Conv2D(3, 3, padding="same")])
    live.compile("sgd", "mse", weighted_metrics=["mae"])
    ours = kcompile.compile(live)
    np.testing.assert_allclose(
        ours.evaluate(x, y, sample_weight=w, verbose=0),
        live.evaluate(x, y, sample_weight=w, verbose=0),
        rtol=1e-5,
    )

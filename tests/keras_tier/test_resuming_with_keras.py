"""Trainings that go on after an interruption, and that are evaluated by averages of weights, beside Keras
3."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras3

pytestmark = pytest.mark.keras
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(32, 4)).astype("float32"), RNG.normal(size=(32, 1)).astype("float32")
START = [RNG.normal(size=(4, 1)).astype("float32"), np.zeros(1, "float32")]


def made(keras: Any, **options: Any) -> Any:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.set_weights(START)
    model.compile(keras.optimizers.Adam(0.1, **options), keras.losses.MeanSquaredError())
    return model


def losses(keras: Any, model: Any, callbacks: list[Any], epochs: int = 4) -> list[float]:
    options = {"epochs": epochs, "batch_size": 8, "shuffle": False, "verbose": 0}
    return model.fit(X, Y, callbacks=callbacks, **options).history["loss"]


def interrupted(keras: Any) -> Any:
    class Interrupted(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    return Interrupted()


def test_a_training_goes_on_where_it_was(tmp_path):
    real = pytest.importorskip("keras")
    whole = losses(keras3, made(keras3), [])
    for first, second in ((keras3, keras3), (keras3, real), (real, keras3)):
        folder = str(tmp_path / f"{first.__name__}-{second.__name__}")
        backup = first.callbacks.BackupAndRestore(folder, double_checkpoint=True)
        with pytest.raises(KeyboardInterrupt):
            losses(first, made(first), [backup, interrupted(first)])
        rest = losses(second, made(second), [second.callbacks.BackupAndRestore(folder)])
        np.testing.assert_allclose(rest, whole[2:], rtol=1e-5)
        assert not (tmp_path / folder).exists()


@pytest.mark.parametrize("swaps", [False, True])
def test_averages_of_weights_are_evaluated(swaps):
    found = []
    for keras in (keras3, pytest.importorskip("keras")):
        model = made(keras, use_ema=True, ema_momentum=0.9)
        history = model.fit(
            X,
            Y,
            epochs=3,
            batch_size=8,
            shuffle=False,
            verbose=0,
            validation_data=(X, Y),
            callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=swaps)],
        ).history
        found.append([history["loss"], history["val_loss"], [float(model.evaluate(X, Y, verbose=0))] * 3])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_averages_need_an_optimizer_that_keeps_them():
    with pytest.raises(ValueError, match="use_ema=True"):
        made(keras3).fit(
            X, Y, verbose=0, validation_data=(X, Y), callbacks=[keras3.callbacks.SwapEMAWeights()]
        )

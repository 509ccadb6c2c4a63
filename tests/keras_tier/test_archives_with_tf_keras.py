"""tf_keras opens the .keras files of models of tf.keras, and goes on training them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kcompile import tf_keras as ours

pytestmark = [pytest.mark.keras, pytest.mark.slow]
# Nadam of tf_keras begins its product of momenta anew, and multiplies it once for each weight in graphs
OPTIMIZERS = ("Adam", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "AdamW", "Lion", "Adafactor", "Ftrl")


def test_training_goes_on(tmp_path: Path) -> None:
    theirs, layers = pytest.importorskip("tf_keras"), ours.layers
    rng, path = np.random.default_rng(0), str(tmp_path / "model.keras")
    x, y = [rng.random((6, 4)), rng.random((6, 4, 6))], rng.random((6, 1))
    for kind in OPTIMIZERS:
        first, second = layers.Input((4,)), layers.Input((4, 6))
        h = layers.BatchNormalization()(layers.Dense(3, activation="relu")(first))
        inner = ours.Sequential([layers.Input((3,)), layers.Dense(2)])
        both = layers.Concatenate()([inner(h), layers.LSTM(3)(second)])
        model = ours.Model([first, second], layers.Dense(1)(both))
        metrics = ["mae", ours.metrics.RootMeanSquaredError()]
        options = {"momentum": 0.9} if kind == "SGD" else {}
        model.compile(getattr(ours.optimizers, kind)(0.01, **options), "mse", metrics=metrics)
        model.fit(x, y, epochs=3, shuffle=False, verbose=0)
        model.save(path)
        back = theirs.models.load_model(path)
        losses = [m.fit(x, y, epochs=3, shuffle=False, verbose=0).history["loss"] for m in (model, back)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4, err_msg=kind)

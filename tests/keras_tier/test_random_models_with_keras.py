"""Random models against a live Keras 3: predictions, and twenty training steps.

A model of ours goes to Keras as a file, and Keras' model comes back live: so files, the conversion and
the compiled code are all between the numbers compared.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from comparing import as_list, close, conditioned, trained

import kcompile
from kcompile import testing

keras = pytest.importorskip("keras")
STEPS = 20


@pytest.mark.parametrize("seed", range(3))
def test_predictions_and_training(seed: int, tmp_path: Path) -> None:
    sample = testing.sample(seed, compiled=True, portable=True)
    sample.model.save(tmp_path / "model.keras")
    theirs, live = (keras.models.load_model(tmp_path / "model.keras") for _ in range(2))
    ours = kcompile.compile(live)
    mine = kcompile.compile(sample.model)
    x, y = sample.inputs(5), sample.targets(5)
    for a, b, right in zip(*(as_list(m.predict_on_batch(x)) for m in (mine, ours, theirs))):
        close(a, right, 1e-5, sample)
        close(b, right, 1e-5, sample)
    expected = []
    for _ in range(STEPS):
        theirs.reset_metrics()
        expected.append(np.ravel(theirs.train_on_batch(x, y))[0])
    losses, weights = trained(ours, x, y, STEPS), ours.get_weights()
    fresh = kcompile.compile(kcompile.load(tmp_path / "model.keras"))
    tolerance = conditioned(fresh, losses, weights, x, y, 1e-4)
    close(losses, expected, tolerance, sample)
    for a, b in zip(weights, theirs.get_weights()):
        close(a, b, tolerance, sample)

"""Random models against tf_keras: it reads what we saved, and we read what it saves then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from comparing import as_list, close, conditioned, trained

import kcompile
from kcompile import testing

theirs = pytest.importorskip("tf_keras")
STEPS = 20


def comparable(seed: int) -> bool:
    """TensorFlow clips the gradients of an Embedding before it adds up those of one row, and allows no
    constraint on the table."""
    model = testing.sample(seed, compiled=True, portable=True).model
    tables = [layer for layer in model.layers if type(layer).__name__ == "Embedding"]
    limited = model.optimizer.clipnorm or model.optimizer.clipvalue
    return not tables or not (limited or any(t.embeddings_constraint for t in tables))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [s for s in range(40) if comparable(s)])
def test_predictions_and_training(seed: int, tmp_path: Path) -> None:
    sample = testing.sample(seed, compiled=True, portable=True)
    sample.model.save(tmp_path / "ours.h5")
    model = theirs.models.load_model(tmp_path / "ours.h5")
    model.save(tmp_path / "theirs.h5")
    back = kcompile.compile(kcompile.load(tmp_path / "theirs.h5"))
    x, y = sample.inputs(5), sample.targets(5)
    right = as_list(model.predict_on_batch(x))
    for run in (sample.model, back):
        for a, b in zip(as_list(run.predict_on_batch(x)), right):
            close(a, b, 1e-5, sample)
    losses = trained(back, x, y, STEPS)
    expected = [np.ravel(model.train_on_batch(x, y, reset_metrics=True))[0] for _ in range(STEPS)]
    fresh = kcompile.compile(kcompile.load(tmp_path / "theirs.h5"))
    tolerance = conditioned(fresh, losses, back.get_weights(), x, y, 1e-4)
    close(losses, expected, tolerance, sample)
    for a, b in zip(back.get_weights(), model.get_weights()):
        close(a, b, tolerance, sample)

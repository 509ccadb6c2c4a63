"""What a Bidirectional that returns sequences gives at masked steps, in each library."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from kcompile.files.live import from_keras
from kcompile.interpreted import InterpreterEngine


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("merge_mode", ["sum", "concat"])
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_masked_steps_are_zeros(library: str, merge_mode: str) -> None:
    theirs = pytest.importorskip(library)
    layers = importlib.import_module(f"{library}.layers")
    inputs = layers.Input((4, 3))
    layer = layers.Bidirectional(layers.GRU(2, return_sequences=True), merge_mode=merge_mode)
    model = theirs.Model(inputs, layer(layers.Masking()(inputs)))
    ours = from_keras(model)
    ours.use_engine(InterpreterEngine(ours))
    x = np.random.default_rng(0).normal(size=(4, 4, 3)).astype(np.float32)
    x[:, 2] = x[0, 0] = 0.0
    got = ours.predict_on_batch(x)
    np.testing.assert_allclose(got, model.predict_on_batch(x), atol=1e-5)
    assert np.all(got[:, 2] == 0) and np.all(got[0, 0] == 0)

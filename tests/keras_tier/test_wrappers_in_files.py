"""Our files of layers around layers in the Kerases that are installed, and theirs here."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile.interpreted import InterpreterEngine

pytestmark = [pytest.mark.keras, pytest.mark.filterwarnings("ignore")]
X = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
OURS = {"keras": "kcompile.keras3", "tf_keras": "kcompile.tf_keras"}
FILES = [("keras", "m.keras"), ("keras", "m.h5"), ("tf_keras", "m.h5")]


def model_in(library: Any) -> Any:
    """Several Bidirectional, of which two have a backward_layer of their own, and TimeDistributed layers."""
    layers = library.layers
    inputs = layers.Input((4, 3))
    h = layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True))(inputs)
    other = layers.SimpleRNN(2, activation="relu", return_sequences=True, go_backwards=True)
    h = layers.Bidirectional(layers.GRU(2, return_sequences=True), backward_layer=other)(h)
    h = layers.TimeDistributed(layers.BatchNormalization())(h)
    h = layers.TimeDistributed(layers.Dense(3, activation="tanh"))(h)
    last = layers.SimpleRNN(2, go_backwards=True, use_bias=False)
    outputs = layers.Bidirectional(layers.SimpleRNN(2), merge_mode="sum", backward_layer=last)(h)
    return library.models.Model(inputs, outputs)


@pytest.mark.parametrize(("name", "file"), FILES)
def test_wrappers_go_over_and_come_back(name: str, file: str, tmp_path: Path) -> None:
    theirs, ours = pytest.importorskip(name), importlib.import_module(OURS[name])
    mine = model_in(ours)
    mine.use_engine(InterpreterEngine(mine, "float64"))
    mine.save(tmp_path / file)
    opened = theirs.models.load_model(tmp_path / file, compile=False)
    right = np.asarray(opened(X))
    np.testing.assert_allclose(mine.predict_on_batch(X), right, atol=1e-5)
    opened.save(tmp_path / f"back_{file}")
    back = ours.models.load_model(tmp_path / f"back_{file}")
    back.use_engine(InterpreterEngine(back, "float64"))
    np.testing.assert_allclose(back.predict_on_batch(X), right, atol=1e-5)
    labels = np.ones((2, 2), np.float32)
    losses = []
    for model, library in ((opened, theirs), (back, ours)):
        model.compile(
            library.optimizers.SGD(0.5), "mse", **({"run_eagerly": True} if model is opened else {})
        )
        losses.append(float(np.ravel(model.train_on_batch(X, labels))[0]))
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for a, b in zip(back.get_weights(), opened.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)

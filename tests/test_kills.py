"""Processes that train or save get SIGKILL: what they leave is whole, and goes on to the same bits."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import same_arrays
from endings import Ends

from kcompile import files, keras
from kcompile.keras import callbacks, layers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks, no SIGKILL")
X = np.random.default_rng(0).normal(size=(40, 5)).astype("f")


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train(folder: Path, after: int = 0, threads: int = 2) -> Any:
    import kcompile

    np.random.seed(3 if not files.states_in(folder / "states") else after)
    model = keras.models.Sequential(
        [
            layers.Dense(6, "tanh", input_shape=(5,)),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    model.use_engine(kcompile.attach_engine(model, threads=threads))
    kept = [
        callbacks.ReduceLROnPlateau("loss", patience=1),
        callbacks.CSVLogger(folder / "log.csv"),
        callbacks.Checkpoint(folder / "states", "2 batches"),
    ]
    history = model.fit(
        X, X[:, :1], 8, 5, 0, kept + ([Ends(after, kill)] if after else []), resume=folder / "states"
    )
    table = (folder / "log.csv").read_text()
    return history.history, model.get_weights(), model.optimizer.get_weights(), table


def test_a_killed_training_goes_on(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    expected = train(tmp_path / "whole")
    (tmp_path / "parts").mkdir()
    for after in (1, 4, 3, 7, 5):
        child = os.fork()
        if not child:
            try:
                train(tmp_path / "parts", after, threads=1)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert same_arrays(expected, train(tmp_path / "parts"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="mounts, limits")
@pytest.mark.parametrize("arguments", [["--kills", "60", "--saves", "0"], ["--kills", "0", "--saves", "60"]])
def test_many_kills(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import kills

    monkeypatch.setattr(sys, "argv", ["kills.py", *arguments])
    assert kills.main() == 0

"""Trainings that go on with another model, optimizer or data than their backup: the difference is named."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile import keras3
from kcompile_runtime.errors import KcompileError

X, Y = np.ones((32, 4), np.float32), np.ones((32, 1), np.float32)


class Interruption(keras3.callbacks.Callback):  # type: ignore[misc]
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            raise KeyboardInterrupt


def made(units: int = 3, optimizer: Any = "adam", inputs: int = 4, more: int = 0) -> Any:
    layers = keras3.layers
    inner = [layers.Dense(3) for _ in range(more)]
    model = keras3.Sequential(
        [keras3.Input((inputs,)), layers.Dense(units, name="first"), *inner, layers.Dense(1, name="last")]
    )
    model.compile(optimizer, "mse")
    return model


def train(model: Any, folder: Path, x: np.ndarray = X, *more: Any) -> Any:
    backup = keras3.callbacks.BackupAndRestore(folder)
    return model.fit(x, Y[: len(x)], epochs=4, verbose=0, callbacks=[backup, *more])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with pytest.raises(KeyboardInterrupt):
        train(made(), tmp_path, X, Interruption())
    return tmp_path


def test_the_same_goes_on(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(made(), folder).epoch == [2, 3]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"units": 5}, r"'first'.*expected shapes \[\(4, 5\), \(5,\)\]. Found: \[\(4, 3\), \(3,\)\]"),
        ({"more": 1}, "expected one of 3 groups 'dense' in the file. Found: 2"),
        ({"inputs": 3}, r"expected shapes \[\(3, 3\), \(3,\)\]. Found: \[\(4, 3\), \(3,\)\]"),
        ({"optimizer": "sgd"}, "the optimizer SGD.*Received: the state of Adam.*delete the folder"),
        ({"optimizer": "nadam"}, "the optimizer Nadam.*Received: the state of Adam"),
    ],
)
def test_another_model_or_optimizer(folder: Path, given: dict[str, Any], said: str) -> None:
    model = made(**given)
    with pytest.raises(KcompileError, match=said):
        train(model, folder, X[:, : given.get("inputs", 4)])
    assert json.loads((folder / "training_metadata.json").read_text())["epoch"] == 2  # as it was


def test_other_data(folder: Path) -> None:
    with pytest.warns(UserWarning, match=r"samples 16 in place of 32"):
        assert train(made(), folder, X[:16]).epoch == [2, 3]

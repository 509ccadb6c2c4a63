"""Live models of Keras that are trained here, end in the middle, and go on: their callbacks and their
optimizer too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import same_arrays

import kcompile
from kcompile import files
from kcompile.keras.callbacks import Checkpoint

pytestmark = [pytest.mark.keras, pytest.mark.filterwarnings("ignore")]
X = np.random.default_rng(0).normal(size=(40, 6)).astype("f")
Y = (X[:, :1] > 0).astype("f")


def train(folder: Path, stop: int = 0, resume: bool = False, seed: int = 1) -> Any:
    import keras

    class Counts(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.batches = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.batches += 1

        def state(self) -> dict[str, Any]:
            return {"batches": self.batches}

        def load_state(self, state: dict[str, Any]) -> None:
            self.batches = state["batches"]

    class Stops(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self, left: int) -> None:
            super().__init__()
            self.left = left

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.03), "mse", metrics=["mae"])
    compiled = kcompile.compile(model)
    kept = [
        keras.callbacks.EarlyStopping("val_loss", patience=9, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("val_loss", patience=1),
        Counts(),
    ]
    listed = [*kept, Checkpoint(folder, "3 batches"), *([Stops(stop)] if stop else [])]
    options: dict[str, Any] = {"batch_size": 8, "epochs": 5, "verbose": 0, "validation_split": 0.2}
    try:
        history = compiled.fit(X, Y, callbacks=listed, resume=folder if resume else None, **options)
    except KeyboardInterrupt:
        return None
    state = [kept[0].wait, kept[0].best, kept[1].wait, kept[1].best, kept[2].batches]
    slots = [np.asarray(v) for v in model.optimizer.variables]
    return history.epoch, dict(history.history), model.get_weights(), slots, [float(v) for v in state]


def test_a_live_model_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    expected = train(tmp_path / "whole")
    for stop in (6, 7, 5):
        seed = stop if files.states_in(tmp_path / "parts") else 1
        assert train(tmp_path / "parts", stop, True, seed) is None
    assert same_arrays(expected, train(tmp_path / "parts", resume=True, seed=77))

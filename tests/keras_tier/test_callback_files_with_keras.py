"""The files that callbacks write, beside those of tf_keras and Keras 3, which are told of the same values."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kcompile import keras3
from kcompile import tf_keras as ours_tf
from kcompile.keras.semantics import semantics

pytestmark = [pytest.mark.keras, pytest.mark.filterwarnings("ignore")]
OURS = {"keras": (keras3, "keras3"), "tf_keras": (ours_tf, "tf_keras")}
LOGS = [
    {"loss": 3.0, "acc": 0.1},
    {"loss": 2.0, "acc": 0.3, "val_loss": 2.5, "val_acc": 0.2},
    {"loss": 2.5, "acc": 0.2, "val_loss": 2.75, "val_acc": 0.3},
    {"loss": 1.0, "acc": 0.4, "val_loss": 1.5, "val_acc": 0.25},
]


class Stand(SimpleNamespace):
    """What the callbacks ask of a model; it is saved as an empty file."""

    def save(self, path: str, **_: Any) -> None:
        Path(path).touch()

    save_weights = save


def told(callback: Any, vintage: str) -> Any:
    alone = SimpleNamespace(extended=SimpleNamespace(_in_multi_worker_mode=lambda: False))
    model = Stand(semantics=semantics(vintage), vintage=vintage, distribute_strategy=alone)
    model.stop_training, model.output_names = False, ["y"]
    callback.set_model(model)
    callback.on_train_begin({})
    for epoch, logs in enumerate(LOGS):
        callback.on_epoch_begin(epoch, {})
        for batch in range(3):
            callback.on_train_batch_end(batch, {"loss": float(batch)})
        callback.on_epoch_end(epoch, dict(logs))
    callback.on_train_end({})
    return callback


CHECKPOINTS: list[dict[str, Any]] = [
    {},
    {"save_freq": 2},
    {"save_best_only": True, "mode": "min"},
    {"save_best_only": True, "mode": "max", "monitor": "val_acc"},
    {"save_best_only": True, "mode": "min", "monitor": "loss", "initial_value_threshold": 2.25},
    {"save_best_only": True, "save_weights_only": True, "mode": "min", "monitor": "loss"},
    {"save_best_only": True, "save_freq": 2, "monitor": "loss", "mode": "max"},
    {"save_freq": 4, "save_weights_only": True},
    {"period": 2},  # this and the next one in tf_keras alone
    {"save_best_only": True, "period": 3, "monitor": "loss", "mode": "min"},
]


@pytest.mark.parametrize("library", OURS)
@pytest.mark.parametrize("number", range(len(CHECKPOINTS)))
def test_names_of_checkpoints(library: str, number: int, tmp_path: Path) -> None:
    theirs, (ours, vintage) = pytest.importorskip(library), OURS[library]
    options, names = CHECKPOINTS[number], []
    if "period" in options and library == "keras":
        pytest.skip("Keras 3 has no such option")
    suffix = ".weights.h5" if options.get("save_weights_only") else ".h5"
    name = "{epoch:02d}-{batch}-{loss:.2f}" if "save_freq" in options else "{epoch:02d}-{loss:.2f}"
    for part, keras in (("right", theirs), ("found", ours)):
        (tmp_path / part).mkdir()
        told(keras.callbacks.ModelCheckpoint(str(tmp_path / part / name) + suffix, **options), vintage)
        names.append(sorted(path.name for path in (tmp_path / part).iterdir()))
    assert names[0] == names[1] != []


@pytest.mark.parametrize("library", OURS)
@pytest.mark.parametrize("options", [{}, {"separator": ";"}, {"append": True}])
def test_tables_of_values(library: str, options: dict[str, Any], tmp_path: Path) -> None:
    theirs, (ours, vintage) = pytest.importorskip(library), OURS[library]
    texts = []
    for part, keras in (("right", theirs), ("found", ours)):
        path = tmp_path / part
        for _ in range(2):
            told(keras.callbacks.CSVLogger(str(path), **options), vintage)
        texts.append(path.read_bytes())
    assert texts[0] == texts[1]


def test_values_that_are_arrays(tmp_path: Path) -> None:
    keras, saved = pytest.importorskip("keras"), []
    for part, callbacks in (("right", keras.callbacks), ("found", keras3.callbacks)):
        (tmp_path / part).mkdir()
        name = str(tmp_path / part / "{epoch}.keras")
        callback = callbacks.ModelCheckpoint(name, "loss", save_best_only=True, mode="min")
        model = Stand(semantics=semantics("keras3"), vintage="keras3", stop_training=False)
        callback.set_model(model)
        callback.on_train_begin({})
        for epoch, value in enumerate([np.array([3.0, 1.0]), 2.0, np.array([1.0, 2.0]), 2.5, 1.0]):
            callback.on_epoch_begin(epoch, {})
            callback.on_epoch_end(epoch, {"loss": value})
        saved.append(sorted(path.name for path in (tmp_path / part).iterdir()))
    assert saved[0] == saved[1] != []


@pytest.mark.parametrize("only", [False, True])
@pytest.mark.parametrize("name", ["m", "m.h5", "m.keras", "m.hdf5", "m.weights.h5", "m.npz"])
def test_names_that_keras_3_refuses(name: str, only: bool, tmp_path: Path) -> None:
    def refused(callbacks: Any) -> bool:
        try:
            made = callbacks.ModelCheckpoint(
                str(tmp_path / name), save_weights_only=only, monitor="loss", mode="min"
            )
            told(made, "keras3")
        except ValueError:
            return True
        return False

    assert refused(keras3.callbacks) == refused(pytest.importorskip("keras").callbacks)


@pytest.mark.parametrize("name", ["m{epoch}.h5", "m{epoch:02d}-{loss:.1f}.h5", "m1.h5", "other.h5"])
def test_weights_of_the_latest_file_at_a_restart(name: str, tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras")
    for number, (file, time) in enumerate([("m1.h5", 3), ("m02-1.5.h5", 5), ("m3.h5", 5), ("m.txt", 9)]):
        (tmp_path / file).write_text(str(number))
        os.utime(tmp_path / file, (time, time))
    loaded: list[list[str]] = []
    for callbacks in (tf_keras.callbacks, ours_tf.callbacks):
        found: list[str] = []
        given = {"save_weights_only": True, "load_weights_on_restart": True}
        callback = callbacks.ModelCheckpoint(str(tmp_path / name), **given)
        model = Stand(semantics=semantics("tf_keras"), vintage="tf_keras", load_weights=found.append)
        callback.set_model(model)
        callback.on_train_begin({})
        loaded.append(found)
    assert loaded[0] == loaded[1]
    assert bool(loaded[0]) == (name != "other.h5")

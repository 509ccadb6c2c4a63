"""The files that callbacks write, beside those of tf_keras and Keras 3, which are told of the same values."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
]


@pytest.mark.parametrize("library", OURS)
@pytest.mark.parametrize("number", range(len(CHECKPOINTS)))
def test_names_of_checkpoints(library: str, number: int, tmp_path: Path) -> None:
    theirs, (ours, vintage) = pytest.importorskip(library), OURS[library]
    options, names = CHECKPOINTS[number], []
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

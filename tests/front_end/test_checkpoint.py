"""Trainings that end in the middle and go on from a state: the same bits as of one without interruptions."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import same_arrays
from endings import Ends

from kcompile import files, keras
from kcompile.keras import callbacks as C
from kcompile.keras import layers as L
from kcompile_runtime.errors import InputError, ModelError

X = np.random.default_rng(0).normal(size=(43, 6)).astype("f")
Y = (X[:, :1] > 0.2).astype("f")


def interrupt() -> None:
    """As a signal would."""
    raise KeyboardInterrupt


def dense() -> Any:
    model = keras.models.Sequential(
        [L.Dense(8, activation="relu", input_shape=(6,)), L.BatchNormalization(), L.Dropout(0.3), L.Dense(1)]
    )
    model.compile(keras.optimizers.Adam(0.05, amsgrad=True), "mse", metrics=["mae"])
    return model


def followers(folder: Path) -> list[Any]:
    return [
        C.EarlyStopping("val_loss", patience=2, restore_best_weights=True),
        C.ReduceLROnPlateau("val_loss", patience=1, factor=0.5),
        C.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        C.CSVLogger(folder / "log.csv"),
        C.ModelCheckpoint(str(folder / "best.{epoch}.h5"), "val_loss", save_best_only=True),
    ]


def found(folder: Path, model: Any, history: Any, listed: list[Any]) -> Any:
    """All that a training leaves."""
    table = folder / "log.csv"
    return (
        history.epoch,
        history.history,
        model.get_weights(),
        model.optimizer.get_weights(),
        [c.state() for c in listed],
        table.read_text() if table.exists() else "",
        sorted(p.name for p in folder.glob("best*")),
    )


def train(
    folder: Path,
    make: Callable[[], Any] = dense,
    data: Callable[[], dict[str, Any]] = lambda: {"x": X, "y": Y, "batch_size": 8},
    every: Any = None,
    stop: int = 0,
    resume: bool = False,
    seed: int = 3,
    listed: Callable[[Path], list[Any]] = followers,
    **options: Any,
) -> Any:
    np.random.seed(seed)
    random.seed(seed)
    model, given = make(), listed(folder)
    more: list[Any] = [] if every is None else [C.Checkpoint(folder / "states", every)]
    more += [Ends(stop, interrupt)] if stop else []
    options = {"epochs": 4, "verbose": 0, **options}
    try:
        history = model.fit(
            **data(), callbacks=given + more, resume=folder / "states" if resume else None, **options
        )
    except KeyboardInterrupt:
        return None
    return found(folder, model, history, given)


def same(tmp_path: Path, stops: tuple[int, ...], every: Any, **options: Any) -> None:
    """Train once without an end between, and once with some."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = train(whole, **options)
    for stop in stops:
        seed = 50 + stop if files.states_in(parts / "states") else 3  # which counts at the beginning alone
        assert train(parts, every=every, stop=stop, resume=True, seed=seed, **options) is None
    got = train(parts, every=every, resume=True, seed=99, **options)
    assert same_arrays(expected, got)


@pytest.mark.parametrize(
    ("every", "stops"), [("epoch", (7, 6)), (1, (3, 5, 1)), ("4 batches", (6, 9)), ("0.0001 seconds", (8,))]
)
def test_arrays(tmp_path: Path, every: Any, stops: tuple[int, ...]) -> None:
    same(tmp_path, stops, every, validation_split=0.2, class_weight={0: 1.0, 1: 0.5})


def test_a_training_that_ended_ends_again(tmp_path: Path) -> None:
    first = train(tmp_path, every="epoch", validation_split=0.2)
    again = train(tmp_path, every="epoch", validation_split=0.2, resume=True, seed=8)
    assert same_arrays(first, again)


def test_more_epochs(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    options: Any = {"every": "3 batches", "listed": lambda folder: [C.CSVLogger(folder / "log.csv")]}
    train(tmp_path, epochs=2, **options)
    longer = train(tmp_path, epochs=5, resume=True, seed=8, **options)
    assert same_arrays(longer, train(tmp_path / "b", epochs=5, **options))


def test_another_training_is_refused(tmp_path: Path) -> None:
    train(tmp_path, every="epoch", epochs=2, listed=lambda folder: [C.EarlyStopping("loss")])

    def other(**options: Any) -> Any:
        options = {"listed": lambda folder: [C.EarlyStopping("loss")], **options}
        with pytest.raises(ModelError) as caught:
            train(tmp_path, every="epoch", resume=True, **options)
        return str(caught.value)

    def with_optimizer(optimizer: Any, loss: str = "mse", rate: float = 0.3) -> Callable[[], Any]:
        def make() -> Any:
            model = dense()
            model.layers[2].rate = rate
            model.compile(optimizer, loss, metrics=["mae"])
            return model

        return make

    adam = keras.optimizers.Adam
    assert "the optimizer: Adam amsgrad=True" in other(make=with_optimizer("sgd"))
    assert "beta_1=0.9" in other(make=with_optimizer(adam(0.05, beta_1=0.8, amsgrad=True)))
    assert "the loss: mse then, mae now" in other(make=with_optimizer(adam(0.05, amsgrad=True), "mae"))
    assert "the training step" in other(make=with_optimizer(adam(0.05, amsgrad=True), rate=0.2))
    assert "batch_size of the data: 8 then, 9 now" in other(data=lambda: {"x": X, "y": Y, "batch_size": 9})
    assert "samples of the data: 43 then, 40 now" in other(
        data=lambda: {"x": X[:40], "y": Y[:40], "batch_size": 8}
    )
    assert "shuffle: True then, False now" in other(shuffle=False)
    assert "validation data" in other(validation_data=(X, Y))
    assert "a callback EarlyStopping too" in other(listed=lambda folder: [])


def test_a_damaged_state_is_passed_over(tmp_path: Path) -> None:
    expected = train(tmp_path, every="epoch", validation_split=0.2)
    newest, *before = files.states_in(tmp_path / "states")
    assert len(before) == 2
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"{newest.name}: the file is damaged.*The state before it is read"):
        got = train(tmp_path, every="epoch", validation_split=0.2, resume=True)
    assert same_arrays(expected, got)
    for state in files.states_in(tmp_path / "states"):
        os.truncate(state, 100)
    with pytest.raises(ModelError, match="a training that is whole"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(tmp_path, every="epoch", resume=True)


def test_callbacks_that_went_on_begin_anew(tmp_path: Path) -> None:
    np.random.seed(0)
    logger, model = C.CSVLogger(tmp_path / "log.csv"), dense()
    given = {"batch_size": 8, "verbose": 0}
    model.fit(X, Y, callbacks=[logger, C.Checkpoint(tmp_path / "states")], **given)
    model.fit(X, Y, epochs=2, callbacks=[logger], resume=tmp_path / "states", **given)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    model.fit(X, Y, callbacks=[logger], **given)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2


def test_states_are_not_mixed(tmp_path: Path) -> None:
    train(tmp_path, every="epoch", validation_split=0.2)
    with pytest.raises(InputError, match=r"3 states.*resume=.*overwrite=True"):
        train(tmp_path, every="epoch", validation_split=0.2)
    np.random.seed(0)
    given = C.Checkpoint(tmp_path / "states", overwrite=True)
    dense().fit(X, Y, verbose=0, callbacks=[given])
    assert [p.name for p in files.states_in(tmp_path / "states")] == ["state-00000001.kcs"]


class Counts(C.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1


class States(Counts):
    def state(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state(self, state: dict[str, Any]) -> None:
        self.batches = state["batches"]


def test_callbacks_of_scripts(tmp_path: Path) -> None:
    def fit(epochs: int, counts: Any, resume: Any = None, **options: Any) -> int:
        np.random.seed(0)
        given = C.Checkpoint(tmp_path / type(counts).__name__, **options)
        dense().fit(X, Y, 8, epochs, 0, [counts, given], resume=resume and given.path)
        return int(counts.batches)

    assert fit(2, States()) == 12
    assert fit(3, States(), True) == 18
    with pytest.warns(UserWarning, match=r"what Counts keeps is not in the states.*pickle_callbacks=True"):
        fit(2, Counts())
    fit(2, Counts(), pickle_callbacks=True, overwrite=True)
    assert fit(3, Counts(), True, pickle_callbacks=True) == 18
    with pytest.raises(ModelError, match="is a pickle, which runs what it says"):
        fit(3, Counts(), True)


@pytest.mark.parametrize("every", [0, "5 apples", "0.5 epochs", "-1 seconds", None, "", "0 batches"])
def test_wrong_intervals(every: Any) -> None:
    with pytest.raises(InputError, match="Checkpoint: every"):
        C.Checkpoint("x", every)

"""Trainings on objects of batches that go on from a state get the same batches as without interruptions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_checkpoint import X, Y, dense, same

from kcompile import keras, keras3
from kcompile.keras import callbacks as C
from kcompile_runtime.errors import InputError

SIZE = 6


def take(rows: Any) -> tuple[np.ndarray, np.ndarray]:
    return X[rows], Y[rows]


class Plain(keras.utils.Sequence):  # type: ignore[misc]
    """Batches by number, in an order that changes after each epoch."""

    def __init__(self) -> None:
        self.order = np.arange(len(X))

    def __len__(self) -> int:
        return len(X) // SIZE

    def __getitem__(self, number: int) -> Any:
        return take(self.order[number * SIZE : (number + 1) * SIZE])

    def on_epoch_end(self) -> None:
        np.random.shuffle(self.order)


class Noisy(Plain):
    """Each batch draws from numpy's generator and from Python's."""

    def __getitem__(self, number: int) -> Any:
        x, y = super().__getitem__(number)
        return x + np.random.normal(0, 0.1, x.shape).astype("f") + random.random(), y


class Dataset(keras3.utils.PyDataset):  # type: ignore[misc]
    def __init__(self, inner: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.inner = Noisy() if inner is None else inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, number: int) -> Any:
        return self.inner[number]

    def on_epoch_end(self) -> None:
        self.inner.on_epoch_end()


def endless() -> Iterator[Any]:
    order = np.arange(len(X))
    while True:
        np.random.shuffle(order)
        for start in range(0, len(X) - SIZE, SIZE):
            x, y = take(order[start : start + SIZE])
            yield x + np.random.normal(0, 0.1, x.shape).astype("f"), y


class Loader:
    """What can be iterated again and again, and has a length or not."""

    def __iter__(self) -> Iterator[Any]:
        order = np.random.permutation(len(X))
        for start in range(0, len(X) - SIZE, SIZE):
            yield take(order[start : start + SIZE])


class Draws(C.Callback):
    """Draws from the same generators between the epochs."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        np.random.random(3)


def listed(folder: Path) -> list[Any]:
    return [C.EarlyStopping("loss", patience=2), C.CSVLogger(folder / "log.csv")]


def with_draws(folder: Path) -> list[Any]:
    return [*listed(folder), Draws()]


def since_keras3() -> Any:
    model = keras3.Sequential(
        [
            keras3.Input((6,)),
            keras3.layers.Dense(8, "relu"),
            keras3.layers.Dropout(0.3),
            keras3.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    return model


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "sequence": (Plain, {}),
    "sequence, drawn in a thread": (Noisy, {}),
    "sequence, drawn here, between draws of others": (Noisy, {"workers": 0, "listed": with_draws}),
    "sequence, two threads": (Plain, {"workers": 2, "listed": with_draws}),
    "sequence, two processes": (Noisy, {"workers": 2, "use_multiprocessing": True}),
    "sequence, other steps": (Noisy, {"steps_per_epoch": 5}),
    "dataset of Keras 3": (Dataset, {"make": since_keras3}),
    "dataset of Keras 3, threads": (
        lambda: Dataset(Plain(), workers=2, max_queue_size=4),
        {"make": since_keras3},
    ),
    "generator": (endless, {"steps_per_epoch": 6}),
    "generator here, between draws of others": (
        endless,
        {"steps_per_epoch": 6, "workers": 0, "listed": with_draws},
    ),
    "iterable": (Loader, {"make": since_keras3, "listed": with_draws}),
}


@pytest.mark.parametrize("case", CASES)
def test_batches(tmp_path: Path, case: str) -> None:
    make_data, options = CASES[case]
    options = {"listed": listed, **options}
    same(tmp_path, (4, 6, 5), "4 batches", data=lambda: {"x": make_data()}, **options)
    for each in ("whole", "parts"):
        (tmp_path / each).rename(tmp_path / f"{each} 1")
    same(tmp_path, (9, 9), "epoch", data=lambda: {"x": make_data()}, **options)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (endless, {"steps_per_epoch": 6, "validation_steps": 2, "workers": 0, "validation_freq": 2}),
        (Noisy, {"workers": 0}),
        (lambda: Dataset(), {"make": since_keras3}),
    ],
)
def test_validation_batches(tmp_path: Path, kind: Any, options: dict[str, Any]) -> None:
    def data() -> dict[str, Any]:
        return {"x": kind(), "validation_data": kind()}

    same(tmp_path, (10, 6), "4 batches", data=data, listed=with_draws, **options)


def test_stored_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    data = {"x": np.load(tmp_path / "x.npy", mmap_mode="r"), "y": Y, "batch_size": 8}
    same(tmp_path, (4, 6), "3 batches", data=lambda: data, listed=listed, validation_split=0.2)


def test_a_generator_that_is_not_made_anew(tmp_path: Path) -> None:
    def fit(given: Any, resume: Any = None) -> None:
        np.random.seed(0)
        callback = C.Checkpoint(tmp_path / "states")
        dense().fit(given, steps_per_epoch=3, epochs=2, verbose=0, callbacks=[callback], resume=resume)

    def some(batches: int) -> Iterator[Any]:
        yield from [take(slice(0, 4))] * batches

    fit(some(6))
    with pytest.raises(InputError, match=r"data .generator.*all batches that it gave before.*1 of 3 batches"):
        fit(some(4), tmp_path / "states")

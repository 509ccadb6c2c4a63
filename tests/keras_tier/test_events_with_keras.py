"""Every event of callbacks with its logs, and the History, beside those of tf_keras and Keras 3: training on
arrays, on a Sequence and on a generator; evaluation and prediction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from kcompile import keras3
from kcompile import tf_keras as ours_tf

pytestmark = pytest.mark.keras
OURS = {"keras": keras3, "tf_keras": ours_tf}
EVENTS = [
    f"on_{mode}{what}_{end}"
    for mode, whats in (("train", ("", "_batch")), ("test", ("", "_batch")), ("predict", ("", "_batch")))
    for what in whats
    for end in ("begin", "end")
] + ["on_epoch_begin", "on_epoch_end"]
generator = np.random.default_rng(0)
X = generator.normal(size=(10, 4)).astype("float32")
Y = generator.normal(size=(10, 2)).astype("float32")
WEIGHTS = [generator.normal(size=(4, 2)).astype("float32"), np.zeros(2, "float32")]


def recorder(keras: Any, told: list[Any]) -> Any:
    def event(name: str) -> Any:
        def tell(self: Any, *arguments: Any, logs: Any = None) -> None:
            *numbers, found = (*arguments, logs) if logs is not None else arguments
            values = {k: np.shape(v) if np.ndim(v) else float(v) for k, v in (found or {}).items()}
            told.append((name, *numbers, values))

        return tell

    return type("Recorder", (keras.callbacks.Callback,), {name: event(name) for name in EVENTS})()


def made(keras: Any) -> Any:
    x = keras.layers.Input((4,))
    model = keras.models.Model(x, keras.layers.Dense(2)(x))
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    model.set_weights(WEIGHTS)
    return model


def sequence(keras: Any) -> Any:
    class Cut(keras.utils.Sequence):  # type: ignore[misc, name-defined]
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            return X[4 * index : 4 * index + 4], Y[4 * index : 4 * index + 4]

    return Cut()


def endless() -> Iterator[Any]:
    while True:
        for start in (0, 4, 8):
            yield X[start : start + 4], Y[start : start + 4]


CALLS: dict[str, Any] = {
    "arrays": lambda keras, m, o: m.fit(X, Y, batch_size=4, epochs=2, validation_split=0.3, **o),
    "sequence": lambda keras, m, o: m.fit(
        sequence(keras), epochs=2, validation_data=sequence(keras), validation_freq=2, **o
    ),
    "generator": lambda keras, m, o: m.fit(
        endless(), steps_per_epoch=2, epochs=3, validation_data=(X, Y), validation_batch_size=4, **o
    ),
    "evaluate arrays": lambda keras, m, o: m.evaluate(X, Y, batch_size=4, **o),
    "evaluate sequence": lambda keras, m, o: m.evaluate(sequence(keras), **o),
    "evaluate generator": lambda keras, m, o: m.evaluate(endless(), steps=2, **o),
    "predict arrays": lambda keras, m, o: m.predict(X, batch_size=4, **o),
    "predict sequence": lambda keras, m, o: m.predict(sequence(keras), **o),
    "predict generator": lambda keras, m, o: m.predict(endless(), steps=3, **o),
}


@pytest.mark.parametrize("library", OURS)
@pytest.mark.parametrize("call", CALLS)
def test_events_logs_and_values(library: str, call: str) -> None:
    def run(keras: Any) -> Any:
        told: list[Any] = []
        options: dict[str, Any] = {"verbose": 0, "callbacks": [recorder(keras, told)]}
        if call in ("arrays", "sequence", "generator"):
            options["shuffle"] = False
        found = CALLS[call](keras, made(keras), options)
        return told, getattr(found, "history", found)

    (right, values), (found, ours) = run(pytest.importorskip(library)), run(OURS[library])
    assert [told[:-1] for told in found] == [told[:-1] for told in right]
    for mine, theirs in zip(found, right):
        assert mine[-1].keys() == theirs[-1].keys(), mine
        for name, value in theirs[-1].items():
            assert mine[-1][name] == pytest.approx(value, rel=1e-5), mine
    if isinstance(values, dict):
        assert {k: pytest.approx(v, rel=1e-5) for k, v in values.items()} == dict(ours)
    else:
        np.testing.assert_allclose(ours, values, rtol=1e-4, atol=1e-6)

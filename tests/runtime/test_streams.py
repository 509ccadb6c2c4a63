"""Libraries of models whose layers keep states: these are inputs and outputs, and a stream keeps them."""

from __future__ import annotations

from pathlib import Path

import elsewhere
import numpy as np
import pytest

import kcompile
from kcompile.keras import layers as L
from kcompile.keras.models import Model, Sequential
from kcompile_runtime import InputError, InputTypeError, Stream, load

X = np.random.default_rng(5).normal(size=(2, 6, 4)).astype(np.float32)


def keeping(steps: int = 1) -> Sequential:
    """Two layers that keep three states, for two sequences."""
    np.random.seed(2)
    lstm = L.LSTM(3, stateful=True, return_sequences=True, batch_input_shape=(2, steps, 4))
    return Sequential([lstm, L.GRU(5, stateful=True), L.Dense(2)], name="keeping")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sequential, Path]:
    model = keeping()
    return model, kcompile.export(model, tmp_path_factory.mktemp("streams") / "keeping.so")


def test_a_stream_gives_what_the_model_gives(made: tuple[Sequential, Path]) -> None:
    """Step by step; after a reset; and as a model gives that sees the whole sequence."""
    model, path = made
    loaded = load(path)
    stream, other = loaded.stream(), Stream(loaded)
    for _ in range(2):
        model.reset_states()
        for t in range(6):
            want = model.predict(X[:, t : t + 1], batch_size=2, verbose=0)
            got = stream(X[:, t : t + 1])
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        stream.reset()
    whole = keeping(6)
    whole.set_weights(model.get_weights())
    np.testing.assert_allclose(got, whole.predict(X, batch_size=2, verbose=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(other(X[:, :1]), stream({loaded.inputs[0].name: X[:, :1]}))
    assert [state.shape for state in stream.states] == [(2, 3), (2, 3), (2, 5)]
    assert loaded.selftest() < 1e-4


def test_what_the_library_says(made: tuple[Sequential, Path]) -> None:
    path = made[1]
    about = elsewhere.metadata(path)
    assert (about["states"], about["batch"]) == (3, 2)
    names = [spec["name"] for spec in about["inputs"][-3:]]
    assert names == [spec["name"] for spec in about["outputs"][-3:]]
    assert "last 3 inputs are states of layers: zeros at first" in path.with_suffix(".h").read_text()


@pytest.mark.parametrize("target", ["x86-64", "wasm32", "aarch64"])
def test_other_targets_step_by_step(target: str, tmp_path: Path) -> None:
    model = keeping()
    name = "m.wasm" if target == "wasm32" else "m.so"
    path = kcompile.export(model, tmp_path / name, target=target)
    states = [np.zeros(shape, np.float32) for shape in ((2, 3), (2, 3), (2, 5))]
    for t in range(2):
        want = model.predict(X[:, t : t + 1], batch_size=2, verbose=0)
        got, *states = elsewhere.run(path, 2, [X[:, t : t + 1], *states])
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_several_inputs_and_draws(tmp_path: Path) -> None:
    a, b = L.Input(batch_shape=(2, 1, 4)), L.Input(batch_shape=(2, 3))
    x = L.LSTM(3, stateful=True)(a)
    model = Model([a, b], [L.Add()([x, b]), L.Dense(2)(x)], name="two")
    stream = load(kcompile.export(model, tmp_path / "two.so")).stream()
    one = np.ones((2, 3), np.float32)
    for t in range(2):
        want = model.predict([X[:, t : t + 1], one], batch_size=2, verbose=0)
        for got, right in zip(stream([X[:, t : t + 1], one]), want):
            np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-6)


def test_what_is_wrong(made: tuple[Sequential, Path], tmp_path: Path) -> None:
    model, path = made
    stream = load(path).stream()
    stream(X[:, :1])
    before = [state.copy() for state in stream.states]
    for bad in (X[:1, :1], X, {"z": X[:, :1]}, [X[:, :1], X[:, :1]], "text"):
        with pytest.raises((InputError, InputTypeError)):
            stream(bad)
    assert all(map(np.array_equal, before, stream.states))
    with pytest.raises(InputError, match="export: batch: expected 2"):
        kcompile.export(model, tmp_path / "m.so", batch=3)
    plain = Sequential([L.Dense(2, input_shape=(3,))])
    with pytest.raises(InputError, match="keep states"):
        load(kcompile.export(plain, tmp_path / "m.so")).stream()

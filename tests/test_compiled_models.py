"""Several compiled models of one model: each runs as it was asked for, over the same weights."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import callbacks, layers, models
from kcompile.native import NativeEngine, VerificationError
from kcompile_runtime.errors import InputError

N = 6
X = np.random.default_rng(0).normal(size=(N, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(N, 2)).astype("float32")


def network() -> Any:
    model = models.Sequential([layers.Dense(64, activation="tanh", input_shape=(4,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    return model


CALLS: dict[str, Callable[[Any], Any]] = {
    "predict": lambda m: m.predict(X, verbose=0),
    "predict in batches": lambda m: m.predict(X, batch_size=4, verbose=0),
    "predict_on_batch": lambda m: m.predict_on_batch(X),
    "evaluate": lambda m: m.evaluate(X, Y, verbose=0),
    "test_on_batch": lambda m: m.test_on_batch(X, Y),
    "fit": lambda m: m.fit(X, Y, verbose=0),
    "train_on_batch": lambda m: m.train_on_batch(X, Y),
}


class Told:
    """Notes which engine each call of native code is for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engines: list[Any] = []
        for name in ("run", "batches", "predictor"):
            self._note(monkeypatch, name)

    def _note(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        method = getattr(NativeEngine, name)

        def noted(engine: Any, *args: Any) -> Any:
            self.engines.append(engine)
            found = method(engine, *args)
            if name == "run" or found is None:
                return found
            return lambda *given: self.engines.append(engine) or found(*given)

        monkeypatch.setattr(NativeEngine, name, noted)

    def by(self, call: Callable[[Any], Any], on: Any) -> set[Any]:
        self.engines.clear()
        call(on)
        assert self.engines
        return set(self.engines)


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_each_uses_its_own_engine_and_the_model_the_latest(
    call: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, told = network(), Told(monkeypatch)
    several = [kcompile.compile(model, threads=k) for k in (2, 1, 2)]
    for _ in range(2):  # the second time by the quick way, where there is one
        for compiled in several:
            assert told.by(call, compiled) == {compiled.engine}
        assert told.by(call, model) == {several[-1].engine}
        assert told.by(call, several[0]) == {several[0].engine}
    assert [c.engine.program("predict").threads for c in several] == [2, 1, 2]


def test_one_that_verifies_goes_on_to_verify() -> None:
    model = network()
    careful, careless = kcompile.compile(model, verify=True), kcompile.compile(model)
    for compiled in (careful, careless):
        CALLS["predict"](compiled)
    model.weights[0].value[...] += 1  # behind everybody's back
    model.weights[0].value[...] *= 2
    CALLS["predict"](careless)
    with pytest.raises(VerificationError):
        CALLS["predict"](careful)


def test_weights_are_shared_and_changes_reach_all() -> None:
    model = network()
    several = [kcompile.compile(model, threads=k) for k in (2, 1)]

    def agree() -> None:
        [right] = InterpreterEngine(model).run("predict", N, [X])
        for predicts in (*several, model):
            np.testing.assert_allclose(CALLS["predict"](predicts), right, rtol=1e-5, atol=1e-6)

    agree()
    for trains in (*several, model):
        CALLS["fit"](trains)
        agree()
    model.add(layers.Dense(3, activation="tanh"))
    agree()
    model.pop()
    model.compile("sgd", "mae")
    agree()
    right = np.abs(CALLS["predict"](model) - Y).mean()
    for evaluates in several:
        np.testing.assert_allclose(CALLS["evaluate"](evaluates), right, rtol=1e-5)


def test_calls_within_calls_and_after_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    model, other, told = network(), network(), Told(monkeypatch)
    one, two, elsewhere = kcompile.compile(model), kcompile.compile(model), kcompile.compile(other)
    found = []

    class Predicts(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            for on in (two, elsewhere, other, one):
                told.engines.clear()
                CALLS["predict"](on)
                found.append(set(told.engines))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        one.fit(X, Y, verbose=0, callbacks=[Predicts()])
    assert found == [{two.engine}, {elsewhere.engine}, {elsewhere.engine}, {one.engine}]
    assert told.by(CALLS["predict"], model) == {two.engine}


def test_python_threads_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """One waits within its call while the other makes and uses another."""
    model = network()
    one = kcompile.compile(model)
    begun, done, used = threading.Event(), threading.Event(), []
    run = NativeEngine.batches

    class Waits(callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            begun.set()
            assert done.wait(60)

    def noted(engine: Any, entry: str) -> Any:
        used.append((engine, entry))
        return run(engine, entry)

    monkeypatch.setattr(NativeEngine, "batches", noted)
    thread = threading.Thread(
        target=lambda: one.fit(X, Y, verbose=0, callbacks=[Waits()], validation_data=(X, Y))
    )
    thread.start()
    assert begun.wait(60)
    two = kcompile.compile(model)
    two.predict(X, batch_size=2, verbose=0)
    done.set()
    thread.join(60)
    assert (two.engine, "predict") in used
    assert {engine for engine, entry in used if entry != "predict"} == {one.engine}


def test_lists_of_arrays_that_conform_go_a_short_way() -> None:
    """The same results as arrays that must be looked at, and none kept where weights or layers change."""
    one, two = layers.Input((3,)), layers.Input((2,), dtype="int32")
    table = layers.Embedding(7, 4)
    joined = layers.concatenate([one, layers.Flatten()(table(two))])
    model = models.Model([one, two], [layers.Dense(2)(joined), joined])
    x = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([[0, 6], [3, 2]], np.int32)]
    for given in (kcompile.compile(model), model):
        first = given.predict_on_batch(x)
        assert model.trainer.engines.found().quick_list is not None
        for again in (given.predict_on_batch(x), given.predict_on_batch(tuple(x))):
            assert isinstance(again, list)
            for a, b in zip(first, again):
                np.testing.assert_array_equal(a, b)
        for again in (
            given.predict(x),
            given.predict(x, batch_size=1),
            given.predict(x, batch_size=1, steps=2),
        ):
            np.testing.assert_allclose(again[0], first[0], rtol=1e-6)
        slow = given.predict_on_batch([x[0].tolist(), x[1].astype(np.int64)])
        np.testing.assert_array_equal(slow[0], first[0])
        table.set_weights([np.ones((7, 4), np.float32)])
        assert np.all(given.predict_on_batch(x)[1][:, 3:] == 1)
        table.set_weights([np.zeros((7, 4), np.float32)])
        with pytest.raises(InputError, match="7"):
            given.predict_on_batch([x[0], x[1] + 1])
        with pytest.raises(InputError, match="samples"):
            given.predict_on_batch([x[0], x[1][:1]])
        with pytest.raises(InputError):
            given.predict_on_batch(x[:1])
        assert given.predict_on_batch([x[0][:0], x[1][:0]])[0].shape == (0, 2)

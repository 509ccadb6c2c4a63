"""Numbers of rows that data give: one that names no row is an error with its place, before anything else."""

from __future__ import annotations

import ctypes
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
import kcompile_runtime
from kcompile.codegen import targets
from kcompile.compiler import compile_graph
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import backend as K
from kcompile.keras import layers as L
from kcompile.keras import losses
from kcompile.keras.models import Model, Sequential
from kcompile_runtime.errors import InputError, ModelError, RowError

ROWS, STEPS = 11, 6


def net() -> Any:
    model = Sequential([L.Embedding(ROWS, 4, input_length=STEPS), L.LSTM(3), L.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def numbers(n: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, ROWS, (n, STEPS)).astype(np.int32)


def with_bad(number: Any, n: int = 7, sample: int = 3, dtype: str = "int32") -> np.ndarray:
    x = numbers(n).astype(dtype)
    x[sample, 2] = number
    return x


@pytest.mark.parametrize("number", [ROWS, -1, 2**31 - 1, -(2**31) + 1])
@pytest.mark.parametrize("threads", [1, 2])
def test_every_way_to_predict(number: int, threads: int) -> None:
    compiled = kcompile.compile(net(), threads=threads)
    right = compiled.predict(numbers())
    told = rf"embedding\S*: expected whole numbers from 0 to 10\. Received: {number}, at place 2 of sample "
    x = with_bad(number)
    for call, sample in (
        (compiled.predict_on_batch, 3),
        (compiled, 3),
        (compiled.predict, 3),
        (lambda x: compiled.predict(x[3:4]), 0),
    ):
        with pytest.raises(InputError, match=told + str(sample)):
            call(x)
    np.testing.assert_array_equal(compiled.predict(numbers()), right)  # and it goes on


def test_training_changes_nothing() -> None:
    model = net()
    y = np.zeros((7, 1))
    model.train_on_batch(numbers(), y)
    state = [*model.get_weights(), *model.optimizer.get_weights()]
    for call in (
        model.train_on_batch,
        model.test_on_batch,
        lambda x, y: model.evaluate(x, y, verbose=0),
        lambda x, y: model.fit(x, y, batch_size=7, epochs=2, verbose=0),
    ):
        with pytest.raises(InputError, match="place 2 of sample 3"):
            call(with_bad(ROWS), y)
        now = [*model.get_weights(), *model.optimizer.get_weights()]
        assert all(np.array_equal(a, b) for a, b in zip(state, now))


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_sample_is_that_of_the_users_array(shuffle: bool) -> None:
    model = net()
    with pytest.raises(InputError, match="place 2 of sample 37"):
        model.fit(with_bad(-7, 50, 37), np.zeros((50, 1)), batch_size=8, shuffle=shuffle, verbose=0)


@pytest.mark.parametrize("number", [np.nan, 11.0, -1.0, 3e9, -np.inf])
def test_numbers_that_are_computed(number: float) -> None:
    """Floats that become whole numbers inside the model; fractions are cut off, as -0.5 is to 0."""
    inputs = L.Input((STEPS,))
    model = Model(inputs, L.Embedding(ROWS, 2)(L.Lambda(lambda x: x * 0.5)(inputs)))
    fine = 2 * numbers().astype(np.float32)
    fine[0, 0] = -1.0
    rows = np.trunc(fine / 2).astype(int)
    np.testing.assert_array_equal(model.predict(fine), model.get_weights()[0][rows])
    fine[1, 4] = 2 * number
    with pytest.raises(InputError, match="place 4 of sample 1"):
        model.predict_on_batch(fine)


def test_rows_read_in_the_steps_of_a_scan() -> None:
    table = K.variable(np.random.default_rng(0).normal(size=(ROWS, 3)))

    def read(x: Any) -> Any:
        def step(numbers: Any, states: Any) -> Any:
            total = states[0] + K.gather(table, numbers)
            return total, [total]

        return K.rnn(step, x, [K.zeros_like(K.gather(table, x[:, 0]))])[0]

    x = L.Input((STEPS,), dtype="int32")
    model = Model(x, L.Lambda(read)(x))
    np.testing.assert_allclose(
        model.predict(numbers()), K.get_value(table)[numbers()].sum(1), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(InputError, match="Received: 11"):
        model.predict(with_bad(ROWS))


def test_two_tables_and_functions() -> None:
    x, y = K.placeholder((None, 2), dtype="int32"), K.placeholder((None,), dtype="int32")
    small, large = K.variable(np.arange(3.0)), K.variable(np.arange(300.0))
    f = K.function([x, y], [K.sum(K.gather(small, x), 1) + K.gather(large, y)])
    np.testing.assert_array_equal(f([[[0, 2], [1, 1]], [299, 0]])[0], [301, 2])
    for bad in ([[[0, 3], [1, 1]], [299, 0]], [[[0, 2], [1, 1]], [299, 300]], [[[0, -1]], [0]]):
        with pytest.raises(InputError, match=r"whole numbers from 0 to (2|299)\."):
            f(bad)


def test_the_interpreter_checks_too() -> None:
    model = net()
    model.use_engine(InterpreterEngine(model))
    before = model.get_weights()
    with pytest.raises(InputError, match="Received: 11"):
        model.train_on_batch(with_bad(ROWS), np.zeros((7, 1)))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


def test_a_library_says_where(tmp_path: Path) -> None:
    model = net()
    path = kcompile.export(kcompile.compile(model), tmp_path / "model.so")
    library = kcompile_runtime.load(path)
    np.testing.assert_allclose(library.predict(numbers()), model.predict(numbers()), rtol=1e-6, atol=1e-7)
    for call in (library.predict, library.predict_on_batch, library):
        with pytest.raises(InputError, match=r"embedding\S*: .*Received: -2, at place 2 of sample 3"):
            call(with_bad(-2))
    assert library.predict(numbers()).shape == (7, 1)
    assert "KC_BAD_INDEX = 7" in path.with_suffix(".h").read_text()


def test_the_status_in_c(tmp_path: Path) -> None:
    path = kcompile.export(kcompile.compile(net()), tmp_path / "model.so")
    kcompile_runtime.load(path)
    library, name = ctypes.CDLL(str(path)), kcompile_runtime.read_contents(path).metadata["name"]
    size = getattr(library, f"kc_{name}_workspace_size")
    size.argtypes, size.restype = (ctypes.c_int64, ctypes.c_int32), ctypes.c_int64
    run = getattr(library, f"kc_{name}_run")
    run.argtypes = (ctypes.c_int64, *(ctypes.c_void_p,) * 3, ctypes.c_int64, ctypes.c_void_p)
    room = size(7, 1)
    memory = np.zeros(room + 64, np.uint8)
    start = -memory.ctypes.data % 64
    x, y = with_bad(ROWS), np.zeros((7, 1), np.float32)
    inputs, outputs = ((ctypes.c_void_p * 1)(a.ctypes.data) for a in (x, y))
    assert run(7, inputs, outputs, memory.ctypes.data + start, room, None) == 7
    found = memory[start : start + 40].view(np.int64)
    assert found.tolist() == [0, 3 * STEPS + 2, ROWS, ROWS, STEPS] and not y.any()
    x[3, 2] = 0
    assert run(7, inputs, outputs, memory.ctypes.data + start, room, None) == 0 and y.any()


@pytest.mark.parametrize("name", ["aarch64", "riscv64", "wasm32", "x86-64-v2"])
def test_other_targets_check_too(name: str) -> None:
    graph = kcompile.compile(net()).graph("predict")
    compiled = compile_graph(graph, "predict", targets.named(name), frozen=True)
    (guard,) = compiled.program.entries[-1].guards
    assert (guard.rows, guard.each) == (ROWS, STEPS) and "ret i32" in compiled.text


def test_numbers_that_no_data_give_cost_nothing() -> None:
    inputs = L.Input((4,))
    model = Model(inputs, L.Lambda(lambda x: x + K.gather(K.constant(np.arange(9.0)), K.arange(4)))(inputs))
    compiled = kcompile.compile(model)
    assert not compiled.engine.compiled("predict").program.entries[-1].guards
    np.testing.assert_array_equal(compiled.predict(np.zeros((2, 4))), [[0, 1, 2, 3]] * 2)


@pytest.mark.parametrize("number", [4, -1])
def test_values_of_expressions(number: int) -> None:
    table = K.variable(np.eye(4))
    for numbers in (
        K.variable([number], dtype="int32"),
        K.constant([number], dtype="int32"),
        [number],
        K.constant([number - 1]) + 1,
    ):
        with pytest.raises((InputError, ModelError), match=rf"from 0 to 3\. Received: {number}"):
            K.eval(K.gather(table, numbers))
    with pytest.raises(InputError, match=f"Received: {number}"):
        K.function([], [K.gather(table, K.constant([number - 1]) + 1)])([])
    np.testing.assert_array_equal(K.eval(K.gather(table, K.constant([2]) + 1)), [[0, 0, 0, 1]])


@pytest.mark.parametrize(
    "function", [K.sparse_categorical_crossentropy, losses.sparse_categorical_crossentropy]
)
@pytest.mark.parametrize("number", [3, -1, np.nan])
def test_class_numbers_in_losses_of_your_own(function: Any, number: float) -> None:
    model = Sequential([L.Dense(3, activation="softmax", input_dim=2)])
    model.compile("sgd", lambda y, p: function(y, p))
    x, y = np.ones((4, 2)), np.array([[0.0], [1], [2], [2]])
    assert model.evaluate(x, y, verbose=0) > 0
    before = model.get_weights()
    y[3] = number
    for call in (lambda: model.fit(x, y, verbose=0), lambda: model.evaluate(x, y, verbose=0)):
        with pytest.raises(InputError, match=r"from 0 to 2.*sample 3"):
            call()
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
    with pytest.raises(InputError, match="from 0 to 1"):
        K.eval(function(K.variable([5]), K.variable([[0.2, 0.8]])))


def test_batches_of_every_runner_name_the_users_sample(tmp_path: Path) -> None:
    model, x = net(), with_bad(ROWS, 50, 37)
    library = kcompile_runtime.load(kcompile.export(kcompile.compile(model), tmp_path / "model.so"))
    for size in (8, 37, 38, 50):
        for predict in (model.predict, library.predict):
            with pytest.raises(InputError, match="place 2 of sample 37"):
                predict(x, batch_size=size)
    model.use_engine(InterpreterEngine(model))
    for run in (
        lambda: model.predict(x, batch_size=8),
        lambda: model.fit(x, np.zeros((50, 1)), batch_size=8, shuffle=True, verbose=0),
    ):
        with pytest.raises(RowError, match="place 2 of sample 37") as caught:
            run()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_numbers_of_samples_as_rows() -> None:
    """Rows by the place in the batch: there while the batch is no larger than the table."""
    table = K.constant(np.arange(5.0))
    x = L.Input((1,))
    model = Model(x, L.Lambda(lambda x: x + K.expand_dims(K.gather(table, K.arange(K.shape(x)[0]))))(x))
    np.testing.assert_array_equal(model.predict(np.zeros((5, 1)))[:, 0], np.arange(5))
    with pytest.raises(InputError, match="Received: 5"):
        model.predict(np.zeros((6, 1)))

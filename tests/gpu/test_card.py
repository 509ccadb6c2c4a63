"""On a real card (`pytest -m gpu`): ops, the digits CNN, LSTMs, sizes and threads, against the processor."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from gpu import nets
from hypothesis import given, settings
from hypothesis import strategies as st
from ir.draws import DRAWN, arrays, cases, graph_of, named

import kcompile
import kcompile_runtime as rt
from kcompile import compiler, keras
from kcompile.codegen import cost, targets
from kcompile.codegen.gpu import evaluate
from kcompile.ir import interpreter, ops
from kcompile.ir.graph import Graph
from kcompile.ir.op import OPS
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile_runtime.cuda import CudaProgram, Held
from kcompile_runtime.cuda_driver import connect
from kcompile_runtime.errors import DeviceError

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _card() -> None:
    try:
        connect()
    except DeviceError as error:
        pytest.skip(str(error))


def on_card(
    graph: Graph, variables: Mapping[str, np.ndarray] | None = None, frozen: bool = False
) -> tuple[CudaProgram, dict[str, Held]]:
    driver = connect()
    made = compiler.compile_graph(graph, "run", targets.device(driver.architecture), frozen)
    held = {name: Held(driver, value.copy()) for name, value in (variables or {}).items()}
    return compiler.load_on_device(made, driver, held), held


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "winograd"])
@settings(max_examples=3)
@given(data=st.data(), seed=st.integers(0, 2**31 - 1))
def test_ops(name: str, data: st.DataObject, seed: int) -> None:
    """Every op, against its numpy meaning; each twice, the second time as a recorded launch."""
    case = data.draw(cases(OPS[name]))
    graph, _, _ = graph_of(OPS[name], case)
    program, _ = on_card(graph)
    for n in (1, 5):
        values = named(arrays(case, n, seed))
        expected = interpreter.run(graph, n, values, {}).outputs.values()
        given_ = [values[name] for name in graph.inputs]
        results = [program.run("run", n, given_) for _ in range(3)]
        for y, *again, right in zip(*results, expected):
            scale = np.abs(right[np.isfinite(right)]).max(initial=0.0)
            tolerance = OPS[name].tolerance
            np.testing.assert_allclose(y, right, rtol=10 * tolerance + 2e-6, atol=(tolerance + 1e-7) * scale)
            for other in again:
                np.testing.assert_array_equal(other, y)


@pytest.mark.parametrize("train", [False, True])
def test_the_bits_of_the_interpreter(train: bool):
    """Blocks and threads on the card give the bits that they give on numpy: no product and sum are
    joined, no denormal is lost, division and roots are exact."""
    graph = nets.lstm(train, steps=5, units=40)
    x, variables = nets.lstm_arrays(graph, 7)
    x = {name: value * np.float32(1e-19) if not train else value for name, value in x.items()}
    program, held = on_card(graph, variables, frozen=not train)
    results = program.run("run", 7, list(x.values()))
    from gpu import machine

    outputs, state = machine.run(graph, 7, x, variables, not train)
    for y, right in zip(results, outputs):
        np.testing.assert_array_equal(y, right)
    for name, right in state.items():
        held[name].to_host()
        np.testing.assert_array_equal(held[name].array, right)


def test_numbers_at_the_edge():
    """NaN goes through maxima, denormals stay, infinities and zeros keep their signs."""
    graph = Graph("edges")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 8))))
    results = [
        x * 0.5,
        ops.maximum(x, 0.0),
        ops.minimum(x, -x),
        ops.sqrt(x),
        1.0 / x,
        ops.reduce_max(x, 1),
        ops.reduce_sum(x, 0),
        ops.exp(x),
        ops.tanh(x),
    ]
    graph.outputs = {str(i): y.value for i, y in enumerate(results)}
    value = np.array(
        [
            [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -3e-45, 3.4e38],
            [1.0, -1.0, 1e-38, 7.0, 88.8, -104.0, 1e30, 0.1],
        ],
        np.float32,
    )
    program, _ = on_card(graph)
    expected = interpreter.run(graph, 2, {"x": value}, {}).outputs.values()
    for y, right in zip(program.run("run", 2, [value]), expected):
        np.testing.assert_allclose(y, right, rtol=3e-6, atol=1e-44)
        np.testing.assert_array_equal(np.signbit(y[y == 0]), np.signbit(right[right == 0]))


def test_the_digits_cnn_predicts_and_trains():
    results = []
    generator = np.random.default_rng(0)
    x, y = generator.random((200, 8, 8, 1)).astype("float32"), generator.integers(0, 10, 200)
    for target in ("native", "cuda"):
        np.random.seed(0)
        model = kcompile.compile(nets.digits_cnn(), target=target)
        before = model.predict(x, batch_size=64)
        history = model.fit(x, y, batch_size=64, epochs=3, verbose=0, shuffle=False)
        results.append((before, history.history["loss"], model.predict(x)))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-3)
    np.testing.assert_allclose(results[0][2], results[1][2], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("one_kernel", [True, False])
def test_an_lstm(monkeypatch: pytest.MonkeyPatch, train: bool, one_kernel: bool):
    if not one_kernel:
        monkeypatch.setattr(cost, "SCAN_BYTES", -1)
        monkeypatch.setenv("KC_CACHE", "off")
    graph = nets.lstm(train, steps=40, width=32, units=64)
    x, variables = nets.lstm_arrays(graph, 33)
    variables = {name: 0.2 * value for name, value in variables.items()}
    program, held = on_card(graph, variables, frozen=not train)
    expected = interpreter.run(graph, 33, x, variables, "float64")
    results = program.run("run", 33, list(x.values()))
    for y, right in zip(results, expected.outputs.values()):
        np.testing.assert_allclose(y, right, rtol=1e-3, atol=1e-4)
    for name, right in expected.updates.items():
        held[name].to_host()
        np.testing.assert_allclose(held[name].array, right, rtol=1e-3, atol=1e-4)
    for _ in range(3):
        again = program.run("run", 33, list(x.values()))
        assert train or all(np.array_equal(a, b) for a, b in zip(results, again)), "same bits every time"


def test_small_and_large_batches():
    """Rows do not depend on how many there are, from one to more than a grid's second axis could count."""
    np.random.seed(0)
    model = kcompile.compile(nets.digits_cnn(), target="cuda")
    x = np.random.default_rng(0).random((70000, 8, 8, 1)).astype("float32")
    whole = model.predict(x, batch_size=len(x))
    for rows in (1, 7, 4096):
        np.testing.assert_array_equal(model.predict(x[:rows], batch_size=rows), whole[:rows])


def test_more_memory_than_there_is():
    model = kcompile.compile(nets.digits_cnn(size=64), target="cuda")
    x = np.zeros((2, 64, 64, 1), np.float32)
    few = model.predict(x)
    program = model.engine.program("predict")
    with connect(), pytest.raises(rt.DeviceError, match="OUT_OF_MEMORY"):
        program._plan("predict", 1 << 22)
    np.testing.assert_array_equal(model.predict(x), few)


def test_two_models_in_threads():
    """Each in a thread of its own, at the same time; read from here."""
    x = np.random.default_rng(0).normal(size=(64, 20)).astype("float32")
    results: dict[int, Any] = {}
    layers = keras.layers
    made = [
        keras.Sequential([layers.Dense(30, activation="tanh", input_shape=(20,)), layers.Dense(5)])
        for _ in range(2)
    ]

    def work(number: int) -> None:
        compiled = kcompile.compile(made[number], target="cuda")
        results[number] = [compiled.predict_on_batch(x) for _ in range(200)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, net in enumerate(made):
        expected = kcompile.compile(net).predict(x)
        for y in results[number]:
            np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_wrong_code_is_told():
    driver = connect()
    with driver, pytest.raises(rt.DeviceError, match=r"cuModuleLoadDataEx.*ptxas"):
        driver.load(".version 7.1\n.target sm_80\n.address_size 64\nnonsense")


def test_the_device_has_what_code_takes_for_granted():
    driver = connect()
    target = targets.device(driver.architecture)
    assert driver.attribute("MAX_THREADS_PER_BLOCK") >= evaluate.MOST_THREADS
    assert driver.attribute("MAX_GRID_DIM_X") >= evaluate.MOST_BLOCKS
    assert driver.attribute("MAX_SHARED_MEMORY_PER_BLOCK") >= target.shared

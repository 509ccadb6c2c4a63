"""On a real card (`pytest -m gpu`): the digits CNN and an LSTM, compiled for it, against the processor."""

from __future__ import annotations

import numpy as np
import pytest
from gpu import nets

import kcompile
from kcompile import compiler
from kcompile.codegen import targets
from kcompile.ir import interpreter
from kcompile_runtime.cuda import Held
from kcompile_runtime.cuda_driver import connect

pytestmark = pytest.mark.gpu


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
def test_an_lstm(train: bool):
    driver = connect()
    graph = nets.lstm(train, steps=40, width=32, units=64)
    made = compiler.compile_graph(graph, "run", targets.device(driver.architecture), frozen=not train)
    x, variables = nets.lstm_arrays(graph, 33)
    variables = {name: 0.2 * value for name, value in variables.items()}
    held = {name: Held(driver, value.copy()) for name, value in variables.items()}
    program = compiler.load_on_device(made, driver, held)
    expected = interpreter.run(graph, 33, x, variables, "float64")
    results = program.run("run", 33, list(x.values()))
    for y, right in zip(results, expected.outputs.values()):
        np.testing.assert_allclose(y, right, rtol=1e-3, atol=1e-4)
    for name, right in expected.updates.items():
        held[name].to_host()
        np.testing.assert_allclose(held[name].array, right, rtol=1e-3, atol=1e-4)
    again = program.run("run", 33, list(x.values()))
    assert train or all(np.array_equal(a, b) for a, b in zip(results, again)), "same bits every time"

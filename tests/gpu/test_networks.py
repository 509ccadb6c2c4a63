"""Whole networks on blocks and threads of the loop-language interpreter, against the graph's."""

from __future__ import annotations

import numpy as np
import pytest
from gpu import machine, nets

from kcompile.ir.graph import Graph
from kcompile.ir.interpreter import run
from kcompile.ir.types import bind
from kcompile.keras import graphs


def compare(graph: Graph, n: int, inputs: dict, variables: dict, frozen: bool) -> None:
    expected = run(graph, n, inputs, variables, "float64")
    outputs, state = machine.run(graph, n, inputs, variables, frozen)
    for y, reference in zip(outputs, expected.outputs.values()):
        np.testing.assert_allclose(y, reference, rtol=1e-4, atol=1e-5)
    for name, reference in expected.updates.items():
        np.testing.assert_allclose(state[name], reference, rtol=1e-3, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_lstm(train: bool, reverse: bool):
    graph = nets.lstm(train, reverse=reverse)
    compare(graph, 3, *nets.lstm_arrays(graph, 3), frozen=not train)


@pytest.mark.parametrize("entry", ["predict", "train"])
def test_digits_cnn(entry: str):
    model = nets.digits_cnn(size=4, filters=3)
    traced = graphs.trace(model, entry)
    graph = traced.graph
    n, generator = 5, np.random.default_rng(0)
    inputs = {}
    for name, value in graph.inputs.items():
        kind = graph.type(value)
        values = generator.random(bind(kind.shape, n)) * (1 if kind.dtype == "float32" else 9)
        inputs[name] = values.astype(kind.dtype)
    variables = traced.state
    compare(graph, n, inputs, variables, frozen=entry == "predict")

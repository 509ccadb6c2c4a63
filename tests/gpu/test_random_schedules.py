"""Random models, and recurrent ones, on blocks and threads of the interpreter: prediction and training."""

from __future__ import annotations

import numpy as np
import pytest
from gpu import machine
from hypothesis import HealthCheck, Phase, given, settings

from kcompile import keras
from kcompile.ir import interpreter
from kcompile.ir.types import bind
from kcompile.keras import graphs
from kcompile.keras.tracing import Traced
from kcompile.testing.models import Sample, models

FEW = settings(
    max_examples=4, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
)


STEP = 4e-3  # the most that RMSprop and Adam change a weight by in one step, where its gradient is noise


def check(traced: Traced, data: list[np.ndarray], frozen: bool, loose: float = 0.0) -> None:
    graph = traced.graph
    inputs = dict(zip(graph.inputs, data))
    state = {name: v.value.copy() for name, v in traced.captured.items()}
    right = interpreter.run(graph, len(data[0]), inputs, state, "float64")
    outputs, after = machine.run(graph, len(data[0]), inputs, state, frozen)
    compared = [(name, y, right.outputs[name], 0.0) for name, y in zip(graph.outputs, outputs)]
    compared += [(name, after[name], right.updates[name], loose) for name in right.updates]
    for name, got, expected, slack in compared:
        scale = np.abs(expected).max(initial=0.0)
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-4 * scale + 1e-5 + slack, err_msg=name)


@FEW
@given(models())
def test_predictions(sample: Sample) -> None:
    check(graphs.trace(sample.model, "predict"), sample.inputs(3), frozen=True)


@settings(FEW, max_examples=2)  # half a minute each: a simulated card is slow
@given(models(compiled=True))
def test_a_training_step(sample: Sample) -> None:
    traced = graphs.trace(sample.model, "train")
    rows = [np.ones(3, np.float32)] * len(sample.model.outputs)
    check(
        traced,
        [*sample.inputs(3), *sample.targets(3), *rows],
        frozen=False,
        loose=0.0 if "with sgd" in sample.notes[-1] else STEP,
    )


L = keras.layers
RECURRENT = {
    "gru": lambda: [
        L.Masking(0.0, input_shape=(5, 3)),
        L.GRU(4, return_sequences=True),
        L.GRU(3, reset_after=False),
    ],
    "both ways": lambda: [
        L.Bidirectional(L.LSTM(4, return_sequences=True), input_shape=(5, 3)),
        L.TimeDistributed(L.Dense(2)),
    ],
    "wide": lambda: [L.SimpleRNN(40, input_shape=(6, 3)), L.Dense(1)],
    "words": lambda: [L.Embedding(11, 4, mask_zero=True, input_length=6), L.LSTM(40), L.Dense(1)],
}


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_layers(kind: str, train: bool) -> None:
    model = keras.Sequential(RECURRENT[kind]())
    model.compile("adam", "mse")
    traced = graphs.trace(model, "train" if train else "predict")
    graph = traced.graph
    generator, data = np.random.default_rng(0), []
    for value in graph.inputs.values():
        type = graph.type(value)
        drawn = (
            generator.integers(0, 11, bind(type.shape, 5))
            if kind == "words"
            else (generator.random(bind(type.shape, 5)))
        )
        data.append(np.ascontiguousarray(drawn).astype(type.dtype))
    if kind == "gru":
        data[0][:2, 3:] = 0  # steps that are masked
    check(traced, data, not train, STEP)

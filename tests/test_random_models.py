"""Random models through the whole line: interpreter before = after each pass = compiled code.

For any batch with one compile, and with the same bits for any number of threads.
"""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from ir.pass_targets import TARGETS, check_each

import kcompile
from kcompile.interpreted import InterpreterEngine
from kcompile.ir import interpreter
from kcompile.ir.passes import pipeline
from kcompile.keras import graphs
from kcompile.keras.tracing import Traced
from kcompile.testing.models import Sample, models

# Shrinking would compile hundreds of models; the notes of a sample say what it is made of.
FEW = settings(
    max_examples=6, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
)
BATCHES = (1, 2, 5, 33)


def close(got: np.ndarray, right: np.ndarray, relative: float) -> None:
    scale = np.abs(right).max(initial=0.0)
    np.testing.assert_allclose(got, right, rtol=relative, atol=relative * scale + 1e-6)


def state_of(traced: Traced) -> dict[str, np.ndarray]:
    return {name: v.value.copy() for name, v in traced.captured.items()}


def check_passes(traced: Traced, data: list[np.ndarray], frozen: bool) -> None:
    """Every pass of the pipeline keeps the values and the types."""
    graph = traced.graph
    for target in (TARGETS["native"], TARGETS["eager"]):
        passes = pipeline(target, frozen)
        check_each(graph, passes, len(data[0]), dict(zip(graph.inputs, data)), state_of(traced))


@FEW
@given(models())
def test_passes_keep_the_values(sample: Sample) -> None:
    check_passes(graphs.trace(sample.model, "predict"), sample.inputs(3), frozen=True)


@FEW
@given(models(compiled=True))
def test_passes_keep_the_values_of_training(sample: Sample) -> None:
    traced = graphs.trace(sample.model, "train")
    rows = [np.ones(3, np.float32)] * len(sample.model.outputs)
    check_passes(traced, [*sample.inputs(3), *sample.targets(3), *rows], frozen=False)


@settings(FEW, max_examples=30)
@given(models())
def test_copies_by_configuration_predict_the_same(sample: Sample) -> None:
    model = sample.model
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    x = sample.inputs(3)
    right, got = (
        list(interpreter.run(t.graph, 3, dict(zip(t.graph.inputs, x)), state_of(t)).outputs.values())
        for t in (graphs.trace(m, "predict") for m in (model, copy))
    )
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(got, right))


@FEW
@given(models())
def test_predictions_are_the_interpreters(sample: Sample) -> None:
    compiled = kcompile.compile(sample.model, threads=1)
    traced = compiled.engine.traced("predict")
    graph = traced.graph
    for n in BATCHES:
        x = sample.inputs(n)
        right = interpreter.run(graph, n, dict(zip(graph.inputs, x)), state_of(traced), "float64")
        results = compiled.engine.run("predict", n, x)
        for got, expected in zip(results, right.outputs.values()):
            close(got, expected, 2e-5)
    shared = kcompile.compile(sample.model, threads=2)
    for n in BATCHES:
        one = compiled.engine.run("predict", n, sample.inputs(n))
        two = shared.engine.run("predict", n, sample.inputs(n))
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, two))


@FEW
@given(models(compiled=True))
def test_training_is_the_interpreters(sample: Sample) -> None:
    """Three steps: losses as the interpreter's in float64; the same bits for 1 and 2 threads."""
    model = sample.model
    start = model.get_weights()
    model.use_engine(InterpreterEngine(model, "float64"))
    right = [model.train_on_batch(sample.inputs(n), sample.targets(n)) for n in (4, 7, 1)]
    ends = []
    for threads in (1, 2):
        model.set_weights(start)
        model.random_state.step.assign(0)  # the step, which dropout's masks depend on
        arguments = model.compile_arguments.given
        old = arguments["optimizer"]
        model.compile(**{**arguments, "optimizer": type(old).from_config(old.get_config())})
        compiled = kcompile.compile(model, threads=threads)
        losses = [compiled.train_on_batch(sample.inputs(n), sample.targets(n)) for n in (4, 7, 1)]
        close(np.ravel(losses), np.ravel(right), 2e-3)
        ends.append(model.get_weights())
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*ends))

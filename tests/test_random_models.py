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
from kcompile.ir.graph import Graph
from kcompile.ir.passes import pipeline
from kcompile.keras import graphs
from kcompile.testing.models import Sample, models

# Shrinking would compile hundreds of models; the notes of a sample say what it is made of.
FEW = settings(
    max_examples=6, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
)
BATCHES = (1, 2, 5, 33)


def close(got: np.ndarray, right: np.ndarray, relative: float) -> None:
    scale = np.abs(right).max(initial=0.0)
    np.testing.assert_allclose(got, right, rtol=relative, atol=relative * scale + 1e-6)


def state_of(graph: Graph) -> dict[str, np.ndarray]:
    return {name: v.value.copy() for name, v in graph.captured.items()}  # type: ignore[attr-defined]


def check_passes(graph: Graph, data: list[np.ndarray], frozen: bool) -> None:
    """Every pass of the pipeline keeps the values and the types."""
    for target in (TARGETS["native"], TARGETS["eager"]):
        passes = pipeline(target, frozen)
        check_each(graph, passes, len(data[0]), dict(zip(graph.inputs, data)), state_of(graph))


@FEW
@given(models())
def test_passes_keep_the_values(sample: Sample) -> None:
    check_passes(graphs.predict_graph(sample.model), sample.inputs(3), frozen=True)


@FEW
@given(models(compiled=True))
def test_passes_keep_the_values_of_training(sample: Sample) -> None:
    graph = graphs.train_graph(sample.model)
    rows = [np.ones(3, np.float32)] * len(sample.model.outputs)
    check_passes(graph, [*sample.inputs(3), *sample.targets(3), *rows], frozen=False)


@settings(FEW, max_examples=30)
@given(models())
def test_copies_by_configuration_predict_the_same(sample: Sample) -> None:
    model = sample.model
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    x = sample.inputs(3)
    right, got = (
        [y for y in interpreter.run(graph, 3, dict(zip(graph.inputs, x)), state_of(graph)).outputs.values()]
        for graph in map(graphs.predict_graph, (model, copy))
    )
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(got, right))


@FEW
@given(models())
def test_predictions_are_the_interpreters(sample: Sample) -> None:
    compiled = kcompile.compile(sample.model, threads=1)
    graph = compiled.graph("predict")
    for n in BATCHES:
        x = sample.inputs(n)
        right = interpreter.run(graph, n, dict(zip(graph.inputs, x)), state_of(graph), "float64")
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
        arguments = model.compilation.arguments
        old = arguments["optimizer"]
        model.compile(**{**arguments, "optimizer": type(old).from_config(old.get_config())})
        compiled = kcompile.compile(model, threads=threads)
        losses = [compiled.train_on_batch(sample.inputs(n), sample.targets(n)) for n in (4, 7, 1)]
        close(np.ravel(losses), np.ravel(right), 2e-3)
        ends.append(model.get_weights())
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*ends))

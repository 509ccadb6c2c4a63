"""Groups as kernels: compiled code gives the interpreter's numbers, with equal bits for any threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from kcompile.codegen import targets
from kcompile.compiler import compile_graph, load
from kcompile.ir import interpreter, ops
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.testing.graphs import graphs, values
from kcompile_runtime.arrays import aligned_copy

TARGETS = ("native", "x86-64-v3", "x86-64-v2")
BATCHES = (1, 2, 7, 40)


def check(graph: Graph, target: str, batches: tuple[int, ...] = BATCHES, threads: int = 1) -> None:
    """Outputs and updates against the interpreter in float64; two threads against one."""
    compiled = compile_graph(graph, "run", targets.named(target), frozen=False)
    for n in batches:
        inputs, variables = values(graph, n, n)
        right = interpreter.run(graph, n, inputs, variables, "float64")
        results = []
        for count in range(1, threads + 1):
            held = {name: aligned_copy(v) for name, v in variables.items()}
            program = load(compiled, held, threads=count)
            outputs = program.run("run", n, list(inputs.values()))
            results.append([*outputs, *(held[name] for name in right.updates)])
        for got, expected in zip(results[0], [*right.outputs.values(), *right.updates.values()]):
            scale = np.abs(expected).max(initial=0.0)
            np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-5 * scale + 1e-6)
        for other in results[1:]:
            assert all(np.array_equal(a, b) for a, b in zip(results[0], other))


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=12)
@given(graph=graphs())
def test_random_graphs_are_the_interpreters(target: str, graph: Graph) -> None:
    check(graph, target)


def softmax_and_loss(classes: int) -> Graph:
    """Crossentropy on softmax, as a training step has it, with its gradient."""
    graph = Graph("loss")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), classes))))
    y = Tensor(graph, graph.input("y", TensorType((Batch(), classes))))
    p = ops.softmax(x)
    loss = ops.reduce_mean(-ops.reduce_sum(y * ops.log(ops.clip(p, 1e-7, 1.0)), -1))
    from kcompile.ir.gradient import gradient

    (dx,) = gradient(loss, [x])
    assert dx is not None
    graph.outputs |= {"loss": loss.value, "dx": dx.value, "p": p.value}
    return graph


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("classes", [2, 10, 16, 17, 64, 100, 1000])
def test_rows(target: str, classes: int) -> None:
    """Rows shorter than a vector, of one, of several, and longer than registers hold."""
    check(softmax_and_loss(classes), target, (1, 5))


@pytest.mark.parametrize("shape", [(40, 40, 16), (30, 24, 64), (9, 17, 48), (64, 65, 3), (70, 100)])
def test_statistics_over_leading_axes(shape: tuple[int, ...]) -> None:
    """Mean and variance along all axes but the last, in two steps where they are large."""
    graph = Graph("statistics")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), *shape))))
    axes = list(range(x.rank - 1))
    mean = ops.reduce_mean(x, axes)
    variance = ops.reduce_mean(ops.square(x - mean), axes)
    y = (x - mean) * ops.rsqrt(variance + 1e-3)
    graph.outputs |= {"mean": mean.value, "variance": variance.value, "y": ops.relu(y).value}
    for target in TARGETS:
        check(graph, target, (1, 3), threads=2)


def test_threads_share_large_results_and_keep_the_bits() -> None:
    graph = Graph("large")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 57, 33))))
    row = ops.tanh(x * x + 1.0) * ops.sigmoid(x)
    graph.outputs |= {
        "y": row.value,
        "total": ops.reduce_sum(row).value,
        "flat": ops.exp(ops.reshape(x, (Batch(57 * 33),))).value,
        "softmax": ops.softmax(row).value,
    }
    check(graph, "native", (1, 64, 301), threads=2)


def test_layer_normalisation_with_parameters_of_the_same_size_as_the_batch_axis() -> None:
    """[4] may be a number for each row or for each column: which one, the readers say."""
    graph = Graph("ambiguous")
    x = Tensor(graph, graph.input("x", TensorType((4, 4))))
    scale = Tensor(graph, graph.input("scale", TensorType((4,))))
    mean = ops.reduce_mean(x, -1)
    y = (x - ops.reshape(mean, (4, 1))) * (scale * 2.0) + mean
    graph.outputs |= {"y": y.value, "twice": (mean * scale).value}
    for target in TARGETS:
        check(graph, target, (1,))


@pytest.mark.parametrize("axes", [(0, 3, 1, 2), (0, 2, 3, 1), (0, 2, 1, 3), (3, 0, 1, 2)])
def test_transposes(axes: tuple[int, ...]) -> None:
    """Tiles of vectors and of lines across them, with ends."""
    graph = Graph("transpose")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 19, 23, 37))))
    turned = ops.transpose(x, axes)
    graph.outputs |= {"y": turned.value, "z": (ops.tanh(turned) + 1.0).value}
    for target in TARGETS:
        check(graph, target, (1, 3), threads=2)


def test_pooling_joins_what_follows() -> None:
    graph = Graph("pool")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 9, 9, 20))))
    mean = ops.average_pool(x, (3, 3), (1, 1), ((1, 1), (1, 1)))
    graph.outputs |= {"y": ops.relu(mean + x).value, "z": ops.reduce_max(mean, (1, 2)).value}
    for target in TARGETS:
        check(graph, target, (1, 3))

"""Winograd's algorithm: its matrices, its meaning, its code, and when it is chosen."""

from __future__ import annotations

import numpy as np
import pytest

import kcompile
from kcompile.codegen import targets
from kcompile.codegen.contraction.winograd import choose_tiling
from kcompile.compiler import Compiled, compile_graph, load
from kcompile.ir import interpreter, passes
from kcompile.ir.graph import Graph
from kcompile.ir.ops.contraction import conv, conv_maps, same_padding
from kcompile.ir.ops.winograd import MOST, transforms
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import models
from kcompile.keras.layers import Add, Conv1D, Conv2D, Input

ERROR = 1e-5  # of the largest output


@pytest.mark.parametrize(
    ("outputs", "taps"), [(m, r) for r in range(2, MOST) for m in range(1, MOST - r + 2)]
)
def test_transforms_are_a_correlation(outputs: int, taps: int) -> None:
    rng = np.random.default_rng(outputs * 10 + taps)
    x, w = rng.normal(size=outputs + taps - 1), rng.normal(size=taps)
    t = transforms(outputs, taps)
    np.testing.assert_allclose(t.a.T @ ((t.g @ w) * (t.b.T @ x)), np.correlate(x, w), rtol=1e-12, atol=1e-12)


def convolution(shape: tuple[int, ...], taps: tuple[int, ...], filters: int, same: bool = True) -> Graph:
    graph = Graph("convolution")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), *shape))))
    w = Tensor(graph, graph.variable("w", TensorType((*taps, shape[-1], filters))))
    ones = (1,) * len(taps)
    padding = tuple(same_padding(d, r, 1) if same else (0, 0) for d, r in zip(shape, taps))
    graph.outputs["y"] = conv(x, w, ones, padding, ones).value
    return graph


def data(graph: Graph, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, *graph.type(graph.inputs["x"]).shape[1:])).astype(np.float32)
    w = rng.normal(size=graph.type(graph.variables["w"]).shape).astype(np.float32)
    return x, w / np.float32(np.sqrt(np.prod(w.shape[:-1])))


def contractions(compiled: Compiled) -> list[str]:
    return [
        m.op.name
        for group in compiled.run.live()
        if group.op.name == "group"
        for m in group.body.nodes.values()
        if m.op.kind == "contraction"
    ]


@pytest.mark.parametrize("outputs", [(2, 3), (4, 2), (3, 3)])
@pytest.mark.parametrize("same", [True, False])
def test_the_pass_keeps_the_meaning(outputs: tuple[int, int], same: bool) -> None:
    graph = convolution((11, 7, 16), (3, 4), 32, same)
    made = passes.use_winograd(graph, lambda spec, rounded: (outputs, 16))
    assert "winograd" in {m.op.name for m in made.live()}
    x, w = data(graph, 2)
    before, after = (interpreter.run(g, 2, {"x": x}, {"w": w}, "float64").outputs["y"] for g in (graph, made))
    assert np.abs(before - after).max() < 1e-6 * np.abs(before).max()  # its factors are float32


@pytest.mark.parametrize(
    ("shape", "taps", "filters", "same"),
    [
        ((20, 20, 32), (3, 3), 32, True),
        ((13, 18, 64), (3, 3), 48, False),
        ((16, 16, 32), (5, 5), 32, True),
        ((9, 30, 32), (3, 2), 64, True),
        ((60, 64), (3,), 64, False),
        ((7, 7, 128), (3, 3), 128, True),
        ((24, 16, 48), (1, 3), 96, True),
    ],
)
@pytest.mark.parametrize("name", ["native", "x86-64-v3", "x86-64-v2"])
def test_compiled(shape: tuple[int, ...], taps: tuple[int, ...], filters: int, same: bool, name: str) -> None:
    if name != "native" and not targets.native().triple.startswith("x86_64"):
        pytest.skip("code for another processor")
    if name == "x86-64-v3" and targets.native().vector_bits < 256:
        pytest.skip("no AVX2 here")
    graph = convolution(shape, taps, filters, same)
    compiled = compile_graph(graph, "run", targets.named(name), frozen=True)
    assert contractions(compiled) == ["winograd"]
    x, w = data(graph, 5)
    expected = interpreter.run(graph, 5, {"x": x}, {"w": w}, "float64").outputs["y"]
    results = []
    for threads in (1, 2):
        variables = {"w": np.array(w)}
        results += load(compiled, variables, threads=threads).run("run", 5, [x])
    np.testing.assert_array_equal(*results)  # the bits do not depend on the threads
    assert np.abs(results[0] - expected).max() < ERROR * np.abs(expected).max()
    (alone,) = load(compiled, {"w": np.array(w)}, threads=1).run("run", 1, [x[3:4]])
    np.testing.assert_array_equal(alone[0], results[0][3])  # nor on the batch


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_epilogue(activation: str) -> None:
    """Bias, activation (light and heavy) and a residual."""
    x = Input((18, 18, 32))
    y = Conv2D(32, 3, padding="same", activation=activation, bias_initializer="normal")(x)
    model = models.Model(x, Add()([Conv2D(32, 3, padding="same")(y), x]))
    compiled = kcompile.compile(model, verify=True)  # against the interpreter
    compiled.predict_on_batch(np.random.default_rng(0).normal(size=(3, 18, 18, 32)))
    assert contractions(compiled.engine.compiled("predict")) == ["winograd"] * 2


def test_new_weights_are_transformed_again() -> None:
    model = models.Sequential([Input((40, 32)), Conv1D(32, 3)])
    compiled = kcompile.compile(model, verify=True)
    x = np.random.default_rng(0).normal(size=(2, 40, 32)).astype(np.float32)
    before = compiled.predict_on_batch(x)
    model.set_weights([2 * w for w in model.get_weights()])
    np.testing.assert_allclose(compiled.predict_on_batch(x), 2 * before, rtol=1e-5, atol=1e-5)


def test_training_does_not_use_it() -> None:
    compiled = compile_graph(convolution((20, 20, 32), (3, 3), 32), "run", targets.native(), frozen=False)
    assert contractions(compiled) == ["contract"]


@pytest.mark.parametrize(
    ("shape", "taps", "filters"),
    [
        ((20, 20, 3), (3, 3), 32),  # channels do not fill vectors
        ((20, 20, 32), (3, 3), 10),  # nor do filters
        ((20, 20, 64), (1, 1), 64),  # nothing to gain
        ((2, 2, 512), (3, 3), 512),  # bound by reading the kernel, which is larger transformed
        ((40, 32), (6,), 32),
        ((20, 20, 32), (7, 7), 32),
        ((20, 20, 32), (3, 9), 32),
        ((9, 9, 9, 16), (6, 6, 6), 16),  # more taps than a patch has room for
    ],
)
def test_where_it_does_not_pay(shape: tuple[int, ...], taps: tuple[int, ...], filters: int) -> None:
    x, w = TensorType((Batch(), *shape)), TensorType((*taps, shape[-1], filters))
    ones = (1,) * len(taps)
    padding = tuple(same_padding(d, r, 1) for d, r in zip(shape, taps))
    spec = conv_maps(x, w, ones, padding, ones)
    assert choose_tiling(spec, targets.named("x86-64-v4")) is None
    assert choose_tiling(spec, targets.device("sm_80")) is None

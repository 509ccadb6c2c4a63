"""One pixel that is huge, tiny or missing beside others changes the outputs whose windows see it, and these
as a direct sum would; errors are small beside an output's own inputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
import kcompile_runtime
from kcompile.codegen import targets
from kcompile.compiler import compile_graph, load
from kcompile.ir import interpreter
from kcompile.ir.graph import Graph
from kcompile.ir.ops.contraction import conv, same_padding
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import graphs, models
from kcompile.keras.layers import Add, Conv2D, Input

NO_DATA = (-9999.0, 1e6, 1e30, -3.4e38, np.inf, np.nan)
# (sizes and channels, taps, filters): 1D to 3D, tiles that the image fills and others
NETS = (
    ((64, 64), (3,), 64),
    ((41, 64), (4,), 64),
    ((32, 32, 16), (3, 3), 16),
    ((20, 19, 32), (5, 5), 32),
    ((30, 9, 32), (3, 2), 48),
    ((24, 18, 48), (1, 3), 96),
    ((9, 10, 11, 16), (3, 3, 3), 16),
)
ERROR = 5e-6  # of the sum of the magnitudes of an output's own inputs, times the largest weight


def graph_of(shape: tuple[int, ...], taps: tuple[int, ...], filters: int, padding: str) -> Graph:
    graph = Graph("convolution")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), *shape))))
    w = Tensor(graph, graph.variable("w", TensorType((*taps, shape[-1], filters))))
    ones = (1,) * len(taps)
    pads = tuple(
        {"same": same_padding(d, r, 1), "valid": (0, 0), "causal": (r - 1, 0)}[padding]
        for d, r in zip(shape, taps)
    )
    graph.outputs["y"] = conv(x, w, ones, pads, ones).value
    return graph


def compiled(graph: Graph, name: str = "native") -> Any:
    made = compile_graph(graph, "run", targets.named(name), frozen=True)
    names = {m.op.name for g in made.run.live() if g.op.name == "group" for m in g.body.nodes.values()}
    assert "winograd" in names
    return made


def arrays(graph: Graph, n: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = graph.type(graph.inputs["x"]).shape[1:]
    w = rng.normal(size=graph.type(graph.variables["w"]).shape).astype(np.float32)
    return rng.normal(size=(n, *shape)).astype(np.float32), w / np.float32(np.sqrt(w[..., 0].size))


def runner(made: Any, w: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Computes by one thread and by two, which give the same bits."""
    programs = [load(made, {"w": np.array(w)}, threads=k) for k in (1, 2)]

    def run(x: np.ndarray) -> np.ndarray:
        one, two = (p.run("run", len(x), [x])[0] for p in programs)
        np.testing.assert_array_equal(one, two)
        return one

    return run


def run(made: Any, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return runner(made, w)(x)


def exact(graph: Graph, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return interpreter.run(graph, len(x), {"x": x}, {"w": w}, "float64").outputs["y"]


def check(graph: Graph, y: np.ndarray, x: np.ndarray, w: np.ndarray) -> None:
    right, terms = exact(graph, x, w), exact(graph, np.abs(x), np.full_like(w, np.abs(w).max()))
    fine = np.isfinite(terms) & (terms < 3e38)
    assert fine.any() and np.all(np.abs(y[fine] - right[fine]) <= ERROR * terms[fine] + 1e-30)
    whole = np.isfinite(terms)
    np.testing.assert_array_equal(np.isnan(y[~whole]), np.isnan(right[~whole]))
    np.testing.assert_array_equal(np.isinf(y[~whole]), np.isinf(right[~whole]))


@pytest.mark.parametrize("net", NETS, ids=str)
@pytest.mark.parametrize("padding", ["same", "valid", "causal"])
def test_missing_pixels(net: tuple[Any, ...], padding: str) -> None:
    graph = graph_of(*net, padding)
    x, w = arrays(graph)
    compute = runner(compiled(graph), w)
    check(graph, compute(x), x, w)
    sizes = net[0][:-1]
    places = [tuple(d // 2 for d in sizes), tuple(d - 1 for d in sizes), (0,) * len(sizes)]
    for value, place in itertools.product(NO_DATA, places):
        y = x.copy()
        y[(0, *place, 0)] = value
        y[(1, *place)] = value  # in all channels
        check(graph, compute(y), y, w)


@pytest.mark.parametrize("name", ["x86-64-v2", "x86-64-v3"])
def test_other_widths(name: str) -> None:
    if not targets.native().triple.startswith("x86_64") or targets.native().vector_bits < 256:
        pytest.skip("code for another processor")
    graph = graph_of(*NETS[2], "same")
    made, (x, w) = compiled(graph, name), arrays(graph)
    for value in NO_DATA:
        x[0, 7, 8, 3] = value
        check(graph, run(made, x, w), x, w)


def test_scales_that_change_within_an_image() -> None:
    """From 1e-3 to 1e6, sharply and slowly, and areas of zeros, whose outputs are zeros."""
    graph = graph_of(*NETS[2], "same")
    made, (x, w) = compiled(graph), arrays(graph)
    x[0, :, 15:] *= 1e6
    x[0, :, :15] *= 1e-3
    x[1] *= np.logspace(-3, 6, 32, dtype=np.float32)[:, None, None]
    x[1, 5:20, 6:21] = 0
    y = run(made, x, w)
    check(graph, y, x, w)
    assert not y[1, 6:19, 7:20].any()


@pytest.mark.parametrize("net", NETS, ids=str)
@pytest.mark.parametrize("faint", [0.0, 1e-4])
def test_black_backgrounds(net: tuple[Any, ...], faint: float) -> None:
    """Strokes on exact zeros, or on nearly zeros: a window of zeros gives zero, beside any others."""
    graph = graph_of(*net, "same")
    made, (x, w) = compiled(graph), arrays(graph)
    strokes = np.random.default_rng(1).random((len(x), *net[0][:-1], 1)) < 0.1
    x *= strokes + np.float32(faint) * ~strokes
    x[0, :9] = 0
    y = run(made, x, w)
    check(graph, y, x, w)
    unseen = exact(graph, np.abs(x), np.ones_like(w)) == 0
    assert unseen.any() and not y[unseen].any()
    w[..., 3] = np.nan  # zero times a weight that is no number is none
    np.testing.assert_array_equal(np.isnan(run(made, x, w)), np.isnan(exact(graph, x, w)))


@pytest.mark.parametrize("value", [-9999.0, np.inf, np.nan])
def test_epilogues_and_libraries(value: float, tmp_path: Path) -> None:
    x = Input((18, 18, 32))
    y = Conv2D(32, 3, padding="same", activation="tanh", bias_initializer="normal")(x)
    model = models.Model(x, Add()([Conv2D(32, 3, padding="same", activation="relu")(y), x]))
    image = np.random.default_rng(0).normal(size=(3, 18, 18, 32)).astype(np.float32)
    clean = model.predict(image)
    image[1, 9, 9, 5] = value
    got = kcompile.compile(model, threads=2).predict_on_batch(image)
    far = np.ones(clean.shape, bool)
    far[1, 7:12, 7:12] = False
    assert np.abs(got - clean)[far].max() < 1e-5
    traced = graphs.trace(model, "predict")
    right, state = traced.graph, traced.state
    expected = interpreter.run(right, 3, dict(zip(right.inputs, [image])), state, "float64")
    np.testing.assert_allclose(got, next(iter(expected.outputs.values())), rtol=1e-4, atol=1e-4)
    library = kcompile_runtime.load(kcompile.export(kcompile.compile(model), tmp_path / "model.so"))
    np.testing.assert_array_equal(library.predict_on_batch(image), got)


def test_the_meaning_takes_the_same_tiles() -> None:
    """The op's own numpy meaning gives infinities and NaNs where the code does."""
    graph = graph_of(*NETS[3], "same")
    made, (x, w) = compiled(graph), arrays(graph)
    x[0, 3, 4, 1], x[1, 12, 17, 0], x[1, 0, 9, 9] = np.inf, np.nan, 1e7
    x[1, 3:12, 3:12] = 0
    meant = interpreter.run_staged(made.after("stage"), len(x), {"x": x}, {"w": w}).outputs["y"]
    got = run(made, x, w)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(meant))
    fine = np.isfinite(meant)
    np.testing.assert_allclose(got[fine], meant[fine], rtol=1e-4, atol=1e-4)

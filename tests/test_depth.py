"""Long chains: groups are cut, so that code is made of each by a bounded walk, and values stay. Models in
models are as deep as files may be, and no deeper."""

from __future__ import annotations

import cProfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile.codegen import targets
from kcompile.compiler import compile_graph, load
from kcompile.ir import interpreter, ops
from kcompile.ir.cost import GROUP_DEPTH, GROUP_NODES
from kcompile.ir.gradient import gradient
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import backend as K
from kcompile.keras import layers as L
from kcompile.keras.layers.held import MOST_NESTED
from kcompile.keras.models import Model, Sequential, load_model, model_from_json
from kcompile_runtime.errors import ModelError

LONG = 150


def tower(step, length=LONG):
    """step(step(... x)), and the gradient of its sum."""
    graph = Graph("tower")
    x = y = Tensor(graph, graph.input("x", TensorType((Batch(), 4))))
    for _ in range(length):
        y = step(y)
    (dx,) = gradient(ops.reduce_sum(y), [x])
    assert dx is not None
    graph.outputs = {"y": y.value, "dx": dx.value}
    return graph


def flags(y):
    """A chain of truth values, which cost nothing each."""
    b = y > 0.0
    for i in range(LONG):
        b = (b & (y < float(i))) if i % 2 else (b | (y < -float(i)))
    return ops.select(b, y, -y)


STEPS = {
    "elementwise": lambda y: ops.tanh(y) * 1.1,
    "cheap": lambda y: ops.maximum(y * 0.5, y),
    "moved": lambda y: ops.sin(ops.reverse(y, (1,))) * 0.5 + y * 0.5,
    "centred": lambda y: (y - ops.reduce_mean(y, [1], True)) * 1.01 + 0.1,
    "scaled": lambda y: y * ops.reduce_max(y, [1], True) * 0.5 + 0.5,
}


@pytest.mark.parametrize("name", sorted(STEPS))
def test_a_chain_computes_what_it_did(name: str) -> None:
    check(tower(STEPS[name]))


def test_a_chain_of_truth_values() -> None:
    check(tower(flags, 1))


def test_a_sum_of_many() -> None:
    graph = Graph("sum")
    parts = [Tensor(graph, graph.input(f"x{i}", TensorType((Batch(), 4)))) for i in range(LONG)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    graph.outputs["y"] = total.value
    check(graph)


def check(graph: Graph) -> None:
    compiled = compile_graph(graph, "run", targets.native(), frozen=False)
    bodies = [m.body for m in compiled.run.live() if m.op.name == "group"]
    assert (
        max(map(deepest, bodies)) <= GROUP_DEPTH + 1 and max(len(b.nodes) for b in bodies) <= 2 * GROUP_NODES
    )
    rng = np.random.default_rng(0)
    x = [rng.uniform(-1, 1, (3, 4)).astype(np.float32) for _ in graph.inputs]
    expected = interpreter.run(graph, 3, dict(zip(graph.inputs, x)), {}, "float64").outputs
    got = load(compiled, {}, threads=1).run("run", 3, x)
    for y, right in zip(got, expected.values()):
        np.testing.assert_allclose(y, right, rtol=2e-4, atol=1e-4 * np.abs(right).max())


def deepest(body: Graph) -> int:
    """Nodes of the longest chain."""
    depth: dict[int, int] = {}
    for node in body.nodes.values():
        depth[node.id] = (
            0 if node.op.kind == "source" else 1 + max((depth[v.node] for v in node.inputs), default=0)
        )
    return max(depth.values())


def test_a_graphics_processors_groups_are_cut_too() -> None:
    compiled = compile_graph(tower(STEPS["elementwise"]), "run", targets.device("sm_80"), frozen=False)
    assert len(compiled.program.entries[0].launches) >= LONG // GROUP_DEPTH and "define" in compiled.text


# ---------------------------------------------------------------- models


def nested(count: int, functional: bool) -> Any:
    """A layer in so many models, one in the other."""
    model: Any = Sequential([L.Dense(2, input_shape=(2,))])
    for _ in range(count - 1):
        x = L.Input((2,))
        model = Model(x, model(x)) if functional else Sequential([model])
    return model


@pytest.mark.parametrize("functional", [False, True])
def test_models_as_deep_as_may_be(functional: bool, tmp_path: Path) -> None:
    model = nested(MOST_NESTED, functional)
    x = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(model.predict(x), x @ kernel + bias, rtol=1e-5, atol=1e-6)
    model.compile("sgd", "mse")
    model.train_on_batch(x, x)
    assert not np.array_equal(model.get_weights()[0], kernel)
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        np.testing.assert_array_equal(load_model(tmp_path / name).predict(x), model.predict(x))
    np.testing.assert_array_equal(model_from_json(model.to_json()).count_params(), 6)


def wrapped() -> Any:
    layer = L.Dense(2)
    for _ in range(MOST_NESTED + 1):
        layer = L.TimeDistributed(layer)
    return layer


def stacked() -> Any:
    cell: Any = L.LSTMCell(2)
    for _ in range(MOST_NESTED + 1):
        cell = L.StackedRNNCells([cell])
    return cell


def listed(vintage: str) -> Any:
    config: Any = {"class_name": "Dense", "config": {"units": 2, "name": "d"}}
    for i in range(300):
        config = {"class_name": "Sequential", "config": {"name": f"s{i}", "layers": [config]}}
    return L.deserialize(config, vintage=vintage)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nested(MOST_NESTED + 1, False),
        lambda: nested(300, True),
        wrapped,
        stacked,
        lambda: listed("keras2"),
        lambda: listed("tf_keras"),
    ],
)
def test_deeper_ones_are_refused(make: Any) -> None:
    with pytest.raises(ModelError, match=f"nested at most {MOST_NESTED} deep"):
        make()


def rounds(count: int) -> Any:
    """A model of a function of so many steps, two operations each."""

    def function(x: Any) -> Any:
        for _ in range(count):
            x = K.tanh(x) * 1.01
        return x

    return Sequential([L.Lambda(function, input_shape=(2,))])


def test_a_function_of_5000_operations() -> None:
    x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(3, 2)
    right = x.astype(np.float64)
    for _ in range(2500):
        right = np.tanh(right) * 1.01
    np.testing.assert_allclose(rounds(2500).predict(x), right, rtol=1e-3)


def test_a_chain_of_2000_layers() -> None:
    x = y = L.Input((2,))
    for _ in range(2000):
        y = L.Activation("softsign")(y)
    given = np.linspace(-2, 2, 6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_allclose(Model(x, y).predict(given), given / (1 + 2000 * np.abs(given)), rtol=1e-3)


def normalised(count: int) -> Any:
    return Sequential([L.BatchNormalization(**({} if i else {"input_shape": (2,)})) for i in range(count)])


def dense(count: int) -> Any:
    return Sequential([L.Dense(2, **({} if i else {"input_shape": (2,)})) for i in range(count)])


@pytest.mark.parametrize(
    "make, entry", [(normalised, "train"), (dense, "train"), (dense, "predict"), (rounds, "train")]
)
def test_the_work_of_compiling_is_about_linear(make: Any, entry: str) -> None:
    def work(count: int) -> int:
        """Calls of functions until there is code for LLVM."""
        model = make(count)
        model.compile("sgd", "mse")
        graph = kcompile.compile(model, threads=1).graph(entry)
        profile = cProfile.Profile()
        profile.enable()
        assert compile_graph(graph, entry, targets.native(), frozen=entry == "predict").text
        profile.disable()
        return sum(row.callcount for row in profile.getstats())

    first, second, third = map(work, (10, 30, 50))
    assert third - second < 1.3 * (second - first)

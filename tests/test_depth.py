"""Long chains: groups are cut, so that code is made of each by a bounded walk, and values stay."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.codegen import targets
from kcompile.compiler import compile_graph, load
from kcompile.ir import interpreter, ops
from kcompile.ir.gradient import gradient
from kcompile.ir.graph import Graph
from kcompile.ir.passes.fuse import DEPTH, MOST
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType

LONG = 300


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
    "elementwise": lambda y: ops.tanh(y) * 1.1, "cheap": lambda y: ops.maximum(y * 0.5, y),
    "moved": lambda y: ops.sin(ops.flip(y, 1)) * 0.5 + y * 0.5, "centred": lambda y: (
        y - ops.reduce_mean(y, [1], True)) * 1.01 + 0.1,
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
    bodies = [m.attrs["body"] for m in compiled.run.live() if m.op.name == "group"]
    assert max(map(deepest, bodies)) <= DEPTH + 1 and max(len(b.nodes) for b in bodies) <= 2 * MOST
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
        depth[node.id] = 0 if node.op.kind == "source" else 1 + max(
            (depth[v.node] for v in node.inputs), default=0)
    return max(depth.values())


def test_a_graphics_processors_groups_are_cut_too() -> None:
    compiled = compile_graph(tower(STEPS["elementwise"]), "run", targets.device("sm_80"), frozen=False)
    assert len(compiled.program.entries[0].launches) >= LONG // DEPTH and "define" in compiled.text

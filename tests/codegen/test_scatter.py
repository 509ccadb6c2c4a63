"""Rows that are added up and spread, on every target: against the interpreter, the same bits for any
number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.codegen import targets
from kcompile.codegen.binary import jit
from kcompile.compiler import compile_graph, load
from kcompile.ir import interpreter, ops
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile_runtime.arrays import aligned_copy

ROWS = 200
HERE = ["native"]
if targets.native().triple.startswith("x86_64"):
    HERE.append("x86-64-v2")  # without masks


def target_of(name: str) -> targets.Target:
    return targets.native() if name == "native" else targets.named(name)


def step(rest: tuple[int, ...], momentum: bool) -> Graph:
    """A table's update by the sum of the rows that numbers name, limited by its norm."""
    graph = Graph("step")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 3), "int32")))
    values = Tensor(graph, graph.input("values", TensorType((3, Batch(), *rest))))
    p = Tensor(graph, graph.variable("p", TensorType((ROWS, *rest))))
    turned = ops.transpose(values, (1, 0, *range(2, values.rank))) * 0.5
    g = ops.scatter_rows(turned, x, ROWS)
    g = g * (0.3 / (ops.sqrt(ops.reduce_sum(ops.square(g))) + 1.0))
    if momentum:
        m = Tensor(graph, graph.variable("m", TensorType((ROWS, *rest))))
        g = m * 0.9 + g
        graph.updates["m"] = g.value
    graph.updates["p"] = (p - g * 0.1).value
    return graph


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize("rest", [(), (1,), (2,), (7,), (33,), (64,), (3, 20)], ids=str)
def test_updates(rest: tuple[int, ...], momentum: bool, name: str) -> None:
    graph = step(rest, momentum)
    made = compile_graph(graph, "run", target_of(name), frozen=False)
    inner = {node.op.name for m in made.run.live() if m.op.name == "group" for node in m.body.live()}
    assert ("masked_gather" if momentum else "scatter_add") in inner and "first_occurrence" in inner
    rng = np.random.default_rng(0)
    for n in (1, 5, 100):
        x = rng.integers(-2, 30, (n, 3)).astype(np.int32)
        values = rng.normal(size=(3, n, *rest)).astype(np.float32)
        state = {k: rng.normal(size=(ROWS, *rest)).astype(np.float32) for k in graph.variables}
        right = interpreter.run(graph, n, {"x": x, "values": values}, state, "float64").updates
        ends = []
        for threads in (1, 3):
            ends.append({k: aligned_copy(v) for k, v in state.items()})
            load(made, ends[-1], threads).run("run", n, [x, values])
        for k, expected in right.items():
            np.testing.assert_allclose(ends[0][k], expected, rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(ends[0][k], ends[1][k])


def test_what_comes_before_is_computed_on_the_way() -> None:
    """Two kernels for the places, one that adds up, one that updates, beside the norm's."""
    made = compile_graph(step((64,), False), "run", targets.named("x86-64-v3"), frozen=False)
    bodies = [[n.op.name for n in m.body.live()] for m in made.run.live() if m.op.name == "group"]
    (summed,) = [names for names in bodies if "scatter_rows" in names]
    (added,) = [names for names in bodies if "scatter_add" in names]
    assert {"transpose", "mul"} <= set(summed)
    assert {"mul", "neg"} <= set(added)


@pytest.mark.parametrize("name", ["aarch64", "wasm32"])
@pytest.mark.parametrize("momentum", [False, True])
def test_code_for_other_machines(name: str, momentum: bool) -> None:
    made = compile_graph(step((37,), momentum), "run", targets.named(name), frozen=False)
    assert len(jit.optimise_and_compile(made.text, made.target)) > 1000

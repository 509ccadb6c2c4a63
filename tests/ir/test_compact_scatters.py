"""The pass that works on few rows of a table: it keeps the values, whatever is made of the gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kcompile.ir import interpreter, ops, passes
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType

ROWS, WIDTH = 300, 3
Use = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # of two gradients, the variable and a scalar

# Each is the new value of the variable p; `rows`: whether only the rows of the batch are updated.
BY_ROWS: dict[str, Use] = {
    "descent": lambda g, h, p, s: p - g * 0.1,
    "ascent": lambda g, h, p, s: g / s + p,
    "a factor of columns": lambda g, h, p, s: p - g * ops.iota(p.graph, (WIDTH,), 0, "float32"),
    "a limit": lambda g, h, p, s: p - ops.clip(g, -0.2, 0.3),
    "a function": lambda g, h, p, s: p - ops.tanh(ops.square(g)) * s,
    "a function of itself": lambda g, h, p, s: p - ops.select(g > 0.0, g, g * 0.5) * g,
    "two tables' gradients": lambda g, h, p, s: p - (g - h * 2.0) * s,
    "a norm": lambda g, h, p, s: p - g * (0.1 / ops.maximum(ops.sqrt(ops.reduce_sum(ops.square(g))), 0.1)),
}
WHOLE: dict[str, Use] = {
    "the other way": lambda g, h, p, s: g - p,
    "a limit above zero": lambda g, h, p, s: p - ops.maximum(g, 0.1),
    "not zero for zero": lambda g, h, p, s: p - ops.exp(g),
    "a divisor": lambda g, h, p, s: p - s / (g + 3.0),
    "a function of a scalar": lambda g, h, p, s: p - ops.maximum(g, s),
    "a function of two": lambda g, h, p, s: p - ops.square(g + h),
    "a product of two": lambda g, h, p, s: p - g * h,
    "decay": lambda g, h, p, s: p - (g + p * 0.01) * s,
    "a factor of rows": lambda g, h, p, s: p - g * p,
    "twice": lambda g, h, p, s: p * 0.5 - g,
    "columns' sums": lambda g, h, p, s: p - ops.reduce_sum(g, 0) * 0.1,
    "rows' sums": lambda g, h, p, s: p - ops.reduce_sum(ops.square(g), 1, keepdims=True),
    "sums of a product": lambda g, h, p, s: p - ops.reduce_sum(g * h),
    "sums of a sum": lambda g, h, p, s: p - ops.reduce_sum(ops.square(g + h)) - ops.reduce_sum(g + h),
    "largest": lambda g, h, p, s: p - ops.reduce_max(g),
}


def step(use: Use) -> Graph:
    graph = Graph("step")

    def gradient(name: str, steps: int) -> Tensor:
        x = Tensor(graph, graph.input(f"{name} at", TensorType((Batch(), steps), "int32")))
        values = Tensor(graph, graph.input(name, TensorType((Batch(), steps, WIDTH))))
        return ops.scatter_rows(values, x, ROWS)

    p = Tensor(graph, graph.variable("p", TensorType((ROWS, WIDTH))))
    s = Tensor(graph, graph.input("s", TensorType(())))
    graph.updates["p"] = use(gradient("g", 2), gradient("h", 4), p, s).value
    return graph


def arrays(graph: Graph, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    made = {}
    for name, value in graph.inputs.items():
        type = graph.type(value)
        shape = [n if isinstance(d, Batch) else d for d in type.shape]
        made[name] = (
            rng.integers(-1, 20, shape).astype(np.int32)
            if type.dtype == "int32"
            else rng.normal(size=shape).astype(np.float32)
        )
    return made


@pytest.mark.parametrize("name", [*BY_ROWS, *WHOLE])
def test_values_stay(name: str) -> None:
    graph = step({**BY_ROWS, **WHOLE}[name])
    after = passes.compact_scatters(graph)
    after.verify()
    found = [node.op.name for node in after.live()]
    assert ("scatter_add" in found) == (name in BY_ROWS)
    assert all(node.attrs["rows"] != ROWS for node in after.live() if node.op.name == "scatter_rows")
    state = {"p": np.random.default_rng(0).normal(size=(ROWS, WIDTH))}
    for n in (1, 7):
        given = arrays(graph, n)
        right, got = (interpreter.run(g, n, given, state, "float64").updates["p"] for g in (graph, after))
        np.testing.assert_allclose(got, right, rtol=1e-12, atol=1e-13)


def test_another_variable_is_not_updated_by_rows() -> None:
    """Its place would be filled first: with as much as a sweep writes."""
    graph = step(WHOLE["twice"])
    other = Tensor(graph, graph.variable("other", TensorType((ROWS, WIDTH))))
    graph.updates["p"] = (
        other - ops.scatter_rows(*(Tensor(graph, graph.inputs[name]) for name in ("g", "g at")), ROWS)
    ).value
    assert "scatter_add" not in [node.op.name for node in passes.compact_scatters(graph).live()]


def test_sums_are_taken_over_few_rows() -> None:
    """No reduction reads as much as the table has."""
    for name in ("a norm", "columns' sums"):
        after = passes.simplify(passes.compact_scatters(step({**BY_ROWS, **WHOLE}[name])))
        reduced = [after.type(node.inputs[0]).shape for node in after.live() if node.op.kind == "reduction"]
        assert reduced == [(Batch(2), WIDTH)]

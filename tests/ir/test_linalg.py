"""Factors of matrices: their gradients are those of differences, and code computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kcompile.codegen import targets
from kcompile.compiler import compile_graph, load
from kcompile.ir import interpreter, ops
from kcompile.ir.gradient import gradient
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType

DRAW = np.random.default_rng(3)


def drawn(*shape: int) -> np.ndarray:
    return DRAW.normal(size=shape)


def positive(*shape: int) -> np.ndarray:
    x = drawn(*shape)
    return x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1])


def _both(*parts: Tensor) -> Tensor:
    """One tensor of several, each row of all of them."""
    return ops.concatenate([ops.reshape(p, (p.shape[0], *_rest(p))) for p in parts], 1)


def _rest(p: Tensor) -> tuple[int]:
    return (int(np.prod([d for d in p.shape[1:] if isinstance(d, int)])),)


# name: a function of tensors with the batch first, without what has any sign, and its operands
CASES: dict[str, tuple[Callable[..., Tensor], tuple[np.ndarray, ...]]] = {
    "lu": (lambda x: ops.lu(x)[0], (drawn(2, 3, 4),)),
    "determinant": (lambda x: _both(*(ops.reshape(t, (t.shape[0], 1)) for t in ops.determinant(x))),
                    (drawn(2, 3, 3),)),
    "solve": (ops.solve, (drawn(2, 3, 3), drawn(2, 3, 2))),
    "solve_triangular": (lambda a, b: ops.solve_triangular(a, b, False), (positive(2, 3, 3), drawn(2, 3, 1))),
    "cholesky": (ops.cholesky, (positive(2, 3, 3),)),
    "qr": (lambda x: _both(*ops.qr(x)), (drawn(2, 4, 3),)),
    "complete_qr": (lambda x: _both(*ops.qr(x, True)), (drawn(2, 3, 2),)),
    "eigh": (lambda x: _both(*(t if t.rank == 2 else t * t for t in ops.eigh(x))), (positive(2, 3, 3),)),
    "svd": (lambda x: _both(*(t if t.rank == 2 else t * t for t in ops.svd(x))), (drawn(2, 3, 4),)),
    "singular_values": (ops.singular_values, (drawn(2, 5, 4),)),
    "pseudo_inverse": (lambda x: ops.pseudo_inverse(x, 1e-9), (drawn(2, 4, 3),)),
}  # fmt: skip


def _graph(name: str, dtype: str) -> tuple[Graph, list[Tensor], Tensor]:
    function, arrays = CASES[name]
    graph = Graph(name)
    types = [TensorType((Batch(), *a.shape[1:]), dtype) for a in arrays]
    inputs = [Tensor(graph, graph.input(f"x{i}", t)) for i, t in enumerate(types)]
    y = function(*inputs)
    graph.outputs["y"] = y.value
    return graph, inputs, y


def _run(graph: Graph, arrays: Any) -> dict[str, np.ndarray]:
    named = {f"x{i}": a for i, a in enumerate(arrays)}
    return interpreter.run(graph, len(arrays[0]), named, {}, "float64").outputs


@pytest.mark.parametrize("name", sorted(CASES))
def test_gradients_are_those_of_differences(name: str) -> None:
    arrays = CASES[name][1]
    graph, inputs, y = _graph(name, "float64")
    weights = np.cos(np.arange(int(np.prod(_rest(y))))).reshape([d for d in y.shape if isinstance(d, int)])
    loss = ops.reduce_sum(y * ops.constant(graph, weights, "float64"))
    graph.outputs["loss"] = loss.value
    for i, g in enumerate(gradient(loss, inputs)):
        assert g is not None
        graph.outputs[f"g{i}"] = g.value
    found = _run(graph, arrays)
    for i, x in enumerate(arrays):
        move = np.sin(np.arange(x.size)).reshape(x.shape)
        far, near = (
            _run(graph, [a + step * move if k == i else a for k, a in enumerate(arrays)])["loss"]
            for step in (1e-5, -1e-5)
        )
        np.testing.assert_allclose((found[f"g{i}"] * move).sum(), (far - near) / 2e-5, 2e-5, 1e-7)


@pytest.mark.parametrize("name", ["solve", "eigh", "qr", "pseudo_inverse"])
def test_code_computes_what_the_interpreter_does(name: str) -> None:
    graph, _, _ = _graph(name, "float32")
    arrays = [a.astype(np.float32) for a in CASES[name][1]]
    program = load(compile_graph(graph, "run", targets.native(), frozen=True), {}, threads=2)
    (made,) = program.run("run", len(arrays[0]), arrays)
    np.testing.assert_allclose(made, _run(graph, arrays)["y"], 1e-3, 1e-4)


def test_what_is_singular_or_repeated_has_factors_too() -> None:
    values = {"ones": np.ones((1, 3, 3)), "identity": np.eye(3)[None], "zeros": np.zeros((1, 3, 3))}
    for x in values.values():
        graph = Graph("singular")
        a = ops.constant(graph, x, "float64")
        u, s, v = ops.svd(a)
        made = {"product": ops.matrix_product(u * ops.reshape(s, (1, 1, 3)), v), "u": u}
        made["sign"] = ops.determinant(a)[0]
        made["inverse"] = ops.pseudo_inverse(a, 1e-9)
        graph.outputs = {name: t.value for name, t in made.items()}
        found = interpreter.run(graph, 1, {}, {}, "float64").outputs
        np.testing.assert_allclose(found["product"], x, atol=1e-12)
        np.testing.assert_allclose(found["u"][0].T @ found["u"][0], np.eye(3), atol=1e-12)
        np.testing.assert_allclose(found["inverse"], np.linalg.pinv(x), atol=1e-12)
        assert found["sign"] == round(np.linalg.det(x[0]))

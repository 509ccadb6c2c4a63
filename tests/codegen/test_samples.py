"""A matrix product for each sample (attention, Dot layers): compiled, on blocks of threads, as formulas."""

from __future__ import annotations

import numpy as np
import pytest
from gpu import machine

from kcompile.codegen import targets
from kcompile.compiler import compile_graph, load
from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.interpreter import run
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, Shape, TensorType, bind

SIZES = [(5, 7, 9), (33, 16, 48), (64, 64, 64), (17, 130, 129), (200, 30, 70), (1, 9, 40)]


def product(g: Shape, sizes: tuple[int, int, int], transposed: tuple[bool, bool]) -> Graph:
    """tanh(a @ b + a bias for each column + something for each element), and what reads b besides."""
    m, k, j = sizes
    graph = Graph("samples")

    def operand(name: str, shape: Shape) -> Tensor:
        return Tensor(graph, graph.input(name, TensorType(shape)))

    a = operand("a", (*g, k, m) if transposed[0] else (*g, m, k))
    b = operand("b", (*g, j, k) if transposed[1] else (*g, k, j))
    y = ops.batch_matmul(a, b, *transposed)
    graph.outputs["y"] = ops.tanh((y + operand("bias", (j,))) * 0.1 + operand("rest", (*g, m, j))).value
    graph.outputs["b"] = ops.reduce_sum(b, (b.rank - 1,)).value
    return graph


def draw(graph: Graph, n: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        name: generator.normal(size=bind(graph.type(v).shape, n)).astype(np.float32)
        for name, v in graph.inputs.items()
    }


@pytest.mark.parametrize(
    ("g", "sizes", "transposed"),
    [
        (g, SIZES[(i + 2 * j) % len(SIZES)], (bool(j % 2), bool(j // 2)))
        for i, g in enumerate([(Batch(),), (Batch(), 2), (3,)])
        for j in range(4)
    ],
)
def test_product_of_each_sample(g: Shape, sizes: tuple[int, int, int], transposed: tuple[bool, bool]) -> None:
    graph = product(g, sizes, transposed)
    made = compile_graph(graph, "run", targets.native(), frozen=False)
    results = []
    for threads in (1, 3):
        program = load(made, {}, threads)
        for n in (1, 6):
            values = draw(graph, n)
            expected = run(graph, n, values, {}, "float64").outputs
            results.append(program.run("run", n, list(values.values())))
            for got, right in zip(results[-1], expected.values()):
                np.testing.assert_allclose(got, right, rtol=2e-5, atol=2e-5)
    np.testing.assert_array_equal(results[1][0], results[3][0], "bits depend on threads")


@pytest.mark.parametrize("sizes", [(40, 21, 50), (3, 40, 130)])
def test_product_of_each_sample_on_blocks_of_threads(sizes: tuple[int, int, int]) -> None:
    for g in ((Batch(),), (2,), (Batch(), 2)):
        graph = product(g, sizes, (False, True))
        values = draw(graph, 3)
        expected = run(graph, 3, values, {}, "float64").outputs
        outputs, _ = machine.run(graph, 3, values)
        for got, right in zip(outputs, expected.values()):
            np.testing.assert_allclose(got, right, rtol=2e-5, atol=2e-5)


def test_one_kernel_with_what_follows() -> None:
    graph = product((Batch(),), (8, 8, 8), (False, False))
    made = compile_graph(graph, "run", targets.native(), frozen=False)
    assert len(made.program.entries[0].launches) == 2


@pytest.mark.parametrize(
    ("a", "b", "transposed"),
    [
        ((1, 9), (7, 9), (False, True)),
        ((7, 9), (1, 9), (False, True)),
        ((9, 7), (9, 1), (True, False)),
        ((7, 9), (9, 1), (False, False)),
        ((1, 9), (1, 9), (False, True)),
        ((7, 1), (1, 5), (False, False)),
        ((1, 7), (5, 1), (True, True)),
    ],
)
def test_vectors_are_sums_and_products(a: Shape, b: Shape, transposed: tuple[bool, bool]) -> None:
    """A vector has no tile to fill; it is what numpy says all the same."""
    graph = Graph("vectors")
    x, y = (
        Tensor(graph, graph.input(name, TensorType((Batch(), *shape))))
        for name, shape in (("a", a), ("b", b))
    )
    graph.outputs["y"] = ops.batch_matmul(x, y, *transposed).value
    values = draw(graph, 4)
    left, right = (v.swapaxes(1, 2) if t else v for v, t in zip(values.values(), transposed))
    got = load(compile_graph(graph, "run", targets.native(), frozen=False), {}).run(
        "run", 4, list(values.values())
    )[0]
    np.testing.assert_allclose(got, left @ right, rtol=1e-5, atol=1e-5)
    made = {node.op.name for node in graph.live()}
    assert ("batch_matmul" in made) == (a == (9, 7)), "the rows of b' @ a are long"
    assert all(graph.type(v).shape == (Batch(), *(left @ right).shape[1:]) for v in graph.results())


def test_samples_must_agree() -> None:
    graph = Graph("samples")
    a = Tensor(graph, graph.input("a", TensorType((Batch(), 3, 4))))
    b = Tensor(graph, graph.input("b", TensorType((2, 4, 3))))
    with pytest.raises(ValueError, match="for the same samples"):
        ops.batch_matmul(a, b)

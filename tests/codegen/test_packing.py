"""Panels of operands whose columns lie across memory: squares transposed in registers."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.codegen import targets
from kcompile.codegen.contraction.packing import transposed
from kcompile.codegen.loops import Buffer, Function, evaluate, load, ramp
from kcompile.codegen.loops.builder import Builder
from kcompile.codegen.show import program
from kcompile.compiler import compile_graph
from kcompile.compiler import load as loaded
from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16])
def test_a_square_is_transposed(size: int) -> None:
    square, made = Buffer("x", "float32"), Buffer("y", "float32")
    b = Builder(targets.named("x86-64-v4"), size)
    rows = [b.let(load(square, ramp(size * i, size))) for i in range(size)]
    for i, row in enumerate(transposed(b, rows)):
        b.store(made, ramp(size * i, size), row)
    x = np.arange(size * size, dtype=np.float32)
    y = np.zeros_like(x)
    evaluate.run(Function("transpose", (square, made), tuple(b.blocks[0])), [x, y])
    np.testing.assert_array_equal(y.reshape(size, size), x.reshape(size, size).T)


@pytest.mark.parametrize("name", ["native", "x86-64-v2", "x86-64-v3"])
@pytest.mark.parametrize(
    ("columns", "depth"), [(256, 512), (64, 130), (96, 17), (48, 16), (40, 150), (130, 300), (512, 15)]
)
def test_a_product_with_a_transposed_matrix(columns: int, depth: int, name: str) -> None:
    """x @ w' where w changes with each call, as in the gradient of a dense layer's input: w is packed within
    the step, in whole panels through registers, else element by element."""
    graph = Graph("gradient")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), depth))))
    w = Tensor(graph, graph.variable("w", TensorType((columns, depth))))
    graph.outputs["y"] = ops.matmul(x, w, transpose_b=True).value
    target = targets.native() if name == "native" else targets.host_as(name)
    made = compile_graph(graph, "run", target, frozen=False)
    generator = np.random.default_rng(0)
    a, b = (generator.normal(size=s).astype(np.float32) for s in ((70, depth), (columns, depth)))
    results = [loaded(made, {"w": b}, threads).run("run", 70, [a])[0] for threads in (1, 3)]
    np.testing.assert_array_equal(*results)
    expected = a.astype(np.float64) @ b.T.astype(np.float64)
    np.testing.assert_allclose(results[0], expected, rtol=1e-4, atol=1e-4)
    if (columns, depth) == (256, 512):
        assert "shuffle(" in program(made.program)

"""Attention as one kernel: scores, softmax, sums of values for some rows at a time, heads where they lie."""

from __future__ import annotations

import numpy as np
import pytest
from gpu import machine

from kcompile.codegen import targets
from kcompile.codegen.program import Launch
from kcompile.compiler import Compiled, compile_graph, load
from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.interpreter import run
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, Shape, TensorType, bind

# (heads, rows, columns, features of a key, features of a value)
SIZES = [
    (2, 64, 64, 32, 32),
    (3, 17, 33, 16, 5),
    (1, 130, 200, 40, 64),
    (8, 7, 100, 8, 33),
    (2, 300, 48, 65, 16),
]
MASKS = ("none", "bias", "of samples", "causal")


def softmax(x: Tensor) -> Tensor:
    e = ops.exp(x - ops.reduce_max(x, (-1,), keepdims=True))
    return e / ops.reduce_sum(e, (-1,), keepdims=True)


def attention(
    sizes: tuple[int, int, int, int, int], mask: str = "none", outside: bool = False, scores: bool = False
) -> Graph:
    """Heads of q, k and v [n, steps, heads, features]; or (outside) before the steps. scores: leave too."""
    heads, rows, columns, depth, width = sizes
    graph = Graph("attention")

    def operand(name: str, shape: Shape, dtype: str = "float32") -> Tensor:
        return Tensor(graph, graph.input(name, TensorType((Batch(), *shape), dtype)))

    def of_heads(name: str, steps: int, features: int) -> Tensor:
        return operand(name, (heads, steps, features) if outside else (steps, heads, features))

    q, k, v = (of_heads(*x) for x in (("q", rows, depth), ("k", columns, depth), ("v", columns, width)))
    order = "nhtd,nhsd->nhts" if outside else "nthd,nshd->nhts"
    made = ops.einsum(order, q, k) * (depth**-0.5)
    low = Tensor(graph, graph.constant(np.float32(-1e9)))
    if mask == "bias":
        made = made + operand("bias", (1, rows, columns))
    if mask == "of samples":
        keep = operand("keep", (1, 1, columns), "bool")
        made = ops.select(ops.broadcast_to(keep, made.shape), made, low)
    if mask == "causal":
        past = graph.constant(np.tril(np.ones((1, 1, rows, columns), bool)))
        keep = ops.broadcast_to(Tensor(graph, past), made.shape)
        made = ops.select(keep, made, low)
    weights = softmax(made)
    result = ops.einsum("nhts,nhsd->nhtd" if outside else "nhts,nshd->nthd", weights, v)
    graph.outputs["y"] = ops.tanh(result).value
    if scores:
        graph.outputs["weights"] = weights.value
    return graph


def draw(graph: Graph, n: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    made = {}
    for name, v in graph.inputs.items():
        x = generator.normal(size=bind(graph.type(v).shape, n))
        made[name] = (x > -1) if graph.type(v).dtype == "bool" else x.astype(np.float32)
    return made


def kernels(made: Compiled) -> list[list[str]]:
    """The ops that each kernel of the entry "run" has, those of groups in it as "group"."""
    steps = made.program.entries[-1].steps
    launches = [step for step in steps if isinstance(step, Launch) and step.group is not None]
    return [[m.op.name for m in x.group.body.live()] for x in launches if x.group is not None]


@pytest.mark.parametrize("name", ["native", "x86-64-v2", "x86-64-v3"])
@pytest.mark.parametrize(
    ("sizes", "mask", "outside"),
    [(sizes, MASKS[i % 4], bool(i % 2)) for i, sizes in enumerate(SIZES)]
    + [(SIZES[0], "causal", False), (SIZES[1], "of samples", True)],
)
def test_attention(sizes: tuple[int, int, int, int, int], mask: str, outside: bool, name: str) -> None:
    """It is what the interpreter says, the same for each sample of a batch, and for any number of threads."""
    graph = attention(sizes, mask, outside)
    target = targets.native() if name == "native" else targets.host_as(name)
    made = compile_graph(graph, "run", target, frozen=True)
    assert sum("group" in names for names in kernels(made)) == 1
    values = draw(graph, 5)
    expected = run(graph, 5, values, {}, "float64").outputs["y"]
    results = []
    for threads in (1, 3):
        program = load(made, {}, threads)
        (whole,) = program.run("run", 5, list(values.values()))
        alone = [program.run("run", 1, [x[i : i + 1] for x in values.values()])[0] for i in range(5)]
        np.testing.assert_array_equal(whole, np.concatenate(alone))
        results.append(whole)
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0], expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("mask", "outside"), [("causal", False), ("bias", True)])
def test_attention_on_blocks_of_threads(mask: str, outside: bool) -> None:
    """On graphics processors it stays several kernels, which read heads where they lie all the same."""
    graph = attention((3, 7, 11, 9, 5), mask, outside)
    values = draw(graph, 2)
    expected = run(graph, 2, values, {}, "float64").outputs["y"]
    (got,), _ = machine.run(graph, 2, values)
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)


def test_no_memory_of_all_scores_nor_of_copies() -> None:
    graph = attention((4, 512, 512, 32, 32))
    made = compile_graph(graph, "run", targets.native(), frozen=True)
    all_scores = 4 * 4 * 512 * 512
    assert made.program.entries[-1].arena.per_sample < all_scores // 4
    assert len(kernels(made)) <= 2, "one for attention, one that may put heads together"


def test_scores_that_leave_are_computed_by_themselves() -> None:
    graph = attention(SIZES[0], scores=True)
    made = compile_graph(graph, "run", targets.native(), frozen=True)
    assert not any("group" in names for names in kernels(made))
    values = draw(graph, 2)
    expected = run(graph, 2, values, {}, "float64").outputs
    for got, name in zip(load(made, {}).run("run", 2, list(values.values())), expected):
        np.testing.assert_allclose(got, expected[name], rtol=2e-5, atol=2e-6)


def test_products_of_projected_heads_read_and_write_where_they_lie() -> None:
    """No kernel is left that only moves elements."""
    graph = Graph("heads")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 40, 24))))
    names = ("q", "k", "v")
    q, k, v = (
        ops.einsum("ntc,chd->nthd", x, Tensor(graph, graph.variable(name, TensorType((24, 3, 8)))))
        + Tensor(graph, graph.variable(f"{name}_bias", TensorType((3, 8))))
        for name in names
    )
    weights = softmax(ops.einsum("nshd,nthd->nhts", k, q))  # as Keras writes it
    heads = ops.einsum("nhts,nshd->nthd", weights, v)
    out = Tensor(graph, graph.variable("out", TensorType((3, 8, 24))))
    graph.outputs["y"] = ops.einsum("nthd,hdc->ntc", heads, out).value
    made = compile_graph(graph, "run", targets.native(), frozen=True)
    assert all({"contract", "group"} & {*names} for names in kernels(made)), kernels(made)
    generator = np.random.default_rng(1)
    variables = {
        name: generator.normal(size=graph.type(value).shape).astype(np.float32) * 0.3
        for name, value in graph.variables.items()
    }
    values = draw(graph, 3)
    expected = run(graph, 3, values, variables, "float64").outputs["y"]
    program = load(made, variables, 2)
    np.testing.assert_allclose(
        program.run("run", 3, list(values.values()))[0], expected, rtol=2e-5, atol=2e-5
    )

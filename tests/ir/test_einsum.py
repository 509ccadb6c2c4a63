"""Products of named axes, against numpy's; their gradients, which numpy gives too: each is linear in every
operand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompile import compiler
from kcompile.codegen import targets
from kcompile.ir import interpreter, ops
from kcompile.ir.gradient import pull_back
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, Dim, TensorType, bind

N, SAMPLES = Batch(), 3
Shapes = tuple[tuple[Dim, ...], ...]
CASES: list[tuple[str, Shapes]] = [
    ("ij,jk->ik", ((N, 4), (4, 5))),
    ("abcd,cde->abe", ((N, 4, 2, 3), (2, 3, 5))),
    ("BTNH,BSNH->BNTS", ((N, 3, 2, 4), (N, 5, 2, 4))),
    ("BNTS,BSNH->BTNH", ((N, 2, 3, 5), (N, 5, 2, 4))),
    ("abc,bcd->abd", ((N, 4, 5), (4, 5, 6))),  # samples neither in front nor apart
    ("gnk,gnj->gkj", ((3, N, 4), (3, N, 5))),
    ("gk,gnk->gn", ((3, 4), (3, N, 4))),
    ("ka,nk->an", ((4, 3), (N, 4))),
    ("abc,bd->acd", ((N, 4, 5), (4, 6))),
    ("...x,xy->...y", ((N, 4, 5), (5, 6))),
    ("...ij,...jk", ((N, 4, 1, 3, 2), (1, 5, 2, 3))),
    ("ab,b...->a...", ((N, 4), (4, 2, 3))),
    ("ab,cd->abcd", ((N, 4), (2, 3))),
    ("a,a", ((N,), (N,))),
    ("ab,ac->bc", ((N, 4), (N, 5))),
    ("a,b->ba", ((N,), (4,))),
    ("aii->ai", ((N, 4, 4),)),
    ("abcb,b->ac", ((N, 4, 3, 4), (4,))),
    ("ba", ((N, 4),)),
    ("abc->b", ((N, 4, 5),)),
    ("abc,bc->abc", ((N, 4, 1), (4, 3))),
    (" ab, bc, cd -> a d ", ((N, 4), (4, 5), (5, 2))),
    ("abc,abd,abe,b->acde", ((N, 2, 3), (N, 2, 4), (N, 2, 2), (2,))),
]


def add(graph: Graph, number: int, equation: str, shapes: Shapes, inputs: dict[str, Any]) -> dict[str, Any]:
    """An equation and its gradients as outputs of a graph: what they are by numpy. The gradient of
    sum(c * y), y being linear in x, is at each element the sum for x that is 1 there alone."""
    rng = np.random.default_rng(number)
    arrays = [rng.integers(-3, 4, bind(shape, SAMPLES)).astype(np.float64) for shape in shapes]
    tensors = [
        Tensor(graph, graph.input(f"x{number}_{i}", TensorType(shape))) for i, shape in enumerate(shapes)
    ]
    y = ops.einsum(equation, *tensors)
    plain = equation.replace(" ", "")
    expected = np.einsum(plain, *arrays)
    assert bind(y.shape, SAMPLES) == expected.shape
    c = rng.integers(-3, 4, expected.shape).astype(np.float64)
    seed = Tensor(graph, graph.input(f"c{number}", TensorType(y.shape)))
    inputs.update({f"x{number}_{i}": x for i, x in enumerate(arrays)}, **{f"c{number}": c})
    right = {f"y{number}": expected}
    graph.outputs[f"y{number}"] = y.value
    for i, (x, slope) in enumerate(zip(arrays, pull_back([y], [seed], tensors))):
        assert slope is not None
        basis = np.eye(x.size).reshape(-1, *x.shape)
        made = [np.sum(c * np.einsum(plain, *arrays[:i], e, *arrays[i + 1 :])) for e in basis]
        right[f"d{number}_{i}"] = np.reshape(made, x.shape)
        graph.outputs[f"d{number}_{i}"] = slope.value
    return right


def test_equations_and_gradients_are_numpys_interpreted_and_compiled() -> None:
    graph, inputs, right = Graph("einsum"), {}, {}  # type: ignore[var-annotated]
    for number, (equation, shapes) in enumerate(CASES):
        right.update(add(graph, number, equation, shapes, inputs))
    found = interpreter.run(graph, SAMPLES, inputs, {}, "float64").outputs
    program = compiler.load(compiler.compile_graph(graph, "run", targets.native(), frozen=True), {})
    given = [np.asarray(inputs[name], np.float32) for name in graph.inputs]
    for (name, expected), got in zip(right.items(), program.run("run", SAMPLES, given)):
        number = int(name[1:].partition("_")[0])
        np.testing.assert_array_equal(found[name], expected, err_msg=CASES[number][0])
        np.testing.assert_array_equal(got, expected, err_msg=CASES[number][0])  # small integers


@settings(max_examples=60)
@given(data=st.data())
def test_random_equations_are_numpys(data: st.DataObject) -> None:
    sizes = dict(zip("abcde", data.draw(st.lists(st.integers(1, 4), min_size=5, max_size=5))))
    terms = data.draw(st.lists(st.text("abcde", min_size=0, max_size=4), min_size=1, max_size=3))
    letters = sorted(set("".join(terms)))
    output = "".join(data.draw(st.lists(st.sampled_from(letters), unique=True))) if letters else ""
    shapes = tuple(
        tuple(1 if data.draw(st.integers(0, 5)) == 0 and term.count(c) == 1 else sizes[c] for c in term)
        for term in terms
    )
    graph, inputs = Graph("einsum"), {}  # type: ignore[var-annotated]
    right = add(graph, 0, ",".join(terms) + "->" + output, shapes, inputs)
    found = interpreter.run(graph, 1, inputs, {}, "float64").outputs
    for name, expected in right.items():
        np.testing.assert_array_equal(found[name], expected)


def test_general_products_of_whole_numbers_and_bools() -> None:
    graph, rng = Graph("dot"), np.random.default_rng(0)
    x, y = rng.integers(-3, 4, (SAMPLES, 4, 5)).astype(np.int32), rng.integers(-3, 4, (SAMPLES, 5, 2))
    a, b = (
        Tensor(graph, graph.input(n, TensorType((N, *s), "int32"))) for n, s in (("a", (4, 5)), ("b", (5, 2)))
    )
    graph.outputs["numbers"] = ops.dot_general(a, b, ([2], [-2]), ([0], [0])).value
    graph.outputs["bools"] = ops.dot_general(a > 1, b > 1, ([2], [1]), ([0], [0])).value
    graph.outputs["any"] = ops.einsum("abc->a", a > 2).value
    found = interpreter.run(graph, SAMPLES, {"a": x, "b": y.astype(np.int32)}, {}).outputs
    np.testing.assert_array_equal(found["numbers"], x @ y)
    np.testing.assert_array_equal(found["bools"], ((x > 1).astype(int) @ (y > 1)) > 0)
    np.testing.assert_array_equal(found["any"], (x > 2).any((1, 2)))
    assert [graph.type(v).dtype for v in graph.outputs.values()] == ["int32", "bool", "bool"]


@pytest.mark.parametrize(
    ("equation", "message"),
    [
        ("ab->a", "2 operands"),
        ("ab,bc->ad", "of no operand"),
        ("ab,bc->aac", "twice"),
        ("abc,bc->a", "axes"),
        ("a1,bc->a", "2 operands"),
        ("ab,ab->a", "sizes of an axis differ"),
        ("ab,cd->ac.", "2 operands"),
        ("...abc,bc->a", "axes"),
    ],
)
def test_wrong_equations_are_refused(equation: str, message: str) -> None:
    graph = Graph("wrong")
    x, y = (Tensor(graph, graph.input(n, TensorType(s))) for n, s in (("x", (N, 4)), ("y", (4, 5))))
    with pytest.raises(ValueError, match=message):
        ops.einsum(equation, x, y)


def test_pairs_of_axes_that_do_not_fit_are_refused() -> None:
    graph = Graph("wrong")
    x, y = (Tensor(graph, graph.input(n, TensorType(s))) for n, s in (("x", (N, 4)), ("y", (4, 5))))
    for contracting in (([1], [1]), ([1, 1], [0, 0]), ([1], [0, 1]), ([2], [0])):
        with pytest.raises(ValueError, match=r"ax[ei]s"):
            ops.dot_general(x, y, contracting)
    with pytest.raises(ValueError, match="two axes of one known size"):
        ops.diagonal(x)

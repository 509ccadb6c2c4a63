"""One table test over all ops: every record's rules, against numpy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ir.draws import BATCHES, DRAWN, arrays, cases, floats, graph_of, named

from kcompile.ir import ops
from kcompile.ir.gradient import gradient
from kcompile.ir.graph import Graph
from kcompile.ir.interpreter import run
from kcompile.ir.op import OPS, Case, Op
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS, TensorType, bind

SEEDS = st.integers(0, 2**31 - 1)
FILTERED = [HealthCheck.filter_too_much]  # half of the casts are to integers
STEP = 1e-5  # of central differences; far below the spacing of values of ops with kinks

# Ops that no test draws: they have no operands of their own, or attributes that only a pass makes.
NOT_DRAWN = {"input", "variable", "constant", "contract", "group", "scan"}


def test_every_op_is_drawn() -> None:
    assert set(OPS) - set(DRAWN) <= NOT_DRAWN


@pytest.mark.parametrize("name", DRAWN)
@settings(max_examples=30)
@given(data=st.data(), seed=SEEDS)
def test_shape_rule_is_numpys(name: str, data: st.DataObject, seed: int) -> None:
    op = OPS[name]
    case = data.draw(cases(op))
    graph, _, outputs = graph_of(op, case)
    graph.verify()
    assert f"= {name}(" in graph.text()
    for n in BATCHES:
        for precision in FLOATS:
            result = run(graph, n, named(arrays(case, n, seed, ties=not case.spaced)), {}, precision)
            for output, array in zip(outputs, result.outputs.values()):
                assert array.shape == bind(output.shape, n)
                expected = precision if output.dtype in FLOATS else output.dtype
                assert array.dtype.name == expected


def scalar_loss(op: Op, case: Case) -> tuple[Graph, list[Tensor], Tensor | None]:
    """sum of output * cotangent over the float outputs, with the cotangents as inputs c0, c1, ..."""
    graph, inputs, outputs = graph_of(op, case)
    loss = None
    for i, output in enumerate(outputs):
        if output.dtype in FLOATS:
            cotangent = Tensor(graph, graph.input(f"c{i}", output.type))
            term = ops.reduce_sum(output * cotangent)
            loss = term if loss is None else loss + term
    return graph, inputs, loss


def cotangents(graph: Graph, n: int, seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed + 1)
    types = {k: graph.type(v) for k, v in graph.inputs.items() if k.startswith("c")}
    return {k: generator.uniform(-1, 1, bind(t.shape, n)) for k, t in types.items()}


def check_directional(
    graph: Graph,
    target: str,
    derivative: str,
    wrt: str,
    n: int,
    values: dict[str, np.ndarray],
    generator: np.random.Generator,
) -> None:
    """<derivative, v> = d target along v at `wrt`, for a random direction v: one that is wrong in
    one element fails almost surely."""
    base = values[wrt].astype(np.float64)
    direction = generator.uniform(-1, 1, base.shape)

    def at(step: float) -> np.ndarray:
        moved = {**values, wrt: base + step * direction}
        return run(graph, n, moved, {}, "float64").outputs[target]

    numeric = (at(STEP) - at(-STEP)) / (2 * STEP)
    analytic = run(graph, n, values, {}, "float64").outputs[derivative]
    assert analytic.shape == base.shape
    scale = 1 + np.sum(np.abs(analytic * direction))
    assert abs(np.sum(analytic * direction) - numeric) <= 1e-7 * scale


@pytest.mark.parametrize("name", [n for n in DRAWN if OPS[n].gradient is not None])
@settings(max_examples=25, suppress_health_check=FILTERED)
@given(data=st.data(), seed=SEEDS)
def test_gradient_rule_is_finite_differences(name: str, data: st.DataObject, seed: int) -> None:
    op = OPS[name]
    case = data.draw(cases(op))
    graph, inputs, loss = scalar_loss(op, case)
    assume(loss is not None and floats(case.types))
    assert loss is not None
    wrt = floats(case.types)
    graph.outputs = {"loss": loss.value}
    for i, derivative in zip(wrt, gradient(loss, [inputs[i] for i in wrt])):
        assert derivative is not None
        assert derivative.type == inputs[i].type
        graph.outputs[f"d{i}"] = derivative.value
    graph.verify()
    for n in BATCHES:
        values = named(arrays(case, n, seed)) | cotangents(graph, n, seed)
        for i in wrt:
            check_directional(graph, "loss", f"d{i}", f"x{i}", n, values, np.random.default_rng(seed + 2 + i))


@pytest.mark.parametrize("name", [n for n in DRAWN if OPS[n].gradient is not None])
@settings(max_examples=10, suppress_health_check=FILTERED)
@given(data=st.data(), seed=SEEDS)
def test_second_derivative_is_finite_differences(name: str, data: st.DataObject, seed: int) -> None:
    op = OPS[name]
    case = data.draw(cases(op))
    graph, inputs, loss = scalar_loss(op, case)
    wrt = floats(case.types)
    assume(loss is not None and wrt)
    assert loss is not None
    first = [d for d in gradient(loss, [inputs[i] for i in wrt]) if d is not None]
    again = ops.reduce_sum(ops.square(first[0] + 0.5))
    for d in first[1:]:
        again = again + ops.reduce_sum(ops.square(d + 0.5))
    graph.outputs = {"again": again.value}
    second = gradient(again, [inputs[i] for i in wrt])
    kept = [(i, d) for i, d in zip(wrt, second) if d is not None]
    graph.outputs |= {f"d{i}": d.value for i, d in kept}
    graph.verify()
    for n in BATCHES:
        values = named(arrays(case, n, seed)) | cotangents(graph, n, seed)
        for i, _ in kept:
            check_directional(
                graph, "again", f"d{i}", f"x{i}", n, values, np.random.default_rng(seed + 2 + i)
            )


@pytest.mark.parametrize("name", [n for n in DRAWN if OPS[n].gradient is None])
@settings(max_examples=5)
@given(data=st.data())
def test_no_gradient_is_none(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(OPS[name]))
    _, inputs, outputs = graph_of(OPS[name], case)
    loss = ops.reduce_sum(ops.cast(outputs[0], "float32"))
    assert gradient(loss, inputs) == [None] * len(inputs)


# ---------------------------------------------------------------- values that have a definition


def evaluate(build: object, *values: object, wrt: int | None = None) -> np.ndarray:
    """build(tensors) on values, or the gradient of its sum to operand number `wrt`."""
    given_arrays = [np.asarray(v, np.float32) for v in values]
    graph = Graph("test")
    inputs = [
        Tensor(graph, graph.input(f"x{i}", TensorType(a.shape, a.dtype.name)))
        for i, a in enumerate(given_arrays)
    ]
    result = build(*inputs)  # type: ignore[operator]
    if wrt is not None:
        derivative = gradient(ops.reduce_sum(result), [inputs[wrt]])[0]
        assert derivative is not None
        result = derivative
    graph.outputs["y"] = result.value
    return run(graph, 1, named(given_arrays), {}).outputs["y"]


def test_relu_gradient_at_zero_is_zero() -> None:
    assert evaluate(ops.relu, [-1, 0, -0.0, 2], wrt=0).tolist() == [0, 0, 0, 1]


def test_abs_gradient_at_zero_is_zero() -> None:
    assert evaluate(ops.abs, [-2, 0, 3], wrt=0).tolist() == [-1, 0, 1]


def test_maximum_shares_the_gradient_of_a_tie() -> None:
    both = [evaluate(ops.maximum, [1, 2, 3], [1, 3, 2], wrt=i).tolist() for i in (0, 1)]
    assert both == [[0.5, 0, 1], [0.5, 1, 0]]


def test_power_at_zero() -> None:
    assert evaluate(lambda x: x**2.0, [0, 3], wrt=0).tolist() == [0, 6]
    assert evaluate(lambda x: x**1.0, [0, 3], wrt=0).tolist() == [1, 1]
    assert evaluate(lambda x: x**0.0, [0, 3], wrt=0).tolist() == [0, 0]
    assert evaluate(ops.pow, [0, -1], [2, 2], wrt=1).tolist() == [0, 0]


def test_reduce_max_shares_the_gradient_of_a_tie() -> None:
    x = [[1, 3, 3], [2, 1, 0]]
    got = evaluate(lambda x: ops.reduce_max(x, 1), x, wrt=0)
    assert got.tolist() == [[0, 0.5, 0.5], [1, 0, 0]]


def pool(x: Tensor) -> Tensor:
    return ops.max_pool(x, (2, 2), (2, 2), ((0, 0), (0, 0)))


def test_max_pool_gradient_goes_to_the_first_maximum() -> None:
    x = np.array([[0, 1, 2, 2], [1, 1, 2, 0]], np.float32).reshape(1, 2, 4, 1)
    assert evaluate(pool, x, wrt=0).reshape(2, 4).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]]


def test_max_pool_with_negative_values_ignores_padding() -> None:
    x = np.full((1, 3, 3, 1), -5, np.float32)
    got = evaluate(lambda x: ops.max_pool(x, (2, 2), (2, 2), ((0, 1), (0, 1))), x)
    assert (got == -5).all()


def test_average_pool_does_not_count_padding() -> None:
    x = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    got = evaluate(lambda x: ops.average_pool(x, (2, 2), (2, 2), ((0, 1), (0, 1))), x)
    assert got.reshape(2, 2).tolist() == [[2, 3.5], [6.5, 8]]


@pytest.mark.parametrize(
    "function",
    [
        ops.relu,
        ops.abs,
        ops.sigmoid,
        ops.tanh,
        ops.exp,
        ops.softplus,
        ops.erf,
        lambda x: ops.maximum(x, 0.0),
        lambda x: ops.minimum(0.0, x),
        lambda x: ops.clip(x, -1, 1),
        lambda x: ops.reduce_max(x, 0, keepdims=True),
        lambda x: ops.reduce_sum(x, 0, keepdims=True),
        ops.softmax,
    ],
)
def test_nan_propagates(function: object) -> None:
    assert np.isnan(evaluate(function, [np.nan, 1.0])[0])


def test_nan_propagates_through_pooling() -> None:
    x = np.zeros((1, 2, 4, 1), np.float32)
    x[0, 1, 0] = np.nan
    assert np.isnan(evaluate(pool, x)).ravel().tolist() == [True, False]


def test_extremes_do_not_overflow() -> None:
    x = [-1e4, -100, 0, 100, 1e4]
    assert evaluate(ops.sigmoid, x).tolist() == [0, pytest.approx(0, abs=1e-40), 0.5, 1, 1]
    assert evaluate(ops.softplus, x).tolist() == pytest.approx([0, 0, np.log(2), 100, 1e4])
    assert np.isfinite(evaluate(ops.softmax, [x])).all()
    assert np.isfinite(evaluate(ops.softmax, [x], wrt=0)).all()
    assert np.isfinite(evaluate(ops.log_softmax, [x], wrt=0)).all()


def test_softmax_and_friends() -> None:
    x = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    expected = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    np.testing.assert_allclose(evaluate(ops.softmax, x), expected, rtol=1e-6)
    np.testing.assert_allclose(evaluate(ops.log_softmax, x), np.log(expected), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(evaluate(ops.argmax, x), x.argmax(1))
    assert evaluate(ops.argmax, [[1, 3, 3]]).tolist() == [1]  # the first of equals
    np.testing.assert_allclose(evaluate(ops.reduce_mean, x), x.mean(), rtol=1e-5)
    indices = evaluate(lambda x: ops.one_hot(ops.cast(x, "int32"), 3), [0, 2, 5])
    assert indices.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_cast_truncates_and_saturates() -> None:
    x = [1.7, -1.7, np.nan, np.inf, -np.inf, 3e10]
    big, small = 2**31 - 1, -(2**31)
    assert evaluate(lambda x: ops.cast(x, "int32"), x).tolist() == [1, -1, 0, big, small, big]
    assert evaluate(lambda x: ops.cast(x, "uint8"), x).tolist() == [1, 0, 0, 255, 0, 255]
    assert evaluate(lambda x: ops.cast(x, "int64"), x[3:5]).tolist() == [2**63 - 1, -(2**63)]


# ---------------------------------------------------------------- wrong use


@pytest.mark.parametrize(
    "build",
    [
        lambda x, y: ops.matmul(x, y),
        lambda x, y: ops.reshape(x, (5,)),
        lambda x, y: ops.transpose(x, (0, 0)),
        lambda x, y: ops.concatenate([x, y], 1),
        lambda x, y: ops.slice_(x, (0, 0), (2, 9)),
        lambda x, y: ops.broadcast_to(x, (2, 4)),
        lambda x, y: x + y,
    ],
)
def test_shapes_that_do_not_fit_are_refused(build: object) -> None:
    graph = Graph("test")
    x = Tensor(graph, graph.input("x", TensorType((2, 3))))
    y = Tensor(graph, graph.input("y", TensorType((4, 5))))
    with pytest.raises(ValueError):
        build(x, y)  # type: ignore[operator]


@pytest.mark.parametrize(
    "build",
    [
        lambda x, i: ops.add(x, i),
        lambda x, i: ops.exp(i),
        lambda x, i: ops.select(x, x, x),
        lambda x, i: ops.matmul(i, i),
    ],
)
def test_dtypes_that_do_not_fit_are_refused(build: object) -> None:
    graph = Graph("test")
    x = Tensor(graph, graph.input("x", TensorType((3, 3))))
    i = Tensor(graph, graph.input("i", TensorType((3, 3), "int32")))
    with pytest.raises(TypeError):
        build(x, i)  # type: ignore[operator]

"""Reverse-mode differentiation of whole graphs (single ops: test_ops.py)."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.ir import ops
from kcompile.ir.gradient import gradient
from kcompile.ir.graph import Graph, Source
from kcompile.ir.interpreter import run
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType

N = Batch()


def scalar(name: str = "x", graph: Graph | None = None) -> Tensor:
    graph = graph or Graph("test")
    return Tensor(graph, graph.input(name, TensorType(())))


def value(tensor: Tensor, **inputs: float) -> float:
    tensor.graph.outputs = {"value": tensor.value}
    arrays = {name: np.float64(v) for name, v in inputs.items()}
    return run(tensor.graph, 1, arrays, {}, "float64").outputs["value"].item()


def test_uses_of_one_value_add_up() -> None:
    x = scalar()
    y = x * x + x * 3.0
    (d,) = gradient(y, [x])
    assert d is not None
    assert value(d, x=5) == 13


def test_of_a_target_to_itself_is_one() -> None:
    x = scalar()
    (d,) = gradient(x, [x])
    assert d is not None
    assert value(d, x=5) == 1


def test_to_an_inner_value() -> None:
    x = scalar()
    inner = ops.exp(x)
    (d,) = gradient(inner * inner, [inner])
    assert d is not None
    assert value(d, x=1) == pytest.approx(2 * np.e)


def test_what_does_not_depend_is_none() -> None:
    x = scalar()
    other = scalar("other", x.graph)
    assert gradient(ops.square(x), [other]) == [None]
    assert gradient(ops.stop_gradient(x) * other, [x]) == [None]
    assert gradient(ops.floor(x) * other, [x]) == [None]


def test_higher_derivatives() -> None:
    x = scalar()
    y = ops.tanh(x)
    t = np.tanh(0.3)
    expected = [1 - t**2, -2 * t * (1 - t**2), (1 - t**2) * (6 * t**2 - 2)]
    for number in expected:
        (y,) = gradient(y, [x])  # type: ignore[assignment]
        assert value(y, x=0.3) == pytest.approx(number)


def test_the_target_must_be_a_float_scalar() -> None:
    graph = Graph()
    x = Tensor(graph, graph.input("x", TensorType((N, 2))))
    with pytest.raises(ValueError, match="scalar"):
        gradient(x, [x])
    with pytest.raises(ValueError, match="scalar"):
        gradient(ops.cast(ops.reduce_sum(x), "int32"), [x])


def test_new_nodes_carry_the_layer_they_differentiate() -> None:
    x = scalar()
    graph = x.graph
    with graph.source(Source("dense_1", 2)):
        y = ops.exp(x)
    (d,) = gradient(ops.square(y), [x])
    assert d is not None
    assert graph.nodes[d.value.node].sources == (Source("dense_1", 2),)


def test_only_the_paths_that_matter_are_differentiated() -> None:
    x = scalar()
    other = scalar("other", x.graph)
    y = ops.square(x) + ops.exp(other)
    before = len(x.graph.nodes)
    gradient(y, [x])
    added = [x.graph.nodes[i].op.name for i in range(before, len(x.graph.nodes))]
    assert "exp" not in added


def test_batch_mean_of_a_network() -> None:
    """d mean((relu(x w) v - y)^2) / d (w, v), with the batch symbolic, against numpy."""
    graph = Graph()
    x = Tensor(graph, graph.input("x", TensorType((N, 3))))
    y = Tensor(graph, graph.input("y", TensorType((N, 2))))
    w = Tensor(graph, graph.variable("w", TensorType((3, 4))))
    v = Tensor(graph, graph.variable("v", TensorType((4, 2))))
    loss = ops.reduce_mean(ops.square(ops.matmul(ops.relu(ops.matmul(x, w)), v) - y))
    for name, d in zip("wv", gradient(loss, [w, v])):
        assert d is not None
        graph.outputs[name] = d.value
    graph.verify()
    rng = np.random.default_rng(0)
    for n in (1, 6):
        values = {
            k: rng.normal(size=s) for k, s in {"x": (n, 3), "y": (n, 2), "w": (3, 4), "v": (4, 2)}.items()
        }
        got = run(graph, n, values, values, "float64").outputs
        hidden = np.maximum(values["x"] @ values["w"], 0)
        g = 2 * (hidden @ values["v"] - values["y"]) / (2 * n)
        np.testing.assert_allclose(got["v"], hidden.T @ g)
        np.testing.assert_allclose(got["w"], values["x"].T @ ((g @ values["v"].T) * (hidden > 0)))

"""The graph: building, text, liveness, and what the verifier finds."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from kcompile.ir import ops
from kcompile.ir.graph import Graph, Literal, Source, Value
from kcompile.ir.interpreter import run
from kcompile.ir.tensor import Tensor, constant
from kcompile.ir.types import Batch, TensorType

N = Batch()


def dense() -> Graph:
    """relu(x @ w + b), which also counts its calls."""
    graph = Graph("dense")
    x = Tensor(graph, graph.input("x", TensorType((N, 3))))
    w = Tensor(graph, graph.variable("w", TensorType((3, 2))))
    b = Tensor(graph, graph.variable("b", TensorType((2,))))
    steps = Tensor(graph, graph.variable("steps", TensorType((), "int32")))
    with graph.source(Source("dense_1"), Source("act", 1)):
        y = ops.relu(ops.matmul(x, w) + b)
    graph.outputs["y"] = y.value
    graph.updates["steps"] = (steps + 1).value
    return graph


def test_text_is_golden() -> None:
    assert (
        str(dense())
        == """\
graph dense
  %0 = input(name=x) : float32[n, 3]
  %1 = variable(name=w) : float32[3, 2]
  %2 = variable(name=b) : float32[2]
  %3 = variable(name=steps) : int32[]
  %4 = matmul(%0, %1, transpose_a=False, transpose_b=False) : float32[n, 2]  # dense_1, act:1
  %5 = add(%4, %2) : float32[n, 2]  # dense_1, act:1
  %6 = relu(%5) : float32[n, 2]  # dense_1, act:1
  %7 = constant(value=1) : int32[]
  %8 = add(%3, %7) : int32[]
  output y = %6
  update steps = %8"""
    )


def test_run() -> None:
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(5, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)
    result = run(dense(), 5, {"x": x}, {"w": w, "b": b, "steps": np.int32(7)}, "float64")
    np.testing.assert_allclose(result.outputs["y"], np.maximum(x @ w + b, 0))
    assert result.updates["steps"] == 8
    assert result.updates["steps"].dtype == np.int32


def test_it_is_a_networkx_graph_whose_edges_are_operands() -> None:
    graph = Graph()
    x = Tensor(graph, graph.input("x", TensorType((N,))))
    y = x * x
    assert isinstance(graph.nx, nx.MultiDiGraph)
    assert graph.nx.number_of_edges(x.value.node, y.value.node) == 2
    assert sorted(d["slot"] for *_, d in graph.nx.in_edges(y.value.node, data=True)) == [0, 1]
    assert nx.is_directed_acyclic_graph(graph.nx)
    z = y + x  # the graph grows, and the networkx graph with it
    assert sorted(graph.nx.predecessors(z.value.node)) == [x.value.node, y.value.node]
    assert graph.nx.nodes[z.value.node]["node"] is graph.nodes[z.value.node]


def test_live_leaves_out_what_no_result_needs_but_keeps_inputs() -> None:
    graph = dense()
    unused = graph.input("unused", TensorType((N,)))
    dead = ops.exp(Tensor(graph, unused))
    live = [node.id for node in graph.live()]
    assert unused.node in live
    assert dead.value.node not in live
    assert live == sorted(live)
    assert unused not in graph.users()


def test_users_name_node_and_slot() -> None:
    graph = Graph()
    x = Tensor(graph, graph.input("x", TensorType((N,))))
    y = x - x
    graph.outputs["y"] = y.value
    assert [(n.id, slot) for n, slot in graph.users()[x.value]] == [(y.value.node, 0), (y.value.node, 1)]


def test_the_same_variable_is_the_same_node() -> None:
    graph = Graph()
    first = graph.variable("w", TensorType((2,)))
    assert graph.variable("w", TensorType((2,))) == first


def test_an_input_is_declared_once() -> None:
    graph = dense()
    with pytest.raises(ValueError, match="'x' is declared twice"):
        graph.input("x", TensorType((N,)))


def test_verify_finds_a_wrong_type() -> None:
    graph = dense()
    node = graph.nodes[6]
    object.__setattr__(node, "types", (TensorType((N, 7)),))
    with pytest.raises(ValueError, match=r"node %6 relu \(dense_1, act:1\): type is"):
        graph.verify()


def test_verify_finds_a_node_added_again_over_other_types() -> None:
    graph = dense()
    graph.add_again(graph.nodes[5], [graph.updates["steps"]] * 2)
    with pytest.raises(ValueError, match=r"add \(.*type is .*float32.*its rule says .*int32"):
        graph.verify()


def test_verify_finds_an_operand_that_comes_later() -> None:
    graph = dense()
    object.__setattr__(graph.nodes[5], "inputs", (Value(6), Value(2)))
    with pytest.raises(ValueError, match=r"%5 add.*comes later"):
        graph.verify()


def test_verify_checks_updates() -> None:
    graph = dense()
    graph.updates["b"] = graph.outputs["y"]
    with pytest.raises(ValueError, match="update of 'b' has type"):
        graph.verify()
    del graph.updates["b"]
    graph.updates["nothing"] = graph.outputs["y"]
    with pytest.raises(ValueError, match="unknown variable 'nothing'"):
        graph.verify()


def test_literals_are_hashable_and_exact() -> None:
    array = np.array([[1.5, np.nan]], np.float32)
    literal = Literal.of(array)
    assert hash(literal) == hash(Literal.of(array.copy()))
    np.testing.assert_array_equal(literal.array, array)
    assert repr(literal) == "<float32[1, 2] 2216c25ac5917bde>"
    assert repr(Literal.of(np.float32(0.5))) == "0.5"


def step() -> Graph:
    graph = Graph("step")
    x = Tensor(graph, graph.input("x", TensorType((N, 3))))
    graph.outputs["y"] = ops.tanh(x + 1).value
    return graph


def with_region(region: Graph, op: str = "group", **attrs: object) -> Graph:
    graph = Graph("outer")
    lead = (4,) if attrs.get("steps") else ()
    x = graph.input("x", TensorType((*lead, N, 3)))
    with graph.source(Source("rnn")):
        graph.outputs["y"] = Value(graph.add(op, [x], regions=(region,), **attrs).id)
    return graph


SCAN = {"op": "scan", "length": 4, "states": 0, "steps": 1, "reverse": False}


@pytest.mark.parametrize("kind", [{}, SCAN], ids=["group", "scan"])
def test_verify_finds_a_wrong_type_in_a_region(kind: dict[str, object]) -> None:
    graph = with_region(step(), **kind)  # type: ignore[arg-type]
    graph.verify()
    object.__setattr__(graph.nodes[1].body.nodes[2], "types", (TensorType((N, 7)),))
    with pytest.raises(
        ValueError, match=r"outer: node %1 \w+ \(rnn\): in its region step: node %2 add .*type is"
    ):
        graph.verify()


def test_verify_enters_regions_of_regions() -> None:
    inner = with_region(step())
    graph = with_region(inner)
    object.__setattr__(inner.nodes[1].body.nodes[3], "inputs", (Value(3),))
    with pytest.raises(ValueError, match=r"region outer: node .* in its region step: .*tanh.*comes later"):
        graph.verify()


@pytest.mark.parametrize("kind", [{}, SCAN], ids=["group", "scan"])
def test_verify_wants_operands_that_fit_the_region(kind: dict[str, object]) -> None:
    graph = with_region(step(), **kind)  # type: ignore[arg-type]
    graph.nodes[1].body.input("another", TensorType((N,)))
    with pytest.raises(ValueError, match=r"do not fit"):
        graph.verify()


def test_a_region_reads_its_inputs_alone() -> None:
    region = step()
    graph = with_region(region)
    region.variable("w", TensorType((3,)))
    with pytest.raises(ValueError, match="region step reads or updates variables"):
        graph.verify()


@pytest.mark.parametrize("table", ["inputs", "variables", "outputs"])
def test_verify_checks_the_boundary(table: str) -> None:
    graph = dense()
    named = getattr(graph, table)
    named[next(iter(named))] = Value(4, 1)
    with pytest.raises(ValueError, match=r"(input 'x'|variable 'w'|result 'y') is %4(\.1)?, which is none"):
        graph.verify()


def test_text_has_regions_and_attributes_in_full() -> None:
    graph = with_region(step(), **SCAN)  # type: ignore[arg-type]
    assert (
        graph.text()
        == """\
graph outer
  %0 = input(name=x) : float32[4, n, 3]
  %1 = scan(%0, length=4, states=0, steps=1, reverse=False) : float32[4, n, 3]  # rnn
  | graph step
  |   %0 = input(name=x) : float32[n, 3]
  |   %1 = constant(value=1.0) : float32[]
  |   %2 = add(%0, %1) : float32[n, 3]
  |   %3 = tanh(%2) : float32[n, 3]
  |   output y = %3
  output y = %1"""
    )


def test_a_symbolic_tensor_is_no_number() -> None:
    graph = Graph()
    x = Tensor(graph, graph.input("x", TensorType((N,))))
    with pytest.raises(TypeError, match="no truth value"):
        bool(x > 0)
    with pytest.raises(TypeError, match="iterated"):
        list(x)


def test_tensors_of_two_graphs_do_not_mix() -> None:
    a, b = (Tensor(g, g.input("x", TensorType((N,)))) for g in (Graph(), Graph()))
    with pytest.raises(TypeError, match="one graph"):
        a + b


def test_numbers_take_the_tensors_dtype_and_numpy_defers() -> None:
    graph = Graph()
    x = Tensor(graph, graph.input("x", TensorType((2,), "float64")))
    assert (x + 1).dtype == "float64"
    assert (1 - x).dtype == "float64"
    left = np.ones(2) * x
    assert isinstance(left, Tensor)
    assert left.shape == (2,)
    assert constant(graph, 0.5).dtype == "float32"

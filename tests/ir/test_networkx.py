"""Graphs as people read and write them with networkx: there and back, algorithms, passes, pictures."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from ir.pass_targets import Plain
from ir.scans import counting

from kcompile import keras
from kcompile.ir import interpreter, networks, ops, passes
from kcompile.ir.digest import fingerprint
from kcompile.ir.graph import Graph, Source, Value
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import graphs as traced
from kcompile.testing.graphs import graphs, values
from kcompile_runtime.errors import InputError


def diamond() -> Graph:
    """y = tanh(a) * exp(a) + b, where a = relu(x)."""
    graph = Graph("diamond")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 3))))
    b = Tensor(graph, graph.variable("b", TensorType((3,))))
    with graph.source(Source("look")):
        a = ops.relu(x)
        graph.outputs["y"] = (ops.tanh(a) * ops.exp(a) + b).value
    return graph


def same(a: Graph, b: Graph) -> None:
    assert (a.text(), fingerprint(a)) == (b.text(), fingerprint(b))
    b.verify()


@settings(max_examples=30)
@given(graphs(contractions=True))
def test_there_and_back(graph: Graph) -> None:
    same(graph, Graph.from_nx(graph.nx))


def test_regions_go_there_and_back() -> None:
    model = keras.Sequential([keras.layers.LSTM(3, input_shape=(4, 2)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    for graph in (traced.trace(model, entry).graph for entry in ("predict", "train")):
        for fused in passes.run_passes(graph, passes.pipeline(Plain(), frozen=False)):
            assert any(node.regions for node in fused.live())
            same(fused, Graph.from_nx(fused.nx))


def test_edges_say_what_a_node_reads_and_attributes_what_it_is() -> None:
    found = diamond().nx.copy()
    (out, _) = found.graph["outputs"]["y"]
    found.add_node("mine", op="sub", sources=(Source("added"),))
    found.add_edge(out, "mine", slot=1, output=0)
    found.add_edge(0, "mine", slot=0)
    found.graph["outputs"] = {"y": ("mine", 0)}
    made = Graph.from_nx(found)
    made.verify()
    x, b = np.array([[1.0, -2.0, 0.5]], np.float32), np.ones(3, np.float32)
    (y,) = interpreter.run(made, 1, {"x": x}, {"b": b}).outputs.values()
    a = np.maximum(x, 0)
    np.testing.assert_allclose(y, x - (np.tanh(a) * np.exp(a) + b), rtol=1e-6)
    assert made.live()[-1].label == "added"


def broken(change: Any) -> nx.MultiDiGraph:
    found = diamond().nx.copy()
    change(found)
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.add_edge(5, 2, slot=1, output=0), "without cycles. Received: [2-5] -> "),
        (lambda g: g.remove_edge(2, 3), "operands and attributes that tanh takes, for node 3"),
        (lambda g: g.add_node("new"), "the op of node 'new', as op= or node=. Received: None"),
        (lambda g: g.add_node("new", op="soup"), "the op of node 'new'"),
        (lambda g: g.add_edge(2, 3, slot=2, output=0), r"operands \[0, 2\]"),
        (lambda g: g.graph["outputs"].update(z=(99, 0)), "nodes for all outputs. Received: none for 'z'"),
        (lambda g: g.remove_node(0), "operands and attributes that relu takes"),
        (lambda g: g.add_edge(2, 5, slot=2, output=7), "a result of node 2. Received: number 7"),
    ],
)
def test_what_is_no_graph_is_refused(change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Graph.from_nx(broken(change))


@settings(max_examples=15)
@given(graphs())
def test_a_pass_on_networkx_runs_like_any_other(graph: Graph) -> None:
    """Ours keeps what results need, as `live` says; the pipeline goes on with what it gives."""
    chain = (passes.Pass("prune", networks.prune), *passes.pipeline(Plain(), frozen=False))
    inputs, variables = values(graph, 3, 0)
    right = interpreter.run(graph, 3, inputs, variables, "float64")
    pruned = networks.prune(graph)
    assert [n.op.name for n in pruned.nodes.values()] == [n.op.name for n in graph.live()]
    (made,) = passes.run_passes(graph, chain)
    got = interpreter.run(made, 3, inputs, variables, "float64")
    for name, y in right.outputs.items():
        np.testing.assert_allclose(got.outputs[name], y, rtol=1e-9, atol=1e-10)


def test_an_error_in_a_pass_on_networkx_names_the_pass() -> None:
    @networks.on_networkx
    def forget(graph: nx.MultiDiGraph) -> None:
        graph.remove_nodes_from(list(graph))

    with pytest.raises(InputError, match="nodes for all inputs"):
        passes.run_passes(diamond(), [passes.Pass("forget", forget)])

    @networks.on_networkx
    def stumble(graph: nx.MultiDiGraph) -> None:
        raise KeyError("soup")

    with pytest.raises(passes.PassError, match="pass stumble: KeyError: 'soup'"):
        passes.run_passes(diamond(), [passes.Pass("stumble", stumble)])


def test_the_form_of_a_graph() -> None:
    graph = diamond()
    assert [n.op.name for n in networks.critical_path(graph)][1:] in (
        ["relu", "tanh", "mul", "add"],
        ["relu", "exp", "mul", "add"],
    )
    heavy = networks.critical_path(graph, lambda node: 5.0 if node.op.name == "exp" else 1.0)
    assert [n.op.name for n in heavy][1:] == ["relu", "exp", "mul", "add"]
    assert networks.width(graph) == 2
    assert [n.op.name for n in networks.bottlenecks(graph)] == ["input", "relu", "mul", "add"]
    assert networks.summary(graph) == "5 operations, critical path 4, width 2, 3 on every way"


def test_a_graph_of_variables_alone_has_no_way_from_inputs() -> None:
    graph = Graph("still")
    graph.outputs["y"] = (Tensor(graph, graph.variable("w", TensorType((2,)))) * 2.0).value
    assert networks.bottlenecks(graph) == [] and networks.summary(graph).startswith("1 operations")


def test_a_picture_has_every_node_and_every_layer() -> None:
    graph = diamond()
    text = networks.dot(graph)
    assert text.startswith('digraph "diamond" {') and text.count("{") == text.count("}")
    assert 'label="look"' in text and text.count(" -> ") == sum(len(n.inputs) for n in graph.live())
    assert all(f'"{node.id}" [label="{node.op.name}' in text for node in graph.live())
    scan = counting()
    inner = networks.dot(scan)
    assert inner.count("style=dashed") == sum(len(n.regions) for n in scan.live()) > 0


def test_networkx_is_imported_only_where_it_is_asked_for() -> None:
    script = """
import sys, numpy as np
from kcompile import keras
model = keras.Sequential([keras.layers.LSTM(2, input_shape=(3, 2)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.ones((4, 3, 2)), np.ones((4, 1)), verbose=0)
assert "networkx" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_values_of_a_node_are_told_apart() -> None:
    """By the edges' attribute `output`."""
    graph = counting()
    node = next(n for n in graph.live() if n.regions)
    results = [Value(node.id, i) for i in range(len(node.types))]
    graph.outputs = {f"y{i}": v for i, v in enumerate(reversed(results))}
    same(graph, Graph.from_nx(graph.nx))

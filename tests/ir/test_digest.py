"""Fingerprints name what a graph computes: every attribute, constant and body counts, names do not."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir.draws import DRAWN, cases, graph_of
from ir.scans import counting

import kcompile
from kcompile.codegen import image
from kcompile.ir import ops, passes
from kcompile.ir.contraction import Contraction
from kcompile.ir.digest import content, fingerprint
from kcompile.ir.graph import Graph, Literal, Node
from kcompile.ir.op import OPS
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import layers, models
from kcompile.testing.graphs import graphs


def others_of_any_type(value: Any) -> Iterator[Any]:
    """Values that differ from this one in one place each."""
    if isinstance(value, bool):
        yield from (not value, int(value))
    elif isinstance(value, int):
        yield from (value + 1, float(value))
    elif isinstance(value, float):
        yield from (math.nextafter(value, math.inf), -value)
    elif isinstance(value, str):
        yield value + "'"
    elif value is None:
        yield 0
    elif isinstance(value, bytes):
        yield bytes([value[0] ^ 1]) + value[1:] if value else b"\0"
    elif isinstance(value, tuple):
        yield (*value, 0)
        yield from (
            (*value[:i], new, *value[i + 1 :]) for i, v in enumerate(value) for new in others_of_any_type(v)
        )
    else:
        assert dataclasses.is_dataclass(value), f"what differs from {value!r}?"
        for f in dataclasses.fields(value):
            for new in others_of_any_type(getattr(value, f.name)):
                other = copy.copy(value)  # also what its checks would not let through
                object.__setattr__(other, f.name, new)
                yield other


def others_alike(value: Any) -> Iterator[Any]:
    """Values of the same type (or a number for None) and the same length that differ in one place each."""
    if isinstance(value, bool):
        yield not value
    elif value is None or isinstance(value, int):
        yield (value or 0) + 1
    elif isinstance(value, tuple):
        yield from (
            (*value[:i], new, *value[i + 1 :]) for i, v in enumerate(value) for new in others_alike(v)
        )
    elif dataclasses.is_dataclass(value):
        for f in dataclasses.fields(value):
            for new in others_alike(getattr(value, f.name)):
                other = copy.copy(value)
                object.__setattr__(other, f.name, new)
                if not isinstance(other, Contraction) or names_its_variables(other):
                    yield other
    else:
        yield from others_of_any_type(value)


def names_its_variables(spec: Contraction) -> bool:
    terms = [term for access in (spec.a, spec.b) for affine in access.index for term in affine.terms]
    return all(number < len(spec.m + spec.k + spec.j) for number, _ in terms)


def with_node(graph: Graph, node: Node) -> Graph:
    """The graph with another node in one place."""
    made = Graph(graph.name)
    made.nodes = {**graph.nodes, node.id: node}
    for table in ("inputs", "variables", "outputs", "updates"):
        setattr(made, table, getattr(graph, table))
    return made


def changed_graphs(
    graph: Graph, others: Callable[[Any], Iterator[Any]] = others_of_any_type
) -> Iterator[Graph]:
    """The graph with one attribute of one live node changed; names of inputs are no attributes."""
    for node in graph.live():
        for name, value in node.attrs.items():
            if name != "name":
                for new in others(value):
                    yield with_node(graph, dataclasses.replace(node, attrs={**node.attrs, name: new}))
        for i, region in enumerate(node.regions):
            for made in changed_graphs(region, others):
                regions = (*node.regions[:i], made, *node.regions[i + 1 :])
                yield with_node(graph, dataclasses.replace(node, regions=regions))


@pytest.mark.parametrize("name", DRAWN)
@settings(max_examples=10)
@given(data=st.data())
def test_each_attribute_of_each_op_counts(name: str, data: st.DataObject) -> None:
    graph = graph_of(OPS[name], data.draw(cases(OPS[name])))[0]
    known = fingerprint(graph)
    assert known == fingerprint(graph)
    changed = 0
    for other in changed_graphs(graph):
        assert fingerprint(other) != known, other.text()
        changed += 1
    assert changed >= sum(len(node.attrs) for node in graph.live()) - len(graph.inputs)


def recurrent(activation: str = "tanh", cell: type = layers.LSTM, **options: Any) -> models.Model:
    return models.Sequential([cell(5, activation=activation, input_shape=(6, 3), **options), layers.Dense(2)])


def predict(model: models.Model) -> Graph:
    return kcompile.compile(model).graph("predict")


def test_each_attribute_inside_a_loop_counts() -> None:
    for graph in (counting(), predict(recurrent())):
        known, changed = fingerprint(graph), 0
        for other in changed_graphs(graph):
            assert fingerprint(other) != known
            changed += 1
        assert changed > 50


def test_what_the_compiler_makes_has_a_fingerprint_too() -> None:
    """Groups, and contractions with their maps written out, are content like any other."""
    model = recurrent()
    model.compile("adam", "mse")
    for entry in ("predict", "train"):
        made = kcompile.compile(model).engine.compiled(entry)
        assert fingerprint(made.run) != fingerprint(made.after("simplify")[0]) != fingerprint(made.graph)


# ---------------------------------------------------------------- text says as much as a fingerprint


def check_text(graph: Graph) -> int:
    """Whether the text differs wherever the content does. Gives how many graphs were tried."""
    texts = [graph.text(), *(other.text() for other in changed_graphs(graph, others_alike))]
    assert texts[0] not in texts[1:]
    return len(texts) - 1


@pytest.mark.parametrize("name", DRAWN)
@settings(max_examples=10)
@given(data=st.data())
def test_each_attribute_of_each_op_is_in_the_text(name: str, data: st.DataObject) -> None:
    graph = graph_of(OPS[name], data.draw(cases(OPS[name])))[0]
    if OPS[name].contraction is not None:
        graph = passes.choose_algorithms(graph, lambda spec, often, dtype: 8)
    assert check_text(graph) >= len(graph.inputs)


def test_what_the_compiler_makes_is_whole_in_the_text() -> None:
    """Regions, panels, maps of contractions, constants."""
    model = recurrent()
    model.compile("adam", "mse")
    compiled = kcompile.compile(model)
    assert all(check_text(compiled.engine.compiled(entry).run) > 100 for entry in ("predict", "train"))


@settings(max_examples=60)
@given(first=graphs(), second=graphs(), data=st.data())
def test_graphs_of_one_text_have_one_fingerprint(first: Graph, second: Graph, data: st.DataObject) -> None:
    """Also where one is a little different: another result, another operand, a variable more."""
    node = data.draw(st.sampled_from([node for node in first.live() if node.inputs]))
    third = with_node(first, dataclasses.replace(node, inputs=node.inputs[::-1]))
    fourth, fifth = with_node(first, node), with_node(first, node)
    fourth.outputs = dict(reversed(first.outputs.items()))
    fifth.variables = dict(first.variables)
    fifth.variable("unread", TensorType((2,)))
    fifth.variables = dict(data.draw(st.permutations(list(fifth.variables.items()))))
    made = [first, second, third, fourth, fifth]
    for a in made:
        for b in made:
            assert a.text() != b.text() or fingerprint(a) == fingerprint(b)


def test_convolutions_of_other_dilation_print_otherwise() -> None:
    def text(dilation: int) -> str:
        x = layers.Input((20, 8))
        y = layers.Conv1D(16, 3, padding="same", dilation_rate=dilation, name="conv")(x)
        return kcompile.compile(models.Model(x, y)).engine.compiled("predict").run.text()

    assert text(1) != text(2)
    assert "#0[m0, m1 + k0 - 1?, k1]" in text(1) and "#0[m0, m1 + 2*k0 - 2?, k1]" in text(2)


def test_two_bodies_two_names() -> None:
    made = [
        fingerprint(predict(recurrent(a, cell, **options)))
        for cell in (layers.LSTM, layers.GRU, layers.SimpleRNN)
        for a in ("tanh", "relu", "sigmoid")
        for options in ({}, {"go_backwards": True}, {"use_bias": False})
    ]
    assert len(set(made)) == len(made)


def test_names_are_labels() -> None:
    """A model made anew has new automatic names, and the same code; so has one with other dead nodes."""
    first, second = recurrent(), recurrent()
    assert first.layers[0].name != second.layers[0].name
    for model in (first, second):
        model.compile("adam", "mse")
    for entry in ("predict", "train", "test"):
        a, b = (kcompile.compile(model).graph(entry) for model in (first, second))
        assert fingerprint(a) == fingerprint(b)

    def simple(dead: bool, name: str) -> Graph:
        graph = Graph(name)
        x = Tensor(graph, graph.input(name, TensorType((Batch(), 2))))
        if dead:
            _ = ops.exp(x)
        graph.outputs[name] = ops.tanh(x + 1.0).value
        return graph

    assert fingerprint(simple(False, "x")) == fingerprint(simple(True, "z"))


def pair(swap: Callable[[list[Any]], list[Any]]) -> Graph:
    graph = Graph("pair")
    x, y = (Tensor(graph, graph.input(name, TensorType((3,)))) for name in "xy")
    u, v = (Tensor(graph, graph.variable(name, TensorType((3,)))) for name in "uv")
    values = swap([x, y, u, v])
    graph.outputs = {"a": (values[0] - values[1]).value}
    graph.updates = {"v": (values[2] - values[3]).value}
    return graph


def test_places_count() -> None:
    """Which input, which variable, which output; what reads nothing of a variable has it in its table."""
    orders = [
        lambda v: v,
        lambda v: [v[1], v[0], v[2], v[3]],
        lambda v: [v[0], v[1], v[3], v[2]],
        lambda v: v[::-1],
    ]
    graphs = [pair(order) for order in orders]
    graphs += [pair(lambda v: v) for _ in range(3)]
    graphs[-3].outputs["b"] = graphs[-3].outputs["a"]
    graphs[-2].updates = {"u": graphs[-2].updates["v"]}
    graphs[-1].variables["w"] = graphs[-1].variable("w", TensorType((1,)))
    assert len(set(map(fingerprint, graphs))) == len(graphs)


def test_content_says_type_and_value() -> None:
    values = [
        0,
        0.0,
        -0.0,
        False,
        None,
        "0",
        "None",
        b"0",
        (0,),
        (0.0,),
        (False,),
        ((0,),),
        [0],
        (),
        "()",
        Batch(),
        Batch(2),
        np.float32(0),
        np.float64(0),
        math.nan,
        math.inf,
        Literal.of(np.zeros(1, "float32")),
        Literal.of(np.zeros(1, "int32")),
        Literal.of(np.zeros((1, 1), "float32")),
        Literal.of(-np.zeros(1, "float32")),
        (Literal.of(np.zeros(9, "float32")),),
        (Literal.of(np.ones(9, "float32")),),
    ]
    assert len({content(v) for v in values}) == len(values)


@pytest.mark.parametrize("value", [object(), {1, 2}, np.zeros(2), lambda: 0, (1, object()), int])
def test_what_has_no_content_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="is not defined"):
        content(value)


KEYS = """
import sys
import kcompile
from kcompile.codegen import image
from kcompile.codegen import targets
from kcompile.codegen.binary import bundle
from kcompile.keras import layers, models
for k in range(int(sys.argv[1])):  # what was made before does not matter
    kcompile.compile(models.Sequential([layers.GRU(k + 1, input_shape=(2, 3))])).graph("predict")
x = layers.Input((6, 3))
y = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
y = layers.Dropout(0.5)(layers.GRU(3, recurrent_dropout=0.1)(y))
model = models.Model(x, [layers.Dense(2, activation="softmax")(y), layers.Dense(1)(y)])
model.compile("adam", ["categorical_crossentropy", "mse"], metrics=["accuracy"])
compiled = kcompile.compile(model)
for entry in ("predict", "test", "train"):
    print(bundle.code_key(compiled.graph(entry), entry, entry != "train", targets.native()))
"""


def test_one_model_has_one_key_in_every_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", KEYS, before],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for before, seed in (("0", "0"), ("3", "1"), ("1", "77"))
    }
    assert len(found) == 1 and len(set(found.pop().split())) == 3


def test_scripts_find_it_under_its_older_name() -> None:
    assert image.fingerprint is fingerprint

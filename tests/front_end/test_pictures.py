"""Pictures of models: DOT as text, pydot's objects, and files that Graphviz draws."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from kcompile import keras3, tf_keras
from kcompile.keras import utils
from kcompile.keras.layers import Dense, GlobalMaxPooling1D, Input, TimeDistributed, add
from kcompile.keras.models import Model, Sequential
from kcompile.keras.utils.vis_utils import drawing, model_to_dot, plot_model


@pytest.fixture
def nested() -> Model:
    inner = Sequential([Dense(3, input_dim=4, name="one"), Dense(2, name="two")], name="inner")
    x, steps = Input((4,), name="x"), Input((5, 4), name="steps")
    largest = GlobalMaxPooling1D(name="largest")(TimeDistributed(inner, name="each")(steps))
    return Model([x, steps], add([inner(x), largest], name="sum"), name="outer")


def named(model: Any, **options: Any) -> tuple[set[str], set[tuple[str, str]]]:
    """The labels, and the edges between their first words, of all boxes."""
    made = drawing(model, **options)
    parts = [made, *made.inside]
    labels = {name: label for part in parts for name, label in part.labels.items()}
    short = {name: label.partition(":")[0] for name, label in labels.items()}
    return set(labels.values()), {(short[a], short[b]) for part in parts for a, b in part.edges}


def test_each_layer_is_a_node_and_each_tensor_an_edge(nested: Model) -> None:
    labels, edges = named(nested)
    assert labels == {
        "x: InputLayer",
        "steps: InputLayer",
        "each(inner): TimeDistributed(Sequential)",
        "inner: Sequential",
        "largest: GlobalMaxPooling1D",
        "sum: Add",
    }
    assert edges == {
        ("x", "inner"),
        ("steps", "each(inner)"),
        ("each(inner)", "largest"),
        ("inner", "sum"),
        ("largest", "sum"),
    }


def test_labels_tell_names_and_shapes_as_asked(nested: Model) -> None:
    labels, _ = named(nested, show_layer_names=False, show_shapes=True)
    assert "InputLayer\n|{input:|output:}|{{(None, 4)}|{(None, 4)}}" in labels
    assert "Add\n|{input:|output:}|{{[(None, 2), (None, 2)]}|{(None, 2)}}" in labels


def test_labels_tell_what_else_is_asked_for(tmp_path: Path) -> None:
    model = keras3.Sequential(
        [keras3.Input((3,)), keras3.layers.Dense(2, activation="relu", trainable=False)]
    )
    path = tmp_path / "m.dot"
    keras3.utils.plot_model(
        model, path, show_dtype=True, show_layer_activations=True, show_trainable=True, show_layer_names=False
    )
    assert "Dense|float32|relu|non-trainable" in path.read_text()


def test_models_inside_become_boxes(nested: Model) -> None:
    labels, edges = named(nested, expand_nested=True)
    assert {"one: Dense", "two: Dense", "each: TimeDistributed"} <= labels
    assert "inner: Sequential" not in labels
    assert {("one", "two"), ("two", "sum"), ("two", "largest"), ("steps", "each")} <= edges


def test_text_needs_no_library_and_no_program(nested: Model, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pydot", None)
    plot_model(nested, tmp_path / "model.dot", rankdir="LR", dpi=200)
    text = (tmp_path / "model.dot").read_text()
    assert text.startswith('digraph "outer" {') and 'rankdir="LR"' in text and 'dpi="200"' in text
    with pytest.raises(ImportError, match=r"kcompile\[plot\]"):
        model_to_dot(nested)
    with pytest.raises(OSError, match="graphviz"):
        plot_model(nested, str(tmp_path / "model.png"))
    assert os.listdir(tmp_path) == ["model.dot"]


def test_pydot_gets_the_same_graph(nested: Model) -> None:
    pydot = pytest.importorskip("pydot")
    made = model_to_dot(nested, show_shapes=True)
    assert isinstance(made, pydot.Dot) and len(made.get_edges()) == 5
    assert {node.get_name() for node in made.get_nodes()} >= set(drawing(nested).labels)
    inside = model_to_dot(nested, expand_nested=True).get_subgraphs()
    assert [len(box.get_edges()) for box in inside] == [2, 2]
    assert isinstance(model_to_dot(nested, subgraph=True), pydot.Cluster)


@pytest.mark.skipif(sys.platform == "win32", reason="a script stands for the program")
def test_graphviz_gets_the_text_and_the_format(nested: Model, tmp_path: Path, monkeypatch: Any) -> None:
    program = tmp_path / "bin" / "dot"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv[1])\nprint(sys.stdin.read())\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent))
    plot_model(nested, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text().startswith('-Tsvg\ndigraph "outer"')
    utils.plot_model(nested, tmp_path / "picture")
    assert (tmp_path / "picture").read_text().startswith("-Tpng")
    program.write_text(f'#!{sys.executable}\nimport sys\nsys.exit("no such format")\n')
    with pytest.raises(OSError, match="no such format"):
        plot_model(nested, tmp_path / "b.abc")
    assert not (tmp_path / "b.abc").exists()


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_a_picture_is_drawn(nested: Model, tmp_path: Path) -> None:
    tf_keras.utils.plot_model(nested, tmp_path / "model.png", show_shapes=True, expand_nested=True)
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_told(nested: Model) -> None:
    with pytest.raises(ValueError, match="not built"):
        drawing(Sequential([Dense(2)]))
    with pytest.raises(ValueError, match="a model"):
        drawing("model")
    with pytest.raises(ValueError, match="'TB'"):
        drawing(nested, rankdir="down")

"""Pictures of models: DOT as text, pydot's objects, and files that Graphviz draws."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.keras import utils
from kcompile.keras.callbacks import History
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
    made = model_to_dot(nested)
    assert made.to_string().startswith('digraph "outer" {') and made.create(format="dot").startswith(
        b"digraph"
    )
    made.write(tmp_path / "again.dot")
    with pytest.raises(OSError, match="graphviz"):
        plot_model(nested, str(tmp_path / "model.png"))
    assert sorted(os.listdir(tmp_path)) == ["again.dot", "model.dot"]


def test_pictures_are_drawn_here_where_graphviz_is_not(
    nested: Model, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pydot", None)
    plot_model(nested, tmp_path / "model.svg", show_shapes=True, expand_nested=True)
    picture = ElementTree.fromstring((tmp_path / "model.svg").read_text())
    texts = {each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"sum: Add", "input: [(None, 2), (None, 2)]", "output: (None, 2)", "one: Dense"} <= texts
    dashed = [r for r in picture.iter("{http://www.w3.org/2000/svg}rect") if r.get("stroke-dasharray")]
    assert len(dashed) == 3  # of the model that is called twice, with its input
    assert model_to_dot(nested)._repr_svg_() == model_to_dot(nested).create(prog="dot", format="svg").decode()
    wide, high = (model_to_dot(nested, rankdir=way).svg().split("viewBox='0 0 ")[1] for way in ("LR", "TB"))
    assert float(wide.split()[0]) > float(high.split()[0])


def test_notebooks_show_a_summary(nested: Model) -> None:
    text = nested._repr_html_()
    assert text is not None and "each (TimeDistributed)" in text and "&emsp;one (Dense)" in text
    assert "Total params: 23 (92.00 B)" in text and "Connected to" in text
    for keras in (tf_keras, keras3):
        chain = keras.Sequential([keras.layers.Dense(3)], name="a<b")
        assert chain._repr_html_() is None
        chain.build((None, 2))
        found = chain._repr_html_()
        assert (
            "a&lt;b" in found and '<td style="text-align: left">9</td>' in found and "Connected" not in found
        )


def trained() -> Any:
    model = Sequential([Dense(1, input_dim=2)])
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    return model.fit(x, y, epochs=3, validation_data=(x, y), verbose=0)


def test_a_history_is_a_chart(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    history = trained()
    chart = history.plot(to_file=tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text == chart._repr_svg_() + "\n"
    texts = [each.text for each in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
    assert {"loss", "val_loss", "epoch", "1", "3"} <= set(texts) and text.count("<polyline") == 4
    assert history.plot("loss").text.count("<polyline") == 2
    assert history.plot(["val_loss"]).text.count("<polyline") == 1
    with pytest.raises(ImportError, match=r"kcompile\[plot\]"):
        history.plot(to_file=tmp_path / "a.png")
    with pytest.raises(ValueError, match="'nothing'"):
        history.plot(["nothing"])
    with pytest.raises(ValueError, match="given to fit"):
        History().plot()
    history.history["loss"][1] = float("nan")
    history.history["odd"] = [[1.0], [2.0], [3.0]]
    assert history.plot().text.count("<circle") == 11


def test_matplotlib_draws_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    figure = trained().plot(to_file=tmp_path / "a.png")
    assert [len(axis.lines) for axis in figure.axes] == [2, 2]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


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

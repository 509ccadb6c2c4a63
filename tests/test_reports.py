"""Pages and pictures of models: boxes that stand apart, memory in its place, a page that loads nothing."""

from __future__ import annotations

import re
import runpy
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import kcompile
from kcompile import report_page
from kcompile.cli import main
from kcompile.ir.pictures import Box, drawn
from kcompile.keras import layers as L
from kcompile.keras.models import Model, Sequential

SVG = "{http://www.w3.org/2000/svg}"


def rectangles(text: str) -> list[tuple[float, float, float, float]]:
    """(left, top, right, bottom) of each box of a picture."""
    found = []
    for each in ElementTree.fromstring(text).iter(f"{SVG}rect"):
        x, y, width, height = (float(each.get(k, 0)) for k in ("x", "y", "width", "height"))
        found.append((x, y, x + width, y + height))
    return found


def apart(a: Any, b: Any) -> bool:
    return bool(a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1])


@pytest.mark.parametrize("direction", ["TB", "LR", "BT", "RL"])
def test_boxes_stand_apart_in_the_direction_that_is_asked_for(direction: str) -> None:
    generator = np.random.default_rng(3)
    boxes = {i: Box((f"name {i}", "x" * int(generator.integers(1, 30)))) for i in range(40)}
    edges = [(int(generator.integers(0, j)), j) for j in range(1, 40) for _ in range(2)]
    text = drawn(boxes, edges, direction, "a < b")
    found = rectangles(text)
    assert len(found) == 40 and all(apart(a, b) for a, b in combinations(found, 2))
    assert text.count("<path d='M") - 1 == len(set(edges)) and "a &lt; b" in text
    _, _, width, height = map(float, (ElementTree.fromstring(text).get("viewBox") or "").split())
    assert all(a >= 0 and b >= 0 and c <= width and d <= height for a, b, c, d in found)
    for a, b in edges:
        one, other = (found[b], found[a]) if direction in ("BT", "RL") else (found[a], found[b])
        assert one[2 + (direction in ("TB", "BT")) * 1] <= other[int(direction in ("TB", "BT"))]


def test_circles_and_nothing_at_all_are_drawn() -> None:
    assert (
        drawn({"a": Box(("a",)), "b": Box(("b",))}, [("a", "b"), ("b", "a"), ("a", "a")]).count("<rect") == 2
    )
    three = drawn({k: Box((k,)) for k in "abc"}, [("a", "b"), ("b", "c"), ("c", "a")])
    assert three.count("marker-start=") == 1 and three.count("marker-end=") == 2
    assert rectangles(drawn({}, [])) == []


@pytest.fixture(scope="module")
def model() -> Any:
    x = L.Input((12, 12, 1), name="image")
    y = L.Conv2D(4, 3, use_bias=False, name="conv")(x)
    y = L.Activation("relu", name="relu")(L.BatchNormalization(name="norm")(y))
    y = L.MaxPooling2D(name="pool")(y)
    y = L.concatenate([y, L.Conv2D(4, 3, padding="same", name="left<right")(y)], name="both")
    return Model(x, L.Dense(3, name="answer")(L.Flatten(name="flat")(y)), name="small & fine")


class Page(HTMLParser):
    """Counts of tags, and what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.loads += [f"{k}={v}" for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.loads += [f"{k}={v}" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_has_all_of_a_model_and_loads_nothing(model: Any) -> None:
    text = report_page.html(kcompile.compile(model), batch=2, rounds=1)
    page = Page()
    page.feed(text)
    assert page.open == [] and page.loads == [] and "url(http" not in text
    heads = re.findall("<h2>(.*?)</h2>", text)
    assert heads == [
        "Sizes",
        "Before: the graph as traced",
        "After: kernels",
        "Layers and their kernels",
        "Time against the machine",
        "Memory",
        "Accuracy beside the interpreter",
    ]
    assert "conv, norm, relu" in text and "left&lt;right" in text and "small &amp; fine" in text
    assert "ok." in text and text.count("<svg") == 4


def test_what_is_alive_at_once_has_memory_of_its_own() -> None:
    sizes = (9, 40, 7, 30, 3)
    chain = Sequential(
        [L.Dense(40, input_dim=9), *(L.Dense(n, activation="tanh") for n in sizes), L.Softmax()]
    )
    entry = kcompile.compile(chain).engine.compiled("predict").program.entries[-1]
    values = report_page.alive(entry, 3)
    assert [str(v.type) for v in values] == [f"float32[n, {n}]" for n in (40, *sizes)]
    assert [(v.first, v.last) for v in values] == [(i, i + 1) for i in range(6)]
    assert all(v.end <= entry.arena.at(3) for v in values)
    for a, b in combinations(values, 2):
        together = a.first <= b.last and b.first <= a.last
        assert not together or a.end <= b.start or b.end <= a.start


def test_loops_and_parts_of_concatenations_lie_in_the_arena(model: Any) -> None:
    loop = Sequential([L.LSTM(3, return_sequences=True, input_shape=(4, 2)), L.GRU(2), L.Dense(2)])
    for each in (model, loop):
        entry = kcompile.compile(each).engine.compiled("predict").program.entries[-1]
        values = report_page.alive(entry, 3)
        assert values and all(0 <= v.start < v.end <= entry.arena.at(3) for v in values)
        assert all(0 <= v.first <= v.last < len(entry.steps) for v in values)


def test_the_command_writes_a_page_or_a_picture(model: Any, tmp_path: Path, capsys: Any) -> None:
    model.save(tmp_path / "m.h5")
    picture = tmp_path / "m.svg"
    assert main(["report", str(tmp_path / "m.h5"), "-o", str(picture), "--target", "x86-64-v3"]) == 0
    text = picture.read_text(encoding="utf-8")
    assert "conv, norm, relu" in text and len(rectangles(text)) > 10
    assert capsys.readouterr().out == f"wrote {picture} ({len(text):,} bytes)\n"
    arguments = [
        "report",
        str(tmp_path / "m.h5"),
        "-o",
        str(tmp_path / "m.html"),
        "--batch",
        "2",
        "--rounds",
        "1",
    ]
    assert main([*arguments, "--target", "x86-64-v3"]) == 2
    assert "a name that ends in .svg" in capsys.readouterr().err
    assert main([*arguments, "--json"]) == 0 and '"bytes"' in capsys.readouterr().out


def test_large_graphs_are_drawn_by_layer(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_page, "MOST", 5)
    text = report_page.before_picture(kcompile.compile(model).graph(), {})
    assert "norm" in text and "7 operations" in text and "1 operation<" in text


def test_the_picture_of_the_readme_is_what_the_program_makes(root: Path) -> None:
    scope = runpy.run_path(str(root / "docs" / "picture.py"))
    assert scope["picture"]() + "\n" == (root / "docs" / "fusion.svg").read_text(encoding="utf-8")
    assert "docs/fusion.svg" in (root / "README.md").read_text(encoding="utf-8")

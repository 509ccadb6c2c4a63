"""Vintages are a table: nobody compares their names, and every line of it answers its question."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import kcompile
from kcompile.keras import layers, models
from kcompile.keras.semantics import TABLE, VINTAGES, Semantics, semantics, vintage_of_version

SOURCES = [
    path for path in sorted(Path(kcompile.__file__).parent.rglob("*.py")) if path.name != "semantics.py"
]


def _names_a_vintage(node: ast.AST) -> bool:
    return (isinstance(node, ast.Constant) and node.value in VINTAGES) or (
        isinstance(node, (ast.Tuple, ast.List, ast.Set)) and any(map(_names_a_vintage, node.elts))
    )


def _compares(node: ast.Compare) -> bool:
    """Names of packages are also such texts, and of styles."""
    return "vintage" in ast.unparse(node) and any(map(_names_a_vintage, (node.left, *node.comparators)))


def test_no_code_compares_names_of_vintages() -> None:
    found = [
        f"{path.name}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare) and _compares(node)
    ]
    assert found == []


def test_the_scan_sees_comparisons() -> None:
    for text in ('x.vintage == "keras2"', 'vintage in ("keras3", "tf_keras")', '"keras2" != y.vintage'):
        (node,) = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Compare))
        assert _compares(node)


def test_every_question_has_an_answer_of_each_vintage() -> None:
    fields = {f.name for f in dataclasses.fields(Semantics)} - {"name"}
    assert set(TABLE) == fields
    kinds = get_type_hints(Semantics)
    for question, answers in TABLE.items():
        allowed: Any = get_args(kinds[question]) or (True, False)
        assert len(answers) == len(VINTAGES) and all(answer in allowed for answer in answers), question
        assert len(set(answers)) > 1, f"{question}: all vintages agree, so it is none"


@pytest.mark.parametrize("vintage", VINTAGES)
def test_layers_and_models_keep_their_vintage(vintage: str) -> None:
    inputs = layers.Input((3, 2))
    outputs = layers.Bidirectional(layers.LSTM(2, vintage=vintage), vintage=vintage)(inputs)
    outputs = layers.Dense(2, activation="hard_sigmoid", vintage=vintage)(outputs)
    again = models.model_from_config(
        {"class_name": "Model", "config": models.Model(inputs, outputs, vintage=vintage).get_config()}
    )
    found = [again, *again.layers[1:], again.layers[1].layer, again.layers[1].forward_layer.cell]
    assert {part.vintage for part in found} == {vintage}
    assert {part.semantics for part in found} == {semantics(vintage)}


@pytest.mark.parametrize(
    ("version", "tf", "expected"),
    [
        ((1, 2, 2), False, "keras2.2"),
        ((2, 2, 4), False, "keras2.2"),
        ((2, 3, 1), False, "keras2"),
        ((2, 2, 4), True, "tf_keras2.10"),
        ((2, 10), True, "tf_keras2.10"),
        ((2, 11), True, "tf_keras"),
        ((2, 21), True, "tf_keras"),
        ((3, 0), False, "keras3"),
    ],
)
def test_vintages_of_versions(version: tuple[int, ...], tf: bool, expected: str) -> None:
    assert vintage_of_version(version, tf) == expected

"""The machine model stands in one place, and says of every number what it counts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from kcompile.codegen import cost as machine_model
from kcompile.ir import cost as of_passes

PACKAGE = Path(machine_model.__file__).parents[1]
# Numbers with names elsewhere, which decide no size: facts of formats and of CUDA, and marks.
FACTS = {
    "codegen/contraction/blocking.py": {"FLOAT"},
    "codegen/gpu/emission.py": {"WIDEST"},
    "codegen/gpu/evaluate.py": {"NOBODY", "MANY", "MOST_BLOCKS", "MOST_THREADS", "TOGETHER"},
    "codegen/gpu/package.py": {"_APART"},
    "ir/passes/check_indices.py": {"_SHIFT"},
    "ir/passes/quantize_products.py": {"SIGNED"},
}
ROOMS = ("codegen/contraction", "codegen/cpu", "codegen/gpu", "codegen/groups", "ir/passes")


def is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple):
        return bool(node.elts) and all(map(is_number, node.elts))
    if isinstance(node, ast.BinOp):
        return is_number(node.left) and is_number(node.right)
    if isinstance(node, ast.UnaryOp):
        return is_number(node.operand)
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def numbers(path: Path) -> Iterator[tuple[str, int]]:
    """(name, line) of each number that has a name in a module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and is_number(node.value):
            (target,) = node.targets
            for name in target.elts if isinstance(target, ast.Tuple) else (target,):
                assert isinstance(name, ast.Name)
                yield name.id, node.lineno


@pytest.mark.parametrize("module", [machine_model, of_passes], ids=["codegen", "ir"])
def test_every_number_says_what_it_counts(module):
    path = Path(module.__file__)
    lines = path.read_text(encoding="utf-8").splitlines()
    found = dict(numbers(path))
    assert len(found) > 10
    assert [name for name, line in found.items() if "  # " not in lines[line - 1]] == []


@pytest.mark.parametrize("room", ROOMS)
def test_what_code_is_chosen_by_stands_in_the_model_alone(room):
    elsewhere = {
        path.relative_to(PACKAGE).as_posix(): {name for name, _ in numbers(path)}
        for path in sorted((PACKAGE / room).glob("*.py"))
    }
    facts = {path: names for path, names in FACTS.items() if path.startswith(room)}
    assert {path: names for path, names in elsewhere.items() if names} == facts

"""The tests that docs/bad_input.md names are there, and each row names some."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def test_each_row_has_its_tests() -> None:
    rows = [
        line for line in (ROOT / "docs" / "bad_input.md").read_text().splitlines() if line.startswith("|")
    ]
    missing = []
    for row in rows[2:]:
        named = NAMED.findall(row)
        assert named, row
        for file, test in named:
            path = ROOT / "tests" / file
            there = ast.parse(path.read_text()).body if path.exists() else []
            if test not in {node.name for node in there if isinstance(node, ast.FunctionDef)}:
                missing.append(f"{file}::{test}")
    assert not missing

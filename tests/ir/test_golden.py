"""What each pass makes of a small graph, as text that people have read."""

from __future__ import annotations

import pytest
from ir import golden


def test_every_pass_of_every_pipeline_has_a_golden_text() -> None:
    assert golden.names() == set(golden.EXAMPLES)
    assert {path.stem for path in golden.FOLDER.glob("*.txt")} == set(golden.EXAMPLES)


@pytest.mark.parametrize("name", golden.EXAMPLES)
def test_before_and_after(name: str) -> None:
    """Where a difference is meant: `python tests/ir/golden.py`, and read what it changed."""
    assert golden.text(name) == (golden.FOLDER / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", golden.EXAMPLES)
def test_a_golden_graph_is_changed_by_its_pass(name: str) -> None:
    before, after = golden.text(name).split(f"\n\n---- after {name} ----\n\n")
    assert before != after.rstrip()

"""The code of eleven models is what it was: see `replay.py` for what to do where it should not be."""

from __future__ import annotations

import json

import pytest
from codegen import replay

from kcompile.codegen import loops
from kcompile.codegen.loops import Buffer, show


def test_eleven_models_are_on_record() -> None:
    record = json.loads(replay.RECORD.read_text())
    assert list(record) == list(replay.MODELS) and len(record) == 11


@pytest.mark.parametrize("name", replay.MODELS)
def test_the_code_is_what_it_was(name: str) -> None:
    record, made = json.loads(replay.RECORD.read_text())[name], replay.digests(name)
    changed = {
        case: what
        for case, now in made.items()
        for what, same in (("loops", now[0] == record[case][0]), ("instructions", now == record[case]))
        if not same
    }
    assert made.keys() == record.keys() and not changed, "see tests/codegen/replay.py"


def test_what_a_statement_shares_is_written_once() -> None:
    """Written as a tree, forty doublings are longer than any memory."""
    x, y = Buffer("x", "float32"), Buffer("y", "float32")
    value: loops.Expr = loops.load(x, loops.Var("i"))
    for _ in range(40):
        value = value * value
    lines = show.statements((loops.store(y, 0, value),), "  ")
    assert lines[-1].startswith("  y[0] = (_") and len("".join(lines)) < 4000
    names = {"_" + line.split(" = ")[0].strip("_ ") for line in lines[:-1]}
    assert len(names) == len(lines) - 1 and all(f"{name} * {name}" in "".join(lines) for name in names)

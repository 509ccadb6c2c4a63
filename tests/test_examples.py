"""The examples run as they are, on less work, and reach what they promise."""

from __future__ import annotations

import runpy


def main_of(root, name):
    return runpy.run_path(str(root / "examples" / name))["main"]


def test_mlp(root, capsys):
    assert main_of(root, "mlp.py")(epochs=10) > 0.9


def test_shared_layer(root, capsys):
    assert main_of(root, "shared_layer.py")(epochs=8) > 0.9
    assert "amplitude" in capsys.readouterr().out


def test_every_example_is_tested(root):
    tested = {"mlp.py", "shared_layer.py"}
    assert {path.name for path in (root / "examples").glob("*.py")} == tested

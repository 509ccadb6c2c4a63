"""The examples run as they are, on less work, and reach what they promise."""

from __future__ import annotations

import runpy

import pytest


def main_of(root, name):
    return runpy.run_path(str(root / "examples" / name))["main"]


def test_mlp(root, capsys):
    assert main_of(root, "mlp.py")(epochs=10) > 0.9


def test_shared_layer(root, capsys):
    assert main_of(root, "shared_layer.py")(epochs=8) > 0.9
    assert "amplitude" in capsys.readouterr().out


def test_export_c(root, capsys):
    pytest.importorskip("ziglang")  # links for all targets
    assert main_of(root, "export_c.py")(epochs=2) == 1.0
    assert "DIFFERENT" not in capsys.readouterr().out


def test_quantize(root, capsys):
    floats, whole = main_of(root, "quantize.py")(epochs=4)
    assert floats > 0.85 and whole > floats - 0.02
    assert "same class" in capsys.readouterr().out


def test_custom_layer(root, capsys):
    assert main_of(root, "custom_layer.py")(epochs=10) < 0.5
    assert "Ripples" in capsys.readouterr().out


def test_endless_images(root, capsys):
    accuracy = main_of(root, "endless_images.py")
    assert accuracy(epochs=6) > 0.9
    assert accuracy(epochs=1, workers=0) == accuracy(epochs=1, workers=2)


def test_tests_of_a_layer(root):
    runpy.run_path(str(root / "examples" / "test_a_layer.py"))["test_gate"]()


def test_every_example_is_tested(root):
    tested = {
        "mlp.py",
        "custom_layer.py",
        "shared_layer.py",
        "export_c.py",
        "quantize.py",
        "test_a_layer.py",
        "endless_images.py",
    }
    assert {path.name for path in (root / "examples").glob("*.py")} == tested

"""The examples run as they are, on less work, and reach what they promise."""

from __future__ import annotations

import runpy
import subprocess

import gallery
import pytest

from kcompile.parallel.communicator import Alone


def main_of(root, name):
    return runpy.run_path(str(root / "examples" / name))["main"]


def printed(capsys, name):
    """What an example has printed, which ends as the page of the examples says."""
    output = capsys.readouterr().out
    assert gallery.ends_as_told(name, output), output
    return output


def test_mlp(root, capsys):
    assert main_of(root, "mlp.py")(epochs=10) > 0.9
    printed(capsys, "mlp.py")


def test_shared_layer(root, capsys):
    assert main_of(root, "shared_layer.py")(epochs=8) > 0.9
    assert "amplitude" in printed(capsys, "shared_layer.py")


def test_export_c(root, capsys):
    pytest.importorskip("ziglang")  # links for all targets
    assert main_of(root, "export_c.py")(epochs=2) == 1.0
    assert "DIFFERENT" not in printed(capsys, "export_c.py")


def test_web_page(root, capsys, tmp_path):
    pytest.importorskip("ziglang")
    found = main_of(root, "web_page.py")(epochs=3, folder=tmp_path)
    assert {"index.html", "page.mjs", "digits.mjs", "model"} <= {path.name for path in tmp_path.iterdir()}
    if found is None:
        pytest.skip("needs node")
    same, taught, accuracy = found
    assert same == 1.0 and taught == "7" and accuracy > 0.8
    printed(capsys, "web_page.py")
    subprocess.run(["node", "--check", tmp_path / "page.mjs"], check=True)


def test_large_file(root, capsys):
    once, accuracy = main_of(root, "large_file.py")(rows=4000, epochs=4)
    assert once and accuracy > 0.8
    printed(capsys, "large_file.py")


def test_resume(root, capsys):
    assert main_of(root, "resume.py")(epochs=3, kills=1)
    printed(capsys, "resume.py")


def test_quantize(root, capsys):
    floats, whole = main_of(root, "quantize.py")(epochs=4)
    assert floats > 0.85 and whole > floats - 0.02
    assert "same class" in printed(capsys, "quantize.py")


def test_custom_layer(root, capsys):
    assert main_of(root, "custom_layer.py")(epochs=10) < 0.5
    assert "Ripples" in printed(capsys, "custom_layer.py")


def test_endless_images(root, capsys):
    accuracy = main_of(root, "endless_images.py")
    assert accuracy(epochs=6) > 0.9
    printed(capsys, "endless_images.py")
    assert accuracy(epochs=1, workers=0) == accuracy(epochs=1, workers=2)


def test_data_parallel(root, capsys):
    """By one process here; tests/parallel has more."""
    assert main_of(root, "data_parallel.py")(epochs=4, communicator=Alone()) > 0.8
    printed(capsys, "data_parallel.py")


def test_tests_of_a_layer(root):
    runpy.run_path(str(root / "examples" / "test_a_layer.py"))["test_gate"]()


def test_every_example_is_on_the_page_and_tested(root):
    tested = {
        "mlp.py",
        "custom_layer.py",
        "shared_layer.py",
        "export_c.py",
        "quantize.py",
        "test_a_layer.py",
        "endless_images.py",
        "web_page.py",
        "data_parallel.py",
        "large_file.py",
        "resume.py",
    }
    assert {path.name for path in gallery.EXAMPLES.glob("*.py")} == tested
    found = {path.relative_to(gallery.EXAMPLES).as_posix() for path in gallery.EXAMPLES.rglob("*.py")}
    assert set(gallery.endings()) == found


def test_another_ending_is_found():
    assert gallery.ends_as_told("mlp.py", "...\ntest loss 1e-3, accuracy 1\n")
    assert not gallery.ends_as_told("mlp.py", "test loss 0.1, accuracy nan")

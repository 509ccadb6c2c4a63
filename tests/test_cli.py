"""The command line: exit status, one clean message for an error, each command on a model."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import kcompile
from kcompile import cli, commands, keras
from kcompile.codegen import targets
from kcompile.keras import layers
from kcompile.stages import STAGES
from kcompile_runtime import artifact, machines


def run(capsys, *arguments):
    """(exit status, stdout, stderr) of a command."""
    try:
        status = cli.main([str(a) for a in arguments])
    except SystemExit as stop:  # argparse
        status = stop.code
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture(scope="module")
def model():
    return keras.Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(6, 6, 1), name="look"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="decide"),
        ]
    )


@pytest.fixture
def saved(model, monkeypatch, tmp_path):
    """A path that loads as the model. What `kcompile.load` reads is tested where it is written."""
    path = tmp_path / "model.json"
    path.write_text("{}")
    monkeypatch.setattr(kcompile, "load", lambda path, weights, isolated: model, raising=False)
    return path


@pytest.fixture
def images(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).random((5, 6, 6, 1), dtype="float32"))
    return path


# ---------------------------------------------------------------- arguments and errors


@pytest.mark.parametrize("command", ["demo", "build", "quantize", "predict", "verify", "show", "inspect"])
def test_help(capsys, command):
    status, out, _ = run(capsys, command, "--help")
    assert status == 0 and out.startswith(f"usage: kcompile {command}")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["compile"],
        ["show", "m.json", "--stage", "bytes"],
        ["demo", "--epochs", "0"],
        ["build", "m.json"],
        ["predict", "m.json"],
        ["quantize", "m.json"],
    ],
)
def test_wrong_arguments(capsys, arguments):
    status, out, err = run(capsys, *arguments)
    assert status == 2 and out == "" and "usage: kcompile" in err


def test_no_command_gives_the_list_of_them(capsys):
    assert "bench        where the time" in run(capsys)[2]


def one_message(result, *expected):
    status, out, err = result
    assert (status, out) == (2, "")
    assert err.startswith("kcompile: error: ") and err.count("\n") == 1 and "Traceback" not in err
    for text in expected:
        assert text in err


def test_missing_file(capsys, tmp_path):
    one_message(run(capsys, "show", tmp_path / "none.json"), "no such model file", "none.json")


def test_commands_that_want_a_model_say_so_for_a_library(capsys, tmp_path):
    for command in (["show"], ["verify"], ["build", "-o", "x.so"]):
        one_message(run(capsys, *command, tmp_path / "a.so"), "a built library", "predict, inspect")
    one_message(run(capsys, "inspect", "a.so", "--weights", "w.npz"), "leave out --weights")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"<html>"])
def test_input_that_is_no_array(capsys, saved, tmp_path, content):
    path = tmp_path / "bad.npy"
    path.write_bytes(content)
    one_message(run(capsys, "predict", saved, "--input", path), "bad.npy", "expected a .npy file")


def test_input_of_objects_is_never_unpickled(capsys, saved, tmp_path):
    path = tmp_path / "objects.npy"
    np.save(path, np.array([print], dtype=object), allow_pickle=True)
    one_message(run(capsys, "predict", saved, "--input", path), "objects.npy")


def test_internal_errors_are_told_apart(capsys, monkeypatch, saved):
    def broken(path, weights, isolated):
        raise KeyError("slot\x1b[31m")

    monkeypatch.setattr(kcompile, "load", broken, raising=False)
    status, _, err = run(capsys, "show", saved)
    assert (status, err) == (3, "kcompile: internal error, KeyError: 'slot\\x1b[31m'\n")
    monkeypatch.setenv("KC_DEBUG", "1")
    with pytest.raises(KeyError):
        cli.main(["show", str(saved)])


def test_messages_cannot_steer_the_terminal():
    assert cli.printable_lines("layer \x1b[2Jdense\r\nnext é") == "layer \\x1b[2Jdense\\r\nnext é"


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize("stage", STAGES)
def test_show(capsys, saved, stage):
    status, out, _ = run(capsys, "show", saved, "--stage", stage)
    assert status == 0 and len(out.splitlines()) > 3
    if stage in ("graph", "passes", "loops"):
        assert "look" in out and "decide" in out


def test_predict_prints_or_writes(capsys, saved, model, images, tmp_path):
    status, out, _ = run(capsys, "predict", saved, "--input", images)
    assert status == 0 and len(out.splitlines()) == 5
    path = tmp_path / "y.npy"
    status, out, _ = run(capsys, "predict", saved, "--input", images, "--output", path)
    assert status == 0 and str(path) in out
    assert np.array_equal(np.load(path), kcompile.compile(model).predict(np.load(images)))
    one_message(
        run(capsys, "predict", saved, "--input", images, "--output", "a", "--output", "b"),
        "the model has 1 output(s)",
        "Received: 2",
    )


def test_verify(capsys, saved, images):
    for arguments in ([], ["--input", images]):
        status, out, _ = run(capsys, "verify", saved, *arguments)
        assert status == 0 and "look" in out and "decide" in out


def test_verify_fails_with_status_1(capsys, saved, monkeypatch):
    class Report:
        ok = False

        def text(self):
            return "look differs"

    class Compiled:
        def verify(self, x):
            return Report()

    monkeypatch.setattr(kcompile, "compile", lambda model, **options: Compiled())
    assert run(capsys, "verify", saved) == (1, "look differs\n", "")


def test_inspect_a_model(capsys, saved):
    status, out, _ = run(capsys, "inspect", saved)
    assert status == 0 and "look (Conv2D)" in out and "Total params" in out


def test_build_then_inspect_and_predict(capsys, saved, model, images, tmp_path):
    library, result = tmp_path / "out.so", tmp_path / "y.npy"
    status, out, _ = run(capsys, "build", saved, "-o", library)
    assert status == 0 and "out.so" in out and (tmp_path / "out.h").is_file()
    status, out, _ = run(capsys, "inspect", library)
    assert status == 0 and re.search(r"inputs +\S+: float32 \(n, 6, 6, 1\)\n", out)
    assert re.search(r"runs here +yes\n", out)
    status, _, _ = run(capsys, "predict", library, "--input", images, "--output", result)
    assert status == 0
    assert np.array_equal(np.load(result), kcompile.compile(model).predict(np.load(images)))


def test_quantize_tells_of_accuracy_and_writes_a_library(capsys, saved, model, images, tmp_path):
    library, labels = tmp_path / "out.so", tmp_path / "y.npy"
    np.save(labels, kcompile.compile(model).predict(np.load(images)).argmax(1))
    given = ["quantize", saved, "--samples", images]
    status, out, _ = run(capsys, *given, "--labels", labels, "-o", library, "--skip", "decide")
    assert status == 0 and re.search(r"look +int8", out) and re.search(r"decide +float32: skipped", out)
    assert "in float32 100.00%" in out and "out.so" in out
    assert run(capsys, "predict", library, "--input", images)[0] == 0
    status, out, _ = run(capsys, *given, "--percentile", "99")
    assert status == 0 and re.search(r"decide +int8", out)
    one_message(run(capsys, *given, "--target", "wasm32"), "-o")
    one_message(run(capsys, *given, "-o", tmp_path / "out.so", "--target", "wasm32"), ".wasm")
    one_message(run(capsys, *given, "--skip", "none"), "look")


@pytest.mark.parametrize(
    ("target", "needs"),
    [
        ("aarch64", r"asimd.*\n.*no: made for aarch64, and this machine is x86_64"),
        ("riscv64", r"a, c, d, f, m, v.*\n.*no: made for riscv64, and this machine is x86_64"),
        ("wasm32", r"simd128.*\n.*no: a WebAssembly module, which runs in a browser or in Node"),
        ("cortex-m4", r"dsp, fpv4-sp-d16.*\n.*no: an object for programs without an operating system"),
    ],
)
def test_inspect_what_runs_elsewhere(capsys, saved, monkeypatch, images, tmp_path, target, needs):
    """Without a look at its code, and whatever its name."""
    monkeypatch.setattr(machines.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(artifact.ctypes, "CDLL", lambda name: pytest.fail("its code was loaded"))
    library = tmp_path / {"wasm32": "out.wasm", "cortex-m4": "out.o"}.get(target, "out.so")
    assert run(capsys, "build", saved, "-o", library, "--target", target)[0] == 0
    for path in (library, tmp_path / "model.bin"):
        if not path.exists():
            library.rename(path)
        status, out, _ = run(capsys, "inspect", path)
        assert status == 0 and re.search(rf"target +{target} \(.*\nneeds +.*{needs}", out)
        assert re.search(r"inputs +\S+: float32 \(n, 6, 6, 1\)\noutputs +\S+: float32 \(n, 3\)", out)
        line = re.search(r"bytes +([\d,]+): ([\d,]+) of code, ([\d,]+) of weights", out)
        size, code, data = (int(text.replace(",", "")) for text in line.groups())
        assert size == path.stat().st_size and 1000 < code < size and 1000 < data < size - code
    one_message(
        run(capsys, "predict", tmp_path / "model.bin", "--input", images),
        "model.bin",
        needs.rpartition("no: ")[2][:20],
    )
    one_message(run(capsys, "show", tmp_path / "model.bin"), "a built library")


def test_build_wants_the_suffix_of_the_target(capsys, saved, tmp_path):
    assert commands.SUFFIXES[".o"] == tuple(n for n in targets.NAMES if targets.named(n).is_bare)
    for name, target, suffix, right in (
        ("m.wasm", "native", ".wasm", "wasm32"),
        ("m.so", "wasm32", ".wasm", "wasm32"),
        ("m.so", "cortex-m4", ".o", "cortex-m4 or cortex-m7"),
        ("m.o", "native", ".o", "cortex-m4 or cortex-m7"),
    ):
        given = ["build", saved, "-o", tmp_path / name, "--target", target]
        one_message(run(capsys, *given), suffix, f"--target {right}")


def test_isolated(capsys, monkeypatch, tmp_path, model):
    given = []
    model.save(tmp_path / "m.keras")
    load = kcompile.load
    monkeypatch.setattr(
        kcompile, "load", lambda path, weights, **o: given.append(o) or load(path, **o), raising=False
    )
    status, out, _ = run(capsys, "inspect", "--isolated", tmp_path / "m.keras")
    assert status == 0 and "look (Conv2D)" in out and given == [{"isolated": True}]
    one_message(run(capsys, "inspect", "a.so", "--isolated"), "leave out")


def test_a_short_demo(capsys):
    status, out, _ = run(capsys, "demo", "--epochs", "1")
    assert status == 0 and "at least 0.5" in out and out.count("ok  ") == 3


def test_a_demo_of_few_images(capsys):
    """As processors that are emulated run it."""
    status, out, err = run(capsys, "demo", "--epochs", "1", "--images", "480", "--json")
    assert status == 0 and "Training on 480 images" in err
    answer = json.loads(out)
    assert answer["ok"] and [check["holds"] for check in answer["checks"]] == [True] * 3
    assert "at least 0.2" in err and err.count("ok  ") == 3


def test_demo(capsys, tmp_path):
    status, out, _ = run(capsys, "demo", "--keep", tmp_path)
    assert status == 0 and "FAIL" not in out and out.count("ok  ") == 3
    assert {path.name for path in tmp_path.iterdir()} == {"model.so", "model.h"}

"""What commands answer to programs: JSON, exit statuses, records of the log, completion."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys

import numpy as np
import pytest

import kcompile
from kcompile import cli, keras
from kcompile.keras import layers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, what it is fed, a library of it and labels."""
    made = tmp_path_factory.mktemp("answers")
    model = keras.Sequential(
        [layers.Dense(4, activation="relu", input_shape=(3,), name="look"), layers.Dense(2, name="decide")]
    )
    model.save(made / "m.h5")
    x = np.random.default_rng(0).random((6, 3), dtype="float32")
    np.save(made / "x.npy", x)
    np.save(made / "y.npy", kcompile.compile(model).predict(x))
    kcompile.export(model, made / "m.so")
    return made


@pytest.fixture
def ask(folder, monkeypatch, capsys):
    """What a command prints with --json."""
    monkeypatch.chdir(folder)

    def asked(*arguments, status=0):
        capsys.readouterr()
        assert cli.main([*map(str, arguments), "--json"]) == status
        out, err = capsys.readouterr()
        assert err == ""

        def none(text):
            raise AssertionError(f"{text} is no JSON")

        return json.loads(out, parse_constant=none)

    return asked


def test_what_a_model_holds(ask):
    about = ask("inspect", "m.h5")
    assert about["kind"] == "model" and (about["parameters"], about["trainable"]) == (26, 26)
    assert about["layers"] == [
        {"name": "look", "class": "Dense", "output_shape": [None, 4], "parameters": 16, "trainable": True},
        {"name": "decide", "class": "Dense", "output_shape": [None, 2], "parameters": 10, "trainable": True},
    ]


def test_what_a_library_holds(ask, folder):
    about = ask("inspect", "m.so")
    assert (about["kind"], about["target"], about["runs_here"], about["why_not"]) == (
        "library",
        "native",
        True,
        None,
    )
    assert about["inputs"][0]["shape"] == ["n", 3] and about["bytes"] == (folder / "m.so").stat().st_size
    assert about["version"] == kcompile.__version__ and about["code"] + about["data"] < about["bytes"]


def test_predictions(ask, folder):
    expected = np.load(folder / "y.npy")
    (output,) = ask("predict", "m.so", "--input", "x.npy")["outputs"]
    assert (output["dtype"], output["shape"]) == ("float32", [6, 2])
    assert np.array_equal(np.array(output["values"], "float32"), expected)
    (written,) = ask("predict", "m.h5", "--input", "x.npy", "--output", "out.npy")["outputs"]
    assert written == {"dtype": "float32", "shape": [6, 2], "file": "out.npy"}


def test_numbers_that_json_has_not_are_null(ask, folder):
    np.save(folder / "nan.npy", np.full((1, 3), np.nan, "float32"))
    (output,) = ask("predict", "m.h5", "--input", "nan.npy")["outputs"]
    assert output["values"][0][1] is None


def test_verification(ask, monkeypatch):
    report = ask("verify", "m.h5")
    assert report["ok"] and [row["layer"] for row in report["layers"]][:2] == ["look", "decide"]
    assert all(row["ratio"] <= 1 for row in report["layers"]) and report["accuracy"] is None
    report = ask("verify", "m.h5", "--precision", "bfloat16")
    assert report["accuracy"]["precision"] == "bfloat16"
    monkeypatch.setattr("kcompile.native.Verification.ok", False)
    assert ask("verify", "m.h5", status=1)["ok"] is False


def test_libraries(ask, folder):
    about = ask("build", "m.h5", "-o", "out.so")
    assert about == {
        "library": "out.so",
        "header": "out.h",
        "bytes": (folder / "out.so").stat().st_size,
        "target": "native",
    }


def test_quantization(ask):
    about = ask("quantize", "m.h5", "--samples", "x.npy", "--skip", "decide")
    assert [(row["layer"], row["computes_in"], row["reason"]) for row in about["layers"]] == [
        ("look", "int8", ""),
        ("decide", "float32", "skipped"),
    ]
    assert about["accuracy"]["samples"] == 6 and about["library"] is None
    assert ask("quantize", "m.h5", "--samples", "x.npy", "-o", "q.so")["library"]["library"] == "q.so"


def test_times(ask):
    about = ask("bench", "m.h5", "--rounds", "2", "--batch", "2")
    assert about["samples"] == 2 and about["kernels"] and about["accuracy"] is None


# ---------------------------------------------------------------- exit statuses


def test_every_status_is_told_by_help(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    out = capsys.readouterr().out
    assert stop.value.code == cli.OK
    for status, meaning in cli.STATUSES.items():
        assert f"\n  {status:3}  {meaning}\n" in out
    assert cli.OF_RUN in out


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), cli.INTERRUPTED, "interrupted"),
        (ValueError("no"), cli.BAD_INPUT, "error: no"),
        (AssertionError("no"), cli.INTERNAL, "internal error, AssertionError: no"),
    ],
)
def test_statuses_of_errors(monkeypatch, capsys, folder, error, status, said):
    def load(*_, **__):
        raise error

    monkeypatch.setattr(kcompile, "load", load, raising=False)
    assert cli.main(["inspect", str(folder / "m.h5")]) == status
    assert capsys.readouterr() == ("", f"kcompile: {said}\n")


@pytest.mark.parametrize(("last", "status"), [("", 0), ("raise SystemExit(7)", 7), ("1 / 0", 1)])
def test_a_script_has_the_status(tmp_path, capfd, last, status):
    script = tmp_path / "script.py"
    script.write_text(f"import keras\n{last}\n")
    try:
        assert cli.main(["run", str(script)]) == status
    except SystemExit as stop:
        assert stop.code == status


# ---------------------------------------------------------------- the log


def test_what_is_compiled_is_logged(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("KC_CACHE", str(tmp_path))
    x = np.ones((2, 3), np.float32)
    for found in (r"predict-native: compiled in \d+\.\d\d s, [\d,]+ bytes of code", r".*code from the cache"):
        model = keras.Sequential([layers.Dense(2, input_shape=(3,), name="a", kernel_initializer="ones")])
        caplog.clear()
        with caplog.at_level(logging.INFO, "kcompile"):
            kcompile.compile(model).predict_on_batch(x)
        (record,) = (r for r in caplog.records if r.levelno == logging.INFO)
        assert record.name == "kcompile"
        assert re.fullmatch(found, record.getMessage())
    with caplog.at_level(logging.DEBUG, "kcompile"):
        kcompile.compile(model).show("loops")
    assert "pass fuse" in caplog.text and "graph" not in caplog.text.partition("\n")[0]


def test_verbose_commands_tell_on_stderr(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KC_CACHE", str(tmp_path))
    log = logging.getLogger("kcompile")
    before = (log.level, list(log.handlers))
    told = []
    for level in ([], ["-v"], ["-vv"]):
        assert cli.main([*level, "verify", str(folder / "m.h5")]) == 0
        told.append(capsys.readouterr().err)
    assert cli.main(["-vv", "build", str(folder / "m.h5"), "-o", str(tmp_path / "m.so")]) == 0
    told.append(capsys.readouterr().err)
    assert (log.level, log.handlers) == before
    assert told[0] == "" and "kcompile: predict-native: " in told[1] and "pass fuse" not in told[1]
    assert "kcompile: predict-native: pass fuse: " in told[3]


# ---------------------------------------------------------------- completion


@pytest.mark.parametrize("shell", cli.SHELLS)
def test_completion(capsys, shell):
    pytest.importorskip("shtab")
    assert cli.main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "quantize" in out and "--samples" in out and "kcompile" in out
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=out, text=True).returncode == 0
        assert "_shtab_compgen_files" in out and "_shtab_compgen_dirs" in out


def test_completion_without_shtab(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == cli.BAD_INPUT
    assert "pip install 'kcompile[completion]'" in capsys.readouterr().err

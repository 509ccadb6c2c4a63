"""Names that come from files, or go into them: nothing breaks, and nothing steers a terminal."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
import kcompile_runtime
from kcompile import keras
from kcompile.cli import main
from kcompile.files import weights
from kcompile.files.emit import LONGEST_NAME
from kcompile.keras import layers, models
from kcompile_runtime.errors import ModelError, describe
from kcompile_runtime.texts import printable, printable_lines

ODD = [
    "/x",
    "x/",
    "a//b",
    "./a",
    "..",
    "a\0b",
    "top_level_model_weights",
    ".",
    "/",
    "layers",
    "model_weights",
    "vars",
    "optimizer",
    "a b\n",
    "\x1b[31m",
    'q"*/',
    "\u202e",
    "\u00e9t\u00e9",
]
ESCAPE = "\x1b]0;x\x07\x1b[31m"


def named(name: str) -> models.Model:
    x = layers.Input((3,))
    inner = models.Sequential([layers.Dense(3, input_dim=3, name=name)], name=name)
    made = keras.Model(x, layers.Dense(2, name="b")(inner(x)))
    made.set_weights([np.full_like(w, k + 1) for k, w in enumerate(made.get_weights())])
    return made


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("file", ["m.h5", "m.keras", "w.h5", "w.weights.h5", "w.npz"])
def test_any_name_is_saved_and_read(tmp_path: Path, name: str, file: str) -> None:
    model = named(name)
    model.compile("adam", "mse")
    if file[0] == "m":
        model.save(tmp_path / file)
        found = kcompile.load(tmp_path / file)
    else:
        model.save_weights(tmp_path / file)
        found = models.model_from_json(model.to_json())
        found.load_weights(tmp_path / file)
        if file == "w.h5":
            found.set_weights([w * 0 for w in found.get_weights()])
            found.load_weights(tmp_path / file, by_name=True)
    assert [layer.name for layer in found.layers] == [layer.name for layer in model.layers]
    for a, b in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_most_names_are_their_own_place() -> None:
    for name in ("dense_1", "block/conv", "a.b", "dense/kernel:0", "\u00e9t\u00e9"):
        assert weights.place_of(name) == name


PAIRS = [("x", "/x"), ("a/b", "a//b"), ("b", "b/b/kernel:0"), ("b/b/kernel:0", "b")]


@pytest.mark.parametrize("names", PAIRS)
def test_names_of_one_place_are_refused_first(tmp_path: Path, names: tuple[str, str]) -> None:
    model = models.Sequential([layers.Dense(3, input_dim=3, name=names[0]), layers.Dense(2, name=names[1])])
    for save in (model.save, model.save_weights):
        with pytest.raises(ModelError, match="different places in an HDF5 file"):
            save(tmp_path / "m.h5")
    assert not list(tmp_path.iterdir())
    model.save(tmp_path / "m.keras")
    kcompile.load(tmp_path / "m.keras")


@pytest.mark.parametrize("name", ["n" * (LONGEST_NAME + 1), "half\ud800"])
def test_names_that_no_reader_takes_are_refused(tmp_path: Path, name: str) -> None:
    for save in (
        lambda m: m.save(tmp_path / "m.h5"),
        lambda m: m.save(tmp_path / "m.keras"),
        lambda m: m.to_json(),
        lambda m: m.to_yaml(),
    ):
        with pytest.raises(ModelError, match="names of at most"):
            save(named(name))
    assert not list(tmp_path.iterdir())
    named("n" * (LONGEST_NAME - len("_input"))).save(tmp_path / "m.keras")
    kcompile.load(tmp_path / "m.keras")


def test_texts_are_printable() -> None:
    assert printable("a\nb\x1b\0\u202e\u00e9") == "a\\nb\\x1b\\x00\\u202e\u00e9"
    assert printable_lines("a\nb\x07") == "a\nb\\x07"
    assert str(ModelError(describe(ESCAPE, ESCAPE, ESCAPE))).isprintable()


def test_no_text_of_ours_steers_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    x = layers.Input((3,), name=f"in{ESCAPE}")
    h = layers.Dense(4, name=f"h{ESCAPE}")(x)
    model = keras.Model(
        x, [layers.Dense(2, name=f"a{ESCAPE}")(h), layers.Dense(2, name=f"b{ESCAPE}")(h)], name=f"m{ESCAPE}"
    )
    model.save(tmp_path / "m.keras")
    seen = io.StringIO()
    with contextlib.redirect_stdout(seen):
        model.summary()
        model.compile("sgd", "mse", metrics=["mae"])
        model.fit(np.ones((4, 3)), [np.ones((4, 2))] * 2)
    compiled = kcompile.compile(model)
    texts = [
        seen.getvalue(),
        compiled.verify().text(),
        repr(model),
        repr(x),
        repr(model.weights[0]),
        *(compiled.show(stage) for stage in ("graph", "passes", "loops", "llvm")),
    ]
    for arguments in (["inspect"], ["verify"], ["show", "--stage", "loops"]):
        assert main([arguments[0], str(tmp_path / "m.keras"), *arguments[1:]]) == 0
    told = capfd.readouterr()
    for text in (*texts, told.out, told.err):
        assert all(c.isprintable() or c in "\n\r" for c in text), text


@pytest.mark.parametrize("value", ["\ud800", float("nan"), object(), 10**30])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_configurations_that_no_reader_takes_are_not_saved(value: Any, suffix: str, tmp_path: Path) -> None:
    class Holding(layers.Layer):
        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "value": value}

    model = models.Sequential([layers.Dense(2, input_dim=3), Holding()])
    for save in (lambda: model.save(tmp_path / f"m{suffix}"), model.to_json, model.to_yaml):
        with pytest.raises(ModelError):
            save()
    assert not list(tmp_path.iterdir())


def test_a_half_of_a_pair_in_the_name_of_an_input(tmp_path: Path) -> None:
    """No UTF-8 has it: a library says "?"."""
    inputs = layers.Input((3,), name="a\ud800")
    path = kcompile.export(kcompile.compile(models.Model(inputs, layers.Dense(2)(inputs))), tmp_path / "m.so")
    assert kcompile_runtime.load(path).predict(np.ones((2, 3))).shape == (2, 2)

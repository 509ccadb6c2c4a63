"""What is written for Keras 2 holds the classes and arguments that Keras 2.2.4 has.

They were read from its constructors (`keras2_arguments.py`). Keras 2.2.4, 2.3.1 and tf_keras opened such
files when this was written."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from option_cases import Case, model_of
from options import TABLE

import kcompile
from kcompile.files import keras2_words
from kcompile.keras import layers, models, optimizers
from kcompile_runtime.errors import InputError

KERAS2 = json.loads((Path(__file__).parent / "keras2_arguments.json").read_text())
OF_LAYERS = {"name", "trainable", "dtype", "batch_input_shape"}
LATER = keras2_words.LATER_LAYERS


def model(name: str, **given: Any) -> Any:
    """A model of a layer of the table of options."""
    return model_of(Case(name, tuple(given.items())))


def entries(value: Any, key: str = "layers") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every object of a configuration: its kind, its class, its arguments."""
    if isinstance(value, dict):
        if "class_name" in value and "config" in value:
            kinds = [k for k in KERAS2 if value["class_name"] in KERAS2[k]]
            named = [k for k in kinds if key.endswith(f"_{k.removesuffix('s')}")]
            yield (*named, *kinds, "layers")[0], value["class_name"], value["config"]
        for name, inner in value.items():
            yield from entries(inner, key if name in ("config",) else name)
    elif isinstance(value, list):
        for inner in value:
            yield from entries(inner, key)


def check(config: dict[str, Any]) -> None:
    for kind, name, given in entries(config):
        if name in ("Model", "Sequential") and isinstance(given, dict):
            continue
        known = set(KERAS2[kind][name]) | (OF_LAYERS if kind == "layers" else set())
        if name == "Lambda":  # what its from_config takes out again
            known |= {"function_type", "output_shape_type"}
        assert set(given) <= known, (name, set(given) - known)
        if name == "InputLayer":
            assert set(given) <= set(KERAS2["layers"]["InputLayer"])


@pytest.mark.parametrize("name", sorted(n for n in TABLE if not LATER & set(n.rstrip(")").split("("))))
def test_layers_have_the_arguments_of_keras_2(name: str) -> None:
    alone = model(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(json.loads(alone.to_json()))
    for argument in ("kernel_initializer", "kernel_regularizer", "depthwise_initializer"):
        for value in TABLE[name].options.get(argument, ()):
            check(json.loads(model(name, **{argument: value}).to_json()))


def test_what_keras_2_has_not_is_said() -> None:
    grouped = model("Conv2D", groups=2)
    with pytest.warns(UserWarning, match="Keras 2 will not open .* groups=2 of Conv2D"):
        grouped.to_json()
    with pytest.warns(UserWarning, match="DepthwiseConv1D"):
        model("DepthwiseConv1D").to_json()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grouped.to_json(vintage="keras3")


@pytest.mark.parametrize("kind", ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam"])
@pytest.mark.parametrize("rate", [None, 0.0125])
def test_optimizers_have_the_arguments_of_keras_2(tmp_path: Path, kind: str, rate: float | None) -> None:
    """And what is loaded goes on as what was saved."""
    model = models.Sequential([layers.Dense(2, input_dim=3)])
    model.compile(getattr(optimizers, kind)(**({} if rate is None else {"lr": rate})), "mse")
    x, y = np.ones((4, 3), np.float32), np.zeros((4, 2), np.float32)
    model.train_on_batch(x, y)
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert file.attrs["keras_version"] == "2.3.1"
        training = json.loads(file.attrs["training_config"])
    written = training["optimizer_config"]
    assert set(written["config"]) <= set(KERAS2["optimizers"][kind])
    assert {"loss", "metrics", "sample_weight_mode", "loss_weights"} <= set(training)
    again = kcompile.load(tmp_path / "m.h5")
    assert again.optimizer.get_config() == model.optimizer.get_config()
    assert again.train_on_batch(x, y) == model.train_on_batch(x, y)
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_vintage_says_for_whom(tmp_path: Path) -> None:
    model = models.Sequential([layers.Dense(2, input_dim=3)])
    model.compile(optimizers.Adam(0.02), "mse")
    written = {}
    for vintage in ("keras2", "tf_keras", "keras3"):
        model.save(tmp_path / "m.h5", vintage=vintage)
        with h5py.File(tmp_path / "m.h5") as file:
            written[vintage] = json.loads(file.attrs["training_config"])["optimizer_config"]["config"]
        again = kcompile.load(tmp_path / "m.h5")
        assert again.optimizer.get_config()["learning_rate"] == pytest.approx(0.02)
    assert "lr" in written["keras2"] and "learning_rate" not in written["keras2"]
    assert "learning_rate" in written["tf_keras"] and written["tf_keras"] == written["keras3"]
    with pytest.raises(InputError, match="vintage"):
        model.save(tmp_path / "n.h5", vintage="keras4")
    with pytest.raises(InputError, match=r"\.h5"):
        model.save(tmp_path / "n.keras", vintage="keras2")
    assert not (tmp_path / "n.h5").exists() and not (tmp_path / "n.keras").exists()

"""Every model of `zoo`, in every format: what is saved there is read here, and the other way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import crafted
import numpy as np
import pytest
import zoo

import kcompile
from kcompile import keras as ours
from kcompile.files.live import from_keras
from kcompile.files.sharing import mark_said

pytestmark = pytest.mark.filterwarnings("ignore")
# Of Keras 2's form, in which Keras 3 finds no tensors beside the first; it reads them from `.keras`
FURTHER_TENSORS = ("masks_given_to_calls", "states_from_layer_to_layer")
every_model = pytest.mark.parametrize("name", list(zoo.MODELS))


def outputs(model: Any, x: list[np.ndarray]) -> list[np.ndarray]:
    """Predictions of a model of ours (by the interpreter), compiled, or of another Keras (which computes a
    batch faster than it compiles)."""
    if isinstance(model, ours.Model):
        found = crafted.predict(model, *x)
    elif isinstance(model, kcompile.CompiledModel):
        found = model.predict_on_batch(x if len(x) > 1 else x[0])
    else:
        found = model(x if len(x) > 1 else x[0], training=False)
    return [np.asarray(y) for y in (found if isinstance(found, (list, tuple)) else [found])]


def check(model: Any, x: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for found, wanted in zip(outputs(model, x), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def sample(made: Any) -> tuple[Any, list[np.ndarray], list[np.ndarray]]:
    """A model with random weights, inputs for it, and its outputs."""
    model = zoo.randomized(made)
    x = zoo.samples(model)
    return model, x, outputs(model, x)


def check_files(
    model: Any, load: Callable[[Path], Any], folder: Path, x: list[np.ndarray], expected: list[np.ndarray]
) -> None:
    """The model in both of its own formats, as `load` reads it."""
    for file in ("m.keras", "m.h5"):
        model.save(folder / file)
        check(load(folder / file), x, expected)


@every_model
def test_ours_in_all_formats(tmp_path: Path, name: str) -> None:
    model, x, expected = sample(zoo.MODELS[name](ours))
    check_files(model, kcompile.load, tmp_path, x, expected)
    (tmp_path / "m.json").write_text(model.to_json())
    (tmp_path / "m.yaml").write_text(model.to_yaml())
    for weights in ("w.weights.h5", "w.h5", "w.npz"):
        model.save_weights(tmp_path / weights)
        for file in ("m.json", "m.yaml"):
            check(kcompile.load(tmp_path / file, weights=tmp_path / weights), x, expected)
    check(kcompile.compile(kcompile.load(tmp_path / "m.keras")), x, expected)


@pytest.mark.keras
@pytest.mark.parametrize("package", ["keras", "tf_keras"])
@every_model
def test_theirs_in_all_formats(tmp_path: Path, name: str, package: str) -> None:
    theirs = pytest.importorskip(package)
    live, x, expected = sample(zoo.MODELS[name](theirs))
    check_files(live, kcompile.load, tmp_path, x, expected)
    (tmp_path / "m.json").write_text(live.to_json())
    for weights in ("w.weights.h5", *(["w.h5"] if package == "tf_keras" else [])):
        live.save_weights(tmp_path / weights)
        check(kcompile.load(tmp_path / "m.json", weights=tmp_path / weights), x, expected)
    check(kcompile.compile(live), x, expected)


@pytest.mark.keras
@every_model
def test_keras_3_reads_ours(tmp_path: Path, name: str) -> None:
    theirs = pytest.importorskip("keras")
    model, x, expected = sample(zoo.MODELS[name](ours))
    if name in FURTHER_TENSORS:
        model.save(tmp_path / "m.keras")
        check(theirs.models.load_model(tmp_path / "m.keras"), x, expected)
        return
    check_files(model, theirs.models.load_model, tmp_path, x, expected)
    model.save_weights(tmp_path / "w.weights.h5")
    live = theirs.models.model_from_json(model.to_json())
    live.load_weights(tmp_path / "w.weights.h5")
    check(live, x, expected)


@pytest.mark.keras
@every_model
def test_tf_keras_reads_ours(tmp_path: Path, name: str) -> None:
    theirs = pytest.importorskip("tf_keras")
    model, x, expected = sample(zoo.MODELS[name](ours))
    model.save(tmp_path / "m.h5")
    check(theirs.models.load_model(tmp_path / "m.h5"), x, expected)
    model.save_weights(tmp_path / "w.h5")
    for live in (theirs.models.model_from_json(model.to_json()), zoo.MODELS[name](theirs)):
        live.load_weights(tmp_path / "w.h5")
        check(live, x, expected)


@pytest.mark.parametrize("name", list(zoo.SHARED))
def test_layers_in_two_places_come_back(tmp_path: Path, name: str) -> None:
    """As two layers with the same weights; and the model itself reads what it wrote."""
    model, x, expected = sample(zoo.SHARED[name](ours))
    check_files(model, kcompile.load, tmp_path, x, expected)
    (tmp_path / "m.json").write_text(model.to_json())
    for weights in ("w.weights.h5", "w.h5"):
        model.save_weights(tmp_path / weights)
        check(kcompile.load(tmp_path / "m.json", weights=tmp_path / weights), x, expected)
        before = model.get_weights()
        model.set_weights([w * 0 for w in before])
        model.load_weights(tmp_path / weights)
        check(model, x, expected)


@pytest.mark.keras
@pytest.mark.parametrize("package", ["keras", "tf_keras"])
@pytest.mark.parametrize("name", list(zoo.SHARED))
def test_layers_in_two_places_of_theirs(tmp_path: Path, name: str, package: str) -> None:
    theirs = pytest.importorskip(package)
    live, x, expected = sample(zoo.SHARED[name](theirs))
    live.save(tmp_path / "m.h5")
    check(kcompile.load(tmp_path / "m.h5"), x, expected)
    check(kcompile.compile(live), x, expected)
    live.save_weights(tmp_path / "w.weights.h5")  # once, where the layer is first met
    model = zoo.randomized(zoo.SHARED[name](ours), 5)
    model.load_weights(tmp_path / "w.weights.h5")
    check(model, x, expected)
    if package == "keras":
        zoo.randomized(model, 5).save(tmp_path / "ours.keras")
        check(theirs.models.load_model(tmp_path / "ours.keras"), x, outputs(model, x))


def distinct(model: Any) -> int:
    return len({id(v) for v in model.weights})


@pytest.mark.keras
@pytest.mark.parametrize("package", ["keras", "tf_keras"])
@pytest.mark.parametrize("name", list(zoo.SHARED))
def test_what_is_one_layer_there_is_one_here(tmp_path: Path, name: str, package: str) -> None:
    """Live, and where a file says it: trained in one place, it is another in all."""
    theirs = pytest.importorskip(package)
    live = zoo.randomized(zoo.SHARED[name](theirs))
    x = zoo.samples(live)
    found = [from_keras(live)]
    if package == "keras":
        live.save(tmp_path / "m.keras")
        found.append(kcompile.load(tmp_path / "m.keras"))
    expected = outputs(live, x)
    live.compile(theirs.optimizers.SGD(0.1), ["mse"] * len(expected))
    y = [np.ones_like(e) for e in expected]
    for model in found:
        assert distinct(model) == distinct(live)
        check(model, x, expected)
        model.compile(ours.optimizers.SGD(0.1), "mse")
        model.train_on_batch(x, y if len(y) > 1 else y[0])
    live.train_on_batch(x, y if len(y) > 1 else y[0])
    for model in found:
        check(model, x, outputs(live, x))


def test_only_the_layer_that_is_meant_is_shared() -> None:
    """Towers that are alike have weights of their own."""

    def entry(**more: Any) -> dict[str, Any]:
        return {"class_name": "Dense", "config": {"name": "d", "units": 2}, **more}

    def marks(*entries: dict[str, Any]) -> list[Any]:
        mark_said({"class_name": "Sequential", "config": {"layers": list(entries)}})
        return [part.get("shared") for part in entries]

    assert marks(entry(), entry(shared_object_id=7)) == [0, 0]
    assert marks(entry(), entry(), entry(shared_object_id=7)) == [None, None, 0]
    assert marks(entry(shared_object_id=7), entry(), entry(shared_object_id=7)) == [0, 0, 0]
    other = {"class_name": "Dense", "config": {"name": "d", "units": 3}}
    assert marks(other, entry(shared_object_id=7)) == [None, 0]
    assert marks(entry(shared=0), entry(shared=0)) == [None, None]
    assert marks(entry(shared_object_id=[7]), {**other, "shared_object_id": [7]}) == [0, None]

"""Networks of keras.applications: live ones, from files and by our builders, against the installed Keras.

The table of all of them is printed by `networks.py` beside this file, whose comparison the slow test runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras3
from kcompile.files.live import from_keras
from kcompile.keras.models import load_model

keras = pytest.importorskip("keras")
networks: Any = pytest.importorskip("networks")
if keras.backend.backend() != "jax":
    pytest.skip("live networks are compared where Keras runs on JAX", allow_module_level=True)

# Those of the families whose files go both ways
BOTH_WAYS = (
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "MobileNetV2",
    "MobileNetV3Small",
    "NASNetMobile",
    "Xception",
)


def small(name: str) -> Any:
    """A network of a family with one block of each kind, as narrow as it can be."""
    arguments: dict[str, Any] = {
        "weights": None,
        "input_shape": (64, 64, 3),
        "classes": networks.CLASSES,
        "classifier_activation": None,
    }
    if name == "ConvNeXt":
        module = keras.src.applications.convnext
        options: dict[str, Any] = {"depths": [1, 1, 2, 1], "projection_dims": [8, 12, 16, 24]}
        return module.ConvNeXt(**options, **arguments)
    module = keras.src.applications.efficientnet
    return module.EfficientNet(0.25, 0.3, 64, **arguments)


@pytest.mark.parametrize("name", ["ConvNeXt", pytest.param("EfficientNet", marks=pytest.mark.slow)])
def test_a_small_network_predicts_trains_and_goes_through_files(name: str) -> None:
    found = networks.compare(name, small(name))
    print(f"\n{networks.TITLE}\n{found}")
    assert found.way == "configuration"
    networks.check(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", networks.names())
def test_a_network_predicts_trains_and_goes_through_files(name: str) -> None:
    found = networks.compare(name)
    print(f"\n{networks.TITLE}\n{found}")
    networks.check(found)


def plain(config: Any) -> Any:
    """A configuration in which operators are operations, and Sequentials leave their inputs out."""
    if isinstance(config, list):
        return [plain(v) for v in config]
    if not isinstance(config, dict):
        return config
    if config.get("config", {}) and config["config"].get("operator"):
        name = config["config"]["name"]
        return {"name": name, "operator": config["class_name"], "calls": config["inbound_nodes"]}
    if config.get("class_name") == "Operation" and len(config["inbound_nodes"][0]) == 2:
        kind = config["config"]["function"].capitalize()
        return {"name": config["name"], "operator": kind, "calls": config["inbound_nodes"]}
    if config.get("class_name") == "Sequential":
        layers = [x for x in config["config"]["layers"] if x["class_name"] != "InputLayer"]
        config = {**config, "config": {**config["config"], "layers": layers}}
    return {k: plain(v) for k, v in config.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ConvNeXtTiny", "EfficientNetV2B0", "InceptionResNetV2", "MobileNetV3Small", "NASNetMobile"]
)
def test_a_builder_has_the_configuration_of_keras(name: str) -> None:
    side = networks.LARGER.get(name, networks.SIDE)
    options: dict[str, Any] = {"weights": None, "input_shape": (side, side, 3), "classes": 7}
    keras.backend.clear_session()
    keras3.backend.clear_session()
    ours = getattr(keras3.applications, name)(**options)
    theirs = from_keras(getattr(keras.applications, name)(**options))
    assert plain(ours.get_config()) == plain(theirs.get_config())


def go_on(ours: Any, theirs: Any, x: Any, y: Any, folder: Path) -> None:
    """Ours, which has trained, opens in real Keras and trains on there, and the other way round.

    theirs: a live network, where it has the custom classes of its files."""
    custom = {type(layer).__name__: type(layer) for layer in theirs.layers if is_own(layer)}
    right = ours.predict(x)
    for ending in ("h5", "keras"):
        path = str(folder / f"ours.{ending}")
        ours.save(path)
        real = keras.models.load_model(path, custom_objects=custom)
        assert networks.largest(real.predict(x, verbose=0), right) < 1e-4
    again = keras.models.model_from_json(ours.to_json(), custom_objects=custom)
    assert [w.shape for w in again.weights] == [w.shape for w in real.weights]
    expected = float(np.ravel(ours.train_on_batch(x, y))[0])
    loss = float(np.ravel(real.train_on_batch(x, y))[0])  # with the optimizer's state
    assert loss == pytest.approx(expected, rel=1e-3)
    path = str(folder / "theirs.keras")
    real.save(path)
    back = load_model(path)
    assert networks.largest(back.predict(x), real.predict(x, verbose=0)) < 1e-4
    losses = [float(np.ravel(model.test_on_batch(x, y))[0]) for model in (back, ours)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


def is_own(layer: Any) -> bool:
    return "applications" in type(layer).__module__


@pytest.mark.slow
@pytest.mark.parametrize("name", BOTH_WAYS)
def test_files_of_a_network_go_both_ways(name: str, tmp_path: Path) -> None:
    theirs, x = networks.network(name), networks.images(name)
    options = {"classes": networks.CLASSES, "classifier_activation": None, "weights": None}
    ours = getattr(keras3.applications, name)(input_shape=x.shape[1:], **options)
    for layer in ours.layers:
        if hasattr(layer, "rate"):
            layer.rate = 0.0
    ours.set_weights(theirs.get_weights())
    y = np.arange(len(x)) % networks.CLASSES
    loss = keras3.losses.SparseCategoricalCrossentropy(from_logits=True)
    ours.compile(keras3.optimizers.SGD(1e-4, momentum=0.9), loss)
    ours.train_on_batch(x, y)
    go_on(ours, theirs, x, y, tmp_path)


def test_files_of_a_small_network_go_both_ways(tmp_path: Path) -> None:
    """With layers of its own, operators, and models inside."""
    theirs = networks.settled(small("ConvNeXt"))
    theirs.compile(
        keras.optimizers.SGD(1e-2, momentum=0.9), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    x = networks.images("ConvNeXt")
    y = np.arange(len(x)) % networks.CLASSES
    ours = from_keras(theirs)
    kcompile.compile(ours).train_on_batch(x, y)
    go_on(ours, theirs, x, y, tmp_path)

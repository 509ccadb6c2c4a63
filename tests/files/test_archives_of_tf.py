"""Files .keras of models of tf.keras: in its words, and read again by every edition, whose classes the models
then are. tests/keras_tier/test_archives_with_tf_keras.py has tf_keras open them."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from kcompile import keras3, tf_keras


def trained(keras):
    x = keras.layers.Input((4,), name="inp")
    inner = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)], name="inner")
    model = keras.Model(x, inner(keras.layers.Dense(3, activation="relu")(x)))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    model.fit(np.eye(4, dtype="f"), np.ones((4, 2), "f"), epochs=2, verbose=0)
    return model


def test_words_are_those_of_tf_keras(tmp_path):
    path = str(tmp_path / "model.keras")
    model = trained(tf_keras)
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        assert json.loads(archive.read("metadata.json"))["keras_version"].startswith("2.")
    assert config["class_name"] == "Model" and config["module"] == "keras"
    first = config["config"]["layers"][0]
    assert first["config"]["batch_input_shape"] == [None, 4] and first["inbound_nodes"] == []
    assert config["compile_config"]["optimizer"]["module"] == "keras.optimizers"
    x, y = np.eye(4, dtype="f"), np.ones((4, 2), "f")
    back = tf_keras.models.load_model(path, safe_mode=False)
    losses = [m.fit(x, y, epochs=2, verbose=0).history["loss"] for m in (model, back)]
    np.testing.assert_array_equal(losses[0], losses[1])
    model.save(path, vintage="keras3")
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("metadata.json"))["keras_version"].startswith("3.")


@pytest.mark.parametrize("keras", [keras3, tf_keras])
def test_models_that_are_read_are_of_the_edition(keras, tmp_path, capsys):
    model, path = trained(keras), str(tmp_path / "model.keras")
    model.save(path)
    found = [
        keras.models.load_model(path),
        keras.models.model_from_json(model.to_json()),
        keras.models.clone_model(model),
    ]
    for back in found:
        assert type(back) is keras.Model and type(back.get_layer("inner")) is keras.Sequential
        assert back.vintage == model.vintage
    capsys.readouterr()
    found[0].predict(np.eye(4))
    assert "1/1" in capsys.readouterr().out

"""Vocabularies beside configurations, as Keras keeps them, and what may be wrong with them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
import kcompile.tf_keras
from kcompile import keras3
from kcompile_runtime.errors import ModelError, UnsupportedError

L = keras3.layers
TEXTS = np.array(["the cat sat", "a dog", "the dog ran"])
KEYS = np.array([[1, 5], [5, 7], [9, 1]])


def learned() -> Any:
    """A model with three layers that learned vocabularies."""
    layers = [L.TextVectorization(output_mode="tf_idf"), L.IntegerLookup(output_mode="tf_idf"),
              L.StringLookup(output_mode="one_hot")]  # fmt: skip
    data = [TEXTS, KEYS, np.array(["x", "y", "x"])]
    for layer, given in zip(layers, data):
        layer.adapt(given)
    inputs = [keras3.Input(d.shape[1:], dtype=t) for d, t in zip(data, ("string", "int64", "string"))]
    made = [layer(x) for layer, x in zip(layers, inputs)]
    return keras3.Model(inputs, L.Dense(2)(L.Concatenate()(made))), data


def as_keras_has_it(ours: Path, path: Path, **changed: bytes) -> None:
    """A file of ours with its vocabularies beside the configuration. changed: members."""
    with zipfile.ZipFile(ours) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config, metadata = (json.loads(members[name]) for name in ("config.json", "metadata.json"))
    for layer in config["config"]["layers"]:
        given = layer["config"]
        if layer["class_name"] not in ("TextVectorization", "IntegerLookup", "StringLookup"):
            continue
        if layer["class_name"] == "TextVectorization":
            given["dtype"] = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "string"}}
        tokens = given.pop("vocabulary")
        given.pop("has_input_vocabulary")
        special = [-1] if layer["class_name"] == "IntegerLookup" else ["[UNK]"]
        given |= {"vocabulary": None, "idf_weights": None, "vocabulary_size": len(tokens) + 1}
        group = {"TextVectorization": "text_vectorization", "IntegerLookup": "integer_lookup"}
        name = f"assets/layers/{group.get(layer['class_name'], 'string_lookup')}/vocabulary.txt"
        members[name] = "\n".join(map(str, [*special, *tokens])).encode()
    del metadata["kcompile"]
    members |= {"config.json": json.dumps(config).encode(), "metadata.json": json.dumps(metadata).encode()}
    members |= {name.replace("__", "/") + ".txt": data for name, data in changed.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_vocabularies_beside_configurations(tmp_path: Path) -> None:
    model, data = learned()
    model.save(tmp_path / "ours.keras")
    wanted = model.predict(data, verbose=0)
    as_keras_has_it(tmp_path / "ours.keras", tmp_path / "theirs.keras")
    for name in ("ours", "theirs"):
        again = kcompile.load(tmp_path / f"{name}.keras")
        np.testing.assert_array_equal(again.predict(data, verbose=0), wanted)
        layer = again.get_layer(next(x.name for x in again.layers if isinstance(x, L.TextVectorization)))
        assert layer.get_vocabulary() == ["[UNK]", "the", "dog", "sat", "ran", "cat", "a"]
        layer.adapt(np.array(["new"]))
        assert layer.get_vocabulary() == ["[UNK]", "new"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"assets__layers__integer_lookup__vocabulary": b"-1\n5\nseven"}, "whole numbers"),
        ({"assets__layers__string_lookup__vocabulary": b"[UNK]\n\xff\xfe"}, "UTF-8"),
        ({"assets__layers__string_lookup__vocabulary": b"[UNK]\nx\nx"}, "each once"),
        ({"assets__layers__string_lookup__other": b"x"}, "no members but"),
        ({"assets__..__vocabulary": b"x"}, "names inside the archive"),
    ],
)
def test_bad_vocabularies(tmp_path: Path, changed: dict[str, bytes], why: str) -> None:
    learned()[0].save(tmp_path / "ours.keras")
    as_keras_has_it(tmp_path / "ours.keras", tmp_path / "bad.keras", **changed)
    with pytest.raises(ModelError, match=why):
        kcompile.load(tmp_path / "bad.keras")


def test_a_vocabulary_that_no_file_has(tmp_path: Path) -> None:
    """As .h5 of Keras 3 have none: the model is there, and waits for it."""
    layer = L.StringLookup(output_mode="one_hot", vocabulary_size=3)
    x = keras3.Input((), dtype="string")
    model = keras3.Model(x, L.Dense(1)(layer(x)))
    with pytest.raises(ModelError, match="give a vocabulary, or call adapt"):
        model.predict(np.array(["a"]), verbose=0)
    layer.set_vocabulary(["a", "b"])
    assert model.predict(np.array(["a"]), verbose=0).shape == (1, 1)


def test_how_tf_keras_draws_means_nothing(tmp_path: Path) -> None:
    """It writes the kind of its generator with each layer that draws."""
    layer = kcompile.tf_keras.layers.RandomFlip()
    config = kcompile.tf_keras.Sequential([kcompile.tf_keras.Input((4, 4, 3)), layer]).get_config()
    entry = {"class_name": "Sequential", "config": config, "keras_version": "2.15.0", "backend": "tensorflow"}
    config["layers"][-1]["config"]["rng_type"] = "stateful"
    (tmp_path / "a.json").write_text(json.dumps(entry))
    assert kcompile.load(tmp_path / "a.json").output_shape == (None, 4, 4, 3)
    config["layers"][-1]["config"]["rng_type"] = "stateless"  # by which all batches draw the same
    (tmp_path / "a.json").write_text(json.dumps(entry))
    with pytest.raises(UnsupportedError, match="rng_type"):
        kcompile.load(tmp_path / "a.json")

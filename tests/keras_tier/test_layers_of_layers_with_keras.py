"""Layers of the user's own that hold layers: names of their weights and files, beside real Keras."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from weight_names import names

from kcompile import keras3, tf_keras

pytestmark = pytest.mark.keras
PAIRS = {"keras": keras3, "tf_keras": tf_keras}


@pytest.mark.parametrize("name", PAIRS)
def test_weights_have_the_names_of_the_installed_keras(name: str) -> None:
    assert names(PAIRS[name]) == names(pytest.importorskip(name))


def _model(keras: Any) -> tuple[Any, type]:
    layers = keras.layers

    class Block(layers.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.norm, self.dense = layers.BatchNormalization(), layers.Dense(6, activation="relu")
            self.several = [layers.Dense(6) for _ in range(2)]
            self.named = {"q": layers.BatchNormalization(), "p": layers.Dense(6)}

        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(name="scale", shape=(1,), initializer="ones")
            self.shift = self.add_weight(name="shift", shape=(1,), initializer="zeros", trainable=False)
            super().build(shape)

        def call(self, x: Any, other: Any = None, training: Any = None) -> Any:
            y = self.named["p"](self.named["q"](self.dense(self.norm(x))))
            for layer in self.several:
                y = layer(y)
            y = x + y * self.scale + self.shift
            return y if other is None else y + other * 2.0

    x, y = keras.Input((6,)), keras.Input((6,))
    first = Block(name="first")
    return keras.Model([x, y], first(first(x, y), other=Block(name="second")(y))), Block


@pytest.mark.parametrize("suffix", ["h5", "keras"])
@pytest.mark.parametrize("name", PAIRS)
def test_files_are_read_both_ways_and_training_goes_on(name: str, suffix: str, tmp_path: Path) -> None:
    pytest.importorskip(name)
    theirs = importlib.import_module(name)
    rng = np.random.default_rng(0)
    x, y = [rng.normal(size=(4, 6)).astype("f") for _ in range(2)], rng.normal(size=(4, 6)).astype("f")
    for source, target in ((PAIRS[name], theirs), (theirs, PAIRS[name])):
        if name == "tf_keras" and (suffix == "keras") == (source is tf_keras):
            continue  # its .h5 of such layers is refused by h5py, and it does not read Keras 3's .keras
        model = _model(source)[0]
        weights = [w + 0.1 * rng.normal(size=np.shape(w)) ** 2 for w in model.get_weights()]
        model.set_weights(weights)
        model.save(tmp_path / f"m.{suffix}")
        again = target.models.load_model(
            tmp_path / f"m.{suffix}", custom_objects={"Block": _model(target)[1]}, compile=False
        )
        wanted = np.asarray(model.predict(x, verbose=0))
        np.testing.assert_allclose(again.predict(x, verbose=0), wanted, rtol=1e-4, atol=1e-5)
        losses = []
        for one in (model, again):
            one.compile("sgd", "mse")
            losses.append([float(np.ravel(one.train_on_batch(x, y))[0]) for _ in range(3)])
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)

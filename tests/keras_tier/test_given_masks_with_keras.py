"""Masks that a model computes itself and gives to calls, beside those that Keras 3 makes of Masking and
Embedding: in its files both are operations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.files.live import from_keras
from kcompile.interpreted import InterpreterEngine

pytestmark = [pytest.mark.keras, pytest.mark.filterwarnings("ignore")]
WORDS = np.array([[1, 3, 0, 2], [3, 3, 1, 0]], np.int32)
X = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)


def model_in(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    x, words = keras.Input((4, 3)), keras.Input((4,), dtype="int32")
    embedded = layers.Embedding(5, 3, mask_zero=True)(words)
    both = layers.Add()([embedded, layers.Masking()(x)])
    outputs = [
        layers.Attention()([x, embedded], mask=[None, ops.not_equal(words, 3)]),
        layers.Attention()([x, both], mask=[None, ops.not_equal(words, 0)]),
        layers.Attention()([both, embedded]),
        layers.MultiHeadAttention(2, 3)(x, x, value_mask=ops.not_equal(words, 1)),
        layers.MultiHeadAttention(2, 3)(both, embedded),  # which takes their masks away
        layers.MultiHeadAttention(2, 3)(both, embedded),
        layers.Add()([both, embedded]),
        layers.SimpleRNN(2)(both),
        layers.Softmax()(x, mask=ops.not_equal(x, x[:, :1])),
        layers.Softmax(axis=[1, 2])(x, mask=ops.not_equal(words, 1)[:, :, None]),
        layers.Softmax((2, 1))(x),
    ]
    return keras.Model([x, words], outputs)


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_given_masks_are_kept_and_made_ones_follow(name: str, tmp_path: Path) -> None:
    theirs = pytest.importorskip("keras")
    model = model_in(theirs)
    right = model([X, WORDS])
    model.save(tmp_path / name)
    for found in (keras3.models.load_model(tmp_path / name), from_keras(model)):
        found.use_engine(InterpreterEngine(found, "float64"))
        for got, expected in zip(found.predict_on_batch([X, WORDS]), right, strict=True):
            np.testing.assert_allclose(got, np.asarray(expected), atol=1e-5)
    if name == "m.h5":
        return  # where Keras 3 does not find operations of functional models
    mine = model_in(keras3)
    mine.set_weights(model.get_weights())
    mine.save(tmp_path / name)
    opened = theirs.models.load_model(tmp_path / name, compile=False)
    for got, expected in zip(opened([X, WORDS]), right, strict=True):
        np.testing.assert_allclose(np.asarray(got), np.asarray(expected), atol=1e-5)


def test_a_given_mask_of_a_recurrent_layer_counts(tmp_path: Path) -> None:
    theirs = pytest.importorskip("keras")
    words = theirs.Input((4,), dtype="int32")
    embedded = theirs.layers.Embedding(5, 3, mask_zero=True)(words)
    model = theirs.Model(words, theirs.layers.SimpleRNN(2)(embedded, mask=theirs.ops.not_equal(words, 3)))
    model.save(tmp_path / "m.keras")
    x = np.array([[1, 3, 2, 4], [3, 3, 1, 0], [2, 1, 4, 3]], "int32")
    ours = keras3.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(ours.predict(x, verbose=0), np.asarray(model(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("robust", [False, True])
def test_softmax_of_tf_keras(robust: bool, tmp_path: Path) -> None:
    theirs = pytest.importorskip("tf_keras")

    def model_of(keras: Any) -> Any:
        x, m = keras.layers.Input((4, 3)), keras.layers.Input((4, 3), dtype="bool")
        outputs = [
            keras.layers.Softmax(axis=[1, 2], robust_masking=robust)(x, mask=m),
            keras.layers.Softmax(1, robust)(x, mask=m),
            keras.layers.MultiHeadAttention(2, 3, softmax_robust_masking=robust)(x, x),
        ]
        return keras.models.Model([x, m], outputs)

    model = model_of(theirs)
    there = np.random.default_rng(1).random((2, 4, 3)) < 0.5
    there[0, :, 0] = False
    right = model.predict([X * 10, there], verbose=0)
    model.save(tmp_path / "m.h5")
    mine = model_of(tf_keras)
    mine.set_weights(model.get_weights())
    mine.save(tmp_path / "n.h5")
    opened = theirs.models.load_model(tmp_path / "n.h5", compile=False)
    for found in (mine, tf_keras.models.load_model(tmp_path / "m.h5"), opened):
        for got, expected in zip(found.predict([X * 10, there], verbose=0), right, strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-5)

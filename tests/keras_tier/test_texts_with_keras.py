"""Layers of texts, in models too, beside those of tf_keras and Keras 3, which are TensorFlow's."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras3
from kcompile import tf_keras as ours_tf
from kcompile.tensorflow import names

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
tf_keras = pytest.importorskip("tf_keras")
PAIRS = [(keras3, keras), (ours_tf, tf_keras)]
R = np.random.default_rng(0)
WORDS = ["the", "cat", "sat", "on", "a", "mat,", "And", "É", "dog", "ran;", "far", "", "away"]
TEXTS = np.array([" ".join(R.choice(WORDS, R.integers(0, 9))) for _ in range(40)])
LABELS = np.char.count(TEXTS, "cat").astype("float32")[:, None]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"output_sequence_length": 3, "max_tokens": 6},
        {"output_mode": "multi_hot", "standardize": "lower", "pad_to_max_tokens": True, "max_tokens": 20},
        {"output_mode": "count", "standardize": "strip_punctuation", "ngrams": 2},
        {"output_mode": "tf_idf", "ngrams": (2, 3)},
        {"split": "character", "standardize": None},
        {"split": None, "ngrams": 2, "output_sequence_length": 2},
        {"split": None, "output_mode": "tf_idf"},
    ],
)  # fmt: skip
def test_text_vectorization(ours: Any, theirs: Any, options: dict[str, Any]) -> None:
    data = TEXTS.reshape(20, 2) if options.get("split", "") is None else TEXTS
    made = []
    for library in (ours, theirs):
        layer = library.layers.TextVectorization(**options)
        layer.adapt(data)
        made.append((list(map(str, layer.get_vocabulary())), np.asarray(layer(data))))
    (known, found), (right_known, right) = made
    assert known == right_known
    np.testing.assert_allclose(found, right, rtol=1e-5)


def models(library: Any) -> list[Any]:
    """Without a known length; with a model of texts inside."""
    layers = library.layers
    words = layers.TextVectorization()
    words.adapt(TEXTS)
    size = words.vocabulary_size()
    pooled = [layers.Embedding(size, 4), layers.GlobalAveragePooling1D(), layers.Dense(1)]
    first = library.Sequential([words, *pooled])
    counts = layers.TextVectorization(output_mode="count", vocabulary=["cat", "dog", "far"])
    kinds = layers.StringLookup(vocabulary=["red", "green"], output_mode="one_hot")
    hashed = layers.Hashing(5, output_mode="one_hot")
    text, kind = (library.Input((1,), dtype="string", name=name) for name in ("text", "kind"))
    key = library.Input((1,), dtype="int64", name="key")
    inside = library.Model([text, kind], layers.Concatenate()([counts(text), kinds(kind)]))
    joined = layers.Concatenate()([inside([text, kind]), hashed(key)])
    return [first, library.Model([text, kind, key], layers.Dense(1)(joined))]


def test_models_of_texts() -> None:
    """Order and lengths of batches, values and losses."""
    data = {
        "text": TEXTS[:, None],
        "kind": R.choice(["red", "green", "b"], (40, 1)),
        "key": np.arange(40)[:, None],
    }
    for mine, right, x in zip(models(ours_tf), models(tf_keras), (TEXTS, data)):
        if x is TEXTS:
            right(x[:2])
            mine.build((None,))
        mine.set_weights([w for w in right.get_weights() if w.dtype.kind == "f"])
        for model in (mine, right):
            model.compile("sgd", "mse")
        got, wanted = (model.predict(x, verbose=0, batch_size=8) for model in (mine, right))
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
        given = {"epochs": 2, "shuffle": False, "verbose": 0, "batch_size": 8, "validation_split": 0.25}
        history, wanted = (model.fit(x, LABELS, **given).history for model in (mine, right))
        for name, values in wanted.items():
            np.testing.assert_allclose(history[name], values, rtol=1e-4)


A = np.array(["Hello, <br /> World", "ÄB Éab  c", "", " x y "])


@pytest.mark.parametrize(
    ("function", "given", "options"),
    [
        ("lower", (A,), {}),
        ("lower", (A,), {"encoding": "utf-8"}),
        ("upper", (A,), {}),
        ("strip", (A,), {}),
        ("regex_replace", (A, "([a-z])", r"\1-"), {}),
        ("regex_replace", (A, "[a-z]", "Z"), {"replace_global": False}),
        ("regex_full_match", (A, ".*c"), {}),
        ("length", (A,), {}),
        ("length", (A,), {"unit": "UTF8_CHAR"}),
        ("substr", (A[:2], -3, 2), {"unit": "UTF8_CHAR"}),
        ("split", (A,), {}),
        ("split", (A, ","), {}),
        ("split", (A,), {"maxsplit": 1}),
        ("split", ("a b  c",), {}),
        ("unicode_split", (A, "UTF-8"), {}),
        ("join", ([A, A],), {"separator": "+"}),
        ("reduce_join", (A,), {"separator": "+"}),
        ("reduce_join", (A.reshape(2, 2),), {"axis": 0, "keepdims": True}),
        ("as_string", (np.array([1, -20]),), {}),
        ("to_number", (np.array(["1.5", "-2"]),), {}),
        ("to_hash_bucket_fast", (A, 100), {}),
        ("to_hash_bucket_strong", (A, 100, [1, 2]), {}),
    ],
)
def test_strings_of_tensorflow(function: str, given: Any, options: dict[str, Any]) -> None:
    def plain(x: Any) -> Any:
        if isinstance(x, bytes):
            return x.decode()
        if isinstance(x, list):
            return [plain(v) for v in x]
        return (
            plain(x.to_list() if hasattr(x, "to_list") else np.asarray(x).tolist())
            if hasattr(x, "shape")
            else x
        )

    mine, right = (f(*given, **options) for f in (names("strings")[function], getattr(tf.strings, function)))
    assert plain(mine) == plain(right)


DATA = {
    "text": np.array(["the cat sat", "a dog", "the dog ran"]),
    "kind": np.array([["x"], ["q"], ["y"]]),
    "key": np.array([[1, 5], [3, 4], [9, 7]]),
    "number": np.array([[1.0], [15.0], [29.0]], np.float32),
}


def learned(library: Any, texts: bool = True) -> Any:
    """A model of layers that learned what no configuration says; without texts, of two of one class."""
    layers = library.layers
    number = library.Input((1,), name="number")
    several = [layers.Discretization(num_bins=bins, output_mode="one_hot") for bins in (3, 4)]
    for layer, count in zip(several, (30.0, 50.0)):
        layer.adapt(np.arange(count))
    if not texts:
        inside = library.Sequential([library.Input((1,)), several[1], layers.Dense(2)])
        return library.Model(number, layers.Concatenate()([several[0](number), inside(number)]))
    text, kind, key = (
        library.Input(shape, dtype=dtype, name=name)
        for name, shape, dtype in (("text", (), "string"), ("kind", (1,), "string"), ("key", (2,), "int64"))
    )
    words = layers.TextVectorization(output_sequence_length=4)
    weighted = layers.TextVectorization(output_mode="tf_idf")
    kinds, keys = layers.StringLookup(output_mode="one_hot"), layers.IntegerLookup(output_mode="tf_idf")
    given = layers.IntegerLookup(vocabulary=[3, 4], output_mode="multi_hot")
    for layer, data in ((words, "text"), (weighted, "text"), (kinds, "kind"), (keys, "key")):
        layer.adapt(DATA[data])
    embedded = layers.Flatten()(layers.Embedding(words.vocabulary_size(), 2)(words(text)))
    parts = [embedded, weighted(text), kinds(kind), keys(key), given(key), several[0](number)]
    inputs = {"text": text, "kind": kind, "key": key, "number": number}
    return library.Model(inputs, layers.Dense(2)(layers.Concatenate()(parts)))


def of_tensorflow(model: Any, data: Any = None) -> np.ndarray:
    """The outputs of a live model, for which Keras 3 takes no arrays of texts."""
    given = DATA if data is None else data
    return np.asarray(model({k: tf.constant(v) for k, v in given.items()}))


def test_files_and_live_models_with_vocabularies(tmp_path: Any) -> None:
    model = learned(tf_keras)
    wanted = of_tensorflow(model)
    model.save(tmp_path / "theirs.keras")
    again = kcompile.load(tmp_path / "theirs.keras")
    np.testing.assert_allclose(again.predict(DATA), wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(kcompile.compile(model).predict(DATA), wanted, rtol=1e-6, atol=1e-6)
    again.save(tmp_path / "ours.keras")
    code = (
        "import keras, numpy as np, tensorflow as tf, pickle, sys\n"
        "data = pickle.load(open(sys.argv[1], 'rb'))\n"
        "model = keras.models.load_model(sys.argv[2])\n"
        "made = np.asarray(model({k: tf.constant(v) for k, v in data.items()}))\n"
        "model.save(sys.argv[3])\n"
        "np.save(sys.argv[4], made)\n"
    )
    paths = [str(tmp_path / name) for name in ("data", "ours.keras", "keras3.keras", "made.npy")]
    Path(paths[0]).write_bytes(pickle.dumps(DATA))
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    subprocess.run([sys.executable, "-c", code, *paths], check=True, env=environment)
    np.testing.assert_allclose(np.load(paths[3]), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(kcompile.load(paths[2]).predict(DATA), wanted, rtol=1e-6, atol=1e-6)


def test_boundaries_in_files_of_tf_keras(tmp_path: Any) -> None:
    model = learned(tf_keras, texts=False)
    wanted = model.predict(DATA["number"], verbose=0)
    for name in ("model.h5", "model.keras"):
        model.save(tmp_path / name)
        found = kcompile.load(tmp_path / name).predict(DATA["number"])
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)

"""TextVectorization beside recorded answers of Keras 3 and tf_keras; layers of texts and hashes in models."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras3, tf_keras
from kcompile.tensorflow import names
from kcompile_runtime.errors import InputError, KcompileError, ModelError, UnsupportedError

L = keras3.layers
TEXTS = np.array(["Hello, World! hello", "The CAT's sat; on the mat.", "", "ÄB äb É x  y\tz\nw", "a b c d"])
WORDS = "the hello äb É Äb z y x world w sat on mat d cats c b a"
VOCABULARY = WORDS.split(" ")


def adapted(**options: Any) -> Any:
    layer = L.TextVectorization(**options)
    layer.adapt(TEXTS)
    return layer


def test_words_become_numbers() -> None:
    layer = adapted()
    assert layer.get_vocabulary() == ["", "[UNK]", *VOCABULARY]
    right = [[3, 10, 3], [2, 16, 12, 13, 2, 14], [], [6, 4, 5, 9, 8, 7, 11], [19, 18, 17, 15]]
    made = layer(TEXTS)
    assert [row[: len(r)].tolist() for row, r in zip(made, right)] == right and made.shape == (5, 7)
    np.testing.assert_array_equal(layer(TEXTS[:, None]), made)
    assert layer("hello dog").tolist() == [3, 1] and layer([b"the cat", "x"]).tolist() == [[2, 1], [9, 0]]
    short = adapted(output_sequence_length=3)
    assert short(TEXTS[:2]).tolist() == [[3, 10, 3], [2, 16, 12]] and short(TEXTS[2:3]).tolist() == [[0] * 3]


def test_words_become_vectors() -> None:
    counts = adapted(output_mode="count", max_tokens=4)
    assert counts.get_vocabulary() == ["[UNK]", "the", "hello", "äb"]
    assert counts(TEXTS[:2]).tolist() == [[1, 0, 2, 0], [4, 2, 0, 0]]
    hot = adapted(output_mode="multi_hot", max_tokens=4, pad_to_max_tokens=True)
    assert hot(TEXTS[:2]).tolist() == [[1, 0, 1, 0], [1, 1, 0, 0]]
    weighted = adapted(output_mode="tf_idf", max_tokens=4)
    np.testing.assert_allclose(weighted(TEXTS[:1]), [[1.252763, 0, 2.505526, 0]], rtol=1e-6)
    given = L.TextVectorization(vocabulary=["a", "b", "c"], output_mode="tf_idf", idf_weights=[0.1, 0.2, 0.6])
    np.testing.assert_allclose(given(["a b z", "c c"]), [[0.3, 0.1, 0.2, 0], [0, 0, 0, 1.2]], rtol=1e-6)


def test_ways_to_standardize_and_split() -> None:
    runs = L.TextVectorization(ngrams=(2, 3), vocabulary=["cats sat", "the cats sat"])
    assert runs(TEXTS[1:2]).tolist() == [[1, 2, 1, 1, 1, 3, 1, 1, 1]]
    letters = adapted(split="character", standardize="lower")
    assert letters.get_vocabulary()[2:8] == [" ", "t", "l", "o", "h", "e"]
    whole = adapted(split=None, standardize=None)
    assert whole(TEXTS[:4].reshape(2, 2)).tolist() == [[5, 4], [0, 2]]
    strings = names("strings")

    def without_breaks(x: Any) -> Any:
        return strings["regex_replace"](strings["lower"](x), f"[{re.escape('!.')}]|<br />", " ")

    own = L.TextVectorization(
        standardize=without_breaks, split=lambda x: np.char.split(x, " "), vocabulary=["a", "b"]
    )
    assert own(["A!b", "a<br />B"]).tolist() == [[2, 3], [2, 3]]
    with pytest.raises(InputError, match="shape"):
        adapted()(TEXTS[:4].reshape(2, 2))


def test_state_goes_with_configurations() -> None:
    layer = adapted(output_mode="tf_idf")
    again = L.TextVectorization.from_config(layer.get_config())
    np.testing.assert_allclose(again(TEXTS), layer(TEXTS))
    again.adapt(np.array(["new"]))  # as what was learned may be
    assert again.get_vocabulary() == ["[UNK]", "new"]
    with pytest.raises(InputError, match="a vocabulary was given"):
        L.TextVectorization(vocabulary=["a"]).adapt(TEXTS)
    parts = L.TextVectorization()
    parts.adapt([TEXTS[:2], TEXTS[2:]])
    assert parts.get_vocabulary() == adapted().get_vocabulary()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"ragged": True}, "zeros"),
        ({"sparse": True}, "sparse"),
        ({"output_mode": "one_hot"}, "multi_hot"),
        ({"split": "letters"}, "whitespace"),
        ({"ngrams": 0}, "positive"),
        ({"output_mode": "count", "output_sequence_length": 3}, "output_sequence_length"),
    ],
)
def test_what_is_refused_says_what_to_do(options: dict[str, Any], why: str) -> None:
    with pytest.raises(KcompileError, match=why):
        L.TextVectorization(**options)


# ---- in models

DATA = {
    "text": np.array([["the cat"], ["a dog ran"], ["the the mat"], ["b"]]),
    "number": np.arange(8, dtype=np.float32).reshape(4, 2),
    "key": np.array([[3], [70], [-5], [3]]),
    "kind": np.array(["red", "green", "blue", "red"]),
}


def mixed() -> tuple[Any, Any, list[Any]]:
    """A model of texts, whole numbers that are hashed, and numbers; and that of what its layers give."""
    words, kinds = (
        adapted(output_mode="count"),
        L.StringLookup(vocabulary=["red", "green"], output_mode="one_hot"),
    )
    hashed = L.Hashing(5, output_mode="one_hot")
    inputs = {
        "text": keras3.Input((1,), dtype="string", name="text"),
        "number": keras3.Input((2,), name="number"),
        "key": keras3.Input((1,), dtype="int64", name="key"),
        "kind": keras3.Input((), dtype="string", name="kind"),
    }
    made = [words(inputs["text"]), inputs["number"], hashed(inputs["key"]), kinds(inputs["kind"])]
    dense = L.Dense(2)
    model = keras3.Model(inputs, dense(L.Concatenate()(made)))
    behind = [keras3.Input(t.shape[1:]) for t in made]
    rest = keras3.Model(behind, dense(L.Concatenate()(behind)))
    arrays = [words(DATA["text"]), DATA["number"], hashed(DATA["key"]), kinds(DATA["kind"])]
    return model, rest, arrays


def test_layers_of_texts_are_the_beginning_of_models() -> None:
    model, rest, arrays = mixed()
    np.testing.assert_array_equal(model.predict(DATA, verbose=0), rest.predict(arrays, verbose=0))
    y = np.ones((4, 2))
    before = model.get_weights()
    losses = []
    for each, x in ((model, DATA), (rest, arrays)):
        rest.set_weights(before)
        each.compile("sgd", "mse")
        losses.append(each.fit(x, y, epochs=2, shuffle=False, verbose=0).history["loss"])
        losses[-1].append(each.evaluate(x, y, verbose=0))
    assert losses[0] == losses[1]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(DATA, verbose=0), model.predict(DATA, verbose=0))
    with pytest.raises(UnsupportedError, match="Export a model of the layers behind them"):
        kcompile.export(model, "unused.so")


def test_batches_are_as_long_as_their_longest_text() -> None:
    layer = tf_keras.layers.TextVectorization(vocabulary=["a", "b"])
    embedded = tf_keras.layers.Embedding(4, 1, weights=[np.array([[0.0], [1], [2], [3]])])
    model = tf_keras.Sequential([layer, embedded, tf_keras.layers.GlobalAveragePooling1D()])
    texts = ["a", "b b", "a a a a", "b"]
    found = model.predict(texts, batch_size=2, verbose=0)
    np.testing.assert_allclose(found, [[1], [3], [2], [0.75]])
    assert model.input_shape == (None,) and model.output_shape == (None, 1)
    tf = names("")
    assert tf["expand_dims"](TEXTS[:2], -1).shape == tf["reshape"](TEXTS[:2], [2, 1]).shape == (2, 1)
    assert tf["squeeze"](TEXTS[:2, None], axis=1).tolist() == TEXTS[:2].tolist()
    assert tf["expand_dims"](np.ones(3), 0).shape == (1, 3)
    data = names("data")["Dataset"].from_tensor_slices(texts).batch(2)
    np.testing.assert_allclose(model.predict(data, verbose=0), found)
    ready = data.map(layer)
    assert [x.shape for x in ready] == [(2, 2), (2, 4)]


def test_texts_for_a_model_have_its_shape() -> None:
    model = mixed()[0]
    with pytest.raises(InputError, match="text"):
        model.predict({**DATA, "text": np.array([["a", "b"]] * 4)})
    with pytest.raises(ModelError, match="texts"):
        L.Dense(1)(keras3.Input((2,), dtype="string"))


def test_a_model_of_texts_trains_inside_another() -> None:
    words = L.TextVectorization(vocabulary=["red", "blue"], output_sequence_length=3)
    chain = [keras3.Input((1,), dtype="string"), words, L.Embedding(4, 3), L.GlobalAveragePooling1D()]
    inner = keras3.Sequential([*chain, L.BatchNormalization()])
    texts, numbers = keras3.Input((1,), dtype="string"), keras3.Input((2,))
    end = L.Dense(1)
    outer = keras3.Model([texts, numbers], end(L.Concatenate()([inner(texts), numbers])))
    x = [np.array([["red blue"], ["x"], ["blue"]]), np.ones((3, 2), np.float32)]
    y = np.array([[0.0], [1.0], [2.0]])
    outer.compile(keras3.optimizers.SGD(0.1), "mse")
    before = inner.get_weights()
    losses = outer.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]
    assert all(np.abs(a - b).max() > 0 for a, b in zip(before, inner.get_weights()))
    right = end(np.concatenate([inner.predict(x[0], verbose=0), x[1]], 1))
    np.testing.assert_allclose(outer.predict(x, verbose=0), right, rtol=1e-5, atol=1e-6)
    again = keras3.Model.from_config(outer.get_config())
    again.set_weights(outer.get_weights())
    np.testing.assert_array_equal(again.predict(x, verbose=0), outer.predict(x, verbose=0))


def test_numbers_without_a_place_are_found_by_their_hash() -> None:
    """As Keras 3.15 does."""
    x = np.array([[1, 5, 99, -7], [42, 7, 3, 123456789]])
    options = {"vocabulary": [1, 42, 3], "num_oov_indices": 4, "oov_method": "farmhash"}
    layer = L.IntegerLookup(**options)
    assert layer(x).tolist() == [[4, 3, 2, 2], [5, 0, 6, 2]]
    salted = L.IntegerLookup(**options, salt=3, mask_token=5)
    assert salted(x).tolist() == [[5, 0, 2, 2], [6, 2, 7, 2]]
    given = keras3.Input((4,), dtype="int64")
    model = keras3.Model(given, L.Embedding(8, 2)(L.IntegerLookup.from_config(salted.get_config())(given)))
    assert model.predict(x, verbose=0).shape == (2, 4, 2)
    with pytest.raises(ModelError, match="oov_method='farmhash'"):
        L.IntegerLookup(vocabulary=[1], salt=3)


def test_vocabularies_are_the_lines_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("red\nblue\n")
    (tmp_path / "numbers.txt").write_text("3\n7")
    words, numbers = str(tmp_path / "words.txt"), str(tmp_path / "numbers.txt")
    assert L.StringLookup(vocabulary=words)(["blue", "x"]).tolist() == [2, 0]
    assert L.StringLookup(vocabulary=words, max_tokens=2).get_vocabulary() == ["[UNK]", "red", "blue"]
    assert L.IntegerLookup(vocabulary=numbers)(np.array([7, 3, 1])).tolist() == [2, 1, 0]
    assert L.TextVectorization(vocabulary=words)(["red green"]).tolist() == [[2, 1]]
    for wrong in ({"vocabulary": str(tmp_path / "none.txt")}, {"vocabulary": words, "output_mode": "tf_idf"}):
        with pytest.raises(ModelError, match="vocabulary: expected"):
            L.StringLookup(**wrong)
    with pytest.raises(ModelError, match="a whole number in each line"):
        L.IntegerLookup(vocabulary=words)
    text = tf_keras.Input((1,), dtype="string")
    model = tf_keras.Model(text, tf_keras.layers.StringLookup(vocabulary=words, output_mode="count")(text))
    told = json.loads(model.to_json())
    told["config"]["layers"][1]["config"]["vocabulary"] = words  # as tf.keras writes it
    with pytest.raises(UnsupportedError, match="which no model has read"):
        tf_keras.models.model_from_json(json.dumps(told))
    again = tf_keras.models.model_from_json(json.dumps(told), {words: ["red", "blue"]})
    assert again.predict([["red"]], verbose=0).tolist() == [[0, 1, 0]]

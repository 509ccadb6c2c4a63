"""Words of texts, their numbers, and matrices of them. Values: keras-preprocessing 1.1."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kcompile.keras.preprocessing.text import (
    Tokenizer,
    hashing_trick,
    one_hot,
    text_to_word_sequence,
    tokenizer_from_json,
)
from kcompile_runtime.errors import InputError, InputTypeError

TEXTS = ["The cat sat on the mat.", "The dog sat on the log!", "Dogs and cats living together."]


@pytest.mark.parametrize(
    "text, options, words",
    [
        ("Hello, 'World'!  Again", {}, ["hello", "'world'", "again"]),
        ("Hello, World", {"lower": False}, ["Hello", "World"]),
        ("a.b,c", {"filters": ","}, ["a.b", "c"]),
        ("hello!stop?world", {"split": "stop"}, ["hello", "world"]),
        ("über !@# mich", {}, ["über", "mich"]),
        ("", {}, []),
    ],
)
def test_words_of_a_text(text, options, words):
    assert text_to_word_sequence(text, **options) == words


def test_hashes_of_words():
    assert hashing_trick("The cat sat on the cat", 100, "md5") == [51, 3, 10, 28, 51, 3]
    assert hashing_trick("a bb ccc", 3, len) == [2, 1, 2]
    assert hashing_trick("a b", 9, len, analyzer=lambda text: [text]) == [4]
    assert one_hot("a b a", 50) == [hash(w) % 49 + 1 for w in "aba"] == hashing_trick("a b a", 50)
    with pytest.raises(InputError, match="n: expected an integer of at least 2"):
        hashing_trick("a", 1)
    with pytest.raises(InputError, match="hash_function"):
        hashing_trick("a", 9, "sha1")


def fitted(**options):
    tokenizer = Tokenizer(**options)
    tokenizer.fit_on_texts(TEXTS)
    return tokenizer


def test_words_are_numbered_by_how_often_they_occur():
    tokenizer = fitted()
    assert tokenizer.document_count == 3
    assert list(tokenizer.word_index)[:4] == ["the", "sat", "on", "cat"]
    assert tokenizer.word_counts["the"] == 4 and tokenizer.word_docs["the"] == 2
    assert tokenizer.index_docs[1] == 2 and tokenizer.index_word[4] == "cat"
    assert tokenizer.texts_to_sequences(["the unknown cat", ["THE", "dog"]]) == [[1, 4], [1, 6]]
    assert tokenizer.sequences_to_texts([[1, 4, 99, 2]]) == ["the cat sat"]
    assert list(tokenizer.texts_to_sequences_generator(["sat"])) == [[2]]
    assert list(tokenizer.sequences_to_texts_generator([[2]])) == ["sat"]


def test_limits_and_words_without_a_number():
    tokenizer = fitted(num_words=4, oov_token="?")
    assert tokenizer.word_index["?"] == 1
    assert tokenizer.texts_to_sequences(["the cat sat", "nobody"]) == [[2, 1, 3], [1]]
    assert tokenizer.sequences_to_texts([[2, 5, 77]]) == ["the ? ?"]
    assert fitted(num_words=3).texts_to_sequences(["the sat on"]) == [[1, 2]]
    with pytest.raises(InputError, match="Call fit_on_texts"):
        Tokenizer(oov_token="?").texts_to_sequences(["a"])


def test_characters_tuples_and_analyzers():
    tokenizer = Tokenizer(char_level=True)
    tokenizer.fit_on_texts(["aab", "A"])
    assert tokenizer.texts_to_sequences(["Bac"]) == [[2, 1]]
    tokenizer = Tokenizer(analyzer=lambda text: text.split("-"))
    tokenizer.fit_on_texts(["a b-c", ("C", "d")])
    assert tokenizer.word_index == {"c": 1, "a b": 2, "d": 3}
    with pytest.raises(InputError, match="no analyzer"):
        tokenizer.to_json()


@pytest.mark.parametrize(
    "mode, row",
    [
        ("binary", [0, 1, 0, 1]),
        ("count", [0, 2, 0, 1]),
        ("freq", [0, 0.5, 0, 0.25]),
        ("tfidf", [0, (1 + np.log(2)) * np.log(2), 0, np.log(2)]),
    ],
)
def test_matrices(mode, row):
    tokenizer = fitted(num_words=4)
    matrix = tokenizer.sequences_to_matrix([[1, 1, 3, 9], []], mode)
    assert matrix.dtype == np.float64 and matrix.shape == (2, 4)
    assert np.allclose(matrix, [row, [0] * 4])
    assert np.allclose(tokenizer.texts_to_matrix(["the the on"], "count"), [[0, 2, 0, 1]])


def test_matrices_of_numbers_alone():
    tokenizer = Tokenizer(num_words=3)
    tokenizer.fit_on_sequences([[1, 1, 2], np.array([2])])
    assert tokenizer.index_docs == {1: 1, 2: 2} and tokenizer.document_count == 2
    matrix = tokenizer.sequences_to_matrix([np.array([2])], "tfidf")
    assert np.allclose(matrix, [[0, 0, np.log(1 + 2 / 3)]])
    with pytest.raises(InputError, match="num_words, or texts"):
        Tokenizer().sequences_to_matrix([[1]])
    with pytest.raises(InputError, match="tfidf"):
        Tokenizer(5).sequences_to_matrix([[1]], "tfidf")
    with pytest.raises(InputError, match="mode: expected 'binary'"):
        tokenizer.sequences_to_matrix([[1]], "other")


def test_a_tokenizer_as_text_and_back():
    tokenizer = fitted(num_words=8, oov_token="?", filters=",!.")
    text = tokenizer.to_json(indent=2)
    config = json.loads(text)
    assert config["class_name"] == "Tokenizer" and json.loads(config["config"]["index_word"])["1"] == "?"
    again = tokenizer_from_json(text)
    assert again.get_config() == tokenizer.get_config()
    matrices = [t.texts_to_matrix(TEXTS, "tfidf").tolist() for t in (again, tokenizer)]
    assert matrices[0] == matrices[1]
    again.fit_on_texts(["cat cat cat cat cat"])
    assert again.word_index["cat"] == 2 and again.index_docs[2] == 2
    for wrong in ("", "3", "{}", '{"config": 3}', json.dumps({"config": {**config["config"], "x": 1}})):
        with pytest.raises(InputError, match="tokenizer_from_json"):
            tokenizer_from_json(wrong)


def test_the_older_name_of_num_words():
    with pytest.warns(UserWarning, match="nb_words is num_words") as told:
        assert Tokenizer(nb_words=5).num_words == 5
    assert len(told) == 1
    with pytest.raises(InputTypeError, match="'words'"):
        Tokenizer(words=3)

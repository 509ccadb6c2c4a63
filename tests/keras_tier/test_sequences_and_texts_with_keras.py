"""Padding, pairs, windows and tokenizers beside keras-preprocessing 1.1."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompile.keras.preprocessing import sequence, text

theirs_sequence = pytest.importorskip("keras_preprocessing.sequence")
theirs_text = pytest.importorskip("keras_preprocessing.text")

if not hasattr(np, "unicode_"):  # as numpy had before 2
    np.unicode_ = np.str_

SIDES = st.sampled_from(["pre", "post"])
TEXTS = st.lists(st.text("abC d,.!\t", max_size=12), min_size=1, max_size=5)


@given(
    st.lists(st.lists(st.integers(0, 99), max_size=6), min_size=1, max_size=5),
    st.none() | st.integers(1, 8),
    st.sampled_from(["int32", "float64", "uint8"]),
    SIDES,
    SIDES,
    st.integers(0, 9),
)
def test_padding(sequences, maxlen, dtype, padding, truncating, value):
    arguments = (sequences, maxlen, dtype, padding, truncating, value)
    ours, theirs = sequence.pad_sequences(*arguments), theirs_sequence.pad_sequences(*arguments)
    assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)


@given(
    st.lists(st.integers(0, 9), max_size=12),
    st.integers(0, 4),
    st.sampled_from([0, 0.5, 1.0, 2.3]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
def test_pairs_of_the_same_random_numbers(words, window, negative, shuffle, categorical, sampled, seed):
    found = []
    for module in (sequence, theirs_sequence):
        random.seed(7)
        table = module.make_sampling_table(10, 0.1) if sampled else None
        pairs = module.skipgrams(words, 10, window, negative, shuffle, categorical, table, seed)
        found.append((pairs, random.random()))
    assert found[0] == found[1]


@given(st.integers(1, 300), st.floats(1e-6, 1))
def test_sampling_tables(size, factor):
    ours, theirs = (m.make_sampling_table(size, factor) for m in (sequence, theirs_sequence))
    assert np.array_equal(ours, theirs)


@given(
    st.integers(0, 5),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 6),
    st.none() | st.integers(5, 19),
    st.booleans(),
    st.booleans(),
    st.integers(1, 7),
)
def test_windows(length, rate, stride, start, end, shuffle, reverse, size):
    data, targets = np.arange(40).reshape(20, 2) / 2, np.arange(20)
    made = []
    for module in (sequence, theirs_sequence):
        arguments = (data, targets, length, rate, stride, start, end, shuffle, reverse, size)
        try:
            made.append(module.TimeseriesGenerator(*arguments))
        except ValueError:
            made.append(None)
    if None in made:
        assert made == [None, None]
        return
    ours, theirs = made
    assert len(ours) == len(theirs) and ours.to_json() == theirs.to_json()
    for i in range(len(ours)):
        np.random.seed(i)
        batches = ours[i]
        np.random.seed(i)
        assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(batches, theirs[i]))


@given(
    TEXTS,
    TEXTS,
    st.none() | st.integers(1, 6),
    st.booleans(),
    st.booleans(),
    st.none() | st.sampled_from(["unknown", "ab"]),
    st.sampled_from([" ", ",", "b"]),
)
@settings(max_examples=200)
def test_tokenizers(texts, others, num_words, lower, char_level, oov_token, split):
    ours, theirs = (
        m.Tokenizer(num_words, lower=lower, split=split, char_level=char_level, oov_token=oov_token)
        for m in (text, theirs_text)
    )
    for tokenizer in (ours, theirs):
        tokenizer.fit_on_texts(texts)
        tokenizer.fit_on_texts([["ab", "Zz"], "c"])
        tokenizer.fit_on_sequences([[1, 2, 2], [3]])
    assert ours.get_config() == {**theirs.get_config(), "index_docs": ours.get_config()["index_docs"]}
    assert ours.index_docs == theirs.index_docs and ours.word_docs == theirs.word_docs
    numbers = ours.texts_to_sequences(others)
    assert numbers == theirs.texts_to_sequences(others)
    assert ours.sequences_to_texts([[1, 2, 9, 3], *numbers]) == theirs.sequences_to_texts(
        [[1, 2, 9, 3], *numbers]
    )
    for mode in ("binary", "count", "tfidf", "freq"):
        found, expected = ours.texts_to_matrix(others, mode), theirs.texts_to_matrix(others, mode)
        assert found.dtype == expected.dtype and np.allclose(found, expected, rtol=1e-15)
    again, other = text.tokenizer_from_json(theirs.to_json()), theirs_text.tokenizer_from_json(ours.to_json())
    assert again.texts_to_sequences(others) == other.texts_to_sequences(others) == numbers


@given(st.text("aB ,.é", max_size=20), st.integers(2, 50), st.booleans(), st.sampled_from([" ", "a"]))
def test_hashes(words, n, lower, split):
    for function in (None, "md5", len):
        arguments = (words, n, function, ",.", lower, split)
        assert text.hashing_trick(*arguments) == theirs_text.hashing_trick(*arguments)
    assert text.one_hot(words, n, ",", lower, split) == theirs_text.one_hot(words, n, ",", lower, split)

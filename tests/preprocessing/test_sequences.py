"""Padded sequences, pairs of words, and windows of a series. Values: keras-preprocessing 1.1."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from kcompile import keras
from kcompile.keras.preprocessing.sequence import (
    TimeseriesGenerator,
    make_sampling_table,
    pad_sequences,
    skipgrams,
    timeseries_generator_from_json,
)
from kcompile_runtime.errors import InputError, InputTypeError

ROWS = [[1], [2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize(
    "options, rows",
    [
        ({}, [[0, 0, 0, 1], [0, 0, 2, 3], [4, 5, 6, 7]]),
        ({"maxlen": 3}, [[0, 0, 1], [0, 2, 3], [5, 6, 7]]),
        ({"maxlen": 3, "truncating": "post"}, [[0, 0, 1], [0, 2, 3], [4, 5, 6]]),
        ({"maxlen": 3, "padding": "post", "value": 9}, [[1, 9, 9], [2, 3, 9], [5, 6, 7]]),
        ({"maxlen": 0}, [[], [], []]),
    ],
)
def test_padding_and_truncating(options, rows):
    padded = pad_sequences(ROWS, **options)
    assert padded.dtype == np.int32 and padded.tolist() == rows


def test_padding_of_vectors_and_of_text():
    padded = pad_sequences([[], [[1, 2]], np.ones((3, 2))], maxlen=2, dtype="float32", value=-1.0)
    assert padded.dtype == np.float32
    assert padded.tolist() == [[[-1, -1]] * 2, [[-1, -1], [1, 2]], [[1, 1], [1, 1]]]
    assert pad_sequences([["a"], ["b", "c"]], dtype=object, value="").tolist() == [["", "a"], ["b", "c"]]
    assert pad_sequences([], maxlen=3).shape == (0, 3)


@pytest.mark.parametrize(
    "arguments, told",
    [
        (([[1]], None, "int32", "before"), "padding: expected 'pre' or 'post'"),
        (([[1]], None, "int32", "pre", "after"), "truncating: expected 'pre' or 'post'"),
        (([[1], 2],), "sequence 1: expected a list or an array"),
        ((3,), "expected a list of sequences"),
        (([],), "at least one sequence, or maxlen"),
        (([[[1, 2]], [[1]]],), r"sequence 1: expected steps of shape \(2,\). Received: \(1,\)"),
        (([["a"]], None, "int32", "pre", "pre", "x"), "expected object"),
        (([[1]], -1), "maxlen"),
    ],
)
def test_what_cannot_be_padded(arguments, told):
    with pytest.raises(InputError, match=told):
        pad_sequences(*arguments)


def test_sampling_table():
    table = make_sampling_table(5, 0.1)
    expected = [0.31522479, 0.31522479, 0.54759727, 0.74155641, 0.91281675]
    assert np.allclose(table, expected, rtol=1e-7) and table.dtype == np.float64


def test_pairs_are_of_the_window_and_the_seed():
    couples, labels = skipgrams([1, 0, 2, 3], 10, window_size=2, negative_samples=0, shuffle=False)
    assert couples == [[1, 2], [2, 1], [2, 3], [3, 2]] and labels == [1] * 4
    random.seed(3)
    couples, labels = skipgrams([1, 2, 3], 10, window_size=1, seed=5, categorical=True)
    assert sorted(labels) == [[0, 1]] * 4 + [[1, 0]] * 4
    neighbours = {tuple(c) for c, label in zip(couples, labels) if label == [0, 1]}
    assert neighbours == {(1, 2), (2, 1), (2, 3), (3, 2)}
    assert all(1 <= other <= 9 for _, other in couples)
    after = random.random()
    random.seed(3)
    assert skipgrams([1, 2, 3], 10, window_size=1, seed=5, categorical=True) == (couples, labels)
    assert random.random() == after


def test_sampled_words_alone_have_pairs():
    table = [1.0, 1.0, 0.0]
    couples, _ = skipgrams([1, 2, 1], 3, negative_samples=0, sampling_table=table)
    assert {first for first, _ in couples} == {1}


SERIES = np.arange(50).reshape(50, 1)


def test_windows_of_the_manual():
    generator = TimeseriesGenerator(SERIES, SERIES, length=10, sampling_rate=2, batch_size=2)
    x, y = generator[0]
    assert len(generator) == 20
    assert x.tolist() == [[[0], [2], [4], [6], [8]], [[1], [3], [5], [7], [9]]]
    assert y.tolist() == [[10], [11]]
    assert [len(y) for _, y in TimeseriesGenerator(SERIES, SERIES, 10, batch_size=30)] == [30, 10]


def test_windows_of_lists_reversed_with_strides():
    values = list(range(20))
    generator = TimeseriesGenerator(values, values, 3, stride=4, start_index=2, end_index=15, reverse=True)
    x, y = generator[0]
    assert x.tolist() == [[4, 3, 2], [8, 7, 6], [12, 11, 10]] and y.tolist() == [5, 9, 13]


def test_random_windows_are_of_numpys_generator():
    generator = TimeseriesGenerator(SERIES, SERIES, 4, shuffle=True, batch_size=3)
    np.random.seed(0)
    rows = np.random.randint(4, 50, size=3)
    np.random.seed(0)
    assert generator[0][1][:, 0].tolist() == rows.tolist()


def test_windows_as_text_and_back():
    generator = TimeseriesGenerator(SERIES, SERIES, 10, 2, 3, 5, 40, False, True, 4)
    config = json.loads(generator.to_json(indent=1))
    assert config["class_name"] == "TimeseriesGenerator" and config["config"]["start_index"] == 15
    again = timeseries_generator_from_json(generator.to_json())
    assert len(again) == len(generator) and again.get_config() == generator.get_config()
    for a, b in zip(again, generator):
        assert np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])


def test_windows_that_cannot_be():
    with pytest.raises(InputError, match=r"a target for each step. Received: 50 and 3"):
        TimeseriesGenerator(SERIES, SERIES[:3], 2)
    with pytest.raises(InputError, match=r"start_index\+length=50 > end_index=49"):
        TimeseriesGenerator(SERIES, SERIES, 50)
    with pytest.raises(InputError, match="stride"):
        TimeseriesGenerator(SERIES, SERIES, 5, stride=0)
    with pytest.raises(InputTypeError, match="data"):
        TimeseriesGenerator([{1}, {2}, {3}], [1, 2, 3], 1).to_json()
    for text in ("", "[]", '{"config": {}}', '{"config": {"data": "[1]", "targets": "[1]", "no": 1}}'):
        with pytest.raises(InputError, match="timeseries_generator_from_json"):
            timeseries_generator_from_json(text)


def test_a_model_is_fitted_on_windows():
    generator = TimeseriesGenerator(SERIES / 50, SERIES / 50, 4, batch_size=8)
    assert isinstance(generator, keras.utils.Sequence)
    model = keras.Sequential([keras.layers.Flatten(input_shape=(4, 1)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(generator, epochs=2, verbose=0)
    assert history.history["loss"][1] < history.history["loss"][0]


class Squares(keras.utils.Sequence):
    """Three batches; counts the ends of epochs."""

    ended = 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.full((2, 1), index), np.full((2, 1), index**2)

    def on_epoch_end(self):
        self.ended += 1


def test_a_sequence_of_batches():
    batches = Squares()
    assert [y[0, 0] for _, y in batches] == [0, 1, 4]
    model = keras.Sequential([keras.layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse")
    model.fit(batches, epochs=2, verbose=0)
    assert batches.ended == 2 and model.predict(batches).shape == (6, 1)
    with pytest.raises(NotImplementedError, match="__getitem__"):
        keras.utils.Sequence()[0]
    with pytest.raises(NotImplementedError, match="__len__"):
        len(keras.utils.Sequence())

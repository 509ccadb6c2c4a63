"""IMDB: 50,000 reviews of films as numbers of words, from Keras' cache or the network."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.keras.datasets import texts
from kcompile.keras.datasets.published import fetch
from kcompile.keras.datasets.stored import read_npz
from kcompile.keras.preprocessing.sequence import remove_long_sequences

Split = tuple[np.ndarray, np.ndarray]


def load_data(
    path: str = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
    refill: bool = True,
    **kwargs: Any,
) -> tuple[Split, Split]:
    """The reviews as `(x_train, y_train), (x_test, y_test)`, shuffled by the seed.

    path: of the file in Keras' cache. Words have numbers by how often they occur, to which index_from is
    added; those from num_words on and below skip_top become oov_char, or are left out where that is None.
    start_char: begins each review, None for nothing. maxlen: reviews are shorter than that; refill: as many
    are for training as were before the others were left out, so that it has some of those for test, as
    Keras 2 does (since tf.keras: not).
    Returns x: arrays of lists of numbers; y: 0 or 1. Raises InputError (a ValueError) where no review is
    short enough, FetchError where the file is not there and cannot be loaded.
    """
    num_words = texts.renamed("imdb", num_words, kwargs)
    file = fetch("imdb.npz", path)
    x_train, y_train, x_test, y_test = read_npz(file, ("x_train", "y_train", "x_test", "y_test"))
    generator = np.random.RandomState(seed)
    train, test = (_order(generator, len(x)) for x in (x_train, x_test))
    split = len(x_train)
    parts = [(x_train[train], y_train[train]), (x_test[test], y_test[test])]
    reviews = [texts.shifted(x, start_char, index_from) for x, _ in parts]
    labels = [list(y) for _, y in parts]
    if maxlen:
        shorter = [remove_long_sequences(maxlen, *part) for part in zip(reviews, labels)]
        reviews, labels = [x for x, _ in shorter], [y for _, y in shorter]
        split = split if refill else len(reviews[0])
    x = texts.cut("imdb", reviews[0] + reviews[1], num_words, skip_top, oov_char)
    y = labels[0] + labels[1]
    return texts.as_split(x[:split], y[:split]), texts.as_split(x[split:], y[split:])


def _order(generator: np.random.RandomState, count: int) -> np.ndarray:
    order = np.arange(count)
    generator.shuffle(order)
    return order


def get_word_index(path: str = "imdb_word_index.json") -> dict[str, int]:
    """The numbers of words, without index_from. path: of the file in Keras' cache."""
    return texts.word_index("imdb_word_index.json", path)

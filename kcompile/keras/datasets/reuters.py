"""Reuters: 11,228 newswires as numbers of words, of 46 topics, from Keras' cache or the network."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.keras.datasets import texts
from kcompile.keras.datasets.published import fetch
from kcompile.keras.datasets.stored import read_npz
from kcompile.keras.preprocessing.sequence import remove_long_sequences

Split = tuple[np.ndarray, np.ndarray]


def load_data(
    path: str = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
    **kwargs: Any,
) -> tuple[Split, Split]:
    """The newswires as `(x_train, y_train), (x_test, y_test)`, shuffled by the seed.

    path: of the file in Keras' cache. test_split: the share held back for test. The others: see
    `imdb.load_data`; newswires as long as maxlen, or longer, are left out.
    Returns x: arrays of lists of numbers; y: 0 to 45. Raises InputError (a ValueError) where no newswire is
    short enough, FetchError where the file is not there and cannot be loaded.
    """
    num_words = texts.renamed("reuters", num_words, kwargs)
    x, y = read_npz(fetch("reuters.npz", path), ("x", "y"))
    order = np.arange(len(x))
    np.random.RandomState(seed).shuffle(order)
    wires, labels = texts.shifted(x[order], start_char, index_from), list(y[order])
    if maxlen:
        wires, labels = remove_long_sequences(maxlen, wires, labels)
    wires = texts.cut("reuters", wires, num_words, skip_top, oov_char)
    split = int(len(wires) * (1 - test_split))
    return texts.as_split(wires[:split], labels[:split]), texts.as_split(wires[split:], labels[split:])


def get_word_index(path: str = "reuters_word_index.json") -> dict[str, int]:
    """The numbers of words, without index_from. path: of the file in Keras' cache."""
    return texts.word_index("reuters_word_index.json", path)


def get_label_names() -> tuple[str, ...]:
    """The topics of the numbers 0 to 45."""
    return TOPICS


TOPICS = (
    *("cocoa", "grain", "veg-oil", "earn", "acq", "wheat", "copper", "housing", "money-supply"),
    *("coffee", "sugar", "trade", "reserves", "ship", "cotton", "carcass", "crude", "nat-gas"),
    *("cpi", "money-fx", "interest", "gnp", "meal-feed", "alum", "oilseed", "gold", "tin"),
    *("strategic-metal", "livestock", "retail", "ipi", "iron-steel", "rubber", "heat", "jobs"),
    *("lei", "bop", "zinc", "orange", "pet-chem", "dlr", "gas", "silver", "wpi", "hog", "lead"),
)

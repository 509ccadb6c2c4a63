"""What the data sets of texts share: numbers of words, of which some mean something else.

Enters: texts as lists of word numbers, 1 for the most frequent. Leaves: arrays of lists.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from kcompile.keras.datasets.published import fetch
from kcompile.keras.keras1 import Spelling, translated
from kcompile_runtime.errors import InputError, InputTypeError, describe

Texts = list[list[int]]


def shifted(texts: Any, start_char: int | None, index_from: int | None) -> Texts:
    """The texts with their numbers raised by index_from, and a number before the first."""
    raised = index_from or 0
    start = [] if start_char is None else [start_char]
    return [start + [word + raised for word in text] for text in texts]


def cut(name: str, texts: Texts, num_words: int | None, skip_top: int, oov_char: int | None) -> Texts:
    """The texts with words from num_words on, and those below skip_top, replaced by oov_char, or left out
    where that is None. num_words: default the largest number, which is replaced too, as in Keras. Raises
    InputError for no text."""
    if not texts:
        raise InputError(
            describe(f"{name}.load_data: maxlen", "more than the length of some text", "none is shorter")
        )
    limit = num_words or max(max(text, default=0) for text in texts)
    if oov_char is None:
        return [[word for word in text if skip_top <= word < limit] for text in texts]
    return [[word if skip_top <= word < limit else oov_char for word in text] for text in texts]


def as_split(texts: Texts, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """An array of lists, and one of labels."""
    array = np.empty(len(texts), dtype=object)
    for i, text in enumerate(texts):  # numpy would look into lists of one length
        array[i] = text
    return array, np.array(labels, dtype=None if len(labels) else np.int64)


def renamed(name: str, num_words: int | None, old: dict[str, Any]) -> int | None:
    """num_words, also under its older name nb_words. Raises InputTypeError for other arguments."""
    given = translated(f"{name}.load_data", Spelling({"nb_words": "num_words"}), (), old, stacklevel=4)[1]
    found = given.pop("num_words", num_words)
    if given:
        raise InputTypeError(
            describe(f"{name}.load_data", "the arguments of Keras' load_data", ", ".join(map(repr, given)))
        )
    return found


def word_index(name: str, path: str) -> dict[str, int]:
    """The numbers of words, from a JSON file in the cache."""
    file = fetch(name, path)
    try:
        with open(file, encoding="utf-8") as text:
            found = json.load(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file}: the file is damaged ({error}). Remove it, so that it is loaded again"
        ) from error
    if not isinstance(found, dict):
        raise InputError(describe(file, "an object with a number for each word", type(found).__name__))
    return found

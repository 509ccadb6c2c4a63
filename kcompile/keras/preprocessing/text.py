"""Texts as numbers of words.

Enters: texts, or lists of tokens. Leaves: lists of numbers, of which 0 is no word, or arrays with a column
for each word. Behaviour is that of keras-preprocessing 1.1, with Keras 2.3.1; `analyzer` is tf.keras'.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from hashlib import md5
from typing import Any

import numpy as np

from kcompile.keras.keras1 import Spelling, translated
from kcompile.keras.preprocessing.configuration import read_configuration
from kcompile_runtime.checks import check_count
from kcompile_runtime.errors import InputError, InputTypeError, describe

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'  # punctuation but for the apostrophe
MODES = ("binary", "count", "tfidf", "freq")

Analyzer = Callable[[Any], Iterable[Any]]


def text_to_word_sequence(
    text: str, filters: Iterable[str] = FILTERS, lower: bool = True, split: str = " "
) -> list[str]:
    """The words of a text. filters: characters that count as `split`, between which words are."""
    text = text.lower() if lower else text
    between: dict[str | int, str | int | None] = dict.fromkeys(filters, split)
    return [word for word in text.translate(str.maketrans(between)).split(split) if word]


def one_hot(
    text: str,
    n: int,
    filters: Iterable[str] = FILTERS,
    lower: bool = True,
    split: str = " ",
    analyzer: Analyzer | None = None,
) -> list[int]:
    """The words of a text as numbers from 1 to n - 1, by Python's `hash`, which differs between processes."""
    return hashing_trick(text, n, hash, filters, lower, split, analyzer)


def hashing_trick(
    text: str,
    n: int,
    hash_function: Callable[[Any], int] | str | None = None,
    filters: Iterable[str] = FILTERS,
    lower: bool = True,
    split: str = " ",
    analyzer: Analyzer | None = None,
) -> list[int]:
    """The words of a text as numbers from 1 to n - 1, by their hash. Several words may have the same number.

    hash_function: None for Python's `hash`, "md5" for one that is the same in every process, or a function.
    analyzer: makes the words of the text, in the place of filters, lower and split.
    """
    numbers = check_count("hashing_trick: n", n, 2) - 1
    hashed: Callable[[Any], int]
    if hash_function is None:
        hashed = hash
    elif hash_function == "md5":
        hashed = _md5
    elif callable(hash_function):
        hashed = hash_function
    else:
        raise InputError(
            describe("hashing_trick: hash_function", "None, 'md5' or a function", repr(hash_function))
        )
    words = text_to_word_sequence(text, filters, lower, split) if analyzer is None else analyzer(text)
    return [hashed(word) % numbers + 1 for word in words]


def _md5(word: str) -> int:
    return int(md5(word.encode(), usedforsecurity=False).hexdigest(), 16)


class Tokenizer:
    """Numbers words by how often they occur: 1 is the most frequent, 0 is no word.

    num_words: numbers from here on are left out (or become oov_token) when texts are converted; None for no
    limit. filters, lower, split: how texts become words (`text_to_word_sequence`). char_level: each character
    is a word. oov_token: stands for words that have no number, and has number 1. document_count: of texts
    that were counted before. analyzer: makes words of a text, in the place of filters and split.

    After `fit_on_texts`: word_counts, word_docs (in how many texts), word_index, index_word, index_docs.
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: Iterable[str] = FILTERS,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
        document_count: int = 0,
        analyzer: Analyzer | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs = translated("Tokenizer", Spelling({"nb_words": "num_words"}), (), kwargs)[1]
        num_words = kwargs.pop("num_words", num_words)
        if kwargs:
            raise InputTypeError(
                describe("Tokenizer", "the arguments of Keras' Tokenizer", ", ".join(map(repr, kwargs)))
            )
        self.num_words = num_words
        self.filters = filters
        self.lower = lower
        self.split = split
        self.char_level = char_level
        self.oov_token = oov_token
        self.document_count = document_count
        self.analyzer = analyzer
        self.word_counts: dict[Any, int] = OrderedDict()
        self.word_docs: dict[Any, int] = defaultdict(int)
        self.word_index: dict[Any, int] = {}
        self.index_word: dict[int, Any] = {}
        self.index_docs: dict[int, int] = defaultdict(int)

    # ---------------------------------------------------------------- counting

    def fit_on_texts(self, texts: Iterable[Any]) -> None:
        """Count the words of texts, or of lists of tokens, and number all that were counted so far."""
        for text in texts:
            self.document_count += 1
            words = self._words(text)
            for word in words:
                self.word_counts[word] = self.word_counts.get(word, 0) + 1
            for word in set(words):
                self.word_docs[word] = self.word_docs.get(word, 0) + 1
        ranked = sorted(self.word_counts, key=lambda word: -self.word_counts[word])
        numbered = ranked if self.oov_token is None else [self.oov_token, *ranked]
        self.word_index = {word: number for number, word in enumerate(numbered, 1)}
        self.index_word = {number: word for word, number in self.word_index.items()}
        for word, count in self.word_docs.items():
            self.index_docs[self.word_index[word]] = count

    def fit_on_sequences(self, sequences: Any) -> None:
        """Count in how many sequences each number is, for mode "tfidf" without texts."""
        self.document_count += len(sequences)
        for sequence in sequences:
            for number in set(sequence):
                self.index_docs[number] = self.index_docs.get(number, 0) + 1

    def _words(self, text: Any) -> list[Any]:
        if isinstance(text, (list, tuple)):
            return [word.lower() for word in text] if self.lower else list(text)
        if self.char_level:
            return list(text.lower() if self.lower else text)
        if self.analyzer is not None:
            return list(self.analyzer(text))
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    # ---------------------------------------------------------------- texts and numbers

    def texts_to_sequences(self, texts: Iterable[Any]) -> list[list[int]]:
        """For each text the numbers of its words. Words without one are left out, or oov_token's number."""
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts: Iterable[Any]) -> Iterator[list[int]]:
        """The same, one text after the other."""
        other = self._other()
        for text in texts:
            numbers = (self._within(self.word_index.get(word), other) for word in self._words(text))
            yield [number for number in numbers if number is not None]

    def sequences_to_texts(self, sequences: Iterable[Any]) -> list[str]:
        """For each sequence of numbers the words, with spaces between."""
        return list(self.sequences_to_texts_generator(sequences))

    def sequences_to_texts_generator(self, sequences: Iterable[Any]) -> Iterator[str]:
        """The same, one sequence after the other."""
        other = self._other()
        for sequence in sequences:
            known = (number if number in self.index_word else None for number in sequence)
            numbers = (self._within(number, other) for number in known)
            yield " ".join(self.index_word[number] for number in numbers if number is not None)

    def _other(self) -> int | None:
        """The number of words that have none: that of oov_token, None without one."""
        if self.oov_token is None:
            return None
        if self.oov_token not in self.word_index:
            raise InputError(
                describe(
                    "Tokenizer with oov_token", "texts that it was fitted on", "no text", "Call fit_on_texts"
                )
            )
        return self.word_index[self.oov_token]

    def _within(self, number: int | None, other: int | None) -> int | None:
        """The number, if it is one and below num_words, else that of other words."""
        return other if number is None or (self.num_words and number >= self.num_words) else number

    # ---------------------------------------------------------------- matrices

    def texts_to_matrix(self, texts: Iterable[Any], mode: str = "binary") -> np.ndarray:
        """A row for each text, a column for each number: see `sequences_to_matrix`."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences: Any, mode: str = "binary") -> np.ndarray:
        """A row for each sequence, a column for each number; float64 of shape (sequences, num_words).

        mode: "binary" (1 where the number occurs), "count", "freq" (the share of the sequence) or "tfidf",
        (1 + log count) log(1 + texts / (1 + texts with the number)). Raises InputError (a ValueError) for
        another mode, and when nothing was counted.
        """
        if mode not in MODES:
            raise InputError(describe("sequences_to_matrix: mode", ", ".join(map(repr, MODES)), repr(mode)))
        if not self.num_words and not self.word_index:
            raise InputError(
                describe("sequences_to_matrix", "num_words, or texts that were fitted on", "neither")
            )
        if mode == "tfidf" and not self.document_count:
            raise InputError(
                describe("sequences_to_matrix: mode 'tfidf'", "texts that were fitted on", "no text")
            )
        columns = self.num_words or len(self.word_index) + 1
        matrix = np.zeros((len(sequences), columns))
        for row, sequence in zip(matrix, sequences):
            for number, count in Counter(n for n in sequence if n < columns).items():
                row[number] = self._weight(mode, number, count, len(sequence))
        return matrix

    def _weight(self, mode: str, number: int, count: int, length: int) -> float:
        if mode == "tfidf":
            texts = 1 + self.index_docs.get(number, 0)
            return float((1 + np.log(count)) * np.log(1 + self.document_count / texts))
        return {"binary": 1.0, "count": float(count), "freq": count / length}[mode]

    # ---------------------------------------------------------------- configuration

    def get_config(self) -> dict[str, Any]:
        """The arguments, with what was counted as JSON."""
        return {
            "num_words": self.num_words,
            "filters": self.filters,
            "lower": self.lower,
            "split": self.split,
            "char_level": self.char_level,
            "oov_token": self.oov_token,
            "document_count": self.document_count,
            "word_counts": json.dumps(self.word_counts),
            "word_docs": json.dumps(self.word_docs),
            "index_docs": json.dumps(self.index_docs),
            "index_word": json.dumps(self.index_word),
            "word_index": json.dumps(self.word_index),
        }

    def to_json(self, **kwargs: Any) -> str:
        """The configuration as JSON, which `tokenizer_from_json` reads. kwargs: of json.dumps. Raises
        InputError for a tokenizer with an analyzer, which is no text."""
        if self.analyzer is not None:
            raise InputError(describe("Tokenizer.to_json", "no analyzer", repr(self.analyzer)))
        return json.dumps({"class_name": type(self).__name__, "config": self.get_config()}, **kwargs)


def tokenizer_from_json(json_string: str) -> Tokenizer:
    """The tokenizer that `to_json` wrote. Raises InputError for other text."""
    counted = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")
    config = read_configuration("tokenizer_from_json", json_string, inner=counted)
    found = {name: config.pop(name) for name in counted}
    try:
        tokenizer = Tokenizer(**config)
        for name, values in found.items():  # keys of JSON are text
            by_number = name.startswith("index_")
            setattr(tokenizer, name, {int(k): v for k, v in values.items()} if by_number else values)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"tokenizer_from_json: {error}") from error
    return tokenizer

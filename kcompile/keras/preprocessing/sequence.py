"""Sequences of numbers as arrays: padded, in windows, and as pairs of neighbours.

Enters: lists of lists, or a series with a target for each step. Leaves: numpy arrays, lists of pairs, or a
`Sequence` of batches. Values and random numbers are those of keras-preprocessing 1.1, with Keras 2.3.1.
"""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np

from kcompile.keras.preprocessing.configuration import read_configuration
from kcompile.keras.utils.data_utils import Sequence
from kcompile_runtime.checks import check_count
from kcompile_runtime.errors import InputError, InputTypeError, describe

SIDES = ("pre", "post")
EULER = 0.577  # Euler and Mascheroni's constant, as word2vec's sampling of Keras rounds it


def pad_sequences(
    sequences: Any,
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Sequences of different lengths as one array: shape (sequences, maxlen, ...).

    sequences: lists, or arrays whose shapes agree beyond the first axis. maxlen: by default the longest
    length. padding: "pre" puts `value` before what is too short, "post" behind it. truncating: "pre" takes
    away the beginning of what is too long, "post" its end. dtype: object for text.
    Raises InputError (a ValueError) for other sides, what has no length, and shapes that do not agree.
    """
    for name, side in (("padding", padding), ("truncating", truncating)):
        if side not in SIDES:
            raise InputError(describe(f"pad_sequences: {name}", " or ".join(map(repr, SIDES)), repr(side)))
    _check_padding_value(value, dtype)
    lengths = _lengths(sequences)
    if maxlen is None:
        if not lengths:
            raise InputError(describe("pad_sequences", "at least one sequence, or maxlen", "no sequence"))
        length = max(lengths)
    else:
        length = check_count("pad_sequences: maxlen", maxlen, 0)
    shape = next((np.asarray(s).shape[1:] for s, n in zip(sequences, lengths) if n), ())
    padded = np.full((len(lengths), length, *shape), value, dtype=dtype)
    for i, (sequence, n) in enumerate(zip(sequences, lengths)):
        kept = min(n, length)
        if not n:
            continue
        steps = np.asarray(sequence[n - kept :] if truncating == "pre" else sequence[:kept], dtype=dtype)
        if kept and steps.shape[1:] != shape:
            raise InputError(
                describe(f"pad_sequences: sequence {i}", f"steps of shape {shape}", str(steps.shape[1:]))
            )
        if kept:
            padded[i, slice(length - kept, length) if padding == "pre" else slice(kept)] = steps
    return padded


def _lengths(sequences: Any) -> list[int]:
    if not hasattr(sequences, "__len__"):
        raise InputError(describe("pad_sequences", "a list of sequences", type(sequences).__name__))
    lengths = []
    for i, sequence in enumerate(sequences):
        try:
            lengths.append(len(sequence))
        except TypeError as error:
            raise InputError(
                describe(f"pad_sequences: sequence {i}", "a list or an array", repr(sequence))
            ) from error
    return lengths


def _check_padding_value(value: Any, dtype: Any) -> None:
    if isinstance(value, str) and not (dtype is object or np.dtype(dtype).kind in "OU"):
        raise InputError(
            describe("pad_sequences: dtype", "object (or str) for a value that is text", repr(dtype))
        )


def make_sampling_table(size: int, sampling_factor: float = 1e-5) -> np.ndarray:
    """For each rank of a word (0: no word), how likely word2vec keeps it: frequent words less often.

    The frequency of rank r under Zipf's law is about 1 / (r (log r + gamma) + 1/2 - 1 / (12 r)).
    """
    rank = np.arange(check_count("make_sampling_table: size", size), dtype=np.float64)
    rank[0] = 1
    inverse_frequency = rank * (np.log(rank) + EULER) + 0.5 - 1.0 / (12.0 * rank)
    share = sampling_factor * inverse_frequency
    return np.minimum(1.0, share / np.sqrt(share))


def skipgrams(
    sequence: Any,
    vocabulary_size: int,
    window_size: int = 4,
    negative_samples: float = 1.0,
    shuffle: bool = True,
    categorical: bool = False,
    sampling_table: Any = None,
    seed: int | None = None,
) -> tuple[list[list[int]], list[Any]]:
    """Pairs of words: with a neighbour at most `window_size` away (label 1), and with a random one (label 0).

    sequence: numbers of words; 0 is no word. negative_samples: random pairs for each pair of neighbours.
    categorical: labels are [0, 1] and [1, 0]. sampling_table: for each number, how likely it gets pairs.
    seed: of the shuffle; like Keras, it seeds Python's generator, from which all numbers here are drawn.
    """
    positive, negative = ([0, 1], [1, 0]) if categorical else (1, 0)
    couples: list[list[int]] = []
    for i, word in enumerate(sequence):
        if not word or (sampling_table is not None and sampling_table[word] < random.random()):
            continue
        for j in range(max(0, i - window_size), min(len(sequence), i + window_size + 1)):
            if j != i and sequence[j]:
                couples.append([word, sequence[j]])
    labels: list[Any] = [positive for _ in couples]
    if negative_samples > 0:
        count = int(len(labels) * negative_samples)
        words = [couple[0] for couple in couples]
        random.shuffle(words)
        couples += [[words[i % len(words)], random.randint(1, vocabulary_size - 1)] for i in range(count)]
        labels += [negative] * count
    if shuffle:
        seed = random.randint(0, 10_000_000) if seed is None else seed
        for items in (couples, labels):  # in the same order
            random.seed(seed)
            random.shuffle(items)
    return couples, labels


def remove_long_sequences(maxlen: int, sequences: Any, labels: Any) -> tuple[list[Any], list[Any]]:
    """The sequences that are shorter than maxlen, and their labels."""
    kept = [(sequence, label) for sequence, label in zip(sequences, labels) if len(sequence) < maxlen]
    return [sequence for sequence, _ in kept], [label for _, label in kept]


_remove_long_seq = remove_long_sequences  # as scripts of Keras import it


class TimeseriesGenerator(Sequence):
    """Windows of a series as batches: x of shape (batch, length / sampling_rate, ...), y the targets.

    data, targets: what can be indexed by step, of the same length. The window of step i, whose target is
    `targets[i]`, is `data[i - length : i : sampling_rate]`. stride: steps from one window to the next.
    start_index, end_index: the first and last step that is used, by default all. shuffle: each batch is of
    random steps, from numpy's generator. reverse: each window begins with its last step.
    Raises InputError (a ValueError) for lengths that differ, or where no window fits.
    """

    def __init__(
        self,
        data: Any,
        targets: Any,
        length: int,
        sampling_rate: int = 1,
        stride: int = 1,
        start_index: int = 0,
        end_index: int | None = None,
        shuffle: bool = False,
        reverse: bool = False,
        batch_size: int = 128,
    ) -> None:
        if len(data) != len(targets):
            raise InputError(
                describe("TimeseriesGenerator", "a target for each step", f"{len(data)} and {len(targets)}")
            )
        self.data = data
        self.targets = targets
        self.length = check_count("TimeseriesGenerator: length", length, 0)
        self.sampling_rate = check_count("TimeseriesGenerator: sampling_rate", sampling_rate)
        self.stride = check_count("TimeseriesGenerator: stride", stride)
        self.start_index = check_count("TimeseriesGenerator: start_index", start_index, 0) + self.length
        self.end_index = (
            len(data) - 1
            if end_index is None
            else check_count("TimeseriesGenerator: end_index", end_index, 0)
        )
        self.shuffle = shuffle
        self.reverse = reverse
        self.batch_size = check_count("TimeseriesGenerator: batch_size", batch_size)
        if self.start_index > self.end_index:
            raise InputError(
                describe(
                    "TimeseriesGenerator",
                    "end_index of at least start_index + length",
                    f"`start_index+length={self.start_index} > end_index={self.end_index}` is disallowed",
                )
            )

    def __len__(self) -> int:
        """The number of batches."""
        step = self.batch_size * self.stride
        return (self.end_index - self.start_index + step) // step

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The batch of this number."""
        if self.shuffle:
            rows = np.random.randint(self.start_index, self.end_index + 1, size=self.batch_size)
        else:
            step = self.batch_size * self.stride
            first = self.start_index + step * index
            rows = np.arange(first, min(first + step, self.end_index + 1), self.stride)
        x = np.array([self.data[row - self.length : row : self.sampling_rate] for row in rows])
        y = np.array([self.targets[row] for row in rows])
        return (x[:, ::-1] if self.reverse else x), y

    def get_config(self) -> dict[str, Any]:
        """The arguments, with data and targets as JSON. start_index is the first step with a whole window, as
        Keras writes it. Raises TypeError for data that JSON cannot hold."""
        return {
            "data": _as_json("data", self.data),
            "targets": _as_json("targets", self.targets),
            "length": self.length,
            "sampling_rate": self.sampling_rate,
            "stride": self.stride,
            "start_index": self.start_index,
            "end_index": self.end_index,
            "shuffle": self.shuffle,
            "reverse": self.reverse,
            "batch_size": self.batch_size,
        }

    def to_json(self, **kwargs: Any) -> str:
        """The configuration as JSON, which `timeseries_generator_from_json` reads. kwargs: of json.dumps."""
        return json.dumps({"class_name": type(self).__name__, "config": self.get_config()}, **kwargs)


def _as_json(name: str, values: Any) -> str:
    try:
        return json.dumps(values.tolist() if isinstance(values, (np.ndarray, np.generic)) else values)
    except TypeError as error:
        raise InputTypeError(
            describe(f"TimeseriesGenerator: {name}", "numbers that JSON can hold", str(error))
        ) from error


def timeseries_generator_from_json(json_string: str) -> TimeseriesGenerator:
    """The generator that `to_json` wrote, with the same batches. Raises InputError for other text."""
    config = read_configuration("timeseries_generator_from_json", json_string, inner=("data", "targets"))
    try:
        first = config.pop("start_index", None)
        if first is not None:  # the first step of a whole window, not of the data
            config["start_index"] = first - config["length"]
        return TimeseriesGenerator(**config)
    except (TypeError, KeyError) as error:
        raise InputError(f"timeseries_generator_from_json: {error}") from error

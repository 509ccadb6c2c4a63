"""IntegerLookup and StringLookup: places of tokens in a vocabulary that is given, or learned from data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import hashes
from kcompile.keras.editions import edition
from kcompile.keras.layers.preprocessing.data import as_plain_array, batches
from kcompile.keras.layers.preprocessing.encoding import Encoding, place_in
from kcompile.keras.layers.preprocessing.on_arrays import OnArrays, salt_of, texts
from kcompile.keras.tracing import trace_of
from kcompile_runtime.checks import finite
from kcompile_runtime.errors import InputError, ModelError, describe

__all__ = ["IntegerLookup", "StringLookup"]


class _Lookup(Encoding):
    """Places: 0 of mask_token (in the mode "int", where there is one), then those of num_oov_indices for
    tokens that the vocabulary does not have, then its tokens.

    max_tokens: of all places. vocabulary: the tokens, perhaps with the special ones before them; idf_weights:
    of each, for "tf_idf". invert: tokens of places. pad_to_max_tokens: vectors of max_tokens. A model takes
    the vocabulary as it is when the model is compiled.
    """

    whole = "int64"
    looks_up = True
    tokens_type: str | None = None  # of tokens that are numbers

    @property
    def vector_dtype(self) -> str:
        """Of whole numbers where tf.keras is told so, but for weights."""
        told = self.whole_dtype not in (None, self.tokens_type)
        of_floats = edition(self.vintage).operations or self.output_mode == "tf_idf" or not told
        return self.float_dtype if of_floats else super().vector_dtype

    def __init__(
        self,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary: Any,
        idf_weights: Any,
        invert: bool,
        output_mode: str,
        sparse: bool,
        pad_to_max_tokens: bool,
        salt: Any,
        vocabulary_size: int | None = None,
        has_input_vocabulary: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_tokens = None if max_tokens is None else self.positive("max_tokens", max_tokens)
        (self.num_oov_indices,) = self.counts("num_oov_indices", num_oov_indices, 1)
        self.mask_token, self.oov_token = mask_token, oov_token
        self.invert, self.sparse = self.flag("invert", invert), self.dense(sparse)
        self.output_mode = self.mode(output_mode)
        self.pad_to_max_tokens = self.flag("pad_to_max_tokens", pad_to_max_tokens)
        self.salt = salt_of(self, salt)
        if self.invert and self.output_mode != "int":
            raise ModelError(
                describe(f"{self.label}: output_mode", "'int', where invert is True", output_mode)
            )
        if self.pad_to_max_tokens and self.max_tokens is None:
            raise ModelError(describe(self.label, "max_tokens, where pad_to_max_tokens is True", "None"))
        self._tokens: list[Any] = []
        self._idf: np.ndarray | None = None
        self._counted: tuple[Counter[Any], Counter[Any], int] | None = None
        if vocabulary_size is not None:
            (vocabulary_size,) = self.counts("vocabulary_size", vocabulary_size, 1)
        self._announced = vocabulary_size  # of a vocabulary that is still to be given
        self._given = vocabulary is not None and has_input_vocabulary is not False
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)
        elif idf_weights is not None:
            raise ModelError(describe(self.label, "idf_weights together with a vocabulary", "them alone"))

    @property
    def _first(self) -> int:
        """The first place that is not the mask's."""
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _start(self) -> int:
        """The place of the first token."""
        return self._first + self.num_oov_indices

    @property
    def depth(self) -> int:
        """The size of vectors."""
        if self.pad_to_max_tokens and self.max_tokens is not None:
            return self.max_tokens
        return self._announced or self.vocabulary_size() if not self._tokens else self.vocabulary_size()

    def vocabulary_size(self) -> int:
        """The number of places."""
        return self._start + len(self._tokens)

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The tokens by place."""
        special = [self.mask_token] * self._first + [self.oov_token] * self.num_oov_indices
        return [*special, *self._tokens] if include_special_tokens else list(self._tokens)

    def token(self, value: Any) -> Any:
        """A token of a vocabulary. Raises ModelError."""
        raise NotImplementedError

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Take these tokens, in this order, or the lines of a file. Raises ModelError for too many, or one
        that is twice there."""
        of_file = isinstance(vocabulary, str)
        if of_file:
            vocabulary = self._lines(vocabulary)
        listed = vocabulary.ravel().tolist() if isinstance(vocabulary, np.ndarray) else vocabulary
        if not isinstance(listed, (list, tuple)):
            raise ModelError(describe(f"{self.label}: vocabulary", "a list of tokens", repr(vocabulary)[:80]))
        tokens = [self.token(value) for value in listed]
        special = [self.mask_token] * self._first + [self.oov_token] * self.num_oov_indices
        whole = bool(special) and not of_file and tokens[: len(special)] == special
        tokens = tokens[len(special) :] if whole else tokens
        twice = [token for token, count in Counter(tokens).items() if count > 1]
        reserved = [t for t in (self.mask_token, self.oov_token if self.invert else None) if t is not None]
        if not tokens or twice or any(t in tokens for t in reserved):
            found = f"{(twice or reserved)[:3]} among them" if tokens else "none"
            raise ModelError(
                describe(f"{self.label}: vocabulary", f"tokens, each once, or behind {special}", found)
            )
        if self.max_tokens is not None and self._start + len(tokens) > self.max_tokens and not of_file:
            raise ModelError(
                describe(
                    f"{self.label}: vocabulary",
                    f"at most {self.max_tokens} places (max_tokens)",
                    str(self._start + len(tokens)),
                )
            )
        self._tokens = tokens
        self._idf = self._weights(idf_weights, len(special) if whole else 0)

    def _lines(self, name: str) -> list[Any]:
        """The tokens that a file has, one in each line. Raises ModelError."""
        if self.output_mode == "tf_idf":
            wanted = "the tokens, with their idf_weights"
            raise ModelError(describe(f"{self.label}: vocabulary", wanted, f"the file {name!r}"))
        try:
            text = Path(name).read_bytes().decode(getattr(self, "encoding", "utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(
                describe(f"{self.label}: vocabulary", "tokens, or a file of them", f"{name!r} ({error})")
            ) from None
        return [self.read(line) for line in text.removesuffix("\n").split("\n")]

    def read(self, line: str) -> Any:
        """The token of a line."""
        return line

    def _weights(self, given: Any, special: int) -> np.ndarray | None:
        """idf_weights of the tokens, and their average for the places before. special: for how many of those
        before there are weights too."""
        if (given is None) != (self.output_mode != "tf_idf"):
            raise ModelError(
                describe(
                    f"{self.label}: idf_weights",
                    "them with output_mode 'tf_idf', and there alone",
                    repr(given),
                )
            )
        if given is None:
            return None
        listed = given.ravel().tolist() if isinstance(given, np.ndarray) else given
        numbers = [finite(v) for v in listed] if isinstance(listed, (list, tuple)) else [None]
        weights = np.array([n for n in numbers if n is not None])
        if len(weights) != special + len(self._tokens):
            raise ModelError(
                describe(
                    f"{self.label}: idf_weights", f"{special + len(self._tokens)} numbers", str(len(weights))
                )
            )
        before = weights[:special] if special else np.full(self._start, weights.mean())
        return np.concatenate([before, weights[special:]])

    @property
    def idf_weights(self) -> Any:
        """The weights of all places in vectors, None but for "tf_idf"."""
        if self._idf is None:
            return None
        return np.pad(self._idf, (0, self.depth - len(self._idf)))

    # ---- places

    def place(self, token: Any) -> int:
        """The place of a token. Raises InputError where it has none."""
        if token == self.mask_token:
            return 0 if self.output_mode == "int" else -1
        found = self._places.get(token)
        if found is not None:
            return found
        if self.num_oov_indices == 0:
            raise InputError(
                describe(
                    f"{self.label}: input", "tokens of the vocabulary, as num_oov_indices is 0", repr(token)
                )
            )
        if self.num_oov_indices == 1:
            return self._first
        text = str(token).encode(getattr(self, "encoding", "utf-8"))
        number = hashes.fingerprint(text) if self.salt is None else hashes.keyed(text, self.salt)
        return self._first + number % self.num_oov_indices

    @property
    def _places(self) -> dict[Any, int]:
        if self._known_by is not self._tokens:
            self._known_by = self._tokens
            self._by_token = {token: self._start + i for i, token in enumerate(self._tokens)}
        return self._by_token

    _known_by: Any = None
    _by_token: dict[Any, int]

    # ---- learned

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Take the tokens of data as the vocabulary, the most frequent first. A sample is a document, for the
        weights of "tf_idf". batch_size, steps: those of tf.keras, how much of the data counts."""
        self.reset_state()
        plain = as_plain_array(data)
        # tf.keras cuts arrays too, and a batch without axes of its own is one document there
        array = isinstance(plain, np.ndarray)
        cut = array and plain.ndim == 1 and self.semantics.loose_tokens == "of a batch"
        for batch in batches(plain if array else data, f"{self.label}: adapt", batch_size, steps, cut):
            self.count(self.samples(batch, array and not cut))
        self.finalize_state()

    def reset_state(self) -> None:
        """Forget what was counted. Raises InputError where a vocabulary was given."""
        if self._given:
            raise InputError(f"{self.label}: adapt: a vocabulary was given, nothing is left to learn")
        self._counted = Counter(), Counter(), 0

    def update_state(self, data: Any) -> None:
        """Count the tokens of a batch."""
        self.count(self.samples(np.asarray(as_plain_array(data)), False))

    def count(self, samples: Iterable[Sequence[Any]]) -> None:
        """Count the tokens of samples."""
        if self._counted is None:
            self.reset_state()
        assert self._counted is not None
        tokens, documents, number = self._counted
        for sample in samples:
            tokens.update(sample)
            documents.update(set(sample))
            number += 1
        self._counted = tokens, documents, number

    def samples(self, batch: np.ndarray, whole: bool) -> Iterable[Sequence[Any]]:
        """The tokens of each sample. whole: the data were this array, whose elements are samples where it has
        one axis; those of a batch are one sample."""
        rows = batch.reshape(1, -1) if batch.ndim < 2 and not whole else batch.reshape(len(batch), -1)
        return [self.tokens_of(row) for row in rows]

    def tokens_of(self, row: np.ndarray) -> Sequence[Any]:
        """An array of tokens, as a list."""
        return row.tolist()

    def finalize_state(self) -> None:
        """Take the tokens that were counted as the vocabulary; none: leave it."""
        tokens, documents, samples = self._counted or (Counter(), Counter(), 0)
        order = [token for token in tokens if token not in (self.mask_token, self.oov_token)]
        if not order:
            return
        order.sort(key=lambda token: (tokens[token], self.sorted_by(token)), reverse=True)
        if self.max_tokens is not None:
            order = order[: max(self.max_tokens - self._start, 0)]
        self._tokens = order
        if self.output_mode == "tf_idf":
            weights = np.array([math.log(1 + samples / (1 + documents[token])) for token in order])
            self._idf = np.concatenate([np.full(self._start, weights.mean() if order else 0.0), weights])

    def sorted_by(self, token: Any) -> Any:
        """What orders tokens that are as frequent."""
        return token

    # ---- as vectors

    def known(self) -> None:
        """Raises ModelError where there is no vocabulary."""
        if not self._tokens:
            raise ModelError("its vocabulary is not known: give a vocabulary, or call adapt")

    def announced(self) -> None:
        """Raises ModelError where not even the number of places is known, and the shape of the output needs
        it."""
        if self.output_mode != "int" and not self.pad_to_max_tokens and not self._announced:
            self.known()

    def of_places(self, places: Tensor) -> Tensor:
        """Places in the form of the output_mode."""
        if self.output_mode != "tf_idf":
            return self.encoded(places, self.output_mode, self.depth)
        counts = self.encoded(places, "count", self.depth)
        if self._idf is None:
            return counts  # of a vocabulary that is still to be given
        return counts * ops.constant(places.graph, self.idf_weights, counts.dtype)

    def vectors(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        """The places of each sample as a vector: "multi_hot", "count" or "tf_idf"."""
        made = np.zeros((len(rows), self.depth), self.vector_dtype)
        for counts, row in zip(made, rows):
            counts += np.bincount([p for p in row if p >= 0], minlength=self.depth)
        if self.output_mode == "multi_hot":
            return np.minimum(made, 1)
        return made if self._idf is None else made * self.idf_weights.astype(made.dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        start = self._start
        idf = None if self._idf is None else self._idf[start:].tolist()
        config = {**config, "vocabulary": self._tokens or None, "idf_weights": idf}
        return config if self._given or not self._tokens else {**config, "has_input_vocabulary": False}


class IntegerLookup(_Lookup, OnArrays):
    """The places of whole numbers in a vocabulary (see `_Lookup`). Numbers that it does not have are at the
    remainder of their division by num_oov_indices (oov_method="farmhash": at that of the hash of their
    digits, salt: a key for it, which is computed on arrays, and in models directly behind the inputs);
    without such places they are an error of the run."""

    takes_texts = False
    tokens_type = "int64"
    takes = "its hashes of 64 bits are computed of arrays, and have no place in a compiled graph"

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int | None = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: Any = None,
        vocabulary_size: int | None = None,
        has_input_vocabulary: bool | None = None,
        **kwargs: Any,
    ) -> None:
        self.oov_method = oov_method
        super().__init__(
            max_tokens,
            num_oov_indices,
            mask_token,
            oov_token,
            vocabulary,
            idf_weights,
            invert,
            output_mode,
            sparse,
            pad_to_max_tokens,
            salt,
            vocabulary_size,
            has_input_vocabulary,
            **kwargs,
        )
        self.oov_method = self.one_of("oov_method", oov_method, ("floormod", "farmhash"))
        self.vocabulary_dtype = self.one_of("vocabulary_dtype", vocabulary_dtype, ("int64", "int32"))
        hashed = self.oov_method == "farmhash" and self.num_oov_indices > 1 and not self.invert
        self.runs_on_arrays = hashed
        if salt is not None and self.oov_method != "farmhash":
            raise ModelError(
                describe(f"{self.label}: salt", "None, but for oov_method='farmhash'", repr(salt))
            )

    def token(self, value: Any) -> int:
        if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and abs(int(value)) < 2**63:
            return int(value)
        raise ModelError(describe(f"{self.label}: vocabulary", "whole numbers", repr(value)))

    def read(self, line: str) -> int:
        try:
            return int(line)
        except ValueError:
            wanted = "a whole number in each line"
            raise ModelError(describe(f"{self.label}: vocabulary", wanted, repr(line))) from None

    def stand_in(self, x: Tensor) -> Tensor:
        self.announced()
        return self.of_places(ops.cast(x, "int64"))

    def of_arrays(self, array: Any) -> Any:
        self.known()
        numbers = np.asarray(array).astype(np.int64)
        known, inverse = np.unique(numbers, return_inverse=True)
        places = np.array([self.place(number) for number in known.tolist()], np.int64)
        return self.computed_now(places[inverse.ravel()].reshape(numbers.shape), self.of_places)

    def call(self, x: Tensor) -> Tensor:
        if self.runs_on_arrays:
            return super().call(x)
        x = ops.cast(x, "int64")
        if trace_of(x).inferring and not self._tokens:
            self.announced()
            return x if self.invert else self.of_places(x)
        self.known()
        if self.invert:
            return self._inverted(x)
        tokens = np.asarray(self._tokens, np.int64)
        order = np.argsort(tokens, kind="stable")
        before = ops.maximum(place_in(x, tokens[order]) - 1, 0)
        found = ops.equal(ops.rows_at(ops.constant(x.graph, tokens[order], "int64"), before), x)
        place = ops.rows_at(ops.constant(x.graph, order + self._start, "int32"), before)
        masked = None if self.mask_token is None else ops.equal(x, int(self.mask_token))
        place = ops.select(
            found, place, self._others(x, found if masked is None else ops.logical_or(found, masked))
        )
        if masked is not None:
            place = ops.select(masked, 0 if self.output_mode == "int" else -1, place)
        return self.of_places(place)

    def _others(self, x: Tensor, known: Tensor) -> Tensor:
        """The places of numbers that are not known. Where there are none, -1 is an error of the run."""
        zero = ops.broadcast_to(ops.constant(x.graph, 0, "int32"), x.shape)
        if self.num_oov_indices == 0:
            return ops.checked_places(ops.select(known, zero, zero - 1), 1)
        if self.num_oov_indices == 1:
            return zero + self._first
        rest = ops.remainder(x, ops.constant(x.graph, self.num_oov_indices, x.dtype))
        rest = ops.select(rest < 0, rest + self.num_oov_indices, rest)
        return ops.cast(rest, "int32") + self._first

    def _inverted(self, x: Tensor) -> Tensor:
        """The tokens at places."""
        other = 0 if self.oov_token is None else int(self.oov_token)
        table = [other if token is None else int(token) for token in self.get_vocabulary()]
        inside = ops.logical_and(x >= 0, x < len(table))
        rows = ops.cast(ops.select(inside, x, ops.zeros_like(x)), "int32")
        found = ops.rows_at(ops.constant(x.graph, np.asarray(table), "int64"), rows)
        return self.encoded(ops.select(inside, found, other), "int", 0)


class StringLookup(_Lookup, OnArrays):
    """The places of texts in a vocabulary (see `_Lookup`), or texts of places (invert=True): of arrays and
    lists of texts, not in models. A text that it does not have is at a place by its hash; salt: a key for
    that, of two numbers or one."""

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str | None = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        salt: Any = None,
        vocabulary_size: int | None = None,
        has_input_vocabulary: bool | None = None,
        **kwargs: Any,
    ) -> None:
        self.encoding = encoding
        super().__init__(
            max_tokens,
            num_oov_indices,
            mask_token,
            oov_token,
            vocabulary,
            idf_weights,
            invert,
            output_mode,
            sparse,
            pad_to_max_tokens,
            salt,
            vocabulary_size,
            has_input_vocabulary,
            **kwargs,
        )

        self.takes_texts, self.gives_texts = not self.invert, self.invert

    def token(self, value: Any) -> str:
        if isinstance(value, bytes):
            value = value.decode(self.encoding)
        if isinstance(value, str):
            return value
        raise ModelError(describe(f"{self.label}: vocabulary", "texts", repr(value)))

    def tokens_of(self, row: np.ndarray) -> Sequence[Any]:
        return texts(self, row).tolist()

    def sorted_by(self, token: str) -> bytes:
        return token.encode(self.encoding)

    @property
    def input_dtype(self) -> str:
        """The dtype of an input that the layer stands for."""
        return "int64" if self.invert else "string"

    def stand_in(self, x: Tensor) -> Tensor:
        if self.output_mode != "int" and not self.pad_to_max_tokens:
            self.announced()
        return x if self.invert else self.of_places(ops.cast(x, "int64"))

    def of_arrays(self, array: Any) -> Any:
        self.known()
        if self.invert:
            table = self.get_vocabulary()
            numbers = np.asarray(array)
            found = [table[i] if 0 <= i < len(table) else self.oov_token for i in numbers.ravel().tolist()]
            return np.array(found, dtype=object).reshape(numbers.shape)
        given = texts(self, array)
        places = np.array([self.place(token) for token in given.ravel().tolist()], np.int64)
        return self.computed_now(places.reshape(given.shape), self.of_places)

"""TextVectorization: texts as the numbers of their words, or as vectors of how often words are there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.eager import EagerTensor
from kcompile.keras.engine import KerasTensor, Node, is_integer
from kcompile.keras.layer_calls import numbered
from kcompile.keras.layers.preprocessing.data import as_plain_array, batches
from kcompile.keras.layers.preprocessing.encoding import Encoding
from kcompile.keras.layers.preprocessing.lookup import StringLookup
from kcompile.keras.layers.preprocessing.on_arrays import OnArrays, texts
from kcompile.keras.tensors import PROBE_SIZES
from kcompile.keras.utils.serialization import FunctionName, deserialize
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError, describe

__all__ = ["TextVectorization"]

Rows = list[list[str]]  # the tokens of each text

LONGEST_RUN = 1000  # of tokens
_PUNCTUATION = re.compile(r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']""")
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}  # TensorFlow's: of ASCII alone
_SPACES = re.compile(r"[ \t\n\r\v\f]+")


class TextVectorization(Encoding, OnArrays):
    """Each text cut into tokens, and these as places in a vocabulary: 0 for none, 1 for tokens that it does
    not have, then its own.

    standardize: "lower_and_strip_punctuation", "lower", "strip_punctuation", None, or a function of an array
    of texts. split: "whitespace", "character", None (each text is a token, the last axis a sample), or a
    function that gives the tokens of each text. ngrams: runs of so many tokens and fewer, or of the numbers
    in a tuple, joined by spaces. output_mode: "int": as many numbers as the longest text has tokens, or
    output_sequence_length; "multi_hot", "count", "tf_idf": a vector for each text (see `Encoding`); "one_hot"
    where split is None, in Keras 3. The others are those of StringLookup.
    """

    looks_up = True

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Any = "lower_and_strip_punctuation",
        split: Any = "whitespace",
        ngrams: Any = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        vocabulary_size: int | None = None,
        has_input_vocabulary: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_tokens = None if max_tokens is None else self.positive("max_tokens", max_tokens)
        if self.max_tokens == 1:
            raise ModelError(describe(f"{self.label}: max_tokens", "None, or a number above 1", "1"))
        self.standardize = self._way("standardize", standardize, _STANDARDIZE)
        self.split = self._way("split", split, ("whitespace", "character"))
        self.ngrams = ngrams
        self._widths = self._checked_widths(ngrams)
        self.output_mode = self.mode(output_mode)
        if self.output_mode == "one_hot" and self.split is not None:
            raise UnsupportedError(
                f"{self.label}: output_mode='one_hot' of tokens that texts are split into, and each text "
                "has another number of them. Use 'multi_hot', or 'int' and CategoryEncoding"
            )
        self.output_sequence_length = (
            None
            if output_sequence_length is None
            else self.positive("output_sequence_length", output_sequence_length)
        )
        if self.output_sequence_length is not None and self.output_mode != "int":
            raise ModelError(
                describe(f"{self.label}: output_sequence_length", "None, but for output_mode='int'",
                         repr(output_sequence_length))
            )  # fmt: skip
        self.pad_to_max_tokens = self.flag("pad_to_max_tokens", pad_to_max_tokens)
        self.sparse = self.dense(sparse)
        self.ragged = self.flag("ragged", ragged)
        if self.ragged:
            raise UnsupportedError(
                f"{self.label}: ragged=True: there are no ragged tensors. Without it texts are filled up by "
                "zeros, which Embedding(mask_zero=True) leaves out"
            )
        self.encoding = encoding
        numbered("string_lookup", self.vintage)  # the name that Keras gives the layer
        with self.named_errors():
            self._lookup = StringLookup(
                max_tokens,
                1,
                "",
                vocabulary=vocabulary,
                idf_weights=idf_weights,
                output_mode=output_mode,
                pad_to_max_tokens=pad_to_max_tokens,
                encoding=encoding,
                vocabulary_size=vocabulary_size,
                has_input_vocabulary=has_input_vocabulary,
                name=f"{self.name}_lookup",
                vintage=self.vintage,
            )

    def _way(self, argument: str, value: Any, known: Sequence[str]) -> Any:
        """The name of a way, None, or a function, which a configuration has by its name."""
        if isinstance(value, FunctionName):
            return value.function
        if value is None or callable(value) or (isinstance(value, str) and value in known):
            return value
        wanted = ", ".join(map(repr, known)) + ", None, or a function"
        try:
            found = deserialize(value, {}, f"{argument} of TextVectorization")
        except UnsupportedError as error:
            raise UnsupportedError(describe(f"{self.label}: {argument}", wanted, repr(value),
                                            "A function of your own is found through custom_objects")
            ) from error  # fmt: skip
        if not callable(found):
            raise ModelError(describe(f"{self.label}: {argument}", wanted, repr(value)))
        return found

    def _checked_widths(self, ngrams: Any) -> tuple[int, ...]:
        """The lengths of runs."""
        if ngrams is None:
            return ()
        few = is_integer(ngrams) and ngrams <= LONGEST_RUN
        widths = tuple(range(1, ngrams + 1)) if few else ngrams
        if isinstance(widths, (tuple, list)) and widths and all(is_integer(w) and w > 0 for w in widths):
            return tuple(int(w) for w in widths)
        raise ModelError(
            describe(
                f"{self.label}: ngrams", f"a positive number up to {LONGEST_RUN}, or several", repr(ngrams)
            )
        )

    # ---- the vocabulary

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Take the tokens of texts as the vocabulary, the most frequent first. A text is a document, for the
        weights of "tf_idf"; without a split, a row. batch_size, steps: how much of the data counts."""
        self.reset_state()
        plain = as_plain_array(data)
        array = isinstance(plain, np.ndarray)
        if array and plain.ndim == 1 and self.semantics.loose_tokens == "each":
            plain = plain[:, None]
        cut = array and plain.ndim == 1 and self.semantics.loose_tokens == "of a batch"
        for batch in batches(plain if array else data, f"{self.label}: adapt", batch_size, steps, cut):
            self.update_state(batch)
        self.finalize_state()

    def reset_state(self) -> None:
        """Forget what was counted."""
        with self.named_errors():
            self._lookup.reset_state()

    def update_state(self, data: Any) -> None:
        """Count the tokens of a batch of texts."""
        found = self.tokens(np.asarray(as_plain_array(data)))
        if isinstance(found, np.ndarray):
            found = found.reshape(1, -1) if found.ndim < 2 else found.reshape(len(found), -1)
        self._lookup.count([list(row) for row in found])

    def finalize_state(self) -> None:
        """Take the tokens that were counted as the vocabulary."""
        self._lookup.finalize_state()

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Take these tokens, in this order (see StringLookup)."""
        with self.named_errors():
            self._lookup.set_vocabulary(vocabulary, idf_weights)

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """The tokens by place."""
        return self._lookup.get_vocabulary(include_special_tokens)

    @property
    def idf_weights(self) -> Any:
        """The weights of all places in vectors, None but for "tf_idf"."""
        return self._lookup.idf_weights

    def vocabulary_size(self) -> int:
        """The number of places."""
        return self._lookup.vocabulary_size()

    # ---- tokens

    def tokens(self, array: np.ndarray) -> Rows | np.ndarray:
        """The tokens of each text (of one text alone, one row); without a split, an array of them, whose last
        axis runs of several are taken along."""
        array = self._standardized(texts(self, array))
        if self.split is None:
            return array if not self._widths else self._runs_along(array)
        if array.ndim > 1:
            if array.shape[-1] != 1 or array.ndim > 2:
                wanted = "texts [batch] or [batch, 1], as they are split"
                raise InputError(describe(f"{self.label}: input", wanted, f"shape {array.shape}"))
            array = array[:, 0]
        flat = np.atleast_1d(array)
        rows = [self._runs(row) for row in self._split(flat)]
        if len(rows) != len(flat):
            raise InputError(
                describe(f"{self.label}: split", f"the tokens of {len(flat)} texts", f"{len(rows)} lists")
            )
        return rows

    def _standardized(self, array: np.ndarray) -> np.ndarray:
        if callable(self.standardize):
            return texts(self, np.asarray(self.standardize(array.astype(str).view(EagerTensor))))
        flat: list[str] = array.ravel().tolist()
        if self.standardize in ("lower", "lower_and_strip_punctuation"):
            flat = [text.translate(_LOWER) for text in flat]
        if self.standardize in ("strip_punctuation", "lower_and_strip_punctuation"):
            flat = [_PUNCTUATION.sub("", text) for text in flat]
        return np.array(flat, dtype=object).reshape(array.shape)

    def _split(self, array: np.ndarray) -> Iterator[list[str]]:
        if callable(self.split):
            for row in self.split(array.astype(str).view(EagerTensor)):
                yield texts(self, np.asarray(row, dtype=object)).ravel().tolist()
            return
        for text in array.tolist():
            yield list(text) if self.split == "character" else [t for t in _SPACES.split(text) if t]

    def _runs(self, row: list[str]) -> list[str]:
        """Runs of tokens, the shortest first; the tokens themselves where ngrams is None."""
        if not self._widths:
            return row
        return [" ".join(row[k : k + w]) for w in self._widths for k in range(len(row) - w + 1)]

    def _runs_along(self, array: np.ndarray) -> np.ndarray:
        rows = [self._runs(row) for row in array.reshape(-1, array.shape[-1]).tolist()]
        return np.array(rows, dtype=object).reshape(*array.shape[:-1], len(rows[0]) if rows else 0)

    # ---- calls

    @property
    def input_dtype(self) -> str:
        """The dtype of an input that the layer stands for."""
        return "string"

    def _add_node(self, flat: Sequence[KerasTensor], single: bool, arguments: dict[str, Any]) -> Node:
        node = super()._add_node(flat, single, arguments)
        (y,) = node.outputs
        if self._of_any_length(y.type.rank):
            first, second = (y.type.with_shape((*y.type.shape[:-1], size)) for size in PROBE_SIZES)
            y.type, y.second_type = first, second
        return node

    def _of_any_length(self, rank: int) -> bool:
        """Whether texts alone say how many numbers a sample has."""
        if self.output_mode != "int" or self.output_sequence_length is not None:
            return False
        return self.split is not None or (bool(self._widths) and rank > 1)

    def stand_in(self, x: Tensor) -> Tensor:
        places = ops.cast(x, "int64")
        if self.split is not None:
            if x.rank > 2 or (x.rank == 2 and x.shape[1] != 1):
                raise ModelError(
                    describe("input", "texts [batch] or [batch, 1], as they are split", str(x.shape))
                )
            length = self.output_sequence_length or PROBE_SIZES[0]
            places = ops.broadcast_to(ops.reshape(places, (x.shape[0], 1)), (x.shape[0], length))
        elif self.output_sequence_length is not None and x.rank > 1:
            places = ops.zeros_like(
                ops.broadcast_to(places[..., :1], (*x.shape[:-1], self.output_sequence_length))
            )
        return places if self.output_mode == "int" else self._lookup.stand_in(places)

    def of_arrays(self, array: Any) -> Any:
        found = self.tokens(array)
        with self.named_errors():
            self._lookup.known()
        if isinstance(found, np.ndarray):
            made = self._lookup.of_arrays(found)
            return self._filled(made) if self.output_mode == "int" else made
        places = [[self._lookup.place(token) for token in row] for row in found]
        made = self._padded(places) if self.output_mode == "int" else self._lookup.vectors(places)
        return made[0] if array.ndim == 0 else made

    def _padded(self, places: list[list[int]]) -> np.ndarray:
        """Rows of one length."""
        length = self.output_sequence_length or max(map(len, places), default=0)
        made = np.zeros((len(places), length), np.int64)
        for target, row in zip(made, places):
            target[: len(row)] = row[:length]
        return made

    def _filled(self, places: np.ndarray) -> np.ndarray:
        """Places without a split, cut or filled up on the last axis."""
        length = self.output_sequence_length
        if length is None or places.ndim == 0:
            return places
        kept = places[..., :length]
        return np.pad(kept, [(0, 0)] * (kept.ndim - 1) + [(0, length - kept.shape[-1])])

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        inner = self._lookup.get_config()
        for name in ("standardize", "split"):
            value = getattr(self, name)
            config[name] = FunctionName(value) if callable(value) else value
        kept = ("vocabulary", "idf_weights", "has_input_vocabulary")
        return {**config, **{name: inner[name] for name in kept if name in inner}}


_STANDARDIZE = ("lower_and_strip_punctuation", "lower", "strip_punctuation")

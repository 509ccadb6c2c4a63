"""`tf.lookup`: tables from keys to values, on values."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.keras import hashes
from kcompile.keras.eager import EagerTensor, as_tensors
from kcompile.tensorflow.files import path_of
from kcompile.tensorflow.functions import of_values
from kcompile_runtime.errors import InputError, describe


def _keys(given: Any) -> list[Any]:
    return [x.decode() if isinstance(x, bytes) else x for x in np.asarray(given).ravel().tolist()]


def _as_column(given: Any, dtype: Any) -> np.ndarray:
    array = np.asarray(given)
    if array.dtype.kind in "USO":
        return np.array(_keys(given), dtype=object)
    if dtype is not None:
        return array.astype(str(dtype))
    whole = {"int64": np.int32, "float64": np.float32}
    return array if hasattr(given, "dtype") else array.astype(whole.get(array.dtype.name, array.dtype))


class KeyValueTensorInitializer:
    """Keys, and their values."""

    def __init__(
        self, keys: Any, values: Any, key_dtype: Any = None, value_dtype: Any = None, name: Any = None
    ) -> None:
        self.keys, self.values = _as_column(keys, key_dtype), _as_column(values, value_dtype)
        if self.keys.shape != self.values.shape:
            got = f"{self.keys.shape} and {self.values.shape}"
            raise InputError(describe("KeyValueTensorInitializer", "as many values as keys", got))


class TextFileIndex:
    """What of a line of a file a key or a value is: a column by its number, the whole line, or its number."""

    WHOLE_LINE, LINE_NUMBER = -2, -1


class TextFileInitializer(KeyValueTensorInitializer):
    """Keys and values of the lines of a file."""

    def __init__(
        self,
        filename: Any,
        key_dtype: Any,
        key_index: int,
        value_dtype: Any,
        value_index: int,
        vocab_size: Any = None,
        delimiter: str = "\t",
        name: Any = None,
        value_index_offset: int = 0,
    ) -> None:
        with open(path_of(filename), encoding="utf-8") as file:
            lines = file.read().splitlines()[: None if vocab_size is None else int(vocab_size)]

        def column(index: int, dtype: Any, offset: int = 0) -> np.ndarray:
            if index == TextFileIndex.LINE_NUMBER:
                return np.arange(len(lines), dtype=str(dtype)) + offset
            words = lines if index == TextFileIndex.WHOLE_LINE else [x.split(delimiter)[index] for x in lines]
            return np.array(words, object if str(dtype) == "string" else str(dtype))

        super().__init__(column(key_index, key_dtype), column(value_index, value_dtype, value_index_offset))


class _Table:
    """Values by their keys; of keys that are not there, what `missing` says."""

    def __init__(self, keys: Any, values: Any) -> None:
        self.entries = dict(zip(_keys(keys), np.asarray(values).tolist()))
        self.kind = np.asarray(values).dtype

    def missing(self, key: Any) -> Any:
        raise NotImplementedError

    def lookup(self, keys: Any, name: Any = None) -> Any:
        """The values of keys, in their shape."""
        of_values("lookup", "Use keras.layers.StringLookup or IntegerLookup in models", keys)
        found = [self.entries[k] if k in self.entries else self.missing(k) for k in _keys(keys)]
        made = np.empty(len(found), self.kind)
        made[:] = found
        return made.reshape(np.shape(keys)).view(EagerTensor)

    __getitem__ = lookup

    def size(self, name: Any = None) -> Any:
        """How many keys there are."""
        return np.array(len(self.entries), np.int64).view(EagerTensor)

    def export(self, name: Any = None) -> Any:
        """The keys, and their values."""
        return as_tensors((np.array(list(self.entries)), np.array(list(self.entries.values()), self.kind)))


class StaticHashTable(_Table):
    """A table with one value for all keys that are not there."""

    def __init__(
        self, initializer: Any, default_value: Any, name: Any = None, experimental_is_anonymous: bool = False
    ) -> None:
        super().__init__(initializer.keys, initializer.values)
        self.default_value = _keys(default_value)[0]

    def missing(self, key: Any) -> Any:
        return self.default_value


class StaticVocabularyTable(_Table):
    """A table of texts; those that are not there go to one of num_oov_buckets numbers behind, by their
    hash."""

    def __init__(
        self,
        initializer: Any,
        num_oov_buckets: int,
        lookup_key_dtype: Any = None,
        name: Any = None,
        experimental_is_anonymous: bool = False,
    ) -> None:
        keys, values = ([], []) if initializer is None else (initializer.keys, initializer.values)
        super().__init__(keys, np.asarray(values, np.int64))
        self.buckets = int(num_oov_buckets)

    def missing(self, key: Any) -> Any:
        return len(self.entries) + hashes.fingerprint(str(key).encode()) % self.buckets

    def size(self, name: Any = None) -> Any:
        """How many numbers there are."""
        return np.array(len(self.entries) + self.buckets, np.int64).view(EagerTensor)


class MutableHashTable(_Table):
    """A table that is written to."""

    def __init__(
        self,
        key_dtype: Any,
        value_dtype: Any,
        default_value: Any,
        name: str = "MutableHashTable",
        checkpoint: bool = True,
        experimental_is_anonymous: bool = False,
    ) -> None:
        super().__init__([], np.zeros(0, object if str(value_dtype) == "string" else str(value_dtype)))
        self.default_value = _keys(default_value)[0]

    def missing(self, key: Any) -> Any:
        return self.default_value

    def insert(self, keys: Any, values: Any, name: Any = None) -> None:
        """Write values by their keys."""
        self.entries.update(zip(_keys(keys), _keys(values)))

    def remove(self, keys: Any, name: Any = None) -> None:
        """Take keys out."""
        for key in _keys(keys):
            self.entries.pop(key, None)


NAMES: dict[str, Any] = {
    "lookup.KeyValueTensorInitializer": KeyValueTensorInitializer,
    "lookup.StaticHashTable": StaticHashTable,
    "lookup.StaticVocabularyTable": StaticVocabularyTable,
    "lookup.TextFileIndex": TextFileIndex,
    "lookup.TextFileInitializer": TextFileInitializer,
    "lookup.experimental.MutableHashTable": MutableHashTable,
}

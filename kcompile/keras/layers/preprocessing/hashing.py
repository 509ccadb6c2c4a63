"""Hashing and HashedCrossing: categories by the hash of what is given, on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import hashes
from kcompile.keras.layers.preprocessing.encoding import Encoding
from kcompile.keras.layers.preprocessing.on_arrays import OnArrays, salt_of, texts
from kcompile_runtime.errors import InputError, ModelError, describe

__all__ = ["HashedCrossing", "Hashing"]


class _Hashed(Encoding, OnArrays):
    needs_texts = False
    whole = "int64"
    takes = "its hashes of 64 bits are computed of arrays, and have no place in a compiled graph"


class Hashing(_Hashed):
    """The remainder of a hash by num_bins: of texts, and of whole numbers as they are written in digits
    (floats without their fraction).

    mask_value: what has the bin 0, and no other has it then. salt: a key, of two numbers or one, for another
    hash, SipHash. See `Encoding` for output_mode.
    """

    modes = ("int", "one_hot", "multi_hot", "count")

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: Any = None,
        output_mode: str = "int",
        sparse: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_bins = self.positive("num_bins", num_bins)
        self.mask_value, self.salt = mask_value, salt_of(self, salt)
        self.output_mode = self.mode(output_mode)
        self.sparse = self.dense(sparse)

    def stand_in(self, x: Tensor) -> Tensor:
        return self.encoded(ops.cast(x, "int64"), self.output_mode, self.num_bins)

    def of_arrays(self, array: Any) -> Any:
        numbers = array.dtype.kind in "fiub"
        words = array.astype(np.int64) if numbers else texts(self, array)
        known, inverse = np.unique(words.astype(str) if not numbers else words, return_inverse=True)
        bins = self.num_bins
        masking = self.mask_value is not None and bins > 1
        bins -= masking
        made = np.array([self._bin(str(word).encode(), bins) for word in known.tolist()], np.int64)
        found = made[inverse.ravel()].reshape(array.shape)
        if masking:
            found = np.where(np.equal(array if numbers else words, self.mask_value), 0, found + 1)
        return self.computed_now(found, lambda x: self.encoded(x, self.output_mode, self.num_bins))

    def _bin(self, text: bytes, bins: int) -> int:
        return (hashes.fingerprint(text) if self.salt is None else hashes.keyed(text, self.salt)) % bins


class HashedCrossing(_Hashed):
    """The remainder by num_bins of one hash of several: whole numbers or texts, in arrays [batch] or
    [batch, 1]. output_mode: "int" or "one_hot"."""

    modes = ("int", "one_hot")
    wants_list = True

    def __init__(self, num_bins: int, output_mode: str = "int", sparse: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_bins = self.positive("num_bins", num_bins)
        self.output_mode = self.mode(output_mode)
        self.sparse = self.dense(sparse)

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            raise ModelError(
                describe(f"{self.label}: call", "a list of at least two inputs", repr(inputs)[:80])
            )
        return super().__call__(inputs, **arguments)

    def stand_in(self, x: Tensor) -> Tensor:
        return self.encoded(ops.cast(x, "int64"), self.output_mode, self.num_bins)

    def of_arrays(self, arrays: Any) -> Any:
        shape = arrays[0].shape
        if any(a.shape != shape for a in arrays) or len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
            found = ", ".join(str(a.shape) for a in arrays)
            raise InputError(describe(f"{self.label}: inputs", "one shape, [batch] or [batch, 1]", found))
        columns = [self._numbers(a) for a in arrays]
        bins = np.array([hashes.crossed(row) % self.num_bins for row in zip(*columns)], np.int64)
        return self.computed_now(
            bins.reshape(shape), lambda x: self.encoded(x, self.output_mode, self.num_bins)
        )

    def _numbers(self, array: np.ndarray) -> list[int]:
        if array.dtype.kind in "iu":
            return [int(v) for v in array.ravel().tolist()]
        if array.dtype.kind == "f":
            raise InputError(describe(f"{self.label}: inputs", "whole numbers or texts", str(array.dtype)))
        return [hashes.fingerprint(text.encode()) for text in texts(self, array).ravel().tolist()]

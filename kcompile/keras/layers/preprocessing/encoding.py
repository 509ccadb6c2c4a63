"""Numbers of categories as they are, or as vectors of zeros and ones, or as counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.editions import edition
from kcompile.keras.layers.preprocessing.data import Preprocessing
from kcompile.keras.settings import dtype_name
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")
_OLD = {"binary": "multi_hot", "tf-idf": "tf_idf"}


class Encoding(Preprocessing):
    """A layer that gives numbers of categories in one of several forms.

    output_mode: "int", the numbers; "one_hot", a vector for each number; "multi_hot", one for each sample
    with 1 at all its numbers; "count", how often each is there. Numbers out of range are in none.
    """

    modes: tuple[str, ...] = MODES
    whole = "int32"  # the type of numbers in the mode "int"
    output_mode = "int"
    looks_up = False  # whether vectors are whole numbers in Keras 3, where it is called on arrays

    def __init__(self, dtype: Any = None, **kwargs: Any) -> None:
        """dtype: of the vectors, or, in the mode "int", of the numbers."""
        if isinstance(dtype, str) and dtype == "string":  # as tf.keras writes the type of what is taken
            dtype = None
        given = None if dtype is None else dtype_name(dtype)
        self.whole_dtype = given if isinstance(given, str) and given in ("int32", "int64") else None
        super().__init__(dtype=dtype if self.whole_dtype is None else None, **kwargs)

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        """What Keras 3 gives of arrays is of 32 bits, and of lookups of whole numbers: Keras 3 on JAX."""
        found = super().__call__(inputs, **arguments)
        if not isinstance(found, np.ndarray) or not edition(self.vintage).operations:
            return found
        vectors = self.looks_up and self.output_mode in ("one_hot", "multi_hot", "count")
        return found.astype("int32") if vectors or found.dtype == "int64" else found

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config if self.whole_dtype is None else {**config, "dtype": self.whole_dtype}

    def mode(self, value: Any) -> str:
        """An output_mode, by its name of today."""
        return str(
            self.one_of(
                "output_mode", _OLD.get(value, value) if isinstance(value, str) else value, self.modes
            )
        )

    def dense(self, sparse: Any) -> bool:
        """`sparse`, which must be False."""
        if self.flag("sparse", sparse):
            raise UnsupportedError(
                f"{self.label}: sparse=True: there are no sparse tensors. Without it the numbers are the same"
            )
        return False

    @property
    def vector_dtype(self) -> str:
        """The type of the vectors."""
        return self.whole_dtype or self.float_dtype

    def encoded(self, places: Tensor, mode: str, depth: int, weights: Tensor | None = None) -> Tensor:
        """Whole numbers in the form of a mode. depth: how many categories there are. weights: of each number,
        when it is counted."""
        if mode == "int":
            kind = self.whole_dtype or self.whole
            return places if places.dtype == kind else ops.cast(places, kind)
        if places.rank == 0:
            places = ops.reshape(places, (1,))
        if mode == "one_hot":
            if places.rank > 1 and places.shape[-1] == 1:
                places = ops.reshape(places, places.shape[:-1])
            return ops.one_hot(places, depth, self.vector_dtype)
        if places.rank > 2 or (places.rank == 1 and not isinstance(places.shape[0], int)):
            raise ModelError(describe(f"output_mode={mode!r}", "inputs [batch, numbers]", str(places.type)))
        hot = ops.one_hot(places, depth, self.vector_dtype)
        axis = places.rank - 1
        if mode == "multi_hot":
            return ops.reduce_max(hot, axis)
        if weights is not None:
            hot = hot * ops.cast(ops.reshape(weights, (*weights.shape, 1)), hot.dtype)
        return ops.reduce_sum(hot, axis)


def whole(x: Tensor) -> Tensor:
    """Numbers of categories, as integers."""
    return x if x.dtype in ("int32", "int64") else ops.cast(x, "int32")


def place_in(x: Tensor, table: np.ndarray) -> Tensor:
    """The number of elements of an ordered table that are not above each x, by halving: int32."""
    count = len(table)
    at = ops.broadcast_to(ops.constant(x.graph, 0, "int32"), x.shape)
    if not count:
        return at
    values = ops.constant(x.graph, table, x.dtype)
    step = 1 << (count.bit_length() - 1)
    while step:
        further = at + step
        last = ops.minimum(further, count) - 1
        fits = ops.logical_and(further <= count, ops.rows_at(values, last) <= x)
        at = ops.select(fits, further, at)
        step //= 2
    return at

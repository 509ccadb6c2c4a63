"""What layers that prepare data have in common: calls on plain lists, and state that data give.

Enters: arrays, tables of pandas, lists of numbers, objects of batches. Leaves: arrays, batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS
from kcompile.keras.editions import edition
from kcompile.keras.engine import Layer
from kcompile.keras.operands import leaves
from kcompile.keras.settings import floatx
from kcompile_runtime.arrays import gives_batches
from kcompile_runtime.checks import check_count
from kcompile_runtime.errors import InputError, KindError, describe


class Preprocessing(Layer):
    """A layer that prepares data. It takes numbers of any type, and, where its Keras computes at once, lists
    and tables too."""

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        if edition(self.vintage).eager:
            inputs = as_plain_array(inputs)
        return super().__call__(inputs, **arguments)

    @property
    def float_dtype(self) -> str:
        """The type that the layer computes floats in."""
        return self.dtype if self.dtype in FLOATS else floatx()

    def floats(self, x: Tensor) -> Tensor:
        """x in the type that the layer computes in."""
        return ops.cast(x, self.float_dtype) if x.dtype != self.float_dtype else x


def as_plain_array(inputs: Any) -> Any:
    """Numbers, texts, lists of them, and tables, as an array; tensors, and lists with any, as they are."""
    listed = isinstance(inputs, (list, tuple))
    if isinstance(inputs, (np.ndarray, Tensor)) or (not listed and hasattr(inputs, "layer")):
        return inputs
    parts = list(leaves([inputs]))
    if parts and all(isinstance(x, (bool, int, float, str, bytes, np.generic)) for x in parts):
        return _narrow(np.asarray(inputs))
    if not listed and hasattr(inputs, "__array__") and hasattr(inputs, "shape"):
        return np.asarray(inputs)
    return inputs


def _narrow(array: np.ndarray) -> np.ndarray:
    """Python's numbers in the types that Keras gives them."""
    return array.astype({"f": floatx(), "i": "int32"}.get(array.dtype.kind, array.dtype))


def batches(
    data: Any, what: str, batch_size: int | None = None, steps: int | None = None, cut: bool = False
) -> Iterator[Any]:
    """Arrays of data that `adapt` is given: an array whole, or cut; of an object of batches each batch's
    first part.

    steps: how many batches, default all. batch_size: of arrays. Raises InputError for data without a batch,
    KindError for what is no data."""
    size = 32 if batch_size is None else check_count(f"{what}: batch_size", batch_size)
    steps = None if steps is None else check_count(f"{what}: steps", steps)
    if isinstance(data, (list, tuple)) and data and all(hasattr(part, "shape") for part in data):
        data = iter(data)  # of batches
    plain = as_plain_array(data)
    if isinstance(plain, np.ndarray):
        whole = plain if steps is None else plain[: steps * size]
        for start in range(0, max(len(whole), 1), size if cut else max(len(whole), 1)):
            yield _filled(whole[start : start + size] if cut else whole, what)
        return
    if not gives_batches(plain):
        raise KindError(
            describe(
                what,
                "an array, a keras.utils.PyDataset (Sequence), or an iterable of batches",
                type(data).__name__,
            )
        )
    count = 0
    for batch in islice(_walked(plain), steps):
        first = batch[0] if isinstance(batch, tuple) else batch
        if not hasattr(first, "shape"):
            raise KindError(describe(what, "batches that are arrays", type(first).__name__))
        count += 1
        yield _filled(np.asarray(first), what)
    if not count:
        raise InputError(describe(what, "at least one batch", "none"))


def _walked(data: Any) -> Iterator[Any]:
    """One pass over an object of batches."""
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return (data[i] for i in range(len(data)))
    return iter(data)


def _filled(array: np.ndarray, what: str) -> np.ndarray:
    if not array.size:
        raise InputError(describe(what, "data", f"an array of shape {array.shape}"))
    return array

"""The batch in a program of JAX, whose sizes are all numbers.

Enters: what two traces of one function, for batches of two sizes, have in the same place. Leaves: one value
for every batch: a number that is the same in both, or a multiple of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kcompile.ir.types import Batch, Dim, TensorType
from kcompile.keras.policies import dtype_here
from kcompile_runtime.errors import UnsupportedError

# Primes, so that sizes of a model are seldom multiples of both
TRACED = (29, 37)


class Pair(NamedTuple):
    """What two traces have in one place, where it is not the same: programs, or numbers that follow from the
    batch."""

    first: Any
    second: Any


def dtype_of(aval: Any) -> str:
    """The dtype here for that of an array of JAX, keys of random numbers counting as what they are made of,
    complex numbers as their parts."""
    name = str(aval.dtype)
    if name.startswith("key<"):
        return "uint32"
    if name.startswith("complex"):
        return "float64" if name == "complex128" else "float32"
    return dtype_here(name)


class Sizes:
    """The two sizes that stand for one batch; the same twice where there is none."""

    def __init__(self, traced: tuple[int, int] = TRACED) -> None:
        self.traced = traced

    def dim(self, first: int, second: int) -> Dim:
        """The size that is `first` in the one trace and `second` in the other. Raises UnsupportedError where
        it is no multiple of the batch."""
        if first == second:
            return int(first)
        times, rest = divmod(first, self.traced[0])
        if rest or times * self.traced[1] != second or times < 1:
            low, high = self.traced
            raise UnsupportedError(
                f"a size is {first} for a batch of {low} and {second} for one of {high}. Sizes must be "
                "numbers, or multiples of the batch: batches are not cut or padded"
            )
        return Batch(times)

    def shape(self, first: Sequence[int], second: Sequence[int]) -> tuple[Dim, ...]:
        return tuple(self.dim(a, b) for a, b in zip(first, second, strict=True))

    def type(self, first: Any, second: Any) -> TensorType:
        """The type of what has these abstract values in the two traces."""
        if len(first.shape) != len(second.shape):
            raise UnsupportedError("the number of axes depends on the size of the batch")
        return TensorType(self.shape(first.shape, second.shape), dtype_of(first))

    def join(self, first: Any, second: Any) -> Any:
        """A parameter of both traces: numbers, tuples and records of them; programs as a `Pair`."""
        if hasattr(first, "eqns") or hasattr(first, "jaxpr"):
            return Pair(first, second)
        if first is None or isinstance(first, (bool, np.bool_)):
            return first
        if isinstance(first, (int, np.integer)):
            return self.dim(int(first), int(second))
        if isinstance(first, (tuple, list)):
            if len(first) != len(second):
                raise UnsupportedError("the number of operands depends on the size of the batch")
            parts = [self.join(a, b) for a, b in zip(first, second)]
            return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
        if isinstance(first, dict):
            return {key: self.join(value, second[key]) for key, value in first.items()}
        if hasattr(first, "__dataclass_fields__"):
            names = first.__dataclass_fields__
            return type(first)(**{k: self.join(getattr(first, k), getattr(second, k)) for k in names})
        return first

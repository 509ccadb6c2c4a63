"""Shapes and dtypes as scripts of TensorFlow read them: tuples and names that say more of themselves."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from kcompile.ir.types import Batch


class StaticShape(tuple[Any, ...]):
    """A shape as TensorFlow's scripts read it."""

    __slots__ = ()

    def as_list(self) -> list[Any]:
        """The sizes, with None for the batch and what is not known."""
        return [None if isinstance(d, Batch) else d for d in self]

    @property
    def ndims(self) -> int:
        """How many axes there are."""
        return len(self)

    @property
    def rank(self) -> int:
        """How many axes there are."""
        return len(self)

    @property
    def dims(self) -> list[Any]:
        """The sizes."""
        return self.as_list()

    def is_fully_defined(self) -> bool:
        """Whether all sizes are numbers."""
        return None not in self.as_list()

    def num_elements(self) -> int | None:
        """The product of the sizes; None where one is not known."""
        return math.prod(map(int, self)) if self.is_fully_defined() else None

    def is_compatible_with(self, other: Any) -> bool:
        """Whether sizes that are known on both sides are equal."""
        sizes, others = self.as_list(), StaticShape(other).as_list()
        return len(sizes) == len(others) and all(
            None in pair or pair[0] == pair[1] for pair in zip(sizes, others)
        )

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises ValueError where sizes differ."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self} and {tuple(other)} are incompatible")

    def merge_with(self, other: Any) -> StaticShape:
        """The sizes that either knows. Raises ValueError where they differ."""
        self.assert_is_compatible_with(other)
        others = StaticShape(other).as_list()
        return type(self)(b if a is None else a for a, b in zip(self.as_list(), others))

    def with_rank(self, rank: int) -> StaticShape:
        """The shape. Raises ValueError where it has another number of axes."""
        if len(self) != rank:
            raise ValueError(f"Shape {self} must have rank {rank}")
        return self

    def concatenate(self, other: Any) -> StaticShape:
        """The sizes of this one, then those of another."""
        return type(self)((*self, *other))


class TensorShape(StaticShape):
    """`StaticShape` of a value, or one that a script makes; its parts, and sums with lists, are such too."""

    __slots__ = ()

    def __new__(cls, dims: Any = ()) -> TensorShape:
        sizes: Iterable[Any] = (dims,) if isinstance(dims, (int, np.integer)) else dims
        return super().__new__(cls, (None if d is None else int(d) for d in sizes))

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return TensorShape(found) if isinstance(key, slice) else found

    def __add__(self, other: Any) -> TensorShape:
        return TensorShape((*self, *other))

    def __radd__(self, other: Any) -> TensorShape:
        return TensorShape((*other, *self))

    def __eq__(self, other: object) -> bool:
        return tuple(self) == (tuple(other) if isinstance(other, (tuple, list)) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__

    def __repr__(self) -> str:
        return f"TensorShape({list(self)})"

    def __str__(self) -> str:
        return repr(tuple(self))


class DType(str):
    """The name of a dtype, which says more of it, as TensorFlow's dtypes do."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The name alone."""
        return str(self)

    @property
    def base_dtype(self) -> DType:
        """The same: there are no dtypes of references."""
        return self

    @property
    def real_dtype(self) -> DType:
        """The same, of numbers that are no complex ones."""
        return self

    @property
    def as_numpy_dtype(self) -> Any:
        """numpy's type."""
        return np.object_ if self == "string" else np.dtype(str(self)).type

    @property
    def is_floating(self) -> bool:
        """Whether its values are fractions."""
        return "float" in self

    @property
    def is_integer(self) -> bool:
        """Whether its values are whole."""
        return "int" in self

    @property
    def is_bool(self) -> bool:
        """Whether its values are true or false."""
        return self == "bool"

    @property
    def is_complex(self) -> bool:
        """Whether its values have imaginary parts."""
        return "complex" in self

    @property
    def is_unsigned(self) -> bool:
        """Whether its values are whole and not negative."""
        return "uint" in self

    @property
    def min(self) -> Any:
        """Its least value."""
        return 0 if self.is_bool else (np.finfo if self.is_floating else np.iinfo)(str(self)).min

    @property
    def max(self) -> Any:
        """Its largest value."""
        return 1 if self.is_bool else (np.finfo if self.is_floating else np.iinfo)(str(self)).max

    @property
    def limits(self) -> tuple[Any, Any]:
        """Its least and its largest value."""
        return self.min, self.max

    @property
    def size(self) -> int:
        """Its bytes."""
        return np.dtype(str(self)).itemsize

    def is_compatible_with(self, other: Any) -> bool:
        """Whether the other is this one."""
        return bool(self == other)


@functools.cache
def dtype_of(name: str) -> DType:
    """The dtype of a name: tracing asks for it at every step."""
    return DType(name)

"""Types of values: dtype and shape, where the batch is the one symbolic size.

A dim is an int or a `Batch`, an integer multiple of the symbol `n`. Everything but `n` is static, so
the number of elements of a value is `c` or `c * n`, and memory is planned before anything runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union

from kcompile_runtime.layout import ELEMENTS

DTYPES = tuple(ELEMENTS)
FLOATS = tuple(name for name, e in ELEMENTS.items() if e.kind == "f")
BYTES = {name: e.bytes for name, e in ELEMENTS.items()}


@dataclass(frozen=True, order=True)
class Batch:
    """`multiple * n`, where n is the number of samples in this call."""

    multiple: int = 1

    def __mul__(self, other: int) -> Batch | int:
        return Batch(self.multiple * other) if other else 0

    __rmul__ = __mul__

    def __floordiv__(self, other: int) -> Batch:
        if self.multiple % other:
            raise ValueError(f"{self} is not divisible by {other}")
        return Batch(self.multiple // other)

    def __index__(self) -> int:
        raise TypeError(
            "the number of samples is not known when the model is compiled, so it cannot "
            "be the bound of a Python loop or a list's index. Write whole tensors, over "
            "K functions; a mean over the batch is K.mean(x, axis=0)"
        )

    def at(self, n: Any) -> Any:
        """The size for n samples, a number or an expression."""
        return n * self.multiple

    def __str__(self) -> str:
        return "n" if self.multiple == 1 else f"{self.multiple}n"

    __repr__ = __str__


@dataclass(frozen=True, order=True)
class Pairs(Batch):
    """Half of `multiple * n`, rounded up: pairs of neighbours among so many elements. Of loops, not types."""

    def at(self, n: Any) -> Any:
        return (n * self.multiple + 1) // 2

    def __str__(self) -> str:
        return f"{super().__str__()}/2"

    __repr__ = __str__


Dim = Union[int, Batch]
Shape = tuple[Dim, ...]


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front. Raises ValueError for one that is not there."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis: expected one of {rank}, from {-rank} to {rank - 1}. Received: {axis}")
    return axis % rank


def numel(shape: Sequence[Dim]) -> Dim:
    """The number of elements. Raises ValueError for two batch dims (n * n is not supported)."""
    static = math.prod(d for d in shape if isinstance(d, int))
    batch = [d for d in shape if isinstance(d, Batch)]
    if len(batch) > 1:
        raise ValueError(f"a shape may hold the batch once. Received: {format_shape(shape)}")
    return static * batch[0] if batch else static


def bind(shape: Sequence[Dim], n: int) -> tuple[int, ...]:
    """The concrete shape for a batch of n samples."""
    return tuple(d.at(n) if isinstance(d, Batch) else d for d in shape)


def static(shape: Sequence[Dim]) -> tuple[int, ...]:
    """A shape that must not hold the batch. Raises ValueError where it does."""
    sizes = tuple(d for d in shape if isinstance(d, int))
    if len(sizes) != len(shape):
        raise ValueError(f"a shape without the batch is expected. Received: {format_shape(shape)}")
    return sizes


def format_shape(shape: Sequence[Dim]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


@dataclass(frozen=True)
class TensorType:
    """dtype and shape of a value."""

    shape: Shape
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise TypeError(f"unknown dtype. Expected one of {DTYPES}. Received: {self.dtype!r}")

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def numel(self) -> Dim:
        return numel(self.shape)

    def with_shape(self, shape: Sequence[Dim]) -> TensorType:
        return TensorType(tuple(shape), self.dtype)

    def with_dtype(self, dtype: str) -> TensorType:
        return TensorType(self.shape, dtype)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


def broadcast_shapes(*shapes: Shape) -> Shape:
    """numpy's broadcasting rule, with the batch equal only to the same multiple of itself or 1."""
    rank = max(map(len, shapes))
    out: list[Dim] = [1] * rank
    for shape in shapes:
        for axis, dim in enumerate(shape, rank - len(shape)):
            if dim == 1 or dim == out[axis]:
                continue
            if out[axis] != 1:
                raise ValueError("shapes do not broadcast: " + ", ".join(format_shape(s) for s in shapes))
            out[axis] = dim
    return tuple(out)


def row_major(shape: Sequence[Dim]) -> tuple[int, ...] | None:
    """Elements between neighbours along each dim; None when one depends on the batch."""
    strides: list[int] = []
    step: Dim = 1
    for size in reversed(shape):
        if not isinstance(step, int):
            return None
        strides.append(step)
        step = step * size
    return tuple(reversed(strides))


def matched(shape: Sequence[Dim], other: Sequence[Dim]) -> list[tuple[slice, slice]]:
    """The axes of two shapes of as many elements that run over the same of them, in the smallest groups of
    neighbours: (axes of the one, axes of the other)."""
    pairs = []
    i = j = 0
    while i < len(shape) or j < len(other):
        i0, j0 = i, j
        left: Dim = 1
        right: Dim = 1
        if i < len(shape):
            left, i = shape[i], i + 1
        if j < len(other):
            right, j = other[j], j + 1
        while left != right:
            if j == len(other) or (i < len(shape) and _smaller(left, right)):
                left, i = numel([left, shape[i]]), i + 1
            else:
                right, j = numel([right, other[j]]), j + 1
        pairs.append((slice(i0, i), slice(j0, j)))
    return pairs


def _smaller(a: Dim, b: Dim) -> bool:
    """Whether `a` is the smaller of two products of dims. One with the batch is larger than one without."""
    if isinstance(a, Batch) != isinstance(b, Batch):
        return not isinstance(a, Batch)
    size_a = a.multiple if isinstance(a, Batch) else a
    size_b = b.multiple if isinstance(b, Batch) else b
    return size_a < size_b

"""Index arithmetic of row-major arrays, as expressions: dims, flat positions, and indices of each axis."""

from __future__ import annotations

from collections.abc import Sequence

from kcompile.codegen import loops
from kcompile.codegen.loops import ZERO, Buffer, Expr
from kcompile.ir.types import Batch, Dim, numel

Index = tuple[Expr, ...]


def extent(dim: Dim) -> Expr:
    """A dim as an expression."""
    if isinstance(dim, Batch):
        size: Expr = dim.at(loops.N)
        return size
    return loops.const(dim)


def flatten(index: Sequence[Expr], shape: Sequence[Dim]) -> Expr:
    """The row-major position of an element. Axes of size 1 are left out. An index that `unflatten` gave
    becomes the position that it was made from, without arithmetic."""
    flat: Expr = ZERO
    for i, d in zip(index, shape):
        if d != 1:
            flat = flat * extent(d) + i
    return flat


def place(buffer: Buffer, index: Sequence[Expr], shape: Sequence[Dim]) -> Expr:
    """Where an element of an array of this shape lies in the buffer that holds it."""
    if buffer.window is None:
        return flatten(index, shape)
    first = run_axis(shape, buffer.window.run)
    assert first is not None  # the plan of the memory has seen to it
    run = flatten(index[:first], shape[:first])
    return run * buffer.window.stride + flatten(index[first:], shape[first:])


def run_axis(shape: Sequence[Dim], run: int) -> int | None:
    """The last axis from which on an array of this shape has `run` elements; None where there is none."""
    count: Dim = 1
    for axis in range(len(shape) - 1, -1, -1):
        count = numel([count, shape[axis]])
        if count == run:
            return axis
    return None


def unflatten(flat: Expr, shape: Sequence[Dim]) -> Index:
    """The index along each axis of the element at a row-major position."""
    out: list[Expr] = []
    for axis in range(len(shape) - 1, -1, -1):
        d = shape[axis]
        if d == 1:
            out.append(ZERO)
        elif all(e == 1 for e in shape[:axis]):
            out.append(flat)
        else:
            out.append(flat % extent(d))
            flat = flat // extent(d)
    return tuple(reversed(out))

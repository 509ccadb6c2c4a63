"""Indices of row-major arrays as expressions: one place for every lowering that counts elements."""

from __future__ import annotations

from collections.abc import Sequence

from kcompile.codegen import loops
from kcompile.codegen.loops import ZERO, Expr
from kcompile.ir.types import Batch, Dim

Index = tuple[Expr, ...]


def extent(dim: Dim) -> Expr:
    """A dim as an expression."""
    return loops.N * dim.multiple if isinstance(dim, Batch) else loops.const(dim)


def flatten(index: Sequence[Expr], shape: Sequence[Dim]) -> Expr:
    """Row-major position. Axes of size 1 do not count; the inverse of `unflatten` costs nothing."""
    flat: Expr = ZERO
    for i, d in zip(index, shape):
        if d != 1:
            flat = flat * extent(d) + i
    return flat


def unflatten(flat: Expr, shape: Sequence[Dim]) -> Index:
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

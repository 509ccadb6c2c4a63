"""What a contraction reads and what becomes of its sums, in any back end's terms.

Enters: a fused group taken apart (`groups.epilogue`). Leaves: elements of operands at an index, and
values of results from sums, as functions that give expressions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kcompile.codegen.loops import ZERO, Buffer, Expr
from kcompile.codegen.loops.indexing import extent, unflatten
from kcompile.ir.types import Dim, numel

Values = Callable[[Expr, Expr, Expr, "Expr | None"], "tuple[Expr, ...]"]


@dataclass(frozen=True)
class Source:
    """How an operand can be read.

    at: (index for each dim, mask or None) -> value. The last index may be a `Ramp`, and the value
    then has its lanes; masked lanes are not read. It may be any fused expression. buffer: set when
    the operand is a plain row-major float32 array of exactly this shape, from its element `start` on.
    """

    at: Callable[[tuple[Expr, ...], Expr | None], Expr]
    buffer: Buffer | None
    shape: tuple[Dim, ...]
    start: Expr = ZERO

    def sample(self, number: Expr, dims: int) -> Source:
        """One sample of an operand whose first so many dims are samples."""
        shape, samples = self.shape[dims:], self.shape[:dims]

        def at(index: tuple[Expr, ...], mask: Expr | None) -> Expr:
            return self.at((*unflatten(number, samples), *index), mask)

        return Source(at, self.buffer, shape, number * extent(numel(shape)))


@dataclass(frozen=True)
class Epilogue:
    """What becomes of the sums.

    outputs: each is [M, J] row-major contiguous. values: (sums, flat row index (int64 scalar),
    column index (int64 scalar, or a `Ramp` when the sums are a vector), mask of the columns that
    exist or None for all) -> a value for each output, of the sums' lanes. light: a few
    instructions, which may be repeated for every vector of a register tile.
    """

    outputs: tuple[Buffer, ...]
    values: Values
    light: bool

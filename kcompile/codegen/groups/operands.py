"""The operands of a contraction and the epilogue on its sums, as functions that give expressions.

Enters: a fused group, taken apart by `groups.epilogue`. Leaves: functions from an index to an operand's
element, and from a sum to the elements of the results. Every back end writes its loops around these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kcompile.codegen.loops import ZERO, Buffer, Expr
from kcompile.codegen.loops.indexing import unflatten
from kcompile.ir.contraction import Affine, Contraction
from kcompile.ir.types import Dim

EpilogueValues = Callable[[Expr, Expr, Expr, "Expr | None"], "tuple[Expr, ...]"]


@dataclass(frozen=True)
class Source:
    """An operand of a contraction, and how its elements are read.

    at: (index for each dim, mask or None) -> element, any fused expression. The last index may be a `Ramp`;
    the result then has its lanes, and masked lanes are not read. buffer: of an operand that is a row-major
    array of exactly this shape, from its element `start` on; else None. dtype: of its elements.
    """

    at: Callable[[tuple[Expr, ...], Expr | None], Expr]
    buffer: Buffer | None
    shape: tuple[Dim, ...]
    start: Expr = ZERO
    dtype: str = "float32"

    def moved(self, steps: Sequence[Expr]) -> Source:
        """The operand as if element 0 of each dim were this many elements further on. The dims before one
        that moves must not hold the batch."""

        def at(index: tuple[Expr, ...], mask: Expr | None) -> Expr:
            return self.at(tuple(i + step for i, step in zip(index, steps)), mask)

        start, each = self.start, 1
        for step, size in zip(reversed(steps), reversed(self.shape)):
            start = start + step * each
            if isinstance(size, int):
                each *= size
        return Source(at, self.buffer, self.shape, start, self.dtype)


@dataclass(frozen=True)
class Epilogue:
    """The ops between the sums of a contraction and the results of its group.

    outputs: each is [M, J] row-major, in its window where it has one; else element `start` of it is the
    buffer's first. values: (sums, flat row index (int64 scalar), column index (int64 scalar, or a `Ramp`
    when the sums are a vector), mask of the columns that exist or None for all) -> a value for each output,
    of the sums' lanes. light: a few instructions, which may be repeated for every vector of a register tile.
    """

    outputs: tuple[Buffer, ...]
    values: EpilogueValues
    light: bool
    start: Expr = ZERO


def of_sample(spec: Contraction, a: Source, b: Source, number: Expr) -> tuple[Contraction, Source, Source]:
    """The contraction of one sample of g, whose flat number is given, and its operands."""
    at = dict(enumerate(unflatten(number, spec.g)))
    return spec.one, *_moved(at, (a, spec.sample_steps(spec.a)), (b, spec.sample_steps(spec.b)))


def of_group(spec: Contraction, a: Source, b: Source, number: Expr) -> tuple[Contraction, Source, Source]:
    """The contraction of one group of columns, whose flat number is given, and its operands."""
    at = dict(enumerate(unflatten(number, spec.groups)))
    return spec.of_group, *_moved(at, (a, spec.group_steps(spec.a)), (b, spec.group_steps(spec.b)))


def _moved(at: Mapping[int, Expr], *operands: tuple[Source, Sequence[Affine]]) -> tuple[Source, Source]:
    """Operands from where their coordinates are, for these values of variables."""
    first, second = (x.moved([step.at(at, ZERO) for step in steps]) for x, steps in operands)
    return first, second

"""Padded operands read where they are: which taps of a tile lie inside, for tiles along one line.

A window at the border of its operand covers elements that do not exist and count as zero. Where neighbouring
columns read neighbours (depthwise convolutions), a copy with those zeros costs more than the arithmetic. So
tiles read the operand itself: a tap that lies outside for all rows of the tile (the line above the first) is
left out, and where it does for single rows (the pixel before the first) these take zeros instead.

Enters: the access of a contraction, its strips. Leaves: a `Guard`, which gives conditions as expressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kcompile.codegen import loops
from kcompile.codegen.contraction.blocking import Strip, multiple
from kcompile.codegen.loops import Expr
from kcompile.codegen.loops.builder import Builder
from kcompile.ir.contraction import Access, Affine, Contraction
from kcompile.ir.types import Dim

Range = tuple[Expr, Expr]  # the first and the end of the values of a summed variable


def readable(spec: Contraction, shape: Sequence[Dim]) -> bool:
    """Whether tiles along one line can read the operand A of this shape where it is: a coordinate that may be
    outside depends on the last variable of the rows, or is the same for the whole tile and has one tap. Taps
    outside are left out, so what is there must be zero."""
    if spec.outside:
        return False
    last = len(spec.m) - 1
    for affine, size, guarded in zip(spec.a.index, shape, spec.a.guarded):
        if affine.divisor != 1 or (guarded and not isinstance(size, int)):
            return False
        variables = {v for v, _ in affine.terms}
        taps = _taps(spec, affine)
        if guarded and last not in variables and (len(taps) != 1 or taps[0][1] < 1):
            return False
    return True


def _taps(spec: Contraction, affine: Affine) -> list[tuple[int, int]]:
    """The summed variables of a coordinate, and what it steps by each."""
    return [(v - len(spec.m), c) for v, c in affine.terms if v >= len(spec.m)]


def whole(access: Access) -> Access:
    """The same access without its guards."""
    return Access(access.operand, access.index, (False,) * len(access.guarded))


@dataclass(frozen=True)
class Guard:
    """What a tile whose first row is at `rows` (a value for each variable of m) may read. spec: the
    contraction. shape: of A. strip: of the tile."""

    spec: Contraction
    shape: Sequence[Dim]
    strip: Strip
    rows: Sequence[Expr]

    def ranges(self, out: Builder) -> dict[int, Range]:
        """For variables of k whose taps are outside for the whole tile: those that are inside."""
        last, found = len(self.spec.m) - 1, {}
        for affine, size in self._guarded():
            if any(v == last for v, _ in affine.terms):
                continue
            ((tap, step),) = _taps(self.spec, affine)
            at = out.let(self._coordinate(affine, ()), "y")
            count = multiple(self.spec.k[tap])
            before = loops.binary("max", loops.const(step - 1) - at, 0)
            inside = loops.binary("max", loops.const(size + step - 1) - at, 0)
            first, stop = (loops.binary("min", x // step, count) for x in (before, inside))
            found[tap] = (out.let(first, "first"), out.let(stop, "stop"))
        return found

    def inside(self, row: int, taps: Sequence[Expr]) -> Expr | None:
        """Whether a row of the tile reads an element at these values of k; None where it always does."""
        last, condition = len(self.spec.m) - 1, None
        for affine, size in self._guarded():
            steps = dict(affine.terms)
            if last not in steps:
                continue
            low, high = self._reach(affine, row)
            at = self._coordinate(affine, taps) + steps[last] * row
            for needed, test in ((low < 0, ("ge", 0)), (high >= size, ("lt", size))):
                if needed:
                    one = loops.binary(test[0], at, test[1])
                    condition = one if condition is None else loops.binary("and", condition, one)
        return condition

    def _guarded(self) -> list[tuple[Affine, int]]:
        access = self.spec.a
        return [
            (affine, size)
            for affine, size, guarded in zip(access.index, self.shape, access.guarded)
            if guarded and isinstance(size, int)
        ]

    def _coordinate(self, affine: Affine, taps: Sequence[Expr]) -> Expr:
        known = dict(enumerate((*self.rows, *taps)))
        at: Expr = affine.over({v: v for v in known}).at(known, loops.const(affine.offset))
        return at

    def _reach(self, affine: Affine, row: int) -> tuple[int, int]:
        """The least and the greatest value of a coordinate, over all tiles of the strip."""
        last, strip = len(self.spec.m) - 1, self.strip
        starts = [strip.start + row + t * strip.tile.rows for t in (0, strip.count - 1)]
        low = high = affine.offset
        for v, c in affine.terms:
            if v == last:
                ends = [c * x for x in starts]
            else:
                ends = [0, c * (multiple((*self.spec.m, *self.spec.k)[v]) - 1)]
            low, high = low + min(ends), high + max(ends)
        return low, high

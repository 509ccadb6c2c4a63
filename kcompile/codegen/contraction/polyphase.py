"""Polyphase decomposition: the rows of a contraction by residue classes, so that no inserted zeros are
multiplied.

The gradient of a convolution of stride s with respect to its input reads `(i + p - t * d) / s`, and
where that leaves a remainder there is nothing to add. Rows with one remainder of i share the taps that
leave none: each such *phase* is a contraction of its own without division, over fewer taps, whose rows
lie s apart in the output. Enters: a `Contraction`. Leaves: its phases; each adds the terms of its
elements in the same order.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kcompile.ir.contraction import Access, Affine, Contraction
from kcompile.ir.types import Dim, static


@dataclass(frozen=True)
class StridedRange:
    """Which indices of a variable a phase has: start + i * step, of `size` in all."""

    size: Dim
    start: int = 0
    step: int = 1


@dataclass(frozen=True)
class Phase:
    """The rows of a contraction in one residue class. spec: those rows, over the taps that they have. rows,
    taps: where the variables of m and k lie in the whole contraction. empty: there are no taps, the sums
    are zero (and spec has one tap that must not be read)."""

    spec: Contraction
    rows: tuple[StridedRange, ...]
    taps: tuple[StridedRange, ...]
    empty: bool = False

    @property
    def is_whole(self) -> bool:
        return all(rows.step == 1 and rows.start == 0 for rows in self.rows)


def phases(spec: Contraction, shape: Sequence[Dim]) -> tuple[Phase, ...]:
    """The phases of a contraction whose operand A has this shape: one where nothing is divided, or
    where a division depends on more than one row variable and one summed one."""
    whole = Phase(spec, tuple(map(StridedRange, spec.m)), tuple(map(StridedRange, spec.k)))
    made: tuple[Phase, ...] = (whole,)
    for axis, affine in enumerate(spec.a.index):
        if affine.divisor > 1 and _is_separable(spec, affine):
            made = tuple(part for phase in made for part in _split(phase, axis, shape[axis]))
    return made


def _is_separable(spec: Contraction, affine: Affine) -> bool:
    rows = [v for v, _ in affine.terms if v < len(spec.m)]
    sizes = (*spec.m, *spec.k)
    return (
        len(rows) == 1
        and len(affine.terms) <= 2
        and all(isinstance(sizes[v], int) for v, _ in affine.terms)
        and all(x is affine or all(v not in rows for v, _ in x.terms) for x in spec.a.index)
    )


def _split(phase: Phase, axis: int, size: Dim) -> list[Phase]:
    """A phase for each remainder of the row variable of one coordinate."""
    spec, count = phase.spec, len(phase.spec.m)
    affine = spec.a.index[axis]
    ((row, scale),) = (t for t in affine.terms if t[0] < count)
    summed = [t for t in affine.terms if t[0] >= count]
    length = spec.m[row]
    assert isinstance(length, int)
    out = []
    for rest in range(min(affine.divisor, length)):
        offset = affine.offset + scale * rest
        taps, terms, empty = phase.taps, [(row, scale)], phase.empty
        m = (*spec.m[:row], -(-(length - rest) // affine.divisor), *spec.m[row + 1 :])
        k = spec.k
        b = spec.b
        if summed:
            tap, slope = summed[0]
            window = k[tap - count]
            assert isinstance(window, int)
            found = [t for t in range(window) if (offset + slope * t) % affine.divisor == 0]
            start = found[0] if found else 0
            step = found[1] - found[0] if len(found) > 1 else affine.divisor
            empty = empty or not found
            kept = StridedRange(k[tap - count], start, step)
            taps = (*taps[: tap - count], kept, *taps[tap - count + 1 :])
            k = (*k[: tap - count], max(len(found), 1), *k[tap - count + 1 :])
            offset += slope * start
            terms.append((tap, slope * step // affine.divisor))
            b = replace(b, index=tuple(_restricted(x, tap, kept) for x in b.index))
        elif offset % affine.divisor:
            empty = True
        plain = Affine(tuple(terms), offset // affine.divisor)
        index = (*spec.a.index[:axis], plain, *spec.a.index[axis + 1 :])
        guarded = (*spec.a.guarded[:axis], not _inside(plain, (*m, *k), size), *spec.a.guarded[axis + 1 :])
        rows = (*phase.rows[:row], StridedRange(length, rest, affine.divisor), *phase.rows[row + 1 :])
        made = replace(spec, m=m, k=k, a=Access(spec.a.operand, index, guarded), b=b)
        out.append(Phase(made, rows, taps, empty))
    return out


def _restricted(affine: Affine, variable: int, kept: StridedRange) -> Affine:
    """The coordinate where one variable takes only the values of a range: `start + i * step` for it."""
    offset = affine.offset + sum(c * kept.start for v, c in affine.terms if v == variable)
    terms = tuple((v, c * kept.step if v == variable else c) for v, c in affine.terms)
    return replace(affine, terms=terms, offset=offset)


def _inside(affine: Affine, sizes: Sequence[Dim], size: Dim) -> bool:
    """Whether a coordinate never leaves a dim of this size."""
    lengths = static([sizes[v] for v, _ in affine.terms])
    corners = [(0, c * (length - 1)) for (_, c), length in zip(affine.terms, lengths)]
    reached = [affine.offset + sum(corner) for corner in itertools.product(*corners)]
    return isinstance(size, int) and min(reached) >= 0 and max(reached) < size

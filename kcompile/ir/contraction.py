"""Contractions as data: `out[m, j] = sum over k of A[m, k] * B[k, j]`, with index maps for A and B.

Dense layers, convolutions and all their gradients are instances, which differ only in how an index
(m, k or k, j) finds its element in the operand. Rows m, columns j and the summed k are each a tuple of
dims, counted in row-major order; the columns are one dim of the output, which has shape `m + (J,)`. A may
depend on the first dims of j: these are *groups* of columns, each with an A of its own, wherever their
coordinate stands in the operands (grouped convolutions; depthwise ones, whose groups are single columns).
Where each of many samples has its own A and B (attention), their dims g come first in the output,
`g + m + (J,)`, and stand anywhere in the operands. Whoever generates code, for whatever target, reads this
and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from kcompile.ir.types import Batch, Dim, Pairs, TensorType, bind, numel, row_major, static


@dataclass(frozen=True)
class PanelLayout:
    """How a matrix [K, J] is stored in panels: [ceil(J / width), K, width]. A panel holds `width`
    neighbouring columns for all k, so that the vectors that a register tile reads lie one after the other;
    beyond J it holds zeros."""

    width: int

    def shape(self, depth: Dim, columns: int) -> tuple[int, Dim, int]:
        return -(-columns // self.width), depth, self.width

    def pack(self, matrix: np.ndarray) -> np.ndarray:
        """A matrix, or a stack of them [..., K, J], in panels."""
        *stack, depth, columns = matrix.shape
        panels, _, width = self.shape(depth, columns)
        padded = np.zeros((*stack, depth, panels * width), matrix.dtype)
        padded[..., :columns] = matrix
        return np.ascontiguousarray(np.moveaxis(padded.reshape(*stack, depth, panels, width), -2, -3))

    def unpack(self, panels: np.ndarray, columns: int) -> np.ndarray:
        """The matrix again, or the stack of them."""
        *stack, count, depth, width = panels.shape
        return np.moveaxis(panels, -3, -2).reshape(*stack, depth, count * width)[..., :columns]

    def column(self, panel: Any, lane: Any) -> Any:
        """The column of the matrix that a lane of a panel is; of numbers or of expressions."""
        return panel * self.width + lane

    def steps(self, depth: Any) -> tuple[Any, int]:
        """Elements from a panel to the next, and from one k to the next."""
        return depth * self.width, self.width


@dataclass(frozen=True)
class Affine:
    """One coordinate in an operand: `(sum of coefficient * index variable + offset) / divisor`.

    terms: (variable, coefficient) pairs; variables number the dims of `m + k + j + g` from 0.
    Where the division leaves a remainder, or the result is outside the operand, the element is zero.
    """

    terms: tuple[tuple[int, int], ...]
    offset: int = 0
    divisor: int = 1

    def at(self, variables: Mapping[int, Any], offset: Any) -> Any:
        """The coordinate times the divisor, for values of the variables and the offset: numbers, arrays, or
        expressions of a program."""
        for variable, coefficient in self.terms:
            offset = offset + variables[variable] * coefficient
        return offset

    def over(self, numbers: Mapping[int, int]) -> Affine:
        """The same coordinate with new numbers for the variables; those without one are 0."""
        terms = tuple((numbers[v], c) for v, c in self.terms if v in numbers)
        return replace(self, terms=terms)


@dataclass(frozen=True)
class Access:
    """How an operand (number `operand` among the inputs of the op) is read.

    index: one `Affine` for each of its dims. guarded: for each dim, whether the coordinate can fall
    outside (padding) or between (divisor) the elements; False means it is proven inside.
    """

    operand: int
    index: tuple[Affine, ...]
    guarded: tuple[bool, ...]


@dataclass(frozen=True, repr=False)
class Contraction:
    """A contraction, see the module. `a` uses only variables of m, k, g and groups, those of groups and g in
    coordinates without a guard; `b` only those of k, j and g. outside: what A is where a coordinate is
    outside of it. Where A is of uint8, elements are words: four bytes of A's last dim, and B's, of int32,
    hold four signed bytes each; a product of words is the sum of the four products of their bytes. merged:
    the dims of the rows in the output, in place of g + m, where it has fewer."""

    m: tuple[Dim, ...]
    k: tuple[Dim, ...]
    j: tuple[Dim, ...]
    a: Access
    b: Access
    g: tuple[Dim, ...] = ()
    outside: int = 0
    merged: tuple[Dim, ...] = ()

    @property
    def rows(self) -> tuple[Dim, ...]:
        """The dims of the output before the columns."""
        return self.merged or self.g + self.m

    @property
    def shape(self) -> tuple[Dim, ...]:
        """The shape of the output."""
        return self.rows + self.columns

    @property
    def variables(self) -> tuple[Dim, ...]:
        """The size of each index variable, by its number."""
        return self.m + self.k + self.j + self.g

    @property
    def columns(self) -> tuple[Dim, ...]:
        """The dim of the output that the columns are."""
        return (numel(self.j),)

    @property
    def groups(self) -> tuple[Dim, ...]:
        """The first dims of j, up to the last one that A depends on."""
        columns = range(len(self.m) + len(self.k), self._first_sample)
        used = [columns.index(v) for affine in self.a.index for v, _ in affine.terms if v in columns]
        return self.j[: max(used, default=-1) + 1]

    @property
    def of_group(self) -> Contraction:
        """The contraction of the first group. Those of the others read A and B `group_steps` from there."""
        first, count = len(self.m) + len(self.k), len(self.groups)
        return replace(self._with((*range(first), *range(first + count, self._end))), j=self.j[count:])

    def group_steps(self, access: Access) -> tuple[Affine, ...]:
        """How far the coordinates of an operand are from those of the first group, by variables that number
        the dims of `groups` from 0."""
        first = len(self.m) + len(self.k)
        return _steps(access, range(first, first + len(self.groups)))

    def cut(self, number: int, sizes: Sequence[Dim]) -> Contraction:
        """The same contraction where one variable has become several, of these sizes, which count up to as
        much in row-major order. All but the first are ints."""
        steps = row_major(sizes)
        assert steps is not None
        more, dims, first = len(sizes) - 1, [], 0
        for part in (self.m, self.k, self.j, self.g):
            at = number - first
            first += len(part)
            dims.append((*part[:at], *sizes, *part[at + 1 :]) if 0 <= at < len(part) else part)

        def over(affine: Affine) -> Affine:
            terms: list[tuple[int, int]] = []
            for v, c in affine.terms:
                parts = [(v + i, c * step) for i, step in enumerate(steps)]
                terms += parts if v == number else [(v + more if v > number else v, c)]
            return replace(affine, terms=tuple(terms))

        a, b = (replace(x, index=tuple(map(over, x.index))) for x in (self.a, self.b))
        m, k, j, g = dims
        return replace(self, m=m, k=k, j=j, g=g, a=a, b=b, merged=self.rows)

    @property
    def by_sample(self) -> bool:
        """Whether the first of the rows is the batch, and each sample's rows depend on that sample alone."""
        first, *rest = (*self.rows, *self.k, *self.j)
        if not isinstance(first, Batch) or any(isinstance(size, Batch) for size in rest):
            return False
        number, operands = (self._first_sample, (self.a, self.b)) if self.g else (0, (self.a,))
        return all(_is_led_by(access, number, self.variables) for access in operands)

    @property
    def one(self) -> Contraction:
        """The contraction of the first sample of g. Those of the others read A and B `sample_steps` from
        there."""
        return replace(self._with(range(self._first_sample)), g=())

    def sample_steps(self, access: Access) -> tuple[Affine, ...]:
        """How far the coordinates of an operand are from those of the first sample, by variables that number
        the dims of g from 0."""
        return _steps(access, range(self._first_sample, self._end))

    @property
    def _first_sample(self) -> int:
        """The number of the first variable of g."""
        return len(self.m) + len(self.k) + len(self.j)

    @property
    def _end(self) -> int:
        return self._first_sample + len(self.g)

    def _with(self, kept: Sequence[int]) -> Contraction:
        """The maps with these variables alone, which get numbers from 0 in this order; the others are 0."""
        numbers = {v: i for i, v in enumerate(kept)}
        a, b = (replace(x, index=tuple(i.over(numbers) for i in x.index)) for x in (self.a, self.b))
        return replace(self, a=a, b=b)

    @property
    def of_b(self) -> Contraction:
        """The same contraction without what packing B does not depend on: the number of rows, how A is
        read."""
        return replace(self, m=(1,) * len(self.m), a=Access(self.a.operand, (), ()), outside=0, merged=())

    def bind(self, n: int) -> Contraction:
        """The contraction for a batch of n samples, where all dims are ints."""
        g, m, k, j, merged = (bind(dims, n) for dims in (self.g, self.m, self.k, self.j, self.merged))
        return replace(self, g=g, m=m, k=k, j=j, merged=merged)

    @property
    def in_halves(self) -> Contraction | None:
        """The contraction of words that hold two summed elements each, of one dim of k: the batch where that
        is summed, by pairs of neighbours; else the last, `halved`. None where an operand has not that dim for
        itself. (So are the operands, along `halved_axis`.)"""
        number = self._halved - len(self.m)
        size = self.k[number]
        alone = all(self.halved_axis(x) is not None for x in (self.a, self.b))
        if not alone or self.groups or size == 1:
            return None
        return replace(self, k=(*self.k[:number], halved(size), *self.k[number + 1 :]))

    @property
    def _halved(self) -> int:
        """The variable whose elements words hold two of."""
        batch = [i for i, size in enumerate(self.k) if isinstance(size, Batch)]
        return len(self.m) + (batch[0] if batch else len(self.k) - 1)

    def halved_axis(self, access: Access) -> int | None:
        """The dim of an operand whose coordinate is the one of words; None where there is none, or more than
        that is in it."""
        found = [i for i, x in enumerate(access.index) if any(v == self._halved for v, _ in x.terms)]
        if len(found) != 1 or access.index[found[0]] != variable(self._halved) or access.guarded[found[0]]:
            return None
        return found[0]

    @property
    def sizes(self) -> tuple[Dim, Dim, Dim]:
        """(rows, columns, summed) = (M, J, K), of one sample of g."""
        return numel(self.m), numel(self.j), numel(self.k)

    def __repr__(self) -> str:
        """All of it: `[m=[n, 8] k=[3, 5] j=[4] a=#0[m0, 2*m1 + k0 - 1?, k1] b=#1[k0, k1, j0]]`. A coordinate
        with a question mark is guarded."""
        dims = {"g": self.g, "m": self.m, "k": self.k, "j": self.j}
        sizes = [f"{name}={list(sizes)}" for name, sizes in dims.items() if sizes or name != "g"]
        names = [f"{name}{i}" for name in "mkjg" for i in range(len(dims[name]))]
        if self.outside:
            sizes.append(f"outside={self.outside}")
        if self.merged:
            sizes.append(f"rows={list(self.merged)}")
        return f"[{' '.join(sizes)} a={_access_text(self.a, names)} b={_access_text(self.b, names)}]"


def _access_text(access: Access, names: list[str]) -> str:
    index = [
        _affine_text(affine, names) + "?" * guarded for affine, guarded in zip(access.index, access.guarded)
    ]
    return f"#{access.operand}[{', '.join(index)}]"


def _affine_text(affine: Affine, names: list[str]) -> str:
    parts = [f"{coefficient}*{names[number]}" for number, coefficient in affine.terms]
    if affine.offset or not parts:
        parts.append(str(affine.offset))
    text = " + ".join(part.removeprefix("1*") for part in parts).replace("+ -1*", "- ").replace("+ -", "- ")
    return text if affine.divisor == 1 else f"({text}) / {affine.divisor}"


def halved(size: Any) -> Any:
    """Words of two elements that so many fill. Where the size is a number, element i and element
    i + halved(size), or nothing, are one word, so that vectors of neighbours make a vector of words; where it
    has the batch, elements 2 i and 2 i + 1 are."""
    if not isinstance(size, Batch):
        return -(-size // 2)
    return Pairs(size.multiple) if size.multiple % 2 else Batch(size.multiple // 2)


def _steps(access: Access, variables: range) -> tuple[Affine, ...]:
    """What some variables, which get numbers from 0, add to the coordinates of an operand."""
    numbers = {v: i for i, v in enumerate(variables)}
    return tuple(replace(x.over(numbers), offset=0) for x in access.index)


def _is_led_by(access: Access, number: int, sizes: Sequence[Dim]) -> bool:
    """Whether a variable, perhaps with others that count up to its next value, is the first coordinate of an
    operand, and in no other."""
    at, *others = access.index
    if not at.terms or at.terms[0][0] != number or at.offset or at.divisor != 1 or access.guarded[0]:
        return False
    step, rest = at.terms[0][1], at.terms[1:]
    last = sum(c * (static((sizes[v],))[0] - 1) for v, c in rest)
    own = last + 1 == step and all(c > 0 for _, c in rest)
    return own and all(v != number for affine in others for v, _ in affine.terms)


def variable(number: int, coefficient: int = 1) -> Affine:
    """The coordinate that is an index variable itself."""
    return Affine(((number, coefficient),))


def gather(
    access: Access, array: np.ndarray, sizes: tuple[int, ...], variables: Sequence[int], outside: int = 0
) -> np.ndarray:
    """The operand as a dense array over the index variables in `variables` (with `sizes`); `outside` where it
    has no element."""
    grid = np.ogrid[tuple(slice(0, s) for s in sizes)]
    valid: np.ndarray = np.ones((1,) * len(sizes), bool)
    coordinates = []
    for axis, (affine, size) in enumerate(zip(access.index, array.shape)):
        at = affine.at(dict(zip(variables, grid)), np.full((1,) * len(sizes), affine.offset, np.int64))
        if access.guarded[axis]:
            valid = valid & (at % affine.divisor == 0)
            at = at // affine.divisor
            valid = valid & (at >= 0) & (at < size)
            at = np.clip(at, 0, max(size - 1, 0))
        coordinates.append(at)
    if array.size == 0:
        return np.full(sizes, outside, array.dtype)
    out = np.broadcast_to(array[tuple(coordinates)], sizes)
    return np.where(valid, out, array.dtype.type(outside))


def reference(spec: Contraction, *operands: np.ndarray) -> np.ndarray:
    """The meaning of a contraction without the batch (see `Contraction.bind`), by gathering both operands in
    full (memory: M*K + K*J)."""
    k, j, rows = static(spec.k), static(spec.j), len(spec.m)
    if spec.g:
        g, m = static(spec.g), static(spec.m)
        ends = np.cumsum([0, rows, len(k), len(j), len(g)])
        of_m, of_k, of_j, of_g = (range(*ends[i : i + 2]) for i in range(4))
        left = gather(spec.a, operands[spec.a.operand], g + m + k, (*of_g, *of_m, *of_k))
        right = gather(spec.b, operands[spec.b.operand], g + k + j, (*of_g, *of_k, *of_j))
        made: np.ndarray = np.matmul(left.reshape(-1, prod(m), prod(k)), right.reshape(-1, prod(k), prod(j)))
        return made.reshape(static(spec.shape))
    b = gather(spec.b, operands[spec.b.operand], k + j, range(rows, rows + len(k + j)))
    return product(spec, operands[spec.a.operand], b.reshape(prod(k), prod(j)))


def product(spec: Contraction, a: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The meaning of a contraction of one sample, B being a matrix [K, J]."""
    m, k, groups = static(spec.m), static(spec.k), static(spec.groups)
    depth, count = prod(k), prod(groups)
    words = a.dtype == np.uint8
    if words:
        a = np.ascontiguousarray(a).view(np.int32)
    of_a = gather(spec.a, a, m + k + groups, range(len(m + k + groups)), spec.outside)
    rows = of_a.reshape(-1, depth, count).transpose(2, 0, 1)
    columns = matrix.reshape(depth, count, -1).transpose(1, 0, 2)
    multiply = product_of_words if words else np.matmul
    sums = np.stack([multiply(x, y) for x, y in zip(rows, columns)], 1)
    return sums.reshape(static(spec.shape))


def product_of_words(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The product of matrices of words [M, K] and [K, J], whose bytes are unsigned and signed, in int32,
    which wraps. What numpy computes in, float64, is exact for whole numbers below 2^53."""
    left = np.ascontiguousarray(rows).view(np.uint8).astype(np.float64)
    signed = np.ascontiguousarray(columns).view(np.int8).reshape(*columns.shape, 4)
    right = signed.transpose(0, 2, 1).reshape(-1, columns.shape[1]).astype(np.float64)
    return (left @ right).astype(np.int64).astype(np.int32)


def matmul(a: TensorType, b: TensorType, transpose_a: bool, transpose_b: bool) -> Contraction:
    """Rows m, summed k, columns j of a plain matrix product; either operand may be transposed."""
    m, k = a.shape[::-1] if transpose_a else a.shape
    k_b, j = b.shape[::-1] if transpose_b else b.shape
    if k != k_b:
        raise ValueError(f"matmul: inner sizes differ. Received: {a}, {b}")
    row, depth, column = variable(0), variable(1), variable(2)
    return Contraction(
        (m,),
        (k,),
        (j,),
        Access(0, (depth, row) if transpose_a else (row, depth), (False, False)),
        Access(1, (column, depth) if transpose_b else (depth, column), (False, False)),
    )


def batch_matmul(a: TensorType, b: TensorType, transpose_a: bool, transpose_b: bool) -> Contraction:
    """A matrix product for each sample of the dims in front of the last two, which both have."""
    g = a.shape[:-2]
    if min(a.rank, b.rank) < 3 or g != b.shape[:-2]:
        raise ValueError(f"batch_matmul: expected matrices for the same samples. Received: {a}, {b}")
    one = matmul(a.with_shape(a.shape[-2:]), b.with_shape(b.shape[-2:]), transpose_a, transpose_b)
    samples, inside = tuple(map(variable, range(3, 3 + len(g)))), (False,) * len(g)
    of_a, of_b = (Access(x.operand, (*samples, *x.index), (*inside, *x.guarded)) for x in (one.a, one.b))
    return replace(one, a=of_a, b=of_b, g=g)

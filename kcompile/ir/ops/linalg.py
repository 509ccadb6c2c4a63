"""Matrices factorised, in loops of a known number of steps, and what follows from the factors.

Enters: tensors [..., rows, columns] of a float type; axes before are matrices side by side, the batch among
them. Leaves: tensors. Functions over the ops, from which gradients (of any order, but where it is said) and
code follow. Each step of a loop is a few ops on the whole matrix, so graphs have one size for all matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir.ops.einsum import einsum
from kcompile.ir.ops.elementwise import (
    abs,
    add,
    equal,
    greater,
    greater_equal,
    less,
    log,
    logical_and,
    not_equal,
    ones_like,
    rsqrt,
    select,
    sqrt,
    stop_gradient,
    zeros_like,
)
from kcompile.ir.ops.movement import broadcast_to, concatenate, iota, pad, reshape, slice_, transpose
from kcompile.ir.ops.order import in_order, part_of, ranks
from kcompile.ir.ops.reduction import argmax, reduce_max, reduce_prod, reduce_sum
from kcompile.ir.ops.scan_build import scan
from kcompile.ir.tensor import Tensor, constant
from kcompile.ir.types import FLOATS, static

__all__ = [
    "cholesky",
    "determinant",
    "eigh",
    "lu",
    "matrix_product",
    "matrix_transpose",
    "permutation",
    "pseudo_inverse",
    "qr",
    "singular_values",
    "solve",
    "solve_triangular",
    "svd",
]


def _size(x: Tensor, name: str, square: bool = False) -> tuple[int, int]:
    """Rows and columns. Raises ValueError for what is no matrix of floats."""
    if x.rank < 2 or x.dtype not in FLOATS:
        raise ValueError(f"{name}: expected floats of rank 2 or more. Received: {x.type}")
    rows, columns = static(x.shape[-2:])
    if square and rows != columns:
        raise ValueError(f"{name}: expected a square matrix. Received: {x.type}")
    return rows, columns


def matrix_transpose(x: Tensor) -> Tensor:
    """Rows as columns."""
    return transpose(x, (*range(x.rank - 2), x.rank - 1, x.rank - 2))


def matrix_product(x: Tensor, y: Tensor) -> Tensor:
    """[..., n, k] times [..., k, m], whose axes before are the same."""
    letters = "abcdefghijklmnop"[: x.rank - 2]
    return einsum(f"{letters}YK,{letters}KZ->{letters}YZ", x, y)


def _numbers(x: Tensor, axis: int) -> Tensor:
    """The numbers of rows (axis -2) or columns (-1), which broadcast to x."""
    size = x.shape[axis]
    return iota(x.graph, (size, 1) if axis == -2 else (1, size), axis + 2, "int32")


def _row(x: Tensor, here: Tensor) -> Tensor:
    """The row where `here` holds: [..., columns]."""
    return reduce_sum(select(here, x, zeros_like(x)), -2)


def _column(x: Tensor, here: Tensor) -> Tensor:
    return reduce_sum(select(here, x, zeros_like(x)), -1)


def _upright(x: Tensor) -> Tensor:
    """[..., n] as columns [..., n, 1]."""
    return reshape(x, (*x.shape, 1))


def _flat(x: Tensor) -> Tensor:
    """[..., n] as rows [..., 1, n]."""
    return reshape(x, (*x.shape[:-1], 1, x.shape[-1]))


def _last_first(x: Tensor) -> Tensor:
    """The axis of columns before all others, as loops take them."""
    return transpose(x, (x.rank - 1, *range(x.rank - 1)))


def _first_last(x: Tensor) -> Tensor:
    return transpose(x, (*range(1, x.rank), 0))


def _steps(x: Tensor, count: int) -> Tensor:
    return iota(x.graph, (count,), 0, "int32")


def _identity(x: Tensor, rows: int, columns: int) -> Tensor:
    """Ones on the diagonal, beside x [..., ., .]."""
    one = constant(x.graph, np.eye(rows, columns), x.dtype)
    return broadcast_to(one, (*x.shape[:-2], rows, columns))


def _triangle(x: Tensor, lower: bool, unit: bool = False) -> Tensor:
    """x with zeros beyond the diagonal. unit: ones on it."""
    row, column = _numbers(x, -2), _numbers(x, -1)
    kept = greater_equal(row, column) if lower else greater_equal(column, row)
    x = select(kept, x, zeros_like(x))
    return select(equal(row, column), ones_like(x), x) if unit else x


def _diagonal(x: Tensor) -> Tensor:
    """The diagonal: [..., min(rows, columns)]."""
    rows, columns = static(x.shape[-2:])
    found = _column(x, equal(_numbers(x, -2), _numbers(x, -1)))
    return part_of(found, found.rank - 1, 0, min(rows, columns))


# ---------------------------------------------------------------- systems of equations


def lu(x: Tensor) -> tuple[Tensor, Tensor]:
    """L below the diagonal (of ones, not kept) and U, of x with rows swapped; and with which row (int32) each
    was, one after the other. LAPACK's `getrf`: the pivot is the largest of its column."""
    rows, columns = _size(x, "lu")
    count = min(rows, columns)

    def step(states: list[Tensor], elements: list[Tensor], _: list[Tensor]) -> Any:
        (a,), (k,) = states, elements
        row, column = _numbers(a, -2), _numbers(a, -1)
        flat = iota(a.graph, (rows,), 0, "int32")
        size = abs(_column(a, equal(column, k)))
        at = argmax(select(greater_equal(flat, k), size, ones_like(size) * -1.0), a.rank - 2)
        other = equal(row, reshape(at, (*at.shape, 1, 1)))
        top, old = _flat(_row(a, other)), _flat(_row(a, equal(row, k)))
        a = select(equal(row, k), top, select(other, old, a))
        pivot = reduce_sum(select(equal(column, k), top, zeros_like(top)), -1, keepdims=True)
        some = not_equal(pivot, 0.0)
        parts = _upright(_column(a, equal(column, k))) / select(some, pivot, ones_like(pivot))
        below = greater(row, k)
        right = select(logical_and(below, greater(column, k)), a - parts * top, a)
        return [select(logical_and(below, equal(column, k)), parts, right)], [at]

    (packed,), (pivots,) = scan(step, [x], [_steps(x, count)])
    return packed, _first_last(pivots)


def determinant(x: Tensor) -> tuple[Tensor, Tensor]:
    """The sign (0 of a singular matrix) and the logarithm of the size."""
    _size(x, "determinant", square=True)
    packed, pivots = lu(x)
    swapped = not_equal(pivots, iota(x.graph, (x.shape[-1],), 0, "int32"))
    factors, one = _diagonal(packed), ones_like(packed)
    signs = select(less(factors, 0.0), one * -1.0, select(equal(factors, 0.0), one * 0.0, one))
    sign = reduce_prod(signs * select(swapped, one * -1.0, one), -1)
    return sign, reduce_sum(log(abs(factors)), -1)


def _rows_swapped(x: Tensor, pivots: Tensor) -> Tensor:
    """x with its rows in the order that `lu` has brought them to."""

    def step(states: list[Tensor], elements: list[Tensor], _: list[Tensor]) -> Any:
        (a,), (k, at) = states, elements
        row = _numbers(a, -2)
        here, other = equal(row, k), equal(row, reshape(at, (*at.shape, 1, 1)))
        return [select(here, _flat(_row(a, other)), select(other, _flat(_row(a, here)), a))], []

    return scan(step, [x], [_steps(x, static(pivots.shape[-1:])[0]), _last_first(pivots)])[0][0]


def permutation(pivots: Tensor, rows: int) -> Tensor:
    """Which of so many rows each one is after they were swapped as `lu` says, int32."""
    order = iota(pivots.graph, (rows, 1), 0, "int32")
    order = broadcast_to(order, (*pivots.shape[:-1], rows, 1))
    return reshape(_rows_swapped(order, pivots), (*pivots.shape[:-1], rows))


def solve_triangular(a: Tensor, b: Tensor, lower: bool, unit: bool = False) -> Tensor:
    """The solution of a x = b, a [..., n, n] triangular, b [..., n, m] with the same axes before. What is on
    the other side of a's diagonal is not read; unit: the diagonal, which is of ones, neither."""
    count, _ = _size(a, "solve_triangular", square=True)
    a = _triangle(a, lower, unit)

    def step(states: list[Tensor], elements: list[Tensor], _: list[Tensor]) -> Any:
        (x,), (k, row, right) = states, elements
        here = equal(_numbers(x, -2), k)
        known = reduce_sum(_upright(row) * x, -2)
        flat = equal(iota(x.graph, (count,), 0, "int32"), k)
        factor = reduce_sum(select(flat, row, zeros_like(row)), -1, keepdims=True)
        return [select(here, _flat((right - known) / factor), x)], []

    start = broadcast_to(zeros_like(b), b.shape)
    rows = [transpose(t, (t.rank - 2, *range(t.rank - 2), t.rank - 1)) for t in (a, b)]
    return scan(step, [start], [_steps(a, count), *rows], reverse=not lower)[0][0]


def solve(a: Tensor, b: Tensor) -> Tensor:
    """The solution of a x = b, a [..., n, n], b [..., n, m] with the same axes before."""
    _size(a, "solve", square=True)
    packed, pivots = lu(a)
    half = solve_triangular(packed, _rows_swapped(b, pivots), True, True)
    return solve_triangular(packed, half, False)


def cholesky(x: Tensor) -> Tensor:
    """The lower triangle L of x = L L^T, of the symmetric part of x; NaN where x is not positive definite."""
    count, _ = _size(x, "cholesky", square=True)

    def step(states: list[Tensor], elements: list[Tensor], _: list[Tensor]) -> Any:
        (a,), (k,) = states, elements
        flat = iota(a.graph, (count,), 0, "int32")
        column = _column(a, equal(_numbers(a, -1), k))
        pivot = reduce_sum(select(equal(flat, k), column, zeros_like(column)), -1, keepdims=True)
        made = select(greater_equal(flat, k), column / sqrt(pivot), zeros_like(column))
        return [a - _upright(made) * _flat(made)], [made]

    return _first_last(scan(step, [(x + matrix_transpose(x)) * 0.5], [_steps(x, count)])[1][0])


# ---------------------------------------------------------------- orthogonal factors


def _length(x: Tensor, axis: int) -> Tensor:
    """The length of vectors, whose gradient at 0 is 0."""
    return _root(reduce_sum(x * x, axis))


def _root(x: Tensor) -> Tensor:
    some = greater(x, 0.0)
    return select(some, sqrt(select(some, x, ones_like(x))), zeros_like(x))


def _signs(x: Tensor) -> Tensor:
    """-1 below 0, else 1."""
    return select(less(x, 0.0), ones_like(x) * -1.0, ones_like(x))


def qr(x: Tensor, complete: bool = False) -> tuple[Tensor, Tensor]:
    """Q of orthonormal columns, and R upper triangular, of x = Q R, by Householder's reflections with the
    signs of LAPACK's `geqrf`. complete: Q is square."""
    rows, columns = _size(x, "qr")
    count = min(rows - 1, columns)
    kept = rows if complete else min(rows, columns)

    def reduce(states: list[Tensor], elements: list[Tensor], _: list[Tensor]) -> Any:
        (a,), (k,) = states, elements
        flat, zero = iota(a.graph, (rows,), 0, "int32"), zeros_like(a)
        column = _column(a, equal(_numbers(a, -1), k))
        first = reduce_sum(select(equal(flat, k), column, zero), -1, keepdims=True)
        rest = select(greater(flat, k), column, zero)
        below = reduce_sum(rest * rest, -1, keepdims=True)
        some = greater(below, 0.0)
        length = sqrt(select(some, first * first + below, ones_like(below)))
        head = select(some, first + _signs(first) * length, zeros_like(first))
        vector = select(equal(flat, k), head, rest)
        square = head * head + below
        factor = select(some, 2.0 / select(some, square, ones_like(square)), zeros_like(square))
        return [_reflected(a, vector, factor)], [vector, factor]

    def restore(states: list[Tensor], elements: list[Tensor], _: list[Tensor]) -> Any:
        return [_reflected(states[0], *elements)], []

    q = _identity(x, rows, kept)
    if not count:
        return q, x
    (r,), reflections = scan(reduce, [x], [_steps(x, count)])
    (q,), _ = scan(restore, [q], reflections, reverse=True)
    return q, _triangle(part_of(r, r.rank - 2, 0, kept), False)


def _reflected(x: Tensor, vector: Tensor, factor: Tensor) -> Tensor:
    """x - factor v v^T x."""
    upright = _upright(vector)
    return x - upright * _flat(factor * reduce_sum(upright * x, -2))


# Sweeps over all pairs of rows after which nothing changes any more, with a reserve; they are fewer than 6
# + log2(n) for float32 (Golub and Van Loan, Matrix Computations, 8.5, for what is known of their number).
def _sweeps(size: int, dtype: str) -> int:
    return 6 + size.bit_length() + (2 if dtype == "float64" else 0)


def _angles(p: Tensor, q: Tensor, both: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of Jacobi's rotations, which make [[p, both], [both, q]] diagonal by the smaller of
    two angles; none where it has one value twice already."""
    apart, twice = q - p, both * 2.0
    square = apart * apart + twice * twice
    some = greater(square, 0.0)
    below = apart + _signs(apart) * sqrt(select(some, square, ones_like(square)))
    tangent = select(some, twice / select(some, below, ones_like(below)), zeros_like(twice))
    cosine = rsqrt(tangent * tangent + 1.0)
    return cosine, tangent * cosine


def _halves(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    half = static(x.shape[axis : axis + 1])[0] // 2
    return part_of(x, axis, 0, half), part_of(x, axis, half, 2 * half)


def _turned(x: Tensor, axis: int, cosine: Tensor, sine: Tensor) -> Tensor:
    """Element i of an axis and element i of its second half, turned; then all but the first moved on by one
    place, in a circle, so that every pair meets once in size - 1 steps."""
    one, other = _halves(x, axis)
    form = _upright if axis == x.rank - 2 else _flat
    c, s = form(cosine), form(sine)
    one, other = one * c - other * s, one * s + other * c
    half = static(one.shape[axis : axis + 1])[0]
    if half == 1:
        return concatenate([one, other], axis)
    parts = [
        part_of(one, axis, 0, 1),
        part_of(other, axis, 0, 1),
        *([part_of(one, axis, 1, half - 1)] if half > 2 else []),
        part_of(other, axis, 1, half),
        part_of(one, axis, half - 1, half),
    ]
    return concatenate(parts, axis)


def _even(x: Tensor, axes: Sequence[int]) -> Tensor:
    """x with a zero behind axes of an odd size."""
    more = [static(x.shape[a : a + 1])[0] % 2 if a in axes else 0 for a in range(x.rank)]
    return pad(x, [0] * x.rank, more) if any(more) else x


def eigh(x: Tensor) -> tuple[Tensor, Tensor]:
    """The eigenvalues of symmetric matrices from the smallest on, and their vectors, as columns; of the
    symmetric part of x. Jacobi's method. Vectors have any sign."""
    count, _ = _size(x, "eigh", square=True)
    x = (x + matrix_transpose(x)) * 0.5
    if count == 1:
        return reshape(x, x.shape[:-1]), broadcast_to(ones_like(x), x.shape)
    wide = _even(x, (x.rank - 2, x.rank - 1))
    size = static(wide.shape[-1:])[0]

    def step(states: list[Tensor], _: list[Tensor], __: list[Tensor]) -> Any:
        a, v = states
        p, q = _halves(_diagonal(a), a.rank - 2)
        corner = _halves(_halves(a, a.rank - 2)[0], a.rank - 1)[1]
        angles = _angles(p, q, _diagonal(corner))
        a = _turned(_turned(a, a.rank - 2, *angles), a.rank - 1, *angles)
        return [a, _turned(v, v.rank - 1, *angles)], []

    steps = (size - 1) * _sweeps(size, x.dtype)
    (a, v), _ = scan(step, [wide, _identity(wide, size, size)], [], length=steps)
    values = part_of(_diagonal(a), a.rank - 2, 0, count)
    v = slice_(v, [0] * v.rank, (*v.shape[:-2], count, count))
    at = ranks(values)
    return in_order(values, at, count), in_order(v, _flat(at), count)


def _orthogonal_columns(x: Tensor) -> tuple[Tensor, Tensor]:
    """x V, whose columns are orthogonal and become shorter, and V. x [..., m, n], m >= n. Hestenes' one-sided
    form of Jacobi's method."""
    _, count = static(x.shape[-2:])
    if count == 1:
        return x, _identity(x, 1, 1)
    wide = _even(x, (x.rank - 1,))
    size = static(wide.shape[-1:])[0]

    def step(states: list[Tensor], _: list[Tensor], __: list[Tensor]) -> Any:
        g, v = states
        p, q = _halves(g, g.rank - 1)
        angles = _angles(*(reduce_sum(t, -2) for t in (p * p, q * q, p * q)))
        return [_turned(g, g.rank - 1, *angles), _turned(v, v.rank - 1, *angles)], []

    steps = (size - 1) * _sweeps(size, x.dtype)
    (g, v), _ = scan(step, [wide, _identity(wide, size, size)], [], length=steps)
    g, v = part_of(g, g.rank - 1, 0, count), slice_(v, [0] * v.rank, (*v.shape[:-2], count, count))
    at = _flat(ranks(reduce_sum(g * g, -2), largest_first=True))
    return in_order(g, at, count), in_order(v, at, count)


def singular_values(x: Tensor) -> Tensor:
    """The singular values, from the largest on."""
    rows, columns = _size(x, "svd")
    return _length(_orthogonal_columns(x if rows >= columns else matrix_transpose(x))[0], -2)


def svd(x: Tensor, full: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """U, the singular values from the largest on, and V^T, of x = U S V^T. full: U and V are square. Vectors
    have any sign, in pairs."""
    rows, columns = _size(x, "svd")
    if rows < columns:
        u, values, v = svd(matrix_transpose(x), full)
        return matrix_transpose(v), values, matrix_transpose(u)
    g, v = _orthogonal_columns(x)
    q, r = qr(g, full)  # which finds a column too where a singular value is 0
    signs = stop_gradient(_signs(_diagonal(r)))
    if full and rows > columns:
        more = broadcast_to(ones_like(signs), (*signs.shape[:-1], rows - columns))
        signs = concatenate([signs, more], signs.rank - 1)
    return q * _flat(signs), _length(g, -2), matrix_transpose(v)


def pseudo_inverse(x: Tensor, share: float) -> Tensor:
    """The inverse of Moore and Penrose; singular values up to a share of the largest count as 0. Its gradient
    (Golub and Pereyra, 1973, equation 4.12) holds to the first order."""
    _size(x, "pseudo_inverse")
    u, values, v = svd(stop_gradient(x))
    kept = greater(values, reduce_max(values, -1, keepdims=True) * share)
    parts = select(kept, 1.0 / select(kept, values, ones_like(values)), zeros_like(values))
    p = stop_gradient(matrix_product(matrix_transpose(v) * _flat(parts), matrix_transpose(u)))
    fixed = stop_gradient(x)
    off = x - fixed  # 0, with the gradient of x
    turned, pt = matrix_transpose(off), matrix_transpose(p)
    rows, columns = static(x.shape[-2:])
    left = _identity(x, rows, rows) - matrix_product(fixed, p)
    right = _identity(x, columns, columns) - matrix_product(p, fixed)
    made = p - matrix_product(matrix_product(p, off), p)
    made = add(made, matrix_product(matrix_product(matrix_product(p, pt), turned), left))
    return add(made, matrix_product(matrix_product(right, turned), matrix_product(pt, p)))

"""Contractions as data: `out[m, j] = sum over k of A[m, k] * B[k, j]`, with index maps for A and B.

Dense layers, convolutions and all their gradients are instances, which differ only in how an index
(m, k or k, j) finds its element in the operand. Rows m, columns j and the summed k are each a tuple of
dims, counted in row-major order; the output has shape `m + j`. Where each of many samples has its own A
and B (attention), their dims g come first in both operands and in the output, `g + m + j`. Whoever
generates code, for whatever target, reads this and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from kcompile.ir.types import Dim, TensorType, bind, format_shape, numel


@dataclass(frozen=True)
class Affine:
    """One coordinate in an operand: `(sum of coefficient * index variable + offset) / divisor`.

    terms: (variable, coefficient) pairs; variables number the dims of `m + k + j` from 0.
    Where the division leaves a remainder, or the result is outside the operand, the element is zero.
    """

    terms: tuple[tuple[int, int], ...]
    offset: int = 0
    divisor: int = 1


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
    """See the module. `a` uses only variables of m and k, `b` only of k and j; both speak of the dims
    behind g."""

    m: tuple[Dim, ...]
    k: tuple[Dim, ...]
    j: tuple[Dim, ...]
    a: Access
    b: Access
    g: tuple[Dim, ...] = ()

    @property
    def rows(self) -> tuple[Dim, ...]:
        """The dims of the output before the columns."""
        return self.g + self.m

    @property
    def shape(self) -> tuple[Dim, ...]:
        """Of the output."""
        return self.g + self.m + self.j

    @property
    def one(self) -> Contraction:
        """What happens to one sample of g."""
        return replace(self, g=())

    @property
    def of_b(self) -> Contraction:
        """What packing B depends on: neither how many rows there are, nor how A is read."""
        return replace(self, m=(1,) * len(self.m), a=Access(self.a.operand, (), ()))

    @property
    def sizes(self) -> tuple[Dim, Dim, Dim]:
        """(rows, columns, summed) = (M, J, K), of one sample of g."""
        return numel(self.m), numel(self.j), numel(self.k)

    def __repr__(self) -> str:
        sizes = f"{format_shape(self.m)} x {format_shape(self.k)} x {format_shape(self.j)}"
        return f"[{sizes} for each of {format_shape(self.g)}]" if self.g else f"[{sizes}]"


def variable(number: int, coefficient: int = 1) -> Affine:
    """The coordinate that is an index variable itself."""
    return Affine(((number, coefficient),))


def gather(access: Access, array: np.ndarray, sizes: tuple[int, ...], variables: range) -> np.ndarray:
    """The operand as a dense array over the index variables in `variables` (with `sizes`)."""
    grid = np.ogrid[tuple(slice(0, s) for s in sizes)]
    valid: np.ndarray = np.ones((1,) * len(sizes), bool)
    coordinates = []
    for axis, (affine, size) in enumerate(zip(access.index, array.shape)):
        at = np.full((1,) * len(sizes), affine.offset, np.int64)
        for number, coefficient in affine.terms:
            at = at + coefficient * grid[variables.index(number)]
        if access.guarded[axis]:
            valid = valid & (at % affine.divisor == 0)
            at = at // affine.divisor
            valid = valid & (at >= 0) & (at < size)
            at = np.clip(at, 0, max(size - 1, 0))
        coordinates.append(at)
    if array.size == 0:
        return np.zeros(sizes, array.dtype)
    out = np.broadcast_to(array[tuple(coordinates)], sizes)
    return np.where(valid, out, array.dtype.type(0))


def reference(spec: Contraction, n: int, *operands: np.ndarray) -> np.ndarray:
    """The meaning of a contraction, by gathering both operands in full (memory: M*K + K*J)."""
    if spec.g:
        g, parts = bind(spec.g, n), [x.reshape(-1, *x.shape[len(spec.g) :]) for x in operands]
        made = [reference(spec.one, n, *sample) for sample in zip(*parts)]
        return np.array(made, operands[0].dtype).reshape(g + bind(spec.m + spec.j, n))
    m, k, j = (bind(dims, n) for dims in (spec.m, spec.k, spec.j))
    rows, summed = len(m), len(m) + len(k)
    a = gather(spec.a, operands[spec.a.operand], m + k, range(0, summed))
    b = gather(spec.b, operands[spec.b.operand], k + j, range(rows, summed + len(j)))
    depth = prod(k)
    product: np.ndarray = a.reshape(-1, depth) @ b.reshape(depth, -1)
    return product.reshape(m + j)


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
    return replace(one, g=g)

"""Orthonormal columns, with the same bits on every processor.

Enters: a matrix of float64 with no more columns than rows, and full rank. Leaves: Q of its QR
decomposition where the diagonal of R is positive. BLAS and LAPACK add up in an order that depends on the
processor. Here operands are cut into whole multiples of a power of two, so short that no sum of their
products is ever rounded (Ozaki et al., Error-free transformations of matrix multiplication, Numerical
Algorithms 59, 2012): BLAS multiplies them at its speed, and its order does not matter.
"""

from __future__ import annotations

import math

import numpy as np

_BLOCK = 32  # columns that are freed of all earlier ones by products of matrices


def orthonormal(a: np.ndarray) -> np.ndarray:
    """By classical Gram-Schmidt, each projection twice (Giraud et al., Numerische Mathematik 101, 2005)."""
    q = np.empty_like(a)
    for start in range(0, a.shape[1], _BLOCK):
        block = _without(a[:, start:start + _BLOCK], q[:, :start])
        for j in range(block.shape[1]):
            x = _without(block[:, j:j + 1], q[:, start:start + j])
            q[:, start + j:start + j + 1] = x / np.sqrt(product(x.T, x))
    return q


def _without(x: np.ndarray, q: np.ndarray) -> np.ndarray:
    """x without its parts along orthonormal columns."""
    for _ in range(2):
        x = x - product(q, product(q.T, x))
    return x


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The matrix product to about 36 bits of the largest operands, the same bits in any order of sums."""
    if 0 in (*a.shape, *b.shape):
        return np.zeros((a.shape[0], b.shape[1]))
    bits = (53 - math.ceil(math.log2(a.shape[1] + 1))) // 2
    (a_high, a_low), (b_high, b_low) = _cut(a, bits), _cut(b, bits)
    made: np.ndarray = a_high @ b_high + (a_low @ b_high + a_high @ b_low)
    return made


def _cut(x: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """x as a sum of two of so many bits each below the largest element."""
    step = 2.0 ** (int(np.frexp(np.abs(x).max())[1]) - bits)
    high = np.rint(x / step) * step
    fine = step / 2.0 ** bits
    return high, np.rint((x - high) / fine) * fine

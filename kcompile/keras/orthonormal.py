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
    """Classical Gram-Schmidt with each projection done twice (Giraud et al., Numerische Mathematik 101,
    2005)."""
    rows, columns = a.shape
    bits = (53 - math.ceil(math.log2(rows + 1))) // 2
    q, high, low = np.empty_like(a), np.empty_like(a), np.empty_like(a)
    for start in range(0, columns, _BLOCK):
        block = _without(a[:, start : start + _BLOCK], high[:, :start], low[:, :start], bits)
        for j in range(block.shape[1]):
            this, earlier = slice(start + j, start + j + 1), slice(start, start + j)
            x = _without(block[:, j : j + 1], high[:, earlier], low[:, earlier], bits)
            x_high, x_low = _cut(x, bits)
            q[:, this] = x / np.sqrt(x_high.T @ x_high + 2 * (x_high.T @ x_low))
            high[:, this], low[:, this] = _cut(q[:, this], bits, 1)  # one step for all columns
    return q


def _without(x: np.ndarray, high: np.ndarray, low: np.ndarray, bits: int) -> np.ndarray:
    """x without its parts along the orthonormal columns high + low. The first projection leaves little of
    them, whatever the error of their lengths; the second finds what is left, and few of its bits count."""
    if not high.shape[1]:
        return x
    lengths, rest = _cut(high.T @ _cut(x, bits)[0], bits)
    x = x - (high @ lengths + (low @ lengths + high @ rest))
    x_high, x_low = _cut(x, bits)
    made: np.ndarray = x - high @ _cut(high.T @ x_high + (low.T @ x_high + high.T @ x_low), bits)[0]
    return made


def _cut(x: np.ndarray, bits: int, exponent: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """x as a sum of two of so many bits each below 2 ** exponent (default: that of the largest element)."""
    largest = int(np.frexp(np.abs(x).max())[1]) if exponent is None else exponent
    step = 2.0 ** (largest - bits)
    high = np.rint(x / step) * step
    fine = step / 2.0**bits
    return high, np.rint((x - high) / fine) * fine

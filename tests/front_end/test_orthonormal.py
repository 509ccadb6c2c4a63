"""Orthogonal weights are orthonormal, LAPACK's, and the same bits whatever BLAS computes them."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib

import numpy as np
import pytest

from kcompile.keras import initializers
from kcompile.keras import orthonormal as orthonormals
from kcompile.keras.orthonormal import orthonormal

SHAPES = ((1, 1), (9, 9), (33, 32), (70, 64), (300, 40), (1030, 129))


@pytest.mark.parametrize("shape", SHAPES)
def test_columns_are_lapacks(shape):
    a = np.random.default_rng(0).standard_normal(shape)
    q = orthonormal(a)
    np.testing.assert_allclose(q.T @ q, np.eye(shape[1]), atol=1e-9)
    right, r = np.linalg.qr(a)
    # both are off by about the condition of a square random matrix times their rounding
    np.testing.assert_allclose(q, right * np.sign(np.diag(r)), atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_order_of_sums_does_not_matter(shape):
    """Sums go over rows, in whatever order these come."""
    a = np.random.default_rng(1).standard_normal(shape) * 1e-4
    order = np.random.default_rng(2).permutation(shape[0])
    np.testing.assert_array_equal(orthonormal(a[order]), orthonormal(a)[order])


def test_nor_does_that_of_columns():
    """Columns whose largest elements differ by far."""
    a = np.random.default_rng(3).standard_normal((400, 60))
    a[:, 0] = np.eye(400)[0]
    q = np.linalg.qr(a)[0]
    bits = (53 - 9) // 2
    parts, x = orthonormals._cut(q, bits, 1), np.random.default_rng(4).standard_normal((400, 5))
    made, order = orthonormals._without(x, *parts, bits), np.random.default_rng(5).permutation(60)
    assert np.array_equal(made, orthonormals._without(x, parts[0][:, order], parts[1][:, order], bits))
    np.testing.assert_allclose(made, x - q @ (q.T @ x), atol=1e-9)


def test_weights_are_orthonormal_along_the_shorter_side():
    for shape in ((6, 24), (24, 6), (3, 3, 4, 8)):
        w = np.asarray(initializers.Orthogonal(2.0, seed=3)(shape)).reshape(-1, shape[-1]) / 2
        gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
        np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-6)


def test_the_same_bits_with_other_kernels_of_blas():
    code = (
        "import zlib, numpy as np; from kcompile.keras.orthonormal import orthonormal; "
        "print(zlib.crc32(orthonormal(np.random.default_rng(0).standard_normal((130, 100))).tobytes()))"
    )
    here = zlib.crc32(orthonormal(np.random.default_rng(0).standard_normal((130, 100))).tobytes())
    for core in ("Prescott", "Nehalem"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "OPENBLAS_CORETYPE": core},
        )
        assert int(done.stdout) == here, core

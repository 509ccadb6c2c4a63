"""Orthogonal weights are orthonormal, LAPACK's, and the same bits whatever BLAS computes them."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib

import numpy as np
import pytest

from kcompile.keras import initializers
from kcompile.keras.orthonormal import orthonormal, product

SHAPES = ((1, 1), (9, 9), (33, 32), (70, 64), (300, 40))


@pytest.mark.parametrize("shape", SHAPES)
def test_columns_are_lapacks(shape):
    a = np.random.default_rng(0).standard_normal(shape)
    q = orthonormal(a)
    np.testing.assert_allclose(q.T @ q, np.eye(shape[1]), atol=1e-9)
    right, r = np.linalg.qr(a)
    # both are off by about the condition of a square random matrix times their rounding
    np.testing.assert_allclose(q, right * np.sign(np.diag(r)), atol=1e-6)


def test_products_do_not_depend_on_the_order_of_sums():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((20, 500)), rng.standard_normal((500, 30)) * 1e-4
    made, order = product(a, b), rng.permutation(500)
    assert np.array_equal(made, product(a[:, order], b[order]))
    np.testing.assert_allclose(made, a @ b, atol=1e-9 * np.abs(a).max() * np.abs(b).max() * 500)
    assert product(np.zeros((2, 3)), b[:3]).any() == 0 and product(a[:, :0], b[:0]).shape == (20, 30)


def test_weights_are_orthonormal_along_the_shorter_side():
    for shape in ((6, 24), (24, 6), (3, 3, 4, 8)):
        w = np.asarray(initializers.Orthogonal(2.0, seed=3)(shape)).reshape(-1, shape[-1]) / 2
        gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
        np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-6)


def test_the_same_bits_with_other_kernels_of_blas():
    code = ("import zlib, numpy as np; from kcompile.keras.orthonormal import orthonormal; "
            "print(zlib.crc32(orthonormal(np.random.default_rng(0).standard_normal((130, 100))).tobytes()))")
    here = zlib.crc32(orthonormal(np.random.default_rng(0).standard_normal((130, 100))).tobytes())
    for core in ("Prescott", "Nehalem"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                              env={**os.environ, "OPENBLAS_CORETYPE": core})
        assert int(done.stdout) == here, core

"""keras.ops.linalg: factors of matrices, systems of equations, determinants and norms.

Enters: matrices [..., rows, columns] of known sizes; axes before are matrices side by side. Vectors that
belong to eigenvalues and singular values have any sign. The loops are those of `kcompile.ir.ops.linalg`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.keras3_ops.calls import on_values, operation, real, reals
from kcompile.keras.operands import axes_of
from kcompile_runtime.errors import UnsupportedError

# ---------------------------------------------------------------- systems of equations


def solved(a: Tensor, b: Tensor, solve: Callable[[Tensor, Tensor], Tensor] = ops.solve) -> Tensor:
    """The solution of a x = b, where axes before broadcast. b: [n], or [..., n, m]."""
    if a.rank < 2 or a.shape[-2] != a.shape[-1] or not b.rank:
        raise ValueError(f"expected a square matrix and what it is to give. Received: {a.type}, {b.type}")
    vector = b.rank == 1
    b = ops.reshape(b, (*b.shape, 1)) if vector else b
    if b.shape[-2] != a.shape[-1]:
        raise ValueError(f"a of {a.type} does not give b of {b.type}")
    rank = max(a.rank, b.rank)
    a, b = (ops.reshape(t, (*(1,) * (rank - t.rank), *t.shape)) for t in (a, b))
    shape = [q if p == 1 else p for p, q in zip(a.shape[:-2], b.shape[:-2])]
    a, b = (ops.broadcast_to(t, (*shape, *t.shape[-2:])) for t in (a, b))
    made = solve(a, b)
    return ops.reshape(made, made.shape[:-1]) if vector else made


@operation
def solve(a: Any, b: Any) -> Any:
    """The solution of a x = b, by the LU factors of a. b: [n], or [..., n, m]."""
    left, right = reals(a, b)
    return solved(left, right)


@operation
def solve_triangular(a: Any, b: Any, lower: bool = False) -> Any:
    """The solution of a x = b, where a is an upper (or lower) triangle: the other side is not read."""
    left, right = reals(a, b)
    return solved(left, right, lambda p, q: ops.solve_triangular(p, q, lower))


@operation
def inv(x: Any) -> Any:
    """The inverse."""
    x = real(x)
    return solved(x, ops.constant(x.graph, np.eye(_square(x)), x.dtype))


def _square(x: Tensor) -> int:
    rows, columns = x.shape[-2:] if x.rank >= 2 else (0, 1)
    if rows != columns or not isinstance(rows, int):
        raise ValueError(f"expected a square matrix of a known size. Received: {x.type}")
    return rows


@operation
def lu_factor(x: Any) -> Any:
    """L (below the diagonal) and U in one matrix, and the rows that the pivots were found in."""
    return ops.lu(real(x))


@operation
def det(x: Any) -> Any:
    """The determinant."""
    sign, size = ops.determinant(real(x))
    return sign * ops.exp(size)


@operation
def slogdet(x: Any) -> Any:
    """The sign of the determinant, and the logarithm of its size."""
    return ops.determinant(real(x))


@operation
def logdet(x: Any) -> Any:
    """The logarithm of the size of the determinant."""
    return ops.determinant(real(x))[1]


def _definite(x: Any, upper: bool) -> Any:
    given = np.asarray(x)
    try:
        np.linalg.cholesky((given + np.swapaxes(given, -1, -2)) / 2)
    except np.linalg.LinAlgError as error:
        raise ValueError("Cholesky decomposition failed: the matrix is not positive definite") from error
    return NotImplemented


@on_values(_definite)
@operation
def cholesky(x: Any, upper: bool = False) -> Any:
    """The lower triangle L of x = L L^T (or the upper one, of x = U^T U). On values that are not positive
    definite it raises ValueError, in a model they give NaN."""
    made = ops.cholesky(real(x))
    return ops.matrix_transpose(made) if upper else made


@operation
def cholesky_inverse(x: Any, upper: bool = False) -> Any:
    """The inverse of the matrix that has this lower (or upper) triangle as its factor."""
    x = real(x)
    identity = ops.constant(x.graph, np.eye(_square(x)), x.dtype)
    part = solved(x, identity, lambda p, q: ops.solve_triangular(p, q, not upper))
    turned = ops.matrix_transpose(part)
    return ops.matrix_product(part, turned) if upper else ops.matrix_product(turned, part)


# ---------------------------------------------------------------- orthogonal factors


@operation
def qr(x: Any, mode: str = "reduced") -> Any:
    """Q of orthonormal columns and R upper triangular, of x = Q R. mode 'complete': Q is square."""
    if mode not in ("reduced", "complete"):
        raise ValueError(f"mode: expected 'reduced' or 'complete'. Received: {mode!r}")
    return ops.qr(real(x), mode == "complete")


@operation
def eigh(x: Any) -> Any:
    """The eigenvalues of symmetric matrices, from the smallest on, and their vectors, as columns."""
    x = real(x)
    _square(x)
    return ops.eigh(x)


def _eig(x: Any) -> Any:
    values, vectors = np.linalg.eig(np.asarray(x))
    return values.astype(np.complex64), vectors.astype(np.complex64)


@on_values(_eig)
@operation
def eig(x: Any) -> Any:
    """The eigenvalues and eigenvectors of any matrix, which are complex: of values alone."""
    raise UnsupportedError(
        "ops.eig: its results are complex numbers, which a model has not. "
        "Use ops.eigh of a symmetric matrix, or ops.svd"
    )


@operation
def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """U, the singular values from the largest on, and V^T; or the values alone."""
    x = real(x)
    return ops.svd(x, full_matrices) if compute_uv else ops.singular_values(x)


def _smallest(x: Tensor, factor: float = 1.0) -> float:
    """The share of the largest singular value below which rounding decides."""
    return factor * max(d for d in x.shape[-2:] if isinstance(d, int)) * float(np.finfo(x.dtype).eps)


@operation
def matrix_rank(x: Any, tol: Any = None) -> Any:
    """How many singular values are larger than `tol`, by default what rounding makes of 0."""
    x = real(x)
    values = ops.singular_values(x)
    least = ops.reduce_max(values, -1, keepdims=True) * (_smallest(x) if tol is None else float(tol))
    return ops.reduce_sum(ops.cast(values > least, "int32"), -1)


@operation
def pinv(x: Any, rcond: Any = None) -> Any:
    """The pseudo-inverse; singular values up to the share `rcond` of the largest count as 0. Its gradient
    holds to the first order."""
    x = real(x)
    return ops.pseudo_inverse(x, _smallest(x, 10.0) if rcond is None else float(rcond))


@operation
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """The shortest x for which a x is nearest to b. a: [m, n]; b: [m], or [m, k]."""
    a, b = reals(a, b)
    if a.rank != 2 or b.rank not in (1, 2) or a.shape[0] != b.shape[0]:
        raise ValueError(f"lstsq: expected a [m, n] and b [m] or [m, k]. Received: {a.type}, {b.type}")
    inverse = ops.pseudo_inverse(a, _smallest(a) if rcond is None else float(rcond))
    return ops.dot_general(inverse, b, ([1], [0]))


# ---------------------------------------------------------------- norms


@operation
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The length of vectors, or a norm of matrices, over one axis or two."""
    x = real(x)
    axes = axes_of(x, axis)
    if ord is None:
        return ops.sqrt(ops.reduce_sum(x * x, axes, keepdims))
    if axis is None and x.rank > 2:
        raise ValueError(f"norm: ord={ord!r} of {x.type} is over one axis, or two: give axis")
    if len(axes) == 1:
        return _vector_norm(x, ord, axes, keepdims)
    if len(axes) == 2:
        return _matrix_norm(x, ord, axes, keepdims)
    raise ValueError(f"norm: ord={ord!r} is over one axis, or two. Received: axis={axis}")


def _vector_norm(x: Tensor, ord: Any, axes: Sequence[int], keepdims: bool) -> Tensor:
    size = ops.abs(x)
    if ord in ("fro", "nuc"):
        raise ValueError(f"norm: ord={ord!r} is of matrices")
    if ord == math.inf:
        return ops.reduce_max(size, axes, keepdims)
    if ord == -math.inf:
        return ops.reduce_min(size, axes, keepdims)
    if ord == 0:
        return ops.reduce_sum(ops.cast(ops.not_equal(x, 0.0), x.dtype), axes, keepdims)
    if ord == 1:
        return ops.reduce_sum(size, axes, keepdims)
    if ord == 2:
        return ops.sqrt(ops.reduce_sum(x * x, axes, keepdims))
    return ops.pow(ops.reduce_sum(ops.pow(size, float(ord)), axes, keepdims), 1.0 / float(ord))


def _matrix_norm(x: Tensor, ord: Any, axes: Sequence[int], keepdims: bool) -> Tensor:
    if ord == "fro":
        return ops.sqrt(ops.reduce_sum(x * x, axes, keepdims))
    if ord in ("nuc", 2, -2):
        rest = [i for i in range(x.rank) if i not in axes]
        values = ops.singular_values(ops.transpose(x, [*rest, *axes]))
        reduce = {"nuc": ops.reduce_sum, 2: ops.reduce_max, -2: ops.reduce_min}[ord]
        made = reduce(values, -1)
        kept = [1 if i in axes else d for i, d in enumerate(x.shape)]
        return ops.reshape(made, kept) if keepdims else made
    if ord not in (1, -1, math.inf, -math.inf):
        raise ValueError(f"norm: ord={ord!r} of matrices")
    summed = axes[0] if abs(ord) == 1 else axes[1]
    kept_sum = ops.reduce_sum(ops.abs(x), summed, True)
    return (ops.reduce_max if ord > 0 else ops.reduce_min)(kept_sum, list(axes), keepdims)

"""Primitives of JAX that factorise matrices and solve systems of equations.

Loops over the ops (`kcompile.ir.ops.linalg`), from which gradients follow. Vectors that belong to eigenvalues
and singular values have any sign, as in JAX.
"""

from __future__ import annotations

from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import static
from kcompile.jaxpr.control import run
from kcompile.jaxpr.replay import PROGRAMS, Equation, rule
from kcompile.jaxpr.sizes import Pair


@rule("cholesky")
def _cholesky(e: Equation, x: Any) -> Tensor:
    return ops.cholesky(*e.tensors(x))


@rule("lu")
def _lu(e: Equation, x: Any) -> list[Tensor]:
    (x,) = e.tensors(x)
    packed, pivots = ops.lu(x)
    return [packed, pivots, ops.permutation(pivots, static(x.shape[-2:])[0])]


@rule("lu_pivots_to_permutation")
def _permutation(e: Equation, x: Any) -> Tensor:
    (x,) = e.tensors(x)
    return ops.permutation(x, e["permutation_size"])


@rule("qr")
def _qr(e: Equation, x: Any) -> list[Tensor]:
    if e.get("pivoting"):
        raise e.refuse("with pivots, it is not supported")
    (x,) = e.tensors(x)
    return list(ops.qr(x, bool(e["full_matrices"])))


@rule("eigh")
def _eigh(e: Equation, x: Any) -> list[Tensor]:
    if e.get("subset_by_index") is not None:
        raise e.refuse("of a part of the eigenvalues, it is not supported")
    (x,) = e.tensors(x)
    values, vectors = ops.eigh(x)
    return [vectors, values]


@rule("svd")
def _svd(e: Equation, x: Any) -> list[Tensor]:
    if e.get("subset_by_index") is not None:
        raise e.refuse("of a part of the singular values, it is not supported")
    (x,) = e.tensors(x)
    if not e["compute_uv"]:
        return [ops.singular_values(x)]
    u, values, v = ops.svd(x, bool(e["full_matrices"]))
    return [values, u, v]


@rule("triangular_solve")
def _triangular_solve(e: Equation, a: Any, b: Any) -> Tensor:
    a, b = e.tensors(a, b)
    left, lower = bool(e["left_side"]), bool(e["lower"])
    if bool(e["transpose_a"]) == left:  # x a = b is a^T x^T = b^T
        a, lower = ops.matrix_transpose(a), not lower
    b = b if left else ops.matrix_transpose(b)
    made = ops.solve_triangular(a, b, lower, bool(e["unit_diagonal"]))
    return made if left else ops.matrix_transpose(made)


PROGRAMS.add("custom_linear_solve")


@rule("custom_linear_solve")
def _linear_solve(e: Equation, *values: Any) -> list[Any]:
    """jnp.linalg.solve's: by the LU factors of a matrix through which JAX lets no gradient flow, as it has a
    rule. Here the factors are made of the matrix itself, and the gradient follows from them."""
    lengths = e.first.params["const_lengths"]
    matrix = values[0]
    skip = lengths.matvec + lengths.vecmat
    known, rest = values[skip : skip + lengths.solve], values[skip + lengths.solve :]
    right = rest[lengths.transpose_solve :]
    factors = e.input_types[skip : skip + lengths.solve]
    type = e.input_types[0]
    if (
        lengths.matvec != 1
        or len(known) != 2
        or factors[0] != type
        or factors[1].dtype != "int32"
        or type.rank < 2
    ):
        raise e.refuse("it is supported as jnp.linalg.solve makes it")
    packed, pivots = ops.lu(e.replay.tensor(matrix, type))
    order = ops.permutation(pivots, static(type.shape[-1:])[0])
    solve = Pair(e.first.params["jaxprs"].solve, e.second.params["jaxprs"].solve)
    return run(e.replay, solve, [packed, order, *right])

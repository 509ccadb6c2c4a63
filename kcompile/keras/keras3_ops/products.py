"""keras.ops that are products: of vectors and matrices, over named axes; distances and correlations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import axis_of, numel
from kcompile.keras.keras3_ops.calls import alike, number, operation, real, reals, summed
from kcompile.keras.keras3_ops.indexing import diagonal_of
from kcompile.keras.operands import fixed_size
from kcompile_runtime.errors import UnsupportedError


def _numbers(x: Any, y: Any) -> list[Tensor]:
    return [number(t) for t in alike(x, y)]


@operation
def matmul(x1: Any, x2: Any) -> Any:
    """The product of matrices, for each entry of the axes before; of vectors too."""
    return ops.product(*_of_bytes(_numbers(x1, x2)))


def _of_bytes(operands: Sequence[Tensor]) -> list[Tensor]:
    """Operands of a product whose sums are of 32 bits where all are int8, as in Keras 3."""
    return [ops.cast(x, "int32") if x.dtype == "int8" else x for x in operands]


@operation
def dot(x1: Any, x2: Any) -> Any:
    """The last axis of x1 against the last but one of x2 (its only one, if it has one)."""
    x, y = _numbers(x1, x2)
    if not x.rank or not y.rank:
        return x * y
    return ops.dot_general(x, y, ([x.rank - 1], [max(y.rank - 2, 0)]))


@operation
def vdot(x1: Any, x2: Any) -> Any:
    """The sum of the products of elements, of all axes."""
    x, y = _numbers(x1, x2)
    return ops.reduce_sum(ops.reshape(x, (x.type.numel,)) * ops.reshape(y, (y.type.numel,)))


@operation
def inner(x1: Any, x2: Any) -> Any:
    """The last axis of the one against that of the other."""
    x, y = _numbers(x1, x2)
    return x * y if not x.rank or not y.rank else ops.dot_general(x, y, ([x.rank - 1], [y.rank - 1]))


@operation
def outer(x1: Any, x2: Any) -> Any:
    """The products of all elements of x1, as rows, with all of x2."""
    x, y = _numbers(x1, x2)
    return ops.reshape(x, (x.type.numel, 1)) * ops.reshape(y, (1, y.type.numel))


@operation
def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """Sums over pairs of axes: the last so many of x1 and the first of x2, or those that are named."""
    x, y = _numbers(x1, x2)
    if isinstance(axes, int):
        of_x, of_y = list(range(x.rank - axes, x.rank)), list(range(axes))
    else:
        of_x, of_y = ([a] if isinstance(a, int) else list(a) for a in axes)
    if not of_x:
        return ops.reshape(x, (*x.shape, *(1,) * y.rank)) * y
    return ops.dot_general(x, y, (of_x, of_y))


@operation
def einsum(subscripts: str, *operands: Any) -> Any:
    """The sum of products over axes that letters name (Einstein's notation)."""
    return ops.einsum(subscripts, *_of_bytes([number(x) for x in alike(*operands)]))


@operation
def cross(
    x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Any:
    """The vector that is orthogonal to two vectors of three numbers (or two, in a plane)."""
    x, y = _numbers(x1, x2)
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = (ops.axis_last(t, axis_of(a, t.rank))[0] for t, a in ((x, axisa), (y, axisb)))
    flat = x.shape[-1] == 2 and y.shape[-1] == 2

    def part(t: Tensor, i: int) -> Tensor:
        if i == t.shape[-1]:
            return ops.zeros_like(ops.part_of(t, t.rank - 1, 0, 1))
        return ops.part_of(t, t.rank - 1, i, i + 1)

    def turn(i: int, j: int) -> Tensor:
        return part(x, i) * part(y, j) - part(x, j) * part(y, i)

    if flat:
        made = turn(0, 1)
        return ops.reshape(made, made.shape[:-1])
    made = ops.concatenate([turn(1, 2), turn(2, 0), turn(0, 1)], -1)
    place = axis_of(axisc, made.rank)
    order = list(range(made.rank - 1))
    order.insert(place, made.rank - 1)
    return ops.transpose(made, order)


@operation
def kron(x1: Any, x2: Any) -> Any:
    """The products of all elements: x1 with a whole x2 in place of each element."""
    x, y = _numbers(x1, x2)
    rank = max(x.rank, y.rank)
    x, y = (ops.reshape(t, (*(1,) * (rank - t.rank), *t.shape)) for t in (x, y))
    a = ops.reshape(x, [d for size in x.shape for d in (size, 1)])
    b = ops.reshape(y, [d for size in y.shape for d in (1, size)])
    return ops.reshape(a * b, [numel([p, q]) for p, q in zip(x.shape, y.shape)])


@operation
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal of two axes."""
    return ops.reduce_sum(diagonal_of(summed(x), offset, axis1, axis2), -1)


@operation
def correlate(x1: Any, x2: Any, mode: str = "valid") -> Any:
    """The sums of products of two vectors, moved along each other."""
    x, y = reals(x1, x2)
    swap = fixed_size(x, 0) < fixed_size(y, 0) and mode == "valid"
    n, m = fixed_size(x, 0), fixed_size(y, 0)
    if swap:
        x, y, n, m = y, x, m, n
    around = {"valid": (0, 0), "full": (m - 1, m - 1), "same": (m // 2, m - 1 - m // 2)}
    if mode not in around:
        raise ValueError(f"expected mode 'valid', 'same' or 'full'. Received: {mode!r}")
    low, high = around[mode]
    if mode == "same" and n < m:
        raise UnsupportedError("ops.correlate: mode='same' where the first vector is the shorter one")
    padded = ops.pad(x, [low], [high])
    count = n + low + high - m + 1
    made = [ops.reduce_sum(ops.part_of(padded, 0, i, i + m) * y, 0, True) for i in range(count)]
    line = made[0] if len(made) == 1 else ops.concatenate(made, 0)
    return ops.reverse(line, [0]) if swap and count > 1 else line


@operation
def corrcoef(x: Any) -> Any:
    """The correlations of rows with each other."""
    x = real(x)
    x = ops.reshape(x, (1, *x.shape)) if x.rank == 1 else x
    off = x - ops.reduce_mean(x, -1, True)
    made = ops.dot_general(off, off, ([1], [1]))
    spread = ops.sqrt(diagonal_of(made, 0, 0, 1))
    count = made.shape[0]
    made = made / (ops.reshape(spread, (count, 1)) * ops.reshape(spread, (1, count)))
    made = ops.minimum(ops.maximum(made, -1.0), 1.0)
    return ops.reshape(made, ()) if count == 1 else made


@operation
def cdist(x: Any, y: Any) -> Any:
    """The distances of all rows of x from all of y."""
    a, b = reals(x, y)
    off = ops.reshape(a, (*a.shape[:-1], 1, a.shape[-1])) - ops.reshape(b, (*b.shape[:-2], 1, *b.shape[-2:]))
    square = ops.reduce_sum(off * off, -1)
    return _root(square)


def _root(x: Tensor) -> Tensor:
    """The square root, whose gradient at 0 is 0."""
    none = ops.equal(x, 0.0)
    return ops.select(none, ops.zeros_like(x), ops.sqrt(ops.select(none, ops.ones_like(x), x)))

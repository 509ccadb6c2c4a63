"""Ops on the bits of integers, and what is written over them: whole divisors, neighbours of floats.

Two's complement, as every processor has it. A shift by less than 0, or by the number of bits or more, leaves
0, to the right of negative numbers -1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir.elements import Element, Elements
from kcompile.ir.op import Case, Draw, Op, register
from kcompile.ir.ops.elementwise import binary, equal, less, logical_or, not_equal, select, zeros_like
from kcompile.ir.ops.scan_build import scan
from kcompile.ir.ops.special import magnitude, remainder
from kcompile.ir.tensor import Operand, Tensor, constant, emit
from kcompile.ir.types import BYTES, FLOATS, TensorType

__all__ = [
    "bitcast",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "common_divisor",
    "next_after",
    "shift_left",
    "shift_right",
]

Array = np.ndarray


def _bits(
    name: str,
    meaning: Callable[[Array, Array], Array],
    scalar: Callable[[Elements, Element, Element], Element],
    **traits: Any,
) -> Callable[[Operand, Operand], Tensor]:
    apply = binary(name, meaning, scalar, None, low=-9, high=9, dtype="int32", **traits)

    def checked(x: Operand, y: Operand) -> Tensor:
        for t in (x, y):
            if isinstance(t, Tensor) and (t.dtype in FLOATS or t.dtype == "bool"):
                raise TypeError(f"{name}: expected integers. Received: {t.type}")
        return apply(x, y)

    return checked


bitwise_and = _bits("bitwise_and", np.bitwise_and, lambda b, x, y: b.logical_and(x, y), commutative=True)
bitwise_or = _bits("bitwise_or", np.bitwise_or, lambda b, x, y: b.logical_or(x, y), commutative=True)
bitwise_xor = _bits("bitwise_xor", np.bitwise_xor, lambda b, x, y: b.bitwise_xor(x, y), commutative=True)


def bitwise_not(x: Tensor) -> Tensor:
    """Every bit the other one."""
    ones = np.iinfo(x.dtype).max if x.dtype[0] == "u" else -1
    return bitwise_xor(x, constant(x.graph, np.asarray(ones, x.dtype), x.dtype))


def _inside(y: Array) -> Array:
    found: Array = (y >= 0) & (y < 8 * y.dtype.itemsize)
    return found


def _shifted_left(x: Array, y: Array) -> Array:
    made: Array = np.where(_inside(y), np.left_shift(x, np.where(_inside(y), y, 0)), 0).astype(x.dtype)
    return made


def _shifted_right(x: Array, y: Array) -> Array:
    last = np.asarray(8 * x.dtype.itemsize - 1, x.dtype)
    beyond = np.right_shift(x, last) if x.dtype.kind == "i" else np.zeros_like(x)
    made: Array = np.where(_inside(y), np.right_shift(x, np.where(_inside(y), y, 0)), beyond)
    return made.astype(x.dtype)


def _distance(b: Elements, y: Element) -> tuple[Element, Element]:
    """Whether a distance is one that processors know, and it, or 0."""
    zero, bits = b.const(0, y.dtype), b.const(8 * BYTES[y.dtype], y.dtype)
    inside = b.logical_and(b.greater_equal(y, zero), b.less(y, bits))
    return inside, b.select(inside, y, zero)


def _scalar_left(b: Elements, x: Element, y: Element) -> Element:
    inside, by = _distance(b, y)
    return b.select(inside, b.shift_left(x, by), b.const(0, x.dtype))


def _scalar_right(b: Elements, x: Element, y: Element) -> Element:
    inside, by = _distance(b, y)
    signed = x.dtype[0] != "u"
    last = b.const(8 * BYTES[x.dtype] - 1, x.dtype)
    beyond = b.shift_right(x, last) if signed else b.const(0, x.dtype)
    return b.select(inside, b.shift_right(x, by), beyond)


shift_left = _bits("shift_left", _shifted_left, _scalar_left)
shift_right = _bits("shift_right", _shifted_right, _scalar_right)


def _infer_bitcast(x: TensorType, dtype: str) -> TensorType:
    if BYTES[x.dtype] != BYTES[dtype] or "bool" in (x.dtype, dtype):
        raise TypeError(f"bitcast: {dtype} has not the size of {x}")
    return x.with_dtype(dtype)


def _bitcast_meaning(x: Array, dtype: str) -> Array:
    """Where floats are computed in another precision, bits are those of the integer's width."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        made: Array = x.view(f"f{x.dtype.itemsize}").astype(kind)
    else:
        made = (x.astype(f"f{kind.itemsize}") if x.dtype.kind == "f" else x).view(kind)
    return made


def _bitcast_case(draw: Draw) -> Case:
    given, made = draw.choice((("float32", "int32"), ("int32", "uint32"), ("int32", "float32")))
    return Case((TensorType(draw.shape(), given),), {"dtype": made})


register(
    Op(
        "bitcast",
        "elementwise",
        _infer_bitcast,
        _bitcast_meaning,
        scalar=lambda b, x, dtype: b.bitcast(x, dtype),
        cases=_bitcast_case,
        exact=True,
    )
)


def bitcast(x: Tensor, dtype: str) -> Tensor:
    """The same bits as another dtype of the same size."""
    return x if x.dtype == dtype else emit("bitcast", [x], dtype=dtype)


# ---------------------------------------------------------------- written in the above


# Euclid's algorithm takes the most steps for neighbours among Fibonacci's numbers
_STEPS = {1: 13, 2: 24, 4: 48, 8: 93}


def common_divisor(x: Tensor, y: Tensor) -> Tensor:
    """The greatest common divisor of integers of one shape and dtype, of up to 32 bits; not negative."""
    if BYTES[x.dtype] > 4:
        raise TypeError(f"common_divisor: expected integers of up to 32 bits. Received: {x.type}")

    def step(states: list[Tensor], _: list[Tensor], __: list[Tensor]) -> Any:
        a, b = states
        none = equal(b, zeros_like(b))
        rest = remainder(a, select(none, constant(b.graph, 1, b.dtype), b))
        return [select(none, a, b), select(none, b, rest)], []

    start = [magnitude(x), magnitude(y)]
    return scan(step, start, [], length=_STEPS[BYTES[x.dtype]])[0][0]


def next_after(x: Tensor, y: Tensor) -> Tensor:
    """The float next to x on the way to y."""
    whole = {"float32": "int32", "float64": "int64"}.get(x.dtype)
    if whole is None:
        raise TypeError(f"next_after: expected float32 or float64. Received: {x.type}")
    bits = bitcast(x, whole)
    one = constant(x.graph, 1, whole)
    sign = bitwise_and(bitcast(y, whole), constant(x.graph, np.iinfo(whole).min, whole))
    away = equal(less(x, zeros_like(x)), less(y, x))  # from 0: larger bits
    made = bitcast(select(away, bits + one, bits - one), x.dtype)
    made = select(equal(x, zeros_like(x)), bitcast(bitwise_or(sign, one), x.dtype), made)
    made = select(equal(x, y), y, made)
    return select(logical_or(not_equal(x, x), not_equal(y, y)), x + y, made)

"""keras.ops on the bits of integers; common divisors and multiples, and neighbours of floats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS
from kcompile.keras.keras3_ops.calls import alike, operation, reals
from kcompile.keras.operands import tensor


def _integers(name: str, x: Any, y: Any, bools: bool = False) -> list[Tensor]:
    made = alike(x, y)
    if made[0].dtype in FLOATS or (made[0].dtype == "bool" and not bools):
        raise ValueError(f"{name}: expected integers{' or bools' if bools else ''}. Received: {made[0].type}")
    return made


def _bitwise(name: str, bools: Callable[..., Tensor], bits: Callable[..., Tensor], doc: str) -> Any:
    def apply(x: Any, y: Any) -> Any:
        x, y = _integers(name, x, y, True)
        return (bools if x.dtype == "bool" else bits)(x, y)

    return _named(name, apply, doc)


def _named(name: str, apply: Callable[..., Any], doc: str) -> Any:
    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return operation(apply)


bitwise_and = _bitwise("bitwise_and", ops.logical_and, ops.bitwise_and, "The bits that both have.")
bitwise_or = _bitwise("bitwise_or", ops.logical_or, ops.bitwise_or, "The bits that one of both has.")
bitwise_xor = _bitwise("bitwise_xor", ops.not_equal, ops.bitwise_xor, "The bits that one alone has.")


def _invert(x: Any) -> Any:
    x = tensor(x)
    if x.dtype == "bool":
        return ops.logical_not(x)
    if x.dtype in FLOATS:
        raise ValueError(f"bitwise_not: expected integers or bools. Received: {x.type}")
    return ops.bitwise_not(x)


def _inverse(name: str) -> Any:
    def apply(x: Any) -> Any:
        return _invert(x)

    return _named(name, apply, "Every bit the other one.")


bitwise_invert = _inverse("bitwise_invert")
bitwise_not = _inverse("bitwise_not")


def _shift(name: str, function: Callable[..., Tensor], doc: str) -> Any:
    def apply(x: Any, y: Any) -> Any:
        return function(*_integers(name, x, y))

    return _named(name, apply, doc)


_LEFT, _RIGHT = "The bits moved on by y places; 0 behind.", "The bits moved back by y places; the sign stays."
bitwise_left_shift = _shift("bitwise_left_shift", ops.shift_left, _LEFT)
left_shift = _shift("left_shift", ops.shift_left, _LEFT)
bitwise_right_shift = _shift("bitwise_right_shift", ops.shift_right, _RIGHT)
right_shift = _shift("right_shift", ops.shift_right, _RIGHT)


def _pair(name: str, x: Any, y: Any) -> list[Tensor]:
    a, b = _integers(name, x, y)
    shape = (ops.bitwise_or(a, b)).shape
    return [ops.broadcast_to(t, shape) for t in (a, b)]


@operation
def gcd(x1: Any, x2: Any) -> Any:
    """The greatest common divisor of integers, of up to 32 bits."""
    return ops.common_divisor(*_pair("gcd", x1, x2))


@operation
def lcm(x1: Any, x2: Any) -> Any:
    """The least common multiple of integers, of up to 32 bits."""
    a, b = _pair("lcm", x1, x2)
    divisor = ops.common_divisor(a, b)
    none = ops.equal(divisor, 0)
    part = ops.divide_towards_zero(a, ops.select(none, ops.ones_like(divisor), divisor))
    return ops.magnitude(part * b)


@operation
def nextafter(x1: Any, x2: Any) -> Any:
    """The float next to x1 on the way to x2."""
    a, b = reals(x1, x2)
    shape = (a + b).shape
    return ops.next_after(*(ops.broadcast_to(t, shape) for t in (a, b)))

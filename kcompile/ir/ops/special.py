"""Functions of an element that are written over the ops: inverse, hyperbolic, rounding, remainders.

Gradients and code follow from what they are made of.
"""

from __future__ import annotations

import math
from typing import Any

from kcompile.ir.ops.elementwise import (
    abs,
    cast,
    cos,
    equal,
    exp,
    expm1,
    floor,
    log,
    log1p,
    logical_and,
    logical_or,
    maximum,
    minimum,
    not_equal,
    ones_like,
    pow,
    select,
    sign,
    sin,
    sqrt,
    stop_gradient,
    zeros_like,
)
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "ceil",
    "cosh",
    "divide_towards_zero",
    "erf_inv",
    "is_finite",
    "magnitude",
    "remainder",
    "round_to_even",
    "signum",
    "sinh",
    "tan",
]


def ceil(x: Tensor) -> Tensor:
    """The smallest whole number that is not smaller."""
    return -floor(-x)


def sinh(x: Tensor) -> Tensor:
    """By exp(x) - 1, which is exact near 0."""
    e = expm1(x)
    return (e + e / (e + 1.0)) * 0.5


def asinh(x: Tensor) -> Tensor:
    """The inverse of sinh, by log1p, which is exact near 0."""
    size = abs(x)
    return sign(x) * log1p(size + size * size / (sqrt(size * size + 1.0) + 1.0))


def atanh(x: Tensor) -> Tensor:
    """The inverse of tanh."""
    return (log1p(x) - log1p(-x)) * 0.5


def acosh(x: Tensor) -> Tensor:
    """The inverse of cosh, from 1 on."""
    return log(x + sqrt((x - 1.0) * (x + 1.0)))


def is_finite(x: Tensor) -> Tensor:
    """Whether a number is neither NaN nor infinite."""
    return equal(x - x, 0.0)


def cbrt(x: Tensor) -> Tensor:
    """The real cube root."""
    return sign(x) * pow(abs(x), 1.0 / 3.0)


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """The polynomial with these coefficients, the highest power's first."""
    result: Any = coefficients[0]
    for c in coefficients[1:]:
        result = result * x + c
    made: Tensor = result
    return made


# The inverse of erf in single precision (Giles, "Approximating the erfinv function", 2010): polynomials in w
# - 2.5 for w = -log(1 - x^2) < 5, and in sqrt(w) - 3 beyond.
_CENTRAL = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
            -0.00417768164, 0.246640727, 1.50140941)  # fmt: skip
_TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
         0.00943887047, 1.00167406, 2.83297682)  # fmt: skip


def erf_inv(x: Tensor) -> Tensor:
    """The inverse of erf."""
    w = -log1p(-(x * x))
    near = w < 5.0
    central = _polynomial(select(near, w, zeros_like(w)) - 2.5, _CENTRAL)
    tail = _polynomial(sqrt(select(near, ones_like(w) * 5.0, w)) - 3.0, _TAIL)
    edge = equal(abs(x), 1.0)
    return select(edge, x * math.inf, select(near, central, tail) * x)


def signum(x: Tensor) -> Tensor:
    """-1, 0 or 1, of integers too."""
    if x.dtype in FLOATS:
        return sign(x)
    return cast(x > 0, x.dtype) - cast(x < 0, x.dtype)


# atan over [-tan(pi/8), tan(pi/8)], x + x^3 p(x^2), as Cephes' atanf has it (S. Moshier, public domain)
_ARC = (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)


def atan(x: Tensor) -> Tensor:
    """By pi/4 + atan((x - 1) / (x + 1)) and pi/2 - atan(1 / x), which bring x near 0."""
    size = abs(x)
    far, middle = size > math.tan(3 * math.pi / 8), size > math.tan(math.pi / 8)
    safe = select(far, size, ones_like(size))
    near = select(far, -1.0 / safe, select(middle, (size - 1.0) / (size + 1.0), size))
    zero = zeros_like(size)
    start = select(far, zero + math.pi / 2, select(middle, zero + math.pi / 4, zero))
    square = near * near
    value = start + (near + near * square * _polynomial(square, _ARC))
    return select(x < 0.0, -value, value)


def atan2(y: Tensor, x: Tensor) -> Tensor:
    """The angle of (x, y)."""
    large, small = maximum(abs(x), abs(y)), minimum(abs(x), abs(y))
    none = equal(large, 0.0)
    angle = atan(small / select(none, ones_like(large), large))
    angle = select(abs(y) > abs(x), math.pi / 2 - angle, angle)
    angle = select(x < 0.0, math.pi - angle, angle)
    return select(y < 0.0, -angle, angle)


def asin(x: Tensor) -> Tensor:
    """The angle of this sine, in [-pi/2, pi/2]."""
    return atan2(x, sqrt((1.0 - x) * (1.0 + x)))


def acos(x: Tensor) -> Tensor:
    """The angle of this cosine, in [0, pi]."""
    return atan2(sqrt((1.0 - x) * (1.0 + x)), x)


def magnitude(x: Tensor) -> Tensor:
    """|x|, of integers too."""
    if x.dtype in FLOATS:
        return abs(x)
    return x if x.dtype[0] == "u" else maximum(x, zeros_like(x) - x)


def cosh(x: Tensor) -> Tensor:
    """(exp(x) + exp(-x)) / 2"""
    return (exp(x) + exp(-x)) * 0.5


def tan(x: Tensor) -> Tensor:
    """sin(x) / cos(x)"""
    return sin(x) / cos(x)


def round_to_even(x: Tensor) -> Tensor:
    """The nearest whole number, halves to the even one."""
    low = floor(x)
    part = x - low  # exact, where x + 0.5 is rounded
    odd = not_equal(floor(low * 0.5) * 2.0, low)
    return select(logical_or(part > 0.5, logical_and(equal(part, 0.5), odd)), low + 1.0, low)


def divide_towards_zero(x: Tensor, y: Tensor) -> Tensor:
    """x / y of integers, towards zero."""
    return cast(cast(x, "float64") / cast(y, "float64"), x.dtype)


def remainder(x: Tensor, y: Tensor) -> Tensor:
    """What is left of x when y is taken out as often as it fits, with the sign of x."""
    if x.dtype not in FLOATS:
        return x - divide_towards_zero(x, y) * y
    whole = floor(abs(x) / abs(y))
    return sign(x) * (abs(x) - stop_gradient(whole) * abs(y))

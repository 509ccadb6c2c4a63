"""keras.ops element by element: arithmetic, comparison, rounding, powers, choice."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS
from kcompile.keras.keras3_ops.calls import (
    alike,
    alike_everywhere,
    binary,
    flag,
    number,
    on_values,
    operation,
    places,
    real,
    reals,
    to,
    unary,
)
from kcompile.keras.operands import plain, tensor
from kcompile.keras.policies import dtype_here
from kcompile.keras.settings import dtype_name, floatx
from kcompile_runtime.errors import UnsupportedError

# ---------------------------------------------------------------- one operand


def _whole(function: Callable[[Tensor], Tensor]) -> Callable[[Any], Tensor]:
    """A rounding function, which leaves integers as they are."""
    return lambda x: function(x) if x.dtype in FLOATS else x


def _negative(x: Tensor) -> Tensor:
    return ops.neg(x) if x.dtype in FLOATS else ops.zeros_like(x) - x


absolute = unary("absolute", lambda x: x if x.dtype == "bool" else ops.magnitude(x), "|x|", tensor)
abs = unary("abs", lambda x: x if x.dtype == "bool" else ops.magnitude(x), "|x|", tensor)
negative = unary("negative", _negative, "-x", tensor)
sign = unary("sign", ops.signum, "-1, 0 or 1.", number)
square = unary("square", lambda x: x * x, "x^2", number)
reciprocal = unary("reciprocal", lambda x: 1.0 / x, "1 / x")
ceil = unary("ceil", ops.ceil, "The smallest whole number that is not smaller.")
floor = unary("floor", ops.floor, "The largest whole number that is not larger.")
fabs = unary("fabs", ops.magnitude, "|x|, as a float.")
trunc = unary(
    "trunc",
    _whole(lambda x: ops.signum(x) * ops.floor(ops.magnitude(x))),
    "Without what is behind the point.",
    tensor,
)
exp = unary("exp", ops.exp, "e^x")
exp2 = unary("exp2", lambda x: ops.exp(x * math.log(2.0)), "2^x")
expm1 = unary("expm1", ops.expm1, "e^x - 1")
log = unary("log", ops.log, "The natural logarithm.")
log10 = unary("log10", lambda x: ops.log(x) * (1.0 / math.log(10.0)), "The logarithm of base 10.")
log1p = unary("log1p", ops.log1p, "log(1 + x)")
log2 = unary("log2", lambda x: ops.log(x) * (1.0 / math.log(2.0)), "The logarithm of base 2.")
sqrt = unary("sqrt", ops.sqrt, "The square root; NaN below 0.")
rsqrt = unary("rsqrt", ops.rsqrt, "1 / sqrt(x)")
cbrt = unary("cbrt", ops.cbrt, "The real cube root.")
sin = unary("sin", ops.sin, "The sine of radians.")
cos = unary("cos", ops.cos, "The cosine of radians.")
tan = unary("tan", ops.tan, "The tangent of radians.")
arcsin = unary("arcsin", ops.asin, "The angle of this sine.")
arccos = unary("arccos", ops.acos, "The angle of this cosine.")
arctan = unary("arctan", ops.atan, "The angle of this tangent.")
sinh = unary("sinh", ops.sinh, "The hyperbolic sine.")
cosh = unary("cosh", ops.cosh, "The hyperbolic cosine.")
tanh = unary("tanh", ops.tanh, "The hyperbolic tangent.")
arcsinh = unary("arcsinh", ops.asinh, "The inverse of sinh.")
arccosh = unary("arccosh", ops.acosh, "The inverse of cosh.")
arctanh = unary("arctanh", ops.atanh, "The inverse of tanh.")
deg2rad = unary("deg2rad", lambda x: x * (math.pi / 180), "Degrees as radians.")
rad2deg = unary("rad2deg", lambda x: x * (180 / math.pi), "Radians as degrees.")
erf = unary("erf", ops.erf, "The error function.")
erfc = unary("erfc", lambda x: 1.0 - ops.erf(x), "1 - erf(x)")
erfinv = unary("erfinv", ops.erf_inv, "The inverse of erf.")
isnan = unary("isnan", lambda x: ops.not_equal(x, x), "Whether it is NaN.")
isfinite = unary("isfinite", ops.is_finite, "Whether it is neither NaN nor infinite.")
isinf = unary("isinf", lambda x: ops.equal(ops.abs(x), math.inf), "Whether it is infinite.")
isposinf = unary("isposinf", lambda x: ops.equal(x, math.inf), "Whether it is infinity.")
isneginf = unary("isneginf", lambda x: ops.equal(x, -math.inf), "Whether it is minus infinity.")
isreal = unary(
    "isreal", lambda x: alike_everywhere(to(x, "int32"), 1) > 0, "True: there are no other numbers.", tensor
)
conj = unary("conj", lambda x: x, "x: it is real.", tensor)
conjugate = unary("conjugate", lambda x: x, "x: it is real.", tensor)
imag = unary("imag", lambda x: alike_everywhere(x, 0), "0: x is real.", number)
angle = unary(
    "angle",
    lambda x: ops.select(x < 0.0, ops.ones_like(x) * math.pi, ops.zeros_like(x)),
    "0, or pi below 0: x is real.",
)
signbit = unary(
    "signbit", lambda x: ops.logical_or(x < 0.0, ops.less(1.0 / x, 0.0)), "Whether the sign is minus."
)
logical_not = unary("logical_not", ops.logical_not, "The other bool.", flag)


def _named_real(name: str) -> Any:
    return unary(name, lambda x: x, "x: it is real.", tensor)


real_part = _named_real("real")


def _sinc(x: Tensor) -> Tensor:
    none = ops.equal(x, 0.0)
    turn = ops.select(none, ops.ones_like(x), x) * math.pi
    return ops.select(none, ops.ones_like(x), ops.sin(turn) / turn)


sinc = unary("sinc", _sinc, "sin(pi x) / (pi x)")

# I0 by Chebyshev polynomials of numpy's: of x/2 - 2 up to 8, of 32/x - 2 beyond
_SERIES = 24  # terms of (x/2)^2k / k!^2, which is exact up to 8


def _i0(x: Tensor) -> Tensor:
    """The series up to 12, the asymptotic one beyond (Abramowitz and Stegun 9.6.12 and 9.7.1)."""
    size = ops.abs(x)
    near = size < 12.0
    small, large = (
        ops.select(near, a, b) for a, b in ((size, ops.zeros_like(x)), (ops.ones_like(x) * 12.0, size))
    )
    quarter, total = small * small * 0.25, ops.ones_like(x)
    for k in range(_SERIES + 6, 0, -1):
        total = total * quarter * (1.0 / k**2) + 1.0
    tail, inverse = ops.ones_like(x), 1.0 / (large * 8.0)
    for k in range(7, 0, -1):
        tail = tail * inverse * ((2 * k - 1) ** 2 / k) + 1.0
    return ops.select(near, total, ops.exp(large) * ops.rsqrt(large * (2 * math.pi)) * tail)


i0 = unary("i0", _i0, "The modified Bessel function of order 0.")


@operation
def round(x: Any, decimals: int = 0) -> Any:
    """The nearest number with so many decimals, halves to the even one."""
    x = tensor(x)
    if x.dtype not in FLOATS and decimals >= 0:
        return x
    if decimals == 0:
        return ops.round_to_even(x)
    scale = 10.0**decimals
    made = ops.round_to_even(real(x) * scale) / scale
    return ops.cast(made, x.dtype)


@operation
def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """x limited to [x_min, x_max]."""
    x, low, high = alike(number(x), x_min, x_max)
    return ops.minimum(ops.maximum(x, low), high)


@operation
def nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """x with numbers in place of NaN and infinities; of these, by default, the largest that there are."""
    x = tensor(x)
    if x.dtype not in FLOATS:
        return x
    limit = float(np.finfo(x.dtype).max)
    x = ops.select(ops.not_equal(x, x), tensor(nan, x.dtype), x)
    x = ops.select(ops.equal(x, math.inf), tensor(limit if posinf is None else posinf, x.dtype), x)
    return ops.select(ops.equal(x, -math.inf), tensor(-limit if neginf is None else neginf, x.dtype), x)


# ---------------------------------------------------------------- two operands


def _numbers(x1: Any, x2: Any) -> list[Tensor]:
    """Operands alike; bools count as int32."""
    return [number(x) for x in alike(x1, x2)]


def _logic(
    bools: Callable[..., Tensor], numbers: Callable[..., Tensor]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Two bools give another one."""
    return lambda a, b: bools(a, b) if a.dtype == "bool" else numbers(a, b)


def _floor_divide(x: Tensor, y: Tensor) -> Tensor:
    return x // y


def _power(x: Tensor, y: Tensor) -> Tensor:
    known = y.graph.nodes[y.value.node]
    whole = known.attrs["value"].array if known.op.origin == "constant" else None
    if whole is not None and whole.ndim == 0 and whole in (1, 2, 3):
        return {1: lambda: x, 2: lambda: x * x, 3: lambda: x * x * x}[int(whole)]()
    if x.dtype in FLOATS:
        return ops.pow(x, y)
    return ops.cast(ops.round_to_even(ops.pow(ops.cast(x, "float64"), ops.cast(y, "float64"))), x.dtype)


def _logaddexp(x: Tensor, y: Tensor) -> Tensor:
    high, same = ops.maximum(x, y), ops.equal(x, y)
    apart = ops.select(same, ops.zeros_like(high), x - y)  # inf - inf would be NaN
    return high + ops.log1p(ops.exp(-ops.abs(apart)))


def _heaviside(x: Tensor, y: Tensor) -> Tensor:
    made = ops.select(ops.equal(x, 0.0), y, ops.cast(x > 0.0, x.dtype))
    return ops.select(ops.not_equal(x, x), x, made)


def _number_of(x: Tensor, y: Tensor, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The one or the other: where one is NaN, the other."""
    return ops.select(ops.not_equal(x, x), y, ops.select(ops.not_equal(y, y), x, pick(x, y)))


def _hypot(x: Tensor, y: Tensor) -> Tensor:
    large, small = ops.maximum(ops.abs(x), ops.abs(y)), ops.minimum(ops.abs(x), ops.abs(y))
    none = ops.equal(large, 0.0)
    part = small / ops.select(none, ops.ones_like(large), large)
    return large * ops.sqrt(part * part + 1.0)


def _divide_no_nan(x: Tensor, y: Tensor) -> Tensor:
    none = ops.equal(y, 0.0)
    return ops.select(none, ops.zeros_like(x / y), x / ops.select(none, ops.ones_like(y), y))


add = binary("add", _logic(ops.logical_or, ops.add), "x1 + x2")
subtract = binary("subtract", ops.sub, "x1 - x2", _numbers)
multiply = binary("multiply", _logic(ops.logical_and, ops.mul), "x1 * x2")
divide = binary("divide", ops.div, "x1 / x2", reals)
true_divide = binary("true_divide", ops.div, "x1 / x2", reals)
divide_no_nan = binary("divide_no_nan", _divide_no_nan, "x1 / x2, and 0 where x2 is 0.", reals)
floor_divide = binary("floor_divide", _floor_divide, "x1 / x2 towards -infinity.", _numbers)
mod = binary(
    "mod", lambda x, y: x - _floor_divide(x, y) * y, "What is left of x1, with the sign of x2.", _numbers
)
fmod = binary("fmod", ops.remainder, "What is left of x1, with the sign of x1.", _numbers)
power = binary("power", _power, "x1^x2", _numbers)
maximum = binary("maximum", _logic(ops.logical_or, ops.maximum), "The larger of x1 and x2.")
minimum = binary("minimum", _logic(ops.logical_and, ops.minimum), "The smaller of x1 and x2.")
fmax = binary(
    "fmax", lambda x, y: _number_of(x, y, ops.maximum), "The larger one that is a number.", _numbers
)
fmin = binary(
    "fmin", lambda x, y: _number_of(x, y, ops.minimum), "The smaller one that is a number.", _numbers
)
arctan2 = binary("arctan2", ops.atan2, "The angle of (x2, x1).", reals)
hypot = binary("hypot", _hypot, "sqrt(x1^2 + x2^2)", reals)
logaddexp = binary("logaddexp", _logaddexp, "log(exp(x1) + exp(x2))", reals)
logaddexp2 = binary(
    "logaddexp2",
    lambda x, y: _logaddexp(x * math.log(2.0), y * math.log(2.0)) * (1.0 / math.log(2.0)),
    "log2(2^x1 + 2^x2)",
    reals,
)
heaviside = binary("heaviside", _heaviside, "0 below 0, 1 above, x2 at it.", reals)
equal = binary("equal", ops.equal, "x1 == x2, bool.", _numbers)
not_equal = binary("not_equal", ops.not_equal, "x1 != x2, bool.", _numbers)
greater = binary("greater", ops.greater, "x1 > x2, bool.", _numbers)
greater_equal = binary("greater_equal", ops.greater_equal, "x1 >= x2, bool.", _numbers)
less = binary("less", ops.less, "x1 < x2, bool.", _numbers)
less_equal = binary("less_equal", ops.less_equal, "x1 <= x2, bool.", _numbers)


def _flags(x1: Any, x2: Any) -> list[Tensor]:
    return [flag(x1), flag(x2)]


logical_and = binary("logical_and", ops.logical_and, "Both of two bools.", _flags)
logical_or = binary("logical_or", ops.logical_or, "At least one of two bools.", _flags)
logical_xor = binary("logical_xor", ops.not_equal, "One of two bools.", _flags)


@operation
def ldexp(x1: Any, x2: Any) -> Any:
    """x1 * 2^x2"""
    x, power = real(x1), places(x2)
    half = ops.floor(ops.cast(power, x.dtype) * 0.5)  # in two steps, so that neither factor overflows
    rest = ops.cast(power, x.dtype) - half
    return x * ops.exp(half * math.log(2.0)) * ops.exp(rest * math.log(2.0))


@operation
def isclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """|x1 - x2| <= atol + rtol * |x2|, bool."""
    x, y = reals(x1, x2)
    return _close(x, y, rtol, atol, equal_nan)


def _close(x: Tensor, y: Tensor, rtol: float, atol: float, equal_nan: bool) -> Tensor:
    near = ops.logical_and(ops.is_finite(y), ops.abs(x - y) <= ops.abs(y) * rtol + atol)
    made = ops.logical_or(near, ops.equal(x, y))
    if not equal_nan:
        return made
    return ops.logical_or(made, ops.logical_and(ops.not_equal(x, x), ops.not_equal(y, y)))


@operation
def allclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether all elements are close, a bool."""
    x, y = reals(x1, x2)
    near = _close(x, y, rtol, atol, equal_nan)
    return to(ops.reduce_min(ops.cast(near, "int32")), "bool")


# ---------------------------------------------------------------- choice and dtypes


def _places_where(condition: Any, x1: Any, x2: Any) -> Any:
    return tuple(np.nonzero(condition)) if x1 is None and x2 is None else NotImplemented


@on_values(_places_where)
@operation
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """x1 where the condition holds, else x2. Of a condition alone, on values, the places where it holds."""
    if x1 is None or x2 is None:
        raise UnsupportedError("ops.where of a condition alone: the number of places depends on the data")
    return ops.select(flag(condition), *alike(x1, x2))


@operation
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """The choice of the first condition that holds, else the default."""
    *choices, other = alike(*choicelist, default)
    for condition, choice in reversed(list(zip(condlist, choices))):
        other = ops.select(flag(condition), choice, other)
    return other


@operation
def cast(x: Any, dtype: Any) -> Any:
    """x in another dtype; as bool, whether it is not 0."""
    return to(tensor(x), dtype_of(dtype))


@operation
def saturate_cast(x: Any, dtype: Any) -> Any:
    """x in another dtype, limited to what that holds."""
    return saturated(tensor(x), dtype_of(dtype))


def saturated(x: Tensor, dtype: str) -> Tensor:
    if dtype in FLOATS or dtype == "bool" or x.dtype == "bool":
        return to(x, dtype)
    limits = np.iinfo(dtype)
    low, high = (
        (float(limits.min), float(limits.max)) if x.dtype in FLOATS else (int(limits.min), int(limits.max))
    )
    if x.dtype == "float32" and dtype in ("int32", "uint32"):
        high = float(np.nextafter(np.float32(high), np.float32(0)))
    if x.dtype in FLOATS:
        return ops.cast(ops.minimum(ops.maximum(x, low), high), dtype)
    wide = ops.cast(x, "int64")
    return ops.cast(ops.minimum(ops.maximum(wide, low), high), dtype)


def dtype_of(dtype: Any) -> str:
    """The name of the dtype here; None: the default float type."""
    name = floatx() if dtype is None else str(plain(dtype_name(dtype)))
    return dtype_here({"int": "int32", "float": floatx()}.get(name, name))

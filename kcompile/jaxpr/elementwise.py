"""Primitives of JAX that compute element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS
from kcompile.jaxpr.replay import KNOWN, Equation, rule
from kcompile.jaxpr.sizes import STAND_INS

# ---------------------------------------------------------------- one operand


def _ceil(x: Tensor) -> Tensor:
    return -ops.floor(-x)


def _sinh(x: Tensor) -> Tensor:
    """By exp(x) - 1, which is exact near 0."""
    e = ops.expm1(x)
    return (e + e / (e + 1.0)) * 0.5


def _asinh(x: Tensor) -> Tensor:
    size = abs(x)
    return ops.sign(x) * ops.log1p(size + size * size / (ops.sqrt(size * size + 1.0) + 1.0))


def _atanh(x: Tensor) -> Tensor:
    return (ops.log1p(x) - ops.log1p(-x)) * 0.5


def _acosh(x: Tensor) -> Tensor:
    return ops.log(x + ops.sqrt((x - 1.0) * (x + 1.0)))


def _is_finite(x: Tensor) -> Tensor:
    return ops.equal(x - x, 0.0)


def _cbrt(x: Tensor) -> Tensor:
    return ops.sign(x) * ops.pow(abs(x), 1.0 / 3.0)


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
    w = -ops.log1p(-(x * x))
    near = w < 5.0
    central = _polynomial(ops.select(near, w, ops.zeros_like(w)) - 2.5, _CENTRAL)
    tail = _polynomial(ops.sqrt(ops.select(near, ops.ones_like(w) * 5.0, w)) - 3.0, _TAIL)
    edge = ops.equal(abs(x), 1.0)
    return ops.select(edge, x * math.inf, ops.select(near, central, tail) * x)


def _sign(x: Tensor) -> Tensor:
    if x.dtype in FLOATS:
        return ops.sign(x)
    return ops.cast(x > 0, x.dtype) - ops.cast(x < 0, x.dtype)


# atan over [-tan(pi/8), tan(pi/8)], x + x^3 p(x^2), as Cephes' atanf has it (S. Moshier, public domain)
_ARC = (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)


def atan(x: Tensor) -> Tensor:
    """By pi/4 + atan((x - 1) / (x + 1)) and pi/2 - atan(1 / x), which bring x near 0."""
    size = abs(x)
    far, middle = size > math.tan(3 * math.pi / 8), size > math.tan(math.pi / 8)
    safe = ops.select(far, size, ops.ones_like(size))
    near = ops.select(far, -1.0 / safe, ops.select(middle, (size - 1.0) / (size + 1.0), size))
    zero = ops.zeros_like(size)
    start = ops.select(far, zero + math.pi / 2, ops.select(middle, zero + math.pi / 4, zero))
    square = near * near
    value = start + (near + near * square * _polynomial(square, _ARC))
    return ops.select(x < 0.0, -value, value)


def atan2(y: Tensor, x: Tensor) -> Tensor:
    """The angle of (x, y)."""
    large, small = ops.maximum(abs(x), abs(y)), ops.minimum(abs(x), abs(y))
    none = ops.equal(large, 0.0)
    angle = atan(small / ops.select(none, ops.ones_like(large), large))
    angle = ops.select(abs(y) > abs(x), math.pi / 2 - angle, angle)
    angle = ops.select(x < 0.0, math.pi - angle, angle)
    return ops.select(y < 0.0, -angle, angle)


def _asin(x: Tensor) -> Tensor:
    return atan2(x, ops.sqrt((1.0 - x) * (1.0 + x)))


def _acos(x: Tensor) -> Tensor:
    return atan2(ops.sqrt((1.0 - x) * (1.0 + x)), x)


UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": lambda x: ops.abs(x) if x.dtype in FLOATS else ops.maximum(x, ops.zeros_like(x) - x),
    "acos": _acos,
    "acosh": _acosh,
    "asin": _asin,
    "asinh": _asinh,
    "atan": atan,
    "atanh": _atanh,
    "cbrt": _cbrt,
    "ceil": _ceil,
    "cos": ops.cos,
    "cosh": lambda x: (ops.exp(x) + ops.exp(-x)) * 0.5,
    "erf": ops.erf,
    "erf_inv": erf_inv,
    "erfc": lambda x: 1.0 - ops.erf(x),
    "exp": ops.exp,
    "exp2": lambda x: ops.exp(x * math.log(2.0)),
    "expm1": ops.expm1,
    "floor": ops.floor,
    "is_finite": _is_finite,
    "log": ops.log,
    "log1p": ops.log1p,
    "logistic": ops.sigmoid,
    "neg": lambda x: ops.neg(x) if x.dtype in FLOATS else ops.zeros_like(x) - x,
    "rsqrt": ops.rsqrt,
    "sign": _sign,
    "sin": ops.sin,
    "sinh": _sinh,
    "sqrt": ops.sqrt,
    "square": lambda x: x * x,
    "stop_gradient": ops.stop_gradient,
    "tan": lambda x: ops.sin(x) / ops.cos(x),
    "tanh": ops.tanh,
}
for _name, _function in UNARY.items():
    rule(_name)(lambda e, x, f=_function: f(*e.tensors(x)))


@rule(
    "copy", "copy_p", "optimization_barrier", "sharding_constraint", "reduce_precision", "pvary", "mesh_cast"
)
def _same(e: Equation, *values: Any) -> list[Any]:
    return list(values)


@rule("round")
def _round(e: Equation, x: Any) -> Tensor:
    """To the nearest whole number; halves away from zero (method 0), or to the even one."""
    (x,) = e.tensors(x)
    down = ops.floor(x)
    part = x - down
    up = part > 0.5
    if int(e.first.params["rounding_method"]) == 0:
        half = ops.logical_and(ops.equal(part, 0.5), x > 0.0)
    else:
        half = ops.logical_and(ops.equal(part, 0.5), ops.not_equal(ops.floor(down * 0.5) * 2.0, down))
    return ops.select(ops.logical_or(up, half), down + 1.0, down)


@rule("not")
def _not(e: Equation, x: Any) -> Tensor:
    (x,) = e.tensors(x)
    if x.dtype != "bool":
        raise e.refuse("of integers, it is supported for values that are known when the model is compiled")
    return ops.logical_not(x)


@rule("integer_pow")
def _integer_pow(e: Equation, x: Any) -> Tensor:
    (x,) = e.tensors(x)
    y = int(e["y"])
    result: Tensor | None = None
    square: Tensor = x
    left = abs(y)
    while left:
        if left % 2:
            result = square if result is None else result * square
        left //= 2
        square = square * square if left else square
    if result is None:
        return ops.ones_like(x)
    return result if y > 0 else 1.0 / result


@rule("convert_element_type")
def _convert(e: Equation, x: Any) -> Tensor:
    (x,) = e.tensors(x)
    dtype = e.type.dtype
    if dtype == "bool" and x.dtype != "bool":
        return ops.not_equal(x, 0)
    return ops.cast(x, dtype)


# ---------------------------------------------------------------- two operands

_LOGICAL = {"and": ops.logical_and, "or": ops.logical_or, "xor": ops.not_equal}
BINARY: dict[str, Callable[[Any, Any], Tensor]] = {
    "add": ops.add,
    "add_any": ops.add,
    "atan2": atan2,
    "eq": ops.equal,
    "ge": ops.greater_equal,
    "gt": ops.greater,
    "le": ops.less_equal,
    "le_to": ops.less_equal,
    "lt": ops.less,
    "lt_to": ops.less,
    "max": ops.maximum,
    "min": ops.minimum,
    "mul": ops.mul,
    "ne": ops.not_equal,
    "pow": ops.pow,
    "sub": ops.sub,
}


def _broadcasting(e: Equation, function: Callable[..., Tensor], *values: Any) -> Tensor:
    """A function of operands that may be known arrays which broadcast."""
    made = function(*e.operands(*values))
    return e.replay.tensor(made, e.type)


for _name, _binary in BINARY.items():
    rule(_name)(lambda e, x, y, f=_binary: _broadcasting(e, f, x, y))
for _name, _binary in _LOGICAL.items():

    @rule(_name)
    def _logical(e: Equation, x: Any, y: Any, f: Callable[..., Tensor] = _binary) -> Tensor:
        if e.input_types[0].dtype != "bool":
            raise e.refuse(
                "of integers, it is supported for values that are known when the model is compiled"
            )
        return _broadcasting(e, f, x, y)


def _truncated(x: Tensor, y: Tensor) -> Tensor:
    """x / y of integers, towards zero."""
    return ops.cast(ops.cast(x, "float64") / ops.cast(y, "float64"), x.dtype)


@rule("div")
def _div(e: Equation, x: Any, y: Any) -> Tensor:
    return _broadcasting(e, ops.div if e.type.dtype in FLOATS else _truncated, x, y)


@rule("rem")
def _rem(e: Equation, x: Any, y: Any) -> Tensor:
    """What is left of x, with the sign of x."""

    def rest(x: Tensor, y: Tensor) -> Tensor:
        if x.dtype not in FLOATS:
            return x - _truncated(x, y) * y
        whole = ops.floor(abs(x) / abs(y))
        return ops.sign(x) * (abs(x) - ops.stop_gradient(whole) * abs(y))

    return _broadcasting(e, rest, x, y)


@rule("square_difference")
def _square_difference(e: Equation, x: Any, y: Any) -> Tensor:
    return _broadcasting(e, lambda a, b: ops.square(a - b), x, y)


# ---------------------------------------------------------------- choice


@rule("clamp")
def _clamp(e: Equation, low: Any, x: Any, high: Any) -> Tensor:
    return _broadcasting(e, lambda a, b, c: ops.minimum(ops.maximum(b, a), c), low, x, high)


@rule("select_n")
def _select(e: Equation, which: Any, *cases: Any) -> Tensor:
    """The case of this number, element by element."""
    at, *among = e.operands(which, *cases)
    if len(among) == 1:
        return e.replay.tensor(among[0], e.type)
    if at.dtype == "bool":
        return e.replay.tensor(ops.select(at, among[1], among[0]), e.type)
    result = among[-1]
    for number in reversed(range(len(among) - 1)):
        result = ops.select(ops.equal(at, number), among[number], result)
    return e.replay.tensor(result, e.type)


# ---------------------------------------------------------------- of what is known

_NUMPY: dict[str, Any] = {
    "abs": np.abs,
    "add": np.add,
    "and": np.bitwise_and,
    "ceil": np.ceil,
    "eq": np.equal,
    "exp": np.exp,
    "floor": np.floor,
    "ge": np.greater_equal,
    "gt": np.greater,
    "le": np.less_equal,
    "log": np.log,
    "lt": np.less,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "not": np.invert,
    "or": np.bitwise_or,
    "rem": np.fmod,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sign": np.sign,
    "sqrt": np.sqrt,
    "square": np.square,
    "sub": np.subtract,
    "xor": np.bitwise_xor,
}
for _name, _known in _NUMPY.items():
    rule(_name, table=KNOWN)(lambda e, *values, f=_known: f(*values))


@rule("div", table=KNOWN)
def _known_div(e: Equation, x: Any, y: Any) -> Any:
    return np.divide(x, y) if x.dtype.kind == "f" else np.trunc(np.divide(x, y, dtype=np.float64))


@rule("convert_element_type", table=KNOWN)
def _known_convert(e: Equation, x: Any) -> Any:
    name = str(np.dtype(e.first.params["new_dtype"]))
    return x.astype(STAND_INS.get(name, name))


@rule("select_n", table=KNOWN)
def _known_select(e: Equation, which: Any, *cases: Any) -> Any:
    return np.choose(which.astype(np.int64), cases)

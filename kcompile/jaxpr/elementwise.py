"""Primitives of JAX that compute element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import BYTES, FLOATS
from kcompile.jaxpr.programs import is_of_jax
from kcompile.jaxpr.replay import FUNCTIONS, KNOWN, Equation, rule
from kcompile.keras.policies import dtype_here

# ---------------------------------------------------------------- one operand


UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": ops.magnitude,
    "acos": ops.acos,
    "acosh": ops.acosh,
    "asin": ops.asin,
    "asinh": ops.asinh,
    "atan": ops.atan,
    "atanh": ops.atanh,
    "cbrt": ops.cbrt,
    "ceil": ops.ceil,
    "cos": ops.cos,
    "cosh": ops.cosh,
    "erf": ops.erf,
    "erf_inv": ops.erf_inv,
    "erfc": lambda x: 1.0 - ops.erf(x),
    "exp": ops.exp,
    "exp2": lambda x: ops.exp(x * math.log(2.0)),
    "expm1": ops.expm1,
    "floor": ops.floor,
    "is_finite": ops.is_finite,
    "log": ops.log,
    "log1p": ops.log1p,
    "logistic": ops.sigmoid,
    "neg": lambda x: ops.neg(x) if x.dtype in FLOATS else ops.zeros_like(x) - x,
    "rsqrt": ops.rsqrt,
    "sign": ops.signum,
    "sin": ops.sin,
    "sinh": ops.sinh,
    "sqrt": ops.sqrt,
    "square": lambda x: x * x,
    "stop_gradient": ops.stop_gradient,
    "tan": ops.tan,
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
    if int(e.first.params["rounding_method"]):
        return ops.round_to_even(x)
    down = ops.floor(x)
    part = x - down
    half = ops.logical_and(ops.equal(part, 0.5), x > 0.0)
    return ops.select(ops.logical_or(part > 0.5, half), down + 1.0, down)


@rule("not")
def _not(e: Equation, x: Any) -> Tensor:
    (x,) = e.tensors(x)
    return ops.logical_not(x) if x.dtype == "bool" else ops.bitwise_not(x)


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
        return ops.broadcast_to(ops.ones_like(x), x.shape)
    return result if y > 0 else 1.0 / result


@rule("convert_element_type")
def _convert(e: Equation, x: Any) -> Tensor:
    (x,) = e.tensors(x)
    dtype = e.type.dtype
    if dtype == "bool" and x.dtype != "bool":
        return ops.not_equal(x, 0)
    return ops.cast(x, dtype)


# ---------------------------------------------------------------- two operands

# Of bools, and of integers
_LOGICAL = {
    "and": (ops.logical_and, ops.bitwise_and),
    "or": (ops.logical_or, ops.bitwise_or),
    "xor": (ops.not_equal, ops.bitwise_xor),
}
BINARY: dict[str, Callable[[Any, Any], Tensor]] = {
    "add": ops.add,
    "add_any": ops.add,
    "atan2": ops.atan2,
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
    "shift_left": ops.shift_left,
    "shift_right_arithmetic": ops.shift_right,
    "sub": ops.sub,
}


def _broadcasting(e: Equation, function: Callable[..., Tensor], *values: Any) -> Tensor:
    """A function of operands that may be known arrays which broadcast."""
    made = function(*e.operands(*values))
    return e.replay.tensor(made, e.type)


for _name, _binary in BINARY.items():
    rule(_name)(lambda e, x, y, f=_binary: _broadcasting(e, f, x, y))
for _name, _pair in _LOGICAL.items():

    @rule(_name)
    def _logical(e: Equation, x: Any, y: Any, pair: tuple[Any, Any] = _pair) -> Tensor:
        return _broadcasting(e, pair[e.input_types[0].dtype != "bool"], x, y)


@rule("shift_right_logical")
def _shift_right_logical(e: Equation, x: Any, y: Any) -> Tensor:
    """With zeros in place of the sign."""
    signed = e.type.dtype
    plain = signed if signed[0] == "u" else f"u{signed}"

    def shifted(a: Tensor, b: Tensor) -> Tensor:
        return ops.bitcast(ops.shift_right(ops.bitcast(a, plain), ops.bitcast(b, plain)), signed)

    return _broadcasting(e, shifted, x, y)


@rule("nextafter")
def _next_after(e: Equation, x: Any, y: Any) -> Tensor:
    return e.replay.tensor(ops.next_after(*e.tensors(x, y)), e.type)


@rule("div")
def _div(e: Equation, x: Any, y: Any) -> Tensor:
    return _broadcasting(e, ops.div if e.type.dtype in FLOATS else ops.divide_towards_zero, x, y)


@rule("rem")
def _rem(e: Equation, x: Any, y: Any) -> Tensor:
    """What is left of x, with the sign of x."""
    return _broadcasting(e, ops.remainder, x, y)


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
    return x.astype(dtype_here(name))


@rule("select_n", table=KNOWN)
def _known_select(e: Equation, which: Any, *cases: Any) -> Any:
    return np.choose(which.astype(np.int64), cases)


@rule("signbit", table=FUNCTIONS)
def _signbit(e: Equation, x: Any) -> list[Tensor] | None:
    """Whether a float has a minus, as -0 has it. None for whole numbers, where JAX asks otherwise."""
    (value,) = e.tensors(x)
    if value.dtype not in FLOATS:
        return None
    return [ops.logical_or(ops.less(value, 0.0), ops.less(1.0 / value, 0.0))]


@rule("gcd", table=FUNCTIONS)
def _gcd(e: Equation, *values: Any) -> list[Tensor] | None:
    """JAX's loop, as long as Euclid's algorithm may take."""
    dtypes = {t.dtype for t in e.input_types}
    if len(values) != 2 or dtypes != {e.type.dtype} or not is_of_jax(e.first.params["jaxpr"]):
        return None
    operands = [ops.broadcast_to(x, e.type.shape) for x in e.operands(*values)]
    return [ops.common_divisor(*operands)] if BYTES[e.type.dtype] <= 4 else None


@rule("bitcast_convert_type")
def _bitcast(e: Equation, x: Any) -> Tensor:
    (x,) = e.tensors(x)
    if BYTES[x.dtype] != BYTES[e.type.dtype] or "bool" in (x.dtype, e.type.dtype):
        raise e.refuse("between numbers of other sizes, it is not supported")
    return ops.bitcast(x, e.type.dtype)

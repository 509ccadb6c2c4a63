"""Functions of each element: arithmetic, comparison, choice, and what activations are made of."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS
from kcompile.keras import activations
from kcompile.keras.operands import pair, tensor, traced
from kcompile_runtime.arrays import as_array


def _unary(name: str, function: Callable[[Tensor], Tensor], doc: str) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        return function(tensor(x))

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return traced(apply)


def _binary(name: str, function: Callable[[Any, Any], Tensor], doc: str) -> Callable[..., Any]:
    def apply(x: Any, y: Any) -> Any:
        return function(*pair(x, y))

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return traced(apply)


add = _binary("add", ops.add, "x + y")
subtract = _binary("subtract", ops.sub, "x - y")
multiply = _binary("multiply", ops.mul, "x * y")
divide = _binary("divide", ops.div, "x / y")
maximum = _binary("maximum", ops.maximum, "The larger of x and y.")
minimum = _binary("minimum", ops.minimum, "The smaller of x and y.")
equal = _binary("equal", ops.equal, "x == y, bool.")
not_equal = _binary("not_equal", ops.not_equal, "x != y, bool.")
greater = _binary("greater", ops.greater, "x > y, bool.")
greater_equal = _binary("greater_equal", ops.greater_equal, "x >= y, bool.")
less = _binary("less", ops.less, "x < y, bool.")
less_equal = _binary("less_equal", ops.less_equal, "x <= y, bool.")
logical_and = _binary("logical_and", ops.logical_and, "Both of two bools.")
logical_or = _binary("logical_or", ops.logical_or, "At least one of two bools.")

logical_not = _unary("logical_not", ops.logical_not, "The other bool.")
negative = _unary("negative", ops.neg, "-x")
abs = _unary("abs", ops.abs, "|x|")
exp = _unary("exp", ops.exp, "e^x")
log = _unary("log", ops.log, "The natural logarithm; NaN below 0.")
sign = _unary("sign", ops.sign, "-1, 0 or 1.")
sin = _unary("sin", ops.sin, "The sine of radians.")
cos = _unary("cos", ops.cos, "The cosine of radians.")
square = _unary("square", ops.square, "x^2")
sqrt = _unary("sqrt", lambda x: ops.sqrt(ops.maximum(x, 0.0)), "sqrt(max(x, 0)), as Keras 2 has it.")
sigmoid = _unary("sigmoid", activations.sigmoid, "1 / (1 + exp(-x))")
hard_sigmoid = _unary("hard_sigmoid", activations.hard_sigmoid, "0.2 x + 0.5 within [0, 1].")
tanh = _unary("tanh", activations.tanh, "The hyperbolic tangent.")
softplus = _unary("softplus", activations.softplus, "log(exp(x) + 1)")
softsign = _unary("softsign", activations.softsign, "x / (|x| + 1)")
identity = _unary("identity", lambda x: x, "x")
stop_gradient = _unary("stop_gradient", ops.stop_gradient, "x, through which no gradient flows.")


@traced
def pow(x: Any, a: Any) -> Any:
    """x^a. Whole small powers are products, so that they hold for negative x and are fast."""
    if isinstance(a, (int, float)) and a in (0.5, 1, 2, 3):
        x = tensor(x)
        return {0.5: ops.sqrt, 1: lambda x: x, 2: ops.square, 3: lambda x: ops.square(x) * x}[a](x)
    return ops.pow(*pair(x, a))


@traced
def round(x: Any) -> Any:
    """The nearest whole number, halves to the even one."""
    x = tensor(x)
    if not is_float(x):
        return x
    low = ops.floor(x)
    part = x - low  # exact, where x + 0.5 is rounded
    odd = ops.not_equal(ops.floor(low * 0.5) * 2.0, low)
    up = ops.logical_or(part > 0.5, ops.logical_and(ops.equal(part, 0.5), odd))
    return ops.select(up, low + 1.0, low)


@traced
def floor(x: Any) -> Any:
    """The largest whole number that is not larger."""
    x = tensor(x)
    return ops.floor(x) if is_float(x) else x


@traced
def clip(x: Any, min_value: Any, max_value: Any) -> Any:
    """x limited to [min_value, max_value]; a bound of None, or an upper one below the lower, as in
    Keras 2: no upper bound, or the lower one."""
    x = tensor(x)
    numbers = isinstance(min_value, (int, float)) and isinstance(max_value, (int, float))
    if numbers and max_value < min_value:
        max_value = min_value
    above = x if min_value is None else ops.maximum(*pair(x, min_value))
    return above if max_value is None else ops.minimum(*pair(above, max_value))


@traced
def cast(x: Any, dtype: str) -> Any:
    """The values in another dtype; towards zero from float to integer; bool is x != 0."""
    x = tensor(x)
    if dtype == "bool" and x.dtype != "bool":
        return ops.not_equal(x, 0)
    return ops.cast(x, dtype)


def cast_to_floatx(x: Any) -> Any:
    """A numpy array (or tensor) in float32."""
    symbolic = isinstance(x, Tensor) or hasattr(x, "__tensor__")
    return cast(x, "float32") if symbolic else as_array(x, "K.cast_to_floatx").astype("float32", copy=False)


@traced
def relu(x: Any, alpha: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """x above the threshold, at most max_value; alpha * (x - threshold) below."""
    return activations.relu(tensor(x), alpha, max_value, threshold)


@traced
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where positive, else alpha * (exp(x) - 1)."""
    return activations.elu(tensor(x), alpha)


@traced
def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along `axis`."""
    return ops.softmax(tensor(x), axis)


def boolean(condition: Any) -> Tensor:
    """A condition as bool: numbers are true where they are not 0."""
    condition = tensor(condition)
    return condition if condition.dtype == "bool" else ops.not_equal(condition, 0)


@traced
def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """then where the condition holds, else else. Both may be functions without arguments. A condition
    of lower rank decides for whole rows (axes are added behind). Both sides are computed."""
    if isinstance(condition, (bool, int, float)):
        chosen = then_expression if condition else else_expression
        return chosen() if callable(chosen) else tensor(chosen)
    then, other = (e() if callable(e) else e for e in (then_expression, else_expression))
    then, other = pair(then, other)
    chosen = boolean(condition)
    rank = max(x.rank for x in (then, other) if isinstance(x, Tensor))
    if 0 < chosen.rank < rank:
        chosen = ops.reshape(chosen, (*chosen.shape, *(1,) * (rank - chosen.rank)))
    return ops.select(chosen, then, other)


@traced
def one_hot(indices: Any, num_classes: int) -> Any:
    """[..., num_classes] with 1 at the index; zeros alone for one that is none of the classes."""
    return ops.one_hot(ops.cast(tensor(indices), "int32"), num_classes)


@traced
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) over the axes, without overflow."""
    x = tensor(x)
    axes = range(x.rank) if axis is None else axis
    top = ops.stop_gradient(ops.reduce_max(x, axes, True))
    top = ops.select(ops.abs(top) < math.inf, top, ops.zeros_like(top))  # inf - inf would be NaN
    result = ops.log(ops.reduce_sum(ops.exp(x - top), axes, True)) + top
    return result if keepdims else ops.reduce_sum(result, axes)


def is_float(x: Tensor) -> builtins.bool:
    return x.dtype in FLOATS

"""Functions of each element: arithmetic, comparison, choice, and what activations are made of."""

from __future__ import annotations

import builtins
import math
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS
from kcompile.keras import activations
from kcompile.keras.operands import leaves, map_leaves, pair, tensor, traced
from kcompile.keras.operators import binary, unary
from kcompile.keras.settings import dtype_of, floatx
from kcompile.keras.tracing import branched
from kcompile_runtime.arrays import as_array

maximum = binary(__name__, "maximum", ops.maximum, "The larger of x and y.")
minimum = binary(__name__, "minimum", ops.minimum, "The smaller of x and y.")
equal = binary(__name__, "equal", ops.equal, "x == y, bool.")
not_equal = binary(__name__, "not_equal", ops.not_equal, "x != y, bool.")
logical_and = binary(__name__, "logical_and", ops.logical_and, "Both of two bools.")
logical_or = binary(__name__, "logical_or", ops.logical_or, "At least one of two bools.")

logical_not = unary(__name__, "logical_not", ops.logical_not, "The other bool.")
exp = unary(__name__, "exp", ops.exp, "e^x")
log = unary(__name__, "log", ops.log, "The natural logarithm; NaN below 0.")
sign = unary(__name__, "sign", ops.sign, "-1, 0 or 1.")
sin = unary(__name__, "sin", ops.sin, "The sine of radians.")
cos = unary(__name__, "cos", ops.cos, "The cosine of radians.")
sqrt = unary(__name__, "sqrt", lambda x: ops.sqrt(ops.maximum(x, 0.0)), "sqrt(max(x, 0)), as Keras 2 has it.")
sigmoid = unary(__name__, "sigmoid", activations.sigmoid, "1 / (1 + exp(-x))")
hard_sigmoid = unary(__name__, "hard_sigmoid", activations.hard_sigmoid, "0.2 x + 0.5 within [0, 1].")
tanh = unary(__name__, "tanh", activations.tanh, "The hyperbolic tangent.")
softplus = unary(__name__, "softplus", activations.softplus, "log(exp(x) + 1)")
softsign = unary(__name__, "softsign", activations.softsign, "x / (|x| + 1)")


@traced
def stop_gradient(variables: Any) -> Any:
    """A tensor, or each of a list, through which no gradient flows."""
    if isinstance(variables, (list, tuple)) and any(hasattr(x, "__tensor__") for x in leaves(variables)):
        return map_leaves(lambda x: ops.stop_gradient(tensor(x)), variables)
    return ops.stop_gradient(tensor(variables))


@traced
def square(x: Any) -> Any:
    """x^2"""
    x = tensor(x)
    return ops.square(x) if is_float(x) else x * x


@traced
def round(x: Any) -> Any:
    """The nearest whole number, halves to the even one."""
    x = tensor(x)
    return ops.round_to_even(x) if is_float(x) else x


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
    return ops.cast(x, dtype_of(dtype))


def cast_to_floatx(x: Any) -> Any:
    """A numpy array (or tensor) in the default float type."""
    symbolic = isinstance(x, Tensor) or hasattr(x, "__tensor__")
    return cast(x, floatx()) if symbolic else as_array(x, "K.cast_to_floatx").astype(floatx(), copy=False)


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
    chosen = boolean(condition)
    functions = [e if callable(e) else lambda e=e: e for e in (then_expression, else_expression)]
    then, other = pair(*(f() for f in functions) if chosen.rank else branched(chosen, *functions))
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

"""Python's operators for what is no tensor of a graph: variables, and tensors of a model.

Enters: operands, as functions of K take them (`operands`). Leaves: what those functions give: a tensor where
a graph is being traced, else a remembered call. `K` has these functions under the same names.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS, Batch, numel
from kcompile.keras.operands import pair, tensor, traced
from kcompile.keras.tracing import find_trace
from kcompile_runtime.errors import UnsupportedError


def unary(module: str, name: str, function: Callable[[Tensor], Tensor], doc: str) -> Callable[[Any], Any]:
    """A function of K of one operand. module: where it is defined, as pickle finds it there."""

    def apply(x: Any) -> Any:
        return function(tensor(x))

    apply.__module__, apply.__name__, apply.__qualname__, apply.__doc__ = module, name, name, doc
    return traced(apply)


def binary(module: str, name: str, function: Callable[[Any, Any], Tensor], doc: str) -> Callable[..., Any]:
    """`unary` for two operands."""

    def apply(x: Any, y: Any) -> Any:
        return function(*pair(x, y))

    apply.__module__, apply.__name__, apply.__qualname__, apply.__doc__ = module, name, name, doc
    return traced(apply)


add = binary(__name__, "add", ops.add, "x + y")
subtract = binary(__name__, "subtract", ops.sub, "x - y")
multiply = binary(__name__, "multiply", ops.mul, "x * y")
divide = binary(__name__, "divide", lambda x, y: x / y, "x / y")
matmul = binary(__name__, "matmul", lambda x, y: x @ y, "x @ y: products of matrices.")
both = binary(__name__, "both", lambda x, y: x & y, "x & y: of bools, and of the bits of integers.")
either = binary(__name__, "either", lambda x, y: x | y, "x | y")
one_alone = binary(__name__, "one_alone", lambda x, y: x ^ y, "x ^ y")
inverse = unary(__name__, "inverse", lambda x: ~x, "~x")
rounded = unary(__name__, "rounded", ops.round_to_even, "round(x): halves to the even integer.")
greater = binary(__name__, "greater", ops.greater, "x > y, bool.")
greater_equal = binary(__name__, "greater_equal", ops.greater_equal, "x >= y, bool.")
less = binary(__name__, "less", ops.less, "x < y, bool.")
less_equal = binary(__name__, "less_equal", ops.less_equal, "x <= y, bool.")
floor_divide = binary(__name__, "floor_divide", lambda x, y: x // y, "x // y: x / y towards -infinity.")
remainder = binary(__name__, "remainder", lambda x, y: x % y, "x % y, of the sign of y.")
negative = unary(__name__, "negative", ops.neg, "-x")
abs = unary(__name__, "abs", ops.abs, "|x|")


@traced
def identity(x: Any, name: str | None = None) -> Any:
    """x, as another tensor. name: what TensorFlow calls it."""
    return tensor(x)


@traced
def pow(x: Any, a: Any) -> Any:
    """x^a. Whole small powers are products, so that they hold for negative x and are fast."""
    x = tensor(x) if isinstance(a, (int, float)) else x
    if isinstance(a, (int, float)) and a in (0.5, 1, 2, 3) and x.dtype in FLOATS:
        return {0.5: ops.sqrt, 1: lambda x: x, 2: ops.square, 3: lambda x: ops.square(x) * x}[a](x)
    x, a = pair(x, a)
    return x**a


@traced
def getitem(x: Any, key: Any) -> Any:
    """x[key]: integers, slices with known bounds, `...` and None. Samples are taken out of a batch by number
    where that has a fixed size, as in K.function; until then only types are asked for."""
    x = tensor(x)
    trace = find_trace(x.graph)
    if trace is not None and trace.inferring and x.shape[:1] == (Batch(),):
        x = ops.broadcast_to(ops.constant(x.graph, 0, x.dtype), (_least(key) or x.shape[0], *x.shape[1:]))
    return x[key]


def _least(key: Any) -> int:
    """How many samples a key asks for at least; 0 where it takes all there are."""
    parts = key if isinstance(key, tuple) else (key,)
    part: Any = next((part for part in parts if part is not None), Ellipsis)
    if isinstance(part, slice):
        ends = [end for end in (part.start, part.stop) if end is not None]
        whole = part.stop is None or not all(isinstance(end, (int, np.integer)) for end in ends)
        return 0 if whole or min(ends) < 0 <= max(ends) else max(map(builtins.abs, map(int, ends)))
    number = isinstance(part, (int, np.integer)) and not isinstance(part, bool)
    return 0 if not number else int(part) + 1 if part >= 0 else -int(part)


@traced
def dot(x: Any, y: Any) -> Any:
    """The last axis of x against the last but one of y (its only one, if it has one): shape
    x.shape[:-1] + y.shape without that axis."""
    x, y = pair(x, y)
    x, y = tensor(x), tensor(y)
    if not x.rank or not y.rank:
        raise ValueError(f"dot: expected tensors of rank 1 or more. Received: {x.type}, {y.type}")
    axis = max(y.rank - 2, 0)
    rest = [i for i in range(y.rank) if i != axis]
    if x.shape[-1] != y.shape[axis]:
        raise ValueError(
            f"dot: the last axis of x and axis {axis} of y differ in size. Received: {x.type}, {y.type}"
        )
    rows = ops.reshape(x, (numel(x.shape[:-1]), x.shape[-1]))
    shape = [y.shape[i] for i in rest]
    columns = ops.reshape(ops.transpose(y, (axis, *rest)), (y.shape[axis], numel(shape)))
    return ops.reshape(ops.matmul(rows, columns), (*x.shape[:-1], *shape))


def _operator(function: Callable[..., Any], swap: bool = False) -> Callable[[Any, Any], Any]:
    def apply(self: Any, other: Any) -> Any:
        if isinstance(other, Tensor) and not swap:
            self = self.__tensor__(other.graph)
        return function(other, self) if swap else function(self, other)

    return apply


LOOPS_OF_JAX = (
    "a loop in the style of JAX (jax.jit, jax.value_and_grad) cannot run through our models, which are "
    "compiled whole. Write the step as train_step(self, data) of a class of keras.Model and call fit or "
    "train_on_batch; or run the loop in Keras itself, and compile its function by kcompile.compile_jax"
)


class Operators:
    """Base of what has Python's operators and is no tensor of a graph yet."""

    __array_ufunc__: Any = None  # numpy leaves `array * variable` to us

    @property
    def __jax_array__(self) -> Any:
        """What gives jnp.asarray the value. Raises UnsupportedError where JAX asks for it to trace."""
        frame = sys._getframe(1)
        while str(frame.f_globals.get("__name__", "")).startswith("jax") and frame.f_back is not None:
            if frame.f_code.co_name in ("array", "asarray"):
                return lambda: np.asarray(self)
            frame = frame.f_back
        raise UnsupportedError(f"{self!r}: {LOOPS_OF_JAX}")

    __add__, __radd__ = _operator(add), _operator(add, True)
    __sub__, __rsub__ = _operator(subtract), _operator(subtract, True)
    __mul__, __rmul__ = _operator(multiply), _operator(multiply, True)
    __truediv__, __rtruediv__ = _operator(divide), _operator(divide, True)
    __floordiv__, __rfloordiv__ = _operator(floor_divide), _operator(floor_divide, True)
    __mod__, __rmod__ = _operator(remainder), _operator(remainder, True)
    __pow__, __rpow__ = _operator(pow), _operator(pow, True)
    __gt__, __ge__ = _operator(greater), _operator(greater_equal)
    __lt__, __le__ = _operator(less), _operator(less_equal)
    __matmul__, __rmatmul__ = _operator(matmul), _operator(matmul, True)
    __and__, __rand__ = _operator(both), _operator(both, True)
    __or__, __ror__ = _operator(either), _operator(either, True)
    __xor__, __rxor__ = _operator(one_alone), _operator(one_alone, True)
    __getitem__ = _operator(getitem)

    def __neg__(self) -> Any:
        return negative(self)

    def __abs__(self) -> Any:
        return abs(self)

    def __invert__(self) -> Any:
        return inverse(self)

    def __round__(self, digits: int | None = None) -> Any:
        if digits:
            raise TypeError(f"round of a tensor: to integers alone. Received: {digits} digits")
        return rounded(self)

"""Elementwise ops: one rule for shapes (numpy's broadcasting), one line for each meaning.

`unary` and `binary` make the record and the function that applies it, of the op's meaning in numpy, its
`scalar` rule and its gradient. Gradients of broadcast operands are summed back to the operand's shape by
`unbroadcast`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir.elements import Element, Elements, OfOne, OfTwo
from kcompile.ir.op import Call, Case, Draw, Op, register
from kcompile.ir.tensor import Operand, Tensor, constant, emit, emit_source, promote
from kcompile.ir.types import FLOATS, Batch, TensorType, broadcast_shapes, numel

__all__ = [
    "abs",
    "add",
    "cast",
    "clip",
    "copy",
    "cos",
    "count",
    "div",
    "equal",
    "erf",
    "exp",
    "expm1",
    "floor",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "log",
    "log1p",
    "logical_and",
    "logical_not",
    "logical_or",
    "maximum",
    "minimum",
    "mul",
    "neg",
    "not_equal",
    "ones_like",
    "pow",
    "relu",
    "rsqrt",
    "select",
    "sigmoid",
    "sign",
    "sin",
    "softplus",
    "sqrt",
    "square",
    "stop_gradient",
    "sub",
    "tanh",
    "zeros_like",
]

Array = np.ndarray

# ---------------------------------------------------------------- rules


def _float(name: str, *types: TensorType) -> None:
    for t in types:
        if t.dtype not in FLOATS:
            raise TypeError(f"{name}: expected a floating point tensor. Received: {t}")


def _same(name: str, *types: TensorType) -> None:
    if len({t.dtype for t in types}) > 1:
        raise TypeError(f"{name}: operands of different dtype. Received: " + ", ".join(map(str, types)))


def unbroadcast(gradient: Tensor | None, like: Tensor) -> Tensor | None:
    """Sum a gradient over the axes along which `like` was broadcast."""
    if gradient is None or gradient.shape == like.shape:
        return gradient
    lead = gradient.rank - like.rank
    axes = [
        *range(lead),
        *(lead + i for i, d in enumerate(like.shape) if d == 1 and gradient.shape[lead + i] != 1),
    ]
    total = emit("reduce_sum", [gradient], axes=tuple(axes))
    return total if total.shape == like.shape else emit("reshape", [total], shape=like.shape)


def _unary_case(low: float, high: float, spaced: bool, dtype: str) -> Callable[[Draw], Case]:
    return lambda draw: Case((TensorType(draw.shape(), dtype),), {}, low, high, spaced)


def _binary_case(low: Any, high: Any, spaced: bool, dtype: str) -> Callable[[Draw], Case]:
    def cases(draw: Draw) -> Case:
        full = draw.shape(0, 3)
        thin = tuple(1 if draw.choice((True, False, False)) else d for d in full)
        thin = thin[draw.integer(0, len(thin)) :]
        # the batch cannot be met by an operand which lost only its leading axes
        pair = (TensorType(full, dtype), TensorType(thin, dtype))
        return Case(pair if draw.choice((True, False)) else pair[::-1], {}, low, high, spaced)

    return cases


# ---------------------------------------------------------------- makers

Unary = Callable[[Tensor], Tensor]
Binary = Callable[[Operand, Operand], Tensor]


def unary(
    name: str,
    meaning: Callable[[Array], Array],
    scalar: OfOne,
    gradient: Callable[[Call, Tensor], Tensor] | None,
    low: float = -2.0,
    high: float = 2.0,
    spaced: bool = False,
    tolerance: float = 1e-6,
    expensive: bool = False,
    exact: bool = True,
    dtype: str = "float32",
    **traits: Any,
) -> Unary:
    def infer(x: TensorType) -> TensorType:
        if dtype in FLOATS:
            _float(name, x)
        return x

    register(
        Op(
            name,
            "elementwise",
            infer,
            meaning,
            gradient=None if gradient is None else lambda call, g: [gradient(call, g)],
            scalar=scalar,
            cases=_unary_case(low, high, spaced, dtype),
            tolerance=tolerance,
            expensive=expensive,
            exact=exact and not expensive,
            **traits,
        )
    )
    return lambda x: emit(name, [x])


def binary(
    name: str,
    meaning: Callable[[Array, Array], Array],
    scalar: OfTwo,
    gradient: Callable[[Call, Tensor], Sequence[Tensor | None]] | None,
    low: Any = -2.0,
    high: Any = 2.0,
    spaced: bool = False,
    tolerance: float = 1e-6,
    result: str | None = None,
    dtype: str = "float32",
    expensive: bool = False,
    exact: bool = True,
    **traits: Any,
) -> Binary:
    def infer(x: TensorType, y: TensorType) -> TensorType:
        _same(name, x, y)
        if name in ("add", "sub", "div") and x.dtype == "bool":
            raise TypeError(f"{name}: expected numbers. Received: {x}")
        return TensorType(broadcast_shapes(x.shape, y.shape), result or x.dtype)

    def spread(call: Call, g: Tensor) -> Sequence[Tensor | None]:
        assert gradient is not None
        return [unbroadcast(d, x) for d, x in zip(gradient(call, g), call.inputs)]

    register(
        Op(
            name,
            "elementwise",
            infer,
            meaning,
            gradient=None if gradient is None else spread,
            scalar=scalar,
            cases=_binary_case(low, high, spaced, dtype),
            tolerance=tolerance,
            expensive=expensive,
            exact=exact and not expensive,
            **traits,
        )
    )
    return lambda x, y: emit(name, promote(x, y))


# ---------------------------------------------------------------- arithmetic

add = binary(
    "add",
    np.add,
    lambda b, x, y: b.add(x, y),
    lambda c, g: (g, g),
    commutative=True,
    neutral=0.0,
    signs=(1, 1),
)
sub = binary(
    "sub", np.subtract, lambda b, x, y: b.sub(x, y), lambda c, g: (g, -g), neutral=0.0, signs=(1, -1)
)
mul = binary(
    "mul",
    np.multiply,
    lambda b, x, y: b.mul(x, y),
    lambda c, g: (g * c.inputs[1], g * c.inputs[0]),
    commutative=True,
    neutral=1.0,
    linear=(0, 1),
)
div = binary(
    "div",
    np.divide,
    lambda b, x, y: b.div(x, y),
    lambda c, g: (g / c.inputs[1], -(g * c.output) / c.inputs[1]),
    low=0.5,
    high=2.0,
    neutral=1.0,
    linear=(0,),
)


def _power_gradient(call: Call, g: Tensor) -> Sequence[Tensor | None]:
    x, y = call.inputs
    positive = x > 0.0
    logarithm = log(select(positive, x, ones_like(x)))
    # d/dx x^y = y x^(y-1), and 0 for y = 0 even where x = 0 makes 1/x infinite;
    # d/dy x^y = x^y log x, and 0 where x <= 0, as XLA has it
    lower = select(equal(y, 0.0), ones_like(y), y - 1.0)
    return g * y * pow(x, lower), select(positive, g * call.output * logarithm, zeros_like(g))


pow = binary(
    "pow",
    np.power,
    lambda b, x, y: b.pow(x, y),
    _power_gradient,
    low=0.2,
    high=2.5,
    tolerance=4e-6,
    expensive=True,
    neutral=1.0,
)
maximum = binary(
    "maximum",
    np.maximum,
    lambda b, x, y: b.maximum(x, y),
    lambda c, g: _winner(c, g),
    spaced=True,
    exact=False,
    commutative=True,
    neutral=-np.inf,
)
minimum = binary(
    "minimum",
    np.minimum,
    lambda b, x, y: b.minimum(x, y),
    lambda c, g: _winner(c, g),
    spaced=True,
    exact=False,
    commutative=True,
    neutral=np.inf,
)


def _winner(call: Call, g: Tensor) -> Sequence[Tensor | None]:
    """The gradient goes to the operand that was chosen, and half to each where they are equal."""
    x, y = call.inputs
    zero, half = zeros_like(g), g * 0.5
    tie = select(equal(x, y), half, zero)
    return (
        select(logical_and(equal(x, call.output), not_equal(x, y)), g, tie),
        select(logical_and(equal(y, call.output), not_equal(x, y)), g, tie),
    )


def _scalar_sign(b: Elements, x: Element) -> Element:
    """1, -1, or x itself: a zero, or NaN."""
    zero, one, less = (b.const(v, x.dtype) for v in (0, 1, -1))
    return b.select(b.greater(x, zero), one, b.select(b.less(x, zero), less, x))


neg = unary(
    "neg", np.negative, lambda b, x: b.neg(x), lambda c, g: -g, involution=True, signs=(-1,), linear=(0,)
)
abs: Unary = unary("abs", np.abs, lambda b, x: b.abs(x), lambda c, g: g * sign(c.inputs[0]), spaced=True)
sign: Unary = unary("sign", np.sign, _scalar_sign, None, spaced=True)  # constant between its steps
floor = unary("floor", np.floor, lambda b, x: b.floor(x), None, spaced=True)
square = unary("square", np.square, lambda b, x: b.mul(x, x), lambda c, g: g * (c.inputs[0] * 2.0))
sqrt = unary("sqrt", np.sqrt, lambda b, x: b.sqrt(x), lambda c, g: g * 0.5 / c.output, low=0.1, high=4.0)
rsqrt = unary(
    "rsqrt",
    lambda x: 1 / np.sqrt(x),
    lambda b, x: b.rsqrt(x),
    lambda c, g: g * -0.5 * c.output / c.inputs[0],
    low=0.1,
    high=4.0,
)

# ---------------------------------------------------------------- functions


def _logistic(x: Array) -> Array:
    with np.errstate(over="ignore"):
        result: Array = (1 / (1 + np.exp(-x))).astype(x.dtype)
    return result


def _erf(x: Array) -> Array:
    result: Array = np.vectorize(math.erf, otypes=[x.dtype])(x) if x.size else x.copy()
    return result


exp = unary("exp", np.exp, lambda b, x: b.exp(x), lambda c, g: g * c.output, tolerance=2e-6, expensive=True)
expm1 = unary(
    "expm1",
    np.expm1,
    lambda b, x: b.expm1(x),
    lambda c, g: g * (c.output + 1.0),
    tolerance=2e-6,
    expensive=True,
)
log = unary(
    "log", np.log, lambda b, x: b.log(x), lambda c, g: g / c.inputs[0], low=0.1, high=4.0, expensive=True
)
log1p = unary(
    "log1p",
    np.log1p,
    lambda b, x: b.log1p(x),
    lambda c, g: g / (c.inputs[0] + 1.0),
    low=-0.8,
    high=4.0,
    expensive=True,
)
tanh = unary(
    "tanh", np.tanh, lambda b, x: b.tanh(x), lambda c, g: g * (1.0 - c.output * c.output), expensive=True
)
sigmoid = unary(
    "sigmoid",
    _logistic,
    lambda b, x: b.sigmoid(x),
    lambda c, g: g * (c.output * (1.0 - c.output)),
    expensive=True,
)
softplus = unary(
    "softplus",
    lambda x: np.logaddexp(x, x.dtype.type(0)),
    lambda b, x: b.softplus(x),
    lambda c, g: g * sigmoid(c.inputs[0]),
    expensive=True,
)
erf = unary(
    "erf",
    _erf,
    lambda b, x: b.erf(x),
    lambda c, g: g * (exp(-square(c.inputs[0])) * (2 / np.sqrt(np.pi))),
    expensive=True,
)
sin: Unary = unary("sin", np.sin, lambda b, x: b.sin(x), lambda c, g: g * cos(c.inputs[0]), expensive=True)
cos: Unary = unary("cos", np.cos, lambda b, x: b.cos(x), lambda c, g: -(g * sin(c.inputs[0])), expensive=True)
relu = unary(
    "relu",
    lambda x: np.maximum(x, x.dtype.type(0)),
    lambda b, x: b.maximum(x, b.const(0, x.dtype)),
    lambda c, g: select(c.output > 0.0, g, zeros_like(g)),
    spaced=True,
    exact=False,
)

# ---------------------------------------------------------------- comparison and choice

equal = binary("equal", np.equal, lambda b, x, y: b.equal(x, y), None, result="bool", commutative=True)
not_equal = binary(
    "not_equal", np.not_equal, lambda b, x, y: b.not_equal(x, y), None, result="bool", commutative=True
)
less = binary("less", np.less, lambda b, x, y: b.less(x, y), None, result="bool")
less_equal = binary("less_equal", np.less_equal, lambda b, x, y: b.less_equal(x, y), None, result="bool")
greater = binary("greater", np.greater, lambda b, x, y: b.greater(x, y), None, result="bool")
greater_equal = binary(
    "greater_equal", np.greater_equal, lambda b, x, y: b.greater_equal(x, y), None, result="bool"
)
logical_and = binary(
    "logical_and",
    np.logical_and,
    lambda b, x, y: b.logical_and(x, y),
    None,
    dtype="bool",
    commutative=True,
    neutral=True,
)
logical_or = binary(
    "logical_or",
    np.logical_or,
    lambda b, x, y: b.logical_or(x, y),
    None,
    dtype="bool",
    commutative=True,
    neutral=False,
)
logical_not = unary(
    "logical_not", np.logical_not, lambda b, x: b.logical_not(x), None, dtype="bool", involution=True
)


def _infer_select(c: TensorType, a: TensorType, b: TensorType) -> TensorType:
    _same("select", a, b)
    if c.dtype != "bool":
        raise TypeError(f"select: the condition must be bool. Received: {c}")
    return TensorType(broadcast_shapes(c.shape, a.shape, b.shape), a.dtype)


def _select_gradient(call: Call, g: Tensor) -> Sequence[Tensor | None]:
    c, a, b = call.inputs
    zero = zeros_like(g)
    return None, unbroadcast(select(c, g, zero), a), unbroadcast(select(c, zero, g), b)


def _select_case(draw: Draw) -> Case:
    shape = draw.shape(0, 3)
    return Case((TensorType(shape, "bool"), TensorType(shape), TensorType(shape)))


register(
    Op(
        "select",
        "elementwise",
        _infer_select,
        np.where,
        gradient=_select_gradient,
        scalar=lambda b, c, x, y: b.select(c, x, y),
        cases=_select_case,
        exact=True,
    )
)


def select(condition: Tensor, a: Operand, b: Operand) -> Tensor:
    """`condition ? a : b`, element by element."""
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = constant(condition.graph, a, "float32")
    a, b = promote(a, b)
    return emit("select", [condition, a, b])


def _cast_meaning(x: Array, dtype: str) -> Array:
    if x.dtype.kind == "f" and np.dtype(dtype).kind in "iu":
        bounds = np.iinfo(dtype)  # saturate, as compiled code does; NaN becomes 0
        low, high = float(bounds.min), float(bounds.max)  # 2^63 for int64, which is too large
        with np.errstate(invalid="ignore"):
            wide = np.nan_to_num(np.trunc(x.astype(np.float64)))
            fits = np.where((wide > low) & (wide < high), wide, 0).astype(dtype)
        return np.where(wide >= high, bounds.max, np.where(wide <= low, bounds.min, fits)).astype(dtype)
    return x.astype(dtype)


register(
    Op(
        "cast",
        "elementwise",
        lambda x, dtype: x.with_dtype(dtype),
        _cast_meaning,
        gradient=lambda c, g: [
            cast(g, c.inputs[0].dtype) if c.inputs[0].dtype in FLOATS and c.output.dtype in FLOATS else None
        ],
        scalar=lambda b, x, dtype: b.cast(x, dtype),
        exact=True,
        type_only=True,
        inlined=True,
        cases=lambda draw: Case(
            (TensorType(draw.shape(), draw.choice(("int32", "bool", "float32"))),),
            {"dtype": draw.choice(("float32", "int32"))},
        ),
    )
)


def cast(x: Tensor, dtype: str) -> Tensor:
    """The values in another dtype; towards zero and saturating from float to integer."""
    return x if x.dtype == dtype else emit("cast", [x], dtype=dtype)


register(
    Op(
        "stop_gradient",
        "elementwise",
        lambda x: x,
        lambda x: x,
        scalar=lambda b, x: x,
        exact=True,
        signs=(1,),
        linear=(0,),
        type_only=True,
        cases=lambda draw: Case((TensorType(draw.shape()),)),
    )
)


def stop_gradient(x: Tensor) -> Tensor:
    """x, through which no gradient flows."""
    return emit("stop_gradient", [x])


register(
    Op(
        "copy",
        "elementwise",
        lambda x: x,
        lambda x: x.copy(),
        gradient=lambda c, g: [g],
        scalar=lambda b, x: x,
        exact=True,
        signs=(1,),
        linear=(0,),
        cases=lambda draw: Case((TensorType(draw.shape()),)),
    )
)


def copy(x: Tensor) -> Tensor:
    """x in memory of its own. No pass takes it away: what puts it in wants the memory."""
    return emit("copy", [x])


# ---------------------------------------------------------------- written in the above


def zeros_like(x: Tensor) -> Tensor:
    """Zeros that broadcast to x (a scalar constant of x's dtype)."""
    return constant(x.graph, 0, x.dtype)


def ones_like(x: Tensor) -> Tensor:
    """Ones that broadcast to x (a scalar constant of x's dtype)."""
    return constant(x.graph, 1, x.dtype)


def clip(x: Tensor, low: float, high: float) -> Tensor:
    """x limited to [low, high]; NaN stays. The gradient is 1 inside and 0 outside."""
    return minimum(maximum(x, low), high)


def count(x: Tensor, axes: Sequence[int]) -> Tensor | float:
    """How many elements of x lie along `axes`: a number, or a scalar tensor with the batch."""
    dim = numel([x.shape[a] for a in axes])
    return emit_source(x.graph, "extent", dim=dim, dtype=x.dtype) if isinstance(dim, Batch) else float(dim)

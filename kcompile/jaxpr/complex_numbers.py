"""Primitives of JAX over complex numbers: two real values each, the real and the imaginary part.

Enters: equations with a complex operand or result. What is linear is done to both parts by the rule for real
numbers; products and quotients follow. Leaves: `Complex` values, or real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.jaxpr.replay import COMPLEX, RULES, Complex, Equation, Rule, rule

Parts = tuple[Tensor, Tensor]

# Done to both parts alike; operands that are not complex (places, conditions) are the same for both
LINEAR = (
    *("add", "add_any", "sub", "neg", "reduce_sum", "cumsum", "reduce_window_sum", "convert_element_type"),
    *("reshape", "transpose", "broadcast_in_dim", "expand_dims", "squeeze", "rev", "tile", "pad"),
    *("slice", "dynamic_slice", "dynamic_update_slice", "gather", "scatter", "scatter-add", "scatter_add"),
    *("concatenate", "stack", "split", "select_n", "copy", "copy_p", "optimization_barrier"),
    *("reduce_precision", "stop_gradient", "sharding_constraint", "pvary", "mesh_cast"),
)
# Linear in each of two operands
BILINEAR = ("mul", "dot_general", "conv_general_dilated")


def _of(*names: str) -> Callable[[Rule], Rule]:
    return rule(*names, table=COMPLEX)


def _sides(value: Any) -> tuple[Any, Any]:
    return (value.real, value.imaginary) if isinstance(value, Complex) else (value, np.zeros((), np.float32))


def _parts(e: Equation, *values: Any) -> list[Parts]:
    """Operands as tensors, whole."""
    reals, others = zip(*map(_sides, values))
    return list(zip(e.tensors(*reals), e.tensors(*others)))


def _listed(made: Any) -> list[Any]:
    return list(made) if isinstance(made, (list, tuple)) else [made]


@_of(*LINEAR)
def _linear(e: Equation, *values: Any) -> list[Any]:
    if e.name == "convert_element_type":
        made = RULES[e.name](e, _sides(values[0])[0])
        if not e.gives_complex:
            return [made]
        if not e.complex_inputs[0]:
            return [Complex(made, np.zeros((), e.type.dtype))]
    twice = [
        _listed(RULES[e.name](e, *(_sides(v)[k] if c else v for v, c in zip(values, e.complex_inputs))))
        for k in range(2)
    ]
    return [Complex(a, b) for a, b in zip(*twice)]


@_of(*BILINEAR)
def _bilinear(e: Equation, x: Any, y: Any) -> Complex:
    (a, b), (c, d) = _sides(x), _sides(y)

    def product(p: Any, q: Any) -> Any:
        return None if _is_zero(p) or _is_zero(q) else RULES[e.name](e, p, q)

    def total(p: Any, q: Any, sign: int) -> Any:
        if p is None or q is None:
            return np.zeros((), e.type.dtype) if p is q else p if q is None else q if sign > 0 else -q
        return p + q if sign > 0 else p - q

    return Complex(total(product(a, c), product(b, d), -1), total(product(a, d), product(b, c), 1))


def _is_zero(value: Any) -> bool:
    return isinstance(value, np.ndarray) and not value.any()


# ---------------------------------------------------------------- to real numbers, and from them


@_of("complex")
def _complex(e: Equation, x: Any, y: Any) -> Complex:
    return Complex(x, y)


@_of("real")
def _real(e: Equation, x: Any) -> Tensor:
    return e.replay.tensor(x.real, e.type)


@_of("imag")
def _imaginary(e: Equation, x: Any) -> Tensor:
    return e.replay.tensor(x.imaginary, e.type)


@_of("abs")
def _abs(e: Equation, x: Any) -> Tensor:
    return _length(_parts(e, x)[0])


def _length(x: Parts) -> Tensor:
    """The absolute value, whose slope at 0 is 0, as JAX has it. What is far from 1 is brought near first."""
    a, b = (ops.magnitude(v) for v in x)
    most, least = ops.maximum(a, b), ops.minimum(a, b)
    still = ops.equal(most, 0.0)
    whole = ops.select(still, ops.ones_like(most), most)
    share = least / whole
    return ops.select(still, ops.zeros_like(most), whole * ops.sqrt(1.0 + share * share))


@_of("is_finite")
def _is_finite(e: Equation, x: Any) -> Tensor:
    ((a, b),) = _parts(e, x)
    return ops.logical_and(ops.is_finite(a), ops.is_finite(b))


@_of("eq", "ne")
def _equal(e: Equation, x: Any, y: Any) -> Tensor:
    (a, b), (c, d) = _parts(e, x, y)
    if e.name == "eq":
        return ops.logical_and(ops.equal(a, c), ops.equal(b, d))
    return ops.logical_or(ops.not_equal(a, c), ops.not_equal(b, d))


# ---------------------------------------------------------------- to complex numbers


def _times(x: Parts, y: Parts) -> Parts:
    (a, b), (c, d) = x, y
    return a * c - b * d, a * d + b * c


def _over(x: Parts, y: Parts) -> Parts:
    (a, b), (c, d) = x, y
    square = c * c + d * d
    return (a * c + b * d) / square, (b * c - a * d) / square


def _sqrt(x: Parts) -> Parts:
    """The root whose real part is not negative."""
    a, b = x
    still = ops.logical_and(ops.equal(a, 0.0), ops.equal(b, 0.0))
    safe = ops.select(still, ops.ones_like(a), a)
    long = ops.sqrt((_length((safe, b)) + ops.magnitude(safe)) * 0.5)
    short = b / (long * 2.0)
    right = ops.greater_equal(safe, 0.0)
    down = ops.less(b, 0.0)
    real = ops.select(right, long, ops.magnitude(short))
    imaginary = ops.select(right, short, ops.select(down, -long, long))
    zero = ops.zeros_like(a)
    return ops.select(still, zero, real), ops.select(still, zero, imaginary)


def _sign(x: Parts) -> Parts:
    a, b = x
    length = _length(x)
    still = ops.equal(length, 0.0)
    whole = ops.select(still, ops.ones_like(length), length)
    return a / whole, b / whole


_UNARY: dict[str, Callable[[Parts], Parts]] = {
    "conj": lambda x: (x[0], -x[1]),
    "cos": lambda x: (ops.cos(x[0]) * ops.cosh(x[1]), -ops.sin(x[0]) * ops.sinh(x[1])),
    "cosh": lambda x: (ops.cosh(x[0]) * ops.cos(x[1]), ops.sinh(x[0]) * ops.sin(x[1])),
    "exp": lambda x: _exp(x),
    "log": lambda x: _log(x),
    "sign": _sign,
    "sin": lambda x: (ops.sin(x[0]) * ops.cosh(x[1]), ops.cos(x[0]) * ops.sinh(x[1])),
    "sinh": lambda x: (ops.sinh(x[0]) * ops.cos(x[1]), ops.cosh(x[0]) * ops.sin(x[1])),
    "sqrt": _sqrt,
    "square": lambda x: _times(x, x),
}


@_of(*_UNARY)
def _unary(e: Equation, x: Any) -> Complex:
    return Complex(*_UNARY[e.name](_parts(e, x)[0]))


@_of("div")
def _div(e: Equation, x: Any, y: Any) -> Complex:
    first, second = _parts(e, x, y)
    if _is_zero(_sides(y)[1]):
        return Complex(first[0] / second[0], first[1] / second[0])
    return Complex(*_over(first, second))


def _exp(x: Parts) -> Parts:
    length = ops.exp(x[0])
    return length * ops.cos(x[1]), length * ops.sin(x[1])


def _log(x: Parts) -> Parts:
    return ops.log(_length(x)), ops.atan2(x[1], x[0])


@_of("pow")
def _pow(e: Equation, x: Any, y: Any) -> Complex:
    """exp(y log x); of 0, 0, but for 1 where y is 0."""
    (a, b), (c, d) = _parts(e, x, y)
    still = ops.logical_and(ops.equal(a, 0.0), ops.equal(b, 0.0))
    ends = ops.logical_and(ops.equal(c, 0.0), ops.equal(d, 0.0))
    made = _exp(_times((c, d), _log((ops.select(still, ops.ones_like(a), a), b))))
    at_zero = ops.select(ends, ops.ones_like(a), ops.zeros_like(a))
    return Complex(ops.select(still, at_zero, made[0]), ops.select(still, ops.zeros_like(a), made[1]))


@_of("integer_pow")
def _integer_pow(e: Equation, x: Any) -> Complex:
    (given,) = _parts(e, x)
    y = int(e["y"])
    one = ops.ones_like(given[0]), ops.zeros_like(given[1])
    made = one
    for _ in range(abs(y)):
        made = _times(made, given) if made is not one else given
    return Complex(*(made if y >= 0 else _over(one, made)))


@_of("fft")
def _fft(e: Equation, x: Any) -> Any:
    """Over the last axes, as many as there are lengths."""
    kind = e.first.params["fft_type"].name
    lengths = [int(n) for n in e["fft_lengths"]]
    ((a, b),) = _parts(e, x)
    axes = [a.rank - len(lengths) + i for i in range(len(lengths))]
    if kind == "RFFT":
        made = ops.fourier_of_real(a, lengths[-1])
        return Complex(*_over_axes(made, axes[:-1], -1))
    if kind == "IRFFT":
        return ops.real_of_fourier(_over_axes((a, b), axes[:-1], 1), lengths[-1])
    return Complex(*_over_axes((a, b), axes, -1 if kind == "FFT" else 1))


def _over_axes(x: Parts, axes: list[int], sign: int) -> Parts:
    """The transform along each of the axes; back (sign 1), the inverse."""
    for axis in axes:
        order = list(range(x[0].rank))
        order[axis], order[-1] = order[-1], order[axis]
        moved = ops.fourier((ops.transpose(x[0], order), ops.transpose(x[1], order)), sign)
        share = 1.0 if sign < 0 else 1.0 / int(moved[0].shape[-1])
        x = ops.transpose(moved[0] * share, order), ops.transpose(moved[1] * share, order)
    return x

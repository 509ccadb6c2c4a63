"""Primitives of JAX that reduce what a window sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.gradient import pull_back
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import numel
from kcompile.jaxpr.replay import Equation, rule
from kcompile.jaxpr.sizes import Pair

REDUCTIONS: dict[str, tuple[Callable[..., Tensor], float]] = {
    "add": (ops.reduce_sum, 0.0),
    "max": (ops.reduce_max, -math.inf),
    "min": (ops.reduce_min, math.inf),
    "mul": (ops.reduce_prod, 1.0),
}


@rule("reduce_window_sum")
def _sum(e: Equation, x: Any) -> Tensor:
    return _windows(e, e.tensors(x)[0], "add")


@rule("reduce_window_max")
def _max(e: Equation, x: Any) -> Tensor:
    return _windows(e, e.tensors(x)[0], "max")


@rule("reduce_window_min")
def _min(e: Equation, x: Any) -> Tensor:
    return _windows(e, e.tensors(x)[0], "min")


@rule("select_and_scatter_add")
def _select(e: Equation, source: Any, operand: Any) -> Tensor:
    """The gradient of the largest (or smallest) of each window."""
    source, x = e.tensors(source, operand)
    how = {"ge": "max", "le": "min"}.get(str(e["select_prim"].name))
    if how is None:
        raise e.refuse("windows are selected by ge or le")
    (made,) = pull_back([_windows(e, x, how, source.shape)], [source], [x])
    assert made is not None
    return made


@rule("reduce_window")
def _any(e: Equation, x: Any, start: Any) -> Tensor:
    """By a function of two elements, which is a program; from a number that changes nothing."""
    program: Pair = e["jaxpr"]
    body = getattr(program.first, "jaxpr", program.first)
    names = [equation.primitive.name for equation in body.eqns]
    if len(names) != 1 or names[0] not in REDUCTIONS or not isinstance(start, np.ndarray):
        raise e.refuse("windows are reduced by add, mul, max or min")
    if not start == REDUCTIONS[names[0]][1]:
        raise e.refuse("a reduction of windows starts from the number that changes nothing")
    return _windows(e, e.tensors(x, start)[0], names[0])


def _windows(e: Equation, x: Tensor, how: str, shape: Sequence[Any] | None = None) -> Tensor:
    """x reduced in windows. shape: of the result, where it is not that of the equation."""
    size, strides = e["window_dimensions"], e["window_strides"]
    pads = [(int(a), int(b)) for a, b in e["padding"]]
    between, dilation = (e.get(k) or (1,) * x.rank for k in ("base_dilation", "window_dilation"))
    reduce, start = REDUCTIONS[how]
    if max(between) > 1:
        x = ops.pad(x, [0] * x.rank, [0] * x.rank, [b - 1 for b in between], start)
    slides = [i for i in range(x.rank) if (size[i], strides[i], pads[i]) != (1, 1, (0, 0))]
    if not slides:
        return x
    free = [i for i in range(x.rank) if i not in slides]
    order = [*free[:1], *slides, *free[1:]]
    moved = ops.transpose(x, order)
    first = moved.shape[: min(len(free), 1)] or (1,)
    last = moved.shape[min(len(free), 1) + len(slides) :]
    moved = ops.reshape(moved, (*first, *(x.shape[i] for i in slides), numel(last)))
    taps, steps, apart = (tuple(int(v[i]) for i in slides) for v in (size, strides, dilation))
    around = tuple(pads[i] for i in slides)
    if max(apart) == 1 and how == "max" and min(p for pair in around for p in pair) >= 0:
        made = ops.max_pool(moved, taps, steps, around)
    elif max(apart) == 1 and how == "add" and min(p for pair in around for p in pair) >= 0:
        made = ops.window_sum(moved, taps, steps, around)
    else:
        low, high = zip(*around)
        wide = ops.pad(moved, (0, *low, 0), (0, *high, 0), None, start)
        seen = ops.windows_of(wide, taps, steps, ((0, 0),) * len(taps), apart)
        made = reduce(seen, range(1 + len(taps), 1 + 2 * len(taps)))
    kept = [(e.type.shape if shape is None else shape)[i] for i in order]
    return ops.transpose(ops.reshape(made, kept), [order.index(i) for i in range(x.rank)])

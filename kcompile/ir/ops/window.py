"""Windows that slide over the spatial axes of [batch, spatial..., channels]: pooling and its gradients.

`size`, `strides` and `padding` (pairs before, after) are given for each spatial axis. Padding counts
as minus infinity for a maximum and as zero for a sum.

    window_max, window_sum   of the elements under a window (its *taps*)
    window_argmax            the number of the first tap with the largest element
    window_unpool            the gradient of window_sum: adds each value to all elements under its window
    window_scatter           the gradient of window_max: adds it to the element under one tap of its window
    window_gather            the gradient of window_scatter: the element under one tap of each window
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kcompile.ir.op import Call, Case, Draw, Op, register
from kcompile.ir.ops.contraction import Pads, check_windows, same_padding, window_size
from kcompile.ir.tensor import Tensor, constant, emit
from kcompile.ir.types import BYTES, FLOATS, Dim, TensorType

__all__ = ["average_pool", "max_pool", "window_sum"]

Ints = tuple[int, ...]


def _infer(x: TensorType, size: Ints, strides: Ints, padding: Pads) -> TensorType:
    if x.rank != len(size) + 2:
        raise ValueError(f"pooling: expected {len(size) + 2} axes. Received: {x}")
    if x.dtype not in FLOATS:
        raise TypeError(f"pooling: expected a floating point tensor. Received: {x}")
    out = [window_size(*args) for args in zip(x.shape[1:-1], size, strides, padding)]
    if any(s < 1 for s in out):
        raise ValueError(f"pooling: the window {size} is larger than the input {x} with padding {padding}")
    check_windows(x.shape[1:-1], out, size, (1,) * len(size))
    return x.with_shape((x.shape[0], *out, x.shape[-1]))


def _infer_max(x: TensorType, size: Ints, strides: Ints, padding: Pads) -> TensorType:
    """Also of unsigned bytes: what quantised floats are."""
    if x.dtype == "uint8":
        return _infer(x.with_dtype("float32"), size, strides, padding).with_dtype("uint8")
    return _infer(x, size, strides, padding)


def _least(dtype: str) -> float:
    """No element is less."""
    return -np.inf if dtype in FLOATS else 0


def _window_attrs(call: Call) -> dict[str, Any]:
    return {k: call.attrs[k] for k in ("size", "strides", "padding")}


def _taps(size: Ints) -> Iterator[Ints]:
    return itertools.product(*map(range, size))


def _views(x: np.ndarray, size: Ints, strides: Ints, padding: Pads, fill: Any) -> Iterator[np.ndarray]:
    """For each tap of the window, the array of elements under it at every position."""
    wide = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=fill)
    out = [(d - s) // t + 1 for d, s, t in zip(wide.shape[1:-1], size, strides)]
    for tap in _taps(size):
        yield wide[(slice(None), *(slice(a, a + (o - 1) * s + 1, s) for a, o, s in zip(tap, out, strides)))]


def element_at(
    b: Any,
    x: Any,
    sizes: Sequence[Dim],
    index: tuple[Any, ...],
    places: Sequence[tuple[Any, int, bool]],
    fill: Any,
) -> Any:
    """The element of x [batch, sizes..., rest...] at an index whose spatial coordinates are `places`:
    (coordinate times a divisor, divisor, whether it may be none of the axis); `fill` where one is none."""
    inside, at = None, [index[0]]
    for (place, divisor, guarded), size in zip(places, sizes):
        if guarded:
            place, within = b.within(place, divisor, size)
            inside = within if inside is None else b.logical_and(inside, within)
        at.append(place)
    at.extend(index[1:])
    return x(tuple(at)) if inside is None else b.guard(inside, lambda: x(tuple(at)), fill)


def _seen(b: Any, call: Any, index: Any, x: Any, tap: Sequence[Any], fill: Any) -> Any:
    """The element under a tap of the window at an output index."""
    windows = enumerate(zip(call.attrs["strides"], call.attrs["padding"]))
    places = [(index[1 + i] * stride + tap[i] - pads[0], 1, any(pads)) for i, (stride, pads) in windows]
    return element_at(b, x, call.types[0].shape[1:-1], (index[0], index[-1]), places, fill)


def _lower_reduce(combine: str, start: Callable[[str], float]) -> Callable[..., Any]:
    def lower(b: Any, call: Any, index: Any, x: Any) -> Any:
        first = b.const(start(call.type.dtype), call.type.dtype)
        return b.reduce(combine, call.attrs["size"], lambda tap: _seen(b, call, index, x, tap, first), first)

    return lower


def _case(draw: Draw) -> Case:
    rank = draw.size("rank")
    size = tuple(draw.size("pool", {1: 13, 2: 9, 3: 4}[rank]) for _ in range(rank))
    strides = tuple(draw.size("stride") for _ in range(rank))
    same = draw.choice((True, False))
    sizes = [
        draw.size("size", p) if same and draw.choice((False, True)) else p + draw.size("size", 9) - 1
        for p in size
    ]
    padding = tuple(same_padding(*a) if same else (0, 0) for a in zip(sizes, size, strides))
    x = TensorType((draw.shape(1, 1)[0], *sizes, draw.size("channels", 2000 // math.prod(sizes) + 1)))
    return Case((x,), {"size": size, "strides": strides, "padding": padding}, spaced=True)


# ---------------------------------------------------------------- forward


def _max_gradient(call: Call, g: Tensor) -> Sequence[Tensor | None]:
    x = call.inputs[0]
    taps = emit("window_argmax", [x], **call.attrs)
    return [emit("window_scatter", [g, taps], sizes=x.shape[1:-1], **call.attrs)]


register(
    Op(
        "window_max",
        "window",
        _infer_max,
        lambda x, size, strides, padding: np.maximum.reduce(
            list(_views(x, size, strides, padding, _least(x.dtype.name)))
        ),
        gradient=_max_gradient,
        lower=_lower_reduce("max", _least),
        cases=_case,
        tolerance=0.0,
        expensive=True,
        row_by_row=lambda **_: True,
        order_only=True,
    )
)
register(
    Op(
        "window_sum",
        "window",
        _infer,
        lambda x, size, strides, padding: np.add.reduce(list(_views(x, size, strides, padding, 0))),
        gradient=lambda c, g: [emit("window_unpool", [g], sizes=c.inputs[0].shape[1:-1], **c.attrs)],
        lower=_lower_reduce("add", lambda _: 0.0),
        cases=_case,
        tolerance=1e-5,
        expensive=True,
        row_by_row=lambda **_: True,
    )
)


def _argmax(x: np.ndarray, size: Ints, strides: Ints, padding: Pads) -> np.ndarray:
    """The number of the first tap with the largest element. A NaN is larger than nothing, and
    nothing is larger than it: the forward pass is NaN there already."""
    views = list(_views(x, size, strides, padding, -np.inf))
    best, tap = views[0], np.zeros(views[0].shape, np.int32)
    for number, value in enumerate(views[1:], 1):
        larger = value > best
        best, tap = np.where(larger, value, best), np.where(larger, np.int32(number), tap)
    return tap


def _lower_argmax(b: Any, call: Any, index: Any, x: Any) -> Any:
    low = b.const(-np.inf, call.types[0].dtype)
    best, tap_number = None, b.const(0, "int32")
    for number, tap in enumerate(_taps(call.attrs["size"])):
        value = b.let(_seen(b, call, index, x, [b.const(t, "int64") for t in tap], low))
        if best is None:
            best = value
            continue
        larger = b.let(b.greater(value, best))
        tap_number = b.select(larger, b.const(number, "int32"), tap_number)
        best = b.let(b.select(larger, value, best))
    return tap_number


register(
    Op(
        "window_argmax",
        "window",
        lambda x, **attrs: _infer(x, **attrs).with_dtype("int32"),
        _argmax,
        lower=_lower_argmax,
        cases=_case,
        expensive=True,
        row_by_row=lambda **_: True,
    )
)

# ---------------------------------------------------------------- backward


def _unpool(
    g: np.ndarray,
    sizes: Ints,
    size: Ints,
    strides: Ints,
    padding: Pads,
    keep: Callable[[int], np.ndarray | bool] = lambda number: True,
) -> np.ndarray:
    """Add g, where `keep(tap number)`, to every input element its windows cover."""
    wide = [d + sum(p) for d, p in zip(sizes, padding)]
    out = np.zeros((g.shape[0], *wide, g.shape[-1]), g.dtype)
    for number, tap in enumerate(_taps(size)):
        at = (
            slice(None),
            *(slice(a, a + (o - 1) * s + 1, s) for a, o, s in zip(tap, g.shape[1:-1], strides)),
        )
        out[at] += np.where(keep(number), g, g.dtype.type(0))
    return out[(slice(None), *(slice(p[0], p[0] + d) for d, p in zip(sizes, padding)))]


def _infer_unpool(
    g: TensorType, *taps: TensorType, sizes: Ints, size: Ints, strides: Ints, padding: Pads
) -> TensorType:
    return g.with_shape((g.shape[0], *sizes, g.shape[-1]))


def _covering(
    b: Any, position: Any, last: int, size: int, stride: int, windows: int
) -> Iterator[tuple[Any, Any, Any]]:
    """(window, its tap, whether there is one) for the windows of one axis that may cover a position
    (padding counted, at most `last`), in the order of their taps."""
    first, tap = position // stride, position % stride
    for k in range(-(-size // stride)):
        inside = b.const(True, "bool")
        if (k + 1) * stride > size:
            inside = b.logical_and(inside, b.less(tap + k * stride, b.const(size, "int64")))
        if k:
            inside = b.logical_and(inside, b.greater_equal(first - k, b.const(0, "int64")))
        if last // stride - k >= windows:
            inside = b.logical_and(inside, b.less(first - k, b.const(windows, "int64")))
        yield first - k, tap + k * stride, inside


def _lower_unpool(b: Any, call: Any, index: Any, g: Any, *taps: Any) -> Any:
    """Sum over the windows that cover the element, in the order of their taps."""
    attrs, zero, total = call.attrs, b.const(0, call.type.dtype), None
    axes = [
        list(_covering(b, i + p[0], d - 1 + p[0], size, stride, windows))
        for i, d, p, size, stride, windows in zip(
            index[1:-1],
            attrs["sizes"],
            attrs["padding"],
            attrs["size"],
            attrs["strides"],
            call.types[0].shape[1:-1],
        )
    ]
    for windows in itertools.product(*axes):
        at, number, inside = [index[0]], b.const(0, "int64"), b.const(True, "bool")
        for (window, tap, exists), size in zip(windows, attrs["size"]):
            at.append(window)
            number = number * size + tap
            inside = b.logical_and(inside, exists)
        at.append(index[-1])

        def term(at: tuple[Any, ...] = tuple(at), number: Any = number) -> Any:
            if not taps:
                return g(at)
            return b.select(b.equal(taps[0](at), b.cast(number, "int32")), g(at), zero)

        part = b.guard(inside, term, zero)
        total = b.let(part if total is None else b.add(total, part))
    return total


def _unpool_case(draw: Draw) -> Case:
    case = _case(draw)
    attrs: Any = case.attrs
    return Case((_infer(case.types[0], **attrs),), {"sizes": case.types[0].shape[1:-1], **attrs})


register(
    Op(
        "window_unpool",
        "window",
        _infer_unpool,
        _unpool,
        gradient=lambda c, h: [emit("window_sum", [h], **_window_attrs(c))],
        lower=_lower_unpool,
        cases=_unpool_case,
        tolerance=1e-5,
        expensive=True,
        row_by_row=lambda **_: True,
    )
)


def _at_taps(case: Case, x: TensorType, windows: TensorType) -> Case:
    """Operand x, and for each window the number of a tap."""
    taps = float(np.prod(case.attrs["size"]))
    return Case((x, windows.with_dtype("int32")), case.attrs, (-2.0, 0.0), (2.0, taps))


def _scatter_case(draw: Draw) -> Case:
    case = _unpool_case(draw)
    return _at_taps(case, case.types[0], case.types[0])


def _gather_case(draw: Draw) -> Case:
    case = _case(draw)
    attrs: Any = case.attrs
    return _at_taps(case, case.types[0], _infer(case.types[0], **attrs))


def _gather(x: np.ndarray, taps: np.ndarray, **attrs: Any) -> np.ndarray:
    """For each window the element under its own tap."""
    out = np.zeros(taps.shape, x.dtype)
    for number, view in enumerate(_views(x, **attrs, fill=0)):
        out = np.where(taps == number, view, out)
    return out


def _lower_gather(b: Any, call: Any, index: Any, x: Any, taps: Any) -> Any:
    zero, tap_number = b.const(0, call.type.dtype), b.let(taps(index))
    out = zero
    for number, tap in enumerate(_taps(call.attrs["size"])):
        seen = _seen(b, call, index, x, [b.const(t, "int64") for t in tap], zero)
        out = b.let(b.select(b.equal(tap_number, b.const(number, "int32")), seen, out))
    return out


register(
    Op(
        "window_scatter",
        "window",
        _infer_unpool,
        lambda g, taps, **attrs: _unpool(g, keep=lambda number: taps == number, **attrs),
        gradient=lambda c, h: [emit("window_gather", [h, c.inputs[1]], **_window_attrs(c)), None],
        lower=_lower_unpool,
        cases=_scatter_case,
        tolerance=1e-5,
        expensive=True,
        row_by_row=lambda **_: True,
    )
)
register(
    Op(
        "window_gather",
        "window",
        lambda x, taps, **attrs: _infer(x, **attrs),
        _gather,
        gradient=lambda c, g: [
            emit("window_scatter", [g, c.inputs[1]], sizes=c.inputs[0].shape[1:-1], **c.attrs),
            None,
        ],
        lower=_lower_gather,
        cases=_gather_case,
        tolerance=0.0,
        expensive=True,
        row_by_row=lambda **_: True,
    )
)


# ---------------------------------------------------------------- functions


def max_pool(x: Tensor, size: Sequence[int], strides: Sequence[int], padding: Pads) -> Tensor:
    """The largest element under each window; the gradient goes to the first such element."""
    return _windows("window_max", x, size, strides, padding)


def window_sum(x: Tensor, size: Sequence[int], strides: Sequence[int], padding: Pads) -> Tensor:
    """The sum of the elements under each window."""
    return _windows("window_sum", x, size, strides, padding)


def _windows(name: str, x: Tensor, size: Sequence[int], strides: Sequence[int], padding: Pads) -> Tensor:
    """Whole numbers go as floats that hold them, of 64 bits up to 2^53."""
    seen = dict(size=tuple(size), strides=tuple(strides), padding=tuple(padding))
    if x.dtype in FLOATS:
        return emit(name, [x], **seen)
    wide = emit("cast", [x], dtype="float32" if BYTES[x.dtype] == 1 else "float64")
    return emit("cast", [emit(name, [wide], **seen)], dtype=x.dtype)


def average_pool(x: Tensor, size: Sequence[int], strides: Sequence[int], padding: Pads) -> Tensor:
    """The mean of the elements under each window; padding is not counted."""
    total = window_sum(x, size, strides, padding)
    counts = np.ones((1,) * x.rank, np.float32)
    for axis, (d, s, t, p) in enumerate(zip(x.shape[1:-1], size, strides, padding), 1):
        wide = np.pad(np.ones(d), p)
        seen = [wide[i * t : i * t + s].sum() for i in range(total.shape[axis])]
        counts = counts * np.reshape(seen, [-1 if i == axis else 1 for i in range(x.rank)])
    if counts.min() == counts.max():
        return total * float(1 / counts.flat[0])
    return total * constant(x.graph, 1 / counts, x.dtype)

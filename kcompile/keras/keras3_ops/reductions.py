"""keras.ops over axes: sums, extrema, statistics, running sums, and elements in an order."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS, Batch, axis_of
from kcompile.keras.keras3_ops.calls import (
    alike,
    alike_everywhere,
    flag,
    number,
    operation,
    places,
    real,
    reals,
    summed,
    to,
)
from kcompile.keras.keras3_ops.elementwise import dtype_of
from kcompile.keras.keras3_ops.indexing import along
from kcompile.keras.operands import axes_of, fixed_size, tensor
from kcompile_runtime.errors import UnsupportedError

Reduce = Callable[[Tensor, Any, bool], Tensor]


def _variance(x: Tensor, axes: Any, keepdims: bool) -> Tensor:
    return ops.reduce_mean(ops.square(x - ops.reduce_mean(x, axes, True)), axes, keepdims)


def _reduction(name: str, function: Reduce, doc: str, convert: Any = number) -> Any:
    def apply(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        x = convert(x)
        return function(x, axes_of(x, axis), keepdims)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return operation(apply)


def _flags(reduce: Callable[..., Tensor]) -> Reduce:
    return lambda x, axes, keepdims: reduce(ops.cast(x, "int32"), axes, keepdims) > 0


sum = _reduction("sum", ops.reduce_sum, "The sum.", summed)
mean = _reduction("mean", ops.reduce_mean, "The mean.", real)
var = _reduction("var", _variance, "The (biased) variance.", real)
std = _reduction("std", lambda *a: ops.sqrt(_variance(*a)), "The (biased) standard deviation.", real)
amax = _reduction("amax", ops.reduce_max, "The largest.")
amin = _reduction("amin", ops.reduce_min, "The smallest.")
ptp = _reduction(
    "ptp", lambda x, a, k: ops.reduce_max(x, a, k) - ops.reduce_min(x, a, k), "The largest less the smallest."
)
all = _reduction("all", _flags(ops.reduce_min), "Whether all hold.", flag)
any = _reduction("any", _flags(ops.reduce_max), "Whether one holds.", flag)


def _logsumexp(x: Tensor, axes: Any, keepdims: bool) -> Tensor:
    top = ops.stop_gradient(ops.reduce_max(x, axes, True))
    top = ops.select(ops.abs(top) < math.inf, top, ops.zeros_like(top))  # inf - inf would be NaN
    made = ops.log(ops.reduce_sum(ops.exp(x - top), axes, True)) + top
    return made if keepdims else ops.reduce_sum(made, axes)


logsumexp = _reduction("logsumexp", _logsumexp, "log(sum(exp(x))), without overflow.", real)


@operation
def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The product."""
    x = summed(x) if dtype is None else to(tensor(x), dtype_of(dtype))
    return ops.reduce_prod(x, axes_of(x, axis), keepdims)


def _extremum(name: str, reduce: Callable[..., Tensor], pick: Callable[..., Tensor], doc: str) -> Any:
    def apply(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
        given = tensor(x)
        made = reduce(number(given), axes_of(given, axis), keepdims)
        made = made if initial is None else pick(*alike(made, initial))
        return to(made, "bool") if given.dtype == "bool" and initial is None else made

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return operation(apply)


max = _extremum("max", ops.reduce_max, ops.maximum, "The largest, or `initial`.")
min = _extremum("min", ops.reduce_min, ops.minimum, "The smallest, or `initial`.")


@operation
def count_nonzero(x: Any, axis: Any = None) -> Any:
    """How many are not 0."""
    x = tensor(x)
    return ops.reduce_sum(ops.cast(flag(x), "int32"), axes_of(x, axis))


@operation
def average(x: Any, axis: Any = None, weights: Any = None) -> Any:
    """The mean, of elements that count by their weights."""
    if weights is None:
        x = real(x)
        return ops.reduce_mean(x, axes_of(x, axis))
    x, w = reals(x, weights)
    axes = axes_of(x, axis)
    if w.rank == 1 and x.rank > 1 and len(axes) == 1:
        w = ops.reshape(w, [d if i == axes[0] else 1 for i, d in enumerate([w.shape[0]] * x.rank)])
    w = ops.broadcast_to(w, x.shape)
    return ops.reduce_sum(x * w, axes) / ops.reduce_sum(w, axes)


# ---------------------------------------------------------------- without NaN


def _has(x: Tensor) -> Tensor:
    return ops.equal(x, x)


def _or(x: Tensor, value: float) -> Tensor:
    """x with a number in place of NaN."""
    return ops.select(_has(x), x, ops.zeros_like(x) + value) if x.dtype in FLOATS else x


def _count(x: Tensor, axes: Any, keepdims: bool) -> Tensor:
    return ops.reduce_sum(ops.cast(_has(x), x.dtype), axes, keepdims)


def _nanmean(x: Tensor, axes: Any, keepdims: bool) -> Tensor:
    return ops.reduce_sum(_or(x, 0.0), axes, keepdims) / _count(x, axes, keepdims)


def _nanvar(x: Tensor, axes: Any, keepdims: bool) -> Tensor:
    off = ops.square(x - _nanmean(x, axes, True))
    return ops.reduce_sum(_or(off, 0.0), axes, keepdims) / _count(x, axes, keepdims)


def _nan_extremum(reduce: Callable[..., Tensor], start: float) -> Reduce:
    def function(x: Tensor, axes: Any, keepdims: bool) -> Tensor:
        made = reduce(_or(x, start), axes, keepdims)
        none = ops.equal(_count(x, axes, keepdims), 0.0)
        return ops.select(none, ops.zeros_like(made) + math.nan, made)

    return function


nansum = _reduction(
    "nansum", lambda x, a, k: ops.reduce_sum(_or(x, 0.0), a, k), "The sum without NaN.", summed
)
nanprod = _reduction(
    "nanprod", lambda x, a, k: ops.reduce_prod(_or(x, 1.0), a, k), "The product without NaN.", summed
)
nanmean = _reduction("nanmean", _nanmean, "The mean without NaN.", real)
nanvar = _reduction("nanvar", _nanvar, "The (biased) variance without NaN.", real)
nanstd = _reduction("nanstd", lambda *a: ops.sqrt(_nanvar(*a)), "The standard deviation without NaN.", real)
nanmax = _reduction("nanmax", _nan_extremum(ops.reduce_max, -math.inf), "The largest but NaN.", real)
nanmin = _reduction("nanmin", _nan_extremum(ops.reduce_min, math.inf), "The smallest but NaN.", real)


# ---------------------------------------------------------------- places


def _found(find: Callable[..., Tensor], x: Tensor, axis: Any, keepdims: bool, skipped: Any = None) -> Tensor:
    """Where along an axis (None: in all elements) `find` finds its element; NaN counts as `skipped`."""
    rank = x.rank
    x = x if skipped is None else _or(x, skipped)
    if axis is None:
        made = find(ops.reshape(x, (x.type.numel,)), 0)
        return ops.reshape(made, (1,) * rank) if keepdims else made
    place = axis_of(axis, rank)
    made = find(x, place)
    return ops.reshape(made, [1 if i == place else d for i, d in enumerate(x.shape)]) if keepdims else made


def _place(name: str, find: Callable[..., Tensor], doc: str) -> Any:
    def apply(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        return _found(find, number(x), axis, keepdims)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return operation(apply)


argmax = _place("argmax", ops.argmax, "The place of the first that is largest.")
argmin = _place("argmin", ops.argmin, "The place of the first that is smallest.")


def _nan_place(name: str, find: Callable[..., Tensor], doc: str, skipped: float) -> Any:
    def apply(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        x = number(x)
        made = _found(find, x, axis, keepdims, skipped)
        if x.dtype not in FLOATS:
            return made
        none = ops.equal(_count(x, axes_of(x, axis), keepdims), 0.0)
        return ops.select(none, ops.ones_like(made) * -1, made)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return operation(apply)


nanargmax = _nan_place(
    "nanargmax", ops.argmax, "The place of the largest but NaN; -1 where all are NaN.", -math.inf
)
nanargmin = _nan_place(
    "nanargmin", ops.argmin, "The place of the smallest but NaN; -1 where all are NaN.", math.inf
)


def _vector_or_axis(x: Any, axis: int | None) -> tuple[Tensor, int]:
    x = tensor(x)
    if axis is None:
        return ops.reshape(x, (x.type.numel,)), 0
    return x, axis_of(axis, x.rank)


def _running(
    name: str, combine: Callable[[Tensor, Tensor], Tensor], doc: str, instead: float | None = None
) -> Any:
    def apply(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
        x, place = _vector_or_axis(x, axis)
        x = number(x) if dtype is None else to(x, dtype_of(dtype))
        fixed_size(x, place)
        return ops.running(x if instead is None else _or(x, instead), place, combine)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return operation(apply)


cumsum = _running("cumsum", ops.add, "The sums of all up to each.")
cumprod = _running("cumprod", ops.mul, "The products of all up to each.")
nancumsum = _running("nancumsum", ops.add, "The sums of all up to each, NaN left out.", 0.0)
nancumprod = _running("nancumprod", ops.mul, "The products of all up to each, NaN left out.", 1.0)


@operation
def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """Each element less the one before, n times."""
    x = number(a)
    place = axis_of(axis, x.rank)
    for _ in range(n):
        count = fixed_size(x, place)
        x = ops.part_of(x, place, 1, count) - ops.part_of(x, place, 0, count - 1)
    return x


@operation
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral of values along an axis, at places x or at distances dx."""
    y = real(y)
    place = axis_of(axis, y.rank)
    count = fixed_size(y, place)
    middle = (ops.part_of(y, place, 1, count) + ops.part_of(y, place, 0, count - 1)) * 0.5
    if x is None:
        return ops.reduce_sum(middle * to(tensor(dx), y.dtype), place)
    at = to(tensor(x), y.dtype)
    along_ = 0 if at.rank == 1 else place
    step = ops.part_of(at, along_, 1, count) - ops.part_of(at, along_, 0, count - 1)
    if at.rank == 1:
        step = ops.reshape(step, [count - 1 if i == place else 1 for i in range(y.rank)])
    return ops.reduce_sum(middle * step, place)


# ---------------------------------------------------------------- order


@operation
def sort(x: Any, axis: int | None = -1) -> Any:
    """The elements along an axis from the smallest on; NaN last."""
    return _sorted(*_vector_or_axis(x, axis))


def _sorted(x: Tensor, axis: int) -> Tensor:
    moved, back = ops.axis_last(x, axis)
    return ops.transpose(ops.in_order(moved, ops.ranks(moved), fixed_size(moved, -1)), back)


def _order(x: Tensor, axis: int) -> Tensor:
    moved, back = ops.axis_last(x, axis)
    count = fixed_size(moved, -1)
    numbers = ops.broadcast_to(ops.iota(x.graph, (count,), 0, "int32"), moved.shape)
    return ops.transpose(ops.in_order(numbers, ops.ranks(moved), count), back)


@operation
def argsort(x: Any, axis: int | None = -1) -> Any:
    """The places of the elements along an axis from the smallest on."""
    return _order(*_vector_or_axis(x, axis))


@operation
def argpartition(x: Any, kth: int, axis: int | None = -1) -> Any:
    """The places of the elements, the smaller ones before the kth: all in their order."""
    return _order(*_vector_or_axis(x, axis))


@operation
def top_k(x: Any, k: int, sorted: bool = True) -> Any:
    """The k largest elements along the last axis, from the largest on, and their places."""
    x = tensor(x)
    where = ops.ranks(x, True)
    numbers = ops.broadcast_to(ops.iota(x.graph, (x.shape[-1],), 0, "int32"), x.shape)
    return ops.in_order(x, where, k), ops.in_order(numbers, where, k)


@operation
def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether fewer than k classes score higher than the target's."""
    scores = tensor(predictions)
    own = along(scores, ops.reshape(places(targets), (*scores.shape[:-1], 1)), scores.rank - 1)
    higher = ops.reduce_sum(ops.cast(scores > own, "int32"), -1) < k
    finite = ops.reshape(ops.is_finite(own), scores.shape[:-1])
    return ops.logical_and(higher, finite)


@operation
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """How many of an ordered vector come before each value; equal ones with side='right'."""
    if side not in ("left", "right"):
        raise ValueError(f"expected side='left' or 'right'. Received: {side!r}")
    among, x = alike(sorted_sequence, values)
    if among.rank != 1:
        raise ValueError(f"searchsorted: expected a vector. Received: {among.type}")
    each = ops.reshape(x, (*x.shape, 1))
    before = ops.less(among, each) if side == "left" else ops.less_equal(among, each)
    return ops.reduce_sum(ops.cast(before, "int32"), -1)


@operation
def digitize(x: Any, bins: Any) -> Any:
    """The bin of each value, among bounds that go up."""
    x, among = alike(x, bins)
    each = ops.reshape(x, (*x.shape, 1))
    return ops.reduce_sum(ops.cast(ops.less_equal(among, each), "int32"), -1)


@operation
def histogram(x: Any, bins: int = 10, range: Any = None) -> Any:
    """How many elements of a vector are in each bin, and the edges of the bins. range: the first edge and
    the last, by default the smallest element and the largest."""
    if not isinstance(bins, int) or isinstance(bins, bool) or bins < 0:
        raise ValueError(f"histogram: expected bins, an integer of 0 or more. Received: {bins!r}")
    x = real(x)
    if x.rank > 1:
        raise ValueError(f"histogram: expected a vector. Received: {x.type}")
    if range:
        low, high = (ops.constant(x.graph, float(v), x.dtype) for v in range)
    else:
        low, high = ops.reduce_min(x), ops.reduce_max(x)
    same = ops.equal(low, high)
    low, high = ops.select(same, low - 0.5, low), ops.select(same, high + 0.5, high)
    at = ops.constant(x.graph, np.arange(bins + 1) / builtins.max(bins, 1), x.dtype)
    edges = low * (1.0 - at) + high * at
    each = ops.reshape(x, (x.type.numel, 1))
    from_, to_ = ops.part_of(edges, 0, 0, bins), ops.part_of(edges, 0, 1, bins + 1)
    last = ops.equal(ops.iota(x.graph, (bins,), 0, "int32"), bins - 1)
    below = ops.logical_or(each < to_, ops.logical_and(last, ops.equal(each, to_)))
    inside = ops.logical_and(each >= from_, below)
    return ops.reduce_sum(ops.cast(inside, x.dtype), 0), edges


METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantiles(x: Any, q: Any, axis: Any, method: str, keepdims: bool, skip: bool) -> Tensor:
    """q: shares, numbers or a vector of them. skip: NaN does not count; else it makes the result NaN."""
    if method not in METHODS:
        raise UnsupportedError(f"quantile: method {method!r}. Use one of {', '.join(METHODS)}")
    x, q = real(x), real(q)
    axes = axes_of(x, axis)
    if any_batch := [a for a in axes if isinstance(x.shape[a], Batch)]:
        raise ValueError(f"quantile over the batch, axis {any_batch[0]}")
    rest = [i for i in range(x.rank) if i not in axes]
    kept = [1 if i in axes else d for i, d in enumerate(x.shape)]
    flat = ops.transpose(x, [*rest, *axes])
    count = math.prod(d for d in (x.shape[a] for a in axes) if isinstance(d, int))
    flat = ops.reshape(flat, (*(x.shape[i] for i in rest), count))
    ordered = ops.in_order(flat, ops.ranks(flat), count)
    numbers = ops.reduce_sum(ops.cast(_has(flat), x.dtype), -1, True)
    missing = ops.less(numbers, 1.0) if skip else ops.less(numbers, float(count))
    numbers = ops.maximum(numbers, 1.0) if skip else alike_everywhere(numbers, float(count))
    made = []
    for share in (
        [ops.reshape(ops.part_of(q, 0, i, i + 1), ()) for i in range(fixed_size(q, 0))] if q.rank else [q]
    ):
        at = (numbers - 1.0) * share
        low = ops.floor(at)
        high = ops.minimum(low + ops.cast(at > low, x.dtype), numbers - 1.0)
        a, b = (along(ordered, ops.cast(p, "int32"), ordered.rank - 1) for p in (low, high))
        part = {
            "linear": at - low,
            "lower": ops.zeros_like(at),
            "higher": ops.ones_like(at),
            "midpoint": ops.select(ops.equal(a, b), ops.zeros_like(at), ops.ones_like(at) * 0.5),
            "nearest": ops.round_to_even(at) - low,
        }[method]
        value = a + (b - a) * part if method == "linear" else a * (1.0 - part) + b * part
        value = ops.select(missing, ops.zeros_like(value) + math.nan, value)
        made.append(ops.reshape(value, kept if keepdims else [x.shape[i] for i in rest]))
    if not q.rank:
        return made[0]
    several = [ops.reshape(m, (1, *m.shape)) for m in made]
    return several[0] if len(several) == 1 else ops.concatenate(several, 0)


def _quantile(name: str, scale: float, skip: bool, doc: str) -> Any:
    def apply(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
        return _quantiles(x, real(q) * scale, axis, method, keepdims, skip)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return operation(apply)


quantile = _quantile("quantile", 1.0, False, "The element below which a share q of the elements is.")
percentile = _quantile("percentile", 0.01, False, "The element below which q per cent of the elements are.")
nanquantile = _quantile("nanquantile", 1.0, True, "`quantile` without NaN.")
nanpercentile = _quantile("nanpercentile", 0.01, True, "`percentile` without NaN.")
median = _reduction(
    "median", lambda x, a, k: _quantiles(x, 0.5, a, "linear", k, False), "The middle one.", real
)
nanmedian = _reduction(
    "nanmedian", lambda x, a, k: _quantiles(x, 0.5, a, "linear", k, True), "`median` without NaN.", real
)


# ---------------------------------------------------------------- segments


def _segment(name: str, function: Callable[[Tensor, Tensor, int], Tensor], doc: str) -> Any:
    def apply(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Any:
        if num_segments is None:
            raise UnsupportedError(
                f"ops.{name}: the number of segments depends on the data. Give num_segments"
            )
        return function(number(data), places(segment_ids), int(num_segments))

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return operation(apply)


def _of_segments(reduce: Callable[..., Tensor], start: Callable[[str], Any]) -> Callable[..., Tensor]:
    def function(x: Tensor, at: Tensor, count: int) -> Tensor:
        rank = x.rank
        row = ops.reshape(at, (1, *at.shape, *(1,) * (rank - 1)))
        which = ops.reshape(ops.iota(x.graph, (count,), 0, "int32"), (count, *(1,) * rank))
        each = ops.reshape(x, (1, *x.shape))
        fill = ops.constant(x.graph, np.asarray(start(x.dtype), x.dtype), x.dtype)
        return reduce(ops.select(ops.equal(row, which), each, fill), 1)

    return function


def _lowest(dtype: str) -> Any:
    return -math.inf if dtype in FLOATS else np.iinfo(dtype).min


def _highest(dtype: str) -> Any:
    return math.inf if dtype in FLOATS else np.iinfo(dtype).max


segment_sum = _segment(
    "segment_sum", _of_segments(ops.reduce_sum, lambda d: 0), "The sums of rows with one number."
)
segment_max = _segment(
    "segment_max", _of_segments(ops.reduce_max, _lowest), "The largest of rows with one number."
)
segment_min = _segment(
    "segment_min", _of_segments(ops.reduce_min, _highest), "The smallest of rows with one number."
)
segment_prod = _segment(
    "segment_prod", _of_segments(ops.reduce_prod, lambda d: 1), "The products of rows with one number."
)

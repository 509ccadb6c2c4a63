"""Primitives of JAX that make arrays, move their elements, or sum them up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, static
from kcompile.jaxpr.replay import KNOWN, OPAQUE, Equation, rule
from kcompile_runtime.errors import UnsupportedError

# ---------------------------------------------------------------- shapes


def _both(*names: str) -> Callable[..., Any]:
    """Register what numpy makes of known arrays, keys of random numbers among them."""

    def register(function: Any) -> Any:
        rule(*names, table=KNOWN)(function)
        return function

    return register


def _thin(e: Equation, shape: Sequence[Any]) -> tuple[Any, ...]:
    """The shape of a broadcast operand beside the axes of the result."""
    thin: list[Any] = [1] * len(e.first.params["shape"])
    for axis, size in zip(e.first.params["broadcast_dimensions"], shape):
        thin[int(axis)] = size
    return tuple(thin)


@rule("broadcast_in_dim")
def _broadcast(e: Equation, x: Any, *sizes: Any) -> Any:
    type = e.type
    if isinstance(x, np.ndarray):
        if not e.varies:
            return _known_broadcast(e, x)
        thin = np.reshape(x, _thin(e, x.shape))
        return e.replay.tensor(np.broadcast_to(thin, e.replay.concrete(type)), type)
    return ops.broadcast_to(ops.reshape(x, _thin(e, x.shape)), type.shape)


@_both("broadcast_in_dim")
def _known_broadcast(e: Equation, x: Any, *sizes: Any) -> Any:
    return np.broadcast_to(np.reshape(x, _thin(e, x.shape)), e.first.params["shape"])


@rule("reshape", "squeeze", "expand_dims")
def _reshape(e: Equation, x: Any, *sizes: Any) -> Tensor:
    return ops.reshape(e.tensors(x)[0], e.type.shape)


@_both("reshape", "squeeze", "expand_dims")
def _known_reshape(e: Equation, x: Any, *sizes: Any) -> Any:
    return np.reshape(x, e.first.outvars[0].aval.shape)


@rule("transpose")
def _transpose(e: Equation, x: Any) -> Tensor:
    return ops.transpose(e.tensors(x)[0], [int(axis) for axis in e["permutation"]])


@_both("transpose")
def _known_transpose(e: Equation, x: Any) -> Any:
    return np.transpose(x, e.first.params["permutation"])


@rule("rev")
def _rev(e: Equation, x: Any) -> Tensor:
    (x,) = e.tensors(x)
    axes = [int(axis) for axis in e["dimensions"] if x.shape[int(axis)] != 1]
    if any(isinstance(x.shape[axis], Batch) for axis in axes):
        raise e.refuse("the samples of a batch cannot change their order")
    return ops.reverse(x, axes) if axes else x


@_both("rev")
def _known_rev(e: Equation, x: Any) -> Any:
    return np.flip(x, tuple(int(axis) for axis in e.first.params["dimensions"]))


@rule("iota")
def _iota(e: Equation, *sizes: Any) -> Tensor:
    return ops.iota(e.replay.graph, e.type.shape, int(e["dimension"]), e.type.dtype)


@_both("iota")
def _known_iota(e: Equation, *sizes: Any) -> Any:
    shape, axis = e.first.outvars[0].aval.shape, int(e.first.params["dimension"])
    steps = np.arange(shape[axis]).astype(e.type.dtype)
    return np.broadcast_to(steps.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


@rule("concatenate")
def _concatenate(e: Equation, *parts: Any) -> Tensor:
    return ops.concatenate(e.tensors(*parts), int(e["dimension"]))


@_both("concatenate")
def _known_concatenate(e: Equation, *parts: Any) -> Any:
    return np.concatenate(parts, int(e.first.params["dimension"]))


@rule("stack")
def _stack(e: Equation, *parts: Any) -> Tensor:
    axis = int(e["axis"])
    shape = e.input_types[0].shape
    thin = (*shape[:axis], 1, *shape[axis:])
    return ops.concatenate([ops.reshape(part, thin) for part in e.tensors(*parts)], axis)


@_both("stack")
def _known_stack(e: Equation, *parts: Any) -> Any:
    return np.stack(parts, int(e.first.params["axis"]))


@rule("tile")
def _tile(e: Equation, x: Any) -> Tensor:
    (x,) = e.tensors(x)
    times = e["reps"]
    thin = ops.reshape(x, [d for size in x.shape for d in (1, size)])
    wide = ops.broadcast_to(thin, [d for t, size in zip(times, x.shape) for d in (t, size)])
    return ops.reshape(wide, e.type.shape)


@rule("pad")
def _pad(e: Equation, x: Any, fill: Any) -> Tensor:
    (x, _), (low, high, between) = e.tensors(x, fill), zip(*e["padding_config"])
    if isinstance(fill, np.ndarray):
        return ops.pad(x, low, high, between, fill.item())
    (value,) = [e.replay.tensor(fill, e.input_types[1])]
    inside = ops.pad(ops.broadcast_to(ops.ones_like(x), x.shape), low, high, between)
    return ops.select(inside > 0, ops.pad(x, low, high, between), value)


@rule("slice")
def _slice(e: Equation, x: Any) -> Tensor:
    (x,) = e.tensors(x)
    return ops.slice_(x, e["start_indices"], e["limit_indices"], e["strides"])


@_both("slice")
def _known_slice(e: Equation, x: Any) -> Any:
    p = e.first.params
    steps = p["strides"] or [1] * x.ndim
    return x[tuple(map(slice, p["start_indices"], p["limit_indices"], steps))]


@rule("split")
def _split(e: Equation, x: Any) -> list[Tensor]:
    (x,) = e.tensors(x)
    axis, at, parts = int(e["axis"]), 0, []
    for size in e["sizes"]:
        if isinstance(size, Batch) and size != x.shape[axis]:
            raise e.refuse("batches are not cut")
        end = x.shape[axis] if isinstance(size, Batch) else at + size
        parts.append(ops.part_of(x, axis, at, end))
        at = end
    return parts


@_both("split")
def _known_split(e: Equation, x: Any) -> Any:
    return np.split(x, np.cumsum(e.first.params["sizes"])[:-1], int(e.first.params["axis"]))


for _name in (
    "broadcast_in_dim",
    "reshape",
    "squeeze",
    "expand_dims",
    "transpose",
    "slice",
    "split",
    "concatenate",
):
    OPAQUE[_name] = KNOWN[_name]  # arrays of keys

# ---------------------------------------------------------------- reductions


def _axes(e: Equation) -> list[int]:
    return [int(axis) for axis in e.first.params["axes"]]


for _name, _function in {
    "reduce_sum": ops.reduce_sum,
    "reduce_prod": ops.reduce_prod,
    "reduce_max": ops.reduce_max,
    "reduce_min": ops.reduce_min,
}.items():
    rule(_name)(lambda e, x, f=_function: f(e.tensors(x)[0], _axes(e)))


@rule("reduce_and")
def _reduce_and(e: Equation, x: Any) -> Tensor:
    return ops.cast(ops.reduce_min(ops.cast(e.tensors(x)[0], "int32"), _axes(e)), "bool")


@rule("reduce_or")
def _reduce_or(e: Equation, x: Any) -> Tensor:
    return ops.cast(ops.reduce_max(ops.cast(e.tensors(x)[0], "int32"), _axes(e)), "bool")


for _name, _place in {"argmax": ops.argmax, "argmin": ops.argmin}.items():
    rule(_name)(lambda e, x, f=_place: ops.cast(f(e.tensors(x)[0], _axes(e)[0]), e.type.dtype))


def _along(e: Equation, x: Any, function: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Running results, along an axis, forwards or back."""
    (x,) = e.tensors(x)
    axis = int(e["axis"])
    if isinstance(x.shape[axis], Batch):
        raise e.refuse("sums run along axes other than the batch")
    turned = ops.reverse(x, [axis]) if e.get("reverse") else x
    made = function(turned, axis)
    return ops.reverse(made, [axis]) if e.get("reverse") else made


@rule("cumsum")
def _cumsum(e: Equation, x: Any) -> Tensor:
    return _along(e, x, lambda t, axis: ops.running(t, axis, ops.add))


@rule("cumprod")
def _cumprod(e: Equation, x: Any) -> Tensor:
    return _along(e, x, lambda t, axis: ops.running(t, axis, ops.mul))


@rule("cummax")
def _cummax(e: Equation, x: Any) -> Tensor:
    return _along(e, x, lambda t, axis: ops.running(t, axis, ops.maximum))


@rule("cummin")
def _cummin(e: Equation, x: Any) -> Tensor:
    return _along(e, x, lambda t, axis: ops.running(t, axis, ops.minimum))


@rule("cumlogsumexp")
def _cumlogsumexp(e: Equation, x: Any) -> Tensor:
    def combine(a: Tensor, b: Tensor) -> Tensor:
        high = ops.stop_gradient(ops.maximum(a, b))
        return high + ops.log(ops.exp(a - high) + ops.exp(b - high))

    return _along(e, x, lambda t, axis: ops.running(t, axis, combine))


# ---------------------------------------------------------------- order


def _ranks(e: Equation, x: Tensor, largest_first: bool) -> Tensor:
    try:
        return ops.ranks(x, largest_first)
    except UnsupportedError as error:
        raise e.refuse(str(error)) from None


@rule("sort")
def _sort(e: Equation, *values: Any) -> list[Tensor]:
    axis = int(e["dimension"])
    moved, backs = zip(*(ops.axis_last(x, axis) for x in e.tensors(*values)))
    (size,) = static(e.input_types[0].shape[axis : axis + 1])
    # What a key has alike keeps the order of later keys
    for key in reversed(range(int(e["num_keys"]))):
        ranks = _ranks(e, moved[key], False)
        moved = tuple(ops.in_order(x, ranks, size) for x in moved)
    return [ops.transpose(x, back) for x, back in zip(moved, backs)]


@rule("top_k")
def _top_k(e: Equation, x: Any) -> list[Tensor]:
    axis, k = int(e.get("axis", -1)), int(e["k"])
    x, back = ops.axis_last(e.tensors(x)[0], axis % len(e.input_types[0].shape))
    ranks = _ranks(e, x, True)
    places = ops.broadcast_to(ops.iota(x.graph, (x.shape[-1],), 0, "int32"), x.shape)
    return [ops.transpose(ops.in_order(v, ranks, k), back) for v in (x, places)]

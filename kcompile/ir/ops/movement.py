"""Ops that make or move elements without computing: each is a map from an output index to its source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir.graph import Graph, Value
from kcompile.ir.op import Call, Case, Draw, Op, register
from kcompile.ir.ops.elementwise import unbroadcast
from kcompile.ir.tensor import Tensor, emit, promote
from kcompile.ir.types import Batch, Dim, TensorType, axis_of, broadcast_shapes, format_shape, numel

__all__ = [
    "broadcast_to",
    "concatenate",
    "extent",
    "iota",
    "pad",
    "reshape",
    "reverse",
    "slice_",
    "transpose",
]

Index = tuple[Any, ...]
Element = Callable[[Index], Any]

# ---------------------------------------------------------------- sources

register(Op("input", "source", lambda name, type: type, lambda **_: None, origin="input"))
register(Op("variable", "source", lambda name, type: type, lambda **_: None, origin="variable"))
register(
    Op(
        "constant",
        "source",
        lambda value: TensorType(value.shape, value.dtype),
        lambda value: value.array,
        origin="constant",
    )
)
register(
    Op(
        "extent",
        "source",
        lambda dim, dtype: TensorType((), dtype),
        lambda dim, dtype: np.asarray(dim, dtype),
        lower=lambda b, call, index: b.cast(b.extent(call.attrs["dim"]), call.attrs["dtype"]),
        cases=lambda draw: Case((), {"dim": draw.choice((3, Batch(2))), "dtype": "float32"}),
        inlined=True,
        origin="size",
    )
)


def extent(graph: Graph, dim: Dim, dtype: str = "float32") -> Tensor:
    """The size of a dim as a scalar, which is how a graph learns the batch size."""
    return Tensor(graph, Value(graph.add("extent", dim=dim, dtype=dtype).id))


def _iota(shape: tuple[int, ...], axis: int, dtype: str) -> np.ndarray:
    steps = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.broadcast_to(steps, shape).astype(dtype)


register(
    Op(
        "iota",
        "source",
        lambda shape, axis, dtype: TensorType(shape, dtype),
        _iota,
        lower=lambda b, call, index: b.cast(index[call.attrs["axis"]], call.attrs["dtype"]),
        cases=lambda draw: Case(
            (),
            {
                "shape": draw.shape(2, 2),
                "axis": draw.integer(0, 1),
                "dtype": draw.choice(("int32", "float32")),
            },
        ),
        inlined=True,
        origin="index",
    )
)


def iota(graph: Graph, shape: Sequence[Dim], axis: int, dtype: str = "int32") -> Tensor:
    """Each element's position along `axis`."""
    node = graph.add("iota", shape=tuple(shape), axis=axis, dtype=dtype)
    return Tensor(graph, Value(node.id))


# ---------------------------------------------------------------- reshape


def _infer_reshape(x: TensorType, shape: tuple[Dim, ...]) -> TensorType:
    if numel(x.shape) != numel(shape):
        raise ValueError(
            f"cannot reshape {x} to {format_shape(shape)}: the number of elements "
            f"differs ({numel(x.shape)} and {numel(shape)})"
        )
    return x.with_shape(shape)


def _lower_reshape(b: Any, call: Any, index: Index, x: Element) -> Any:
    return x(b.reindex(index, call.type.shape, call.types[0].shape))


def _reshape_case(draw: Draw) -> Case:
    lead: Any = draw.choice((1, 2, Batch()))
    a, c, d = draw.integer(1, 3), draw.integer(1, 3), draw.integer(1, 4)
    before, after = (
        (lead, a * c, d),
        draw.choice(((lead, a, c, d), (lead * a, c * d), (lead * (a * c * d),), (lead, a, 1, c * d))),
    )
    pair = draw.choice(((before, after), (after, before)))
    return Case((TensorType(pair[0]),), {"shape": pair[1]})


register(
    Op(
        "reshape",
        "movement",
        _infer_reshape,
        lambda x, shape: np.reshape(x, shape),
        gradient=lambda c, g: [reshape(g, c.inputs[0].shape)],
        lower=_lower_reshape,
        cases=_reshape_case,
        linear=(0,),
        row_by_row=lambda shape: True,
        type_only=True,
        view=True,
        order_only=True,
    )
)


def reshape(x: Tensor, shape: Sequence[Dim]) -> Tensor:
    """The same elements in row-major order under another shape."""
    return x if tuple(shape) == x.shape else emit("reshape", [x], shape=tuple(shape))


# ---------------------------------------------------------------- transpose, broadcast


def _infer_transpose(x: TensorType, axes: tuple[int, ...]) -> TensorType:
    if sorted(axes) != list(range(x.rank)):
        raise ValueError(f"transpose of {x}: not a permutation of its axes: {axes}")
    return x.with_shape([x.shape[a] for a in axes])


def _lower_transpose(b: Any, call: Any, index: Index, x: Element) -> Any:
    axes = call.attrs["axes"]
    return x(tuple(index[axes.index(i)] for i in range(len(axes))))


def _transpose_case(draw: Draw) -> Case:
    shape = draw.shape(2, 4)
    axes = list(range(len(shape)))
    shift = draw.integer(0, len(axes) - 1)
    axes = axes[shift:] + axes[:shift]
    if draw.choice((True, False)):
        axes[0], axes[1] = axes[1], axes[0]
    return Case((TensorType(shape),), {"axes": tuple(axes)})


register(
    Op(
        "transpose",
        "movement",
        _infer_transpose,
        np.transpose,
        gradient=lambda c, g: [transpose(g, [c.attrs["axes"].index(i) for i in range(g.rank)])],
        lower=_lower_transpose,
        cases=_transpose_case,
        linear=(0,),
        row_by_row=lambda axes: axes[:1] == (0,),
        permutes=True,
        order_only=True,
    )
)


def transpose(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Output axis i is input axis axes[i]."""
    chosen = tuple(axes)
    return x if chosen == tuple(range(x.rank)) else emit("transpose", [x], axes=chosen)


def _infer_broadcast(x: TensorType, shape: tuple[Dim, ...]) -> TensorType:
    if broadcast_shapes(x.shape, shape) != shape:
        raise ValueError(f"cannot broadcast {x} to {format_shape(shape)}")
    return x.with_shape(shape)


def _unbroadcast(call: Call, g: Tensor) -> Sequence[Tensor | None]:
    return [unbroadcast(g, call.inputs[0])]


register(
    Op(
        "broadcast_to",
        "movement",
        _infer_broadcast,
        lambda x, shape: np.broadcast_to(x, shape),
        gradient=_unbroadcast,
        lower=lambda b, call, index, x: x(b.narrow(index, call.types[0].shape)),
        cases=lambda draw: Case(
            (TensorType((1, 3)),), {"shape": (*draw.shape(0, 1), draw.choice((2, 1)), 3)}
        ),
        linear=(0,),
        row_by_row=lambda shape: True,
        type_only=True,
        broadcasts=True,
        inlined=True,
        order_only=True,
    )
)


def broadcast_to(x: Tensor, shape: Sequence[Dim]) -> Tensor:
    """x repeated along the axes where it has size 1 (or none)."""
    return x if tuple(shape) == x.shape else emit("broadcast_to", [x], shape=tuple(shape))


def _infer_reverse(x: TensorType, axes: tuple[int, ...]) -> TensorType:
    if any(not 0 <= a < x.rank for a in axes):
        raise ValueError(f"reverse: axes {axes} are not axes of {x}")
    return x


def _lower_reverse(b: Any, call: Any, index: Index, x: Element) -> Any:
    axes, shape = call.attrs["axes"], call.types[0].shape
    return x(
        tuple(
            i * -1 + (b.extent(d) - 1) if axis in axes else i for axis, (i, d) in enumerate(zip(index, shape))
        )
    )


def _reverse_case(draw: Draw) -> Case:
    shape = draw.shape(1, 3)
    return Case(
        (TensorType(shape),), {"axes": tuple(i for i in range(len(shape)) if draw.choice((True, False)))}
    )


register(
    Op(
        "reverse",
        "movement",
        _infer_reverse,
        lambda x, axes: np.flip(x, axes),
        gradient=lambda c, g: [reverse(g, c.attrs["axes"])],
        lower=_lower_reverse,
        cases=_reverse_case,
        involution=True,
        linear=(0,),
        row_by_row=lambda axes: 0 not in axes,
        order_only=True,
    )
)


def reverse(x: Tensor, axes: Sequence[int]) -> Tensor:
    """The elements in the opposite order along each of the axes."""
    chosen = sorted({axis_of(a, x.rank) for a in axes})
    long = tuple(a for a in chosen if x.shape[a] != 1)
    return emit("reverse", [x], axes=long) if long else x


# ---------------------------------------------------------------- pad, slice, concatenate


def _infer_pad(
    x: TensorType, low: tuple[int, ...], high: tuple[int, ...], interior: tuple[int, ...], value: float
) -> TensorType:
    shape: list[Dim] = []
    for d, before, after, between in zip(x.shape, low, high, interior):
        if not isinstance(d, int):
            if before or after or between:
                raise ValueError(f"pad of {x}: the batch cannot be padded")
            shape.append(d)
        else:
            shape.append(before + d + max(d - 1, 0) * between + after)
    if len(shape) != x.rank or any(isinstance(d, int) and d < 0 for d in shape):
        raise ValueError(f"pad of {x} by {low}, {high}, {interior} is not possible")
    return x.with_shape(shape)


def _pad(
    x: np.ndarray, low: tuple[int, ...], high: tuple[int, ...], interior: tuple[int, ...], value: float
) -> np.ndarray:
    spread = [d + max(d - 1, 0) * i for d, i in zip(x.shape, interior)]
    wide = np.full([max(a, 0) + s + max(c, 0) for a, s, c in zip(low, spread, high)], value, x.dtype)
    wide[tuple(slice(max(a, 0), max(a, 0) + s, i + 1) for a, s, i in zip(low, spread, interior))] = x
    return wide[tuple(slice(max(-a, 0), d - max(-c, 0)) for a, c, d in zip(low, high, wide.shape))]


def _lower_pad(b: Any, call: Any, index: Index, x: Element) -> Any:
    low, interior, inside, at = call.attrs["low"], call.attrs["interior"], None, []
    for axis, (i, d) in enumerate(zip(index, call.types[0].shape)):
        if low[axis] or call.attrs["high"][axis] or interior[axis]:
            place, within = b.within(i - low[axis], interior[axis] + 1, d)
            inside = within if inside is None else b.logical_and(inside, within)
            at.append(place)
        else:
            at.append(i)
    fill = b.const(call.attrs["value"], call.type.dtype)
    return x(tuple(at)) if inside is None else b.guard(inside, lambda: x(tuple(at)), fill)


def _pad_gradient(call: Call, g: Tensor) -> Sequence[Tensor | None]:
    low, interior, x = call.attrs["low"], call.attrs["interior"], call.inputs[0]
    if any(v < 0 for v in (*low, *call.attrs["high"])):
        cut = pad(g, [-v for v in low], [-v for v in call.attrs["high"]])
        return [slice_(cut, [0] * g.rank, cut.shape, [i + 1 for i in interior])]
    stop = [
        d if not isinstance(d, int) else a + d + max(d - 1, 0) * i for d, a, i in zip(x.shape, low, interior)
    ]
    return [slice_(g, low, stop, [i + 1 for i in interior])]


def _pad_case(draw: Draw) -> Case:
    shape = draw.shape(1, 3)
    free = [isinstance(d, int) for d in shape]

    def some(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw.integer(low, high) if f else 0 for f in free)

    low = tuple(max(v, 0) if d == 1 else v for v, d in zip(some(-1, 2), shape))
    return Case((TensorType(shape),), {"low": low, "high": some(0, 2), "interior": some(0, 1), "value": 0.5})


register(
    Op(
        "pad",
        "movement",
        _infer_pad,
        _pad,
        gradient=_pad_gradient,
        lower=_lower_pad,
        cases=_pad_case,
        row_by_row=lambda low, high, interior, value: not any((low or (1,))[:1] + high[:1] + interior[:1]),
        order_only=True,
    )
)


def pad(
    x: Tensor,
    low: Sequence[int],
    high: Sequence[int],
    interior: Sequence[int] | None = None,
    value: float = 0.0,
) -> Tensor:
    """`low` and `high` elements of `value` around (negative: cut off), `interior` between."""
    inner = tuple(interior or [0] * x.rank)
    if not any((*low, *high, *inner)):
        return x
    return emit("pad", [x], low=tuple(low), high=tuple(high), interior=inner, value=value)


def _infer_slice(
    x: TensorType, start: tuple[int, ...], stop: tuple[Dim, ...], step: tuple[int, ...]
) -> TensorType:
    shape: list[Dim] = []
    for d, a, z, s in zip(x.shape, start, stop, step):
        if not isinstance(d, int) or not isinstance(z, int):
            if (a, z, s) != (0, d, 1):
                raise ValueError(f"slice of {x}: the batch cannot be sliced")
            shape.append(d)
        elif not (0 <= a <= z <= d and s >= 1):
            raise ValueError(f"slice of {x}: [{a}:{z}:{s}] is outside")
        else:
            shape.append(-(-(z - a) // s))
    return x.with_shape(shape)


def _slice_gradient(call: Call, g: Tensor) -> Sequence[Tensor | None]:
    low, interior, high = list(call.attrs["start"]), [s - 1 for s in call.attrs["step"]], []
    for d, a, out, i in zip(call.inputs[0].shape, low, g.shape, interior):
        used = a + out + max(out - 1, 0) * i if isinstance(out, int) else 0
        high.append(d - used if isinstance(d, int) else 0)
    return [pad(g, low, high, interior)]


def _slice_case(draw: Draw) -> Case:
    shape = draw.shape(1, 3)
    start = tuple(draw.integer(0, d - 1) if isinstance(d, int) else 0 for d in shape)
    stop = tuple(draw.integer(a + 1, d) if isinstance(d, int) else d for a, d in zip(start, shape))
    step = tuple(draw.integer(1, 3) if isinstance(d, int) else 1 for d in shape)
    return Case((TensorType(shape),), {"start": start, "stop": stop, "step": step})


register(
    Op(
        "slice",
        "movement",
        _infer_slice,
        lambda x, start, stop, step: x[tuple(map(slice, start, stop, step))],
        gradient=_slice_gradient,
        lower=lambda b, call, index, x: x(
            tuple(i * s + a for i, a, s in zip(index, call.attrs["start"], call.attrs["step"]))
        ),
        cases=_slice_case,
        linear=(0,),
        row_by_row=lambda start, stop, step: start[:1] == (0,) and step[:1] == (1,),
        order_only=True,
    )
)


def slice_(x: Tensor, start: Sequence[int], stop: Sequence[Dim], step: Sequence[int] | None = None) -> Tensor:
    """x[start:stop:step] on every axis, with positive steps."""
    steps = tuple(step or [1] * x.rank)
    if tuple(stop) == x.shape and not any(start) and set(steps) <= {1}:
        return x
    return emit("slice", [x], start=tuple(start), stop=tuple(stop), step=steps)


def _infer_concat(*types: TensorType, axis: int) -> TensorType:
    rest = {(t.shape[:axis], t.shape[axis + 1 :], t.dtype) for t in types}
    sizes = [t.shape[axis] for t in types]
    if len(rest) != 1 or any(not isinstance(s, int) for s in sizes):
        raise ValueError(
            f"concatenate along axis {axis}: shapes differ elsewhere or the axis is the "
            "batch. Received: " + ", ".join(map(str, types))
        )
    first = types[0]
    return first.with_shape(
        [*first.shape[:axis], sum(s for s in sizes if isinstance(s, int)), *first.shape[axis + 1 :]]
    )


def _lower_concat(b: Any, call: Any, index: Index, *parts: Element) -> Any:
    axis, offset, result = call.attrs["axis"], call.type.shape[call.attrs["axis"]], None
    for part, type in zip(reversed(parts), reversed(call.types)):
        end, offset = offset, offset - type.shape[axis]
        place = (*index[:axis], index[axis] - offset, *index[axis + 1 :])
        inside = b.logical_and(
            b.greater_equal(index[axis], b.const(offset, "int64")), b.less(index[axis], b.const(end, "int64"))
        )
        other = b.const(0, call.type.dtype) if result is None else result
        result = b.guard(inside, lambda part=part, place=place: part(place), other)
    return result


def _concat_gradient(call: Call, g: Tensor) -> Sequence[Tensor | None]:
    axis, at, out = call.attrs["axis"], 0, []
    for x in call.inputs:
        start = [at if i == axis else 0 for i in range(g.rank)]
        at += x.shape[axis]
        stop = [at if i == axis else d for i, d in enumerate(g.shape)]
        out.append(slice_(g, start, stop))
    return out


def _concat_case(draw: Draw) -> Case:
    shape = draw.shape(2, 3)
    axis = draw.integer(1, len(shape) - 1)
    types = tuple(
        TensorType((*shape[:axis], draw.integer(1, 5), *shape[axis + 1 :])) for _ in range(draw.integer(2, 3))
    )
    return Case(types, {"axis": axis})


register(
    Op(
        "concatenate",
        "movement",
        _infer_concat,
        lambda *xs, axis: np.concatenate(xs, axis),
        gradient=_concat_gradient,
        lower=_lower_concat,
        cases=_concat_case,
        row_by_row=lambda axis: axis != 0,
        joins=True,
        order_only=True,
    )
)


def concatenate(tensors: Sequence[Tensor], axis: int = -1) -> Tensor:
    """Tensors one after the other along `axis`, which must not be the batch."""
    parts = promote(*tensors)
    return parts[0] if len(parts) == 1 else emit("concatenate", parts, axis=axis_of(axis, parts[0].rank))

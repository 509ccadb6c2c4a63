"""What windows see, as tensors: the elements under every tap of a window that slides, and the way back.

The windows' view is [batch, positions..., taps..., channels...]; the input's view is [batch, sizes...,
taps..., channels...], where each tap has a copy of the input of its own. Position o sees, under tap t, the
element o * stride + t * dilation - padding; beyond the input are zeros. The two ops move elements between
the views, and each is the other's transpose: for a given tap no two windows see the same element. Products
and sums around them are layers that no convolution is: the locally connected ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir.op import Case, Draw, Op, register
from kcompile.ir.ops.contraction import Pads, check_windows, same_padding, window_size
from kcompile.ir.ops.movement import broadcast_to, reshape
from kcompile.ir.ops.reduction import reduce_sum
from kcompile.ir.ops.window import element_at
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import Batch, Dim, TensorType

__all__ = ["windows_added", "windows_of"]

Ints = tuple[int, ...]
Index = tuple[Any, ...]


def _positions(sizes: Sequence[Dim], taps: Ints, strides: Ints, padding: Pads, dilation: Ints) -> Ints:
    made = tuple(window_size(*args) for args in zip(sizes, taps, strides, padding, dilation))
    if any(o < 1 for o in made):
        raise ValueError(
            f"windows of {taps} taps are larger than the input of {tuple(sizes)} with padding {padding}"
        )
    check_windows(sizes, made, taps, dilation)
    return made


def _infer_to(x: TensorType, strides: Ints, padding: Pads, dilation: Ints, sizes: Ints) -> TensorType:
    rank, taps = _taps(x, {"strides": strides})
    if x.shape[1 : 1 + rank] != sizes:
        raise ValueError(f"expected an input of {sizes}. Received: {x}")
    out = _positions(sizes, taps, strides, padding, dilation)
    return x.with_shape((x.shape[0], *out, *x.shape[1 + rank :]))


def _infer_from(g: TensorType, strides: Ints, padding: Pads, dilation: Ints, sizes: Ints) -> TensorType:
    rank, taps = _taps(g, {"strides": strides})
    if g.shape[1 : 1 + rank] != _positions(sizes, taps, strides, padding, dilation):
        raise ValueError(f"expected one place for each window over {sizes}. Received: {g}")
    return g.with_shape((g.shape[0], *sizes, *g.shape[1 + rank :]))


def _overlaps(
    positions: Ints, taps: Ints, strides: Ints, padding: Pads, dilation: Ints, sizes: Ints
) -> Iterator[tuple[Index, Index]]:
    """For each combination of taps: the windows that see an element under it, and those elements."""
    for tap in np.ndindex(*taps):
        windows, seen = [], []
        for o, t, s, p, d, size in zip(positions, tap, strides, padding, dilation, sizes):
            places = np.arange(o) * s + t * d - p[0]
            low, high = np.searchsorted(places, (0, size))
            windows.append(slice(low, high))
            seen.append(
                slice(low * s + t * d - p[0], (high - 1) * s + t * d - p[0] + 1, s)
                if low < high
                else slice(0, 0)
            )
        yield (slice(None), *windows, *tap), (slice(None), *seen, *tap)


def _to(x: np.ndarray, **attrs: Any) -> np.ndarray:
    rank, taps = _taps(x, attrs)
    positions = _positions(attrs["sizes"], taps, *(attrs[k] for k in ("strides", "padding", "dilation")))
    out = np.zeros((x.shape[0], *positions, *x.shape[1 + rank :]), x.dtype)
    for windows, seen in _overlaps(positions, taps, **attrs):
        out[windows] = x[seen]
    return out


def _from(g: np.ndarray, **attrs: Any) -> np.ndarray:
    rank, taps = _taps(g, attrs)
    out = np.zeros((g.shape[0], *attrs["sizes"], *g.shape[1 + rank :]), g.dtype)
    for windows, seen in _overlaps(g.shape[1 : 1 + rank], taps, **attrs):
        out[seen] = g[windows]
    return out


def _taps(x: Any, attrs: Mapping[str, Any]) -> tuple[int, Ints]:
    """The number of spatial axes, and of taps along each."""
    rank = len(attrs["strides"])
    return rank, x.shape[1 + rank : 1 + 2 * rank]


def _lower(back: bool) -> Any:
    def lower(b: Any, call: Any, index: Any, x: Any) -> Any:
        """The element that the index names in the other view, or zero where there is none."""
        attrs, rank = call.attrs, len(call.attrs["strides"])
        places: list[tuple[Any, int, bool]] = []
        for i in range(rank):
            stride, (before, after), dilation = (attrs[k][i] for k in ("strides", "padding", "dilation"))
            at, reach = index[1 + i], index[1 + rank + i] * dilation
            if back:
                places.append((at + before - reach, stride, True))
            else:
                places.append((at * stride + reach - before, 1, bool(before or after)))
        sizes = call.types[0].shape[1 : 1 + rank]
        zero = b.const(0, call.type.dtype)
        return element_at(b, x, sizes, (index[0], *index[1 + rank :]), places, zero)

    return lower


def _case(draw: Draw) -> Case:
    rank = draw.size("rank")
    taps = tuple(draw.size("kernel", {1: 13, 2: 5, 3: 3}[rank]) for _ in range(rank))
    strides = tuple(draw.size("stride") for _ in range(rank))
    dilation = tuple(1 if s > 1 else draw.choice((1, draw.size("dilation"))) for s in strides)
    extents = tuple((t - 1) * d + 1 for t, d in zip(taps, dilation))
    same = draw.choice((True, False))
    sizes = tuple(
        draw.size("size", 12 // rank) if same else e + draw.size("size", 12 // rank) - 1 for e in extents
    )
    padding = tuple(same_padding(*a) if same else (0, 0) for a in zip(sizes, taps, strides, dilation))
    batch = draw.choice((Batch(), 2))
    channels = draw.size("channels", 2000 // math.prod((*sizes, *taps)) + 1)
    x = TensorType((batch, *sizes, *taps, channels))
    return Case((x,), {"strides": strides, "padding": padding, "dilation": dilation, "sizes": sizes})


def _back_case(draw: Draw) -> Case:
    case = _case(draw)
    attrs: Any = case.attrs
    return Case((_infer_to(case.types[0], **attrs),), attrs)


def _moved(name: str) -> Any:
    return lambda call, g: [emit(name, [g], **call.attrs)]


register(
    Op(
        "to_windows",
        "movement",
        _infer_to,
        _to,
        gradient=_moved("from_windows"),
        lower=_lower(False),
        cases=_case,
        linear=(0,),
        row_by_row=lambda **_: True,
    )
)
register(
    Op(
        "from_windows",
        "movement",
        _infer_from,
        _from,
        gradient=_moved("to_windows"),
        lower=_lower(True),
        cases=_back_case,
        linear=(0,),
        row_by_row=lambda **_: True,
    )
)


def windows_of(
    x: Tensor, taps: Sequence[int], strides: Sequence[int], padding: Pads, dilation: Sequence[int]
) -> Tensor:
    """x [batch, sizes..., channels] as [batch, positions..., taps..., channels]: what each window sees."""
    rank, batch, channels = len(strides), x.shape[0], x.shape[-1]
    sizes = x.shape[1:-1]
    copies = reshape(x, (batch, *sizes, *(1,) * rank, channels))
    return emit(
        "to_windows",
        [broadcast_to(copies, (batch, *sizes, *taps, channels))],
        strides=tuple(strides),
        padding=tuple(padding),
        dilation=tuple(dilation),
        sizes=sizes,
    )


def windows_added(
    x: Tensor, sizes: Sequence[int], strides: Sequence[int], padding: Pads, dilation: Sequence[int]
) -> Tensor:
    """The way back: x [batch, positions..., taps..., channels] added up where windows overlap, [batch,
    sizes..., channels]. Raises ValueError where the windows do not fit the sizes."""
    rank = len(strides)
    made = emit(
        "from_windows",
        [x],
        strides=tuple(strides),
        padding=tuple(padding),
        dilation=tuple(dilation),
        sizes=tuple(sizes),
    )
    return reduce_sum(made, list(range(1 + rank, 1 + 2 * rank)))

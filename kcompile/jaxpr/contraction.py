"""Primitives of JAX that are products: matrix products of every form, and convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS, Dim
from kcompile.jaxpr.replay import Equation, rule

Pads = tuple[tuple[int, int], ...]


@rule("dot_general")
def _dot_general(e: Equation, x: Any, y: Any) -> Tensor:
    """Sums over pairs of axes, for each entry of axes that both have."""
    (of_x, of_y), (each_x, each_y) = e["dimension_numbers"]
    x, y = e.tensors(x, y)
    a, b = _as_floats(e, x, y)
    made = ops.dot_general(a, b, (of_x, of_y), (each_x, each_y))
    return ops.cast(made, e.type.dtype)


def _as_floats(e: Equation, *operands: Tensor) -> list[Tensor]:
    """Integers are multiplied as float64, which holds them."""
    dtype = e.type.dtype if e.type.dtype in FLOATS else "float64"
    return [ops.cast(x, dtype) for x in operands]


# ---------------------------------------------------------------- convolution


def _known(sizes: Sequence[Dim]) -> list[int]:
    return [size for size in sizes if isinstance(size, int)]


@rule("conv_general_dilated")
def _conv(e: Equation, x: Any, w: Any) -> Tensor:
    """Any layout: it is brought to ours, [batch, spatial..., channels] and [spatial..., in, out]."""
    x, w = _as_floats(e, *e.tensors(x, w))
    in_x, in_w, in_y = e["dimension_numbers"]  # of each: batch, channels, spatial...; out, in, spatial...
    x = ops.transpose(x, [in_x[0], *in_x[2:], in_x[1]])
    w = ops.transpose(w, [*in_w[2:], in_w[1], in_w[0]])
    strides, dilation, between = (tuple(e[k]) for k in ("window_strides", "rhs_dilation", "lhs_dilation"))
    padding: Pads = tuple((int(a), int(b)) for a, b in e["padding"])
    groups = int(e["feature_group_count"])
    if e["batch_group_count"] != 1:
        x, groups = _samples_as_channels(e, x), int(e["batch_group_count"])
    made = None
    if max(between) > 1 and groups == 1 and set(strides) == {1}:
        made = _transposed(x, w, e, between, padding, dilation)
    if made is None:
        x, padding = _spread(x, between, padding)
        made = ops.conv(x, w, strides, padding, dilation, groups)
    there = [in_y[0], *in_y[2:], in_y[1]]
    return ops.cast(ops.transpose(made, [there.index(i) for i in range(made.rank)]), e.type.dtype)


def _samples_as_channels(e: Equation, x: Tensor) -> Tensor:
    """Groups of samples, each of which meets kernels of its own, as groups of channels: the same sums, as the
    gradient of a convolution of groups has them."""
    groups, samples = int(e["batch_group_count"]), x.shape[0]
    if not isinstance(samples, int) or e["feature_group_count"] != 1:
        raise e.refuse("groups of a number of samples that is not known, or of samples and channels at once")
    x = ops.reshape(x, (groups, samples // groups, *x.shape[1:]))
    x = ops.transpose(x, [*range(1, x.rank - 1), 0, x.rank - 1])
    return ops.reshape(x, (*x.shape[:-2], groups * _known(x.shape)[-1]))


def _spread(x: Tensor, between: Sequence[int], padding: Pads) -> tuple[Tensor, Pads]:
    """x with zeros between its elements, cut where padding is negative; and the padding that is left."""
    low, high = ([min(p[side], 0) for p in padding] for side in (0, 1))
    x = ops.pad(x, [0, *low, 0], [0, *high, 0], [0, *(b - 1 for b in between), 0])
    return x, tuple((max(a, 0), max(b, 0)) for a, b in padding)


def _transposed(
    x: Tensor, w: Tensor, e: Equation, between: Sequence[int], padding: Pads, dilation: Sequence[int]
) -> Tensor | None:
    """A convolution over an input with zeros between its elements is the transpose of one with these strides,
    with the kernel turned round. None where its padding would be negative."""
    taps, rank = _known(w.shape[:-2]), x.rank - 2
    _, _, *spatial = e["dimension_numbers"][2]
    sizes = [e.type.shape[i] for i in spatial]
    pads = []
    for size, given, t, s, d, (low, _) in zip(sizes, x.shape[1:-1], taps, between, dilation, padding):
        assert isinstance(size, int) and isinstance(given, int)
        before = (t - 1) * d - low
        pads.append((before, (given - 1) * s + (t - 1) * d + 1 - size - before))
    if min(p for pair in pads for p in pair) < 0:
        return None
    turned = [axis for axis in range(rank) if taps[axis] > 1]
    kernel = ops.reverse(w, turned) if prod(taps) > 1 else w
    kernel = ops.transpose(kernel, [*range(rank), rank + 1, rank])
    return ops.conv_transpose(x, kernel, tuple(sizes), between, tuple(pads), dilation)

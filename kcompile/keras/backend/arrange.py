"""Shapes: what a tensor's is, other shapes for the same elements, and elements in other places.

Shapes may hold the batch: as K.shape(x)[0], or x.shape[0] inside a layer, and -1 for one size that
follows from the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.ir.types import Batch, Dim, axis_of, numel
from kcompile.keras.operands import axes_of, graph, known, pair, sizes, tensor, traced
from kcompile.keras.settings import checked_data_format, dtype_of, fixed_samples, floatx, meaning
from kcompile.keras.spatial import enlarged, repeated
from kcompile_runtime.errors import UnsupportedError

# ---------------------------------------------------------------- what a shape is


def shape(x: Any) -> Any:
    """The sizes of x; the batch is a symbolic number, which shapes, arithmetic and K.cast take. Outside a
    layer, of a tensor of a model whose sizes the data say: a tensor of them."""
    if getattr(x, "unknown_axes", ()):
        return _sizes_of(x)
    return tuple(
        x.type.shape
        if hasattr(x, "type")
        else np.shape(x)
        if isinstance(x, (list, int, float, np.ndarray))
        else x.shape
    )


@traced
def _sizes_of(x: Any) -> Any:
    return tensor(list(tensor(x).type.shape), "int32")


@traced
def size(x: Any, name: str | None = None) -> Any:
    """The number of elements, a scalar."""
    x = tensor(x)
    return as_tensor(x.graph, x.type.numel, "int32")


def int_shape(x: Any) -> tuple[int | None, ...]:
    """The sizes of x, None standing for the batch."""
    return tuple(
        None if isinstance(d, Batch) else d
        for d in (x.shape if not isinstance(x, (list, int, float)) else np.shape(x))
    )


def ndim(x: Any) -> int:
    """The number of axes."""
    return len(int_shape(x))


def dtype(x: Any) -> str:
    """The dtype's name."""
    return str(x.dtype)


def count_params(x: Any) -> int:
    """The number of elements of a variable."""
    return prod(x.shape)


def target_shape(x: Tensor, wanted: Any) -> tuple[Dim, ...]:
    """The wanted shape with -1 worked out. Raises ValueError."""
    given = [d if isinstance(d, Batch) else int(d) for d in wanted]
    total, samples = x.type.numel, fixed_samples()
    if samples and isinstance(total, Batch) and not any(isinstance(d, Batch) for d in given):
        given = _in_samples(x, [int(d) for d in given], total.multiple * samples, samples)
    if -1 not in given:
        return tuple(given)
    missing = _quotient(x.type.numel, numel([d for d in given if d != -1]))
    if not missing or given.count(-1) > 1:
        raise ValueError(f"reshape: {x.type} cannot take the shape {tuple(wanted)}")
    return tuple(missing if d == -1 else d for d in given)


def _in_samples(x: Tensor, wanted: list[int], total: int, samples: int) -> list[Dim]:
    """A shape of so many elements in all, that says the number of samples, as one of any number: of the axes
    that hold whole samples that in the place of x's, or the first."""
    rest = prod(d for d in wanted if d != -1)
    sizes = [total // rest if d == -1 and rest > 0 else d for d in wanted]
    made: list[Dim] = [*wanted]
    if prod(sizes) == total and wanted.count(-1) < 2:
        before = prod(itertools.takewhile(lambda d: not isinstance(d, Batch), x.shape))
        whole = [k for k, d in enumerate(sizes) if d % samples == 0]
        for k in sorted(whole, key=lambda k: prod(sizes[:k]) != before)[:1]:
            made = [*sizes]
            made[k] = Batch(sizes[k] // samples)
    return made


def _quotient(total: Dim, known: Dim) -> Dim:
    """total / known, 0 where that is no size."""
    if isinstance(known, Batch):
        whole = total.multiple if isinstance(total, Batch) else 0
        return 0 if whole % known.multiple else whole // known.multiple
    number = total.multiple if isinstance(total, Batch) else total
    return total // known if known and number % known == 0 else 0


# ---------------------------------------------------------------- the same elements


@traced
def reshape(x: Any, shape: Sequence[Any]) -> Any:
    """The elements in another shape, in the same order."""
    x = tensor(x)
    return ops.reshape(x, target_shape(x, shape))


@traced
def permute_dimensions(x: Any, pattern: Sequence[int]) -> Any:
    """Axis i of the result is axis pattern[i] of x."""
    x = tensor(x)
    return ops.transpose(x, axes_of(x, pattern))


@traced
def transpose(x: Any) -> Any:
    """The axes in the opposite order."""
    x = tensor(x)
    return ops.transpose(x, range(x.rank)[::-1])


@traced
def expand_dims(x: Any, axis: int = -1) -> Any:
    """A new axis of size 1 at that place."""
    x = tensor(x)
    place = axis_of(axis, x.rank + 1)
    return ops.reshape(x, (*x.shape[:place], 1, *x.shape[place:]))


@traced
def squeeze(x: Any, axis: int) -> Any:
    """Without an axis of size 1."""
    x = tensor(x)
    (place,) = axes_of(x, axis)
    if x.shape[place] != 1:
        raise ValueError(f"squeeze: axis {axis} of {x.type} is not of size 1")
    return ops.reshape(x, (*x.shape[:place], *x.shape[place + 1 :]))


@traced
def flatten(x: Any) -> Any:
    """All elements on one axis."""
    x = tensor(x)
    return ops.reshape(x, (x.type.numel,))


@traced
def batch_flatten(x: Any) -> Any:
    """[batch, elements of a sample]."""
    x = tensor(x)
    return ops.reshape(x, (x.shape[0], numel(x.shape[1:])))


@traced
def slice(x: Any, start: Sequence[int], size: Sequence[Any]) -> Any:
    """`size` elements from `start` on each axis; a size of -1 is what remains."""
    x = tensor(x)
    start, size = sizes(start), sizes(size)
    stop = [d if isinstance(s, Batch) or s == -1 else a + s for a, s, d in zip(start, size, x.shape)]
    return ops.slice_(x, list(start), stop)


# ---------------------------------------------------------------- several tensors


def _alike(tensors: Sequence[Any]) -> list[Tensor]:
    made = [tensor(x) for x in tensors]
    kinds = {x.dtype for x in made}
    return made if len(kinds) == 1 else [ops.cast(x, floatx()) for x in made]


def concatenate(tensors: Sequence[Any], axis: int = -1) -> Any:
    """Tensors one after the other along `axis`, which must not be the batch. It is sparse (see
    `K.is_sparse`) where all of them are."""
    made = _concatenate(tensors, axis)
    if all(getattr(x, "sparse", False) for x in tensors) and not isinstance(made, Tensor):
        made.sparse = True
    return made


@traced
def _concatenate(tensors: Sequence[Any], axis: int) -> Any:
    return ops.concatenate(_alike(tensors), axis)


@traced
def stack(x: Sequence[Any], axis: int = 0) -> Any:
    """Tensors of one shape as one, along a new axis. A list of numbers and batch sizes makes a
    vector."""
    parts = _alike(x)
    place = axis_of(axis, parts[0].rank + 1)
    widened = [ops.reshape(p, (*p.shape[:place], 1, *p.shape[place:])) for p in parts]
    return ops.concatenate(widened, place)


# ---------------------------------------------------------------- repeated elements


@traced
def repeat_elements(x: Any, rep: int, axis: int) -> Any:
    """Each element `rep` times in a row along `axis`."""
    x = tensor(x)
    return repeated(x, [rep if i == axis_of(axis, x.rank) else 1 for i in range(x.rank)], True)


@traced
def repeat(x: Any, n: int) -> Any:
    """[batch, d] as [batch, n, d]."""
    x = tensor(x)
    if x.rank != 2:
        raise ValueError(f"repeat: expected a tensor of rank 2. Received: {x.type}")
    if not (isinstance(n, (int, np.integer)) and n > 0):
        raise ValueError(f"repeat: expected a positive integer. Received: {n!r}")
    return ops.broadcast_to(ops.reshape(x, (x.shape[0], 1, x.shape[1])), (x.shape[0], n, x.shape[1]))


@traced
def tile(x: Any, n: Any) -> Any:
    """The whole tensor n[i] times along axis i; the number of samples is one that an n may be."""
    x, n = tensor(x), sizes(known(n))
    counts = [n] if isinstance(n, int) else list(n)
    if len(counts) != x.rank or not all(
        isinstance(c, Batch) or (isinstance(c, int) and c > 0) for c in counts
    ):
        raise ValueError(f"tile: expected {x.rank} positive numbers. Received: {n}")
    return repeated(x, counts, False)


def _spatial_axes(rank: int, data_format: str | None) -> range:
    first = 1 if checked_data_format(data_format) == "channels_last" else 2
    return range(first, first + rank)


def _resize(x: Any, factors: Sequence[int], data_format: str | None) -> Tensor:
    x = tensor(x)
    axes = _spatial_axes(len(factors), data_format)
    return repeated(x, [factors[axes.index(i)] if i in axes else 1 for i in range(x.rank)], True)


@traced
def resize_images(
    x: Any,
    height_factor: int,
    width_factor: int,
    data_format: str | None = None,
    interpolation: str = "nearest",
    middles: bool = False,
) -> Any:
    """Images larger by whole factors: each pixel repeated ('nearest'), or from one to the next in a line
    ('bilinear'). middles: whether that matches the middles of pixels, as since tf.keras, or first corners."""
    if interpolation == "nearest":
        return _resize(x, (height_factor, width_factor), data_format)
    if interpolation != "bilinear":
        raise ValueError(
            f"resize_images: expected interpolation='nearest' or 'bilinear'. Received: {interpolation!r}"
        )
    x = tensor(x)
    for axis, factor in zip(_spatial_axes(2, data_format), (height_factor, width_factor)):
        x = enlarged(x, axis, int(factor), middles)
    return x


@traced
def resize_volumes(
    x: Any, depth_factor: int, height_factor: int, width_factor: int, data_format: str | None = None
) -> Any:
    """Volumes larger by whole factors, each element repeated."""
    return _resize(x, (depth_factor, height_factor, width_factor), data_format)


# ---------------------------------------------------------------- padding and picking


def _padded(x: Any, padding: Sequence[Sequence[int]], axes: Sequence[int]) -> Tensor:
    x = tensor(x)
    low, high = [0] * x.rank, [0] * x.rank
    for axis, (before, after) in zip(axes, sizes(padding)):
        low[axis], high[axis] = before, after
    return ops.pad(x, low, high)


@traced
def temporal_padding(x: Any, padding: Sequence[int] = (1, 1)) -> Any:
    """[batch, steps, d] with zeros before and after the steps."""
    return _padded(x, [padding], [1])


@traced
def spatial_2d_padding(x: Any, padding: Any = ((1, 1), (1, 1)), data_format: str | None = None) -> Any:
    """Images with rows and columns of zeros around."""
    return _padded(x, padding, _spatial_axes(2, data_format))


@traced
def spatial_3d_padding(
    x: Any, padding: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None
) -> Any:
    """Volumes with zeros around."""
    return _padded(x, padding, _spatial_axes(3, data_format))


@traced
def gather(reference: Any, indices: Any) -> Any:
    """Rows of `reference` [rows, ...] by number. Raises, when it runs, for a number that names none."""
    return ops.gather(tensor(reference), ops.cast(tensor(indices), "int32"))


@traced
def reverse(x: Any, axes: Any) -> Any:
    """The elements in the opposite order along the axes."""
    x = tensor(x)
    return ops.reverse(x, axes_of(x, axes))


@traced
def arange(start: Any, stop: Any = None, step: int = 1, dtype: str = "int32") -> Any:
    """start, start + step, ... below stop (0 up to the one number given); stop may be a batch size."""
    start, stop, step = map(known, (start, stop, step))
    low, high = (0, start) if stop is None else (start, stop)
    if any(isinstance(v, Tensor) or hasattr(v, "__tensor__") for v in (low, high, step)):
        raise UnsupportedError(
            "arange: expected numbers, or a batch size of K.shape, as sizes of results "
            "are known when a model is compiled. Received: a tensor"
        )
    if isinstance(high, Batch):
        if low != 0 or step != 1:
            raise ValueError("arange: up to a batch size it goes from 0, by 1")
        return ops.iota(graph(), (high,), 0, dtype_of(dtype))
    return ops.constant(graph(), np.arange(low, high, step), dtype_of(dtype))


# ---------------------------------------------------------------- filled


def filled(value: float, shape: Sequence[Any], dtype: str) -> Tensor:
    return ops.broadcast_to(ops.constant(graph(), value, dtype), tuple(sizes(shape)))


@traced
def zeros_like(x: Any, dtype: str | None = None, name: str | None = None) -> Any:
    """Zeros in the shape of x."""
    x = tensor(x)
    return filled(0, x.shape, dtype_of(dtype or _dtype_like(x)))


@traced
def ones_like(x: Any, dtype: str | None = None, name: str | None = None) -> Any:
    """Ones in the shape of x."""
    x = tensor(x)
    return filled(1, x.shape, dtype_of(dtype or _dtype_like(x)))


def _dtype_like(x: Tensor) -> str:
    """The dtype of what is made like x."""
    return x.dtype if meaning().likes == "of x" else floatx()


@traced
def bias_add(x: Any, bias: Any, data_format: str | None = None) -> Any:
    """x plus a bias: a vector of the channels, or of the shape of a sample."""
    x, bias = pair(x, bias)
    bias = tensor(bias)
    if bias.rank not in (1, x.rank - 1):
        raise ValueError(f"bias_add: expected a bias of rank 1 or {x.rank - 1}. Received: {bias.type}")
    if checked_data_format(data_format) == "channels_first" and x.rank > 2:
        # The channels of a larger bias are its last axis, and Keras reshapes it, without moving elements
        bias = ops.reshape(bias, (bias.shape[-1], *bias.shape[:-1], *(1,) * (x.rank - 1 - bias.rank)))
    return x + bias

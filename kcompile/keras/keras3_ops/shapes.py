"""keras.ops that make arrays, give them other shapes, join, cut, repeat and pad them."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.ir.types import Batch, axis_of
from kcompile.keras.backend.arrange import target_shape
from kcompile.keras.keras3_ops.calls import alike, alike_everywhere, operation, reals, to
from kcompile.keras.keras3_ops.elementwise import dtype_of
from kcompile.keras.operands import axes_of, graph, sizes, tensor
from kcompile.keras.spatial import repeated
from kcompile_runtime.errors import UnsupportedError, describe


def listed(value: Any) -> list[Any]:
    """Sizes, or one size, as a list."""
    value = sizes(value)
    return list(value) if isinstance(value, (list, tuple)) else [value]


# ---------------------------------------------------------------- made


def _filled(shape: Any, value: Any, dtype: Any) -> Tensor:
    return ops.broadcast_to(tensor(value, dtype_of(dtype)), tuple(listed(shape)))


@operation
def zeros(shape: Any, dtype: Any = None) -> Any:
    """Zeros."""
    return _filled(shape, 0, dtype)


@operation
def ones(shape: Any, dtype: Any = None) -> Any:
    """Ones."""
    return _filled(shape, 1, dtype)


@operation
def empty(shape: Any, dtype: Any = None) -> Any:
    """An array of any values: zeros."""
    return _filled(shape, 0, dtype)


@operation
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """One value everywhere."""
    return ops.broadcast_to(to(tensor(fill_value), dtype_of(dtype)), tuple(listed(shape)))


def _like(x: Any, value: Any, dtype: Any) -> Tensor:
    x = tensor(x)
    kind = x.dtype if dtype is None else dtype_of(dtype)
    return ops.broadcast_to(to(tensor(value), kind), x.shape)


@operation
def zeros_like(x: Any, dtype: Any = None) -> Any:
    """Zeros in the shape of x."""
    return _like(x, 0, dtype)


@operation
def ones_like(x: Any, dtype: Any = None) -> Any:
    """Ones in the shape of x."""
    return _like(x, 1, dtype)


@operation
def empty_like(x: Any, dtype: Any = None) -> Any:
    """An array of any values in the shape of x: zeros."""
    return _like(x, 0, dtype)


@operation
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    """One value in the shape of x."""
    return _like(x, fill_value, dtype)


@operation
def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """Ones on a diagonal of a matrix of zeros."""
    return tensor(np.eye(N, M, k), dtype_of(dtype))


@operation
def identity(n: int, dtype: Any = None) -> Any:
    """Ones on the diagonal of a matrix of zeros."""
    return tensor(np.eye(n), dtype_of(dtype))


@operation
def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """Ones on and below a diagonal of a matrix of zeros."""
    return tensor(np.tri(N, M, k), dtype_of(dtype))


@operation
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Any:
    """start, start + step, ... below stop (0 up to the one number given)."""
    low, high = (0, start) if stop is None else (start, stop)
    if any(hasattr(v, "__tensor__") or isinstance(v, Tensor) for v in (low, high, step)):
        raise UnsupportedError("ops.arange up to a tensor: sizes are known when a model is compiled")
    if isinstance(high, Batch):
        if low != 0 or step not in (None, 1):
            raise ValueError("arange: up to the batch it goes from 0, by 1")
        return ops.iota(graph(), (high,), 0, "int32" if dtype is None else dtype_of(dtype))
    made = np.arange(low, high, 1 if step is None else step)
    kind = "int32" if made.dtype.kind in "iu" else "float32"
    return tensor(made, kind if dtype is None else dtype_of(dtype))


def _steps(num: int, endpoint: bool) -> np.ndarray:
    return np.arange(num) / builtins.max(num - 1 if endpoint else num, 1)


def _between(start: Any, stop: Any, num: int, endpoint: bool, dtype: Any, axis: int) -> Tensor:
    low, high = reals(start, stop)
    low, high = (ops.broadcast_to(x, (low - high).shape) for x in (low, high))
    place = axis_of(axis, low.rank + 1)
    at = tensor(_steps(num, endpoint), low.dtype)
    at = ops.reshape(at, [num if i == place else 1 for i in range(low.rank + 1)])
    low, high = (ops.reshape(x, (*x.shape[:place], 1, *x.shape[place:])) for x in (low, high))
    return low * (1.0 - at) + high * at


@operation
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """`num` numbers at equal distances from start to stop. retstep: and the distance."""
    made = _between(start, stop, num, endpoint, dtype, axis)
    made = made if dtype is None else to(made, dtype_of(dtype))
    if not retstep:
        return made
    low, high = reals(start, stop)
    return made, (high - low) / float(num - 1 if endpoint else num)


@operation
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Powers of the base, whose exponents are at equal distances."""
    made = ops.exp(_between(start, stop, num, endpoint, dtype, axis) * math.log(base))
    return made if dtype is None else to(made, dtype_of(dtype))


@operation
def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Any:
    """Numbers from start to stop, each the same multiple of the one before. Both have one sign."""
    low, high = reals(start, stop)
    made = ops.exp(_between(ops.log(ops.abs(low)), ops.log(ops.abs(high)), num, endpoint, dtype, axis))
    signs = ops.broadcast_to(ops.sign(low), (low - high).shape)
    place = axis_of(axis, signs.rank + 1)
    made = made * ops.reshape(signs, (*signs.shape[:place], 1, *signs.shape[place:]))
    return made if dtype is None else to(made, dtype_of(dtype))


@operation
def array(x: Any, dtype: Any = None) -> Any:
    """x as an array."""
    return converted(x, dtype)


@operation
def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None, ragged: Any = None) -> Any:
    """x as an array, or the tensor that it is."""
    if sparse or ragged:
        raise UnsupportedError("ops.convert_to_tensor: sparse and ragged arrays are not supported")
    return converted(x, dtype)


def converted(x: Any, dtype: Any) -> Tensor:
    """A tensor, a value, or a list of them, as one tensor of this dtype (None: its own)."""
    if isinstance(x, (list, tuple)) and any(hasattr(v, "__tensor__") or isinstance(v, Tensor) for v in x):
        x = joined([ops.reshape(t, (1, *t.shape)) for t in alike(*x)], 0)
    return tensor(x) if dtype is None else to(tensor(x), dtype_of(dtype))


@operation
def copy(x: Any) -> Any:
    """x, as another tensor."""
    return tensor(x)


@operation
def stop_gradient(variable: Any) -> Any:
    """x, through which no gradient flows."""
    return ops.stop_gradient(tensor(variable))


def _window(name: str, values: Any, doc: str) -> Any:
    def apply(x: int) -> Any:
        return tensor(values(int(x)), "float32")

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return operation(apply)


bartlett = _window("bartlett", np.bartlett, "Bartlett's window of so many numbers.")
blackman = _window("blackman", np.blackman, "Blackman's window of so many numbers.")
hamming = _window("hamming", np.hamming, "Hamming's window of so many numbers.")
hanning = _window("hanning", np.hanning, "Von Hann's window of so many numbers.")


@operation
def kaiser(x: int, beta: float) -> Any:
    """Kaiser's window of so many numbers."""
    return tensor(np.kaiser(int(x), float(beta)), "float32")


# ---------------------------------------------------------------- other shapes


@operation
def reshape(x: Any, newshape: Any) -> Any:
    """The elements in another shape, where -1 (or None) follows from the others."""
    x = tensor(x)
    wanted = [-1 if d is None else d for d in listed(newshape)]
    if wanted and wanted[0] == -1 and isinstance(x.type.numel, Batch) and wanted.count(-1) == 2:
        wanted[0] = x.shape[0]
    return ops.reshape(x, target_shape(x, wanted))


@operation
def ravel(x: Any) -> Any:
    """All elements on one axis."""
    x = tensor(x)
    return ops.reshape(x, (x.type.numel,))


@operation
def transpose(x: Any, axes: Any = None) -> Any:
    """Axis i of the result is axis axes[i] of x; by default in the opposite order."""
    x = tensor(x)
    return ops.transpose(x, range(x.rank)[::-1] if axes is None else axes_of(x, list(axes)))


@operation
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes in each other's place."""
    x = tensor(x)
    order = list(range(x.rank))
    a, b = axis_of(axis1, x.rank), axis_of(axis2, x.rank)
    order[a], order[b] = b, a
    return ops.transpose(x, order)


@operation
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Axes at other places, the others in their order."""
    x = tensor(x)
    from_, to_ = axes_of(x, listed(source)), axes_of(x, listed(destination))
    order = [i for i in range(x.rank) if i not in from_]
    for place, axis in sorted(zip(to_, from_)):
        order.insert(place, axis)
    return ops.transpose(x, order)


@operation
def expand_dims(x: Any, axis: Any) -> Any:
    """New axes of size 1 at these places of the result."""
    x, given = tensor(x), listed(axis)
    new = {axis_of(a, x.rank + len(given)) for a in given}
    left = iter(x.shape)
    return ops.reshape(x, [1 if i in new else next(left) for i in range(x.rank + len(given))])


@operation
def squeeze(x: Any, axis: Any = None) -> Any:
    """Without axes of size 1."""
    x = tensor(x)
    gone = [i for i, d in enumerate(x.shape) if d == 1] if axis is None else axes_of(x, listed(axis))
    if any(x.shape[i] != 1 for i in gone):
        raise ValueError(f"squeeze: axis {axis} of {x.type} is not of size 1")
    return ops.reshape(x, [d for i, d in enumerate(x.shape) if i not in gone])


@operation
def broadcast_to(x: Any, shape: Any) -> Any:
    """x as often as the shape says."""
    return ops.broadcast_to(tensor(x), tuple(listed(shape)))


@operation
def view(x: Any, dtype: Any = None) -> Any:
    """x; its bytes in another dtype are not supported."""
    x = tensor(x)
    if dtype is not None and dtype_of(dtype) != x.dtype:
        raise UnsupportedError(
            "ops.view: the bytes of an array in another dtype are not supported. Use ops.cast"
        )
    return x


def shape(x: Any) -> Any:
    """The sizes of x; the batch is None of a tensor of a model, in a layer a symbolic number."""
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


@operation
def size(x: Any) -> Any:
    """The number of elements."""
    x = tensor(x)
    return as_tensor(x.graph, x.type.numel, "int32")


@operation
def ndim(x: Any) -> Any:
    """The number of axes."""
    return tensor(tensor(x).rank)


# ---------------------------------------------------------------- joined and cut


def joined(parts: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors one after the other along an axis; one alone as it is."""
    return parts[0] if len(parts) == 1 else ops.concatenate(list(parts), axis)


@operation
def concatenate(xs: Any, axis: int = 0) -> Any:
    """Tensors one after the other along an axis, which must not be the batch."""
    parts = alike(*xs)
    return joined(parts, axis_of(axis, parts[0].rank))


@operation
def append(x1: Any, x2: Any, axis: int | None = None) -> Any:
    """x2 behind x1 along an axis; without one, both as vectors."""
    parts = alike(x1, x2)
    if axis is None:
        parts, axis = [ops.reshape(p, (p.type.numel,)) for p in parts], 0
    return joined(parts, axis_of(axis, parts[0].rank))


@operation
def stack(x: Any, axis: int = 0) -> Any:
    """Tensors of one shape as one, along a new axis."""
    parts = alike(*x)
    place = axis_of(axis, parts[0].rank + 1)
    return joined([ops.reshape(p, (*p.shape[:place], 1, *p.shape[place:])) for p in parts], place)


def _at_least(x: Tensor, rank: int) -> Tensor:
    shape = x.shape
    if rank == 3 and x.rank < 3:
        return ops.reshape(x, {0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}[x.rank])
    return ops.reshape(x, (*(1,) * (rank - x.rank), *shape))


@operation
def hstack(xs: Any) -> Any:
    """Tensors side by side: along the second axis, vectors along their only one."""
    parts = [_at_least(p, 1) for p in alike(*xs)]
    return joined(parts, 0 if parts[0].rank == 1 else 1)


@operation
def vstack(xs: Any) -> Any:
    """Tensors below each other: along the first axis, of matrices at least."""
    return joined([_at_least(p, 2) for p in alike(*xs)], 0)


@operation
def dstack(xs: Any) -> Any:
    """Tensors behind each other: along the third axis."""
    return joined([_at_least(p, 3) for p in alike(*xs)], 2)


def _cut(x: Tensor, parts: Any, axis: int, even: bool) -> list[Tensor]:
    place = axis_of(axis, x.rank)
    size = x.shape[place]
    parts = sizes(parts)
    if isinstance(size, Batch):
        raise ValueError("a batch is not cut")
    if isinstance(parts, int):
        if parts < 1 or (even and size % parts):
            raise ValueError(f"split: {parts} equal parts of axis {axis} of {x.type}")
        big, more = divmod(size, parts)
        ends = np.cumsum([big + (i < more) for i in range(parts)]).tolist()
    else:
        ends = [*(builtins.max(0, p + size) if p < 0 else builtins.min(p, size) for p in parts), size]
    return [ops.part_of(x, place, a, b) for a, b in zip([0, *ends[:-1]], ends)]


@operation
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Equal parts, or parts that end at these places."""
    return _cut(tensor(x), indices_or_sections, axis, True)


@operation
def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Parts that are as equal as they can be."""
    return _cut(tensor(x), indices_or_sections, axis, False)


@operation
def hsplit(x: Any, indices_or_sections: Any) -> Any:
    """Parts along the second axis, of a vector along its only one."""
    x = tensor(x)
    return _cut(x, indices_or_sections, 0 if x.rank == 1 else 1, True)


@operation
def vsplit(x: Any, indices_or_sections: Any) -> Any:
    """Parts along the first axis."""
    return _cut(tensor(x), indices_or_sections, 0, True)


@operation
def dsplit(x: Any, indices_or_sections: Any) -> Any:
    """Parts along the third axis."""
    return _cut(tensor(x), indices_or_sections, 2, True)


@operation
def unstack(x: Any, num: int | None = None, axis: int = 0) -> Any:
    """The parts of size 1 along an axis, without it."""
    x = tensor(x)
    place = axis_of(axis, x.rank)
    count = x.shape[place]
    if isinstance(count, Batch) or num not in (None, count):
        raise ValueError(
            f"unstack: axis {axis} of {x.type} is not of {'a known size' if num is None else num}"
        )
    rest = [d for i, d in enumerate(x.shape) if i != place]
    return [ops.reshape(ops.part_of(x, place, i, i + 1), rest) for i in range(count)]


@operation
def meshgrid(*x: Any, indexing: str = "xy") -> Any:
    """Coordinates of a grid whose axes have these vectors; 'xy': the first two axes swapped."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"expected indexing='xy' or 'ij'. Received: {indexing!r}")
    vectors = [ops.reshape(tensor(v), (tensor(v).type.numel,)) for v in x]
    count = len(vectors)
    place = [1, 0, *range(2, count)] if indexing == "xy" and count > 1 else list(range(count))
    grid = [vectors[place.index(i)].shape[0] for i in range(count)]
    thin = [[d if i == at else 1 for i, d in enumerate(grid)] for at in place]
    return [ops.broadcast_to(ops.reshape(v, t), grid) for v, t in zip(vectors, thin)]


# ---------------------------------------------------------------- repeated, turned, padded


@operation
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element so many times in a row; without an axis, of a vector of all."""
    x, repeats = tensor(x), sizes(repeats)
    if isinstance(repeats, Tensor) or hasattr(repeats, "__tensor__"):
        raise UnsupportedError("ops.repeat: how often is a number that is known now, as it decides on sizes")
    if axis is None:
        x, axis = ops.reshape(x, (x.type.numel,)), 0
    place = axis_of(axis, x.rank)
    if isinstance(repeats, (list, tuple)) and len(repeats) > 1:
        rows = np.repeat(np.arange(x.shape[place], dtype=np.int32), repeats)
        return ops.take(x, rows, place)
    count = repeats[0] if isinstance(repeats, (list, tuple)) else repeats
    return repeated(x, [count if i == place else 1 for i in range(x.rank)], True)


@operation
def tile(x: Any, repeats: Any) -> Any:
    """The whole x repeats[i] times along axis i."""
    x, counts = tensor(x), listed(repeats)
    rank = builtins.max(x.rank, len(counts))
    x = ops.reshape(x, (*(1,) * (rank - x.rank), *x.shape))
    return repeated(x, [*(1,) * (rank - len(counts)), *counts], False)


@operation
def flip(x: Any, axis: Any = None) -> Any:
    """The elements in the opposite order along axes; by default all."""
    x = tensor(x)
    return _reversed(x, axes_of(x, axis))


def _reversed(x: Tensor, axes: Sequence[int]) -> Tensor:
    return ops.reverse(x, [a for a in axes if x.shape[a] != 1])


@operation
def fliplr(x: Any) -> Any:
    """The opposite order along the second axis."""
    return _reversed(tensor(x), [1])


@operation
def flipud(x: Any) -> Any:
    """The opposite order along the first axis."""
    return _reversed(tensor(x), [0])


@operation
def rot90(array: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """Turned k times by 90 degrees, from the first axis towards the second."""
    x = tensor(array)
    a, b = axes_of(x, list(axes))
    order = list(range(x.rank))
    order[a], order[b] = b, a
    turns = k % 4
    if turns == 2:
        return _reversed(x, [a, b])
    if turns == 1:
        return ops.transpose(_reversed(x, [b]), order)
    return _reversed(ops.transpose(x, order), [b]) if turns else x


@operation
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Elements moved on along axes; those that leave at the end come in at the beginning."""
    x = tensor(x)
    shape, shifts = x.shape, listed(shift)
    if axis is None:
        x, axes = ops.reshape(x, (x.type.numel,)), [0]
        shifts = [sum(shifts)]
    else:
        axes = [axis_of(a, x.rank) for a in listed(axis)]
        shifts = shifts * len(axes) if len(shifts) == 1 else shifts
    for place, by in zip(axes, shifts):
        count = x.shape[place]
        if isinstance(count, Batch):
            raise ValueError("a batch is not rolled")
        if at := -by % count:
            x = ops.concatenate([ops.part_of(x, place, at, count), ops.part_of(x, place, 0, at)], place)
    return ops.reshape(x, shape)


@operation
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """Elements before and behind: of one value, or (mode 'reflect', 'symmetric', 'edge') of x itself."""
    x, width = tensor(x), sizes(pad_width)
    if isinstance(width, int):
        width = [(width, width)] * x.rank
    elif len(width) == 2 and all(isinstance(w, int) for w in width):
        width = [tuple(width)] * x.rank
    elif len(width) == 1:
        width = [*width] * x.rank
    if mode == "constant":
        low, high = ([int(w[side]) for w in width] for side in (0, 1))
        value = 0 if constant_values is None else sizes(constant_values)
        if isinstance(value, (int, float)):
            return ops.pad(x, low, high, None, value)
        inside = ops.pad(alike_everywhere(to(x, "float32"), 1.0), low, high) > 0.0
        return ops.select(inside, ops.pad(x, low, high), to(tensor(value), x.dtype))
    if constant_values is not None:
        raise ValueError(f"pad: constant_values with mode {mode!r}")
    if mode not in ("reflect", "symmetric", "edge"):
        raise UnsupportedError(
            describe("ops.pad: mode", "'constant', 'reflect', 'symmetric' or 'edge'", repr(mode))
        )
    for axis, (before, behind) in enumerate(width):
        if before or behind:
            rows = np.pad(np.arange(x.shape[axis], dtype=np.int32), (before, behind), mode)  # type: ignore[call-overload]
            x = ops.take(x, rows, axis)
    return x

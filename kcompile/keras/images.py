"""What layers and keras.ops compute of images: other sizes, other places, other colours.

Enters: tensors [batch, height, width, channels]. Leaves: the same. Interpolation is that of JAX's
`image.resize` and of TensorFlow's with half_pixel_centers, which agree where both have it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Dim, numel, static
from kcompile_runtime.errors import ModelError, describe

FILL_MODES = ("constant", "nearest", "wrap", "mirror", "reflect")

# ---------------------------------------------------------------- sizes


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - x)


def _keys(x: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -0.5."""
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x >= 2, 0, np.where(x >= 1, far, near))


def _mitchell(x: np.ndarray) -> np.ndarray:
    """Mitchell and Netravali's cubic with B = C = 1/3."""
    near = (7 / 6 * x - 2) * x * x + 8 / 9
    far = ((-7 / 18 * x + 2) * x - 10 / 3) * x + 16 / 9
    return np.where(x >= 2, 0, np.where(x >= 1, far, near))


def _lanczos(radius: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.where(x > radius, 0, np.sinc(x) * np.sinc(x / radius))


def _gaussian(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 1.5, 0, np.exp(-2 * x * x))  # deviation: a third of the radius, 0.5


KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bilinear": _triangle,
    "bicubic": _keys,
    "lanczos3": _lanczos(3.0),
    "lanczos5": _lanczos(5.0),
    "gaussian": _gaussian,
    "mitchellcubic": _mitchell,
}
INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")  # of Keras 3 on JAX
OF_TF = (*INTERPOLATIONS, "area", "gaussian", "mitchellcubic")  # of tf.image.resize


def weights_of(size: int, target: int, interpolation: str, antialias: bool = False) -> np.ndarray:
    """How much of each of `size` elements is in each of `target`: [target, size], rows that sum to 1."""
    places = np.arange(size)
    if interpolation == "area":
        step, first = size / target, np.arange(target)[:, None] * (size / target)
        parts = np.minimum(places + 1, first + step) - np.maximum(places, first)
        return np.maximum(parts, 0) / step
    middles = (np.arange(target)[:, None] + 0.5) * size / target - 0.5
    if interpolation == "nearest":
        return (places == np.floor(middles + 0.5)).astype(float)
    around = max(size / target, 1.0) if antialias else 1.0
    weights = KERNELS[interpolation](np.abs(middles - places) / around)
    return weights / weights.sum(1, keepdims=True)


def weights_between(
    size: int, target: int, scale: Tensor, move: Tensor, interpolation: str, antialias: bool
) -> Tensor:
    """`weights_of` where what is at p comes to p * scale + move, both tensors [1, 1]: [target, size]. What
    comes from beyond the edges is 0."""
    graph, dtype = scale.graph, scale.dtype
    places = ops.constant(graph, np.arange(size)[None, :], dtype)
    middles = (ops.constant(graph, np.arange(target)[:, None] + 0.5, dtype) - move) / scale - 0.5
    around = ops.maximum(1.0 / scale, 1.0) if antialias else ops.ones_like(scale)
    weights = _KERNELS[interpolation](ops.abs(middles - places) / around)
    total = ops.reduce_sum(weights, -1, keepdims=True)
    some = ops.abs(total) > 1000 * float(np.finfo(np.float32).eps)
    inside = ops.logical_and(middles >= -0.5, middles <= size - 0.5)
    share = weights / ops.select(some, total, ops.ones_like(total))
    return ops.select(ops.logical_and(some, inside), share, ops.zeros_like(share))


def _keys_now(x: Tensor) -> Tensor:
    near, far = (x * 1.5 - 2.5) * x * x + 1.0, ((x * -0.5 + 2.5) * x - 4.0) * x + 2.0
    return ops.select(x >= 2.0, ops.zeros_like(x), ops.select(x >= 1.0, far, near))


def _sinc_now(x: Tensor) -> Tensor:
    at_zero = ops.equal(x, 0.0)
    turn = ops.select(at_zero, ops.ones_like(x), x) * float(np.pi)
    return ops.select(at_zero, ops.ones_like(x), ops.sin(turn) / turn)


def _lanczos_now(radius: float) -> Callable[[Tensor], Tensor]:
    return lambda x: ops.select(x > radius, ops.zeros_like(x), _sinc_now(x) * _sinc_now(x / radius))


# KERNELS of distances that are computed when a model runs
_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "bilinear": lambda x: ops.relu(1.0 - x),
    "bicubic": _keys_now,
    "lanczos3": _lanczos_now(3.0),
    "lanczos5": _lanczos_now(5.0),
}


def resized(x: Tensor, size: Sequence[int], interpolation: str, antialias: bool = False) -> Tensor:
    """Images of another height and width, each axis on its own; as floats, but by "nearest"."""
    for axis, target in zip((1, 2), size):
        (own,) = static(x.shape[axis : axis + 1])
        if own != target or (antialias and interpolation == "mitchellcubic"):
            x = _along(x, axis, weights_of(own, target, interpolation, antialias))
    return x


def _along(x: Tensor, axis: int, weights: np.ndarray) -> Tensor:
    """Sums of elements along an axis with these weights: those of one element taken by their places, others
    as a product, whose gradient is one too."""
    if set(np.unique(weights)) <= {0.0, 1.0}:
        return ops.take(x, weights.argmax(1), axis)
    matrix = ops.constant(x.graph, weights, x.dtype)
    return ops.einsum("bhwc,oh->bowc" if axis == 1 else "bhwc,ow->bhoc", x, matrix)


def middle(x: Tensor, size: Sequence[int]) -> Tensor:
    """The largest part in the middle that has the ratio of `size`."""
    height, width = static(x.shape[1:3])
    high = max(min(height, int(width * size[0] / size[1])), 1)
    wide = max(min(width, int(height * size[1] / size[0])), 1)
    return cropped(x, (int((height - high) / 2), int((width - wide) / 2)), (high, wide))


def padded_to_ratio(x: Tensor, size: Sequence[int], value: float) -> Tensor:
    """Images with a value at both sides, so that they have about the ratio of `size`."""
    height, width = static(x.shape[1:3])
    high = max(height, int(width * size[0] / size[1]))
    wide = max(width, int(height * size[1] / size[0]))
    top, left = int((high - height) / 2), int((wide - width) / 2)
    sides = (0, top, 0, 0) if top > 0 else (0, 0, left, 0)
    return ops.pad(x, sides, sides, value=value)


def cropped(x: Tensor, start: Sequence[int], size: Sequence[int]) -> Tensor:
    """The part of this size that begins at `start`, both (height, width)."""
    stop = [x.shape[0], start[0] + size[0], start[1] + size[1], x.shape[3]]
    return ops.slice_(x, [0, *start, 0], stop)


# ---------------------------------------------------------------- places


def moved(
    x: Tensor, matrix: Tensor, interpolation: str = "bilinear", fill: str = "constant", value: float = 0.0
) -> Tensor:
    """Images whose pixel at column c and row r is that of x at (a0 c + a1 r + a2, b0 c + b1 r + b2), divided
    by c0 c + c1 r + 1. matrix: [batch or 1, 8], (a0, a1, a2, b0, b1, b2, c0, c1), or without the last two."""
    height, width = static(x.shape[1:3])
    rows = ops.constant(x.graph, np.arange(height).reshape(1, -1, 1), matrix.dtype)
    columns = ops.constant(x.graph, np.arange(width).reshape(1, 1, -1), matrix.dtype)
    a0, a1, a2, b0, b1, b2, *c = (
        ops.reshape(matrix[:, k : k + 1], (matrix.shape[0], 1, 1)) for k in range(matrix.shape[1])
    )
    at_column, at_row = columns * a0 + rows * a1 + a2, columns * b0 + rows * b1 + b2
    if c:
        below = columns * c[0] + rows * c[1] + 1.0
        at_column, at_row = at_column / below, at_row / below
    return sampled(x, (at_row, at_column), interpolation, fill, value)


def homography(ends: Sequence[Sequence[Tensor]], size: tuple[float, float]) -> list[Tensor]:
    """The eight numbers of `moved` that lead from four points to the corners of an image: (0, 0), (w, 0), (0,
    h), (w, h), where size is (w, h). ends: the points (column, row), tensors of one shape. Source: Heckbert,
    "Fundamentals of texture mapping and image warping", 1989, for the way from the square; this is back."""
    (x0, y0), (x1, y1), (x3, y3), (x2, y2) = ends
    dx1, dx2, sx = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
    dy1, dy2, sy = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
    below = dx1 * dy2 - dx2 * dy1
    g, h = (sx * dy2 - dx2 * sy) / below, (dx1 * sy - sx * dy1) / below
    a, b, c = x1 - x0 + g * x1, x3 - x0 + h * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + h * y3, y0
    across, down = size
    back = [
        (e - f * h) * across, (c * h - b) * across, (b * f - c * e) * across,
        (f * g - d) * down, (a - c * g) * down, (c * d - a * f) * down,
        d * h - e * g, b * g - a * h,
    ]  # fmt: skip
    whole = a * e - b * d
    return [number / whole for number in back]


def sampled(x: Tensor, places: Sequence[Tensor], interpolation: str, fill: str, value: float = 0.0) -> Tensor:
    """x [batch, sizes..., channels] at places between its elements, [batch or 1, i...] along each axis of
    sizes: [batch, i..., channels]. fill: what is beyond the edges: the value, the last pixel, the other side,
    or the mirror image, with the last pixel once ("mirror") or twice ("reflect")."""
    shape = (x.shape[0], *places[0].shape[1:])
    places = [ops.broadcast_to(at, shape) for at in places]
    around = _around_nearest if interpolation == "nearest" else _around
    total: Any = None
    for corner in itertools.product(*map(around, places)):
        found = _pixels(x, [at for at, _ in corner], fill, value)
        weights = [weight for _, weight in corner if weight is not None]
        if weights:
            weight = ops.cast(functools.reduce(ops.mul, weights), x.dtype)
            found = found * ops.reshape(weight, (*shape, 1))
        total = found if total is None else total + found
    return total


def _around(places: Tensor) -> list[tuple[Tensor, Tensor | None]]:
    """The pixels before and behind, with their weights."""
    before = ops.floor(places)
    share = places - before
    return [(before, 1.0 - share), (before + 1.0, share)]


def _around_nearest(places: Tensor) -> list[tuple[Tensor, Tensor | None]]:
    """The nearest pixel; from the middle between two, the one that is farther from 0."""
    whole = ops.floor(ops.abs(places) + 0.5)
    return [(ops.select(places < 0.0, -whole, whole), None)]


def _pixels(x: Tensor, places: Sequence[Tensor], fill: str, value: float) -> Tensor:
    """x at whole places, which are floats."""
    sizes = static(x.shape[1:-1])
    at: Any = None
    for axis, size in zip(places, sizes):
        inside = _inside(axis, size, fill)
        at = inside if at is None else at * size + inside
    shape = at.shape
    table = ops.reshape(x, (x.shape[0], numel(sizes), x.shape[-1]))
    rows = ops.reshape(ops.cast(at, "int32"), (shape[0], numel(shape[1:])))
    found = ops.reshape(ops.gather_each(table, rows), (*shape, x.shape[-1]))
    if fill != "constant":
        return found
    tests = [test for axis, size in zip(places, sizes) for test in (axis >= 0.0, axis < float(size))]
    valid = ops.reshape(functools.reduce(ops.logical_and, tests), (*shape, 1))
    valid = ops.broadcast_to(valid, found.shape)
    return ops.select(valid, found, ops.broadcast_to(ops.constant(x.graph, value, x.dtype), found.shape))


def _inside(places: Tensor, size: int, fill: str) -> Tensor:
    """The places inside, whose pixels stand at these."""
    if fill == "wrap":
        places = places - ops.floor(places / float(size)) * float(size)
    elif fill == "mirror" and size > 1:
        places = _folded(places, 2.0 * (size - 1))
    elif fill == "reflect":
        places = _folded(places + 0.5, 2.0 * size) - 0.5
    return ops.clip(places, 0.0, float(size - 1))  # rounding may leave the range by one


def _folded(places: Tensor, period: float) -> Tensor:
    """A wave of triangles of this period, which is 0 at 0."""
    part = places - ops.floor(places / period) * period
    return ops.minimum(part, period - part)


def check_choice(what: str, value: Any, options: Sequence[str]) -> str:
    """One of few names. Raises ModelError."""
    if isinstance(value, str) and value in options:
        return value
    raise ModelError(describe(what, "one of " + ", ".join(map(repr, options)), repr(value)))


# ---------------------------------------------------------------- colours

GREYS = (0.2989, 0.587, 0.114)  # of red, green and blue


def grey(x: Tensor) -> Tensor:
    """Images of one channel, of those of three; of one, as they are."""
    if x.shape[-1] == 1:
        return x
    return ops.reduce_sum(x * ops.constant(x.graph, np.asarray(GREYS), x.dtype), -1, keepdims=True)


def _channels(x: Tensor) -> list[Tensor]:
    if x.shape[-1] != 3:
        raise ModelError(describe("images", "three channels: red, green, blue", str(x.type)))
    return [x[..., k : k + 1] for k in range(3)]


def to_hsv(x: Tensor) -> Tensor:
    """Hue, saturation and value of red, green and blue."""
    small = float(np.finfo(x.dtype).eps)
    red, green, blue = _channels(ops.select(ops.abs(x) < small, ops.zeros_like(x), x))
    value = ops.maximum(ops.maximum(red, green), blue)
    span = value - ops.minimum(ops.minimum(red, green), blue)
    zero, one = ops.zeros_like(span), ops.ones_like(span)
    saturation = ops.select(value > 0.0, span / ops.select(value > 0.0, value, one), zero)
    part = 1.0 / (6.0 * ops.select(span > 0.0, span, one))
    of_blue, of_green = part * (red - green) + 4.0 / 6.0, part * (blue - red) + 2.0 / 6.0
    hue = ops.select(ops.equal(value, green), of_green, of_blue)
    hue = ops.select(ops.equal(value, red), part * (green - blue), hue)
    hue = ops.select(span > 0.0, hue, zero)
    return ops.concatenate([ops.select(hue < 0.0, hue + 1.0, hue), saturation, value], x.rank - 1)


def from_hsv(x: Tensor) -> Tensor:
    """Red, green and blue of hue, saturation and value."""
    hue, saturation, value = _channels(x)
    turned = (hue - ops.floor(hue)) * 6.0
    shares = [ops.abs(turned - 3.0) - 1.0, 2.0 - ops.abs(turned - 2.0), 2.0 - ops.abs(turned - 4.0)]
    parts = [value * (1.0 - saturation + saturation * ops.clip(part, 0.0, 1.0)) for part in shares]
    return ops.concatenate(parts, x.rank - 1)


def bell(size: int, deviation: Tensor) -> Tensor:
    """Weights of a normal distribution at the middle of `size` places, which sum to 1. deviation: [...];
    gives [..., size]."""
    places = np.arange(size) - (size - 1) / 2
    far = ops.constant(deviation.graph, places, deviation.dtype) / ops.reshape(
        deviation, (*deviation.shape, 1)
    )
    weights = ops.exp(ops.square(far) * -0.5)
    return weights / ops.reduce_sum(weights, -1, keepdims=True)


def blurred(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Images smoothed by weights for their rows [batch or 1, k] and columns [batch or 1, l]; beyond the
    edges are zeros."""
    for axis, weights in ((1, down), (2, across)):
        (taps,) = static(weights.shape[1:])
        before = (taps - 1) // 2
        low, high = [0] * 4, [0] * 4
        low[axis], high[axis] = before, taps - 1 - before
        wide, total = ops.pad(x, low, high), None
        for k in range(taps):
            (size,) = static(x.shape[axis : axis + 1])
            start = [k if i == axis else 0 for i in range(4)]
            stop: list[Dim] = [k + size if i == axis else d for i, d in enumerate(x.shape)]
            weight = ops.reshape(weights[:, k : k + 1], (weights.shape[0], 1, 1, 1))
            part = ops.slice_(wide, start, stop) * weight
            total = part if total is None else total + part
        assert total is not None
        x = total
    return x

"""keras.ops.image: other sizes, other places, other colours, patches, edges and likeness of images.

Enters: one image [height, width, channels], or several [batch, height, width, channels]; with
data_format="channels_first", channels before the height. Leaves: the same, but where it is said. Each
function is an operation as those of keras.ops are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS, Batch, numel, static
from kcompile.keras import images as pictures
from kcompile.keras import spatial
from kcompile.keras.backend.nn import each_of
from kcompile.keras.backend.random import drawn
from kcompile.keras.keras3_ops.calls import alike, operation, real, reals, to
from kcompile.keras.keras3_ops.elementwise import saturated
from kcompile.keras.keras3_ops.linalg import solved
from kcompile.keras.operands import sizes, tensor
from kcompile.keras.settings import checked_data_format
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

__all__ = [
    "affine_transform",
    "crop_images",
    "elastic_transform",
    "extract_patches",
    "extract_patches_3d",
    "gaussian_blur",
    "hsv_to_rgb",
    "map_coordinates",
    "pad_images",
    "perspective_transform",
    "resize",
    "rgb_to_grayscale",
    "rgb_to_hsv",
    "scale_and_translate",
    "sobel_edges",
    "ssim",
]
ORDERS = ("nearest", "bilinear")  # of interpolation between pixels
Back = Callable[[Tensor], Tensor]


def _batch(images: Any, data_format: Any, rank: int = 2) -> tuple[Tensor, Back]:
    """Images as [batch, ...sizes, channels], and how results go back to the form that they came in."""
    x, layout = tensor(images), checked_data_format(data_format)
    if x.rank not in (rank + 1, rank + 2):
        raise ValueError(
            f"expected images of rank {rank + 1} (one) or {rank + 2} (several). Received: {x.type}"
        )
    one = x.rank == rank + 1
    x = ops.reshape(x, (1, *x.shape)) if one else x
    x = spatial.channels_to_last(x, layout)

    def back(y: Tensor) -> Tensor:
        y = spatial.channels_back(y, layout)
        return ops.reshape(y, y.shape[1:]) if one else y

    return x, back


def _rounded(x: Tensor, dtype: str) -> Tensor:
    """Floats in the dtype of the images, integers the nearest ones (halves away from 0)."""
    if dtype in FLOATS:
        return ops.cast(x, dtype)
    whole = ops.floor(ops.abs(x) + 0.5)
    return to(ops.select(x < 0.0, -whole, whole), dtype)


# ---------------------------------------------------------------- colours


@operation
def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Any:
    """One channel, of red, green and blue; one channel as it is."""
    x, back = _batch(images, data_format)
    if x.shape[-1] not in (1, 3):
        raise ValueError(f"expected images of 1 or 3 channels. Received: {tensor(images).type}")
    return back(to(pictures.grey(real(x)), x.dtype))


def _colours(images: Any, data_format: Any, convert: Callable[[Tensor], Tensor]) -> Tensor:
    x, back = _batch(images, data_format)
    if x.dtype not in FLOATS:
        raise ValueError(f"expected images of a float type. Received: {x.type}")
    return back(convert(x))


@operation
def rgb_to_hsv(images: Any, data_format: str | None = None) -> Any:
    """Hue, saturation and value of red, green and blue, all in [0, 1]."""
    return _colours(images, data_format, pictures.to_hsv)


@operation
def hsv_to_rgb(images: Any, data_format: str | None = None) -> Any:
    """Red, green and blue of hue, saturation and value, all in [0, 1]."""
    return _colours(images, data_format, pictures.from_hsv)


# ---------------------------------------------------------------- sizes


@operation
def resize(
    images: Any,
    size: Any,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    """Images of another (height, width), distorted, or cropped or padded to its ratio before. Integers are
    rounded to the nearest."""
    size = sizes(size)
    if not isinstance(size, (list, tuple)) or len(size) != 2 or min(size) <= 0:
        raise ValueError(f"expected size=(height, width), both positive. Received: {size}")
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("crop_to_aspect_ratio and pad_to_aspect_ratio: only one may be True")
    if fill_mode != "constant":
        raise ValueError(f"expected fill_mode='constant'. Received: {fill_mode!r}")
    pictures.check_choice("interpolation", interpolation, pictures.INTERPOLATIONS)
    x, back = _batch(images, data_format)
    given = x.dtype
    if crop_to_aspect_ratio:
        x = pictures.middle(x, size)
    elif pad_to_aspect_ratio:
        x = pictures.padded_to_ratio(x, size, fill_value)
    if interpolation != "nearest":
        x = real(x)
    x = pictures.resized(x, [int(n) for n in size], interpolation, antialias)
    if x.dtype != given:
        x = saturated(ops.round_to_even(x) if given not in FLOATS else x, given)
    return back(x)


Sides = tuple[tuple[int, int], tuple[int, int]]


def _sides(word: str, size: Sequence[Any], given: Sequence[Any], sign: int) -> Sides:
    """What comes before and behind, of height and width: two of three numbers are given for each."""
    made = []
    for axis, (before, behind, target) in enumerate((given[0:3], given[3:6])):
        names = (("top", "bottom", "target_height"), ("left", "right", "target_width"))[axis]
        if [before, behind, target].count(None) != 1:
            raise ValueError(f"give exactly two of {names[0]}_{word}, {names[1]}_{word} and {names[2]}")
        before = sign * (target - size[axis]) - behind if before is None else before
        behind = sign * (target - size[axis]) - before if behind is None else behind
        if before < 0 or behind < 0 or (target is not None and target < 0):
            raise ValueError(
                f"{names[0]}_{word} and {names[1]}_{word} must not be negative. "
                f"Received: {before} and {behind}, for images of {size[0]} by {size[1]}"
            )
        made.append((int(before), int(behind)))
    return made[0], made[1]


@operation
def pad_images(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Images with zeros around; of each axis two of three numbers."""
    x, back = _batch(images, data_format)
    given = (top_padding, bottom_padding, target_height, left_padding, right_padding, target_width)
    (top, bottom), (left, right) = _sides("padding", x.shape[1:3], given, 1)
    return back(ops.pad(x, (0, top, left, 0), (0, bottom, right, 0)))


@operation
def crop_images(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """A part of images; of each axis two of three numbers."""
    x, back = _batch(images, data_format)
    height, width = static(x.shape[1:3])
    given = (top_cropping, bottom_cropping, target_height, left_cropping, right_cropping, target_width)
    (top, bottom), (left, right) = _sides("cropping", (height, width), given, -1)
    return back(pictures.cropped(x, (top, left), (height - top - bottom, width - left - right)))


# ---------------------------------------------------------------- patches


@operation
def extract_patches(
    images: Any,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """The elements of each patch of images, or of volumes (a size of three), as channels. strides: default
    the size."""
    size = sizes(size)
    if not isinstance(size, int) and (not isinstance(size, (list, tuple)) or len(size) not in (2, 3)):
        raise ValueError(f"expected size as an integer, or two or three of them. Received: {size!r}")
    rank = 2 if isinstance(size, int) else len(size)
    x, back = _batch(images, data_format, rank)
    patch, steps, apart = (each_of(v, rank) for v in (size, sizes(strides) or size, dilation_rate))
    around = spatial.pads(padding.lower(), x.shape[1:-1], patch, steps, apart)
    seen = ops.windows_of(x, patch, steps, around, apart)
    return back(ops.reshape(seen, (*seen.shape[: rank + 1], numel(seen.shape[rank + 1 :]))))


def extract_patches_3d(
    volumes: Any,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """`extract_patches` of volumes, where one number means three."""
    size = sizes(size)
    size = (size,) * 3 if isinstance(size, int) else size
    return extract_patches(volumes, size, strides, dilation_rate, padding, data_format)


# ---------------------------------------------------------------- places


@operation
def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: Any = 0,
    data_format: str | None = None,
) -> Any:
    """Images whose pixel at column x and row y is that of the given ones at (a0 x + a1 y + a2, b0 x + b1 y +
    b2). transform: (a0, a1, a2, b0, b1, b2, c0, c1), or one for each image. c0 and c1 move rows and columns
    by multiples of the channel's number, as in Keras 3 on JAX."""
    _check_places(interpolation, fill_mode)
    x, back = _batch(images, data_format)
    matrix = to(tensor(transform), "float32")
    if matrix.rank not in (1, 2) or matrix.shape[-1] != 8:
        raise ValueError(f"transform: expected [8] or [batch, 8]. Received: {matrix.type}")
    matrix = ops.reshape(matrix, (1, 8)) if matrix.rank == 1 else matrix
    height, width = static(x.shape[1:3])
    rows, columns = _grid(matrix, height, width)
    a0, a1, a2, b0, b1, b2, c0, c1 = (_number_of(matrix, k) for k in range(8))
    at = columns * b0 + rows * b1 + b2, columns * a0 + rows * a1 + a2
    made = _by_channels if _moves_channels(transform) else _sampled
    return back(made(x, at, (c0, c1), interpolation, fill_mode, fill_value))


def _check_places(interpolation: Any, fill_mode: Any) -> None:
    pictures.check_choice("interpolation", interpolation, ORDERS)
    pictures.check_choice("fill_mode", fill_mode, pictures.FILL_MODES)


def _grid(like: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    return (
        ops.constant(like.graph, np.arange(height).reshape(1, -1, 1), like.dtype),
        ops.constant(like.graph, np.arange(width).reshape(1, 1, -1), like.dtype),
    )


def _number_of(matrix: Tensor, k: int) -> Tensor:
    return ops.reshape(matrix[:, k : k + 1], (matrix.shape[0], 1, 1))


def _moves_channels(transform: Any) -> bool:
    """Whether the last two numbers of a transform may be others than 0."""
    if hasattr(transform, "__tensor__") or isinstance(transform, Tensor):
        return True
    return bool(np.any(np.asarray(transform)[..., 6:]))


Places = tuple[Tensor, Tensor]


def _sampled(x: Tensor, at: Places, _: Places, interpolation: str, fill: str, value: Any) -> Tensor:
    made = pictures.sampled(real(x), at, interpolation, fill, float(value))
    return _rounded(made, x.dtype)


def _by_channels(x: Tensor, at: Places, more: Places, interpolation: str, fill: str, value: Any) -> Tensor:
    """Each channel by itself, at places that are its number times `more` further on."""
    parts = []
    for k in range(static(x.shape[-1:])[0]):
        moved = at[0] + more[0] * float(k), at[1] + more[1] * float(k)
        parts.append(_sampled(x[..., k : k + 1], moved, more, interpolation, fill, value))
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, 3)


@operation
def perspective_transform(
    images: Any,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: Any = 0,
    data_format: str | None = None,
) -> Any:
    """Images seen so that four of their points (x, y) are at four others. points: [4, 2] or [batch, 4, 2]."""
    _check_places(interpolation, "constant")
    x, back = _batch(images, data_format)
    start, end = (to(tensor(points), "float32") for points in (start_points, end_points))
    if start.shape != end.shape or start.rank not in (2, 3) or start.shape[-2:] != (4, 2):
        raise ValueError(
            f"points: expected [4, 2] or [batch, 4, 2], both. Received: {start.type}, {end.type}"
        )
    start, end = (ops.reshape(p, (1, 4, 2)) if p.rank == 2 else p for p in (start, end))
    (sx, sy), (ex, ey) = ((p[..., 0:1], p[..., 1:2]) for p in (start, end))
    none, one = ops.zeros_like(ex), ops.ones_like(ex)
    none, one = (ops.broadcast_to(v, ex.shape) for v in (none, one))
    across = ops.concatenate([ex, ey, one, none, none, none, -(sx * ex), -(sx * ey)], 2)
    down = ops.concatenate([none, none, none, ex, ey, one, -(sy * ex), -(sy * ey)], 2)
    matrix = solved(ops.concatenate([across, down], 1), ops.concatenate([sx, sy], 1))
    matrix = ops.reshape(matrix, (matrix.shape[0], 8))
    made = pictures.moved(real(x), matrix, interpolation, "constant", float(fill_value))
    return back(_rounded(made, x.dtype))


@operation
def map_coordinates(
    inputs: Any, coordinates: Any, order: int, fill_mode: str = "constant", fill_value: Any = 0
) -> Any:
    """An array of any rank at places between its elements. coordinates: [rank, ...]; gives [...]. order: 0
    takes the nearest element, 1 interpolates linearly. No axis of the array may be the batch."""
    x, at = tensor(inputs), to(tensor(coordinates), "float32")
    if at.rank < 2 or at.shape[0] != x.rank:
        raise ValueError(
            f"coordinates: expected [{x.rank}, ...] for the axes of {x.type}. Received: {at.type}"
        )
    if order not in (0, 1):
        raise ValueError(f"order: expected 0 or 1. Received: {order}")
    pictures.check_choice("fill_mode", fill_mode, pictures.FILL_MODES)
    if any(isinstance(d, Batch) for d in x.shape):
        raise UnsupportedError(
            "ops.image.map_coordinates of a batch: a sample does not see others. "
            "Use it in a loop over the samples, or ops.image.affine_transform"
        )
    table = ops.reshape(real(x), (1, *x.shape, 1))
    places = [at[k : k + 1] for k in range(x.rank)]
    made = pictures.sampled(table, places, ORDERS[order], fill_mode, float(fill_value))
    return _rounded(ops.reshape(made, at.shape[1:]), x.dtype)


@operation
def elastic_transform(
    images: Any,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Images whose pixels come from places alpha times a smooth random field away. sigma: of the field, and
    of what smooths it. The numbers drawn are others than Keras'."""
    _check_places(interpolation, fill_mode)
    if not all(isinstance(v, (int, float)) for v in (alpha, sigma)):
        raise UnsupportedError("ops.image.elastic_transform: alpha and sigma are numbers that are known now")
    if seed is not None and not isinstance(seed, int):
        raise ModelError(describe("ops.image.elastic_transform: seed", "an integer, or None", repr(seed)))
    x, back = _batch(images, data_format)
    height, width = static(x.shape[1:3])
    field = drawn(ops.random_normal, (x.shape[0], height, width, 1), seed) * float(sigma)
    taps = int(6 * sigma) | 1
    weights = pictures.bell(taps, ops.constant(x.graph, np.asarray([sigma]), field.dtype))
    moved = ops.reshape(pictures.blurred(field, weights, weights), (x.shape[0], height, width)) * float(alpha)
    rows, columns = _grid(field, height, width)
    at = rows + moved, columns + moved  # Keras draws one field for both
    return back(_sampled(x, at, at, interpolation, fill_mode, fill_value))


METHODS = {
    **dict.fromkeys(("linear", "bilinear", "trilinear"), "bilinear"),
    **dict.fromkeys(("cubic", "bicubic", "tricubic"), "bicubic"),
    "lanczos3": "lanczos3",
    "lanczos5": "lanczos5",
}


@operation
def scale_and_translate(
    images: Any,
    output_shape: Any,
    scale: Any,
    translation: Any,
    spatial_dims: Any,
    method: str,
    antialias: bool = True,
) -> Any:
    """Another size along some axes: what is at p comes to p * scale + translation. scale and translation: a
    number for each of the axes `spatial_dims`."""
    x = real(images)
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}. Received: {method!r}")
    shape, axes = list(sizes(output_shape)), [int(a) % x.rank for a in sizes(spatial_dims)]
    if len(shape) != x.rank or any(
        a not in axes and d not in (x.shape[a], None) for a, d in enumerate(shape)
    ):
        raise ValueError(f"output_shape: expected that of {x.type} but along {axes}. Received: {shape}")
    scales, moves = (to(tensor(v), x.dtype) for v in (scale, translation))
    for k, axis in enumerate(axes):
        by, move = (ops.reshape(v[k : k + 1], (1, 1)) for v in (scales, moves))
        size = static(x.shape[axis : axis + 1])[0]
        weights = pictures.weights_between(size, int(shape[axis]), by, move, METHODS[method], antialias)
        moved, order = ops.axis_last(x, axis)
        x = ops.transpose(ops.dot_general(moved, weights, ([moved.rank - 1], [1])), order)
    return x


# ---------------------------------------------------------------- windows


@operation
def gaussian_blur(
    images: Any, kernel_size: Any = (3, 3), sigma: Any = (1.0, 1.0), data_format: str | None = None
) -> Any:
    """Images smoothed by a normal distribution of a deviation `sigma` (x, y), cut off at the size (x, y)."""
    x, back = _batch(images, data_format)
    if x.dtype not in FLOATS:
        raise ValueError(f"expected images of a float type. Received: {x.type}")
    across, down = (int(n) for n in sizes(kernel_size))
    spread = to(tensor(sigma), x.dtype)
    weights = [pictures.bell(n, spread[k : k + 1]) for k, n in enumerate((across, down))]
    return back(pictures.blurred(x, weights[1], weights[0]))


@operation
def sobel_edges(images: Any, data_format: str | None = None) -> Any:
    """How images change downwards and to the right, as two numbers behind each element; zeros are around."""
    if tensor(images).rank != 4:
        raise ValueError(f"expected images of rank 4. Received: {tensor(images).type}")
    x, back = _batch(images, data_format)
    smooth, change = (ops.constant(x.graph, np.asarray(v), x.dtype) for v in ([[1, 2, 1]], [[-1, 0, 1]]))
    parts = [back(pictures.blurred(x, *weights)) for weights in ((change, smooth), (smooth, change))]
    return ops.concatenate([ops.reshape(p, (*p.shape, 1)) for p in parts], 4)


@operation
def ssim(
    image1: Any,
    image2: Any,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> Any:
    """The structural similarity of images (Wang and others, 2004), a number for each pair."""
    given = alike(image1, image2)[0].dtype
    pairs = [_batch(real(x), data_format) for x in reals(image1, image2)]
    a, b = (x for x, _ in pairs)
    if a.shape != b.shape:
        raise ValueError(f"ssim: expected images of one shape. Received: {a.type}, {b.type}")
    height, width = static(a.shape[1:3])
    if min(height, width) < filter_size:
        raise ValueError(f"ssim: images of {height} by {width} are smaller than filter_size={filter_size}")
    deviation = ops.constant(a.graph, np.asarray([filter_sigma]), a.dtype)
    weights = pictures.bell(int(filter_size), deviation)
    low = (int(filter_size) - 1) // 2
    size = height - int(filter_size) + 1, width - int(filter_size) + 1

    def mean(x: Tensor) -> Tensor:
        return pictures.cropped(pictures.blurred(x, weights, weights), (low, low), size)

    of_a, of_b = mean(a), mean(b)
    square_a, square_b, both = of_a * of_a, of_b * of_b, of_a * of_b
    spread_a, spread_b = mean(a * a) - square_a, mean(b * b) - square_b
    common = mean(a * b) - both
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    made = (both * 2.0 + c1) * (common * 2.0 + c2)
    made = made / ((square_a + square_b + c1) * (spread_a + spread_b + c2))
    found = ops.reduce_mean(made, [1, 2, 3])
    return to(ops.reshape(found, ()) if tensor(image1).rank == 3 else found, given)

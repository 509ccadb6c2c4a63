"""Images in another size, as `tf.image.resize` samples them.

Enters: an array (rows, columns, channels) and a size. Leaves: an array of float32 (of nearest: of the dtype
that came). Each axis is a product with a matrix of weights: those of the pixels around the middle of each new
pixel, which add up to 1; with antialias the filter is as wide as a new pixel. Filters: the triangle of
`bilinear`, Keys' cubic (a = -1/2), Lanczos' of radius 3 and 5, a Gaussian, Mitchell and Netravali's cubic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile_runtime.errors import InputError, describe

Filter = Callable[[np.ndarray], np.ndarray]


def _cubic(b: float, c: float) -> Filter:
    """Cubic filters of two parameters (Mitchell and Netravali 1988)."""

    def weights(x: np.ndarray) -> np.ndarray:
        inner = ((12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + (6 - 2 * b)) / 6
        outer = ((-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x + 8 * b + 24 * c) / 6
        return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))

    return weights


def _lanczos(radius: float) -> Filter:
    return lambda x: np.where(x <= radius, np.sinc(x) * np.sinc(x / radius), 0.0)


FILTERS: dict[str, tuple[float, Filter]] = {
    "bilinear": (1.0, lambda x: np.maximum(0.0, 1.0 - x)),
    "bicubic": (2.0, _cubic(0.0, 0.5)),
    "lanczos3": (3.0, _lanczos(3.0)),
    "lanczos5": (5.0, _lanczos(5.0)),
    "gaussian": (1.5, lambda x: np.where(x < 1.5, np.exp(-2.0 * x**2), 0.0)),
    "mitchellcubic": (2.0, _cubic(1 / 3, 1 / 3)),
}
METHODS = ("nearest", "area", *FILTERS)


def resized(image: Any, size: Sequence[int], method: str = "bilinear", antialias: bool = False) -> np.ndarray:
    """The image, or images [n, rows, columns, channels], in a size (rows, columns). Raises InputError for
    another method."""
    if method not in METHODS:
        raise InputError(describe("interpolation", ", ".join(map(repr, METHODS)), repr(method)))
    array = np.asarray(image)
    for axis, new in zip((-3, -2), map(int, size)):
        old = array.shape[axis]
        if method == "nearest":
            array = np.take(
                array, np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1), axis
            )
        elif old != new or method in ("gaussian", "mitchellcubic"):
            weights = (
                _areas(old, new) if method == "area" else _weights(old, new, *FILTERS[method], antialias)
            )
            array = np.moveaxis(np.tensordot(weights, array.astype(np.float32), (1, axis)), 0, axis)
    return array if method == "nearest" else array.astype(np.float32)


def _weights(old: int, new: int, radius: float, filter: Filter, antialias: bool) -> np.ndarray:
    """Weights [new, old] of the pixels of an axis."""
    scale = old / new
    width = max(scale, 1.0) if antialias else 1.0
    middles = (np.arange(new) + 0.5) * scale
    distances = np.abs(middles[:, None] - (np.arange(old) + 0.5)) / width
    made = np.where(distances <= radius, filter(distances), 0.0)
    return np.asarray(made / made.sum(1, keepdims=True), np.float32)


def _areas(old: int, new: int) -> np.ndarray:
    """Weights [new, old]: the shares of the old pixels that each new one covers."""
    edges = np.arange(new + 1) * (old / new)
    pixels = np.arange(old)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.maximum(covered, 0.0) * (new / old), np.float32)


def cropped(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The largest part around the middle that has the shape of a size."""
    rows, columns = image.shape[-3], image.shape[-2]
    height = max(min(rows, math.floor(columns * size[0] / size[1])), 1)
    width = max(min(columns, math.floor(rows * size[1] / size[0])), 1)
    top, left = (rows - height) // 2, (columns - width) // 2
    return image[..., top : top + height, left : left + width, :]


def with_margins(image: np.ndarray, size: Sequence[int], method: str) -> np.ndarray:
    """The image as large as it fits into a size, with zeros on both sides."""
    rows, columns = image.shape[-3], image.shape[-2]
    ratio = max(columns / size[1], rows / size[0])
    height, width = math.floor(rows / ratio), math.floor(columns / ratio)
    inside = resized(image, (height, width), method)
    top, left = (
        max(math.floor((size[0] - rows / ratio) / 2), 0),
        max(math.floor((size[1] - columns / ratio) / 2), 0),
    )
    made = np.zeros((*image.shape[:-3], *size, image.shape[-1]), inside.dtype)
    made[..., top : top + height, left : left + width, :] = inside
    return made


def smart_resize(
    x: Any, size: Sequence[int], interpolation: str = "bilinear", data_format: str = "channels_last"
) -> np.ndarray:
    """Images in another size without being squeezed: what does not fit its shape is cut off on both sides."""
    if len(size) != 2:
        raise InputError(describe("smart_resize: size", "(rows, columns)", repr(size)))
    array = np.asarray(x)
    if array.ndim not in (3, 4):
        raise InputError(describe("smart_resize", "an image, or a batch of images", f"shape {array.shape}"))
    first = data_format == "channels_first"
    array = np.moveaxis(array, -3, -1) if first else array
    made = resized(cropped(array, size), size, interpolation)
    return np.moveaxis(made, -1, -3) if first else made

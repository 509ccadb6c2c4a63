"""Transforms of one image, given or random.

Enters: an array of rank 3, and where its rows, columns and channels are. Leaves: an array of that shape.
Random numbers are of numpy's generator. The centre of an image of n rows is row n / 2 + center_offset: 0.5 in
Keras 2, -0.5 in tf.keras, where also what is said of rows is done to columns (transposed).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.keras.extras import library
from kcompile.keras.preprocessing.image.files import array_to_img, img_to_array, pillow
from kcompile.keras.preprocessing.image.spellings import older_axes
from kcompile_runtime.errors import InputError, describe

FILLS = ("constant", "nearest", "reflect", "wrap")
CENTER_OFFSET = 0.5


def flip_axis(x: Any, axis: int) -> np.ndarray:
    """The array with this axis reversed."""
    return np.flip(np.asarray(x), axis)


# ---------------------------------------------------------------- shapes


def transform_matrix_offset_center(
    matrix: np.ndarray, x: float, y: float, center_offset: float = CENTER_OFFSET
) -> np.ndarray:
    """A transform of points about the origin as one about the centre of an image of x rows and y columns."""
    center = np.array([[1, 0, x / 2 + center_offset], [0, 1, y / 2 + center_offset], [0, 0, 1]])
    back = np.array([[1, 0, -x / 2 - center_offset], [0, 1, -y / 2 - center_offset], [0, 0, 1]])
    return np.asarray(center @ matrix @ back)


def affine_matrix(
    theta: float = 0, tx: float = 0, ty: float = 0, shear: float = 0, zx: float = 1, zy: float = 1
) -> np.ndarray | None:
    """From points of the result to those of the image, rows first: rotation, shift, shear, zoom. None: the
    same."""
    parts: list[np.ndarray] = []
    if theta != 0:
        a = np.deg2rad(theta)
        parts.append(np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]))
    if tx != 0 or ty != 0:
        parts.append(np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]]))
    if shear != 0:
        a = np.deg2rad(shear)
        parts.append(np.array([[1, -np.sin(a), 0], [0, np.cos(a), 0], [0, 0, 1]]))
    if zx != 1 or zy != 1:
        parts.append(np.array([[zx, 0, 0], [0, zy, 0], [0, 0, 1]]))
    if not parts:
        return None
    whole = parts[0]
    for part in parts[1:]:
        whole = whole @ part
    return whole


def apply_affine_transform(
    x: Any,
    theta: float = 0,
    tx: float = 0,
    ty: float = 0,
    shear: float = 0,
    zx: float = 1,
    zy: float = 1,
    row_axis: int = 0,
    col_axis: int = 1,
    channel_axis: int = 2,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    order: int = 1,
    center_offset: float = CENTER_OFFSET,
    transposed: bool = False,
) -> np.ndarray:
    """The image turned by theta degrees, shifted by tx rows and ty columns, sheared by shear degrees, and
    with a part of it, zx of the rows and zy of the columns, for the whole.

    fill_mode: what is beyond the edges: "nearest", "reflect", "wrap", or "constant", which is cval. order: of
    the splines between points, 0 to 5. Raises InputError (a ValueError) for another fill_mode.
    """
    if fill_mode not in FILLS:
        raise InputError(describe("fill_mode", ", ".join(map(repr, FILLS)), repr(fill_mode)))
    matrix = affine_matrix(theta, tx, ty, shear, zx, zy)
    image = np.asarray(x)
    if matrix is None:
        return image
    matrix = transform_matrix_offset_center(
        matrix, image.shape[row_axis], image.shape[col_axis], center_offset
    )
    if transposed:
        matrix = matrix[[1, 0, 2]][:, [1, 0, 2]]
    transform = library("scipy.ndimage", "image").affine_transform
    channels = [
        transform(channel, matrix[:2, :2], matrix[:2, 2], order=order, mode=fill_mode, cval=cval)
        for channel in np.moveaxis(image, channel_axis, 0)
    ]
    return np.stack(channels, axis=channel_axis)


def random_rotation(
    x: Any,
    rg: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
    center_offset: float = CENTER_OFFSET,
    transposed: bool = False,
    **old: int,
) -> np.ndarray:
    """The image turned by up to rg degrees either way."""
    axes = older_axes("random_rotation", old, _axes(row_axis, col_axis, channel_axis))
    filling = _filling(fill_mode, cval, interpolation_order, center_offset, transposed)
    return apply_affine_transform(x, theta=np.random.uniform(-rg, rg), **axes, **filling)


def random_shift(
    x: Any,
    wrg: float,
    hrg: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
    center_offset: float = CENTER_OFFSET,
    transposed: bool = False,
    **old: int,
) -> np.ndarray:
    """The image shifted by up to wrg of its columns and hrg of its rows either way."""
    axes = older_axes("random_shift", old, _axes(row_axis, col_axis, channel_axis))
    filling = _filling(fill_mode, cval, interpolation_order, center_offset, transposed)
    tx = np.random.uniform(-hrg, hrg) * np.shape(x)[axes["row_axis"]]
    ty = np.random.uniform(-wrg, wrg) * np.shape(x)[axes["col_axis"]]
    return apply_affine_transform(x, tx=tx, ty=ty, **axes, **filling)


def random_shear(
    x: Any,
    intensity: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
    center_offset: float = CENTER_OFFSET,
    transposed: bool = False,
    **old: int,
) -> np.ndarray:
    """The image sheared by up to intensity degrees either way."""
    axes = older_axes("random_shear", old, _axes(row_axis, col_axis, channel_axis))
    filling = _filling(fill_mode, cval, interpolation_order, center_offset, transposed)
    return apply_affine_transform(x, shear=np.random.uniform(-intensity, intensity), **axes, **filling)


def random_zoom(
    x: Any,
    zoom_range: Sequence[float],
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
    center_offset: float = CENTER_OFFSET,
    transposed: bool = False,
    **old: int,
) -> np.ndarray:
    """A part of the image for the whole: shares of its rows and of its columns within zoom_range."""
    axes = older_axes("random_zoom", old, _axes(row_axis, col_axis, channel_axis))
    filling = _filling(fill_mode, cval, interpolation_order, center_offset, transposed)
    zx, zy = drawn_zoom(pair("zoom_range", zoom_range))
    return apply_affine_transform(x, zx=zx, zy=zy, **axes, **filling)


def drawn_zoom(zoom_range: Sequence[float]) -> tuple[float, float]:
    """Shares of rows and of columns; none is drawn where both ends are 1."""
    if zoom_range[0] == 1 and zoom_range[1] == 1:
        return 1, 1
    zx, zy = np.random.uniform(zoom_range[0], zoom_range[1], 2)
    return zx, zy


def _axes(row_axis: int, col_axis: int, channel_axis: int) -> dict[str, Any]:
    return {"row_axis": row_axis, "col_axis": col_axis, "channel_axis": channel_axis}


def _filling(
    fill_mode: str, cval: float, order: int, center_offset: float, transposed: bool
) -> dict[str, Any]:
    return {
        "fill_mode": fill_mode,
        "cval": cval,
        "order": order,
        "center_offset": center_offset,
        "transposed": transposed,
    }


# ---------------------------------------------------------------- colours


def apply_channel_shift(x: Any, intensity: float, channel_axis: int = 0) -> np.ndarray:
    """The image with a number added, within the range that all its channels have: channel_axis makes no
    difference."""
    image = np.asarray(x)
    return np.clip(image + intensity, np.min(image), np.max(image))


def random_channel_shift(x: Any, intensity_range: float, channel_axis: int = 0) -> np.ndarray:
    """The image with a number of up to intensity_range, either way, added to all channels."""
    intensity = np.random.uniform(-intensity_range, intensity_range)
    return apply_channel_shift(x, intensity, channel_axis)


def apply_brightness_shift(
    x: Any, brightness: float, scale: bool = True, data_format: str = "channels_last"
) -> np.ndarray:
    """The image as one of Pillow, whose brightness is multiplied: 0 is black, 1 the same.

    scale: the image takes the range 0 to 255 first. Without it that is so only where it goes beyond, and the
    result has the image's range again. Raises ValueError for an array that is no image.
    """
    low, high = np.min(x), np.max(x)
    beyond = bool(low < 0 or high > 255)
    image = array_to_img(x, data_format, scale=scale or beyond)
    array = img_to_array(pillow("ImageEnhance").Brightness(image).enhance(brightness), data_format)
    return array / 255 * (high - low) + low if beyond and not scale else array


def random_brightness(x: Any, brightness_range: Sequence[float], scale: bool = True) -> np.ndarray:
    """The image with its brightness multiplied by a number within brightness_range."""
    low, high = pair("brightness_range", brightness_range)
    return apply_brightness_shift(x, np.random.uniform(low, high), scale)


def pair(name: str, value: Any) -> tuple[float, float]:
    """Both ends of a range. Raises InputError (a ValueError) for anything else."""
    numbers = (int, float, np.integer, np.floating)
    if (
        not isinstance(value, (tuple, list, np.ndarray))
        or len(value) != 2
        or not all(isinstance(v, numbers) and not isinstance(v, bool) for v in value)
    ):
        raise InputError(describe(name, "a list of two numbers", repr(value)))
    return value[0], value[1]

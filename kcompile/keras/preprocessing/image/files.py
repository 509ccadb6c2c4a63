"""Images of files as arrays, and back.

Enters: paths, arrays of shape (rows, columns, channels), or channels first. Leaves: images of Pillow, arrays,
files.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kcompile.keras.extras import library
from kcompile.keras.preprocessing.image.spellings import data_format_of
from kcompile.keras.settings import floatx
from kcompile_runtime.errors import InputError, describe

MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
GREY = ("L", "I;16", "I")  # Pillow's, of which none is made another
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")
SUFFIXES = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")


def pillow(module: str = "Image") -> Any:
    """A module of Pillow."""
    return library(f"PIL.{module}", "image")


def load_img(
    path: Any,
    grayscale: bool = False,
    color_mode: str = "rgb",
    target_size: Sequence[int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """The image of a file, as Pillow has it.

    path: or a binary file that is open. color_mode: "rgb", "rgba" or "grayscale" (also of 16 and 32 bits);
    grayscale=True is the older spelling. target_size: (rows, columns), None for those of the file.
    interpolation: "nearest", "bilinear", "bicubic", "lanczos", "box" or "hamming". keep_aspect_ratio: what
    does not fit the target's shape is cut off on both sides, and not squeezed.
    Raises InputError (a ValueError) for another mode or interpolation, OSError for what is no image.
    """
    if grayscale:
        warnings.warn("load_img: grayscale=True is an older spelling of color_mode='grayscale'", stacklevel=2)
        color_mode = "grayscale"
    check_color_mode(color_mode)
    if hasattr(path, "read"):
        held = path.read()
    else:
        with open(path, "rb") as file:
            held = file.read()
    image = pillow().open(io.BytesIO(held))
    if not (color_mode == "grayscale" and image.mode in GREY) and image.mode != MODES[color_mode]:
        image = image.convert(MODES[color_mode])
    return image if target_size is None else _resized(image, target_size, interpolation, keep_aspect_ratio)


def check_color_mode(color_mode: str) -> None:
    if color_mode not in MODES:
        raise InputError(describe("color_mode", "'grayscale', 'rgb' or 'rgba'", repr(color_mode)))


def _resized(image: Any, target_size: Sequence[int], interpolation: str, keep_aspect_ratio: bool) -> Any:
    rows, columns = target_size
    if image.size == (columns, rows):
        return image
    if interpolation not in INTERPOLATIONS:
        raise InputError(describe("interpolation", ", ".join(map(repr, INTERPOLATIONS)), repr(interpolation)))
    resample = getattr(pillow().Resampling, interpolation.upper())
    if not keep_aspect_ratio:
        return image.resize((columns, rows), resample)
    width, height = image.size
    cut_width = min(width, height * columns // rows)
    cut_height = min(height, width * rows // columns)
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    return image.resize((columns, rows), resample, box=(left, top, left + cut_width, top + cut_height))


def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None, **old: Any) -> np.ndarray:
    """The array of an image: shape (rows, columns, channels), or channels first.

    data_format, dtype: None for the defaults, `image_data_format()` and `floatx()`. Raises ValueError for
    another format, and for what is no image.
    """
    data_format = data_format_of("img_to_array", data_format, old)
    array = np.asarray(img, dtype=floatx() if dtype is None else dtype)
    if array.ndim not in (2, 3):
        raise InputError(describe("img_to_array", "an image of 2 or 3 dimensions", str(array.shape)))
    array = array[:, :, np.newaxis] if array.ndim == 2 else array
    return array.transpose(2, 0, 1) if data_format == "channels_first" else array


def array_to_img(
    x: Any, data_format: str | None = None, scale: bool = True, dtype: Any = None, **old: Any
) -> Any:
    """The image of an array of rank 3 with 1, 3 or 4 channels, as Pillow has it.

    data_format, dtype: None for the defaults. scale: the least number becomes 0, the largest 255; otherwise
    they are taken as they are, of one channel up to 32 bits. Raises ValueError for another format or shape.
    """
    data_format = data_format_of("array_to_img", data_format, old)
    array = np.asarray(x, dtype=floatx() if dtype is None else dtype)
    if array.ndim != 3:
        raise InputError(describe("array_to_img", "an array of rank 3", str(array.shape)))
    if data_format == "channels_first":
        array = array.transpose(1, 2, 0)
    channels = array.shape[2]
    if channels not in CHANNELS.values():
        raise InputError(
            describe("array_to_img", "1, 3 or 4 channels", f"{channels}, of shape {np.shape(x)}")
        )
    if scale:
        array = array - np.min(array)
        largest = np.max(array)
        array = (array / largest if largest != 0 else array) * 255
    if channels > 1:
        return pillow().fromarray(np.ascontiguousarray(array.astype("uint8")))
    return pillow().fromarray(array[:, :, 0].astype("int32" if np.max(array) > 255 else "uint8"))


def save_img(
    path: Any,
    x: Any,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Save an array as an image.

    path: or a binary file that is open. file_format: None for what the path's end says. data_format, scale:
    as `array_to_img` has them. kwargs: of Pillow's `save`.
    """
    old = {"dim_ordering": kwargs.pop("dim_ordering")} if "dim_ordering" in kwargs else {}
    image = array_to_img(x, data_format_of("save_img", data_format, old), scale)
    kind = file_format or os.path.splitext(os.fspath(path) if isinstance(path, (str, os.PathLike)) else "")[1]
    if kind.lower().lstrip(".") in ("jpg", "jpeg"):
        if image.mode == "RGBA":
            warnings.warn("save_img: JPEG has no alpha channel, which is left out", stacklevel=2)
            image = image.convert("RGB")
        file_format = "JPEG" if file_format else None
    image.save(path, format=file_format, **kwargs)


def list_pictures(directory: str | os.PathLike[str], ext: str | Sequence[str] = SUFFIXES) -> list[str]:
    """The paths of all files below a folder that end in one of these."""
    suffixes = tuple(f".{e}" for e in ((ext,) if isinstance(ext, str) else ext))
    return [
        os.path.join(folder, name)
        for folder, _, names in os.walk(directory)
        for name in names
        if name.lower().endswith(suffixes)
    ]


def pictures_below(directory: str, follow_links: bool) -> Iterator[str]:
    """The paths of the images below a folder, in the order of their names, folder after folder."""
    for folder, _, names in sorted(os.walk(directory, followlinks=follow_links), key=lambda found: found[0]):
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES):
                yield os.path.join(folder, name)

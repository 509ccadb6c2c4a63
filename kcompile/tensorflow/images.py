"""Functions of tf.image: of images as arrays, which data sets map, and as tensors, where keras.ops can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.keras.eager import EagerTensor
from kcompile.keras.layers.preprocessing.geometry import Resizing
from kcompile.keras.preprocessing.image.sampling import resized, with_margins
from kcompile.tensorflow.functions import o, on_values
from kcompile_runtime.errors import UnsupportedError

_GREY = (0.2989, 0.587, 0.114)


def resize(
    images: Any,
    size: Any,
    method: Any = "bilinear",
    preserve_aspect_ratio: bool = False,
    antialias: bool = False,
    name: Any = None,
) -> Any:
    """Images in another size."""
    if not on_values(images) and not preserve_aspect_ratio:
        height, width = size
        way = str(method).rpartition(".")[2].lower()
        return Resizing(height, width, way, antialias=antialias, vintage="tf_keras")(images)
    if not on_values(images):
        raise UnsupportedError("tensorflow.image.resize: preserve_aspect_ratio, on tensors of a model")
    array, (rows, columns) = np.asarray(images), (int(d) for d in size)
    if preserve_aspect_ratio:
        scale = min(rows / array.shape[-3], columns / array.shape[-2])
        rows, columns = (round(array.shape[axis] * scale) for axis in (-3, -2))
    return resized(array, (rows, columns), str(method).lower(), antialias).view(EagerTensor)


def resize_with_pad(
    image: Any, target_height: int, target_width: int, method: Any = "bilinear", antialias: bool = False
) -> Any:
    """Images as large as they fit into a size, with zeros around."""
    if antialias or not on_values(image):
        raise UnsupportedError("tensorflow.image.resize_with_pad: antialias, and tensors of a model")
    return with_margins(np.asarray(image), (target_height, target_width), str(method).lower()).view(
        EagerTensor
    )


def convert_image_dtype(image: Any, dtype: Any, saturate: bool = False, name: Any = None) -> Any:
    """Images in another dtype, whose range is that of the integers, or up to 1."""
    source, target = np.dtype(str(image.dtype)), np.dtype(str(dtype))
    if source.kind in "iu" and target.kind == "f":
        return o.multiply(o.cast(image, target.name), 1.0 / np.iinfo(source).max)
    if source.kind == "f" and target.kind in "iu":
        return o.cast(o.multiply(image, np.iinfo(target).max + 0.5), target.name)
    return o.cast(image, target.name)


def rgb_to_grayscale(images: Any, name: Any = None) -> Any:
    """Images with one channel."""
    kind = str(images.dtype)
    x = images if kind.startswith("float") else convert_image_dtype(images, "float32")
    return convert_image_dtype(o.sum(o.multiply(x, np.array(_GREY, np.float32)), -1, True), kind)


def standardized(image: Any) -> Any:
    """Each image with mean 0 and deviation 1."""
    axes = (-3, -2, -1)
    x = o.cast(image, "float32")
    count = int(np.prod(image.shape[-3:]))
    deviation = o.maximum(o.std(x, axes, True), count**-0.5)
    return o.divide(o.subtract(x, o.mean(x, axes, True)), deviation)


def adjust_contrast(images: Any, contrast_factor: Any) -> Any:
    """Images whose distances from the mean of each channel are so many times as large."""
    mean = o.mean(images, (-3, -2), True)
    return o.add(o.multiply(o.subtract(images, mean), contrast_factor), mean)


def central_crop(image: Any, central_fraction: float) -> Any:
    """The middle of images."""
    key: list[Any] = [slice(None)] * len(image.shape)
    for axis in (-3, -2):
        start = int((image.shape[axis] - image.shape[axis] * central_fraction) / 2)
        key[axis] = slice(start, start + image.shape[axis] - 2 * start)
    return _part(image, key)


def crop_to_bounding_box(
    image: Any, offset_height: int, offset_width: int, target_height: int, target_width: int
) -> Any:
    """A part of images."""
    key: list[Any] = [slice(None)] * len(image.shape)
    key[-3] = slice(offset_height, offset_height + target_height)
    key[-2] = slice(offset_width, offset_width + target_width)
    return _part(image, key)


def _part(image: Any, key: list[Any]) -> Any:
    return (
        np.asarray(image)[tuple(key)].view(EagerTensor) if on_values(image) else o.get_item(image, tuple(key))
    )


def psnr(a: Any, b: Any, max_val: Any, name: Any = None) -> Any:
    """How near images are, in decibels."""
    error = o.mean(o.square(o.subtract(o.cast(a, "float32"), o.cast(b, "float32"))), (-3, -2, -1))
    return o.subtract(20 * np.log10(max_val), o.multiply(o.log10(error), 10))


def total_variation(images: Any, name: Any = None) -> Any:
    """The sum of the distances of neighbouring pixels."""
    axes = (-3, -2, -1)
    down = o.abs(o.subtract(images[..., 1:, :, :], images[..., :-1, :, :]))
    across = o.abs(o.subtract(images[..., 1:, :], images[..., :-1, :]))
    return o.add(o.sum(down, axes), o.sum(across, axes))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "image.central_crop": central_crop,
    "image.convert_image_dtype": convert_image_dtype,
    "image.crop_to_bounding_box": crop_to_bounding_box,
    "image.flip_left_right": lambda image: o.flip(image, -2),
    "image.flip_up_down": lambda image: o.flip(image, -3),
    "image.grayscale_to_rgb": lambda images, name=None: o.repeat(images, 3, -1),
    "image.per_image_standardization": standardized,
    "image.psnr": psnr,
    "image.resize": resize,
    "image.resize_with_pad": resize_with_pad,
    "image.rgb_to_grayscale": rgb_to_grayscale,
    "image.total_variation": total_variation,
}

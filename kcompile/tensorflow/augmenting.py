"""Functions of tf.image that move and change pictures by chance, as pipelines of data map them.

Enters: images [rows, columns, channels], or [n, ...] of them, as values. Leaves: the same. Numbers are drawn
anew for each call, and for each of n images where TensorFlow does so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from kcompile.keras import keras3_ops
from kcompile.keras.eager import EagerTensor
from kcompile.tensorflow.functions import Function, o, on_values
from kcompile.tensorflow.images import adjust_contrast, convert_image_dtype, crop_to_bounding_box
from kcompile.tensorflow.networks import uniform
from kcompile_runtime.errors import InputError, UnsupportedError, describe

_images = cast(Any, keras3_ops).image


def pad_to_bounding_box(
    image: Any, offset_height: int, offset_width: int, target_height: int, target_width: int
) -> Any:
    """Images in a larger one of zeros, from an offset on. Raises InputError where they do not fit."""
    rows, columns = (int(d) for d in image.shape[-3:-1])
    top, left = int(offset_height), int(offset_width)
    below, right = int(target_height) - rows - top, int(target_width) - columns - left
    if min(top, left, below, right) < 0:
        got = f"rows {rows} from {top} on, columns {columns} from {left} on"
        size = f"images that fit into {int(target_height)} x {int(target_width)}"
        raise InputError(describe("tensorflow.image.pad_to_bounding_box", size, got))
    around = [(0, 0)] * (len(image.shape) - 3)
    return o.pad(image, [*around, (top, below), (left, right), (0, 0)])


def resize_with_crop_or_pad(image: Any, target_height: int, target_width: int) -> Any:
    """The middle of images, or images in the middle of zeros, for each of the two axes."""
    rows, columns = (int(d) for d in image.shape[-3:-1])
    more = int(target_height) - rows, int(target_width) - columns
    top, left = (max(-d // 2, 0) for d in more)
    least = min(rows, int(target_height)), min(columns, int(target_width))
    part = crop_to_bounding_box(image, top, left, *least)
    above, before = (max(d // 2, 0) for d in more)
    return pad_to_bounding_box(part, above, before, target_height, target_width)


def rot90(image: Any, k: int = 1, name: Any = None) -> Any:
    """Images turned to the left k times."""
    return o.rot90(image, int(k), (-3, -2))


def changed(change: Callable[..., Any]) -> Function:
    """A change of images as fractions, which come back in the dtype that they had, within its bounds."""

    def call(image: Any, *args: Any) -> Any:
        kind = np.dtype(str(image.dtype))
        if kind.kind == "f":
            return change(image, *args)
        most = np.iinfo(kind).max
        made = o.multiply(change(convert_image_dtype(image, "float32"), *args), most + 0.5)
        return o.cast(o.clip(made, np.iinfo(kind).min, most), kind.name)

    return call


def _saturated(image: Any, factor: Any) -> Any:
    hue, share, value = o.split(_images.rgb_to_hsv(image), 3, -1)
    share = o.clip(o.multiply(share, factor), 0.0, 1.0)
    return _images.hsv_to_rgb(o.concatenate([hue, share, value], -1))


def _turned(image: Any, delta: Any) -> Any:
    hue, share, value = o.split(_images.rgb_to_hsv(image), 3, -1)
    return _images.hsv_to_rgb(o.concatenate([o.mod(o.add(hue, delta), 1.0), share, value], -1))


brighter, contrasted = changed(o.add), changed(adjust_contrast)
saturated, turned = changed(_saturated), changed(_turned)


def _check(function: str, layer: str, image: Any) -> None:
    if not on_values(image):
        raise UnsupportedError(
            f"tensorflow.image.{function}: tensors of a model. Use the layer of keras.layers that does it "
            f"({layer})"
        )


def _flipped(function: str, axis: int) -> Function:
    def flip(image: Any, seed: Any = None) -> Any:
        _check(function, "RandomFlip", image)
        x = np.asarray(image)
        draws = np.asarray(uniform(x.shape[:-3], seed=seed)).reshape(*x.shape[:-3], 1, 1, 1)
        return np.where(draws < 0.5, np.flip(x, axis), x).view(EagerTensor)

    return flip


def random_crop(value: Any, size: Any, seed: Any = None, name: Any = None) -> Any:
    """A part of this size, of all axes. Raises InputError where there is none."""
    _check("random_crop", "RandomCrop", value)
    x, sizes = np.asarray(value), [int(d) for d in np.ravel(np.asarray(size))]
    sizes = [whole if d == -1 else d for d, whole in zip(sizes, x.shape)]
    if len(sizes) != x.ndim or any(d > whole for d, whole in zip(sizes, x.shape)):
        raise InputError(describe("tensorflow.image.random_crop: size", f"at most {x.shape}", str(sizes)))
    draws = np.asarray(uniform((x.ndim,), seed=seed))
    starts = [min(int(u * (d - s + 1)), d - s) for u, d, s in zip(draws, x.shape, sizes)]
    return x[tuple(slice(a, a + s) for a, s in zip(starts, sizes))].view(EagerTensor)


def random_brightness(image: Any, max_delta: Any, seed: Any = None) -> Any:
    """Images to all of which one number within max_delta is added."""
    _check("random_brightness", "RandomBrightness", image)
    return brighter(image, uniform((), -max_delta, max_delta, seed=seed))


def random_contrast(image: Any, lower: Any, upper: Any, seed: Any = None) -> Any:
    """`adjust_contrast` by one number between the two."""
    _check("random_contrast", "RandomContrast", image)
    return contrasted(image, uniform((), lower, upper, seed=seed))


def random_hue(image: Any, max_delta: Any, seed: Any = None) -> Any:
    """`adjust_hue` by one number within max_delta."""
    _check("random_hue", "RandomHue", image)
    return turned(image, uniform((), -max_delta, max_delta, seed=seed))


def random_saturation(image: Any, lower: Any, upper: Any, seed: Any = None) -> Any:
    """`adjust_saturation` by one number between the two."""
    _check("random_saturation", "RandomSaturation", image)
    return saturated(image, uniform((), lower, upper, seed=seed))


FUNCTIONS: dict[str, Any] = {
    "image.adjust_brightness": lambda image, delta: brighter(image, delta),
    "image.adjust_contrast": lambda images, contrast_factor: contrasted(images, contrast_factor),
    "image.adjust_hue": lambda image, delta, name=None: turned(image, delta),
    "image.adjust_saturation": lambda image, saturation_factor, name=None: saturated(
        image, saturation_factor
    ),
    "image.pad_to_bounding_box": pad_to_bounding_box,
    "image.random_brightness": random_brightness,
    "image.random_contrast": random_contrast,
    "image.random_crop": random_crop,
    "image.random_flip_left_right": _flipped("random_flip_left_right", -2),
    "image.random_flip_up_down": _flipped("random_flip_up_down", -3),
    "image.random_hue": random_hue,
    "image.random_saturation": random_saturation,
    "image.resize_with_crop_or_pad": resize_with_crop_or_pad,
    "image.rot90": rot90,
}

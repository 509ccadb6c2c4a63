"""Batches of images in an array."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from kcompile.keras.preprocessing.image.files import CHANNELS
from kcompile.keras.preprocessing.image.iterator import Iterator, save_batch, share
from kcompile.keras.preprocessing.image.spellings import data_format_of
from kcompile.keras.settings import floatx
from kcompile_runtime.errors import InputError, describe


class NumpyArrayIterator(Iterator):
    """Batches of an array of images: x, (x, y) or (x, y, sample_weight).

    x: rank 4, or (images, other arrays), which are given beside the images as they are. y, sample_weight: a
    row for each image. data_format, dtype: None for the defaults. The rest: see `ImageDataGenerator.flow`.
    Raises InputError (a ValueError) for lengths that differ, another rank, another subset, and where the
    classes of both subsets differ.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        image_data_generator: Any,
        batch_size: int = 32,
        shuffle: bool = False,
        sample_weight: Any = None,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        dtype: Any = None,
        ignore_class_split: bool = False,
        **old: Any,
    ) -> None:
        self.data_format = data_format_of("NumpyArrayIterator", data_format, old)
        self.dtype = floatx() if dtype is None else dtype
        images, others = (x[0], x[1] if isinstance(x[1], list) else [x[1]]) if _with_others(x) else (x, [])
        beside = [("All of the arrays in `x`", array) for array in others]
        beside += [("`x` (images tensor) and `y` (labels)", y), ("`x` and `sample_weight`", sample_weight)]
        for name, rows in beside:
            if rows is not None and len(rows) != len(images):
                raise InputError(describe(f"{name} of flow", f"{len(images)} rows", str(len(rows))))
        kept = _rows(share(image_data_generator, subset), len(images), None if ignore_class_split else y)
        self.x = np.asarray(images[kept], dtype=self.dtype)
        self.x_misc = [np.asarray(array)[kept] for array in others]
        self.y = None if y is None else np.asarray(y)[kept]
        self.sample_weight = None if sample_weight is None else np.asarray(sample_weight)[kept]
        check_images("NumpyArrayIterator", self.x, self.data_format)
        self.image_data_generator = image_data_generator
        self.save_to_dir = save_to_dir
        self.save_prefix = save_prefix
        self.save_format = save_format
        super().__init__(len(self.x), batch_size, shuffle, seed)

    def _get_batches_of_transformed_samples(self, index_array: np.ndarray) -> Any:
        images = np.zeros((len(index_array), *self.x.shape[1:]), dtype=self.dtype)
        for i, j in enumerate(index_array):
            x = self.image_data_generator.random_transform(self.x[j].astype(self.dtype))
            images[i] = self.image_data_generator.standardize(x)
        save_batch(images, index_array, self, 10_000)
        x = [images, *(array[index_array] for array in self.x_misc)] if self.x_misc else images
        if self.y is None:
            return x
        if self.sample_weight is None:
            return x, self.y[index_array]
        return x, self.y[index_array], self.sample_weight[index_array]


def _with_others(x: Any) -> bool:
    """Whether x is (images, other arrays)."""
    if not isinstance(x, (tuple, list)):
        return False
    if len(x) != 2:
        raise InputError(describe("x", "an array, or a tuple (images, other arrays)", f"{len(x)} of them"))
    return True


def _rows(part: tuple[float, float] | None, count: int, y: Any) -> slice:
    """The rows of a subset. Raises InputError where one subset has classes that the other has not."""
    if part is None:
        return slice(None)
    first, last = (int(count * end) for end in part)
    if y is not None:
        inside, outside = (
            np.asarray(y)[first:last],
            np.concatenate([np.asarray(y)[:first], np.asarray(y)[last:]]),
        )
        if not np.array_equal(np.unique(inside), np.unique(outside)):
            raise InputError(
                "flow: training and validation have different classes after the split. Rows that are "
                "sorted by their labels should be shuffled before"
            )
    return slice(first, last)


def check_images(where: str, x: np.ndarray, data_format: str) -> None:
    """Raises InputError for an array of another rank than 4, and warns of an odd number of channels."""
    if x.ndim != 4:
        raise InputError(describe(where, "an array of rank 4", str(x.shape)))
    axis = 3 if data_format == "channels_last" else 1
    if x.shape[axis] not in CHANNELS.values():
        warnings.warn(
            f"{where}: 1, 3 or 4 channels were expected on axis {axis} ({data_format}), of shape {x.shape}",
            stacklevel=4,
        )

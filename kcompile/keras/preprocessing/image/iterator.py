"""Batches of images that are asked for by number, or one after the other.

Enters: how many samples there are, and a way to make a batch of some. Leaves: a `Sequence` that is its own
iterator and never ends. Each batch is made of numbers drawn in the order of Keras, from numpy's generator.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator as Iterating
from collections.abc import Sequence as Numbers
from typing import Any

import numpy as np

from kcompile.keras.preprocessing.image import files
from kcompile.keras.utils.data_utils import Sequence
from kcompile_runtime.checks import check_count
from kcompile_runtime.errors import InputError, describe

SUBSETS = ("training", "validation")


class Iterator(Sequence):
    """Batches of samples, whose numbers `_get_batches_of_transformed_samples` of a subclass makes one.

    n: samples. shuffle: in a new order for each epoch. seed: makes the order, and the random transforms, the
    same again: before the k-th batch numpy's generator is seeded with seed + k.
    `next` may be called by several threads; batches are then made at the same time.
    """

    white_list_formats = files.SUFFIXES

    def __init__(self, n: int, batch_size: int, shuffle: bool, seed: int | None) -> None:
        self.n = n
        self.batch_size = check_count("batch_size", batch_size, 1 if n else 0)
        self.seed = seed
        self.shuffle = shuffle
        self.batch_index = 0
        self.total_batches_seen = 0
        self.index_array: np.ndarray | None = None
        self._start()

    def _start(self) -> None:
        self.lock = threading.Lock()
        self.index_generator = self._flow_index()

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: neither the lock nor the generator."""
        return {k: v for k, v in vars(self).items() if k not in ("lock", "index_generator")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def __len__(self) -> int:
        """Batches of an epoch; the last may be smaller."""
        return (self.n + self.batch_size - 1) // self.batch_size

    def __getitem__(self, idx: int) -> Any:
        """The batch of this number. Raises InputError (a ValueError) for another."""
        if not 0 <= idx < len(self):
            raise InputError(describe("batch", f"a number from 0, below {len(self)}", str(idx)))
        with self.lock:
            self._seed()
            self.total_batches_seen += 1
            if self.index_array is None:
                self._set_index_array()
            samples = self._order()[self.batch_size * idx : self.batch_size * (idx + 1)]
        return self._get_batches_of_transformed_samples(samples)

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self) -> Any:
        """The next batch; after the last of an epoch the first of another."""
        with self.lock:
            samples = next(self.index_generator)
        return self._get_batches_of_transformed_samples(samples)

    def on_epoch_end(self) -> None:
        """Make the order of the next epoch."""
        self._set_index_array()

    def reset(self) -> None:
        """Begin anew with the first batch."""
        self.batch_index = 0

    def _seed(self) -> None:
        if self.seed is not None:
            np.random.seed(self.seed + self.total_batches_seen)

    def _set_index_array(self) -> None:
        self.index_array = np.random.permutation(self.n) if self.shuffle else np.arange(self.n)

    def _order(self) -> np.ndarray:
        assert self.index_array is not None
        return self.index_array

    def _flow_index(self) -> Iterating[np.ndarray]:
        """The numbers of samples of the next batch."""
        self.reset()
        while True:
            self._seed()
            if self.batch_index == 0:
                self._set_index_array()
            first = self.batch_index * self.batch_size % self.n if self.n else 0
            self.batch_index = self.batch_index + 1 if self.n > first + self.batch_size else 0
            self.total_batches_seen += 1
            yield self._order()[first : first + self.batch_size]

    def _get_batches_of_transformed_samples(self, index_array: np.ndarray) -> Any:
        """A batch of the samples with these numbers."""
        raise NotImplementedError(
            f"{type(self).__name__} needs _get_batches_of_transformed_samples(index_array)"
        )


def share(generator: Any, subset: str | None) -> tuple[float, float] | None:
    """Which part of the samples a subset is, None for all. Raises InputError for another name."""
    if subset is None:
        return None
    if subset not in SUBSETS:
        raise InputError(describe("subset", "'training' or 'validation'", repr(subset)))
    held_back = 0.0 if generator is None else generator._validation_split
    if subset == "validation" and not held_back:
        raise InputError(describe("subset 'validation'", "a generator with validation_split", "none"))
    return (0, held_back) if subset == "validation" else (held_back, 1)


def save_batch(batch: np.ndarray, numbers: Numbers[int] | np.ndarray, iterator: Any, names: int) -> None:
    """Save the images of a batch in `save_to_dir`, where that is given. names: how many may be drawn."""
    if not iterator.save_to_dir:
        return
    for image, number in zip(batch, numbers):
        name = f"{iterator.save_prefix}_{number}_{np.random.randint(names)}.{iterator.save_format}"
        files.array_to_img(image, iterator.data_format).save(os.path.join(iterator.save_to_dir, name))


class BatchFromFilesMixin:
    """Batches of images in files; a subclass has their `filepaths`, `labels`, `sample_weight` and
    `class_mode`."""

    dtype: Any
    class_mode: str | None
    class_indices: dict[str, int]

    def set_processing_attrs(
        self,
        image_data_generator: Any,
        target_size: Numbers[int],
        color_mode: str,
        data_format: str,
        save_to_dir: str | None,
        save_prefix: str,
        save_format: str,
        subset: str | None,
        interpolation: str,
        keep_aspect_ratio: bool = False,
    ) -> None:
        """What is done to each file; see `ImageDataGenerator.flow_from_directory`."""
        self.image_data_generator = image_data_generator
        self.target_size = tuple(target_size)
        files.check_color_mode(color_mode)
        self.color_mode = color_mode
        self.data_format = data_format
        channels = (files.CHANNELS[color_mode],)
        last = data_format == "channels_last"
        self.image_shape = self.target_size + channels if last else channels + self.target_size
        self.save_to_dir = save_to_dir
        self.save_prefix = save_prefix
        self.save_format = save_format
        self.interpolation = interpolation
        self.keep_aspect_ratio = keep_aspect_ratio
        self.split = share(image_data_generator, subset)
        self.subset = subset

    @property
    def filepaths(self) -> list[str]:
        """The paths of the images."""
        raise NotImplementedError(f"{type(self).__name__} needs filepaths")

    @property
    def labels(self) -> Any:
        """The label of each image."""
        raise NotImplementedError(f"{type(self).__name__} needs labels")

    @property
    def sample_weight(self) -> Any:
        """The weight of each image, or None."""
        raise NotImplementedError(f"{type(self).__name__} needs sample_weight")

    def _get_batches_of_transformed_samples(self, index_array: np.ndarray) -> Any:
        images = np.zeros((len(index_array), *self.image_shape), dtype=self.dtype)
        for i, j in enumerate(index_array):
            images[i] = self._image(self.filepaths[j])
        save_batch(images, index_array, self, 10_000_000)
        if self.class_mode is None:
            return images
        targets = self._targets_of(images, index_array)
        weights = self.sample_weight
        return (images, targets) if weights is None else (images, targets, weights[index_array])

    def _image(self, path: str) -> np.ndarray:
        with files.load_img(
            path,
            color_mode=self.color_mode,
            target_size=self.target_size,
            interpolation=self.interpolation,
            keep_aspect_ratio=self.keep_aspect_ratio,
        ) as image:
            x = files.img_to_array(image, self.data_format)
        if self.image_data_generator:
            x = self.image_data_generator.random_transform(x)
            x = self.image_data_generator.standardize(x)
        return x

    def _targets_of(self, images: np.ndarray, index_array: np.ndarray) -> Any:
        """What the batch of these images is to be trained towards, by class_mode."""
        if self.class_mode == "input":
            return images.copy()
        if self.class_mode == "multi_output":
            return [output[index_array] for output in self.labels]
        if self.class_mode == "raw":
            return self.labels[index_array]
        found = [self.labels[j] for j in index_array]
        if self.class_mode in ("binary", "sparse"):
            return np.array(found, dtype=self.dtype)
        rows = np.zeros((len(found), len(self.class_indices)), dtype=self.dtype)
        for row, classes in zip(rows, found):
            row[classes] = 1
        return rows

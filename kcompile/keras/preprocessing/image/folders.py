"""Batches of images in folders, of which each is a class."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.keras.preprocessing.image.files import pictures_below
from kcompile.keras.preprocessing.image.iterator import BatchFromFilesMixin, Iterator
from kcompile.keras.preprocessing.image.spellings import data_format_of
from kcompile.keras.settings import floatx
from kcompile_runtime.errors import InputError, describe


class DirectoryIterator(BatchFromFilesMixin, Iterator):
    """Batches of the images below a folder: x, or (x, y). See `ImageDataGenerator.flow_from_directory`.

    `class_indices` has the number of each class, `classes` that of each image, `filenames` the paths below
    the folder. data_format, dtype: None for the defaults.
    """

    allowed_class_modes = ("categorical", "binary", "sparse", "input", None)

    def __init__(
        self,
        directory: str | os.PathLike[str],
        image_data_generator: Any,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        dtype: Any = None,
        keep_aspect_ratio: bool = False,
        **old: Any,
    ) -> None:
        self.set_processing_attrs(
            image_data_generator,
            target_size,
            color_mode,
            data_format_of("DirectoryIterator", data_format, old),
            save_to_dir,
            save_prefix,
            save_format,
            subset,
            interpolation,
            keep_aspect_ratio,
        )
        check_class_mode(class_mode, self.allowed_class_modes)
        self.class_mode = class_mode
        self.dtype = floatx() if dtype is None else dtype
        self.directory = os.fspath(directory)
        names = list(classes) if classes else _folders(self.directory)
        self.num_classes = len(names)
        self.class_indices = {name: i for i, name in enumerate(names)}
        found = [self._files(name, follow_links) for name in names]
        self.filenames = [path for paths in found for path in paths]
        self.samples = len(self.filenames)
        self.classes = np.repeat(np.arange(len(found), dtype="int32"), [len(paths) for paths in found])
        if any(path.lower().endswith(".tiff") for path in self.filenames):
            warnings.warn("images of several bands in .tiff files are distorted", stacklevel=3)
        print(f"Found {self.samples} images belonging to {self.num_classes} classes.")
        self._filepaths = [os.path.join(self.directory, path) for path in self.filenames]
        Iterator.__init__(self, self.samples, batch_size, shuffle, seed)

    def _files(self, name: str, follow_links: bool) -> list[str]:
        """The images of a class, of the subset that is asked for."""
        folder = os.path.join(self.directory, name)
        paths = [os.path.join(name, os.path.relpath(p, folder)) for p in pictures_below(folder, follow_links)]
        if self.split is None:
            return paths
        return paths[int(self.split[0] * len(paths)) : int(self.split[1] * len(paths))]

    @property
    def filepaths(self) -> list[str]:
        return self._filepaths

    @property
    def labels(self) -> np.ndarray:
        return self.classes

    @property
    def sample_weight(self) -> None:
        return None


def _folders(directory: str) -> list[str]:
    return sorted(name for name in os.listdir(directory) if os.path.isdir(os.path.join(directory, name)))


def check_class_mode(class_mode: str | None, allowed: Sequence[str | None]) -> None:
    if class_mode not in allowed:
        raise InputError(describe("class_mode", ", ".join(map(repr, allowed)), repr(class_mode)))

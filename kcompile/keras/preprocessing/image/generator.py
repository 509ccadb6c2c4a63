"""What is done to each image before a model sees it: random transforms, then standardization.

Enters: images as arrays, in folders, or named by a table. Leaves: iterators of batches. Random numbers are
drawn from numpy's generator in the order of Keras, also those of transforms that are not asked for.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.keras.preprocessing.image.arrays import NumpyArrayIterator, check_images
from kcompile.keras.preprocessing.image.folders import DirectoryIterator
from kcompile.keras.preprocessing.image.spellings import data_format_of
from kcompile.keras.preprocessing.image.table import DataFrameIterator
from kcompile.keras.preprocessing.image.transforms import (
    CENTER_OFFSET,
    FILLS,
    apply_affine_transform,
    apply_brightness_shift,
    apply_channel_shift,
    drawn_zoom,
    flip_axis,
    pair,
)
from kcompile.keras.settings import floatx
from kcompile_runtime.checks import check_count, check_number
from kcompile_runtime.errors import InputError, InputTypeError, describe

EPSILON = 1e-6  # guards divisions by standard deviations
OLD_TABLE_OPTIONS = {
    "has_ext": "names in the table are those of files, with their ends",
    "sort": "batches have the order of the table",
    "drop_duplicates": "duplicates are left out by the table's own drop_duplicates",
}


class ImageDataGenerator:
    """Random transforms and standardization of images.

    featurewise_center, featurewise_std_normalization, zca_whitening (with zca_epsilon): by the mean, standard
    deviation and principal components of the images that `fit` was given.
    samplewise_center, samplewise_std_normalization: by the mean and standard deviation of each image.
    rotation_range, shear_range: degrees, either way. width_shift_range, height_shift_range: a float below 1
    is a share of the columns or rows, either way, a larger one as many; an integer n: one of -(n - 1), ...,
    n - 1; a list: one of these, either way, shares where all are below 1. zoom_range: (least, most) of the
    rows and columns that are seen, or z for (1 - z, 1 + z). brightness_range: (least, most) factor.
    channel_shift_range: what is added to all channels, either way. horizontal_flip, vertical_flip: for half
    of the images. fill_mode, cval, interpolation_order: see `apply_affine_transform`.
    rescale: factor of each number. preprocessing_function: is given an image, before it is rescaled, and
    gives one of the same shape. data_format, dtype: None for the defaults. validation_split: the share of
    images that are subset "validation", the first ones. center_offset, transposed: see `transforms`;
    scale_brightness: whether a brightness_range makes the range of images 0 to 255, as in Keras 2 (since
    tf.keras: not). Raises InputError (a ValueError) for ranges that are none.
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: Any = 0.0,
        height_shift_range: Any = 0.0,
        brightness_range: Sequence[float] | None = None,
        shear_range: float = 0.0,
        zoom_range: Any = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[[np.ndarray], np.ndarray] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: Any = None,
        center_offset: float = CENTER_OFFSET,
        transposed: bool = False,
        scale_brightness: bool = True,
        **old: Any,
    ) -> None:
        self.data_format = data_format_of("ImageDataGenerator", data_format, old)
        self.dtype = floatx() if dtype is None else dtype
        self.featurewise_center = featurewise_center
        self.samplewise_center = samplewise_center
        self.featurewise_std_normalization = featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening = zca_whitening
        self.zca_epsilon = zca_epsilon
        self.rotation_range = check_number("rotation_range", rotation_range)
        self.width_shift_range = _shift_range("width_shift_range", width_shift_range)
        self.height_shift_range = _shift_range("height_shift_range", height_shift_range)
        self.brightness_range = (
            None if brightness_range is None else pair("brightness_range", brightness_range)
        )
        self.shear_range = check_number("shear_range", shear_range)
        single = isinstance(zoom_range, (int, float, np.integer, np.floating))
        self.zoom_range = [1 - zoom_range, 1 + zoom_range] if single else list(pair("zoom_range", zoom_range))
        self.channel_shift_range = check_number("channel_shift_range", channel_shift_range)
        if fill_mode not in FILLS:
            raise InputError(describe("fill_mode", ", ".join(map(repr, FILLS)), repr(fill_mode)))
        self.fill_mode = fill_mode
        self.cval = cval
        self.horizontal_flip = horizontal_flip
        self.vertical_flip = vertical_flip
        self.rescale = rescale
        self.preprocessing_function = preprocessing_function
        if validation_split and not 0 < validation_split < 1:
            raise InputError(describe("validation_split", "a number between 0 and 1", repr(validation_split)))
        self._validation_split = validation_split
        self.interpolation_order = interpolation_order
        self.center_offset = center_offset
        self.transposed = transposed
        self.scale_brightness = scale_brightness
        last = self.data_format == "channels_last"
        self.channel_axis, self.row_axis, self.col_axis = (3, 1, 2) if last else (1, 2, 3)
        self.mean: np.ndarray | None = None
        self.std: np.ndarray | None = None
        self.principal_components: np.ndarray | None = None
        self._agree()

    def _agree(self) -> None:
        """Turn on what another argument needs, with a warning."""
        if self.zca_whitening and self.featurewise_std_normalization:
            self.featurewise_std_normalization = False
            warnings.warn("zca_whitening takes the place of featurewise_std_normalization", stacklevel=3)
        for option in ("zca_whitening", "featurewise_std_normalization", "samplewise_std_normalization"):
            center = "samplewise_center" if option.startswith("samplewise") else "featurewise_center"
            if getattr(self, option) and not getattr(self, center):
                setattr(self, center, True)
                warnings.warn(f"{option} needs {center}, which is turned on", stacklevel=3)

    # ---------------------------------------------------------------- batches

    def flow(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: Any = None,
        seed: int | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        ignore_class_split: bool = False,
    ) -> NumpyArrayIterator:
        """Batches of an array of images, without end: x, (x, y) or (x, y, sample_weight).

        x: rank 4; or (images, other arrays), which are given as they are. seed: see `Iterator`.
        save_to_dir: a folder where the transformed images are saved, their names beginning with save_prefix,
        as save_format, "png" or "jpeg". subset: "training" or "validation", parts by validation_split;
        ignore_class_split: also where the classes of both differ (tf.keras).
        """
        return NumpyArrayIterator(
            x,
            y,
            self,
            batch_size,
            shuffle,
            sample_weight,
            seed,
            self.data_format,
            save_to_dir,
            save_prefix,
            save_format,
            subset,
            self.dtype,
            ignore_class_split,
        )

    def flow_from_directory(
        self,
        directory: str | os.PathLike[str],
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
    ) -> DirectoryIterator:
        """Batches of the images below a folder, without end: x or (x, y).

        Each folder in it is a class, of all images below that; classes: names of the folders, by default all,
        in their order. class_mode: y is "categorical" (one-hot rows), "binary" or "sparse" (numbers of
        classes), "input" (the images again), or None: no y. target_size: (rows, columns) of each image;
        color_mode, interpolation, keep_aspect_ratio: see `load_img`. follow_links: also links to folders. The
        others: see `flow`.
        """
        return DirectoryIterator(
            directory,
            self,
            target_size,
            color_mode,
            classes,
            class_mode,
            batch_size,
            shuffle,
            seed,
            self.data_format,
            save_to_dir,
            save_prefix,
            save_format,
            follow_links,
            subset,
            interpolation,
            self.dtype,
            keep_aspect_ratio,
        )

    def flow_from_dataframe(
        self,
        dataframe: Any,
        directory: str | os.PathLike[str] | None = None,
        x_col: str = "filename",
        y_col: Any = "class",
        weight_col: str | None = None,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        validate_filenames: bool = True,
        **kwargs: Any,
    ) -> DataFrameIterator:
        """Batches of the images that a pandas table names, without end: x, (x, y) or (x, y, weights).

        x_col: the column of paths, below directory where that is given. y_col: the column of targets, or a
        list of columns. weight_col: that of weights. class_mode: as in `flow_from_directory`, where labels
        are text, for "categorical" also lists of several; "raw" (the values of y_col), or "multi_output" (a
        list of arrays, one for each column). classes: rows of other classes are left out. validate_filenames:
        names that are of no image are left out, with a warning. The others: see `flow_from_directory`.
        """
        for option, reason in OLD_TABLE_OPTIONS.items():
            if option in kwargs:
                warnings.warn(f"flow_from_dataframe: {option} has no effect: {reason}", DeprecationWarning, 2)
                kwargs.pop(option)
        if kwargs:
            raise InputTypeError(
                describe(
                    "flow_from_dataframe", "the arguments of Keras' function", ", ".join(map(repr, kwargs))
                )
            )
        if class_mode == "other":
            warnings.warn("class_mode 'other' is the older name of 'raw'", DeprecationWarning, 2)
            class_mode = "raw"
        return DataFrameIterator(
            dataframe,
            directory,
            self,
            x_col,
            y_col,
            weight_col,
            target_size,
            color_mode,
            classes,
            class_mode,
            batch_size,
            shuffle,
            seed,
            self.data_format,
            save_to_dir,
            save_prefix,
            save_format,
            subset,
            interpolation,
            self.dtype,
            validate_filenames,
        )

    # ---------------------------------------------------------------- one image

    def standardize(self, x: np.ndarray) -> np.ndarray:
        """The image, or batch, after preprocessing_function, rescaled, centred and normalised, in its own
        memory where it has floating-point numbers. Warns where `fit` was not called and is needed."""
        if self.preprocessing_function:
            x = self.preprocessing_function(x)
        if not np.issubdtype(np.asarray(x).dtype, np.floating):
            x = np.asarray(x, dtype=self.dtype)
        if self.rescale:
            x *= self.rescale
        if self.samplewise_center:
            x -= np.mean(x, keepdims=True)
        if self.samplewise_std_normalization:
            x /= np.std(x, keepdims=True) + EPSILON
        if (mean := self._fitted("featurewise_center", self.mean)) is not None:
            x -= mean
        if (std := self._fitted("featurewise_std_normalization", self.std)) is not None:
            x /= std + EPSILON
        if (components := self._fitted("zca_whitening", self.principal_components)) is not None:
            rows = np.reshape(x, (-1, int(np.prod(x.shape[-3:]))))
            x = np.reshape(rows @ components, x.shape)
        return x

    def _fitted(self, option: str, found: np.ndarray | None) -> np.ndarray | None:
        """What `fit` found for an option, None where that is not asked for; warns where it is missing."""
        if not getattr(self, option):
            return None
        if found is None:
            warnings.warn(f"{option} has no effect before fit(images) was called", stacklevel=3)
        return found

    def get_random_transform(self, img_shape: Sequence[int], seed: int | None = None) -> dict[str, Any]:
        """Random parameters for `apply_transform`. img_shape: of the image. seed: of numpy's generator."""
        if seed is not None:
            np.random.seed(seed)
        theta = np.random.uniform(-self.rotation_range, self.rotation_range) if self.rotation_range else 0
        tx = _shift(self.height_shift_range, img_shape[self.row_axis - 1])
        ty = _shift(self.width_shift_range, img_shape[self.col_axis - 1])
        shear = np.random.uniform(-self.shear_range, self.shear_range) if self.shear_range else 0
        zx, zy = drawn_zoom(self.zoom_range)
        flips = [bool((np.random.random() < 0.5) * on) for on in (self.horizontal_flip, self.vertical_flip)]
        channel_shift = brightness = None
        if self.channel_shift_range != 0:
            channel_shift = np.random.uniform(-self.channel_shift_range, self.channel_shift_range)
        if self.brightness_range is not None:
            brightness = np.random.uniform(*self.brightness_range)
        return {
            "theta": theta,
            "tx": tx,
            "ty": ty,
            "shear": shear,
            "zx": zx,
            "zy": zy,
            "flip_horizontal": flips[0],
            "flip_vertical": flips[1],
            "channel_shift_intensity": channel_shift,
            "brightness": brightness,
        }

    def apply_transform(self, x: np.ndarray, transform_parameters: dict[str, Any]) -> np.ndarray:
        """The image, of rank 3, transformed.

        transform_parameters: theta and shear in degrees, tx rows and ty columns, zx and zy shares of the rows
        and columns that are seen, flip_horizontal, flip_vertical, channel_shift_intensity, brightness; what
        is not there changes nothing.
        """
        row_axis, col_axis, channel_axis = (a - 1 for a in (self.row_axis, self.col_axis, self.channel_axis))
        given = transform_parameters
        x = apply_affine_transform(
            x,
            **{name: given[name] for name in ("theta", "tx", "ty", "shear", "zx", "zy") if name in given},
            row_axis=row_axis,
            col_axis=col_axis,
            channel_axis=channel_axis,
            fill_mode=self.fill_mode,
            cval=self.cval,
            order=self.interpolation_order,
            center_offset=self.center_offset,
            transposed=self.transposed,
        )
        if (intensity := given.get("channel_shift_intensity")) is not None:
            x = apply_channel_shift(x, intensity, channel_axis)
        if given.get("flip_horizontal"):
            x = flip_axis(x, col_axis)
        if given.get("flip_vertical"):
            x = flip_axis(x, row_axis)
        if (brightness := given.get("brightness")) is not None:
            x = apply_brightness_shift(x, brightness, self.scale_brightness, self.data_format)
        return x

    def random_transform(self, x: np.ndarray, seed: int | None = None) -> np.ndarray:
        """The image, of rank 3, transformed at random. seed: of numpy's generator."""
        return self.apply_transform(x, self.get_random_transform(x.shape, seed))

    # ---------------------------------------------------------------- statistics

    def fit(self, x: Any, augment: bool = False, rounds: int = 1, seed: int | None = None) -> None:
        """Find mean, standard deviation and principal components of images, as far as they are asked for.

        x: rank 4; rescale is applied. augment: of images transformed at random, each `rounds` times. seed: of
        numpy's generator. Raises InputError (a ValueError) for another rank.
        """
        images = np.array(x, dtype=self.dtype)
        check_images("fit", images, self.data_format)
        if seed is not None:
            np.random.seed(seed)
        if self.rescale:
            images *= self.rescale
        if augment:
            count = check_count("fit: rounds", rounds)
            images = np.array(
                [self.random_transform(image) for _ in range(count) for image in images], self.dtype
            )
        axes = (0, self.row_axis, self.col_axis)
        if self.featurewise_center:
            self.mean = np.mean(images, axis=axes, keepdims=True)[0]
            images -= self.mean
        if self.featurewise_std_normalization:
            self.std = np.std(images, axis=axes, keepdims=True)[0]
            images /= self.std + EPSILON
        if self.zca_whitening:
            rows = images.reshape(len(images), -1)
            u, s, _ = np.linalg.svd(rows.T @ rows / len(rows))
            self.principal_components = (u / np.sqrt(s + self.zca_epsilon)) @ u.T


def _shift_range(name: str, value: Any) -> Any:
    """A number, or an array of them. Raises InputError (a ValueError) for anything else."""
    if isinstance(value, (tuple, list, np.ndarray)):
        numbers = np.asarray(value)
        if numbers.ndim != 1 or not numbers.size or numbers.dtype.kind not in "iuf":
            raise InputError(describe(name, "a number, or a list of numbers", repr(value)))
        return numbers
    check_number(name, value, 0 if isinstance(value, (int, np.integer)) else -np.inf)
    return value


def _shift(limit: Any, size: int) -> Any:
    """How far an image of this size is moved."""
    if isinstance(limit, np.ndarray) or (limit and isinstance(limit, (int, np.integer))):
        moved = np.random.choice(limit) * np.random.choice([-1, 1])
    elif limit:
        moved = np.random.uniform(-limit, limit)
    else:
        return 0
    return moved * size if np.max(limit) < 1 else moved

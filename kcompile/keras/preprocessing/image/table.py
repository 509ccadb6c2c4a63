"""Batches of images that a table names, with their targets and weights."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.keras.preprocessing.image.files import SUFFIXES
from kcompile.keras.preprocessing.image.folders import check_class_mode
from kcompile.keras.preprocessing.image.iterator import BatchFromFilesMixin, Iterator
from kcompile.keras.preprocessing.image.spellings import data_format_of
from kcompile.keras.settings import floatx
from kcompile_runtime.errors import InputError, InputTypeError, describe

CLASSES = ("binary", "categorical", "sparse")  # modes whose targets are numbers of classes


class DataFrameIterator(BatchFromFilesMixin, Iterator):
    """Batches of the images that a pandas table names: x, (x, y) or (x, y, weights).

    See `ImageDataGenerator.flow_from_dataframe`. `filenames` has the names, `class_indices` the number of
    each class, `classes` the class of each image. data_format, dtype: None for the defaults.
    """

    allowed_class_modes = ("binary", "categorical", "input", "multi_output", "raw", "sparse", None)

    def __init__(
        self,
        dataframe: Any,
        directory: str | os.PathLike[str] | None = None,
        image_data_generator: Any = None,
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
        data_format: str | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        dtype: Any = None,
        validate_filenames: bool = True,
        **old: Any,
    ) -> None:
        self.set_processing_attrs(
            image_data_generator,
            target_size,
            color_mode,
            data_format_of("DataFrameIterator", data_format, old),
            save_to_dir,
            save_prefix,
            save_format,
            subset,
            interpolation,
        )
        check_class_mode(class_mode, self.allowed_class_modes)
        self.class_mode = class_mode
        self.dtype = floatx() if dtype is None else dtype
        self.directory = os.fspath(directory) if directory else ""
        names = list(dataframe[x_col])
        self._check(dataframe, names, x_col, y_col, weight_col, classes)
        rows = self._valid(names, x_col) if validate_filenames else list(range(len(names)))
        rows = self._label(dataframe, y_col, classes, rows)
        self.filenames = [names[row] for row in rows]
        self.samples = len(rows)
        self._sample_weight = np.asarray(dataframe[weight_col])[rows] if weight_col else None
        kind = "validated" if validate_filenames else "non-validated"
        of = f" belonging to {len(self.class_indices)} classes" if class_mode in CLASSES else ""
        print(f"Found {self.samples} {kind} image filenames{of}.")
        self._filepaths = [os.path.join(self.directory, name) for name in self.filenames]
        Iterator.__init__(self, self.samples, batch_size, shuffle, seed)

    def _check(
        self, table: Any, names: list[Any], x_col: str, y_col: Any, weight_col: str | None, classes: Any
    ) -> None:
        """Raises InputTypeError, or InputError where a binary mode has not two classes, for columns that do
        not fit the mode."""
        mode = f"class_mode {self.class_mode!r}"
        if self.class_mode == "multi_output" and not isinstance(y_col, list):
            raise InputTypeError(describe(f"{mode}: y_col", "a list of columns", repr(y_col)))
        if not all(isinstance(name, str) for name in names):
            raise InputTypeError(describe(f"column {x_col!r}", "names of files as text", "other values"))
        if self.class_mode in CLASSES:
            kinds = (str, list, tuple) if self.class_mode == "categorical" else (str,)
            if not all(isinstance(label, kinds) for label in table[y_col]):
                expected = " or ".join({str: "text", list: "lists", tuple: "tuples"}[k] for k in kinds)
                raise InputTypeError(describe(f"{mode}: column {y_col!r}", expected, "other values"))
        if self.class_mode == "binary" and len(found := set(classes or table[y_col])) != 2:
            raise InputError(describe(mode, "2 classes", str(len(found))))
        if classes and self.class_mode not in CLASSES:
            warnings.warn(f"{mode} has no classes: the argument `classes` is not used", stacklevel=4)
        if weight_col and np.asarray(table[weight_col]).dtype.kind not in "iuf":
            raise InputTypeError(describe(f"column {weight_col!r}", "numbers", str(table[weight_col].dtype)))

    def _valid(self, names: list[str], x_col: str) -> list[int]:
        """The rows that name an image that is there; warns of others."""
        paths = [os.path.join(self.directory, name) for name in names]
        rows = [i for i, p in enumerate(paths) if p.lower().endswith(SUFFIXES) and os.path.isfile(p)]
        if len(rows) < len(names):
            warnings.warn(
                f"{len(names) - len(rows)} names in column {x_col!r} are of no image, and left out",
                stacklevel=4,
            )
        return rows

    def _label(self, table: Any, y_col: Any, classes: Sequence[str] | None, rows: list[int]) -> list[int]:
        """Set what the images of these rows are to be trained towards; gives the rows that have it, of the
        subset that is asked for."""
        labels: list[Any] = []
        if self.class_mode in CLASSES:
            rows, labels, known = _of_classes(rows, list(table[y_col]), classes)
            self.class_indices = {name: i for i, name in enumerate(known)}
        if self.split is not None:
            rows = rows[int(self.split[0] * len(rows)) : int(self.split[1] * len(rows))]
        if self.class_mode in CLASSES:
            self.classes = [self._number(labels[row]) for row in rows]
        elif self.class_mode == "multi_output":
            self._targets: Any = [np.array(np.asarray(table[column])[rows].tolist()) for column in y_col]
        elif self.class_mode == "raw":
            self._targets = np.asarray(table[y_col])[rows]
        return rows

    def _number(self, label: Any) -> Any:
        """The number of a class, or a list of them."""
        if isinstance(label, (list, tuple)):
            return [self.class_indices[name] for name in label]
        return self.class_indices[label]

    @property
    def filepaths(self) -> list[str]:
        return self._filepaths

    @property
    def labels(self) -> Any:
        return self._targets if self.class_mode in ("multi_output", "raw") else self.classes

    @property
    def sample_weight(self) -> Any:
        return self._sample_weight


def _of_classes(
    rows: list[int], labels: list[Any], classes: Sequence[str] | None
) -> tuple[list[int], list[Any], list[str]]:
    """The rows with a class that is asked for (by default: any), labels without others, and all classes."""
    if not classes:
        used = (labels[row] for row in rows)
        return (
            rows,
            labels,
            sorted({c for label in used for c in ([label] if isinstance(label, str) else label)}),
        )
    wanted = set(classes)
    kept = [
        label
        if isinstance(label, str) and label in wanted
        else None
        if isinstance(label, str)
        else [c for c in label if c in wanted] or None
        for label in labels
    ]
    return [row for row in rows if kept[row] is not None], kept, sorted(wanted)

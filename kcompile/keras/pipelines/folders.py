"""Data sets of the images and texts in folders, as keras.utils makes them.

Enters: a folder whose folders are classes, or whose files have given labels. Leaves: a `Dataset` of batches
(images, labels), whose `class_names` and `file_paths` say what is in it. Files are found and put in order as
Keras does: sorted, then by numpy's RandomState of the seed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kcompile.keras.eager import EagerTensor
from kcompile.keras.pipelines import sounds
from kcompile.keras.pipelines.dataset import Dataset
from kcompile.keras.preprocessing.image.files import CHANNELS, check_color_mode, img_to_array, load_img
from kcompile.keras.preprocessing.image.sampling import METHODS, cropped, resized, with_margins
from kcompile.keras.settings import checked_data_format
from kcompile_runtime.checks import check_count, check_flag, check_number
from kcompile_runtime.errors import InputError, UnsupportedError, describe

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
MODES = ("int", "categorical", "binary", None)
SUBSETS = ("training", "validation", "both")


@dataclass(frozen=True)
class Files:
    """Paths, their labels (None without), and the names of classes."""

    paths: list[str]
    labels: np.ndarray | None
    classes: list[str] | None

    def part(self, of: slice) -> Files:
        return replace(self, paths=self.paths[of], labels=None if self.labels is None else self.labels[of])


@dataclass(frozen=True)
class Choice:
    """Which files, in which order, with which labels: the arguments that both functions have."""

    labels: Any
    label_mode: str | None
    class_names: Sequence[str] | None
    batch_size: int | None
    shuffle: bool
    seed: int
    validation_split: float | None
    subset: str | None
    follow_links: bool
    verbose: bool

    @staticmethod
    def checked(
        labels: Any,
        label_mode: Any,
        class_names: Any,
        batch_size: Any,
        shuffle: Any,
        seed: Any,
        validation_split: Any,
        subset: Any,
        follow_links: Any,
        verbose: Any,
        format: Any,
    ) -> Choice:
        """The arguments, checked. Raises InputError, a ValueError; UnsupportedError for grain's data sets."""
        if (
            labels != "inferred"
            if isinstance(labels, str)
            else not isinstance(labels, (list, tuple, type(None), np.ndarray))
        ):
            raise InputError(describe("labels", "'inferred', a list of numbers, or None", repr(labels)))
        if label_mode not in MODES:
            raise InputError(
                describe("label_mode", "'int', 'categorical', 'binary' or None", repr(label_mode))
            )
        if class_names is not None and not isinstance(labels, str):
            raise InputError("class_names: classes have names where labels='inferred'")
        if format != "tf":
            raise UnsupportedError(describe("format", "'tf'", repr(format), "Its batches are numpy's."))
        share = None if validation_split is None else check_number("validation_split", validation_split, 0, 1)
        if share is not None and not 0 < share < 1:
            raise InputError(describe("validation_split", "a share between 0 and 1", repr(share)))
        if (share is None) != (subset is None):
            raise InputError("validation_split and subset: give both, or none of them")
        if subset is not None and subset not in SUBSETS:
            raise InputError(describe("subset", "'training', 'validation' or 'both'", repr(subset)))
        shuffle = check_flag("shuffle", shuffle)
        if share is not None and shuffle and seed is None:
            raise InputError("seed: two parts of shuffled files need a seed, so that they share none")
        return Choice(
            None if label_mode is None else labels,
            None if labels is None else label_mode,
            class_names,
            None if batch_size is None else check_count("batch_size", batch_size),
            shuffle,
            int(np.random.randint(10**6) if seed is None else seed),
            share,
            subset,
            check_flag("follow_links", follow_links),
            check_flag("verbose", bool(verbose)),
        )

    def found(self, directory: Any, endings: tuple[str, ...]) -> Files:
        """The files of a folder."""
        root = os.fspath(directory)
        if not os.path.isdir(root):
            raise InputError(describe("directory", "a folder", repr(root)))
        names = self._classes(root) if isinstance(self.labels, str) else [""]
        several = [_below(os.path.join(root, name), endings, self.follow_links) for name in names]
        paths = [path for part in several for path in part]
        classes: list[str] | None = names
        labels: np.ndarray | None
        if isinstance(self.labels, str):
            labels = np.repeat(np.arange(len(names), dtype=np.int32), [len(part) for part in several])
        elif self.labels is None:
            labels, classes = None, None
        else:
            labels, classes = np.asarray(self.labels), [str(c) for c in sorted(set(self.labels))]
            if len(labels) != len(paths):
                raise InputError(describe("labels", f"one for each of {len(paths)} files", f"{len(labels)}"))
        if self.label_mode == "binary" and len(classes or ()) != 2:
            raise InputError(describe("label_mode='binary'", "two classes", repr(classes)))
        if self.verbose:
            behind = "" if labels is None else f" belonging to {len(classes or ())} classes"
            print(f"Found {len(paths)} files{behind}.", flush=True)
        if self.shuffle:
            order = np.arange(len(paths))
            np.random.RandomState(self.seed).shuffle(order)
            paths, labels = [paths[k] for k in order], None if labels is None else labels[order]
        return Files(paths, labels, classes)

    def _classes(self, root: str) -> list[str]:
        there = sorted(
            name
            for name in os.listdir(root)
            if os.path.isdir(os.path.join(root, name)) and not name.startswith(".")
        )
        if self.class_names is None:
            return there
        if not set(self.class_names) <= set(there):
            raise InputError(
                describe("class_names", f"names of folders: {', '.join(there)}", repr(self.class_names))
            )
        return list(self.class_names)

    def parts(self, files: Files) -> list[tuple[Files, bool]]:
        """The files of each data set, and whether it is shuffled. Raises InputError for none."""
        found = [(files, self.shuffle)]
        if self.validation_split is not None:
            held = int(self.validation_split * len(files.paths))
            first, rest = (
                files.part(slice(0, len(files.paths) - held)),
                files.part(slice(len(files.paths) - held, None)),
            )
            both = [(first, self.shuffle), (rest, self.shuffle and self.subset != "both")]
            if self.verbose:
                _tell(self.subset, len(first.paths), held)
            found = both if self.subset == "both" else [both[SUBSETS.index(str(self.subset))]]
        for part, _ in found:
            if not part.paths:
                raise InputError("directory: there are no files of these kinds for this part")
        return found

    def dataset(self, files: Files, shuffled: bool, read: Callable[[str], Any]) -> Dataset:
        """The data set of files, in batches."""
        numbers = Dataset.range(len(files.paths))
        if shuffled:
            numbers = numbers.shuffle(1024 if self.batch_size is None else self.batch_size * 8, self.seed)
        labels = self._targets(files)

        def one(number: Any) -> Any:
            made = read(files.paths[int(number)])
            return made if labels is None else (made, labels[int(number)].view(EagerTensor))

        made = numbers.map(one)
        if self.batch_size is not None:
            made = made.batch(self.batch_size)
        made.class_names, made.file_paths = files.classes, files.paths
        return made

    def _targets(self, files: Files) -> np.ndarray | None:
        """The label of each file, as an array that gives arrays."""
        if files.labels is None:
            return None
        if self.label_mode == "categorical":
            return np.eye(len(files.classes or ()), dtype=np.float32)[files.labels.astype(int)]
        if self.label_mode == "binary":
            return files.labels.astype(np.float32)[:, None]
        return files.labels.astype(np.int32)

    def all(self, directory: Any, endings: tuple[str, ...], read: Callable[[str], Any]) -> Any:
        """The data set, or with subset="both" the two of them."""
        parts = self.parts(self.found(directory, endings))
        made = [self.dataset(files, shuffled, read) for files, shuffled in parts]
        return made if self.subset == "both" else made[0]


def image_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: Any = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Batches (images, labels) of the images in a folder; images alone without labels.

    labels: "inferred" from the folders in it, a list in the order of the sorted files, or None. label_mode:
    "int", "categorical" (one-hot), "binary" (0. and 1.) or None. class_names: the folders, in the order of
    their numbers. image_size: (rows, columns), to which images are resized as tf.image.resize does; without
    being squeezed with crop_to_aspect_ratio or pad_to_aspect_ratio. subset: "training" or "validation", or
    "both" of them, the share validation_split of the files being the latter. seed: of the order. Raises
    InputError. Images are read by Pillow (extra `image`).
    """
    choice = Choice.checked(
        labels, label_mode, class_names, batch_size, shuffle, seed, validation_split, subset, follow_links,
        verbose, format,
    )  # fmt: skip
    check_color_mode(color_mode)
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if not isinstance(size, (list, tuple)) or len(size) != 2:
        raise InputError(describe("image_size", "(rows, columns)", repr(image_size)))
    size = tuple(check_count("image_size", d) for d in size)
    method = str(interpolation).lower()
    if method not in METHODS:
        raise InputError(describe("interpolation", ", ".join(map(repr, METHODS)), repr(interpolation)))
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise InputError("crop_to_aspect_ratio and pad_to_aspect_ratio: give one of them")
    first = checked_data_format(data_format) == "channels_first"

    def read(path: str) -> np.ndarray:
        image = np.asarray(load_img(path, color_mode=color_mode))
        image = img_to_array(image, "channels_last", image.dtype)[..., : CHANNELS[color_mode]]
        if pad_to_aspect_ratio:
            made = with_margins(image, size, method)
        else:
            made = resized(cropped(image, size) if crop_to_aspect_ratio else image, size, method)
        return (made.transpose(2, 0, 1) if first else made).view(EagerTensor)

    return choice.all(directory, IMAGES, read)


def text_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Batches (texts, labels) of the .txt files in a folder. The texts are arrays of strings, for a `map`
    that makes numbers of them, as models here take numbers. max_length: bytes of a text that are read. Other
    arguments: those of `image_dataset_from_directory`."""
    choice = Choice.checked(
        labels, label_mode, class_names, batch_size, shuffle, seed, validation_split, subset, follow_links,
        verbose, format,
    )  # fmt: skip
    length = None if max_length is None else check_count("max_length", max_length)

    def read(path: str) -> np.ndarray:
        text = Path(path).read_bytes()[:length].decode("utf-8", "replace")
        return np.array(text).view(EagerTensor)

    return choice.all(directory, (".txt",), read)


def audio_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    sampling_rate: int | None = None,
    output_sequence_length: int | None = None,
    ragged: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    verbose: bool = True,
) -> Any:
    """Batches (sounds [n, output_sequence_length, channels], labels) of the .wav files in a folder, of 16
    bits: longer ones are cut, shorter ones end in zeros. Other arguments: those of
    `image_dataset_from_directory`. Raises UnsupportedError for sampling_rate, ragged, and where no
    output_sequence_length is given."""
    if sampling_rate is not None or ragged or output_sequence_length is None:
        raise UnsupportedError(
            "audio_dataset_from_directory: sounds are of one length here, as many samples a second as their "
            "files have: give output_sequence_length, and neither sampling_rate nor ragged"
        )
    choice = Choice.checked(
        labels, label_mode, class_names, batch_size, shuffle, seed, validation_split, subset, follow_links,
        verbose, "tf",
    )  # fmt: skip
    length = check_count("output_sequence_length", output_sequence_length)

    def read(path: str) -> np.ndarray:
        return sounds.of_length(sounds.decoded(Path(path).read_bytes())[0], length).view(EagerTensor)

    return choice.all(directory, (".wav",), read)


def _below(folder: str, endings: tuple[str, ...], follow_links: bool) -> list[str]:
    """The paths of the files below a folder, in Keras' order."""
    walk = sorted(os.walk(folder, followlinks=follow_links), key=lambda found: found[0])
    return [
        os.path.join(root, name)
        for root, _, files in walk
        for name in sorted(files)
        if name.lower().endswith(endings)
    ]


def _tell(subset: str | None, first: int, rest: int) -> None:
    """What is used of the files."""
    if subset == "both":
        print(f"Using {first} files for training.\nUsing {rest} files for validation.", flush=True)
    else:
        print(f"Using {first if subset == 'training' else rest} files for {subset}.", flush=True)

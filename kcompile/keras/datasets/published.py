"""Where the data sets of Keras are: addresses and digests, the same file for every Keras.

Enters: the name of a file. Leaves: its path in Keras' cache, which is filled from the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kcompile.keras.settings import keras_folder
from kcompile.keras.utils.data_utils import get_file, validate_file
from kcompile_runtime.checks import check_path
from kcompile_runtime.errors import InputError, describe

TENSORFLOW = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
TORONTO = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True)
class Published:
    """A file: its address, and the digests that Kerases give for it. What is loaded has the first one."""

    origin: str
    digests: tuple[str, ...] = ()


FILES = {
    "mnist.npz": Published(
        TENSORFLOW + "mnist.npz",
        (
            "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
            "8a61469f7ea1b51cbae51d4f78837e45",
        ),
    ),
    "imdb.npz": Published(
        TENSORFLOW + "imdb.npz",
        (
            "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
            "599dadb1135973df5b59232a0e9a887c",
        ),
    ),
    "imdb_word_index.json": Published(
        TENSORFLOW + "imdb_word_index.json", ("bfafd718b763782e994055a2d397834f",)
    ),
    "reuters.npz": Published(
        TENSORFLOW + "reuters.npz",
        (
            "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916",
            "87aedbeb0cb229e378797a632c1997b6",
        ),
    ),
    "reuters_word_index.json": Published(
        TENSORFLOW + "reuters_word_index.json", ("4d44cc38712099c9e383dc6e5f11a921",)
    ),
    "boston_housing.npz": Published(
        TENSORFLOW + "boston_housing.npz",
        ("f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5",),
    ),
    "california_housing.npz": Published(
        TENSORFLOW + "california_housing.npz",
        ("1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f",),
    ),
    "cifar-10-batches-py": Published(
        TORONTO + "cifar-10-python.tar.gz",
        ("6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",),
    ),
    "cifar-100-python": Published(
        TORONTO + "cifar-100-python.tar.gz",
        ("85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",),
    ),
    **{
        name: Published(TENSORFLOW + name)
        for name in (
            "train-labels-idx1-ubyte.gz",
            "train-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
            "t10k-images-idx3-ubyte.gz",
        )
    },
}


def fetch(name: str, path: str | None = None, folder: str = "datasets") -> str:
    """The path of a published file, which stands under `path` (default: its name) in a folder of the cache.
    Raises FetchError where it is not there and cannot be loaded."""
    file = FILES[name]
    place = check_path(f"{name}: path", name if path is None else path)
    cached = keras_folder() / folder / place
    if cached.is_file() and any(validate_file(cached, digest) for digest in file.digests):
        return str(cached)
    return get_file(place, file.origin, file_hash=next(iter(file.digests), None), cache_subdir=folder)


def fetch_folder(name: str, members: tuple[str, ...]) -> str:
    """The folder of a published archive, with these files in it: as Keras 2 or 3 unpacked it, or from the
    archive. Raises FetchError."""
    datasets = keras_folder() / "datasets"
    for folder in (datasets / name, datasets / f"{name}-target" / name):
        if all((folder / member).is_file() for member in members):
            return str(folder)
    file = FILES[name]
    archive = get_file(
        f"{name}.tar.gz", file.origin, file_hash=file.digests[0], extract=True, archive_format="tar"
    )
    folder = Path(archive).parent / name
    if missing := [member for member in members if not (folder / member).is_file()]:
        raise InputError(describe(archive, f"an archive of {name}", f"one without {', '.join(missing)}"))
    return str(folder)

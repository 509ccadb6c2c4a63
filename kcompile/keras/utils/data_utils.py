"""Data from elsewhere: files from an address, kept where Keras keeps them, and data that come batch by batch.

Enters: an address, a name in the cache, a digest. Leaves: the path of the file. The network is reached
through pooch (extra `data`), and only for what the cache lacks.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from kcompile.keras.extras import library
from kcompile.keras.settings import keras_folder
from kcompile.keras.utils.archives import extract_archive
from kcompile.keras.utils.enqueuers import GeneratorEnqueuer, OrderedEnqueuer, SequenceEnqueuer
from kcompile_runtime.checks import check_path, check_text
from kcompile_runtime.errors import ExtraError, FetchError, InputError, InputTypeError, describe
from kcompile_runtime.progress import Progbar

__all__ = [
    "GeneratorEnqueuer",
    "OrderedEnqueuer",
    "PyDataset",
    "Sequence",
    "SequenceEnqueuer",
    "get_file",
    "validate_file",
]
ALGORITHMS = ("auto", "sha256", "md5")


class Sequence:
    """Data as batches that are asked for by number: what `fit` and the other methods of a model take.

    A subclass has `__len__`, the number of batches of an epoch, and `__getitem__`, which gives the batch of
    a number: (x, y) or (x, y, sample_weight). `on_epoch_end` is called after each epoch.
    """

    use_sequence_api = True

    def __getitem__(self, index: int) -> Any:
        """The batch of this number, from 0."""
        raise NotImplementedError(f"{type(self).__name__} needs __getitem__(index), which gives a batch")

    def __len__(self) -> int:
        """The number of batches of an epoch."""
        raise NotImplementedError(f"{type(self).__name__} needs __len__(), the number of batches")

    def on_epoch_end(self) -> None:
        """Called after each epoch, to make the data of the next."""

    def __iter__(self) -> Iterator[Any]:
        """The batches of one epoch in order."""
        return (self[i] for i in range(len(self)))


class PyDataset(Sequence):
    """A `Sequence` as Keras 3 has it, which says itself how its batches are made ahead: by so many workers,
    threads or with use_multiprocessing processes, at most max_queue_size; with one thread, when needed.
    `num_batches` is the length, or None for data without an end.
    `on_epoch_begin` and `on_epoch_end` are called around each pass of fit, evaluate and predict over it, and
    `on_epoch_end` before the first of fit and each of evaluate too, as Keras 3 does."""

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10, **others: Any
    ) -> None:
        if others:
            raise InputTypeError(
                describe(type(self).__name__, "the arguments of PyDataset", ", ".join(map(repr, others)))
            )
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    # Of a subclass whose constructor does not call that of PyDataset
    workers: int = 1
    use_multiprocessing: bool = False
    max_queue_size: int = 10

    @property
    def num_batches(self) -> int | None:
        """The number of batches of an epoch; a subclass without a length may give None: there is no end.
        Raises NotImplementedError for one that says neither."""
        if type(self).__len__ is PyDataset.__len__:
            raise NotImplementedError(f"{type(self).__name__} needs num_batches, or __len__()")
        return len(self)

    def __len__(self) -> int:
        """The number of batches of an epoch, as `num_batches` says it. Raises InputTypeError where it has no
        end."""
        count = self.num_batches
        if count is None:
            raise InputTypeError(f"{type(self).__name__} has no length: num_batches is None")
        return count

    def __iter__(self) -> Iterator[Any]:
        """The batches of one epoch in order."""
        count = self.num_batches
        return (self[i] for i in (itertools.count() if count is None else range(count)))

    def on_epoch_begin(self) -> None:
        """Called before each pass."""


# ---------------------------------------------------------------- digests


def _hash_file(fpath: str | os.PathLike[str], algorithm: str = "sha256", chunk_size: int = 65535) -> str:
    """The digest of a file, in hexadecimal. algorithm: "sha256" or "md5" ("auto": md5, as in Keras)."""
    if algorithm not in ALGORITHMS:
        raise InputError(describe("hash_algorithm", ", ".join(map(repr, ALGORITHMS)), repr(algorithm)))
    digest = hashlib.sha256() if algorithm == "sha256" else hashlib.md5(usedforsecurity=False)
    with open(fpath, "rb") as file:
        while chunk := file.read(chunk_size):
            digest.update(chunk)
    return digest.hexdigest()


def validate_file(
    fpath: str | os.PathLike[str], file_hash: str, algorithm: str = "auto", chunk_size: int = 65535
) -> bool:
    """Whether a file has this digest. algorithm: "sha256", "md5" or "auto", which a digest's length tells."""
    expected = str(file_hash)
    if algorithm == "auto":
        algorithm = "sha256" if len(expected) == 64 else "md5"
    return _hash_file(fpath, algorithm, chunk_size) == expected.lower()


# ---------------------------------------------------------------- files from an address


def get_file(
    fname: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str | os.PathLike[str] = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: Any = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
    own_folder: bool = False,
) -> str:
    """The path of a file in Keras' cache, which is loaded from an address where the cache does not have it.

    fname: its name in the cache, or an absolute path; None for the last part of the address.
    origin: the address: http, https, ftp, or file.
    untar: the file is `fname`.tar.gz, which holds a folder `fname`; that is unpacked beside it and given
    back. file_hash: digest that the file must have, by hash_algorithm: "sha256", "md5", or "auto", which the
    length tells. md5_hash: the older spelling. A file in the cache with another digest is loaded again.
    extract: unpack the file beside it; archive_format: "tar", "zip", a list, "auto" for both, None for none.
    cache_dir: by default KERAS_HOME, else ~/.keras; where that cannot be written, .keras in the folder of
    temporary files. cache_subdir: the folder in it. force_download: load the file also where the cache has
    it. own_folder: what is unpacked stands in a folder of its own, which is given back, as Keras 3 has it.

    What is loaded stands under its name when it is whole and has the digest, not before. Raises FetchError
    (an OSError), which says what to load from where and where to put it; InputError for wrong arguments and
    archives that are damaged or would write elsewhere.
    """
    if origin is None:
        raise InputError(describe("get_file: origin", "the address of the file", "None"))
    check_text("get_file: origin", origin)
    name = os.fspath(check_path("get_file: fname", _last_part(origin) if fname is None else fname))
    if md5_hash is not None and file_hash is None:
        file_hash, hash_algorithm = md5_hash, "md5"
    if hash_algorithm not in ALGORITHMS:
        raise InputError(describe("hash_algorithm", ", ".join(map(repr, ALGORITHMS)), repr(hash_algorithm)))
    digest = None if file_hash is None else (file_hash, hash_algorithm)

    stored, folder = _names(name, fname is not None, untar, extract, own_folder)
    home = keras_folder() if cache_dir is None else Path(cache_dir).expanduser()
    path = home / cache_subdir / stored
    if folder and not path.exists() and (path.parent / folder).exists() and not force_download:
        return str(path.parent / folder)  # the archive has done its work
    path, fresh = _fetched(origin, home, path, digest, force_download)
    if folder is None:
        if extract:
            _unpack(path, archive_format, path.parent)
        return str(path)
    unpacked = path.parent / folder
    if fresh or not unpacked.exists():
        _unpack(path, "tar" if untar else archive_format, unpacked if own_folder else path.parent)
    if not unpacked.exists():
        warnings.warn(f"get_file: {path} has no folder {folder!r} in it", stacklevel=2)
    return str(unpacked)


def _names(name: str, given: bool, untar: bool, extract: bool, own_folder: bool) -> tuple[str, str | None]:
    """The name of the file in the cache, and that of the folder beside it which is given back; None: the
    file."""
    last = Path(name).name
    if own_folder and (untar or extract):
        if given and "." in last:
            return name, f"{last.partition('.')[0]}_extracted"
        return f"{name}_archive", last
    if untar:
        return f"{name.removesuffix('.tar.gz')}.tar.gz", last.removesuffix(".tar.gz")
    return name, None


def _fetched(
    origin: str, home: Path, path: Path, digest: tuple[str, str] | None, force: bool
) -> tuple[Path, bool]:
    """Where the file is, and whether it was loaded just now."""
    if not force and _serves(path, digest):
        return path, False
    place = _writable(home, path) / path.name
    if not force and place != path and _serves(place, digest):
        return place, False
    _load(origin, place, digest)
    return place, True


def _last_part(origin: str) -> str:
    name = unquote(urlsplit(origin).path).replace("\\", "/").rpartition("/")[2]
    if name in ("", ".", ".."):
        raise InputError(describe("get_file: fname", "a name, as the address ends in none", repr(origin)))
    return name


def _serves(path: Path, digest: tuple[str, str] | None) -> bool:
    """Whether a file is there, with this digest."""
    if not path.exists():
        return False
    if digest is None or validate_file(path, *digest):
        return True
    warnings.warn(f"{path} has another {digest[1]} digest than {digest[0]}: it is loaded again", stacklevel=3)
    return False


def _writable(home: Path, path: Path) -> Path:
    """The folder of the file, made if it is not there; where that cannot be, one for temporary files."""
    import tempfile

    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    other = Path(tempfile.gettempdir()) / ".keras"
    try:
        other.mkdir(exist_ok=True)
        if hasattr(os, "getuid") and other.stat().st_uid != os.getuid():
            raise FetchError(describe(str(other), "a folder of this user", "one of another"))
        folder = other / (folder.relative_to(home) if folder.is_relative_to(home) else "datasets")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchError(f"get_file: neither {path.parent} nor {other} can be written: {error}") from error
    return folder


def _load(origin: str, path: Path, digest: tuple[str, str] | None) -> None:
    """Load an address to a path, where nothing stands before it is whole."""
    import tempfile

    print("Downloading data from", origin, flush=True)
    with tempfile.TemporaryDirectory(prefix=".loading-", dir=path.parent) as beside:
        part = Path(beside) / path.name
        try:
            _copy(origin, part)
        except (OSError, ValueError, ImportError) as error:
            _give_up(origin, path, _reason(error), digest, error)
        if digest is not None and not validate_file(part, *digest):
            found = _hash_file(part, "sha256" if len(digest[0]) == 64 else "md5")
            _give_up(origin, path, f"what is there has the digest {found}", digest)
        os.replace(part, path)


def _reason(error: BaseException) -> str:
    """What went wrong first, where errors were raised for each other."""
    while not isinstance(error, ExtraError) and (earlier := error.__cause__ or error.__context__):
        error = earlier
    return f"{type(error).__name__}: {error}"


class _Progress:
    """What pooch tells of a file that is being loaded, as Keras' bar over its bytes."""

    total = 0

    def __init__(self) -> None:
        self._done = 0
        self._bar: Progbar | None = None

    def update(self, count: int) -> None:
        """So many bytes more are there."""
        self._done += count
        if self.total:
            self._bar = self._bar or Progbar(self.total)
            self._bar.update(min(self._done, self.total - 1))

    def reset(self) -> None:
        """Count from 0 again."""
        self._done = 0

    def close(self) -> None:
        """The file is whole."""
        if self._bar is not None:
            self._bar.update(self.total)


def _copy(origin: str, part: Path) -> None:
    import shutil
    from urllib.request import url2pathname  # brings HTTP with it

    parts = urlsplit(origin)
    if parts.scheme == "file":
        shutil.copyfile(url2pathname(parts.path), part)
        return
    downloader = library("pooch.downloaders", "data").choose_downloader(origin, progressbar=_Progress())
    downloader(origin, str(part), None)


def _give_up(
    origin: str, path: Path, why: str, digest: tuple[str, str] | None, error: Exception | None = None
) -> NoReturn:
    of = "" if digest is None else f", with the digest {digest[0]}"
    raise FetchError(
        f"{origin} could not be loaded ({why}). Load it where there is a network, and put it at {path}{of}"
    ) from error


def _unpack(path: Path, formats: Any, folder: Path) -> None:
    if not extract_archive(path, folder, formats) and formats not in (None, [], ()):
        warnings.warn(f"get_file: {path} is no archive ({formats}); nothing was unpacked", stacklevel=3)

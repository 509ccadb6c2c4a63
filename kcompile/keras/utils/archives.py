"""Archives of data sets, unpacked so that nothing is written outside the folder, and nothing half.

Enters: a tar (plain, gz, bz2, xz) or zip file, and a folder. Leaves: its members in the folder.
What reads archives is loaded with the first one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from kcompile_runtime.errors import InputError, describe

FORMATS = ("tar", "zip")


def extract_archive(
    path: str | os.PathLike[str], folder: str | os.PathLike[str] = ".", formats: Any = "auto"
) -> bool:
    """Unpack an archive; gives whether it is one of these formats.

    formats: "tar", "zip", a list of them, "auto" for both, None for none. Members are written to a folder
    beside first, and moved when all are there. Raises InputError (a ValueError) for another format, a
    damaged archive, and members that would lie, or lead, outside the folder: then nothing is written.
    """
    names = _checked(formats)
    if not names:
        return False
    import tarfile
    import tempfile
    import zipfile

    for name in names:
        if (tarfile.is_tarfile if name == "tar" else zipfile.is_zipfile)(path):
            target = Path(folder)
            target.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=target) as beside:
                unpacked = Path(beside) / "members"
                unpacked.mkdir()
                try:
                    (_untar if name == "tar" else _unzip)(path, unpacked)
                except (
                    tarfile.TarError,
                    zipfile.BadZipFile,
                    EOFError,
                    RuntimeError,
                    NotImplementedError,
                ) as error:
                    raise InputError(f"{os.fspath(path)}: the archive cannot be unpacked: {error}") from error
                _merge(unpacked, target)
            return True
    return False


def _checked(formats: Any) -> list[str]:
    if formats is None:
        return []
    names = list(FORMATS) if formats == "auto" else [formats] if isinstance(formats, str) else list(formats)
    for name in names:
        if name not in FORMATS:
            raise InputError(
                describe("archive_format", "'auto', 'tar', 'zip', a list of them or None", repr(name))
            )
    return names


def _untar(path: str | os.PathLike[str], folder: Path) -> None:
    import tarfile

    with tarfile.open(path) as archive:
        _check_names(path, (member.name for member in archive.getmembers()))
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, filter="data")
            return
        members = archive.getmembers()  # Python before 3.10.12 and 3.11.4
        for member in members:
            if not (member.isfile() or member.isdir()):
                raise InputError(
                    describe(
                        f"{os.fspath(path)}: member {member.name!r}", "a file or folder", "a link or device"
                    )
                )
            member.mode = 0o755 if member.isdir() else 0o644
        archive.extractall(folder, members)


def _unzip(path: str | os.PathLike[str], folder: Path) -> None:
    import zipfile

    with zipfile.ZipFile(path) as archive:
        _check_names(path, archive.namelist())
        archive.extractall(folder)


def _check_names(path: str | os.PathLike[str], names: Iterable[str]) -> None:
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or (os.name == "nt" and ":" in name):
            raise InputError(describe(f"{os.fspath(path)}: a member", "a path inside the folder", repr(name)))


def _merge(source: Path, target: Path) -> None:
    """Move what is in one folder to another, file by file where a folder is there already."""
    import shutil

    for entry in source.iterdir():
        place = target / entry.name
        if entry.is_dir() and not entry.is_symlink() and place.is_dir() and not place.is_symlink():
            _merge(entry, place)
            continue
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        os.replace(entry, place)

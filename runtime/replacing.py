"""Files that appear whole or not at all.

Enters: places, and code that fills new files. Leaves: the files in their places, on the disk; or the older
ones as they were. A new file lies beside its place until it is whole; what a process that was killed left
there is removed by the next one that writes into the folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kcompile_runtime.errors import InputError, describe

# .NAME.HOST-PROCESS-NUMBER.part: another machine may write into the same folder
_PART = re.compile(r"\..{1,60}\.([0-9a-f]{8})-(\d{1,10})-[0-9a-f]{16}\.part", re.DOTALL)
_YOUNG = 60  # seconds: a process of another container has a number that means nothing here


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], overwrite: bool = True) -> Iterator[Path]:
    """Gives the path of an empty file to fill, which then takes the place of `path`, with the permissions
    and the owner of what was there. A symbolic link stays, and what it points to is written. Raises
    InputError where there is a file and overwrite is False, OSError."""
    if not overwrite and os.path.lexists(path):
        raise InputError(
            describe(str(path), "a name that is free, or overwrite=True", "the name of an existing file")
        )
    place = Path(os.path.realpath(path))
    part = _beside(place)
    with open(part, "xb"):
        pass
    try:
        yield part
        replace_all([(part, place)])
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


@contextlib.contextmanager
def work_folder(place: Path) -> Iterator[Path]:
    """An empty folder beside a place, for what takes that place by `replace_all`."""
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = _beside(place)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace_all(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Give finished files their places, with permissions and owners of what was there: all or none."""
    for part, place in pairs:
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        _adopt(part, place)
    done: list[tuple[Path, Path | None]] = []
    try:
        for part, place in pairs:
            last = part is pairs[-1][0]  # nothing fails after it
            old = None if last or not place.exists() else _kept(place, part.with_name(f"{part.name}.old"))
            os.replace(part, place)
            done.append((place, old))
    except BaseException:
        for place, old in reversed(done):
            if old is None:
                place.unlink()
            else:
                os.replace(old, place)
        raise
    for folder in {place.parent for _, place in pairs}:
        _sync_folder(folder)


def replace_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files of a folder, which is made where there is none: all or none. Other files stay."""
    folder.mkdir(parents=True, exist_ok=True)
    with work_folder(folder / "files") as part:
        for name, data in contents.items():
            (part / name).write_bytes(data)
        replace_all([(part / name, folder / name) for name in contents])


def _kept(place: Path, name: Path) -> Path:
    """What is at the place, under another name too."""
    try:
        os.link(place, name)
    except OSError:  # not every file system has links
        shutil.copy2(place, name)
    return name


def _beside(place: Path) -> Path:
    """A free name for what is not finished."""
    remove_left_over(place.parent)
    return place.parent / f".{place.name[:60]}.{_host()}-{os.getpid()}-{secrets.token_hex(8)}.part"


def remove_left_over(folder: Path) -> None:
    """Delete what processes of this machine that are no more have left unfinished."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            found = _PART.fullmatch(entry.name)
            if found is not None and found[1] == _host() and not _is_alive(int(found[2])):
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > _YOUNG:
                        _remove(entry)


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        os.unlink(entry.path)


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


def _adopt(part: Path, place: Path) -> None:
    """The permissions and the owner of the file that is replaced, or the permissions of a new one, which may
    be run where it was made so."""
    try:
        status = place.stat()
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(part, (0o777 if part.stat().st_mode & 0o100 else 0o666) & ~mask)
        return
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(part, status.st_uid, status.st_gid)
    os.chmod(part, status.st_mode & 0o777)


def _sync_folder(folder: Path) -> None:
    """The rename itself, where folders can be synced."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

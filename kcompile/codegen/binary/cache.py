"""Object code kept on disk, found by content.

What enters: a key made of everything that the code depends on, and the code. What leaves: the same
code, or None. The directory is "kcompile" in the folder that `KC_CACHE` names, or in the user's cache
directory; `KC_CACHE=off` turns the cache off. Files of other names there are left alone. Machine code is
run without further checks than a checksum, so the directory must be the user's own, and writable by
nobody else; where it is not, and wherever the disk fails, the compiler works as if there were no cache
and says why in the log (logger "kcompile.cache", level debug).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from kcompile.codegen.targets import Target

OWN = "code-"  # how the names of our files begin: no others are read or deleted
LIMIT = 512 * 1024 * 1024  # bytes on disk; the entries that were used longest ago go first
_DIGEST = 32
_LEFTOVER = 3600.0  # seconds after which a temporary file belongs to nobody
# Neither a pipe that waits for a writer nor a symbolic link is opened
_READ = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
_log = logging.getLogger("kcompile.cache")


def key(parts: Iterable[str], target: Target) -> str:
    """The key of code: a hash of the target and of the texts in `parts` (compiler, graph, options)."""
    digest = hashlib.sha256()
    for part in (*map(repr, astuple(target)), *parts):
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def pack(head: Mapping[str, Any], parts: Sequence[bytes]) -> bytes:
    """A head of JSON values and any number of byte strings, as one byte string."""
    text = json.dumps({"head": head, "parts": [len(part) for part in parts]}).encode()
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def unpack(data: bytes) -> tuple[Any, list[bytes]]:
    """What `pack` was given. Raises ValueError, KeyError for other bytes."""
    start = 8 + int.from_bytes(data[:8], "little")
    text = json.loads(data[8:start])
    ends = accumulate(text["parts"], initial=start)
    return text["head"], [data[a:b] for a, b in pairwise(ends)]


def get(key: str) -> bytes | None:
    """The code stored under a key; None when there is none, or when the file is damaged."""
    folder = directory()
    if folder is None:
        return None
    path = folder / f"{OWN}{key}.o"
    try:
        with open(os.open(path, _READ), "rb") as file:
            status = os.fstat(file.fileno())
            if not (stat.S_ISREG(status.st_mode) and _is_ours(status)):
                _log.debug("%s is no file of this user and is not used", path)
                return None
            stored = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.debug("cannot read %s: %s", path, error)
        return None
    code = stored[_DIGEST:]
    if _checksum(key, code) != stored[:_DIGEST]:
        _log.debug("%s is damaged and is not used", path)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return code


def put(key: str, code: bytes, limit: int = LIMIT) -> None:
    """Store code under a key, then delete what was used longest ago until `limit` bytes hold all.
    A disk that is full or read-only only means that nothing is stored."""
    folder = directory()
    if folder is None or len(code) + _DIGEST > limit:
        return
    try:
        handle, temporary = tempfile.mkstemp(".tmp", OWN, folder)
        try:
            with open(handle, "wb") as file:
                file.write(_checksum(key, code) + code)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, folder / f"{OWN}{key}.o")
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _trim(folder, limit)
    except OSError as error:
        _log.debug("cannot write to %s: %s", folder, error)


def directory() -> Path | None:
    """The cache directory, made when missing; None when the cache is off or cannot be trusted."""
    setting = os.environ.get("KC_CACHE", "")
    if setting == "off":
        return None
    try:
        path = (Path(setting) if setting else _user_cache()) / "kcompile"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = _distrust(path.lstat())
    except (OSError, RuntimeError) as error:
        _log.debug("no cache directory: %s", error)
        return None
    if reason is not None:
        _log.debug("%s is not used as a cache: it %s", path, reason)
        return None
    return path


def _user_cache() -> Path:
    """The platform's folder for caches of the user. Raises RuntimeError where the user has no home."""
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"])
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    return Path(chosen) if os.path.isabs(chosen) else Path.home() / ".cache"


def _distrust(status: os.stat_result) -> str | None:
    """The reason why a directory may hold somebody else's code, None where there is none."""
    if stat.S_ISLNK(status.st_mode) or not stat.S_ISDIR(status.st_mode):
        return "is not a plain directory"
    if not _is_ours(status):
        return "belongs to another user"
    if os.name == "posix" and status.st_mode & 0o022:
        return "can be written by other users"
    return None


def _is_ours(status: os.stat_result) -> bool:
    return sys.platform == "win32" or status.st_uid == os.geteuid()


def _checksum(key: str, code: bytes) -> bytes:
    return hashlib.sha256(key.encode() + code).digest()


def _trim(folder: Path, limit: int) -> None:
    entries, total = [], 0
    for entry in os.scandir(folder):
        with contextlib.suppress(OSError):  # another process may be trimming too
            status = entry.stat(follow_symlinks=False)
            if not (entry.name.startswith(OWN) and stat.S_ISREG(status.st_mode)):
                continue
            if entry.name.endswith(".tmp") and time.time() - status.st_mtime > _LEFTOVER:
                os.unlink(entry.path)
            elif entry.name.endswith(".o"):
                entries.append((status.st_mtime_ns, status.st_size, entry.path))
                total += status.st_size
    for _, size, path in sorted(entries):
        if total <= limit:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size

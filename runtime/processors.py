"""How many processors this process may use: what the system allows it, and what a container's quota pays.

Enters: the affinity mask, and the files in which Linux tells a process its control groups. Leaves: a
number. Both versions of control groups are read, and every group from the process's own up to the
mount: the smallest quota counts.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath


def usable_processors(root: Path = Path("/")) -> int:
    """The processors of the affinity mask, cut to the quota of time (rounded up), at least 1. root: where
    the system's files are."""
    allowed: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    count = len(allowed(0)) if allowed else os.cpu_count() or 1
    return max(min(count, math.ceil(min(quotas(root), default=count))), 1)


def quotas(root: Path = Path("/")) -> Iterator[float]:
    """Processors' worth of time that each control group of this process has, where it is limited."""
    paths = _groups(_text(root / "proc/self/cgroup"))
    for line in _text(root / "proc/self/mountinfo").splitlines():
        place, _, source = line.partition(" - ")
        fields, kind = place.split(), source.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        controller = "" if kind[0] == "cgroup2" else "cpu"
        if controller and controller not in kind[2].split(","):
            continue
        top = root / _unescaped(fields[4]).lstrip("/")
        for folder in _folders(top, paths.get(controller, "/"), _unescaped(fields[3])):
            quota = _quota_v1(folder) if controller else _quota_v2(folder)
            if quota is not None:
                yield quota


def _groups(text: str) -> dict[str, str]:
    """Controller -> path of the group, from /proc/self/cgroup; "" is the one hierarchy of version 2."""
    found = {}
    for line in text.splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _folders(top: Path, path: str, mounted: str) -> Iterator[Path]:
    """The folders of a group and of those above it. mounted: the group that is mounted at `top`, which in
    a container may be the process's own."""
    group, base = PurePosixPath(path), PurePosixPath(mounted)
    inner = group.relative_to(base).parts if group.is_relative_to(base) else ()
    if ".." not in inner:
        for count in range(len(inner), 0, -1):
            yield top.joinpath(*inner[:count])
    yield top


def _quota_v2(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split()
    return _ratio(*words) if len(words) == 2 else None


def _quota_v1(folder: Path) -> float | None:
    return _ratio(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    """quota / period; None for "max", -1 and what is no number."""
    try:
        time, each = int(quota), int(period)
    except ValueError:
        return None
    return time / each if time > 0 and each > 0 else None


def _text(path: Path) -> str:
    """A file's text, "" where there is none to be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _unescaped(path: str) -> str:
    """A path of mountinfo, where blanks and backslashes are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)

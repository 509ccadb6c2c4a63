"""What a compilation tells of itself: enters the environment, leaves text on stderr, records and files.

KC_DEBUG is a level, and each has what those below it have: 1 tracebacks of errors on the command line,
2 times of passes and stages, 3 graphs after each pass, 4 loops, 5 LLVM IR and assembly. KC_DUMP names a
folder where every compilation makes a folder, with a numbered file for each of these texts.

All else that is told goes to Python's `logging`, to loggers called `kcompile` and below: warnings, which are
shown where a program sets up nothing; as INFO what was compiled, and whether it was in the cache; as DEBUG
times. KC_DEBUG is a request of its own, for stderr, whatever a program does with its loggers.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kcompile_runtime.errors import InputError, describe
from kcompile_runtime.texts import printable

log = logging.getLogger("kcompile")

ERRORS, TIMES, GRAPHS, LOOPS, CODE = range(1, 6)


def debug_level() -> int:
    """KC_DEBUG, 0 where it is not set. Raises InputError for what is no level."""
    text = os.environ.get("KC_DEBUG", "").strip() or "0"
    if text not in ("0", "1", "2", "3", "4", "5"):
        raise InputError(describe("KC_DEBUG", "a whole number from 0 to 5", repr(text)))
    return int(text)


@dataclass(frozen=True)
class Log:
    """The log of one compilation, called `name`. dump: the folder that KC_DUMP names, or None."""

    name: str
    level: int = 0
    dump: Path | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _folder: list[Path] = field(default_factory=list)  # of this compilation, once it is made

    @staticmethod
    def of(name: str) -> Log:
        """The log that the environment asks for. Raises InputError for a KC_DEBUG that is no level."""
        dump = os.environ.get("KC_DUMP", "")
        return Log(name, debug_level(), Path(dump) if dump else None)

    @property
    def tells(self) -> bool:
        """Whether stages are logged: then they are made, and not taken from the cache."""
        return self.level >= TIMES or self.dump is not None

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Log how long the body took, where times are told."""
        start = time.perf_counter()
        yield
        took = (time.perf_counter() - start) * 1e3
        if self.level >= TIMES:
            print(f"kcompile: {printable(self.name)}: {what}: {took:.2f} ms", file=sys.stderr)
        log.debug("%s: %s: %.2f ms", printable(self.name), what, took)

    def told(self, what: str) -> None:
        """A record of what became of it."""
        log.info("%s: %s", printable(self.name), what)

    def text(self, stage: str, level: int, make: Callable[[], str], suffix: str = ".txt") -> None:
        """A form that the compilation has at a stage; `make` is called where somebody wants to see it."""
        if self.level < level and self.dump is None:
            return
        text = make()
        if self.level >= level:
            print(f"kcompile: {printable(self.name)}: {stage}\n{text}\n", file=sys.stderr)
        if self.dump is not None:
            self._write(f"{next(self._numbers):02}-{file_name(stage)}{suffix}", text)

    def _write(self, name: str, text: str) -> None:
        """A file that is there in full or not at all."""
        try:
            if not self._folder:
                self._folder.append(_new_folder(self.dump or Path(), file_name(self.name)))
            whole = self._folder[0] / name
            part = whole.with_name(f".{name}.{os.getpid()}")
            part.write_text(text + "\n", encoding="utf-8")
            part.replace(whole)
        except OSError as error:
            raise InputError(
                describe("KC_DUMP", "a folder that can be written to", f"{self.dump} ({error})")
            ) from error


def file_name(text: str) -> str:
    """A name for a file: what could mean something to a file system is replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip(".-")[:80] or "unnamed"


def _new_folder(parent: Path, name: str) -> Path:
    """A folder that no other compilation has, of this process or another: `0007-predict`."""
    parent.mkdir(parents=True, exist_ok=True)
    used = [int(p.name[:4]) for p in parent.iterdir() if re.match(r"\d{4}-", p.name)]
    for number in itertools.count(max(used, default=0) + 1):
        try:
            made = parent / f"{number:04}-{name}"
            made.mkdir()
            return made
        except FileExistsError:
            continue
    raise AssertionError

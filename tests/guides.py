"""The guides in docs/adding/, read as programs: edits are done to a copy of the tree, commands run there.

A sentence before a block of code says what becomes of it: "A new file `PATH`:" or "In `PATH`, before `LINE`:"
(or after, or instead of), where exactly one line of the file is LINE, indentation apart. Blocks of shell run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "adding"
COPIED = ("kcompile", "runtime", "tests", "pyproject.toml")

_FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_EDIT = re.compile(r"In `([^`]+)`, (before|after|instead of)\s+`([^`]+)`:$")
NEW = re.compile(r"A new file `([^`]+)`:$")
_TOUCHED = re.compile(r"\*\*Files touched: (\d+)\*\* \((.*?)\)", re.DOTALL)


@dataclass(frozen=True)
class Edit:
    """Where: "before", "after" or "instead of" the line, or "new", of a whole file."""

    path: str
    where: str
    line: str
    text: str

    def done(self, before: str) -> str:
        """The text of the file after the edit. Raises ValueError where not exactly one line is the one."""
        if self.where == "new":
            return self.text
        lines = before.splitlines(keepends=True)
        at = [i for i, line in enumerate(lines) if line.strip() == self.line]
        if len(at) != 1:
            raise ValueError(f"{self.path}: {len(at)} lines are {self.line!r}")
        keep = {"before": (0, 0), "after": (1, 1), "instead of": (0, 1)}[self.where]
        lines[at[0] + keep[0] : at[0] + keep[1]] = [self.text]
        return "".join(lines)

    def undone(self, after: str) -> str:
        """The text of the file before the edit. Raises ValueError where its text is not there once."""
        if self.where == "new" or after.count(self.text) != 1:
            raise ValueError(f"{self.path}: not there once: {self.text!r}")
        indented = " " * (len(self.text) - len(self.text.lstrip()))
        return after.replace(self.text, f"{indented}{self.line}\n" if self.where == "instead of" else "")


@dataclass(frozen=True)
class Command:
    text: str


@dataclass(frozen=True)
class Guide:
    """steps: in order. touched: the files that the guide says it changes; number: how many it says."""

    steps: tuple[Edit | Command, ...]
    touched: frozenset[str]
    number: int

    @property
    def edits(self) -> tuple[Edit, ...]:
        return tuple(step for step in self.steps if isinstance(step, Edit))


def read(path: Path) -> Guide:
    """Raises ValueError for a block of Python of which no sentence says what becomes of it."""
    page = path.read_text()
    said = _TOUCHED.search(page)
    if said is None:
        raise ValueError(f"{path.name} does not say how many files it touches")
    return Guide(tuple(_steps(path.name, page)), frozenset(re.findall(r"`([^`]+)`", said[2])), int(said[1]))


def _steps(name: str, page: str) -> Iterator[Edit | Command]:
    end = 0
    for block in _FENCE.finditer(page):
        sentence = " ".join(page[end : block.start()].split())
        end = block.end()
        text = _without(block[1], block[3])
        if block[2] == "sh":
            yield Command(text)
        elif edit := _EDIT.search(sentence):
            yield Edit(edit[1], edit[2], edit[3], text)
        elif new := NEW.search(sentence):
            yield Edit(new[1], "new", "", text)
        else:
            raise ValueError(f"{name}: nothing says where this goes: {text}")


def _without(indentation: str, text: str) -> str:
    """The block as it stands between the fences, without their own indentation."""
    return "".join(line.removeprefix(indentation) for line in text.splitlines(keepends=True))


def copy_tree(folder: Path) -> None:
    """What the guides change, and what their commands need, in an empty folder."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(ROOT / name, folder / name)
    (folder / "site").mkdir()
    (folder / "site" / "kcompile").symlink_to(folder / "kcompile")
    (folder / "site" / "kcompile_runtime").symlink_to(folder / "runtime")


def follow(guide: Guide, folder: Path) -> None:
    """All steps in a copy of the tree. Raises AssertionError, with the output, for a command that fails."""
    for step in guide.steps:
        if isinstance(step, Command):
            run(step.text, folder)
            continue
        path = folder / step.path
        path.write_text(step.done(path.read_text() if path.exists() else ""))


def run(command: str, folder: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {
        **inherited,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "site"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": "-n 0 -p no:cacheprovider",
    }
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}"


def changed(folder: Path, parts: Sequence[str] = COPIED) -> frozenset[str]:
    """The files of a copy that the tree has not, or has otherwise."""
    found = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if name.parts[0] not in parts or not path.is_file() or any(p[0] in "._" for p in name.parts[:-1]):
            continue
        before = ROOT / name
        if not before.is_file() or before.read_bytes() != path.read_bytes():
            found.add(name.as_posix())
    return frozenset(found)

"""Pages for users, read as programs: their code runs in order, and prints what they say that it prints.

A block of `python` runs in the names of the blocks before it, a block of `sh` in the same folder, which is
empty but for the project's `examples`. A sentence "A new file `NAME`:" before a block of any language makes a
file of it. A block of `text` behind one that ran is what that printed, where ` ...` stands for anything.
A block of `console`, and one that `.ci/run` runs, is not run here. `<!-- needs: node -->` before a block says
what it needs: where that is not there, the rest is left out.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from guides import NEW, ROOT

from kcompile.keras import backend

FOLDERS = ("tutorials", "howto")
HEAVY = frozenset(("keras", "jax"))  # what tests/keras_tier runs pages with

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BY_CI = re.compile(r"<!-- ci: \w+ -->$")  # before a block that .ci/run runs
_NEEDS = re.compile(r"^<!-- needs: ([\w-]+) -->$", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """kind: "python", "sh", "file" (its name is `path`), "text", or "needs". line: of the page."""

    kind: str
    text: str
    line: int
    path: str = ""


def pages() -> list[Path]:
    docs = ROOT / "docs"
    return [
        ROOT / "README.md",
        docs / "faq.md",
        *sorted(page for folder in FOLDERS for page in (docs / folder).glob("*.md")),
    ]


def steps(name: str, page: str) -> Iterator[Step]:
    """Raises ValueError for a block of which nothing says what it is."""
    end, ran = 0, False
    for block in _FENCE.finditer(page):
        between = page[end : block.start()]
        sentence, end = " ".join(between.split()), block.end()
        line = page.count("\n", 0, block.start()) + 2
        for need in _NEEDS.findall(between):
            yield Step("needs", need, line)
        if new := NEW.search(sentence):
            yield Step("file", block[2], line, new[1])
            ran = False
        elif block[1] == "console" or _BY_CI.search(sentence):
            ran = False
        elif block[1] in ("python", "sh") or (block[1] == "text" and ran):
            yield Step(block[1], block[2], line)
            ran = block[1] != "text"
        else:
            raise ValueError(f"{name}, line {line}: nothing says what becomes of this {block[1]}")


def needs(page: Path) -> list[str]:
    return _NEEDS.findall(page.read_text(encoding="utf-8"))


def there(need: str) -> bool:
    """Whether a program of this name, or a package, is installed."""
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # as `_shell` has it
    return shutil.which(need, path=here) is not None or find_spec(need) is not None


def run(page: Path, folder: Path, without: Collection[str] = ()) -> str | None:
    """Run a page in a folder. Gives what it needed, where that is not there or is to be done without. Raises
    what the page's code raises, and AssertionError where it prints something else."""
    (folder / "examples").symlink_to(ROOT / "examples")
    names: dict[str, Any] = {"__name__": "__main__"}
    backend.clear_session()  # automatic names begin anew
    printed = ""
    with _inside(folder):
        for step in steps(page.name, page.read_text(encoding="utf-8")):
            where = f"{page.name}, line {step.line}"
            if step.kind == "needs":
                if step.text in without or not there(step.text):
                    return step.text
            elif step.kind == "file":
                Path(step.path).write_text(step.text, encoding="utf-8")
            elif step.kind == "python":
                printed = _python(step.text, where, names)
            elif step.kind == "sh":
                printed = _shell(step.text, where)
            else:
                assert matches(step.text, printed), f"{where}: prints\n{printed}"
    return None


def matches(said: str, printed: str) -> bool:
    """Whether it was printed as a page says: ` ...` is anything, ends of lines may have blanks."""
    parts = [re.escape(part) for part in _plain(said).split("...")]
    return re.fullmatch(".*?".join(parts), _plain(printed), re.DOTALL) is not None


def _plain(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _python(text: str, where: str, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, where, "exec"), names)
    return printed.getvalue()


def _shell(text: str, where: str) -> str:
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env={**os.environ, "PATH": here},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{where}\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
    return done.stdout

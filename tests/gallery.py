"""The page of the examples, examples/README.md: what it says that each script ends with."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
_ROW = re.compile(r"^\| \[[\w.]+\]\(([\w./]+)\) \| .+? \| (?:`(.+)`)? ?\|$", re.MULTILINE)
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]\d+)?")


@cache
def endings() -> dict[str, str]:
    """The path of each script below examples/, and what its last line ends with."""
    return dict(_ROW.findall((EXAMPLES / "README.md").read_text(encoding="utf-8")))


def ends_as_told(path: str, output: str) -> bool:
    """Whether the last line that a script printed is the page's, but for the numbers."""
    lines = output.strip().splitlines() or [""]
    told = endings()[path].removeprefix("... ")
    return _NUMBER.sub("0", lines[-1]).endswith(_NUMBER.sub("0", told))

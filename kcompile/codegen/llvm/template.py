"""Templates of LLVM IR: the .ll files beside the modules, whose $WORDS are filled in."""

from __future__ import annotations

import re
from pathlib import Path


def filled(path: Path, **words: object) -> str:
    """The text of a file with each $WORD replaced by its value. Of words that begin alike the
    longest that fits is taken."""
    pattern = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    text = path.read_text(encoding="utf-8")
    return re.sub(rf"\$({pattern})", lambda found: str(words[found[1]]), text) if words else text

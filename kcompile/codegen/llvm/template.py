"""LLVM IR of the runtime's own that is text: .ll files beside the modules, with $WORDS to fill in."""

from __future__ import annotations

import re
from pathlib import Path


def filled(path: Path, **words: object) -> str:
    """The text of a file, where each $WORD is what `words` says: of words that begin alike the longest."""
    pattern = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    text = path.read_text(encoding="utf-8")
    return re.sub(rf"\$({pattern})", lambda found: str(words[found[1]]), text) if words else text

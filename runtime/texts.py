"""Names that come from elsewhere, as they stand in texts of ours: LLVM IR, listings, messages, a terminal.

Enters: any text. Leaves: text without control characters, which would steer a terminal or end a comment.
"""

from __future__ import annotations


def printable(text: object) -> str:
    """One line: what is not printable, line ends too, is written as Python escapes it."""
    line = str(text)
    return line if line.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def printable_lines(text: object) -> str:
    """The same for text of several lines."""
    return "\n".join(map(printable, str(text).split("\n")))

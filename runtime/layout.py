"""How values lie in memory: what compiled code and the runtime both take for granted.

Element types by name, each fact of them once, and the alignment of buffers. The compiler reads these as it
reads the texts of errors, so that its types, LLVM's, numpy's and the C interface's are the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Bytes: arrays and arenas begin at a multiple of it, and so does each value in an arena. A cache line of
# x86-64 and of most of Arm, and a vector of AVX-512.
ALIGNMENT = 64


def round_up(size: int, to: int = ALIGNMENT) -> int:
    """The least multiple of `to` that is not below a size in bytes."""
    return -(-size // to) * to


@dataclass(frozen=True)
class ElementType:
    """A type of numbers. name: numpy's of it. kind: as numpy's `dtype.kind`. bytes: of an element in memory.
    code: its number in the C interface of exported models."""

    name: str
    kind: Literal["f", "i", "u", "b"]
    bytes: int
    code: int


_ALL = (
    ElementType("float32", "f", 4, 1),
    ElementType("float64", "f", 8, 2),
    ElementType("int32", "i", 4, 3),
    ElementType("int64", "i", 8, 4),
    ElementType("uint32", "u", 4, 5),
    ElementType("uint8", "u", 1, 6),
    ElementType("bool", "b", 1, 7),
    ElementType("int8", "i", 1, 8),
    ElementType("int16", "i", 2, 9),
    ElementType("uint16", "u", 2, 10),
    ElementType("uint64", "u", 8, 11),
)
ELEMENTS = {e.name: e for e in _ALL}

"""How values lie in memory: what compiled code and the runtime both take for granted.

Element types by name, each fact of them once, and the alignment of buffers. The compiler reads these as it
reads the texts of errors, so that its types, LLVM's, numpy's and the C interface's are the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# Bytes: arrays and arenas begin at a multiple of it, and so does each value in an arena. A cache line of
# x86-64 and of most of Arm, and a vector of AVX-512.
ALIGNMENT = 64


def round_up(size: int, to: int = ALIGNMENT) -> int:
    """The least multiple of `to` that is not below a size in bytes."""
    return -(-size // to) * to


# Bytes for n samples: (most, fixed, for each sample), min(most, fixed + n * for each), in whole cache lines.
Share = tuple[int, int, int]


@dataclass(frozen=True)
class Memory:
    """What a call of an entry takes besides its arrays, in bytes.

    arena: of values between kernels, as (fixed, for each sample). scratch: of a thread, the most of several
    sums of shares. samples: that are computed at once at most, 0 for all of a call.
    """

    arena: tuple[int, int] = (0, 0)
    scratch: tuple[tuple[Share, ...], ...] = ()
    samples: int = 0

    @staticmethod
    def of(record: Mapping[str, Any]) -> Memory:
        """The memory of which `dataclasses.asdict` made this, through JSON or not."""
        fixed, each = record["arena"]
        scratch = tuple(tuple((a, b, c) for a, b, c in shares) for shares in record["scratch"])
        return Memory((fixed, each), scratch, record["samples"])

    def held(self, n: int, threads: int = 1) -> int:
        """The most samples whose values are in memory in a call for n: where threads compute samples of their
        own, each has one at least."""
        return min(n, max(self.samples, threads)) if self.samples else n

    def scratch_at(self, n: int) -> int:
        """Of a thread, in a call for n samples."""
        n = min(n, self.samples) if self.samples else n
        sums = (sum(round_up(min(most, fixed + n * each)) for most, fixed, each in s) for s in self.scratch)
        return max(sums, default=0)

    def at(self, n: int, threads: int = 1) -> int:
        """All of a call for n samples on so many threads."""
        fixed, each = self.arena
        return round_up(fixed + self.held(n, threads) * each) + threads * self.scratch_at(n)


NONE = Memory()  # of an entry that needs none


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

"""The ranges of real use, once: what random tests and the sweep over layers draw sizes from.

`pick(integer, name)` draws log-uniformly, or, in a third of all draws, one of the corners of a range: its
ends, and the neighbours of the widths of vectors. `most` keeps the work of what is drawn bounded:
`left(work, sizes...)` is what remains of a budget for one more factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

RANGES: dict[str, tuple[int, int]] = {
    "rank": (1, 3),
    "kernel": (1, 13),
    "pool": (1, 13),
    "stride": (1, 4),
    "dilation": (1, 8),
    "channels": (1, 2048),
    "groups": (1, 64),
    "units": (1, 4096),
    "steps": (1, 5000),
    "size": (1, 256),
    "batch": (1, 1000),
    "depth": (1, 200),
    "words": (1, 100_000),
}
_CORNERS = (
    2,
    3,
    5,
    7,
    8,
    9,
    15,
    16,
    17,
    31,
    32,
    33,
    48,
    63,
    64,
    65,
    96,
    100,
    127,
    128,
    129,
    255,
    256,
    257,
    384,
    500,
    511,
    512,
    513,
    768,
    1000,
    1023,
    1024,
    1025,
    2047,
    2048,
)
_FINE = 1 << 20

Integer = Callable[[int, int], int]


def pick(integer: Integer, name: str, most: int | None = None) -> int:
    """A size of this name. integer(low, high) draws uniformly, both ends included."""
    low, high = RANGES[name]
    high = max(min(high, most), low) if most is not None else high
    corners = [low, *(c for c in _CORNERS if low < c < high), high]
    if integer(0, 2) == 0:
        return corners[integer(0, len(corners) - 1)]
    position = integer(0, _FINE) / _FINE
    return min(int(low * math.exp(position * math.log((high + 1) / low))), high)


@st.composite
def sizes(draw: Any, name: str, most: int | None = None) -> int:
    """`pick` for hypothesis."""
    return pick(lambda low, high: draw(st.integers(low, high)), name, most)


def left(work: int, *sizes: int) -> int:
    """The most that one more factor may be, beside these."""
    return max(work // math.prod(sizes), 1)

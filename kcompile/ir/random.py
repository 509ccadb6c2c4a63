"""Random numbers as a function of position: the reference for what compiled code draws.

What enters: a seed, the stream of an operation, the number of the step. What leaves: for each
element bits that depend on these and the element's flat index alone, so that a mask can be computed
again instead of being stored, in any order, by any number of threads.

Element i takes the block with counter (i, step) and key (seed, stream). Uniform numbers use its
first word, normal ones both. A block for each element wastes a word, but then every vector lane
works alone, without exchanging data with its neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry(key0: Any, key1: Any, counter0: Any, counter1: Any) -> tuple[np.ndarray, np.ndarray]:
    """Threefry-2x32 with 20 rounds, on uint32 arrays that broadcast.

    Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
    section 4.2; the rotation distances are those of Skein in that paper's table for 2x32.
    """
    key0, key1, counter0, counter1 = (np.asarray(x, np.uint32) for x in (key0, key1, counter0, counter1))
    keys = (key0, key1, key0 ^ key1 ^ np.uint32(_PARITY))
    with np.errstate(over="ignore"):
        x0, x1 = counter0 + key0, counter1 + key1
        for group in range(5):
            for distance in _ROTATIONS[group % 2]:
                x0 = x0 + x1
                x1 = (x1 << np.uint32(distance) | x1 >> np.uint32(32 - distance)) ^ x0
            x0 = x0 + keys[(group + 1) % 3]
            x1 = x1 + (keys[(group + 2) % 3] + np.uint32(group + 1))
    return x0, x1


def random_words(
    seed: int, stream: int, step: int, count: int, first: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Both words of the blocks of `count` elements from number `first` on: uint32[count] each.

    Raises ValueError when seed, stream or step is no 32-bit number, or for more than 2^32 elements
    (their counters would repeat).
    """
    for name, value in (("seed", seed), ("stream", stream), ("step", step)):
        if not 0 <= value < 1 << 32:
            raise ValueError(f"{name} must be at least 0 and below 2^32. Received: {value}")
    if not 0 <= count <= 1 << 32:
        raise ValueError(f"count must be at least 0 and at most 2^32. Received: {count}")
    numbers = np.arange(first, first + count, dtype=np.uint64).astype(np.uint32)
    return threefry(seed, stream, numbers, step)


def random_bits(seed: int, stream: int, step: int, count: int) -> np.ndarray:
    """32 random bits for each of `count` elements: uint32[count]. Raises as `random_words` does."""
    return random_words(seed, stream, step, count)[0]


def uniform(bits: np.ndarray) -> np.ndarray:
    """float32 in [0, 1), a multiple of 2^-24, from the upper 24 bits of uint32."""
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def normal(bits0: np.ndarray, bits1: np.ndarray) -> np.ndarray:
    """float32 with mean 0, variance 1, at most 5.77 in size, from two words of uint32.

    Source: Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958, with the
    radius from (0, 1]. Compiled code computes it in float32, so it differs in the last bits.
    """
    radius = np.sqrt(-2.0 * np.log(((bits0 >> np.uint32(8)) + 1.0) * 2.0**-24))
    angle = (bits1 >> np.uint32(8)) * (2.0 * np.pi * 2.0**-24)
    return np.asarray(radius * np.cos(angle), np.float32)

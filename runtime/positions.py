"""Where a training is, between two batches, and who writes that down.

Enters: the loops of `training`, which tell a `Keeper` how far they are. Leaves: a `Position`, from which a
loop goes on as if nothing had been between; the states of numpy's and Python's global generators.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kcompile_runtime.arrays import Array
from kcompile_runtime.errors import ModelError, describe


@dataclass(frozen=True)
class Position:
    """epoch: the number of the epoch that goes on. batches: how many of its batches are done. samples, sums:
    of its `Averages` so far, sums [results] float64 or None. warned: whether a NaN was told of. ended:
    whether the data have no more batches, so that the training is at its end."""

    epoch: int
    batches: int = 0
    samples: int = 0
    sums: Array | None = None
    warned: bool = False
    ended: bool = False


class Keeper(Protocol):
    """Writes the state of a training down between batches, and puts a training back that goes on.

    start: where it goes on, None for one that begins.
    """

    start: Position | None

    def restore(self) -> None:
        """Put the state back: before the first epoch, or where that is one that had begun, after the
        callbacks were told of its beginning."""

    def order(self) -> None:
        """The order of an epoch's batches is drawn next; of one that goes on, as it was drawn."""

    def ordered(self) -> None:
        """It is drawn, and of an epoch that goes on the batches that are done are passed over."""

    def most(self) -> int | None:
        """How many batches may go by at most before `after` is called; None where that does not matter."""

    def after(self, position: Position, batches: int) -> None:
        """Batches are done, so many since the last call. A position at the first batch of an epoch: the
        one before is done, and the callbacks know."""


def generators() -> dict[str, Any]:
    """The states of numpy's and of Python's global generators."""
    kind, keys, place, has_normal, normal = np.random.get_state(legacy=True)
    version, words, gauss = random.getstate()
    return {
        "numpy": (kind, np.array(keys), int(place), int(has_normal), float(normal)),
        "python": (version, np.array(words, np.uint32), gauss),
    }


def set_generators(state: Mapping[str, Any]) -> None:
    """Put both back. Raises ModelError for what is no such state."""
    try:
        version, words, gauss = state["python"]
        random.setstate((version, tuple(map(int, words)), gauss))
        np.random.set_state(tuple(state["numpy"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            describe("a state of generators", "those of numpy and Python", str(error))
        ) from error


def same_generators(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two states are one: nobody has drawn in between."""
    return all(
        np.array_equal(x, y) for name in ("numpy", "python") for x, y in zip(a[name], b[name]) if x is not y
    )

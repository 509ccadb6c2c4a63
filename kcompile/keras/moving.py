"""Moving averages, as batch normalisation and `K.moving_average_update` have them.

Enters: the variable that is the average, a new value, the share of the old one, and whether the vintage rids
it of the bias of a zero start. Leaves: what becomes of the variable, and of those behind it, as pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kcompile.keras.semantics import Semantics
from kcompile.keras.tensors import Variable
from kcompile.keras.tracing import current


def followed(
    average: Variable, value: Any, momentum: float, meaning: Semantics
) -> list[tuple[Variable, Any]]:
    """The variable's next value first: average * momentum + value * (1 - momentum); or that of an average
    that begins as zero at the first call, over what it would be for values of 1 (arXiv 1412.6980, section 3).
    """
    if meaning.moving_averages == "plain":
        return [(average, average * momentum + value * (1.0 - momentum))]
    biased, left = _behind(average)
    total, rest = biased * momentum + value * (1.0 - momentum), left * momentum
    return [(average, total / (1.0 - rest)), (biased, total), (left, rest)]


def each_update(updates: Any) -> Iterator[Any]:
    """The updates of a list, where one of them may be a list again, of an average and those behind it."""
    for update in updates:
        several = isinstance(update, list) and all(isinstance(part, tuple) for part in update)
        yield from update if several else [update]


def _behind(average: Variable) -> tuple[Variable, Variable]:
    """The average that began as zero, and the share of that start which is left in it: those of this call of
    the layer, as TensorFlow makes them where it makes the update."""
    graph = current()
    call = () if graph is None else graph.current
    if call not in average.behind:
        made = (
            Variable(np.zeros(average.shape), f"{average.path}/biased", False),
            Variable(1.0, f"{average.path}/left", False),
        )
        for variable in made:
            variable.shared = average.shared
        average.behind[call] = made
    return average.behind[call]

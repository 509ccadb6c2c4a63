"""The state of an optimizer, from the arrays of a file.

Enters: a compiled model, and where the arrays of its optimizer are. Leaves: slots and the number of steps,
assigned; or nothing, where they are not those of such an optimizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.files.reader import Hdf5
from kcompile.files.vintage import Vintage
from kcompile.files.weights.inside import Variables
from kcompile.keras.engine import Variable
from kcompile.keras.semantics import semantics


def load_optimizer(model: Any, file: Hdf5, paths: Sequence[str], vintage: Vintage, steps: Any = None) -> bool:
    """The state of the model's optimizer from arrays of a file. steps: how many it has made, where the file
    says so elsewhere. False, with nothing assigned, when they are not those of such an optimizer."""
    optimizer = model.optimizer
    optimizer.build(model.compile_arguments.trainable)
    stored = [file.datasets.get(path) for path in paths]
    if not paths or any(s is None for s in stored):
        return False
    shapes = [s.shape for s in stored if s is not None]
    targets = _targets(optimizer, model.compile_arguments.trainable, paths, shapes, vintage)
    if targets is None or any(shapes[i] != v.shape for v, i in targets):
        return False
    for variable, i in targets:
        variable.assign(file.read(paths[i]))
    if type(steps) is int and 0 <= steps < 2**31:
        optimizer.iterations.assign(steps)
    if hasattr(optimizer, "product"):
        optimizer.product.assign(_nadam_product(optimizer, model.vintage))
    return True


def _targets(
    optimizer: Any,
    variables: Variables,
    paths: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    vintage: Vintage,
) -> list[tuple[Variable, int]] | None:
    """Each variable of the state with the number of its array; None where they are stored in an order that
    is not known."""
    scalars = next((i for i, shape in enumerate(shapes) if shape), len(shapes))
    head: list[tuple[Variable, int]] = [(optimizer.iterations, 0)] if scalars else []
    if scalars == len(shapes):
        return head  # saved before the first step
    found = _numbers(optimizer, paths, scalars, len(variables), vintage)
    if found is None:
        return None
    if any(
        len(numbers) != len(variables) or max(numbers, default=0) >= len(paths) for numbers in found.values()
    ):
        return None
    slots = optimizer.slots()
    return head + [(optimizer._slots[v][slot], i) for slot in slots for v, i in zip(variables, found[slot])]


def _numbers(
    optimizer: Any, paths: Sequence[str], scalars: int, variables: int, vintage: Vintage
) -> dict[str, list[int]] | None:
    """The numbers of the arrays of all variables for each slot; `scalars` others precede them."""
    slots, ours = optimizer.slots(), vintage.backend == "kcompile"
    suffixes = {slot.name: slot.stored for slot in optimizer.known_slots}
    last = [path.rpartition("/")[2].partition(":")[0] for path in paths]
    if any(name in suffixes.values() for name in last):  # tf.keras up to 2.10
        return {slot: [i for i, name in enumerate(last) if name == suffixes[slot]] for slot in slots}
    if vintage.version < (2, 1) and not ours:
        return None  # by names that are not in the file
    if vintage.version < (3,) and not vintage.tf and not ours:  # slot by slot
        starts = [scalars + k * variables for k in range(len(slots))]
        return {slot: list(range(start, start + variables)) for slot, start in zip(slots, starts)}
    # Variable by variable; only the largest v of amsgrad are behind all of them
    paired = [slot for slot in slots if slot != "vhat"]
    end = scalars + variables * len(paired)
    found = {slot: list(range(scalars + k, end, len(paired))) for k, slot in enumerate(paired)}
    if "vhat" in slots:
        found["vhat"] = list(range(end, end + variables))
    return found


def _nadam_product(optimizer: Any, model_vintage: str) -> float:
    """The product of Nadam's momenta so far, which most files leave out."""
    rules = semantics(optimizer.vintage or model_vintage)
    stretch = optimizer.schedule_decay if rules.nadam_schedule_decay else 1.0
    t = np.arange(1, min(int(optimizer.iterations.value), 100_000) + 1)
    return float(np.prod(optimizer.beta_1 * (1 - 0.5 * 0.96 ** (t * stretch))))

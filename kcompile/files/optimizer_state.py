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
from kcompile.files.weights import Variables
from kcompile.keras.engine import Variable
from kcompile.keras.semantics import semantics


def load_optimizer(model: Any, file: Hdf5, paths: Sequence[str], vintage: Vintage) -> bool:
    """The state of the model's optimizer from arrays of a file. False, with nothing assigned, when
    they are not those of such an optimizer."""
    optimizer = model.optimizer
    optimizer.build(model.compilation.trainable)
    stored = [file.datasets.get(path) for path in paths]
    if not paths or any(s is None for s in stored):
        return False
    shapes = [s.shape for s in stored if s is not None]
    targets = _targets(optimizer, model.compilation.trainable, paths, shapes, vintage)
    if targets is None or any(shapes[i] != v.shape for v, i in targets):
        return False
    for variable, i in targets:
        variable.assign(file.read(paths[i]))
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
    """Each variable of the state with the number of its array."""
    slots, n = optimizer.slots(), len(variables)
    last = [path.rpartition("/")[2].partition(":")[0] for path in paths]
    scalars = next((i for i, shape in enumerate(shapes) if shape), len(shapes))
    head: list[tuple[Variable, int]] = [(optimizer.iterations, 0)] if scalars else []
    suffixes = {slot.name: slot.stored for slot in optimizer.kept}
    if scalars == len(shapes):
        return head  # saved before the first step
    if any(name in suffixes.values() for name in last):  # tf.keras up to 2.10
        found = {slot: [i for i, name in enumerate(last) if name == suffixes[slot]] for slot in slots}
    elif vintage.version < (2, 1) and vintage.backend != "kcompile":
        return None  # in an order by names that are not in the file
    elif not vintage.tf and vintage.version < (3,) and vintage.backend != "kcompile":  # slot by slot
        found = {slot: list(range(scalars + k * n, scalars + (k + 1) * n)) for k, slot in enumerate(slots)}
    else:  # variable by variable; only the largest v of amsgrad stand behind
        paired = [slot for slot in slots if slot != "vhat"]
        found = {slot: [scalars + i * len(paired) + k for i in range(n)] for k, slot in enumerate(paired)}
        if "vhat" in slots:
            found["vhat"] = list(range(scalars + n * len(paired), scalars + n * len(slots)))
    if any(len(numbers) != n or (numbers and max(numbers) >= len(paths)) for numbers in found.values()):
        return None
    return head + [(optimizer._slots[v][slot], i) for slot in slots for v, i in zip(variables, found[slot])]


def _nadam_product(optimizer: Any, model_vintage: str) -> float:
    """The product of Nadam's momenta so far, which most files leave out."""
    rules = semantics(optimizer.vintage or model_vintage)
    stretch = optimizer.schedule_decay if rules.nadam_schedule_decay else 1.0
    t = np.arange(1, min(int(optimizer.iterations.value), 100_000) + 1)
    return float(np.prod(optimizer.beta_1 * (1 - 0.5 * 0.96 ** (t * stretch))))

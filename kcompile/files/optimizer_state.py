"""The state of an optimizer, from the arrays of a file.

Enters: a compiled model, and where the arrays of its optimizer are. Leaves: slots and the number of steps,
assigned; or nothing, where they are not those of such an optimizer.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.files.reader import Hdf5
from kcompile.files.vintage import Vintage
from kcompile.files.weights.inside import Variables
from kcompile.keras.engine import Variable
from kcompile.keras.optimizer import COMMON_SLOTS
from kcompile.keras.optimizers import SGD
from kcompile.keras.semantics import semantics

OWN_STATE = "kcompile_optimizer_weights"  # the group of .h5 for Keras 3, see `writer.Words`


def load_optimizer(model: Any, file: Hdf5, paths: Sequence[str], vintage: Vintage, steps: Any = None) -> bool:
    """The state of the model's optimizer from arrays of a file. steps: how many it has made, where the file
    says so elsewhere. False, with nothing assigned, when they are not those of such an optimizer."""
    optimizer = model.optimizer
    if model.built or not optimizer.built:
        optimizer.build(model.compile_arguments.trainable)
    trained = optimizer.built_for  # of a model without inputs, what its own steps train
    stored = [file.datasets.get(path) for path in paths]
    if not paths or any(s is None for s in stored):
        return False
    shapes = [s.shape for s in stored if s is not None]
    targets = _targets(optimizer, trained, paths, shapes, vintage)
    if targets is None or any(shapes[i] != v.shape for v, i in targets):
        return False
    for variable, i in targets:
        variable.assign(file.read(paths[i]))
    if type(steps) is int and 0 <= steps < 2**31:
        optimizer._iterations.assign(steps)
    if hasattr(optimizer, "product") and all(v is not optimizer.product for v, _ in targets):
        optimizer.product.assign(_nadam_product(optimizer, model.vintage))
    return True


def load_state_beside(model: Any, file: Hdf5, paths: Sequence[str]) -> None:
    """The state of the optimizer that a file of weights has, into that of a compiled model that has begun to
    train. As in Keras another one, also one without its slots yet, is left as it is, with a warning."""
    optimizer = model.optimizer
    if optimizer is None or not paths:
        return
    if not optimizer.built and len(paths) <= len(optimizer.scalars_kept):
        optimizer._iterations.assign(file.read(paths[0]))
        return
    if optimizer.built and load_optimizer(model, file, paths, Vintage((3,))):
        return
    known = len(optimizer.variables) if optimizer.built else len(optimizer.scalars_kept)
    warnings.warn(
        f"{file.name}: skipping variable loading for optimizer {optimizer.name!r}, because it has {known} "
        f"variables whereas the saved optimizer has {len(paths)} variables. To go on where the file was, "
        "train a batch or call optimizer.build(model.trainable_variables) first",
        stacklevel=5,
    )


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
    if scalars == len(shapes) <= 2:
        return [(optimizer._iterations, 0)]  # saved before the first step
    by_slot = _by_slot(optimizer, paths, scalars, len(variables), vintage)
    if by_slot is None:
        return (
            None
            if vintage.version < (2, 1) and vintage.backend != "kcompile"
            else _in_order(optimizer, variables, shapes)
            or _in_order(getattr(optimizer, "inner_optimizer", optimizer), variables, shapes)
        )
    if any(
        len(numbers) != len(variables) or max(numbers, default=0) >= len(paths)
        for numbers in by_slot.values()
    ):
        return None
    head: list[tuple[Variable, int]] = [(optimizer._iterations, 0)] if scalars else []
    return head + [
        (optimizer._slots[v][slot], i) for slot in by_slot for v, i in zip(variables, by_slot[slot])
    ]


def _by_slot(
    optimizer: Any, paths: Sequence[str], scalars: int, variables: int, vintage: Vintage
) -> dict[str, list[int]] | None:
    """The numbers of the arrays of all variables for each slot, where these are stored slot by slot or by
    name; `scalars` others precede them. None where they are not."""
    known = (*COMMON_SLOTS, *optimizer.known_slots)
    slots, suffixes = (*optimizer.common_slots(), *optimizer.slots()), {s.name: s.stored for s in known}
    last = [path.rpartition("/")[2].partition(":")[0] for path in paths]
    if any(name in suffixes.values() for name in last):  # tf.keras up to 2.10
        return {slot: [i for i, name in enumerate(last) if name == suffixes[slot]] for slot in slots}
    if (2, 1) <= vintage.version < (3,) and not vintage.tf and vintage.backend != "kcompile":
        starts = [scalars + k * variables for k in range(len(slots))]
        return {slot: list(range(start, start + variables)) for slot, start in zip(slots, starts)}
    return None


def _in_order(
    optimizer: Any, variables: Variables, shapes: Sequence[tuple[int, ...]]
) -> list[tuple[Variable, int]] | None:
    """The order of Keras 3; tf_keras leaves out the rate and what is kept once, and so does Keras 3 for a
    schedule."""
    whole, kept = optimizer.stored_state(variables), optimizer.state()
    rate = optimizer.learning_rate_variable
    empty = [s for v in variables for s in optimizer._slots[v].values() if not s.shape and v.shape]
    unused = isinstance(optimizer, SGD) and not optimizer.momentum  # which tf_keras stores all the same
    for absent in ([], [rate], kept, [rate, *kept], [rate, *kept, *empty]):
        stored = [v for v in whole if all(v is not other for other in absent)]
        for behind in ([], [v.shape for v in variables] if unused else []):
            if [v.shape for v in stored] + behind == list(shapes):
                return [(v, i) for i, v in enumerate(stored)]
    return None


def _nadam_product(optimizer: Any, model_vintage: str) -> float:
    """The product of Nadam's momenta so far, which most files leave out."""
    rules = semantics(optimizer.vintage or model_vintage)
    stretch = optimizer.schedule_decay if rules.nadam_schedule_decay else 1.0
    t = np.arange(1, min(int(optimizer._iterations.array), 100_000) + 1)
    return float(np.prod(optimizer.beta_1 * (1 - 0.5 * 0.96 ** (t * stretch))))

"""What optimizers may do around their formulas: gradients of several batches summed up, weights that decay, a
moving average of the weights, a scaled loss.

Enters: tensors of the graph of a training step. Leaves: others, and updates of the optimizer's state on the
graph. `Optimizer.new_values` calls these in the order that Keras 3 has (optimizers/base_optimizer.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import sparse_gradients
from kcompile.keras.engine import Variable
from kcompile.keras.semantics import Semantics
from kcompile.keras.tracing import Trace

Pairs = Sequence[tuple[Variable, Tensor]]


def is_multiple(number: Tensor, of: int) -> Tensor:
    """Whether a whole number is a multiple of another, as a bool scalar."""
    exact = ops.cast(number, "float64")
    return ops.equal(ops.floor(exact / float(of)) * float(of), exact)


def summed(trace: Trace, gradients: Pairs, held: Callable[[Variable], Variable], due: Tensor) -> list[Tensor]:
    """The gradients with those of the batches before added. held: the sum of a variable, which begins anew
    where the step is due."""
    sums = []
    for variable, g in gradients:
        total = g + trace.read(held(variable))
        trace.update(held(variable), ops.select(due, ops.zeros_like(total), total))
        sums.append(total)
    return sums


def averaged(average: Tensor, value: Tensor, momentum: Tensor) -> Tensor:
    """A moving average with one value more."""
    return average * momentum + value * (1.0 - momentum)


def update_where(trace: Trace, condition: Tensor, before: Mapping[Variable, Tensor]) -> None:
    """Keep the updates of these variables only where the condition holds. before: their values."""
    for variable, old in before.items():
        new = trace.read(variable)
        if new.value is not old.value:
            trace.update(variable, ops.select(condition, new, old))


def all_finite(gradients: Iterable[Tensor]) -> Tensor:
    """Whether no gradient holds an infinite or undefined number, as a bool scalar."""
    result: Tensor | None = None
    for g in gradients:
        # x - x is 0 for a finite x alone
        finite = ops.reduce_min(ops.cast(ops.equal(g - g, 0.0), "float32")) > 0.5
        result = finite if result is None else ops.logical_and(result, finite)
    assert result is not None
    return result


def limited(options: Any, gradients: Sequence[Tensor], meaning: Semantics) -> list[Tensor]:
    """Gradients limited by norm, then by value. options: what has clipnorm, global_clipnorm and clipvalue."""
    result = list(gradients)
    all_by_norm, each = meaning.clipnorm == "together", meaning.limited_rows == "each"
    together = options.clipnorm if all_by_norm else options.global_clipnorm
    if all_by_norm and options.global_clipnorm:
        together = min(options.global_clipnorm, options.clipnorm or math.inf)
    if together:
        sums = [sparse_gradients.square_sum(g, each) for g in result]
        result = [_shortened(g, sum(sums[1:], start=sums[0]), together) for g in result]
    elif options.clipnorm and not all_by_norm:
        result = [_shortened(g, sparse_gradients.square_sum(g, each), options.clipnorm) for g in result]
    if options.clipvalue:
        each = meaning.limited_rows != "summed"
        result = [sparse_gradients.limited(g, options.clipvalue, each) for g in result]
    return result


def _shortened(g: Tensor, square_sum: Tensor, norm: float) -> Tensor:
    """g scaled so that the norm is at most `norm`."""
    return g * (norm / ops.maximum(ops.sqrt(square_sum), norm))


State = tuple[Tensor, dict[str, Tensor]]


def where_named(g: Tensor, lazy: Sequence[str] | None, before: State, after: State) -> State:
    """A variable and its slots after a step, but for the variable and these slots as before at rows of a
    sparse gradient that the batch does not name."""
    named = None if lazy is None else sparse_gradients.named_rows(g)
    if lazy is None or named is None:
        return after
    slots = {k: ops.select(named, x, before[1][k]) if k in lazy else x for k, x in after[1].items()}
    return ops.select(named, after[0], before[0]), slots


class Excluded:
    """The variables whose weights do not decay."""

    def __init__(self, variables: Any = None, names: Any = None) -> None:
        self.variables = list(variables or ())
        self.pattern = re.compile("|".join(names)) if names else None

    def has(self, variable: Variable, own_name: bool) -> bool:
        """own_name: patterns are looked for in the last part of its name."""
        if any(variable is excluded for excluded in self.variables):
            return True
        name = variable.path.partition(":")[0]
        name = name.rpartition("/")[2] if own_name else name
        return self.pattern is not None and self.pattern.search(name) is not None

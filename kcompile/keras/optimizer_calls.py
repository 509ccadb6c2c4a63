"""How a step of a model's own, or a script, makes an optimizer take a step.

Enters: gradients and variables. Leaves: in the graph that is being traced, updates of the variables, of the
optimizer's slots and of the number of steps, which what follows in the trace sees; outside of a graph, on
arrays, the same at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.graph import Source
from kcompile.ir.tensor import Tensor
from kcompile.keras.eager import as_eager
from kcompile.keras.eager_trace import written_with
from kcompile.keras.evaluation import performed
from kcompile.keras.gradient_tape import GradientTape
from kcompile.keras.operands import graph, tensor
from kcompile.keras.semantics import Semantics, semantics
from kcompile.keras.settings import meaning
from kcompile.keras.tensors import Variable
from kcompile.keras.tracing import Trace, current, trace_of
from kcompile_runtime.errors import InputTypeError, ModelError, UnsupportedError, describe

OPTIMIZER = Source("optimizer")


class OptimizerCalls:
    """The part of `Optimizer` that scripts call with gradients of their own."""

    vintage: str | None
    home: str | None
    gradient_accumulation_steps: int | None
    _iterations: Variable  # batches
    _variables: list[Variable]

    @property
    def iterations(self) -> Any:
        """The steps so far, a variable. Where several batches make a step, their number by that of batches
        of a step: a tensor while a step is traced, else the value now. Schedules count batches."""
        count = self.gradient_accumulation_steps
        if not count:
            return self._iterations
        if current() is not None:
            return tensor(self._iterations) // count
        return as_eager(self._iterations.array // np.int64(count), "keras3")

    def build(self, variables: Sequence[Variable]) -> None:
        raise NotImplementedError

    def scaled(self, trace: Trace, loss: Tensor) -> Tensor:
        raise NotImplementedError

    def new_values(self, trace: Trace, gradients: Any, meaning: Semantics) -> list[Tensor]:
        raise NotImplementedError

    @property
    def rules(self) -> Semantics:
        """The semantics of the steps that a script asks for."""
        vintage = self.vintage or self.home
        return semantics(vintage) if vintage else meaning()

    def apply_gradients(self, grads_and_vars: Iterable[Any], name: str | None = None, **options: Any) -> Any:
        """Take a step by (gradient, variable) pairs, and give the number of steps so far. A pair without a
        gradient is left out, with a warning. Raises InputTypeError, ModelError."""
        if options.pop("skip_gradients_aggregation", None) or options.pop(
            "experimental_aggregate_gradients", True
        ) not in (True, None):
            raise UnsupportedError("apply_gradients: there is one replica, and so nothing to aggregate")
        if options:
            raise InputTypeError(
                describe("apply_gradients", "(gradient, variable) pairs", ", ".join(options))
            )
        pairs = [tuple(pair) for pair in grads_and_vars]
        label = type(self).__name__
        for pair in pairs:
            if len(pair) != 2 or not isinstance(pair[1], Variable):
                wanted = "pairs of a gradient and a variable, as zip(gradients, variables) gives"
                raise InputTypeError(describe(f"{label}.apply_gradients", wanted, repr(pair)))
        known = [(g, v) for g, v in pairs if g is not None]
        if not known:
            raise ModelError(
                f"{label}.apply_gradients: no gradient was given for any variable. Compute the loss from the "
                "variables inside the tape"
            )
        if len(known) < len(pairs):
            missing = ", ".join(repr(v.name) for g, v in pairs if g is None)
            warnings.warn(f"{label}.apply_gradients: there is no gradient of {missing}", stacklevel=2)
        kept = {id(v) for v in self._variables}
        self.build([*self._variables, *(v for _, v in known if id(v) not in kept)])
        every = list(self._variables)
        with written_with([g for g, _ in known]) as traced:
            if traced or current() is not None:
                _step(self, known)
            else:
                performed(lambda: _step(self, known))
        self.build(every)  # a step on some of the variables leaves the others
        return self._iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> Any:
        """The same by a list of gradients, of these variables, or of those that it was built for."""
        chosen = self._variables if trainable_variables is None else list(trainable_variables)
        grads = list(grads)
        if len(grads) != len(chosen):
            wanted = f"as many gradients as variables ({len(chosen)})"
            raise ModelError(describe(f"{type(self).__name__}.apply", wanted, str(len(grads))))
        return self.apply_gradients(zip(grads, chosen))

    def minimize(self, loss: Any, var_list: Any, tape: Any = None, **options: Any) -> Any:
        """A step on the gradients of a loss that a tape has noted, or of what a function computes."""
        variables = list(var_list() if callable(var_list) else var_list)
        if callable(loss) and not isinstance(loss, Tensor):
            with GradientTape() as own:
                value = loss()
            tape = own
        elif tape is None:
            raise ModelError(
                f"{type(self).__name__}.minimize: expected the tape that noted the loss, as tape=. "
                "Or give a function that computes the loss"
            )
        else:
            value = loss
        return self.apply_gradients(zip(tape.gradient(value, variables), variables), **options)

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the factor that gradients are divided by in a step, where there is one."""
        return self.scaled(trace_of(graph()), tensor(loss))

    def get_scaled_loss(self, loss: Any) -> Any:
        """tf.keras' name of `scale_loss`."""
        return self.scale_loss(loss)


def _step(optimizer: Any, pairs: Sequence[tuple[Any, Variable]]) -> None:
    """Take a step in the graph that is being traced."""
    trace = trace_of(graph())
    with trace.source(OPTIMIZER):
        given = [(v, _like(tensor(g), trace.read(v), v)) for g, v in pairs]
        values = optimizer.new_values(trace, given, optimizer.rules)
        for (variable, _), value in zip(given, values):
            trace.update(variable, variable.constraint(value) if variable.constraint else value)


def _like(gradient: Tensor, weight: Tensor, variable: Variable) -> Tensor:
    if gradient.shape != weight.shape:
        wanted = f"a gradient of shape {variable.shape}"
        raise ModelError(describe(f"gradient of {variable.name!r}", wanted, str(gradient.type)))
    return ops.cast(gradient, weight.dtype)

"""Optimizers of a script's own, as Keras 3 asks for them: a class with `update_step`, or with an `apply` of
its own.

Enters: a class derived from `Optimizer`. Leaves: `update_step(gradient, variable, learning_rate)` run once
for each variable while a step is traced, where what it assigns becomes part of the step.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import initializers, schedules
from kcompile.keras.explain import explained
from kcompile.keras.operands import graph, tensor
from kcompile.keras.settings import floatx
from kcompile.keras.tensors import Variable
from kcompile.keras.tracing import Trace, trace_of, tracing
from kcompile_runtime.errors import ModelError, UnsupportedError, describe


class OwnUpdates:
    """The part of `Optimizer` that classes of a script's own are written over."""

    own_slots: tuple[str, ...] = ()  # names of the arrays that the class keeps for each variable
    own_state: tuple[Variable, ...] = ()  # what it keeps once
    update_step: Any = None  # of a class of the script's own
    _rate_now: Any = None  # while `update_step` runs: the rate of the step
    _unrated = False  # whether nobody has said the rate
    lr: Any
    _slots: dict[Variable, dict[str, Variable]]
    _variables: list[Variable]

    def add_variable_from_reference(
        self,
        reference_variable: Any = None,
        name: str | None = None,
        initializer: Any = "zeros",
        *,
        model_variable: Any = None,
        variable_name: str | None = None,
        shape: Any = None,
        initial_value: Any = None,
    ) -> Variable:
        """An array of the shape and dtype of a variable that is trained, kept for it. tf.keras calls the
        first two model_variable and variable_name, and takes a first value. Raises UnsupportedError for
        another shape."""
        reference_variable = model_variable if reference_variable is None else reference_variable
        name = name or variable_name
        if shape is not None and tuple(shape) != reference_variable.shape:
            wanted = f"that of the variable, {reference_variable.shape}"
            raise UnsupportedError(describe(f"{type(self).__name__}: shape", wanted, repr(tuple(shape))))
        if initial_value is not None:
            initializer = lambda *_, **__: np.asarray(initial_value)  # noqa: E731
        kept, slot = self._slots.setdefault(reference_variable, {}), name or f"slot_{len(self.own_slots)}"
        while slot in kept:
            slot += "_"
        kept[slot] = made = _made(reference_variable.shape, initializer, reference_variable.dtype, slot)
        if slot not in self.own_slots:
            self.own_slots = (*self.own_slots, slot)
        return made

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Variable], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """Such arrays for variables, in a list; by several names, a tuple of lists."""
        names = name if isinstance(name, (list, tuple)) else [name]
        first = initializer if isinstance(initializer, (list, tuple)) else [initializer] * len(names)
        found = tuple(
            [self.add_variable_from_reference(v, word, begin) for v in trainable_variables]
            for word, begin in zip(names, first)
        )
        return found if isinstance(name, (list, tuple)) else found[0]

    def add_variable(
        self,
        shape: Any,
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: Any = None,
        layout: Any = None,
        name: str | None = None,
    ) -> Variable:
        """An array that is kept once. aggregation and layout speak of several devices, of which there is
        one."""
        made = _made(tuple(shape), initializer, dtype or floatx(), name or "variable")
        self.own_state = (*self.own_state, made)
        return made

    # ---- as tf.keras asks for them

    def _build_learning_rate(self, learning_rate: Any) -> Any:
        """Take a rate, or a schedule, and give it."""
        self._unrated = False
        self.lr = learning_rate
        return learning_rate

    def _serialize_hyperparameter(self, value: Any) -> Any:
        """A number or a schedule as configurations have it."""
        if isinstance(value, schedules.LearningRateSchedule):
            return schedules.serialize(value)
        return value.numpy() if isinstance(value, Variable) else value

    def _var_key(self, variable: Variable) -> Variable:
        """What stands for a variable in `_index_dict`."""
        return variable

    @property
    def _index_dict(self) -> dict[Variable, int]:
        """The places of the variables that it was built for."""
        return {variable: place for place, variable in enumerate(self._variables)}

    # ----

    def _get_variable_index(self, variable: Variable) -> int:
        """The place of a variable among those that are trained."""
        places = [k for k, v in enumerate(self._variables) if v is variable]
        if not places:
            raise ModelError(describe(type(self).__name__, "a variable that it was built for", variable.path))
        return places[0]

    def assign(self, variable: Variable, value: Any) -> None:
        """The variable's value after the step, from here on."""
        trace = trace_of(graph())
        made = ops.cast(tensor(value), variable.dtype)
        trace.update(variable, ops.broadcast_to(made, trace.read(variable).shape))

    def assign_add(self, variable: Variable, value: Any) -> None:
        """The variable becomes larger by the value."""
        self.assign(variable, tensor(variable) + ops.cast(tensor(value), variable.dtype))

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """The variable becomes smaller by the value."""
        self.assign(variable, tensor(variable) - ops.cast(tensor(value), variable.dtype))

    def updated(self, trace: Trace, variable: Variable, p: Tensor, g: Tensor, rate: Tensor) -> Tensor:
        """The value of a variable, p until now, after `update_step`."""
        trace.update(variable, p)
        label = f"Optimizer {type(self).__name__}: update_step of {variable.path!r}"
        alone = len(inspect.signature(self.update_step).parameters) == 2  # as in tf.keras
        self._rate_now = rate
        try:
            with tracing(trace.graph), explained(label):
                self.update_step(*((g, variable) if alone else (g, variable, rate)))
        finally:
            self._rate_now = None
        return trace.read(variable)


def applies_itself(optimizer: Any) -> bool:
    """Whether a class of a script's own has its say about gradients before they are applied."""
    kind = type(optimizer)
    names = ("apply", "apply_gradients")
    makers = [next((c.__module__ for c in kind.__mro__ if name in vars(c)), "kcompile.") for name in names]
    return not all(module.startswith("kcompile.") for module in makers)


def _made(shape: Any, initializer: Any, dtype: str, name: str) -> Variable:
    value: Any = np.zeros(shape)
    if initializer not in (None, "zeros"):
        value = np.asarray(initializers.get(initializer)(shape), "float64")
    return Variable(value, name, False, dtype)


def rate_of(kind: str, lr: Any, options: Mapping[str, Any]) -> Any:
    """The rate under either of its names, of which one has to be given. Raises TypeError."""
    rate = options.get("learning_rate", lr) if lr is None else lr
    if rate is None:
        raise TypeError(f"{kind}: expected a learning_rate")
    return rate

"""The base of optimizers: options, state, clipping, and one step over all variables.

Enters: gradients of the trainable variables in a graph being traced. Leaves: the new values of the
variables, and updates of the optimizer's own state (slots, iterations) on the graph. The learning rate is a
variable, so that callbacks set it without a new compilation; every other option is a constant of the compiled
step, and setting one drops that step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import settings, updates
from kcompile.keras.copying import restore, state_of
from kcompile.keras.editions import edition
from kcompile.keras.engine import Variable
from kcompile.keras.listeners import Listeners
from kcompile.keras.semantics import VINTAGES, Semantics, semantics
from kcompile.keras.tracing import Trace
from kcompile_runtime.arrays import as_array
from kcompile_runtime.checks import check_flag, check_number, check_text
from kcompile_runtime.errors import InputTypeError, ModelError, describe

Slots = dict[str, Tensor]

# Options of Keras 3's optimizers, with the values at which they do nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "weight_decay": (None, 0, False),
    "use_ema": (None, False),
    "ema_overwrite_frequency": (None,),
    "loss_scale_factor": (None, 1.0),
    "gradient_accumulation_steps": (None, 1),
    "jit_compile": (None, False, True),
    "is_legacy_optimizer": (None, False, True),
}


class Slot(NamedTuple):
    """An array that is kept for each variable. live: the attribute of the optimizers of Keras 3 and tf_keras
    that holds it. stored: the last word of its name in files of tf.keras up to 2.10."""

    name: str
    live: str
    stored: str


@dataclass(frozen=True)
class StepContext:
    """The scalars that an update needs besides gradient and slots: the decayed learning rate, and t = 1, 2,
    ... (of its dtype); and the vintage's rules."""

    rate: Tensor
    t: Tensor
    meaning: Semantics


FLAGS = ("nesterov", "amsgrad")  # options that are True or False


class Optimizer:
    """Base of all optimizers.

    lr (also learning_rate): positive float. decay: the rate is divided by 1 + decay * iterations.
    clipnorm: largest norm, of all gradients together (Keras 2) or of each (Keras 3); global_clipnorm: of
    all together. clipvalue: gradients are limited to [-clipvalue, clipvalue]. vintage: whose rules where
    they differ, one of `semantics.VINTAGES`; default the model's.

    Subclasses list their options in `options` and the slots that they may have in `known_slots`, say in
    `slots()` which they have where that depends on options, and define `update`.
    """

    options: tuple[str, ...] = ()
    known_slots: tuple[Slot, ...] = ()
    shared = ("decay", "clipnorm", "clipvalue", "global_clipnorm", "vintage")

    def __init__(
        self,
        lr: Any,
        decay: float = 0.0,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        vintage: str | None = None,
        **unknown: Any,
    ) -> None:
        kind = type(self).__name__
        if vintage is not None and not (isinstance(vintage, str) and vintage in VINTAGES):
            raise ModelError(describe(f"{kind}: vintage", "one of " + ", ".join(VINTAGES), repr(vintage)))
        unknown.pop("ema_momentum", None)
        for key, value in unknown.items():
            plain = value is None or isinstance(value, (str, bool, int, float, np.generic))
            if not plain or value not in NEUTRAL.get(key, ()):
                raise InputTypeError(
                    f"{kind}: the argument {key!r} is not supported. Received: {key}={value!r}. Remove it"
                )
        for key, value in (
            ("decay", decay),
            ("clipnorm", clipnorm),
            ("clipvalue", clipvalue),
            ("global_clipnorm", global_clipnorm),
        ):
            if value is not None:
                check_number(f"{kind}: {key}", value, 0)
        self.listeners = Listeners()
        self.name = check_text(f"{kind}: name", name, optional=True) or kind
        self.iterations = Variable(0, f"training/{kind}/iterations", False, "int64")
        self.learning_rate_variable = Variable(0, f"training/{kind}/learning_rate", False)
        self.lr = lr
        self.decay = decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.vintage = vintage
        self._slots: dict[Variable, dict[str, Variable]] = {}
        self._variables: list[Variable] = []

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.options:
            check = check_flag if name in FLAGS else check_number
            value = check(f"{type(self).__name__}: {name}", value)
        plain = name in self.shared and isinstance(value, np.generic)
        object.__setattr__(self, name, value.item() if plain else value)
        if name in self.options or name in self.shared:
            self.listeners.tell()

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self, "listeners")

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state, listeners=Listeners())

    # ---- the learning rate

    @property
    def lr(self) -> Variable:
        """The learning rate, a variable; `optimizer.lr = 0.1` sets its value."""
        return self.learning_rate_variable

    @lr.setter
    def lr(self, value: Any) -> None:
        kind = type(self).__name__
        if callable(value) or hasattr(value, "get_config"):
            raise InputTypeError(
                f"{kind}: the learning rate must be a number. Received: {value!r}. For a "
                "schedule use callbacks.LearningRateScheduler"
            )
        with suppress(TypeError, ValueError):
            value = float(as_array(getattr(value, "value", value), "the learning rate"))
        value = check_number(f"{kind}: the learning rate", value, 0)
        self.learning_rate_variable.assign(value)

    learning_rate = lr

    # ---- state

    def slots(self) -> tuple[str, ...]:
        """Names of the arrays kept for each variable."""
        return tuple(slot.name for slot in self.known_slots)

    def initial(self, slot: str) -> float:
        """The value a slot starts with."""
        return 0.0

    def state(self) -> list[Variable]:
        """State kept once, besides iterations and the learning rate."""
        return []

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the slots of variables that have none yet."""
        self._variables = list(variables)
        for variable in variables:
            known = self._slots.setdefault(variable, {})
            for slot in self.slots():
                if slot not in known:
                    name = f"training/{type(self).__name__}/{variable.name}/{slot}"
                    value = np.full(variable.shape, self.initial(slot))
                    known[slot] = Variable(value, name, False, variable.dtype)

    @property
    def weights(self) -> list[Variable]:
        """The state in Keras 2's order: iterations, shared state, then slot by slot over variables."""
        return [
            self.iterations,
            *self.state(),
            *(self._slots[v][slot] for slot in self.slots() for v in self._variables),
        ]

    variables = weights

    def get_weights(self) -> list[np.ndarray]:
        return [w.numpy() for w in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the state. Raises ValueError when the number or a shape differs."""
        have = self.weights
        if len(weights) != len(have):
            raise ModelError(
                f"{type(self).__name__}.set_weights: expected {len(have)} arrays. "
                f"Received: {len(weights)}. An optimizer has its slots once the model is "
                "compiled (or after optimizer.build(model.trainable_weights))"
            )
        for variable, value in zip(have, weights):
            variable.assign(value)

    # ---- the graph

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        """The new value of a variable p with gradient g, and its new slots."""
        raise NotImplementedError

    def scalars(self, trace: Trace, at: StepContext) -> tuple[Tensor, ...]:
        """The scalars that all updates share, computed once a step. May update `state` on the graph."""
        return (at.rate,)

    def apply(
        self, trace: Trace, gradients: Sequence[tuple[Variable, Tensor]], meaning: Semantics
    ) -> list[Tensor]:
        """One step: new values of the variables, in order. Slots, state and iterations are updated
        on the graph. meaning: the model's semantics."""
        self.build([v for v, _ in gradients])
        meaning = semantics(self.vintage) if self.vintage else meaning
        iterations = trace.read(self.iterations)
        rate = trace.read(self.learning_rate_variable)
        done = ops.cast(iterations, rate.dtype)
        if self.decay:
            rate = rate / (done * self.decay + 1.0)
        at = StepContext(rate, done + 1.0, meaning)
        scalars = self.scalars(trace, at)
        clipped = self.clip([g for _, g in gradients], meaning)
        values = []
        for (variable, _), g in zip(gradients, clipped):
            known, own = self._slots[variable], tuple(ops.cast(x, variable.dtype) for x in scalars)
            value, slots = self.update(
                trace.read(variable), g, {k: trace.read(v) for k, v in known.items()}, own, at
            )
            values.append(value)
            for slot, new in slots.items():
                trace.update(known[slot], new)
        trace.update(self.iterations, iterations + ops.constant(trace.graph, 1, "int64"))
        return values

    def clip(self, gradients: Sequence[Tensor], meaning: Semantics) -> list[Tensor]:
        """Gradients limited by norm, then by value."""
        result = list(gradients)
        all_by_norm = meaning.clipnorm == "together"
        together = self.clipnorm if all_by_norm else self.global_clipnorm
        if all_by_norm and self.global_clipnorm:
            together = min(self.global_clipnorm, self.clipnorm or math.inf)
        if together:
            total = _square_sum(result[0])
            for g in result[1:]:
                total = total + _square_sum(g)
            result = [_limit(g, total, together) for g in result]
        elif self.clipnorm and not all_by_norm:
            result = [_limit(g, _square_sum(g), self.clipnorm) for g in result]
        if self.clipvalue:
            result = [ops.clip(g, -self.clipvalue, self.clipvalue) for g in result]
        return result

    # ---- for K.function

    def get_gradients(self, loss: Any, params: Sequence[Variable]) -> list[Any]:
        """Keras 2's: the gradients of a loss by variables, limited as clipnorm and clipvalue say."""
        return updates.get_gradients(self, loss, params)

    def get_updates(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Keras 2's: (variable, new value) pairs of one step, for `K.function(updates=...)`. Arguments:
        loss, params; or as in Keras 1 params, constraints, loss."""
        return updates.get_updates(self, *updates.arguments(type(self).__name__, args, kwargs))

    # ---- configuration

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "name": self.name,
            edition(settings.vintage()).rate: float(self.learning_rate_variable.value),
        }
        config.update((key, getattr(self, key)) for key in (*self.options, "decay"))
        for key in ("clipnorm", "clipvalue", "global_clipnorm", "vintage"):
            if getattr(self, key) is not None:
                config[key] = getattr(self, key)
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Optimizer:
        """An optimizer from its configuration; `lr` and `learning_rate` mean the same."""
        return cls(**config)


def _square_sum(g: Tensor) -> Tensor:
    return ops.reduce_sum(ops.square(g))


def _limit(g: Tensor, square_sum: Tensor, norm: float) -> Tensor:
    """g scaled so that the norm is at most `norm`."""
    return g * (norm / ops.maximum(ops.sqrt(square_sum), norm))

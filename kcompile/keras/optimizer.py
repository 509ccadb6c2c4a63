"""The base of optimizers: options, state, and one step over all variables.

Enters: gradients of the trainable variables in a graph being traced. Leaves: the new values of the
variables, and updates of the optimizer's own state (slots, iterations) on the graph. The learning rate is a
variable, so that callbacks set it without a new compilation, or a schedule, which the graph computes from the
number of steps; every other option is a constant of the compiled step, and setting one drops that step.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.keras import optimizer_configs, optimizer_variables, schedules, settings, updates
from kcompile.keras import optimizer_steps as steps
from kcompile.keras.copying import restore, state_of
from kcompile.keras.editions import edition
from kcompile.keras.engine import Variable
from kcompile.keras.explain import explained
from kcompile.keras.listeners import Listeners
from kcompile.keras.optimizer_calls import OptimizerCalls
from kcompile.keras.optimizer_protocol import OwnUpdates, rate_of
from kcompile.keras.semantics import VINTAGES, Semantics, semantics
from kcompile.keras.settings import epsilon, floatx
from kcompile.keras.tracing import Trace
from kcompile_runtime.arrays import as_array
from kcompile_runtime.checks import check_count, check_flag, check_number, check_text
from kcompile_runtime.errors import InputTypeError, ModelError, describe

Slots = dict[str, Tensor]

# Options that say how another Keras computes, with the values that are taken.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "jit_compile": (None, False, True),
    "is_legacy_optimizer": (None, False, True),
    "adaptive_epsilon": (None, False),
}


class Slot(NamedTuple):
    """An array that is kept for a variable. live: the attribute of the optimizers of Keras 3 and tf_keras
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


# Options that are True or False
FLAGS = ("nesterov", "amsgrad", "centered", "use_ema", "relative_step", "exclude_embeddings")
# The slots of what all optimizers may do, see `optimizer_steps`
COMMON_SLOTS = (
    Slot("ema", "_model_variables_moving_average", "average"),
    Slot("gradient_sum", "_accumulated_gradients", "gradient_accumulator"),
)
# The values of options of all optimizers at which they do nothing
COMMON: dict[str, Any] = {
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "weight_decay": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
    "vintage": None,
}


class Optimizer(OwnUpdates, OptimizerCalls):
    """Base of all optimizers.

    lr (also learning_rate): positive float, a LearningRateSchedule, or a function without arguments, which is
    called when a step is traced. decay: the rate is divided by 1 + decay * iterations.
    clipnorm: largest norm, of all gradients together (Keras 2) or of each (Keras 3); global_clipnorm: of
    all together. clipvalue: gradients are limited to [-clipvalue, clipvalue]. weight_decay: before a step,
    each weight becomes smaller by this share of it, times the rate. use_ema: a moving average of the weights
    is kept, of ema_momentum, which becomes the weights every ema_overwrite_frequency steps and when fit ends.
    loss_scale_factor: by which the loss is multiplied while gradients are computed.
    gradient_accumulation_steps: batches whose gradients are averaged for one step. vintage: whose rules where
    they differ, one of `semantics.VINTAGES`; default the model's. jit_compile, which tf.keras takes, has no
    effect: every step is compiled.

    Subclasses list their options in `options` and the slots that they may have in `known_slots`, say in
    `slots()` which they have where that depends on options, and define `update`.
    """

    options: tuple[str, ...] = ()
    known_slots: tuple[Slot, ...] = ()
    # The order of slots in files: within a group variable by variable. Empty: one group of them all
    groups: tuple[tuple[str, ...], ...] = ()
    defaults: Mapping[str, Any] = {}  # options of all optimizers that have another default here
    home: str | None = None  # the vintage of the package that has the class
    live_state: Mapping[str, str] = {}  # what is kept once -> the attribute of live optimizers that holds it
    shared = ("decay", *COMMON)

    decay: float
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    weight_decay: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    vintage: str | None

    def __init__(
        self,
        lr: Any = None,
        decay: float = 0.0,
        name: str | None = None,
        vintage: str | None = None,
        **common: Any,
    ) -> None:
        kind = type(self).__name__
        # Classes of a script's of tf.keras say their rate after this
        late = "lr" not in common and type(self).update_step is not None and _of_tf_keras(self.home)
        unrated = late and lr is None and common.get("learning_rate") is None
        if late and isinstance(lr, str):  # there the name is the first argument
            lr, name, unrated = None, lr, common.get("learning_rate") is None
        lr = 0.0 if unrated else rate_of(kind, lr, common)
        common.pop("learning_rate", None)
        if vintage is not None and not (isinstance(vintage, str) and vintage in VINTAGES):
            raise ModelError(describe(f"{kind}: vintage", "one of " + ", ".join(VINTAGES), repr(vintage)))
        values = {**COMMON, **self.defaults, "vintage": vintage, "decay": decay}
        for key, value in common.items():
            plain = value is None or isinstance(value, (str, bool, int, float, np.generic))
            if key in COMMON:
                values[key] = value
            elif not plain or value not in NEUTRAL.get(key, ()):
                raise InputTypeError(
                    f"{kind}: the argument {key!r} is not supported. Received: {key}={value!r}. Remove it"
                )
        self.listeners = Listeners()
        given = check_text(f"{kind}: name", name, optional=True)
        self.name = given or optimizer_variables.automatic_name(self)
        self._iterations = Variable(0, f"training/{kind}/iterations", False, "int64")
        self.learning_rate_variable = Variable(0, f"training/{kind}/learning_rate", False)
        self._schedule: Any = None
        self._excluded = steps.Excluded()
        self._slots: dict[Variable, dict[str, Variable]] = {}
        self._variables: list[Variable] = []
        self.lr = lr
        self._unrated = unrated
        for key, value in values.items():
            setattr(self, key, value)
        optimizer_variables.name_all(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.options or name in self.shared:
            value = self.checked(name, value.item() if isinstance(value, np.generic) else value)
        object.__setattr__(self, name, value)
        if name in self.options or name in self.shared:
            self.listeners.tell()

    def checked(self, name: str, value: Any) -> Any:
        """An option's value. Raises InputError for one that makes no sense."""
        label = f"{type(self).__name__}: {name}"
        if name in FLAGS:
            return value is not None and check_flag(label, value)
        if name == "vintage" or (value is None and name in COMMON):
            return value
        if name in ("ema_overwrite_frequency", "gradient_accumulation_steps"):
            return check_count(label, value, 0) or None  # Keras 3 takes 0 for none
        if name == "decay" and value is None:
            return 0.0
        if name in COMMON or name == "decay":
            return check_number(label, value, 0, 1 if name == "ema_momentum" else math.inf)
        return check_number(label, value)

    def settle_in(self, vintage: str) -> None:
        """Be of the package of this vintage: in its configuration, and in its name unless one was given."""
        unnamed = self.name == optimizer_variables.usual_name(self) and self.home != vintage
        self.home = vintage
        if unnamed:
            self.name = optimizer_variables.automatic_name(self)
        optimizer_variables.name_all(self)

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self, "listeners")

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state, listeners=Listeners())

    # ---- the learning rate

    @property
    def lr(self) -> Any:
        """The learning rate, a variable; `optimizer.lr = 0.1` sets its value. Of a schedule: its rate now."""
        if self._rate_now is not None:
            return self._rate_now
        if self._schedule is None:
            return self.learning_rate_variable
        return self.scheduled(int(self._iterations.array))

    @lr.setter
    def lr(self, value: Any) -> None:
        kind = type(self).__name__
        if isinstance(value, Mapping):
            value = schedules.deserialize(value)
        if isinstance(value, schedules.LearningRateSchedule) or _takes_nothing(value):
            self._schedule = value
            self.listeners.tell()
            return
        if callable(value) and not hasattr(value, "__tensor__"):
            raise InputTypeError(
                f"{kind}: the learning rate must be a number, a LearningRateSchedule, or a function without "
                f"arguments. Received: {value!r}. For one of the epoch use callbacks.LearningRateScheduler"
            )
        if self._schedule is not None:
            raise InputTypeError(
                f"{kind}: the learning rate is a schedule, {self._schedule!r}, which cannot be set to a "
                "number. Make the optimizer with a number to set it"
            )
        with suppress(TypeError, ValueError):
            given = value.array if isinstance(value, Variable) else getattr(value, "value", value)
            value = float(as_array(given, "the learning rate"))
        value = check_number(f"{kind}: the learning rate", value, 0)
        self.learning_rate_variable.assign(value)

    learning_rate = lr

    def scheduled(self, step: Any) -> Any:
        """The rate that the schedule gives after a number of steps."""
        by_step = isinstance(self._schedule, schedules.LearningRateSchedule)
        return self._schedule(step) if by_step else self._schedule()

    def rate(self, trace: Trace, iterations: Tensor) -> Tensor:
        """The rate of the next step. Raises ModelError where a class never said it."""
        if self._unrated:
            wanted = "self._learning_rate = self._build_learning_rate(...) in its constructor"
            raise ModelError(describe(type(self).__name__, wanted, "no learning rate"))
        if self._schedule is None:
            rate = trace.read(self.learning_rate_variable)
        else:
            with explained(
                f"Schedule {getattr(self._schedule, 'name', None) or type(self._schedule).__name__!r}"
            ):
                found = self.scheduled(ops.cast(iterations, floatx()))
                rate = ops.cast(as_tensor(trace.graph, found), floatx())
                if rate.rank:
                    raise ModelError(describe("its result", "a number", str(rate.type)))
        return rate / (ops.cast(iterations, rate.dtype) * self.decay + 1.0) if self.decay else rate

    # ---- state

    def slots(self) -> tuple[str, ...]:
        """Names of the arrays kept for each variable."""
        return (*(slot.name for slot in self.known_slots), *self.own_slots)

    def lazy_slots(self) -> tuple[str, ...] | None:
        """In optimizers of tf.keras up to 2.10 the slots of an Embedding that stay at rows which a batch does
        not name, as the weights do there; None where all move."""
        return None

    def initial(self, slot: str) -> float:
        """The value a slot starts with."""
        return 0.0

    def first(self, slot: str, variable: Variable) -> np.ndarray | None:
        """The array that a slot of a variable starts with; None where the variable does not have it."""
        return np.full(variable.shape, self.initial(slot))

    def common_slots(self) -> tuple[str, ...]:
        """Names of the arrays for what all optimizers may do."""
        kept = (self.use_ema, self.gradient_accumulation_steps)
        return tuple(slot.name for slot, wanted in zip(COMMON_SLOTS, kept) if wanted)

    def state(self) -> list[Variable]:
        """State kept once, besides iterations and the learning rate."""
        return list(self.own_state)

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the slots of variables that have none yet."""
        self._variables = list(variables)
        for variable in variables:
            known = self._slots.setdefault(variable, {})
            for slot in (*self.common_slots(), *self.slots()):
                if slot in known:
                    continue
                plain = variable.array if slot == "ema" else np.zeros(variable.shape)
                value = self.first(slot, variable) if slot in self.slots() else plain
                if value is not None:
                    known[slot] = Variable(value, slot, False, variable.dtype)
        optimizer_variables.name_all(self)

    @property
    def built(self) -> bool:
        """Whether slots were made: training has begun, or a state was read."""
        return bool(self._variables)

    @property
    def built_for(self) -> list[Variable]:
        """The variables that slots were made for."""
        return list(self._variables)

    @property
    def kept(self) -> Mapping[Variable, dict[str, Variable]]:
        """The slots of each variable."""
        return self._slots

    @property
    def scalars_kept(self) -> dict[str, Variable]:
        """What is kept once, by its names in Keras 3."""
        return {"iteration": self._iterations, "learning_rate": self.learning_rate_variable}

    @property
    def stored_words(self) -> dict[str, str]:
        """The last words of names of slots in files of tf.keras up to 2.10."""
        return {slot.name: slot.stored for slot in (*COMMON_SLOTS, *self.known_slots)}

    @property
    def naming(self) -> Semantics:
        """Whose lists and names of the state it has: those of the vintage that it was made for, of the
        weights, or of the script."""
        owners = self._variables[:1]
        vintage = self.vintage or (owners[0].vintage if owners else self.home)
        return semantics(vintage) if vintage else settings.meaning()

    def stored(self, variables: Sequence[Variable]) -> list[Variable]:
        """The slots of variables as Keras 3 and tf_keras since 2.11 store them: what all optimizers may have
        first, then group by group, and in a group variable by variable."""
        self.build(variables)
        groups = [*((slot,) for slot in self.common_slots()), *(self.groups or (self.slots(),))]
        kept = {*self.common_slots(), *self.slots()}
        return [
            self._slots[v][slot]
            for group in groups
            for v in variables
            for slot in group
            if slot in kept and slot in self._slots[v]
        ]

    def stored_state(self, variables: Sequence[Variable]) -> list[Variable]:
        """All of the state as Keras 3 stores it. What is kept once stands last."""
        rate = [] if self._schedule is not None else [self.learning_rate_variable]
        return [self._iterations, *rate, *self.stored(variables), *self.state()]

    def settle(self) -> None:
        """What ends a training: the moving average of the weights becomes the weights."""
        for variable in self._variables if self.use_ema else ():
            variable.assign(self._slots[variable]["ema"].array)

    def finalize_variable_values(self, var_list: Any = None) -> None:
        """The moving averages become the weights, as `fit` does at its end. var_list: the weights, which the
        optimizer knows."""
        self.settle()

    @property
    def weights(self) -> list[Variable]:
        """The state in the order of its Keras: in Keras 2 the number of steps, shared state, then slot by
        slot over variables; since tf.keras variable by variable, in Keras 3 with the rate."""
        return optimizer_variables.listed(self)

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

    def new_values(self, trace: Trace, gradients: steps.Pairs, meaning: Semantics) -> list[Tensor]:
        """One step: new values of the variables, in order. Slots, state and iterations are updated
        on the graph. meaning: the model's semantics."""
        variables = [v for v, _ in gradients]
        self.build(variables)
        meaning = semantics(self.vintage) if self.vintage else meaning
        iterations = trace.read(self._iterations)
        if self.loss_scale_factor is not None:
            gradients = [(v, g / self.loss_scale_factor) for v, g in gradients]
        count = self.gradient_accumulation_steps or 1
        done = ops.cast(iterations, self.learning_rate_variable.dtype)
        made = ops.floor(done / float(count)) if count > 1 else done
        at = StepContext(self.rate(trace, iterations), made + 1.0, meaning)
        due = None
        if count > 1:
            due = steps.is_multiple(iterations + ops.constant(trace.graph, 1, "int64"), count)
            sums = steps.summed(trace, gradients, lambda v: self._slots[v]["gradient_sum"], due)
            gradients = [(v, g / float(count)) for v, g in zip(variables, sums)]
        values = self.step(trace, gradients, at, due)
        if self.use_ema:
            values = self._averaged(trace, variables, values, at)
        trace.update(self._iterations, iterations + ops.constant(trace.graph, 1, "int64"))
        return values

    def step(self, trace: Trace, gradients: steps.Pairs, at: StepContext, due: Tensor | None) -> list[Tensor]:
        """The new values of the variables. due: whether anything changes; None: it does."""
        before = {v: trace.read(v) for v in self.state()}
        scalars = self.scalars(trace, at)
        clipped = self.clip([g for _, g in gradients], at.meaning)
        values = []
        for (variable, _), g in zip(gradients, clipped):
            known, own = self._slots[variable], tuple(ops.cast(x, variable.dtype) for x in scalars)
            p, decay = trace.read(variable), self.decay_of(variable, at.meaning)
            before[variable] = p
            before |= {known[k]: trace.read(known[k]) for k in self.slots() if k in known}
            if decay is not None:
                p = p - p * decay * ops.cast(at.rate, variable.dtype)
            held = {k: before[known[k]] for k in self.slots() if k in known}
            if self.update_step is None:
                value, slots = self.update(p, g, held, own, at)
                lazy = self.lazy_slots() if at.meaning.rows_left_out == "stay" else None
                value, slots = steps.where_named(g, lazy, (p, held), (value, slots))
            else:
                value, slots = self.updated(trace, variable, p, g, at.rate), {}
            values.append(value if due is None else ops.select(due, value, before[variable]))
            for slot, new in slots.items():
                trace.update(known[slot], new)
        if due is not None:
            steps.update_where(trace, due, before)
        return values

    def _averaged(
        self, trace: Trace, variables: Sequence[Variable], values: Sequence[Tensor], at: StepContext
    ) -> list[Tensor]:
        """The values, or their moving averages where these become the weights."""
        result, momentum = [], at.t * 0.0 + self.ema_momentum
        if at.meaning.average_begins == "after":
            momentum = ops.select(at.t > 1.0, momentum, ops.zeros_like(momentum))
        for variable, value in zip(variables, values):
            slot = self._slots[variable]["ema"]
            average = steps.averaged(trace.read(slot), value, ops.cast(momentum, variable.dtype))
            trace.update(slot, average)
            if self.ema_overwrite_frequency:
                value = ops.select(steps.is_multiple(at.t, self.ema_overwrite_frequency), average, value)
            result.append(value)
        return result

    def decay_of(self, variable: Variable, meaning: Semantics) -> float | None:
        """The share by which a variable becomes smaller in a step of rate 1; None: it does not."""
        if self.weight_decay is None or self._excluded.has(variable, meaning.decay_excludes == "own names"):
            return None
        return float(self.weight_decay)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Variables that do not become smaller: these, and those in whose names one of the patterns is found
        (in Keras 3 in the last part, "kernel")."""
        self._excluded = steps.Excluded(var_list, var_names)
        self.listeners.tell()

    def excluded(self) -> list[Variable]:
        """The variables that are excluded as such."""
        return list(self._excluded.variables)

    def scaled(self, trace: Trace, loss: Tensor) -> Tensor:
        """The loss whose gradients `new_values` is given."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def clip(self, gradients: Sequence[Tensor], meaning: Semantics) -> list[Tensor]:
        """Gradients limited by norm, then by value."""
        return steps.limited(self, gradients, meaning)

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
        """The options as the Keras of its class names them."""
        return optimizer_configs.as_its_keras(self)

    def silent_options(self) -> dict[str, Any]:
        """The options of all optimizers, with the values at which they say nothing."""
        return {**COMMON, **self.defaults}

    def written_config(self) -> dict[str, Any]:
        """The options that say something, in our words, which any of our classes takes."""
        rate: Any = float(self.learning_rate_variable.array)
        if isinstance(self._schedule, schedules.LearningRateSchedule):
            rate = schedules.serialize(self._schedule)
        elif self._schedule is not None:
            rate = float(self.lr)
        config: dict[str, Any] = {"name": self.name, edition(settings.vintage()).rate: rate}
        config.update((key, getattr(self, key)) for key in (*self.options, "decay"))
        for key, nothing in self.silent_options().items():
            said = self.use_ema or not key.startswith("ema_")
            if key not in self.options and said and getattr(self, key) != nothing:
                config[key] = getattr(self, key)
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Optimizer:
        """An optimizer from its configuration; `lr` and `learning_rate` mean the same."""
        return cls(**config)


def _of_tf_keras(home: str | None) -> bool:
    """Whether a package's optimizers are those of tf.keras."""
    return home is not None and edition(home).eager == "tensors"


# ---------------------------------------------------------------- for the formulas


def _takes_nothing(value: Any) -> bool:
    """Whether it is a function that can be called without arguments."""
    if not callable(value) or hasattr(value, "__tensor__") or isinstance(value, type):
        return False
    try:
        inspect.signature(value).bind()
    except (TypeError, ValueError):
        return False
    return True


def power_gap(beta: float, t: Tensor) -> Tensor:
    """1 - beta^t, by expm1: beta^t near 1 would lose the difference. beta as Keras rounds it."""
    logarithm = math.log(max(float(np.asarray(beta, t.dtype)), 1e-30))
    return -ops.expm1(t * logarithm)


def given_rate(kind: str, default: float, lr: Any, options: dict[str, Any]) -> Any:
    """The learning rate under either of its names."""
    if "learning_rate" in options:
        if lr is not None:
            raise InputTypeError(f"{kind}: give lr or learning_rate, not both")
        lr = options.pop("learning_rate")
    return default if lr is None else lr


def given_epsilon(given: float | None) -> float:
    """The epsilon of an optimizer that was given it, or none: then that of the settings."""
    return epsilon() if given is None else given

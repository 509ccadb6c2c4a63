"""Optimizers: update formulas written in graph ops; state in variables.

Enters: gradients of the trainable variables in a graph being traced. Leaves: the new values of the
variables, and updates of the optimizer's own state (slots, iterations) on the graph. Formulas are those
of `keras/optimizers.py` in Keras 2.3; where Keras 3 differs (where epsilon stands, how norms are clipped)
the vintage of the model decides. The learning rate is a variable, so that callbacks set it without a new
compilation; every other option is a constant of the compiled step, and setting one drops that step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import updates
from kcompile.keras.copying import restore, state_of
from kcompile.keras.editions import edition
from kcompile.keras.engine import Variable
from kcompile.keras.listeners import Listeners
from kcompile.keras.semantics import DEFAULT, VINTAGES, Semantics, semantics
from kcompile.keras.settings import epsilon
from kcompile.keras.tracing import Trace
from kcompile.keras.utils.serialization import custom_names
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


@dataclass(frozen=True)
class Moment:
    """What an update needs besides gradient and slots: the decayed learning rate, and t = 1, 2, ...
    (float32 scalars), and whose rules they are."""

    rate: Tensor
    t: Tensor
    meaning: Semantics


def _power_gap(beta: float, t: Tensor) -> Tensor:
    """1 - beta^t, by expm1: beta^t near 1 would lose the difference. beta as Keras rounds it."""
    logarithm = math.log(max(float(np.float32(beta)), 1e-30))
    return -ops.expm1(t * logarithm)


FLAGS = ("nesterov", "amsgrad")  # options that are True or False


class Optimizer:
    """Base of all optimizers.

    lr (also learning_rate): positive float. decay: the rate is divided by 1 + decay * iterations.
    clipnorm: largest norm, of all gradients together (Keras 2) or of each (Keras 3); global_clipnorm: of
    all together. clipvalue: gradients are limited to [-clipvalue, clipvalue]. vintage: whose rules where
    they differ, one of `semantics.VINTAGES`; default the model's.

    Subclasses list their options in `options` and slots in `slots()`, and define `update`.
    """

    options: tuple[str, ...] = ()
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
        self.learning_rate_variable.assign(np.float32(value))

    learning_rate = lr

    # ---- state

    def slots(self) -> tuple[str, ...]:
        """Names of the arrays kept for each variable."""
        return ()

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
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: Moment
    ) -> tuple[Tensor, Slots]:
        """The new value of a variable p with gradient g, and its new slots."""
        raise NotImplementedError

    def scalars(self, trace: Trace, at: Moment) -> tuple[Tensor, ...]:
        """What all updates share; computed once a step. May update `state` on the graph."""
        return (at.rate,)

    def apply(
        self, trace: Trace, gradients: Sequence[tuple[Variable, Tensor]], meaning: Semantics
    ) -> list[Tensor]:
        """One step: new values of the variables, in order. Slots, state and iterations are updated
        on the graph. meaning: the model's semantics."""
        self.build([v for v, _ in gradients])
        meaning = semantics(self.vintage) if self.vintage else meaning
        iterations = trace.read(self.iterations)
        done = ops.cast(iterations, "float32")
        rate = trace.read(self.learning_rate_variable)
        if self.decay:
            rate = rate / (done * self.decay + 1.0)
        at = Moment(rate, done + 1.0, meaning)
        scalars = self.scalars(trace, at)
        clipped = self.clip([g for _, g in gradients], meaning)
        values = []
        for (variable, _), g in zip(gradients, clipped):
            known = self._slots[variable]
            value, slots = self.update(
                trace.read(variable), g, {k: trace.read(v) for k, v in known.items()}, scalars, at
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
            "learning_rate": float(self.learning_rate_variable.value),
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


def _rate(kind: str, default: float, lr: Any, options: dict[str, Any]) -> Any:
    """The learning rate under either of its names."""
    if "learning_rate" in options:
        if lr is not None:
            raise InputTypeError(f"{kind}: give lr or learning_rate, not both")
        lr = options.pop("learning_rate")
    return default if lr is None else lr


def _epsilon(given: float | None) -> float:
    return epsilon() if given is None else given


class SGD(Optimizer):
    """v = momentum v - rate g; p = p + v, or with nesterov p + momentum v - rate g."""

    options = ("momentum", "nesterov")

    def __init__(
        self,
        lr: Any = None,
        momentum: float = 0.0,
        decay: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        lr = _rate("SGD", 0.01, lr, options)
        super().__init__(lr, decay, **options)
        self.momentum = check_number("SGD: momentum", momentum, 0, 1)
        self.nesterov = nesterov

    def slots(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: Moment
    ) -> tuple[Tensor, Slots]:
        move = g * scalars[0]
        if not self.momentum:
            return p - move, {}
        velocity = slots["momentum"] * self.momentum - move
        step = velocity * self.momentum - move if self.nesterov else velocity
        return p + step, {"momentum": velocity}


class RMSprop(Optimizer):
    """a = rho a + (1 - rho) g^2; p = p - rate g / (sqrt(a) + epsilon). Keras 3: / sqrt(a + epsilon)."""

    options = ("rho", "epsilon")

    def __init__(
        self,
        lr: Any = None,
        rho: float = 0.9,
        epsilon: float | None = None,
        decay: float = 0.0,
        **options: Any,
    ) -> None:
        lr = _rate("RMSprop", 0.001, lr, options)
        for key in ("momentum", "centered"):
            if options.pop(key, None):
                raise InputTypeError(f"RMSprop: {key} is not supported. Remove it")
        super().__init__(lr, decay, **options)
        self.rho = rho
        self.epsilon = _epsilon(epsilon)

    def slots(self) -> tuple[str, ...]:
        return ("rms",)

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: Moment
    ) -> tuple[Tensor, Slots]:
        a = slots["rms"] * self.rho + ops.square(g) * (1.0 - self.rho)
        return p - g * scalars[0] / _root(a, self.epsilon, at.meaning), {"rms": a}


def _root(x: Tensor, epsilon: float, meaning: Semantics) -> Tensor:
    return ops.sqrt(x + epsilon) if meaning.epsilon == "inside" else ops.sqrt(x) + epsilon


class Adagrad(Optimizer):
    """a = a + g^2; p = p - rate g / (sqrt(a) + epsilon). Keras 3: / sqrt(a + epsilon)."""

    options = ("epsilon", "initial_accumulator_value")

    def __init__(
        self,
        lr: Any = None,
        epsilon: float | None = None,
        decay: float = 0.0,
        *,
        initial_accumulator_value: float = 0.0,
        **options: Any,
    ) -> None:
        lr = _rate("Adagrad", 0.01, lr, options)
        super().__init__(lr, decay, **options)
        self.epsilon = _epsilon(epsilon)
        self.initial_accumulator_value = initial_accumulator_value

    def slots(self) -> tuple[str, ...]:
        return ("accumulator",)

    def initial(self, slot: str) -> float:
        return self.initial_accumulator_value

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: Moment
    ) -> tuple[Tensor, Slots]:
        a = slots["accumulator"] + ops.square(g)
        return p - g * scalars[0] / _root(a, self.epsilon, at.meaning), {"accumulator": a}


class Adadelta(Optimizer):
    """a = rho a + (1 - rho) g^2; u = g sqrt(d + epsilon) / sqrt(a + epsilon);
    d = rho d + (1 - rho) u^2; p = p - rate u (Zeiler 2012)."""

    options = ("rho", "epsilon")

    def __init__(
        self,
        lr: Any = None,
        rho: float = 0.95,
        epsilon: float | None = None,
        decay: float = 0.0,
        **options: Any,
    ) -> None:
        lr = _rate("Adadelta", 1.0, lr, options)
        super().__init__(lr, decay, **options)
        self.rho = rho
        self.epsilon = _epsilon(epsilon)

    def slots(self) -> tuple[str, ...]:
        return ("accumulator", "delta")

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: Moment
    ) -> tuple[Tensor, Slots]:
        a = slots["accumulator"] * self.rho + ops.square(g) * (1.0 - self.rho)
        u = g * ops.sqrt(slots["delta"] + self.epsilon) / ops.sqrt(a + self.epsilon)
        d = slots["delta"] * self.rho + ops.square(u) * (1.0 - self.rho)
        return p - u * scalars[0], {"accumulator": a, "delta": d}


class Adam(Optimizer):
    """m, v: moving averages of g and g^2; p = p - r m / (sqrt(v) + epsilon) with
    r = rate sqrt(1 - beta_2^t) / (1 - beta_1^t) (Kingma and Ba 2015). amsgrad: the largest v so far."""

    options = ("beta_1", "beta_2", "epsilon", "amsgrad")

    def __init__(
        self,
        lr: Any = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        decay: float = 0.0,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        lr = _rate("Adam", 0.001, lr, options)
        super().__init__(lr, decay, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = _epsilon(epsilon)
        self.amsgrad = amsgrad

    def slots(self) -> tuple[str, ...]:
        return ("m", "v", "vhat") if self.amsgrad else ("m", "v")

    def scalars(self, trace: Trace, at: Moment) -> tuple[Tensor, ...]:
        return (at.rate * ops.sqrt(_power_gap(self.beta_2, at.t)) / _power_gap(self.beta_1, at.t),)

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: Moment
    ) -> tuple[Tensor, Slots]:
        m = slots["m"] * self.beta_1 + g * (1.0 - self.beta_1)
        v = slots["v"] * self.beta_2 + ops.square(g) * (1.0 - self.beta_2)
        new = {"m": m, "v": v}
        if self.amsgrad:
            v = new["vhat"] = ops.maximum(slots["vhat"], v)
        return p - m * scalars[0] / (ops.sqrt(v) + self.epsilon), new


class Adamax(Optimizer):
    """Adam with the largest |g| in place of its average (Kingma and Ba 2015, section 7)."""

    options = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        lr: Any = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        decay: float = 0.0,
        **options: Any,
    ) -> None:
        lr = _rate("Adamax", 0.002, lr, options)
        super().__init__(lr, decay, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = _epsilon(epsilon)

    def slots(self) -> tuple[str, ...]:
        return ("m", "u")

    def scalars(self, trace: Trace, at: Moment) -> tuple[Tensor, ...]:
        return (at.rate / _power_gap(self.beta_1, at.t),)

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: Moment
    ) -> tuple[Tensor, Slots]:
        m = slots["m"] * self.beta_1 + g * (1.0 - self.beta_1)
        u = ops.maximum(slots["u"] * self.beta_2, ops.abs(g))
        return p - m * scalars[0] / (u + self.epsilon), {"m": m, "u": u}


class Nadam(Optimizer):
    """Adam with Nesterov momentum under the schedule beta_1 (1 - 0.96^(t schedule_decay) / 2) (Dozat
    2016). Keras 3 has no schedule_decay: for its models it is 1."""

    options = ("beta_1", "beta_2", "epsilon", "schedule_decay")

    def __init__(
        self,
        lr: Any = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        schedule_decay: float = 0.004,
        **options: Any,
    ) -> None:
        lr = _rate("Nadam", 0.002, lr, options)
        super().__init__(lr, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = _epsilon(epsilon)
        self.schedule_decay = schedule_decay
        self.product = Variable(1, "training/Nadam/m_schedule", False)

    def slots(self) -> tuple[str, ...]:
        return ("m", "v")

    def state(self) -> list[Variable]:
        return [self.product]

    def scalars(self, trace: Trace, at: Moment) -> tuple[Tensor, ...]:
        stretch = self.schedule_decay if at.meaning.nadam_schedule_decay else 1.0

        def momentum(t: Tensor) -> Tensor:
            return (1.0 - ops.exp(t * (stretch * math.log(0.96))) * 0.5) * self.beta_1

        now, following = momentum(at.t), momentum(at.t + 1.0)
        product = trace.read(self.product) * now
        trace.update(self.product, product)
        return (
            at.rate,
            (1.0 - now) / (1.0 - product),
            following / (1.0 - product * following),
            _power_gap(self.beta_2, at.t),
        )

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: Moment
    ) -> tuple[Tensor, Slots]:
        rate, of_gradient, of_moment, gap = scalars
        m = slots["m"] * self.beta_1 + g * (1.0 - self.beta_1)
        v = slots["v"] * self.beta_2 + ops.square(g) * (1.0 - self.beta_2)
        step = m * of_moment + g * of_gradient
        return p - step * rate / (ops.sqrt(v / gap) + self.epsilon), {"m": m, "v": v}


sgd, rmsprop, adagrad, adadelta, adam, adamax, nadam = (SGD, RMSprop, Adagrad, Adadelta, Adam, Adamax, Nadam)
CLASSES: dict[str, type[Optimizer]] = {
    c.__name__.lower(): c for c in (SGD, RMSprop, Adagrad, Adadelta, Adam, Adamax, Nadam)
}


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    if not hasattr(optimizer, "get_config") or isinstance(optimizer, type):
        raise InputTypeError(describe("optimizers.serialize", "an Optimizer", repr(optimizer)))
    return {"class_name": type(optimizer).__name__, "config": optimizer.get_config()}


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Optimizer:
    """The inverse of `serialize`. Raises ModelError for an unknown name."""
    name = config.get("class_name") if isinstance(config, Mapping) else None
    if not isinstance(name, str):
        raise _unknown(config)
    found = custom_names(custom_objects).get(name) or CLASSES.get(name.lower())
    if found is None:
        raise _unknown(name)
    made: Optimizer = found.from_config(config.get("config") or {})
    return made


def _unknown(name: Any) -> ModelError:
    return ModelError(
        describe("unknown optimizer", f"one of {', '.join(CLASSES)}, or an Optimizer", repr(name))
    )


def get(identifier: Any, vintage: str = DEFAULT) -> Optimizer:
    """An optimizer by name, config, class or object. vintage: whose defaults one by name has."""
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        found = CLASSES.get(identifier.lower())
        defaults = edition(vintage).defaults.get(found.__name__, {}) if found else {}
        return deserialize({"class_name": identifier, "config": dict(defaults)})
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        return identifier.from_config({})
    raise _unknown(identifier)

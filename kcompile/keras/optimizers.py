"""Optimizers: update formulas written in graph ops; what they share stands in `optimizer`.

Formulas are those of `keras/optimizers.py` in Keras 2.3; where Keras 3 differs (where epsilon stands, how
norms are clipped) the vintage of the model decides. Those that came with Keras 3 are in `newer_optimizers`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import settings
from kcompile.keras.editions import edition
from kcompile.keras.engine import Variable
from kcompile.keras.loss_scaling import LossScaleOptimizer
from kcompile.keras.newer_optimizers import Adafactor, Lamb, Lion, Muon, ScheduleFreeAdamW
from kcompile.keras.optimizer import Optimizer as Optimizer
from kcompile.keras.optimizer import Slot, Slots, StepContext, given_epsilon, given_rate, power_gap
from kcompile.keras.semantics import Semantics
from kcompile.keras.tracing import Trace
from kcompile.keras.utils.serialization import custom_names, custom_object_scope
from kcompile_runtime.checks import check_number
from kcompile_runtime.errors import InputTypeError, ModelError, UnsupportedError, describe


class SGD(Optimizer):
    """v = momentum v - rate g; p = p + v, or with nesterov p + momentum v - rate g."""

    options = ("momentum", "nesterov")
    known_slots = (Slot("momentum", "momentums", "momentum"),)

    def __init__(
        self,
        lr: Any = None,
        momentum: float = 0.0,
        decay: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        if isinstance(decay, bool):  # Keras 2.3 has nesterov in its place
            nesterov, decay = decay, 0.0
        lr = given_rate("SGD", 0.01, lr, options)
        super().__init__(lr, decay, **options)
        self.momentum = check_number("SGD: momentum", momentum, 0, 1)
        self.nesterov = nesterov

    def slots(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def lazy_slots(self) -> tuple[str, ...] | None:
        return self.slots() or None

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        move = g * scalars[0]
        if not self.momentum:
            return p - move, {}
        velocity = slots["momentum"] * self.momentum - move
        step = velocity * self.momentum - move if self.nesterov else velocity
        return p + step, {"momentum": velocity}


class RMSprop(Optimizer):
    """a = rho a + (1 - rho) g^2; p = p - rate g / (sqrt(a) + epsilon). Keras 3: / sqrt(a + epsilon).

    centered: a less the square of the moving average of g. momentum: p = p - m, m = momentum m + the step.
    """

    options = ("rho", "epsilon", "momentum", "centered")
    known_slots = (
        Slot("rms", "_velocities", "rms"),
        Slot("momentum", "_momentums", "momentum"),
        Slot("average", "_average_gradients", "mg"),
    )
    groups = (("rms",), ("momentum",), ("average",))

    def __init__(
        self,
        lr: Any = None,
        rho: float = 0.9,
        epsilon: float | None = None,
        decay: float = 0.0,
        *,
        momentum: float = 0.0,
        centered: bool = False,
        **options: Any,
    ) -> None:
        lr = given_rate("RMSprop", 0.001, lr, options)
        super().__init__(lr, decay, **options)
        self.rho = rho
        self.epsilon = given_epsilon(epsilon)
        self.momentum = check_number("RMSprop: momentum", momentum, 0, 1)
        self.centered = centered

    def slots(self) -> tuple[str, ...]:
        kept = {"rms": True, "momentum": self.momentum > 0, "average": self.centered}
        return tuple(slot for slot, wanted in kept.items() if wanted)

    def lazy_slots(self) -> tuple[str, ...] | None:
        return self.slots() if self.momentum else None

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        a = slots["rms"] * self.rho + ops.square(g) * (1.0 - self.rho)
        new = {"rms": a}
        if self.centered:
            new["average"] = slots["average"] * self.rho + g * (1.0 - self.rho)
            a = a - ops.square(new["average"])
        # With a momentum TensorFlow's own kernel computes, in optimizers of tf.keras up to 2.10 too
        root = ops.sqrt(a + self.epsilon) if self.momentum else _root(a, self.epsilon, at.meaning)
        step = g * scalars[0] / root
        if self.momentum:
            step = new["momentum"] = slots["momentum"] * self.momentum + step
        return p - step, new


def _root(x: Tensor, epsilon: float, meaning: Semantics) -> Tensor:
    return ops.sqrt(x + epsilon) if meaning.epsilon == "inside" else ops.sqrt(x) + epsilon


class Adagrad(Optimizer):
    """a = a + g^2; p = p - rate g / (sqrt(a) + epsilon). Keras 3: / sqrt(a + epsilon)."""

    options = ("epsilon", "initial_accumulator_value")
    known_slots = (Slot("accumulator", "_accumulators", "accumulator"),)

    def __init__(
        self,
        lr: Any = None,
        epsilon: float | None = None,
        decay: float = 0.0,
        *,
        initial_accumulator_value: float = 0.0,
        **options: Any,
    ) -> None:
        lr = given_rate("Adagrad", 0.01, lr, options)
        super().__init__(lr, decay, **options)
        self.epsilon = given_epsilon(epsilon)
        self.initial_accumulator_value = initial_accumulator_value

    def initial(self, slot: str) -> float:
        return self.initial_accumulator_value

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        a = slots["accumulator"] + ops.square(g)
        return p - g * scalars[0] / _root(a, self.epsilon, at.meaning), {"accumulator": a}


class Adadelta(Optimizer):
    """a = rho a + (1 - rho) g^2; u = g sqrt(d + epsilon) / sqrt(a + epsilon);
    d = rho d + (1 - rho) u^2; p = p - rate u (Zeiler 2012)."""

    options = ("rho", "epsilon")
    known_slots = (
        Slot("accumulator", "_accumulated_grads", "accum_grad"),
        Slot("delta", "_accumulated_delta_vars", "accum_var"),
    )

    def __init__(
        self,
        lr: Any = None,
        rho: float = 0.95,
        epsilon: float | None = None,
        decay: float = 0.0,
        **options: Any,
    ) -> None:
        lr = given_rate("Adadelta", 1.0, lr, options)
        super().__init__(lr, decay, **options)
        self.rho = rho
        self.epsilon = given_epsilon(epsilon)

    def lazy_slots(self) -> tuple[str, ...] | None:
        return self.slots()

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        a = slots["accumulator"] * self.rho + ops.square(g) * (1.0 - self.rho)
        u = g * ops.sqrt(slots["delta"] + self.epsilon) / ops.sqrt(a + self.epsilon)
        d = slots["delta"] * self.rho + ops.square(u) * (1.0 - self.rho)
        return p - u * scalars[0], {"accumulator": a, "delta": d}


class Adam(Optimizer):
    """m, v: moving averages of g and g^2; p = p - r m / (sqrt(v) + epsilon) with
    r = rate sqrt(1 - beta_2^t) / (1 - beta_1^t) (Kingma and Ba 2015). amsgrad: the largest v so far."""

    options = ("beta_1", "beta_2", "epsilon", "amsgrad")
    known_slots = (
        Slot("m", "_momentums", "m"),
        Slot("v", "_velocities", "v"),
        Slot("vhat", "_velocity_hats", "vhat"),
    )
    groups = (("m", "v"), ("vhat",))

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
        if isinstance(epsilon, bool):  # Keras 2.3 has amsgrad in its place
            amsgrad, epsilon = epsilon, None
        lr = given_rate("Adam", 0.001, lr, options)
        super().__init__(lr, decay, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = given_epsilon(epsilon)
        self.amsgrad = amsgrad

    def slots(self) -> tuple[str, ...]:
        return ("m", "v", "vhat") if self.amsgrad else ("m", "v")

    def scalars(self, trace: Trace, at: StepContext) -> tuple[Tensor, ...]:
        return (at.rate * ops.sqrt(power_gap(self.beta_2, at.t)) / power_gap(self.beta_1, at.t),)

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        m = slots["m"] * self.beta_1 + g * (1.0 - self.beta_1)
        v = slots["v"] * self.beta_2 + ops.square(g) * (1.0 - self.beta_2)
        new = {"m": m, "v": v}
        if self.amsgrad:
            v = new["vhat"] = ops.maximum(slots["vhat"], v)
        return p - m * scalars[0] / (ops.sqrt(v) + self.epsilon), new


class AdamW(Adam):
    """`Adam` with weight_decay, which is 0.004 where it is not given (Loshchilov and Hutter 2019)."""

    defaults: Mapping[str, Any] = {"weight_decay": 0.004}

    def checked(self, name: str, value: Any) -> Any:
        if name == "weight_decay" and value is None:
            raise ModelError(describe("AdamW: weight_decay", "a number", "None", "Use Adam without it"))
        return super().checked(name, value)


class Adamax(Optimizer):
    """Adam with the largest |g| in place of its average (Kingma and Ba 2015, section 7)."""

    options = ("beta_1", "beta_2", "epsilon")
    known_slots = (Slot("m", "_m", "m"), Slot("u", "_u", "v"))

    def __init__(
        self,
        lr: Any = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        decay: float = 0.0,
        **options: Any,
    ) -> None:
        lr = given_rate("Adamax", 0.002, lr, options)
        super().__init__(lr, decay, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = given_epsilon(epsilon)

    def lazy_slots(self) -> tuple[str, ...] | None:
        return self.slots()

    def scalars(self, trace: Trace, at: StepContext) -> tuple[Tensor, ...]:
        return (at.rate / power_gap(self.beta_1, at.t),)

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        m = slots["m"] * self.beta_1 + g * (1.0 - self.beta_1)
        u = ops.maximum(slots["u"] * self.beta_2, ops.abs(g))
        return p - m * scalars[0] / (u + self.epsilon), {"m": m, "u": u}


class Nadam(Optimizer):
    """Adam with Nesterov momentum under the schedule beta_1 (1 - 0.96^(t schedule_decay) / 2) (Dozat
    2016). Keras 3 has no schedule_decay: for its models it is 1."""

    options = ("beta_1", "beta_2", "epsilon", "schedule_decay")
    known_slots = (Slot("m", "_momentums", "m"), Slot("v", "_velocities", "v"))
    live_state: Mapping[str, str] = {"product": "_u_product"}

    def __init__(
        self,
        lr: Any = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        schedule_decay: float = 0.004,
        **options: Any,
    ) -> None:
        self.product = Variable(1, "training/Nadam/m_schedule", False)
        lr = given_rate("Nadam", 0.002, lr, options)
        super().__init__(lr, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = given_epsilon(epsilon)
        self.schedule_decay = schedule_decay

    def state(self) -> list[Variable]:
        return [self.product]

    def lazy_slots(self) -> tuple[str, ...] | None:
        return ()

    def scalars(self, trace: Trace, at: StepContext) -> tuple[Tensor, ...]:
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
            power_gap(self.beta_2, at.t),
        )

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        rate, of_gradient, of_moment, gap = scalars
        m = slots["m"] * self.beta_1 + g * (1.0 - self.beta_1)
        v = slots["v"] * self.beta_2 + ops.square(g) * (1.0 - self.beta_2)
        step = m * of_moment + g * of_gradient
        return p - step * rate / (ops.sqrt(v / gap) + self.epsilon), {"m": m, "v": v}


class Ftrl(Optimizer):
    """Follow the regularized leader (McMahan et al. 2013), in the variant of TensorFlow: with an l2
    shrinkage, which adds to the gradient, and beta, which adds to l2.

    n = a + g^2; l = l + g - (n^-power - a^-power) / rate p; p = (clip(l, l1) - l) / (n^-power / rate + 2 l2).
    """

    options = (
        "learning_rate_power",
        "initial_accumulator_value",
        "l1_regularization_strength",
        "l2_regularization_strength",
        "l2_shrinkage_regularization_strength",
        "beta",
    )
    known_slots = (Slot("accumulator", "_accumulators", "accumulator"), Slot("linear", "_linears", "linear"))

    def __init__(
        self,
        lr: Any = None,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **options: Any,
    ) -> None:
        lr = given_rate("Ftrl", 0.001, lr, options)
        super().__init__(lr, **options)
        self.learning_rate_power = check_number("Ftrl: learning_rate_power", learning_rate_power, high=0)
        for name, value in (
            ("initial_accumulator_value", initial_accumulator_value),
            ("l1_regularization_strength", l1_regularization_strength),
            ("l2_regularization_strength", l2_regularization_strength),
            ("l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength),
        ):
            setattr(self, name, check_number(f"Ftrl: {name}", value, 0))
        self.beta = beta

    initial_accumulator_value: float
    l1_regularization_strength: float
    l2_regularization_strength: float
    l2_shrinkage_regularization_strength: float

    def initial(self, slot: str) -> float:
        return self.initial_accumulator_value if slot == "accumulator" else 0.0

    def lazy_slots(self) -> tuple[str, ...] | None:
        return self.slots()

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        rate, power, l1 = scalars[0], -self.learning_rate_power, self.l1_regularization_strength
        old, a = slots["accumulator"], slots["accumulator"] + ops.square(g)
        shrunk = g + p * (2.0 * self.l2_shrinkage_regularization_strength)
        linear = slots["linear"] + (shrunk - (ops.pow(a, power) - ops.pow(old, power)) / rate * p)
        l2 = self.beta / (rate * 2.0) + self.l2_regularization_strength
        value = (ops.clip(linear, -l1, l1) - linear) / (ops.pow(a, power) / rate + l2 * 2.0)
        return value, {"accumulator": a, "linear": linear}


class TFOptimizer(Optimizer):
    """Keras 2's name for an optimizer of TensorFlow, which is not there. Raises UnsupportedError."""

    def __init__(self, optimizer: Any, iterations: Any = None) -> None:
        raise UnsupportedError(
            f"TFOptimizer: {optimizer!r} is of TensorFlow, which is not there. Use one of keras.optimizers"
        )


sgd, rmsprop, adagrad, adadelta, adam, adamax, nadam = (SGD, RMSprop, Adagrad, Adadelta, Adam, Adamax, Nadam)
CLASSES: dict[str, type[Optimizer]] = {
    c.__name__.lower(): c
    for c in (
        SGD,
        RMSprop,
        Adagrad,
        Adadelta,
        Adam,
        AdamW,
        Adamax,
        Nadam,
        Ftrl,
        Lion,
        Lamb,
        Adafactor,
        Muon,
        ScheduleFreeAdamW,
    )
}
AROUND = {"lossscaleoptimizer": LossScaleOptimizer}  # those that are made of another optimizer


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer as {"class_name", "config"}. Raises InputTypeError for what is none."""
    if not hasattr(optimizer, "get_config") or isinstance(optimizer, type):
        raise InputTypeError(describe("optimizers.serialize", "an Optimizer", repr(optimizer)))
    return {"class_name": type(optimizer).__name__, "config": optimizer.get_config()}


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Optimizer:
    """The inverse of `serialize`. Raises ModelError for an unknown name."""
    name = config.get("class_name") if isinstance(config, Mapping) else None
    if not isinstance(name, str):
        raise _unknown(config)
    known: dict[str, type[Optimizer]] = {**CLASSES, **AROUND}
    found = custom_names(custom_objects).get(name) or known.get(name.lower())
    if found is None:
        raise _unknown(name)
    arguments = dict(config.get("config") or {})
    if isinstance(arguments.get("inner_optimizer"), Mapping):
        arguments["inner_optimizer"] = deserialize(arguments["inner_optimizer"], custom_objects)
    with custom_object_scope(custom_objects):
        made: Optimizer = found.from_config(arguments)
    return made


def _unknown(name: Any) -> ModelError:
    return ModelError(
        describe("unknown optimizer", f"one of {', '.join(CLASSES)}, or an Optimizer", repr(name))
    )


def _at_home(optimizer: Optimizer, vintage: str | None) -> Optimizer:
    """The optimizer that was made by name, as the classes of the vintage's package are."""
    if optimizer.home is None and vintage is not None:
        optimizer.settle_in(vintage)
    return optimizer


def get(identifier: Any, vintage: str | None = None) -> Optimizer:
    """An optimizer by name, config, class or object. vintage: whose defaults one by name has, default
    the one whose code runs."""
    if vintage is None and edition(settings.vintage_running()).eager:
        vintage = settings.vintage_running()
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        found = CLASSES.get(identifier.lower())
        defaults = edition(vintage or settings.vintage()).defaults.get(found.__name__, {}) if found else {}
        return _at_home(deserialize({"class_name": identifier, "config": dict(defaults)}), vintage)
    if isinstance(identifier, Mapping):
        return _at_home(deserialize(identifier), vintage)
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        return identifier.from_config({})
    raise _unknown(identifier)

"""Learning rates that follow from the number of steps: `keras.optimizers.schedules`.

Enters: the number of steps so far, a tensor of the training step's graph or any operand of K. Leaves: the
rate, of floatx. An optimizer calls its schedule in the graph of its step, so the rate is computed there.
Formulas are those of learning_rate_schedule.py in Keras 3, which tf.keras has too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.operands import over
from kcompile.keras.settings import floatx
from kcompile.keras.tensors import is_number
from kcompile.keras.utils.serialization import custom_names
from kcompile_runtime.checks import check_flag, check_number, check_text
from kcompile_runtime.errors import InputTypeError, ModelError, describe

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]


class LearningRateSchedule:
    """Base of schedules: a subclass defines `__call__(step)`, over functions of K, and `get_config`."""

    def __call__(self, step: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(step)")

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError(f"{type(self).__name__} must define get_config() to be saved")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LearningRateSchedule:
        return cls(**config)


class _Formula(LearningRateSchedule):
    """A schedule whose arguments are numbers. Subclasses list them in `options`, and define `rate`."""

    options: tuple[str, ...]
    name: str | None

    def keep(self, name: str | None, **options: Any) -> None:
        """Keep the arguments as attributes. Raises InputTypeError, ModelError."""
        kind = type(self).__name__
        self.name = check_text(f"{kind}: name", name, optional=True)
        for key, value in options.items():
            low = 1e-30 if key in ("decay_steps", "first_decay_steps") else -math.inf
            if key not in ("staircase", "cycle"):
                check_number(f"{kind}: {key}", _plain(value), low)
            setattr(self, key, _plain(value))

    @over("step")
    def __call__(self, step: Any) -> Any:
        return self.rate(ops.cast(step, floatx()))

    def rate(self, step: Tensor) -> Tensor:
        """The rate after a number of steps, a scalar of a float type."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {**{key: getattr(self, key) for key in self.options}, "name": self.name}


def _plain(value: Any) -> Any:
    """A number of numpy, or an array of one, as Python's."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


class _Stairs(_Formula):
    """A decay by step / decay_steps; staircase: by its whole part."""

    options = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase")
    initial_learning_rate: float
    decay_steps: float
    decay_rate: float
    staircase: bool

    def progress(self, step: Tensor) -> Tensor:
        p = step / self.decay_steps
        return ops.floor(p) if self.staircase else p


class ExponentialDecay(_Stairs):
    """initial_learning_rate * decay_rate^(step / decay_steps); staircase: with whole exponents."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = "ExponentialDecay",
    ) -> None:
        staircase = check_flag("ExponentialDecay: staircase", staircase)
        self.keep(
            name,
            initial_learning_rate=initial_learning_rate,
            decay_steps=decay_steps,
            decay_rate=decay_rate,
            staircase=staircase,
        )

    def rate(self, step: Tensor) -> Tensor:
        p = self.progress(step)
        return ops.pow(ops.zeros_like(p) + self.decay_rate, p) * self.initial_learning_rate


class InverseTimeDecay(_Stairs):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps); staircase: with whole quotients."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = "InverseTimeDecay",
    ) -> None:
        staircase = check_flag("InverseTimeDecay: staircase", staircase)
        self.keep(
            name,
            initial_learning_rate=initial_learning_rate,
            decay_steps=decay_steps,
            decay_rate=decay_rate,
            staircase=staircase,
        )

    def rate(self, step: Tensor) -> Tensor:
        return self.initial_learning_rate / (self.progress(step) * self.decay_rate + 1.0)


class PolynomialDecay(_Formula):
    """From initial_learning_rate to end_learning_rate in decay_steps, by (1 - step / decay_steps)^power.
    cycle: the end lies at the next multiple of decay_steps."""

    options = ("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle")
    initial_learning_rate: float
    decay_steps: float
    end_learning_rate: float
    power: float
    cycle: bool

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str | None = "PolynomialDecay",
    ) -> None:
        cycle = check_flag("PolynomialDecay: cycle", cycle)
        self.keep(
            name,
            initial_learning_rate=initial_learning_rate,
            decay_steps=decay_steps,
            end_learning_rate=end_learning_rate,
            power=power,
            cycle=cycle,
        )

    def rate(self, step: Tensor) -> Tensor:
        if self.cycle:
            end = ops.maximum(-ops.floor(-step / self.decay_steps), 1.0) * self.decay_steps
            left = 1.0 - step / end
        else:
            left = 1.0 - ops.minimum(step, float(self.decay_steps)) / self.decay_steps
        curve = left if self.power == 1 else ops.pow(left, float(self.power))
        return curve * (self.initial_learning_rate - self.end_learning_rate) + self.end_learning_rate


class CosineDecay(_Formula):
    """Half a cosine from initial_learning_rate to alpha of it in decay_steps (Loshchilov and Hutter 2016).

    With a warmup_target the rate first rises to it in a line, in warmup_steps, and falls from there.
    """

    options = ("initial_learning_rate", "decay_steps", "alpha", "warmup_target", "warmup_steps")
    initial_learning_rate: float
    decay_steps: float
    alpha: float
    warmup_target: float | None = None
    warmup_steps: float

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str | None = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.keep(
            name,
            initial_learning_rate=initial_learning_rate,
            decay_steps=decay_steps,
            alpha=alpha,
            warmup_steps=warmup_steps,
        )
        if warmup_target is not None:
            self.keep(name, warmup_target=warmup_target)

    def rate(self, step: Tensor) -> Tensor:
        first, warm = self.initial_learning_rate, float(self.warmup_steps)
        if self.warmup_target is None:
            return _cosine(step, self.decay_steps, self.alpha) * first
        falling = _cosine(step - warm, self.decay_steps, self.alpha) * self.warmup_target
        if not warm:
            return falling
        rising = step / warm * (self.warmup_target - first) + first
        return ops.select(step < warm, rising, falling)


def _cosine(step: Tensor, steps: float, alpha: float) -> Tensor:
    """Half a cosine from 1 to alpha."""
    done = ops.minimum(step, float(steps)) / steps
    return (ops.cos(done * math.pi) + 1.0) * (0.5 * (1.0 - alpha)) + alpha


class CosineDecayRestarts(_Formula):
    """`CosineDecay` again and again: each round takes t_mul times as many steps as the one before it, and
    begins at m_mul times its rate."""

    options = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha")
    initial_learning_rate: float
    first_decay_steps: float
    t_mul: float
    m_mul: float
    alpha: float

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str | None = "SGDRDecay",
    ) -> None:
        self.keep(
            name,
            initial_learning_rate=initial_learning_rate,
            first_decay_steps=first_decay_steps,
            t_mul=t_mul,
            m_mul=m_mul,
            alpha=alpha,
        )

    def rate(self, step: Tensor) -> Tensor:
        done = step / self.first_decay_steps
        if self.t_mul == 1:
            restarts = ops.floor(done)
            done = done - restarts
        else:  # the rounds before this one take (t_mul^restarts - 1) / (t_mul - 1) of the first
            restarts = ops.floor(ops.log(done * (self.t_mul - 1.0) + 1.0) / math.log(self.t_mul))
            length = ops.pow(ops.zeros_like(done) + self.t_mul, restarts)
            done = (done - (length - 1.0) / (self.t_mul - 1.0)) / length
        scale = ops.pow(ops.zeros_like(done) + self.m_mul, restarts) * (0.5 * (1.0 - self.alpha))
        return ((ops.cos(done * math.pi) + 1.0) * scale + self.alpha) * self.initial_learning_rate


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[k] up to and with the step boundaries[k], and the last value behind them all."""

    def __init__(
        self, boundaries: Sequence[float], values: Sequence[float], name: str | None = "PiecewiseConstant"
    ) -> None:
        for key, given in (("boundaries", boundaries), ("values", values)):
            if not isinstance(given, (list, tuple)) or not all(is_number(_plain(x)) for x in given):
                raise InputTypeError(
                    describe(f"PiecewiseConstantDecay: {key}", "a list of numbers", repr(given))
                )
        if not boundaries or len(boundaries) != len(values) - 1:
            raise ModelError(
                describe(
                    "PiecewiseConstantDecay",
                    "at least one boundary, and one value more",
                    f"{len(boundaries)} boundaries and {len(values)} values",
                )
            )
        self.boundaries = [_plain(x) for x in boundaries]
        self.values = [_plain(x) for x in values]
        self.name = check_text("PiecewiseConstantDecay: name", name, optional=True)

    @over("step")
    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, floatx())
        rate = ops.zeros_like(step) + self.values[-1]
        for boundary, value in zip(reversed(self.boundaries), reversed(self.values[:-1])):
            # Keras compares whole numbers
            rate = ops.select(step <= float(int(boundary)), ops.zeros_like(step) + value, rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        return {"boundaries": self.boundaries, "values": self.values, "name": self.name}


CLASSES: dict[str, type[LearningRateSchedule]] = {
    c.__name__: c
    for c in (
        CosineDecay,
        CosineDecayRestarts,
        ExponentialDecay,
        InverseTimeDecay,
        PiecewiseConstantDecay,
        PolynomialDecay,
    )
}


def serialize(learning_rate_schedule: LearningRateSchedule) -> dict[str, Any]:
    """A schedule as {"class_name", "config"}, with the module that Keras 3 wants."""
    kind = type(learning_rate_schedule)
    known = CLASSES.get(kind.__name__)
    own = known is None or not issubclass(kind, known)
    return {
        "module": None if own else "keras.optimizers.schedules",
        "class_name": kind.__name__,
        "config": learning_rate_schedule.get_config(),
        "registered_name": kind.__name__ if own else None,
    }


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
) -> LearningRateSchedule:
    """The inverse of `serialize`. Raises ModelError for an unknown name, or arguments that do not fit."""
    name = config.get("class_name") if isinstance(config, Mapping) else None
    if not isinstance(name, str) or not isinstance(config.get("config", {}), Mapping):
        raise ModelError(
            describe("a learning-rate schedule", "a dict of class_name and config", repr(config)[:80])
        )
    short = name.rpartition(">")[2]
    custom = custom_names(custom_objects)
    found = custom.get(name) or custom.get(short) or CLASSES.get(short)
    if found is None:
        raise ModelError(
            describe(
                "unknown learning-rate schedule",
                f"one of {', '.join(CLASSES)}, or one in custom_objects",
                repr(name),
            )
        )
    try:
        made: LearningRateSchedule = found.from_config(dict(config.get("config") or {}))
    except TypeError as error:
        raise ModelError(f"learning-rate schedule {name!r}: {error}") from error
    return made

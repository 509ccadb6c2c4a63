"""Optimizers that came after Keras 2: update formulas written in graph ops, as Keras 3 has them.

What they share stands in `optimizer`; `optimizers` has them beside those of Keras 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.engine import Variable
from kcompile.keras.optimizer import Optimizer, Slot, Slots, StepContext, given_epsilon, given_rate, power_gap
from kcompile.keras.semantics import Semantics
from kcompile.keras.tracing import Trace
from kcompile_runtime.checks import check_count, check_number
from kcompile_runtime.errors import InputTypeError, describe


class Lion(Optimizer):
    """p = p - rate sign(beta_1 m + (1 - beta_1) g); m = beta_2 m + (1 - beta_2) g (Chen et al. 2023)."""

    options = ("beta_1", "beta_2")
    known_slots = (Slot("m", "_momentums", "m"),)

    def __init__(self, lr: Any = None, beta_1: float = 0.9, beta_2: float = 0.99, **options: Any) -> None:
        lr = given_rate("Lion", 0.001, lr, options)
        super().__init__(lr, **options)
        self.beta_1 = check_number("Lion: beta_1", beta_1, 0, 1)
        self.beta_2 = beta_2

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        m = slots["m"]
        direction = ops.sign(m * self.beta_1 + g * (1.0 - self.beta_1))
        return p - direction * scalars[0], {"m": m * self.beta_2 + g * (1.0 - self.beta_2)}


class Lamb(Optimizer):
    """Adam whose step has the norm of the variable, times the rate (You et al. 2019)."""

    options = ("beta_1", "beta_2", "epsilon")
    known_slots = (Slot("m", "_momentums", "m"), Slot("v", "_velocities", "v"))

    def __init__(
        self,
        lr: Any = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        **options: Any,
    ) -> None:
        lr = given_rate("Lamb", 0.001, lr, options)
        super().__init__(lr, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = given_epsilon(epsilon)

    def scalars(self, trace: Trace, at: StepContext) -> tuple[Tensor, ...]:
        return at.rate, power_gap(self.beta_1, at.t), power_gap(self.beta_2, at.t)

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        rate, first, second = scalars
        m = slots["m"] * self.beta_1 + g * (1.0 - self.beta_1)
        v = slots["v"] * self.beta_2 + ops.square(g) * (1.0 - self.beta_2)
        step = m / first / (ops.sqrt(v / second) + self.epsilon)
        own, others = (ops.sqrt(ops.reduce_sum(ops.square(x))) for x in (p, step))
        one = ops.ones_like(own)
        known = ops.logical_and(own > 0.0, others > 0.0)
        ratio = ops.select(known, own / ops.select(known, others, one), one)
        return p - step * (ratio * rate), {"m": m, "v": v}


class Adafactor(Optimizer):
    """Adam with the mean squares of rows and columns in place of those of all elements (Shazeer and Stern
    2018), for variables of two axes and more.

    The rate of a step is at most 1 / sqrt(t), times the root mean square of the variable, which counts as
    epsilon_2 at least; a step of a root mean square above clip_threshold is made smaller.
    """

    options = ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step")
    known_slots = (Slot("r", "_r", "r"), Slot("c", "_c", "c"), Slot("v", "_v", "v"))

    def __init__(
        self,
        lr: Any = None,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **options: Any,
    ) -> None:
        lr = given_rate("Adafactor", 0.001, lr, options)
        super().__init__(lr, **options)
        self.beta_2_decay = beta_2_decay
        self.epsilon_1 = epsilon_1
        self.epsilon_2 = epsilon_2
        self.clip_threshold = check_number("Adafactor: clip_threshold", clip_threshold, 1e-30)
        self.relative_step = relative_step  # says nothing more: the rate is limited in any case

    def first(self, slot: str, variable: Variable) -> np.ndarray | None:
        shape = variable.shape
        if slot == "v":
            return np.zeros(shape)
        if len(shape) < 2:
            return np.zeros(())  # Keras 3 keeps it in files
        return np.zeros(shape[:-1] if slot == "r" else (*shape[:-2], shape[-1]))

    def scalars(self, trace: Trace, at: StepContext) -> tuple[Tensor, ...]:
        rate = ops.minimum(at.rate, ops.rsqrt(at.t))
        return rate, ops.exp(ops.log(at.t) * self.beta_2_decay)

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        rate, share = scalars  # of this step in the averages
        squares = ops.square(g) + self.epsilon_1
        new: Slots = {}
        if p.rank < 2:
            v = slots["v"] * (1.0 - share) + squares * share
        else:
            r, c = (
                slots[name] * (1.0 - share) + ops.reduce_mean(squares, axis) * share
                for name, axis in (("r", p.rank - 1), ("c", p.rank - 2))
            )
            rows = r / ops.reduce_mean(r, r.rank - 1, keepdims=True)
            v = ops.reshape(rows, (*rows.shape, 1)) * ops.reshape(c, (*c.shape[:-1], 1, c.shape[-1]))
            new = {"r": r, "c": c}
        step = g / ops.sqrt(v)
        step = step / ops.maximum(_root_mean_square(step) / self.clip_threshold, 1.0)
        size = ops.maximum(_root_mean_square(p), self.epsilon_2) * rate
        return p - step * size, {**new, "v": v}


def _root_mean_square(x: Tensor) -> Tensor:
    return ops.sqrt(ops.reduce_mean(ops.square(x)))


class ScheduleFreeAdamW(Optimizer):
    """Adam whose weights lie between the iterates z and their average x, so that no schedule is needed
    (Defazio et al. 2024): p = (1 - beta_1) z + beta_1 x. warmup_steps: in which the rate rises."""

    options = ("beta_1", "beta_2", "epsilon", "warmup_steps")
    known_slots = (Slot("z", "_momentums", "m"), Slot("v", "_velocities", "v"))

    def __init__(
        self,
        lr: Any = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: float = 0,
        **options: Any,
    ) -> None:
        lr = given_rate("ScheduleFreeAdamW", 0.0025, lr, options)
        super().__init__(lr, **options)
        self.beta_1 = check_number("ScheduleFreeAdamW: beta_1", beta_1, 1e-30)
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.warmup_steps = check_number("ScheduleFreeAdamW: warmup_steps", warmup_steps, 0)

    def first(self, slot: str, variable: Variable) -> np.ndarray | None:
        return variable.array if slot == "z" else np.zeros(variable.shape)

    def scalars(self, trace: Trace, at: StepContext) -> tuple[Tensor, ...]:
        rate = at.rate
        if self.warmup_steps:
            rate = rate * ops.minimum(at.t / float(self.warmup_steps), 1.0)
        return rate, power_gap(self.beta_2, at.t), 1.0 / at.t

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        rate, gap, share = scalars
        v = slots["v"] * self.beta_2 + ops.square(g) * (1.0 - self.beta_2)
        z = slots["z"] - g * rate / (ops.sqrt(v / gap) + self.epsilon)
        x = (p - slots["z"] * (1.0 - self.beta_1)) / self.beta_1
        x = x * (1.0 - share) + z * share
        return z * (1.0 - self.beta_1) + x * self.beta_1, {"z": z, "v": v}


class Muon(Optimizer):
    """Steps of matrices whose singular values are brought near 1 by ns_steps iterations of Newton and Schulz
    (Jordan 2024); Adam for all other variables, for embeddings (exclude_embeddings), and for those in whose
    names one of the patterns exclude_layers is found.

    The step of a matrix is scaled by rms_rate sqrt(the larger side), None: not at all; rates of Adam by
    adam_lr_ratio. weight_decay is of matrices, adam_weight_decay of the others.
    """

    options = (
        "adam_beta_1",
        "adam_beta_2",
        "epsilon",
        "muon_a",
        "muon_b",
        "muon_c",
        "adam_lr_ratio",
        "momentum",
        "ns_steps",
        "nesterov",
        "exclude_embeddings",
        "exclude_layers",
        "adam_weight_decay",
        "rms_rate",
    )
    known_slots = (Slot("m", "momentums", "m"), Slot("v", "adam_velocities", "v"))
    defaults: Mapping[str, Any] = {"weight_decay": 0.004}
    exclude_layers: list[str]
    rms_rate: float | None

    def __init__(
        self,
        lr: Any = None,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float | None = None,
        *,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.775,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **options: Any,
    ) -> None:
        lr = given_rate("Muon", 0.001, lr, options)
        super().__init__(lr, **options)
        self.adam_beta_1 = adam_beta_1
        self.adam_beta_2 = adam_beta_2
        self.adam_weight_decay = adam_weight_decay
        self.epsilon = given_epsilon(epsilon)
        self.exclude_layers = list(exclude_layers or ())
        self.exclude_embeddings = exclude_embeddings
        self.muon_a, self.muon_b, self.muon_c = muon_a, muon_b, muon_c
        self.adam_lr_ratio = adam_lr_ratio
        self.momentum = momentum
        self.ns_steps = ns_steps
        self.nesterov = nesterov
        self.rms_rate = rms_rate

    def checked(self, name: str, value: Any) -> Any:
        if name == "exclude_layers":
            if not all(isinstance(pattern, str) for pattern in value):
                raise InputTypeError(describe("Muon: exclude_layers", "a list of patterns", repr(value)))
            return list(value)
        if name == "ns_steps":
            return check_count("Muon: ns_steps", value, 0)
        if name in ("adam_weight_decay", "rms_rate") and value is None:
            return None
        return super().checked(name, value)

    def by_adam(self, variable: Variable) -> bool:
        """Whether Adam updates a variable."""
        name = variable.path
        return (
            len(variable.shape) != 2
            or (self.exclude_embeddings and "embedding" in name.lower())
            or any(re.search(pattern, name) for pattern in self.exclude_layers)
        )

    def first(self, slot: str, variable: Variable) -> np.ndarray | None:
        return np.zeros(variable.shape) if slot == "m" or self.by_adam(variable) else None

    def decay_of(self, variable: Variable, meaning: Semantics) -> float | None:
        if not self.by_adam(variable):
            return super().decay_of(variable, meaning)
        excluded = self._excluded.has(variable, meaning.decay_excludes == "own names")
        return None if excluded else self.adam_weight_decay

    def scalars(self, trace: Trace, at: StepContext) -> tuple[Tensor, ...]:
        gaps = [power_gap(beta, at.t) for beta in (self.adam_beta_1, self.adam_beta_2)]
        return at.rate, at.rate * self.adam_lr_ratio * ops.sqrt(gaps[1]) / gaps[0]

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: tuple[Tensor, ...], at: StepContext
    ) -> tuple[Tensor, Slots]:
        if "v" in slots:
            m = slots["m"] * self.adam_beta_1 + g * (1.0 - self.adam_beta_1)
            v = slots["v"] * self.adam_beta_2 + ops.square(g) * (1.0 - self.adam_beta_2)
            return p - m * scalars[1] / (ops.sqrt(v) + self.epsilon), {"m": m, "v": v}
        m = slots["m"] * self.momentum + g
        step = self._orthogonal(g + m * self.momentum if self.nesterov else m) * scalars[0]
        if self.rms_rate is not None:
            step = step * (float(np.sqrt(max(int(d) for d in p.shape if isinstance(d, int)))) * self.rms_rate)
        return p - step, {"m": m}

    def _orthogonal(self, x: Tensor) -> Tensor:
        """A matrix of the same singular vectors, with singular values near 1."""
        rows, columns = (int(d) for d in x.shape if isinstance(d, int))
        wide = rows <= columns
        x = x if wide else ops.transpose(x, (1, 0))
        x = x / (ops.sqrt(ops.reduce_sum(ops.square(x))) + 1e-7)
        for _ in range(self.ns_steps):
            square = ops.matmul(x, ops.transpose(x, (1, 0)))
            curve = square * self.muon_b + ops.matmul(square * self.muon_c, square)
            x = x * self.muon_a + ops.matmul(curve, x)
        return x if wide else ops.transpose(x, (1, 0))

"""The optimizer around another one that scales the loss by a factor of its own choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import optimizer_steps as steps
from kcompile.keras.engine import Variable
from kcompile.keras.operands import tensor
from kcompile.keras.optimizer import Optimizer
from kcompile.keras.optimizer_configs import for_files
from kcompile.keras.semantics import Semantics
from kcompile.keras.tracing import Trace
from kcompile_runtime.checks import check_count, check_number
from kcompile_runtime.errors import InputTypeError, describe


class LossScaleOptimizer(Optimizer):
    """Scales the loss while gradients are computed, so that small ones do not vanish.

    The scale, at first initial_scale, doubles after dynamic_growth_steps steps. A step whose gradients are
    not finite changes nothing but the scale, which is halved. All other options are the inner optimizer's.
    """

    options = ("initial_scale", "dynamic_growth_steps")

    def __init__(
        self,
        inner_optimizer: Any = None,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
    ) -> None:
        if not isinstance(inner_optimizer, Optimizer) or isinstance(inner_optimizer, LossScaleOptimizer):
            wanted = "an optimizer that scales no loss itself"
            raise InputTypeError(
                describe("LossScaleOptimizer: inner_optimizer", wanted, repr(inner_optimizer))
            )
        self.inner_optimizer = inner_optimizer
        self.counter = Variable(0, "step_counter", False, "int32")
        self.scale = Variable(initial_scale, "dynamic_scale", False)
        super().__init__(0.0, name=name)
        self.initial_scale = check_number("LossScaleOptimizer: initial_scale", initial_scale, 1e-30)
        self.dynamic_growth_steps = check_count(
            "LossScaleOptimizer: dynamic_growth_steps", dynamic_growth_steps
        )
        inner_optimizer.loss_scale_factor = None
        self.vintage = inner_optimizer.vintage
        inner_optimizer.listeners.add(self.listeners.tell)
        # Code that asks for steps and slots asks for the inner optimizer's
        self.own_iterations, self._iterations = self._iterations, inner_optimizer._iterations
        self.own_rate, self.learning_rate_variable = (
            self.learning_rate_variable,
            inner_optimizer.learning_rate_variable,
        )
        self._slots, self.known_slots = inner_optimizer._slots, inner_optimizer.known_slots

    @property
    def lr(self) -> Any:
        """The inner optimizer's rate."""
        return self.inner_optimizer.lr

    @lr.setter
    def lr(self, value: Any) -> None:
        if "_iterations" in vars(self) and self._iterations is self.inner_optimizer._iterations:
            self.inner_optimizer.lr = value

    learning_rate = lr

    @property
    def dynamic_scale(self) -> Variable:
        """The scale of the next step, as Keras 3 calls it."""
        return self.scale

    @property
    def step_counter(self) -> Variable:
        """The steps since the scale was set."""
        return self.counter

    def scale_loss(self, loss: Any) -> Any:
        """A loss times the scale of now."""
        return tensor(loss) * self.scale if isinstance(loss, Tensor) else loss * self.scale.array[()]

    def slots(self) -> tuple[str, ...]:
        return self.inner_optimizer.slots()

    @property
    def scalars_kept(self) -> dict[str, Variable]:
        own = "own_iterations" in vars(self)
        return {
            "iteration": self.own_iterations if own else self._iterations,
            "learning_rate": self.own_rate if own else self.learning_rate_variable,
            "step_counter": self.counter,
            "dynamic_scale": self.scale,
        }

    @property
    def kept(self) -> Mapping[Variable, dict[str, Variable]]:
        return {}  # those of the inner optimizer, which names them

    def common_slots(self) -> tuple[str, ...]:
        return self.inner_optimizer.common_slots()

    def state(self) -> list[Variable]:
        return [self.counter, self.scale, *self.inner_optimizer.state()]

    def build(self, variables: Sequence[Variable]) -> None:
        self._variables = list(variables)
        self.inner_optimizer.build(variables)

    def stored_state(self, variables: Sequence[Variable]) -> list[Variable]:
        own = [self.own_iterations, self.own_rate, self.counter, self.scale]
        return [*own, *self.inner_optimizer.stored_state(variables)]

    def settle(self) -> None:
        self.inner_optimizer.settle()

    def scaled(self, trace: Trace, loss: Tensor) -> Tensor:
        return loss * ops.cast(trace.read(self.scale), loss.dtype)

    def new_values(self, trace: Trace, gradients: steps.Pairs, meaning: Semantics) -> list[Tensor]:
        variables, inner = [v for v, _ in gradients], self.inner_optimizer
        self.build(variables)
        scale, counter = trace.read(self.scale), trace.read(self.counter)
        finite = steps.all_finite(g for _, g in gradients)
        before = {v: trace.read(v) for v in variables}
        kept = [inner._iterations, *inner.state(), *(s for v in variables for s in self._slots[v].values())]
        state = {v: trace.read(v) for v in kept}
        made = inner.new_values(trace, [(v, g / ops.cast(scale, g.dtype)) for v, g in gradients], meaning)
        steps.update_where(trace, finite, state)
        grows = ops.equal(counter, int(self.dynamic_growth_steps) - 1)
        goes_on = ops.logical_and(finite, ops.logical_not(grows))
        one = ops.constant(trace.graph, 1, "int32")
        trace.update(self.counter, ops.select(goes_on, counter + one, ops.zeros_like(counter)))
        larger = ops.select(grows, scale * 2.0, scale)
        trace.update(self.scale, ops.select(finite, larger, scale * 0.5))
        return [ops.select(finite, new, before[v]) for v, new in zip(variables, made)]

    def get_config(self) -> dict[str, Any]:
        made = self.written_config()
        inner = {**made["inner_optimizer"], "config": self.inner_optimizer.get_config()}
        return {**made, "inner_optimizer": inner}

    def written_config(self) -> dict[str, Any]:
        config = for_files(self.inner_optimizer)
        if not config.get("decay"):
            config.pop("decay", None)
        inner = {
            "module": "keras.optimizers",
            "class_name": type(self.inner_optimizer).__name__,
            "config": config,
            "registered_name": None,
        }
        return {
            "name": self.name,
            "inner_optimizer": inner,
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": int(np.int64(self.dynamic_growth_steps)),
        }


def scaling(optimizer: Optimizer, wanted: bool) -> Optimizer:
    """The optimizer, inside one that scales the loss, where that is wanted."""
    around = wanted and not isinstance(optimizer, LossScaleOptimizer)
    return LossScaleOptimizer(optimizer) if around else optimizer

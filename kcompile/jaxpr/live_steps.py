"""The steps of a live Keras 3 model on JAX that its class says itself, each as one program.

Enters: the live model, whose `train_step(state, data)` and `test_step(state, data)` are functions of all of
its variables: weights, the optimizer's, the metrics'. They call what the class takes over (compute_loss,
compute_metrics) and compute their gradients by JAX. Leaves: a model of ours whose steps replay the traced
programs; its variables stand for the live ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch
from kcompile.jaxpr.keys import State, boxed
from kcompile.jaxpr.live_models import LiveModel, is_seed, is_state, model_of
from kcompile.jaxpr.primitives import Replay
from kcompile.jaxpr.programs import jax, traced
from kcompile.jaxpr.sizes import Sizes
from kcompile.keras import models
from kcompile.keras.layer_weights import kept_random_state
from kcompile.keras.operands import leaves, map_leaves
from kcompile.keras.policies import dtype_here
from kcompile.keras.tensors import Variable
from kcompile.keras.tracing import trace_of


class LiveMetric:
    """A metric of the live model: its name, and the beginning of its state."""

    def __init__(self, theirs: Any, variables: Sequence[tuple[Variable, Any]]) -> None:
        self.name = theirs.name
        inside = theirs.metrics if type(theirs).__name__ == "CompileMetrics" else [theirs]
        self.names_inside = [metric.name for metric in inside]
        self._theirs, self._variables = theirs, list(variables)

    def reset_states(self) -> None:
        """Begin anew, on both sides."""
        self._theirs.reset_state()
        for ours, theirs in self._variables:
            ours.assign(np.asarray(theirs.value))


class SteppingModel(models.Model):
    """A model of ours whose steps are those of a live one."""

    live_steps: LiveSteps
    live_layer: Any

    def train_step(self, data: Any) -> Any:
        return self.live_steps.run("train", data)

    def test_step(self, data: Any) -> Any:
        return self.live_steps.run("test", data)

    @property
    def metrics(self) -> list[Any]:
        return self.live_steps.metrics

    def get_metrics_result(self) -> dict[str, Any]:
        """The results of the live model's metrics behind the step that is traced."""
        return dict(self.live_steps.results)


class LiveSteps:
    """The steps of a live model. pairs: our variables of its optimizer and of its metrics, beside them; both
    are made with the first data."""

    def __init__(self, live: LiveModel, weights: Sequence[tuple[Variable, Any]]) -> None:
        self.live = live
        self._weights = {id(theirs): ours for ours, theirs in weights}
        self.pairs: list[tuple[Variable, Any]] = []
        self._of: dict[int, Variable] = {}
        self.results: Any = {}  # of all metrics, in the graph of the step that was traced last

    @property
    def metrics(self) -> list[Any]:
        """The metrics of the live model."""
        return [
            LiveMetric(m, [(self._of[id(v)], v) for v in m.variables if id(v) in self._of])
            for m in self.live.model.metrics
        ]

    def groups(self, entry: str) -> list[list[Any]]:
        """The live variables of the state of a step, as Keras orders them."""
        model = self.live.model
        optimizer = [list(model.optimizer.variables)] if entry == "train" else []
        held = [list(model.trainable_variables), list(model.non_trainable_variables)]
        return [*held, *optimizer, list(model.metrics_variables)]

    def run(self, entry: str, data: Any) -> Any:
        """What the step returns by name, in the graph of the data, which updates the variables."""
        inputs = [x for x in leaves(data) if x is not None]
        trace = trace_of(inputs[0])
        self._begin(data)
        groups = self.groups(entry)
        programs, tree, sizes = self._program(entry, groups, data, inputs)
        replay = Replay(trace.graph, sizes, trace)
        variables = [v for group in groups for v in group]
        given: list[Any] = []
        for number, theirs in enumerate(variables):
            given.append(
                boxed(State((f"generator {number}",))) if is_seed(theirs) else trace.read(self._ours(theirs))
            )
        values = replay.run(programs, [*given, *inputs])
        avals = zip(values, programs.first.out_avals, programs.second.out_avals)
        made = [v if is_state(v) else replay.tensor(v, sizes.type(a, b)) for v, a, b in avals]
        told, _ = tree
        count = len(jax().tree_util.tree_leaves(told))
        for theirs, old, new in zip(variables, given, made[count:]):
            if not is_seed(theirs) and new.value != old.value:
                ours = self._ours(theirs)
                trace.update(ours, ops.cast(new, ours.dtype))
        structure = jax().tree_util.tree_structure(told)
        logs, self.results = jax().tree_util.tree_unflatten(structure, made[:count])
        return logs

    def _program(
        self, entry: str, groups: Sequence[Sequence[Any]], data: Any, inputs: Sequence[Tensor]
    ) -> Any:
        """The step as a program of (variables, *arrays), the structure of what it gives (its logs and the
        results of all metrics behind them, then the variables), and its sizes."""
        shape = jax().ShapeDtypeStruct
        arguments = [[shape(v.shape, v.value.dtype) for v in group] for group in groups]
        step: Callable[..., Any] = getattr(self.live.model, f"{entry}_step")

        def function(variables: Any, *arrays: Any) -> Any:
            values = iter(arrays)
            given = map_leaves(lambda x: None if x is None else next(values), data)
            logs, state = step(tuple(variables), given)
            counted = zip(groups[-1], state[-1])
            with sys.modules["keras"].StatelessScope(list(counted)):
                return (logs, self.live.model.get_metrics_result()), state

        fixed = not any(isinstance(d, Batch) for x in inputs for d in x.shape)
        sizes = Sizes((1, 1)) if fixed else Sizes()
        programs, tree = traced(function, arguments, [x.type for x in inputs], sizes)
        return programs, tree, sizes

    def _begin(self, data: Any) -> None:
        """Make what Keras makes with the first batch: slots, and metrics; and our variables for them."""
        model = self.live.model
        if self.pairs:
            return
        with kept_random_state():
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            example = map_leaves(_example, data)
            model._symbolic_build(data_batch=example if isinstance(example, tuple) else (example,))
        for theirs in (*model.optimizer.variables, *model.metrics_variables):
            value = np.asarray(theirs.value)
            ours = Variable(value, theirs.path, False, dtype_here(value.dtype.name))
            ours.shared = True
            self._of[id(theirs)] = ours
            self.pairs.append((ours, theirs))

    def _ours(self, theirs: Any) -> Variable:
        return self._weights.get(id(theirs)) or self._of[id(theirs)]


def _example(x: Any) -> Any:
    if x is None:
        return None
    shape = [2 if isinstance(d, Batch) else int(d) for d in x.shape]
    return np.zeros(shape, x.dtype)


def stepping_model(live_model: Any, examples: Any = None) -> SteppingModel:
    """Our model of a live one, by tracing, with the steps of the live one."""
    made: SteppingModel = model_of(live_model, examples, SteppingModel)
    made.live_steps = LiveSteps(made.live_layer.live, made.live_layer.pairs)
    return made

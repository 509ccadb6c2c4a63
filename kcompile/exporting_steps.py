"""A model's training step as part of a library.

Enters: a compiled model, whose `compile` says how it is trained. Leaves: the step for the code of a target,
as `kcompile.codegen.binary.exported` describes it, and the program of predictions with what it trained.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kcompile import compiler
from kcompile.codegen.binary.exported import Sample, StateTensor, Step, Tensor
from kcompile.codegen.memory_plan import plan
from kcompile.codegen.program import Program
from kcompile.codegen.targets import Target, simulated
from kcompile.compiler import Compiled
from kcompile.ir.graph import Graph
from kcompile.keras.metric import Metric
from kcompile.keras.step_data import check_pairs
from kcompile.keras.tensors import Variable
from kcompile.keras.tracing import Traced
from kcompile.model import CompiledModel
from kcompile_runtime.arrays import aligned_copy
from kcompile_runtime.errors import InputError, UnsupportedError, describe

STEPS = 2  # of the self-test: the loss of the second shows what the first updated


@dataclass(frozen=True)
class Training:
    """How a model is trained. traced: its training step, at these lengths. tolerance: of the losses of the
    self-test."""

    model: CompiledModel
    traced: Traced
    lengths: Any
    batch: int | None
    tolerance: float

    @staticmethod
    def of(model: CompiledModel, lengths: Any, batch: int | None, tolerance: float) -> Training:
        """Arguments as of `export`. Raises NotCompiledError before `compile`; UnsupportedError for what no
        library has; InputError where memory is limited for batches of an unknown size."""
        own = model.model
        if "train" in own.own_steps:
            raise UnsupportedError(
                f"model {own.name!r} is trained by a step of its own, which libraries do not have. "
                "Export one with a loss, an optimizer and metrics given to `compile`"
            )
        if model.engine.memory_limit is not None and batch is None:
            wanted = "the size of batches, since memory_limit is for that"
            raise InputError(describe("export: batch", wanted, "None"))
        traced = model.engine.traced("train", lengths)
        check_pairs(traced.graph)
        return Training(model, traced, lengths, batch, tolerance)

    # ---- what is the same for all targets

    @cached_property
    def values(self) -> Mapping[str, np.ndarray]:
        """The variables as they are, by their names in the graph; metrics begin anew."""
        return self.traced.state | {self.traced.names[v]: array for v, array in self._resets.items()}

    @cached_property
    def _resets(self) -> dict[Variable, np.ndarray]:
        names = self.traced.names
        found: dict[Variable, Any] = {}
        for metric in self.model.model.trainer.states:
            if isinstance(metric, Metric):
                found.update(zip(metric.variables, metric.stateless_reset_state()))
        return {v: np.asarray(array, v.array.dtype) for v, array in found.items() if v in names}

    @cached_property
    def kept(self) -> dict[str, int]:
        """The variables that a caller keeps, each with its number: those that a step updates, and those of
        the optimizer and of random numbers. Others are weights of frozen layers."""
        graph, weights = self.traced.graph, set(self.model.model.weights)
        captured = self.traced.captured.items()
        names = [name for name, v in captured if name in graph.updates or v not in weights]
        return {name: number for number, name in enumerate(names)}

    @cached_property
    def state(self) -> tuple[StateTensor, ...]:
        graph, resets = self.traced.graph, {self.traced.names[v] for v in self._resets}
        return tuple(
            StateTensor(name, graph.type(graph.variables[name]), self.values[name], name in resets)
            for name in self.kept
        )

    @cached_property
    def _arrays(self) -> tuple[int, list[np.ndarray]]:
        """The samples of the self-test, their number first, for all inputs of the graph: without weights."""
        graph, n = self.traced.graph, self.batch or 2
        arrays = self.model._random_inputs(graph, n)
        for i, name in enumerate(graph.inputs):
            if name in self.weights or name in self._flags:
                arrays[i] = np.full_like(arrays[i], name in self.weights)
        return n, arrays

    @cached_property
    def weights(self) -> list[str]:
        """The inputs that are weights of samples."""
        return self._after_inputs("w:")

    @cached_property
    def _flags(self) -> list[str]:
        """The inputs that say whether there are weights."""
        return self._after_inputs("g:")

    def _after_inputs(self, start: str) -> list[str]:
        names = list(self.traced.graph.inputs)[len(self.model.model.fed_names) :]
        return [name for name in names if name.startswith(start)]

    @property
    def _report(self) -> dict[str, object]:
        """What the results are, and when values over several batches begin anew."""
        model = self.model.model
        found = asdict(model.trainer.report("train"))
        return {**found, "resets": model.semantics.batch_metrics_reset}

    # ---- what each target has of its own

    def compiled(self, target: Target) -> Compiled:
        engine = self.model.engine
        if target == engine.target and engine.memory_limit is None:
            return engine.compiled("train", self.lengths)
        return engine.training_step(self.traced.graph, target, self.batch)

    def step(self, target: Target, predicting: Compiled, predicted: Mapping[str, Variable]) -> Step:
        """The step for a target. predicting: the predictions for it; predicted: the variables of these."""
        made, here = self.compiled(target), self.compiled(simulated(target))
        graph, captured = self.traced.graph, self.traced.captured
        copies = {name: aligned_copy(array) for name, array in self.values.items()}
        program, (n, arrays) = compiler.load(here, copies), self._arrays
        results = tuple(program.run("train", n, arrays)[0].copy() for _ in range(STEPS))
        if made is not here:
            made.log_code()
        kept = {captured[name]: number for name, number in self.kept.items()}
        tensors = [Tensor(name, graph.type(v)) for name, v in graph.inputs.items()]
        given = len(tensors) - len(self._flags)
        return Step(
            made.program,
            tuple(tensors[:given]),
            len(self.weights),
            tuple(self.weights.index(f"w:{name.removeprefix('g:')}") for name in self._flags),
            tuple(Tensor(name, graph.type(v)) for name, v in graph.outputs.items()),
            self._report,
            self.state,
            tuple(self.kept.get(name, self.values[name]) for name in made.variables),
            tuple(kept.get(v, v.array) for v in (predicted[name] for name in predicting.variables)),
            Sample(n, tuple(arrays[: given - len(self.weights)]), results, self.tolerance),
        )

    def predictions(self, made: Compiled, predicted: Mapping[str, Variable]) -> Program:
        """The program of predictions, whose "prepare" makes again what depends on what a step updates."""
        entry = made.program.entries[-1]
        kept = {self.traced.captured[name] for name in self.kept}
        changing = [name for name, v in predicted.items() if v in kept and name in made.prepare.variables]
        graph = copy.copy(made.prepare)
        graph.outputs = {name: v for name, v in graph.outputs.items() if _reads(graph, v, changing)}
        if not graph.outputs:
            return Program((entry,), made.program.prepared, made.program.constants)
        prepare = plan(graph, "prepare", made.layout, made.target)
        return Program((prepare, entry), made.program.prepared, bytes(made.layout.constants))


def _reads(graph: Graph, value: Any, names: list[str]) -> bool:
    """Whether a value of a graph depends on one of these variables."""
    wanted = {graph.variables[name].node for name in names}
    stack, seen = [value.node], set()
    while stack:
        node = stack.pop()
        if node in wanted:
            return True
        if node not in seen:
            seen.add(node)
            stack += [v.node for v in graph.nodes[node].inputs]
    return False

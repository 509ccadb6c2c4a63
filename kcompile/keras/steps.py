"""The steps of fit, evaluate and predict as methods, which a class of a user's may take over.

Enters: a class that defines train_step, test_step, predict_step, compute_loss or compute_metrics, and the
data of a step. Leaves: for each `Signature` of data one graph, for which the method is run once over tensors
in place of the arrays: losses, gradients of `GradientTape`, updates by optimizers and metrics, random draws
are all parts of it, in the order of the code. What the step returns by name is what is reported. The methods
here are Keras' own; they are traced where a class takes over others, or calls them by super().
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.ir.types import Batch, numel
from kcompile.keras import graphs
from kcompile.keras.compiled_steps import CompiledSteps
from kcompile.keras.editions import edition
from kcompile.keras.explain import explained
from kcompile.keras.gradient_tape import GradientTape
from kcompile.keras.metric import Metric
from kcompile.keras.newer_members import ModelMembers, held, is_metric
from kcompile.keras.operands import leaves
from kcompile.keras.optimizer import Optimizer
from kcompile.keras.results import bearers
from kcompile.keras.settings import floatx, running
from kcompile.keras.step_data import Signature, check_pairs, taken, unpacked
from kcompile.keras.tensors import Variable
from kcompile.keras.tracing import Trace, trace_of, tracing
from kcompile_runtime.errors import KcompileError, ModelError, NotCompiledError, UnsupportedError, describe
from kcompile_runtime.training import Results

# The methods that a class may take over, and the entries that are then traced by them
TAKEN_OVER = {
    "train_step": ("train", "test"),
    "test_step": ("train", "test"),
    "compute_loss": ("train", "test"),
    "compute_metrics": ("train", "test"),
    "predict_step": ("predict",),
}
# Methods of other Kerases that would run Python for each batch
NOT_TRACED = (
    "make_train_function",
    "make_test_function",
    "make_predict_function",
    "stateless_compute_loss",
    "compute_loss_and_updates",
)


class ReportError(ModelError):
    """A step returns what cannot be reported."""


@dataclass(frozen=True)
class TracedStep:
    """A step's graph, what it reports, and the structure of what it returns."""

    trace: Trace
    report: Results | None
    outputs: Any = None


class Steps:
    """The part of `Model` that is about its steps."""

    name: str
    vintage: str
    trainer: Any
    built: bool
    random_state: Any
    trainable_weights: Any
    losses: Any
    _layers: Any

    taken_over: frozenset[str] = frozenset()  # the methods of `Steps` that the class defines otherwise

    # ---- what a class takes over

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.taken_over = frozenset(n for n in TAKEN_OVER if getattr(cls, n) is not getattr(Steps, n))

    @property
    def counts_losses(self) -> bool:
        """Whether steps count losses into the metric "loss", and those of `compile` are one metric, as in
        Keras 3; in tf.keras `compiled_loss` counts, and each metric stands for itself."""
        return edition(self.vintage).operations

    @property
    def has_steps(self) -> bool:
        """Whether the model's Keras calls such methods: since tf.keras."""
        return bool(edition(self.vintage).eager)

    @property
    def own_steps(self) -> frozenset[str]:
        """The entries whose graphs are traced by methods, as the class takes over one of them."""
        mine = self.taken_over | (TAKEN_OVER.keys() & vars(self).keys())
        found = frozenset(e for name in mine for e in TAKEN_OVER[name]) if mine else mine
        if any(node.counted for node in getattr(self, "nodes", ())):
            return frozenset({"train", "test", "predict"})
        trainer = getattr(self, "trainer", None)
        return found | {"train", "test"} if trainer is not None and trainer.by_steps else found

    def check_own_steps(self) -> None:
        """Raises UnsupportedError for what is taken over and not traced."""
        kind = type(self)
        found = [n for n in NOT_TRACED if getattr(kind, n, None) is not getattr(ModelMembers, n, None)]
        if found:
            raise UnsupportedError(
                f"{kind.__name__}: {', '.join(found)}: functions of one's own over batches are not "
                "supported. Take over train_step(self, data), test_step or compute_loss, which are traced"
            )
        mine = sorted(self.taken_over)
        if mine and not self.has_steps:
            raise UnsupportedError(
                f"{kind.__name__}: {', '.join(mine)}: Keras 2 calls no such method. Run the script as one of "
                "tf.keras or Keras 3 (kcompile run --keras 3)"
            )
        if "train_step" in mine:
            given = list(inspect.signature(kind.train_step).parameters)
            if len(given) > 2 and given[1] == "state":
                raise UnsupportedError(
                    f"{kind.__name__}: train_step(self, state, data) is that of Keras on JAX, which computes "
                    "its gradients by jax. Write train_step(self, data) with tf.GradientTape, or give the "
                    "live Keras model to kcompile.compile"
                )

    # ---- traces

    def see(self, entry: str, data: Any, size: int | None = None) -> tuple[list[Any], int]:
        """The arrays of data for a step, and the number of samples; the step is traced for data of this
        signature, where it is not. size: of a batch."""
        signature, arrays, n = taken(data, uneven=size is None)
        seen = self.trainer.step_traces
        if signature.samples is not None:
            self.traced_step(entry, signature)
        elif (entry, signature) not in seen and (entry, signature) not in self.trainer.fixed_steps:
            count = n if size is None else min(size, n)
            try:
                seen[entry, signature] = _traced(self, entry, signature)
            except ReportError:
                raise
            except KcompileError:
                # The code may speak of the number of samples as a number: then a graph for each number
                fixed = signature.of_size(count)
                seen[entry, fixed] = _traced(self, entry, fixed)
                self.trainer.fixed_steps.add((entry, signature))
        self.trainer.signatures[entry] = signature
        return arrays, n

    def fixed_step(self, entry: str) -> bool:
        """Whether the step of the data seen last is traced for batches of one size at a time."""
        found: Signature | None = self.trainer.signatures.get(entry)
        return (entry, found) in self.trainer.fixed_steps or bool(found and found.samples)

    def signature(self, entry: str, n: int | None = None) -> Signature:
        """That of the data seen last, for n samples. Raises ModelError where there were none."""
        found: Signature | None = self.trainer.signatures.get(entry)
        if found is None:
            raise ModelError(
                f"model {self.name!r}: {entry}_step is of its own, so that its graph follows from data. "
                "Call fit, evaluate or train_on_batch first"
            )
        if not self.fixed_step(entry) or found.samples is not None:
            return found
        sizes = [s.samples for e, s in self.trainer.step_traces if e == entry and s.samples]
        return found.of_size(sizes[-1] if n is None else n)

    def traced_step(self, entry: str, signature: Signature | None = None) -> TracedStep:
        """The trace of a step for data of a signature, by default of those seen last."""
        wanted = self.signature(entry) if signature is None else signature
        seen = self.trainer.step_traces
        if (entry, wanted) not in seen:
            seen[entry, wanted] = _traced(self, entry, wanted)
        found: TracedStep = seen[entry, wanted]
        return found

    @property
    def own_optimizers(self) -> list[Optimizer]:
        """That of `compile`, and those in attributes."""
        given = (self.trainer.arguments or {}).get("optimizer")
        found = [given, *held(self, lambda x: isinstance(x, Optimizer))]
        return list({id(o): o for o in found if o is not None}.values())

    # ---- metrics

    @property
    def compiled_steps(self) -> CompiledSteps:
        """The loss and the metrics of `compile` in a step. Raises NotCompiledError."""
        found: CompiledSteps | None = self.trainer.compiled_steps
        if found is None:
            raise NotCompiledError(
                f"model {self.name!r} must be compiled before it is trained or evaluated. "
                "Call model.compile(optimizer, loss)"
            )
        return found

    @property
    def metrics(self) -> list[Metric]:
        """The mean of the loss, the metrics of `compile`, those in attributes, and those of layers."""
        found: list[Metric] = []
        others = [m for layer in bearers(self) for m in held(layer, is_metric)]
        if self.trainer.compiled_steps is not None:
            compiled = self.compiled_steps
            if self.trainer.told is not None:
                (names, values), self.trainer.told = self.trainer.told, None
                known = {m.name for m in others}
                compiled.tell({name: value for name, value in zip(names, values) if name not in known})
            if self.counts_losses or compiled.counted:
                found.append(compiled.tracker)
            one = self.counts_losses
            own = [compiled.metrics] if one and compiled.metrics.any else compiled.metrics.metrics
            found += own
        found += others
        return list({id(m): m for m in found}.values())

    def get_metrics_result(self) -> dict[str, Any]:
        """The results of all metrics by name."""
        named: dict[str, Any] = {}
        for metric in self.metrics:
            result = metric.result()
            named.update(result if isinstance(result, Mapping) else {metric.name: result})
        return named

    @property
    def compiled_metrics(self) -> Any:
        """The metrics of `compile`: `update_state(y, y_pred, sample_weight)` in a step."""
        return self.compiled_steps.metrics

    def compiled_loss(
        self, y: Any, y_pred: Any, sample_weight: Any = None, regularization_losses: Any = None
    ) -> Any:
        """tf.keras' loss of `compile` and of regularizers, which the mean of the loss counts in."""
        compiled = self.compiled_steps
        total = compiled.loss(y, y_pred, sample_weight)
        for extra in regularization_losses or ():
            total = extra if total is None else total + extra
        if total is None:
            raise ModelError(f"model {self.name!r}: compile was given no loss")
        compiled.tracker.update_state(total, sample_weight=_samples(y_pred))
        compiled.counted = True
        return total

    # ---- Keras' steps

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: Any = True,
    ) -> Any:
        """The loss of `compile`, and what layers and regularizers add."""
        if not self.counts_losses:
            return self.compiled_loss(y, y_pred, sample_weight, regularization_losses=self.losses)
        parts = [self.compiled_steps.loss(y, y_pred, sample_weight), *self.losses]
        parts = [p for p in parts if p is not None]
        if not parts:
            raise ModelError(
                f"model {self.name!r}: there is no loss. Give compile a loss, or add_loss in a layer"
            )
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Count the outputs into the metrics of `compile`, and give all results."""
        if y is not None:
            self.compiled_steps.metrics.update_state(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def train_step(self, data: Any) -> Any:
        """A step of fit: loss, gradients, a step of the optimizer, metrics."""
        x, y, sample_weight = unpacked(data)
        with GradientTape() as tape:
            y_pred = self._run(x, True)
            loss = self._loss_of(x, y, y_pred, sample_weight, True)
            optimizer = self.trainer.arguments["optimizer"]
            scaled = optimizer.scale_loss(loss)
        weights = list(self.trainable_weights)
        if weights:
            optimizer.apply(tape.gradient(scaled, weights), weights)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data: Any) -> Any:
        """A step of evaluate: loss and metrics."""
        x, y, sample_weight = unpacked(data)
        y_pred = self._run(x, False)
        self._loss_of(x, y, y_pred, sample_weight, False)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data: Any) -> Any:
        """A step of predict: the outputs."""
        return self._run(unpacked(data)[0], False)

    def _run(self, x: Any, training: bool) -> Any:
        model: Any = self
        return model(list(x) if isinstance(x, tuple) else x, training=training and self.told_of_training)

    @property
    def told_of_training(self) -> bool:
        """Whether fit tells the layers inside of training."""
        model: Any = self
        taken = not model.subclassed or "training" in inspect.signature(model.call).parameters
        return taken or model.semantics.training_of_subclassed == "told"

    def _loss_of(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        """`compute_loss`, whose mean is reported. A class's own may not take `training`."""
        taken = inspect.signature(self.compute_loss).parameters
        phase = {"training": training} if "training" in taken else {}
        loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, **phase)
        if self.counts_losses:
            self.compiled_steps.tracker.update_state(loss, sample_weight=_samples(x))
        return loss


def _samples(x: Any) -> Tensor | float:
    """The number of samples of the first tensor in a structure."""
    first = next(t for t in leaves(x) if isinstance(t, Tensor))
    return ops.count(first, [0])


# ---------------------------------------------------------------- tracing


def _traced(model: Any, entry: str, signature: Signature) -> TracedStep:
    """Run a step of the model over tensors. Raises KcompileError, which names the user's line."""
    if entry != "predict":
        _ = model.compiled_steps  # raises before compile
    trace = Trace(entry)
    trace.draws_from(model.random_state, entry == "train")
    trace.measures = trace.stepping = True
    inputs = [trace.input(name, type) for name, type in zip(signature.names, signature.types)]
    label = f"Model {model.name!r}: {entry}_step"
    with running(model.vintage), explained(label), tracing(trace.graph):
        found = getattr(model, f"{entry}_step")(signature.filled(inputs))
        if entry == "predict":
            step = _outputs(trace, found)
        else:
            step = _reported(model, trace, found)
        if entry == "train":
            trace.read(model.random_state.step)  # counts whether anything is drawn or not
        check_pairs(trace.graph)
    trace.count_draws()
    for optimizer in model.own_optimizers:
        optimizer.listeners.add(model.trainer.training_changed)
    return step


def _outputs(trace: Trace, found: Any) -> TracedStep:
    """The outputs of predict, and their structure."""
    flat = [_as_tensor(trace.graph, y, "an output") for y in leaves(found)]
    trace.graph.outputs = {f"output_{k + 1}": y.value for k, y in enumerate(flat)}
    return TracedStep(trace, None, found)


def _reported(model: Any, trace: Trace, logs: Any) -> TracedStep:
    """The values that a step returns by name: metrics first, in their order, then the others by name."""
    if not isinstance(logs, Mapping):
        raise ReportError(
            describe(
                "what it returns",
                "a dict of values by name",
                type(logs).__name__,
                "Return {m.name: m.result() ...}",
            )
        )
    values = {name: _as_tensor(trace.graph, v, f"value {name!r}") for name, v in _flat(logs)}
    first = [name for m in model.metrics for name in getattr(m, "names_inside", [m.name])]
    names = [*(n for n in first if n in values), *sorted(n for n in values if n not in first)]
    for name in names:
        if any(isinstance(d, Batch) for d in values[name].shape):
            wanted = "a value for the whole batch"
            raise ReportError(
                describe(f"value {name!r}", wanted, str(values[name].type), "Take the mean of it")
            )
    ends = _at_end(model, trace, values)
    kind = graphs.floating_dtype([v.type for v in (*values.values(), *ends.values())])
    reported = [*(values[n] for n in names), *ends.values()]
    parts = [ops.reshape(ops.cast(v, kind), (numel(v.shape),)) for v in reported]
    if not parts:
        parts = [ops.reshape(ops.constant(trace.graph, 0.0, floatx()), (1,))]
    trace.graph.outputs = {"results": ops.concatenate(parts, 0).value}
    shapes = {name: tuple(int(d) for d in values[name].shape) for name in names}
    own = {name: tuple(int(d) for d in value.shape) for name, value in ends.items()}
    results = Results(names, shapes, averages_loss=False, by_name=model.counts_losses, ends=own)
    return TracedStep(trace, results)


def _at_end(model: Any, trace: Trace, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What stands for values of a step at the end of all batches: where its names are those of the model's
    metrics, their results, whatever it returned (tf_keras: _validate_and_get_metrics_result; Keras 3:
    _get_metrics_result_or_logs). Those that are the same are left out."""
    if model.taken_over <= {"compute_loss"}:
        return {}  # Keras' own steps give these
    with suppress(ModelError):  # a metric that cannot tell yet
        found = dict(_flat(model.get_metrics_result()))
        if found.keys() == values.keys():
            results = {n: _as_tensor(trace.graph, x, f"metric {n!r}") for n, x in found.items()}
            return {name: x for name, x in results.items() if x.value != values[name].value}
    return {}


def _flat(logs: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """The values of nested dicts by their inner names."""
    for name, value in logs.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        elif value is not None:
            yield str(name), value


def _as_tensor(graph: Graph, value: Any, label: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Variable):
        return trace_of(graph).read(value)
    try:
        return as_tensor(graph, value, None)
    except (TypeError, ValueError) as error:
        raise ModelError(describe(label, "a tensor or a number", repr(value))) from error

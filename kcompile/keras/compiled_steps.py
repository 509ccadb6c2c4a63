"""What `compile` was told, inside a step of a model's own: the loss and the metrics of its outputs.

Enters: labels, outputs and weights as the step has them, tensors of the graph that is traced. Leaves: the
loss, a tensor, and metrics with a state each, which the step updates and asks for their results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import graphs, losses, metrics
from kcompile.keras.losses import Loss
from kcompile.keras.metric import Metric, keeps_state
from kcompile.keras.metrics import Mean, MeanMetricWrapper
from kcompile.keras.operands import leaves, tensor
from kcompile.keras.own_code import is_own
from kcompile.keras.resolving import metrics_by_output, per_output
from kcompile.keras.results import arranged, label_of, reports_loss
from kcompile.keras.settings import running
from kcompile.keras.tracing import trace_of
from kcompile.keras.weighing import Scored, Weights, asks_for_weights, output_loss
from kcompile_runtime.errors import InputError, ModelError, describe


def named_outputs(model: Any, y_pred: Any) -> dict[str, Tensor]:
    """The outputs by name: those of a dict by its keys, else by the names of the model's outputs, where there
    are as many."""
    if isinstance(y_pred, Mapping):
        return {str(key): tensor(y_pred[key]) for key in sorted(y_pred)}
    several = list(y_pred) if isinstance(y_pred, (list, tuple)) else [y_pred]
    names = model.output_labels if model.built else []
    if len(names) != len(several):
        names = [f"output_{k + 1}" for k in range(len(several))]
    return dict(zip(names, map(tensor, several)))


def by_output(value: Any, names: Sequence[str], what: str) -> list[Any]:
    """A value for each output: of a dict by name, of a list in order, else the same for each."""
    if isinstance(value, Mapping):
        return [value.get(name) for name in names]
    if isinstance(value, (list, tuple)):
        if len(value) != len(names):
            raise InputError(describe(what, f"one for each of {len(names)} outputs", str(len(value))))
        return list(value)
    return [value] * len(names)


def labels_for(loss: Any, y: Any, prediction: Tensor) -> Tensor:
    """Labels as a loss of the output takes them: of its rank and dtype, class numbers whole."""
    found, classes = tensor(y), losses.takes_classes(loss)
    if found.rank == prediction.rank - 1:
        found = ops.reshape(found, (*found.shape, 1))
    elif found.rank == prediction.rank + 1 and found.shape[-1] == 1:
        found = ops.reshape(found, found.shape[:-1])
    return ops.cast(found, "int32" if classes else prediction.dtype)


def weights_for(weight: Any, prediction: Tensor, kind: str) -> Tensor:
    """The weights of an output's samples, or of their first axes; 1 where there are none."""
    if weight is None:
        return ops.broadcast_to(ops.constant(prediction.graph, 1.0, kind), prediction.shape[:1])
    found = ops.cast(tensor(weight), kind)
    if found.rank > 1 and found.shape[-1] == 1:
        found = ops.reshape(found, found.shape[:-1])
    return found


class CompiledSteps:
    """The loss and the metrics of one `compile`. tracker: the mean of the losses, of which
    counted says whether there were any."""

    def __init__(self, model: Any, arguments: Mapping[str, Any]) -> None:
        self._model = model
        self._arguments = arguments
        with running(model.vintage):
            self.tracker = Mean(name="loss")
        self.metrics = CompiledMetrics(model, arguments)
        self.counted = False

    @property
    def meaning(self) -> Any:
        return self._model.semantics

    def reset_state(self) -> None:
        """Begin anew."""
        self.tracker.reset_state()
        self.metrics.reset_state()

    def tell(self, results: Mapping[str, Any]) -> None:
        """Take the results of a pass that the compiled program counted."""
        for name, value in results.items():
            if name == "loss":
                self.counted = True
                _take(self.tracker, value)
            else:
                self.metrics.tell(name, value)

    def scored(self, y: Any, y_pred: Any, sample_weight: Any) -> list[Scored]:
        """The outputs that have a loss."""
        outputs = named_outputs(self._model, y_pred)
        names = list(outputs)
        chosen = [losses.as_loss(v) for v in per_output(self._arguments["loss"], names, "loss")]
        scales = per_output(self._arguments["loss_weights"], names, "loss_weights", single=False)
        labels = by_output(y, names, "labels")
        weights = by_output(sample_weight, names, "sample_weight")
        kind = graphs.floating_dtype([x.type for x in outputs.values()])
        found = []
        for name, loss, scale, label, weight in zip(names, chosen, scales, labels, weights):
            if loss is None:
                continue
            if label is None:
                raise InputError(describe(f"loss of output {name!r}", "labels", "none"))
            prediction = outputs[name]
            y_true = tensor(label) if _takes_any(loss) else labels_for(loss, label, prediction)
            if isinstance(loss, losses.FunctionLoss) and loss.pairs_ranks and _takes_any(loss):
                y_true = losses.same_rank(y_true, prediction)[0]
            w, mask = weights_for(weight, prediction, kind), trace_of(prediction).masks.get(prediction.value)
            prefix = f"{name}_" if len(names) > 1 else ""
            scale = 1.0 if scale is None else float(scale)
            w = Weights(w, weight is not None or not asks_for_weights(loss, (), self.meaning))
            found.append(Scored(name, prefix, loss, scale, [], [], y_true, prediction, w, mask))
        return found

    def loss(self, y: Any, y_pred: Any, sample_weight: Any = None) -> Tensor | None:
        """The sum of the weighted losses of the outputs, None where `compile` was given none. Those of
        several outputs count into the metrics named after them."""
        total: Tensor | None = None
        scored = self.scored(y, y_pred, sample_weight)
        every = [s.loss for s in scored]
        for output in scored:
            assert output.loss is not None
            value = output_loss(output, output.loss, self.meaning)
            if reports_loss(output.loss, output.prefix, every, self.meaning):
                self.metrics.count_loss(output, value)
            part = value if output.scale == 1 else value * output.scale
            total = part if total is None else total + part
        return total


def _takes_any(loss: Loss) -> bool:
    function = losses.base_function(loss)
    return function in losses.OF_ANY_LABELS or function not in losses.FUNCTIONS.values()


def _take(metric: Metric, value: Any) -> None:
    """Make the result of a mean what was counted elsewhere."""
    if hasattr(metric, "total") and hasattr(metric, "count") and np.ndim(value) == 0:
        metric.total.assign(np.asarray(value))
        metric.count.assign(np.asarray(1.0))


class CompiledMetrics(Metric):
    """The metrics of `compile`, as one: `update_state(y, y_pred, sample_weight)`, and a dict of results.
    Which they are is known with the first outputs."""

    def __init__(self, model: Any, arguments: Mapping[str, Any]) -> None:
        with running(model.vintage):
            super().__init__(name="compile_metrics")
        self._model = model
        self._arguments = arguments
        self._of_losses: dict[str, Mean] = {}
        self._told: dict[str, Metric] = {}  # by the names they are reported by, where no step has chosen
        self._chosen: list[tuple[str, str, bool, Metric]] | None = None  # (reported as, output, weighted, it)

    @property
    def any(self) -> bool:
        """Whether `compile` was given metrics, or reports the losses of several outputs."""
        return bool(self._of_losses or self._arguments["metrics"] or self._arguments["weighted_metrics"])

    @property
    def metrics(self) -> list[Metric]:
        """Each of them."""
        return [*self._of_losses.values(), *(metric for _, metric in self._labelled)]

    @property
    def _labelled(self) -> list[tuple[str, Metric]]:
        """Those of `compile`, by the names they are reported by."""
        if self._chosen is None:
            return list(self._told.items())
        return [(label, metric) for label, _, _, metric in self._chosen]

    @property
    def names_inside(self) -> list[str]:
        """The names of the metrics of `compile`, in whose order a list of results has them."""
        return [metric.name for _, metric in self._labelled]

    @property
    def variables(self) -> list[Any]:
        return [v for metric in self.metrics for v in metric.variables]

    def tell(self, name: str, value: Any) -> None:
        """Take a result that the compiled program counted. Metrics that keep a state have it already."""
        if name not in self._told:
            given = leaves([self._arguments["metrics"], self._arguments["weighted_metrics"]])
            own = [m for m in given if isinstance(m, Metric) and m.name == name]
            with running(self._model.vintage):
                self._told[name] = own[0] if own else Mean(name=name)
        if not keeps_state(self._told[name]) or type(self._told[name]) is Mean:
            _take(self._told[name], value)

    def count_loss(self, output: Scored, value: Tensor) -> None:
        """Count the loss of one of several outputs in."""
        name = f"{output.name}_loss"
        with running(self._model.vintage):
            tracker = self._of_losses.setdefault(name, Mean(name=name))
        tracker.update_state(value, sample_weight=ops.count(output.w, [0]))

    def update_state(self, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        outputs = named_outputs(self._model, y_pred)
        names = list(outputs)
        labels = dict(zip(names, by_output(y, names, "labels")))
        weights = dict(zip(names, by_output(sample_weight, names, "sample_weight")))
        losses_of = per_output(self._arguments["loss"], names, "loss")
        every = dict(zip(names, map(losses.as_loss, losses_of)))
        if self._chosen is None:
            self._chosen = self._choose(outputs, labels, every)
        for _, name, weighted, metric in self._chosen:
            prediction = outputs[name]
            given = self._model.semantics.metrics_see_labels == "as given" and is_own(metric)
            y_true = tensor(labels[name]) if given else labels_for(every[name], labels[name], prediction)
            kind = graphs.floating_dtype([prediction.type])
            given = weights[name] if weighted else None
            weight = None if given is None else weights_for(given, prediction, kind)
            mask = trace_of(prediction).masks.get(prediction.value)
            if mask is not None and self._model.semantics.mask_weighs_states:
                there = ops.cast(mask, kind)
                weight = there if weight is None else there * ops.reshape(weight, (*weight.shape, 1))
            named = {} if weight is None else {"sample_weight": weight}
            metric.update_state(y_true, prediction, **named)

    def _choose(
        self, outputs: Mapping[str, Tensor], labels: Mapping[str, Any], every: Mapping[str, Any]
    ) -> list[tuple[str, str, bool, Metric]]:
        """The metrics of the outputs, by the names that they are reported by."""
        names, meaning = list(outputs), self._model.semantics
        found, said = [], []
        for key, weighted in (("metrics", False), ("weighted_metrics", True)):
            chosen = metrics_by_output(self._arguments[key], names, key, self._model, {})
            for name, several in zip(names, chosen):
                prefix = f"{name}_" if len(names) > 1 else ""
                for metric in several:
                    if labels[name] is None:
                        raise InputError(describe(f"metrics of output {name!r}", "labels", "none"))
                    y_true = labels_for(every[name], labels[name], outputs[name])
                    found.append((name, weighted, self._object(metric, every[name], y_true, outputs[name])))
                    said.append(label_of(metric, prefix, weighted, meaning))
        order = arranged([], said, len(names), meaning)
        made = []
        for place, label in order:
            name, weighted, metric = found[place]
            made.append((label, name, weighted, metric))
        return made

    def _object(self, metric: Any, loss: Any, y_true: Tensor, y_pred: Tensor) -> Metric:
        """The metric as an object with a state."""
        meaning = self._model.semantics
        function = metrics.resolve(metric, loss, y_true, y_pred, meaning)
        if isinstance(function, Metric):
            return function
        if not callable(function):
            raise ModelError(describe("a metric of a step", "a Metric or a function", repr(metric)))
        call = function.call if isinstance(function, Loss) else function
        return MeanMetricWrapper(call, name=metrics.name_in(metric, meaning))

    def result(self) -> Any:
        named = {name: metric.result() for name, metric in self._of_losses.items()}
        for label, metric in self._labelled:
            value = metric.result()
            named.update(value if isinstance(value, Mapping) else {label: value})
        return named

    def reset_state(self) -> None:
        for metric in self.metrics:
            metric.reset_state()

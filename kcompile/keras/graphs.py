"""The three graphs of a model: predict, test, and train, the whole training step.

Enters: a model, for test and train its `CompileArguments`, and the lengths of the inputs where the model
leaves sizes unknown (`lengths`). Leaves: a `Traced`, whose graph has as inputs the model's inputs by name,
then "y:<output>" and "w:<output>" (weights of samples, or of their steps) for every output with a loss or
metrics, then "g:<output>" (whether there are weights) for those whose loss depends on it. predict leaves the
outputs by name. test and train leave one vector "results": the loss, then total and count of every metric, so
that averages over any number of batches are exact, or what a metric's state gives; see `reported`. train also
updates every variable: weights, optimizer state, moving statistics, the number of steps. The others update
recurrent states, test those of metrics, and where random numbers are drawn the number of the next batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kcompile.ir import ops
from kcompile.ir.gradient import gradient
from kcompile.ir.graph import Source, Value
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.ir.types import Batch, TensorType, numel
from kcompile.keras import losses, metrics
from kcompile.keras.editions import edition
from kcompile.keras.engine import Variable
from kcompile.keras.explain import explained
from kcompile.keras.lengths import Lengths, checked_lengths, probe_lengths, types_at
from kcompile.keras.losses import Loss
from kcompile.keras.metric import keeps_state
from kcompile.keras.names_of_scripts import is_ours
from kcompile.keras.optimizer import Optimizer
from kcompile.keras.own_code import is_own
from kcompile.keras.results import (
    Label,
    Reported,
    arranged,
    bearers,
    fixed_shape,
    held_by,
    kept_shape,
    keys_of,
    label_of,
    reports_loss,
)
from kcompile.keras.semantics import Semantics
from kcompile.keras.settings import fixed_phase, running
from kcompile.keras.step_data import Signature
from kcompile.keras.tracing import Trace, Traced, trace_model
from kcompile.keras.weighing import (
    Scored,
    Weights,
    asks_for_weights,
    by_sample,
    masked,
    output_loss,
    row_means,
    times_mask,
    weighted,
    weighted_mean,
)
from kcompile_runtime.errors import InputError, KcompileError, ModelError, NotCompiledError, describe
from kcompile_runtime.training import Results

OPTIMIZER = Source("optimizer")


@dataclass
class CompileArguments:
    """The arguments of `Model.compile`, resolved: lists have an entry for each output.

    losses: None for an output that is not trained. trainable: the weights that are trained, as they
    were at `compile` (Keras 2: setting `layer.trainable` later counts from the next `compile` on).
    targets: types of the labels, None for an output that is not looked at. weight_ranks: 1 for a weight
    for each sample, 2 for one for each of its steps. flat: whether metrics of the script's own see
    the labels of an output as [n], of which the graph has [n, 1]. given: the arguments as they were written.
    """

    optimizer: Optimizer
    losses: list[Loss | None]
    loss_weights: list[float]
    metrics: list[list[Any]]
    weighted_metrics: list[list[Any]]
    trainable: list[Variable]
    targets: list[TensorType | None]
    weight_ranks: list[int]
    flat: list[bool]
    given: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure:
    """A reported value. parts: total and count, whose ratio over all batches it is; or the value itself, of
    the shape `kept`, over all batches so far."""

    label: Label
    parts: tuple[Tensor, ...]
    kept: tuple[int, ...] | None = None


Measures = list[tuple[str, Measure]]  # by the names they are reported by


def compile_arguments(model: Any) -> CompileArguments:
    """The arguments of `compile` for each output. Raises NotCompiledError before it."""
    found: CompileArguments | None = model.compile_arguments
    if found is None:
        raise NotCompiledError(
            f"model {model.name!r} must be compiled before it is trained or evaluated. "
            "Call model.compile(optimizer, loss)"
        )
    return found


def target_type(loss: Loss | None, output: TensorType) -> TensorType:
    """The type of the labels of an output: class numbers [n, ..., 1] for sparse losses, else the
    output's own type."""
    if losses.takes_classes(loss):
        return TensorType((*output.shape[:-1], 1), "int32")
    return output


def weight_type(rank: int, output: TensorType) -> TensorType:
    """The type of the weights of an output: for each sample, or for each of its first axes."""
    return TensorType((Batch(), *output.shape[1:rank]), floating_dtype([output]))


def floating_dtype(types: Sequence[TensorType]) -> str:
    """The dtype in which values of these types are scored: float64 where one is, else float32."""
    return "float64" if any(t.dtype == "float64" for t in types) else "float32"


def output_types(model: Any, lengths: Lengths) -> list[TensorType]:
    """The types of the outputs at these lengths. Raises InputError where layers cannot take them."""
    if not lengths:
        return [y.batch_type for y in model.outputs]
    return [y.type for y in _forward(model, "predict", False, lengths)[1]]


def label_types(model: Any, outputs: Sequence[TensorType]) -> list[TensorType | None]:
    """The types of the labels for outputs of these types: they follow the outputs, but where they
    followed the data."""
    resolved = compile_arguments(model)
    return [
        target_type(loss, now) if kind is not None and kind == target_type(loss, y.batch_type) else kind
        for loss, kind, y, now in zip(resolved.losses, resolved.targets, model.outputs, outputs)
    ]


def trace(model: Any, entry: str, lengths: Any = ()) -> Traced:
    """The graph of an entry, and the model's variables behind its own. lengths: a `Signature` where the entry
    is a step of the model's own."""
    if isinstance(lengths, Signature):
        own: Traced = model.traced_step(entry, lengths).trace.traced
        return own
    with running(model.vintage):
        return _ENTRIES[entry](model, lengths).traced


def _predict(model: Any, lengths: Lengths) -> Trace:
    """Inputs by their names, outputs by theirs; layers as in inference."""
    trace, outputs = _forward(model, "predict", False, lengths)
    trace.graph.outputs = {name: y.value for name, y in zip(model.output_labels, outputs)}
    trace.graph.updates = _kept(model, trace)
    trace.count_draws()
    return trace


def _test(model: Any, lengths: Lengths) -> Trace:
    """Loss and metrics of a batch; layers as in inference; only states are updated."""
    trace, outputs = _forward(model, "test", False, lengths)
    loss, measures = _objective(model, trace, outputs)
    _results(trace, _nothing(trace, outputs) if loss is None else loss, measures)
    trace.graph.updates = _kept(model, trace)
    trace.count_draws()
    return trace


def _kept(model: Any, trace: Trace) -> dict[str, Value]:
    """The updates that are made outside training too: of recurrent states, and of those of metrics."""
    states = {trace.names.get(v) for v in model.state_variables} | trace.measured
    return {name: v for name, v in trace.graph.updates.items() if name in states}


def _train(model: Any, lengths: Lengths) -> Trace:
    """One training step. Without trainable weights nothing but the number of steps changes. Raises
    ModelError when the model has no loss, or the loss depends on no weight that is to be trained."""
    resolved = compile_arguments(model)
    trace, outputs = _forward(model, "train", True, lengths)
    loss, measures = _objective(model, trace, outputs)
    if loss is None and model.semantics.without_loss != "zero":
        raise ModelError(
            f"model {model.name!r} has no loss, so that there is nothing to minimise. "
            "Call model.compile(optimizer, loss=...) with a loss"
        )
    _results(trace, _nothing(trace, outputs) if loss is None else loss, measures)
    graph, names = trace.graph, trace.names
    start = [
        (v, trace.read(v) if v in trace.assigned else Tensor(graph, graph.variables[names[v]]))
        for v in resolved.trainable
        if v in names
    ]
    found = []
    if start and loss is not None:
        found = gradient(resolved.optimizer.scaled(trace, loss), [x for _, x in start])
    if loss is None:  # weights still decay, and slots follow
        found = [ops.zeros_like(x) for _, x in start]
    if model.semantics.missing_gradients == "zeros":
        found = [ops.zeros_like(x) if g is None else g for (_, x), g in zip(start, found)]
    # Else a weight that the loss does not depend on (of an output without a loss) stays as it is.
    pairs = [(v, g) for (v, _), g in zip(start, found) if g is not None]
    if resolved.trainable and not pairs:
        raise ModelError(f"model {model.name!r}: the loss depends on no trainable weight")
    with trace.source(OPTIMIZER):
        values = resolved.optimizer.new_values(trace, pairs, model.semantics)
        for (variable, _), value in zip(pairs, values):
            trace.update(variable, variable.constraint(value) if variable.constraint else value)
        trace.read(model.random_state.step)  # counts whether anything is drawn or not
        trace.count_draws()
    return trace


_ENTRIES = {"predict": _predict, "test": _test, "train": _train}
ENTRIES = tuple(_ENTRIES)


def checked_entry(entry: Any) -> str:
    """ "predict", "test" or "train". Raises InputError for what is none."""
    if not isinstance(entry, str) or entry not in _ENTRIES:
        raise InputError(describe("graph", "one of " + ", ".join(ENTRIES), repr(entry)))
    return entry


def reported(model: Any, lengths: Lengths = ()) -> Results:
    """What test and train report: "loss", then the metrics, by Keras 2's metrics_names."""
    resolved, meaning = compile_arguments(model), model.semantics
    if _adds_metrics(model) or held_states(model):
        return traced_report(model, lengths or probe_lengths(model))
    types = [y.batch_type for y in model.outputs]
    of_losses: list[Label] = []
    of_metrics: list[Label] = []
    shapes: list[tuple[int, ...] | None] = []
    for k, (name, kind) in enumerate(zip(model.result_names, label_types(model, types))):
        if kind is None:
            continue
        prefix = f"{name}_" if len(types) > 1 else ""
        if reports_loss(resolved.losses[k], prefix, resolved.losses, meaning):
            of_losses.append(Label("loss", prefix))
        for weighs, chosen in ((False, resolved.metrics[k]), (True, resolved.weighted_metrics[k])):
            for metric in chosen:
                label = label_of(metric, prefix, weighs, meaning)
                keys = keys_of(metric, label.name, kind, types[k])
                if keys is None:
                    return traced_report(model, lengths or probe_lengths(model))
                of_metrics += [replace(label, name=key) for key, _ in keys]
                shapes += [shape for _, shape in keys]
    order = arranged(of_losses, of_metrics, len(types), meaning)
    found = [*[None] * len(of_losses), *shapes]
    return _report(model, ((name, found[place]) for place, name in order))


def names_of_losses(model: Any) -> list[str]:
    """The names of the losses of several outputs, as they are reported."""
    resolved, several = compile_arguments(model), len(model.outputs) > 1
    prefixes = [f"{name}_" if several else "" for name in model.result_names]
    return [
        f"{prefix}loss"
        for loss, prefix in zip(resolved.losses, prefixes)
        if reports_loss(loss, prefix, resolved.losses, model.semantics)
    ]


def _adds_metrics(layer: Any) -> bool:
    """Whether the layer, or one inside it, reports by add_metric."""
    return bool(layer.adds_metrics) or any(map(_adds_metrics, layer.inside))


def _report(model: Any, values: Iterable[Reported]) -> Results:
    named = [("loss", None), *values]
    kept = {name: shape for name, shape in named if shape is not None}
    return Results([name for name, _ in named], kept, by_name=edition(model.vintage).operations)


def traced_report(model: Any, lengths: Lengths = ()) -> Results:
    """The same, as the graph has them: for functions that speak of the model, and for tests."""
    with running(model.vintage):
        trace, outputs = _forward(model, "test", False, lengths)
        return _report(
            model, ((name, measure.kept) for name, measure in _objective(model, trace, outputs)[1])
        )


def adds_losses(model: Any) -> bool:
    """Whether layers add to the loss of a model: penalties, or by add_loss."""
    with running(model.vintage):
        return bool(_forward(model, "train", True, probe_lengths(model))[0].losses)


# ---------------------------------------------------------------- parts


def _forward(model: Any, name: str, training: bool, lengths: Lengths) -> tuple[Trace, list[Tensor]]:
    phase = fixed_phase()
    trace = Trace(name, training=training if phase is None else phase)
    trace.draws_from(model.random_state, training)
    types = types_at(model, checked_lengths(model, lengths or None))
    inputs = [trace.input(key, type) for key, type in zip(model.fed_names, types)]
    try:
        return trace, trace_model(model, trace, inputs)
    except KcompileError as error:
        if not lengths:
            raise
        shapes = ", ".join(f"{key!r} of {type}" for key, type in zip(model.fed_names, types))
        raise InputError(
            f"model {model.name!r} cannot take inputs of these sizes: {shapes}. {error}"
        ) from error


def _scored(model: Any, trace: Trace, outputs: Sequence[Tensor]) -> list[Scored]:
    """The outputs that have labels; the graph gets inputs for the labels, then for the weights, then for
    whether these were given."""
    resolved = compile_arguments(model)
    kinds = label_types(model, [y.type for y in outputs])
    seen = [(k, name) for k, name in enumerate(model.output_labels) if kinds[k] is not None]
    labels = {k: _input(trace, f"y:{name}", kinds[k]) for k, name in seen}
    weights = {
        k: _input(trace, f"w:{name}", weight_type(resolved.weight_ranks[k], outputs[k].type))
        for k, name in seen
    }
    given = {
        k: _input(trace, f"g:{name}", weight_type(1, outputs[k].type))
        for k, name in seen
        if asks_for_weights(resolved.losses[k], resolved.weighted_metrics[k], model.semantics)
    }
    return [
        Scored(
            name,
            f"{model.result_names[k]}_" if len(outputs) > 1 else "",
            resolved.losses[k],
            resolved.loss_weights[k],
            resolved.metrics[k],
            resolved.weighted_metrics[k],
            labels[k],
            outputs[k],
            Weights(weights[k], given.get(k, True)),
            trace.masks.get(outputs[k].value),
            resolved.flat[k],
        )
        for k, name in seen
    ]


def _nothing(trace: Trace, outputs: Sequence[Tensor]) -> Tensor:
    """The loss where there is none."""
    return ops.constant(trace.graph, 0.0, floating_dtype([y.type for y in outputs]))


def _objective(model: Any, trace: Trace, outputs: Sequence[Tensor]) -> tuple[Tensor | None, Measures]:
    """The loss to minimise, None where there is none, and what is reported beside it, by name."""
    every, meaning = compile_arguments(model).losses, model.semantics
    scored = _scored(model, trace, outputs)
    kind = floating_dtype([y.type for y in outputs])
    n = ops.extent(trace.graph, Batch(), kind)
    total: Tensor | None = None
    reported: list[Measure] = []
    measures: list[Measure] = []
    for output in scored:
        if output.loss is not None:
            label = f"Loss {output.loss.name!r} of output {output.name!r}"
            with trace.source(Source(f"loss of {output.name}")), explained(label):
                value = output_loss(output, output.loss, meaning)
                value = ops.cast(value, kind)
                total = _plus(total, value if output.scale == 1 else value * output.scale)
            if reports_loss(output.loss, output.prefix, every, meaning):
                reported.append(Measure(Label("loss", output.prefix), (value * n, n)))
        label = f"Metric of output {output.name!r}"
        with trace.source(Source(f"metrics of {output.name}")), explained(label):
            for metric in output.metrics:
                measures += _measure(metric, output, None, n, meaning)
            for metric in output.weighted_metrics:
                measures += _measure(metric, output, output.w, n, meaning)
    for extra in trace.losses:
        total = _plus(total, ops.cast(ops.reduce_mean(extra) if extra.rank else extra, kind))
    found = [*reported, *measures]
    order = arranged([m.label for m in reported], [m.label for m in measures], len(outputs), meaning)
    last = {name: found[place] for place, name in order}  # of outputs of one name, in Keras 3
    return total, [*((name, last[name]) for _, name in order), *_of_layers(model, trace, kind)]


def _of_layers(model: Any, trace: Trace, kind: str) -> Measures:
    """What layers report: the metrics that they hold, and what they added in their calls, each as one mean;
    of several of a name the last, in the place of each."""
    found: Measures = []
    means: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}
    for layer, name, x in trace.added_metrics:
        key, (total, count) = (id(layer), name), _mean_parts(x, kind)
        seen = means.get(key)
        means[key] = (total, count) if seen is None else (seen[0] + total, seen[1] + count)
    states = held_states(model)
    for layer in [*bearers(model), None]:
        with trace.measuring():
            for metric in [] if layer is None else held_by(layer):
                results = metric.result() if any(metric is state for state in states) else {}
                named = results if isinstance(results, Mapping) else {metric.name: results}
                for name, value in named.items():
                    value = as_tensor(trace.graph, value, kind)
                    found.append((name, Measure(Label(name), (value,), fixed_shape(name, value))))
        found += [(name, Measure(Label(name), x)) for (of, name), x in means.items() if of == id(layer)]
    last = dict(found)
    return [(name, last[name]) for name, _ in found]


def held_states(model: Any) -> list[Any]:
    """The metrics that the model and layers inside hold, and `compile` was not given: what the model's
    `metrics` names of them, where its class says what these are."""
    compiled = compile_arguments(model)
    given = {id(m) for each in (*compiled.metrics, *compiled.weighted_metrics) for m in each}
    found = {id(m): m for layer in bearers(model) for m in held_by(layer) if id(m) not in given}
    if not is_ours(getattr(type(model).metrics, "fget", len)):
        told = {id(m) for m in model.metrics}
        found = {key: m for key, m in found.items() if key in told}
    return list(found.values())


def _mean_parts(x: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """The sum of all elements, and their number."""
    x = ops.cast(x, kind)
    ones = ops.broadcast_to(ops.constant(x.graph, 1.0, kind), x.shape)
    return (ops.reduce_sum(x), ops.reduce_sum(ones)) if x.rank else (x, ones)


def _plus(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else total + part


def _input(trace: Trace, name: str, type: TensorType | None) -> Tensor:
    assert type is not None
    return trace.input(name, type)


def _measure(metric: Any, output: Scored, w: Weights | None, n: Tensor, meaning: Semantics) -> list[Measure]:
    """Totals and counts of a metric; weights enter only where w is given (weighted_metrics).

    Keras 2.2 averages a masked metric over a batch's steps that are there, and these over the samples, and
    weighs as it weighs losses; its successors take the mask for weights, and divide by the sum of weights.
    """
    y, prediction, mask = _labels(metric, output), output.prediction, output.mask
    if keeps_state(metric):
        return _state_measures(metric, output, w, meaning)
    function = metrics.resolve(metric, output.loss, y, prediction, meaning)
    label = label_of(metric, output.prefix, w is not None, meaning)
    made = []
    for key, value in metrics.evaluate(function, label.name, y, prediction):
        value, weight = ops.cast(value, n.dtype), w if w is None else ops.cast(w, n.dtype)
        if weight is not None and meaning.weighted_metrics == "as losses":
            value = value if by_sample(value, prediction) or not value.rank else ops.reduce_mean(value)
            fits = mask is not None and value.rank >= mask.rank
            mean = weighted_mean(value, weight, mask if fits else None, meaning)
            made.append(Measure(replace(label, name=key), (mean * n, n)))
            continue
        once = meaning.batch_values == "once" and not by_sample(value, prediction)
        if mask is not None and (value.rank >= mask.rank or once):
            if meaning.mask_weighs_metrics:
                weight = times_mask(weight, mask, n.dtype)
            else:
                value = masked(value, mask)
        count = n if weight is None else ops.reduce_sum(weight if once else row_means(weight))
        if once and weight is None:
            count = ops.constant(n.graph, 1, n.dtype)
        elif once and mask is None and w is not None and isinstance(w.given, Tensor):
            count = ops.select(w.given > 0.5, count, ops.ones_like(count))
        if not by_sample(value, prediction):
            total = (ops.reduce_mean(value) if value.rank else value) * count
        else:
            rows = value if weight is None else weighted(row_means(value, weight.rank), weight)
            total = ops.reduce_sum(row_means(rows))
        made.append(Measure(replace(label, name=key), (total, count)))
    return made


def _labels(metric: Any, output: Scored) -> Tensor:
    """The labels that a metric sees."""
    own = output.flat and is_own(metric)
    return ops.reshape(output.y, output.y.shape[:1]) if own else output.y


def _state_measures(metric: Any, output: Scored, w: Weights | None, meaning: Semantics) -> list[Measure]:
    """What a metric's state gives after the batch, which it counts in with weights and mask."""
    weight: Tensor | None = w
    mask = output.mask
    if mask is not None and meaning.mask_weighs_states:
        weight = times_mask(weight, mask, output.w.dtype)
    label = label_of(metric, output.prefix, w is not None, meaning)
    made = []
    y = _labels(metric, output)
    for key, value in metrics.evaluate(metric, label.name, y, output.prediction, weight):
        kept = kept_shape(metric, key, value)
        made.append(Measure(replace(label, name=key), (value,), kept))
    return made


def _results(trace: Trace, loss: Tensor, measures: Measures) -> None:
    values = [loss, *(x for _, m in measures for x in m.parts)]
    parts = [ops.reshape(ops.cast(x, loss.dtype), (numel(x.shape),)) for x in values]
    trace.graph.outputs = {"results": ops.concatenate(parts, 0).value}

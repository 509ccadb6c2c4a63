"""What the arguments of `compile` mean for each output of a model.

Enters: a built model, and the arguments as a user wrote them: one value, lists, dicts by output. Leaves: a
`CompileArguments`. Everything that makes no sense is told here, before a graph is traced. A metric with a
state that is written as a name, a class or a configuration becomes an object here, as does one of several
outputs for each of them; `objects` remembers these, so that they stay the same until the next `compile`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompile.keras import graphs, losses, metrics
from kcompile.keras.engine import Layer
from kcompile.keras.graphs import CompileArguments
from kcompile.keras.losses import MEANS, Loss
from kcompile.keras.metric import Metric, keeps_state
from kcompile.keras.semantics import Semantics
from kcompile.keras.settings import meaning, running
from kcompile.keras.tensors import as_list
from kcompile.keras.weighing import may_be_of_batch
from kcompile_runtime.checks import check_number
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

Objects = dict[tuple[str, str, int], Any]  # metrics by argument, output and number


def resolve_arguments(model: Any, arguments: dict[str, Any], objects: Objects) -> CompileArguments:
    """The arguments of `compile` for each output of a built model. Raises ModelError, ValueError."""
    names = list(model.output_labels)
    found = [losses.as_loss(value) for value in per_output(arguments["loss"], names, "loss")]
    for name, loss in zip(names, found):
        if loss is not None and loss.reduction == "none" and not may_be_of_batch(loss):
            raise ModelError(
                describe(f"compile: loss of {name!r}", "a reduction to one number", "reduction='none'")
            )
    if model.semantics.without_loss == "refused" and not any(found) and not graphs.adds_losses(model):
        wanted = "a loss of one of the outputs, or one that a layer adds"
        raise ModelError(describe("compile: loss", wanted, repr(arguments["loss"])))
    scales = [
        1.0 if value is None else check_number(f"compile: loss_weights of {name!r}", value)
        for name, value in zip(
            names, per_output(arguments["loss_weights"], names, "loss_weights", single=False)
        )
    ]
    plain, weighted = (
        metrics_by_output(arguments[key], names, key, model, objects)
        for key in ("metrics", "weighted_metrics")
    )
    if model.semantics.metrics_without_loss == "left out":
        plain, weighted = (
            [[] if loss is None else chosen for loss, chosen in zip(found, several)]
            for several in (plain, weighted)
        )
    return CompileArguments(
        arguments["optimizer"],
        found,
        scales,
        plain,
        weighted,
        list(model.trainable_weights),
        [
            graphs.target_type(loss, y.batch_type) if loss is not None or any(wanted) else None
            for loss, y, *wanted in zip(found, model.outputs, map(bool, plain), map(bool, weighted))
        ],
        _weight_ranks(arguments["sample_weight_mode"], names, model.outputs),
        [False] * len(names),
        arguments,
    )


def _weight_ranks(modes: Any, names: Sequence[str], outputs: Sequence[Any]) -> list[int]:
    """How many axes the weights of each output have. Raises ModelError."""
    ranks = []
    for name, y, mode in zip(names, outputs, per_output(modes, names, "sample_weight_mode")):
        if mode is not None and not (isinstance(mode, str) and mode == "temporal"):
            raise ModelError(
                describe(f"compile: sample_weight_mode of {name!r}", "None or 'temporal'", repr(mode))
            )
        if mode is not None and y.ndim < 3:
            raise ModelError(
                describe(
                    f"compile: sample_weight_mode='temporal' of {name!r}",
                    "an output [batch, time, ...]",
                    f"shape {y.shape}",
                )
            )
        ranks.append(1 if mode is None else 2)
    return ranks


def per_output(value: Any, names: Sequence[str], what: str, single: bool = True) -> list[Any]:
    """A value for each output, from a dict by name, a list, or (if `single`) one for all."""
    if isinstance(value, Mapping) and "class_name" not in value:
        unknown = [key for key in value if key not in names]
        if unknown:
            raise ModelError(
                describe(
                    f"compile: {what}",
                    f"names of outputs ({', '.join(names)})",
                    ", ".join(map(repr, unknown)),
                )
            )
        return [value.get(name) for name in names]
    if isinstance(value, (list, tuple)):
        if len(value) != len(names):
            raise ModelError(
                describe(
                    f"compile: {what}",
                    f"one for each of the {len(names)} outputs ({', '.join(names)})",
                    f"a list of {len(value)}",
                )
            )
        return list(value)
    if value is not None and not single:
        raise ModelError(describe(f"compile: {what}", "a list or dict", repr(value)))
    return [value] * len(names)


def metrics_by_output(
    value: Any, names: Sequence[str], what: str, model: Any, objects: Objects
) -> list[list[Any]]:
    """The metrics of each output. A list of lists is one for each; what a flat list is, the vintage says."""
    shared = False
    many = isinstance(value, (list, tuple))
    if value is None or (many and not value):
        return [[] for _ in names]
    if isinstance(value, Mapping) or (many and _is_by_output(value, len(names), model.semantics)):
        chosen = [values_of(v) for v in per_output(value, names, what)]
    else:
        chosen = [values_of(value) for _ in names]
        shared = len(names) > 1
    chosen = [[m for m in several if m is not None] for several in chosen]
    for name, several in zip(names, chosen):
        for number, metric in enumerate(several):
            _check_metric(metric, what)
            with running(model.vintage):
                several[number] = _with_state(metric, (what, name, number), shared, objects)
    return chosen


def _with_state(metric: Any, place: tuple[str, str, int], shared: bool, objects: Objects) -> Any:
    """The object of a metric that keeps a state; any other metric as it was written. shared: it was given for
    several outputs, of which each has a copy."""
    if (isinstance(metric, str) and metric in metrics.CHOSEN) or not keeps_state(metrics.seen(metric)):
        return metric
    if isinstance(metric, Metric):
        if not shared:
            return metric
        return objects.setdefault(place, type(metric).from_config(metric.get_config()))
    if isinstance(metric, Layer):
        return metric
    if place not in objects:
        objects[place] = metrics.get(metric)
    made = objects[place]
    if isinstance(metric, str) and meaning().metric_names == "given":
        made.name = metric
    return made


def _is_by_output(value: Sequence[Any], outputs: int, meaning: Semantics) -> bool:
    """Whether a list of metrics has an entry for each output."""
    if outputs == 1:
        return len(value) == 1 and isinstance(value[0], (list, tuple))
    lists = any(v is None or isinstance(v, (list, tuple)) for v in value)
    return meaning.metrics_list == "by output" or (len(value) == outputs and lists)


def _check_metric(metric: Any, what: str) -> None:
    """Raises for what is no metric, and for a loss as a metric that gives no mean."""
    if isinstance(metric, str) and metric in metrics.CHOSEN:  # by the labels, later
        return
    if isinstance(metric, Layer) and metric.stateful and what == "weighted_metrics":
        raise UnsupportedError(
            describe(
                f"compile: {what}",
                "metrics that take sample_weight",
                f"{type(metric).__name__}, a layer that keeps state from batch to batch (stateful = True)",
                "Give it in metrics.",
            )
        )
    found = metrics.seen(metric)
    if isinstance(found, Loss) and found.reduction not in MEANS:
        raise UnsupportedError(
            describe(
                f"compile: {what}: reduction of {found.name!r}",
                " or ".join(map(repr, MEANS)),
                repr(found.reduction),
            )
        )


def values_of(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else as_list(value)

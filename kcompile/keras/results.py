"""What test and train report beside the loss, and how it is called.

Enters: metrics as `compile` takes them, prefixes of outputs. Leaves: names, in the order of the values.
Nothing is traced but a function of the user's own, of which a call alone tells whether it gives several.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import metrics
from kcompile.keras.editions import edition
from kcompile.keras.losses import Loss
from kcompile.keras.metric import keeps_state
from kcompile.keras.newer_members import held, is_metric
from kcompile.keras.semantics import Semantics
from kcompile.keras.tracing import Trace, tracing
from kcompile_runtime.errors import ModelError, describe

Reported = tuple[str, "tuple[int, ...] | None"]  # a name, and the shape of what a metric's state gives


@dataclass(frozen=True)
class Label:
    """A reported value, before names are made distinct. prefix: of the output, where there are several.
    weighted: whether weights count."""

    name: str
    prefix: str = ""
    weighted: bool = False


def label_of(metric: Any, prefix: str, weighted: bool, meaning: Semantics) -> Label:
    """The label of a metric of an output."""
    name = metrics.name_in(metric, meaning)
    if weighted and meaning.weighted_prefix == "always":
        name = f"weighted_{name}"
    if meaning.metric_objects_renamed and not isinstance(metric, str) and name.startswith(prefix):
        prefix = ""
    return Label(name, prefix, weighted)


def keys_of(metric: Any, name: str, label: TensorType, output: TensorType) -> list[Reported] | None:
    """A metric's results: its own name, or the keys of the dict that a user's function returns, which is
    called on tensors of these types. None where it cannot be called by itself."""
    if metrics.is_ours(metric):
        return [(name, None)]
    scratch = Trace("shape inference")
    try:
        with tracing(scratch.graph):
            y_true, y_pred = scratch.input("y_true", label), scratch.input("y_pred", output)
            found = metrics.get(metric)
            results = metrics.evaluate(found, name, y_true, y_pred)
            return [(key, kept_shape(found, key, value)) for key, value in results]
    except Exception:  # the function's own; in the graph of the model it may work, or is explained
        return None


def kept_shape(metric: Any, name: str, value: Tensor) -> tuple[int, ...] | None:
    """The shape of what a metric's state gives, which is reported as it is; None for what is averaged."""
    return fixed_shape(name, value) if keeps_state(metric) else None


def fixed_shape(name: str, value: Tensor) -> tuple[int, ...]:
    """The shape of what a metric's state gives. Raises ModelError where it follows from the batch."""
    if any(isinstance(size, Batch) for size in value.shape):
        wanted = "a result of sizes that are known"
        raise ModelError(describe(f"metric {name!r}", wanted, str(value.type)))
    return tuple(int(size) for size in value.shape)


def bearers(model: Any) -> list[Any]:
    """The model and the layers inside, in the order in which the metrics that they hold are told. In Keras 3
    a model inside another keeps to itself what it holds, but not what its layers do."""

    def all_of(layer: Any) -> Iterator[Any]:
        yield layer
        for inner in layer.inside:
            yield from all_of(inner)

    if not edition(model.vintage).operations:
        found = list(all_of(model))
    else:
        found, left = [model], deque(model.inside)
        while left:
            layer = left.popleft()
            left.extendleft(layer.inside)
            found += [] if hasattr(layer, "own_steps") else all_of(layer)
    return list({id(layer): layer for layer in found}.values())


def held_by(layer: Any) -> list[Any]:
    """The metrics with a state that a layer reports: since tf.keras all in its attributes, before those that
    it gave to add_metric."""
    every = held(layer, is_metric) if edition(layer.vintage).eager else layer.told_metrics
    return list({id(metric): metric for metric in every}.values())


def reports_loss(loss: Loss | None, prefix: str, losses: Sequence[Loss | None], meaning: Semantics) -> bool:
    """Whether the loss of an output is reported beside the sum."""
    several = len(losses) - losses.count(None) > 1
    return loss is not None and bool(prefix) and (meaning.lone_loss_reported or several)


def arranged(
    of_losses: Sequence[Label], of_metrics: Sequence[Label], outputs: int, meaning: Semantics
) -> list[tuple[int, str]]:
    """The places, in both lists together, and the names of the values in the order of the report. A weighted
    metric whose name is taken gets "weighted_" before it; the second of a name "_1" behind it, and so on."""
    labels = [*of_losses, *of_metrics]
    first, places = len(of_losses), list(range(len(labels)))
    by_name = meaning.metrics_order == "by name"
    if by_name:
        places[first:] = sorted(places[first:], key=lambda i: labels[i].weighted)
    seen: set[str] = {"loss"}
    named: list[tuple[int, str]] = []
    for place in places:
        label = labels[place]
        full, number = label.prefix + label.name, 0
        if label.weighted and full in seen:
            full = f"{label.prefix}weighted_{label.name}"
        name = full
        shared = by_name and place < first  # losses of outputs of one name are told as the last of them
        while name in seen and not shared:
            number += 1
            name = f"{full}_{number}"
        seen.add(name)
        named.append((place, name))
    if by_name and outputs > 1:
        named[first:] = sorted(named[first:], key=lambda entry: entry[1])
    return named

"""What test and train report: the loss, then metrics, and how these are called.

Enters: what `compile` settled, and the names of outputs. Leaves: names, in the order of the values. Names
follow from losses, metrics and outputs; nothing is traced but a function of the user's own, which may give
several results by names that only a call tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kcompile.ir.types import TensorType
from kcompile.keras import metrics
from kcompile.keras.losses import Loss
from kcompile.keras.semantics import Semantics
from kcompile.keras.tracing import Trace


@dataclass(frozen=True)
class Label:
    """A reported value before names are made distinct. prefix: of the output, where there are several.
    weighted: whether weights count."""

    name: str
    prefix: str = ""
    weighted: bool = False


def labels_of(
    metric: Any, prefix: str, weighted: bool, meaning: Semantics, keys: Callable[[str], Sequence[str]]
) -> list[Label]:
    """Of the results of a metric. keys: their names, for the name of the metric."""
    name = metrics.name_in(metric, meaning)
    if weighted and meaning.weighted_prefix == "always":
        name = f"weighted_{name}"
    if meaning.metric_objects_renamed and not isinstance(metric, str) and name.startswith(prefix):
        prefix = ""
    return [Label(key, prefix, weighted) for key in keys(name)]


def reports_loss(loss: Loss | None, prefix: str, losses: Sequence[Loss | None], meaning: Semantics) -> bool:
    """Whether the loss of an output is reported beside the sum."""
    several = len(losses) - losses.count(None) > 1
    return loss is not None and bool(prefix) and (meaning.lone_loss_reported or several)


def arranged(of_losses: Sequence[Label], of_metrics: Sequence[Label], meaning: Semantics) -> list[tuple[int, str]]:
    """The order in which values are reported, by their places in both lists, and their names. A weighted
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
        full = label.prefix + label.name
        if label.weighted and full in seen:
            full = f"{label.prefix}weighted_{label.name}"
        name, number = full, 0
        while name in seen:
            number += 1
            name = f"{full}_{number}"
        seen.add(name)
        named.append((place, name))
    return named

"""The objects of ours that configurations may name, of every kind."""

from __future__ import annotations

from typing import Any

from kcompile.keras import (
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    schedules,
)


def known() -> dict[str, Any]:
    """By name; a layer before others of the same name."""
    found: dict[str, Any] = {k: getattr(schedules, k) for k in schedules.__all__ if k[0].isupper()}
    for module in (regularizers, constraints, initializers, metrics, losses, optimizers, layers, models):
        found.update({k: v for k, v in vars(module).items() if isinstance(v, type) and not k.startswith("_")})
    return found

"""Which losses and metrics are a script's own, and not Keras'."""

from __future__ import annotations

from typing import Any

from kcompile.keras.metric import Metric
from kcompile.keras.operands import leaves

HOME = "kcompile."


def is_own(x: Any) -> bool:
    """Whether a loss or a metric is a function or of a class that is not Keras'."""
    if not callable(x) and not isinstance(x, Metric):
        return False
    named = x if hasattr(x, "__name__") else type(x)
    return not str(getattr(named, "__module__", HOME)).startswith(HOME)


def has_own(arguments: Any) -> bool:
    """Whether the arguments of `compile` have a loss or metric of the script's own."""
    given = [(arguments or {}).get(key) for key in ("loss", "metrics", "weighted_metrics")]
    return any(map(is_own, leaves(given)))

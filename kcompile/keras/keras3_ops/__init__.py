"""keras.ops: Keras 3's functions over tensors, by its names and with its arguments.

They take tensors of a graph that is being traced (inside layers, losses, metrics), tensors of a functional
model (each call is a layer, `layers.Operation`), and values: arrays, variables, numbers, which give arrays.
Those that cannot be are refused by name (`refused`).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from kcompile.keras.keras3_ops import core, elementwise, indexing, nn, products, reductions, shapes
from kcompile.keras.keras3_ops.refused import REASONS, refusing

# Python's operators on tensors of a model, which are calls of these in Keras 3
OPERATORS = {
    "abs": "absolute",
    "add": "add",
    "divide": "true_divide",
    "dot": "matmul",
    "floor_divide": "floor_divide",
    "getitem": "get_item",
    "greater": "greater",
    "greater_equal": "greater_equal",
    "less": "less",
    "less_equal": "less_equal",
    "multiply": "multiply",
    "negative": "negative",
    "pow": "power",
    "remainder": "mod",
    "subtract": "subtract",
}
_MODULES: tuple[ModuleType, ...] = (elementwise, shapes, indexing, reductions, products, nn, core)


def _defined() -> dict[str, Any]:
    """The functions of the modules, by their own names."""
    return {
        value.__name__: value
        for module in _MODULES
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith("_")
        and getattr(value, "__module__", "") in (module.__name__, f"{__name__}.calls")
        and (hasattr(value, "__wrapped__") or name in _PLAIN)
    }


_PLAIN = ("convert_to_numpy", "dtype", "is_tensor", "shape")  # which ask about an operand alone
_FUNCTIONS = _defined()
_FUNCTIONS["real"] = elementwise.real_part
# Those whose calls on tensors of a model are layers
OPERATIONS = {name: function for name, function in _FUNCTIONS.items() if hasattr(function, "signature")}
__all__ = sorted({*_FUNCTIONS, *REASONS})
globals().update(_FUNCTIONS)
globals().update((name, refusing(name, reason)) for name, reason in REASONS.items())

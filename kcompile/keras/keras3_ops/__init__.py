"""keras.ops: Keras 3's functions over tensors, by its names and with its arguments.

They take tensors of a graph that is being traced (inside layers, losses, metrics), tensors of a functional
model (each call is a layer, `layers.Operation`), and values: arrays, variables, numbers, which give arrays.
Those whose results have sizes that depend on the data, or are complex, are functions of values alone
(`values`). `SUBMODULES` has what is in `keras.ops.numpy`, `nn`, `linalg` and `image`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from kcompile.keras.keras3_ops import (
    bits,
    core,
    ctc,
    elementwise,
    fourier,
    image,
    indexing,
    linalg,
    nn,
    products,
    reductions,
    shapes,
    values,
)
from kcompile.keras.keras3_ops.classes import CLASSES

# Python's operators on tensors of a model, which are calls of these in Keras 3
OPERATORS = {
    "abs": "absolute",
    "add": "add",
    "divide": "true_divide",
    "dot": "dot",
    "both": "logical_and",
    "either": "logical_or",
    "inverse": "logical_not",
    "matmul": "matmul",
    "one_alone": "logical_xor",
    "rounded": "round",
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
_MODULES: tuple[ModuleType, ...] = (
    elementwise,
    bits,
    shapes,
    indexing,
    reductions,
    products,
    linalg,
    fourier,
    nn,
    ctc,
    core,
    values,
)
# Functions that no class of Keras 3 has, by the submodule that they are in too
_OTHERS = {
    "numpy": [
        *("bartlett", "blackman", "empty", "eye", "hamming", "hanning"),
        *("identity", "kaiser", "ones", "tri", "vectorize", "zeros"),
    ]
}


def _defined(*modules: ModuleType) -> dict[str, Any]:
    """The functions of modules, by their own names."""
    return {
        value.__name__: value
        for module in modules
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith("_")
        and getattr(value, "__module__", "") in (module.__name__, f"{__name__}.calls")
        and (hasattr(value, "__wrapped__") or name in _PLAIN)
    }


# Those that ask about an operand alone, or make functions of functions
_PLAIN = ("convert_to_numpy", "custom_gradient", "dtype", "is_tensor", "shape", "vectorize")
_FUNCTIONS = _defined(*_MODULES)
_FUNCTIONS["real"] = elementwise.real_part
_IMAGES = {name: getattr(image, name) for name in image.__all__}
# Those whose calls on tensors of a model are layers
OPERATIONS = {
    name: function for name, function in {**_FUNCTIONS, **_IMAGES}.items() if hasattr(function, "signature")
}
# The submodules of keras.ops
SUBMODULES: dict[str, dict[str, Any]] = {
    "image": _IMAGES,
    **{
        module: {
            name: function
            for name, function in sorted(_FUNCTIONS.items())
            if CLASSES.get(name, ("",))[0].startswith(f"{module}.") or name in _OTHERS.get(module, ())
        }
        for module in ("linalg", "nn", "numpy")
    },
}
__all__ = sorted(_FUNCTIONS)
globals().update(_FUNCTIONS)

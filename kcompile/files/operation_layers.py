"""Calls of keras.ops as layers that compute the same, for files of a form that has no calls (.h5).

Keras 3 writes such calls to .h5 by its own names and, but for concatenations and softmax, does not read them
again. Layers are read by every Keras that has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from kcompile.ir.types import FLOATS
from kcompile.keras.layers.operation import OPERAND

As = tuple[str, dict[str, Any]]


def as_layer(layer: Any) -> As | None:
    """The class of a layer that computes what an `Operation` does, which every Keras has or Keras since
    tf.keras, and its own arguments; None where there is none."""
    tensors = [x for node in layer.nodes_made for x in node.inputs]
    if any(x.dtype not in FLOATS or x.mask is not None for x in tensors):
        return None  # layers hand masks on, operations do not
    if layer.function in _MERGES:
        return _merge(layer, tensors)
    found = _OF_ONE.get(layer.function)
    if found is None or (len(layer.nodes_made) > 1 and found is _reshaped):
        return None
    return found(layer, layer.arguments, tensors)


def _place(value: Any) -> int | None:
    """The number of the input that stands for an argument; None where none does."""
    is_place = isinstance(value, Mapping) and value.get("class_name") == OPERAND
    return value["config"]["index"] if is_place else None


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# ---------------------------------------------------------------- two operands


# Functions of keras.ops -> the layers that compute the same of two tensors
_MERGES = {
    "add": "Add",
    "maximum": "Maximum",
    "minimum": "Minimum",
    "multiply": "Multiply",
    "subtract": "Subtract",
}


def _merge(layer: Any, tensors: list[Any]) -> As | None:
    function, arguments = layer.function, layer.arguments
    places = [_place(arguments.get(name)) for name in ("x1", "x2")]
    if set(arguments) != {"x1", "x2"}:
        return None
    if places == [0, 1]:
        # Merges put axes of size 1 behind the batch where ranks differ, operators before it
        alike = len({len(x.shape) for x in tensors}) == 1
        return (_MERGES[function], {}) if alike else None
    number = arguments["x2"] if places[0] == 0 else arguments["x1"]
    if places.count(0) != 1 or not _number(number):
        return None
    if function == "multiply":
        return "Rescaling", {"scale": number, "offset": 0.0}
    if function == "add" or (function == "subtract" and places[0] == 0):
        return "Rescaling", {"scale": 1.0, "offset": number if function == "add" else -number}
    if function == "subtract":
        return "Rescaling", {"scale": -1.0, "offset": number}
    return None


def _divided(layer: Any, arguments: Mapping[str, Any], tensors: list[Any]) -> As | None:
    number = arguments.get("x2")
    if _place(arguments.get("x1")) != 0 or not _number(number) or not number:
        return None
    if abs(math.frexp(number)[0]) != 0.5:  # else the product with 1 / number is another one
        return None
    return "Rescaling", {"scale": 1.0 / number, "offset": 0.0}


# ---------------------------------------------------------------- one operand, or a list


def _only(arguments: Mapping[str, Any], name: str, **defaults: Any) -> bool:
    """Whether the one tensor is this argument, and all others have their defaults."""
    rest = {key: value for key, value in arguments.items() if key != name}
    return _place(arguments.get(name)) == 0 and all(
        key in defaults and value == defaults[key] for key, value in rest.items()
    )


def _activation(name: str, **defaults: Any) -> Callable[..., As | None]:
    """The layer Activation of a function that all Kerases compute alike."""

    def made(layer: Any, arguments: Mapping[str, Any], tensors: list[Any]) -> As | None:
        return ("Activation", {"activation": name}) if _only(arguments, "x", **defaults) else None

    return made


def _negative(layer: Any, arguments: Mapping[str, Any], tensors: list[Any]) -> As | None:
    return ("Rescaling", {"scale": -1.0, "offset": 0.0}) if _only(arguments, "x") else None


def _softmax(layer: Any, arguments: Mapping[str, Any], tensors: list[Any]) -> As | None:
    axis = arguments.get("axis", -1)
    if _place(arguments.get("x")) != 0 or not isinstance(axis, int) or len(tensors[0].shape) < 2:
        return None
    return ("Softmax", {"axis": axis}) if axis % len(tensors[0].shape) else None


def _leaky_relu(layer: Any, arguments: Mapping[str, Any], tensors: list[Any]) -> As | None:
    slope = arguments.get("negative_slope", 0.2)
    return ("LeakyReLU", {"alpha": slope}) if _place(arguments.get("x")) == 0 and _number(slope) else None


def _concatenate(layer: Any, arguments: Mapping[str, Any], tensors: list[Any]) -> As | None:
    given, axis = arguments.get("xs"), arguments.get("axis", 0)
    if not isinstance(given, list) or [_place(x) for x in given] != list(range(len(given))):
        return None
    if len(given) < 2 or not isinstance(axis, int) or len({x.dtype for x in tensors}) > 1:
        return None
    return ("Concatenate", {"axis": axis}) if axis % len(tensors[0].shape) else None


def _permute(layer: Any, arguments: Mapping[str, Any], tensors: list[Any]) -> As | None:
    rank, axes = len(tensors[0].shape), arguments.get("axes")
    if _place(arguments.get("x")) != 0 or not isinstance(axes, list):
        return None
    places = [a % rank for a in axes]
    return ("Permute", {"dims": places[1:]}) if places[0] == 0 and rank > 1 else None


def _reshaped(layer: Any, arguments: Mapping[str, Any], tensors: list[Any]) -> As | None:
    """Another shape of each sample."""
    (x,), y = tensors, layer.nodes_made[0].outputs[0]
    known = [d for d in (*x.shape[1:], *y.shape[1:]) if d is None]
    if known or not y.shape or x.shape[0] is not None or y.shape[0] is not None:
        return None
    if math.prod(x.shape[1:]) != math.prod(y.shape[1:]):
        return None
    return "Reshape", {"target_shape": list(y.shape[1:])}


_OF_ONE: dict[str, Callable[..., As | None]] = {
    "concatenate": _concatenate,
    "divide": _divided,
    "elu": _activation("elu", alpha=1.0),
    "exp": _activation("exponential"),
    "expand_dims": _reshaped,
    "leaky_relu": _leaky_relu,
    "negative": _negative,
    "relu": _activation("relu"),
    "reshape": _reshaped,
    "selu": _activation("selu"),
    "sigmoid": _activation("sigmoid"),
    "softmax": _softmax,
    "softplus": _activation("softplus"),
    "softsign": _activation("softsign"),
    "squeeze": _reshaped,
    "tanh": _activation("tanh"),
    "transpose": _permute,
    "true_divide": _divided,
}

"""Calls of layers on more than their first argument, in files: on masks (`layer(x, mask=m)`), on the states
of a recurrent layer, on the weights of what is counted.

Enters: a node as Keras 3, tf.keras or we wrote it. Leaves: the same node with all tensors in its first
argument, masks last, and how many these are among its arguments (see `kcompile.keras.given_masks`); and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kcompile.keras.given_masks import COUNT
from kcompile.keras.layers.recurrent import Recurrence

__all__ = ["translate", "written"]

Place = Callable[[Any], "list[Any] | None"]
FURTHER = ("initial_state", "count_weights", "mask")


def translate(node: Any, place: Place) -> tuple[Any, dict[str, Any]]:
    """The node with its tensors in one list, and what says how many of them are masks: {} for none."""
    if isinstance(node, Mapping):
        named, args = node.get("kwargs"), node.get("args") or [None]
        first = [args[0]] if place(args[0]) is not None else args[0]
        if not isinstance(named, Mapping) or not isinstance(first, (list, tuple)):
            return node, {}
        more, rest, count = _further(named, place)
        if not more or any(place(x) is None for x in first):
            return node, {}
        return {**node, "args": [[*first, *more], *args[1:]], "kwargs": rest}, count
    if not isinstance(node, (list, tuple)) or not node or any(place(x) is None for x in node):
        return node, {}
    if len(node[0]) != 4 or any(len(x) == 4 and x[3] not in ({}, node[0][3]) for x in node):
        return node, {}
    more, rest, count = _further(node[0][3], place)
    tensors = [[*x[:3], rest] for x in node]
    return ([*tensors, *([*(place(x) or ()), {}] for x in more)], count) if more else (node, {})


def _further(named: Mapping[str, Any], place: Place) -> tuple[list[Any], dict[str, Any], dict[str, int]]:
    """The tensors in arguments by name, the other arguments, and the number of masks."""
    more: list[Any] = []
    rest, count = dict(named), {}
    for name in FURTHER:
        value = named.get(name)
        found = list(value) if isinstance(value, (list, tuple)) and place(value) is None else [value]
        if found and all(place(x) is not None for x in found):
            more += found
            del rest[name]
            if name == "mask":
                count = {COUNT: len(found)}
    return more, rest, count


def written(layer: Any, arguments: Mapping[str, Any], tensors: Sequence[Any], newer: bool) -> Any:
    """A call as Keras 3 writes it, or (not newer) as tf.keras, which has the arguments behind each tensor,
    and states among the tensors; None for a call on its first argument alone. tensors: of the model, as it
    writes those."""
    masks = arguments.get(COUNT, 0)
    first, at_masks = list(tensors[: len(tensors) - masks]), tensors[len(tensors) - masks :]
    named = {name: value for name, value in arguments.items() if name != COUNT}
    if isinstance(layer, Recurrence) and newer and len(first) > 1 and not layer.num_constants:
        first, named["initial_state"] = first[:1], first[1:]
    if type(layer).__name__ == "CategoryEncoding" and len(first) > 1:
        first, named["count_weights"] = first[:1], first[1]
    if masks:
        named["mask"] = at_masks[0] if masks == 1 else list(at_masks)
    if len(first) == len(tensors):
        return None
    if newer:
        return {"args": [first if layer.wants_list or len(first) > 1 else first[0]], "kwargs": named}
    return [[*tensor, named] for tensor in first]

"""The calls of attention layers, whose tensors have names, as ours and back.

Enters: nodes as Keras 3 and tf.keras write them. Leaves: lists of [layer, node index, tensor index,
arguments], whose tensors are the query, the value and, where there are more, the key and the masks that
`extra` names; and the way back, for a node's places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.files.problems import Problems

Place = list[Any]
_SWITCHES = ("return_attention_scores", "use_causal_mask")
_HEADS = (
    "query",
    "value",
    "key",
    "query_mask",
    "value_mask",
    "key_mask",
    "attention_mask",
    "return_attention_scores",
    "training",
    "use_causal_mask",
)
_LISTED = ("inputs", "mask", "training", "return_attention_scores", "use_causal_mask")
# The arguments of `call` in Keras 3, in their order
ORDERS = {
    "AdditiveAttention": _LISTED,
    "Attention": _LISTED,
    "GroupQueryAttention": _HEADS,
    "GroupedQueryAttention": _HEADS,
    "MultiHeadAttention": _HEADS,
}
_OWN = ("query_mask", "value_mask")


def translate(
    node: Any, kind: str, label: str, problems: Problems, place_of: Callable[[Any], Place | None], ours: bool
) -> list[Any]:
    """An inbound node. place_of: the [layer, node, tensor] that a value means, None for another value."""
    given = _given(node, kind, place_of)
    if given is None:
        problems.add(f"{label}: a call of another form than its tensors and their masks")
        return []
    arguments: dict[str, Any] = {}
    training = given.pop("training", None)
    if ours and isinstance(training, bool):
        arguments["training"] = training
    for name in _SWITCHES:
        value = given.pop(name, None)
        if value not in (None, False, True):
            problems.add(f"{label}: a call with {name}={value!r}"[:200])
        elif value:
            arguments[name] = True
    tensors, extra, table = _tensors(given, kind, place_of)
    if table is not None:
        arguments["attention_mask"] = table
    if extra is not None:
        arguments["extra"] = extra
    if given or any(x is None for x in tensors):
        problems.add(f"{label}: a call with other arguments than its tensors and their masks")
        return []
    return [[*x, arguments] for x in tensors if x is not None]


def _given(node: Any, kind: str, place_of: Callable[[Any], Place | None]) -> dict[str, Any] | None:
    """The arguments by name."""
    order = ORDERS[kind]
    if isinstance(node, Mapping):  # of Keras 3
        args, named = node.get("args") or [], node.get("kwargs") or {}
        if not isinstance(args, (list, tuple)) or not isinstance(named, Mapping) or len(args) > len(order):
            return None
        return {**dict(zip(order, args)), **named}
    if not isinstance(node, (list, tuple)) or not node or any(place_of(x) is None for x in node):
        return None
    named = node[0][3] if len(node[0]) > 3 and isinstance(node[0][3], Mapping) else {}
    if order is _LISTED:
        return {"inputs": list(node), **named}
    return {"query": node[0], **named} if len(node) == 1 else None


def _tensors(
    given: dict[str, Any], kind: str, place_of: Callable[[Any], Place | None]
) -> tuple[list[Place | None], list[str] | None, Any]:
    """The places of a node's inputs, the names of the masks among them, and a mask that is an array. Takes
    what it understands out of `given`."""
    table, extra = None, None
    if ORDERS[kind] is _LISTED:
        inputs, masks = given.pop("inputs", None), given.pop("mask", None)
        tensors = list(inputs)[:3] if isinstance(inputs, (list, tuple)) else [None]
        named = {}
        if isinstance(masks, (list, tuple)):
            named, extra = dict(zip(_OWN, masks)), []
        elif masks is not None:
            given["mask"] = masks
    else:
        tensors = [given.pop(name, None) for name in _HEADS[:3]]
        tensors = tensors[: 2 + (tensors[2] is not None)]
        given.pop("query_mask", None)  # it is the query's own
        named = {name: given.pop(name, None) for name in _HEADS[4:7]}
        table = _table(named["attention_mask"])
        named["attention_mask"] = None if table is not None else named["attention_mask"]
    names = [name for name, x in named.items() if x is not None]
    if names:
        tensors = [*tensors, *tensors[1:2]] if len(tensors) == 2 else tensors
        extra = names
    return [place_of(x) for x in (*tensors, *(named[name] for name in names))], extra, table


def _table(value: Any) -> list[Any] | None:
    """A mask that is an array of the configuration."""
    if isinstance(value, Mapping) and value.get("class_name") == "__numpy__":
        value = value.get("config", {}).get("value") if isinstance(value.get("config"), Mapping) else None
    if not isinstance(value, list) or not value or not isinstance(value[0], list):
        return None
    try:
        table: list[Any] = np.asarray(value, dtype=bool).tolist()
    except ValueError:
        return None
    return table


def written(
    kind: str, call: Sequence[Any], places: Sequence[Any], keras3: bool
) -> tuple[list[Any], dict[str, Any]]:
    """The tensors that stand by position, and the arguments by name, of a call. places: of its tensors, as
    they are to be written."""
    known = dict(call[0][3]) if len(call[0]) > 3 else {}
    extra, table = known.pop("extra", None), known.pop("attention_mask", None)
    same = len(call) > 2 and list(call[2][:3]) == list(call[1][:3])
    masks = dict(zip(extra or (), places[3:]))
    if ORDERS[kind] is _LISTED:
        if extra is not None:
            known["mask"] = [masks.get(name) for name in _OWN]
        return list(places[: 2 if same else 3]), known
    if table is not None:
        config = {"value": table, "dtype": "bool"}
        known["attention_mask"] = {"class_name": "__numpy__", "config": config} if keras3 else table
    known.update(masks)
    if len(places) > 2 and not same:
        known["key"] = places[2]
    return list(places[:1]), {"value": places[1], **known}

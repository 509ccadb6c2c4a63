"""Calls of layers of a user's own in a functional model: arguments that hold tensors, in files.

Enters: a node as Keras 3, tf.keras or we wrote it; nothing in a file is trusted. Leaves: the places of its
tensors, and the arguments of the call with numbers in their places (see `kcompile.keras.layers.forms`);
and back.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kcompile.files.problems import Problems
from kcompile.keras.layers.forms import FORM, OPTIONS, filled
from kcompile.keras.layers.operation import OPERAND, operand

__all__ = ["FORM", "translate", "written"]

Place = Callable[[Any], "list[Any] | None"]


def translate(node: Any, call: Any, label: str, problems: Problems, place: Place) -> list[Any] | None:
    """The node as ours; None where its call is a plain one. call: the method of the layer's class."""
    given = _by_name(node, call, place)
    if given is None:
        return None
    places: list[list[Any]] = []

    def numbered(value: Any) -> Any:
        at = place(value)
        if at is not None:
            places.append(at)
            return operand(len(places) - 1)
        if isinstance(value, (list, tuple)):
            return [numbered(part) for part in value]
        return {k: numbered(v) for k, v in value.items()} if isinstance(value, Mapping) else value

    options = {name: given.pop(name) for name in OPTIONS if name in given}
    form = {name: numbered(value) for name, value in given.items()}
    if not places:
        problems.add(f"{label}: a call without tensors")
    options = {name: value for name, value in options.items() if isinstance(value, bool)}
    return [[*at, {FORM: form, **options}] for at in places]


def _by_name(node: Any, call: Any, place: Place) -> dict[str, Any] | None:
    """The arguments of a call by name, with places in them; None for one tensor or a list of them, alone."""
    names = [p.name for p in list(inspect.signature(call).parameters.values())[1:]]
    if isinstance(node, Mapping):
        args, named = list(node.get("args") or []), dict(node.get("kwargs") or {})
        others = [value for key, value in named.items() if key not in OPTIONS and value is not None]
        if len(args) == 1 and not others and _is_plain(args[0], place):
            return None
        return {**dict(zip(names, args)), **named}
    if not isinstance(node, (list, tuple)) or not node or not isinstance(node[0], (list, tuple)):
        return None
    named = dict(node[0][3]) if len(node[0]) == 4 and isinstance(node[0][3], Mapping) else {}
    if FORM in named:  # ours
        return _restored(named, [list(one[:3]) for one in node])
    if not [key for key in named if key not in OPTIONS]:
        return None
    first = [list(one[:3]) for one in node]
    return {names[0]: first[0] if len(first) == 1 else first, **named}


def _is_plain(value: Any, place: Place) -> bool:
    """Whether an argument is a tensor, or a list of them."""
    several = isinstance(value, (list, tuple)) and place(value) is None
    return bool(value) and all(place(part) is not None for part in (value if several else [value]))


def _restored(named: Mapping[str, Any], places: Sequence[list[Any]]) -> dict[str, Any]:
    """The arguments that we wrote, with places in them again."""

    def at(value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("class_name") == OPERAND:
            config = value.get("config")
            number = config.get("index") if isinstance(config, Mapping) else None
            return places[number] if isinstance(number, int) and 0 <= number < len(places) else None
        if isinstance(value, Mapping):
            return {k: at(v) for k, v in value.items()}
        return [at(part) for part in value] if isinstance(value, (list, tuple)) else value

    form = named[FORM]
    made = {str(k): at(v) for k, v in form.items()} if isinstance(form, Mapping) else {}
    return {**made, **{k: v for k, v in named.items() if k != FORM}}


def written(arguments: Mapping[str, Any], tensors: Sequence[Any], newer: bool) -> Any:
    """A call as Keras 3 writes it, or (not newer) as tf.keras, which has further arguments behind each tensor
    of the first. tensors: of the model, as it writes those. A first argument in which tensors are nested
    keeps our form before Keras 3."""
    given = {name: filled(value, tensors) for name, value in arguments[FORM].items()}
    options = {name: value for name, value in arguments.items() if name != FORM}
    first = given.pop(next(iter(given)))
    if newer:
        return {"args": [first], "kwargs": {**given, **options}}
    flat = [first] if first in tensors else first
    if not isinstance(flat, (list, tuple)) or not all(one in tensors for one in flat):
        return [[*tensor, arguments] for tensor in tensors]
    return [[*tensor, {**given, **options}] for tensor in flat]

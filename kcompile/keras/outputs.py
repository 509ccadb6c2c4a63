"""What the outputs of a model are called, and the form in which it gives them.

Enters: outputs as `Model` is given them, or as a `call` returns them: one, a list, a tuple or a dict. Leaves:
the names by which graphs, labels and results know each, and the form. Those of a dict are in the order of its
sorted keys everywhere inside; what a script is given is in its own order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kcompile.keras.editions import edition
from kcompile.keras.layer_weights import unique
from kcompile.keras.operands import map_leaves, numbered_leaves
from kcompile_runtime.errors import ModelError, describe


@dataclass(frozen=True)
class Nested:
    """How outputs are nested: their numbers in their places."""

    numbers: Any


class Outputs:
    """The part of `Model` that is about its outputs. output_keys: the sorted keys of a dict. gives: these in
    the order of the dict; `tuple` where the outputs are one; `Nested` where a `call` gives lists and dicts in
    one."""

    vintage: str
    outputs: list[Any]
    output_keys: tuple[str, ...] | None = None
    gives: Any = None

    @property
    def _nests(self) -> bool:
        """Whether outputs are lists and dicts in one another."""
        return isinstance(self.gives, Nested)

    def _in_places(self, outputs: Sequence[Any]) -> Any:
        """Outputs, nested as `call` nests them."""
        return map_leaves(lambda number: outputs[number], self.gives.numbers)

    @property
    def output_names(self) -> list[str]:
        """Names of the layers the outputs come from; the second of a layer gets "_1" behind it, but in Keras
        3. In Keras 2, which has no dicts of outputs, the keys of one."""
        style = edition(self.vintage)
        if style.operations:
            return [y.name for y in self.outputs]
        return distinct_names(self.outputs) if style.eager else self.output_labels

    @property
    def output_labels(self) -> list[str]:
        """What labels, losses and metrics name the outputs by: the keys of a dict, or names of layers, the
        second of a layer with "_1" behind it."""
        if self.output_keys is not None:
            return list(self.output_keys)
        return distinct_names(self.outputs)

    @property
    def result_names(self) -> list[str]:
        """What begins the names of an output's results: a layer's in tf.keras, of a dict too."""
        by_key = edition(self.vintage).operations and self.output_keys is not None
        return self.output_labels if by_key else self.output_names


def distinct_names(outputs: Sequence[Any]) -> list[str]:
    """The names of tensors; the second of a name gets "_1" behind it."""
    names: list[str] = []
    for y in outputs:
        names.append(unique(y.name, set(names)))
    return names


def form_of(outputs: Any) -> Any:
    """Of a dict of outputs its keys in their order; `tuple`; None for one output and for lists."""
    if isinstance(outputs, Mapping):
        return tuple(outputs)
    return tuple if isinstance(outputs, tuple) else None


def nests(x: Any) -> bool:
    """Whether x is a list, a tuple or a dict that holds others."""
    parts = list(x.values()) if isinstance(x, Mapping) else x if isinstance(x, (list, tuple)) else []
    return any(isinstance(part, (list, tuple, Mapping)) for part in parts)


def nested(outputs: Any) -> tuple[Nested, list[Any]] | None:
    """Of outputs that hold others how they are nested, and all of them; else None."""
    if not nests(outputs):
        return None
    flat, numbers = numbered_leaves(outputs)
    return Nested(numbers), flat


def keys_of(value: Any, what: str) -> tuple[str, ...] | None:
    """The keys of a dict of tensors, sorted as in Keras; None for what is no dict. Raises ModelError."""
    if not isinstance(value, Mapping):
        return None
    if not value or not all(isinstance(key, str) for key in value):
        raise ModelError(describe(f"Model: {what}", "a dict of tensors by name", repr(dict(value))))
    return tuple(sorted(value))

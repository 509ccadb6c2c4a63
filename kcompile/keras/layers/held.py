"""Layers that hold other layers: wrappers, and recurrent layers with their cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kcompile.keras.engine import Layer, Variable
from kcompile.keras.layer_weights import weights_of_others
from kcompile.keras.layers.registry import MOST_NESTED, deserialize
from kcompile.keras.names_of_scripts import NAMES, set_by_script
from kcompile.keras.semantics import Semantics
from kcompile_runtime.errors import ModelError, describe


class Holder(Layer):
    """Its weights are its own and those of `parts`, one part after the other."""

    @property
    def parts(self) -> list[Layer]:
        raise NotImplementedError(f"{type(self).__name__} must say which layers it holds")

    @property
    def trainable_weights(self) -> list[Variable]:
        if not self.trainable:
            return []
        if self.semantics.trained_weights == "own flag":
            return self.flagged_weights
        return [*self._trainable, *(v for part in self.parts for v in part.trainable_weights)]

    @trainable_weights.setter
    def trainable_weights(self, variables: Sequence[Variable]) -> None:
        raise weights_of_others(self)

    @property
    def non_trainable_weights(self) -> list[Variable]:
        if self.semantics.trained_weights == "own flag":
            flagged = {id(v) for v in self.trainable_weights}
            return [v for v in self.weights if id(v) not in flagged]
        if self.trainable:
            fixed = [v for part in self.parts for v in part.non_trainable_weights]
            return [*self._non_trainable, *fixed]
        inner = [v for part in self.parts for v in part.weights]
        return [*self._trainable, *self._non_trainable, *inner]

    @property
    def weights(self) -> list[Variable]:
        if self.semantics.trained_weights == "own flag":  # flags do not move weights
            return [*self._trainable, *self._non_trainable, *(v for part in self.parts for v in part.weights)]
        return super().weights

    @property
    def inside(self) -> Sequence[Layer]:
        return self.parts

    def classes(self) -> dict[str, type]:
        found = super().classes()
        for part in self.parts:
            found |= part.classes()
        return found

    @property
    def state_variables(self) -> list[Variable]:
        return [v for part in self.parts for v in part.state_variables]


def as_layer(owner: Layer, argument: str, value: Any) -> Layer:
    """A layer, or the layer of a configuration. Raises ModelError naming the owner."""
    if isinstance(value, Mapping):
        value = deserialize(value)
    if not isinstance(value, Layer):
        raise ModelError(describe(f"{owner.label}: {argument}", "a layer", repr(value)))
    check_nesting(owner, [value])
    return value


def layers_in(value: Any, semantics: Semantics) -> Iterator[Layer]:
    """The layers in a value, and in lists, tuples and dicts, in the order of a vintage."""
    if isinstance(value, Layer):
        yield value
    elif isinstance(value, dict):
        by_key = semantics.layers_in_layers == "nested by key"
        for key in sorted(value, key=str) if by_key else value:
            yield from layers_in(value[key], semantics)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from layers_in(part, semantics)


def forget_place(owner: Layer, name: str, value: Any) -> None:
    """Before an attribute is set that held no layers so far (`self.x = None`): those that it gets now stand
    behind those of other attributes, as every Keras has them."""
    old = vars(owner).get(name, owner)
    if old is owner or (name in NAMES and name not in set_by_script(owner)):
        return
    layers, before = (next(layers_in(v, owner.semantics), None) for v in (value, old))
    if layers is not None and before is None:
        del vars(owner)[name]


def check_nesting(owner: Layer, held: Iterable[Layer]) -> None:
    """Raises ModelError where these layers, inside the owner, hold others in turn too deep. Level by level: a
    layer held twice counts once in each, so this is quick where calls double with each level."""
    level, depth = list(held), 0
    while level := list({id(inner): inner for layer in level for inner in layer.inside}.values()):
        depth += 1
        if depth >= MOST_NESTED:
            raise ModelError(
                describe(
                    owner.label,
                    f"models and wrappers nested at most {MOST_NESTED} deep",
                    "more",
                    "Call the layers of the inner models directly",
                )
            )

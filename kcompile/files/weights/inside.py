"""Layers inside layers: which have the weights, and how Keras 3 names their groups.

Enters: a layer, a wrapper or a model, of ours or of a live Keras. Leaves: the layers that it holds, and the
weights that are its own. Which attributes of a class hold layers is in the table `HELD`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kcompile.keras.engine import Layer, Variable, as_list
from kcompile.keras.layers.custom import Custom
from kcompile.keras.models import Model, Sequential
from kcompile.keras.names_of_scripts import kept_for_us
from kcompile.keras.settings import snake_case

Variables = list[Variable]

# Layers that hold layers: the attributes that have the weights, in their order. Keras 3 names groups so.
HELD: dict[str, tuple[str, ...]] = {
    "Bidirectional": ("forward_layer", "backward_layer"),
    "GRU": ("cell",),
    "LSTM": ("cell",),
    "RNN": ("cell",),
    "SimpleRNN": ("cell",),
    "ConvLSTM2D": ("cell",),
    "SpectralNormalization": ("layer",),
    "Pipeline": ("layers",),
    "TimeDistributed": ("layer",),
    "StackedRNNCells": ("cells",),
    "Wrapper": ("layer",),
    "MultiHeadAttention": ("query_dense", "key_dense", "_gate_dense", "value_dense", "output_dense"),
    "GroupedQueryAttention": ("_query_dense", "_key_dense", "_gate_dense", "_value_dense", "_output_dense"),
}


def holders(layer: Any) -> tuple[str, ...]:
    """The attributes of a wrapper or a recurrent layer that hold layers."""
    return next((HELD[c.__name__] for c in type(layer).__mro__ if c.__name__ in HELD), ())


def held_by(layer: Any, name: str) -> list[Any]:
    """The layers in an attribute that may hold some."""
    inner = getattr(layer, name, None)
    return [] if inner is None else as_list(inner)


def held(layer: Any) -> list[tuple[str, Any]]:
    """The layers that a wrapper or a recurrent layer holds, each with its place below the group that
    Keras 3 gives to the layer."""
    found: list[tuple[str, Any]] = []
    if isinstance(layer, Custom):
        kept = {id(part) for part in layer.parts}
        # the constructor's arguments are no attribute
        for name in _sorted(k for k in vars(layer) if k != "_given" and not kept_for_us(k)):
            found += [(place, part) for place, part in _placed(name, vars(layer)[name]) if id(part) in kept]
        return found
    for name in holders(layer):
        inner = getattr(layer, name, None)
        if inner is None:
            continue
        several = isinstance(inner, (list, tuple))
        found += (
            [(f"{name}/{below}", part) for below, part in zip(path_names(inner), inner)]
            if several
            else [(name, inner)]
        )
    return found


def own_variables(layer: Any) -> Variables:
    """The weights of a layer that are not of the layers inside it, or that it counts among its own too."""
    if isinstance(layer, Model):
        return [*layer._trainable, *layer._non_trainable]
    others = {id(v) for _, part in held(layer) for v in part.weights}
    others -= {id(v) for v in getattr(layer, "repeated", ())}
    others |= {id(v) for v in getattr(layer, "adapters", ())}  # which archives hold as a part of the kernel
    return [v for v in layer.weights if id(v) not in others]


def groups(layer: Any, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """A model by subclassing and all layers in it, each once, with the group that Keras 3 gives it: by the
    attribute that holds it, in the order of names; by class and number in lists, dicts and other models."""
    seen = set() if seen is None else seen
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield path, layer
    for place, inner in _children(layer):
        yield from groups(inner, f"{path}/{place}" if path else place, seen)


def _children(layer: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(layer, Model):
        yield from held(layer)
        return
    attributes = {"layers": layer._layers, **getattr(layer, "attributes", {})}
    for name in _sorted(attributes):
        yield from _placed(name, attributes[name])


def _sorted(names: Iterable[str]) -> list[str]:
    """Names of attributes, in the order in which Keras 3 writes them."""
    return sorted(names, key=lambda name: f"~{name}" if name.startswith("_") else name)


def _placed(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The layers in the value of an attribute, with their places."""
    if isinstance(value, Layer):
        yield place, value
    elif isinstance(value, (list, tuple, dict)):
        parts = list(value.values() if isinstance(value, dict) else value)
        kept = [part for part in parts if isinstance(part, (Layer, list, tuple, dict))]
        for name, part in zip(path_names(kept), kept):
            yield from _placed(f"{place}/{name}", part)


def run_inside(layer: Any) -> list[Any] | None:
    """The layers of a model, or the model that a wrapper is around; None for any other layer."""
    if isinstance(layer, Model):
        return list(layer._layers)
    inner = getattr(layer, "layer", None)
    return [inner] if isinstance(inner, Model) else None


def inner_layers(layer: Any) -> list[Any]:
    """The layers inside a wrapper that have its weights, in their order."""
    pair = [getattr(layer, name, None) for name in ("forward_layer", "backward_layer")]
    if all(isinstance(part, Layer) for part in pair):
        return pair
    inner = getattr(layer, "layer", None)
    return [inner] if isinstance(inner, Layer) else []


def all_layers(model: Any) -> list[Any]:
    """The layers of a model, of the models inside it, and of their wrappers."""
    found: list[Any] = []
    waiting = list(model._layers)
    while waiting:
        layer = waiting.pop(0)
        waiting = [*(layer._layers if isinstance(layer, Model) else inner_layers(layer)), *waiting]
        found.append(layer)
    return found


def path_names(layers: Sequence[Any]) -> list[str]:
    """The names Keras 3 gives to the groups of layers: the class, with a number behind."""
    used: dict[str, int] = {}
    names = []
    for layer in layers:
        name = class_group(layer)
        names.append(f"{name}_{used[name]}" if name in used else name)
        used[name] = used.get(name, 0) + 1
    return names


def class_group(layer: Any) -> str:
    if isinstance(layer, (list, tuple, dict)):
        return "container"
    if isinstance(layer, Model):
        merged = isinstance(layer, Sequential) and layer.functional  # it is read again as a Model
        if type(layer) is Model or merged:
            return "functional"
    return snake_case(type(layer).__name__, "keras3")

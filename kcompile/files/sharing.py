"""Layers that stand in several places of a configuration and are one.

Enters: a configuration, with the live model that it is of, or with what Keras 3 says in a file. Leaves: the
same configuration, in which the entries of one layer have one number under `SHARED`, by which
`kcompile.keras.layers.deserialize` makes the layer once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from kcompile.keras.layers.registry import SHARED

# Arguments that are layers, or lists of them.
HELD = ("layer", "layers", "backward_layer", "cell", "cells")


def mark_live(entry: dict[str, Any], live: Any) -> None:
    """Mark what is one object in the live model."""
    found = list(with_live(entry, live))
    counts = Counter(id(layer) for _, layer in found)
    for part, layer in found:
        if counts[id(layer)] > 1:
            part[SHARED] = id(layer)


def mark_said(entry: dict[str, Any]) -> None:
    """Mark what the file says is one object. Keras 3 says it from the second place on (at the first one it is
    lost in a model inside), so the only other layer of the same class, name and arguments is meant too."""
    said: dict[str, list[dict[str, Any]]] = {}
    others: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for part in _parts(entry):
        part.pop(SHARED, None)  # no file says it
        if "shared_object_id" in part:
            said.setdefault(repr(part["shared_object_id"]), []).append(part)
        else:
            others.setdefault((part["class_name"], repr(_name(part))), []).append(part)
    for number, parts in enumerate(said.values()):
        arguments = _unmarked(parts[0]["config"])
        alike = [
            part
            for part in others.get((parts[0]["class_name"], repr(_name(parts[0]))), ())
            if _unmarked(part["config"]) == arguments
        ]
        for part in parts + (alike if len(alike) == 1 else []):
            if part["class_name"] == parts[0]["class_name"] and _unmarked(part["config"]) == arguments:
                part[SHARED] = number


def _unmarked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _unmarked(v) for k, v in value.items() if k not in ("shared_object_id", SHARED)}
    return [_unmarked(v) for v in value] if isinstance(value, list) else value


def with_live(entry: Any, live: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """Each layer in a configuration with the live one."""
    config = entry.get("config")
    if not isinstance(config, Mapping):
        return
    inside = (
        [(part, None) for part in config["layers"]]
        if isinstance(config.get("layers"), list)
        else [
            pair for key in HELD for pair in zip(_listed(config.get(key)), _listed(getattr(live, key, None)))
        ]
    )
    named = {layer.name: layer for layer in getattr(live, "layers", ())}
    for part, layer in inside:
        layer = named.get(_name(part)) if layer is None and isinstance(part, Mapping) else layer
        if layer is not None and _is_layer(part):
            yield part, layer
            yield from with_live(part, layer)


def _parts(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each layer in a configuration."""
    config = entry.get("config")
    if isinstance(config, Mapping):
        for key in HELD:
            for part in _listed(config.get(key)):
                if _is_layer(part):
                    yield part
                    yield from _parts(part)


def _is_layer(part: Any) -> bool:
    """An input has no weights, and is called by nobody."""
    return (
        isinstance(part, dict)
        and isinstance(part.get("class_name"), str)
        and (part["class_name"] != "InputLayer" and isinstance(part.get("config"), Mapping))
    )


def _name(part: Mapping[str, Any]) -> Any:
    config = part.get("config")
    name = config.get("name") if isinstance(config, Mapping) else None
    return part.get("name", name)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]

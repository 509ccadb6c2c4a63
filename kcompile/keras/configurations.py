"""Models from configurations: layers made, and called as the configuration lists it.

Enters: entries of a model's configuration, as `get_config` gives them. Leaves: layers that are connected, or
one message that tells all that is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompile.keras.engine import KerasTensor, Layer
from kcompile.keras.layers.custom import Custom
from kcompile.keras.layers.registry import deserialize
from kcompile_runtime.errors import ModelError, UnsupportedError, describe


def check_config(config: Any, *keys: str) -> None:
    """Raise ModelError unless the configuration of a model has lists under these keys."""
    if not isinstance(config, Mapping) or not all(isinstance(config.get(key), (list, tuple)) for key in keys):
        raise ModelError(
            describe("from_config", f"a dict with lists of {', '.join(keys)}", repr(config)[:200])
        )


def own_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in ("name", "trainable", "dtype", "vintage") if key in config}


def make_layers(entries: Sequence[Mapping[str, Any]]) -> list[Layer]:
    """The layers of configurations. Raises one error for all that is wrong with any of them."""
    made, errors = [], []
    for entry in entries:
        try:
            layer = deserialize(entry)
            if isinstance(layer, Custom) and "name" in entry:  # Keras 3's own configuration has no name
                layer.name = entry["name"]
            if "build_config" in entry:  # of a class that is built by more than a shape
                layer.build_from_config(entry["build_config"])
            made.append(layer)
        except (ModelError, UnsupportedError) as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UnsupportedError(
            f"the model has {len(errors)} layers that cannot be made:\n"
            + "\n".join(f"- {error}" for error in errors)
        )
    return made


def replay(made: Mapping[str, Layer], entries: Sequence[Mapping[str, Any]], first: Mapping[str, int]) -> None:
    """Call the layers as the configuration lists it, each call as soon as its inputs are there. first: by the
    name of a layer, how often it was called before, on which the configuration does not count."""
    waiting = [
        (e["name"], number, call) for e in entries for number, call in enumerate(e.get("inbound_nodes", ()))
    ]
    while waiting:
        later: list[tuple[str, int, Any]] = []
        for name, number, call in waiting:
            before = any(n == name and k < number for n, k, _ in later)
            if before or not all(_exists(made, place, first) for place in call):
                later.append((name, number, call))
                continue
            tensors = [tensor_at(made, place, first) for place in call]
            arguments = call[0][3] if len(call[0]) > 3 else {}
            several = len(tensors) > 1 or made[name].wants_list
            made[name](tensors if several else tensors[0], **arguments)
        if len(later) == len(waiting):
            names = ", ".join(sorted({name for name, _, _ in later}))
            raise ModelError(f"configuration: the inputs of these layers are nowhere made: {names}")
        waiting = later


def _exists(made: Mapping[str, Layer], place: Sequence[Any], first: Mapping[str, int]) -> bool:
    return place[0] in made and place[1] + first[place[0]] < len(made[place[0]].nodes_made)


def tensor_at(made: Mapping[str, Layer], place: Sequence[Any], first: Mapping[str, int]) -> KerasTensor:
    name, node, index = place[:3]
    if _exists(made, place, first):
        outputs = made[name].nodes_made[node + first[name]].outputs
        if index < len(outputs):
            return outputs[index]
    raise ModelError(describe("configuration", "tensors that its layers make", str(place)))

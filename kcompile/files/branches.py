"""Sequential models of Keras 1 that begin with a Merge of other models, as functional ones.

Enters: the list of layers of such a model. Leaves: the configuration of a functional model: the layers
of the branches and those behind, with the calls between them. Keras 1 stored the weights of all of them
by name, so that they find their layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kcompile_runtime.errors import ModelError, describe

Config = dict[str, Any]
Place = list[Any]  # [layer, node, tensor]


def has_branches(layers: Any) -> bool:
    """Whether the first layer is a Merge that holds models (or the first of those in it is)."""
    first = layers[0] if isinstance(layers, list) and layers else None
    if not isinstance(first, Mapping) or first.get("class_name") != "Merge":
        return False
    config = first.get("config")
    return isinstance(config, Mapping) and bool(config.get("layers"))


def as_functional(layers: Sequence[Any], upgrade: Callable[[Any], Config], name: Any) -> Config:
    """The model of these layers. upgrade: the configuration of a layer in the words of Keras 2. Raises
    ModelError."""
    made = _Calls(upgrade)
    output = made.chain(layers)
    return {
        "class_name": "Model",
        "config": {
            "name": name,
            "layers": made.layers,
            "input_layers": made.inputs,
            "output_layers": [output],
        },
    }


class _Calls:
    """Layers, each called once, and where the inputs are."""

    def __init__(self, upgrade: Callable[[Any], Config]) -> None:
        self.upgrade = upgrade
        self.layers: list[Config] = []
        self.inputs: list[Place] = []

    def chain(self, layers: Any) -> Place:
        """The layers one after the other, from an input of their own."""
        if not isinstance(layers, list) or not layers:
            raise ModelError(describe("configuration of a Merge", "models with layers", repr(layers)[:80]))
        first, *rest = layers
        if has_branches(layers):
            places = [self.branch(entry) for entry in first["config"]["layers"]]
            alone = {key: value for key, value in first["config"].items() if key != "layers"}
            place = self.call(self.upgrade({"class_name": "Merge", "config": alone}), places)
        else:
            place = self.start(self.upgrade(first))
        for entry in rest:
            place = self.call(self.upgrade(entry), [place])
        return place

    def branch(self, entry: Any) -> Place:
        """A model, or a layer with an input of its own."""
        kind, config = (
            entry.get(key) if isinstance(entry, Mapping) else None for key in ("class_name", "config")
        )
        if kind == "Sequential":
            return self.chain(config.get("layers") if isinstance(config, Mapping) else config)
        if kind == "Model":
            config = self.upgrade(entry)["config"]
            self.layers += config["layers"]
            self.inputs += config["input_layers"]
            place: Place = config["output_layers"][0]
            return place
        return self.start(self.upgrade(entry))

    def start(self, entry: Config) -> Place:
        """The first layer, called on the input that it speaks of."""
        config = entry["config"]
        if entry["class_name"] == "InputLayer":
            self.inputs.append(self.call(entry, []))
            return self.inputs[-1]
        shape = config.get("batch_input_shape")
        if not isinstance(shape, (list, tuple)):
            raise ModelError(
                describe(
                    f"configuration of {config.get('name')!r}, the first layer in a branch of a Merge",
                    "a batch_input_shape",
                    repr(shape),
                )
            )
        made = {
            "batch_input_shape": list(shape),
            "dtype": config.get("dtype", "float32"),
            "name": f"{config.get('name')}_input",
        }
        self.inputs.append(self.call({"class_name": "InputLayer", "config": made}, []))
        return self.call(entry, self.inputs[-1:])

    def call(self, entry: Config, places: list[Place]) -> Place:
        config = entry["config"]
        inside = "layers" in config  # a model counts its calls from 1, as it is its own first
        if inside and not config.get("name"):
            config["name"] = f"model_{len(self.layers)}"
        name = config.get("name")
        calls = [[[*place, {}] for place in places]] if places else []
        self.layers.append({**entry, "name": name, "inbound_nodes": calls})
        return [name, int(inside), 0]

"""Functional models as configurations: the layers, and the calls that put them together.

Enters: a model, or a configuration of Keras 2's form. Leaves: the other of the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompile.keras import settings
from kcompile.keras.configurations import check_config, make_layers, own_arguments, replay, tensor_at
from kcompile.keras.engine import KerasTensor, Layer, Node
from kcompile.keras.inputs import InputLayer
from kcompile.keras.policies import DEFAULT_POLICY
from kcompile.keras.utils.serialization import custom_object_scope, serialize


class Configured:
    """The part of a model that is about its configuration."""

    name: str
    trainable: bool
    vintage: str
    dtype_policy: Any
    nodes: list[Node]
    inputs: list[KerasTensor]
    outputs: list[KerasTensor]
    _layers: list[Layer]
    trainer: Any
    input_keys: tuple[str, ...] | None
    output_keys: tuple[str, ...] | None

    def get_config(self) -> dict[str, Any]:
        """Layers with the calls they are in, as Keras 2 writes it. `from_config` reads it."""
        renumbered = self._node_numbers()
        nodes = sorted(self.nodes, key=lambda node: node.index)  # the n-th listed is the one numbered n

        def place(x: KerasTensor) -> list[Any]:
            return [x.layer.name, renumbered[id(x.node)], x.tensor_index]

        entries = []
        for layer in self._layers:
            calls = [
                [[*place(x), serialize(node.arguments)] for x in node.inputs]
                for node in nodes
                if node.layer is layer and node.inputs
            ]
            entries.append(
                {
                    "name": layer.name,
                    "class_name": type(layer).__name__,
                    "config": layer.get_config(),
                    "inbound_nodes": calls,
                }
            )
        return {
            **self._own_config(),
            "layers": entries,
            "input_layers": [place(x) for x in self.inputs],
            "output_layers": [place(y) for y in self._by_key().values()],
        }

    def _own_config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        if self.dtype_policy.name != DEFAULT_POLICY:
            config["dtype"] = self.dtype_policy.name
        if self.input_keys is not None:
            config["input_keys"] = list(self.input_keys)
        if self.output_keys is not None:
            config["output_keys"] = list(self._by_key())
        return config if self.vintage == settings.vintage() else {**config, "vintage": self.vintage}

    def _by_key(self) -> dict[Any, Any]:
        """The outputs in the order in which the model gives them, by the keys of a dict or by numbers."""
        keys = range(len(self.outputs)) if self.output_keys is None else self.output_keys
        found: dict[Any, Any] = self.trainer.in_order(dict(zip(keys, self.outputs)))
        return found

    def _node_numbers(self) -> dict[int, int]:
        """Numbers of nodes among those of this model; a model inside starts at 1, after its own."""
        counts: dict[int, int] = {}
        numbers = {}
        for node in sorted(self.nodes, key=lambda node: node.index):
            first = 1 if isinstance(node.layer, Configured) else 0
            numbers[id(node)] = counts.get(id(node.layer), first)
            counts[id(node.layer)] = numbers[id(node)] + 1
        return numbers

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        custom_objects: Mapping[str, Any] | None = None,
        inputs: Mapping[str, KerasTensor] | None = None,
    ) -> Any:
        """The model of a configuration, with fresh weights. inputs: by the names of input layers, tensors
        that take their place. Raises UnsupportedError, in one message for all layers and arguments that
        are not supported."""
        check_config(config, "layers", "input_layers", "output_layers")
        with custom_object_scope(custom_objects):
            made = dict(zip((e["name"] for e in config["layers"]), make_layers(config["layers"])))
            made.update((name, x.layer) for name, x in (inputs or {}).items())
            # A layer that another model has too was called there before
            first = {name: _calls(layer) for name, layer in made.items()}
            replay(made, config["layers"], first)

        def tensors(places: Sequence[Any]) -> list[KerasTensor]:
            # One place alone may stand without the list around it
            places = [places] if places and isinstance(places[0], str) else places
            return [tensor_at(made, place, first) for place in places]

        ends: list[Any] = [
            tensors(config[f"{kind}_layers"])
            if config.get(f"{kind}_keys") is None
            else dict(zip(config[f"{kind}_keys"], tensors(config[f"{kind}_layers"])))
            for kind in ("input", "output")
        ]
        make: Any = cls
        model = make(ends[0], ends[1], **own_arguments(config))
        if model.semantics.losses_bring_layers:
            others = [
                y
                for name, layer in made.items()
                if layer not in model._layers
                for node in layer.nodes_made[first[name] :]
                for y in node.outputs
            ]
            model._take([y for y in others if not model._foreign_inputs([y])])
        return model


def _calls(layer: Layer) -> int:
    """How often a layer has been called; that an input and a model make their tensors is no call."""
    return max(0, len(layer.nodes_made) - isinstance(layer, (InputLayer, Configured)))

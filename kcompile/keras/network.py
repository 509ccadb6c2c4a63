"""A model as what it is made of: its states, its ends, its graph run on other tensors.

Enters: the layers and tensors of a model. Leaves: what Keras 2 shows of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.keras.layer_weights import distinct
from kcompile.keras.tensors import KerasTensor, Node, Variable, as_list, one_or_list


class Network:
    """The part of `Model` that is about states and ends."""

    inputs: list[KerasTensor]
    outputs: list[KerasTensor]
    nodes_made: list[Node]
    _layers: list[Any]

    @property
    def state_variables(self) -> list[Variable]:
        return distinct(v for layer in self._layers for v in layer.state_variables)

    @property
    def stateful(self) -> bool:
        """Whether a layer keeps its state from one batch to the next."""
        return bool(self.state_variables)

    def reset_states(self) -> None:
        """Set the states of all stateful layers to zeros."""
        for variable in self.state_variables:
            variable.assign(np.zeros(variable.shape))

    @property
    def state_updates(self) -> list[Any]:
        """The updates of layers that keep their state."""
        return [update for layer in self._layers if layer.stateful for update in layer.updates]

    @property
    def _input_layers(self) -> list[Any]:
        return [x.layer for x in self.inputs]

    @property
    def _output_layers(self) -> list[Any]:
        return [y.layer for y in self.outputs]

    def run_internal_graph(self, inputs: Any, masks: Any = None) -> tuple[Any, Any, Any]:
        """(outputs, their masks, their shapes) for other inputs, tensors of K; masks: of the inputs."""
        model: Any = self
        given = one_or_list(as_list(inputs))
        outputs = as_list(model.call(given))
        masks = [model.compute_mask(given, None if masks is None else one_or_list(as_list(masks)))]
        return one_or_list(outputs), one_or_list(masks), one_or_list([y.shape for y in outputs])

    def _own_calls(self) -> list[Node]:
        """Itself: what other calls add belongs to the models that they are in."""
        return [node for node in self.nodes_made[:1] if node.inputs]

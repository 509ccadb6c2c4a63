"""The calls of a layer, as Keras shows them: inputs and outputs, and their shapes, of each node.

Enters: the nodes that a layer's calls left. Leaves: tensors of a model, and their shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kcompile.keras.layer_arguments import Arguments
from kcompile.keras.tensors import Node, as_list, is_integer, mask_of, one_or_list
from kcompile_runtime.errors import ModelError, describe


class Nodes(Arguments):
    """The part of `Layer` that is about its calls."""

    nodes_made: list[Node]
    consumers: list[Node]  # the calls of layers on its outputs
    consumes = True  # whether its calls are among the consumers of others

    def get_input_at(self, node_index: int) -> Any:
        return self._at(node_index, "input")

    def get_output_at(self, node_index: int) -> Any:
        return self._at(node_index, "output")

    def get_input_shape_at(self, node_index: int) -> Any:
        return _shapes(self._at(node_index, "input shape"))

    def get_output_shape_at(self, node_index: int) -> Any:
        return _shapes(self._at(node_index, "output shape"))

    @property
    def input(self) -> Any:
        return self.get_input_at(self._only("input"))

    @property
    def output(self) -> Any:
        return self.get_output_at(self._only("output"))

    @property
    def input_shape(self) -> Any:
        return self._common("input_shape", self.get_input_shape_at)

    @property
    def output_shape(self) -> Any:
        return self._common("output_shape", self.get_output_shape_at)

    @property
    def uses_learning_phase(self) -> bool:
        """Whether an output differs between training and inference."""
        return any(x._uses_learning_phase for node in self.nodes_made for x in node.outputs)

    def get_input_mask_at(self, node_index: int) -> Any:
        return one_or_list([mask_of(x) for x in as_list(self._at(node_index, "input mask"))])

    def get_output_mask_at(self, node_index: int) -> Any:
        return one_or_list([mask_of(x) for x in as_list(self._at(node_index, "output mask"))])

    @property
    def input_mask(self) -> Any:
        return self.get_input_mask_at(self._only("input mask"))

    @property
    def output_mask(self) -> Any:
        return self.get_output_mask_at(self._only("output mask"))

    @property
    def _inbound_nodes(self) -> list[Node]:
        return self.nodes_made

    @property
    def _outbound_nodes(self) -> list[Node]:
        return self.consumers

    def _at(self, index: int, what: str) -> Any:
        if not self.nodes_made:
            raise RuntimeError(f"{self.label} was never called, and so has no {what}")
        if not is_integer(index) or not -len(self.nodes_made) <= index < len(self.nodes_made):
            raise ModelError(
                describe(
                    f"{self.label}: {what} at a node", f"an index below {len(self.nodes_made)}", repr(index)
                )
            )
        node = self.nodes_made[index]
        if what.startswith("output"):
            return one_or_list(node.outputs)
        # An Input is its own input, as Keras has it
        return one_or_list(node.inputs or node.outputs)

    def _only(self, what: str) -> int:
        if len(self.nodes_made) > 1:
            raise AttributeError(
                f"{self.label} was called {len(self.nodes_made)} times, so it has "
                f"no single {what}. Use get_{what}_at(node_index)"
            )
        if not self.nodes_made:
            raise AttributeError(f"{self.label} was never called, and so has no {what}")
        return 0

    def _common(self, what: str, at: Callable[[int], Any]) -> Any:
        if not self.nodes_made:
            raise AttributeError(f"{self.label} was never called, and so has no {what}")
        found = [at(i) for i in range(len(self.nodes_made))]
        if any(shape != found[0] for shape in found):
            raise AttributeError(
                f"{self.label} has nodes with different {what}s. Use get_{what}_at(node_index)"
            )
        return found[0]


def _shapes(tensors: Any) -> Any:
    return one_or_list([x.shape for x in as_list(tensors)])

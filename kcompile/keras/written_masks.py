"""Masks that Keras 3 writes into the calls of a functional model, and those that tensors have as it runs.

Enters: the calls of a model, in their order, and their values. Leaves: the tensors of each call with the
masks that it sees. Both are the same until a MultiHeadAttention runs, which takes the masks off its tensors
(`Semantics.attention_takes_masks`): calls that come later find none there. A call on one tensor, whose
layer takes a `mask`, was given it when the model was made, and keeps it. Keras 3: layers/layer.py, __call__,
step 6.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kcompile.ir.graph import Value
from kcompile.ir.tensor import Tensor, emit

if TYPE_CHECKING:
    from kcompile.keras.engine import Layer
    from kcompile.keras.tensors import Node

COUNT = "given_masks"  # an argument of a node: how many of its inputs, the last ones, are masks


class WrittenMasks:
    """The masks of one run of a model's calls. masks: those of the trace, by value."""

    def __init__(self, masks: dict[Value, Tensor]) -> None:
        self.masks = masks
        self.written: dict[Value, Tensor | None] = {}

    def operands(self, node: Node, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The inputs of a call, with the masks that were written into it."""
        if not (node.single and _takes_written(node.layer)):
            return list(inputs)
        return [
            x if mask is None else marked(self.masks, x, mask, [x])
            for x, mask in zip(inputs, self._written(inputs))
        ]

    def note(self, node: Node, inputs: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        """Keeps the masks that the results would have, had no mask been taken off."""
        found, written = [self.masks.get(x.value) for x in inputs], self._written(inputs)
        made: Sequence[Tensor | None] = [self.masks.get(y.value) for y in results]
        if COUNT not in node.arguments and any(w is not f for w, f in zip(written, found)):
            made = node.layer.output_masks(inputs, node.single, written, results)
        self.written.update((y.value, mask) for y, mask in zip(results, made))

    def _written(self, tensors: Sequence[Tensor]) -> list[Tensor | None]:
        return [self.written.get(x.value) for x in tensors]


def marked(masks: dict[Value, Tensor], y: Tensor, mask: Tensor | None, inputs: Sequence[Tensor]) -> Tensor:
    """y, with this mask among `masks`: another value, where y is an input that has another mask."""
    if masks.get(y.value) is not mask:
        if y.value in [x.value for x in inputs]:
            y = emit("reshape", [y], shape=y.shape)
        masks.pop(y.value, None)
        if mask is not None:
            masks[y.value] = mask
    return y


def _takes_written(layer: Layer) -> bool:
    """Whether its call takes a mask in Keras 3."""
    named = layer.takes_mask or "mask" in inspect.signature(layer.call).parameters
    return named and not layer.masks_of_tensors

"""Cells that are called by themselves: `output, states = cell(inputs, states)`, one step.

Enters: tensors of a model, symbolic tensors or arrays; the states as one, a list, or (of stacked cells) a
list of lists. Leaves: the output, and the new states nested as the given ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcompile.ir.tensor import Tensor
from kcompile.ir.types import TensorType
from kcompile.keras.engine import KerasShape, Layer
from kcompile.keras.operands import leaves, map_leaves


class CalledCell(Layer):
    """Base of cells: see the module."""

    _by_itself = False  # whether a script is calling the cell

    def __call__(self, inputs: Any, states: Any = None, **arguments: Any) -> Any:
        if states is None:
            return super().__call__(inputs, **arguments)
        given, before = list(leaves([states])), self._by_itself
        self._by_itself = True
        try:
            found = super().__call__([inputs, *given], **arguments)
        finally:
            self._by_itself = before
        new = iter(found[1:])
        return found[0], map_leaves(lambda _: next(new), states)

    def _called(self, inputs: Sequence[Tensor], single: bool, given: dict[str, Any]) -> list[Any]:
        if single:
            return super()._called(inputs, single, given)
        output, states = self.call(inputs[0], list(inputs[1:]), **given)
        return [output, *leaves([states])]

    def _build_on(
        self, shapes: list[KerasShape], types: Sequence[TensorType], single: bool, batch_size: int | None
    ) -> None:
        if self._by_itself:  # and not by a layer over it, which may give constants beside the inputs
            return super()._build_on(shapes[:1], types, True, batch_size)
        return super()._build_on(shapes, types, single, batch_size)

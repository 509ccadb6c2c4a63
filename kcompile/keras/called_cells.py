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

    def __call__(self, inputs: Any, states: Any = None, **arguments: Any) -> Any:
        if states is None:
            return super().__call__(inputs, **arguments)
        given = list(leaves([states]))
        found = super().__call__([inputs, *given], **arguments)
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
        super()._build_on(shapes if single else shapes[:1], types, True, batch_size)

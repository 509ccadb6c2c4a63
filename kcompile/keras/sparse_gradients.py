"""Gradients of tables of which a batch names some rows, as an Embedding's: TensorFlow's IndexedSlices.

Enters: the gradient of a variable in the graph of a step. Leaves: the values that were added up to it, one
for each place that names a row. In tf.keras limits count these, and some optimizers leave the other rows
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from kcompile.ir import ops
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import Dim, numel

# What tapes gave as gradients of variables; the sum of rows by numbers is no gradient by itself
_OF_TAPES: WeakKeyDictionary[Graph, set[Value]] = WeakKeyDictionary()


def of_tape(gradient: Tensor) -> Tensor:
    """The gradient of a variable that a tape gives, which functions of tf.clip_by_* know then."""
    _OF_TAPES.setdefault(gradient.graph, set()).add(gradient.value)
    return gradient


def is_of_tape(x: Any) -> bool:
    """Whether a tape gave x as the gradient of a variable."""
    return isinstance(x, Tensor) and x.value in _OF_TAPES.get(x.graph, ())


@dataclass(frozen=True)
class IndexedSlices:
    """values [places, d...], which are added up at the rows that indices [places] name: [rows, d...]."""

    values: Tensor
    indices: Tensor
    rows: Dim

    def added_up(self) -> Tensor:
        """The dense gradient."""
        return ops.scatter_rows(self.values, self.indices, self.rows)


def slices_of(gradient: Tensor) -> tuple[IndexedSlices, ...]:
    """The slices whose sum a gradient is; none where the sum has any other term."""
    graph, found = gradient.graph, []
    pending: list[tuple[Tensor, tuple[tuple[Node, int], ...]]] = [(gradient, ())]
    while pending:
        term, around = pending.pop()
        node = graph.nodes[term.value.node]
        inputs = [Tensor(graph, v) for v in node.inputs]
        slot = _scaled(node, inputs)
        if node.op.name == "scatter_rows":
            values, indices = inputs
            count = numel(indices.shape)
            flat = ops.reshape(values, (count, *values.shape[indices.rank :]))
            for scale, at in reversed(around):
                operands = [flat if i == at else Tensor(graph, v) for i, v in enumerate(scale.inputs)]
                flat = emit(scale.op, operands, **scale.attrs)
            found.append(IndexedSlices(flat, ops.reshape(indices, (count,)), node.attrs["rows"]))
        elif node.op.signs and all(sign > 0 for sign in node.op.signs):
            pending += [(x, around) for x in reversed(inputs)]
        elif slot is not None:
            pending.append((inputs[slot], (*around, (node, slot))))
        else:
            return ()
    return tuple(found)


def _scaled(node: Node, inputs: list[Tensor]) -> int | None:
    """Which operand an elementwise op multiplies by scalars; None where it does not."""
    if node.op.kind != "elementwise" or node.op.signs:
        return None
    shape = node.types[0].shape
    for slot in node.op.linear:
        others = [x for i, x in enumerate(inputs) if i != slot]
        if inputs[slot].shape == shape and all(numel(x.shape) == 1 for x in others):
            return slot
    return None


def square_sum(gradient: Tensor, each: bool) -> Tensor:
    """The sum of squares. each: of the slices' values, as they are before they are added up."""
    parts = [slices.values for slices in slices_of(gradient)] if each else []
    sums = [ops.reduce_sum(ops.square(x)) for x in parts or [gradient]]
    return sum(sums[1:], start=sums[0])


def limited(gradient: Tensor, limit: float, each: bool) -> Tensor:
    """The gradient within [-limit, limit]. each: as are the slices' values, before they are added up."""
    parts = slices_of(gradient) if each else ()
    if not parts:
        return ops.clip(gradient, -limit, limit)
    return of_values(parts, lambda x: ops.clip(x, -limit, limit))


def of_values(parts: Sequence[IndexedSlices], function: Callable[[Tensor], Tensor]) -> Tensor:
    """The dense gradient of a function of slices' values."""
    sums = [IndexedSlices(function(x.values), x.indices, x.rows).added_up() for x in parts]
    return sum(sums[1:], start=sums[0])


def named_rows(gradient: Tensor) -> Tensor | None:
    """Whether a batch names each row, bool [rows, 1...]; None where the gradient is dense."""
    counts: Tensor | None = None
    for slices in slices_of(gradient):
        ones = ops.cast(ops.equal(slices.indices, slices.indices), "float32")
        count = IndexedSlices(ones, slices.indices, slices.rows).added_up()
        counts = count if counts is None else counts + count
    if counts is None:
        return None
    return ops.reshape(counts > 0.5, (*counts.shape, *[1] * (gradient.rank - 1)))

"""compact_scatters: a table's gradient, most of whose rows are zero, is not made.

    sums = the values of each number added up at the first place where it occurs, zeros elsewhere

    p - f(scatter_rows(values, indices))  ->  scatter_add(p, -f(sums), indices)      as the update of p
    reduce_sum(f(scatter_rows(...)))      ->  reduce_sum(f(sums))
    any other elementwise use of it       ->  of masked_gather(sums, places)

where f gives 0 for 0. So plain gradient descent on an embedding costs as much as the rows of the batch,
in place; and where all rows must be written (momentum, Adam, a regularizer, a constraint) the kernel
that writes them reads the gradient's elements from `sums`. Each number's values are added up first, in
order, and then used once, as in the dense gradient: adding them to p one by one would lose small ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kcompile.ir import cost, ops
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.ops.gather import first_occurrence, masked_gather, scatter_add
from kcompile.ir.rewrite import copy, literal, rebuild
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import Batch, TensorType, numel


def compact_scatters(graph: Graph) -> Graph:
    """See the module. Sums over a gradient come out in another order; else the bits stay the same."""
    if any(node.op.name == "scatter_rows" for node in graph.nodes.values()):
        return rebuild(graph, _Compact(graph).rule)
    return graph


@dataclass(frozen=True)
class _IndexedSlices:
    """A table that is zero but for some rows: values [places, d...] at the rows that indices [places] name.
    Where a row is named again its values are zeros, so that functions of values are functions of rows."""

    values: Tensor
    indices: Tensor


_Sparse = tuple[_IndexedSlices, ...]  # a sparse gradient: the sum of these


class _Compact:
    def __init__(self, graph: Graph) -> None:
        self.users = graph.users()
        self.results = set(graph.results())
        self.updated = {value: name for name, value in graph.updates.items()}
        self.sparse: dict[Value, _Sparse] = {}
        self.places: dict[tuple[Value, int], Tensor] = {}

    def rule(self, new: Graph, node: Node, inputs: tuple[Value, ...]) -> list[Value] | Tensor | None:
        if node.op.name == "scatter_rows":
            return self.compact(new, node, inputs)
        found = [self.sparse.get(v) for v in inputs]
        if not any(found):
            return None
        if node.op.kind == "reduction" and node.op.sums_rows(**node.attrs):
            terms = [emit(node.op, [slices.values], **node.attrs) for slices in found[0] or ()]
            return sum(terms[1:], start=terms[0])
        if node.op.kind != "elementwise":
            return None
        moved = self.update(new, node, inputs, found)
        if moved is not None:
            return moved
        (result,) = copy(new, node, inputs)
        operands = [Tensor(new, v) for v in inputs]
        sparse = _apply(node, operands, found)
        if sparse:
            self.sparse[result] = sparse
        return [result]

    def compact(self, new: Graph, node: Node, inputs: tuple[Value, ...]) -> Tensor | None:
        """A scatter as rows that are spread, where it pays."""
        value, rows = Value(node.id), node.attrs["rows"]
        values, indices = (Tensor(new, v) for v in inputs)
        inlined = value not in self.results and all(
            user.op.kind in ("elementwise", "reduction") for user, _ in self.users.get(value, [])
        )
        if not inlined or isinstance(rows, Batch) or not _names_few(indices.type, rows):
            return None
        key = (indices.value, rows)
        if key not in self.places:
            self.places[key] = first_occurrence(indices, rows)
        places, count = self.places[key], numel(indices.shape)
        sums = ops.scatter_rows(values, ops.gather(places, indices), count)
        result = masked_gather(sums, places)
        self.sparse[result.value] = (_IndexedSlices(sums, ops.reshape(indices, (count,))),)
        return result

    def update(
        self, new: Graph, node: Node, inputs: tuple[Value, ...], found: list[_Sparse | None]
    ) -> Tensor | None:
        """A variable's update by few rows."""
        if len(node.op.signs) != 2 or None not in found:
            return None
        slot = found.index(None)
        variable, sparse = new.nodes[inputs[slot].node], found[1 - slot]
        name = self.updated.get(Value(node.id))
        is_old_value = variable.op.origin == "variable" and variable.attrs["name"] == name
        if not is_old_value or not sparse or node.op.signs[slot] < 0:
            return None
        moved = _signed(node.op.signs[1 - slot], sparse)
        return scatter_add(Tensor(new, inputs[slot]), [(slices.values, slices.indices) for slices in moved])


def _names_few(indices: TensorType, rows: int) -> bool:
    """Whether a batch leaves most rows of a table alone."""
    count = numel(indices.shape)
    return (count.multiple * cost.TYPICAL_BATCH if isinstance(count, Batch) else count) < rows


def _apply(node: Node, operands: list[Tensor], found: list[_Sparse | None]) -> _Sparse | None:
    """An elementwise op's result in sparse form; None where it has none."""
    known = [sparse for sparse in found if sparse]
    if not _goes_row_by_row(node, operands, found):
        return None
    if _name_the_same_rows(known):
        return _of_shared_rows(node, operands, found) if _keeps_zero(node, operands, found) else None
    if node.op.signs and len(known) == len(operands):
        return sum((_signed(sign, sparse) for sign, sparse in zip(node.op.signs, known)), ())
    slot = found.index(known[0])
    if len(known) == 1 and slot in node.op.linear and _keeps_zero(node, operands, found):
        return _of_each_term(node, operands, slot, known[0])
    return None


def _goes_row_by_row(node: Node, operands: list[Tensor], found: list[_Sparse | None]) -> bool:
    """Whether sparse operands have the result's shape, and the others are the same for all rows."""
    shape = node.types[0].shape
    return all(
        x.shape == shape if sparse else not _varies(x, len(shape)) for x, sparse in zip(operands, found)
    )


def _name_the_same_rows(known: list[_Sparse]) -> bool:
    """Whether all are one term each, at the same indices."""
    indices = {slices.indices.value for sparse in known for slices in sparse}
    return len(indices) == 1 and all(len(sparse) == 1 for sparse in known)


def _of_shared_rows(node: Node, operands: list[Tensor], found: list[_Sparse | None]) -> _Sparse:
    """Any function of the values at the same rows."""
    values = [sparse[0].values if sparse else x for x, sparse in zip(operands, found)]
    indices = next(sparse[0].indices for sparse in found if sparse)
    return (_IndexedSlices(emit(node.op, values, **node.attrs), indices),)


def _of_each_term(node: Node, operands: list[Tensor], slot: int, sparse: _Sparse) -> _Sparse:
    """A linear function of a sum, term by term."""
    made = []
    for slices in sparse:
        values = [slices.values if i == slot else x for i, x in enumerate(operands)]
        made.append(_IndexedSlices(emit(node.op, values), slices.indices))
    return tuple(made)


def _signed(sign: int, sparse: _Sparse) -> _Sparse:
    """A sparse array times 1 or -1."""
    return sparse if sign > 0 else tuple(_IndexedSlices(-slices.values, slices.indices) for slices in sparse)


def _varies(x: Tensor, rank: int) -> bool:
    """Whether an operand differs from row to row of a table of this rank."""
    return x.rank == rank and x.shape[0] != 1


def _keeps_zero(node: Node, operands: list[Tensor], found: list[_Sparse | None]) -> bool:
    """Whether an elementwise op gives 0 where its sparse operands are 0."""
    numbers = [0.0 if sparse else literal(x.graph, x.value) for x, sparse in zip(operands, found)]
    if None in numbers:  # by a factor that the step computes, as from a norm
        return any(found[slot] for slot in node.op.linear)
    arrays = [np.asarray(v, x.dtype) for v, x in zip(numbers, operands)]
    with np.errstate(all="ignore"):
        return bool(node.op.numpy(*arrays, **node.attrs) == 0)

"""Numbers of rows that come from data: where a graph reads rows by them, and whether they are there.

Enters: a graph. Leaves: an `IndexCheck` for each set of numbers, in a fixed order, from which
`passes.check_indices` makes outputs for native code, and engines without it make checks of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.types import Batch, Shape
from kcompile_runtime.errors import RowError

CHECK = "check/"  # the names of outputs that are checks begin so
FINE = 2**63 - 1


@dataclass(frozen=True)
class IndexCheck:
    """Numbers that must name one of so many rows: an operand of a node (slot), or what was cast to that.
    label: of the layer that reads the rows."""

    node: int
    slot: int
    numbers: Value
    rows: int
    shape: Shape
    label: str


def index_checks(graph: Graph) -> list[IndexCheck]:
    """The checks of a graph: for each gather by numbers that depend on inputs, variables, constants or the
    size of the batch, where no other has the same (`ops.gather` looks at those that are a constant itself).
    In the body of a scan these are numbers of its sequences and invariants; numbers that are computed there,
    step by step, are not checked."""
    data: set[int] = set()
    found: dict[tuple[Value, int], IndexCheck] = {}
    for node in graph.live():
        if (
            node.op.in_memory
            or any(v.node in data for v in node.inputs)
            or (node.op.origin == "index" and any(isinstance(d, Batch) for d in node.types[0].shape))
        ):
            data.add(node.id)
        for slot, rows, label in _reads(node, graph):
            numbers = before_cast(graph, node.inputs[slot])
            if numbers.node in data and graph.nodes[numbers.node].op.origin != "constant":
                found.setdefault(
                    (numbers, rows),
                    IndexCheck(node.id, slot, numbers, rows, graph.type(numbers).shape, label),
                )
    return list(found.values())


def _reads(node: Node, graph: Graph) -> Iterator[tuple[int, int, str]]:
    """The operands of a node that are numbers of rows: (slot, rows, label)."""
    if node.op.numbered is not None:
        rows = graph.type(node.inputs[0]).shape[node.op.numbered]
        if isinstance(rows, int):
            yield 1, rows, node.label
    elif node.op.loop:
        body, states = node.body, node.attrs["states"]
        slots = {value: slot for slot, value in enumerate(body.inputs.values()) if slot >= states}
        for check in index_checks(body):
            if check.numbers in slots:
                yield slots[check.numbers], check.rows, check.label or node.label


def before_cast(graph: Graph, value: Value) -> Value:
    """What a value was before it was cast."""
    node = graph.nodes[value.node]
    return node.inputs[0] if node.op.name == "cast" else value


def outside_rows(numbers: np.ndarray, rows: int) -> np.ndarray:
    """Whether each of the numbers, in row-major order, names none of so many rows. Fractions are cut off."""
    flat = np.ravel(numbers)
    return np.asarray(~((flat > -1) & (flat < rows)))


def check_rows(what: str, graph: Graph, values: Mapping[Value, np.ndarray]) -> None:
    """Raise RowError where these values of a graph fail a check."""
    for check in index_checks(graph):
        outside = outside_rows(values[check.numbers], check.rows)
        if outside.any():
            place = int(outside.argmax())
            number = int(np.nan_to_num(np.ravel(values[check.numbers])[place]))
            sample, first = None, check.shape[0] if check.shape else 1
            if isinstance(first, Batch):
                each = outside.size * first.multiple // len(values[check.numbers])
                sample, place = divmod(place, each)
            raise RowError(
                f"{what}: {check.label or 'rows by number'}", check.rows, str(number), place, sample
            )

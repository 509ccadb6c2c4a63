"""Draws uses of an op, for property tests: from a record in `OPS` to graphs and values.

`cases(op)` is a hypothesis strategy of `Case`s, `arrays` makes values inside a case's domain for a
batch of n samples, and `graph_of` makes the graph with that op alone. Tests of other stages (compiled
code against the interpreter) draw from here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from kcompile.ir import ops
from kcompile.ir.graph import Graph, Value
from kcompile.ir.op import OPS, Case, Op
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, Dim, TensorType, bind
from kcompile.testing import ranges

assert ops  # importing it registers the records

DRAWN = tuple(sorted(name for name, op in OPS.items() if op.cases is not None))
SPECIALS = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, 3e38, -3e38)
BATCHES = (1, 3)


class Choices:
    """The `Draw` protocol on a hypothesis `draw` function."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        drawn: int = self._draw(st.integers(low, high))
        return drawn

    def size(self, name: str, most: int | None = None) -> int:
        return ranges.pick(self.integer, name, most)

    def choice(self, options: Sequence[Any]) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def shape(self, low: int = 0, high: int = 3) -> tuple[Dim, ...]:
        """Small dims, some of which are more than a vector of any target and no multiple of it."""
        rank = self.integer(low, high)
        dims: list[Dim] = [self.choice((1, 2, 3, 4, 5)) for _ in range(rank)]
        if rank and self.choice((False, False, True)):
            dims[-1] = self.choice((8, 16, 17, 33))
        if rank and self.choice((True, False)):
            dims[0] = Batch(self.choice((1, 1, 2)))
        return tuple(dims)


@st.composite
def _cases(draw: Any, op: Op) -> Case:
    assert op.cases is not None
    return op.cases(Choices(draw))


def cases(op: Op) -> st.SearchStrategy[Case]:
    """The uses of an op that its record declares."""
    return _cases(op)


def _bounds(case: Case, operand: int) -> tuple[float, float]:
    def pick(bound: float | tuple[float, ...]) -> float:
        return bound[operand] if isinstance(bound, tuple) else bound

    return pick(case.low), pick(case.high)


def _spaced(generator: np.random.Generator, count: int) -> np.ndarray:
    """Numbers in (0, 1), distinct and apart; 0.318 keeps them off halves, quarters and thirds, and
    so (for the usual bounds) off the integers at which ops have their kinks."""
    return (generator.permutation(count) + 0.318) / max(count, 1)


def arrays(case: Case, n: int, seed: int, ties: bool = False, specials: bool = False) -> list[np.ndarray]:
    """Values for the operands of a case.

    ties: floats are multiples of 0.5, so that many are equal and some are zero. specials: about one
    float in four is a NaN, an infinity, a zero of either sign, tiny or huge.
    """
    generator = np.random.default_rng(seed)
    shapes = [bind(t.shape, n) for t in case.types]
    sizes = [int(np.prod(s)) for s in shapes]
    units = (
        np.split(_spaced(generator, sum(sizes)), np.cumsum(sizes)[:-1])
        if case.spaced
        else [generator.random(size) for size in sizes]
    )
    result = []
    for operand, (type, unit, shape) in enumerate(zip(case.types, units, shapes)):
        low, high = _bounds(case, operand)
        values = low + unit * (high - low)
        if type.dtype == "bool":
            values = generator.random(len(unit)) < 0.5
        elif type.dtype not in ("float32", "float64"):
            values = np.floor(values)
        elif ties:
            values = np.round(2 * values) / 2
        if specials and type.dtype in ("float32", "float64"):
            chosen = generator.random(len(unit)) < 0.25
            values = np.where(chosen, generator.choice(SPECIALS, len(unit)), values)
        result.append(values.astype(type.dtype).reshape(shape))
    return result


def graph_of(op: Op, case: Case) -> tuple[Graph, list[Tensor], list[Tensor]]:
    """The graph of one use of an op: inputs x0, x1, ... and outputs y0, y1, ..."""
    graph = Graph(op.name)
    inputs = [graph.input(f"x{i}", type) for i, type in enumerate(case.types)]
    node = graph.add(op, inputs, **case.attrs)
    outputs = [Value(node.id, i) for i in range(len(node.types))]
    graph.outputs |= {f"y{i}": value for i, value in enumerate(outputs)}
    return graph, [Tensor(graph, v) for v in inputs], [Tensor(graph, v) for v in outputs]


def named(values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Values under the names of the inputs of `graph_of`."""
    return {f"x{i}": value for i, value in enumerate(values)}


def floats(types: Sequence[TensorType]) -> list[int]:
    """The positions of the floating point operands."""
    return [i for i, t in enumerate(types) if t.dtype in ("float32", "float64")]

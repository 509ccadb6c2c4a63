"""A value of a graph under construction, with Python's operators.

What the front end, gradient rules and passes write expressions with. The functions that build nodes
are in `kcompile.ir.ops`; this holds the handle they take and give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Union

import numpy as np

from kcompile.ir.graph import Graph, Value
from kcompile.ir.types import Shape, TensorType


class HasTensor(Protocol):
    """Something with a value in any graph: a variable of the front end."""

    def __tensor__(self, graph: Any) -> Tensor: ...


Operand = Union["Tensor", HasTensor, int, float, bool, np.ndarray]


class Tensor:
    """A handle on a value of `graph`."""

    __slots__ = ("graph", "value")
    __array_priority__ = 1000  # numpy leaves `array + tensor` to us

    def __init__(self, graph: Graph, value: Value) -> None:
        self.graph = graph
        self.value = value

    @property
    def type(self) -> TensorType:
        return self.graph.type(self.value)

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def rank(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<{self.type} %{self.value.node}>"

    def __bool__(self) -> bool:
        raise TypeError("a symbolic tensor has no truth value: the branch would be decided before "
                        "the data is known. Use `select(condition, a, b)` (K.switch)")

    def __iter__(self) -> Any:
        raise TypeError("a symbolic tensor cannot be iterated over")

    def _binary(self, name: str, other: Operand, swap: bool = False) -> Tensor:
        from kcompile.ir import ops

        function = getattr(ops, name)
        result: Tensor = function(other, self) if swap else function(self, other)
        return result

    def __add__(self, other: Operand) -> Tensor:
        return self._binary("add", other)

    def __radd__(self, other: Operand) -> Tensor:
        return self._binary("add", other, True)

    def __sub__(self, other: Operand) -> Tensor:
        return self._binary("sub", other)

    def __rsub__(self, other: Operand) -> Tensor:
        return self._binary("sub", other, True)

    def __mul__(self, other: Operand) -> Tensor:
        return self._binary("mul", other)

    def __rmul__(self, other: Operand) -> Tensor:
        return self._binary("mul", other, True)

    def __truediv__(self, other: Operand) -> Tensor:
        return self._binary("div", other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return self._binary("div", other, True)

    def __pow__(self, other: Operand) -> Tensor:
        return self._binary("pow", other)

    def __neg__(self) -> Tensor:
        from kcompile.ir import ops

        return ops.neg(self)

    def __gt__(self, other: Operand) -> Tensor:
        return self._binary("greater", other)

    def __ge__(self, other: Operand) -> Tensor:
        return self._binary("greater_equal", other)

    def __lt__(self, other: Operand) -> Tensor:
        return self._binary("less", other)

    def __le__(self, other: Operand) -> Tensor:
        return self._binary("less_equal", other)


def _graph(operands: Sequence[Any]) -> Graph:
    graphs = {id(x.graph): x.graph for x in operands if isinstance(x, Tensor)}
    if len(graphs) != 1:
        raise TypeError("operands must include a symbolic tensor, and belong to one graph")
    return next(iter(graphs.values()))


def as_tensor(graph: Graph, x: Any, dtype: str | None = None) -> Tensor:
    """x in `graph`: a tensor as it is, an object with `__tensor__(graph)` (a variable of the front
    end) as it says, numbers and arrays as constants of `dtype` (default: their own, float32)."""
    if isinstance(x, Tensor):
        return x
    if hasattr(x, "__tensor__"):
        converted: Tensor = x.__tensor__(graph)
        return converted
    return constant(graph, x, dtype)


def emit(op: str, inputs: Sequence[Any], **attrs: Any) -> Tensor:
    """Add a node with one output to the graph that its inputs belong to."""
    graph = _graph(inputs)
    values = [as_tensor(graph, x).value for x in inputs]
    return Tensor(graph, Value(graph.add(op, values, **attrs).id))


def constant(graph: Graph, value: Any, dtype: str | None = None) -> Tensor:
    """A constant of `graph`; float64 values become float32 unless a dtype is given."""
    array = np.asarray(value, dtype)
    if dtype is None and array.dtype == np.float64:
        array = array.astype(np.float32)
    return Tensor(graph, graph.constant(array))


def promote(*operands: Operand) -> list[Tensor]:
    """Operands as tensors of one graph; numbers and arrays take the tensors' dtype."""
    graph = _graph(operands)
    dtype = next(x.dtype for x in operands if isinstance(x, Tensor))
    return [as_tensor(graph, x, dtype) for x in operands]

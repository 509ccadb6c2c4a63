"""Elements by pulling: each op's rule asks its operands for the elements it needs, down to loads.

Enters: a group's body, its buffers, and an index as expressions. Leaves: the element there, as an
expression, so that everything in a group is computed in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kcompile.codegen.loops import Buffer, Expr
from kcompile.codegen.loops.builder import Builder, Index
from kcompile.codegen.targets import Target
from kcompile.ir.elements import Elements
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.types import TensorType


@dataclass(frozen=True)
class OpCall:
    """What a lowering rule sees of the node it lowers."""

    types: tuple[TensorType, ...]
    type: TensorType
    attrs: object


class Pull:
    """Elements of a group's values at an index, through the builder `b`."""

    def __init__(self, body: Graph, buffers: Sequence[Buffer], b: Builder, pure: bool = False):
        self.body = body
        self.b = b
        self.pure = pure
        self.buffers = dict(zip((v.node for v in body.inputs.values()), buffers))
        self.uses: dict[Value, int] = {}
        for node in body.nodes.values():
            for value in node.inputs:
                self.uses[value] = self.uses.get(value, 0) + 1
        for value in body.outputs.values():
            self.uses[value] = self.uses.get(value, 0) + 1
        self.given: dict[int, Callable[[Index], Expr]] = {}

    def at(self, value: Value, index: Index) -> Expr:
        """The element of a value; computed once for the same index (the very same expressions)."""
        key = (value, tuple(map(id, index)), id(self.b.mask))
        return self.b.memoise(key, (index, self.b.mask), lambda: self._make(value, index))

    def _make(self, value: Value, index: Index) -> Expr:
        node = self.body.nodes[value.node]
        if node.id in self.given:
            return self.given[node.id](index)
        if node.op.origin == "input":
            buffer = self.buffers[node.id]
            return self.b.load(buffer, self.b.flatten(index, node.types[0].shape))
        if node.op.origin == "constant":
            return self.b.const(node.attrs["value"].array.item(), node.types[0].dtype)
        result = self._apply(node, index)
        many = self.uses.get(value, 0) > 1 or node.op.expensive
        return self.b.let(result) if many and not self.pure else result

    def _apply(self, node: Node, index: Index) -> Expr:
        types = tuple(self.body.type(v) for v in node.inputs)
        if node.op.scalar is not None:
            elements = [self.at(v, self.b.narrow(index, t.shape)) for v, t in zip(node.inputs, types)]
            made: Elements = self.b
            result: Expr = node.op.scalar(made, *elements, **node.attrs)
            return result
        assert node.op.lower is not None, node.op.name
        operands = [lambda i, v=v: self.at(v, tuple(i)) for v in node.inputs]
        call = OpCall(types, node.types[0], node.attrs)
        result = node.op.lower(self.b, call, index, *operands)
        return result


def parameters(body: Graph) -> tuple[list[Buffer], list[Buffer]]:
    """The kernel's buffers: one for each input and each output of the body."""
    inputs = [Buffer(f"x{i}", body.type(v).dtype) for i, v in enumerate(body.inputs.values())]
    outputs = [Buffer(f"y{i}", body.type(v).dtype) for i, v in enumerate(body.outputs.values())]
    return inputs, outputs


def lanes_of(body: Graph, target: Target) -> int:
    """Elements in a vector: of the widest dtype in the body, and not narrower than float32."""
    dtypes = {t.dtype for m in body.nodes.values() for t in m.types if t.dtype != "bool"}
    return min(target.lanes(dtype) for dtype in ("float32", *dtypes))

"""Element-wise inlining: the element of a value at an index as one expression over loads.

Enters: a group's body, its buffers, a value and an index. Leaves: an expression for the element. Each op's
rule asks for the elements of its operands that it needs, and so on down to loads; so everything inside a
group is computed in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kcompile.codegen.loops import Buffer, Expr, Window
from kcompile.codegen.loops.builder import Builder, Index
from kcompile.codegen.targets import Target
from kcompile.ir.elements import Elements
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.types import TensorType

Windows = Sequence[Window | None]


@dataclass(frozen=True)
class OpCall:
    """What a lowering rule sees of the node that it lowers. types: of its operands. type: of its result."""

    types: tuple[TensorType, ...]
    type: TensorType
    attrs: object


class Inliner:
    """Computes elements of a group's values, through the builder `b`.

    pure: no statement is written, so an expression may be used in any scope. defined: nodes whose elements
    the caller supplies, in place of what their ops would compute.
    """

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
        self.defined: dict[int, Callable[[Index], Expr]] = {}

    def compute_at(self, value: Value, index: Index) -> Expr:
        """The element of a value at an index. For the same index, that is the same expression objects, it is
        computed once."""
        key = (value, tuple(map(id, index)), id(self.b.mask))
        return self.b.memoise(key, (index, self.b.mask), lambda: self._make(value, index))

    def _make(self, value: Value, index: Index) -> Expr:
        node = self.body.nodes[value.node]
        if node.id in self.defined:
            return self.defined[node.id](index)
        if node.op.origin == "input":
            buffer = self.buffers[node.id]
            return self.b.load(buffer, self.b.place(buffer, index, node.types[0].shape))
        if node.op.origin == "constant":
            return self.b.const(node.attrs["value"].array.item(), node.types[0].dtype)
        result = self._apply(node, index)
        bind = self.uses.get(value, 0) > 1 or node.op.expensive
        return self.b.let(result) if bind and not self.pure else result

    def _apply(self, node: Node, index: Index) -> Expr:
        types = tuple(self.body.type(v) for v in node.inputs)
        if node.op.scalar is not None:
            elements = [self.compute_at(v, self.b.narrow(index, t.shape)) for v, t in zip(node.inputs, types)]
            made: Elements = self.b
            result: Expr = node.op.scalar(made, *elements, **node.attrs)
            return result
        assert node.op.lower is not None, node.op.name
        operands = [lambda i, v=v: self.compute_at(v, tuple(i)) for v in node.inputs]
        call = OpCall(types, node.types[0], node.attrs)
        result = node.op.lower(self.b, call, index, *operands)
        return result


def parameters(body: Graph, windows: Windows = ()) -> tuple[list[Buffer], list[Buffer]]:
    """The kernel's buffers: one for each input of the body, one for each output. windows: of those in this
    order, empty where none is in a window."""
    inputs = [Buffer(f"x{i}", body.type(v).dtype) for i, v in enumerate(body.inputs.values())]
    outputs = [Buffer(f"y{i}", body.type(v).dtype) for i, v in enumerate(body.outputs.values())]
    if windows:
        both = [replace(x, window=window) for x, window in zip([*inputs, *outputs], windows)]
        inputs, outputs = both[: len(inputs)], both[len(inputs) :]
    return inputs, outputs


def lanes_of(body: Graph, target: Target) -> int:
    """Elements in a vector: of the widest dtype in the body, and not narrower than float32."""
    dtypes = {t.dtype for m in body.nodes.values() for t in m.types if t.dtype != "bool"}
    return min(target.lanes(dtype) for dtype in ("float32", *dtypes))

"""A group around a contraction taken apart: operands, and the epilogue over [rows, columns]."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kcompile.codegen import cost, loops
from kcompile.codegen.groups.elements import Inliner, Windows, parameters
from kcompile.codegen.groups.operands import Epilogue, Source
from kcompile.codegen.loops import Buffer, Expr
from kcompile.codegen.loops.builder import Builder, Index
from kcompile.codegen.program import Kernel
from kcompile.codegen.targets import Target
from kcompile.ir.contraction import Contraction
from kcompile.ir.domain import is_column, is_row
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.types import Shape, TensorType, numel, static


@dataclass(frozen=True)
class Anchored:
    """The parts of a group around a contraction.

    a, b: the operands of the product. panels: the columns of a packed panel of b, None where b is not packed.
    words: they are rounded, and multiplied in words; b's panels are of these.
    buffers: of the group's operands, then of its results. direct: for Winograd's algorithm, the convolution
    kernel before its transform.
    """

    spec: Contraction
    panels: int | None
    words: bool
    a: Source
    b: Source
    direct: Source
    epilogue: Epilogue
    buffers: tuple[Buffer, ...]

    def kernel(self, made: Kernel, note: str, aliased: bool) -> Kernel:
        """The kernel of the group, from that of its contraction."""
        function = replace(made.function, buffers=self.buffers, note=note, aliased=aliased)
        return replace(made, function=function)


def anchored(
    node: Node,
    anchor: Node,
    target: Target,
    windows: Windows = (),
    buffers: tuple[list[Buffer], list[Buffer]] | None = None,
) -> Anchored:
    """The parts of a group whose anchor is a contraction. windows: of its operands, then of its results.
    buffers: of these, None for those of a kernel of its own."""
    body = node.body
    spec = anchor.attrs["spec"]
    flat = _flatten(body, anchor)
    inputs, outputs = buffers or parameters(body, windows)
    numbers = {v.node: i for i, v in enumerate(body.inputs.values())}
    for v in anchor.inputs:
        if body.type(v).dtype == "uint8":  # bytes are read in words
            inputs[numbers[v.node]] = replace(inputs[numbers[v.node]], dtype="int32")
    b = Builder(target, target.lanes(anchor.types[0].dtype))
    inliner = Inliner(flat, inputs, b, pure=True)

    def source(slot: int) -> Source:
        value = anchor.inputs[slot]
        buffer = inputs[numbers[value.node]]
        shape = body.type(value).shape
        if buffer.dtype != body.type(value).dtype:
            shape = (*shape[:-1], static(shape[-1:])[0] // 4)
        if buffer.window is not None:  # whose runs are along the last axis
            shape = (*shape[:-1], buffer.window.stride)

        def at(index: Index, mask: Expr | None) -> Expr:
            return loops.load(buffer, b.flatten(index, shape), mask)

        return Source(at, buffer, shape, dtype=buffer.dtype)

    def values(accumulator: Expr, row: Expr, column: Expr, mask: Expr | None) -> tuple[Expr, ...]:
        with b.block(), b.where(mask):
            inliner.defined = {anchor.id: lambda index: accumulator}
            return tuple(inliner.compute_at(v, (row, column)) for v in flat.outputs.values())

    epilogue = Epilogue(tuple(outputs), values, _weight(flat) <= cost.EPILOGUE_UNROLLED)
    return Anchored(
        spec,
        anchor.attrs["panels"],
        anchor.attrs.get("words", False),
        source(spec.a.operand),
        source(spec.b.operand),
        source(len(anchor.inputs) - 1),
        epilogue,
        (*inputs, *outputs),
    )


def _weight(body: Graph) -> int:
    return sum(cost.weight(m) for m in body.nodes.values() if m.op.kind == "elementwise")


def _flatten(body: Graph, anchor: Node) -> Graph:
    """The body with every value as a matrix [rows, columns], or a shape that broadcasts to it. The
    contraction becomes an input, whose elements `Inliner.defined` supplies. Ids of nodes stay the same."""
    spec = anchor.attrs["spec"]
    rows, columns = spec.rows, spec.columns
    whole = (numel(rows), numel(columns))

    def view(type: TensorType) -> TensorType:
        shape: Shape
        if type.shape == rows + columns:
            shape = whole
        elif numel(type.shape) == 1:
            shape = (1, 1)
        elif is_column(type.shape, columns):
            shape = (1, whole[1])
        elif is_row(type.shape, rows, columns):
            shape = (whole[0], 1)
        else:
            shape = type.shape  # an operand of the contraction itself
        return type.with_shape(shape)

    new = Graph(body.name)
    for node in body.nodes.values():
        if node.op.origin == "input":
            new.input(node.attrs["name"], view(node.types[0]))
        elif node.id == anchor.id:
            new.add("input", name="accumulator", type=TensorType(whole, anchor.types[0].dtype))
        elif node.op.broadcasts:
            new.add(node.op, node.inputs, shape=view(node.types[0]).shape)
        else:
            new.add(node.op, node.inputs, **node.attrs)
    new.outputs = {name: Value(v.node, v.output) for name, v in body.outputs.items()}
    return new

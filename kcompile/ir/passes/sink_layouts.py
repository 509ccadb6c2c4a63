"""sink_layouts: transposes and reshapes move below elementwise ops, transposes below concatenations and
reversals too, where they meet and cancel.

    relu(transpose(x) + b)  ->  transpose(relu(x + transpose(b)))

So a channels_first network keeps channels last inside, with one transpose at each end, and a Dense
layer on a sequence keeps its product, bias and activation together.
"""

from __future__ import annotations

from kcompile.ir import ops
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.rewrite import rebuild
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import Batch, Shape, numel


def sink_layouts(graph: Graph) -> Graph:
    """See the module. Only operands without the batch are transposed instead (weights)."""

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> Tensor | None:
        if node.op.kind != "elementwise":
            return _along_axes(new, node, inputs)
        return _sunk(new, node, node.types[0].shape, [Tensor(new, v) for v in inputs])

    return rebuild(graph, rule)


def _along_axes(new: Graph, node: Node, inputs: tuple[Value, ...]) -> Tensor | None:
    """A concatenation of transposes that are alike, or a reversal of one, as a transpose of it."""
    makers = [new.nodes[v.node] for v in inputs]
    if not (node.op.joins or node.op.involution) or not all(m.op.permutes for m in makers):
        return None
    axes, *others = dict.fromkeys(m.attrs["axes"] for m in makers)
    if others:
        return None
    below = [Tensor(new, m.inputs[0]) for m in makers]
    if node.op.involution:
        return ops.transpose(ops.reverse(below[0], [axes[a] for a in node.attrs["axes"]]), axes)
    return ops.transpose(ops.concatenate(below, axes[node.attrs["axis"]]), axes)


def _sunk(new: Graph, node: Node, shape: Shape, operands: list[Tensor]) -> Tensor | None:
    """What an elementwise node with a result of this shape computes, below all layouts of its operands; None
    where these have none in common."""
    moved = [*{_move(new, x) for x in operands if x.shape == shape}]
    if len(moved) != 1 or moved[0] is None:
        return None
    before, axes = moved[0]
    if axes:
        inverse = [axes.index(i) for i in range(len(axes))]
        inner = [_under_transpose(new, x, shape, inverse) for x in operands]
        before = tuple(shape[i] for i in inverse)
    else:
        inner = [_under_reshape(new, x, shape, before) for x in operands]
    found = [x for x in inner if x is not None]
    if len(found) < len(inner):
        return None
    result = _sunk(new, node, before, found)
    if result is None:
        result = emit(node.op, found, **node.attrs)
    return ops.transpose(result, axes) if axes else ops.reshape(result, shape)


def _move(new: Graph, x: Tensor) -> tuple[Shape, tuple[int, ...]] | None:
    """(shape before a reshape, ()), or ((), axes of a transpose); None where x is neither."""
    producer = new.nodes[x.value.node]
    if producer.op.permutes:
        return ((), producer.attrs["axes"])
    if producer.op.view and x.rank and new.type(producer.inputs[0]).rank:
        before = new.type(producer.inputs[0]).shape
        return (before, ()) if _last_axes(before, x.shape) else None
    return None


def _last_axes(before: Shape, shape: Shape) -> int:
    """How many last axes of a shape are the last one of another, which is reshaped to it; 0: none are."""
    for count in range(1, len(shape) + 1):
        if numel(shape[-count:]) == before[-1]:
            return count
    return 0


def _under_transpose(new: Graph, x: Tensor, shape: Shape, inverse: list[int]) -> Tensor | None:
    if x.shape == shape:
        return Tensor(new, new.nodes[x.value.node].inputs[0])
    if x.rank == 0:
        return x
    if any(isinstance(d, Batch) for d in x.shape):
        return None
    whole = ops.reshape(x, (1,) * (len(shape) - x.rank) + x.shape)
    return ops.transpose(whole, inverse)


def _under_reshape(new: Graph, x: Tensor, shape: Shape, before: Shape) -> Tensor | None:
    if x.shape == shape:
        return Tensor(new, new.nodes[x.value.node].inputs[0])
    if x.rank == 0:
        return x
    count = _last_axes(before, shape)
    lead, own = x.shape[:-count], x.shape[-count:]
    if all(d == 1 for d in lead) and (own == shape[-count:] or own == (1,)):
        return ops.reshape(x, own[:1] if count == 1 else (numel(own),))
    return None

"""fold_batch_norm: a scale and shift per channel, known from weights, goes into the kernel and bias.

    (conv(x, w) + b) * s + t   ->   conv(x, w * s) + (b * s + t)

for every contraction whose kernel has the output channels last. `w * s` and `b * s + t` depend on
weights alone, so staging computes them once. Results differ by rounding (about 1e-7 relative).
For graphs that do not update these weights (predict, test). A kernel that is rounded stays as it is, as
`w * s` would be rounded elsewhere; there

    (conv(x, w) + b) * s + t   ->   conv(x, w) * s + (b * s + t)
"""

from __future__ import annotations

from kcompile.ir import ops
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.op import Op
from kcompile.ir.rewrite import rebuild, weights_only
from kcompile.ir.tensor import Tensor, emit


def fold_batch_norm(graph: Graph) -> Graph:
    """See the module."""
    prepare_time = weights_only(graph, graph.live())
    once = {v.node for v, users in graph.users().items() if len(users) == 1}
    once -= {v.node for v in graph.results()}
    origin: dict[Value, int] = {}  # value of the new graph -> its node in the old one

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
        for old, value in zip(node.inputs, inputs):
            origin.setdefault(value, old.node)
        if not (node.op.is_product or len(node.op.signs) == 2) or node.id in prepare_time:
            return None
        x, factor = (Tensor(new, v) for v in inputs)
        known = [v.node in prepare_time for v in node.inputs]
        if known[0] and node.op.commutative:
            x, factor, known = factor, x, known[::-1]
        if not known[1] or x.type != node.types[0] or not _per_channel(factor, x):
            return None
        result = _absorb(new, node.op, x, factor, origin, once)
        if result is not None:
            origin[result.value] = node.id
            return [result.value]
        return None

    return rebuild(graph, rule)


def _per_channel(factor: Tensor, x: Tensor) -> bool:
    """Whether a factor is a scalar, or varies along the last axis only."""
    return all(d == 1 for d in factor.shape[:-1]) and factor.rank <= x.rank


def _vector(factor: Tensor) -> Tensor:
    return ops.reshape(factor, factor.shape[-1:])


def _absorb(
    new: Graph, op: Op, x: Tensor, factor: Tensor, origin: dict[Value, int], once: set[int]
) -> Tensor | None:
    """x * factor, or x plus or minus it, by way of the kernel and the bias that x is made with."""
    producer = new.nodes[x.value.node]
    if origin.get(x.value) not in once:
        return None
    factor = _vector(factor)
    if op.is_product and producer.op.kind == "contraction":
        return _scaled(new, producer, factor)
    if producer.op.signs != (1, 1):
        return None
    y, bias = (Tensor(new, v) for v in producer.inputs)
    inner = new.nodes[y.value.node]
    rounded = _is_rounded(new, inner)
    made = inner.op.kind == "contraction" or (
        inner.op.is_product and _is_rounded(new, new.nodes[inner.inputs[0].node])
    )
    if y.type != x.type or not _per_channel(bias, x) or not made:
        return None
    if op.is_product:
        scaled = y * factor if rounded else _scaled(new, inner, factor)
        return None if scaled is None else scaled + _vector(bias) * factor
    return y + (_vector(bias) + (factor if op.signs == (1, 1) else -factor))


def _is_rounded(new: Graph, node: Node) -> bool:
    """Whether this is a contraction of a kernel that is rounded before."""
    slot = node.op.columnwise(**node.attrs) if node.op.kind == "contraction" else None
    return slot is not None and new.nodes[node.inputs[slot].node].op.rounds


def _scaled(new: Graph, node: Node, factor: Tensor) -> Tensor | None:
    """A contraction whose result has its last axis scaled, by way of the operand with that axis."""
    slot = node.op.columnwise(**node.attrs)
    if slot is None or _is_rounded(new, node):
        return None
    operands = [Tensor(new, v) for v in node.inputs]
    with new.source(*dict.fromkeys((*node.sources, *new.current))):
        operands[slot] = operands[slot] * factor
        return emit(node.op, operands, **node.attrs)

"""factor_sums: what does not vary along the axes of a sum leaves it, and known sums are used again.

    reduce_sum(x * s)        ->  reduce_sum(x) * s         for s with size 1 along the axes
    reduce_sum(a * s - m)    ->  reduce_sum(a) * s - count * m    where reduce_sum(a) is there already

The gradient of a batch normalisation is full of such sums: each would read its activation once more.
"""

from __future__ import annotations

from collections.abc import Iterator

from kcompile.ir import cost, ops
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.op import Op
from kcompile.ir.rewrite import rebuild
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import FLOATS, Shape, numel


def factor_sums(graph: Graph) -> Graph:
    """See the module. Sums come out in another order."""
    sums = _Sums()

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> Tensor | None:
        if node.op.kind != "reduction" or not node.op.linear:
            return None
        x, axes = Tensor(new, inputs[0]), node.attrs["axes"]
        if x.dtype not in FLOATS or numel(x.shape) == 1:
            return None
        total = sums.known(x, axes, x.shape)
        total = sums.scaled(x, axes) if total is None else total
        return ops.broadcast_to(total, node.types[0].shape)

    return rebuild(graph, rule)


class _Sums:
    """The sums made so far, by operand and axes."""

    def __init__(self) -> None:
        self.made: dict[tuple[Value, tuple[int, ...]], Tensor] = {}

    def scaled(self, x: Tensor, axes: tuple[int, ...], depth: int = cost.FACTOR_CHAIN) -> Tensor:
        """The sum over x, with factors taken out of it."""
        for op, a, factors in _scalings(x, axes, x.shape) if depth else ():
            if a.shape == x.shape:
                return emit(op, [self.scaled(a, axes, depth - 1), *factors])
        key = (x.value, axes)
        if key not in self.made:
            self.made[key] = ops.reduce_sum(x, axes)
        return self.made[key]

    def known(
        self, x: Tensor, axes: tuple[int, ...], shape: Shape, depth: int = cost.FACTOR_CHAIN
    ) -> Tensor | None:
        """The sum over x, broadcast to `shape`, out of sums that are there; else None."""
        constant = _outside(x, axes, shape)
        if constant is not None:
            return constant * ops.count(
                Tensor(x.graph, x.value) if x.shape == shape else ops.broadcast_to(x, shape), axes
            )
        if x.shape != shape or not depth:
            return None
        if (x.value, axes) in self.made:
            return self.made[x.value, axes]
        if x.graph.nodes[x.value.node].op.signs:
            return self.of_terms(x, axes, shape, depth)
        for op, a, factors in _scalings(x, axes, shape):
            total = self.known(a, axes, shape, depth - 1)
            if total is not None:
                return emit(op, [total, *factors])
        return None

    def of_terms(self, x: Tensor, axes: tuple[int, ...], shape: Shape, depth: int) -> Tensor | None:
        """The same for a sum of terms, out of the sums over these."""
        node = x.graph.nodes[x.value.node]
        totals: list[Tensor] = []
        for v in node.inputs:
            total = self.known(Tensor(x.graph, v), axes, shape, depth - 1)
            if total is None:
                return None
            totals.append(total)
        return emit(node.op, totals)


def _scalings(x: Tensor, axes: tuple[int, ...], shape: Shape) -> Iterator[tuple[Op, Tensor, list[Tensor]]]:
    """x, broadcast to `shape`, as op(value, *factors), where the op is linear in the value and the factors do
    not vary along the axes: so the sum is op(sum of the value, *factors). The factors are given for that."""
    node = x.graph.nodes[x.value.node]
    operands = [Tensor(x.graph, v) for v in node.inputs]
    for slot in node.op.linear if node.op.kind == "elementwise" else ():
        if slot and not node.op.commutative:  # the value becomes the first operand
            continue
        factors = [_outside(b, axes, shape) for i, b in enumerate(operands) if i != slot]
        if all(f is not None for f in factors):
            yield node.op, operands[slot], [f for f in factors if f is not None]


def _outside(x: Tensor, axes: tuple[int, ...], shape: Shape) -> Tensor | None:
    """x, broadcast to `shape`, as a value over the axes that are kept; None where it varies along
    one of `axes`."""
    lead = len(shape) - x.rank
    if any(a >= lead and x.shape[a - lead] != 1 for a in axes):
        return None
    kept = [x.shape[i - lead] if i >= lead else 1 for i in range(len(shape)) if i not in axes]
    while kept and kept[0] == 1:
        kept = kept[1:]
    return ops.reshape(x, kept)

"""split_reductions: a reduction that leaves too little to share between threads is made in two steps.

    reduce_sum(x[n, h, w, c], (0, 1, 2))  ->  reduce_sum(reduce_sum(x, (1, 2)), (0,))

The first step has a result for each sample (or more, for large ones), which threads share, and reads
each sample from one end to the other. How a sum is split depends on its shape only, so the bits do not
depend on the number of threads.
"""

from __future__ import annotations

from kcompile.ir import cost
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.rewrite import rebuild
from kcompile.ir.types import Batch, Shape, numel


def split_reductions(graph: Graph) -> Graph:
    """See the module. Sums come out in another order."""

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
        if node.op.kind != "reduction":
            return None
        shape, axes = new.type(inputs[0]).shape, node.attrs["axes"]
        inner = _first_step(shape, axes)
        if not inner:
            return None
        first = Value(new.add(node.op, inputs, axes=inner).id)
        left = [i for i in range(len(shape)) if i not in inner]
        rest = tuple(at for at, i in enumerate(left) if i in axes)
        return [Value(new.add(node.op, [first], axes=rest).id)]

    return rebuild(graph, rule)


def _first_step(shape: Shape, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The axes to reduce first, none where one step is enough."""
    size = numel(shape)
    kept = [d for i, d in enumerate(shape) if i not in axes]
    if (
        any(isinstance(d, Batch) for d in kept)
        or (size.multiple if isinstance(size, Batch) else size) < cost.SPLIT
    ):
        return ()
    part = 1
    inner: list[int] = []
    for axis in reversed(axes):
        d = shape[axis]
        if isinstance(d, Batch) or axis == axes[0] or part * d > cost.SPLIT_PART[1]:
            break
        part, inner = part * d, [axis, *inner]
    return tuple(inner) if part >= cost.SPLIT_PART[0] else ()

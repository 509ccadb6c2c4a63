"""Reverse-mode differentiation: appends the gradient of a scalar to its graph, written in the ops' rules."""

from __future__ import annotations

from collections.abc import Sequence

from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.op import Call
from kcompile.ir.ops import constant
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS


def _between(graph: Graph, target: Value, wrt: Sequence[Value]) -> list[Node]:
    """The nodes on a path from wrt to the target, last first."""
    reached = {v.node for v in wrt}
    forward = [node for node in graph.nodes.values()
               if node.id in reached or _note(node, reached)]
    needed = {target.node}
    path = []
    for node in reversed(forward):
        if node.id in needed:
            path.append(node)
            needed.update(v.node for v in node.inputs)
    return path


def _note(node: Node, reached: set[int]) -> bool:
    if any(v.node in reached for v in node.inputs):
        reached.add(node.id)
        return True
    return False


def gradient(target: Tensor, wrt: Sequence[Tensor]) -> list[Tensor | None]:
    """d target / d x for each x in `wrt`; None where the target does not depend on x.

    target: a float scalar. The new nodes carry the sources of the nodes they differentiate. Raises
    ValueError when the target is not a scalar.
    """
    graph = target.graph
    if target.shape != () or target.dtype not in FLOATS:
        raise ValueError(f"gradient: the target must be a float scalar. Received: {target.type}")
    gradients: dict[Value, Tensor] = {target.value: constant(graph, 1, target.dtype)}
    for node in _between(graph, target.value, [x.value for x in wrt]):
        outputs = [Value(node.id, i) for i in range(len(node.types))]
        received = [gradients.get(v) for v in outputs]
        if not node.inputs or all(g is None for g in received) or node.op.gradient is None:
            continue
        call = Call(tuple(Tensor(graph, v) for v in node.inputs),
                    tuple(Tensor(graph, v) for v in outputs), node.attrs)
        with graph.source(*node.sources):
            for value, part in zip(node.inputs, node.op.gradient(call, *received)):
                if part is not None and graph.type(value).dtype in FLOATS:
                    known = gradients.get(value)
                    gradients[value] = part if known is None else known + part
    return [gradients.get(x.value) for x in wrt]

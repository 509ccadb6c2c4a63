"""Reverse-mode differentiation: appends the gradient of a scalar to its graph, written in the ops' rules, and
in those that a script gives for values of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.op import Call
from kcompile.ir.tensor import Tensor, constant
from kcompile.ir.types import FLOATS


@dataclass(frozen=True)
class OwnGradient:
    """What `Graph.own_gradients` holds of a node of one result: what its gradient flows to, and the rule that
    makes of the result's gradient those of the arguments, None for none."""

    arguments: tuple[Value, ...]
    rule: Callable[[Tensor], Sequence[Tensor | None]]


def _read(graph: Graph, node: Node) -> tuple[Value, ...]:
    """What the gradient of a node flows to."""
    own = graph.own_gradients.get(node.id)
    return node.inputs if own is None else own.arguments


def everywhere(node: int) -> bool:
    """Every node counts."""
    return True


def reached_from(
    graph: Graph, wrt: Sequence[Value], within: Callable[[int], bool] = everywhere
) -> tuple[list[Node], set[int]]:
    """The nodes that depend on wrt by way of nodes that count, and their numbers."""
    reached = {v.node for v in wrt}
    found = [
        node
        for node in graph.nodes.values()
        if node.id in reached or (within(node.id) and _note(graph, node, reached))
    ]
    return found, reached


def _between(
    graph: Graph, targets: Sequence[Value], wrt: Sequence[Value], within: Callable[[int], bool]
) -> list[Node]:
    """The nodes on a path from wrt to a target, last first."""
    forward, _ = reached_from(graph, wrt, within)
    needed = {v.node for v in targets}
    path = []
    for node in reversed(forward):
        if node.id in needed:
            path.append(node)
            needed.update(v.node for v in _read(graph, node))
    return path


def _note(graph: Graph, node: Node, reached: set[int]) -> bool:
    if any(v.node in reached for v in _read(graph, node)):
        reached.add(node.id)
        return True
    return False


def gradient(target: Tensor, wrt: Sequence[Tensor]) -> list[Tensor | None]:
    """d target / d x for each x in `wrt`; None where the target does not depend on x.

    target: a float scalar. The new nodes carry the sources of the nodes they differentiate. Raises
    ValueError when the target is not a scalar.
    """
    if target.shape != () or target.dtype not in FLOATS:
        raise ValueError(f"gradient: the target must be a float scalar. Received: {target.type}")
    return pull_back([target], [constant(target.graph, 1, target.dtype)], wrt)


def pull_back(
    targets: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    wrt: Sequence[Tensor],
    within: Callable[[int], bool] = everywhere,
) -> list[Tensor | None]:
    """The gradient of sum(target * cotangent) over all elements and targets (a vector-Jacobian
    product), for each x in `wrt`; None where no target depends on x. within: whether the node of this number
    counts; what others give is a constant."""
    graph = wrt[0].graph if wrt else targets[0].graph
    gradients: dict[Value, Tensor] = {}

    def add(value: Value, part: Tensor) -> None:
        known = gradients.get(value)
        gradients[value] = part if known is None else known + part

    for target, cotangent in zip(targets, cotangents):
        add(target.value, cotangent)
    for node in _between(graph, [t.value for t in targets], [x.value for x in wrt], within):
        if not within(node.id):
            continue
        outputs = [Value(node.id, i) for i in range(len(node.types))]
        received = [gradients.get(v) for v in outputs]
        if not node.inputs or all(g is None for g in received) or node.op.gradient is None:
            continue
        own = graph.own_gradients.get(node.id)
        if own is not None:
            for value, part in zip(own.arguments, own.rule(received[0])):
                if part is not None:
                    add(value, part)
            continue
        call = Call(
            tuple(Tensor(graph, v) for v in node.inputs),
            tuple(Tensor(graph, v) for v in outputs),
            node.attrs,
            node.regions,
        )
        with graph.source(*node.sources):
            for value, part in zip(node.inputs, node.op.gradient(call, *received)):
                if part is not None and graph.type(value).dtype in FLOATS:
                    add(value, part)
    return [gradients.get(x.value) for x in wrt]

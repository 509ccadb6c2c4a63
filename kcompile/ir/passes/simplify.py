"""simplify: equal nodes become one, dead ones disappear, and operations that do nothing are removed.

Each identity is a rule of `RULES`: the value that a node's result equals and that is there already, or that a
shorter node computes.
"""

from __future__ import annotations

from collections.abc import Callable

from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.rewrite import copy, literal, rebuild
from kcompile.ir.types import broadcast_shapes

Inputs = tuple[Value, ...]
Rule = Callable[[Graph, Node, Inputs], "Value | None"]


def simplify(graph: Graph) -> Graph:
    """See the module. The values computed stay the same to the bit, but for the sign of a zero to which
    another was added."""
    known: dict[object, list[Value]] = {}

    def rule(new: Graph, node: Node, inputs: Inputs) -> list[Value] | None:
        if node.op.origin in ("input", "variable"):
            return None
        if node.op.kind == "elementwise":
            for i in range(len(inputs)):  # one after the other: together they could lose an axis
                inputs = (*inputs[:i], _unbroadcast(new, node, inputs, i), *inputs[i + 1 :])
        for shorter in RULES if inputs else ():
            value = shorter(new, node, inputs)
            if value is not None:
                return [value]
        key = (node.op.name, inputs, tuple(sorted(node.attrs.items(), key=lambda kv: kv[0])), node.regions)
        if key not in known:
            known[key] = copy(new, node, inputs)
        return known[key]

    return rebuild(graph, rule)


def _unbroadcast(new: Graph, node: Node, inputs: Inputs, slot: int) -> Value:
    """The operand without a broadcast, or axes of size 1 in front, that the op implies anyway."""
    value = inputs[slot]
    while True:
        producer = new.nodes[value.node]
        if not (producer.op.broadcasts or producer.op.view):
            return value
        before = producer.inputs[0]
        small, large = new.type(before).shape, new.type(value).shape
        if producer.op.view and large != (1,) * (len(large) - len(small)) + small:
            return value
        shapes = [new.type(before if i == slot else v).shape for i, v in enumerate(inputs)]
        if broadcast_shapes(*shapes) != node.types[0].shape:
            return value
        value = before


# ---------------------------------------------------------------- identities


def neutral_on_the_right(new: Graph, node: Node, inputs: Inputs) -> Value | None:
    """x + 0, x - 0, x * 1, x / 1, x ^ 1, max(x, -inf), x and true: x. Exact, but -0 + 0 is 0."""
    if node.op.neutral is None or literal(new, inputs[1]) != node.op.neutral:
        return None
    return inputs[0] if new.type(inputs[0]) == node.types[0] else None


def neutral_on_the_left(new: Graph, node: Node, inputs: Inputs) -> Value | None:
    """0 + x, 1 * x, and so on: x. Exact as on the right, of which it is the mirror image."""
    return neutral_on_the_right(new, node, inputs[::-1]) if node.op.commutative else None


def same_type(new: Graph, node: Node, inputs: Inputs) -> Value | None:
    """A cast to the dtype that is there, a reshape or a broadcast to that shape: the operand. Exact."""
    return inputs[0] if node.op.type_only and new.type(inputs[0]) == node.types[0] else None


def view_of_view(new: Graph, node: Node, inputs: Inputs) -> Value | None:
    """reshape(reshape(x, a), b): reshape(x, b), or x where it has that shape. Exact."""
    before = new.nodes[inputs[0].node]
    if not (node.op.view and before.op.view):
        return None
    return _once_more(new, node, before.inputs[0])


def done_twice(new: Graph, node: Node, inputs: Inputs) -> Value | None:
    """-(-x), not not x, reverse(reverse(x, a), a): x. Exact."""
    before = new.nodes[inputs[0].node]
    if node.op.involution and before.op is node.op and before.attrs == node.attrs:
        return before.inputs[0]
    return None


def transpose_of_transpose(new: Graph, node: Node, inputs: Inputs) -> Value | None:
    """transpose(transpose(x, a), b): transpose(x, a[b]), or x where that is its own order. Exact."""
    before = new.nodes[inputs[0].node]
    if not (node.op.permutes and before.op.permutes):
        return None
    axes = tuple(before.attrs["axes"][a] for a in node.attrs["axes"])
    x = before.inputs[0]
    return x if axes == tuple(range(len(axes))) else Value(new.add(node.op, [x], axes=axes).id)


def transpose_of_ones(new: Graph, node: Node, inputs: Inputs) -> Value | None:
    """A transpose that moves axes of size 1 alone: a reshape. Exact, as row-major order stays."""
    if not node.op.permutes:
        return None
    shape = new.type(inputs[0]).shape
    long = [a for a in node.attrs["axes"] if shape[a] != 1]
    return _reshaped(new, node, inputs[0]) if long == sorted(long) else None


def reduction_of_ones(new: Graph, node: Node, inputs: Inputs) -> Value | None:
    """A sum, product, maximum or minimum over axes of size 1: a reshape. Exact, but 0 + -0 is 0."""
    if node.op.kind != "reduction":
        return None
    shape = new.type(inputs[0]).shape
    return _reshaped(new, node, inputs[0]) if all(shape[a] == 1 for a in node.attrs["axes"]) else None


def concatenated_before(new: Graph, node: Node, inputs: Inputs) -> Value | None:
    """concatenate(..., a, b, ...) where concatenate(a, b) is there: concatenate(..., that, ...). Exact. So a
    chain of layers that each see all before is written in place."""
    if not node.op.joins:
        return None
    alike = [m for m in new.nodes.values() if m.op is node.op and m.attrs == node.attrs]
    places = [(m, _position(m.inputs, inputs)) for m in alike if len(m.inputs) < len(inputs)]
    found = [(m, first) for m, first in places if first is not None]
    if not found:
        return None
    part, first = max(found, key=lambda pair: len(pair[0].inputs))
    shorter = [*inputs[:first], Value(part.id), *inputs[first + len(part.inputs) :]]
    return Value(new.add(node.op, shorter, **node.attrs).id)


def _position(part: Inputs, inputs: Inputs) -> int | None:
    """Where some neighbouring operands begin among others."""
    places = range(len(inputs) - len(part) + 1)
    return next((i for i in places if inputs[i : i + len(part)] == part), None)


RULES: tuple[Rule, ...] = (
    neutral_on_the_right,
    neutral_on_the_left,
    same_type,
    view_of_view,
    done_twice,
    transpose_of_transpose,
    transpose_of_ones,
    reduction_of_ones,
    concatenated_before,
)


def _once_more(new: Graph, node: Node, x: Value) -> Value:
    """The op on another operand, or the operand where only its type would change and does not."""
    return x if new.type(x) == node.types[0] else Value(new.add(node.op, [x], **node.attrs).id)


def _reshaped(new: Graph, node: Node, x: Value) -> Value:
    """x under the shape of a node's result."""
    return Value(new.add("reshape", [x], shape=node.types[0].shape).id)

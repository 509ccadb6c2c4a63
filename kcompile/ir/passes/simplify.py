"""simplify: equal nodes become one, dead ones disappear, and operations that do nothing are removed."""

from __future__ import annotations

from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.passes.rewrite import copy, in_regions, literal, rebuild
from kcompile.ir.types import broadcast_shapes

# x op c == x for these constants on the right, and on the left where it commutes
_NEUTRAL = {"add": 0.0, "sub": 0.0, "mul": 1.0, "div": 1.0, "pow": 1.0}
_COMMUTES = ("add", "mul")


def simplify(graph: Graph) -> Graph:
    """See the module. The values computed stay the same to the bit."""
    known: dict[object, list[Value]] = {}

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
        if node.op.name in ("input", "variable"):
            return None
        if node.op.kind == "elementwise":
            for i in range(len(inputs)):  # one after the other: together they could lose an axis
                inputs = (*inputs[:i], _unbroadcast(new, node, inputs, i), *inputs[i + 1 :])
        shorter = _shorter(new, node, inputs)
        if shorter is not None:
            return [shorter]
        key = (node.op.name, inputs, tuple(sorted(node.attrs.items(), key=lambda kv: kv[0])), node.regions)
        if key not in known:
            known[key] = copy(new, node, inputs)
        return known[key]

    return rebuild(in_regions(graph, simplify), rule)


def _unbroadcast(new: Graph, node: Node, inputs: tuple[Value, ...], slot: int) -> Value:
    """The operand without a broadcast, or axes of size 1 in front, that the op implies anyway."""
    value = inputs[slot]
    while True:
        producer = new.nodes[value.node]
        if producer.op.name not in ("broadcast_to", "reshape"):
            return value
        before = producer.inputs[0]
        small, large = new.type(before).shape, new.type(value).shape
        if producer.op.name == "reshape" and large != (1,) * (len(large) - len(small)) + small:
            return value
        shapes = [new.type(before if i == slot else v).shape for i, v in enumerate(inputs)]
        if broadcast_shapes(*shapes) != node.types[0].shape:
            return value
        value = before


def _shorter(new: Graph, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    """A value that is already there and equals the node's result."""
    name, type = node.op.name, node.types[0]
    if name in _NEUTRAL:
        a, b = inputs
        if literal(new, b) == _NEUTRAL[name] and new.type(a) == type:
            return a
        if name in _COMMUTES and literal(new, a) == _NEUTRAL[name] and new.type(b) == type:
            return b
    if name in ("stop_gradient", "cast", "reshape", "transpose", "broadcast_to"):
        (x,) = inputs
        before = new.nodes[x.node]
        same = new.type(x) == type
        if name in ("stop_gradient", "cast", "reshape", "broadcast_to") and same:
            return x
        if name == "reshape" and before.op.name == "reshape":
            origin = before.inputs[0]
            if new.type(origin) == type:
                return origin
            return Value(new.add("reshape", [origin], shape=type.shape).id)
        if name == "transpose":
            axes = node.attrs["axes"]
            if before.op.name == "transpose":
                joined = tuple(before.attrs["axes"][a] for a in axes)
                x = before.inputs[0]
                if joined == tuple(range(len(joined))):
                    return x
                return Value(new.add("transpose", [x], axes=joined).id)
            if _only_moves_ones(new.type(x).shape, axes):
                return Value(new.add("reshape", [x], shape=type.shape).id)
    if name == "flip":
        before = new.nodes[inputs[0].node]
        if type.shape[node.attrs["axis"]] == 1:
            return inputs[0]
        if before.op.name == "flip" and before.attrs["axis"] == node.attrs["axis"]:
            return before.inputs[0]
    if name == "neg" and new.nodes[inputs[0].node].op.name == "neg":
        return new.nodes[inputs[0].node].inputs[0]
    if name in ("reduce_sum", "reduce_max", "reduce_min"):
        shape = new.type(inputs[0]).shape
        if all(shape[a] == 1 for a in node.attrs["axes"]):
            return Value(new.add("reshape", [inputs[0]], shape=type.shape).id)
    return None


def _only_moves_ones(shape: tuple[object, ...], axes: tuple[int, ...]) -> bool:
    kept = [a for a in axes if shape[a] != 1]
    return kept == sorted(kept)

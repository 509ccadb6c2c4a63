"""merge_scans: two scans over the same operands, of which one only has more outputs, become that one.

The gradient of a scan runs the forward scan again for the values it needs; this removes the first.
"""

from __future__ import annotations

from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.rewrite import copy, rebuild


def merge_scans(graph: Graph) -> Graph:
    """See the module."""
    scans = [node for node in graph.live() if node.op.loop]
    if not scans:
        return graph
    larger: dict[int, Node] = {}
    for i, first in enumerate(scans):
        for second in scans[i + 1 :]:
            if first.inputs == second.inputs and _extends(first, second):
                larger[first.id] = second
    made: dict[int, list[Value]] = {}

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
        chosen = larger.get(node.id, node)
        while chosen.id in larger:
            chosen = larger[chosen.id]
        if not node.op.loop:
            return None
        if chosen.id not in made:
            made[chosen.id] = copy(new, chosen, inputs)
        return made[chosen.id][: len(node.types)]

    return rebuild(graph, rule)


def _extends(first: Node, second: Node) -> bool:
    """Whether the second scan computes all that the first does, in its first outputs."""
    a, b = first.body, second.body
    settings = ("length", "states", "steps", "reverse")
    if any(first.attrs[k] != second.attrs[k] for k in settings):
        return False
    if list(b.outputs.values())[: len(a.outputs)] != list(a.outputs.values()):
        return False
    return all(id in b.nodes and _same(node, b.nodes[id]) for id, node in a.nodes.items())


def _same(a: Node, b: Node) -> bool:
    return (a.op, a.inputs, a.types, a.regions) == (b.op, b.inputs, b.types, b.regions) and dict(
        a.attrs
    ) == dict(b.attrs)

"""merge_scans: two scans over the same operands, of which one only has more outputs, become that one.

The gradient of a scan runs the forward scan again for the values it needs; this removes the first.
"""

from __future__ import annotations

from copy import copy as shallow
from itertools import islice

from kcompile.ir.digest import fingerprint
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
    settings = ("length", "states", "steps", "reverse")
    count = len(first.body.outputs)
    return all(first.attrs[k] == second.attrs[k] for k in settings) and (
        fingerprint(first.body) == fingerprint(_first_outputs(second.body, count))
    )


def _first_outputs(graph: Graph, count: int) -> Graph:
    """The graph without the outputs after so many."""
    fewer = shallow(graph)
    fewer.outputs = dict(islice(graph.outputs.items(), count))
    return fewer

"""Training steps in less memory: what the forward pass made is computed again where the backward pass asks
for it.

Enters: a fused graph that trains, a batch and a budget of the arena's bytes. Leaves: a graph whose arena fits
the budget, where groups of the forward pass stand a second time in front of those that read their results.
The kernels are the same and so are the bits. Which values are kept is chosen as checkpoints are (Chen et al.
2016, "Training Deep Nets with Sublinear Memory Cost"): first the results of cheap groups are given up, the
largest first; then all but what crosses from one segment of the forward pass into the next, for fewer and
fewer segments.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import accumulate

from kcompile.codegen.joins import bases
from kcompile.codegen.memory_plan import execution_order
from kcompile.codegen.program import Size, buffer_bytes
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.rewrite import copy

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the bytes of cheap groups that are given up, in turn
SEGMENTS = (64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2)  # of the forward pass, in turn


def fitting(graph: Graph, n: int, budget: int, arena: Callable[[Graph], Size]) -> tuple[Graph, int]:
    """The first graph whose arena for n samples has at most `budget` bytes, and its bytes; where none has,
    the one with the least. arena: the arena of a fused graph."""
    best, least = graph, arena(graph).at(n)
    for kept in _plans(graph, n):
        if least <= budget:
            break
        made = recomputed(graph, kept)
        bytes = arena(made).at(n)
        if bytes < least:
            best, least = made, bytes
    return best, least


def recomputed(graph: Graph, kept: Collection[int]) -> Graph:
    """The graph, where groups behind the forward pass read no result of it but of those in `kept` (ids): the
    others run again, each where it is first asked for."""
    groups = execution_order(graph)
    forward = _forward(graph, groups)
    new = Graph(graph.name)
    table: dict[Value, Value] = {}
    again: dict[Value, Value] = {}

    def add(node: Node, inputs: list[Value], into: dict[Value, Value]) -> None:
        new.current = node.sources
        for number, value in enumerate(copy(new, node, inputs)):
            into[Value(node.id, number)] = value

    def early(value: Value) -> Value:
        """The value as the forward pass has it."""
        if value not in table:
            node = graph.nodes[value.node]
            add(node, [early(v) for v in node.inputs], table)
        return table[value]

    def late(value: Value) -> Value:
        """The value as a group behind the forward pass reads it."""
        if value in again:
            return again[value]
        node = graph.nodes[value.node]
        given_up = node.id in forward and node.id not in kept
        if not given_up and not (node.op.view and node.inputs):
            return early(value)
        add(node, [late(v) for v in node.inputs], again)
        return again[value]

    for value in (*graph.inputs.values(), *(v for k, v in graph.variables.items() if k in graph.updates)):
        early(value)
    for node in groups:
        if node.id in forward:
            early(Value(node.id))
    for node in groups:
        if node.id not in forward:
            add(node, [late(v) for v in node.inputs], table)
    new.current = ()
    new.outputs = {name: early(v) for name, v in graph.outputs.items()}
    new.updates = {name: early(v) for name, v in graph.updates.items()}
    return new


def _forward(graph: Graph, groups: list[Node]) -> set[int]:
    """The groups that the outputs depend on: loss and metrics."""
    needed, stack = set(), [v.node for v in graph.outputs.values()]
    while stack:
        id = stack.pop()
        if id not in needed:
            needed.add(id)
            stack += [v.node for v in graph.nodes[id].inputs]
    return {m.id for m in groups if m.id in needed}


def _plans(graph: Graph, n: int) -> Iterator[set[int]]:
    """Sets of groups whose results are kept for the backward pass."""
    groups = execution_order(graph)
    ids, base = _forward(graph, groups), bases(graph)
    forward = [m for m in groups if m.id in ids]
    sizes = {m.id: sum(buffer_bytes(type).at(n) for type in m.types) for m in forward}
    read = {base[v].node for m in groups if m.id not in ids for v in m.inputs}
    saved = {m.id for m in forward if m.id in read}
    cheap = sorted((m.id for m in forward if m.id in saved and not _costs(m)), key=lambda id: -sizes[id])
    total = sum(sizes[id] for id in cheap)
    for share in SHARES:
        given_up, bytes = set(), 0
        for id in cheap:
            if bytes < share * total:
                given_up.add(id)
                bytes += sizes[id]
        yield saved - given_up
    mean = sum(sizes[id] for id in saved) / max(len(saved), 1)
    small = {id for id in saved if sizes[id] < mean / 16}
    cuts = _cuts(forward, base)
    for segments in SEGMENTS:
        if segments < len(forward):
            yield small | _at_cuts(forward, cuts, sizes, segments)


def _cuts(forward: list[Node], base: Mapping[Value, Value]) -> list[set[int]]:
    """Behind each group of the forward pass, the groups so far whose results it still reads."""
    last: dict[int, int] = {}
    for step, m in enumerate(forward):
        for value in m.inputs:
            last[base[value].node] = step
    alive: set[int] = set()
    found = []
    for step, m in enumerate(forward):
        alive.add(m.id)
        alive = {id for id in alive if last.get(id, -1) > step}
        found.append(set(alive))
    return found


def _at_cuts(forward: list[Node], cuts: list[set[int]], sizes: Mapping[int, int], segments: int) -> set[int]:
    """What is kept where the forward pass is cut into segments that make about as many bytes each: at the
    narrowest place around each even cut."""
    made = list(accumulate(sizes[m.id] for m in forward))
    kept: set[int] = set()
    for number in range(1, segments):
        low, high = (made[-1] * (number + side) / segments for side in (-0.4, 0.4))
        near = [step for step, bytes in enumerate(made) if low <= bytes <= high]
        if near:
            kept |= min((cuts[step] for step in near), key=lambda cut: sum(sizes.get(id, 0) for id in cut))
    return kept


def _costs(group: Node) -> bool:
    """Whether a group has a product or a loop over time, which is much work to do again."""
    return bool(group.op.loop) or any(m.op.kind == "contraction" for m in group.body.nodes.values())

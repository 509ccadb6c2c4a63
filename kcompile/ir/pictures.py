"""Graphs as pictures, SVG, without any program but this: boxes in layers, edges as curves between them.

Enters: boxes and edges. Leaves: text. Each box is in the layer after the last one that it depends on; the
order within layers is by the mean place of neighbours, a few times down and up, which leaves few crossings.
Importing networkx takes as long as compiling a small model: import this where a picture is asked for.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

import networkx as nx

from kcompile_runtime.texts import printable

LETTER, LINE, EDGE = 6.7, 15, 8  # pixels: width of a letter, height of a line, from text to border
GAP, BETWEEN, MARGIN = 18, 34, 10  # pixels: between boxes of a layer, between layers, around
SWEEPS = 12
COLOURS = (
    "#cfe2f3", "#d9ead3", "#fff2cc", "#f4cccc", "#d9d2e9", "#d0e0e3", "#fce5cd",
    "#ead1dc", "#e2efda", "#dae3f3",
)  # fmt: skip
STYLE = "role='img' style='background:#fff' font-family='system-ui, sans-serif' font-size='12'"


@dataclass(frozen=True)
class Box:
    """A node of a picture: lines of text, colour, what is told when the mouse points at it, and whether its
    border is dashed."""

    lines: tuple[str, ...]
    colour: str = "#f3f3f3"
    title: str = ""
    dashed: bool = False

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        return max(map(len, self.lines), default=0) * LETTER + 2 * EDGE, len(self.lines) * LINE + 2 * EDGE - 4


def colour_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, in turn."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(dict.fromkeys(names))}


def drawn(
    boxes: Mapping[Any, Box], edges: Iterable[tuple[Hashable, Hashable]], rankdir: str = "TB", label: str = ""
) -> str:
    """The picture as SVG. edges: pairs of keys of boxes. rankdir: the direction of edges, "TB" is down, "LR"
    to the right, "BT" and "RL" the other way."""
    down = rankdir in ("TB", "BT")
    graph, back = _without_cycles(boxes, edges)
    layers, chains = _layers(graph)
    extent = {key: box.size if down else box.size[::-1] for key, box in boxes.items()}  # across, along
    across = _across(layers, chains, {key: size[0] for key, size in extent.items()})
    low = min((across[k] - extent[k][0] / 2 for k in boxes), default=0.0)
    bands, at = list[tuple[float, float]](), float(MARGIN)
    for layer in layers:
        deep = max((extent[k][1] for k in layer if k in extent), default=0.0)
        bands.append((at, at + deep))
        at += deep + BETWEEN
    band = {key: bands[number] for number, layer in enumerate(layers) for key in layer}
    length = at - BETWEEN + MARGIN if layers else 2 * MARGIN
    breadth = max((across[k] + extent[k][0] / 2 for k in boxes), default=0.0) - low + 2 * MARGIN

    def point(a: float, b: float) -> tuple[float, float]:
        a, b = a - low + MARGIN, length - b if rankdir in ("BT", "RL") else b
        return (a, b) if down else (b, a)

    size = (breadth, length) if down else (length, breadth)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {size[0]:.0f} {size[1]:.0f}' "
        f"width='{size[0]:.0f}' height='{size[1]:.0f}' {STYLE} aria-label='{_text(label)}'>",
        "<defs><marker id='arrow' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' "
        "orient='auto-start-reverse'><path d='M0,0 L8,4 L0,8 z' fill='#777'/></marker></defs>",
    ]
    for (a, b), chain in chains.items():
        ends = [(across[a], _middle(band[a], extent[a][1], 1))]
        for key in chain:
            ends += [(across[key], band[key][0]), (across[key], band[key][1])]
        ends.append((across[b], _middle(band[b], extent[b][1], -1)))
        which = "marker-start" if (a, b) in back else "marker-end"
        parts.append(
            f"<path d='{_curve(ends, point, down)}' fill='none' stroke='#999' {which}='url(#arrow)'/>"
        )
    for key, box in boxes.items():
        centre = point(across[key], sum(band[key]) / 2)
        parts += _box(box, *centre)
    return "\n".join([*parts, "</svg>"])


def _middle(band: tuple[float, float], deep: float, side: int) -> float:
    """Where an edge leaves (side 1) or meets (-1) a box, which stands in the middle of its layer."""
    return sum(band) / 2 + side * deep / 2


def _curve(ends: list[tuple[float, float]], point: object, down: bool) -> str:
    points = [point(*end) for end in ends]  # type: ignore[operator]
    text = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for (x, y), (u, v) in pairwise(points):
        bend = (x, (y + v) / 2, u, (y + v) / 2) if down else ((x + u) / 2, y, (x + u) / 2, v)
        text.append("C{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}".format(*bend, u, v))
    return " ".join(text)


def _box(box: Box, x: float, y: float) -> list[str]:
    width, height = box.size
    dash = " stroke-dasharray='4 3'" if box.dashed else ""
    parts = [
        f"<g><title>{_text(box.title)}</title>" if box.title else "<g>",
        f"<rect x='{x - width / 2:.1f}' y='{y - height / 2:.1f}' width='{width:.1f}' height='{height:.1f}' "
        f"rx='4' fill='{box.colour}' stroke='#777'{dash}/>",
    ]
    for number, line in enumerate(box.lines):
        at = y + (number - (len(box.lines) - 1) / 2) * LINE + 4
        bold = " font-weight='600'" if number == 0 and len(box.lines) > 1 else " fill='#333'"
        parts.append(f"<text x='{x:.1f}' y='{at:.1f}' text-anchor='middle'{bold}>{_text(line)}</text>")
    return [*parts, "</g>"]


def _text(text: str) -> str:
    return escape(printable(text))


# ---------------------------------------------------------------- places


def _without_cycles(
    boxes: Iterable[Hashable], edges: Iterable[tuple[Hashable, Hashable]]
) -> tuple[nx.DiGraph, set[tuple[Hashable, Hashable]]]:
    """The graph, where edges that close a circle are turned round; and those that are."""
    graph, back = nx.DiGraph(), set()
    graph.add_nodes_from(boxes)
    graph.add_edges_from((a, b) for a, b in edges if a != b)
    while not nx.is_directed_acyclic_graph(graph):
        a, b = nx.find_cycle(graph)[-1][:2]
        graph.remove_edge(a, b)
        if not graph.has_edge(b, a):
            graph.add_edge(b, a)
            back.add((b, a))
    return graph, back


Chains = dict[tuple[Hashable, Hashable], list[Hashable]]


def _layers(graph: nx.DiGraph) -> tuple[list[list[Hashable]], Chains]:
    """Keys by layer, and for each edge the places in the layers between its ends, which take part as keys."""
    layers: list[list[Hashable]] = [list(layer) for layer in nx.topological_generations(graph)]
    number = {key: i for i, layer in enumerate(layers) for key in layer}
    for key in graph:  # what nothing leads to stands before what it is for
        after = [number[k] for k in graph.successors(key)]
        if after and not graph.in_degree(key) and min(after) - 1 > number[key]:
            layers[number[key]].remove(key)
            number[key] = min(after) - 1
            layers[number[key]].append(key)
    chains: Chains = {}
    for a, b in graph.edges:
        chains[a, b] = [("between", a, b, i) for i in range(number[a] + 1, number[b])]
        for place, key in enumerate(chains[a, b], number[a] + 1):
            layers[place].append(key)
    return layers, chains


def _across(
    layers: list[list[Hashable]], chains: Chains, widths: Mapping[Hashable, float]
) -> dict[Hashable, float]:
    """The middle of each key within its layer, whose order is changed."""
    before: dict[Hashable, list[Hashable]] = {}
    behind: dict[Hashable, list[Hashable]] = {}
    for (a, b), chain in chains.items():
        for x, y in pairwise((a, *chain, b)):
            behind.setdefault(x, []).append(y)
            before.setdefault(y, []).append(x)
    place = {key: float(i) for layer in layers for i, key in enumerate(layer)}
    for sweep in range(SWEEPS):
        near, order = (before, layers) if sweep % 2 == 0 else (behind, layers[::-1])
        for layer in order:
            wanted = {k: _mean([place[x] for x in near.get(k, ())], place[k]) for k in layer}
            layer.sort(key=wanted.__getitem__)
            place.update((k, float(i)) for i, k in enumerate(layer))
    at: dict[Hashable, float] = {}
    for layer in layers:
        _spread(layer, dict.fromkeys(layer, 0.0), widths, at)
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            near = {k: [*before.get(k, ()), *behind.get(k, ())] for k in layer}
            wanted = {k: _mean([at[x] for x in near[k]], at[k]) for k in layer}
            _spread(layer, wanted, widths, at)
    return at


def _mean(numbers: list[float], other: float) -> float:
    return sum(numbers) / len(numbers) if numbers else other


def _spread(
    layer: list[Hashable],
    wanted: Mapping[Hashable, float],
    widths: Mapping[Hashable, float],
    at: dict[Hashable, float],
) -> None:
    """Put the keys of a layer, in their order, near where they are wanted, without overlap."""
    places, end = [], float("-inf")
    for key in layer:
        half = widths.get(key, 0.0) / 2
        middle = max(wanted[key], end + GAP + half)
        places.append(middle)
        end = middle + half
    shift = _mean([wanted[k] - p for k, p in zip(layer, places)], 0.0)
    at.update((k, p + shift) for k, p in zip(layer, places))

"""What became of a model, as one HTML page that loads nothing; and the graph before and after as a picture.

Enters: a compiled model. Leaves: text. The page has the graph as traced and as kernels, what became of each
layer, sizes, the distance from the interpreter, times against the machine's limits, and where values lie in
memory while a call runs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Any

import numpy as np

from kcompile import compiler, profile_page, profiling
from kcompile.codegen import targets
from kcompile.codegen.program import Entry, Launch, Repeat, Size
from kcompile.compiler import Compiled
from kcompile.ir import pictures
from kcompile.ir.graph import Graph, Node
from kcompile.ir.pictures import Box, colour_of
from kcompile.ir.types import TensorType
from kcompile.model import CompiledModel
from kcompile.native import bytes_of
from kcompile_runtime.texts import printable

NONE = "of no layer"  # what passes made for all of a model
MOST = 250  # boxes of a picture; larger graphs are drawn by layer
WIDTH, HEIGHT, LEFT = 860, 320, 90  # of the picture of memory


Boxes = dict[int, tuple[Node, tuple[str, ...]]]


def html(cm: CompiledModel, batch: int = 32, rounds: int = 30, lengths: Any = None) -> str:
    """The page of a compiled model, for predictions of `batch` samples of random numbers; a profile has
    `rounds` calls. lengths: as `CompiledModel.graph` has them. Raises what `verify` and `profile` raise:
    UnsupportedError on a graphics processor, InputError."""
    profile = cm.profile(entry="predict", batch=batch, rounds=rounds, lengths=lengths)
    compiled = cm.engine.compiled("predict", lengths)
    n, total = profile.samples, sum(k.seconds for k in profile.kernels) or 1.0
    before, after = compiled.graph, compiled.run
    colours = colour_of(
        layer for graph in (before, after) for node in graph.live() for layer in _layers(node)
    )
    verified = cm.verify(_drawn_inputs(cm, before, n))
    title = escape(printable(f"{cm.model.name}: what it is compiled to"))
    kernels = sum(len(e.launches) for e in compiled.program.entries[-1:])
    worst = max((e.ratio for e in verified.layers), default=0.0)
    about = (
        f"{_operations(before)} operations become {kernels} kernels for {profile.target}, which predict "
        f"{n} samples in {profiling.spelt_time(profile.seconds)} on {profile.threads} threads. The "
        f"largest distance from the interpreter is {worst:.0%} of what is allowed: "
        f"{'ok' if verified.ok else 'DIFFERENT'}."
    )
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            f"<title>{title}</title><style>{profile_page.STYLE} .wide {{ overflow: auto; max-height: 80vh }}"
            " .left td, .left th { text-align: left }</style></head><body>",
            f"<h1>{title}</h1><p>{escape(about)}</p>",
            "<h2>Sizes</h2>",
            _table([("what", "bytes")], list(_sizes(compiled, n).items())),
            "<h2>Before: the graph as traced</h2><p>A box is an operation, of its layer's colour. Point at "
            "it for its type.</p>",
            f'<div class="wide">{before_picture(before, colours)}</div>',
            "<h2>After: kernels</h2><p>A box is a kernel: what it computes, and the layers that this is from."
            "</p>",
            f'<div class="wide">{after_picture(after, colours)}</div>',
            "<h2>Layers and their kernels</h2>",
            _table([("layers", "operations of the kernel", "results")], list(_groups(after))),
            "<h2>Time against the machine</h2>",
            profile_page.roofline(profile, total),
            profile_page.table(list(profile.kernels), total, lambda k: f"{k.where}: {k.label}"),
            "<h2>Memory</h2><p>Values between kernels. To the right: the kernels of a call; upwards: "
            "addresses. What is not alive together shares memory.</p>",
            memory_picture(compiled.program.entries[-1], n, colours),
            "<h2>Accuracy beside the interpreter</h2>",
            _table(
                [("layer", "largest difference", "of tolerance")],
                [(e.layer, f"{e.difference:.2e}", f"{e.ratio:.1%}") for e in verified.layers],
            ),
            "</body></html>",
        ]
    )


def picture(cm: CompiledModel, target: str | None = None, lengths: Any = None, rankdir: str = "TB") -> str:
    """The graph of predictions as traced and as kernels, side by side, as SVG. target: of the kernels, one of
    `kcompile.codegen.targets`, by default what the model is compiled for. rankdir: see `pictures.drawn`."""
    cm.follow_live()
    chosen = cm.engine.target if target is None else targets.of_any_kind(target)
    traced = cm.engine.graph("predict", lengths)
    after = compiler.compile_graph(traced, "predict", chosen, frozen=True).run
    colours = colour_of(layer for node in traced.live() for layer in _layers(node))
    boxes, edges = _before(traced)
    later, links = _after(after)
    every: dict[Hashable, tuple[Node, tuple[str, ...]]] = {("before", k): v for k, v in boxes.items()}
    every |= {("after", k): v for k, v in later.items()}
    joined = [(("before", a), ("before", b)) for a, b in edges] + [
        (("after", a), ("after", b)) for a, b in links
    ]
    return pictures.drawn(_coloured(every, colours), joined, rankdir, "before and after fusion")


def _drawn_inputs(cm: CompiledModel, graph: Graph, n: int) -> list[np.ndarray] | None:
    return cm._random_inputs(graph, n) if cm.model.varies else None


# ---------------------------------------------------------------- graphs


def before_picture(graph: Graph, colours: Mapping[str, str]) -> str:
    """A graph as traced, as SVG; by layer where it is large."""
    return _picture(*_before(graph), colours, "before")


def after_picture(graph: Graph, colours: Mapping[str, str]) -> str:
    """The kernels of a fused graph, as SVG."""
    return _picture(*_after(graph), colours, "after")


def _before(graph: Graph) -> tuple[Boxes, list[tuple[int, int]]]:
    """What computes, and inputs, with the lines to be shown of each; and who reads whom."""
    shown = [m for m in graph.live() if m.op.kind != "source" or m.op.origin == "input"]
    boxes: Boxes = {m.id: (m, (_name(m),)) for m in shown}
    return boxes, [(v.node, m.id) for m in shown for v in m.inputs if v.node in boxes]


def _after(graph: Graph) -> tuple[Boxes, list[tuple[int, int]]]:
    """The kernels and inputs of a fused graph; what only looks at memory in another shape is left out."""
    nodes = graph.live()
    boxes: Boxes = {}
    reached: dict[int, set[int]] = {}  # of a node that is left out: the boxes that it is made of
    edges = []
    for m in nodes:
        sources = {s for v in m.inputs for s in reached[v.node]}
        if m.op.kind == "composite" or m.op.origin == "input":
            what = m.attrs["name"] if m.op.origin == "input" else profiling.operations(m)
            lines = (", ".join(_layers(m)) or NONE, *wrap(what, 34, max_lines=3, placeholder=" ..."))
            boxes[m.id] = m, tuple(filter(None, lines)) if m.regions else (_name(m),)
            edges += [(s, m.id) for s in sorted(sources)]
            sources = {m.id}
        reached[m.id] = sources
    return boxes, edges


def _picture(boxes: Boxes, edges: list[tuple[int, int]], colours: Mapping[str, str], label: str) -> str:
    every: dict[Hashable, tuple[Node, tuple[str, ...]]] = dict(boxes.items())
    if len(boxes) <= MOST:
        return pictures.drawn(_coloured(every, colours), edges, label=label)
    counts: dict[str, int] = {}
    where = {id: ", ".join(_layers(m)) or _name(m) for id, (m, _) in boxes.items()}
    for name in where.values():
        counts[name] = counts.get(name, 0) + 1
    by_layer: dict[Hashable, Box] = {
        name: Box(
            (name, f"{count} operation{'s' * (count > 1)}"), colours.get(name.split(", ")[-1], "#f3f3f3")
        )
        for name, count in counts.items()
    }
    return pictures.drawn(by_layer, [(where[a], where[b]) for a, b in edges], label=label)


def _coloured(
    boxes: Mapping[Hashable, tuple[Node, tuple[str, ...]]], colours: Mapping[str, str]
) -> dict[Hashable, Box]:
    made: dict[Hashable, Box] = {}
    for key, (m, lines) in boxes.items():
        layers = _layers(m)
        title = f"{', '.join(layers)}: {', '.join(map(str, m.types))}"
        made[key] = Box(lines, colours.get(layers[-1], "#f3f3f3") if layers else "#ffffff", title)
    return made


def _name(m: Node) -> str:
    return f"input {m.attrs['name']}" if m.op.origin == "input" else m.op.name


def _layers(m: Node) -> tuple[str, ...]:
    """The layers that a node is from."""
    return tuple(dict.fromkeys(map(str, m.sources)))


def _operations(graph: Graph) -> int:
    return sum(m.op.kind != "source" for m in graph.live())


def _groups(graph: Graph) -> Iterator[tuple[str, ...]]:
    for m in graph.live():
        if m.op.kind == "composite":
            yield ", ".join(_layers(m)), profiling.operations(m), ", ".join(map(str, m.types))


# ---------------------------------------------------------------- sizes and memory


def _sizes(compiled: Compiled, n: int) -> dict[str, str]:
    program = compiled.program
    entry = program.entries[-1]
    weights = sum(bytes_of(compiled.graph.type(v), 1) for v in compiled.graph.variables.values())
    found = {
        "weights": weights,
        "prepared from weights": program.prepared,
        "constants": len(program.constants),
        "machine code": sum(map(len, compiled.bundle.objects)),
        f"values between kernels, of {_together(entry, n)} samples at once": entry.arena.at(
            _together(entry, n)
        ),
    }
    return {what: f"{size:,}" for what, size in found.items()}


def _together(entry: Entry, n: int) -> int:
    """How many samples are computed at once."""
    return n if entry.blocks is None else min(n, entry.blocks.samples)


@dataclass
class Alive:
    """A value in the arena: bytes from `start` to `end`, from one step to another, both included."""

    start: int
    end: int
    first: int
    last: int
    layers: tuple[str, ...]
    type: TensorType | None


def alive(entry: Entry, n: int) -> list[Alive]:
    """The values in the arena of an entry while it computes n samples, by the steps that write and read them.
    A part of a concatenation is a value of its own, from where it begins."""
    found: list[Alive] = []
    latest: dict[Size, Alive] = {}
    for step, part in enumerate(entry.steps):
        launches = part.launches if isinstance(part, Repeat) else (part,)
        times = part.count if isinstance(part, Repeat) else 1
        for launch in launches:
            for place, start, size, type, written in _touched(launch, times, n):
                one = latest.get(place)
                if one is None or (written and one.last < step):
                    one = Alive(start, start + size, step, step, tuple(map(str, launch.sources)), type)
                    latest[place] = one
                    found.append(one)
                one.last, one.start, one.end = step, min(one.start, start), max(one.end, start + size)
    return found


def _touched(launch: Launch, times: int, n: int) -> Iterator[tuple[Size, int, int, TensorType | None, bool]]:
    """(place, first byte, bytes, type, whether it is written) of what a launch uses in the arena, in so many
    repetitions of it: a sequence is one value, two buffers that take turns are two."""
    group = launch.group
    types: list[TensorType | None] = [None] * len(launch.buffers)
    inputs = len(launch.buffers) - 1
    if group is not None and group.regions:
        inside = [group.body.type(v) for v in group.body.inputs.values()]
        known = [*inside, *group.types]
        if len(known) == len(launch.buffers):
            types, inputs = list(known), len(inside)
    for number, (ref, type) in enumerate(zip(launch.buffers, types)):
        if ref.region == "arena":
            size = bytes_of(type, n) if type is not None else 64
            way = ref.step.at(n) * (times - 1)
            for place in dict.fromkeys((ref.offset, ref.offset + ref.alternate)):
                yield place, place.at(n) + min(way, 0), size + abs(way), type, number >= inputs


def memory_picture(entry: Entry, n: int, colours: Mapping[str, str]) -> str:
    """Where the values between kernels lie during a call, as SVG."""
    samples = _together(entry, n)
    values, steps = alive(entry, samples), len(entry.steps)
    total = max(entry.arena.at(samples), 1)
    if not values:
        return "<p>None: each kernel reads what it is given, and writes results.</p>"
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 40}" width="100%" role="img" aria-label="memory over time">',
        f'<rect x="{LEFT}" y="10" width="{WIDTH - LEFT - 10}" height="{HEIGHT - 10}" fill="none" '
        'stroke="#999"/>',
    ]
    across, up = (WIDTH - LEFT - 10) / steps, (HEIGHT - 10) / total
    for v in values:
        x, width = LEFT + v.first * across, (v.last - v.first + 1) * across
        y, height = HEIGHT - v.end * up, max((v.end - v.start) * up, 1.0)
        colour = colours.get(v.layers[-1], "#ddd") if v.layers else "#ddd"
        what = f"{', '.join(v.layers)}: {v.type or 'copy'}, {v.end - v.start:,} bytes"
        title = f"{what}, kernels {v.first} to {v.last}"
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}" '
            f'stroke="#666" stroke-width=".5"><title>{escape(printable(title))}</title></rect>'
        )
    parts += [
        f'<text x="{LEFT - 6}" y="20" text-anchor="end">{total:,} B</text>',
        f'<text x="{LEFT - 6}" y="{HEIGHT}" text-anchor="end">0</text>',
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT + 24}" text-anchor="middle">'
        f"{steps} kernels of a call, one after the other</text></svg>",
    ]
    return "\n".join(parts)


def _table(heads: list[tuple[str, ...]], rows: list[Any]) -> str:
    lines = ['<table class="left">']
    lines += ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>" for head in heads]
    lines += [
        "<tr>" + "".join(f"<td>{escape(printable(cell))}</td>" for cell in row) + "</tr>" for row in rows
    ]
    return "\n".join([*lines, "</table>"])

"""Concatenations written in place: which values lie inside the array that they are joined in.

Enters: the groups of a fused graph in the order in which they run. Leaves: `Joins`, for each such value its
`Part` of another. A group that only concatenates copies all of its operands. Where the kernel that makes an
operand can store its rows apart (`loops.Window`), and the kernels of all that read it can read them so, it
is written where it will lie, and nothing is copied; so are chains of concatenations, each in the next. What
cannot (inputs of the model, an operand that is there twice, results of loops over time) is copied by itself.

Not done where vectors would be lost: a kernel that runs over whole arrays in full vectors would have to stop
after each row of a few elements. Nor on graphics processors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kcompile.codegen.groups.elements import lanes_of, parameters
from kcompile.codegen.groups.windows import cuts_of
from kcompile.codegen.loops import Window
from kcompile.codegen.loops.indexing import run_axis
from kcompile.codegen.targets import Target
from kcompile.ir.contraction import Contraction
from kcompile.ir.domain import coalesce_axes, domain_of
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.rewrite import copy
from kcompile.ir.types import Shape, numel


@dataclass(frozen=True)
class Part:
    """Where a value lies: from element `start` of the value `whole` on, which is no part itself. window: how,
    None where its elements are next to each other."""

    whole: Value
    start: int
    window: Window | None


@dataclass(frozen=True)
class Operand:
    """An operand of a concatenation. inner: in the body of its group. value: what of memory it is, None where
    the group computes it. start: its first element in the result. window: how it lies there."""

    inner: Value
    value: Value | None
    start: int
    window: Window | None


@dataclass(frozen=True)
class Copy:
    """An operand that a kernel of its own writes where it belongs. group: as those of a fused graph are.
    values: that it reads, in memory. part: where its result lies."""

    group: Node
    values: tuple[Value, ...]
    part: Part


@dataclass(frozen=True)
class Joins:
    """parts: of values (by their base). copied: for each concatenation that is done so, by its id, what is
    still copied."""

    parts: Mapping[Value, Part] = field(default_factory=dict)
    copied: Mapping[int, Sequence[Copy]] = field(default_factory=dict)

    def window(self, value: Value) -> Window | None:
        part = self.parts.get(value)
        return part.window if part else None


def bases(graph: Graph) -> dict[Value, Value]:
    """For each value its base: the value whose memory it is a view of, or itself."""
    base: dict[Value, Value] = {}
    for m in graph.live():
        for i in range(len(m.types)):
            base[Value(m.id, i)] = Value(m.id, i)
        if m.op.view:
            base[Value(m.id)] = base[m.inputs[0]]
    return base


def find_joins(graph: Graph, groups: Sequence[Node], base: Mapping[Value, Value], target: Target) -> Joins:
    """See the module. base: the value in memory that each value shows."""
    joined = {m.id: list(operands_of(m)) for m in groups} if not target.is_gpu else {}
    joined = {id: operands for id, operands in joined.items() if operands}
    if not joined:
        return Joins()
    finder = _Finder(graph, base, target, {m.id: m for m in groups}, joined)
    for m in reversed(groups):  # a concatenation of concatenations comes after these
        if m.id in joined and Value(m.id) not in finder.updated:
            finder.join(m)
    return Joins(finder.parts, finder.copied)


def operands_of(group: Node) -> Iterator[Operand]:
    """The operands of a group whose one result is a concatenation; none of any other group."""
    if group.op.loop or len(group.types) > 1:
        return
    body = group.body
    ((result,), slots) = body.outputs.values(), {v.node: i for i, v in enumerate(body.inputs.values())}
    root = body.nodes[result.node]
    if not root.op.joins:
        return
    found, start, axis = [], 0, root.attrs["axis"]
    stride = numel(root.types[0].shape[axis:])
    for inner in root.inputs:
        run, shown = numel(body.type(inner).shape[axis:]), body.shown(inner)
        if not isinstance(run, int) or not isinstance(stride, int):
            return
        window = Window(run, stride) if numel(root.types[0].shape[:axis]) != 1 else None
        value = group.inputs[slots[shown.node]] if shown.node in slots else None
        found.append(Operand(inner, value, start, window))
        start += run
    yield from found


def alone(group: Node, operand: Operand) -> tuple[Node, list[Value]]:
    """A group that computes one operand of a concatenation, or copies it, and what of memory it reads."""
    body, result = group.body, operand.inner
    shown = body.shown(result)
    if operand.window is None or run_axis(body.type(shown).shape, operand.window.run) is not None:
        result = shown
    needed, stack = set(), [result.node]
    while stack:
        needed.add(id := stack.pop())
        stack += [v.node for v in body.nodes[id].inputs]
    slots = {v.node: slot for slot, v in enumerate(body.inputs.values())}
    outer, region, table, read = Graph("copies"), Graph(body.name), dict[Value, Value](), []
    for id in sorted(needed):
        node = body.nodes[id]
        if id in slots:
            read.append(slots[id])
            table[Value(id)] = region.input(str(len(read)), node.types[0])
        else:
            (table[Value(id)],) = copy(region, node, [table[v] for v in node.inputs])
    made = table[result]
    if region.nodes[region.shown(made).node].op.origin == "input":
        made = Value(region.add("copy", [made]).id)
    region.outputs["0"] = made
    with outer.source(*group.sources):
        operands = [outer.input(str(i), v) for i, v in enumerate(map(region.type, region.inputs.values()))]
        return outer.add("group", operands, regions=(region,)), [group.inputs[slot] for slot in read]


class _Finder:
    """joined: the operands of each concatenation, by the id of its group."""

    def __init__(
        self,
        graph: Graph,
        base: Mapping[Value, Value],
        target: Target,
        groups: Mapping[int, Node],
        joined: Mapping[int, Sequence[Operand]],
    ) -> None:
        self.base, self.target, self.groups, self.joined = base, target, groups, joined
        self.updated = {base[v] for v in graph.updates.values()}
        self.kept = self.updated | {base[v] for v in graph.outputs.values()}  # have places of their own
        self.readers: dict[Value, list[tuple[Node, int]]] = {}
        for m in groups.values():
            for slot, value in enumerate(m.inputs):
                self.readers.setdefault(base[value], []).append((m, slot))
        self.parts: dict[Value, Part] = {}
        self.copied: dict[int, Sequence[Copy]] = {}

    def join(self, group: Node) -> None:
        """Give the operands of a concatenation their places in its result, as far as they can have them."""
        outer = self.parts.get(Value(group.id), Part(Value(group.id), 0, None))
        copied, operands = [], self.joined[group.id]
        for operand in operands:
            value = None if operand.value is None else self.base[operand.value]
            part = _inside(outer, operand)
            if part is None:  # and so it is for all
                return
            if value is not None and value not in self.parts and self.can_be(value, part.window):
                self.parts[value] = part
            else:
                made, read = alone(group, operand)
                copied.append(Copy(made, tuple([self.base[v] for v in read]), part))
        if len(copied) < len(operands):
            self.copied[group.id] = copied

    def can_be(self, value: Value, window: Window | None) -> bool:
        """Whether a value can lie so."""
        maker = self.groups.get(value.node)
        if maker is None or value in self.kept:
            return False
        return window is None or (
            self.can_store(maker, value, window)
            and all(self.can_read(m, slot, window) for m, slot in self.readers.get(value, ()))
        )

    def can_store(self, group: Node, value: Value, window: Window) -> bool:
        """Whether the kernel of a group, or those of a scan, can store a result in a window."""
        if group.op.loop:
            return self.can_step(group, value, window)
        if group.is_chain:  # whose groups see operands under other shapes
            return False
        anchor = group.anchor
        if anchor is not None:
            columns = numel(anchor.attrs["spec"].j)
            return isinstance(columns, int) and window.run % columns == 0
        return self.is_nest(group, len(group.inputs) + value.output, window)

    def can_step(self, scan: Node, value: Value, window: Window) -> bool:
        """Whether a scan can store a result in a window: a state when it is done, an output step by step."""
        body = scan.body
        base = bases(body)
        results = [base[v] for v in body.outputs.values()]
        result = results[value.output]
        if value.output < scan.attrs["states"]:
            return run_axis(scan.types[value.output].shape, window.run) is not None
        groups = {m.id: m for m in body.live() if m.op.kind == "composite"}
        inside = _Finder(body, base, self.target, groups, {})
        inside.kept = {v for v in results if results.count(v) > 1}
        return inside.can_be(result, window)

    def can_read(self, group: Node, slot: int, window: Window) -> bool:
        """Whether the kernel of a group can read an operand that lies in a window."""
        if group.op.loop or group.is_chain:
            return False
        anchor = group.anchor
        if anchor is not None:
            return _feeds_contraction(group, slot, anchor, window)
        return self.is_nest(group, slot, window)

    def is_nest(self, group: Node, number: int, window: Window) -> bool:
        """Whether loops over the elements of a group reach buffer `number` of its kernel in a window, and
        lose no vectors by it: these end with a row."""
        body = group.body
        values = [*body.inputs.values(), *body.outputs.values()]
        shape = body.type(values[number]).shape
        first = run_axis(shape, window.run)
        if first is None or any(m.op.kind == "scatter" for m in body.nodes.values()):
            return False
        windows = [window if i == number else None for i in range(len(values))]
        inputs, outputs = parameters(body, windows)
        domain = domain_of(body)
        cuts = cuts_of(body, domain, zip((v.node for v in values), (*inputs, *outputs)))
        return (
            window.run >= lanes_of(body, self.target)
            or _rows_of_a_sample(shape[:first]) == 1
            or coalesce_axes(body, domain, cuts) == coalesce_axes(body, domain)
        )


def _inside(outer: Part, operand: Operand) -> Part | None:
    """Where an operand lies in what its concatenation is a part of; None where that is not in equal runs."""
    inner, start = operand.window, outer.start + operand.start
    if outer.window is None:
        return Part(outer.whole, start, inner)
    if inner is None or inner.stride != outer.window.run:
        return None
    return Part(outer.whole, start, Window(inner.run, outer.window.stride))


def _feeds_contraction(group: Node, slot: int, anchor: Node, window: Window) -> bool:
    """Whether a group around a contraction can read an operand whose runs are the rows of the epilogue, or
    those along the last axis of A."""
    body, spec = group.body, anchor.attrs["spec"]
    assert isinstance(spec, Contraction)
    id = list(body.inputs.values())[slot].node
    shape = body.nodes[id].types[0].shape
    read = [i for i, v in enumerate(anchor.inputs) if v.node == id]
    if any(v.node == id for m in body.nodes.values() if m is not anchor for v in m.inputs) and (
        shape != spec.rows + spec.columns or window.run != numel(spec.columns)
    ):
        return False
    if not read:
        return True
    last = spec.a.index[-1]
    return (
        read == [spec.a.operand]
        and shape[-1] == window.run
        and body.nodes[id].types[0].dtype != "uint8"  # read in words, as bfloat16 is
        and not anchor.attrs.get("words", False)
        and not spec.a.guarded[-1]
        and last.divisor == 1
    )


def _rows_of_a_sample(shape: Shape) -> int:
    return math.prod(d for d in shape if isinstance(d, int))

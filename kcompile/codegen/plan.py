"""The memory plan: enters a fused graph, leaves an `Entry`, launches with the place of every buffer.

Results that leave the graph are written where the caller wants them, updates of variables in place
where nobody reads the old value any more, everything else in the arena, where values that are not
alive together share memory. A value with the batch takes bytes per sample, another a fixed number,
each from a region of its own: the arena has `fixed + n * per_sample` bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kcompile.codegen.lowering import buffer_bytes, lower_group
from kcompile.codegen.program import Entry, Launch, Ref, Size
from kcompile.codegen.targets import Target
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.passes.stage import PREPARED


@dataclass
class Layout:
    """Where the boundary of a program lies, common to its entries.

    variables: name -> number of its pointer. prepared: name -> offset in the prepared block of
    `prepared_bytes`. constants: the bytes collected so far.
    """

    variables: dict[str, int]
    prepared: dict[str, int] = field(default_factory=dict)
    prepared_bytes: int = 0
    constants: bytearray = field(default_factory=bytearray)
    _known: dict[bytes, int] = field(default_factory=dict)

    def prepare(self, graph: Graph) -> None:
        """Give each result of a prepare graph its place."""
        for name, value in graph.outputs.items():
            self.prepared[name] = self.prepared_bytes
            self.prepared_bytes += buffer_bytes(graph.type(value)).fixed

    def constant(self, data: bytes) -> int:
        if data not in self._known:
            self.constants += bytes(-len(self.constants) % 64)
            self._known[data] = len(self.constants)
            self.constants += data
        return self._known[data]


def plan(graph: Graph, name: str, layout: Layout, target: Target) -> Entry:
    """The entry `name` of a fused graph. Outputs are numbered in the graph's order, except those
    called "prepared/...", which go to the prepared block."""
    return _Plan(graph, name, layout, target).entry()


class _Space:
    """Offsets in one region, first fit."""

    def __init__(self) -> None:
        self.free: list[tuple[int, int]] = []  # (offset, bytes), sorted
        self.end = 0

    def take(self, size: int) -> int:
        for i, (offset, room) in enumerate(self.free):
            if room >= size:
                self.free[i:i + 1] = [(offset + size, room - size)] if room > size else []
                return offset
        if self.free and sum(self.free[-1]) == self.end:
            offset, room = self.free.pop()
        else:
            offset = self.end
        self.end = offset + size
        return offset

    def give(self, offset: int, size: int) -> None:
        spans = sorted([*self.free, (offset, size)])
        merged: list[tuple[int, int]] = []
        for start, room in spans:
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + room)
            else:
                merged.append((start, room))
        self.free = merged


class _Plan:
    def __init__(self, graph: Graph, name: str, layout: Layout, target: Target) -> None:
        self.graph, self.name, self.layout, self.target = graph, name, layout, target
        nodes = graph.live()
        self.base = {Value(m.id, i): Value(m.id, i) for m in nodes for i in range(len(m.types))}
        for m in nodes:
            if m.op.name == "reshape":
                self.base[Value(m.id)] = self.base[m.inputs[0]]
        self.groups = self.ordered([m for m in nodes if m.op.name == "group"])
        self.place: dict[Value, Ref] = {}
        self.aliased: set[int] = set()
        self.copies: list[tuple[Value, Ref]] = []

    def entry(self) -> Entry:
        self.place_boundary()
        last: dict[Value, int] = {}
        for step, m in enumerate(self.groups):
            for value in m.inputs:
                last[self.base[value]] = step
        for value, _ in self.copies:
            last[value] = len(self.groups)
        arena = self.place_arena(last)
        launches = [self.launch(step, m) for step, m in enumerate(self.groups)]
        launches += [self.copy(i, value, ref) for i, (value, ref) in enumerate(self.copies)]
        return Entry(self.name, tuple(launches), arena)

    def ordered(self, groups: Sequence[Node]) -> list[Node]:
        """Groups whose results are updates and nothing else come last, when all has been read."""
        read = {self.base[v].node for m in groups for v in m.inputs}
        updates = {self.base[v].node for v in self.graph.updates.values()}
        leaving = {self.base[v].node for v in self.graph.outputs.values()}
        late = updates - read - leaving
        return [m for m in groups if m.id not in late] + [m for m in groups if m.id in late]

    # ---- places

    def place_boundary(self) -> None:
        for number, value in enumerate(self.graph.inputs.values()):
            self.place[value] = Ref("input", number)
        for name, value in self.graph.variables.items():
            self.place[value] = self.variable(name)
        for m in self.graph.live():
            if m.op.name == "constant":
                offset = self.layout.constant(m.attrs["value"].data)
                self.place[Value(m.id)] = Ref("constant", offset=Size(offset))
        number = 0
        for name, value in self.graph.outputs.items():
            if name.startswith(PREPARED):
                self.place[self.base[value]] = self.variable(name)
            else:
                self.place[self.base[value]] = Ref("output", number)
                number += 1
        for name, value in self.graph.updates.items():
            self.place_update(name, self.base[value])

    def variable(self, name: str) -> Ref:
        if name in self.layout.prepared:
            return Ref("prepared", offset=Size(self.layout.prepared[name]))
        return Ref("variable", self.layout.variables[name])

    def place_update(self, name: str, value: Value) -> None:
        """In place, when the old value is read by no later group and at no other element."""
        old, ref = self.graph.variables[name], self.variable(name)
        steps = [i for i, m in enumerate(self.groups) if any(self.base[v] == old for v in m.inputs)]
        at = next(i for i, m in enumerate(self.groups) if m.id == value.node)
        maker = self.groups[at]
        reads = [slot for slot, v in enumerate(maker.inputs) if self.base[v] == old]
        later = [i for i in steps if i > at]
        safe = not later and value not in self.place and all(
            maker.inputs[slot] == old and _same_element(maker, slot) for slot in reads)
        if safe:
            self.place[value] = ref
            if reads:
                self.aliased.add(maker.id)
        else:
            self.copies.append((value, ref))

    def place_arena(self, last: Mapping[Value, int]) -> Size:
        fixed, sample = _Space(), _Space()
        taken: dict[Value, tuple[_Space, int, int]] = {}
        ends: dict[int, list[Value]] = {}
        for value, step in last.items():
            ends.setdefault(step, []).append(value)
        pending: list[tuple[Value, int]] = []
        for step, m in enumerate(self.groups):
            for number, type in enumerate(m.types):
                value = Value(m.id, number)
                if value in self.place:
                    continue
                size = buffer_bytes(type)
                space, amount = (sample, size.per_sample) if size.per_sample else (fixed, size.fixed)
                taken[value] = (space, space.take(amount), amount)
                pending.append((value, taken[value][1]))
                if value not in last:
                    ends.setdefault(step, []).append(value)
            for value in ends.get(step, []):
                if value in taken:
                    space, offset, amount = taken[value]
                    space.give(offset, amount)
        for value, offset in pending:
            where = Size(fixed.end, offset) if taken[value][0] is sample else Size(offset)
            self.place[value] = Ref("arena", offset=where)
        return Size(fixed.end, sample.end)

    # ---- launches

    def launch(self, step: int, m: Node) -> Launch:
        body: Graph = m.attrs["body"]
        kernel = lower_group(f"{self.name}{step}_{body.name}", m, self.target, m.id in self.aliased)
        buffers = [self.place[self.base[v]] for v in m.inputs]
        buffers += [self.place[Value(m.id, i)] for i in range(len(m.types))]
        return Launch(kernel.function, tuple(buffers), kernel.extent, kernel.work)

    def copy(self, number: int, value: Value, to: Ref) -> Launch:
        """Move a new value to its variable when everything else is done."""
        scratch, body = Graph("copies"), Graph("copy")
        type = self.graph.type(value)
        read = body.input("0", type)
        body.outputs["0"] = Value(body.add("stop_gradient", [read]).id)
        node = scratch.add("group", [scratch.input("0", type)], body=body, n=0, precision="float32")
        source = self.graph.nodes[value.node]
        node = replace(node, sources=source.sources)
        kernel = lower_group(f"{self.name}_copy{number}", node, self.target)
        return Launch(kernel.function, (self.place[value], to), kernel.extent, kernel.work)


def _same_element(group: Node, slot: int) -> bool:
    """Whether a group reads operand `slot` only at the element that it then writes."""
    body: Graph = group.attrs["body"]
    value = list(body.inputs.values())[slot]
    shape = body.type(value).shape
    reached = {value.node}
    for m in body.nodes.values():
        if any(v.node in reached for v in m.inputs):
            if m.op.kind != "elementwise" or m.types[0].shape != shape:
                return False
            reached.add(m.id)
    return all(body.type(v).shape == shape for v in body.outputs.values())

"""The memory plan: enters a fused graph, leaves an `Entry`, launches with the place of every buffer.

Results that leave the graph are written where the caller wants them, updates of variables in place
where nobody reads the old value any more, everything else in the arena, where values that are not
alive together share memory. A value with the batch takes bytes per sample, another a fixed number,
each from a region of its own: the arena has `fixed + n * per_sample` bytes.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from kcompile.codegen.architectures import linux
from kcompile.codegen.by_samples import is_rowwise, sample_blocks
from kcompile.codegen.joins import Part, bases, find_joins
from kcompile.codegen.loops import BYTES, Window
from kcompile.codegen.lower import Kernels
from kcompile.codegen.program import Entry, Guard, Launch, Ref, Repeat, Size, buffer_bytes, row_bytes
from kcompile.codegen.targets import Target
from kcompile.ir.graph import Graph, Node, Source, Value
from kcompile.ir.indices import CHECK, IndexCheck
from kcompile.ir.passes.stage import PREPARED
from kcompile.ir.types import Batch, TensorType, numel
from kcompile_runtime.layout import round_up


@dataclass
class Layout:
    """Where variables, the prepared block and constants of a program lie, common to its entries.

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
            self.constants += bytes(round_up(len(self.constants)) - len(self.constants))
            self._known[data] = len(self.constants)
            self.constants += data
        return self._known[data]


def plan(graph: Graph, name: str, layout: Layout, target: Target, checks: Sequence[IndexCheck] = ()) -> Entry:
    """The entry `name` of a fused graph. Outputs are numbered in the graph's order, except those
    called "prepared/...", which go to the prepared block, and those called "check/...", which the
    entry looks at itself."""
    return _Plan(graph, name, layout, target, checks).entry()


def arena_size(graph: Graph, name: str, layout: Layout, target: Target) -> Size:
    """The arena of an entry of a fused graph, without its kernels."""
    made = _Plan(graph, name, deepcopy(layout), target, ())
    made.place_boundary()
    return made.place_arena(made.lifetimes())


class _Intervals:
    """An allocator of one region by lifetimes: memory is in use from one step to another, both included."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int, int, int]] = []  # (offset, bytes, first, last), sorted
        self.end = 0

    def allocate(self, size: int, first: int, last: int) -> int:
        """The lowest offset where `size` bytes are free from step `first` to step `last`."""
        offset = 0
        for start, length, since, until in self.taken:
            if since <= last and first <= until:
                if offset + size <= start:
                    break
                offset = max(offset, start + length)
        insort(self.taken, (offset, size, first, last))
        self.end = max(self.end, offset + size)
        return offset


@dataclass(frozen=True)
class ArenaOffset:
    """An offset in the arena's fixed region, or in its region with the batch (bytes per sample)."""

    offset: int
    is_sample: bool

    def resolve(self, fixed_end: int) -> Size:
        return Size(fixed_end, self.offset) if self.is_sample else Size(self.offset)

    def shifted(self, block: Size) -> ArenaOffset:
        """The same place in a block that begins at these offsets of the two regions."""
        start = block.per_sample if self.is_sample else block.fixed
        return ArenaOffset(self.offset + start, self.is_sample)


@dataclass(frozen=True)
class Allocation:
    """Where values lie in the arena. places: offsets of values. blocks: offsets of the memory that a group
    asked for, by its id. end: bytes in all."""

    places: dict[Value, ArenaOffset]
    blocks: dict[int, Size]
    end: Size


def allocate(
    groups: Sequence[Node],
    placed: set[Value],
    last: Mapping[Value, int],
    needs: Mapping[int, Size],
    first: Mapping[Value, int] = MappingProxyType({}),
) -> Allocation:
    """Place the results of groups that run one after the other, except those `placed` already.

    last: for each value, the number of the group that reads it last. needs: memory that a group (by its id)
    uses for itself. first: of values that are written before their own group runs, the number of the first
    group that writes there. Values share memory when one is last read before the other is written; the
    largest get their places first, so that small ones do not lie in the way.
    """
    wanted: list[tuple[Size, int, int, Value | int]] = []
    for step, m in enumerate(groups):
        for number, type in enumerate(m.types):
            value = Value(m.id, number)
            if value not in placed:
                since = first.get(value, step)
                wanted.append((buffer_bytes(type), since, last.get(value, step), value))
        if m.id in needs:
            wanted.append((needs[m.id], step, step, m.id))
    fixed, sample = _Intervals(), _Intervals()
    places: dict[Value, ArenaOffset] = {}
    blocks: dict[int, Size] = {}
    for size, since, until, owner in sorted(wanted, key=lambda w: (-w[0].per_sample, -w[0].fixed)):
        if isinstance(owner, int):
            blocks[owner] = Size(
                fixed.allocate(size.fixed, since, until), sample.allocate(size.per_sample, since, until)
            )
        elif size.per_sample:
            places[owner] = ArenaOffset(sample.allocate(size.per_sample, since, until), True)
        else:
            places[owner] = ArenaOffset(fixed.allocate(size.fixed, since, until), False)
    return Allocation(places, blocks, Size(fixed.end, sample.end))


def execution_order(graph: Graph) -> list[Node]:
    """The groups and scans of a fused graph in the order in which they run. Those whose results are updates
    of variables and nothing else run as soon as they can, when what they read is there and nobody else reads
    the variables any more: so a step holds a gradient, and what it is made of, no longer than it must."""
    base = bases(graph)
    groups = [m for m in graph.live() if m.op.kind == "composite"]
    read = {base[v].node for m in groups for v in m.inputs}
    written: dict[int, set[Value]] = {}  # the old values of the variables that a group updates
    for name, value in graph.updates.items():
        written.setdefault(base[value].node, set()).add(graph.variables[name])
    late = written.keys() - read - {base[v].node for v in graph.outputs.values()}
    readers: dict[Value, set[int]] = {}
    for m in groups:
        for v in m.inputs:
            readers.setdefault(base[v], set()).add(m.id)
    made = {m.id for m in groups}
    waits = {  # of each late group: the groups that must have run
        m.id: ({base[v].node for v in m.inputs} & made)
        | {id for old in written[m.id] for id in readers.get(old, ())} - {m.id}
        for m in groups
        if m.id in late
    }
    awaited: dict[int, list[int]] = {}
    for id, pending in waits.items():
        for other in pending:
            awaited.setdefault(other, []).append(id)
    order: list[Node] = []
    for m in groups:
        ready = [m] if m.id not in late or not waits[m.id] else []
        while ready:
            group = ready.pop(0)
            if group.id in made:
                made.remove(group.id)
                order.append(group)
                for id in awaited.get(group.id, ()):
                    waits[id].discard(group.id)
                    ready += [] if waits[id] else [graph.nodes[id]]
    return order + [m for m in groups if m.id in made]  # which update what others of them read


def checks_first(
    groups: list[Node], base: Mapping[Value, Value], checked: Sequence[Value]
) -> tuple[list[Node], int]:
    """The groups, with those in front that compute the `checked` values; and how many these are."""
    makers = {m.id: m for m in groups}
    needed: set[int] = set()
    stack = [value.node for value in checked]
    while stack:
        id = stack.pop()
        if id in makers and id not in needed:
            needed.add(id)
            stack += [base[v].node for v in makers[id].inputs]
    front = [m for m in groups if m.id in needed]
    return front + [m for m in groups if m.id not in needed], len(front)


class _Plan:
    def __init__(
        self, graph: Graph, name: str, layout: Layout, target: Target, checks: Sequence[IndexCheck]
    ) -> None:
        self.graph, self.name, self.layout, self.kernels = graph, name, layout, Kernels(target)
        self.base = bases(graph)
        self.checks = checks
        self.checked = [self.base[v] for k, v in graph.outputs.items() if k.startswith(CHECK)]
        self.groups, self.check_steps = checks_first(execution_order(graph), self.base, self.checked)
        self.bodies = {m.id: BodyPlan(m, f"{name}{m.id}", self.kernels) for m in self.groups if m.op.loop}
        self.step_of = {m.id: step for step, m in enumerate(self.groups)}
        self.last_read: dict[Value, int] = {}
        for step, m in enumerate(self.groups):
            for value in m.inputs:
                self.last_read[self.base[value]] = step
        self.joins = find_joins(graph, self.groups, self.base, target)
        self.lanes = target.lanes("float32") if linux(target.triple) else None  # else no threads
        self.place: dict[Value, Ref] = {}
        self.aliased: set[int] = set()
        self.copies: list[tuple[Value, Ref]] = []

    def entry(self) -> Entry:
        self.place_boundary()
        arena = self.place_arena(self.lifetimes())
        steps: list[Launch | Repeat] = []
        guarded = 0
        for step, m in enumerate(self.groups):
            if m.id in self.joins.copied:
                steps += self.copied_operands(step, m)
            else:
                steps += self.scan(m, arena) if m.id in self.bodies else [self.launch(step, m)]
            guarded = len(steps) if step + 1 == self.check_steps else guarded
        steps += [
            copy_launch(
                f"{self.name}_{i}",
                self.graph.type(value),
                self.place[value],
                ref,
                self.kernels,
                self.graph.nodes[value.node].sources,
            )
            for i, (value, ref) in enumerate(self.copies)
        ]
        made = Entry(self.name, tuple(steps), arena, guards=tuple(self.guards()), guarded=guarded)
        checking = {value.node for value in self.checked}
        running = [m for m in self.groups if self.joins.copied.get(m.id, [m]) and m.id not in checking]
        blocks = sample_blocks(self.graph, running, arena, self.lanes, guarded=bool(self.checks))
        return replace(made, blocks=blocks)

    def lifetimes(self) -> dict[Value, int]:
        """The number of the group that reads a value, or a part of it, last; where it is copied or looked at
        later, of that."""
        last = {
            **self.last_read,
            **{v: len(self.groups) for v, _ in self.copies},
            **{v: max(self.check_steps, self.last_read.get(v, 0)) for v in self.checked},
        }
        for value, part in self.joins.parts.items():
            until = max(last.get(value, 0), last.get(part.whole, self.step_of[part.whole.node]))
            last[part.whole] = until
        return last

    def guards(self) -> Iterator[Guard]:
        for value, check in zip(self.checked, self.checks):
            count = numel(check.shape)
            each = count.multiple if isinstance(count, Batch) else 0
            yield Guard(self.place[value], check.rows, each, check.label)

    # ---- places

    def place_boundary(self) -> None:
        for number, value in enumerate(self.graph.inputs.values()):
            self.place[value] = Ref("input", number)
        for name, value in self.graph.variables.items():
            self.place[value] = self.variable(name)
        for m in self.graph.live():
            if m.op.origin == "constant":
                offset = self.layout.constant(m.attrs["value"].data)
                self.place[Value(m.id)] = Ref("constant", offset=Size(offset))
        number = 0
        for name, value in self.graph.outputs.items():
            if name.startswith(PREPARED):
                self.place[self.base[value]] = self.variable(name)
            elif not name.startswith(CHECK):
                self.place[self.base[value]] = Ref("output", number)
                number += 1
        for name, value in self.graph.updates.items():
            self.place_update(name, self.base[value])

    def variable(self, name: str) -> Ref:
        if name in self.layout.prepared:
            return Ref("prepared", offset=Size(self.layout.prepared[name]))
        return Ref("variable", self.layout.variables[name])

    def place_update(self, name: str, value: Value) -> None:
        """Write the new value of a variable in place, when the old one is read by no later group and at no
        other element; else copy it there at the end."""
        old, ref = self.graph.variables[name], self.variable(name)
        at = self.step_of[value.node]
        maker = self.groups[at]
        reads = [slot for slot, v in enumerate(maker.inputs) if self.base[v] == old]
        later = self.last_read.get(old, at) > at
        safe = (
            not later
            and value not in self.place
            and all(maker.inputs[slot] == old and _same_element(maker, slot, value.output) for slot in reads)
        )
        if safe:
            self.place[value] = ref
            if reads:
                self.aliased.add(maker.id)
        else:
            self.copies.append((value, ref))

    def place_arena(self, last: Mapping[Value, int]) -> Size:
        needs, parts = {id: body.arena for id, body in self.bodies.items()}, self.joins.parts
        first = {part.whole: len(self.groups) for part in parts.values()}
        for value, part in parts.items():
            first[part.whole] = min(first[part.whole], self.step_of[value.node])
        allocation = allocate(self.groups, self.place.keys() | parts.keys(), last, needs, first)
        self.blocks = allocation.blocks
        for value, offset in allocation.places.items():
            self.place[value] = Ref("arena", offset=offset.resolve(allocation.end.fixed))
        for value, part in parts.items():
            self.place[value] = self.within(part)
        return allocation.end

    def within(self, part: Part) -> Ref:
        """The place of a part of a value."""
        whole = self.place[part.whole]
        start = part.start * BYTES[self.graph.type(part.whole).dtype]
        return replace(whole, offset=whole.offset + Size(start))

    # ---- launches

    def launch(self, step: int, m: Node) -> Launch:
        values = [*(self.base[v] for v in m.inputs), *(Value(m.id, i) for i in range(len(m.types)))]
        windows = [self.joins.window(v) for v in values]
        kernel = self.kernels.of(m, f"{self.name}{step}", m.id in self.aliased, windows)
        buffers = [self.place[v] for v in values]
        return Launch(kernel.function, tuple(buffers), kernel.iterations, kernel.cycles, m, m.sources)

    def copied_operands(self, step: int, m: Node) -> Iterator[Launch]:
        """What is left of a concatenation whose other operands lie in its result."""
        for number, copy in enumerate(self.joins.copied[m.id]):
            windows = (*map(self.joins.window, copy.values), copy.part.window)
            kernel = self.kernels.of(copy.group, f"{self.name}{step}_{number}", windows=windows)
            buffers = *(self.place[v] for v in copy.values), self.within(copy.part)
            yield Launch(kernel.function, buffers, kernel.iterations, kernel.cycles, copy.group, m.sources)

    def scan(self, m: Node, arena: Size) -> list[Launch | Repeat]:
        operands = [self.place[self.base[v]] for v in m.inputs]
        values = [Value(m.id, i) for i in range(len(m.types))]
        results = [(self.place[v], self.joins.window(v)) for v in values]
        return self.bodies[m.id].steps(operands, results, self.blocks[m.id], arena.fixed)


def copy_launch(
    name: str,
    type: TensorType,
    source: Ref,
    to: Ref,
    kernels: Kernels,
    sources: tuple[Source, ...] = (),
    window: Window | None = None,
) -> Launch:
    """Copy a value from one place to another, where it may lie in a window."""
    outer, body = Graph("copies"), Graph("copy")
    body.outputs["0"] = Value(body.add("copy", [body.input("0", type)]).id)
    with outer.source(*sources):
        node = outer.add("group", [outer.input("0", type)], regions=(body,))
    kernel = kernels.of(node, name, windows=(None, window))
    return Launch(kernel.function, (source, to), kernel.iterations, kernel.cycles, sources=sources)


def _same_element(group: Node, slot: int, output: int) -> bool:
    """Whether a group reads operand `slot` only at the element of `output` that it then writes."""
    body = group.body
    value = list(body.inputs.values())[slot]
    result = list(body.outputs.values())[output]
    shape = body.type(value).shape
    reached = {value.node}
    for m in body.nodes.values():
        slots = [i for i, v in enumerate(m.inputs) if v.node in reached]
        if slots:
            by_element = m.op.kind == "elementwise" or slots == [m.op.in_place]
            if not by_element or m.types[0].shape != shape:
                return False
            reached.add(m.id)
    return body.type(result).shape == shape


class BodyPlan:
    """The plan of a scan's body: what runs at each step, and the memory it needs.

    Elements of sequences and outputs are read and written where the sequences lie, a step further
    each time. A state is double-buffered: a step reads one of its two buffers and writes the other.
    arena: bytes for states and what lives within a step.
    """

    def __init__(self, node: Node, name: str, kernels: Kernels) -> None:
        self.node, self.name, self.kernels = node, name, kernels
        self.body = node.body
        self.base = bases(self.body)
        self.groups = [m for m in self.body.live() if m.op.kind == "composite"]
        if any(m.op.loop for m in self.body.live()):
            raise ValueError(
                f"layer {node.label!r}: a loop over time inside a step of another "
                "loop over time is not supported"
            )
        self.k, self.s = node.attrs["states"], node.attrs["states"] + node.attrs["steps"]
        self.results = [self.base[v] for v in self.body.outputs.values()]
        last: dict[Value, int] = {}
        for step, m in enumerate(self.groups):
            for value in m.inputs:
                last[self.base[value]] = step
        self.batch_parallel = all(is_rowwise(m) for m in self.groups)
        if self.batch_parallel:  # threads are at different steps: rows of values that share memory would meet
            last = {Value(m.id, i): len(self.groups) for m in self.groups for i in range(len(m.types))}
        self.local = allocate(self.groups, set(self.results), last, {})
        self.states: list[ArenaOffset] = []
        fixed, sample = self.local.end.fixed, self.local.end.per_sample
        for v in list(self.body.inputs.values())[: self.k]:
            size = buffer_bytes(self.body.type(v))
            is_sample = bool(size.per_sample)
            self.states.append(ArenaOffset(sample if is_sample else fixed, is_sample))
            fixed, sample = fixed + 2 * size.fixed, sample + 2 * size.per_sample
        self.arena = Size(fixed, sample)

    def steps(
        self,
        operands: Sequence[Ref],
        results: Sequence[tuple[Ref, Window | None]],
        block: Size,
        fixed_end: int,
    ) -> list[Launch | Repeat]:
        """Copies of the initial states, the loop, copies of the final states. results: where they lie, and
        how."""
        length = self.node.attrs["length"]
        inputs = list(self.body.inputs.values())
        place: dict[Value, Ref] = {}
        for i, v in enumerate(inputs):
            if i < self.k:
                place[v] = self.state(i, 0, block, fixed_end)
            else:
                place[v] = self.sequence_element(operands[i], v) if i < self.s else operands[i]
        windows: dict[Value, Window | None] = {}
        for i, (v, (ref, window)) in enumerate(zip(self.results, results)):
            if i < self.k:
                place[v] = self.state(i, 1, block, fixed_end)
            else:
                place[v], windows[v] = self.sequence_element(ref, v, window), window
        for v, offset in self.local.places.items():
            place[v] = Ref("arena", offset=offset.shifted(block).resolve(fixed_end))
        launches = []
        for step, m in enumerate(self.groups):
            values = [*(self.base[v] for v in m.inputs), *(Value(m.id, i) for i in range(len(m.types)))]
            used = [windows.get(v) for v in values]
            kernel = self.kernels.of(m, f"{self.name}_{step}", windows=used)
            rows = [row_bytes(self.body.type(v)) for v in values]
            buffers = [replace(place[v], row=_apart(row, w)) for v, row, w in zip(values, rows, used)]
            sizes = kernel.iterations, kernel.cycles
            launches.append(
                Launch(kernel.function, tuple(buffers), *sizes, m, m.sources or self.node.sources)
            )
        types = [self.body.type(v) for v in inputs[: self.k]]
        sources = self.node.sources
        before = [
            copy_launch(
                f"{self.name}_start{i}",
                t,
                operands[i],
                ref_at(self.state(i, 0, block, fixed_end), 0),
                self.kernels,
                sources,
            )
            for i, t in enumerate(types)
        ]
        after = [
            copy_launch(
                f"{self.name}_final{i}",
                t,
                ref_at(self.state(i, 0, block, fixed_end), length),
                results[i][0],
                self.kernels,
                sources,
                results[i][1],
            )
            for i, t in enumerate(types)
        ]
        return [*before, self.loop(launches), *after]

    def loop(self, launches: Sequence[Launch]) -> Launch | Repeat:
        """All steps. A graphics processor can run them in one persistent kernel, where each sample depends
        on itself alone."""
        length = self.node.attrs["length"]
        if self.batch_parallel:
            pairs = [(m, launch.buffers) for m, launch in zip(self.groups, launches)]
            whole = self.kernels.persistent(f"{self.name}_persistent", pairs, length)
            if whole is not None:
                return whole
        return Repeat(length, tuple(launches), self.batch_parallel)

    def state(self, i: int, parity: int, block: Size, fixed_end: int) -> Ref:
        value = list(self.body.inputs.values())[i]
        offset = self.states[i].shifted(block).resolve(fixed_end)
        return Ref("arena", offset=offset, alternate=buffer_bytes(self.body.type(value)), parity=parity)

    def sequence_element(self, ref: Ref, value: Value, window: Window | None = None) -> Ref:
        """The element of a sequence that a step uses: elements lie one after the other, without gaps but for
        those of a window."""
        type = self.body.type(value)
        count, width = numel(type.shape), BYTES[type.dtype]
        if isinstance(count, Batch):
            step = Size(0, _apart(count.multiple * width, window))
        else:
            step = Size(_apart(count * width, window))
        if self.node.attrs["reverse"]:
            start = ref.offset + step * (self.node.attrs["length"] - 1)
            return replace(ref, offset=start, step=step * -1)
        return replace(ref, step=step)


def _apart(size: int, window: Window | None) -> int:
    """Bytes from one to the next of what takes so many where there is no window."""
    return size if window is None else size * window.stride // window.run


def ref_at(ref: Ref, t: int) -> Ref:
    """The one of a state's two buffers that step t uses."""
    odd = (t + ref.parity) % 2
    return replace(ref, offset=ref.offset + ref.alternate * odd, alternate=Size(), parity=0)

"""A graph cut into stages, between which parts of sums are summed over all ranks.

Enters: a graph, for the whole batch, and its sharding. Leaves: `Stage`s, graphs for a rank's part of the
batch that are compiled one by one. Their inputs are those of the graph, what earlier stages gave, and two
numbers, SAMPLES and FIRST, of which every rank has its own: how many samples all ranks have, and how many
those before it have. Variables are updated by the last stage alone, so that all others read them as they
were.

A node lies in the last stage that is early enough: a value that nobody needs before the sums is computed
where it is used, and not handed on. `bucket` cuts the stage before the last sums, that of the gradients,
again: after so many bytes of sums, which can then travel while the rest is computed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import prod

from kcompile.ir import ops
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.rewrite import copy
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import BYTES, Batch, TensorType
from kcompile.parallel.sharding import Sharding, batch_axis, has_batch, sharding

SAMPLES, FIRST = "all:samples", "all:first"  # int64 scalars
_SPREAD = 0x9E3779B1  # makes seeds of ranks differ, where numbers are not drawn in the order of samples


@dataclass(frozen=True)
class Stage:
    """graph: its inputs are of the whole graph, SAMPLES and FIRST, or outputs of earlier stages. sums: the
    outputs that are summed over all ranks before a later stage reads them. result: whether it is the last."""

    graph: Graph
    sums: tuple[str, ...]
    result: bool

    @property
    def bytes(self) -> int:
        """Of all sums."""
        return sum(_bytes(self.graph.type(self.graph.outputs[name])) for name in self.sums)


def stages(graph: Graph, own: Collection[str] = (), bucket: int | None = None) -> list[Stage]:
    """The stages of a graph. own: layers whose statistics of a batch are each rank's own. bucket: bytes of
    sums after which the stage before the last is cut; None: not at all. Raises UnsupportedError for what
    mixes samples, see `sharding`."""
    return _Cut(graph, sharding(graph, own), bucket).stages()


def _bytes(type: TensorType) -> int:
    return prod(d for d in type.shape if isinstance(d, int)) * BYTES[type.dtype]


class _Cut:
    def __init__(self, graph: Graph, found: Sharding, bucket: int | None) -> None:
        self.graph, self.sharding, self.bucket = graph, found, bucket
        self.nodes = graph.live()
        self.summed = {self.graph.nodes[id].inputs[slot] for id, slot in found.summed}
        self.place: dict[int, int] = {}
        # Values that are made again in every stage that reads them
        self.anew = self._made_anew()
        self._assign()

    def _made_anew(self) -> set[int]:
        found: set[int] = set()
        for node in self.nodes:
            source = node.op.kind in ("source", "random") or node.op.broadcasts
            if source and all(v.node in found for v in node.inputs):
                found.add(node.id)
        return found

    # ---- which stage

    def _assign(self) -> None:
        """The stage of each node: the last one in which it is early enough for all that read it."""
        level = dict.fromkeys((node.id for node in self.nodes), 0)
        for node in self.nodes:
            for slot, value in enumerate(node.inputs):
                after = level[value.node] + ((node.id, slot) in self.sharding.summed)
                level[node.id] = max(level[node.id], after)
        ends = [(v, name in self.sharding.results) for name, v in self.graph.outputs.items()]
        ends += [(v, name in self.sharding.updates) for name, v in self.graph.updates.items()]
        last = max((level[v.node] + is_sum for v, is_sum in ends), default=0)
        late = dict.fromkeys(level, last)
        for value, is_sum in ends:
            late[value.node] = min(late[value.node], last - is_sum)
        for node in reversed(self.nodes):
            for slot, value in enumerate(node.inputs):
                before = late[node.id] - ((node.id, slot) in self.sharding.summed)
                late[value.node] = min(late[value.node], before)
        self.place, self.last = late, last
        if self.bucket is not None and last:
            self._cut_again(self.bucket)

    def _cut_again(self, bucket: int) -> None:
        """Cut the stage before the last sums each time that so many bytes of them are computed."""
        cuts, held = 0, 0
        ends: dict[int, int] = {}
        for value in self._sums_of(self.last - 1):
            ends[value.node] = ends.get(value.node, 0) + _bytes(self.graph.type(value))
        pending = sum(ends.values())
        final = [node.id for node in self.nodes if self.place[node.id] == self.last]
        for node in [node for node in self.nodes if self.place[node.id] == self.last - 1]:
            self.place[node.id] += cuts
            held += ends.get(node.id, 0)
            if held >= bucket and pending > held:
                pending, held, cuts = pending - held, 0, cuts + 1
        self.last += cuts
        self.place.update(dict.fromkeys(final, self.last))

    def _sums_of(self, stage: int) -> list[Value]:
        """The values that are summed after a stage."""
        results = [self.graph.outputs[name] for name in self.sharding.results]
        results += [self.graph.updates[name] for name in self.sharding.updates]
        return [v for v in dict.fromkeys([*self.summed, *results]) if self.place[v.node] == stage]

    # ---- the graphs

    def stages(self) -> list[Stage]:
        read: dict[int, set[str]] = {}  # what later stages read, by the stage that gives it
        made = []
        for number in range(self.last, -1, -1):
            stage, wanted = _Writer(self, number, read.get(number, set())).write()
            for place, name in wanted:
                read.setdefault(place, set()).add(name)
            made.append(stage)
        return made[::-1]


def _name(value: Value, is_sum: bool) -> str:
    return f"{'sum' if is_sum else 'value'}:{value.node}.{value.output}"


class _Writer:
    """Writes the graph of one stage. wanted: names of values that later ones read."""

    def __init__(self, cut: _Cut, number: int, wanted: set[str]) -> None:
        self.cut, self.number, self.wanted = cut, number, wanted
        self.graph = Graph(cut.graph.name)
        self.table: dict[Value, Value] = {}
        self.given: dict[str, tuple[int, Value]] = {}  # inputs from earlier stages: stage, value

    def write(self) -> tuple[Stage, list[tuple[int, str]]]:
        cut, new = self.cut, self.graph
        last = self.number == cut.last
        for node in cut.nodes:
            if cut.place[node.id] == self.number and node.id not in cut.anew:
                self._copy(node)
        sums = []
        for name in sorted(self.wanted, key=_order):
            kind, _, at = name.partition(":")
            value = Value(*map(int, at.split(".")))
            new.outputs[name] = self._own(value)
            if kind == "sum":
                sums.append(name)
        if last:
            new.outputs = {
                k: self._result(v, k in cut.sharding.results) for k, v in cut.graph.outputs.items()
            }
            for name, value in cut.graph.updates.items():
                way = cut.sharding.updates.get(name)
                new.variable(name, cut.graph.type(cut.graph.variables[name]))
                new.updates[name] = self._result(value, way is not None)
        wanted = [(place, name) for name, (place, _) in self.given.items()]
        return Stage(new, tuple(sums), last), wanted

    def _result(self, value: Value, is_sum: bool) -> Value:
        return self._given(value, True) if is_sum else self._value(value)

    def _own(self, value: Value) -> Value:
        """A value that this stage gives to later ones; its share of a mean, where it is to be one."""
        found = self._value(value)
        ways = {w for k, w in self.cut.sharding.updates.items() if self.cut.graph.updates[k] == value}
        if "mean" not in ways:
            return found
        x = Tensor(self.graph, found)
        share = ops.extent(self.graph, Batch(), "float32") / ops.cast(self._number(SAMPLES), "float32")
        return (x * ops.cast(share, x.dtype)).value

    def _number(self, name: str) -> Tensor:
        if name not in self.graph.inputs:
            self.graph.input(name, TensorType((), "int64"))
        return Tensor(self.graph, self.graph.inputs[name])

    def _value(self, value: Value) -> Value:
        """A value in this stage: computed here, made again, or given by an earlier one."""
        if value in self.table:
            return self.table[value]
        node = self.cut.graph.nodes[value.node]
        if value.node in self.cut.anew:
            self._copy(node)
            return self.table[value]
        return self._given(value, False)

    def _given(self, value: Value, is_sum: bool) -> Value:
        name = _name(value, is_sum)
        if name not in self.given:
            self.given[name] = self.cut.place[value.node], self.graph.input(name, self.cut.graph.type(value))
        return self.given[name][1]

    def _copy(self, node: Node) -> None:
        """The node in this stage. How many samples there are is told to it; numbers of chance are those
        that one process draws for the same samples."""
        inputs = [
            self._given(v, True) if (node.id, slot) in self.cut.sharding.summed else self._value(v)
            for slot, v in enumerate(node.inputs)
        ]
        self.graph.current = node.sources
        kind = self.cut.sharding.kinds[Value(node.id)]
        if node.op.origin == "size" and isinstance(node.attrs["dim"], Batch) and kind.way == "same":
            count = self._number(SAMPLES)
            many = count * ops.constant(self.graph, node.attrs["dim"].multiple, "int64")
            results = [ops.cast(many, node.attrs["dtype"]).value]
        elif node.op.kind == "random" and has_batch(node.types[0]):
            results = [Value(self._drawn(node, inputs).id)]
        else:
            results = copy(self.graph, node, inputs)
        self.graph.current = ()
        self.table.update({Value(node.id, i): v for i, v in enumerate(results)})

    def _drawn(self, node: Node, inputs: list[Value]) -> Node:
        type, first = node.types[0], self._number(FIRST)
        if batch_axis(type) == 0 and len(inputs) == 2:
            each = prod(d.multiple if isinstance(d, Batch) else d for d in type.shape)
            number = ops.cast(first * ops.constant(self.graph, each, "int64"), "uint32")
            return self.graph.add(node.op, [*inputs, number.value], **node.attrs)
        spread = ops.cast(first, "uint32") * ops.constant(self.graph, _SPREAD, "uint32")
        seed = Tensor(self.graph, inputs[0]) + spread
        return self.graph.add(node.op, [seed.value, *inputs[1:]], **node.attrs)


def _order(name: str) -> tuple[str, int, int]:
    kind, _, at = name.partition(":")
    node, output = at.split(".")
    return kind, int(node), int(output)

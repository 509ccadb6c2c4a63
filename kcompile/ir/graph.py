"""The graph: nodes that name their operands, variables at its boundary; and as a networkx MultiDiGraph.

A `Graph` only grows (`add`); passes build a new one. It computes: updates of variables (weights,
optimizer slots, moving statistics) are `(variable, new value)` pairs beside the outputs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kcompile.ir.op import OPS, Op
from kcompile.ir.types import DTYPES, TensorType
from kcompile_runtime.errors import InputError, describe
from kcompile_runtime.texts import printable

if TYPE_CHECKING:
    import networkx


class Value(NamedTuple):
    """Output number `output` of node `node`."""

    node: int
    output: int = 0


@dataclass(frozen=True)
class Source:
    """The Keras layer, and the index of its node (its how-manieth call), that an op came from."""

    layer: str
    index: int = 0

    def __str__(self) -> str:
        name = printable(self.layer)
        return name if self.index == 0 else f"{name}:{self.index}"


@dataclass(frozen=True)
class Literal:
    """The value of a constant, hashable."""

    data: bytes
    dtype: str
    shape: tuple[int, ...]

    @staticmethod
    def of(array: np.ndarray) -> Literal:
        return Literal(np.ascontiguousarray(array).tobytes(), _name_of(array.dtype), array.shape)

    @property
    def array(self) -> np.ndarray:
        return np.frombuffer(self.data, self.dtype).reshape(self.shape)

    def __repr__(self) -> str:
        """The number, or dtype, shape and the beginning of a hash: other values have another text."""
        if self.shape == () and self.dtype in DTYPES:
            number = self.array.item()
            if np.array(number, self.dtype).tobytes() == self.data:  # not so some NaN
                return str(number)
        return f"<{self.dtype}{list(self.shape)} {hashlib.sha256(self.data).hexdigest()[:16]}>"


@cache
def _name_of(dtype: np.dtype[Any]) -> str:
    """numpy puts it together anew each time."""
    return dtype.name


@dataclass(frozen=True, eq=False)
class Node:
    """A use of an op. `types` are those of its outputs, `sources` where it came from, `regions` the graphs
    that it applies (the step of a scan, the ops of a group), which read nothing but their inputs."""

    id: int
    op: Op
    inputs: tuple[Value, ...]
    attrs: Mapping[str, Any]
    types: tuple[TensorType, ...]
    sources: tuple[Source, ...]
    regions: tuple[Graph, ...] = ()

    @property
    def body(self) -> Graph:
        """The one region."""
        (region,) = self.regions
        return region

    @property
    def anchor(self) -> Node | None:
        """Of a group, the contraction that it is made around; None where there is none."""
        return next((m for m in self.body.nodes.values() if m.op.kind == "contraction"), None)

    @property
    def is_chain(self) -> bool:
        """Of a group, whether it is one of groups (`passes.chain_rows`)."""
        return any(m.regions for m in self.body.nodes.values())

    @property
    def label(self) -> str:
        return ", ".join(map(str, self.sources))


class _Sources:
    """See `Graph.source`: tracing enters one for nearly every node."""

    __slots__ = ("_graph", "_inner", "_outer")

    def __init__(self, graph: Graph, sources: tuple[Source, ...]) -> None:
        self._graph, self._inner = graph, sources

    def __enter__(self) -> None:
        self._outer, self._graph.current = self._graph.current, self._inner

    def __exit__(self, *_: object) -> None:
        self._graph.current = self._outer


class Graph:
    """See the module.

    inputs, variables: name -> value. outputs: name -> value. updates: variable name -> new value.
    current: the sources that the next node will carry. tracer: gives what traces into this graph, of which
    the IR knows nothing. types_only: sizes in it may be tried ones, so that numbers are not checked.
    own_gradients: of nodes whose gradient a script says, by their numbers, see `ir.gradient`.
    softmax_of: what the softmax was taken of, by its results.
    region: it is the body of a loop, which has no values from outside.
    eager: 0, or where tensors have values (`keras.eager_trace`) a number, larger for later graphs.
    """

    region = False
    eager = 0

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.nodes: dict[int, Node] = {}
        self.inputs: dict[str, Value] = {}
        self.variables: dict[str, Value] = {}
        self.outputs: dict[str, Value] = {}
        self.updates: dict[str, Value] = {}
        self.current: tuple[Source, ...] = ()
        self.tracer: Callable[[], Any] | None = None
        self.types_only = False
        self.own_gradients: dict[int, Any] = {}
        self.softmax_of: dict[Value, Value] = {}
        self._nx: networkx.MultiDiGraph | None = None

    @property
    def nx(self) -> networkx.MultiDiGraph:
        """The graph for people who read and write with networkx, and for its algorithms. A node has the
        attribute `node`, ours; an edge leads from what is read to what reads it, with `slot` (the operand's
        number, also the edge's key) and `output` (the number of the result that is read). The graph has
        the attributes inputs, variables, outputs and updates: name -> (node, output). It grows with this one;
        what is changed in a copy comes back by `from_nx`."""
        import networkx  # when somebody asks: it costs more to import than a small model to load

        if self._nx is None:
            self._nx = networkx.MultiDiGraph(name=self.name)
        for id in range(self._nx.number_of_nodes(), len(self.nodes)):
            node = self.nodes[id]
            self._nx.add_node(id, node=node)
            for slot, value in enumerate(node.inputs):
                self._nx.add_edge(value.node, id, key=slot, slot=slot, output=value.output)
        for name in _BOUNDARY:
            self._nx.graph[name] = {key: tuple(value) for key, value in getattr(self, name).items()}
        return self._nx

    @classmethod
    def from_nx(cls, graph: networkx.MultiDiGraph) -> Graph:
        """The graph that a networkx graph like `nx` describes. Edges say what a node reads, whatever the
        operands of its attribute `node` were. A node may say what it is by attributes of its own: op (a name
        or a record), attrs, regions, sources; they go before `node`. Types are computed anew. Raises
        InputError for a cycle (which it names), for operands that are missing, and what is not described."""
        import networkx  # see `nx`

        places = {key: place for place, key in enumerate(graph.nodes)}
        try:
            order = list(networkx.lexicographical_topological_sort(graph, key=places.__getitem__))
        except networkx.NetworkXUnfeasible:
            around = " -> ".join(repr(edge[0]) for edge in networkx.find_cycle(graph))
            raise InputError(describe("from_nx", "a graph without cycles", around)) from None
        new = cls(graph.name)
        table: dict[tuple[Any, int], Value] = {}
        for key in order:
            made = _described(new, key, graph, table)
            table.update({(key, output): value for output, value in enumerate(made)})
        new.current = ()
        for name in _BOUNDARY:
            named = graph.graph.get(name, {})
            missing = [label for label, value in named.items() if tuple(value) not in table]
            if missing:
                raise InputError(describe("from_nx", f"nodes for all {name}", f"none for {missing[0]!r}"))
            setattr(new, name, {label: table[tuple(value)] for label, value in named.items()})
        return new

    # ---- building

    def source(self, *sources: Source) -> AbstractContextManager[None]:
        """Nodes added inside the `with` carry these sources."""
        return _Sources(self, sources)

    def add(
        self, op: str | Op, inputs: Sequence[Value] = (), *, regions: tuple[Graph, ...] = (), **attrs: Any
    ) -> Node:
        """Append a node; its types come from the op's own rule."""
        record = OPS[op] if isinstance(op, str) else op
        types = record.types([self.type(v) for v in inputs], attrs, regions)
        return self._append(record, inputs, attrs, types, regions)

    def add_again(self, node: Node, inputs: Sequence[Value]) -> Node:
        """Append a node of another graph with its types, which its rule must give for these operands."""
        return self._append(node.op, inputs, node.attrs, node.types, node.regions)

    def _append(
        self,
        op: Op,
        inputs: Sequence[Value],
        attrs: Mapping[str, Any],
        types: tuple[TensorType, ...],
        regions: tuple[Graph, ...],
    ) -> Node:
        node = Node(len(self.nodes), op, tuple(inputs), attrs, types, self.current, regions)
        self.nodes[node.id] = node
        return node

    def input(self, name: str, type: TensorType) -> Value:
        if name in self.inputs:
            raise ValueError(f"input {name!r} is declared twice")
        self.inputs[name] = Value(self.add("input", name=name, type=type).id)
        return self.inputs[name]

    def variable(self, name: str, type: TensorType) -> Value:
        """The value of a variable at the start of the call; the same node for the same name."""
        if name not in self.variables:
            self.variables[name] = Value(self.add("variable", name=name, type=type).id)
        return self.variables[name]

    def constant(self, array: np.ndarray) -> Value:
        return Value(self.add("constant", value=Literal.of(array)).id)

    # ---- graphs whose tensors have values

    def hold(self, tensor: Any) -> None:
        """Note that somebody holds a tensor."""

    def of_array(self, array: np.ndarray) -> Value | None:
        """The value that this array object is known as."""
        return None

    # ---- reading

    def type(self, value: Value) -> TensorType:
        return self.nodes[value.node].types[value.output]

    def shown(self, value: Value) -> Value:
        """What a view shows, in memory; of any other value itself."""
        while self.nodes[value.node].op.view:
            value = self.nodes[value.node].inputs[0]
        return value

    def results(self) -> list[Value]:
        """All values that leave the graph: outputs, then updates."""
        return [*self.outputs.values(), *self.updates.values()]

    def live(self) -> list[Node]:
        """The nodes that some result depends on, all inputs, and the variables that are updated, in
        topological order (the order in which they were added, which is one)."""
        needed = {v.node for v in self.inputs.values()}
        needed.update(self.variables[name].node for name in self.updates if name in self.variables)
        stack = [v.node for v in self.results()]
        while stack:
            id = stack.pop()
            if id not in needed:
                needed.add(id)
                stack.extend(v.node for v in self.nodes[id].inputs)
        return [self.nodes[id] for id in sorted(needed)]

    def users(self, nodes: Sequence[Node] | None = None) -> dict[Value, list[tuple[Node, int]]]:
        """For each value, the (node, slot) pairs of live nodes that read it. nodes: the live ones, of who has
        them."""
        users: dict[Value, list[tuple[Node, int]]] = {}
        for node in self.live() if nodes is None else nodes:
            for slot, value in enumerate(node.inputs):
                users.setdefault(value, []).append((node, slot))
        return users

    def verify(self) -> None:
        """Recompute every type with the op's own rule, and check the order, the boundary and, likewise, all
        regions. Raises ValueError naming the node."""
        for node in self.nodes.values():
            where = f"{self.name}: node %{node.id} {node.op.name} ({node.label})"
            if any(v.node >= node.id for v in node.inputs):
                raise ValueError(f"{where}: an operand comes later")
            for region in node.regions:
                _verify_region(region, where)
            types = node.op.types([self.type(v) for v in node.inputs], node.attrs, node.regions)
            if types != node.types:
                raise ValueError(f"{where}: type is {node.types}, its rule says {types}")
        self._verify_boundary()

    def _verify_boundary(self) -> None:
        for kind, declared in (("input", self.inputs), ("variable", self.variables)):
            for name, value in declared.items():
                node = self.nodes.get(value.node)
                if node is None or node.op.origin != kind or node.attrs["name"] != name:
                    raise ValueError(f"{self.name}: {kind} {name!r} is %{value.node}, which is none")
        for name, value in (*self.outputs.items(), *self.updates.items()):
            if value.node not in self.nodes or value.output >= len(self.nodes[value.node].types):
                raise ValueError(
                    f"{self.name}: result {name!r} is %{value.node}.{value.output}, which is none"
                )
        for name, value in self.updates.items():
            if name not in self.variables:
                raise ValueError(f"{self.name}: update of unknown variable {name!r}")
            if self.type(value) != self.type(self.variables[name]):
                raise ValueError(
                    f"{self.name}: update of {name!r} has type {self.type(value)}, "
                    f"the variable has {self.type(self.variables[name])}"
                )

    def text(self) -> str:
        """One line a node: `%3 = add(%1, %2) : float32[n, 64]  # dense_1`, regions behind theirs, with `|` in
        front. Nothing is left out: graphs that compute different things have different texts."""

        def show(value: Value) -> str:
            many = len(self.nodes[value.node].types) > 1
            return f"%{value.node}.{value.output}" if many else f"%{value.node}"

        lines = [f"graph {printable(self.name)}"]
        nodes = {v.node: self.nodes[v.node] for v in self.variables.values()}  # also those that nobody reads
        nodes.update((node.id, node) for node in self.live())
        for _, node in sorted(nodes.items()):
            inside = ", ".join((*map(show, node.inputs), *_attributes(node)))
            types = ", ".join(map(str, node.types))
            label = f"  # {node.label}" if node.sources else ""
            lines.append(f"  %{node.id} = {node.op.name}({inside}) : {types}{label}")
            for region in node.regions:
                lines += ["  | " + line for line in region.text().splitlines()]
        for kind, declared in (("input", self.inputs), ("variable", self.variables)):
            if list(declared.values()) != sorted(declared.values()):  # else the nodes' order says it
                lines += [f"  {kind} {printable(name)} = {show(v)}" for name, v in declared.items()]
        lines += [f"  output {printable(name)} = {show(v)}" for name, v in self.outputs.items()]
        lines += [f"  update {printable(name)} = {show(v)}" for name, v in self.updates.items()]
        return "\n".join(lines)

    __str__ = text


_BOUNDARY = ("inputs", "variables", "outputs", "updates")


def _described(
    new: Graph, key: Any, graph: networkx.MultiDiGraph, table: Mapping[tuple[Any, int], Value]
) -> list[Value]:
    """The results of a node of a networkx graph, made in `new`. table: of what it reads."""
    data = graph.nodes[key]
    node = data.get("node")
    op = data.get("op", node.op if node else None)
    record = OPS.get(op) if isinstance(op, str) else op
    if not isinstance(record, Op):
        raise InputError(describe("from_nx", f"the op of node {key!r}, as op= or node=", repr(op)))
    edges = graph.in_edges(key, data=True)
    read = sorted(((e["slot"], source, e.get("output", 0)) for source, _, e in edges), key=itemgetter(0))
    if [slot for slot, _, _ in read] != list(range(len(read))):
        slots = [slot for slot, _, _ in read]
        raise InputError(describe("from_nx", f"operands 0, 1, ... of node {key!r}", f"operands {slots}"))
    missing = [place for place in read if place[1:] not in table]
    if missing:
        raise InputError(
            describe("from_nx", f"a result of node {missing[0][1]!r}", f"number {missing[0][2]}")
        )
    attrs = data.get("attrs", node.attrs if node else {})
    new.current = tuple(data.get("sources", node.sources if node else ()))
    if record.origin == "variable":
        return [new.variable(attrs["name"], attrs["type"])]
    if record.origin == "input":
        return [new.input(attrs["name"], attrs["type"])]
    regions = tuple(data.get("regions", node.regions if node else ()))
    try:
        made = new.add(record, [table[place[1:]] for place in read], regions=regions, **attrs)
    except (TypeError, ValueError) as error:
        what = f"operands and attributes that {record.name} takes, for node {key!r}"
        raise InputError(describe("from_nx", what, str(error))) from None
    return [Value(made.id, output) for output in range(len(made.types))]


def _verify_region(region: Graph, where: str) -> None:
    """A region reads its inputs alone and has outputs alone. That operands fit it is the op's rule."""
    if region.variables or region.updates:
        raise ValueError(f"{where}: its region {region.name} reads or updates variables")
    try:
        region.verify()
    except ValueError as error:
        raise ValueError(f"{where}: in its region {error}") from None


def _attributes(node: Node) -> list[str]:
    """Attributes as text; the type of an input or a variable is said once, as the node's."""
    declared = (node.attrs.get("type"),) == node.types
    return [
        f"{k}={printable(v if k == 'name' else repr(v))}"
        for k, v in node.attrs.items()
        if not (k == "type" and declared)
    ]

"""fuse: ops become groups, each of them one kernel that writes memory once.

Two kinds of group:
- a contraction takes the elementwise ops that follow it as its epilogue (bias, activation, residual
  addition, an optimizer's update of the weights whose gradient it is). Such a group runs at the place
  of the contraction, so everything else it reads must come earlier in the order of the graph;
- any other op that must be in memory is the root of a group, and takes in the elementwise and movement
  ops in front of it that only it needs. Such a group runs at the place of its root.

Comparisons, broadcasts, scalars and the like cost nothing and are repeated in every group that wants
them. Reshapes of values in memory are views and stay outside.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.passes.rewrite import copy, in_bodies, rebuild
from kcompile.ir.types import Shape, numel

_FREE = ("broadcast_to", "iota", "extent", "cast")


def fuse(graph: Graph) -> Graph:
    """See the module. In the result every node that computes is a `group`."""
    return _Fusion(_materialise(in_bodies(fuse)(graph))).run()


def is_column(shape: Shape, columns: Shape) -> bool:
    """Whether an operand of this shape, broadcast to [rows..., columns...], varies only by column."""
    stripped = shape[-len(columns):] if columns else ()
    lead = shape[:len(shape) - len(stripped)]
    return stripped == columns and all(d == 1 for d in lead)


def is_row(shape: Shape, rows: Shape, columns: Shape) -> bool:
    """Whether it varies only by row."""
    return shape == rows + (1,) * len(columns)


@dataclass
class _Group:
    """Members are moved here; repeats are free nodes computed again. place: order of execution."""

    place: int
    members: set[int] = field(default_factory=set)
    repeats: set[int] = field(default_factory=set)
    outputs: list[Value] = field(default_factory=list)


class _Fusion:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = graph.live()
        self.users = graph.users()
        self.results = set(graph.results())
        self.group_of: dict[int, _Group] = {}
        self.groups: list[_Group] = []
        self.used: dict[Value, int] = {}
        for value in graph.results():
            self.used[value] = self.used.get(value, 0) + 1

    # ---- what a node is

    def is_source(self, node: Node) -> bool:
        return node.op.name in ("input", "variable", "constant")

    def is_scalar_constant(self, node: Node) -> bool:
        return node.op.name == "constant" and node.types[0].shape == ()

    def is_view(self, node: Node) -> bool:
        return node.op.name == "reshape"

    def is_loop(self, node: Node) -> bool:
        """A scan: its operands are in memory, its body is fused by itself."""
        return node.op.name == "scan"

    def is_free(self, node: Node) -> bool:
        return (node.op.name in _FREE or self.is_scalar_constant(node)
                or (node.op.kind == "elementwise" and node.types[0].dtype == "bool"))

    def operands(self, ids: Iterable[int]) -> list[Value]:
        """The values that these nodes read from outside, in a fixed order."""
        inside = set(ids)
        seen: dict[Value, None] = {}
        for id in sorted(inside):
            for value in self.graph.nodes[id].inputs:
                if value.node not in inside:
                    seen[value] = None
        return list(seen)

    # ---- groups around contractions

    def grow(self, anchor: Node) -> None:
        """Take what follows a contraction, as far as its operands are there already."""
        group = _Group(anchor.id, {anchor.id})
        frontier = [anchor]
        while frontier:
            node = frontier.pop(0)
            for user, _ in self.users.get(Value(node.id), []):
                if user.id in group.members or user.id in self.group_of:
                    continue
                helpers = self.epilogue(user, anchor, group)
                if helpers is not None:
                    group.members.add(user.id)
                    group.repeats |= helpers
                    frontier.append(user)
        self.add(group)

    def epilogue(self, user: Node, anchor: Node, group: _Group) -> set[int] | None:
        """The free nodes to repeat when `user` joins the epilogue, or None when it cannot."""
        if (user.op.kind != "elementwise" or user.types[0].shape != anchor.types[0].shape
                or user.types[0].dtype == "bool"):
            return None
        helpers: set[int] = set()
        for value in user.inputs:
            if value.node in group.members:
                continue
            needed = self.available(value, anchor, 3, group)
            if needed is None:
                return None
            helpers |= needed
        return helpers

    def available(self, value: Value, anchor: Node, depth: int, group: _Group) -> set[int] | None:
        """How an epilogue gets an operand: from memory (nothing to repeat), or by repeating cheap
        elementwise nodes over such operands."""
        node = self.graph.nodes[value.node]
        spec = anchor.attrs["spec"]
        rows, columns = spec.m, spec.j
        shape = node.types[value.output].shape
        fits = (numel(shape) == 1 or shape == rows + columns or is_column(shape, columns)
                or is_row(shape, rows, columns))
        if not fits:
            return None
        cheap = self.is_free(node) or (node.op.kind == "elementwise" and not node.op.expensive
                                       and len(self.users[value]) == 1
                                       and value not in self.results and node.id > anchor.id)
        if cheap and depth and node.id not in self.group_of and node.op.kind in (
                "elementwise", "source", "movement") and node.op.name != "iota":
            repeats = {node.id}
            for operand in node.inputs:
                if operand.node in group.members:
                    continue
                needed = self.available(operand, anchor, depth - 1, group)
                if needed is None:
                    break
                repeats |= needed
            else:
                return repeats
        in_memory = not self.is_free(node) or self.is_source(node)
        there = node.id < anchor.id or self.is_source(node)
        return set() if there and in_memory else None

    # ---- other groups

    def consumers(self, node: Node) -> list[_Group]:
        """The groups that compute with a node's results."""
        found: dict[int, _Group] = {}
        for number in range(len(node.types)):
            for user, _ in self.users.get(Value(node.id, number), []):
                for group in self.groups:
                    if user.id in group.members or user.id in group.repeats:
                        found[id(group)] = group
        return list(found.values())

    def is_needed(self, node: Node) -> bool:
        """Whether something outside groups wants it in memory: a result, a view or a scan."""
        return any(v in self.results or any(
            self.is_view(user) or self.is_loop(user) for user, _ in self.users.get(v, []))
            for v in self.values(node))

    def root(self, group: _Group) -> Node:
        return self.graph.nodes[group.place]

    def joins(self, node: Node, group: _Group) -> bool:
        """Whether `node`, needed by this group alone, is computed inside it."""
        root = self.root(group)
        if root.op.kind in ("contraction", "window", "composite") or root.op.name == "pack_panels":
            return False
        shape, whole = node.types[0].shape, self.iteration(group)
        if node.op.kind == "elementwise":
            return shape == whole or shape == root.types[0].shape
        if node.op.kind == "movement":
            return not node.op.expensive and numel(shape) == numel(whole) and not any(
                self.graph.nodes[v.node].op.expensive and not self.is_source(self.graph.nodes[v.node])
                for v in node.inputs) and node.op.name != "concatenate"
        if node.op.kind == "reduction":
            return root.op.kind == "elementwise" and shape == root.types[0].shape and not any(
                self.graph.nodes[m].op.kind == "reduction" for m in group.members)
        return node.op.kind == "random" and shape == whole

    def iteration(self, group: _Group) -> Shape:
        """The shape that a group's work runs over: the operand of its reduction, if it has one."""
        for id in group.members:
            node = self.graph.nodes[id]
            if node.op.kind == "reduction":
                return self.graph.type(node.inputs[0]).shape
        return self.root(group).types[0].shape

    def place(self, node: Node) -> None:
        """Decide on one node, all of whose users are decided."""
        if node.id in self.group_of or self.is_source(node) or self.is_view(node) or (
                self.is_loop(node)):
            return
        groups = self.consumers(node)
        needed = self.is_needed(node)
        if self.is_free(node) and not needed and all(
                self.root(g).op.kind != "contraction" or node.id in g.repeats for g in groups):
            for group in groups:
                group.repeats.add(node.id)
            return
        single = len(groups) == 1 and node.id not in groups[0].repeats
        if single and not needed and self.joins(node, groups[0]):
            groups[0].members.add(node.id)
            self.group_of[node.id] = groups[0]
            return
        if single and needed and self.updates_together(node, groups[0]):
            groups[0].members.add(node.id)
            self.group_of[node.id] = groups[0]
            return
        if any(node.id not in g.repeats for g in groups) or needed or not groups:
            self.add(_Group(node.id, {node.id}))

    def updates_together(self, node: Node, group: _Group) -> bool:
        """Whether a result can be a further output of the elementwise group that reads it."""
        root, value = self.root(group), Value(node.id)
        return (node.op.kind == root.op.kind == "elementwise"
                and node.types[0].shape == root.types[0].shape
                and value in self.results
                and not any(self.is_view(u) for u, _ in self.users.get(value, []))
                and all(self.graph.nodes[m].op.kind == "elementwise" for m in group.members))

    def add(self, group: _Group) -> None:
        self.groups.append(group)
        for id in group.members:
            self.group_of[id] = group

    # ---- the new graph

    def run(self) -> Graph:
        for node in self.nodes:
            if node.op.kind == "contraction":
                self.grow(node)
        for node in reversed(self.nodes):
            self.place(node)
        for group in self.groups:
            inside = group.members
            group.outputs = [
                value for id in sorted(inside) for value in self.values(self.graph.nodes[id])
                if value in self.results or any(
                    user.id not in inside and self.reads_memory(user, value)
                    for user, _ in self.users.get(value, []))]
        return self.build()

    def values(self, node: Node) -> list[Value]:
        return [Value(node.id, i) for i in range(len(node.types))]

    def reads_memory(self, user: Node, value: Value) -> bool:
        """Whether a use outside the group happens at all (a repeated node may have no other)."""
        if user.id in self.group_of or self.is_view(user) or self.is_loop(user):
            return True
        return any(user.id in g.repeats for g in self.groups)

    def build(self) -> Graph:
        new = Graph(self.graph.name)
        table: dict[Value, Value] = {}
        at: dict[int, _Group] = {g.place: g for g in self.groups}
        for node in sorted(self.nodes, key=lambda node: not self.is_source(node)):
            if node.id in at:
                self.build_group(new, at[node.id], table)
            elif self.is_loop(node) or self.is_view(node) or (
                    self.is_source(node) and not self.is_scalar_constant(node)):
                with new.source(*node.sources):
                    made = copy(new, node, [self.external(new, v, table) for v in node.inputs])
                table.update(zip(self.values(node), made))
        new.outputs = {k: self.external(new, v, table) for k, v in self.graph.outputs.items()}
        new.updates = {k: self.external(new, v, table) for k, v in self.graph.updates.items()}
        return new

    def external(self, new: Graph, value: Value, table: dict[Value, Value]) -> Value:
        if value not in table:  # a scalar constant that a view or result reads
            table[value] = copy(new, self.graph.nodes[value.node], [])[value.output]
        return table[value]

    def build_group(self, new: Graph, group: _Group, table: dict[Value, Value]) -> None:
        root = self.root(group)
        inside = group.members | self.closure(group)
        body = Graph(root.op.name)
        inner: dict[Value, Value] = {}
        operands = self.operands(inside)
        for number, value in enumerate(operands):
            inner[value] = body.input(str(number), self.graph.type(value))
        sources: dict[object, None] = {}
        for id in sorted(inside):
            node = self.graph.nodes[id]
            if id in group.members:
                sources.update(dict.fromkeys(node.sources))
            with body.source(*node.sources):
                made = copy(body, node, [inner[v] for v in node.inputs])
            inner.update(zip(self.values(node), made))
        body.outputs = {str(i): inner[v] for i, v in enumerate(group.outputs)}
        with new.source(*sources):  # type: ignore[arg-type]
            made_group = new.add("group", [self.external(new, v, table) for v in operands],
                                 body=body, n=0, precision="float32")
        for number, value in enumerate(group.outputs):
            table[value] = Value(made_group.id, number)

    def closure(self, group: _Group) -> set[int]:
        """The repeated nodes that members, or such nodes, read."""
        needed: set[int] = set()
        stack = list(group.members)
        while stack:
            for value in self.graph.nodes[stack.pop()].inputs:
                id = value.node
                node = self.graph.nodes[id]
                if id in group.members or id in needed:
                    continue
                if id in group.repeats or self.is_scalar_constant(node):
                    needed.add(id)
                    stack.append(id)
        return needed


def _materialise(graph: Graph) -> Graph:
    """Every result gets a value of its own that some op computes: inputs, variables, views of them
    and values that leave twice are copied."""
    base: dict[Value, Value] = {}
    for node in graph.live():
        if node.op.name == "reshape":
            base[Value(node.id)] = base.get(node.inputs[0], node.inputs[0])
    new = rebuild(graph, lambda *_: None)
    taken: set[Value] = set()
    for results, fresh in ((graph.outputs, new.outputs), (graph.updates, new.updates)):
        for name, value in results.items():
            origin = base.get(value, value)
            if graph.nodes[origin.node].op.kind == "source" or origin in taken:
                fresh[name] = Value(new.add("stop_gradient", [fresh[name]]).id)
            taken.add(origin)
    return new

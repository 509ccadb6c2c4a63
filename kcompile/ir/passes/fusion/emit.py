"""The graph that a finished plan describes: enters a `FusionPlan`, leaves a graph of groups."""

from __future__ import annotations

from kcompile.ir.graph import Graph, Source, Value
from kcompile.ir.passes.fusion.facts import is_scalar_constant, values_of
from kcompile.ir.passes.fusion.plan import FusedGroup, FusionPlan
from kcompile.ir.rewrite import copy


def emit(plan: FusionPlan) -> Graph:
    """Sources first, then a node for each group, whose region has the group's nodes."""
    return _Emission(plan).run()


class _Emission:
    """new: the graph of groups. table: values of the old graph in it."""

    def __init__(self, plan: FusionPlan) -> None:
        self.plan = plan
        self.graph = plan.graph
        self.new = Graph(plan.graph.name)
        self.table: dict[Value, Value] = {}

    def run(self) -> Graph:
        for node in self.plan.facts.nodes:
            if node.op.in_memory and not is_scalar_constant(node):
                with self.new.source(*node.sources):
                    self.table[Value(node.id)] = copy(self.new, node, [])[0]
        for group in self.plan.groups:
            root = self.graph.nodes[group.root]
            if root.op.loop:
                self.external(Value(root.id))
            else:
                self.add_group(group)
        self.new.outputs = {name: self.external(v) for name, v in self.graph.outputs.items()}
        self.new.updates = {name: self.external(v) for name, v in self.graph.updates.items()}
        return self.new

    def external(self, value: Value) -> Value:
        """A value outside groups. Scalar constants and views are made when something reads them."""
        if value not in self.table:
            node = self.graph.nodes[value.node]
            inputs = [self.external(v) for v in node.inputs]
            with self.new.source(*node.sources):
                self.table.update(zip(values_of(node), copy(self.new, node, inputs)))
        return self.table[value]

    def add_group(self, group: FusedGroup) -> None:
        body = Graph(self.graph.nodes[group.place].op.name)
        inner: dict[Value, Value] = {}
        for number, value in enumerate(group.operands):
            inner[value] = body.input(str(number), self.graph.type(value))
        sources: dict[Source, None] = {}
        members = set(group.members)
        for id in group.nodes:
            node = self.graph.nodes[id]
            if id in members:
                sources.update(dict.fromkeys(node.sources))
            with body.source(*node.sources):
                made = copy(body, node, [inner[v] for v in node.inputs])
            inner.update(zip(values_of(node), made))
        body.outputs = {str(i): inner[v] for i, v in enumerate(group.outputs)}
        with self.new.source(*sources):
            node = self.new.add("group", [self.external(v) for v in group.operands], regions=(body,))
        self.table.update((value, Value(node.id, number)) for number, value in enumerate(group.outputs))

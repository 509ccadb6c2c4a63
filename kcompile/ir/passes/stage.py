"""stage: split a graph by binding time, into what depends on weights alone and the rest."""

from __future__ import annotations

from collections.abc import Callable

from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.rewrite import copy, weights_only

PREPARED = "prepared/"


def stage(graph: Graph) -> tuple[Graph, Graph]:
    """(prepare, run). prepare has the outputs "prepared/0", ...; run reads them as variables of
    those names. A reshape of a weight is no work and stays in run."""
    nodes = graph.live()
    prepare_time = weights_only(graph, nodes)
    split = _Split(graph)
    for node in nodes:
        if node.id in prepare_time:
            split.add_to_prepare(node)
        else:
            split.add_to_run(node)
    split.run.outputs = {name: split.in_run(v) for name, v in graph.outputs.items()}
    split.run.updates = {name: split.in_run(v) for name, v in graph.updates.items()}
    return split.prepare, split.run


class _Split:
    """Both halves of a graph while they grow, and the values of the graph in each."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.prepare, self.run = Graph(f"{graph.name}.prepare"), Graph(graph.name)
        self.prepared: dict[Value, Value] = {}
        self.present: dict[Value, Value] = {}

    def add_to_prepare(self, node: Node) -> None:
        _add(self.prepare, node, self.prepared.__getitem__, self.prepared)

    def add_to_run(self, node: Node) -> None:
        _add(self.run, node, self.in_run, self.present)

    def in_run(self, value: Value) -> Value:
        """A value as the run graph sees it: of prepare time, it is read as a variable."""
        if value not in self.present:
            node = self.graph.nodes[value.node]
            if node.op.in_memory or node.op.view:
                inputs = [self.in_run(v) for v in node.inputs]
                self.present[value] = copy(self.run, node, inputs)[value.output]
            else:
                name = f"{PREPARED}{len(self.prepare.outputs)}"
                self.prepare.outputs[name] = self.prepared[value]
                self.present[value] = self.run.variable(name, self.graph.type(value))
        return self.present[value]


def _add(into: Graph, node: Node, read: Callable[[Value], Value], made: dict[Value, Value]) -> None:
    """Copy a node into one of the halves."""
    with into.source(*node.sources):
        results = copy(into, node, [read(v) for v in node.inputs])
    made.update((Value(node.id, i), v) for i, v in enumerate(results))

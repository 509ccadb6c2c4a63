"""stage: split a graph by binding time, into what depends on weights alone and the rest."""

from __future__ import annotations

from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.rewrite import copy, weights_only

PREPARED = "prepared/"


def stage(graph: Graph) -> tuple[Graph, Graph]:
    """(prepare, run). prepare has the outputs "prepared/0", ...; run reads them as variables of
    those names. A reshape of a weight is no work and stays in run."""
    nodes = graph.live()
    early = weights_only(graph, nodes)
    prepare, run = Graph(f"{graph.name}.prepare"), Graph(graph.name)
    first: dict[Value, Value] = {}
    second: dict[Value, Value] = {}

    def early_value(value: Value) -> Value:
        """An early value as the run graph sees it."""
        if value not in second:
            node = graph.nodes[value.node]
            if node.op.in_memory or node.op.view:
                inputs = [early_value(v) for v in node.inputs]
                second[value] = copy(run, node, inputs)[value.output]
            else:
                name = f"{PREPARED}{len(prepare.outputs)}"
                prepare.outputs[name] = first[value]
                second[value] = run.variable(name, graph.type(value))
        return second[value]

    def place(node: Node) -> None:
        into, table = (prepare, first) if node.id in early else (run, second)
        read = (
            first.__getitem__
            if node.id in early
            else (lambda v: early_value(v) if v.node in early else second[v])
        )
        with into.source(*node.sources):
            results = copy(into, node, [read(v) for v in node.inputs])
        table.update((Value(node.id, i), v) for i, v in enumerate(results))

    for node in nodes:
        place(node)
    for name, value in graph.outputs.items():
        run.outputs[name] = early_value(value) if value.node in early else second[value]
    for name, value in graph.updates.items():
        run.updates[name] = early_value(value) if value.node in early else second[value]
    return prepare, run

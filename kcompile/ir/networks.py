"""Graphs by the algorithms of networkx: what `show` and reports say of a graph's form, its picture, and
passes that are written on networkx.

Importing networkx takes as long as compiling a small model, so this module is imported where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import networkx as nx

from kcompile.ir.graph import Graph, Node

START, END = "start", "end"


def on_networkx(rewrite: Callable[[nx.MultiDiGraph], nx.MultiDiGraph | None]) -> Callable[[Graph], Graph]:
    """The pass (see `passes.Pass`) that a function over networkx graphs is: it gets a copy of `graph.nx` to
    change in place, or gives another."""

    @wraps(rewrite)
    def run(graph: Graph) -> Graph:
        copy = graph.nx.copy()
        made = rewrite(copy)
        return Graph.from_nx(copy if made is None else made)

    return run


@on_networkx
def prune(graph: nx.MultiDiGraph) -> None:
    """Takes away what no result needs; inputs, and variables that are updated, stay."""
    described = graph.graph
    roots = {node for name in ("inputs", "outputs", "updates") for node, _ in described[name].values()}
    roots |= {described["variables"][name][0] for name in described["updates"]}
    needed = roots.union(*(nx.ancestors(graph, node) for node in roots))
    graph.remove_nodes_from([node for node in graph if node not in needed])
    described["variables"] = {k: v for k, v in described["variables"].items() if v[0] in needed}


def live(graph: Graph) -> nx.MultiDiGraph:
    """The part that results depend on."""
    return graph.nx.subgraph([node.id for node in graph.live()])


def critical_path(graph: Graph, weight: Callable[[Node], float] = lambda node: 1.0) -> list[Node]:
    """The longest chain of nodes that wait for each other. weight: what a node counts for that reads any."""
    found = live(graph)
    costs = nx.DiGraph()
    costs.add_nodes_from(found)
    costs.add_weighted_edges_from(
        (a, b, weight(graph.nodes[b])) for a, b in {(a, b) for a, b, _ in found.edges(keys=True)}
    )
    return [graph.nodes[id] for id in nx.dag_longest_path(costs)]


def width(graph: Graph) -> int:
    """How many nodes stand side by side at most, each as early as its operands allow (sources aside)."""
    inner = [node.id for node in graph.live() if node.inputs]
    generations = nx.topological_generations(graph.nx.subgraph(inner))
    return max(map(len, generations), default=0)


def bottlenecks(graph: Graph) -> list[Node]:
    """The nodes that every way from the inputs to a result goes through (dominators of all results), in
    order."""
    found = nx.DiGraph(live(graph))
    found.add_edges_from((START, value.node) for value in graph.inputs.values())
    found.add_edges_from((value.node, END) for value in graph.results())
    reached = nx.descendants(found, START) if graph.inputs else set()
    if END not in reached:
        return []
    dominators = nx.immediate_dominators(found.subgraph({START, *reached}), START)
    chain, at = [], dominators[END]
    while at != START:
        chain.append(graph.nodes[at])
        at = dominators[at]
    return chain[::-1]


def summary(graph: Graph) -> str:
    """One line: nodes, critical path, width and bottlenecks."""
    inner = sum(bool(node.inputs) for node in graph.live())
    path = len([node for node in critical_path(graph) if node.inputs])
    return (
        f"{inner} operations, critical path {path}, width {width(graph)}, "
        f"{len([n for n in bottlenecks(graph) if n.inputs])} on every way"
    )


def dot(graph: Graph) -> str:
    """A picture in Graphviz' language: nodes by op and type, a box around the nodes of each Keras layer, and
    regions as boxes within."""
    lines = [f"digraph {quoted(graph.name)} {{", "  node [shape=box, fontname=monospace];"]
    lines += _drawn(graph, "", "  ")
    return "\n".join([*lines, "}", ""])


def _drawn(graph: Graph, prefix: str, indent: str) -> list[str]:
    lines, layers = [], dict[str, list[str]]()
    for node in graph.live():
        name = f"{prefix}{node.id}"
        shown = quoted(f"{node.op.name}\n{', '.join(map(str, node.types))}")
        drawn = [f"{quoted(name)} [label={shown}];"]
        for number, region in enumerate(node.regions):
            drawn.append(f"subgraph {quoted(f'cluster {name} {number}')} {{ style=dashed;")
            drawn += ["  " + line for line in _drawn(region, f"{name}.{number}.", "")]
            drawn.append("}")
        layers.setdefault(node.label, []).extend(drawn)
        lines += [f"{indent}{quoted(f'{prefix}{value.node}')} -> {quoted(name)};" for value in node.inputs]
    boxes = []
    for label, drawn in layers.items():
        inside = [indent + line for line in drawn]
        if label:
            head = f"{indent}subgraph {quoted(f'cluster {prefix}{label}')} {{ label={quoted(label)};"
            inside = [head, *("  " + line for line in inside), indent + "}"]
        boxes += inside
    return boxes + lines


def quoted(text: Any) -> str:
    """A text as a name or label of Graphviz' language."""
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

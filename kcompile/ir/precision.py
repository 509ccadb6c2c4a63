"""In which precision contractions multiply: the rule of `compile(precision=)`, as a rewriting of a graph.

Enters: a graph as it was traced, gradients included. Leaves: for "bfloat16" the same graph with both operands
of every contraction of float32 rounded to bfloat16 (`round_bfloat16`); sums are of float32, and so is all
else. What runs such a graph, compiled or interpreted, needs no rule of its own.
"""

from __future__ import annotations

from kcompile.ir import ops
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.rewrite import in_regions, rebuild
from kcompile.ir.tensor import Tensor, emit


def in_precision(graph: Graph, precision: str) -> Graph:
    """See the module; the graph itself for "float32"."""
    return graph if precision == "float32" else _rounded(graph)


def _rounded(graph: Graph) -> Graph:
    near: dict[Value, Tensor] = {}

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> Tensor | None:
        if node.op.kind != "contraction" or node.types[0].dtype != "float32":
            return None
        for value in inputs:
            if value not in near:
                near[value] = ops.round_bfloat16(Tensor(new, value))
        return emit(node.op, [near[value] for value in inputs], **node.attrs)

    return rebuild(in_regions(graph, _rounded), rule)

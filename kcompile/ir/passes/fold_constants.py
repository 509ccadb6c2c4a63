"""fold_constants: what depends on constants alone is computed now, by the ops' own numpy meaning, where
that gives the same bits on every processor: elements that are moved, and exact arithmetic. numpy computes
functions and sums, and its BLAS products, by other instructions on each; those are left to native code
(`stage` has them computed once)."""

from __future__ import annotations

import numpy as np

from kcompile.ir import cost
from kcompile.ir.graph import Graph, Literal, Node, Value
from kcompile.ir.rewrite import rebuild
from kcompile.ir.types import Batch


def fold_constants(graph: Graph) -> Graph:
    """See the module."""

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
        sources = [new.nodes[v.node] for v in inputs]
        if not (node.op.exact or node.op.kind == "movement"):
            return None
        if not inputs or any(s.op.origin != "constant" for s in sources):
            return None
        size = node.types[0].numel
        if len(node.types) > 1 or isinstance(size, Batch) or size > cost.FOLDED:
            return None
        with np.errstate(all="ignore"):
            result = node.op.numpy(*(s.attrs["value"].array for s in sources), **node.attrs)
        literal = Literal.of(np.asarray(result, node.types[0].dtype))
        return [Value(new.add("constant", value=literal).id)]

    return rebuild(graph, rule)

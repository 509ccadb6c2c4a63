"""Scans that tests of several stages need."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.ops.scan_build import scan
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType


def counting() -> Graph:
    """A scan whose second state is a number that all samples share."""
    graph = Graph("counting")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), 6, 3))))
    zeros = ops.broadcast_to(ops.constant(graph, 0.0), (Batch(), 3))
    count = ops.constant(graph, np.zeros((1,), np.float32))

    def step(state: Any, element: Any, fixed: Any) -> Any:
        return [state[0] * 0.5 + element[0] * state[1], state[1] + 1.0], []

    final, _ = scan(step, [zeros, count], [ops.transpose(x, (1, 0, 2))], [])
    graph.outputs = {"y": final[0].value, "count": final[1].value}
    return graph

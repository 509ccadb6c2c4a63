"""Compile a graph for a graphics processor and run its kernels on numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kcompile.codegen import targets
from kcompile.codegen.gpu import evaluate
from kcompile.compiler import compile_graph
from kcompile.ir.graph import Graph
from kcompile.ir.types import bind

TARGET = targets.device("sm_80")


def flat(array: np.ndarray) -> np.ndarray:
    """The memory of an array, as bytes."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def run(
    graph: Graph,
    n: int,
    inputs: Mapping[str, np.ndarray],
    variables: Mapping[str, np.ndarray] | None = None,
    frozen: bool = False,
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """The outputs of a graph, and its variables afterwards."""
    made = compile_graph(graph, "run", TARGET, frozen)
    program = made.program
    state = {name: np.array(variables[name], order="C") for name in made.variables} if variables else {}
    types = [graph.type(v) for v in graph.outputs.values()]
    outputs = [np.empty(bind(t.shape, n), t.dtype) for t in types]
    memory = {
        "input": [flat(inputs[name]) for name in graph.inputs],
        "output": [flat(y) for y in outputs],
        "variable": [flat(state[name]) for name in state],
        "prepared": [np.full(program.prepared, 0xFF, np.uint8)],
        "constant": [np.frombuffer(program.constants, np.uint8)],
    }
    for entry in program.entries:
        evaluate.run_entry(entry, n, memory)
    return outputs, state

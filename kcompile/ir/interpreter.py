"""The reference: walk the graph in order and call each op's numpy meaning. Readable, and right.

`run` computes in float32, or in float64 throughout (`precision="float64"`), which is what compiled
kernels and gradients are checked against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile.ir.contraction import Contraction
from kcompile.ir.graph import Graph, Value
from kcompile.ir.types import Batch

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Result:
    """outputs and updates by name; values: every value computed, for `verify`."""

    outputs: dict[str, np.ndarray]
    updates: dict[str, np.ndarray]
    values: dict[Value, np.ndarray]


def _function(region: Graph, n: int, precision: str) -> Callable[..., list[np.ndarray]]:
    """What a region computes, for ops that apply it: arrays to the list of its results."""

    def apply(*arrays: np.ndarray) -> list[np.ndarray]:
        return list(run(region, n, dict(zip(region.inputs, arrays)), {}, precision).outputs.values())

    return apply


def _bind(attribute: Any, n: int, precision: str) -> Any:
    """An attribute with the batch made a number, and float32 replaced by the precision."""
    if isinstance(attribute, Batch):
        return attribute.multiple * n
    if isinstance(attribute, Contraction):
        return attribute.bind(n)
    if isinstance(attribute, tuple) and not hasattr(attribute, "_fields"):
        return tuple(_bind(a, n, precision) for a in attribute)
    if isinstance(attribute, str) and attribute == "float32":
        return precision
    return attribute


def _as(array: np.ndarray, dtype: str, precision: str) -> np.ndarray:
    """An array of a value of this dtype: floats are of the precision, and doubles stay what they are."""
    array = np.asarray(array)
    return array.astype(precision if dtype == "float32" else dtype) if array.dtype.kind == "f" else array


def run_staged(
    graphs: Sequence[Graph], n: int, inputs: Arrays, variables: Arrays, precision: str = "float32"
) -> Result:
    """Compute graphs one after the other: the outputs of one are variables of those after it (as `stage`
    makes them). Gives what the last computes."""
    for graph in graphs[:-1]:
        variables = {**variables, **run(graph, n, {}, variables, precision).outputs}
    return run(graphs[-1], n, inputs, variables, precision)


def run(graph: Graph, n: int, inputs: Arrays, variables: Arrays, precision: str = "float32") -> Result:
    """Compute a graph for a batch of n samples. Raises KeyError for a missing input or variable."""
    values: dict[Value, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for node in graph.live():
            origin = node.op.origin
            if origin == "input":
                results: Any = _as(inputs[node.attrs["name"]], node.types[0].dtype, precision)
            elif origin == "variable":
                results = _as(variables[node.attrs["name"]], node.types[0].dtype, precision)
            else:
                attrs = {k: _bind(a, n, precision) for k, a in node.attrs.items()}
                if node.regions:
                    attrs["regions"] = tuple(_function(region, n, precision) for region in node.regions)
                results = node.op.numpy(*(values[v] for v in node.inputs), **attrs)
                if origin == "constant":
                    results = _as(results, node.types[0].dtype, precision)
            many = results if isinstance(results, tuple) else (results,)
            for number, array in enumerate(many):
                values[Value(node.id, number)] = np.asarray(array)
    return Result(
        {k: values[v] for k, v in graph.outputs.items()},
        {k: values[v] for k, v in graph.updates.items()},
        values,
    )

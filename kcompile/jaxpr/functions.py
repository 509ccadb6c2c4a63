"""A function of JAX as a graph.

Enters: the function and example arguments, arrays in any structure that JAX knows. Leaves: a traced graph
whose inputs are the arrays of the arguments, in JAX's order, and the structure of the results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir.types import DTYPES, TensorType
from kcompile.jaxpr.primitives import Replay
from kcompile.jaxpr.programs import jax, traced
from kcompile.jaxpr.sizes import Sizes
from kcompile.keras.policies import dtype_here
from kcompile.keras.tensors import new_random_state
from kcompile.keras.tracing import Trace, Traced, tracing
from kcompile_runtime.errors import InputError, describe


class FunctionGraph:
    """traced: the graph. types: of the arrays in the arguments."""

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any], name: str) -> None:
        tree = jax().tree_util
        leaves, self._structure = tree.tree_flatten(tuple(arguments))
        arrays = [np.asarray(leaf) for leaf in leaves]
        self.types = [TensorType(a.shape, _dtype(a)) for a in arrays]
        sizes = Sizes((1, 1))

        def flat(_: Any, *values: Any) -> Any:
            return function(*tree.tree_unflatten(self._structure, values))

        programs, made = traced(flat, (), self.types, sizes)
        self._results = tree.tree_structure(made)
        trace = Trace(name, training=True)
        trace.draws_from(new_random_state(), training=True)
        inputs = [trace.input(f"x{i}", t) for i, t in enumerate(self.types)]
        replay = Replay(trace.graph, sizes, trace)
        with tracing(trace.graph):
            outputs = replay.run(programs, inputs)
            avals = programs.first.out_avals
            for i, (y, aval) in enumerate(zip(outputs, avals)):
                trace.graph.outputs[f"y{i}"] = replay.tensor(y, sizes.type(aval, aval)).value
            trace.count_draws()
        self.traced: Traced = trace.traced

    def arrays(self, arguments: Sequence[Any]) -> list[np.ndarray]:
        """The arrays of arguments, as the graph takes them. Raises InputError for others than it was made
        for."""
        leaves, structure = jax().tree_util.tree_flatten(tuple(arguments))
        if structure != self._structure:
            raise InputError(describe("arguments", str(self._structure), str(structure)))
        given = [np.asarray(leaf) for leaf in leaves]
        for array, type in zip(given, self.types):
            if array.shape != type.shape:
                raise InputError(
                    describe("arguments", f"an array of shape {type.shape}", f"shape {array.shape}")
                )
        return [np.ascontiguousarray(a, t.dtype) for a, t in zip(given, self.types)]

    def results(self, outputs: Sequence[np.ndarray]) -> Any:
        """Outputs in the structure of the function's results."""
        return jax().tree_util.tree_unflatten(self._results, list(outputs))


def _dtype(array: np.ndarray) -> str:
    """The dtype that JAX gives an array, unless it is told to keep 64 bits."""
    wide = {"float64": "float32", "int64": "int32"} if not jax().config.jax_enable_x64 else {}
    name = wide.get(array.dtype.name, array.dtype.name)
    name = dtype_here(name)
    if name not in DTYPES:
        raise InputError(describe("arguments", "arrays of numbers", array.dtype.name))
    return name

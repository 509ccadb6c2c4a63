"""Functions as native code, beside models: those that the front end traced (K.function's), and those of JAX.

Enters: a traced graph, or a function and examples of its arguments. Leaves: something to call on arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile import compiler
from kcompile.codegen import targets
from kcompile.ir.graph import Graph
from kcompile.keras.tracing import Traced
from kcompile.native import Made, load_program


def compile_trace(traced: Traced) -> TraceCode:
    """A traced graph (K.function's) as a function of the number of samples and the inputs' arrays.
    Weights are read, and updated, in the variables' own arrays."""
    made = compiler.compile_graph(traced.graph, "function", targets.native(), frozen=False)
    program, code = load_program(made, traced.captured), sum(map(len, made.bundle.objects))
    made.forget_stages()
    return TraceCode(made, traced, program, code)


class TraceCode(Made):
    """See `compile_trace`."""

    def __call__(self, n: int, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results for n samples, new arrays. inputs: in the order, and of the dtypes, of the graph's."""
        results: list[np.ndarray] = self.program.run("function", n, inputs)
        return results


def compile_jax(function: Callable[..., Any], example_arguments: Sequence[Any]) -> JaxCode:
    """Compile a function that computes by JAX, for arguments of the shapes and dtypes of the examples.

    function: any that JAX can trace. example_arguments: its arguments, arrays in lists, tuples, dicts or
    other structures that JAX knows. Gives a function from such arguments to numpy arrays in the structure of
    the results. Needs the package `jax` (extra `jax`), to trace; nothing computes by it. Raises
    UnsupportedError, which names the primitive and its line, for what is not supported (docs/design/jax.md
    lists what is).
    """
    from kcompile.jaxpr.functions import FunctionGraph

    return JaxCode(FunctionGraph(function, example_arguments, getattr(function, "__name__", "function")))


class JaxCode:
    """See `compile_jax`. graph: the IR of the function."""

    def __init__(self, made: Any) -> None:
        self._made, self._code = made, compile_trace(made.traced)

    @property
    def graph(self) -> Graph:
        """The IR of the function."""
        graph: Graph = self._made.traced.graph
        return graph

    def __call__(self, *arguments: Any) -> Any:
        """The results for arguments like the examples. Raises InputError for other structures or shapes."""
        return self._made.results(self._code(1, self._made.arrays(arguments)))

"""An engine that runs a model's graphs with the interpreter: slow, readable, the reference.

Enters: a model. Leaves: an `Engine` (see `kcompile.keras.engines`), which native code is checked
against, and with which everything works where there is no native code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kcompile.ir import interpreter
from kcompile.ir.graph import Graph
from kcompile.ir.indices import check_rows
from kcompile.ir.precision import in_precision
from kcompile.keras import graphs
from kcompile.keras.lengths import Lengths, LruCache, checked_lengths, graph_bytes, lengths_of
from kcompile.keras.listeners import Audience
from kcompile.keras.tracing import Traced
from kcompile_runtime.loop import Runner, one_by_one


class InterpreterEngine:
    """precision: "float32", "bfloat16" for float32 whose contractions multiply in bfloat16 (see
    `kcompile.ir.precision`), or "float64" to compute in it; variables keep their own dtype."""

    quick = quick_list = None

    def __init__(self, model: Any, precision: str = "float32") -> None:
        self.model = model
        self.rule = "bfloat16" if precision == "bfloat16" else "float32"
        self.precision = "float32" if precision == "bfloat16" else precision
        self._graphs: LruCache[Traced] = LruCache(lambda traced: graph_bytes(traced.graph))

    def traced(self, entry: str, lengths: Any = None) -> Traced:
        """The graph of "predict", "test" or "train". lengths: the sizes that the model's inputs leave
        unknown."""
        key = (graphs.checked_entry(entry), checked_lengths(self.model, lengths, entry))
        return self._graphs.get(key) or self._graphs.put(key, self._trace(*key))

    def _trace(self, entry: str, lengths: Any) -> Traced:
        traced = graphs.trace(self.model, entry, lengths)
        return replace(traced, graph=in_precision(traced.graph, self.rule))

    def graph(self, entry: str, lengths: Any = None) -> Graph:
        """The graph alone."""
        return self.traced(entry, lengths).graph

    def prepare(self, entry: str, lengths: Lengths) -> None:
        """Trace the graph."""
        self.traced(entry, lengths or None)

    def reset(self, entries: Iterable[str] = graphs.ENTRIES) -> None:
        """Forget graphs: the model changed."""
        self._graphs.forget(entries)

    def run(self, entry: str, n: int, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for n samples; updates are written into the variables' arrays."""
        traced = self.traced(entry, lengths_of(self.model, inputs, entry) or None)
        graph, variables = traced.graph, traced.state
        result = interpreter.run(graph, n, dict(zip(graph.inputs, inputs)), variables, self.precision)
        check_rows(entry, graph, result.values)
        for name, value in result.updates.items():
            variables[name][...] = value
        Audience(traced.captured[name] for name in result.updates)()
        return list(result.outputs.values())

    def batches(self, entry: str) -> Runner:
        """What runs an entry over the rows of arrays, batch by batch."""
        return one_by_one(lambda n, parts: self.run(entry, n, parts))

    def predictor(self) -> None:
        """None: there is no quicker way than `run`."""

    def list_predictor(self) -> None:
        """None, likewise."""

"""Traces whose tensors have values: what a `GradientTape` notes outside of a step.

Enters: code of a script that computes with models, functions and variables, as it runs. Leaves: a graph of
what it computed, which a tape differentiates, and values of it when they are asked for (`loss.numpy()`, `if
loss < 1`, an optimizer's step). Values are computed together: those that are wanted, those that the script
still holds, and updates of variables. The first time by the interpreter; a graph that comes again, as in a
loop over batches, is compiled.

Arrays that come in are inputs of the graph, and variables are inputs with the values that they had when they
were first read: so that two steps of a loop have one graph. Outside of the `with` tensors stand for their
values, as all there is then.
"""

from __future__ import annotations

import itertools
import math
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from kcompile.ir import interpreter
from kcompile.ir.digest import fingerprint
from kcompile.ir.graph import Graph, Value
from kcompile.ir.indices import check_rows
from kcompile.ir.rewrite import copy
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import TensorType
from kcompile.keras.lengths import LruCache
from kcompile.keras.listeners import Listeners
from kcompile.keras.tensors import Variable, new_random_state
from kcompile.keras.tracing import Trace, Traced, current, tracing

NUMBERS = 16  # elements of an array of integers at most that may say sizes, and so are constants
WORK = 100_000  # elements that a graph computes from which on it is compiled when it comes again
KEPT = 256  # graphs that came once, of which is known that they did


class EagerGraph(Graph):
    """A graph whose arrays are inputs. values: of what is known. handles: the tensors that somebody holds, by
    their ids. watched: inputs by the ids of arrays that a tape watches, beside these."""

    def __init__(self, name: str, eager: int) -> None:
        super().__init__(name)
        self.eager = eager
        self.values: dict[Value, np.ndarray] = {}
        self.handles: dict[int, weakref.ref[Tensor]] = {}
        self.watched: dict[int, tuple[np.ndarray, Value]] = {}

    def constant(self, array: np.ndarray) -> Value:
        if array.ndim == 0 or (array.dtype.kind != "f" and array.size <= NUMBERS):
            return super().constant(array)
        return self.known(np.array(array))

    def known(self, array: np.ndarray) -> Value:
        """An input that has this value."""
        value = self.input(f"array_{len(self.inputs)}", TensorType(array.shape, array.dtype.name))
        self.values[value] = array
        return value

    def watch(self, array: np.ndarray) -> Value:
        """The input that an array is, wherever it comes in."""
        if id(array) not in self.watched:
            self.watched[id(array)] = array, self.known(np.array(array))
        return self.watched[id(array)][1]

    def hold(self, tensor: Tensor) -> None:
        self.handles[id(tensor)] = weakref.ref(tensor)

    def of_array(self, array: np.ndarray) -> Value | None:
        found = self.watched.get(id(array))
        return None if found is None else found[1]

    @property
    def held(self) -> list[Tensor]:
        """The tensors that somebody holds."""
        found = [t for ref in list(self.handles.values()) if (t := ref()) is not None and t.graph is self]
        self.handles = {id(t): self.handles[id(t)] for t in found}
        return found


_numbers = itertools.count(2)


class EagerTrace(Trace):
    """A trace whose tensors have values. tapes: those that noted here. alone: it is for one tensor that is
    left of another."""

    graph: EagerGraph

    def __init__(self, alone: bool = False) -> None:
        super().__init__("tape")
        self.graph = EagerGraph("tape", 1 if alone else next(_numbers))
        self.graph.tracer = lambda: self  # for as long as there is a tensor of the graph
        self.stepping = True
        self.tapes: weakref.WeakSet[Any] = weakref.WeakSet()
        self.thread = threading.get_ident()
        self._pending: dict[str, Variable] = {}
        self._starts: dict[Variable, list[str]] = {}  # names of its starts, in their order
        self._told: dict[str, int] = {}  # how much had been told when a variable was last compared
        if not alone:
            self.draws_from(new_random_state(), False)

    # ---- variables

    def read(self, variable: Variable) -> Tensor:
        """The variable's value now: what was written elsewhere since it was read is another start."""
        name = self.names.get(variable)
        known = self._told.get(name or "", Listeners.told)
        if name is not None and name not in self._pending and known != Listeners.told:
            value = self.graph.updates.get(name, self.graph.variables[name])
            if np.array_equal(self.graph.values[value], variable.array):
                self._told[name] = Listeners.told
            else:
                del self.names[variable]
        found = super().read(variable)
        name = self.names[variable]
        if name not in self._told:
            self._told[name] = Listeners.told
            self._starts.setdefault(variable, []).append(name)
            self.graph.values[self.graph.variables[name]] = variable.array.copy()
        return found

    def start_between(self, variable: Variable, first: int, last: int) -> str:
        """The name of the start that nodes of these numbers read: the first of them, else the one before."""
        nodes = {name: self.graph.variables[name].node for name in self._starts.get(variable, ())}
        before = [name for name, node in nodes.items() if node < first]
        inside = [name for name, node in nodes.items() if first <= node < last]
        if not before and not inside:
            self.read(variable)
            return self.names[variable]
        return inside[0] if inside else before[-1]

    def update(self, variable: Variable, tensor: Tensor) -> None:
        super().update(variable, tensor)
        self._pending[self.names[variable]] = variable

    def write(self) -> None:
        """Write the variables that were updated."""
        if self._pending:
            self._compute([])
            pending, self._pending = self._pending, {}
            with tracing(None):
                for name, variable in pending.items():
                    variable.assign(self.graph.values[self.graph.updates[name]])

    def write_what_is_known(self) -> None:
        """Write the variables that were updated before an error, where their values can be computed."""
        with suppress(Exception):
            self.write()
        self._pending.clear()

    # ---- values

    def value_of(self, tensor: Tensor) -> np.ndarray:
        """The value of a tensor: not a copy."""
        if tensor.value not in self.graph.values:
            self._compute([tensor.value])
        return self.graph.values[tensor.value]

    def _compute(self, wanted: Sequence[Value]) -> None:
        """Compute what is wanted, what somebody holds, and what variables will be."""
        values = self.graph.values
        updates = [self.graph.updates[name] for name in self._pending]
        targets = dict.fromkeys([*updates, *wanted, *(t.value for t in self.graph.held)])
        unknown = [value for value in targets if value not in values]
        if not unknown:
            return
        part, table = self._part(unknown)
        arrays = [values[v] for v, made in table.items() if part.nodes[made.node].op.origin == "input"]
        code = _compiled(part)
        if code is not None:
            values.update(zip(unknown, code(1, arrays)))
            return
        result = interpreter.run(part, 1, dict(zip(part.inputs, arrays)), {})
        check_rows("GradientTape", part, result.values)
        kept = table if self.open else unknown  # the way back needs what is computed on the way
        values.update((v, np.array(result.values[table[v]])) for v in kept if v not in values)

    def _part(self, targets: Sequence[Value]) -> tuple[Graph, dict[Value, Value]]:
        """The graph of these values, from those that are known, which are its inputs; and its values by ours,
        the inputs first."""
        graph, values = self.graph, self.graph.values
        needed: set[int] = set()
        read: dict[Value, None] = {}
        stack = list(targets)
        while stack:
            value = stack.pop()
            if value in values:
                read[value] = None
            elif value.node not in needed:
                needed.add(value.node)
                stack.extend(graph.nodes[value.node].inputs)
        part = Graph("tape")
        table = {value: part.input(f"x{k}", graph.type(value)) for k, value in enumerate(sorted(read))}
        for number in sorted(needed):
            node = graph.nodes[number]
            for output, made in enumerate(copy(part, node, [table[v] for v in node.inputs])):
                table.setdefault(Value(number, output), made)
        part.outputs = {f"y{k}": table[value] for k, value in enumerate(targets)}
        return part, table

    # ---- the end

    @property
    def open(self) -> bool:
        """Whether a tape may still be asked for gradients of what is noted here."""
        return any(tape.open for tape in self.tapes)

    def settle(self) -> None:
        """Let go of everything but the values of tensors that somebody holds."""
        self.write()
        for kept in (self.masks, self.known, self.added, self.told):
            kept.clear()
        self.losses.clear()
        held = self.graph.held
        arrays = [self.value_of(t) for t in held]
        for t, array in zip(held, arrays):
            alone = EagerTrace(alone=True)
            t.graph, t.value = alone.graph, alone.graph.known(array)
            alone.graph.hold(t)
        self.graph.nodes.clear()
        self.graph.values.clear()


# ---------------------------------------------------------------- beginning


_unsettled: weakref.WeakSet[EagerTrace] = weakref.WeakSet()


def begun() -> EagerTrace:
    """A new trace. Those before it, which no tape needs any more, are settled."""
    mine = threading.get_ident()
    for trace in [t for t in _unsettled if t.thread == mine and not t.open]:
        trace.settle()
        _unsettled.discard(trace)
    made = EagerTrace()
    _unsettled.add(made)
    return made


def eager_trace(x: Any) -> EagerTrace | None:
    """The eager trace that a tensor, or a graph, belongs to; None for anything else."""
    graph = x.graph if isinstance(x, Tensor) else x
    found = graph.tracer() if isinstance(graph, EagerGraph) and graph.tracer is not None else None
    return found if isinstance(found, EagerTrace) else None


@contextmanager
def written_with(tensors: Sequence[Any]) -> Iterator[bool]:
    """Inside the `with`, where no graph is traced and a tensor is of an eager trace, its graph is the current
    one; what it updates is written at the end. Gives whether it is so."""
    trace = next((t for t in map(eager_trace, tensors) if t is not None), None)
    if current() is not None or trace is None:
        yield False
        return
    with tracing(trace.graph):
        yield True
    trace.write()


# ---------------------------------------------------------------- computing

_codes: LruCache[Callable[..., list[np.ndarray]]] = LruCache(lambda code: code.nbytes)  # type: ignore[attr-defined]
_once: dict[str, None] = {}  # the graphs that came once


def code_of(traced: Traced) -> Any:
    """A traced graph, compiled: a function of the number of samples and the inputs' arrays."""
    import kcompile

    return kcompile.compile_trace(traced)


def _compiled(graph: Graph) -> Callable[..., list[np.ndarray]] | None:
    """The code of a graph of fixed sizes that is worth it; None for one that comes for the first time."""
    if sum(math.prod(map(int, t.shape)) for node in graph.nodes.values() for t in node.types) < WORK:
        return None
    name = fingerprint(graph)
    code = _codes.get((name, ()))
    if code is None and name in _once:
        code = _codes.put((name, ()), code_of(Traced(graph, {})))
    elif code is None:
        _once[name] = None
        for oldest in list(_once)[:-KEPT]:
            del _once[oldest]
    return code

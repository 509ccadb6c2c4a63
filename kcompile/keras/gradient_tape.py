"""`GradientTape`: gradients where a step of a model's own is traced.

Enters: what is computed inside the `with`, into the graph of the step. Leaves: gradients in the same graph,
by the ops' own rules, of what was computed inside alone: what comes from elsewhere is a constant, as in
TensorFlow. A tape may be inside another one, whose gradients are then second derivatives. Outside of a step
there is no graph to differentiate, and a tape is refused.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.gradient import pull_back, reached_from
from kcompile.ir.graph import Graph, Value
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.ir.types import FLOATS, numel
from kcompile.keras.eager_trace import EagerGraph, EagerTrace, begun, eager_trace
from kcompile.keras.editions import edition
from kcompile.keras.operands import leaves, map_leaves, tensor
from kcompile.keras.settings import running, vintage_running
from kcompile.keras.sparse_gradients import of_tape
from kcompile.keras.tensors import Variable
from kcompile.keras.tracing import current, find_trace, trace_of, tracing
from kcompile.keras.watched import WATCHED
from kcompile_runtime.checks import check_flag
from kcompile_runtime.errors import InputTypeError, ModelError, UnsupportedError, describe

REMEDY = (
    "Put the step into `train_step(self, data)` of a class derived from keras.Model, and call fit or "
    "train_on_batch: it is then traced once and compiled whole"
)
MOST_ELEMENTS = 1024  # that a Jacobian is taken of: each has gradients of its own
UNCONNECTED = ("none", "zero")
TF_KERAS = "tf_keras"  # the Keras of a script that uses TensorFlow, and says no other


class GradientTape:
    """Notes what is computed inside the `with`. persistent: `gradient` may be asked more than once.
    watch_accessed_variables: whether the variables that are read are watched; others by `watch` alone. Raises
    UnsupportedError outside of a step that is traced."""

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._persistent = check_flag("GradientTape: persistent", persistent)
        self._watches_variables = check_flag(
            "GradientTape: watch_accessed_variables", watch_accessed_variables
        )
        self._graph: Graph | None = None
        self._spans: list[tuple[int, int | None]] = []  # numbers of the nodes that were noted
        self._before: dict[str, Value] = {}  # what variables were when it began
        self._watched: list[Value] = []
        self._used = False
        self._outermost: ExitStack | None = None  # it traces, as nothing did

    # ---- what is noted

    def __enter__(self) -> GradientTape:
        graph = current()
        if graph is None:
            vintage = vintage_running()
            # A tape that was entered before goes on in its graph
            graph = begun().graph if self._graph is None else self._graph
            self._outermost = ExitStack()
            self._outermost.enter_context(tracing(graph))
            self._outermost.enter_context(running(vintage if edition(vintage).eager else TF_KERAS))
        if find_trace(graph) is None:
            raise UnsupportedError(f"GradientTape: nothing is traced here, so nothing is noted. {REMEDY}")
        if self._graph is not graph:
            self._graph, self._before = graph, dict(graph.updates)
        trace = eager_trace(graph)
        if trace is not None:
            trace.tapes.add(self)
        self._spans.append((len(graph.nodes), None))
        return self

    def __exit__(self, kind: Any = None, *_: object) -> None:
        self._stop()
        if self._outermost is not None:
            outermost, self._outermost = self._outermost, None
            outermost.close()
            trace = eager_trace(self._graph)
            if trace is not None:
                trace.write() if kind is None else trace.write_what_is_known()

    @property
    def open(self) -> bool:
        """Whether gradients may still be asked for."""
        return self._persistent or not self._used

    def _stop(self) -> None:
        if self._spans and self._spans[-1][1] is None and self._graph is not None:
            self._spans[-1] = self._spans[-1][0], len(self._graph.nodes)

    def stop_recording(self) -> _Paused:
        """A `with` inside which nothing is noted."""
        return _Paused(self)

    def reset(self) -> None:
        """Forget what was noted and watched."""
        graph = self._opened("reset")
        going = bool(self._spans) and self._spans[-1][1] is None
        self._before, self._watched, self._used = dict(graph.updates), [], False
        self._spans = [(len(graph.nodes), None)] if going else []

    def watch(self, tensor: Any) -> None:
        """Gradients by these tensors may be asked for: one, or a structure of them."""
        graph = self._opened("watch")
        for x in leaves(tensor):
            if not isinstance(x, (Tensor, Variable, np.ndarray)):
                raise InputTypeError(describe("GradientTape.watch", "tensors", repr(x)))
            if isinstance(graph, EagerGraph):
                _let_in(graph, x)
            self._watched.append(self._start(x))

    def watched_variables(self) -> tuple[Variable, ...]:
        """The trainable variables that were read so far."""
        trace = trace_of(self._opened("watched_variables"))
        return tuple(v for v in trace.names if v.trainable) if self._watches_variables else ()

    # ---- gradients

    def gradient(
        self, target: Any, sources: Any, output_gradients: Any = None, unconnected_gradients: Any = "none"
    ) -> Any:
        """The gradient of the sum of the targets by each source, in the structure of the sources; None (or
        zeros, unconnected_gradients="zero") where no target depends on it. output_gradients: factors of the
        targets' elements. Raises ModelError for a second call on a tape that is not persistent."""
        with tracing(self._opened("gradient")):
            self._check_use()
            return self._gradient(target, sources, output_gradients, unconnected_gradients)

    def _check_use(self) -> None:
        """Raises ModelError where gradients were asked for before, and may be once."""
        if self._used and not self._persistent:
            raise ModelError(
                "GradientTape: gradient may be asked once. Make the tape with persistent=True to ask again"
            )
        self._used = True

    def _gradient(self, target: Any, sources: Any, output_gradients: Any, unconnected_gradients: Any) -> Any:
        graph = self._opened("gradient")
        none = str(getattr(unconnected_gradients, "value", unconnected_gradients)).lower()
        if none not in UNCONNECTED:
            wanted = " or ".join(map(repr, UNCONNECTED))
            raise ModelError(describe("GradientTape: unconnected_gradients", wanted, repr(none)))
        if self._persistent is False:
            self._stop()
        targets = [tensor(t) for t in leaves(target) if t is not None]
        given = leaves(output_gradients) if output_gradients is not None else [None] * len(targets)
        factors = [
            ops.broadcast_to(
                ops.constant(graph, 1, t.dtype) if f is None else ops.cast(tensor(f), t.dtype), t.shape
            )
            for t, f in zip(targets, given)
        ]
        wanted_ones = [x for x in leaves(sources) if isinstance(x, (Tensor, Variable, np.ndarray))]
        starts = [Tensor(graph, self._start(x)) for x in wanted_ones]
        paths = [(t, f) for t, f in zip(targets, factors) if t.dtype in FLOATS]
        found = pull_back([t for t, _ in paths], [f for _, f in paths], starts, self._noted)
        for x, g in zip(wanted_ones, found):
            if g is not None and isinstance(x, Variable):
                of_tape(g)
        known = self._known(graph, starts, wanted_ones)
        by_source = {
            id(x): g if ok and g is not None else ops.zeros_like(start) if none == "zero" else None
            for x, g, ok, start in zip(wanted_ones, found, known, starts)
        }
        return map_leaves(lambda x: by_source.get(id(x)), sources)

    def jacobian(
        self,
        target: Any,
        sources: Any,
        unconnected_gradients: Any = "none",
        parallel_iterations: Any = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """The gradients of each element of the target, of shape target.shape + source.shape, in the structure
        of the sources. How many run side by side is not for the caller to say. Raises UnsupportedError for
        more than 1024 elements, or where their number is not known."""
        return self._stacked(target, sources, unconnected_gradients, 0)

    def batch_jacobian(
        self,
        target: Any,
        source: Any,
        unconnected_gradients: Any = "none",
        parallel_iterations: Any = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """The gradients of each element of the target by the source's elements of its own sample: of shape
        [samples, ...target's other axes, ...source's other axes]. Raises UnsupportedError as `jacobian`."""
        return self._stacked(target, source, unconnected_gradients, 1)

    def _stacked(self, target: Any, sources: Any, unconnected: Any, axis: int) -> Any:
        """The gradients of each element along the axes from `axis` on, of all samples before it together, one
        beside the other along this axis, which becomes several."""
        with tracing(self._opened("jacobian")):
            self._check_use()
            y = tensor(target)
            rest, count = y.shape[axis:], numel(y.shape[axis:])
            if not isinstance(count, int) or count > MOST_ELEMENTS:
                wanted = f"at most {MOST_ELEMENTS} elements of a known number"
                raise UnsupportedError(describe("GradientTape.jacobian", wanted, str(y.type)))
            each = np.eye(count, dtype=np.float32).reshape(count, *[1] * axis, *map(int, rest))
            rows = [self._gradient(y, sources, factor, unconnected) for factor in each]

            def joined(*parts: Any) -> Any:
                if parts[0] is None:
                    return None
                beside = [ops.reshape(p, (*p.shape[:axis], 1, *p.shape[axis:])) for p in parts]
                made = ops.concatenate(beside, axis)
                return ops.reshape(made, (*made.shape[:axis], *rest, *made.shape[axis + 1 :]))

            found = iter([joined(*column) for column in zip(*(list(leaves([row])) for row in rows))])
            return map_leaves(lambda _: next(found), rows[0])

    # ---- parts

    def _opened(self, method: str) -> Graph:
        if self._graph is None:
            raise ModelError(
                f"GradientTape.{method}: the tape was not begun. Call it after `with ... as tape:`"
            )
        return self._graph

    def _noted(self, node: int) -> bool:
        """Whether the node of this number was made while the tape noted."""
        return any(first <= node and (end is None or node < end) for first, end in self._spans)

    def _start(self, x: Any) -> Value:
        """The value that a source had when the tape began; of a tensor, itself."""
        graph = self._opened("gradient")
        if not isinstance(x, Variable):
            return as_tensor(graph, x).value
        trace = trace_of(graph)
        if isinstance(trace, EagerTrace):
            last = self._spans[-1][1]
            name = trace.start_between(x, self._spans[0][0], len(graph.nodes) if last is None else last)
        else:
            trace.read(x)
            name = trace.names[x]
        return self._before.get(name, graph.variables[name])

    def _known(self, graph: Graph, starts: list[Tensor], sources: list[Any]) -> list[bool]:
        """Whether the tape follows each source: a trainable variable, what is watched, or depends on it."""
        trace = trace_of(graph)
        seeds = list(self._watched)
        if self._watches_variables:
            seeds += [self._start(v) for v in list(trace.names) if v.trainable]
        _, reached = reached_from(graph, seeds, self._noted)
        return [start.value.node in reached for start in starts]


def _let_in(graph: EagerGraph, x: Any) -> None:
    """Make a value from elsewhere one of the graph, wherever the script uses it."""
    if isinstance(x, np.ndarray):
        graph.watch(x)
        if type(x) in WATCHED:
            x.__class__ = WATCHED[type(x)]
    elif isinstance(x, Tensor) and x.graph is not graph and x.graph.eager:
        x.graph, x.value = graph, graph.known(np.array(x))
        graph.hold(x)


class _Paused:
    """See `GradientTape.stop_recording`."""

    def __init__(self, tape: GradientTape) -> None:
        self._tape = tape

    def __enter__(self) -> None:
        self._tape._stop()

    def __exit__(self, *_: object) -> None:
        self._tape._spans.append((len(self._tape._opened("stop_recording").nodes), None))

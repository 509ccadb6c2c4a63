"""Values now: tensors without inputs, computed by the interpreter.

Enters: a function that makes tensors in a graph. Leaves: arrays. What `K.eval` of an expression, the call of
a layer on arrays, and a metric outside of a model compute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import interpreter
from kcompile.ir.graph import Graph
from kcompile.ir.indices import check_rows
from kcompile.ir.tensor import Tensor
from kcompile.keras.operands import leaves
from kcompile.keras.settings import fixed_phase
from kcompile.keras.tensors import new_random_state
from kcompile.keras.tracing import Trace, tracing


def computed(
    make: Callable[[Graph], Sequence[Tensor]], number: int = 0, writes: bool = False
) -> list[np.ndarray]:
    """The values of tensors that are made in a graph without inputs. number: of the draw. writes: whether the
    updates that are left in the graph are written."""
    trace, state = _new_trace(), new_random_state()
    state.draws.assign(state.draws.array + np.uint32(number))
    trace.draws_from(state, False)
    with tracing(trace.graph):
        outputs = make(trace.graph)
    values, updates = _run(trace, outputs)
    for name, value in updates.items() if writes else ():
        trace.captured[name].assign(value)
    return values


def performed(make: Callable[[], Any]) -> tuple[Any, list[np.ndarray]]:
    """What a function that builds in the current graph gives, and the values of the tensors in it; the
    updates that it leaves in the graph are written."""
    trace = _new_trace()
    trace.draws_from(new_random_state(), False)
    with tracing(trace.graph):
        found = make()
    values, updates = _run(trace, [y for y in leaves([found]) if isinstance(y, Tensor)])
    for name, value in updates.items():
        trace.captured[name].assign(value)
    return found, values


def _new_trace() -> Trace:
    return Trace("eval", bool(fixed_phase()))


def _run(trace: Trace, outputs: Sequence[Tensor]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """The values of tensors of a trace without inputs, and of what its graph updates."""
    trace.graph.outputs = {f"y{i}": y.value for i, y in enumerate(outputs)}
    result = interpreter.run(trace.graph, 1, {}, trace.traced.state)
    check_rows("K.eval", trace.graph, result.values)
    return [np.array(y) for y in result.outputs.values()], result.updates

"""Values now: tensors without inputs, computed by the interpreter.

Enters: a function that makes tensors in a graph. Leaves: arrays. What `K.eval` of an expression and the call
of a layer on arrays compute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kcompile.ir import interpreter
from kcompile.ir.graph import Graph
from kcompile.ir.indices import check_rows
from kcompile.ir.tensor import Tensor
from kcompile.keras.settings import fixed_phase
from kcompile.keras.tensors import new_random_state
from kcompile.keras.tracing import Trace, tracing


def computed(make: Callable[[Graph], Sequence[Tensor]], number: int = 0) -> list[np.ndarray]:
    """The values of tensors that are made in a graph without inputs. number: of the draw."""
    trace, state = Trace("eval", bool(fixed_phase())), new_random_state()
    state.draws.assign(state.draws.value + np.uint32(number))
    trace.draws_from(state, False)
    with tracing(trace.graph):
        trace.graph.outputs = {f"y{i}": y.value for i, y in enumerate(make(trace.graph))}
    variables = trace.traced.state
    result = interpreter.run(trace.graph, 1, {}, variables)
    check_rows("K.eval", trace.graph, result.values)
    return [np.array(y) for y in result.outputs.values()]

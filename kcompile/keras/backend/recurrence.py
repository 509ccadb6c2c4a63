"""K.rnn: a step function over the time axis, as one scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.ops.scan_build import scan
from kcompile.ir.tensor import Tensor
from kcompile.keras.backend.arrange import reverse
from kcompile.keras.operands import fixed_size, graph, tensor, traced
from kcompile.keras.tracing import Trace, find_trace, tracing
from kcompile_runtime.errors import UnsupportedError

Step = Callable[..., Any]


@traced
def rnn(
    step_function: Step,
    inputs: Any,
    initial_states: Sequence[Any],
    go_backwards: bool = False,
    mask: Any = None,
    constants: Sequence[Any] | None = None,
    unroll: bool = False,
    input_length: int | None = None,
) -> Any:
    """(last output, outputs [batch, time, ...], final states) of
    step_function(input [batch, ...], states + constants) -> (output, new states).

    inputs: [batch, time, ...]. mask: [batch, time]; where it is false, the states stay and the output
    is the one before (zeros at first). Outputs of go_backwards are in the order of computation.
    `unroll` makes no difference to values.
    """
    outer = _outer()
    x = tensor(inputs)
    states, fixed = [tensor(s) for s in initial_states], [tensor(c) for c in constants or ()]
    sequences = [time_first(x)]
    body = _body(outer)
    previous: list[Tensor] = []
    if mask is not None:
        keep = tensor(mask)
        sequences.append(time_first(keep if keep.dtype == "bool" else ops.not_equal(keep, 0)))
        previous = [_zero_output(step_function, outer, x, states, fixed)]

    def step(carried: list[Tensor], elements: list[Tensor], invariants: list[Tensor]) -> Any:
        with tracing(body.graph):
            now = carried[: len(states)]
            output, new = step_function(elements[0], [*now, *invariants])
            if mask is None:
                return list(new), [output]
            chosen = [choose(elements[1], a, b) for a, b in zip((output, *new), (carried[-1], *now))]
            return [*chosen[1:], chosen[0]], [chosen[0]]

    final, (outputs,) = scan(
        step, [*states, *previous], sequences, fixed, fixed_size(x, 1), go_backwards, body.graph
    )
    last = outputs[0 if go_backwards else -1]
    made = time_first(outputs)
    if go_backwards:
        made = reverse(made, 1)
    return last, made, final[: len(states)]


def time_first(x: Tensor) -> Tensor:
    """[batch, time, ...] as [time, batch, ...], or the other way."""
    return ops.transpose(x, (1, 0, *range(2, x.rank)))


def choose(hit: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a for the samples of hit [batch], b for the others."""
    return ops.select(ops.reshape(hit, (hit.shape[0], *(1,) * (a.rank - 1))), a, b)


def _outer() -> Trace:
    found = find_trace(graph())
    if found is None:
        raise UnsupportedError("K.rnn works inside a model, or on expressions outside")
    return found


def _body(outer: Trace) -> Trace:
    body = outer.inside("step")
    body.frozen = True  # a step has no updates
    return body


def _zero_output(
    step_function: Step, outer: Trace, x: Tensor, states: Sequence[Tensor], fixed: Sequence[Tensor]
) -> Tensor:
    """Zeros of the type of the step's output."""
    scratch = _body(outer)
    types = [x.type.with_shape((x.shape[0], *x.shape[2:])), *(s.type for s in (*states, *fixed))]
    given = [scratch.input(f"in{i}", t) for i, t in enumerate(types)]
    with tracing(scratch.graph):
        output, _ = step_function(given[0], given[1:])
    return ops.broadcast_to(ops.constant(outer.graph, 0, output.dtype), output.shape)

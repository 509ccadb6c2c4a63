"""Functions over the items of an axis, as one scan: K.rnn, K.map_fn, K.foldl and K.foldr."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.ops.scan_build import scan
from kcompile.ir.tensor import Tensor
from kcompile.keras.backend.arrange import reverse
from kcompile.keras.operands import fixed_size, graph, leaves, map_leaves, tensor, traced
from kcompile.keras.settings import dtype_of
from kcompile.keras.tracing import Trace, find_trace, tracing
from kcompile_runtime.errors import UnsupportedError

Step = Callable[..., Any]


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
    `unroll` makes no difference to values. Raises ValueError for it where the number of steps is not known.
    """
    if unroll and 1 in getattr(inputs, "unknown_axes", ()):
        raise ValueError(f"rnn: unroll=True needs a known number of steps. Received: {inputs.shape}")
    return _rnn(step_function, inputs, initial_states, go_backwards, mask, constants)


@traced
def _rnn(
    step_function: Step,
    inputs: Any,
    initial_states: Sequence[Any],
    go_backwards: bool,
    mask: Any,
    constants: Sequence[Any] | None,
) -> Any:
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


# ---------------------------------------------------------------- over the first axis


@traced
def map_fn(fn: Callable[..., Any], elems: Any, name: str | None = None, dtype: str | None = None) -> Any:
    """fn(item) of each item along the first axis, whose size is known, as one tensor. elems may be a list of
    tensors, whose items fn takes as a list; fn may give a list, of which each part becomes a tensor."""
    several = isinstance(elems, (list, tuple))
    sequences = [tensor(x) for x in elems] if several else [tensor(elems)]
    body = _body(_outer())

    nested: list[Any] = []  # how the results of fn are

    def step(carried: list[Tensor], items: list[Tensor], invariants: list[Tensor]) -> Any:
        with tracing(body.graph):
            nested[:] = [fn(type(elems)(items) if several else items[0])]
            made = map(tensor, leaves(nested))
            return [], [x if dtype is None else ops.cast(x, dtype_of(dtype)) for x in made]

    results = iter(scan(step, [], sequences, [], _items("map_fn", sequences), False, body.graph)[1])
    return map_leaves(lambda _: next(results), nested[0])


def _fold(name: str, fn: Callable[..., Any], elems: Any, initializer: Any, backwards: bool) -> Tensor:
    x = tensor(elems)
    count = _items(name, [x])
    if initializer is not None:
        state, rest = tensor(initializer), x
    elif count == 1:
        return x[0]
    else:
        state, rest = (x[-1], x[:-1]) if backwards else (x[0], x[1:])
        count -= 1
    body = _body(_outer())

    def step(carried: list[Tensor], items: list[Tensor], invariants: list[Tensor]) -> Any:
        with tracing(body.graph):
            return [tensor(fn(carried[0], items[0]))], []

    return scan(step, [state], [rest], [], count, backwards, body.graph)[0][0]


@traced
def foldl(fn: Callable[..., Any], elems: Any, initializer: Any = None, name: str | None = None) -> Any:
    """fn(result so far, item) along the first axis, whose size is known; it begins with the initializer, or
    with the first item."""
    return _fold("foldl", fn, elems, initializer, False)


@traced
def foldr(fn: Callable[..., Any], elems: Any, initializer: Any = None, name: str | None = None) -> Any:
    """`foldl` from the last item to the first."""
    return _fold("foldr", fn, elems, initializer, True)


def _items(name: str, sequences: Sequence[Tensor]) -> int:
    """The number of items. Raises ValueError for the batch, whose size code does not know."""
    counts = {x.shape[0] if x.rank else None for x in sequences}
    count = counts.pop()
    if counts or not isinstance(count, int):
        raise ValueError(
            f"{name}: expected a first axis of one known size. Received: "
            f"{', '.join(str(x.type) for x in sequences)}. Functions of K take the batch as a whole"
        )
    return count

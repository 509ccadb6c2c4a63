"""Primitives of JAX that hold programs: calls, loops, branches, functions with a gradient of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.ops.scan_build import scan
from kcompile.ir.tensor import Tensor
from kcompile.jaxpr.programs import is_of_jax, tangent_programs
from kcompile.jaxpr.replay import FUNCTIONS, PROGRAMS, Equation, Replay, Rule, is_number, rule
from kcompile.jaxpr.sizes import Pair

UNROLLED = 3000  # equations that a loop may become, where it must
TRIPS = 10000  # of a `while`, which are counted when the model is compiled


def _program(*names: str) -> Callable[[Rule], Rule]:
    PROGRAMS.update(names)
    return rule(*names)


def run(replay: Replay, programs: Pair, values: Sequence[Any]) -> list[Any]:
    """The outputs of a program, with constants of its own or without."""
    if hasattr(programs.first, "jaxpr"):
        return replay.run(programs, values)
    return replay.walk(programs, [], values)


def equations(program: Any) -> int:
    return len(getattr(program, "jaxpr", program).eqns)


@_program("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "custom_lin")
def _call(e: Equation, *values: Any) -> list[Any]:
    name = str(e.first.params.get("name", ""))
    if name in FUNCTIONS:
        made = FUNCTIONS[name](e, *values)
        if made is not None:
            return list(made)
    return run(e.replay, e["jaxpr"] if "jaxpr" in e.first.params else e["call_jaxpr"], values)


# ---------------------------------------------------------------- functions with a gradient of their own


@_program("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")
def _custom(e: Equation, *values: Any) -> list[Any]:
    """The function, and, where it is differentiated and not one of JAX's own, its rule: the result is the
    function's, through which no gradient flows, plus the rule for x - x, which is zero and has the rule as
    its gradient."""
    inside = e["call_jaxpr"] if "call_jaxpr" in e.first.params else e["fun_jaxpr"]
    made = run(e.replay, inside, values)
    if is_of_jax(inside.first) or not e.replay.rules:
        return made
    if e.gives_complex or any(e.complex_inputs):
        raise e.refuse("a function with a gradient of its own is one of real numbers")
    if not all(is_number(v) for v in values):
        return made
    floats = [
        k
        for k, t in enumerate(e.input_types)
        if t.dtype.startswith("float") and isinstance(values[k], Tensor)
    ]
    if not floats:
        return made
    try:
        rules = tangent_programs(e.first, e.second, floats)
    except Exception as error:  # whatever JAX cannot do with the user's rule
        raise e.refuse(f"its gradient is no linear function that JAX can transpose ({error})") from error
    still = [ops.stop_gradient(v) if isinstance(v, Tensor) else v for v in values]
    moves = [values[k] - still[k] for k in floats]
    plain = Replay(e.replay.graph, e.replay.sizes, e.replay.trace, rules=False)
    plain.outer = e
    added = iter(run(plain, rules, [*still, *moves]))
    return [
        ops.stop_gradient(y) + next(added) if t.dtype.startswith("float") and isinstance(y, Tensor) else y
        for y, t in zip(made, e.types)
    ]


# ---------------------------------------------------------------- branches


@_program("cond")
def _cond(e: Equation, which: Any, *values: Any) -> list[Any]:
    """The branch of this number. Where it is not known now, all are computed, and one is chosen."""
    branches = e["branches"]
    if isinstance(which, np.ndarray):
        return run(e.replay, branches[int(np.clip(which, 0, len(branches) - 1))], values)
    results = [run(e.replay, branch, values) for branch in branches]
    which = ops.minimum(ops.maximum(ops.cast(which, "int32"), 0), len(branches) - 1)
    chosen = []
    for parts, type in zip(zip(*results), e.types):
        if not all(is_number(p) for p in parts):
            raise e.refuse("random numbers are drawn in one of its branches alone")
        result, *rest = [e.replay.tensor(p, type) for p in reversed(parts)]
        for number, part in zip(reversed(range(len(parts) - 1)), rest):
            result = ops.select(ops.equal(which, number), part, result)
        chosen.append(result)
    return chosen


# ---------------------------------------------------------------- loops


@_program("scan")
def _scan(e: Equation, *values: Any) -> list[Any]:
    consts, carried = int(e["num_consts"]), int(e["num_carry"])
    invariants, states = list(values[:consts]), list(values[consts : consts + carried])
    sequences = list(values[consts + carried :])
    types = e.input_types
    of_states, of_sequences = types[consts : consts + carried], types[consts + carried :]
    length, program = e["length"], e["jaxpr"]
    if not isinstance(length, int):
        raise e.refuse("loops over the samples of a batch are not supported")
    if length == 0 or e.replay.looping or not all(is_number(v) for v in values):
        return _unrolled(e, program, length, invariants, states, sequences)
    return loop(
        e.replay,
        program,
        length,
        invariants,
        [e.replay.tensor(v, t) for v, t in zip(states, of_states)],
        [e.replay.tensor(v, t) for v, t in zip(sequences, of_sequences)],
        bool(e["reverse"]),
    )


def loop(
    replay: Replay,
    program: Pair,
    length: int,
    invariants: Sequence[Any],
    states: Sequence[Tensor],
    sequences: Sequence[Tensor],
    reverse: bool = False,
) -> list[Tensor]:
    """A scan: final states, and outputs as sequences. What is known stays known inside."""
    read = [v for v in invariants if isinstance(v, Tensor)]
    body = Graph("step")

    def step(of: list[Tensor], at: list[Tensor], held: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        fixed = iter(held)
        inside = replay.inside(body)
        given = [next(fixed) if isinstance(v, Tensor) else v for v in invariants]
        made = run(inside, program, [*given, *of, *at])
        outs = [
            inside.tensor(v, replay.sizes.type(a, b))
            for v, a, b in zip(made, program.first.out_avals, program.second.out_avals)
        ]
        return outs[: len(of)], outs[len(of) :]

    if not states and not sequences:
        states = [ops.constant(replay.graph, 0, "int32")]
        finals, outs = scan(lambda s, x, i: (s, step([], x, i)[1]), states, [], read, length, reverse, body)
        return outs
    finals, outs = scan(step, states, sequences, read, length, reverse, body)
    return [*finals, *outs]


def _unrolled(
    e: Equation, program: Pair, length: int, invariants: list[Any], states: list[Any], sequences: list[Any]
) -> list[Any]:
    """A scan whose keys of random numbers change from step to step, written step by step."""
    if length * equations(program.first) > UNROLLED:
        raise e.refuse(
            f"a loop in a loop, or one that draws random numbers, may have {UNROLLED} equations in all"
        )
    outs: list[list[Any]] = []
    for step in reversed(range(length)) if e["reverse"] else range(length):
        made = run(e.replay, program, [*invariants, *states, *(_at(x, step) for x in sequences)])
        states, out = made[: len(states)], made[len(states) :]
        outs.append(out)
    stacks = list(zip(*(reversed(outs) if e["reverse"] else outs)))
    types = e.types[len(states) :]
    if not stacks:
        return [*states, *(np.zeros(e.replay.concrete(t), t.dtype) for t in types)]
    return [*states, *(_stacked(e, stack, t) for stack, t in zip(stacks, types))]


def _at(x: Any, step: int) -> Any:
    return np.asarray(x[step]) if isinstance(x, np.ndarray) else x[step]


def _stacked(e: Equation, parts: Sequence[Any], type: Any) -> Any:
    if not all(isinstance(p, Tensor) or is_number(p) for p in parts):
        return np.array(parts, dtype=object)
    one = type.with_shape(type.shape[1:])
    rows = [ops.reshape(e.replay.tensor(p, one), (1, *one.shape)) for p in parts]
    return ops.concatenate(rows, 0)


@_program("while")
def _while(e: Equation, *values: Any) -> list[Any]:
    """A loop whose end does not depend on the data: its trips are counted now."""
    a, b = int(e["cond_nconsts"]), int(e["body_nconsts"])
    of_cond, of_body, states = values[:a], values[a : a + b], list(values[a + b :])
    cond, body = e["cond_jaxpr"], e["body_jaxpr"]
    types = e.input_types[a + b :]
    trips = _trips(e, cond, body, of_cond, of_body, states)
    must = e.replay.looping or not all(is_number(v) for v in values)
    if must or trips * equations(body.first) <= UNROLLED // 10:
        if trips * equations(body.first) > UNROLLED:
            raise e.refuse(
                f"a loop in a loop, or one that draws random numbers, may have {UNROLLED} equations in all"
            )
        for _ in range(trips):
            states = run(e.replay, body, [*of_body, *states])
        return states
    tensors = [e.replay.tensor(v, t) for v, t in zip(states, types)]
    return list(loop(e.replay, body, trips, of_body, tensors, []))


def _trips(
    e: Equation, cond: Pair, body: Pair, of_cond: Sequence[Any], of_body: Sequence[Any], states: Sequence[Any]
) -> int:
    """How often the body runs: the loop is followed with what is known, in a graph that nobody reads."""
    types = e.input_types[len(of_cond) + len(of_body) :]
    graph = Graph("trips")
    replay = Replay(graph, e.replay.sizes, e.replay.trace, rules=False)
    given = [replay.placeholder(v, t) for v, t in zip((*of_cond, *of_body), e.input_types)]
    now = [replay.placeholder(v, t) for v, t in zip(states, types)]
    for trips in range(TRIPS):
        (going,) = run(replay, cond, [*given[: len(of_cond)], *now])
        if not isinstance(going, np.ndarray):
            raise e.refuse("how often a loop runs must not depend on the data")
        if not going:
            return trips
        made = run(replay, body, [*given[len(of_cond) :], *now])
        # Only numbers that are known stay: the rest would grow with every trip
        now = [replay.placeholder(v, t) for v, t in zip(made, types)]
    raise e.refuse(f"a loop may run {TRIPS} times")

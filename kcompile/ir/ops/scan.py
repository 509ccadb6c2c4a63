"""`scan`: its region, the body, applied to one time step after the other, with carried state.

    states, outs[t] = body(states, steps[t], invariants)        for t in 0 .. length-1

Operands of the node: initial states, sequences [length, ...], invariants. Results: final states, then
a sequence [length, ...] for every further output of the body. `reverse` walks from the last step to
the first; outs[t] still belongs to steps[t]. Its gradient is a scan (`scan_gradient`); whoever wants one
makes it by `scan_build`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kcompile.ir.graph import Graph
from kcompile.ir.op import Call, Op, register
from kcompile.ir.ops.scan_gradient import gradient_of_scan
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import TensorType


def _infer(
    *types: TensorType, regions: tuple[Graph], length: int, states: int, steps: int, reverse: bool
) -> tuple[TensorType, ...]:
    (body,) = regions
    declared = [body.type(v) for v in body.inputs.values()]
    expected = [
        t.with_shape((length, *t.shape)) if states <= i < states + steps else t
        for i, t in enumerate(declared)
    ]
    if list(types) != expected:
        raise ValueError(
            f"scan: operands {list(map(str, types))} do not fit its body, which takes "
            f"{list(map(str, expected))}"
        )
    results = [body.type(v) for v in body.outputs.values()]
    if results[:states] != declared[:states]:
        raise ValueError(f"scan: new states {results[:states]} differ from {declared[:states]}")
    return (*results[:states], *(t.with_shape((length, *t.shape)) for t in results[states:]))


def _meaning(
    *arrays: np.ndarray,
    regions: tuple[Callable[..., list[np.ndarray]]],
    length: int,
    states: int,
    steps: int,
    reverse: bool,
) -> tuple[np.ndarray, ...]:
    (body,) = regions
    carried, sequences = list(arrays[:states]), arrays[states : states + steps]
    invariants, outs = arrays[states + steps :], []
    order = range(length - 1, -1, -1) if reverse else range(length)
    for t in order:
        operands = [*carried, *(s[t] for s in sequences), *invariants]
        results = body(*operands)
        carried, made = results[:states], results[states:]
        outs.append(made)
    if reverse:
        outs.reverse()
    return (*carried, *(np.stack(column) for column in zip(*outs)))


def _gradient(call: Call, *gradients: Tensor | None) -> Sequence[Tensor | None]:
    return gradient_of_scan(call, gradients)


register(
    Op("scan", "composite", _infer, _meaning, gradient=_gradient, tolerance=1e-5, expensive=True, loop=True)
)

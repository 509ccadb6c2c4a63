"""Every op, compiled, against its numpy meaning: the second half of the op table test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir.draws import DRAWN, arrays, cases, graph_of, named

from kcompile.codegen import targets
from kcompile.compiler import compile_graph, load
from kcompile.ir.interpreter import run
from kcompile.ir.op import OPS, Case, Op

BATCHES = (1, 3, 20)
# What a NaN is as an integer no language says; whether a product of huge and tiny factors overflows on
# the way depends on their order
NO_SPECIALS = ("cast", "reduce_prod")


def compare(op: Op, case: Case, seed: int, **kind: bool) -> None:
    graph, _, _ = graph_of(op, case)
    program = load(compile_graph(graph, "run", targets.native(), frozen=False), {}, threads=1)
    for n in BATCHES:
        values = arrays(case, n, seed, **kind)
        expected = run(graph, n, named(values), {}).outputs.values()
        for y, reference in zip(program.run("run", n, values), expected):
            scale = np.abs(reference[np.isfinite(reference)]).max(initial=0.0)
            np.testing.assert_allclose(
                y, reference, rtol=10 * op.tolerance + 2e-6, atol=(op.tolerance + 1e-7) * scale
            )


@pytest.mark.parametrize("name", DRAWN)
@settings(max_examples=6, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**31 - 1))
def test_compiled_is_interpreter(name: str, data: st.DataObject, seed: int) -> None:
    compare(OPS[name], data.draw(cases(OPS[name])), seed)


@pytest.mark.parametrize("name", [n for n in DRAWN if OPS[n].kind != "contraction"])
@settings(max_examples=3, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**31 - 1))
def test_compiled_is_interpreter_at_specials(name: str, data: st.DataObject, seed: int) -> None:
    compare(OPS[name], data.draw(cases(OPS[name])), seed, specials=name not in NO_SPECIALS)

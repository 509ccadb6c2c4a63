"""Every op as blocks and threads, run by the loop-language interpreter, against its numpy meaning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir.draws import DRAWN, arrays, cases, graph_of, named

from gpu import machine
from kcompile.ir.interpreter import run
from kcompile.ir.op import OPS


def agree(y: np.ndarray, reference: np.ndarray, tolerance: float) -> None:
    scale = np.abs(reference[np.isfinite(reference)]).max(initial=0.0)
    np.testing.assert_allclose(y, reference, rtol=10 * tolerance + 2e-6,
                               atol=(tolerance + 1e-7) * scale)


@pytest.mark.parametrize("name", DRAWN)
@settings(max_examples=3)
@given(data=st.data(), seed=st.integers(0, 2**31 - 1))
def test_schedule_is_numpy(name: str, data: st.DataObject, seed: int) -> None:
    case = data.draw(cases(OPS[name]))
    graph, _, _ = graph_of(OPS[name], case)
    for n in (1, 5):
        values = arrays(case, n, seed)
        expected = run(graph, n, named(values), {}).outputs.values()
        outputs, _ = machine.run(graph, n, named(values))
        for y, reference in zip(outputs, expected):
            agree(y, reference, OPS[name].tolerance)

"""Targets as passes see them: for tests that want to say what a target wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kcompile.codegen import targets
from kcompile.codegen.pass_target import CodegenTarget
from kcompile.ir import interpreter
from kcompile.ir.contraction import Contraction
from kcompile.ir.graph import Graph
from kcompile.ir.ops.winograd import MOST
from kcompile.ir.passes import Pass, PassTarget
from kcompile.ir.types import bind


@dataclass(frozen=True)
class Plain:
    """Wants nothing: kernels in place, no Winograd."""

    guards: bool = True
    row_passes: bool = True
    columns_last: bool = False

    def panel_width(self, spec: Contraction, constant: bool, dtype: str) -> int | None:
        return None

    def halves(self, spec: Contraction, constant: bool) -> None:
        return None

    def winograd_tiling(self, spec: Contraction, rounded: bool) -> tuple[tuple[int, ...], int] | None:
        return None


@dataclass(frozen=True)
class Eager(Plain):
    """Packs and transforms whatever it can."""

    def panel_width(self, spec: Contraction, constant: bool, dtype: str) -> int | None:
        return 8 if all(isinstance(d, int) for d in spec.k + spec.j) else None

    def halves(self, spec: Contraction, constant: bool) -> None:
        return None

    def winograd_tiling(self, spec: Contraction, rounded: bool) -> tuple[tuple[int, ...], int] | None:
        filters, taps = spec.j[0], bind(spec.k[:-1], 1)
        if not isinstance(filters, int) or max(taps) > MOST - 1:
            return None
        return tuple(1 if r == 1 else 2 for r in taps), filters


TARGETS: dict[str, PassTarget] = {
    "plain": Plain(),
    "eager": Eager(),
    "native": CodegenTarget(targets.native()),
    "x86-64-v2": CodegenTarget(targets.named("x86-64-v2")),
    "sm_80": CodegenTarget(targets.device("sm_80")),
}


def check_each(
    graph: Graph,
    passes: Sequence[Pass],
    n: int,
    inputs: dict[str, np.ndarray],
    variables: dict[str, np.ndarray],
    seen: Callable[[str, tuple[Graph, ...]], None] = lambda name, graphs: None,
) -> None:
    """Every pass keeps the types, and the values in float64, where rounding hides little: transforms of
    kernels have factors in float32."""
    right = interpreter.run(graph, n, inputs, variables, "float64")
    graphs, close = (graph,), 1e-9
    for step in passes:
        graphs = tuple(made for g in graphs for made in step(g))
        for made in graphs:
            made.verify()
        seen(step.name, graphs)
        close = 1e-5 if step.name == "use_winograd" and "winograd(" in graphs[0].text() else close
        got = interpreter.run_staged(graphs, n, inputs, variables, "float64")
        for name, expected in {**right.outputs, **right.updates}.items():
            found = {**got.outputs, **got.updates}[name]
            assert found.shape == expected.shape
            scale = np.abs(expected).max(initial=0.0) if close > 1e-9 else 1.0
            np.testing.assert_allclose(
                found, expected, rtol=close, atol=close * scale + 1e-9, err_msg=f"{step.name}, {name}"
            )

"""The passes in the order in which they run, and what runs them.

Enters: a graph as the front end traced it. Leaves: the graphs that code is made of: of what is prepared
when weights change, where the graph is frozen, and of the run. Whoever runs passes (the compiler, `show`,
the tests) reads `pipeline`, and what passes want to know of a target they ask a `PassTarget`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from kcompile.ir.contraction import Contraction
from kcompile.ir.graph import Graph
from kcompile.ir.passes.chain_rows import chain_rows
from kcompile.ir.passes.check_indices import check_indices
from kcompile.ir.passes.choose_algorithms import choose_algorithms
from kcompile.ir.passes.compact_scatters import compact_scatters
from kcompile.ir.passes.factor_sums import factor_sums
from kcompile.ir.passes.fold_batch_norm import fold_batch_norm
from kcompile.ir.passes.fold_constants import fold_constants
from kcompile.ir.passes.fuse import fuse, plan_text
from kcompile.ir.passes.merge_scans import merge_scans
from kcompile.ir.passes.simplify import simplify
from kcompile.ir.passes.sink_layouts import sink_layouts
from kcompile.ir.passes.split_reductions import split_reductions
from kcompile.ir.passes.stage import stage
from kcompile.ir.passes.use_winograd import use_winograd
from kcompile.ir.rewrite import PassError, in_regions, written_alike
from kcompile_runtime.debug import GRAPHS, Log
from kcompile_runtime.errors import InputError, KcompileError, describe
from kcompile_runtime.working import followed


class PassTarget(Protocol):
    """What passes ask of a target; the code generator answers.

    guards: entries look at checks of row numbers before anything else happens; without it the caller does.
    row_passes, columns_last: see `fuse` and `choose_algorithms`.
    """

    @property
    def guards(self) -> bool: ...
    @property
    def row_passes(self) -> bool: ...
    @property
    def columns_last(self) -> bool: ...

    def panel_width(self, spec: Contraction, constant: bool, dtype: str) -> int | None:
        """Columns of the panels that B is packed in, None where it is read in place. constant: B is the
        same in many calls. dtype: of its elements."""

    def halves(self, spec: Contraction, constant: bool) -> Contraction | None:
        """Of operands that are rounded to bfloat16, the maps of words (`Contraction.in_halves`) where the
        target multiplies those, else None. constant: B is the same in many calls."""

    def winograd_tiling(self, spec: Contraction, rounded: bool) -> tuple[tuple[int, ...], int] | None:
        """(Outputs of a tile, columns of a panel) where Winograd's algorithm is faster, else None. rounded:
        the operands are, to bfloat16."""


@dataclass(frozen=True)
class Pass:
    """A named step of a pipeline. run: graph to graph, or to several that run one after the other.
    regions: whether it is done to all regions first, each by itself. plan: what it decides before it makes
    a graph, as text, of a pass that has such a plan."""

    name: str
    run: Callable[[Graph], Graph | tuple[Graph, ...]]
    regions: bool = True
    plan: Callable[[Graph], str] | None = None

    def plans(self, graphs: Sequence[Graph]) -> str:
        """The plans of several graphs, one below the other; of an empty one there is none."""
        return "\n\n".join(self.plan(graph) for graph in graphs if self.plan and graph.nodes)

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        made = self.run(in_regions(graph, self._in_region) if self.regions else graph)
        return made if isinstance(made, tuple) else (made,)

    def _in_region(self, region: Graph) -> Graph:
        """The same object where nothing changed, so that what holds the region need not change either."""
        (made,) = self(region)
        return region if written_alike(region, made) else made


def pipeline(target: PassTarget, frozen: bool) -> tuple[Pass, ...]:
    """The passes for a target, by names that occur once. frozen: the graph updates no weight that a pass
    may prepare (predict, test); otherwise it trains."""
    guard = [Pass("check_indices", check_indices, regions=False)] if target.guards else []
    choose = partial(
        choose_algorithms,
        panel_width=target.panel_width,
        frozen=frozen,
        columns_last=target.columns_last,
        halves=target.halves,
    )
    before = _FROZEN if frozen else _TRAINING
    winograd = partial(use_winograd, choose=target.winograd_tiling)
    after = (
        *([Pass("use_winograd", winograd, regions=False)] if frozen else []),  # kernels come from weights
        Pass("choose_algorithms", choose, regions=False),  # what is constant in a region, its node says
        *([Pass("stage", stage, regions=False)] if frozen else []),
        Pass(
            "fuse",
            partial(fuse, row_passes=target.row_passes),
            plan=partial(plan_text, row_passes=target.row_passes),
        ),
        *([Pass("chain_rows", chain_rows)] if frozen and target.row_passes else []),
    )
    return _numbered([*guard, *before, *after])


_TRAINING = (
    Pass("merge_scans", merge_scans),
    Pass("simplify", simplify),
    Pass("fold_constants", fold_constants),
    Pass("sink_layouts", sink_layouts),
    Pass("factor_sums", factor_sums),
    Pass("simplify", simplify),
    Pass("compact_scatters", compact_scatters),
    Pass("split_reductions", split_reductions),
    Pass("simplify", simplify),
)
_FROZEN = (
    Pass("simplify", simplify),
    Pass("fold_constants", fold_constants),
    Pass("sink_layouts", sink_layouts),
    Pass("split_reductions", split_reductions),
    Pass("simplify", simplify),
    Pass("fold_batch_norm", fold_batch_norm),
    Pass("simplify", simplify),
)


def folded(graph: Graph) -> Graph:
    """A frozen graph before anything is chosen for a target; batch normalisation is in its kernels."""
    (made,) = run_passes(graph, _numbered(_FROZEN))
    return made


def _numbered(passes: Sequence[Pass]) -> tuple[Pass, ...]:
    """A pass that runs again is `simplify.2`, then `simplify.3`."""
    seen: Counter[str] = Counter()
    made = []
    for step in passes:
        seen[step.name] += 1
        again = seen[step.name]
        made.append(replace(step, name=f"{step.name}.{again}") if again > 1 else step)
    return tuple(made)


def until(passes: Sequence[Pass], name: str) -> tuple[Pass, ...]:
    """The passes up to the one called so. Raises InputError, listing the names, where there is none."""
    names = [step.name for step in passes]
    if name not in names:
        raise InputError(describe("after", "one of " + ", ".join(names), repr(name)))
    return tuple(passes[: names.index(name) + 1])


def run_passes(graph: Graph, passes: Sequence[Pass], log: Log | None = None) -> tuple[Graph, ...]:
    """The graphs after these passes. With KC_VERIFY all are verified after each. Raises PassError, which
    names the pass and the node, for an error in a pass."""
    log = log or Log(graph.name)
    graphs: tuple[Graph, ...] = (graph,)
    log.text("graph", GRAPHS, graph.text)
    for step in followed(passes, f"passes of {graph.name}"):
        if step.plan is not None:
            log.text(f"{step.name}.plan", GRAPHS, partial(step.plans, graphs))
        with log.timed(f"pass {step.name}"):
            graphs = _run(step, graphs)
        log.text(step.name, GRAPHS, partial(text, graphs))
    return graphs


def text(graphs: Sequence[Graph]) -> str:
    """Of several graphs, one below the other; an empty one is left out."""
    return "\n\n".join(graph.text() for graph in graphs if graph.nodes)


def _run(step: Pass, graphs: Sequence[Graph]) -> tuple[Graph, ...]:
    verify = os.environ.get("KC_VERIFY", "0") not in ("", "0")
    try:
        made = tuple(new for graph in graphs for new in step(graph))
        if verify:
            for graph in made:
                graph.verify()
        return made
    except (KcompileError, MemoryError):
        raise
    except Exception as error:
        what = error if isinstance(error, PassError) else f"{type(error).__name__}: {error}"
        raise PassError(f"pass {step.name}: {what}") from error

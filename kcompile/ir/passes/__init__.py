"""Passes: pure functions from graph to graph. `pipeline` has them in the order in which they run."""

from __future__ import annotations

from kcompile.ir.passes.check_indices import check_indices
from kcompile.ir.passes.choose_algorithms import choose_algorithms
from kcompile.ir.passes.compact_scatters import compact_scatters
from kcompile.ir.passes.factor_sums import factor_sums
from kcompile.ir.passes.fold_batch_norm import fold_batch_norm
from kcompile.ir.passes.fold_constants import fold_constants
from kcompile.ir.passes.fuse import fuse
from kcompile.ir.passes.merge_scans import merge_scans
from kcompile.ir.passes.pipeline import Pass, PassTarget, pipeline, run_passes, text, until
from kcompile.ir.passes.simplify import simplify
from kcompile.ir.passes.sink_layouts import sink_layouts
from kcompile.ir.passes.split_reductions import split_reductions
from kcompile.ir.passes.stage import stage
from kcompile.ir.passes.use_winograd import use_winograd
from kcompile.ir.rewrite import PassError

__all__ = [
    "Pass",
    "PassError",
    "PassTarget",
    "check_indices",
    "choose_algorithms",
    "compact_scatters",
    "factor_sums",
    "fold_batch_norm",
    "fold_constants",
    "fuse",
    "merge_scans",
    "pipeline",
    "run_passes",
    "simplify",
    "sink_layouts",
    "split_reductions",
    "stage",
    "text",
    "until",
    "use_winograd",
]

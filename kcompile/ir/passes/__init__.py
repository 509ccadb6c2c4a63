"""The passes: pure functions from graph to graph, in the order of `pipeline`.

Enters: a graph as the front end traced it. Leaves: the graphs that code is made of, whose nodes are
groups: one, or for frozen graphs (predict, test) two, of which the first computes what depends on
weights alone.

In order (T: graphs that train, F: frozen ones; `simplify` also runs between them):
    check_indices      T F  an output that tells of row numbers out of range
    merge_scans        T    one scan of two that run over the same operands
    simplify           T F  equal, dead and neutral nodes go
    fold_constants     T F  what depends on constants is computed, where that is exact
    sink_layouts       T F  transposes and reshapes move down, meet and cancel
    factor_sums        T    factors leave sums
    compact_scatters   T    the gradient of an embedding is the rows that the batch names
    split_reductions   T F  long sums are made in two steps
    fold_batch_norm    F    scales and shifts per channel go into the contraction before them
    use_winograd       F    convolutions with fewer multiplications
    choose_algorithms  T F  index maps are written out, kernels are packed in panels
    stage              F    the graph is split by what depends on weights alone
    fuse               T F  ops become groups, each of them one kernel
    chain_rows         F    attention's groups become one kernel, for some rows at a time
`fusion` is a folder: the parts of `fuse`. `absorb_layouts` is a part of `choose_algorithms`.
`quantize_products` is in no pipeline: it wants numbers of samples.
"""

from __future__ import annotations

from kcompile.ir.passes.chain_rows import chain_rows
from kcompile.ir.passes.check_indices import check_indices
from kcompile.ir.passes.choose_algorithms import choose_algorithms
from kcompile.ir.passes.compact_scatters import compact_scatters
from kcompile.ir.passes.factor_sums import factor_sums
from kcompile.ir.passes.fold_batch_norm import fold_batch_norm
from kcompile.ir.passes.fold_constants import fold_constants
from kcompile.ir.passes.fuse import fuse
from kcompile.ir.passes.merge_scans import merge_scans
from kcompile.ir.passes.pipeline import Pass, PassTarget, folded, pipeline, run_passes, text, until
from kcompile.ir.passes.quantize_products import quantize_products
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
    "chain_rows",
    "check_indices",
    "choose_algorithms",
    "compact_scatters",
    "factor_sums",
    "fold_batch_norm",
    "fold_constants",
    "folded",
    "fuse",
    "merge_scans",
    "pipeline",
    "quantize_products",
    "run_passes",
    "simplify",
    "sink_layouts",
    "split_reductions",
    "stage",
    "text",
    "until",
    "use_winograd",
]

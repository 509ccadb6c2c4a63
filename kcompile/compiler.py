"""From a graph to native code, one arrow of the design a line: passes, staging, fusion, plan, code.

Enters: a `Graph` as the front end traced it. Leaves: `Compiled`, which holds every form on the way (so
that each can be printed) and, through `load`, a runtime `Program`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kcompile.codegen import contraction, jit, llvm, pool
from kcompile.codegen.plan import Layout, plan
from kcompile.codegen.program import Program
from kcompile.codegen.targets import Target
from kcompile.ir import passes
from kcompile.ir.graph import Graph
from kcompile.ir.types import Batch, TensorType

if TYPE_CHECKING:
    import kcompile_runtime as rt


@dataclass(frozen=True)
class Compiled:
    """A graph at each stage of its way. name: the entry ("predict", "train", ...).

    optimised: after the graph passes. prepare, run: after
    staging, choice of algorithms and fusion. variables: names in the order of the native table.
    prepared: offset of each result of prepare in its block.
    """

    name: str
    target: Target
    graph: Graph
    optimised: Graph
    prepare: Graph
    run: Graph
    program: Program
    variables: tuple[str, ...]
    prepared: Mapping[str, int]

    @cached_property
    def text(self) -> str:
        """The LLVM IR of all kernels and entries."""
        return llvm.emit_program(self.program, self.target)

    @property
    def modules(self) -> list[str]:
        return [self.text, pool.pool_ir(self.target)]

    def object_code(self) -> bytes:
        return jit.cached_object(self.modules, self.target)


def compile_graph(graph: Graph, name: str, target: Target, frozen: bool) -> Compiled:
    """All stages for the entry `name`. `frozen`: the graph updates none of the weights it reads, so
    batch normalisation may be folded, and what depends on weights alone is prepared ahead."""
    optimised = graph
    for rewrite in passes.INFERENCE_PASSES if frozen else passes.GRAPH_PASSES:
        optimised = checked(rewrite(optimised))
    chosen = checked(passes.choose_algorithms(
        optimised, lambda spec, weights: contraction.panel_width(spec, target, weights)))
    prepare, run = passes.stage(chosen) if frozen else (Graph(f"{graph.name}.prepare"), chosen)
    prepare, run = checked(passes.fuse(prepare)), checked(passes.fuse(run))
    names = dict.fromkeys([*graph.variables])
    layout = Layout({variable: number for number, variable in enumerate(names)})
    layout.prepare(prepare)
    entries = [plan(prepare, "prepare", layout, target)] if prepare.outputs else []
    entries.append(plan(run, name, layout, target))
    program = Program(tuple(entries), layout.prepared_bytes, bytes(layout.constants))
    return Compiled(name, target, graph, optimised, prepare, run, program, tuple(names),
                    layout.prepared)


def checked(graph: Graph) -> Graph:
    """The graph; verified when KC_VERIFY is set."""
    if os.environ.get("KC_VERIFY"):
        graph.verify()
    return graph


def load(compiled: Compiled, variables: Mapping[str, np.ndarray], threads: int | None = None
         ) -> rt.Program:
    """Native code in this process, over the given arrays of the variables: they are read and updated
    in place, and must be C-contiguous, 64-byte aligned and of the variables' types."""
    import kcompile_runtime as rt

    library = jit.load(compiled.object_code())
    specs = []
    for entry in compiled.program.entries:
        graph = compiled.prepare if entry.name == "prepare" else compiled.run
        is_run = entry.name != "prepare"
        specs.append(rt.EntrySpec(
            entry.name,
            tuple(spec_of(k, graph.type(v)) for k, v in graph.inputs.items()),
            tuple(spec_of(k, graph.type(v)) for k, v in graph.outputs.items()) if is_run else (),
            (entry.arena.fixed, entry.arena.per_sample), llvm.entry_scratch(entry),
            reads_prepared=is_run, writes_variables=bool(graph.updates)))
    return rt.Program(library.address, specs, [variables[name] for name in compiled.variables],
                      prepared=compiled.program.prepared, constants=compiled.program.constants,
                      threads=threads)


def spec_of(name: str, type: TensorType) -> rt.TensorSpec:
    """A type as the runtime writes it."""
    import kcompile_runtime as rt

    dims = tuple(str(d) if isinstance(d, Batch) else d for d in type.shape)
    return rt.TensorSpec(name, dims, type.dtype)

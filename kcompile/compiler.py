"""The straight line: from a graph to native code, one stage of the design after the other.

Enters: a `Graph` as the front end traced it. Leaves: `Compiled`, whose properties are the stages, each
made from the one before when it is asked for; and, through `load`, a runtime `Program`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kcompile.codegen import cache, contraction, image, jit, llvm, pool
from kcompile.codegen.gpu import emission
from kcompile.codegen.gpu import program as gpu_program
from kcompile.codegen.image import EntryImage, Image
from kcompile.codegen.plan import Layout, plan
from kcompile.codegen.program import Program
from kcompile.codegen.targets import Target
from kcompile.ir import passes
from kcompile.ir.graph import Graph
from kcompile.ir.types import Batch, TensorType

if TYPE_CHECKING:
    import kcompile_runtime as rt
    from kcompile_runtime.cuda import CudaProgram, Held
    from kcompile_runtime.cuda_driver import Driver


@dataclass(frozen=True)
class Compiled:
    """A graph on its way to native code.

    graph: as traced. name: of the entry ("predict", "train", ...). frozen: the graph updates none of
    the weights it reads, so batch normalisation may be folded, and what depends on weights alone is
    prepared ahead.
    """

    graph: Graph
    name: str
    target: Target
    frozen: bool

    @cached_property
    def optimised(self) -> Graph:
        """After the graph passes."""
        graph = self.graph
        for rewrite in passes.INFERENCE_PASSES if self.frozen else passes.GRAPH_PASSES:
            graph = checked(rewrite(graph))
        return graph

    @cached_property
    def staged(self) -> tuple[Graph, Graph]:
        """(prepare, run), with algorithms chosen; prepare is empty unless frozen."""
        chosen = checked(passes.choose_algorithms(
            self.optimised,
            lambda spec, often: contraction.panel_width(spec, self.target, often), self.frozen))
        return passes.stage(chosen) if self.frozen else (Graph(f"{chosen.name}.prepare"), chosen)

    @cached_property
    def prepare(self) -> Graph:
        return checked(passes.fuse(self.staged[0], not self.target.is_gpu))

    @cached_property
    def run(self) -> Graph:
        return checked(passes.fuse(self.staged[1], not self.target.is_gpu))

    @property
    def variables(self) -> tuple[str, ...]:
        """Names in the order of the native table."""
        return tuple(self.graph.variables)

    @cached_property
    def layout(self) -> Layout:
        """Where variables, prepared values and constants lie."""
        layout = Layout({name: number for number, name in enumerate(self.variables)})
        layout.prepare(self.prepare)
        return layout

    @cached_property
    def program(self) -> Program:
        """Kernels as loops, launches, and the memory plan."""
        layout = self.layout
        entries = [plan(self.prepare, "prepare", layout, self.target)] if self.prepare.outputs else []
        run = plan(self.run, self.name, layout, self.target)
        entries.append(replace(run, flush=not self.frozen and bool(self.graph.updates)))
        return Program(tuple(entries), layout.prepared_bytes, bytes(layout.constants))

    @cached_property
    def text(self) -> str:
        """The LLVM IR of all kernels and entries (on a graphics processor, of kernels alone)."""
        if self.target.is_gpu:
            return emission.emit_program(self.program, self.target).ir
        return llvm.emit_program(self.program, self.target)

    @property
    def modules(self) -> list[str]:
        """All LLVM IR: the program and the thread pool."""
        if self.target.is_gpu:
            return [self.text]
        return [self.text, pool.pool_ir(self.target)]

    @cached_property
    def on_device(self) -> gpu_program.DeviceProgram:
        """PTX and launch table, for a graphics processor."""
        return gpu_program.device_program(self.program, self.target)

    @cached_property
    def image(self) -> Image:
        """Machine code, from the disk cache when this graph was compiled before."""
        key = cache.key([image.compiler_stamp(), image.fingerprint(self.graph), self.name,
                         str(self.frozen), jit.PASSES], self.target)
        stored = cache.get(key)
        if stored is not None:
            return Image.from_bytes(stored)
        entries = tuple(EntryImage(e.name, (e.arena.fixed, e.arena.per_sample), llvm.entry_scratch(e))
                        for e in self.program.entries)
        code = jit.optimise_and_compile(self.modules, self.target)
        made = Image(code, entries, self.program.prepared, self.program.constants)
        cache.put(key, made.to_bytes())
        return made


def compile_graph(graph: Graph, name: str, target: Target, frozen: bool) -> Compiled:
    """The compilation of `graph` as the entry `name`; see `Compiled`."""
    return Compiled(graph, name, target, frozen)


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

    made = compiled.image
    library = jit.load(made.object_code)
    return rt.Program(library.address, [entry_spec(compiled, e) for e in made.entries],
                      [variables[name] for name in compiled.variables],
                      prepared=made.prepared, constants=made.constants, threads=threads)


def load_on_device(compiled: Compiled, driver: Driver, variables: Mapping[str, Held]) -> CudaProgram:
    """The program on a graphics processor, over the variables as they are held there."""
    from kcompile_runtime.cuda import CudaProgram

    made = compiled.on_device
    entries = [EntryImage(e["name"], e["arena"], 0) for e in made.table["entries"]]
    return CudaProgram(driver, made.ptx, made.table, made.constants,
                       [entry_spec(compiled, e) for e in entries],
                       [variables[name] for name in compiled.variables])


def entry_spec(compiled: Compiled, entry: EntryImage) -> rt.EntrySpec:
    """An entry as the runtime knows it: "prepare", or the graph's own."""
    import kcompile_runtime as rt

    graph = compiled.graph
    if entry.name != compiled.name:
        return rt.EntrySpec(entry.name, (), (), entry.arena, entry.scratch, reads_prepared=False)
    inputs = tuple(spec_of(k, graph.type(v)) for k, v in graph.inputs.items())
    outputs = tuple(spec_of(k, graph.type(v)) for k, v in graph.outputs.items())
    return rt.EntrySpec(entry.name, inputs, outputs, entry.arena, entry.scratch, reads_prepared=True,
                        writes_variables=bool(graph.updates))


def spec_of(name: str, type: TensorType) -> rt.TensorSpec:
    """A type as the runtime writes it."""
    import kcompile_runtime as rt

    dims = tuple(str(d) if isinstance(d, Batch) else d for d in type.shape)
    return rt.TensorSpec(name, dims, type.dtype)

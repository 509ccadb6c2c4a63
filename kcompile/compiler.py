"""The straight line: from a graph to native code, one stage of the design after the other.

Enters: a `Graph` as the front end traced it. Leaves: `Compiled`, whose properties are the stages, each
made from the one before when it is asked for; and, through `load`, a runtime `Program`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kcompile.codegen.binary import bundle, cache, jit
from kcompile.codegen.binary.bundle import Bundle, EntryInfo
from kcompile.codegen.llvm.pool import POOL_ABI
from kcompile.codegen.targets import Target
from kcompile.ir.digest import fingerprint
from kcompile.ir.graph import Graph
from kcompile.ir.indices import index_checks
from kcompile.ir.specs import spec_of
from kcompile_runtime.debug import CODE, LOOPS, Log
from kcompile_runtime.errors import InputError, describe
from kcompile_runtime.layout import Memory

# What makes code is imported by the stages that use it: a model that was compiled before needs none of it.
if TYPE_CHECKING:
    import kcompile_runtime as rt
    from kcompile.codegen.gpu.program import DeviceProgram
    from kcompile.codegen.memory_plan import Layout
    from kcompile.codegen.program import Entry, Program
    from kcompile.ir.passes import Pass
    from kcompile_runtime.cuda import CudaProgram, Held
    from kcompile_runtime.cuda_driver import Driver


LARGE = 32 << 20  # bytes of weights from which on what compiling leaves in the process is worth a look


@dataclass(frozen=True)
class Budget:
    """So many bytes for the arena of a batch of so many samples. Values of the forward pass are computed
    again in the backward pass where it takes more."""

    samples: int
    bytes: int


@dataclass(frozen=True)
class Compiled:
    """A graph on its way to native code.

    graph: as traced. name: of the entry ("predict", "train", ...). frozen: the graph updates states
    and counters at most, so batch normalisation may be folded, and what depends on weights that it does
    not update is prepared ahead. budget: what the arena may take, of a graph that trains.
    """

    graph: Graph
    name: str
    target: Target
    frozen: bool
    budget: Budget | None = None

    @cached_property
    def log(self) -> Log:
        return Log.of(f"{self.name}-{self.target.name}")

    @cached_property
    def passes(self) -> tuple[Pass, ...]:
        """What the graph goes through, in this order."""
        from kcompile.codegen.pass_target import CodegenTarget
        from kcompile.ir import passes

        return passes.pipeline(CodegenTarget(self.target), self.frozen)

    def after(self, name: str) -> tuple[Graph, ...]:
        """The graph after the pass called so; two, prepare and run, from `stage` on. Raises InputError for a
        name that no pass has."""
        from kcompile.ir import passes

        return passes.run_passes(self.graph, passes.until(self.passes, name), self.log)

    @property
    def fusion_plan(self) -> str:
        """Which nodes become one kernel, as text: the plan of the pass `fuse`."""
        from kcompile.ir import passes

        *before, fuse = passes.until(self.passes, "fuse")
        return fuse.plans(passes.run_passes(self.graph, before))

    @cached_property
    def _fused(self) -> tuple[Graph, ...]:
        from kcompile.ir import passes

        return passes.run_passes(self.graph, self.passes, self.log)

    @cached_property
    def prepare(self) -> Graph:
        """What depends on weights alone; empty unless frozen."""
        return self._fused[0] if len(self._fused) > 1 else Graph(f"{self.run.name}.prepare")

    @cached_property
    def run(self) -> Graph:
        """The rest, as groups. Raises InputError for a budget that it cannot keep."""
        graph, budget = self._fused[-1], self.budget
        if budget is None:
            return graph
        from kcompile.codegen.memory_plan import Layout, arena_size
        from kcompile.codegen.recomputation import fitting

        layout = Layout({name: number for number, name in enumerate(self.variables)})
        with self.log.timed("recomputation"):
            made, least = fitting(
                graph, budget.samples, budget.bytes, lambda g: arena_size(g, self.name, layout, self.target)
            )
        if least > budget.bytes:
            raise InputError(
                describe(
                    f"memory for the values of a step of {budget.samples} samples",
                    f"at least {least:,} bytes, computing again what can be",
                    f"{budget.bytes:,}",
                    "Train in smaller batches, or raise memory_limit",
                )
            )
        return made

    @property
    def entry_info(self) -> EntryInfo:
        """The memory of the entry; without making code."""
        if self.stored is not None:
            return self.bundle.entries[-1]
        return entry_info(self.program.entries[-1])

    @property
    def variables(self) -> tuple[str, ...]:
        """Names in the order of the native table."""
        return tuple(self.graph.variables)

    @cached_property
    def layout(self) -> Layout:
        """Where variables, prepared values and constants lie."""
        from kcompile.codegen.memory_plan import Layout

        layout = Layout({name: number for number, name in enumerate(self.variables)})
        layout.prepare(self.prepare)
        return layout

    @cached_property
    def program(self) -> Program:
        """Kernels as loops, launches, and the memory plan."""
        from kcompile.codegen import show
        from kcompile.codegen.memory_plan import plan
        from kcompile.codegen.program import Program

        layout = self.layout
        with self.log.timed("loops and memory plan"):
            entries = [plan(self.prepare, "prepare", layout, self.target)] if self.prepare.outputs else []
            run = plan(self.run, self.name, layout, self.target, index_checks(self.graph))
        entries.append(replace(run, flush=not self.frozen and bool(self.graph.updates)))
        made = Program(tuple(entries), layout.prepared_bytes, bytes(layout.constants))
        self.log.text("loops", LOOPS, lambda: show.program(made))
        return made

    @cached_property
    def text(self) -> str:
        """The LLVM IR of all kernels and entries (on a graphics processor, of kernels alone)."""
        from kcompile.codegen.gpu import emission
        from kcompile.codegen.llvm import module

        if self.target.is_gpu:
            return emission.emit_program(self.program, self.target).ir
        return module.emit_program(self.program, self.target)

    def log_code(self) -> None:
        self.log.text("llvm", CODE, lambda: self.text, ".ll")
        self.log.text("asm", CODE, lambda: jit.assembly(self.text, self.target), ".s")

    @cached_property
    def stored(self) -> bytes | None:
        """The code of this graph in the disk cache. Who wants to be told of stages has them made."""
        return None if self.log.tells else cache.get(self._key)

    @cached_property
    def on_device(self) -> DeviceProgram:
        """PTX and launch table, for a graphics processor; from the disk cache like `bundle`. (The
        driver keeps what it translates PTX to in a cache of its own.)"""
        from kcompile.codegen.gpu.program import DeviceProgram, device_program

        if self.stored is not None:
            return DeviceProgram.from_bytes(self.stored)
        program = self.program
        with self.log.timed("PTX"):
            made = device_program(program, self.target)
        self.log.text("ptx", CODE, lambda: made.ptx, ".ptx")
        return made

    @cached_property
    def bundle(self) -> Bundle:
        """Machine code, from the disk cache when this graph was compiled before."""
        if self.stored is not None:
            self.log.told("code from the cache")
            return Bundle.from_bytes(self.stored)
        from kcompile.codegen.llvm import module
        from kcompile_runtime import default_threads

        start = time.perf_counter()
        entries = tuple(map(entry_info, self.program.entries))
        with self.log.timed("LLVM IR"):
            modules = module.emit_modules(self.program, self.target)
        with self.log.timed("machine code"):
            code = jit.compile_apart(modules, self.target, default_threads())
        self.log_code()
        took, size = time.perf_counter() - start, sum(map(len, code))
        self.log.told(f"compiled in {took:.2f} s, {size:,} bytes of code")
        prepares = (
            fingerprint(self.prepare) if self.prepare.outputs else "",
            tuple(map(self.variables.index, self.prepare.variables)),
        )
        return Bundle(tuple(code), entries, self.program.prepared, self.program.constants, prepares)

    def forget_stages(self) -> None:
        """They are made again when they are asked for."""
        for name, stage in vars(Compiled).items():
            if isinstance(stage, cached_property):
                self.__dict__.pop(name, None)

    @cached_property
    def _key(self) -> str:
        """What the code is called in the disk cache."""
        return bundle.code_key(self.graph, self.name, self.frozen, self.target, self.budget)

    def keep(self, made: Bundle | DeviceProgram) -> None:
        """Put code into the disk cache that was loaded, and so is whole, unless it came from there."""
        if self.stored is None:
            cache.put(self._key, made.to_bytes())


def entry_info(entry: Entry) -> EntryInfo:
    """The memory of a planned entry."""
    from kcompile.codegen.llvm.memory import entry_memory

    return EntryInfo(entry.name, entry_memory(entry))


def compile_graph(
    graph: Graph, name: str, target: Target, frozen: bool, budget: Budget | None = None
) -> Compiled:
    """The compilation of `graph` as the entry `name`; see `Compiled`."""
    return Compiled(graph, name, target, frozen, budget)


def load(
    compiled: Compiled,
    variables: Mapping[str, np.ndarray],
    threads: int | None = None,
    wrote: Callable[[], None] | None = None,
    refresh: Callable[[], None] | None = None,
    block: rt.Prepared | None = None,
) -> rt.Program:
    """Native code in this process, over the given arrays of the variables: they are read and updated
    in place, and must be C-contiguous, 64-byte aligned and of the variables' types. wrote,
    refresh, block: see `rt.Program`."""
    import kcompile_runtime as rt

    made = compiled.bundle
    library = jit.load(*made.objects, bundle.support(compiled.target))
    program = rt.Program(
        library.address,
        [entry_spec(compiled, e) for e in made.entries],
        [variables[name] for name in compiled.variables],
        prepared=made.prepared,
        constants=made.constants,
        threads=threads,
        pool_abi=POOL_ABI,
        wrote=wrote,
        refresh=refresh,
        block=block,
    )
    compiled.keep(made)
    if sum(variables[name].nbytes for name in compiled.variables) + made.prepared >= LARGE:
        jit.give_back()
    return program


def load_on_device(
    compiled: Compiled, driver: Driver, variables: Mapping[str, Held], wrote: Callable[[], None] | None = None
) -> CudaProgram:
    """The program on a graphics processor, over the variables as they are held there."""
    from kcompile_runtime.cuda import CudaProgram

    made = compiled.on_device
    entries = [EntryInfo(e["name"], Memory((e["arena"][0], e["arena"][1]))) for e in made.table["entries"]]
    program = CudaProgram(
        driver,
        made.ptx,
        made.table,
        made.constants,
        [entry_spec(compiled, e) for e in entries],
        [variables[name] for name in compiled.variables],
        wrote,
    )
    compiled.keep(made)
    return program


def entry_spec(compiled: Compiled, entry: EntryInfo) -> rt.EntrySpec:
    """An entry as the runtime knows it: "prepare", or the graph's own."""
    import kcompile_runtime as rt

    graph = compiled.graph
    if entry.name != compiled.name:
        return rt.EntrySpec(entry.name, memory=entry.memory, reads_prepared=False)
    checks, places = index_checks(graph), {v: i for i, v in enumerate(graph.inputs.values())}
    inputs = tuple(spec_of(k, graph.type(v)) for k, v in graph.inputs.items())
    outputs = tuple(spec_of(k, graph.type(v)) for k, v in graph.outputs.items())
    return rt.EntrySpec(
        entry.name,
        inputs,
        outputs,
        entry.memory,
        reads_prepared=True,
        writes_variables=bool(graph.updates),
        keeps_prepared=compiled.frozen,
        checks=tuple(check.label for check in checks),
        numbers=tuple((places[c.numbers], c.rows, c.label) for c in checks if c.numbers in places),
    )

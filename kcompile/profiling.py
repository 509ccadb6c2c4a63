"""Where the time of a compiled model goes: each kernel of an entry, timed where it runs, against its floor.

Enters: a compiled model and data. Leaves: a `Profile`. The program is compiled once more with a clock between
its kernels, over copies of the weights, and run many times; the time of a kernel is the median of the runs.
So caches and threads are as in a call of the model. The floor of a kernel is what its arithmetic takes at the
multiply-adds that this machine reaches, or its bytes at the rate at which it reads as much memory as the
entry uses, measured beside (`machine`), whichever is more. Arithmetic is that of the direct algorithm, so
Winograd's may be below it.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

import kcompile_runtime as rt
from kcompile import compiler, machine
from kcompile.codegen import cost
from kcompile.codegen.binary import bundle, jit
from kcompile.codegen.llvm import module
from kcompile.codegen.llvm.pool import POOL_ABI
from kcompile.codegen.program import Entry, Launch, Program, Repeat, buffer_bytes
from kcompile.compiler import Compiled
from kcompile.ir.graph import Node
from kcompile_runtime.arrays import aligned_copy
from kcompile_runtime.spec import TensorSpec
from kcompile_runtime.texts import printable

COPY = "copy"
TIMED = "timed"  # the entry that is measured


@dataclass(frozen=True)
class KernelTime:
    """A kernel where it runs. label: its operations, contractions with the sizes of their loops. layers: what
    they are from. seconds: in one call of the entry, `times` times. flops: floating-point operations of its
    contractions, as the direct algorithm has them; bytes: of its operands and results, each counted once.
    floor: the seconds that these take at least."""

    label: str
    layers: tuple[str, ...]
    times: int
    seconds: float
    flops: int
    bytes: int
    floor: float

    @property
    def share(self) -> float:
        """Of its time, what the floor is; above 1 for algorithms that need less arithmetic."""
        return self.floor / self.seconds if self.seconds else 1.0

    @property
    def where(self) -> str:
        """The layers, as text."""
        return ", ".join(self.layers) or COPY

    @property
    def rates(self) -> tuple[float, float]:
        """GFLOP/s and GB/s."""
        seconds = self.seconds or 1e-9
        return self.flops / seconds / 1e9, self.bytes / seconds / 1e9


@dataclass(frozen=True)
class Profile:
    """The kernels of an entry in the order in which they run. seconds: of a call of the entry as it is
    compiled, without a clock inside. model, entry: their names. samples: of the batch. threads: that worked.
    target: the processor that code was made for. flops, bandwidth: the limits of the machine, a
    second, with so many threads and as much memory as the entry uses; both are of float32, whatever the
    precision of the model's contractions."""

    model: str
    entry: str
    samples: int
    threads: int
    target: str
    seconds: float
    flops: float
    bandwidth: float
    kernels: tuple[KernelTime, ...]
    precision: str = "float32"

    @property
    def floor(self) -> float:
        """The least seconds, by arithmetic and bytes of each kernel."""
        return sum(k.floor for k in self.kernels)

    def by_layer(self) -> list[KernelTime]:
        """The kernels of equal layers as one, in the order of the first."""
        found: dict[tuple[str, ...], KernelTime] = {}
        for k in self.kernels:
            one = found.get(k.layers)
            found[k.layers] = (
                k
                if one is None
                else replace(
                    one,
                    label=f"{one.label}; {k.label}",
                    times=one.times + k.times,
                    seconds=one.seconds + k.seconds,
                    flops=one.flops + k.flops,
                    bytes=one.bytes + k.bytes,
                    floor=one.floor + k.floor,
                )
            )
        return list(found.values())

    def text(self, top: int | None = None, layers: bool = False) -> str:
        """A table, of the kernels (or of layers) that lose most against their floors first; top: so many."""
        rows = self.by_layer() if layers else list(self.kernels)
        rows.sort(key=lambda k: k.floor - k.seconds)
        total = sum(k.seconds for k in rows) or 1.0
        lines = [
            f"{self.model}: {self.entry} of {self.samples} samples, {self.threads} threads, {self.target}"
            + (f", {self.precision}" if self.precision != "float32" else ""),
            f"{spelt_time(self.seconds)} a call; {len(self.kernels)} kernels take {spelt_time(total)}; floor "
            f"{spelt_time(self.floor)} at {self.flops / 1e9:.0f} GFLOP/s and {self.bandwidth / 1e9:.0f} GB/s",
            f"{'time':>10} {'share':>6} {'of floor':>8} {'GFLOP/s':>8} {'GB/s':>6} {'times':>5}  what",
        ]
        for k in rows[:top]:
            speed, rate = k.rates
            part, took = k.seconds / total, spelt_time(k.seconds)
            lines.append(
                f"{took:>10} {part:6.1%} {k.share:8.0%} {speed:8.1f} {rate:6.1f} {k.times:5}  {_shown(k, 90)}"
            )
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        made = asdict(self)
        for row, k in zip(made["kernels"], self.kernels):
            row.update(layers=list(k.layers), share=k.share)
        return {**made, "kernels": list(made["kernels"]), "floor": self.floor}

    def trace(self) -> dict[str, Any]:
        """One call as a trace of events, which Chrome (chrome://tracing) and Perfetto open: kernels, and
        above them the layers."""
        events: list[dict[str, Any]] = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": tid, "args": {"name": name}}
            for tid, name in ((1, "layers"), (2, "kernels"))
        ]
        at = 0.0
        spans: list[tuple[str, float, float]] = []
        for k in self.kernels:
            span = at * 1e6, k.seconds * 1e6
            about = {"flops": k.flops, "bytes": k.bytes, "floor_us": k.floor * 1e6, "times": k.times}
            events.append(_event(k.label, 2, *span, about))
            if spans and spans[-1][0] == k.where:
                spans[-1] = k.where, spans[-1][1], spans[-1][2] + span[1]
            else:
                spans.append((k.where, *span))
            at += k.seconds
        events += [_event(name, 1, start, length, {}) for name, start, length in spans]
        return {"traceEvents": events, "displayTimeUnit": "ns"}


def _event(name: str, tid: int, start: float, length: float, about: Mapping[str, Any]) -> dict[str, Any]:
    return {"ph": "X", "name": name, "pid": 1, "tid": tid, "ts": start, "dur": length, "args": dict(about)}


def spelt_time(seconds: float) -> str:
    """Seconds as people write them, in the unit that fits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def _shown(k: KernelTime, width: int) -> str:
    text = printable(f"{k.where}: {k.label}")
    return text if len(text) <= width else text[: width - 3] + "..."


# ---------------------------------------------------------------- measuring


def profile(
    compiled: Compiled,
    name: str,
    state: Mapping[str, np.ndarray],
    n: int,
    inputs: Sequence[np.ndarray],
    threads: int,
    rounds: int,
) -> Profile:
    """The profile of an entry on these inputs, for n samples. name: of the model. state: its variables, which
    stay as they are. rounds: how many calls are measured."""
    program, run = _load(compiled, state, threads)
    outputs = [np.empty(spec.bind(n), spec.numpy_dtype) for spec in program.entries[TIMED].outputs]
    ticks = np.zeros((rounds + 1, len(run.parts)), np.int64)
    for row in ticks:
        outputs[-1][...] = 0
        program.run(TIMED, n, inputs, outputs)
        row[...] = outputs[-1]
    calls = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        program.run(compiled.name, n, inputs)
        calls.append(time.perf_counter() - begin)
    seconds = np.median(ticks[1:], 0) / _ticks_a_second(program)
    used = run.arena.at(n) + compiled.program.prepared + len(compiled.program.constants)
    used += sum(x.nbytes for x in (*program.variables, *inputs, *outputs))
    limits = machine.limits(threads, used, compiled.target)
    return Profile(
        name,
        compiled.name,
        n,
        threads,
        compiled.target.cpu,
        float(np.median(calls[1:])),
        limits.flops,
        limits.bandwidth,
        tuple(
            _kernel_time(part, times, s, n, limits) for (part, times), s in zip(run.parts, seconds.tolist())
        ),
    )


def _load(compiled: Compiled, state: Mapping[str, np.ndarray], threads: int) -> tuple[rt.Program, Entry]:
    """The program over copies of the variables, with one more entry, `TIMED`, that measures its parts; and
    that entry."""
    made = compiled.program
    spec = compiler.entry_spec(compiled, compiler.entry_info(made.entries[-1]))
    timed = replace(made.entries[-1], name=TIMED, timed=len(spec.outputs))
    whole = Program((*made.entries, timed), made.prepared, made.constants)
    objects = jit.compile_apart(module.emit_modules(whole, compiled.target), compiled.target, threads)
    clock = jit.optimise_and_compile(module.clock_ir(compiled.target), compiled.target)
    library = jit.load(*objects, clock, bundle.support(compiled.target))
    ticks = TensorSpec("ticks", (len(timed.parts),), "int64")
    specs = [compiler.entry_spec(compiled, compiler.entry_info(e)) for e in made.entries]
    program = rt.Program(
        library.address,
        [*specs, replace(spec, name=TIMED, outputs=(*spec.outputs, ticks))],
        [aligned_copy(state[name]) for name in compiled.variables],
        prepared=made.prepared,
        constants=made.constants,
        threads=threads,
        pool_abi=POOL_ABI,
    )
    return program, timed


def _ticks_a_second(program: rt.Program, seconds: float = 0.02) -> float:
    """The rate of the clock that the program measures by."""
    clock = ctypes.CFUNCTYPE(ctypes.c_int64)(program.symbol("kc_clock"))
    first, begin = clock(), time.perf_counter()
    time.sleep(seconds)
    return float((clock() - first) / (time.perf_counter() - begin))


def _kernel_time(
    part: Launch | Repeat, times: int, seconds: float, n: int, limits: machine.Limits
) -> KernelTime:
    """What is known of a part that took so long. A repeat that threads share by samples is one part."""
    launches = part.launches if isinstance(part, Repeat) else (part,)
    if isinstance(part, Repeat):
        times *= part.count
    groups = [launch.group for launch in launches if launch.group is not None]
    flops = times * sum(2 * cost.multiply_adds(group, n) for group in groups)
    bytes = times * sum(_bytes(group, n) for group in groups)
    layers = dict.fromkeys(str(source) for launch in launches for source in launch.sources)
    label = "; ".join(operations(group) for group in groups) or COPY
    return KernelTime(label, tuple(layers), times, seconds, flops, bytes, limits.floor(flops, bytes))


def _bytes(group: Node, n: int) -> int:
    """Of results and operands; of an operand of which rows are gathered, those rows."""
    body = group.body
    total = sum(buffer_bytes(type).at(n) for type in group.types)
    for value in body.inputs.values():
        readers = [m for m in body.nodes.values() if value in m.inputs]
        gathered = [m for m in readers if m.op.numbered is not None and m.inputs[0] == value]
        types = [m.types[0] for m in gathered] if gathered == readers else [body.type(value)]
        total += sum(buffer_bytes(type).at(n) for type in types)
    return total


def operations(group: Node) -> str:
    """The operations of a kernel; contractions with the sizes of their loops."""
    nodes = [m for m in cost.computed(group) if m.op.kind != "source"]
    names = [
        f"{m.op.name} " + "x".join(map(str, (*m.attrs["spec"].g, *m.attrs["spec"].sizes)))
        if m.op.kind == "contraction"
        else m.op.name
        for m in nodes
    ]
    return ", ".join(names) or COPY

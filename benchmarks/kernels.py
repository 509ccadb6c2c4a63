"""Where the time of a model goes: each kernel of an entry, timed in its place, against its floor.

    python -m benchmarks.kernels MODEL [--entry predict|train] [--batch N] [--threads N] [--top N]

MODEL is a benchmark's name or a model file. The launches of the entry run one after the other, each
timed by itself, so that caches are as they are in the entry. A kernel's floor is the direct
algorithm's multiply-adds at the machine's measured peak; bytes are those of its operands and results,
each counted once. With one thread the clock is the thread's own, which other processes disturb little.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import kcompile
from benchmarks.floor import fma_peak
from benchmarks.models import BENCHMARKS
from kcompile import keras
from kcompile.codegen.binary import bundle, jit
from kcompile.codegen.llvm import module
from kcompile.codegen.llvm.pool import POOL_ABI
from kcompile.codegen.memory_plan import execution_order
from kcompile.codegen.program import Entry, Program, buffer_bytes
from kcompile.compiler import Compiled
from kcompile.ir.graph import Graph, Node
from kcompile.ir.types import bind
from kcompile_runtime.arrays import address, aligned
from kcompile_runtime.threads import PoolFunctions, shared_pool


@dataclass
class Line:
    """Launches of one kernel. seconds: the best, over all of them; flops and bytes alike."""

    label: str
    count: int = 0
    seconds: float = 0.0
    flops: int = 0
    bytes: int = 0


def flops(group: Node, n: int) -> int:
    """Of the direct algorithm: two for each multiply-add."""
    total = 0
    for node in group.body.nodes.values():
        if node.op.kind == "contraction":
            total += 2 * int(np.prod(bind(node.attrs["spec"].sizes, n)))
    return total


def describe(group: Node, layers: str) -> str:
    """What a kernel computes, and for which layers."""
    nodes = [m for m in group.body.nodes.values() if m.op.kind != "source"]
    names = [
        "x".join(map(str, m.attrs["spec"].sizes)) + f" {m.op.name}"
        if m.op.kind == "contraction"
        else m.op.name
        for m in nodes
        if m.op.name != "input"
    ]
    return f"{', '.join(names)[:70]} -> {group.types[0]}  ({layers[:40]})"


Values = dict[str, np.ndarray]  # of variables, by name


def arrays(graph: Graph, n: int, values: Values) -> list[list[np.ndarray]]:
    """Inputs (random, or ones where they are integers), outputs and variables."""
    rng = np.random.default_rng(0)

    def room(shape: tuple[Any, ...], dtype: str) -> np.ndarray:
        size = int(np.prod(bind(shape, n)))
        bytes_ = aligned(max(size * np.dtype(dtype).itemsize, 64))
        return bytes_[: size * np.dtype(dtype).itemsize].view(dtype).reshape(bind(shape, n))

    made: list[list[np.ndarray]] = [[], [], []]
    for place, table in zip(made, (graph.inputs, graph.outputs, graph.variables)):
        for name, value in table.items():
            type = graph.type(value)
            array = room(type.shape, type.dtype)
            if table is graph.inputs:
                array[...] = rng.normal(size=array.shape) if type.dtype == "float32" else 1
            elif table is graph.variables:
                array[...] = values[name]
            place.append(array)
    return made


def load(
    compiled: Compiled, values: Values, entries: list[Entry], n: int, threads: int
) -> dict[str, Callable[[], int]]:
    """Native functions of these entries, on memory of their own."""
    program = compiled.program
    whole = Program((*program.entries, *entries), program.prepared, program.constants)
    code = jit.optimise_and_compile(module.emit_program(whole, compiled.target), compiled.target)
    symbol = jit.load(code, bundle.support(compiled.target)).address
    pool = shared_pool(
        PoolFunctions(
            symbol("kc_pool_size"), symbol("kc_pool_start"), symbol("kc_pool_stop"), POOL_ABI, symbol
        ),
        threads,
    )
    groups = arrays(compiled.graph, n, values)
    tables = [(ctypes.c_size_t * max(len(group), 1))(*map(address, group)) for group in groups]
    constants = aligned(max(len(program.constants), 64))
    constants[: len(program.constants)] = np.frombuffer(program.constants, np.uint8)
    size = max(e.arena.at(n) for e in program.entries) + 64
    memory = aligned(size + threads * max(module.entry_scratch(e) for e in program.entries))
    keep = (groups, tables, constants, memory, aligned(max(program.prepared, 64)), symbol)
    arguments = (
        ctypes.c_int64(n),
        *(ctypes.c_void_p(ctypes.addressof(t)) for t in tables),
        *(ctypes.c_void_p(address(x)) for x in (keep[4], constants, memory)),
        ctypes.c_void_p(pool.pointer),
    )

    def function(name: str) -> Callable[[], int]:
        call = ctypes.CFUNCTYPE(ctypes.c_int32)(symbol(f"kc_{name}"))
        call.argtypes = None  # type: ignore[assignment]
        return lambda keep=keep: call(*arguments)  # type: ignore[misc]

    return {e.name: function(e.name) for e in whole.entries}


def profile(compiled: Compiled, values: Values, n: int, threads: int, rounds: int) -> list[Line]:
    """A line for each kernel. Raises NotImplementedError for entries with loops over time."""
    run = compiled.program.entries[-1]
    groups = execution_order(compiled.run)
    if any(m.op.name == "scan" for m in groups):
        raise NotImplementedError("models with loops over time are not profiled by kernel")
    parts = [replace(run, name=f"step{i}", steps=(s,)) for i, s in enumerate(run.steps)]
    calls = load(compiled, values, [*parts, replace(run, name="nothing", steps=())], n, threads)
    if "prepare" in calls:
        calls["prepare"]()
    clock = time.thread_time if threads == 1 else time.perf_counter
    seconds = np.empty((rounds, len(parts) + 1))
    for round_ in seconds:
        for i, name in enumerate([*(p.name for p in parts), "nothing"]):
            begin = clock()
            calls[name]()
            round_[i] = clock() - begin
    best = np.maximum(seconds[1:].min(0) - seconds[1:, -1].min(), 0)
    lines: dict[int, Line] = {}
    for i, step in enumerate(run.launches):
        group = groups[i] if i < len(groups) else None  # beyond: copies to where results belong
        label = describe(group, step.kernel.note) if group else "copy"
        line = lines.setdefault(id(step.kernel), Line(label))
        line.count += 1
        line.seconds += best[i]
        if group:
            line.flops += flops(group, n)
            types = {v: compiled.run.type(v) for v in group.inputs}
            line.bytes += sum(buffer_bytes(t).at(n) for t in (*types.values(), *group.types))
    return list(lines.values())


def show(lines: list[Line], peak: float, top: int) -> None:
    total = sum(line.seconds for line in lines)
    floor = sum(line.flops for line in lines) / peak
    print(
        f"{len(lines)} kernels, {total * 1e6:.0f} us; floor {floor * 1e6:.0f} us at {peak / 1e9:.0f} GFLOP/s"
    )
    print(f"{'times':>5} {'us':>9} {'floor':>9} {'ratio':>6} {'GB/s':>5}  kernel")
    lost = sorted(lines, key=lambda line: line.flops / peak - line.seconds)
    for line in lost[:top]:
        low = line.flops / peak
        ratio = f"{line.seconds / low:6.2f}" if low else " " * 6
        rate = line.bytes / max(line.seconds, 1e-9) / 1e9
        print(f"{line.count:5} {line.seconds * 1e6:9.1f} {low * 1e6:9.1f} {ratio} {rate:5.0f}  {line.label}")


def model_of(name: str) -> Any:
    """A benchmark's model, compiled for training, or one from a file (compiled if it was saved so)."""
    found = [b for b in BENCHMARKS if b.name == name]
    if not found:
        return kcompile.load(name)
    model = found[0].model(keras)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model")
    parser.add_argument("--entry", choices=("predict", "train"), default="predict")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--top", type=int, default=20, help="kernels to show, the largest loss first")
    arguments = parser.parse_args()
    model = model_of(arguments.model)
    engine = kcompile.compile(model).engine
    compiled = engine.compiled(arguments.entry)
    values = engine.traced(arguments.entry).state
    lines = profile(compiled, values, arguments.batch, arguments.threads, arguments.rounds)
    show(lines, max(fma_peak(arguments.threads) for _ in range(3)), arguments.top)


if __name__ == "__main__":
    main()

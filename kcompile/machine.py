"""What this machine can do at most, measured: multiply-adds in registers, and bytes read from memory.

Enters: a target and a number of threads. Leaves: rates. The kernels are written in the loop language, and the
emitter that compiles models compiles them, so that the limits are those of the code that models become.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from kcompile.codegen import loops
from kcompile.codegen.binary import jit
from kcompile.codegen.llvm import module
from kcompile.codegen.targets import Target, native
from kcompile_runtime.arrays import address, aligned

CHAINS = 12  # enough to cover the latency (4 cycles, 2 units), few enough for 16 registers
SMALLEST, LARGEST = 1 << 14, 1 << 28  # bytes that reading is measured with, of all threads together


@dataclass(frozen=True)
class Limits:
    """flops: floating-point operations a second, a multiply-add is two. bandwidth: bytes a second."""

    flops: float
    bandwidth: float

    def floor(self, flops: float, bytes: float) -> float:
        """The seconds that so many operations, and so many bytes, take at least."""
        return max(flops / self.flops, bytes / self.bandwidth)


def limits(threads: int, bytes: int, target: Target | None = None) -> Limits:
    """Both limits of so many threads. bytes: what is read again and again; what fits into a cache is read
    faster."""
    return Limits(fma_peak(threads, target=target), bandwidth(threads, bytes, target=target))


def fma_peak(threads: int, seconds: float = 0.1, rounds: int = 5, target: Target | None = None) -> float:
    """Floating-point operations a second in float32 (a multiply-add is two), the best of several rounds."""
    target = target or native()
    lanes = target.lanes("float32")
    call = _compiled(_multiply_adds(lanes), target)
    memory = [aligned(4 * CHAINS * lanes + 64) for _ in range(threads)]
    best = _fastest([partial(call, array, 1) for array in memory], seconds, rounds)
    return threads * CHAINS * lanes * 2 * best


def bandwidth(
    threads: int, bytes: int, seconds: float = 0.05, rounds: int = 5, target: Target | None = None
) -> float:
    """Bytes a second that threads read from arrays which have so many bytes together, each from its own; the
    best of several rounds."""
    target = target or native()
    lanes = target.lanes("float32")
    call = _compiled(_reads(lanes), target)
    step = 4 * CHAINS * lanes
    share = max(min(max(bytes, SMALLEST), LARGEST) // threads // step, 1)
    memory = [aligned(step * (share + 1)) for _ in range(threads)]
    for array in memory:
        array[...] = 0
    best = _fastest([partial(call, array, share) for array in memory], seconds, rounds)
    return threads * step * share * best


def _multiply_adds(lanes: int) -> loops.Function:
    """Independent chains of acc = a * acc + b, n times, with no memory in the loop."""
    a_let, a = loops.let("a", loops.load(_OUT, loops.ramp(0, lanes)))
    b_let, b = loops.let("b", loops.load(_OUT, loops.ramp(lanes, lanes)))
    acc = _sums(lanes)
    starts = [loops.store(acc, chain, b) for chain in range(CHAINS)]
    steps = [loops.store(acc, chain, loops.fma(a, loops.load(acc, chain), b)) for chain in range(CHAINS)]
    loop = loops.loop(loops.Var("step"), 0, loops.N, steps)
    return loops.Function(
        "work", (_OUT,), (a_let, b_let, loops.Alloc(acc), *starts, loop, *_stored(acc, lanes))
    )


def _reads(lanes: int) -> loops.Function:
    """The sum of an array of `end` times CHAINS vectors, n times."""
    acc, row = _sums(lanes), loops.Var("row")
    starts = [
        loops.store(acc, chain, loops.load(_OUT, loops.ramp(chain * lanes, lanes))) for chain in range(CHAINS)
    ]
    reads = [
        loops.store(
            acc,
            chain,
            loops.load(acc, chain) + loops.load(_OUT, loops.ramp((row * CHAINS + chain) * lanes, lanes)),
        )
        for chain in range(CHAINS)
    ]
    rows = loops.loop(row, 0, loops.Var("end"), reads)
    loop = loops.loop(loops.Var("step"), 0, loops.N, [rows])
    return loops.Function("work", (_OUT,), (loops.Alloc(acc), *starts, loop, *_stored(acc, lanes)))


_OUT = loops.Buffer("out", "float32")


def _sums(lanes: int) -> loops.Buffer:
    return loops.Buffer("acc", "float32", "register", CHAINS, lanes)


def _stored(acc: loops.Buffer, lanes: int) -> list[loops.Stmt]:
    return [loops.store(_OUT, loops.ramp(k * lanes, lanes), loops.load(acc, k)) for k in range(CHAINS)]


def _compiled(kernel: loops.Function, target: Target) -> Callable[[np.ndarray, int, int], None]:
    """A call of a kernel on memory: of the arrays' rows, n times."""
    library = jit.load(jit.optimise_and_compile(module.emit([kernel], target), target))
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *(ctypes.c_int64,) * 3, ctypes.c_void_p)(
        library.address(kernel.name)
    )

    def call(memory: np.ndarray, end: int, n: int, keep: object = library) -> None:
        pointer = ctypes.c_void_p(address(memory))
        function(ctypes.addressof(pointer), n, 0, end, None)

    return call


def _fastest(works: list[Callable[[int], None]], seconds: float, rounds: int) -> float:
    """Steps a second that each of several workers does at the same time, at best."""

    def measure(steps: int) -> float:
        workers = [threading.Thread(target=work, args=(steps,)) for work in works]
        begin = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return time.perf_counter() - begin

    steps = 1  # and more, until the start of threads, which takes its time too, hardly counts
    while (best := min(measure(steps) for _ in range(3))) < seconds / 2:
        steps = int(steps * min(max(seconds / best, 2), 10)) + 1
    return steps / min(best, *(measure(steps) for _ in range(rounds)))

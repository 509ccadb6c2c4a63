"""What the machine can do at most: fused multiply-adds in registers, on every thread at once.

The kernel is written in our loop language and compiled by our emitter: independent chains of
`acc = a * acc + b`, with no memory in the loop.
"""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Any

import numpy as np

CHAINS = 12  # enough to cover the latency (4 cycles, 2 units), few enough for 16 registers


def _kernel(lanes: int) -> Any:
    from kcompile.codegen import loops

    out = loops.Buffer("out", "float32")
    acc = loops.Buffer("acc", "float32", "register", CHAINS, lanes)
    step, chain = loops.Var("step"), loops.Var("chain")
    a_let, a = loops.let("a", loops.load(out, loops.ramp(0, lanes)))
    b_let, b = loops.let("b", loops.load(out, loops.ramp(lanes, lanes)))

    def chains(statement: Any) -> Any:
        return loops.loop(chain, 0, CHAINS, [statement], kind="unroll")

    body = (
        a_let,
        b_let,
        loops.Alloc(acc),
        chains(loops.store(acc, chain, b)),
        loops.loop(
            step, 0, loops.N, [chains(loops.store(acc, chain, loops.fma(a, loops.load(acc, chain), b)))]
        ),
        chains(loops.store(out, loops.ramp(chain * lanes, lanes), loops.load(acc, chain))),
    )
    return loops.Function("peak", (out,), body)


def fma_peak(threads: int, seconds: float = 0.1, rounds: int = 5) -> float:
    """Floating point operations a second (an FMA is two), the best of several rounds."""
    from kcompile.codegen.binary import jit
    from kcompile.codegen.llvm import module
    from kcompile.codegen.targets import native

    target = native()
    lanes = target.lanes("float32")
    library = jit.load(jit.optimise_and_compile(module.emit([_kernel(lanes)], target), target))
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *(ctypes.c_int64,) * 3, ctypes.c_void_p)(
        library.address("peak")
    )

    def work(steps: int) -> None:
        out = np.zeros(CHAINS * lanes + 16, np.float32)
        start = (-out.ctypes.data % 64) // 4
        pointer = ctypes.c_void_p(out.ctypes.data + 4 * start)
        call(ctypes.addressof(pointer), steps, 0, 0, None)

    def measure(steps: int) -> float:
        workers = [threading.Thread(target=work, args=(steps,)) for _ in range(threads)]
        begin = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return time.perf_counter() - begin

    probe = 1_000_000
    steps = int(probe * seconds / measure(probe)) + 1
    best = min(measure(steps) for _ in range(rounds))
    return threads * steps * CHAINS * lanes * 2 / best


def scaling(threads: int) -> float:
    """How many times the arithmetic of one thread so many threads do just now. Two processors of a
    virtual machine may be one core: then it is 1."""
    return fma_peak(threads, 0.02, 3) / fma_peak(1, 0.02, 3)

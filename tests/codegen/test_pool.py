"""The native thread pool: every index is done once, however the calls come."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from llvmlite import binding

from kcompile.codegen.pool import STATUS_NO_THREADS, has_threads, pool_bytes, pool_ir

# count: out[i] += 1 and out[extent + i] = thread (scratch is thread * 8); bufs is {out}.
KERNEL = """
define void @count(ptr %bufs, i64 %n, i64 %begin, i64 %end, ptr %scratch) {
entry:
  %out = load ptr, ptr %bufs
  %thread = ptrtoint ptr %scratch to i64
  br label %test
test:
  %i = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %cell = getelementptr i64, ptr %out, i64 %i
  %was = load i64, ptr %cell
  %now = add i64 %was, 1
  store i64 %now, ptr %cell
  %place = add i64 %n, %i
  %who = getelementptr i64, ptr %out, i64 %place
  store i64 %thread, ptr %who
  %next = add i64 %i, 1
  br label %test
done:
  ret void
}
"""


@dataclass(frozen=True)
class Triple:
    triple: str


NATIVE = Triple(binding.get_process_triple())


class Pool:
    """The pool's native functions, compiled for this process."""

    def __init__(self) -> None:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        machine = binding.Target.from_triple(NATIVE.triple).create_target_machine(opt=2)
        module = binding.parse_assembly(pool_ir(NATIVE) + KERNEL)
        module.verify()
        self.engine = binding.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()
        address = self.engine.get_function_address
        i32, i64, ptr = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
        self.size = ctypes.CFUNCTYPE(i64, i32)(address("kc_pool_size"))
        self.start = ctypes.CFUNCTYPE(i32, ptr, i32)(address("kc_pool_start"))
        self.stop = ctypes.CFUNCTYPE(None, ptr)(address("kc_pool_stop"))
        self.threads = ctypes.CFUNCTYPE(i32, ptr)(address("kc_pool_threads"))
        self.parallel = ctypes.CFUNCTYPE(None, ptr, ptr, ptr, i64, i64, i64, ptr, i64)(
            address("kc_parallel"))
        self.count = address("count")

    def open(self, threads: int) -> np.ndarray:
        memory = np.zeros(self.size(threads) + 64, np.uint8)
        memory = memory[-memory.ctypes.data % 64:]
        assert self.start(memory.ctypes.data, threads) == 0
        return memory

    def run(self, pool: np.ndarray | None, out: np.ndarray, extent: int, grain: int = 1) -> None:
        """One call of `count`; out has 2 * extent cells."""
        bufs = (ctypes.c_void_p * 1)(out.ctypes.data)
        self.parallel(None if pool is None else pool.ctypes.data, self.count, bufs,
                      len(out) // 2, extent, grain, None, 1)


@pytest.fixture(scope="module")
def native() -> Pool:
    return Pool()


@pytest.fixture(params=[1, 2, 3, 4])
def pool(native: Pool, request: pytest.FixtureRequest) -> Iterator[np.ndarray]:
    memory = native.open(request.param)
    yield memory
    native.stop(memory.ctypes.data)
    native.stop(memory.ctypes.data)  # a second stop is harmless


def test_size(native: Pool) -> None:
    assert [native.size(t) for t in (0, 1, 4, 64)] == [pool_bytes(t) for t in (0, 1, 4, 64)]


def test_every_index_once_and_in_its_part(native: Pool, pool: np.ndarray) -> None:
    threads = native.threads(pool.ctypes.data)
    for extent in (1, 2, 3, 7, 64, 1001):
        out = np.zeros(2 * extent, np.int64)
        native.run(pool, out, extent)
        parts = min(threads, extent)
        cuts = [extent * i // parts for i in range(parts + 1)]
        owner = np.repeat(np.arange(parts), np.diff(cuts))
        assert (out[:extent] == 1).all()
        assert (out[extent:] == owner).all()


def test_grain_limits_the_threads(native: Pool, pool: np.ndarray) -> None:
    threads = native.threads(pool.ctypes.data)
    for grain, parts in ((100, 1), (51, 1), (50, 2), (25, 4), (1, 100), (0, 100)):
        out = np.zeros(200, np.int64)
        native.run(pool, out, 100, grain)
        assert out[100:].max() + 1 == min(threads, parts)


def test_no_pool_and_no_work(native: Pool, pool: np.ndarray) -> None:
    out = np.zeros(20, np.int64)
    native.run(None, out, 10)
    native.run(pool, out, 0)
    assert (out[:10] == 1).all() and (out[10:] == 0).all()
    assert native.threads(None) == 1


def test_many_calls(native: Pool, pool: np.ndarray) -> None:
    out = np.zeros(16, np.int64)
    for _ in range(5000):
        native.run(pool, out, 8)
    assert (out[:8] == 5000).all()


def test_calls_after_parking(native: Pool, pool: np.ndarray) -> None:
    out = np.zeros(16, np.int64)
    for _ in range(50):
        native.run(pool, out, 8)
        time.sleep(0.001)  # far beyond the time that workers spin
    assert (out[:8] == 50).all()


def test_concurrent_callers(native: Pool, pool: np.ndarray) -> None:
    outs = [np.zeros(2 * 500, np.int64) for _ in range(3)]

    def work(out: np.ndarray) -> None:
        for _ in range(500):
            native.run(pool, out, 500)

    callers = [threading.Thread(target=work, args=(out,)) for out in outs]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for out in outs:
        assert (out[:500] == 500).all()


def test_stopped_pool_runs_serially(native: Pool) -> None:
    memory = native.open(3)
    native.stop(memory.ctypes.data)
    out = np.zeros(20, np.int64)
    native.run(memory, out, 10)
    assert (out[:10] == 1).all() and (out[10:] == 0).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_child_of_a_fork_runs_serially(native: Pool) -> None:
    memory = native.open(2)
    out = np.zeros(20, np.int64)
    native.run(memory, out, 10)
    child = os.fork()
    if child == 0:
        out[:] = 0
        native.run(memory, out, 10)
        native.stop(memory.ctypes.data)
        os._exit(0 if (out[:10] == 1).all() and (out[10:] == 0).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    native.stop(memory.ctypes.data)


@pytest.mark.parametrize("triple", ["aarch64-unknown-linux-gnu", "wasm32-unknown-unknown",
                                    "x86_64-unknown-linux-gnu", "x86_64-pc-windows-msvc"])
def test_every_target_compiles(triple: str) -> None:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    module = binding.parse_assembly(pool_ir(Triple(triple)))
    module.verify()
    machine = binding.Target.from_triple(triple).create_target_machine(opt=2)
    assert machine.emit_object(module)
    assert has_threads(Triple(triple)) == ("linux" in triple)


def test_no_threads_is_a_status() -> None:
    assert f"i32 {STATUS_NO_THREADS}, i32 0" in pool_ir(Triple("wasm32-unknown-unknown"))

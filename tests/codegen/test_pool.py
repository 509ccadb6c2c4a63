"""The native thread pool: every index is done once, however the calls come and whoever computes."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import claims
import numpy as np
import pytest
from forks import another_thread, in_child
from llvmlite import binding

from kcompile.codegen import targets
from kcompile.codegen.llvm.pool import LAYOUT, STATUS_NO_THREADS, has_threads, pool_bytes, pool_ir

# count: out[i] += 1 and out[n + i] = thread (scratch is the thread's number); bufs is {out}.
# coarse: the same in two halves: what begins in a half is none of it, but for its beginning.
# gate: the same, when a worker has begun a chunk (out[2n] is 1); that worker waits for out[2n] = 2.
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
define void @coarse(ptr %bufs, i64 %n, i64 %begin, i64 %end, ptr %scratch) {
  %half = lshr i64 %n, 1
  %least = sub i64 %half, 1
  %a = add i64 %begin, %least
  %b = add i64 %end, %least
  %c = udiv i64 %a, %half
  %d = udiv i64 %b, %half
  %low = mul i64 %c, %half
  %high = mul i64 %d, %half
  call void @count(ptr %bufs, i64 %n, i64 %low, i64 %high, ptr %scratch)
  ret void
}
define void @gate(ptr %bufs, i64 %n, i64 %begin, i64 %end, ptr %scratch) {
entry:
  %thread = ptrtoint ptr %scratch to i64
  %worker = icmp ne i64 %thread, 0
  %out = load ptr, ptr %bufs
  %last = shl i64 %n, 1
  %word = getelementptr i64, ptr %out, i64 %last
  br i1 %worker, label %enter, label %caller
caller:
  %begun = load atomic i64, ptr %word seq_cst, align 8
  %none = icmp eq i64 %begun, 0
  br i1 %none, label %caller, label %go
enter:
  store atomic i64 1, ptr %word seq_cst, align 8
  br label %wait
wait:
  %state = load atomic i64, ptr %word seq_cst, align 8
  %open = icmp eq i64 %state, 2
  br i1 %open, label %go, label %wait
go:
  call void @count(ptr %bufs, i64 %n, i64 %begin, i64 %end, ptr %scratch)
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
        self.parallel = ctypes.CFUNCTYPE(None, ptr, ptr, ptr, i64, i64, i64, ptr, i64)(address("kc_parallel"))
        self.count, self.gate, self.coarse = address("count"), address("gate"), address("coarse")

    def open(self, threads: int) -> np.ndarray:
        memory = np.zeros(self.size(threads) + 64, np.uint8)
        memory = memory[-memory.ctypes.data % 64 :]
        assert self.start(memory.ctypes.data, threads) == 0
        return memory

    def run(self, pool: np.ndarray | None, out: np.ndarray, extent: int, grain: int = 1) -> None:
        """One call of `count`; out has 2 * extent cells."""
        bufs = (ctypes.c_void_p * 1)(out.ctypes.data)
        self.parallel(
            None if pool is None else pool.ctypes.data,
            self.count,
            bufs,
            len(out) // 2,
            extent,
            grain,
            None,
            1,
        )


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


def test_every_index_once_and_in_chunks(native: Pool, pool: np.ndarray) -> None:
    """Equal parts, or finer ones, each done by one thread of the pool."""
    threads = native.threads(pool.ctypes.data)
    for extent in (1, 2, 3, 7, 64, 1001):
        out = np.zeros(2 * extent, np.int64)
        native.run(pool, out, extent)
        assert (out[:extent] == 1).all()
        assert set(out[extent:]) <= set(range(threads))


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_a_chunk_has_a_grain_at_least(native: Pool, threads: int) -> None:
    memory = native.open(threads)
    for grain in (0, 1, 9, 25, 50, 51, 100):
        for _ in range(50):
            out = np.zeros(200, np.int64)
            native.run(memory, out, 100, grain)
            cuts = np.flatnonzero(np.diff(out[100:], prepend=-1, append=-1))
            assert (np.diff(cuts) >= min(grain, 100)).all()
            assert (out[:100] == 1).all()
            if grain > 50:
                assert (out[100:] == 0).all()  # not enough for two
    native.stop(memory.ctypes.data)


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


def test_the_caller_waits_for_a_chunk_in_work(native: Pool) -> None:
    """A worker has begun a chunk and is held there: the launch ends after that chunk, not before."""
    memory, n = native.open(2), 65536
    out = np.zeros(2 * n + 1, np.int64)
    bufs = (ctypes.c_void_p * 1)(out.ctypes.data)
    launch = threading.Thread(
        target=native.parallel,
        daemon=True,
        args=(memory.ctypes.data, native.gate, bufs, n, n, n // 2, None, 1),
    )
    start = time.monotonic()
    launch.start()
    while (out[:n] == 1).sum() < n // 2 and time.monotonic() < start + 60:
        time.sleep(0.001)
    launch.join(0.02 + 4 * (time.monotonic() - start))  # far beyond what the caller's own chunk took
    assert launch.is_alive() and out[2 * n] == 1
    assert (out[:n] == 0).sum() == n // 2  # the worker's chunk, and no other, is missing
    out[2 * n] = 2
    launch.join(60)
    assert not launch.is_alive()
    assert (out[:n] == 1).all()
    check_account(native, memory)
    native.stop(memory.ctypes.data)


def check_account(native: Pool, memory: np.ndarray) -> None:
    """After a long wait the caller works alone until it has computed for the debt, then shares again."""
    owed, debt = (memory[LAYOUT[name] :][:8].view(np.int64) for name in ("OWED", "DEBT"))
    chunks = memory[LAYOUT["JOB"] :][48:56].view(np.int64)  # of the last launch that was shared
    out = np.zeros(2 * 100_000, np.int64)
    assert owed > 0 and debt > 0
    chunks[0] = 0
    for _ in range(100_000):
        before = int(debt[0])
        native.run(memory, out, 100_000)
        if before <= 0:
            break
        assert debt < before and chunks == 0 and (out[100_000:] == 0).all()
    assert before <= 0 and chunks > 1


FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


@FORKS
@pytest.mark.parametrize("parked", [False, True])
def test_workers_that_never_run(native: Pool, parked: bool) -> None:
    """The child of a fork has the pool's memory and none of its workers: the caller does every chunk."""
    memory = native.open(4)
    out = np.zeros(2 * 4096, np.int64)
    native.run(memory, out, 4096)
    time.sleep(0.1 if parked else 0)

    def launches() -> bool:
        out[:] = 0
        for _ in range(500):
            native.run(memory, out, 4096)
        native.stop(memory.ctypes.data)
        return bool((out[:4096] == 500).all() and (out[4096:] == 0).all())

    in_child(launches)
    out[:] = 0
    native.run(memory, out, 4096)  # the parent's are still there
    assert (out[:4096] == 1).all()
    native.stop(memory.ctypes.data)


@FORKS
def test_empty_chunks_are_no_loss(native: Pool) -> None:
    """A kernel that cuts more coarsely than asked: what its empty chunks take says nothing of the others.
    In the child of a fork the caller does all, so a launch takes what its chunks do."""
    memory, n = native.open(2), 400_000
    owed, debt = (memory[LAYOUT[name] :][:8].view(np.int64) for name in ("OWED", "DEBT"))
    out = np.zeros(2 * n, np.int64)
    bufs = (ctypes.c_void_p * 1)(out.ctypes.data)

    def launches() -> bool:
        lost = 0
        for _ in range(50):
            owed[0], debt[0] = 1, 0  # what is owed makes chunks finer
            native.parallel(memory.ctypes.data, native.coarse, bufs, n, n, 1, None, 1)
            lost += debt[0] > 0
        return bool((out[:n] == 50).all() and lost < 25)

    in_child(launches)
    native.stop(memory.ctypes.data)


def test_a_caller_held_up_is_no_loss(native: Pool) -> None:
    """The caller's own chunk takes long, as when the system runs others instead of it, and workers do the
    rest meanwhile: it has waited for nobody, and goes on sharing."""
    memory = native.open(2)
    owed, debt = (memory[LAYOUT[name] :][:8].view(np.int64) for name in ("OWED", "DEBT"))
    done: list[int] = []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, *(ctypes.c_int64,) * 3, ctypes.c_void_p)
    def chunk(_: object, __: int, begin: int, end: int, ___: object) -> None:
        if begin == 0:
            time.sleep(0.02)
        done.append(end - begin)

    lost = 0
    for _ in range(10):
        owed[0], debt[0] = 1, 0  # what is owed makes chunks finer
        native.parallel(memory.ctypes.data, ctypes.cast(chunk, ctypes.c_void_p), None, 0, 4096, 1, None, 1)
        lost += debt[0] > 0
    assert sum(done) == 10 * 4096 and len(done) > 20
    assert lost < 5
    native.stop(memory.ctypes.data)


@FORKS
def test_fork_while_another_thread_launches(native: Pool) -> None:
    memory, shared = native.open(3), np.zeros(2 * 512, np.int64)

    def launches() -> bool:
        out = np.zeros(2 * 512, np.int64)
        for _ in range(100):
            native.run(memory, out, 512)
        return bool((out[:512] == 100).all())

    with another_thread(lambda: native.run(memory, shared, 512)):
        for _ in range(20):
            in_child(launches)
    native.stop(memory.ctypes.data)


CROWD = """
import os, sys, threading
import numpy as np
sys.path[:0] = {path!r}
from test_pool import Pool

os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
native, seed = Pool(), np.random.default_rng(3)
pools = [native.open(16), native.open(5)]
for task in os.listdir("/proc/self/task"):  # workers run when nobody else does
    if int(task) != os.getpid():
        os.sched_setscheduler(int(task), os.SCHED_IDLE, os.sched_param(0))
wrong = []

def work(pool, sizes):
    for extent, grain in sizes:
        out = np.zeros(2 * extent, np.int64)
        native.run(pool, out, extent, grain)
        if not (out[:extent] == 1).all():
            wrong.append((extent, grain))

callers = [threading.Thread(target=work, args=(pools[i % 2], [
    (int(seed.integers(1, 3000)), int(seed.integers(0, 40))) for _ in range(1500)])) for i in range(4)]
for caller in callers:
    caller.start()
for caller in callers:
    caller.join()
for pool in pools:
    native.stop(pool.ctypes.data)
print("wrong:", wrong)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity")
def test_more_threads_than_processors() -> None:
    """Twenty-one threads on one processor, workers last in the queue, four callers with launches of any
    size: each is over in time, and whole."""
    code = CROWD.format(path=sys.path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "wrong: []\n", done.stdout + done.stderr


@pytest.mark.parametrize(("launches", "workers"), [((3, 3), 2), ((4, 2, 3), 1)])
def test_every_interleaving_of_the_claims(launches: tuple[int, ...], workers: int) -> None:
    assert claims.explore(claims.System(launches, workers)) > 1000


@pytest.mark.parametrize("part", ["recheck", "wait", "tell", "compare"])
def test_no_part_of_the_protocol_can_be_left_out(part: str) -> None:
    with pytest.raises(claims.Fault):
        claims.explore(claims.System((3, 2), 2)._replace(**{part: False}))


@pytest.mark.parametrize(
    "triple",
    [
        "aarch64-unknown-linux-gnu",
        "riscv64-unknown-linux-gnu",
        "wasm32-unknown-unknown",
        "x86_64-unknown-linux-gnu",
        "x86_64-pc-windows-msvc",
    ],
)
def test_every_target_compiles(triple: str) -> None:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    module = binding.parse_assembly(pool_ir(Triple(triple)))
    module.verify()
    features = targets.named("riscv64").features if "riscv" in triple else ""
    machine = binding.Target.from_triple(triple).create_target_machine(features=features, opt=2)
    assert machine.emit_object(module)
    assert has_threads(Triple(triple)) == ("linux" in triple)


def test_no_threads_is_a_status() -> None:
    assert f"i32 {STATUS_NO_THREADS}, i32 0" in pool_ir(Triple("wasm32-unknown-unknown"))

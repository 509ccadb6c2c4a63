"""The native thread pool, as LLVM IR. A launch is cut into chunks, and threads claim these.

Enters: a target. Leaves: IR text that defines `kc_pool_size`, `kc_pool_start`, `kc_pool_stop` and
`kc_parallel`, the same for the JIT and for an exported file. The C library is asked for
`pthread_create`, `pthread_join`, `pthread_sigmask`, `getpid` and `syscall` (futex, sched_yield), by
name, at load time. Where the target has no threads, `kc_parallel` is a plain call.

**Claims.** The caller owns the memory of the pool. A launch is a job (what to call) and two words:

    OPEN   chunks << 16 | next    the unclaimed chunks: next, next + 1, ... chunks - 1
    LEFT   unfinished chunks      bit 31: the caller sleeps on this word

A thread, the caller or a worker, claims chunk `next` by a compare-and-exchange of OPEN with OPEN + 1. A
worker subtracts 1 from LEFT after each chunk, the caller the number of its own chunks at the end. So the
caller never waits for a thread that the system does not run: it computes every chunk that no worker has
claimed, and waits only for those that a worker is computing.

A thread uses nothing after a claim that it read before, except the value of OPEN. That is sufficient: if
the exchange succeeds, this chunk of the current launch has no owner, even if OPEN was read during an
earlier launch. So OPEN needs no launch number against late workers. The job does not change between a
claim and the subtraction from LEFT: the caller returns only at LEFT = 0, and writes the next job after
that. Memory orders: the job is written before OPEN is released and read after OPEN is acquired (exchanges
by other threads continue the release sequence); results are written before LEFT is released and read
after LEFT is acquired. `tests/codegen/claims.py` states the protocol as a transition system, whose every
interleaving is tried.

**Parking.** A worker without a chunk looks at OPEN for about a millisecond, then sleeps: it reads EPOCH,
adds 1 to PARKED, looks at OPEN once more, and waits on EPOCH. The caller publishes OPEN, then reads
PARKED; where it is not 0 it takes from it as many as it wants to wake, adds 1 to EPOCH, and wakes them.
These accesses are sequentially consistent: the worker sees the launch, or the caller the worker. PARKED
is never less than the number of sleepers; a worker that did not sleep after all leaves it too large by 1,
which costs one needless system call. A thread that spins yields its processor between two looks, and sleeps
once another thread has used it. A worker that wakes on the caller's processor lets the caller go on first.

**When to use several threads.** The pool measures whether they pay. A launch wins the time that the
workers' chunks would have taken the caller (their number times the time of the fastest chunk) less the time
that the caller waited for them at the end. Where it waited longer it is a loss, and waking a worker that
comes too late is a small one. Where the caller itself was held up and nobody waited, that is no loss: alone
it would have been held up, too. (The last chunk may be shorter than the others: it counts for gains only. A
kernel may cut more coarsely than asked, so that some chunks have no work: they do not count.) The debt is
PRICE times the losses less the gains, of which SAVED may be laid by: some launches lose where threads are
far from each other, and the others win. After a loss that leaves a debt the pool runs launches on one thread,
for a multiple of the debt in time. So waiting costs a small part of the time under any load, and an idle
machine is noticed soon. Results do not depend on any of this: the numbers of a kernel do not depend on how it
is cut.

A second caller, while the pool is busy, runs its whole range itself. In the child of a fork there are no
workers, and the caller computes all chunks; or, if the pool was busy at the fork, it stays busy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from kcompile.codegen import architectures
from kcompile.codegen.llvm.template import filled

_FOLDER = Path(__file__).parent

POOL_ABI = 4  # the layout of a pool's memory, and the protocol: pools are shared by modules that agree

STATUS_OK = 0
STATUS_NO_THREADS = 5  # kc_pool_start: the system gave no thread, or the target has none

# Times in microseconds. To wake a thread takes 50 to 80, of which the caller pays about 5.
_POLICY = {
    "SPIN": 1000,  # a worker without a chunk, before it parks
    "QUIET": 10,  # who spins, before it first offers its processor to others
    "AWAY": 20,  # between two looks at a word: others have run meanwhile
    "PATIENCE": 200,  # the caller without a chunk, before it sleeps
    "VAIN": 5,  # lost when a worker was woken and came too late
    "LONGEST": 4000,  # the most that one launch loses: about the turn that a system gives a program
    "PRICE": 4,  # a loss weighs as much as so many wins
    "CREDIT": 200000,  # the most that is owed
    "SAVED": 8000,  # the most that wins save for losses to come
    "REST": 2,  # times what is owed is spent on one thread after a loss,
    "REST_OF_ONE": 64,  # but no more than so many times that loss
    "FINER": 4,  # chunks for each thread where workers may come late,
    "FINE_GRAINS": 4,  # of so many grains at least
    "MAX_CHUNKS": 1 << 14,
}
_LINE = 128  # two cache lines: neighbouring lines are fetched in pairs
# Offsets in a pool and in a slot, bytes. TICK: ticks of the clock in a microsecond. Of the caller at work:
# BUSY, that there is one; DEBT, ticks to spend on one thread; OWED, see above; HELP, chunks that workers
# did since the last wake. CPU: where the caller woke others.
LAYOUT = {
    "THREADS": 0,
    "PID": 4,
    "TICK": 8,
    "BUSY": _LINE,
    "DEBT": _LINE + 8,
    "OWED": _LINE + 16,
    "HELP": _LINE + 24,
    "OPEN": 2 * _LINE,
    "LEFT": 3 * _LINE,
    "FASTEST": 3 * _LINE + 8,
    "LAST": 3 * _LINE + 16,
    "COUNTED": 3 * _LINE + 24,
    "EPOCH": 4 * _LINE,
    "PARKED": 4 * _LINE + 4,
    "CPU": 4 * _LINE + 8,
    "JOB": 5 * _LINE,
    "SLOTS": 6 * _LINE,
    "SLOT_POOL": 0,
    "SLOT_INDEX": 8,
    "SLOT_THREAD": 16,
    "SLOT_BYTES": 32,
}
_JOB_FIELDS = (
    ("ptr", "fn"),
    ("ptr", "bufs"),
    ("i64", "n"),
    ("i64", "extent"),
    ("ptr", "scratch"),
    ("i64", "stride"),
    ("i64", "chunks"),
)


class HasTriple(Protocol):
    """The part of a target that the pool reads."""

    @property
    def triple(self) -> str: ...


def has_threads(target: HasTriple) -> bool:
    """Whether the target has a pool of more than one thread: 64-bit Linux."""
    return architectures.linux(target.triple) is not None


def pool_bytes(threads: int) -> int:
    """Bytes of a pool of so many threads, as `kc_pool_size` returns."""
    return LAYOUT["SLOTS"] + LAYOUT["SLOT_BYTES"] * max(threads, 1)


def pool_ir(target: HasTriple) -> str:
    """The pool's functions for a target, as the text of LLVM definitions (no triple, no layout).

        i64  kc_pool_size(i32 threads)               bytes, to be aligned to 64
        i32  kc_pool_start(ptr pool, i32 threads)    0, or a status code; threads counts the caller
        void kc_pool_stop(ptr pool)                  waits for the workers to end
        i32  kc_pool_threads(ptr pool)               1 for NULL
        void kc_parallel(ptr pool, ptr fn, ptr bufs, i64 n, i64 extent, i64 grain,
                         ptr scratch, i64 scratch_stride)

    fn is `void fn(ptr bufs, i64 n, i64 begin, i64 end, ptr scratch)`. It is called for parts of
    [0, extent) that cover it, each of at least `grain` iterations unless there are fewer, by threads
    that get scratch + i * scratch_stride, i of the thread. The caller is thread 0.
    """
    linux = architectures.linux(target.triple)
    if linux is None:
        return filled(_FOLDER / "pool_serial.ll", OK=STATUS_OK, NO_THREADS=STATUS_NO_THREADS)
    declare_pause, pause = linux.pause
    return filled(
        _FOLDER / "pool.ll",
        **_POLICY,
        **LAYOUT,
        DECLARE_PAUSE=declare_pause,
        PAUSE=pause,
        CLOCK=linux.clock,
        FUTEX=linux.futex,
        YIELD=linux.sched_yield,
        GETCPU=linux.getcpu,
        OK=STATUS_OK,
        NO_THREADS=STATUS_NO_THREADS,
        LOAD_JOB=_job_fields("load"),
        STORE_JOB=_job_fields("store"),
    )


def _job_fields(what: str) -> str:
    """Instructions that load or store the fields of a job, 8-byte words, one after the other."""
    lines = []
    for index, (kind, name) in enumerate(_JOB_FIELDS):
        lines.append(f"  %job.{name} = getelementptr i8, ptr %job, i64 {8 * index}")
        lines.append(
            f"  %{name} = load {kind}, ptr %job.{name}, align 8"
            if what == "load"
            else f"  store {kind} %{name}, ptr %job.{name}, align 8"
        )
    return "\n".join(lines)

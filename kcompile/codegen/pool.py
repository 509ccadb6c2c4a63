"""The native thread pool, as LLVM IR.

Enters: a target. Leaves: IR text that defines `kc_pool_size`, `kc_pool_start`, `kc_pool_stop` and
`kc_parallel`, the same for the JIT and for an exported file. The C library is asked for
`pthread_create`, `pthread_join`, `pthread_sigmask`, `getpid` and `syscall` (futex), by name, at
load time. Where the target has no threads, `kc_parallel` is a plain call.

How it works. The caller owns the memory of the pool: a header, and for each worker a slot of two
cache lines. A slot has one state word, and every hand-off is one exchange on that word:

    IDLE  --caller-->  WORK  --worker-->  IDLE
    IDLE  --worker-->  PARKED             the worker has spun in vain and sleeps on the word
    WORK  --caller-->  AWAITED            the caller has spun in vain and sleeps on the word
    any   --stop--->   STOP

A worker reads the job only while its word says WORK or AWAITED, and the caller leaves only when all
words it had set are IDLE again, so a job cannot change under a worker. Whoever exchanges PARKED or
AWAITED away wakes the sleeper. A second caller finds the pool busy and runs its whole range itself.
After a fork the child has no workers; it sees another process id than the one stored, and does the
same.
"""

from __future__ import annotations

from typing import Protocol

POOL_ABI = 1  # the layout of a pool's memory: pools are shared by modules that agree on it

STATUS_OK = 0
STATUS_NO_THREADS = 5  # kc_pool_start: the system gave no thread, or the target has none

_FUTEX = {"x86_64": 202, "aarch64": 98}
_PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.isb(i32)", "call void @llvm.aarch64.isb(i32 15)"),
}
_SPINS = {"x86_64": 20000, "aarch64": 40000}  # about a millisecond: to wake a thread takes 80 us

_LINE = 128  # two cache lines: neighbouring lines are fetched in pairs
_THREADS, _PID, _BUSY, _JOB, _SLOTS = 0, 4, _LINE, 2 * _LINE, 3 * _LINE
_SLOT_POOL, _SLOT_INDEX, _SLOT_THREAD = 8, 16, 24
_JOB_FIELDS = (("ptr", "fn"), ("ptr", "bufs"), ("i64", "n"), ("i64", "extent"),
               ("ptr", "scratch"), ("i64", "stride"), ("i64", "parts"))
_IDLE, _WORK, _AWAITED, _PARKED, _STOP = range(5)


class HasTriple(Protocol):
    """What the pool asks of a target."""

    @property
    def triple(self) -> str: ...


def has_threads(target: HasTriple) -> bool:
    """Whether the target has a pool of more than one thread: 64-bit Linux."""
    return _architecture(target) in _FUTEX and "-linux" in target.triple


def pool_bytes(threads: int) -> int:
    """Bytes of a pool of so many threads, as `kc_pool_size` returns."""
    return _SLOTS + _LINE * max(threads, 1)


def pool_ir(target: HasTriple) -> str:
    """The pool's functions for a target, as the text of LLVM definitions (no triple, no layout).

        i64  kc_pool_size(i32 threads)               bytes, to be aligned to 64
        i32  kc_pool_start(ptr pool, i32 threads)    0, or a status code; threads counts the caller
        void kc_pool_stop(ptr pool)                  waits for the workers to end
        i32  kc_pool_threads(ptr pool)               1 for NULL
        void kc_parallel(ptr pool, ptr fn, ptr bufs, i64 n, i64 extent, i64 grain,
                         ptr scratch, i64 scratch_stride)

    fn is `void fn(ptr bufs, i64 n, i64 begin, i64 end, ptr scratch)`. Thread i of
    t = min(threads, extent / grain) gets [extent * i / t, extent * (i + 1) / t) and
    scratch + i * scratch_stride. The caller is thread 0.
    """
    if not has_threads(target):
        return _SERIAL
    architecture = _architecture(target)
    declare_pause, pause = _PAUSE[architecture]
    words = {
        "DECLARE_PAUSE": declare_pause, "PAUSE": pause, "FUTEX": _FUTEX[architecture],
        "SPINS": _SPINS[architecture], "LINE": _LINE, "SLOTS": _SLOTS, "THREADS": _THREADS,
        "PID": _PID, "BUSY": _BUSY, "JOB": _JOB, "SLOT_POOL": _SLOT_POOL,
        "SLOT_INDEX": _SLOT_INDEX, "SLOT_THREAD": _SLOT_THREAD, "IDLE": _IDLE, "WORK": _WORK,
        "AWAITED": _AWAITED, "PARKED": _PARKED, "STOP": _STOP, "OK": STATUS_OK,
        "NO_THREADS": STATUS_NO_THREADS, "LOAD_JOB": _job_fields("load"),
        "STORE_JOB": _job_fields("store"),
    }
    text = _PARTS + _WORKER + _START + _STOP_POOL + _PARALLEL
    for word in sorted(words, key=len, reverse=True):
        text = text.replace("$" + word, str(words[word]))
    return text


def _architecture(target: HasTriple) -> str:
    name = target.triple.split("-")[0]
    return {"arm64": "aarch64", "amd64": "x86_64"}.get(name, name)


def _job_fields(what: str) -> str:
    """Instructions that load or store all fields of a job, one 8-byte word each."""
    lines = []
    for index, (kind, name) in enumerate(_JOB_FIELDS):
        lines.append(f"  %job.{name} = getelementptr i8, ptr %job, i64 {8 * index}")
        lines.append(f"  %{name} = load {kind}, ptr %job.{name}, align 8" if what == "load" else
                     f"  store {kind} %{name}, ptr %job.{name}, align 8")
    return "\n".join(lines)


_SERIAL = """
define i64 @kc_pool_size(i32 %threads) { ret i64 64 }
define i32 @kc_pool_threads(ptr %pool) { ret i32 1 }
define i32 @kc_pool_start(ptr %pool, i32 %threads) {
  %many = icmp sgt i32 %threads, 1
  %status = select i1 %many, i32 5, i32 0
  ret i32 %status
}
define void @kc_pool_stop(ptr %pool) { ret void }
define void @kc_parallel(ptr %pool, ptr %fn, ptr %bufs, i64 %n, i64 %extent, i64 %grain,
                         ptr %scratch, i64 %stride) {
  call void %fn(ptr %bufs, i64 %n, i64 0, i64 %extent, ptr %scratch)
  ret void
}
"""

_PARTS = """
$DECLARE_PAUSE
declare i64 @syscall(i64, ...)
declare i32 @getpid()
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define i64 @kc_pool_size(i32 %threads) {
  %some = icmp sgt i32 %threads, 1
  %count = select i1 %some, i32 %threads, i32 1
  %wide = zext i32 %count to i64
  %slots = mul i64 %wide, $LINE
  %size = add i64 %slots, $SLOTS
  ret i64 %size
}

define i32 @kc_pool_threads(ptr %pool) {
  %none = icmp eq ptr %pool, null
  br i1 %none, label %alone, label %read
alone:
  ret i32 1
read:
  %threads = load atomic i32, ptr %pool monotonic, align 8
  ret i32 %threads
}

define internal ptr @kc_pool_slot(ptr %pool, i64 %i) alwaysinline {
  %bytes = mul i64 %i, $LINE
  %offset = add i64 %bytes, $SLOTS
  %slot = getelementptr i8, ptr %pool, i64 %offset
  ret ptr %slot
}

define internal void @kc_pool_sleep(ptr %word, i32 %value) noinline {
  call i64 (i64, ...) @syscall(i64 $FUTEX, ptr %word, i32 128, i32 %value, ptr null)
  ret void
}

define internal void @kc_pool_wake(ptr %word) noinline {
  call i64 (i64, ...) @syscall(i64 $FUTEX, ptr %word, i32 129, i32 1)
  ret void
}

define internal void @kc_pool_part(ptr %job, i64 %i) noinline {
$LOAD_JOB
  %from = mul i64 %extent, %i
  %begin = udiv i64 %from, %parts
  %next = add i64 %i, 1
  %to = mul i64 %extent, %next
  %end = udiv i64 %to, %parts
  %offset = mul i64 %stride, %i
  %mine = getelementptr i8, ptr %scratch, i64 %offset
  call void %fn(ptr %bufs, i64 %n, i64 %begin, i64 %end, ptr %mine)
  ret void
}
"""

_WORKER = """
define internal ptr @kc_pool_worker(ptr %slot) {
entry:
  %pool.at = getelementptr i8, ptr %slot, i64 $SLOT_POOL
  %pool = load ptr, ptr %pool.at, align 8
  %index.at = getelementptr i8, ptr %slot, i64 $SLOT_INDEX
  %index = load i64, ptr %index.at, align 8
  %job = getelementptr i8, ptr %pool, i64 $JOB
  br label %look
look:
  %spins = phi i32 [ 0, %entry ], [ %more, %spin ], [ %more, %park ], [ 0, %work ], [ 0, %wake ]
  %state = load atomic i32, ptr %slot acquire, align 8
  switch i32 %state, label %spin [ i32 $WORK, label %work
                                   i32 $AWAITED, label %work
                                   i32 $STOP, label %leave ]
spin:
  $PAUSE
  %more = add i32 %spins, 1
  %tired = icmp uge i32 %more, $SPINS
  br i1 %tired, label %park, label %look
park:                                   ; sleeps only if the word says PARKED when it gets there
  cmpxchg ptr %slot, i32 $IDLE, i32 $PARKED acq_rel acquire, align 8
  call void @kc_pool_sleep(ptr %slot, i32 $PARKED)
  br label %look
work:
  call void @kc_pool_part(ptr %job, i64 %index)
  %was = atomicrmw xchg ptr %slot, i32 $IDLE acq_rel, align 8
  %awaited = icmp eq i32 %was, $AWAITED
  br i1 %awaited, label %wake, label %look
wake:
  call void @kc_pool_wake(ptr %slot)
  br label %look
leave:
  ret ptr null
}
"""

# Workers are created with all signals blocked: signals belong to the threads of the host program.
_START = """
define i32 @kc_pool_start(ptr %pool, i32 %threads) {
entry:
  %all = alloca [16 x i64], align 16
  %old = alloca [16 x i64], align 16
  %bytes = call i64 @kc_pool_size(i32 %threads)
  call void @llvm.memset.p0.i64(ptr %pool, i8 0, i64 %bytes, i1 false)
  store i32 1, ptr %pool, align 8
  %pid = call i32 @getpid()
  %pid.at = getelementptr i8, ptr %pool, i64 $PID
  store i32 %pid, ptr %pid.at, align 4
  %alone = icmp slt i32 %threads, 2
  br i1 %alone, label %good, label %begin
begin:
  call void @llvm.memset.p0.i64(ptr %all, i8 -1, i64 128, i1 false)
  %masked = call i32 @pthread_sigmask(i32 2, ptr %all, ptr %old)
  br label %each
each:
  %i = phi i32 [ 1, %begin ], [ %next, %made ]
  %wide = zext i32 %i to i64
  %slot = call ptr @kc_pool_slot(ptr %pool, i64 %wide)
  %pool.at = getelementptr i8, ptr %slot, i64 $SLOT_POOL
  store ptr %pool, ptr %pool.at, align 8
  %index.at = getelementptr i8, ptr %slot, i64 $SLOT_INDEX
  store i64 %wide, ptr %index.at, align 8
  %thread.at = getelementptr i8, ptr %slot, i64 $SLOT_THREAD
  %failed = call i32 @pthread_create(ptr %thread.at, ptr null, ptr @kc_pool_worker, ptr %slot)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %made, label %finish
made:
  %next = add i32 %i, 1
  store i32 %next, ptr %pool, align 8
  %done = icmp eq i32 %next, %threads
  br i1 %done, label %finish, label %each
finish:
  call i32 @pthread_sigmask(i32 2, ptr %old, ptr null)
  br i1 %ok, label %good, label %bad
good:
  ret i32 $OK
bad:
  call void @kc_pool_stop(ptr %pool)
  ret i32 $NO_THREADS
}
"""

# A stopped pool stays busy: a late caller of kc_parallel runs serially.
_STOP_POOL = """
define void @kc_pool_stop(ptr %pool) {
entry:
  %none = icmp eq ptr %pool, null
  br i1 %none, label %out, label %check
check:
  %threads = load atomic i32, ptr %pool monotonic, align 8
  %pid.at = getelementptr i8, ptr %pool, i64 $PID
  %pid = load i32, ptr %pid.at, align 4
  %here = call i32 @getpid()
  %same = icmp eq i32 %pid, %here
  %some = icmp sgt i32 %threads, 1
  %stop = and i1 %same, %some
  %busy.at = getelementptr i8, ptr %pool, i64 $BUSY
  br i1 %stop, label %take, label %out
take:
  %was = atomicrmw xchg ptr %busy.at, i32 1 acq_rel, align 8
  %free = icmp eq i32 %was, 0
  br i1 %free, label %first, label %again
again:
  $PAUSE
  br label %take
first:
  store atomic i32 1, ptr %pool monotonic, align 8
  br label %each
each:
  %i = phi i32 [ 1, %first ], [ %next, %join ]
  %wide = zext i32 %i to i64
  %slot = call ptr @kc_pool_slot(ptr %pool, i64 %wide)
  %state = atomicrmw xchg ptr %slot, i32 $STOP acq_rel, align 8
  %parked = icmp eq i32 %state, $PARKED
  br i1 %parked, label %wake, label %join
wake:
  call void @kc_pool_wake(ptr %slot)
  br label %join
join:
  %thread.at = getelementptr i8, ptr %slot, i64 $SLOT_THREAD
  %thread = load i64, ptr %thread.at, align 8
  call i32 @pthread_join(i64 %thread, ptr null)
  %next = add i32 %i, 1
  %done = icmp eq i32 %next, %threads
  br i1 %done, label %out, label %each
out:
  ret void
}
"""

_PARALLEL = """
define void @kc_parallel(ptr %pool, ptr %fn, ptr %bufs, i64 %n, i64 %extent, i64 %grain,
                         ptr %scratch, i64 %stride) {
entry:
  %none = icmp eq ptr %pool, null
  br i1 %none, label %serial, label %count
count:
  %threads = load atomic i32, ptr %pool monotonic, align 8
  %threads.wide = zext i32 %threads to i64
  %least = call i64 @llvm.umax.i64(i64 %grain, i64 1)
  %grains = udiv i64 %extent, %least
  %parts = call i64 @llvm.umin.i64(i64 %threads.wide, i64 %grains)
  %few = icmp ult i64 %parts, 2
  br i1 %few, label %serial, label %home
home:
  %pid.at = getelementptr i8, ptr %pool, i64 $PID
  %pid = load i32, ptr %pid.at, align 4
  %here = call i32 @getpid()
  %same = icmp eq i32 %pid, %here
  %busy.at = getelementptr i8, ptr %pool, i64 $BUSY
  br i1 %same, label %take, label %serial
take:
  %taken = cmpxchg ptr %busy.at, i32 0, i32 1 acq_rel acquire, align 8
  %mine = extractvalue { i32, i1 } %taken, 1
  br i1 %mine, label %publish, label %serial
serial:
  call void %fn(ptr %bufs, i64 %n, i64 0, i64 %extent, ptr %scratch)
  ret void
publish:
  %job = getelementptr i8, ptr %pool, i64 $JOB
$STORE_JOB
  br label %give
give:
  %i = phi i64 [ 1, %publish ], [ %i.next, %given ]
  %slot = call ptr @kc_pool_slot(ptr %pool, i64 %i)
  %was = atomicrmw xchg ptr %slot, i32 $WORK acq_rel, align 8
  %parked = icmp eq i32 %was, $PARKED
  br i1 %parked, label %wake, label %given
wake:
  call void @kc_pool_wake(ptr %slot)
  br label %given
given:
  %i.next = add i64 %i, 1
  %all = icmp eq i64 %i.next, %parts
  br i1 %all, label %own, label %give
own:
  call void @kc_pool_part(ptr %job, i64 0)
  br label %await
await:
  %k = phi i64 [ 1, %own ], [ %k.next, %finished ]
  %other = call ptr @kc_pool_slot(ptr %pool, i64 %k)
  br label %look
look:
  %spins = phi i32 [ 0, %await ], [ %more, %spin ], [ %more, %sleep ]
  %state = load atomic i32, ptr %other acquire, align 8
  switch i32 %state, label %finished [ i32 $WORK, label %spin
                                       i32 $AWAITED, label %spin ]
spin:
  $PAUSE
  %more = add i32 %spins, 1
  %tired = icmp uge i32 %more, $SPINS
  br i1 %tired, label %sleep, label %look
sleep:
  cmpxchg ptr %other, i32 $WORK, i32 $AWAITED acq_rel acquire, align 8
  call void @kc_pool_sleep(ptr %other, i32 $AWAITED)
  br label %look
finished:
  %k.next = add i64 %k, 1
  %none.left = icmp eq i64 %k.next, %parts
  br i1 %none.left, label %release, label %await
release:
  store atomic i32 0, ptr %busy.at release, align 8
  ret void
}
"""

"""The native thread pool, seen from Python: one per process and number of threads.

Enters: addresses of the pool's native functions (any module of the same pool layout has them) and a
number of threads. Leaves: a `Pool`, whose pointer native entries take. Pools are shared by all
programs, and stopped when Python exits.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import warnings
import weakref
from dataclasses import dataclass
from typing import Any

from kcompile_runtime.arrays import address, aligned
from kcompile_runtime.checks import check_count
from kcompile_runtime.errors import InputError, describe
from kcompile_runtime.processors import usable_processors

MAX_THREADS = 4096


@dataclass(frozen=True)
class PoolFunctions:
    """Addresses of kc_pool_size, kc_pool_start and kc_pool_stop; abi: the layout of a pool.
    owner: what keeps the code alive."""

    size: int
    start: int
    stop: int
    abi: int
    owner: object


class Pool:
    """A started pool. `pointer` is what native entries take, None for one thread."""

    def __init__(self, functions: PoolFunctions, threads: int) -> None:
        self.threads = 1
        self.pointer: int | None = None
        self._functions = functions  # the workers run its code
        size = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int32)(functions.size)
        start = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32)(functions.start)
        self._stop = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(functions.stop)
        if threads == 1 or size(threads) == size(1):  # the second: a target without threads
            return
        self._memory = aligned(size(threads))
        status = start(address(self._memory), threads)
        if status:
            warnings.warn(
                f"the system gave no {threads} threads (status {status}); computing with one",
                RuntimeWarning,
                stacklevel=4,
            )
            return
        self.threads = threads
        self.pointer = address(self._memory)

    def stop(self) -> None:
        """End the workers. Native code that still uses the pool then runs on its own thread."""
        if self.pointer is not None:
            self._stop(self.pointer)


_pools: dict[tuple[int, int, int], Pool] = {}


class ForkLock:
    """A lock that one thread may take several times, and that is free in the child of a fork, whatever
    thread of the parent held it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _fork_locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """A lock that nobody holds: for the child of a fork."""
        self._lock = threading.RLock()


_fork_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()
_lock = ForkLock()


def _renew_locks() -> None:
    for lock in list(_fork_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def check_threads(name: str, threads: Any) -> int | None:
    """A number of threads, None for the default. Raises InputError below 1 and above MAX_THREADS."""
    if threads is None or check_count(name, threads) <= MAX_THREADS:
        return None if threads is None else int(threads)
    raise InputError(describe(name, f"from 1 to {MAX_THREADS}", str(threads)))


def shared_pool(functions: PoolFunctions, threads: int | None) -> Pool:
    """The pool of this process with so many threads (default: `default_threads()`). Raises
    InputError for a number below 1 or above MAX_THREADS."""
    count = check_threads("threads", threads) or default_threads()
    # A child of a fork has another process id, and starts pools of its own.
    key = (os.getpid(), count, functions.abi)
    with _lock:
        if key not in _pools:
            _pools[key] = Pool(functions, count)
        return _pools[key]


@atexit.register
def _stop_all() -> None:
    """Workers must be gone before the code they run and the memory they watch are."""
    for (pid, _, _), pool in _pools.items():
        if pid == os.getpid():
            pool.stop()


def default_threads() -> int:
    """The number that the environment variable KC_THREADS gives, else how many processors this process
    may use. Raises InputError when the variable is no positive number."""
    wanted = os.environ.get("KC_THREADS", "").strip()
    if not wanted:
        return usable_processors()
    if not wanted.isdecimal() or not 1 <= int(wanted) <= MAX_THREADS:
        raise InputError(describe("KC_THREADS", f"a whole number from 1 to {MAX_THREADS}", repr(wanted)))
    return int(wanted)

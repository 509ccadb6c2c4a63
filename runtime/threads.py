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
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from kcompile_runtime.arrays import address, aligned
from kcompile_runtime.errors import InputError, describe


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
            warnings.warn(f"the system gave no {threads} threads (status {status}); "
                          "computing with one", RuntimeWarning, stacklevel=4)
            return
        self.threads = threads
        self.pointer = address(self._memory)

    def stop(self) -> None:
        """End the workers. Native code that still uses the pool then runs on its own thread."""
        if self.pointer is not None:
            self._stop(self.pointer)


_pools: dict[tuple[int, int, int], Pool] = {}
_lock = threading.Lock()


def shared_pool(functions: PoolFunctions, threads: int | None) -> Pool:
    """The pool of this process with so many threads (default: `default_threads()`). Raises
    InputError for a number below 1."""
    count = default_threads() if threads is None else threads
    if count < 1:
        raise InputError(describe("threads", "at least 1", str(count)))
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
    """How many processors this process may use, no more than KCOMPILE_THREADS says. Raises
    InputError when that is not a positive number."""
    usable = _usable_processors()
    cap = os.environ.get("KCOMPILE_THREADS", "")
    if not cap:
        return usable
    if not cap.isdecimal() or int(cap) < 1:
        raise InputError(describe("KCOMPILE_THREADS", "a positive number", repr(cap)))
    return min(usable, int(cap))


@lru_cache(maxsize=1)
def _usable_processors() -> int:
    """The affinity mask, cut to the quota that a container may have (cgroup v2 `cpu.max`)."""
    allowed: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    count = len(allowed(0)) if allowed else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        if quota != "max":
            count = min(count, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return max(count, 1)

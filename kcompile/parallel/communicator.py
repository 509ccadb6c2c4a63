"""Processes that compute together ("ranks"): the five calls of a communicator, over MPI, and alone.

Enters: arrays of numbers. Leaves: their sums over all ranks, or one rank's array. Sums are made in the order
of ranks, whatever the library underneath does: one world size gives the same bits in every run, on every
rank. A large array is summed in parts, one by each rank, so that a rank sends and receives 2 (p - 1) / p
times its bytes; a small one is sent whole to all, in one exchange.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from kcompile_runtime.arrays import Array
from kcompile_runtime.errors import ExtraError, RankError

SMALL = 1 << 14  # bytes up to which an array goes whole to all ranks
BLOCK = 1 << 28  # bytes that are summed at once: MPI counts in 32 bits
PATIENCE = 1800.0  # seconds


class Communicator(Protocol):
    """What ranks say to each other. rank: of this process, from 0; size: how many there are. All ranks make
    the same calls in the same order.

    allreduce: each element of a C-contiguous array becomes its sum over all ranks, in place. broadcast: the
    array becomes rank 0's, in place. abort: print a message and end all ranks, at once.
    """

    @property
    def rank(self) -> int:
        """Of this process, from 0."""

    @property
    def size(self) -> int:
        """How many processes there are."""

    def allreduce(self, array: Array) -> None:
        """Sum over all ranks, in place."""

    def broadcast(self, array: Array) -> None:
        """Rank 0's array, in place."""

    def abort(self, message: str) -> None:
        """End all ranks."""


class Ordered:
    """A communicator of two exchanges: `_all_to_all` [p, n] -> [p, n], where row r goes to rank r, and
    `_all_gather` [n] -> [p, n]."""

    rank = 0
    size = 1

    def _all_to_all(self, array: Array) -> Array:
        raise NotImplementedError

    def _all_gather(self, array: Array) -> Array:
        raise NotImplementedError

    def allreduce(self, array: Array) -> None:
        """See `Communicator`."""
        if self.size == 1:
            return
        flat = array.reshape(-1)
        step = max(BLOCK // array.itemsize, 1)
        for start in range(0, len(flat), step):
            self._sum(flat[start : start + step])

    def _sum(self, part: Array) -> None:
        if part.nbytes <= SMALL:
            part[...] = in_order(self._all_gather(part))
            return
        each = -(-len(part) // self.size)
        rows = part
        if each * self.size != len(part):
            rows = np.zeros(each * self.size, part.dtype)
            rows[: len(part)] = part
        total = in_order(self._all_to_all(rows.reshape(self.size, each)))
        part[...] = self._all_gather(total).reshape(-1)[: len(part)]


def in_order(parts: Array) -> Array:
    """The sum of rows [p, n], one after the other."""
    total: Array = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


class Alone(Ordered):
    """One process."""

    def broadcast(self, array: Array) -> None:
        """Nothing to do."""

    def abort(self, message: str) -> None:
        """Print the message and end."""
        print(message, file=sys.stderr, flush=True)
        raise SystemExit(1)


class MpiCommunicator(Ordered):
    """Ranks of MPI, by mpi4py (extra `mpi`). comm: of mpi4py; by default a copy of COMM_WORLD, which is all
    processes that `mpiexec -n` started. patience: seconds to wait for others in a call, after which it raises
    RankError. Raises ExtraError where mpi4py or the library of MPI is not there."""

    def __init__(self, comm: Any = None, patience: float = PATIENCE) -> None:
        self._mpi = mpi()
        self._comm = self._mpi.COMM_WORLD.Dup() if comm is None else comm
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        self.patience = patience

    @property
    def neighbours(self) -> int:
        """How many ranks are on this machine."""
        local = self._comm.Split_type(self._mpi.COMM_TYPE_SHARED)
        count: int = local.Get_size()
        local.Free()
        return count

    def _all_to_all(self, array: Array) -> Array:
        received = np.empty_like(array)
        self._wait(self._comm.Ialltoall(self._bytes(array), self._bytes(received)), "a sum")
        return received

    def _all_gather(self, array: Array) -> Array:
        received = np.empty((self.size, *array.shape), array.dtype)
        self._wait(self._comm.Iallgather(self._bytes(array), self._bytes(received)), "a sum")
        return received

    def broadcast(self, array: Array) -> None:
        """See `Communicator`."""
        flat = array.reshape(-1).view(np.uint8)
        for start in range(0, len(flat), BLOCK):
            part = flat[start : start + BLOCK]
            self._wait(self._comm.Ibcast([part, self._mpi.BYTE], 0), "what rank 0 sends")

    def abort(self, message: str) -> None:
        """See `Communicator`."""
        print(message, file=sys.stderr, flush=True)
        sys.stdout.flush()
        self._comm.Abort(1)

    def _bytes(self, array: Array) -> Any:
        return [array.reshape(-1).view(np.uint8), self._mpi.BYTE]

    def _wait(self, request: Any, what: str) -> None:
        """Wait without keeping a processor from ranks that share it."""
        begin, tries = time.perf_counter(), 0
        while not request.Test():
            tries += 1
            if tries < 200:
                os.sched_yield() if hasattr(os, "sched_yield") else time.sleep(0)
                continue
            waited = time.perf_counter() - begin
            if waited > self.patience:
                raise RankError(
                    f"rank {self.rank} of {self.size} waited {waited:.0f} s for the others in {what}: "
                    "they compute still, or ended, or make other calls"
                )
            time.sleep(2e-5 if waited < 0.01 else 5e-4)


def mpi() -> Any:
    """The module MPI of mpi4py. Raises ExtraError."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ExtraError(
            f'mpi4py cannot be imported ({error}): pip install "kcompile[mpi]", which brings MPICH too'
        ) from error
    return MPI


def share_objects(comm: Communicator, value: Any) -> list[Any]:
    """What each rank gave, by rank: pickled, between processes of one job."""
    if comm.size == 1:
        return [value]
    data = np.frombuffer(pickle.dumps(value), np.uint8)
    sizes = np.zeros(comm.size, np.int64)
    sizes[comm.rank] = len(data)
    comm.allreduce(sizes)
    ends = np.cumsum(sizes)
    every = np.zeros(int(ends[-1]), np.uint8)
    every[ends[comm.rank] - len(data) : ends[comm.rank]] = data
    comm.allreduce(every)
    return [pickle.loads(every[end - size : end].tobytes()) for end, size in zip(ends, sizes)]


def broadcast_object(comm: Communicator, value: Any) -> Any:
    """What rank 0 gave."""
    if comm.size == 1:
        return value
    data = np.frombuffer(pickle.dumps(value if comm.rank == 0 else None), np.uint8).copy()
    size = np.array([len(data)], np.int64)
    comm.broadcast(size)
    if comm.rank:
        data = np.empty(int(size[0]), np.uint8)
    comm.broadcast(data)
    return value if comm.rank == 0 else pickle.loads(data.tobytes())


class Threads:
    """Ranks that are threads of this process: for tests of what goes over a communicator. size: how many."""

    def __init__(self, size: int, patience: float = 60.0) -> None:
        self.size, self.patience = size, patience
        self.barrier = threading.Barrier(size)
        self.slots: list[Any] = [None] * size
        self.aborted: list[str] = []

    def exchanged(self, rank: int, value: Any) -> list[Any]:
        """What all threads gave, by rank."""
        try:
            self.slots[rank] = value
            self.barrier.wait(self.patience)
            found = list(self.slots)
            self.barrier.wait(self.patience)
        except threading.BrokenBarrierError:
            said = "; ".join(self.aborted) or "they do not answer"
            raise RankError(f"rank {rank} of {self.size} is left alone: {said}") from None
        return found

    def run(self, function: Callable[[Communicator], Any]) -> list[Any]:
        """What a function gives on each rank; an exception in its place."""
        results: list[Any] = [None] * self.size

        def work(rank: int) -> None:
            try:
                results[rank] = function(ThreadCommunicator(self, rank))
            except BaseException as error:
                results[rank] = error

        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


class ThreadCommunicator(Ordered):
    """One of `Threads`."""

    def __init__(self, group: Threads, rank: int) -> None:
        self._group, self.rank, self.size = group, rank, group.size

    def _all_to_all(self, array: Array) -> Array:
        return np.stack([other[self.rank] for other in self._group.exchanged(self.rank, array.copy())])

    def _all_gather(self, array: Array) -> Array:
        return np.stack(self._group.exchanged(self.rank, array.copy()))

    def broadcast(self, array: Array) -> None:
        """See `Communicator`."""
        array[...] = self._group.exchanged(self.rank, array.copy())[0]

    def abort(self, message: str) -> None:
        """Raises RankError in all threads that wait."""
        self._group.aborted.append(message)
        self._group.barrier.abort()

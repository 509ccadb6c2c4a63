"""Blocks, threads and barriers on numpy arrays: the meaning of a schedule for graphics processors.

What enters: a `DeviceFunction` and its buffers, or an entry of a program and its memory. What leaves: the
buffers, changed in place, with the bits that a device gives. The threads of a block go through the code
together and blocks one after the other, so what is missing in a schedule would not show in the numbers.
Instead accesses are recorded: of shared memory, and of all memory that a kernel writes, whichever
buffers lie there. A `RaceError` tells of two threads that meet without a barrier between them (threads
of two blocks always do), of memory that is read before anything was written there, and of a barrier
that not all threads reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile.codegen import loops
from kcompile.codegen.gpu.device import DeviceFunction
from kcompile.codegen.loops import FLOATS, Buffer, Stmt
from kcompile.codegen.loops.evaluate import Values
from kcompile.codegen.program import Entry, Launch, Ref, Repeat

NOBODY, MANY = -1, -2
UNWRITTEN = "is read before it is written"
MOST_BLOCKS, MOST_THREADS = 2**31 - 1, 1024


class RaceError(RuntimeError):
    """The result would depend on timing."""


def run(function: DeviceFunction, buffers: Sequence[np.ndarray], n: int = 1) -> None:
    """Execute a kernel for a batch of n on flat arrays, one for each parameter, which it changes.

    Raises IndexError for an access outside a buffer, RaceError for one that depends on timing or a
    barrier that not all threads reach, ValueError for what no device launches.
    """
    names = {"n": n}
    memory = dict(zip(function.buffers, buffers))
    for buffer, array in memory.items():
        if array.ctypes.data % array.itemsize:
            raise ValueError(f"{function.name}: {buffer.name} is not aligned to its elements")
    watched = _watched(function, memory)
    (grid,) = function.body
    assert isinstance(grid, loops.For) and grid.kind == "grid"
    (block,) = grid.body
    assert isinstance(block, loops.For) and block.kind == "block"
    with np.errstate(all="ignore"):
        count = int(Values(dict(names), {}).value(grid.stop))
        if count != function.grid.blocks(n):
            raise ValueError(f"{function.name}: {count} blocks, its launch has {function.grid.blocks(n)}")
        if count > MOST_BLOCKS or function.grid.threads > MOST_THREADS:
            raise ValueError(f"{function.name}: {count} blocks of {function.grid.threads} threads")
        for number in range(count):
            threads = _Block(function, memory, watched, number)
            threads.run(
                block.body, {**names, grid.var.name: number, block.var.name: np.arange(function.grid.threads)}
            )


class _PrivateCells:
    """Which cells of memory that no two threads share hold anything."""

    def __init__(self, size: int) -> None:
        self.filled = np.zeros(size, bool)

    def read(self, at: np.ndarray, threads: np.ndarray, block: int, epoch: int) -> str:
        """What is wrong with these threads' reading, "" for nothing."""
        return "" if self.filled[at].all() else UNWRITTEN

    def write(self, at: np.ndarray, threads: np.ndarray, block: int, epoch: int) -> str:
        self.filled[at] = True
        return ""


class _SharedCells:
    """Who touched each cell of a piece of memory, in which block, and after how many of its barriers.
    filled: whether anything is there; None where there always is."""

    def __init__(self, size: int, filled: bool) -> None:
        self.filled = None if filled else np.zeros(size, bool)
        self.block, self.epoch, self.thread = (
            {way: np.full(size, NOBODY) for way in ("read", "write")} for _ in range(3)
        )

    def clear(self, way: str, at: np.ndarray, threads: np.ndarray, block: int, epoch: int) -> np.ndarray:
        """For each cell, whether nobody else touched it in this way, but for threads of this block
        before its last barrier."""
        was = self.block[way][at]
        apart = (self.epoch[way][at] < epoch) | (self.thread[way][at] == threads)
        return np.asarray((was == NOBODY) | ((was == block) & apart))

    def note(self, way: str, at: np.ndarray, threads: np.ndarray, block: int, epoch: int) -> None:
        was = self.block[way][at]
        others = (was == block) & (self.epoch[way][at] == epoch) & (self.thread[way][at] != threads)
        self.block[way][at] = np.where((was == NOBODY) | (was == block), block, MANY)
        self.epoch[way][at] = epoch
        self.thread[way][at] = threads
        shared = others | (self.thread[way][at] != threads)  # by threads of the same access
        self.thread[way][at[shared]] = MANY

    def read(self, at: np.ndarray, threads: np.ndarray, block: int, epoch: int) -> str:
        """What is wrong with these threads' reading, "" for nothing."""
        if self.filled is not None and not self.filled[at].all():
            return UNWRITTEN
        fine = self.clear("write", at, threads, block, epoch)
        self.note("read", at, threads, block, epoch)
        return "" if fine.all() else "is read before a barrier"

    def write(self, at: np.ndarray, threads: np.ndarray, block: int, epoch: int) -> str:
        if self.filled is not None:
            self.filled[at] = True
        alone = len(np.unique(at)) == len(at)
        if not alone or not self.clear("write", at, threads, block, epoch).all():
            return "is written twice"
        fine = self.clear("read", at, threads, block, epoch)
        self.note("write", at, threads, block, epoch)
        return "" if fine.all() else "is written before a barrier, after others read it"


@dataclass(frozen=True)
class _Watch:
    """Where a buffer lies in a piece of memory: its first cell, and cells for each element."""

    touches: _PrivateCells | _SharedCells
    first: int
    width: int

    def cells(self, at: np.ndarray, threads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.width == 1:
            return at + self.first, threads
        cells = self.first + at[:, None] * self.width + np.arange(self.width)
        return cells.ravel(), np.repeat(threads, self.width)


def _watched(function: DeviceFunction, memory: Mapping[Buffer, np.ndarray]) -> dict[Buffer, _Watch]:
    """A watch on each parameter that shares memory with one that is written, itself included."""
    changed = loops.written(function.body)
    spans = sorted(
        (a.ctypes.data, a.ctypes.data + a.nbytes, i) for i, a in enumerate(memory.values()) if a.size
    )
    pieces: list[tuple[int, list[int]]] = []
    for start, stop, i in spans:
        if pieces and start < pieces[-1][0]:
            pieces[-1] = (max(pieces[-1][0], stop), [*pieces[-1][1], i])
        else:
            pieces.append((stop, [i]))
    out: dict[Buffer, _Watch] = {}
    buffers = list(memory)
    for stop, numbers in pieces:
        members = [buffers[i] for i in numbers]
        if changed.isdisjoint(members):
            continue
        cell = min(memory[x].itemsize for x in members)
        begin = memory[members[0]].ctypes.data
        touches = _SharedCells((stop - begin) // cell, True)
        for x in members:
            out[x] = _Watch(touches, (memory[x].ctypes.data - begin) // cell, memory[x].itemsize // cell)
    return out


class _Block:
    """One block of threads."""

    def __init__(
        self,
        function: DeviceFunction,
        memory: Mapping[Buffer, np.ndarray],
        watched: Mapping[Buffer, _Watch],
        number: int,
    ) -> None:
        self.function, self.number, self.epoch = function, number, 0
        self.threads = np.arange(function.grid.threads)
        self.memory = dict(memory)
        self.watched = dict(watched)

    def run(self, body: Sequence[Stmt], names: dict[str, Any]) -> None:
        self.statements(body, names, np.ones(len(self.threads), bool))

    def statements(self, body: Sequence[Stmt], names: dict[str, Any], active: np.ndarray) -> None:
        names = dict(names)
        for s in body:
            values = _ThreadValues(self, names, active)
            if isinstance(s, loops.Let):
                names[s.var.name] = values.value(s.value)
            elif isinstance(s, loops.Store):
                self.store(s, values, active)
            elif isinstance(s, loops.Alloc):
                self.alloc(s.buffer)
            elif isinstance(s, loops.Barrier):
                if not active.all():
                    raise RaceError(f"{self.function.name}: a barrier that not all threads reach")
                self.epoch += 1
            elif isinstance(s, loops.If):
                condition = self.spread(values.value(s.condition))
                for side, chosen in ((s.then, active & condition), (s.otherwise, active & ~condition)):
                    if side and chosen.any():
                        self.statements(side, names, chosen)
            else:
                self.loop(s, values, names, active)

    def spread(self, value: Any) -> np.ndarray:
        """A value for each thread."""
        if isinstance(value, np.ndarray) and value.shape == self.threads.shape:
            return value
        return np.broadcast_to(value, self.threads.shape)

    def loop(self, s: loops.For, values: _ThreadValues, names: dict[str, Any], active: np.ndarray) -> None:
        at, stop = self.spread(values.value(s.start)), self.spread(values.value(s.stop))
        while (going := active & (at < stop)).any():
            self.statements(s.body, {**names, s.var.name: at}, going)
            at = at + s.step

    def alloc(self, buffer: Buffer) -> None:
        shared = buffer.space == "shared"
        size = buffer.size if shared else buffer.size * len(self.threads)
        fill = np.nan if buffer.dtype in FLOATS else -1
        self.memory[buffer] = np.full(size, fill).astype(buffer.dtype)
        self.watched[buffer] = _Watch(_SharedCells(size, False) if shared else _PrivateCells(size), 0, 1)

    def place(self, buffer: Buffer, index: Any, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(element numbers, the threads that want them), for active threads."""
        threads = self.threads[active]
        at = self.spread(index)[active]
        private = buffer.space in ("stack", "register")
        size = buffer.size if private else self.memory[buffer].size
        if at.size and (at.min() < 0 or at.max() >= size):
            raise IndexError(
                f"{self.function.name}: {buffer.name}: elements {at.min()} to {at.max()} of {size}"
            )
        return (at + threads * size if private else at), threads

    def store(self, s: loops.Store, values: _ThreadValues, active: np.ndarray) -> None:
        if s.mask is not None:
            active = active & self.spread(values.value(s.mask))
        at, threads = self.place(s.buffer, values.value(s.index), active)
        self.memory[s.buffer][at] = self.spread(values.value(s.value))[active]
        self.touch("write", s.buffer, at, threads)

    def touch(self, way: str, buffer: Buffer, at: np.ndarray, threads: np.ndarray) -> None:
        watch = self.watched.get(buffer)
        if watch is not None:
            touched = watch.touches.read if way == "read" else watch.touches.write
            wrong = touched(*watch.cells(at, threads), self.number, self.epoch)
            if wrong:
                raise RaceError(f"{self.function.name}: {buffer.name} {wrong}")


class _ThreadValues(Values):
    """Expressions of one statement, for all threads of a block at once."""

    def __init__(self, block: _Block, names: dict[str, Any], active: np.ndarray) -> None:
        super().__init__(names, block.memory)
        self.block, self.active = block, active

    def load(self, e: loops.Load) -> np.ndarray:
        block, active = self.block, self.active
        if e.mask is not None:
            active = active & block.spread(self.value(e.mask))
        at, threads = block.place(e.buffer, self.value(e.index), active)
        out = np.zeros(block.threads.shape, e.dtype)
        out[active] = block.memory[e.buffer][at]
        block.touch("read", e.buffer, at, threads)
        return out


# ---------------------------------------------------------------- entries


Memory = Mapping[str, Sequence[np.ndarray]]


def run_entry(entry: Entry, n: int, memory: Memory) -> None:
    """Execute all launches of an entry for a batch of n.

    memory: for each region its arrays, as bytes: those of "input", "output" and "variable" in order,
    one for "prepared" and for "constant". The arena is made here, full of NaN.
    """
    places = dict(memory)
    places["arena"] = [np.full(entry.arena.at(n), 0xFF, np.uint8)]
    for step in entry.steps:
        if isinstance(step, Repeat):
            for t in range(step.count):
                for launch in step.launches:
                    _launch(launch, n, t, places)
        else:
            _launch(step, n, 0, places)


def _launch(launch: Launch, n: int, t: int, memory: Memory) -> None:
    assert isinstance(launch.kernel, DeviceFunction)
    arrays = []
    for buffer, ref in zip(launch.kernel.buffers, launch.buffers):
        whole = memory[ref.region][ref.index]
        start = address(ref, n, t)
        width = np.dtype(buffer.dtype).itemsize
        stop = start + (len(whole) - start) // width * width
        arrays.append(whole[start:stop].view(buffer.dtype))
    run(launch.kernel, arrays, n)


def address(ref: Ref, n: int, t: int) -> int:
    """Bytes from the start of its region to a buffer, at step t of a repeat."""
    return ref.offset.at(n) + t * ref.step.at(n) + (t + ref.parity) % 2 * ref.alternate.at(n)

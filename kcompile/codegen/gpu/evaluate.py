"""Blocks, threads and barriers on numpy arrays: the meaning of a schedule for graphics processors.

What enters: a `DeviceFunction` and its buffers, or an entry of a program and its memory. What leaves: the
buffers, changed in place, with the bits that a device gives. The threads of a block, and of many blocks, go
through the code together, so what is missing in a schedule would not show in the numbers.
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
TOGETHER = 1 << 13  # threads that go through the code at once, at least those of a block


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
        at_once = max(1, TOGETHER // function.grid.threads)
        for first in range(0, count, at_once):
            blocks = _Blocks(function, memory, watched, np.arange(first, min(first + at_once, count)))
            numbers = {grid.var.name: blocks.number, block.var.name: blocks.lane % function.grid.threads}
            blocks.run(block.body, {**names, **numbers})


@dataclass(frozen=True)
class _Who:
    """The threads of an access, an element each: numbers in the launch, their blocks, and the barriers that
    these went through."""

    threads: np.ndarray
    blocks: np.ndarray
    epochs: np.ndarray

    def of_cells(self, width: int) -> _Who:
        """Each as often as an element has cells."""
        return _Who(*(np.repeat(x, width) for x in (self.threads, self.blocks, self.epochs)))


class _PrivateCells:
    """Which cells of memory that no two threads share hold anything."""

    def __init__(self, size: int) -> None:
        self.filled = np.zeros(size, bool)

    def read(self, at: np.ndarray, who: _Who) -> str:
        """What is wrong with these threads' reading, "" for nothing."""
        return "" if self.filled[at].all() else UNWRITTEN

    def write(self, at: np.ndarray, who: _Who) -> str:
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

    def clear(self, way: str, at: np.ndarray, who: _Who) -> np.ndarray:
        """For each cell, whether nobody else touched it in this way, but for threads of this block
        before its last barrier."""
        was = self.block[way][at]
        apart = (self.epoch[way][at] < who.epochs) | (self.thread[way][at] == who.threads)
        return np.asarray((was == NOBODY) | ((was == who.blocks) & apart))

    def note(self, way: str, at: np.ndarray, who: _Who) -> None:
        block, epoch, thread = self.block[way], self.epoch[way], self.thread[way]
        was = block[at]
        others = (was == who.blocks) & (epoch[at] == who.epochs) & (thread[at] != who.threads)
        block[at] = np.where((was == NOBODY) | (was == who.blocks), who.blocks, MANY)
        epoch[at], thread[at] = who.epochs, who.threads
        block[at[block[at] != who.blocks]] = MANY  # also blocks of the same access
        thread[at[others | (thread[at] != who.threads)]] = MANY  # also threads of the same access

    def read(self, at: np.ndarray, who: _Who) -> str:
        """What is wrong with these threads' reading, "" for nothing."""
        if self.filled is not None and not self.filled[at].all():
            return UNWRITTEN
        fine = self.clear("write", at, who)
        self.note("read", at, who)
        return "" if fine.all() else "is read before a barrier"

    def write(self, at: np.ndarray, who: _Who) -> str:
        if self.filled is not None:
            self.filled[at] = True
        alone = len(np.unique(at)) == len(at)
        if not alone or not self.clear("write", at, who).all():
            return "is written twice"
        fine = self.clear("read", at, who)
        self.note("write", at, who)
        return "" if fine.all() else "is written before a barrier, after others read it"


@dataclass(frozen=True)
class _Watch:
    """Where a buffer lies in a piece of memory: its first cell, and cells for each element."""

    touches: _PrivateCells | _SharedCells
    first: int
    width: int

    def cells(self, at: np.ndarray, who: _Who) -> tuple[np.ndarray, _Who]:
        if self.width == 1:
            return at + self.first, who
        cells = self.first + at[:, None] * self.width + np.arange(self.width)
        return cells.ravel(), who.of_cells(self.width)


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


class _Blocks:
    """Blocks of threads, all of whose threads go through the code together.

    lane: numbers of the threads here. number: of each thread's block in the launch. threads: of each thread
    in the launch. epochs: how many barriers each block went through.
    """

    def __init__(
        self,
        function: DeviceFunction,
        memory: Mapping[Buffer, np.ndarray],
        watched: Mapping[Buffer, _Watch],
        numbers: np.ndarray,
    ) -> None:
        self.function, self.count, self.size = function, len(numbers), function.grid.threads
        self.lane = np.arange(self.count * self.size)
        self.number = np.repeat(numbers, self.size)
        self.threads = self.lane + numbers[0] * self.size
        self.epochs = np.zeros(self.count, int)
        self.memory = dict(memory)
        self.watched = dict(watched)

    def run(self, body: Sequence[Stmt], names: dict[str, Any]) -> None:
        self.statements(body, names, np.ones(len(self.lane), bool))

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
                self.barrier(active)
            elif isinstance(s, loops.If):
                condition = self.spread(values.value(s.condition))
                for side, chosen in ((s.then, active & condition), (s.otherwise, active & ~condition)):
                    if side and chosen.any():
                        self.statements(side, names, chosen)
            else:
                self.loop(s, values, names, active)

    def barrier(self, active: np.ndarray) -> None:
        """Of the blocks whose threads are here."""
        here = active.reshape(self.count, self.size)
        reached = here.all(1)
        if not np.array_equal(reached, here.any(1)):
            raise RaceError(f"{self.function.name}: a barrier that not all threads reach")
        self.epochs += reached

    def spread(self, value: Any) -> np.ndarray:
        """A value for each thread."""
        if isinstance(value, np.ndarray) and value.shape == self.lane.shape:
            return value
        return np.broadcast_to(value, self.lane.shape)

    def loop(self, s: loops.For, values: _ThreadValues, names: dict[str, Any], active: np.ndarray) -> None:
        at, stop = self.spread(values.value(s.start)), self.spread(values.value(s.stop))
        while (going := active & (at < stop)).any():
            self.statements(s.body, {**names, s.var.name: at}, going)
            at = at + s.step

    def alloc(self, buffer: Buffer) -> None:
        shared = buffer.space == "shared"
        size = buffer.size * (self.count if shared else len(self.lane))
        fill = np.nan if buffer.dtype in FLOATS else -1
        self.memory[buffer] = np.full(size, fill).astype(buffer.dtype)
        self.watched[buffer] = _Watch(_SharedCells(size, False) if shared else _PrivateCells(size), 0, 1)

    def place(self, buffer: Buffer, index: Any, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(element numbers, the threads here that want them), for active threads."""
        lanes = self.lane[active]
        at = self.spread(index)[active]
        size = self.memory[buffer].size if buffer.space == "global" else buffer.size
        if at.size and (at.min() < 0 or at.max() >= size):
            raise IndexError(
                f"{self.function.name}: {buffer.name}: elements {at.min()} to {at.max()} of {size}"
            )
        if buffer.space == "shared":
            return at + lanes // self.size * size, lanes
        return (at if buffer.space == "global" else at + lanes * size), lanes

    def store(self, s: loops.Store, values: _ThreadValues, active: np.ndarray) -> None:
        if s.mask is not None:
            active = active & self.spread(values.value(s.mask))
        at, lanes = self.place(s.buffer, values.value(s.index), active)
        self.memory[s.buffer][at] = self.spread(values.value(s.value))[active]
        self.touch("write", s.buffer, at, lanes)

    def touch(self, way: str, buffer: Buffer, at: np.ndarray, lanes: np.ndarray) -> None:
        watch = self.watched.get(buffer)
        if watch is not None:
            touched = watch.touches.read if way == "read" else watch.touches.write
            who = _Who(self.threads[lanes], self.number[lanes], self.epochs[lanes // self.size])
            wrong = touched(*watch.cells(at, who))
            if wrong:
                raise RaceError(f"{self.function.name}: {buffer.name} {wrong}")


class _ThreadValues(Values):
    """Expressions of one statement, for all threads at once."""

    def __init__(self, blocks: _Blocks, names: dict[str, Any], active: np.ndarray) -> None:
        super().__init__(names, blocks.memory)
        self.blocks, self.active = blocks, active

    def load(self, e: loops.Load) -> np.ndarray:
        blocks, active = self.blocks, self.active
        if e.mask is not None:
            active = active & blocks.spread(self.value(e.mask))
        at, lanes = blocks.place(e.buffer, self.value(e.index), active)
        out = np.zeros(blocks.lane.shape, e.dtype)
        out[active] = blocks.memory[e.buffer][at]
        blocks.touch("read", e.buffer, at, lanes)
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

"""Blocks, threads and barriers on numpy arrays: the meaning of a schedule for graphics processors.

What enters: a `DeviceFunction` and its buffers, or an entry of a program and its memory. What leaves: the
buffers, changed in place, with the bits that a device gives. The threads of a block go through the code
together, so a barrier that is missing would not show in the numbers; instead every access of shared
memory is recorded, and a `RaceError` tells of two threads that meet without a barrier between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.codegen import loops
from kcompile.codegen.evaluate import Values
from kcompile.codegen.gpu.device import DeviceFunction
from kcompile.codegen.loops import FLOATS, Buffer, Stmt
from kcompile.codegen.program import Entry, Launch, Ref, Repeat

NOBODY, MANY = -1, -2


class RaceError(RuntimeError):
    """The result would depend on timing."""


def run(function: DeviceFunction, buffers: Sequence[np.ndarray], n: int = 1) -> None:
    """Execute a kernel for a batch of n on flat arrays, one for each parameter, which it changes.

    Raises IndexError for an access outside a buffer, RaceError for one that depends on timing or a
    barrier that not all threads reach.
    """
    names = {"n": n}
    memory = dict(zip(function.buffers, buffers))
    written = {b: np.full(a.size, NOBODY) for b, a in memory.items()}
    (grid,) = function.body
    assert isinstance(grid, loops.For) and grid.kind == "grid"
    (block,) = grid.body
    assert isinstance(block, loops.For) and block.kind == "block"
    with np.errstate(all="ignore"):
        count = int(Values(dict(names), {}).value(grid.stop))
        if count != function.grid.blocks(n):
            raise ValueError(f"{function.name}: {count} blocks, its launch has {function.grid.blocks(n)}")
        for number in range(count):
            threads = _Block(function, memory, written, number)
            threads.run(block.body, {**names, grid.var.name: number,
                                     block.var.name: np.arange(function.grid.threads)})


class _Shared:
    """Who touched each element of a shared buffer since the last barrier."""

    def __init__(self, size: int) -> None:
        self.writer = np.full(size, NOBODY)
        self.reader = np.full(size, NOBODY)

    def barrier(self) -> None:
        self.writer[:] = NOBODY
        self.reader[:] = NOBODY

    def read(self, at: np.ndarray, threads: np.ndarray) -> bool:
        """Whether nobody else wrote what these threads read."""
        fine = bool(np.all((self.writer[at] == NOBODY) | (self.writer[at] == threads)))
        before = self.reader[at]
        self.reader[at] = threads
        mixed = (self.reader[at] != threads) | ((before != NOBODY) & (before != threads))
        self.reader[at[mixed]] = MANY
        return fine

    def write(self, at: np.ndarray, threads: np.ndarray) -> bool:
        """Whether nobody else read or wrote what these threads write."""
        alone = len(np.unique(at)) == len(at)
        old = np.concatenate([self.reader[at], self.writer[at]])
        fine = np.all((old == NOBODY) | (old == np.tile(threads, 2)))
        self.writer[at] = threads
        return alone and bool(fine)


class _Block:
    """One block of threads."""

    def __init__(self, function: DeviceFunction, memory: Mapping[Buffer, np.ndarray],
                 written: Mapping[Buffer, np.ndarray], number: int) -> None:
        self.function, self.written = function, written
        self.threads = np.arange(function.grid.threads)
        self.first = number * function.grid.threads
        self.memory = dict(memory)
        self.shared: dict[Buffer, _Shared] = {}

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
                for shared in self.shared.values():
                    shared.barrier()
            elif isinstance(s, loops.If):
                condition = self.spread(values.value(s.condition))
                for side, chosen in ((s.then, active & condition), (s.otherwise, active & ~condition)):
                    if side and chosen.any():
                        self.statements(side, names, chosen)
            else:
                self.loop(s, values, names, active)

    def spread(self, value: Any) -> np.ndarray:
        """A value for each thread."""
        return np.broadcast_to(value, self.threads.shape)

    def loop(self, s: loops.For, values: _ThreadValues, names: dict[str, Any],
             active: np.ndarray) -> None:
        at, stop = self.spread(values.value(s.start)), self.spread(values.value(s.stop))
        while (going := active & (at < stop)).any():
            self.statements(s.body, {**names, s.var.name: at}, going)
            at = at + s.step

    def alloc(self, buffer: Buffer) -> None:
        copies = 1 if buffer.space == "shared" else len(self.threads)
        fill = np.nan if buffer.dtype in FLOATS else -1
        self.memory[buffer] = np.full(copies * buffer.size, fill).astype(buffer.dtype)
        if buffer.space == "shared":
            self.shared[buffer] = _Shared(buffer.size)

    def place(self, buffer: Buffer, index: Any, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(element numbers, the threads that want them), for active threads."""
        threads = self.threads[active]
        at = self.spread(index)[active]
        private = buffer.space in ("stack", "register")
        size = buffer.size if private else self.memory[buffer].size
        if at.size and (at.min() < 0 or at.max() >= size):
            raise IndexError(f"{self.function.name}: {buffer.name}: elements {at.min()} to {at.max()} "
                             f"of {size}")
        return (at + threads * size if private else at), threads

    def store(self, s: loops.Store, values: _ThreadValues, active: np.ndarray) -> None:
        if s.mask is not None:
            active = active & self.spread(values.value(s.mask))
        at, threads = self.place(s.buffer, values.value(s.index), active)
        self.memory[s.buffer][at] = self.spread(values.value(s.value))[active]
        if s.buffer in self.shared and not self.shared[s.buffer].write(at, threads):
            raise RaceError(f"{self.function.name}: threads meet in {s.buffer.name}")
        if s.buffer in self.written:
            owner, own = self.written[s.buffer], threads + self.first
            mine = (owner[at] == NOBODY) | (owner[at] == own)
            if len(np.unique(at)) < len(at) or not mine.all():
                raise RaceError(f"{self.function.name}: {s.buffer.name} is written twice")
            owner[at] = own


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
        if e.buffer in block.shared and not block.shared[e.buffer].read(at, threads):
            raise RaceError(f"{block.function.name}: {e.buffer.name} is read before a barrier")
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
    """Bytes from the start of its region to a buffer, in round t of a repeat."""
    return ref.offset.at(n) + t * ref.step.at(n) + (t + ref.phase) % 2 * ref.flip.at(n)

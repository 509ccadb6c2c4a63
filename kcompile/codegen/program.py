"""What a compiled model is made of, before it is machine code: kernels, launches, memory.

Enters: kernels from lowering and offsets from the memory plan. Leaves: a `Program`, which
`llvm.emit_program` turns into one LLVM module, and whose layout the runtime reads.

Native interface of an entry (all pointers 64-byte aligned):

    int32_t kc_<entry>(int64_t n, void **inputs, void **outputs, void **variables,
                       void *prepared, const void *constants, void *arena, void *pool)

The launches run in order. `variables` are the model's arrays, updated in place; `prepared` is the
block that the entry "prepare" fills and others read; `arena` has `arena.fixed + n * arena.per_sample`
bytes, followed by `scratch` bytes for each thread; `pool` may be NULL, for one thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kcompile.codegen.loops import Function

Region = Literal["input", "output", "variable", "prepared", "constant", "arena"]


@dataclass(frozen=True)
class Size:
    """fixed + n * per_sample, in the unit of the context (bytes, iterations)."""

    fixed: int = 0
    per_sample: int = 0

    def at(self, n: int) -> int:
        return self.fixed + n * self.per_sample


THREAD_CYCLES = 8192  # the least work worth handing to another thread, which costs about 2000


@dataclass(frozen=True)
class Ref:
    """Where a buffer of a launch lives: the `index`-th pointer of inputs, outputs or variables, or an
    offset in bytes into prepared, constants or the arena."""

    region: Region
    index: int = 0
    offset: Size = Size()


@dataclass(frozen=True)
class Launch:
    """One call of a kernel.

    extent: iterations of its parallel loop (1 when it has none, and then it runs on one thread).
    work: cycles one iteration takes, roughly. A thread is given at least `THREAD_CYCLES` of them, so
    that a short loop runs serially.
    """

    kernel: Function
    buffers: tuple[Ref, ...]
    extent: Size = Size(1)
    work: Size = Size(THREAD_CYCLES)


@dataclass(frozen=True)
class Entry:
    """A native function: "prepare", "predict", "test", "train" ..."""

    name: str
    launches: tuple[Launch, ...]
    arena: Size = Size()


@dataclass(frozen=True)
class Program:
    """The entries that share one set of variables, prepared block and constants.

    prepared: bytes of the block that "prepare" fills. constants: its bytes, read-only.
    """

    entries: tuple[Entry, ...]
    prepared: int = 0
    constants: bytes = b""

"""What a compiled model is made of, before it is machine code: kernels, launches, memory.

Enters: kernels from lowering and offsets from the memory plan. Leaves: a `Program`, which
`llvm.module` turns into one LLVM module, and whose layout the runtime reads.

Native interface of an entry (all pointers 64-byte aligned):

    int32_t kc_<entry>(int64_t n, void **inputs, void **outputs, void **variables,
                       void *prepared, const void *constants, void *arena, void *pool)

The launches run in order. `variables` are the model's arrays, updated in place; `prepared` is the
block that the entry "prepare" fills and others read; `arena` has `arena.fixed + n * arena.per_sample`
bytes, followed by `scratch` bytes for each thread; `pool` may be NULL, for one thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kcompile.codegen import cost
from kcompile.codegen.loops import BYTES, Function
from kcompile.ir.graph import Node, Source
from kcompile.ir.types import Batch, Dim, TensorType, numel
from kcompile_runtime.layout import round_up

Region = Literal["input", "output", "variable", "prepared", "constant", "arena"]


@dataclass(frozen=True)
class Size:
    """fixed + n * per_sample, in the unit of the context (bytes, iterations)."""

    fixed: int = 0
    per_sample: int = 0

    def at(self, n: int) -> int:
        return self.fixed + n * self.per_sample

    def __add__(self, other: Size) -> Size:
        return Size(self.fixed + other.fixed, self.per_sample + other.per_sample)

    def __mul__(self, factor: int) -> Size:
        return Size(self.fixed * factor, self.per_sample * factor)


# The status of an entry that was given a number of a row that is not there. The arena begins then with five
# int64: which guard found it, the number's place in row-major order, the number, the rows there are, and
# how many numbers a sample has (0: they are of no sample).
BAD_INDEX = 7


def size_of(count: Dim) -> Size:
    return Size(0, count.multiple) if isinstance(count, Batch) else Size(count)


def buffer_bytes(type: TensorType) -> Size:
    """Bytes of a value, rounded up to whole cache lines (for each sample, when it has the batch)."""
    count, width = numel(type.shape), BYTES[type.dtype]
    if isinstance(count, Batch):
        return Size(0, round_up(count.multiple * width))
    return Size(round_up(count * width))


def row_bytes(type: TensorType) -> int:
    """Bytes of one sample of a value whose first axis is the batch, else 0."""
    count = numel(type.shape)
    return count.multiple * BYTES[type.dtype] if isinstance(count, Batch) else 0


@dataclass(frozen=True)
class Ref:
    """Where a buffer of a launch lives: the `index`-th pointer of inputs, outputs or variables, or an
    offset in bytes into prepared, constants or the arena.

    Inside a `Repeat`, at iteration t: `step` bytes further with each t; and, of a double buffer, `alternate`
    bytes further when t + parity is odd. row: bytes of one sample, for a batch-parallel repeat.
    """

    region: Region
    index: int = 0
    offset: Size = Size()
    step: Size = Size()
    alternate: Size = Size()
    parity: int = 0
    row: int = 0


@dataclass(frozen=True)
class Kernel:
    """A function, the iterations of its parallel loop, and the cycles that one iteration takes (a guess,
    which only decides how many threads share the work)."""

    function: Function
    iterations: Size
    cycles: Size


@dataclass(frozen=True)
class Launch:
    """One call of a kernel.

    iterations: of its parallel loop (1 when it has none, and then it runs on one thread). cycles: what one
    iteration takes, roughly. A thread is given at least `cost.THREAD_CYCLES` of them, so
    that a short loop runs serially. group: the node of the fused graph that it computes, None for a copy.
    sources: what it is from.
    """

    kernel: Function
    buffers: tuple[Ref, ...]
    iterations: Size = Size(1)
    cycles: Size = Size(cost.THREAD_CYCLES)
    group: Node | None = field(default=None, compare=False, repr=False)
    sources: tuple[Source, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Repeat:
    """Launches that run `count` times in order: a scan. Not nested.

    batch_parallel: each sample depends on itself alone, so threads share the samples and each runs all
    iterations on its own; else threads share each launch.
    """

    count: int
    launches: tuple[Launch, ...]
    batch_parallel: bool = False

    @property
    def cycles(self) -> Size:
        """Cycles for one sample."""
        total = 0
        for launch in self.launches:
            iterations, cycles = launch.iterations, launch.cycles
            total += iterations.per_sample * (cycles.fixed + cycles.per_sample)
            total += iterations.fixed * cycles.per_sample
        return Size(max(total * self.count, 1))


@dataclass(frozen=True)
class Guard:
    """A bounds check of row numbers. word: an int64 that a launch leaves (see `ir.passes.check_indices`),
    with the place of the first number that is outside the table's `rows`. each: numbers of a sample, 0 where
    they belong to none. label: of the layer that reads the rows."""

    word: Ref
    rows: int
    each: int
    label: str


@dataclass(frozen=True)
class Blocks:
    """An entry that runs all its steps for some samples before the next ones. samples: of a block at most, a
    multiple of `unit`, with which the inputs and outputs stay aligned. inputs, outputs: bytes of a sample of
    each. least: samples at least for which a thread computes all steps by itself; None where threads share
    each step."""

    samples: int
    unit: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    least: int | None = None


@dataclass(frozen=True)
class Entry:
    """A native function: "prepare", "predict", "test", "train" ... `steps` run in order.

    guards: looked at after `guarded` steps; where one has found a number, nothing else runs, and the entry
    returns `BAD_INDEX`, with what was found at the start of the arena. flush: denormal numbers count as
    zero (where the target can say so). timed: of an entry that is measured, the number of the output that
    gets the ticks of `kc_clock` (see `llvm.module.clock_ir`) that each of its `parts` took, int64, added up
    over calls. blocks: in which samples are computed, None for all of a call at once.
    """

    name: str
    steps: tuple[Launch | Repeat, ...]
    arena: Size = Size()
    flush: bool = False
    guards: tuple[Guard, ...] = ()
    guarded: int = 0
    timed: int | None = None
    blocks: Blocks | None = None

    @property
    def parts(self) -> tuple[tuple[Launch | Repeat, int], ...]:
        """What is measured by itself, in order, and how many times it runs in a call: each step, and of a
        repeat whose launches threads share, each launch."""
        found: list[tuple[Launch | Repeat, int]] = []
        for step in self.steps:
            if isinstance(step, Repeat) and not step.batch_parallel:
                found += [(launch, step.count) for launch in step.launches]
            else:
                found.append((step, 1))
        return tuple(found)

    @property
    def launches(self) -> tuple[Launch, ...]:
        """All launches, those inside repeats too."""
        return tuple(x for s in self.steps for x in (s.launches if isinstance(s, Repeat) else (s,)))


@dataclass(frozen=True)
class Program:
    """The entries that share one set of variables, prepared block and constants.

    prepared: bytes of the block that "prepare" fills. constants: its bytes, read-only.
    """

    entries: tuple[Entry, ...]
    prepared: int = 0
    constants: bytes = b""

"""The machine model: every number by which the code generator chooses, with its unit and where it is from.

What a target has (registers, cache sizes) is in `targets`; how waiting threads behave is in `llvm.pool`;
what passes choose by, whatever the target, is in `ir.cost`. A number follows from what its comment names;
one without a reason is the choice that kernels were measured with (`python -m benchmarks.kernels`), and an
*untried* one was never compared with others on hardware.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from kcompile.ir.graph import Node
from kcompile.ir.types import bind

# ---------------------------------------------------------------- operations of one element

TRANSCENDENTAL = 12  # operations that exp, tanh, ... count for: polynomials
ACCESS = 2  # operations that reading memory beyond L1 counts for
REPEATED = 2  # operations at most that a row's later passes repeat, rather than keep their results
EPILOGUE_UNROLLED = 4  # operations at most of an epilogue that is written out for every vector of a tile
REDUCTION_UNROLLED = 16  # elements at most of a reduction that is written out


def weight(node: Node) -> int:
    """Operations for one element of a node's result, roughly."""
    if node.op.kind == "elementwise":
        return TRANSCENDENTAL if node.op.expensive else 1
    if node.op.kind == "window":
        taps = 1
        for s in node.attrs["size"]:
            taps *= s
        return 3 * taps
    if node.op.kind == "source":
        return 0 if node.op.origin == "constant" else ACCESS
    return {"reduction": 2, "random": TRANSCENDENTAL}.get(node.op.kind, 1)


def multiply_adds(group: Node, n: int) -> int:
    """Of the contractions of a group, and of groups in it, for n samples, by the direct algorithm."""
    specs = [m.attrs["spec"] for m in computed(group) if m.op.kind == "contraction"]
    return sum(math.prod(bind((*spec.g, *spec.sizes), n)) for spec in specs)


def computed(group: Node) -> Iterator[Node]:
    """The nodes that a group computes, those of the groups in it too."""
    is_chain = group.is_chain
    for m in group.body.live():
        if m.regions:
            yield from computed(m)
        elif not (m.op.view and is_chain):
            yield m


# ---------------------------------------------------------------- cores

MULTIPLY_ADDS = 2  # vectors a cycle: two ports of every wide core
LOADS = 2  # the same
LATENCY = 4  # cycles until the result of a multiply-add is there
SUM_CHAINS = 4  # independent partial sums: an addition's result is there after about four cycles
COPIED = 4  # cycles to copy a vector of an operand from behind L1, or to read one that is used once
WRITTEN = 8  # cycles to finish and to write a vector of sums
SCATTER = 4  # cycles to add one vector to a row: load, add, store
TILE_ROWS = 14  # rows of a register tile at most: 14 x 2 sums, 2 of B, 1 of A in 32 registers
TILE_ROWS_ONE_VECTOR = 24  # the same, where a tile is one vector wide

# ---------------------------------------------------------------- caches

L1_PERIOD = 4096  # bytes between addresses that fall into one set of L1: 32 KiB in 8 ways
L1_WAYS = 8  # lines that one set of L1 holds
FAR_READ = 2  # float32 elements a cycle from behind L2, which threads have each for themselves
FAR_OPERAND = 131072  # float32 elements of B that do not stay in L2 from one call to the next
BLOCK_ROWS = 192  # rows of a block between which a panel of B is used again
COPIED_BLOCK_ROWS = 768  # the same where a copied element is of one column (depthwise): copying counts there
DEPTH_BLOCK = (64, 512)  # summed elements of a block, at least and at most
COLUMN_BLOCK = 512  # columns of a block where there are many
MANY_COLUMNS = 1024  # columns from which on there are
BLOCK_BYTES = 24 << 20  # of values of samples that are computed together: a shared cache holds them
BLOCK_SAMPLES = 1024  # of these at most, else all samples are
WEIGHTS_SHARE = 16  # cycles of a thread's samples to one in which it waits for weights that others read, too
WEIGHTS_AGAIN = 4  # weights read again for each block may be one byte to so many others
TRANSPOSED_LINES = 16  # lines of an operand that lies across the vectors; they stay in L1
PACKED_DEPTH = 128  # summed elements from which on packing B pays within a step
PACKED_ROWS = 64  # rows from which on it does
HALVED_ROWS = 16  # rows from which on rounding and packing B within a step pays
COPIED_COLUMNS = 128  # columns from which on copying rows of A that crowd a set of L1 pays
COPIED_ROWS = 16  # rows from which on it does

# ---------------------------------------------------------------- threads

THREAD_CYCLES = 16384  # the least work worth a thread: its data move between caches, not only the word
THREAD_BYTES = 1 << 17  # the least that a thread is woken for to copy
THREAD_ELEMENTS = 64  # elements at least that a flat loop hands to a thread: some cache lines
MANY_ROWS = 256  # rows in one sample that are enough to share between threads
FEW_ROWS = 64  # rows in one sample below which threads share the columns, where each column has its own A
ITEMS = 7  # of the lines of a sample at least, where nothing is copied for one: threads share them
MANY_TILES = 16  # tiles of rows that are
SHARED_OPERAND = 65536  # float32 elements of B from which on threads share its columns
SHARED_COLUMNS = 64  # columns of such a share where a sample has one row

# ---------------------------------------------------------------- Winograd's algorithm

# Where it is used must not depend on the target, so that results do not: cycles are of one processor.
WINOGRAD_GAIN = 0.85  # of the direct algorithm's cycles that a tiling must stay below
WINOGRAD_GAIN_IN_HALVES = 0.95  # the same, of half of them where the direct one multiplies words of two
WINOGRAD_LANES = 16  # float32 elements in a vector of that processor
WINOGRAD_SHARE = 131072  # float32 elements, a fourth of its L2 of 2 MiB

# ---------------------------------------------------------------- graphics processors

WARP = 32  # threads that run in step; CUDA
BLOCK_THREADS = 256  # threads of a block that computes elements; untried
TEAM_REDUCTION = 32  # elements from which on several threads share a reduction; untried
BLOCK_REDUCTION = 1024  # elements from which on a whole block does; untried
SIDE = 16  # a block of a contraction has SIDE x SIDE threads; untried
SLICE = 16  # summed elements of a slice in shared memory; untried
BUSY = 64  # blocks that are worth smaller tiles: about as many as there are multiprocessors
LEAST_THREADS = 128  # threads that have work, where a block works alone; untried
LOADS_AHEAD = 8  # summed elements that a thread which works alone asks for at once; untried
BANK_PADDING = 1  # elements between rows of a slice, so that a column falls into different banks; CUDA
SPLIT_K_TERMS = 1024  # summed elements from which on a block shares each sum of a small product; untried
SCAN_SAMPLES = 4  # samples of a block that runs all steps: they share what it reads of the weights
SCAN_THREADS = 512  # its threads; untried
SCAN_BYTES = 1 << 20  # bytes of weights that one block reads while a launch takes place; untried
SCAN_MULTIPLY_ADDS = 1 << 22  # multiply-adds that it does meanwhile; untried

# ---------------------------------------------------------------- compiling

MODULES = 16  # modules at most, of a program that is compiled in parts
MODULE_TEXT = 40_000  # characters of IR that are worth a module: 20 ms of LLVM; measured

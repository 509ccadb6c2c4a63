"""A kernel as it is launched on a graphics processor: enters a body, leaves a `DeviceFunction`.

A kernel is one loop of kind "grid", whose iterations are blocks, around one loop of kind "block", whose
iterations are the threads of a block. How many blocks a batch of n needs is data beside it, so that
the runtime launches without evaluating anything of the loop language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kcompile.codegen import loops
from kcompile.codegen.loops import Buffer, Expr, Function, Stmt, Var
from kcompile.codegen.program import Size

BLOCK, THREAD = Var("block"), Var("thread")


@dataclass(frozen=True)
class Grid:
    """`ceil(items / per_block) * times` blocks of `threads` threads. items: work items for a batch of n.
    times: how many blocks take each item, each for other columns of its results."""

    items: Size
    per_block: int
    times: int
    threads: int

    def blocks(self, n: int) -> int:
        return -(-self.items.at(n) // self.per_block) * self.times

    @property
    def stop(self) -> Expr:
        """The number of blocks in the loop language."""
        items = loops.N * self.items.per_sample + self.items.fixed
        return (items + (self.per_block - 1)) // self.per_block * self.times


@dataclass(frozen=True, eq=False)
class DeviceFunction(Function):
    """A kernel for a graphics processor, with its grid."""

    grid: Grid = Grid(Size(1), 1, 1, 1)


def device_function(
    name: str,
    buffers: Sequence[Buffer],
    grid: Grid,
    body: Sequence[Stmt],
    note: str = "",
    aliased: bool = False,
) -> DeviceFunction:
    """The kernel whose threads run `body`, in terms of `BLOCK` and `THREAD`."""
    threads = loops.loop(THREAD, 0, grid.threads, body, kind="block")
    blocks = loops.loop(BLOCK, 0, grid.stop, (threads,), kind="grid")
    return DeviceFunction(name, tuple(buffers), (blocks,), note, aliased, grid)

"""Reductions by several threads of a block: which terms each adds up, and how partial results are combined.

Enters: a group's body, or sizes of a contraction. Leaves: a `Team`, and the `TeamBuilder` that writes
reductions for it: a tree of fixed shape in shared memory, so that results do not depend on timing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kcompile.codegen import cost, loops
from kcompile.codegen.gpu.device import THREAD
from kcompile.codegen.loops import Buffer, Expr
from kcompile.codegen.loops.builder import Builder, Index
from kcompile.codegen.targets import Target
from kcompile.ir.graph import Graph
from kcompile.ir.types import Batch, Dim, numel


@dataclass(frozen=True)
class Team:
    """How a block is divided into teams of threads, each of which computes an element of a reduction's
    result: `rows` elements at a time, by `lanes` threads each. rows_first: neighbouring threads have
    neighbouring elements of the result; else they have neighbouring terms of one sum."""

    rows: int
    lanes: int
    rows_first: bool

    @property
    def threads(self) -> int:
        return self.rows * self.lanes

    @property
    def lane(self) -> Expr:
        return THREAD // self.rows if self.rows_first else THREAD % self.lanes

    @property
    def row(self) -> Expr:
        return THREAD % self.rows if self.rows_first else THREAD // self.lanes

    @property
    def step(self) -> int:
        """Threads between neighbouring lanes of a team."""
        return self.rows if self.rows_first else 1


def team_of(body: Graph) -> Team | None:
    """The teams for the longest reduction of a group; None where one thread for each element is better."""
    longest: tuple[int, Dim, bool] | None = None
    for m in body.nodes.values():
        if m.op.kind == "reduction":
            shape = body.type(m.inputs[0]).shape
            terms = numel([shape[a] for a in m.attrs["axes"]])
            weight = terms if isinstance(terms, int) else 1 << 30
            if weight >= cost.TEAM_REDUCTION and (longest is None or weight > longest[0]):
                longest = (weight, terms, len(shape) - 1 in m.attrs["axes"])
    if longest is None:
        return None
    weight, terms, contiguous = longest
    long = isinstance(terms, Batch) or weight > cost.BLOCK_REDUCTION
    if contiguous:
        rows = 1 if long else cost.BLOCK_THREADS // cost.WARP
        return Team(rows, cost.BLOCK_THREADS // rows, False)
    return Team(cost.WARP, cost.WARP if long else 8, True)


class TeamBuilder(Builder):
    """A builder that writes long reductions so that the threads of a team share their terms."""

    def __init__(self, target: Target, team: Team) -> None:
        super().__init__(target, 1)
        self.team = team
        self.parts: dict[str, Buffer] = {}
        self.divergent = False  # where threads of a team do different things, so that no barrier may stand

    def reduce(self, op: str, extents: Sequence[Dim], body: Callable[[Index], Expr], first: Expr) -> Expr:
        total = numel(extents)
        if self.divergent or (isinstance(total, int) and total < cost.TEAM_REDUCTION):
            return super().reduce(op, extents, body, first)
        team = self.team
        part = self._part(op, extents, body, first, total)
        parts = self._parts(first.dtype)
        self.store(parts, THREAD, part)
        self.emit(loops.Barrier())
        width = team.lanes // 2
        while width:
            other = loops.load(parts, THREAD + width * team.step)
            joined = self.combine(op, loops.load(parts, THREAD), other)
            with self.when(loops.binary("lt", team.lane, width)):
                self.store(parts, THREAD, joined)
            self.emit(loops.Barrier())
            width //= 2
        start = team.row if team.rows_first else team.row * team.lanes
        return self.let(loops.load(parts, start))

    def _parts(self, dtype: str) -> Buffer:
        """Shared memory, an element for each thread: the same for all reductions of a kernel, so that
        any number of them fits."""
        if dtype in self.parts:
            self.emit(loops.Barrier())  # all have read the result that was there before
        else:
            self.parts[dtype] = Buffer(f"parts_{dtype}", dtype, "shared", self.team.threads)
            self.blocks[1].insert(0, loops.Alloc(self.parts[dtype]))
        return self.parts[dtype]

    def _part(
        self, op: str, extents: Sequence[Dim], body: Callable[[Index], Expr], first: Expr, total: Dim
    ) -> Expr:
        """The partial result of one thread, from every `lanes`-th term."""
        cell = self.accumulator(first, 1)
        self.divergent = True
        with self.loop("r", self.team.lane, self.extent(total), self.team.lanes) as i:
            value = body(self.unflatten(i, tuple(extents)))
            self.update(op, cell, value)
        self.divergent = False
        return self.let(loops.load(cell, 0))

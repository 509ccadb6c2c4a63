"""From a fused group to a kernel with blocks and threads.

What enters: a `group` node. What leaves: a `Kernel` whose function is a `DeviceFunction`. Elements are
pulled by the same rules as on other processors (`lowering.Pull`), one element in a thread:
- most groups: a thread computes an element of the result;
- a group around a reduction over many elements: several threads share an element, and join their
  parts in shared memory by a tree of fixed shape, so that results do not depend on timing;
- contractions: `gpu.contraction`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kcompile.codegen import loops
from kcompile.codegen.builder import Builder, Index
from kcompile.codegen.gpu.device import BLOCK, THREAD, Grid, device_function
from kcompile.codegen.loops import Buffer, Expr
from kcompile.codegen.lowering import Kernel
from kcompile.codegen.program import Size
from kcompile.codegen.pull import Pull, parameters
from kcompile.codegen.sweeps import size_of
from kcompile.codegen.targets import Target
from kcompile.ir.graph import Graph, Node
from kcompile.ir.ops.gather import clamped
from kcompile.ir.types import Batch, Dim, numel

THREADS = 256
LONG = 32  # a reduction of fewer elements is done by one thread
WARP = 32


def lower_group(name: str, node: Node, target: Target, aliased: bool = False) -> Kernel:
    """The kernel of a group. Its buffers are the group's operands, then its results. `aliased`: a
    result may be written over an operand. Raises ValueError for a group that has no schedule here."""
    body: Graph = node.attrs["body"]
    anchor = next((m for m in body.nodes.values() if m.op.kind == "contraction"), None)
    if anchor is not None:
        from kcompile.codegen.epilogue import lower_anchored

        return lower_anchored(name, node, anchor, target, aliased)
    _supported(body, node.label)
    inputs, outputs = parameters(body)
    shape = body.type(next(iter(body.outputs.values()))).shape
    team = _team(body)
    b = Builder(target, 1) if team is None else TeamBuilder(target, team)
    units = size_of(numel(shape))
    count = loops.N * units.per_sample + units.fixed
    grid = Grid(units, THREADS if team is None else team.rows, 1,
                THREADS if team is None else team.threads)
    with b.block() as statements:
        pull = Pull(body, inputs, b)
        for m in body.nodes.values():
            if m.op.name == "scatter_rows":
                pull.given[m.id] = _scatter(b, pull, m)

        def store(index: Index, flat: Expr, mask: Expr | None) -> None:
            # All before the first is written: it may be in the place of an operand.
            results = [b.share(pull.at(v, index)) for v in body.outputs.values()]
            writes = tuple(loops.store(buffer, flat, result)
                           for buffer, result in zip(outputs, results))
            for write in writes if mask is None else (loops.If(mask, writes),):
                b.emit(write)

        if team is None:
            flat = b.share(BLOCK * THREADS + THREAD)
            with b.block() as inside:
                store(b.unflatten(flat, shape), flat, None)
            b.emit(loops.If(loops.binary("lt", flat, count), tuple(inside)))
        else:
            _of_team(b, team, count, lambda flat, mask: store(b.unflatten(flat, shape), flat, mask))
    function = device_function(name, (*inputs, *outputs), grid, statements, node.label, aliased)
    return Kernel(function, Size(1), Size(1))


def _supported(body: Graph, label: str) -> None:
    for m in body.nodes.values():
        by_element = m.op.scalar is not None or m.op.lower is not None
        if not by_element and m.op.kind != "source" and m.op.name != "scatter_rows":
            raise ValueError(f"layer {label!r}: {m.op.name} has no schedule for graphics processors")


def _scatter(b: Builder, pull: Pull, node: Node) -> Callable[[Index], Expr]:
    """Elements of `scatter_rows`: a thread walks all positions in order and adds those that fall into
    its row, so the order of a sum is always the same."""
    values, indices = node.inputs
    positions = pull.body.type(indices).shape
    zero = loops.const(0, node.types[0].dtype)

    def element(index: Index) -> Expr:
        cell = Buffer(b.fresh("sum"), zero.dtype, "register", 1)
        b.emit(loops.Alloc(cell))
        b.emit(loops.store(cell, 0, zero))
        with b.loop("i", 0, b.extent(numel(positions))) as flat:
            at = b.unflatten(flat, positions)
            row = clamped(b, pull.at(indices, at), node.attrs["rows"])
            with b.block() as hit:
                total = b.add(loops.load(cell, 0), pull.at(values, (*at, *index[1:])))
                b.emit(loops.store(cell, 0, total))
            b.emit(loops.If(b.equal(row, index[0]), tuple(hit)))
        return b.share(loops.load(cell, 0))

    return element


# ---------------------------------------------------------------- reductions by several threads


@dataclass(frozen=True)
class Team:
    """How a block shares reductions: `rows` elements of the result, `lanes` threads for each. across:
    neighbouring threads have neighbouring elements of the result, else neighbouring terms of a sum."""

    rows: int
    lanes: int
    across: bool

    @property
    def threads(self) -> int:
        return self.rows * self.lanes

    @property
    def lane(self) -> Expr:
        return THREAD // self.rows if self.across else THREAD % self.lanes

    @property
    def row(self) -> Expr:
        return THREAD % self.rows if self.across else THREAD // self.lanes

    @property
    def step(self) -> int:
        """Threads from one lane to the next."""
        return self.rows if self.across else 1


def _team(body: Graph) -> Team | None:
    """The threads for the group's longest reduction; None where one thread an element is better."""
    longest: tuple[int, Dim, bool] | None = None
    for m in body.nodes.values():
        if m.op.kind == "reduction":
            shape = body.type(m.inputs[0]).shape
            terms = numel([shape[a] for a in m.attrs["axes"]])
            weight = terms if isinstance(terms, int) else 1 << 30
            if weight >= LONG and (longest is None or weight > longest[0]):
                longest = (weight, terms, len(shape) - 1 in m.attrs["axes"])
    if longest is None:
        return None
    weight, terms, contiguous = longest
    long = isinstance(terms, Batch) or weight > 1024
    if contiguous:
        return Team(1, THREADS, False) if long else Team(THREADS // WARP, WARP, False)
    return Team(WARP, 32 if long else 8, True)


def _of_team(b: Builder, team: Team, count: Expr, store: Callable[[Expr, Expr], None]) -> None:
    """All threads of a team compute the same element (the last one again, beyond the end, so that
    all come to every barrier), and its first lane writes it."""
    row = b.share(BLOCK * team.rows + team.row)
    last = loops.binary("sub", count, 1)
    flat = b.share(loops.binary("min", row, last))
    mine = loops.binary("and", loops.binary("eq", team.lane, 0), loops.binary("lt", row, count))
    store(flat, b.share(mine))


class TeamBuilder(Builder):
    """A builder whose long reductions are shared by the threads of a team."""

    def __init__(self, target: Target, team: Team) -> None:
        super().__init__(target, 1)
        self.team = team
        self.alone = False  # inside a shared reduction: threads are at different places

    def reduce(self, op: str, extents: Sequence[Dim], body: Callable[[Index], Expr],
               first: Expr) -> Expr:
        total = numel(extents)
        if self.alone or (isinstance(total, int) and total < LONG):
            return super().reduce(op, extents, body, first)
        team = self.team
        part = self._part(op, extents, body, first, total)
        parts = Buffer(self.fresh("parts"), first.dtype, "shared", team.threads)
        self.emit(loops.Alloc(parts))
        self.emit(loops.store(parts, THREAD, part))
        self.emit(loops.Barrier())
        width = team.lanes // 2
        while width:
            other = loops.load(parts, THREAD + width * team.step)
            joined = self.combine(op, loops.load(parts, THREAD), other)
            self.emit(loops.If(loops.binary("lt", team.lane, width),
                               (loops.store(parts, THREAD, joined),)))
            self.emit(loops.Barrier())
            width //= 2
        start = team.row if team.across else team.row * team.lanes
        return self.share(loops.load(parts, start))

    def _part(self, op: str, extents: Sequence[Dim], body: Callable[[Index], Expr], first: Expr,
              total: Dim) -> Expr:
        """What one thread adds up: every `lanes`-th term."""
        cell = self.cell(first, 1)
        self.alone = True
        with self.loop("r", self.team.lane, self.extent(total), self.team.lanes) as i:
            value = body(self.unflatten(i, tuple(extents)))
            self.update(op, cell, value)
        self.alone = False
        return self.share(loops.load(cell, 0))



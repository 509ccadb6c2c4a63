"""From a fused group to a kernel with blocks and threads.

What enters: a `group` node. What leaves: a `Kernel` whose function is a `DeviceFunction`. Elements are
inlined by the same rules as on other processors (`groups.elements`), one element in a thread:
- most groups: a thread computes an element of the result;
- a group around reductions over many elements: a team of threads shares an element, and joins parts in
  shared memory by a tree of fixed shape, so that results do not depend on timing; rows that depend on
  what they were reduced to (softmax) are written by the same team;
- contractions: `gpu.contraction`.
"""

from __future__ import annotations

from collections.abc import Sequence

from kcompile.codegen import cost, loops
from kcompile.codegen.gpu.contraction import lower_contraction
from kcompile.codegen.gpu.device import BLOCK, THREAD, Grid, device_function
from kcompile.codegen.gpu.teams import Team, TeamBuilder, team_of
from kcompile.codegen.groups.elements import Inliner, Windows, parameters
from kcompile.codegen.groups.epilogue import anchored
from kcompile.codegen.loops import ZERO, Buffer, Expr
from kcompile.codegen.loops.builder import Builder, Index
from kcompile.codegen.program import Kernel, Size, size_of
from kcompile.codegen.targets import Target
from kcompile.ir.domain import Domain, domain_of
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.types import numel


def lower_group(
    name: str, node: Node, target: Target, aliased: bool = False, windows: Windows = ()
) -> Kernel:
    """The kernel of a group. Its buffers are the group's operands, then its results. `aliased`: a
    result may be written over an operand. Raises ValueError for a group that has no schedule here, and
    where there are windows."""
    if windows:
        raise ValueError(f"{node.label}: arrays in windows are for processors")
    body = node.body
    anchor = node.anchor
    if anchor is not None:
        parts = anchored(node, anchor, target)
        made = lower_contraction(
            name, parts.spec, parts.a, parts.b, parts.epilogue, target, b_panels=parts.panels
        )
        return parts.kernel(made, node.label, aliased)
    supported(body, node.label)
    inputs, outputs = parameters(body)
    domain = domain_of(body)
    team = team_of(body)
    b = Builder(target, 1) if team is None else TeamBuilder(target, team)
    items = size_of(numel(domain.reduced_shape))
    rows, threads = (team.rows, team.threads) if team else (cost.BLOCK_THREADS, cost.BLOCK_THREADS)
    grid = Grid(items, rows, 1, threads)
    with b.block() as statements:
        inliner = Inliner(body, inputs, b)
        element = element_of(b, inliner, domain, outputs)
        count = loops.N * items.per_sample + items.fixed
        if team is None:
            flat = b.let(BLOCK * cost.BLOCK_THREADS + THREAD)
            with b.when(loops.binary("lt", flat, count)):
                element.by_thread(flat)
        else:
            row = b.let(BLOCK * team.rows + team.row)
            element.by_team(team, row, count)
    function = device_function(name, (*inputs, *outputs), grid, statements, node.label, aliased)
    return Kernel(function, Size(1), Size(1))


def element_of(b: Builder, inliner: Inliner, domain: Domain, outputs: Sequence[Buffer]) -> DomainElement:
    """The results of a group over its domain. Raises ValueError for one that does not fit there."""
    return DomainElement(b, inliner, domain, list(zip(inliner.body.outputs.values(), outputs)))


class DomainElement:
    """Writes what belongs to one index of the parallel axes (`Domain.parallel`): an element of each result of
    that shape, and a row of elements of each result that has the reduced axes too."""

    def __init__(
        self, b: Builder, inliner: Inliner, domain: Domain, results: Sequence[tuple[Value, Buffer]]
    ) -> None:
        self.b, self.inliner, self.domain = b, inliner, domain
        self.depth = [domain.shape[a] for a in domain.axes]
        shapes = [inliner.body.type(v).shape for v, _ in results]
        whole = [bool(domain.axes) and shape == domain.shape for shape in shapes]
        self.row_results = [x for x, row in zip(results, whole) if row]
        self.reduced_results = [
            (v, buffer, shape) for (v, buffer), row, shape in zip(results, whole, shapes) if not row
        ]
        for _, buffer, shape in self.reduced_results:
            if numel(shape) != numel(domain.reduced_shape):
                raise ValueError(
                    f"{buffer.name}: a result of {shape} beside one of {domain.reduced_shape} has no "
                    "schedule for graphics processors"
                )

    def by_thread(self, flat: Expr) -> None:
        """One thread writes the results at number `flat` of the parallel axes."""
        at_parallel = self._reduce(flat)
        values = self._reduced_values(flat, at_parallel)
        if self.row_results:
            with self.b.loop("r", 0, self.b.extent(numel(self.depth))) as at:
                self._row(at_parallel, at)
        self._write(values, flat)

    def by_team(self, team: Team, row: Expr, count: Expr) -> None:
        """A team writes the results at number `row` of the parallel axes, of `count` in all. A team beyond
        the last one computes the last again, and writes nothing: all threads come to every barrier."""
        b = self.b
        assert isinstance(b, TeamBuilder)
        flat = b.let(loops.binary("min", row, loops.binary("sub", count, 1)))
        inside = b.let(loops.binary("lt", row, count))
        at_parallel = self._reduce(flat)
        mine = loops.binary("and", loops.binary("eq", team.lane, 0), inside)
        if not self.row_results:
            with b.when(mine):
                b.divergent = True  # the team's other threads do not come here
                self._write(self._reduced_values(flat, at_parallel), flat)
                b.divergent = False
            return
        values = self._reduced_values(flat, at_parallel)
        stop = b.let(loops.select(inside, b.extent(numel(self.depth)), 0))
        b.divergent = True
        with b.loop("r", team.lane, stop, team.lanes) as at:
            self._row(at_parallel, at)
        b.divergent = False
        if values:
            b.emit(loops.Barrier())  # a reduced result may lie where an operand of a row does
            with b.when(mine):
                self._write(values, flat)

    def _write(self, values: Sequence[Expr], flat: Expr) -> None:
        for (_, buffer, _), value in zip(self.reduced_results, values):
            self.b.store(buffer, flat, value)

    def _reduce(self, flat: Expr) -> Index:
        """Compute the reductions at number `flat` of the parallel axes, before anything asks for them; gives
        the index."""
        at_parallel = tuple(self.b.let(i) for i in self.b.unflatten(flat, self.domain.reduced_shape))
        if self.domain.axes:
            for m in self.inliner.body.live():
                if m.op.kind == "reduction":
                    self.inliner.compute_at(Value(m.id), at_parallel)
        return at_parallel

    def _reduced_values(self, flat: Expr, at_parallel: Index) -> list[Expr]:
        """The elements of the reduced results. All are computed before the first is written, as that may lie
        where an operand does."""
        out = []
        for value, _, shape in self.reduced_results:
            if shape == self.domain.reduced_shape:
                index = at_parallel
            elif self.domain.axes and shape == self.domain.keepdims_shape:
                index = self._full(at_parallel, [ZERO] * len(self.depth))
            else:
                index = self.b.unflatten(flat, shape)
            out.append(self.b.let(self.inliner.compute_at(value, index)))
        return out

    def _row(self, at_parallel: Index, at: Expr) -> None:
        index = self._full(at_parallel, [self.b.let(i) for i in self.b.unflatten(at, tuple(self.depth))])
        values = [self.b.let(self.inliner.compute_at(value, index)) for value, _ in self.row_results]
        flat = self.b.flatten(index, self.domain.shape)
        for (_, buffer), value in zip(self.row_results, values):
            self.b.store(buffer, flat, value)

    def _full(self, at_parallel: Index, reduced: Sequence[Expr]) -> Index:
        known = dict(zip(self.domain.parallel, at_parallel)) | dict(zip(self.domain.axes, reduced))
        return tuple(known[i] for i in range(len(self.domain.shape)))


def supported(body: Graph, label: str) -> None:
    """Raises ValueError for an op that no schedule computes."""
    for m in body.nodes.values():
        by_element = m.op.scalar is not None or m.op.lower is not None
        if not by_element and m.op.kind != "source":
            raise ValueError(f"layer {label!r}: {m.op.name} has no schedule for graphics processors")

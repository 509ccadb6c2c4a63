"""The loops of a group without contraction: over what is kept, and in there over what is reduced.

Enters: a group's body and its `Domain`. Leaves: statements in the builder's block, the iterations of the
parallel loop, and what one costs. Vectors lie along the last axis:

- if that is kept ([n, h, w, C] to [C], or nothing reduced at all), each lane has a sum of its own;
- if it is reduced (softmax, layer normalisation), a row is traversed once for each reduction that depends
  on another (maximum, then sum). Elements that a later traversal needs again, and that cost something, stay
  in memory private to the thread. A row of at most a few vectors stays in registers.

Sums run in several independent chains, whose number depends on shapes only: the bits are the same for
any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from kcompile.codegen import cost, loops
from kcompile.codegen.groups.elements import Inliner, OpCall
from kcompile.codegen.loops import ZERO, Buffer, Expr, Var
from kcompile.codegen.loops.builder import Builder, Index
from kcompile.codegen.program import Size, size_of
from kcompile.ir.domain import Coalesced, Domain, coalesce_axes
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.types import Batch, Dim, Shape, numel

Position = dict[Coalesced, Expr]  # the index of each loop around
Visit = Callable[[Expr, "Expr | None"], None]


@dataclass
class _Level:
    """What one sweep does: reductions, results to store, elements to keep for later sweeps."""

    reductions: list[Node] = field(default_factory=list)
    results: list[tuple[Value, Buffer]] = field(default_factory=list)
    kept: list[Node] = field(default_factory=list)
    ready: list[Node] = field(default_factory=list)  # outer values known when it ends


class Sweeps:
    """See the module. weights: operations of each node, by its id."""

    def __init__(
        self,
        b: Builder,
        inliner: Inliner,
        body: Graph,
        domain: Domain,
        results: Sequence[tuple[Value, Buffer]],
        weights: dict[int, int],
    ) -> None:
        self.b, self.inliner, self.body, self.domain = b, inliner, body, domain
        self.nodes = body.live()
        self.sized = [r for r in coalesce_axes(body, domain) if self.size(r) != 1]
        self.across = self.sized[-1] if self.sized else None  # where the lanes of a vector lie
        self.rows = self.across is not None and self.across[0] in domain.axes
        self.turned = self.across_vectors()
        self.chains = self.widen()
        self.levels, self.outer = self.plan(results, weights)
        stored = sum(body.type(v).shape == domain.shape for v, _ in results)
        self.weight = (
            1
            + 2 * stored
            + sum(
                weights[m.id]
                for m in self.nodes
                if not domain.axes or self.reduces(m) or m.types[0].shape == domain.shape
            )
        )

    # ---- shapes

    def size(self, run: Coalesced) -> Dim:
        return numel([self.domain.shape[i] for i in run])

    def kept_runs(self) -> list[Coalesced]:
        return [r for r in self.sized if r[0] not in self.domain.axes and r != self.across]

    def reduced_runs(self) -> list[Coalesced]:
        return [r for r in self.sized if r[0] in self.domain.axes and r != self.across]

    def widen(self) -> int:
        """Take vectors of several registers where that gives independent sums, and say how many more
        chains are wanted."""
        size = self.size(self.across) if self.across else 1
        if not self.domain.axes or not isinstance(size, int):
            return cost.SUM_CHAINS if self.domain.axes and not self.rows else 1
        lanes = self.b.lanes
        wide = 1
        while wide < cost.SUM_CHAINS and (
            self.b.target.masks and size > wide * lanes if self.rows else size % (2 * wide * lanes) == 0
        ):
            wide *= 2
        self.b.lanes *= wide
        return 1 if self.rows else cost.SUM_CHAINS // wide

    def across_vectors(self) -> Coalesced | None:
        """The run along which a transposed operand lies in memory, when vectors go another way."""
        size = self.size(self.across) if self.across else 1
        if self.domain.axes or (isinstance(size, int) and size < self.b.lanes):
            return None
        for m in self.nodes:
            if m.op.permutes and m.types[0].shape == self.domain.shape:
                last = m.attrs["axes"].index(len(self.domain.shape) - 1)
                found = [r for r in self.sized if last in r and r != self.across]
                if found and isinstance(self.size(found[0]), int):
                    return found[0]
        return None

    # ---- what happens in which sweep

    def plan(
        self, results: Sequence[tuple[Value, Buffer]], weights: dict[int, int]
    ) -> tuple[list[_Level], list[tuple[Value, Buffer]]]:
        after = self.numbers()
        levels = [_Level() for _ in range(max(after.values(), default=0) + 1)]
        outer = []
        for value, buffer in results:
            if self.body.type(value).shape == self.domain.shape:
                levels[after[value.node]].results.append((value, buffer))
            else:
                outer.append((value, buffer))
        for m in self.nodes:
            if self.reduces(m):
                levels[after[m.id] - 1].reductions.append(m)
            if self.is_outer(m):
                levels[max(after[m.id] - 1, 0)].ready.append(m)
        if self.rows and not self.is_short:
            for m in self.worth_keeping(after, weights):
                levels[after[m.id]].kept.append(m)
        while len(levels) > 1 and not (levels[-1].reductions or levels[-1].results):
            levels.pop()
        return levels, outer

    def numbers(self) -> dict[int, int]:
        """For each node the sweep in which its elements can be computed."""
        number: dict[int, int] = {}
        for m in self.nodes:
            number[m.id] = max((number[v.node] for v in m.inputs), default=0) + (self.reduces(m))
        return number

    def reduces(self, m: Node) -> bool:
        return m.op.kind == "reduction" and bool(self.domain.axes)

    @property
    def is_short(self) -> bool:
        """Whether a row is one vector."""
        size = self.size(self.across) if self.across else 1
        whole = size == self.b.lanes or self.b.target.masks
        return (
            self.rows
            and not self.reduced_runs()
            and isinstance(size, int)
            and (size <= self.b.lanes and whole)
        )

    def is_outer(self, m: Node) -> bool:
        """Whether a node is one number for each row, as everything that reads it takes it."""
        if not self.rows or m.op.kind == "source":
            return False
        shape = m.types[0].shape
        return self.reduces(m) or (
            shape in (self.domain.reduced_shape, self.domain.keepdims_shape)
            and all(
                self.domain.reads_per_row(shape, user)
                for user in self.nodes
                if any(v.node == m.id for v in user.inputs)
            )
        )

    def worth_keeping(self, after: dict[int, int], weights: dict[int, int]) -> list[Node]:
        """Inner values that a later sweep reads and that cost more to compute again than to keep."""
        last: dict[int, int] = {}
        for m in reversed(self.nodes):
            for v in m.inputs:
                last[v.node] = max(last.get(v.node, 0), after[m.id] - self.reduces(m))
        total: dict[int, int] = {}
        kept = []
        for m in self.nodes:
            total[m.id] = (
                0 if self.is_outer(m) else weights.get(m.id, 0) + sum(total[v.node] for v in m.inputs)
            )
            inner = m.types[0].shape == self.domain.shape and m.op.kind != "source"
            if inner and last.get(m.id, 0) > after[m.id] and total[m.id] > cost.REPEATED:
                kept.append(m)
                total[m.id] = 1
        return kept

    # ---- loops over what is kept

    def emit(self) -> tuple[Size, Size]:
        """The statements; gives the parallel extent and the cycles of an iteration."""
        b, kept = self.b, [r for r in self.kept_runs() if r != self.turned]
        if not kept:
            return self.emit_flat() if self.turned is None else self.emit_turned()
        head, rest = kept[:2], kept[2:]
        dims = [self.size(r) for r in head]
        with b.loop("p", 0, b.extent(numel(dims)), parallel=True) as p:
            at = dict(zip(head, b.unflatten(p, dims)))
            self.nest(rest, at, self.row)
        return size_of(numel(dims)), self.cycles([r for r in self.sized if r not in head])

    def nest(self, runs: Sequence[Coalesced], at: Position, inner: Callable[[Position], None]) -> None:
        """Loops over some runs; inner gets the position in each."""
        if not runs:
            inner(at)
        else:
            with self.b.loop("i", 0, self.b.extent(self.size(runs[0]))) as i:
                self.nest(runs[1:], {**at, runs[0]: i}, inner)

    def row(self, at: Position) -> None:
        """Everything at one position of the runs that are kept, except the vectors' own."""
        if self.across is None or self.rows:
            self.at_kept(at)
            return
        across, size = self.across, self.size(self.across)
        if self.turned is not None:
            with self.b.loop("b", 0, self.b.extent(self.size(self.turned)), cost.TRANSPOSED_LINES) as base:
                self.tile(at, base)
            return
        self.vectors(ZERO, self.b.extent(size), size, lambda i, mask: self.at_kept({**at, across: i}))

    def tile(self, at: Position, base: Expr) -> None:
        """All vectors, for a few positions of the turned run."""
        b, across, turned = self.b, self.across, self.turned
        assert across is not None and turned is not None
        stop = b.let(loops.binary("min", base + cost.TRANSPOSED_LINES, b.extent(self.size(turned))))

        def element(i: Expr, mask: Expr | None) -> None:
            with b.loop("t", base, stop) as t:
                self.at_kept({**at, across: i, turned: t})

        self.vectors(ZERO, b.extent(self.size(across)), self.size(across), element)

    def emit_turned(self) -> tuple[Size, Size]:
        """A transposed matrix: threads share its tiles."""
        assert self.turned is not None
        size = self.size(self.turned)
        assert isinstance(size, int)
        tiles = -(-size // cost.TRANSPOSED_LINES)
        with self.b.loop("p", 0, tiles, parallel=True) as p:
            self.tile({}, p * cost.TRANSPOSED_LINES)
        rest = [r for r in self.sized if r != self.turned]
        return Size(tiles), times(self.cycles(rest), cost.TRANSPOSED_LINES)

    def emit_flat(self) -> tuple[Size, Size]:
        """A single run of vectors, cut into spans for the threads; or one row for all."""
        b = self.b
        if self.across is None or self.rows:
            self.at_kept({})
            return Size(1), self.cycles(self.sized)
        across, size = self.across, self.size(self.across)
        unit = b.lanes if self.domain.axes else max(cost.THREAD_ELEMENTS, b.lanes)
        if isinstance(size, int) and size <= unit:
            self.row({})
            return Size(1), self.cycles(self.sized)
        begin, end = Var("begin"), Var("end")
        if isinstance(size, Batch):  # a sample at a time, but cut where vectors meet
            extent, count = Size(0, 1), b.extent(size)
            start: Expr = begin * size.multiple // unit * unit
            stop = loops.select(loops.binary("lt", end, loops.N), end * size.multiple // unit * unit, count)
            steps = -(-size.multiple // b.lanes)
        else:
            extent = Size(-(-size // unit))
            start, stop = begin * unit, loops.binary("min", end * unit, loops.const(size))
            steps = unit // b.lanes
        with b.block() as body:
            self.vectors(b.let(start), b.let(stop), size, lambda i, mask: self.at_kept({across: i}))
        b.emit(loops.loop(Var(b.fresh("p")), 0, self.count(extent), body, kind="span"))
        return extent, times(self.cycles([r for r in self.sized if r != across]), steps)

    def count(self, size: Size) -> Expr:
        return loops.N * size.per_sample + size.fixed

    # ---- one position of what is kept

    def at_kept(self, at: Position) -> None:
        """All sweeps, then the results that have one number here."""
        b = self.b
        index = self.index(at, self.domain.parallel)
        cache: list[Buffer] = []
        before = dict(self.inliner.defined)
        short = self.short_row() if self.is_short else None
        for level in self.levels:
            if self.domain.axes:
                self.sweep(level, at, short, cache)
            else:
                self.visit(level, at, None, 0, cache)
        places = [self.align(index, self.body.type(value).shape) for value, _ in self.outer]
        self.write(
            [
                (buffer, b.flatten(place, self.body.type(value).shape), self.inliner.compute_at(value, place))
                for (value, buffer), place in zip(self.outer, places)
            ]
        )
        self.inliner.defined = before

    def write(self, results: Sequence[tuple[Buffer, Expr, Expr]]) -> None:
        """Store elements (buffer, place, value), all of which are computed before the first is
        written: a result may lie where another's operand does."""
        values = [self.b.let(v) if len(results) > 1 else v for _, _, v in results]
        for (buffer, place, _), value in zip(results, values):
            self.b.store(buffer, place, value, self.b.mask)

    def index(self, at: Position, axes: Sequence[int]) -> Index:
        """The index along some axes, from positions in runs that hold them whole."""
        place: dict[int, Expr] = {}
        for run, i in at.items():
            place.update(zip(run, self.b.unflatten(i, [self.domain.shape[a] for a in run])))
        return tuple(place.get(a, ZERO) for a in axes)

    def align(self, index: Index, shape: Shape) -> Index:
        """An index along the kept axes as one into a shape with ones for reduced axes."""
        if len(shape) == len(index):
            return index
        place = dict(zip(self.domain.parallel, index))
        return tuple(place.get(i, ZERO) for i in range(len(shape)))

    def short_row(self) -> tuple[Expr, Expr | None]:
        assert self.across is not None
        size, lanes = self.size(self.across), self.b.lanes
        place = loops.ramp(0, lanes)
        return place, None if size == lanes else loops.binary("lt", place, self.b.extent(size))

    # ---- one sweep over what is reduced

    def sweep(
        self, level: _Level, at: Position, short: tuple[Expr, Expr | None] | None, cache: list[Buffer]
    ) -> None:
        b, across = self.b, self.across
        lanes = b.lanes if self.rows or b.vector > 1 else 1
        cells: dict[int, list[Buffer]] = {}
        for m in level.reductions:
            first = self.asked(m)[1]
            cells[m.id] = [b.cell(first, lanes) for _ in range(self.chains)]
            if self.rows and not b.target.masks:
                cells[m.id].append(b.cell(first, 1))
        row_cache = self.keep(level)

        def vector(here: Position) -> None:
            assert across is not None
            if short is not None:
                with b.lanes_of(b.lanes):
                    self.visit(level, {**here, across: short[0]}, short[1], 0, row_cache, cells)
                return
            size = self.size(across)
            self.vectors(
                ZERO,
                b.extent(size),
                size,
                lambda i, mask: self.visit(
                    level, {**here, across: i}, mask, 0 if i.lanes > 1 else -1, row_cache, cells
                ),
            )

        if self.rows:
            self.nest(self.reduced_runs(), at, vector)
        else:
            self.columns(at, lambda here, chain: self.visit(level, here, None, chain, row_cache, cells))
        for m in level.reductions:
            self.finish(m, cells[m.id])
        for m, buffer in zip(level.kept, row_cache):
            self.inliner.defined[m.id] = self.reload(m, buffer)
        for m in level.ready:
            if m.op.kind != "reduction":
                place = self.align(self.index(at, self.domain.parallel), m.types[0].shape)
                self.give(m, b.let(self.inliner.compute_at(Value(m.id), place)))

    def columns(self, at: Position, visit: Callable[[Position, int], None]) -> None:
        """Loops over the reduced runs, the innermost in several chains."""
        b, chains = self.b, self.chains
        if not self.reduced_runs():
            visit(at, 0)
            return
        *outer, last = self.reduced_runs()
        size = self.size(last)
        if isinstance(size, int) and size < chains:
            chains = 1

        def inner(here: Position) -> None:
            stop = b.extent(size)
            whole = stop // chains * chains
            with b.loop("r", 0, whole, chains) as i:
                for chain in range(chains):
                    visit({**here, last: i + chain}, chain)
            if chains > 1 and not (isinstance(size, int) and size % chains == 0):
                with b.loop("r", whole, stop) as i:
                    visit({**here, last: i}, 0)

        self.nest(outer, at, inner)

    def visit(
        self,
        level: _Level,
        at: Position,
        mask: Expr | None,
        chain: int,
        cache: Sequence[Buffer],
        cells: dict[int, list[Buffer]] | None = None,
    ) -> None:
        """One vector of elements: store what leaves or stays, and update the reductions."""
        b, inliner = self.b, self.inliner
        index = self.index(at, range(len(self.domain.shape)))
        with b.where(mask):
            writes = [
                (buffer, b.flatten(index, self.domain.shape), inliner.compute_at(value, index))
                for value, buffer in level.results
            ]
            writes += [
                (buffer, self.in_row(index), inliner.compute_at(Value(m.id), index))
                for m, buffer in zip(level.kept, cache)
                if buffer.space == "scratch"
            ]
            for m in level.reductions:
                combine, first = self.asked(m)
                value = inliner.compute_at(m.inputs[0], index)
                if mask is not None:
                    value = loops.select(mask, value, first)
                assert cells is not None
                b.update(combine, cells[m.id][chain], value)
            self.write(writes)

    def keep(self, level: _Level) -> list[Buffer]:
        """Where the elements for later sweeps stay: with the results, if they are one, else in
        memory of the thread."""
        stored = {value.node: buffer for value, buffer in level.results}
        found = []
        for m in level.kept:
            if m.id in stored:
                found.append(stored[m.id])
                continue
            row = numel([self.domain.shape[a] for a in self.domain.axes])
            assert isinstance(row, int)
            found.append(Buffer(self.b.fresh("row"), m.types[0].dtype, "scratch", row))
            self.b.alloc(found[-1])
        return found

    def in_row(self, index: Index) -> Expr:
        axes = self.domain.axes
        return self.b.flatten([index[a] for a in axes], [self.domain.shape[a] for a in axes])

    def reload(self, m: Node, buffer: Buffer) -> Callable[[Index], Expr]:
        scratch = buffer.space == "scratch"
        return lambda index: self.b.load(
            buffer, self.in_row(index) if scratch else self.b.flatten(index, self.domain.shape)
        )

    def asked(self, m: Node) -> tuple[str, Expr]:
        """How a reduction combines, and what it starts from, as its own rule tells."""
        assert m.op.lower is not None
        types = tuple(self.body.type(v) for v in m.inputs)
        answer: tuple[str, Expr] = m.op.lower(_ASKING, OpCall(types, m.types[0], m.attrs), (), None)
        return answer

    def finish(self, m: Node, cells: Sequence[Buffer]) -> None:
        """Combine the chains, always in the same order."""
        b, combine = self.b, self.asked(m)[0]
        values: list[Expr] = [loops.load(cell, 0) for cell in cells]
        if self.rows:
            values = [loops.across(combine, b.let(v)) for v in values]
        while len(values) > 1:
            pairs = [b.let(b.combine(combine, x, y)) for x, y in zip(values[::2], values[1::2])]
            values = pairs + values[2 * len(pairs) :]
        self.give(m, b.let(values[0]))

    def give(self, m: Node, value: Expr) -> None:
        if self.rows and isinstance(value, Var) and value.dtype in loops.FLOATS:
            self.b.uniform.add(value.name)
        self.inliner.defined[m.id] = lambda index: value

    # ---- vectors along an axis

    def vectors(self, start: Expr, stop: Expr, size: Dim, element: Visit) -> None:
        """Positions [start, stop), as `over_vectors`; where lanes are kept, all loads under the mask."""

        def masked(place: Expr, mask: Expr | None) -> None:
            with self.b.where(mask):
                element(place, mask)

        over_vectors(self.b, start, stop, size, element if self.rows else masked)

    # ---- cost

    def cycles(self, runs: Sequence[Coalesced]) -> Size:
        """Cycles, roughly, to go over some runs once."""
        total = Size(self.weight)
        for run in runs:
            size = self.size(run)
            if run == self.across:
                lanes = self.b.lanes
                size = -(-size // lanes) if isinstance(size, int) else Batch(-(-size.multiple // lanes))
            total = times(total, size) if isinstance(size, int) else Size(0, total.fixed * size.multiple)
        return total


class _Asking:
    """Stands in for the builder where only a reduction's operation is wanted."""

    const = staticmethod(loops.const)

    def reduce(self, op: str, extents: object, body: object, first: Expr) -> tuple[str, Expr]:
        return op, first


_ASKING = _Asking()


def over_vectors(b: Builder, start: Expr, stop: Expr, size: Dim, element: Visit) -> None:
    """element(place, mask) for the positions [start, stop) of `size`: whole vectors, then one under a
    mask, or single elements."""
    lanes = b.lanes
    fixed = isinstance(size, int) and isinstance(start, loops.Const)
    if size == 1:
        with b.lanes_of(1):
            element(ZERO, None)
        return
    whole = start + (stop - start) // lanes * lanes
    if not isinstance(size, int) or size >= lanes:
        with b.loop("v", start, whole, lanes) as i, b.lanes_of(lanes):
            element(loops.ramp(i, lanes), None)
    if isinstance(size, int) and size % lanes == 0:
        return
    if not b.target.masks:
        with b.loop("s", whole, stop) as i, b.lanes_of(1):
            element(i, None)
        return
    place = loops.ramp(whole, lanes)
    mask = loops.binary("lt", place, stop)
    with nullcontext() if fixed else b.when(loops.binary("lt", whole, stop)), b.lanes_of(lanes):
        element(place, mask if fixed else b.let(mask))


def times(size: Size, factor: int) -> Size:
    return Size(size.fixed * factor, size.per_sample * factor)

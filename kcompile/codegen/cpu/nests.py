"""The loop nest of a group without contraction: over the parallel axes, and inside over the reduced ones.

Enters: a group's body and its `Domain`. Leaves: statements in the builder's block, the iterations of the
parallel loop, and the cycles of one. Vectors lie along the last axis:

- where that is parallel ([n, h, w, C] to [C], or nothing reduced at all), each lane has a sum of its own;
- where it is reduced (softmax, layer normalisation), a row is traversed once per dependent reduction: for
  the maximum, then the sum, then to divide (`row_passes`). Element-wise values that a later pass reads, and
  that are not cheap, are cached in memory private to the thread. A row of one vector stays in registers.

Sums run in several independent chains, whose number depends on shapes only: the bits are the same for
any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from kcompile.codegen import cost, loops
from kcompile.codegen.cpu.row_passes import Results, RowPass, plan_passes, reduces
from kcompile.codegen.groups.elements import Inliner, OpCall
from kcompile.codegen.groups.windows import cuts_of
from kcompile.codegen.loops import ZERO, Buffer, Expr, Var
from kcompile.codegen.loops.builder import Builder, Index
from kcompile.codegen.program import Size, size_of
from kcompile.ir.domain import Coalesced, Domain, coalesce_axes
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.types import Batch, Dim, Shape, numel

Position = dict[Coalesced, Expr]  # the index of each enclosing loop
Visit = Callable[[Expr, "Expr | None"], None]


class LoopNest:
    """The loop nest of one group.

    results: where each is stored. weights: operations of each node, by its id. loop_axes: coalesced axes of
    more than one index, outermost first. vector_axes: those along which the lanes of a vector lie, None for
    a single element. row_vectors: whether these are reduced. strided_axes: see `find_strided_axes`. chains:
    independent sums of each reduction. rows: buffers of the thread that hold cached values of one row.
    """

    def __init__(
        self,
        b: Builder,
        inliner: Inliner,
        body: Graph,
        domain: Domain,
        results: Results,
        weights: dict[int, int],
    ) -> None:
        self.b, self.inliner, self.body, self.domain = b, inliner, body, domain
        self.nodes = body.live()
        cuts = cuts_of(body, domain, (*inliner.buffers.items(), *((v.node, buffer) for v, buffer in results)))
        self.loop_axes = [axes for axes in coalesce_axes(body, domain, cuts) if self.size(axes) != 1]
        self.vector_axes = self.loop_axes[-1] if self.loop_axes else None
        self.row_vectors = self.vector_axes is not None and self.vector_axes[0] in domain.axes
        self.strided_axes = self.find_strided_axes()
        self.chains = self.widen_vectors()
        self.rows: set[Buffer] = set()
        self.passes = plan_passes(
            body, domain, results, weights, row_vectors=self.row_vectors, caches=not self.is_short
        )
        self.per_row = [(v, buffer) for v, buffer in results if body.type(v).shape != domain.shape]
        stored = sum(body.type(v).shape == domain.shape for v, _ in results)
        self.weight = (
            1
            + 2 * stored
            + sum(
                weights[m.id]
                for m in self.nodes
                if not domain.axes or reduces(m, domain) or m.types[0].shape == domain.shape
            )
        )

    # ---- shapes

    def size(self, axes: Coalesced) -> Dim:
        return numel([self.domain.shape[i] for i in axes])

    def scalar_axes(self, reduced: bool) -> list[Coalesced]:
        """Loop axes other than the vectors' own, either the reduced or the parallel ones."""
        others = [axes for axes in self.loop_axes if axes != self.vector_axes]
        return [axes for axes in others if (axes[0] in self.domain.axes) == reduced]

    def widen_vectors(self) -> int:
        """Make vectors several registers wide where that gives independent sums. Gives the number of chains
        that are wanted besides."""
        size = self.size(self.vector_axes) if self.vector_axes else 1
        if not self.domain.axes or not isinstance(size, int):
            return cost.SUM_CHAINS if self.domain.axes and not self.row_vectors else 1
        lanes = self.b.lanes
        wide = 1
        while wide < cost.SUM_CHAINS and (
            self.b.target.masks and size > wide * lanes
            if self.row_vectors
            else size % (2 * wide * lanes) == 0
        ):
            wide *= 2
        self.b.lanes *= wide
        return 1 if self.row_vectors else cost.SUM_CHAINS // wide

    def find_strided_axes(self) -> Coalesced | None:
        """The axes along which a transposed operand is contiguous, where vectors access it at a stride."""
        size = self.size(self.vector_axes) if self.vector_axes else 1
        if self.domain.axes or (isinstance(size, int) and size < self.b.lanes):
            return None
        for m in self.nodes:
            if m.op.permutes and m.types[0].shape == self.domain.shape:
                last = m.attrs["axes"].index(len(self.domain.shape) - 1)
                found = [axes for axes in self.loop_axes if last in axes and axes != self.vector_axes]
                if found and isinstance(self.size(found[0]), int):
                    return found[0]
        return None

    @property
    def is_short(self) -> bool:
        """Whether a row is one vector."""
        size = self.size(self.vector_axes) if self.vector_axes else 1
        whole = size == self.b.lanes or self.b.target.masks
        return (
            self.row_vectors
            and not self.scalar_axes(reduced=True)
            and isinstance(size, int)
            and (size <= self.b.lanes and whole)
        )

    # ---- loops over parallel axes

    def emit(self) -> tuple[Size, Size]:
        """Write all statements. Gives the iterations of the parallel loop and the cycles of one."""
        b = self.b
        parallel = [axes for axes in self.scalar_axes(reduced=False) if axes != self.strided_axes]
        if not parallel:
            return self.emit_flat() if self.strided_axes is None else self.emit_transposed()
        head, rest = parallel[:2], parallel[2:]
        dims = [self.size(axes) for axes in head]
        with b.loop("p", 0, b.extent(numel(dims)), parallel=True) as p:
            at = dict(zip(head, b.unflatten(p, dims)))
            self.nest(rest, at, self.over_vector_axes)
        return size_of(numel(dims)), self.cycles([axes for axes in self.loop_axes if axes not in head])

    def nest(self, over: Sequence[Coalesced], at: Position, inner: Callable[[Position], None]) -> None:
        """Loops over some axes, the first outermost; `inner` writes their body, given the position."""
        if not over:
            inner(at)
        else:
            with self.b.loop("i", 0, self.b.extent(self.size(over[0]))) as i:
                self.nest(over[1:], {**at, over[0]: i}, inner)

    def over_vector_axes(self, at: Position) -> None:
        """All vectors at a position of the other parallel axes; where vectors lie along rows, the row."""
        if self.vector_axes is None or self.row_vectors:
            self.at_position(at)
            return
        axes, size = self.vector_axes, self.size(self.vector_axes)
        if self.strided_axes is not None:
            with self.b.loop(
                "b", 0, self.b.extent(self.size(self.strided_axes)), cost.TRANSPOSED_LINES
            ) as base:
                self.tile(at, base)
            return
        self.vectors(ZERO, self.b.extent(size), size, lambda i, mask: self.at_position({**at, axes: i}))

    def tile(self, at: Position, base: Expr) -> None:
        """All vectors, at the next few positions of the strided axes from `base` on."""
        b, axes, strided = self.b, self.vector_axes, self.strided_axes
        assert axes is not None and strided is not None
        stop = b.let(loops.binary("min", base + cost.TRANSPOSED_LINES, b.extent(self.size(strided))))

        def element(i: Expr, mask: Expr | None) -> None:
            with b.loop("t", base, stop) as t:
                self.at_position({**at, axes: i, strided: t})

        self.vectors(ZERO, b.extent(self.size(axes)), self.size(axes), element)

    def emit_transposed(self) -> tuple[Size, Size]:
        """A transposed matrix: threads divide its tiles."""
        assert self.strided_axes is not None
        size = self.size(self.strided_axes)
        assert isinstance(size, int)
        tiles = -(-size // cost.TRANSPOSED_LINES)
        with self.b.loop("p", 0, tiles, parallel=True) as p:
            self.tile({}, p * cost.TRANSPOSED_LINES)
        rest = [axes for axes in self.loop_axes if axes != self.strided_axes]
        return Size(tiles), self.cycles(rest) * cost.TRANSPOSED_LINES

    def emit_flat(self) -> tuple[Size, Size]:
        """No parallel axes but the vectors' own, cut into chunks for the threads; or a single row."""
        b = self.b
        if self.vector_axes is None or self.row_vectors:
            self.at_position({})
            return Size(1), self.cycles(self.loop_axes)
        axes, size = self.vector_axes, self.size(self.vector_axes)
        unit = b.lanes if self.domain.axes else max(cost.THREAD_ELEMENTS, b.lanes)
        if isinstance(size, int) and size <= unit:
            self.over_vector_axes({})
            return Size(1), self.cycles(self.loop_axes)
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
            self.vectors(b.let(start), b.let(stop), size, lambda i, mask: self.at_position({axes: i}))
        b.emit(loops.loop(Var(b.fresh("p")), 0, self.count(extent), body, kind="chunk"))
        return extent, self.cycles([other for other in self.loop_axes if other != axes]) * steps

    def count(self, size: Size) -> Expr:
        return loops.N * size.per_sample + size.fixed

    # ---- one position of the parallel axes

    def at_position(self, at: Position) -> None:
        """All passes over the row, then the stores of per-row results."""
        b = self.b
        index = self.index(at, self.domain.parallel)
        before = dict(self.inliner.defined)
        short = self.short_row() if self.is_short else None
        for row_pass in self.passes:
            if self.domain.axes:
                self.emit_pass(row_pass, at, short)
            else:
                self.visit(row_pass, at, None, 0)
        places = [self.align(index, self.body.type(value).shape) for value, _ in self.per_row]
        self.write(
            [
                (
                    buffer,
                    b.place(buffer, place, self.body.type(value).shape),
                    self.inliner.compute_at(value, place),
                )
                for (value, buffer), place in zip(self.per_row, places)
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
        """The index along some axes of the domain, from a position along coalesced ones."""
        place: dict[int, Expr] = {}
        for coalesced, i in at.items():
            place.update(zip(coalesced, self.b.unflatten(i, [self.domain.shape[a] for a in coalesced])))
        return tuple(place.get(a, ZERO) for a in axes)

    def place(self, buffer: Buffer, index: Index) -> Expr:
        """Where a buffer of a result of the domain's shape has the element at an index."""
        return self.b.place(buffer, index, self.domain.shape)

    def align(self, index: Index, shape: Shape) -> Index:
        """An index along the parallel axes, as one into a per-row value of this shape (keepdims or not)."""
        if len(shape) == len(index):
            return index
        place = dict(zip(self.domain.parallel, index))
        return tuple(place.get(i, ZERO) for i in range(len(shape)))

    def short_row(self) -> tuple[Expr, Expr | None]:
        """The indices along a row of one vector, and the mask of those that exist (None: all)."""
        assert self.vector_axes is not None
        size, lanes = self.size(self.vector_axes), self.b.lanes
        place = loops.ramp(0, lanes)
        return place, None if size == lanes else loops.binary("lt", place, self.b.extent(size))

    # ---- one pass over the reduced axes

    def emit_pass(self, row_pass: RowPass, at: Position, short: tuple[Expr, Expr | None] | None) -> None:
        """short: of a row of one vector, see `short_row`."""
        b, axes = self.b, self.vector_axes
        lanes = b.lanes if self.row_vectors or b.vector > 1 else 1
        accumulators: dict[int, list[Buffer]] = {}
        for m in row_pass.reductions:
            first = self.reduction_spec(m)[1]
            accumulators[m.id] = [b.accumulator(first, lanes) for _ in range(self.chains)]
            if self.row_vectors and not b.target.masks:
                accumulators[m.id].append(b.accumulator(first, 1))
        caches = self.cache_rows(row_pass)

        def vector(here: Position) -> None:
            assert axes is not None
            if short is not None:
                with b.lanes_of(b.lanes):
                    self.visit(row_pass, {**here, axes: short[0]}, short[1], 0, caches, accumulators)
                return
            size = self.size(axes)
            self.vectors(
                ZERO,
                b.extent(size),
                size,
                lambda i, mask: self.visit(
                    row_pass, {**here, axes: i}, mask, 0 if i.lanes > 1 else -1, caches, accumulators
                ),
            )

        if self.row_vectors:
            self.nest(self.scalar_axes(reduced=True), at, vector)
        else:
            self.columns(
                at, lambda here, chain: self.visit(row_pass, here, None, chain, caches, accumulators)
            )
        for m in row_pass.reductions:
            self.finish(m, accumulators[m.id])
        for m, buffer in zip(row_pass.cached, caches):
            self.inliner.defined[m.id] = self.reload(m, buffer)
        for m in row_pass.per_row:
            if m.op.kind != "reduction":
                place = self.align(self.index(at, self.domain.parallel), m.types[0].shape)
                self.define(m, b.let(self.inliner.compute_at(Value(m.id), place)))

    def columns(self, at: Position, visit: Callable[[Position, int], None]) -> None:
        """Loops over the reduced axes where lanes have sums of their own, the innermost in several chains."""
        b, chains = self.b, self.chains
        if not self.scalar_axes(reduced=True):
            visit(at, 0)
            return
        *outer, last = self.scalar_axes(reduced=True)
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
        row_pass: RowPass,
        at: Position,
        mask: Expr | None,
        chain: int,
        caches: Sequence[Buffer] = (),
        accumulators: dict[int, list[Buffer]] | None = None,
    ) -> None:
        """One vector of elements: store results and cached values, and update the accumulators."""
        b, inliner = self.b, self.inliner
        index = self.index(at, range(len(self.domain.shape)))
        with b.where(mask):
            writes = [
                (buffer, self.place(buffer, index), inliner.compute_at(value, index))
                for value, buffer in row_pass.results
            ]
            writes += [
                (buffer, self.row_index(index), inliner.compute_at(Value(m.id), index))
                for m, buffer in zip(row_pass.cached, caches)
                if buffer in self.rows
            ]
            for m in row_pass.reductions:
                combine, first = self.reduction_spec(m)
                value = inliner.compute_at(m.inputs[0], index)
                if mask is not None:
                    value = loops.select(mask, value, first)
                assert accumulators is not None
                b.update(combine, accumulators[m.id][chain], value)
            self.write(writes)

    def cache_rows(self, row_pass: RowPass) -> list[Buffer]:
        """The buffers of cached values: the result's own where the value is a result, else memory private to
        the thread, for one row."""
        stored = {value.node: buffer for value, buffer in row_pass.results}
        found = []
        for m in row_pass.cached:
            if m.id in stored:
                found.append(stored[m.id])
                continue
            row = numel([self.domain.shape[a] for a in self.domain.axes])
            assert isinstance(row, int)
            found.append(Buffer(self.b.fresh("row"), m.types[0].dtype, "scratch", row))
            self.rows.add(self.b.alloc(found[-1]))
        return found

    def row_index(self, index: Index) -> Expr:
        """The place of an element in its row."""
        axes = self.domain.axes
        return self.b.flatten([index[a] for a in axes], [self.domain.shape[a] for a in axes])

    def reload(self, m: Node, buffer: Buffer) -> Callable[[Index], Expr]:
        """How later passes read a cached value."""
        is_row = buffer in self.rows
        return lambda index: self.b.load(
            buffer, self.row_index(index) if is_row else self.place(buffer, index)
        )

    def reduction_spec(self, m: Node) -> tuple[str, Expr]:
        """The operation that combines the elements of a reduction, and its neutral element."""
        assert m.op.lower is not None
        types = tuple(self.body.type(v) for v in m.inputs)
        answer: tuple[str, Expr] = m.op.lower(_PROBE, OpCall(types, m.types[0], m.attrs), (), None)
        return answer

    def finish(self, m: Node, accumulators: Sequence[Buffer]) -> None:
        """Combine the chains of a reduction, always in the same order, and define its result."""
        b, combine = self.b, self.reduction_spec(m)[0]
        values: list[Expr] = [loops.load(cell, 0) for cell in accumulators]
        if self.row_vectors:
            values = [loops.reduce_lanes(combine, b.let(v)) for v in values]
        while len(values) > 1:
            pairs = [b.let(b.combine(combine, x, y)) for x, y in zip(values[::2], values[1::2])]
            values = pairs + values[2 * len(pairs) :]
        self.define(m, b.let(values[0]))

    def define(self, m: Node, value: Expr) -> None:
        """From here on a node is this per-row value."""
        if self.row_vectors and isinstance(value, Var) and value.dtype in loops.FLOATS:
            self.b.uniform.add(value.name)
        self.inliner.defined[m.id] = lambda index: value

    # ---- vectors along an axis

    def vectors(self, start: Expr, stop: Expr, size: Dim, element: Visit) -> None:
        """Positions [start, stop), as `over_vectors`; where lanes are parallel, all loads under the mask."""

        def masked(place: Expr, mask: Expr | None) -> None:
            with self.b.where(mask):
                element(place, mask)

        over_vectors(self.b, start, stop, size, element if self.row_vectors else masked)

    # ---- cost

    def cycles(self, over: Sequence[Coalesced]) -> Size:
        """Cycles, roughly, of loops over some axes."""
        total = Size(self.weight)
        for axes in over:
            size = self.size(axes)
            if axes == self.vector_axes:
                lanes = self.b.lanes
                size = -(-size // lanes) if isinstance(size, int) else Batch(-(-size.multiple // lanes))
            total = total * size if isinstance(size, int) else Size(0, total.fixed * size.multiple)
        return total


class _Probe:
    """Stands in for the builder to learn a reduction's operation from the op's rule, which writes no code."""

    const = staticmethod(loops.const)

    def reduce(self, op: str, extents: object, body: object, first: Expr) -> tuple[str, Expr]:
        return op, first


_PROBE = _Probe()


def over_vectors(b: Builder, start: Expr, stop: Expr, size: Dim, element: Visit) -> None:
    """Call element(place, mask) to write code for the positions [start, stop) of an axis of `size`: whole
    vectors, then the rest as one masked vector, or one by one where the target has no masks."""
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

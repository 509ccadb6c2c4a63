"""A chain of groups as one kernel: a product for each sample, what follows row by row, and a product of that.

Enters: a group of three groups (`ir.passes.chain_rows`): attention's scores, their softmax, and the sums of
values. Leaves: a `Kernel`. Threads share the rows of all samples, block by block. What lies between the
groups is memory of the thread for one block of rows, which stays in its cache: nobody has all scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from kcompile.codegen import cost, loops
from kcompile.codegen.contraction.blocking import FlatRows, cache_elements, ceil_div, multiple
from kcompile.codegen.contraction.nests import Code, begin_columns, over_items
from kcompile.codegen.contraction.plan import Plan, make_plan
from kcompile.codegen.contraction.polyphase import phases
from kcompile.codegen.contraction.words import of_words
from kcompile.codegen.contraction.work import cycles_of_iteration, iterations_of
from kcompile.codegen.cpu.nests import LoopNest
from kcompile.codegen.groups.elements import Inliner, lanes_of, parameters
from kcompile.codegen.groups.epilogue import anchored
from kcompile.codegen.groups.operands import Source, of_sample
from kcompile.codegen.loops import ZERO, Buffer, Expr, Function, Var
from kcompile.codegen.loops.builder import Builder, Index
from kcompile.codegen.loops.indexing import extent, flatten
from kcompile.codegen.program import Kernel, Size, size_of
from kcompile.codegen.targets import Target
from kcompile.ir.domain import domain_of
from kcompile.ir.graph import Node
from kcompile.ir.types import numel, static

_SAMPLE = Var("sample")
_BASE = Var("base")  # the number, among the elements of all scores, of the first that is at hand


def lower_chain(name: str, node: Node, target: Target) -> Kernel:
    """The kernel of a chain. Its buffers are the operands of the group of groups, then its results."""
    body = node.body
    first, between, last = (m for m in body.live() if m.regions)
    inputs, outputs = parameters(body)
    held = dict(zip((v.node for v in body.inputs.values()), inputs))
    assert first.anchor is not None
    spec = first.anchor.attrs["spec"]
    rows, columns = static((numel(spec.m), numel(spec.j)))
    out = Builder(target, target.lanes(first.types[0].dtype))

    def buffers_of(group: Node, scores: Buffer) -> list[Buffer]:
        return [held.get(body.shown(v).node, scores) for v in group.inputs]

    def products(scores: Buffer) -> tuple[Code, Code]:
        results = ([scores], list(outputs))
        one, two = (
            _product(m, buffers_of(m, scores), made, scores, rows, out)
            for m, made in zip((first, last), results)
        )
        return one, two

    scores = Buffer("scores", first.types[0].dtype, "scratch")
    block = _rows_of_block([code.plan for code in products(scores)], rows, columns, multiple(numel(spec.g)))
    scores = replace(scores, size=block * columns)
    codes = products(scores)
    blocks = ceil_div(rows, block)
    begin, end = Var("begin"), Var("end")
    with out.block() as of_sample_rows:
        low = out.let(loops.binary("max", begin - _SAMPLE * blocks, 0), "low")
        high = out.let(loops.binary("min", end - _SAMPLE * blocks, blocks), "high")
        out.alloc(scores)
        copies = [begin_columns(code, ZERO, loops.const(code.plan.columns.vectors)) for code in codes]
        with out.loop("block", low, high) as number:
            start = out.let(number * block, "start")
            stop = out.let(loops.binary("min", start + block, rows), "stop")
            out.emit(loops.let(_BASE.name, (_SAMPLE * rows + start) * columns)[0])
            _items(codes[0], copies[0], start, stop)
            nest = _rows_between(between, buffers_of(between, scores), scores, out)
            nest.over_rows(_SAMPLE * rows + start, _SAMPLE * rows + stop)
            _items(codes[1], copies[1], start, stop)
    over_samples = loops.loop(_SAMPLE, begin // blocks, (end + (blocks - 1)) // blocks, of_sample_rows)
    items = numel(spec.g) * blocks
    run = loops.loop(Var("part"), 0, extent(items), [over_samples], kind="chunk")
    cycles = sum(cycles_of_iteration([c.plan]).fixed * multiple(iterations_of(c.plan)) for c in codes)
    cycles += nest.weight * rows * ceil_div(columns, target.lanes(scores.dtype))
    function = Function(name, (*inputs, *outputs), (run,), node.label)
    return Kernel(function, size_of(items), Size(max(cycles // blocks, 1)))


# ---------------------------------------------------------------- products


def _product(
    group: Node, given: list[Buffer], results: list[Buffer], scores: Buffer, rows: int, out: Builder
) -> Code:
    """One of the products, of the sample at hand. All its columns are one block."""
    assert group.anchor is not None
    parts = anchored(group, group.anchor, out.target, buffers=(given, results))
    spec, b, epilogue = parts.spec, parts.b, parts.epilogue
    a = _at_hand(parts.a) if parts.a.buffer == scores else parts.a
    if results == [scores]:
        epilogue = replace(epilogue, start=_BASE)
    if parts.words:
        spec, a, b = of_words(spec, a, b, False, out)
    spec, a, b = of_sample(spec, a, b, _SAMPLE)
    plan = make_plan(phases(spec, a.shape)[0], a, b, epilogue, out.target, None)
    whole = plan.columns.vectors
    plan = replace(plan, columns=replace(plan.columns, part=whole, block=whole))
    return Code(plan, out, _SAMPLE * rows)


def _at_hand(source: Source) -> Source:
    """The scores as an operand, of which only the rows at hand are in memory."""
    buffer = source.buffer
    assert buffer is not None

    def at(index: Index, mask: Expr | None) -> Expr:
        return loops.load(buffer, flatten(index, source.shape) - _BASE, mask)

    return replace(source, at=at, start=ZERO - _BASE)


def _rows_of_block(plans: Sequence[Plan], rows: int, columns: int, samples: int) -> int:
    """Rows whose scores are there at once: some that stay in L2, whole tiles of either product, and few
    enough for threads to share; all rows of a sample where tiles are not of any rows."""
    tiles = [plan.rows.tiles[0].rows for plan in plans if isinstance(plan.rows, FlatRows)]
    if len(tiles) < len(plans):
        return rows
    tile = math.lcm(*tiles)
    wanted = min(
        cache_elements(plans[0].target) // columns, ceil_div(rows, ceil_div(cost.MANY_TILES, samples))
    )
    block = max(wanted // tile, 1) * tile
    return rows if block >= rows else block


def _items(code: Code, copied: Buffer | None, start: Expr, stop: Expr) -> None:
    """A product, of the rows start .. stop."""
    plan = code.plan
    if not isinstance(plan.rows, FlatRows):
        start, stop = ZERO, extent(plan.rows.items)
    over_items(code, copied, start, stop, ZERO, loops.const(plan.columns.vectors))


# ---------------------------------------------------------------- rows


class _Rows(LoopNest):
    """The loops over rows at hand. Scores become what follows from them, in their own place. lanes: of a
    vector of these loops."""

    lanes = 1

    def over_rows(self, first: Expr, stop: Expr) -> None:
        """The rows first .. stop, numbered over all samples."""
        b = self.b
        parallel = self.scalar_axes(reduced=False)
        outer, b.lanes = b.lanes, self.lanes
        with b.loop("r", first, stop) as row:
            at = b.unflatten(row, [self.size(axes) for axes in parallel])
            self.over_vector_axes(dict(zip(parallel, at)))
        b.lanes = outer

    def place(self, buffer: Buffer, index: Index) -> Expr:
        return super().place(buffer, index) - _BASE


def _rows_between(group: Node, given: Sequence[Buffer], scores: Buffer, out: Builder) -> _Rows:
    body = group.body
    inliner = Inliner(body, given, out)
    (value,) = (v for v, buffer in zip(body.inputs.values(), given) if buffer == scores)
    shape = body.type(value).shape
    inliner.defined[value.node] = lambda index: out.load(scores, flatten(index, shape) - _BASE)
    weights = {m.id: cost.weight(m) for m in body.live()}
    (result,) = body.outputs.values()
    outer, out.lanes = out.lanes, lanes_of(body, out.target)
    made = _Rows(out, inliner, body, domain_of(body), [(result, scores)], weights)
    made.lanes, out.lanes = out.lanes, outer
    return made

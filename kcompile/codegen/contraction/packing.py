"""Copies of operands into thread-private memory, in the order in which a contraction reads them.

What enters: a `Source` and the box of its coordinates that a block needs; coordinates may fall
outside the operand (padding) or between its elements (strided gradients), which reads as zero.
What leaves: statements that fill a row-major scratch box without guards, so that the register tile
reads every element at a constant stride. This is the implicit im2col: a convolution's block copies
each input element once, never once per filter tap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kcompile.codegen import loops
from kcompile.codegen.contraction.blocking import Columns, multiple, row_major
from kcompile.codegen.groups.operands import Source
from kcompile.codegen.loops import Buffer, Expr, Names, Stmt
from kcompile.codegen.loops.indexing import extent
from kcompile.codegen.targets import Target
from kcompile.ir.contraction import Contraction
from kcompile.ir.types import Dim


@dataclass(frozen=True)
class Side:
    """One dim of a box. base: coordinate (times the divisor) of its start. size: coordinates in
    the box, `stride` elements of the copy apart. checked: whether a coordinate can be outside."""

    base: Expr
    size: int
    stride: int
    divisor: int = 1
    checked: bool = False


@dataclass(frozen=True)
class Copy:
    """A copy in progress: from where, to where, and the names still free."""

    source: Source
    target: Target
    buffer: Buffer
    names: Names


def clamp(x: Expr, low: int, high: int) -> Expr:
    return loops.binary("min", loops.binary("max", x, low), high)


def copy_box(copy: Copy, sides: Sequence[Side], start: Expr) -> list[Stmt]:
    """Fill the box at `start` of the copy's buffer with the source's elements, zero where none."""
    run = _run_start(copy, sides)

    def nest(d: int, index: tuple[Expr, ...], to: Expr, valid: Expr | None) -> list[Stmt]:
        if d == run:
            return _run(copy, sides, d, index, to, valid)
        side, i = sides[d], copy.names.fresh("i")
        let, at = loops.let(copy.names.fresh("h").name, side.base + i)
        if side.checked:
            ok = _inside(at, side, copy.source.shape[d])
            valid = ok if valid is None else loops.binary("and", valid, ok)
        inner = nest(d + 1, (*index, at // side.divisor), to + i * side.stride, valid)
        return [loops.loop(i, 0, side.size, [let, *inner])]

    return nest(0, (), start, None)


def _inside(at: Expr, side: Side, size: Dim) -> Expr:
    ok = loops.binary("and", loops.binary("ge", at, 0), loops.binary("lt", at, extent(size) * side.divisor))
    if side.divisor != 1:
        ok = loops.binary("and", ok, loops.binary("eq", at % side.divisor, 0))
    return ok


def _run_start(copy: Copy, sides: Sequence[Side]) -> int:
    """The first dim of the run: the dims from it on are contiguous in source and copy."""
    shape, d = copy.source.shape, len(sides) - 1
    if sides[d].divisor != 1:
        return d + 1
    while d > 0 and copy.source.buffer is not None:
        inner, outer = sides[d], sides[d - 1]
        whole = (
            isinstance(inner.base, loops.Const)
            and inner.base.value == 0
            and inner.size == shape[d]
            and not inner.checked
        )
        width = math.prod(side.size for side in sides[d:])
        if not whole or outer.divisor != 1 or outer.stride != width or row_major(shape) is None:
            break
        d -= 1
    return d


def _run(
    copy: Copy, sides: Sequence[Side], d: int, index: tuple[Expr, ...], to: Expr, valid: Expr | None
) -> list[Stmt]:
    """A contiguous run: zeros before the operand's first element, its elements, zeros after."""
    source = copy.source
    if d == len(sides):
        value = source.at(index, None)
        put, clear = loops.store(copy.buffer, to, value), loops.store(copy.buffer, to, 0.0)
        return [put] if valid is None else [loops.If(valid, (put,), (clear,))]
    side, width = sides[d], math.prod(s.size for s in sides[d + 1 :])
    length = side.size * width
    low: Expr = loops.const(0)
    high: Expr = loops.const(length)
    if side.checked:
        size = extent(source.shape[d])
        low = clamp(loops.binary("sub", 0, side.base), 0, side.size) * width
        high = clamp(loops.binary("sub", size, side.base), 0, side.size) * width
        high = loops.binary("max", low, high)
    if valid is not None:
        low, high = (loops.select(valid, x, length) for x in (low, high))
    out: list[Stmt] = []
    names = []
    for stem, value in (("lo", low), ("hi", high), ("to", to)):
        let, name = loops.let(copy.names.fresh(stem).name, value)
        out.append(let)
        names.append(name)
    first, last, to = names
    strides = row_major(source.shape)
    if source.buffer is None or strides is None:

        def element(x: Expr, lanes: int, mask: Expr | None) -> Expr:
            return source.at((*index, loops.ramp(side.base + x, lanes)), mask)
    else:
        flat = source.start + side.base * width
        for at, stride in zip(index, strides):
            flat = flat + at * stride
        let, flat = loops.let(copy.names.fresh("f").name, flat)
        out.append(let)
        buffer = source.buffer

        def element(x: Expr, lanes: int, mask: Expr | None) -> Expr:
            return loops.load(buffer, loops.ramp(flat + x, lanes), mask)

    def zero(x: Expr, lanes: int, mask: Expr | None) -> Expr:
        return loops.broadcast(loops.const(0.0, "float32"), lanes)

    guarded = side.checked or valid is not None
    static = None if guarded else length
    if guarded:
        out += fill(copy, to, loops.const(0), first, zero, None)
    out += fill(
        copy,
        to,
        loops.const(0) if static else first,
        loops.const(length) if static else last,
        element,
        static,
    )
    if guarded:
        out += fill(copy, to, last, loops.const(length), zero, None)
    return out


def fill(
    copy: Copy,
    to: Expr,
    first: Expr,
    last: Expr,
    element: Callable[[Expr, int, Expr | None], Expr],
    count: int | None,
) -> list[Stmt]:
    """Elements first .. last of a run, in vectors and then the rest by mask or one by one.
    count: last - first when known, which leaves out what is not needed."""
    lanes = copy.target.lanes("float32")
    x, e = copy.names.fresh("x"), copy.names.fresh("e")
    whole = loops.binary("sub", last, first) // lanes * lanes
    let, middle = loops.let(copy.names.fresh("mid").name, first + whole)
    out: list[Stmt] = [let]
    if count is None or count >= lanes:
        out.append(
            loops.loop(
                x,
                first,
                middle,
                [loops.store(copy.buffer, loops.ramp(to + x, lanes), element(x, lanes, None))],
                lanes,
            )
        )
    if count is not None and count % lanes == 0:
        return out
    if copy.target.masks:
        bind, mask = loops.let(
            copy.names.fresh("m").name, loops.binary("lt", loops.ramp(middle, lanes), last)
        )
        value = element(middle, lanes, mask)
        out.append(
            loops.If(
                loops.binary("lt", middle, last),
                (bind, loops.store(copy.buffer, loops.ramp(to + middle, lanes), value, mask)),
            )
        )
        return out
    out.append(loops.loop(e, middle, last, [loops.store(copy.buffer, to + e, element(e, 1, None))]))
    return out


# ---------------------------------------------------------------- panels of B


@dataclass(frozen=True)
class PanelCopy:
    """What of B is packed. depth: (first index, how many, elements of the copy from one to the
    next) for each variable of k. stride: elements between panels."""

    spec: Contraction
    columns: Columns
    depth: tuple[tuple[Expr, Expr, int], ...]
    stride: int


def copy_panels(copy: Copy, pack: PanelCopy, vector: Expr, here: Expr) -> list[Stmt]:
    """Pack the columns of `here` vectors from `vector` on in panels; zeros where B has none."""
    ks = [copy.names.fresh("k") for _ in pack.depth]
    to: Expr = loops.const(0)
    for k, (_, _, stride) in zip(ks, pack.depth):
        to = to + k * stride
    index = [first + k for k, (first, _, _) in zip(ks, pack.depth)]
    if _vectorised(copy, pack):
        body = _pack_vectors(copy, pack, vector, here, index, to)
    else:
        body = _pack_elements(copy, pack, vector, here, index, to)
    for k, (_, size, _) in reversed(list(zip(ks, pack.depth))):
        body = [loops.loop(k, 0, size, body)]
    return body


def _vectorised(copy: Copy, pack: PanelCopy) -> bool:
    """Whether neighbouring columns are neighbours in the last dim of B, or a constant stride apart."""
    spec, columns = pack.spec, pack.columns
    column = len(spec.m) + len(spec.k)
    along = [x for x in spec.b.index if any(v == column for v, _ in x.terms)]
    if (
        len(spec.j) > 1
        or any(spec.b.guarded)
        or len(along) != 1
        or (along[0].terms != ((column, 1),) or along[0].divisor != 1)
    ):
        return False
    masked = columns.ragged or columns.vectors % columns.tile
    if along[0] is spec.b.index[-1]:
        return copy.target.masks or not masked
    return not masked and copy.source.buffer is not None


def _coordinates(pack: PanelCopy, depth: Sequence[Expr], columns: Sequence[Expr]) -> list[Expr]:
    """Coordinates (times the divisor) in B."""
    spec = pack.spec
    values = [*depth, *columns]
    out = []
    for affine in spec.b.index:
        at: Expr = loops.const(affine.offset)
        for v, c in affine.terms:
            at = at + values[v - len(spec.m)] * c
        out.append(at)
    return out


def _pack_vectors(
    copy: Copy, pack: PanelCopy, vector: Expr, here: Expr, depth: Sequence[Expr], to: Expr
) -> list[Stmt]:
    columns, p = pack.columns, copy.names.fresh("p")
    lanes = columns.lanes
    body: list[Stmt] = []
    for v in range(columns.tile):
        column = loops.ramp((vector + p * columns.tile + v) * lanes, lanes)
        mask = None
        if columns.ragged or columns.vectors % columns.tile:
            bind, mask = loops.let(copy.names.fresh("m").name, loops.binary("lt", column, columns.total))
            body.append(bind)
        value = copy.source.at(tuple(_coordinates(pack, depth, [column])), mask)
        body.append(loops.store(copy.buffer, loops.ramp(to + p * pack.stride + v * lanes, lanes), value))
    return [loops.loop(p, 0, (here + (columns.tile - 1)) // columns.tile, body)]


def _pack_elements(
    copy: Copy, pack: PanelCopy, vector: Expr, here: Expr, depth: Sequence[Expr], to: Expr
) -> list[Stmt]:
    spec, columns, c = pack.spec, pack.columns, copy.names.fresh("c")
    width = columns.tile * columns.lanes
    let, column = loops.let(copy.names.fresh("col").name, vector * columns.lanes + c)
    inside: Expr = loops.binary("lt", column, columns.total)
    rest: Expr = column
    parts: list[Expr] = []
    for size in reversed([multiple(s) for s in spec.j]):
        parts.append(rest % size)
        rest = rest // size
    at = _coordinates(pack, depth, parts[::-1])
    index = []
    for d, (x, affine) in enumerate(zip(at, spec.b.index)):
        if spec.b.guarded[d]:
            inside = loops.binary(
                "and", inside, _inside(x, Side(x, 0, 0, affine.divisor, True), copy.source.shape[d])
            )
        index.append(x // affine.divisor)
    where = to + c // width * pack.stride + c % width
    count = (here + (columns.tile - 1)) // columns.tile * width
    return [
        loops.loop(
            c,
            0,
            count,
            [
                let,
                loops.If(
                    inside,
                    (loops.store(copy.buffer, where, copy.source.at(tuple(index), None)),),
                    (loops.store(copy.buffer, where, 0.0),),
                ),
            ],
        )
    ]

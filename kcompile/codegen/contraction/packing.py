"""Copies of operands into thread-private memory, in the order in which a contraction reads them.

What enters: a `Source` and the box of its coordinates that a block needs; coordinates may fall
outside the operand (padding) or between its elements (strided gradients), which reads as zero, or as what
the contraction says (`Contraction.outside`).
What leaves: statements, to a `Builder`, that fill a row-major scratch box without guards, so that the
register tile reads every element at a constant stride. This is the implicit im2col: a convolution's
block copies each input element once, never once per filter tap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kcompile.codegen import cost, loops
from kcompile.codegen.contraction.blocking import Columns
from kcompile.codegen.groups.operands import Source
from kcompile.codegen.loops import Buffer, Expr, Function, Var
from kcompile.codegen.loops.builder import Builder
from kcompile.codegen.loops.indexing import extent, unflatten
from kcompile.codegen.program import Kernel, Size
from kcompile.codegen.targets import Target
from kcompile.ir.contraction import Contraction, PanelLayout
from kcompile.ir.types import Dim, row_major, static

# (number of an element in a run, lanes, mask or None) -> its value.
Element = Callable[[Expr, int, "Expr | None"], Expr]


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
    """A copy in progress: from where, to where, and where its statements go. outside: what stands for
    elements that the source has not."""

    source: Source
    buffer: Buffer
    out: Builder
    outside: int = 0


def clamp(x: Expr, low: int, high: int) -> Expr:
    return loops.binary("min", loops.binary("max", x, low), high)


def copy_box(copy: Copy, sides: Sequence[Side], start: Expr) -> None:
    """Fill the box at `start` of the copy's buffer with the source's elements, `outside` where none."""
    run = _run_start(copy, sides)

    def nest(d: int, index: tuple[Expr, ...], to: Expr, valid: Expr | None) -> None:
        if d == run:
            _run(copy, sides, d, index, to, valid)
            return
        side = sides[d]
        with copy.out.loop("i", 0, side.size) as i:
            at = copy.out.let(side.base + i, "h")
            if side.checked:
                ok = _inside(at, side, copy.source.shape[d])
                valid = ok if valid is None else loops.binary("and", valid, ok)
            nest(d + 1, (*index, at // side.divisor), to + i * side.stride, valid)

    nest(0, (), start, None)


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
) -> None:
    """Copy a contiguous run: `outside` before the operand's first element, its elements, `outside` after."""
    if d == len(sides):
        _copy_element(copy, index, to, valid)
        return
    out, source = copy.out, copy.source
    side, width = sides[d], math.prod(s.size for s in sides[d + 1 :])
    length = side.size * width
    if valid is None and not side.checked:
        to = out.let(to, "to")
        element = _element(copy, side, index, width)
        fill(copy, to, loops.const(0), loops.const(length), element, length)
        return
    low: Expr = loops.const(0)
    high: Expr = loops.const(length)
    if side.checked:
        size = extent(source.shape[d])
        low = clamp(loops.binary("sub", 0, side.base), 0, side.size) * width
        high = clamp(loops.binary("sub", size, side.base), 0, side.size) * width
        high = loops.binary("max", low, high)
    if valid is not None:
        low, high = (loops.select(valid, x, length) for x in (low, high))
    first, last, to = out.let(low, "lo"), out.let(high, "hi"), out.let(to, "to")
    element = _element(copy, side, index, width)

    def none(x: Expr, lanes: int, mask: Expr | None) -> Expr:
        return loops.broadcast(loops.const(copy.outside, copy.buffer.dtype), lanes)

    fill(copy, to, loops.const(0), first, none, None)
    fill(copy, to, first, last, element, None)
    fill(copy, to, last, loops.const(length), none, None)


def _copy_element(copy: Copy, index: tuple[Expr, ...], to: Expr, valid: Expr | None) -> None:
    """Copy one element, or `outside` where it is not valid."""
    value = copy.source.at(index, None)
    if valid is None:
        copy.out.store(copy.buffer, to, value)
    else:
        copy.out.either(
            valid,
            lambda: copy.out.store(copy.buffer, to, value),
            lambda: copy.out.store(copy.buffer, to, copy.outside),
        )


def _element(copy: Copy, side: Side, index: tuple[Expr, ...], width: int) -> Element:
    """The elements of a run by their number in it."""
    source = copy.source
    strides = row_major(source.shape)
    if source.buffer is None or strides is None:
        return lambda x, lanes, mask: source.at((*index, loops.ramp(side.base + x, lanes)), mask)
    buffer, flat = source.buffer, source.start + side.base * width
    for at, stride in zip(index, strides):
        flat = flat + at * stride
    start = copy.out.let(flat, "f")
    return lambda x, lanes, mask: loops.load(buffer, loops.ramp(start + x, lanes), mask)


def fill(copy: Copy, to: Expr, first: Expr, last: Expr, element: Element, count: int | None) -> None:
    """Elements first .. last of a run, in vectors and then the rest by mask or one by one.
    count: last - first when known, which leaves out what is not needed."""
    out, lanes = copy.out, copy.out.target.lanes(copy.buffer.dtype)
    middle = out.let(first + loops.binary("sub", last, first) // lanes * lanes, "mid")
    if count is None or count >= lanes:
        with out.loop("x", first, middle, lanes) as x:
            out.store(copy.buffer, loops.ramp(to + x, lanes), element(x, lanes, None))
    if count is not None and count % lanes == 0:
        return
    if out.target.masks:
        with out.when(loops.binary("lt", middle, last)):
            mask = out.let(loops.binary("lt", loops.ramp(middle, lanes), last), "m")
            out.store(copy.buffer, loops.ramp(to + middle, lanes), element(middle, lanes, mask), mask)
    else:
        with out.loop("e", middle, last) as e:
            out.store(copy.buffer, to + e, element(e, 1, None))


# ---------------------------------------------------------------- panels of B


@dataclass(frozen=True)
class PanelCopy:
    """The part of B to pack. depth: (first index, how many, elements of the copy from one to the
    next) for each variable of k. stride: elements between panels."""

    spec: Contraction
    columns: Columns
    depth: tuple[tuple[Expr, Expr, int], ...]
    stride: int


def lower_pack(
    name: str, spec: Contraction, source: Source, to: Buffer, width: int, target: Target, note: str
) -> Kernel | None:
    """The kernel that packs all of B (`ops.pack_panels`) where its columns lie across memory and fill panels
    of so many; None where loops over elements do. Threads share the panels."""
    lanes = target.lanes(source.dtype)
    _, total, depth = spec.sizes
    if not isinstance(total, int) or not isinstance(depth, int) or total % width or width % lanes:
        return None
    tile, sizes = width // lanes, static(spec.k)
    panel, row = PanelLayout(width).steps(depth)
    steps = row_major(sizes) or ()
    counts = tuple((loops.ZERO, loops.const(size), row * step) for size, step in zip(sizes, steps))
    pack = PanelCopy(spec, Columns(total, lanes, total // lanes, tile, tile, tile), counts, panel)
    out, number = Builder(target, lanes), Var("panel")
    copy = Copy(source, to, out)
    if not _transposed(copy, pack) or source.buffer is None:
        return None
    with out.block() as body:
        _pack_transposed(copy, pack, number * tile, loops.const(tile), number * panel)
    run = loops.loop(number, 0, total // width, body, kind="parallel")
    function = Function(name, (source.buffer, to), (run,), note)
    return Kernel(function, Size(total // width), Size(depth * tile * cost.COPIED))


def copy_panels(copy: Copy, pack: PanelCopy, vector: Expr, block_vectors: Expr) -> None:
    """Pack the columns of `block_vectors` vectors from `vector` on in panels. Beyond B's columns a panel has
    what no result depends on."""
    if _transposed(copy, pack):
        _pack_transposed(copy, pack, vector, block_vectors)
        return
    write = _pack_vectors if _vectorised(copy, pack) else _pack_elements
    with copy.out.nest("k", [size for _, size, _ in pack.depth]) as ks:
        to: Expr = loops.const(0)
        for k, (_, _, stride) in zip(ks, pack.depth):
            to = to + k * stride
        write(copy, pack, vector, block_vectors, [first + k for k, (first, _, _) in zip(ks, pack.depth)], to)


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
        return copy.out.target.masks or not masked
    return not masked and copy.source.buffer is not None


def _transposed(copy: Copy, pack: PanelCopy) -> bool:
    """Whether neighbours in the last dim of k are neighbours in memory, and columns lie across."""
    spec, last = pack.spec, len(pack.spec.m) + len(pack.spec.k) - 1
    *others, inner = spec.b.index
    (_, count, _) = pack.depth[-1]
    return (
        len(spec.j) == 1
        and copy.source.buffer is not None
        and not any(spec.b.guarded)
        and all(x.divisor == 1 for x in spec.b.index)
        and inner.terms == ((last, 1),)
        and all(v != last for x in others for v, _ in x.terms)
        and isinstance(count, loops.Const)
        and count.value >= pack.columns.lanes > 1
    )


def _coordinates(pack: PanelCopy, depth: Sequence[Expr], columns: Sequence[Expr]) -> list[Expr]:
    """Coordinates (times the divisor) in B, for these values of k and j."""
    spec = pack.spec
    values = dict(enumerate((*depth, *columns), len(spec.m)))
    return [affine.at(values, loops.const(affine.offset)) for affine in spec.b.index]


def _pack_vectors(
    copy: Copy, pack: PanelCopy, vector: Expr, block_vectors: Expr, depth: Sequence[Expr], to: Expr
) -> None:
    out, columns = copy.out, pack.columns
    lanes = columns.lanes
    with out.loop("p", 0, (block_vectors + (columns.tile - 1)) // columns.tile) as p:
        for v in range(columns.tile):
            column = loops.ramp((vector + p * columns.tile + v) * lanes, lanes)
            mask = None
            if columns.ragged or columns.vectors % columns.tile:
                mask = out.let(loops.binary("lt", column, columns.total), "m")
            value = copy.source.at(tuple(_coordinates(pack, depth, [column])), mask)
            out.store(copy.buffer, loops.ramp(to + p * pack.stride + v * lanes, lanes), value)


def _pack_transposed(
    copy: Copy, pack: PanelCopy, vector: Expr, block_vectors: Expr, start: Expr = loops.ZERO
) -> None:
    """Squares of columns and k are transposed in registers. The last square of k may overlap the one before,
    and columns that B has not are its last one. start: where the copy begins in its buffer."""
    out, columns, lanes = copy.out, pack.columns, pack.columns.lanes
    *outer, (first, count, step) = pack.depth
    with out.loop("w", 0, block_vectors) as w, out.nest("k", [size for _, size, _ in outer]) as ks:
        to: Expr = start + w // columns.tile * pack.stride + w % columns.tile * lanes
        for i, (_, _, stride) in zip(ks, outer):
            to = to + i * stride
        before = [begin + i for i, (begin, _, _) in zip(ks, outer)]
        with out.loop("k", 0, count, lanes) as block:
            k = out.let(loops.binary("min", block, count - lanes), "k")
            along = loops.ramp(first + k, lanes)
            square = []
            for lane in range(lanes):
                column: Expr = (vector + w) * lanes + lane
                if columns.ragged:
                    column = loops.binary("min", column, columns.total - 1)
                place = _coordinates(pack, [*before, along], [column])
                square.append(out.let(copy.source.at(tuple(place), None)))
            for number, row in enumerate(transposed(out, square)):
                out.store(copy.buffer, loops.ramp(to + (k + number) * step, lanes), row)


def transposed(out: Builder, square: Sequence[Expr]) -> list[Expr]:
    """As many vectors as they have lanes, a power of two, transposed: blocks of half the size change places,
    then of a quarter, and so on (Eklundh's algorithm)."""
    rows, size = list(square), len(square)
    step = size // 2
    while step:
        low = [lane if not lane & step else size + lane - step for lane in range(size)]
        high = [lane + step if not lane & step else size + lane for lane in range(size)]
        for i in range(size):
            if not i & step:
                pair = rows[i], rows[i + step]
                rows[i], rows[i + step] = (out.let(loops.shuffle(*pair, order)) for order in (low, high))
        step //= 2
    return rows


def _pack_elements(
    copy: Copy, pack: PanelCopy, vector: Expr, block_vectors: Expr, depth: Sequence[Expr], to: Expr
) -> None:
    out, spec, columns = copy.out, pack.spec, pack.columns
    width = columns.tile * columns.lanes
    with out.loop("c", 0, (block_vectors + (columns.tile - 1)) // columns.tile * width) as c:
        column = out.let(vector * columns.lanes + c, "col")
        inside: Expr = loops.binary("lt", column, columns.total)
        at = _coordinates(pack, depth, unflatten(column, spec.j))
        index = []
        for d, (x, affine) in enumerate(zip(at, spec.b.index)):
            if spec.b.guarded[d]:
                side = Side(x, 0, 0, affine.divisor, True)
                inside = loops.binary("and", inside, _inside(x, side, copy.source.shape[d]))
            index.append(x // affine.divisor)
        where = to + c // width * pack.stride + c % width
        _copy_element(copy, tuple(index), where, inside)

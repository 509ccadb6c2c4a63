"""The decisions about one contraction, before any code: how A and B are read, and all the blocks.

What enters: a `Contraction`, how its operands can be read, the epilogue, the target. What leaves:
a `Plan`, which `contraction` turns into loops, and the panel width that suits B.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kcompile.codegen import cost
from kcompile.codegen.contraction.blocking import (
    FLOAT,
    Axis,
    Columns,
    DepthBlocks,
    FlatRows,
    GridRows,
    aliases,
    cache_share,
    ceil_div,
    choose_columns,
    choose_depth,
    choose_flat,
    choose_strips,
    crowds,
    divisor_at_most,
    linear,
    merge,
    most_rows,
    multiple,
    row_major,
    tile_vectors,
    whole_depth,
)
from kcompile.codegen.contraction.polyphase import Phase
from kcompile.codegen.groups.operands import Epilogue, Source
from kcompile.codegen.loops import Buffer
from kcompile.codegen.targets import Target
from kcompile.ir.contraction import Access, Affine, Contraction, PanelLayout
from kcompile.ir.types import Batch, Dim


@dataclass(frozen=True)
class ReadA:
    """How tiles read A. kind: "direct" (in place), "rows" (each row of A is copied) or "box" (the
    part of the operand that a block needs is copied). offset, and the strides of the variables of
    m and k, are in elements of the array that is read. sides: (size, stride) of the copied box, or
    row, for each dim of the operand; lengths: how far each variable goes in it (0: fixed). size:
    elements of the copy.
    """

    kind: str
    offset: int
    m: tuple[int, ...]
    k: tuple[int, ...]
    sides: tuple[tuple[int, int], ...] = ()
    lengths: tuple[int, ...] = ()
    size: int = 0


@dataclass(frozen=True)
class ReadB:
    """How tiles read B. panel: vectors of a panel, None when in place. copied: packed by the task.
    k: stride of each variable of k. stride: elements between panels."""

    panel: int | None
    copied: bool
    offset: int
    k: tuple[int, ...]
    stride: int = 0


@dataclass(frozen=True)
class Plan:
    """All decisions. `spec` may differ from the phase's by variables that were split or put in; its
    meaning is the same. direct: the epilogue is applied to tiles in registers."""

    phase: Phase
    spec: Contraction
    a: Source
    b: Source
    epilogue: Epilogue
    target: Target
    columns: Columns
    rows: FlatRows | GridRows
    depth: DepthBlocks
    read_a: ReadA
    read_b: ReadB
    direct: bool

    @property
    def by_depth(self) -> bool:
        """Whether copies of A belong to a block of k rather than to a block of rows."""
        return isinstance(self.spec.sizes[2], Batch)

    @property
    def rows_outside(self) -> bool:
        """The order of tiles: all columns of a tile of rows before the next, when B's block stays
        in L2; else all rows of a panel of B before the next."""
        columns = self.columns.block * self.columns.lanes
        return self.depth.longest * columns * FLOAT <= self.target.l2 // 3

    @property
    def sums(self) -> Buffer | None:
        """Scratch for partial sums; None when tiles finish in registers."""
        if self.direct and self.depth.single:
            return None
        slots = 1 if isinstance(self.rows, FlatRows) else self.rows.step
        columns = self.columns.block * self.columns.lanes
        return Buffer("sums", "float32", "scratch", slots * self.rows.slot * columns)


def panel_width(spec: Contraction, target: Target, weights: bool) -> int | None:
    """The columns of the panels (`PanelLayout`) that B should be packed in before the contraction runs, or
    None when B is best read in place.

    weights: B changes rarely, so packing costs nothing; else packing must pay for itself.
    """
    if target.is_gpu:
        return None
    rows, total, depth = spec.sizes
    if not isinstance(depth, int) or not isinstance(total, int):
        return None
    lanes = target.lanes("float32")
    width = tile_vectors(ceil_div(total, lanes), lanes, target.registers) * lanes
    column = len(spec.m) + len(spec.k)
    trailing = [x.terms for x in spec.b.index[-len(spec.j) :]]
    in_place = (
        trailing == [((column + i, 1),) for i in range(len(spec.j))]
        and not any(spec.b.guarded)
        and (target.masks or total % lanes == 0)
    )
    if not in_place:
        return width
    if weights:
        return None if total <= width and total % lanes == 0 else width
    many = isinstance(rows, Batch) or rows >= cost.PACKED_ROWS
    return width if many and depth >= cost.PACKED_DEPTH and crowds(total) else None


def make_plan(
    phase: Phase, a: Source, b: Source, epilogue: Epilogue, target: Target, b_panels: int | None
) -> Plan:
    """Decide everything. Raises ValueError for what this lowering does not cover."""
    spec = phase.spec
    rows, total, depth = spec.sizes
    if not isinstance(total, int):
        raise ValueError(f"the batch must be among rows or summed dims. Received: {spec}")
    lanes, registers = target.lanes("float32"), target.registers
    columns = choose_columns(total, depth, rows, lanes, registers)
    direct = epilogue.light and (target.masks or total % lanes == 0)
    kind = _kind(spec, a, columns)
    if kind == "box" and isinstance(depth, int):
        spec = with_two_row_variables(spec, most_rows(columns.tile, registers))
    read_b = (
        _read_b(spec, b, target, columns, kind)
        if b_panels is None
        else (_read_panels(phase, b, columns, b_panels))
    )
    plan = _plan_by_depth if isinstance(depth, Batch) else _plan_by_rows
    return plan(phase, spec, a, b, epilogue, target, columns, kind, read_b, direct)


# ---------------------------------------------------------------- reading


def _b_in_place(
    spec: Contraction, shape: Sequence[Dim], target: Target
) -> tuple[int, tuple[int, ...]] | None:
    """(offset, strides of k) when rows of B can be read as vectors where they are."""
    first = len(spec.m)
    place = linear(spec.b, shape, first + len(spec.k) + len(spec.j))
    if place is None:
        return None
    offset, strides = place
    depth = strides[first : first + len(spec.k)]
    axes = merge([Axis(s, x) for s, x in zip(spec.j, strides[first + len(spec.k) :])])
    total = spec.sizes[1]
    assert isinstance(total, int)
    plain = len(axes) == 1 and (axes[0].a == 1 or total == 1)
    if not plain or not (target.masks or total % target.lanes("float32") == 0):
        return None
    return offset, depth


def _read_panels(phase: Phase, b: Source, columns: Columns, width: int) -> ReadB:
    """B was packed ahead, with all taps; a phase reads those that it has."""
    if width != columns.tile * columns.lanes or b.buffer is None:
        raise ValueError(
            f"B must be a buffer packed in panels of {columns.tile} vectors of "
            f"{columns.lanes}. Received: panels of {width}"
        )
    strides = row_major([w.size for w in phase.taps])
    if strides is None or isinstance(phase.taps[0].size, Batch):
        raise ValueError("B cannot be packed ahead when the batch is summed")
    start = sum(w.start * x for w, x in zip(phase.taps, strides))
    panel, row = PanelLayout(width).steps(math.prod(multiple(w.size) for w in phase.taps))
    steps = tuple(row * w.step * x for w, x in zip(phase.taps, strides))
    return ReadB(columns.tile, False, row * start, steps, panel)


def _read_b(spec: Contraction, b: Source, target: Target, columns: Columns, kind: str) -> ReadB:
    place = None if b.buffer is None else _b_in_place(spec, b.shape, target)
    rows, total, depth = spec.sizes
    # A tile of columns takes little of each row of B: from behind L2, whole rows are copied at once.
    far = (
        kind == "direct"
        and isinstance(depth, int)
        and isinstance(total, int)
        and columns.vectors > columns.tile
        and depth * total * FLOAT > target.l2 // 2
    )
    # Rows of B a power of two apart fall into few sets of the cache; a block is used often enough.
    crowded = (
        isinstance(depth, Batch)
        and isinstance(rows, int)
        and rows >= cost.PACKED_ROWS
        and isinstance(total, int)
        and crowds(total)
    )
    if place is not None and not crowded and not far:
        return ReadB(None, False, *place)
    sizes = [multiple(s) for s in spec.k]
    inner = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    _, row = PanelLayout(columns.tile * columns.lanes).steps(math.prod(sizes))
    return ReadB(columns.tile, True, 0, tuple(row * x for x in inner))


def _kind(spec: Contraction, a: Source, columns: Columns) -> str:
    """How A is to be read, see `ReadA`."""
    count = len(spec.m) + len(spec.k)
    place = None if a.buffer is None else linear(spec.a, a.shape, count)
    static = isinstance(spec.sizes[2], int)
    if place is not None:
        axes = merge([Axis(s, x) for s, x in zip(spec.m, place[1])])
        copies = (
            static
            and len(axes) == 1
            and axes[0].size != 1
            and (isinstance(axes[0].size, Batch) or axes[0].size >= cost.COPIED_ROWS)
            and columns.total >= cost.COPIED_COLUMNS
            and aliases(axes[0].a, cost.TILE_ROWS)
        )
        return "rows" if copies else "direct"
    whole = all(
        len({v < len(spec.m) for v, _ in x.terms}) < 2 and x.divisor == 1 for x in spec.a.index
    ) and not any(spec.a.guarded)
    return "rows" if whole and static else "box"


def box(access: Access, lengths: Sequence[int], pad: int = 0) -> ReadA:
    """A row-major copy of all coordinates that variables of these lengths reach (0: fixed).

    pad: elements put between neighbours of the last dim but one.
    """
    sizes = [1 + sum(abs(c) * (lengths[v] - 1) for v, c in x.terms if lengths[v]) for x in access.index]
    strides, step = [], 1
    for i, size in enumerate(reversed(sizes)):
        strides.append(step)
        step = step * size + (pad if i == 0 else 0)
    strides.reverse()
    steps, offset = [0] * len(lengths), 0
    for affine, stride in zip(access.index, strides):
        for v, c in affine.terms:
            if lengths[v]:
                steps[v] += c * stride
                offset += max(-c, 0) * (lengths[v] - 1) * stride
    return ReadA("box", offset, tuple(steps), (), tuple(zip(sizes, strides)), tuple(lengths), step)


def spread_box(access: Access, lengths: Sequence[int], variable: int) -> ReadA:
    """A box in which neighbours along `variable` do not fall into the same sets of the cache."""
    read = box(access, lengths)
    last = {v for v, _ in access.index[-1].terms}
    if read.m[variable] * FLOAT % 2048 == 0 and variable not in last:
        return box(access, lengths, 16)
    return read


def _split(read: ReadA, rows: int) -> ReadA:
    return replace(read, m=read.m[:rows], k=read.m[rows:])


# ---------------------------------------------------------------- rewriting row variables


def _renumber(spec: Contraction, at: int, factor: int) -> Contraction:
    """Put a variable in front of number `at`; it steps `factor` times as far as that one."""

    def move(access: Access) -> Access:
        index = []
        for affine in access.index:
            terms: list[tuple[int, int]] = []
            for v, c in affine.terms:
                if v == at and factor:
                    terms.append((v, c * factor))
                terms.append((v + (v >= at), c))
            index.append(Affine(tuple(terms), affine.offset, affine.divisor))
        return Access(access.operand, tuple(index), access.guarded)

    return replace(spec, a=move(spec.a), b=move(spec.b))


def with_two_row_variables(spec: Contraction, most: int) -> Contraction:
    """The same contraction with at least two variables of rows, and a long only line in pieces."""
    m = spec.m
    last = m[-1]
    if len(m) <= 2 and isinstance(last, int) and last > 4 * most:
        width = divisor_at_most(last, max(last // 4, most))
        if width >= most // 2:
            spec = _renumber(spec, len(m) - 1, width)
            m = (*m[:-1], last // width, width)
    if len(m) == 1:
        spec, m = _renumber(spec, 0, 0), (1, *m)
    return replace(spec, m=m)


# ---------------------------------------------------------------- rows, with k static


def _plan_by_rows(
    phase: Phase,
    spec: Contraction,
    a: Source,
    b: Source,
    epilogue: Epilogue,
    target: Target,
    columns: Columns,
    kind: str,
    read_b: ReadB,
    direct: bool,
) -> Plan:
    share, registers = cache_share(target), target.registers
    m, count = len(spec.m), len(spec.m) + len(spec.k)
    lengths = [0] * m + [multiple(s) for s in spec.k]
    kept = 1 if direct else columns.block * columns.lanes
    total = multiple(spec.sizes[2])
    rows: FlatRows | GridRows
    if kind == "rows":
        read_a = _split(box(spec.a, lengths), m)
        pitch = ceil_div(read_a.size, 16) * 16
        pitch += 16 * (pitch % 32 == 0)
        read_a = replace(read_a, kind="rows", size=pitch)
        rows = choose_flat(
            spec.sizes[0], pitch, columns, registers, min(cost.BLOCK_ROWS, share // pitch, share // kept)
        )
    elif kind == "box":
        read_a, rows = _box_rows(spec, columns, target, kept)
    else:
        place = linear(spec.a, a.shape, count)
        assert place is not None
        read_a = ReadA("direct", place[0], place[1][:m], place[1][m:])
    axes = [Axis(s, x, y) for s, x, y in zip(spec.k, read_a.k, read_b.k)]
    width = columns.tile * columns.lanes
    wide = columns.block * columns.lanes
    depth = whole_depth(merge(axes))
    if kind == "direct" and read_b.copied and total * wide > share:
        depth = choose_depth(axes, share // wide)
    elif kind == "direct" and total * width > 2 * share:
        depth = choose_depth(merge(axes), share // width)
    if kind == "direct":
        kept = kept if depth.single else wide
        lines = merge([Axis(s, x) for s, x in zip(spec.m, read_a.m)])
        if len(lines) == 1:
            step = min(cost.BLOCK_ROWS, share // depth.longest, share // kept)
            rows = choose_flat(lines[0].size, lines[0].a, columns, registers, step)
        else:
            rows = _grid(lines, columns, target, 0, kept)
    if read_b.copied:
        read_b = replace(read_b, stride=depth.longest * width)
    return Plan(phase, spec, a, b, epilogue, target, columns, rows, depth, read_a, read_b, direct)


def _lines_per_block(lines: Dim, width: int, wanted: int) -> int:
    """Lines of a block of about `wanted` rows, dividing the lines evenly where they have a fitting
    divisor."""
    if isinstance(lines, Batch):
        return 1
    most = max(wanted // width, 1)
    even = divisor_at_most(lines, most + most // 3)
    return even if 2 * even >= most else ceil_div(lines, ceil_div(lines, most))


def _box_rows(spec: Contraction, columns: Columns, target: Target, kept: int) -> tuple[ReadA, GridRows]:
    """Copied boxes for blocks of lines, as large as the cache takes."""
    share, m = cache_share(target), len(spec.m)
    lines, width = spec.m[-2], spec.m[-1]
    if not isinstance(width, int):
        raise ValueError(f"the batch must not be the last row dim of a guarded access: {spec}")
    wanted = cost.BLOCK_ROWS
    while True:
        block = _lines_per_block(lines, width, wanted)
        lengths = [0] * (m - 2) + [block, width] + [multiple(s) for s in spec.k]
        read = spread_box(spec.a, lengths, m - 1)
        if block == 1 or read.size <= 2 * share:
            break
        wanted = wanted // 2
    read = _split(read, m)
    axes = tuple(Axis(s, x) for s, x in zip(spec.m, read.m))
    grid = _grid(axes, columns, target, block, kept)
    step = max(1, min(grid.step, share // read.size))
    return read, replace(grid, step=step)


def _grid(axes: Sequence[Axis], columns: Columns, target: Target, block: int, kept: int) -> GridRows:
    """Blocks of lines (`block` of them, 0: to be chosen) and the tiles that cover one."""
    *outer, lines, width = axes
    if not isinstance(width.size, int):
        raise ValueError("the batch must not be the last row dim of a windowed access")
    block = block or _lines_per_block(lines.size, width.size, cost.BLOCK_ROWS)
    rows = block * width.size
    strips = choose_strips(width.size, lines.size, block, columns, target.registers)
    step = max(1, min(cost.BLOCK_ROWS // rows, cache_share(target) // (rows * kept)))
    return GridRows(tuple(outer), lines, width, block, strips, step)


# ---------------------------------------------------------------- rows static, k with the batch


def _plan_by_depth(
    phase: Phase,
    spec: Contraction,
    a: Source,
    b: Source,
    epilogue: Epilogue,
    target: Target,
    columns: Columns,
    kind: str,
    read_b: ReadB,
    direct: bool,
) -> Plan:
    """Blocks of k outside, partial sums of many rows in scratch."""
    share, m = cache_share(target), len(spec.m)
    total = spec.sizes[0]
    assert isinstance(total, int)
    count = m + len(spec.k)
    wide = columns.block * columns.lanes
    shortest, longest = cost.DEPTH_BLOCK
    longest = min(max(share // (wide + min(total, longest)), shortest), longest)
    k = [Axis(s, 0, x) for s, x in zip(spec.k, read_b.k)]
    if kind == "direct":
        place = linear(spec.a, a.shape, count)
        assert place is not None
        read_a = ReadA("direct", place[0], place[1][:m], place[1][m:])
        axes = [replace(x, a=y) for x, y in zip(k, read_a.k)]
        depth = choose_depth(axes if read_b.copied else merge(axes), longest)
    else:
        depth, read_a = _box_depth(spec, k, longest, share)
    if read_b.copied:
        read_b = replace(read_b, stride=depth.longest * columns.tile * columns.lanes)
    rows = _static_rows([Axis(s, x) for s, x in zip(spec.m, read_a.m)], columns, target)
    return Plan(phase, spec, a, b, epilogue, target, columns, rows, depth, read_a, read_b, direct)


def _box_depth(spec: Contraction, k: Sequence[Axis], longest: int, share: int) -> tuple[DepthBlocks, ReadA]:
    """Blocks of k whose box fits the cache."""
    m = [multiple(s) for s in spec.m]
    while True:
        depth = choose_depth(k, longest)
        sizes = [multiple(x.size) for x in k]
        sizes[depth.cut] = depth.chunk
        sizes[: depth.cut] = [0] * depth.cut
        read = _split(spread_box(spec.a, m + sizes, len(m) + len(k) - 1), len(m))
        if longest <= 16 or read.size <= share + share // 8:
            break
        longest //= 2
    axes = tuple(replace(x, a=y) for x, y in zip(depth.axes, read.k))
    return replace(depth, axes=axes), read


def _static_rows(axes: Sequence[Axis], columns: Columns, target: Target) -> FlatRows | GridRows:
    """Rows in fine units, since a thread's whole range is one block as far as scratch allows."""
    axes = merge(axes)
    share, registers = cache_share(target), target.registers
    wide = columns.block * columns.lanes
    if len(axes) == 1:
        size = multiple(axes[0].size)
        flat = choose_flat(size, axes[0].a, columns, registers, max(share // wide, 1))
        main = flat.tiles[0].rows
        return replace(flat, step=min(flat.step, ceil_div(size, main) * main))
    *outer, lines, width = axes
    most = most_rows(columns.tile, registers)
    size = multiple(width.size)
    if size > 4 * most:
        piece = divisor_at_most(size, 4 * most)
        if piece >= most // 2:
            outer = [*outer, lines]
            lines, width = Axis(size // piece, piece * width.a), Axis(piece, width.a)
            size = piece
    block = min(max(most // size, 1), multiple(lines.size))
    strips = choose_strips(size, lines.size, block, columns, registers)
    units = math.prod(multiple(x.size) for x in outer) * ceil_div(multiple(lines.size), block)
    step = max(1, min(share // (block * size * wide), units))
    return GridRows(tuple(outer), lines, width, block, strips, step)

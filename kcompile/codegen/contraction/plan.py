"""The decisions about one contraction, before any code: how A and B are read, and all the blocks.

What enters: a `Contraction`, how its operands can be read, the epilogue, the target. What leaves:
a `Plan`, which `contraction` turns into loops, and the panel width that suits B.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kcompile.codegen import cost
from kcompile.codegen.contraction import guards
from kcompile.codegen.contraction.blocking import (
    FLOAT,
    Axis,
    Columns,
    DepthBlocks,
    FlatRows,
    GridRows,
    aliases,
    cache_elements,
    ceil_div,
    choose_columns,
    choose_depth,
    choose_flat,
    choose_strips,
    crowds,
    divisor_at_most,
    items_buffer,
    linear,
    main_tile,
    merge,
    most_rows,
    multiple,
    whole_depth,
)
from kcompile.codegen.contraction.polyphase import Phase
from kcompile.codegen.groups.operands import Epilogue, Source
from kcompile.codegen.loops import Buffer
from kcompile.codegen.targets import Target
from kcompile.ir.contraction import Access, Affine, Contraction, PanelLayout
from kcompile.ir.types import BYTES, Batch, Dim, row_major

ReadKind = Literal["in_place", "guarded", "packed_rows", "packed_box"]


@dataclass(frozen=True)
class ReadA:
    """How tiles read A: the operand itself, or a copy of a part of it.

    kind: "in_place", "guarded" (in place, but elements may be outside: see `guards`), "packed_rows" (each
    row of A is copied) or "packed_box" (the part of the operand that a block needs is copied as it lies).
    offset, and the strides of the variables of m and k, are in elements of the array that is read.
    by_column: whether neighbouring columns read neighbours, so a tile reads vectors; else they all read
    the same. sides: (size, stride) of the copied box, or row, for each dim of the operand. reach: for
    each variable, how many of its values the copy covers; 0 where it covers the one value at which the
    block is. size: elements of the copy.
    """

    kind: ReadKind
    offset: int
    m: tuple[int, ...]
    k: tuple[int, ...]
    by_column: bool = False
    sides: tuple[tuple[int, int], ...] = ()
    reach: tuple[int, ...] = ()
    size: int = 0

    @property
    def copied(self) -> bool:
        """Whether tiles read a copy."""
        return self.kind in ("packed_rows", "packed_box")


@dataclass(frozen=True)
class ReadB:
    """How tiles read B. panel: vectors of a panel, None when in place. copied: whether the kernel itself
    packs the panels. k: stride of each variable of k. stride: elements between panels."""

    panel: int | None
    copied: bool
    offset: int
    k: tuple[int, ...]
    stride: int = 0


@dataclass(frozen=True)
class Plan:
    """All decisions about one contraction. `spec` may differ from the phase's by variables that were split or
    put in; its meaning is the same. in_registers: the epilogue is applied to tiles while they are in
    registers."""

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
    in_registers: bool

    @property
    def by_depth(self) -> bool:
        """Whether copies of A belong to a block of k rather than to a block of rows."""
        return isinstance(self.spec.sizes[2], Batch)

    @property
    def rows_outside(self) -> bool:
        """Whether the loop over rows is outside: all columns of a tile of rows come before the next rows, as
        B's block stays in L2. Else all rows of a panel of B come before the next panel."""
        columns = self.columns.block * self.columns.lanes
        if self.read_a.by_column:  # lines that a tile reads are read again by the tiles below it
            return False
        return self.depth.longest * columns * FLOAT <= self.target.l2 // 3

    @property
    def sums(self) -> Buffer | None:
        """The buffer of partial sums; None when tiles finish in registers."""
        if self.in_registers and self.depth.single:
            return None
        columns = self.columns.block * self.columns.lanes
        return items_buffer("sums", self.columns.dtype, self.rows, self.rows.sums_rows * columns)


def panel_width(spec: Contraction, target: Target, weights: bool, dtype: str = "float32") -> int | None:
    """The columns of the panels (`PanelLayout`) that B should be packed in before the contraction runs, or
    None when B is best read in place.

    weights: B changes rarely, so packing costs nothing; else packing must pay for itself. dtype:
    of its elements.
    """
    if target.is_gpu:
        return None
    rows, total, depth = spec.sizes
    if not isinstance(depth, int) or not isinstance(total, int) or spec.groups:
        return None
    lanes = target.lanes(dtype)
    shared = weights and target.panel_bits > 0
    if shared:
        lanes = target.panel_bits // (8 * BYTES[dtype])
    width = lanes if shared else main_tile(total, depth, rows, lanes, target.registers) * lanes
    column = len(spec.m) + len(spec.k)
    trailing = [x.terms for x in spec.b.index[-len(spec.j) :]]
    in_place = (
        trailing == [((column + i, 1),) for i in range(len(spec.j))]
        and not any(spec.b.guarded)
        and ((target.masks and not shared) or total % lanes == 0)
    )
    if not in_place or dtype == "uint32":  # nobody has words but who packs
        return width
    if weights:
        return None if total <= width and total % lanes == 0 else width
    many = isinstance(rows, Batch) or rows >= cost.PACKED_ROWS
    return width if many and depth >= cost.PACKED_DEPTH and crowds(total) else None


def in_halves(spec: Contraction, target: Target, constant: bool) -> Contraction | None:
    """The contraction in words of two numbers of bfloat16 (`Contraction.in_halves`) where the target
    multiplies them and that pays: both operands are copied, so each copy must be used often. constant: B is
    packed ahead. None elsewhere."""
    rows, total, _ = spec.sizes
    if not target.bfloat16_dots or not isinstance(total, int) or total == 1:
        return None
    few = isinstance(rows, int) and rows < cost.HALVED_ROWS
    return None if few and not constant else spec.in_halves


def make_plan(
    phase: Phase, a: Source, b: Source, epilogue: Epilogue, target: Target, b_panels: int | None
) -> Plan:
    """Decide everything. Raises ValueError for what this lowering does not cover."""
    spec = phase.spec
    rows, total, depth = spec.sizes
    if not isinstance(total, int):
        raise ValueError(f"the batch must be among rows or summed dims. Received: {spec}")
    dtype = "float32" if a.dtype == "uint32" else a.dtype  # of sums: words are of two halves
    columns = choose_columns(total, depth, rows, dtype, target, b_panels)
    in_registers = epilogue.light and (target.masks or not columns.ragged)
    kind = _kind(spec, a, columns, target)
    if kind in ("packed_box", "guarded") and isinstance(depth, int):
        spec = with_two_row_variables(spec, most_rows(columns.tile, target.registers))
    if spec.groups:
        columns = _columns_of_groups(spec, columns, kind, target)
    read_b = (
        _read_b(spec, b, target, columns, kind)
        if b_panels is None
        else (_read_panels(phase, b, columns, b_panels))
    )
    plan = _plan_by_depth if isinstance(depth, Batch) else _plan_by_rows
    return plan(phase, spec, a, b, epilogue, target, columns, kind, read_b, in_registers)


def _columns_of_groups(spec: Contraction, columns: Columns, kind: ReadKind, target: Target) -> Columns:
    """The columns where each has its own A. Short lines have wider tiles, as far as these divide the columns
    evenly; threads share the columns of few rows, as they do in the products before, whose results are then
    near; but a copy of A is of all columns."""
    vectors, width = columns.vectors, spec.m[-1]
    columns = replace(columns, part=vectors, block=vectors)
    if kind != "guarded" or not isinstance(width, int) or width > most_rows(columns.tile, target.registers):
        return columns
    tile = max(divisor_at_most(vectors, (target.registers - 1) // (width + 1)), columns.tile)
    few = multiple(spec.sizes[0]) < cost.FEW_ROWS
    return replace(columns, tile=tile, part=tile if few else vectors)


# ---------------------------------------------------------------- reading


def _b_in_place(
    spec: Contraction, shape: Sequence[Dim], target: Target, dtype: str
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
    if not plain or not (target.masks or total % target.lanes(dtype) == 0):
        return None
    return offset, depth


def _read_panels(phase: Phase, b: Source, columns: Columns, width: int) -> ReadB:
    """B was packed ahead, with all taps; a phase reads those that it has."""
    if width % columns.lanes or columns.tile > columns.vectors or b.buffer is None:
        raise ValueError(
            f"B must be a buffer packed in panels of {columns.vectors} vectors of "
            f"{columns.lanes} at most. Received: panels of {width}"
        )
    strides = row_major([taps.size for taps in phase.taps])
    if strides is None or isinstance(phase.taps[0].size, Batch):
        raise ValueError("B cannot be packed ahead when the batch is summed")
    start = sum(taps.start * x for taps, x in zip(phase.taps, strides))
    panel, row = PanelLayout(width).steps(math.prod(multiple(taps.size) for taps in phase.taps))
    steps = tuple(row * taps.step * x for taps, x in zip(phase.taps, strides))
    return ReadB(width // columns.lanes, False, row * start, steps, panel)


def _read_b(spec: Contraction, b: Source, target: Target, columns: Columns, kind: ReadKind) -> ReadB:
    place = None if b.buffer is None else _b_in_place(spec, b.shape, target, b.dtype)
    rows, total, depth = spec.sizes
    # A tile of columns takes little of each row of B: from behind L2, whole rows are copied at once.
    far = (
        kind == "in_place"
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


def group_is_column(spec: Contraction) -> bool:
    """Whether each group is a column, and neighbouring columns are neighbours in both operands' memory."""
    column = ((len(spec.m) + len(spec.k), 1),)
    return len(spec.j) == len(spec.groups) == 1 and all(
        access.index[-1].terms == column
        and not access.guarded[-1]
        and all(terms != column for terms in (x.terms for x in access.index[:-1]))
        for access in (spec.a, spec.b)
    )


def _variables(spec: Contraction) -> int:
    return len(spec.m) + len(spec.k) + len(spec.j)


def _in_place(spec: Contraction, a: Source) -> ReadA:
    kind: ReadKind = "guarded" if any(spec.a.guarded) else "in_place"
    place = linear(guards.whole(spec.a), a.shape, _variables(spec))
    assert place is not None
    m, k = len(spec.m), len(spec.m) + len(spec.k)
    return ReadA(kind, place[0], place[1][:m], place[1][m:k], bool(spec.groups))


def _kind(spec: Contraction, a: Source, columns: Columns, target: Target) -> ReadKind:
    """How A is to be read, see `ReadA`."""
    place = None if a.buffer is None else linear(spec.a, a.shape, _variables(spec))
    static = isinstance(spec.sizes[2], int)
    if spec.groups:
        readable = target.masks or not columns.ragged
        if place is not None and readable:
            return "in_place"
        padded = static and a.buffer is not None and guards.readable(spec, a.shape)
        return "guarded" if padded and readable else "packed_box"
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
        return "packed_rows" if copies else "in_place"
    whole = all(
        len({v < len(spec.m) for v, _ in x.terms}) < 2 and x.divisor == 1 for x in spec.a.index
    ) and not any(spec.a.guarded)
    return "packed_rows" if whole and static else "packed_box"


def box(access: Access, reach: Sequence[int], pad: int = 0) -> ReadA:
    """A row-major copy of all coordinates that variables of this reach (see `ReadA`) cover.

    pad: elements put between neighbours of the last dim but one.
    """
    sizes = [1 + sum(abs(c) * (reach[v] - 1) for v, c in x.terms if reach[v]) for x in access.index]
    strides, step = [], 1
    for i, size in enumerate(reversed(sizes)):
        strides.append(step)
        step = step * size + (pad if i == 0 else 0)
    strides.reverse()
    steps, offset = [0] * len(reach), 0
    for affine, stride in zip(access.index, strides):
        for v, c in affine.terms:
            if reach[v]:
                steps[v] += c * stride
                offset += max(-c, 0) * (reach[v] - 1) * stride
    sides = tuple(zip(sizes, strides))
    return ReadA("packed_box", offset, tuple(steps), (), sides=sides, reach=tuple(reach), size=step)


def spread_box(access: Access, reach: Sequence[int], variable: int) -> ReadA:
    """A box in which neighbours along `variable` do not fall into the same sets of the cache."""
    read = box(access, reach)
    last = {v for v, _ in access.index[-1].terms}
    if read.m[variable] * FLOAT % 2048 == 0 and variable not in last:
        return box(access, reach, 16)
    return read


def _split(read: ReadA, spec: Contraction, columns: Columns) -> ReadA:
    """The steps of a copy by variables of m and of k. The last vector may be read beyond it."""
    m, k = len(spec.m), len(spec.m) + len(spec.k)
    more = columns.lanes if spec.groups and columns.ragged else 0
    return replace(read, m=read.m[:m], k=read.m[m:k], by_column=bool(spec.groups), size=read.size + more)


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
    """The same contraction with at least two variables of rows. Where all rows are one long line, it is cut
    into pieces."""
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
    kind: ReadKind,
    read_b: ReadB,
    in_registers: bool,
) -> Plan:
    budget, registers = cache_elements(target), target.registers
    kept = 1 if in_registers else columns.block * columns.lanes
    total = multiple(spec.sizes[2])
    rows: FlatRows | GridRows
    if kind == "packed_rows":
        reach = [0] * len(spec.m) + [multiple(s) for s in (*spec.k, *spec.j)]
        read_a = _split(box(spec.a, reach), spec, columns)
        pitch = ceil_div(read_a.size, 16) * 16
        pitch += 16 * (pitch % 32 == 0)
        read_a = replace(read_a, kind="packed_rows", size=pitch)
        rows = choose_flat(
            spec.sizes[0], pitch, columns, registers, min(cost.BLOCK_ROWS, budget // pitch, budget // kept)
        )
    elif kind == "packed_box":
        read_a, rows = _box_rows(spec, columns, target, kept)
    else:
        read_a = _in_place(spec, a)
    if kind == "guarded":
        rows = _guarded_rows([Axis(s, x) for s, x in zip(spec.m, read_a.m)], columns, target)
    axes: Sequence[Axis] = [Axis(s, x, y) for s, x, y in zip(spec.k, read_a.k, read_b.k)]
    if kind != "guarded":
        axes = merge(axes)
    width = columns.tile * columns.lanes
    wide = columns.block * columns.lanes
    depth = whole_depth(axes)
    if kind == "in_place" and read_b.copied and total * wide > budget:
        depth = choose_depth(axes, budget // wide)
    elif kind == "in_place" and total * width > 2 * budget:
        depth = choose_depth(axes, budget // width)
    if kind == "in_place":
        kept = kept if depth.single else wide
        lines = merge([Axis(s, x) for s, x in zip(spec.m, read_a.m)])
        if len(lines) == 1:
            block_items = min(cost.BLOCK_ROWS, budget // depth.longest, budget // kept)
            rows = choose_flat(lines[0].size, lines[0].a, columns, registers, block_items)
        else:
            rows = _grid(lines, columns, target, 0, kept)
    if read_b.copied:
        read_b = replace(read_b, stride=depth.longest * width)
    return Plan(phase, spec, a, b, epilogue, target, columns, rows, depth, read_a, read_b, in_registers)


def _lines_per_item(lines: Dim, width: int, wanted: int) -> int:
    """Lines of a block of about `wanted` rows, dividing the lines evenly where they have a fitting
    divisor."""
    if isinstance(lines, Batch):
        return 1
    most = max(wanted // width, 1)
    even = divisor_at_most(lines, most + most // 3)
    return even if 2 * even >= most else ceil_div(lines, ceil_div(lines, most))


def _box_rows(spec: Contraction, columns: Columns, target: Target, kept: int) -> tuple[ReadA, GridRows]:
    """Copied boxes for blocks of lines, as large as the cache takes."""
    budget, m = cache_elements(target), len(spec.m)
    lines, width = spec.m[-2], spec.m[-1]
    if not isinstance(width, int):
        raise ValueError(f"the batch must not be the last row dim of a guarded access: {spec}")
    wanted = cost.COPIED_BLOCK_ROWS if spec.j else cost.BLOCK_ROWS
    while True:
        item_lines = _lines_per_item(lines, width, wanted)
        reach = [0] * (m - 2) + [item_lines, width] + [multiple(s) for s in (*spec.k, *spec.j)]
        read = spread_box(spec.a, reach, m - 1)
        if item_lines == 1 or read.size <= 2 * budget:
            break
        wanted = wanted // 2
    read = _split(read, spec, columns)
    axes = tuple(Axis(s, x) for s, x in zip(spec.m, read.m))
    grid = _grid(axes, columns, target, item_lines, kept)
    block_items = max(1, min(grid.block_items, budget // read.size))
    return read, replace(grid, block_items=block_items)


def _guarded_rows(axes: Sequence[Axis], columns: Columns, target: Target) -> GridRows:
    """The rows as items of few lines, since nothing is copied for one, and tiles that lie in one line."""
    *outer, lines, width = axes
    assert isinstance(width.size, int)
    item_lines = 1
    if isinstance(lines.size, int):
        item_lines = divisor_at_most(lines.size, max(lines.size // cost.ITEMS, 1))
    strips = choose_strips(width.size, lines.size, item_lines, columns, target.registers, alone=True)
    block_items = max(1, cost.BLOCK_ROWS // (item_lines * width.size))
    return GridRows(tuple(outer), lines, width, item_lines, strips, block_items)


def _grid(axes: Sequence[Axis], columns: Columns, target: Target, item_lines: int, kept: int) -> GridRows:
    """The rows as items of `item_lines` lines (0: to be chosen), with the tiles that cover one."""
    *outer, lines, width = axes
    if not isinstance(width.size, int):
        raise ValueError("the batch must not be the last row dim of a windowed access")
    item_lines = item_lines or _lines_per_item(lines.size, width.size, cost.BLOCK_ROWS)
    rows = item_lines * width.size
    strips = choose_strips(width.size, lines.size, item_lines, columns, target.registers)
    block_items = max(1, min(cost.BLOCK_ROWS // rows, cache_elements(target) // (rows * kept)))
    return GridRows(tuple(outer), lines, width, item_lines, strips, block_items)


# ---------------------------------------------------------------- rows static, k with the batch


def _plan_by_depth(
    phase: Phase,
    spec: Contraction,
    a: Source,
    b: Source,
    epilogue: Epilogue,
    target: Target,
    columns: Columns,
    kind: ReadKind,
    read_b: ReadB,
    in_registers: bool,
) -> Plan:
    """Blocks of k outside, partial sums of many rows in scratch."""
    budget = cache_elements(target)
    total = spec.sizes[0]
    assert isinstance(total, int)
    wide = columns.block * columns.lanes
    shortest, longest = cost.DEPTH_BLOCK
    longest = min(max(budget // (wide + min(total, longest)), shortest), longest)
    k = [Axis(s, 0, x) for s, x in zip(spec.k, read_b.k)]
    if kind == "in_place":
        read_a = _in_place(spec, a)
        axes = [replace(x, a=y) for x, y in zip(k, read_a.k)]
        depth = choose_depth(axes if read_b.copied else merge(axes), longest)
    else:
        depth, read_a = _box_depth(spec, k, longest, budget, columns)
    if read_b.copied:
        read_b = replace(read_b, stride=depth.longest * columns.tile * columns.lanes)
    rows = _static_rows([Axis(s, x) for s, x in zip(spec.m, read_a.m)], columns, target)
    return Plan(phase, spec, a, b, epilogue, target, columns, rows, depth, read_a, read_b, in_registers)


def _box_depth(
    spec: Contraction, k: Sequence[Axis], longest: int, budget: int, columns: Columns
) -> tuple[DepthBlocks, ReadA]:
    """Blocks of k whose box fits the cache."""
    m, j = [multiple(s) for s in spec.m], [multiple(s) for s in spec.j]
    while True:
        depth = choose_depth(k, longest)
        sizes = [multiple(x.size) for x in k]
        sizes[depth.cut] = depth.chunk
        sizes[: depth.cut] = [0] * depth.cut
        read = _split(spread_box(spec.a, m + sizes + j, len(m) + len(k) - 1), spec, columns)
        if longest <= 16 or read.size <= budget + budget // 8:
            break
        longest //= 2
    axes = tuple(replace(x, a=y) for x, y in zip(depth.axes, read.k))
    return replace(depth, axes=axes), read


def _static_rows(axes: Sequence[Axis], columns: Columns, target: Target) -> FlatRows | GridRows:
    """Rows in small items, since a thread's whole range is one block as far as scratch allows."""
    axes = merge(axes)
    budget, registers = cache_elements(target), target.registers
    wide = columns.block * columns.lanes
    if len(axes) == 1:
        size = multiple(axes[0].size)
        flat = choose_flat(size, axes[0].a, columns, registers, max(budget // wide, 1))
        main = flat.tiles[0].rows
        return replace(flat, block_items=min(flat.block_items, ceil_div(size, main) * main))
    *outer, lines, width = axes
    most = most_rows(columns.tile, target.registers)
    size = multiple(width.size)
    if size > 4 * most:
        piece = divisor_at_most(size, 4 * most)
        if piece >= most // 2:
            outer = [*outer, lines]
            lines, width = Axis(size // piece, piece * width.a), Axis(piece, width.a)
            size = piece
    item_lines = min(max(most // size, 1), multiple(lines.size))
    strips = choose_strips(size, lines.size, item_lines, columns, registers)
    items = math.prod(multiple(x.size) for x in outer) * ceil_div(multiple(lines.size), item_lines)
    block_items = max(1, min(budget // (item_lines * size * wide), items))
    return GridRows(tuple(outer), lines, width, item_lines, strips, block_items)

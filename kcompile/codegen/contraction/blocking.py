"""How a contraction is cut into blocks: register tiles, column blocks, row blocks, depth blocks.

What enters: sizes and strides of a contraction, and the target's registers and caches. What leaves:
small frozen records that `contraction` turns into loops. Nothing here builds code.

Terms: a *vector* is `lanes` neighbouring columns; a *panel* is a few vectors of B stored for all k
one after another; a *tile* is rows x vectors of the output kept in registers; *depth* is the
direction of k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kcompile.codegen import cost
from kcompile.codegen.loops import Buffer
from kcompile.codegen.targets import Target
from kcompile.ir.contraction import Access
from kcompile.ir.types import Batch, Dim, numel, row_major

FLOAT = 4


@dataclass(frozen=True)
class Axis:
    """An index variable, or several that operands step through as one: its size and how many
    elements of A and of B lie between neighbours."""

    size: Dim
    a: int
    b: int = 0


def merge(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """The same iteration space with as few axes as possible."""
    out: list[Axis] = []
    for axis in axes:
        size = axis.size
        if size == 1:
            continue
        if out and isinstance(size, int) and (out[-1].a, out[-1].b) == (axis.a * size, axis.b * size):
            out[-1] = Axis(out[-1].size * size, axis.a, axis.b)
        else:
            out.append(axis)
    return tuple(out) or (Axis(1, 0, 0),)


def linear(access: Access, shape: Sequence[Dim], count: int) -> tuple[int, tuple[int, ...]] | None:
    """(offset, stride of each of `count` variables) of an operand read in place, as elements of
    its row-major buffer; None when the access is guarded or not linear."""
    strides = row_major(shape)
    if strides is None or any(access.guarded) or any(x.divisor != 1 for x in access.index):
        return None
    steps, offset = [0] * count, 0
    for affine, stride in zip(access.index, strides):
        offset += affine.offset * stride
        for variable, coefficient in affine.terms:
            steps[variable] += coefficient * stride
    return offset, tuple(steps)


def multiple(size: Dim) -> int:
    """The size for one sample."""
    return size.multiple if isinstance(size, Batch) else size


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def divisor_at_most(size: int, limit: int) -> int:
    """The largest divisor of `size` that is <= limit (at least 1)."""
    return max((d for d in range(1, min(size, max(limit, 1)) + 1) if size % d == 0), default=1)


# ---------------------------------------------------------------- columns


@dataclass(frozen=True)
class Columns:
    """total: J. lanes: of a vector. vectors: ceil(J / lanes). tile: vectors of the main register
    tile. part: the unit in which columns are divided between threads where rows are few, in vectors: a
    multiple of the tile's, or all. block: vectors of a block in the cache, a multiple of the part. dtype: of
    the sums."""

    total: int
    lanes: int
    vectors: int
    tile: int
    part: int
    block: int
    dtype: str = "float32"

    @property
    def parts(self) -> int:
        return ceil_div(self.vectors, self.part)

    @property
    def ragged(self) -> bool:
        """Whether the last vector is not full."""
        return self.total % self.lanes != 0


def tile_vectors(vectors: int, lanes: int, registers: int) -> int:
    """Vectors of the main tile: few, so that a panel of B stays in L1, and dividing the columns."""
    if lanes <= 4 and registers >= 32 and vectors % 4 == 0:
        return 4
    if vectors == 1 or vectors % 2 == 0:
        return min(vectors, 2)
    for tile in (3, 5, 7):
        if vectors % tile == 0 and tile <= registers // 4:
            return tile
    return 2


def most_rows(vectors: int, registers: int) -> int:
    """Rows of the largest tile of so many vectors: accumulators, one row of B, one element of A. A
    tile of one vector wants more, because each row of B is loaded for it alone."""
    most = cost.TILE_ROWS_ONE_VECTOR if vectors == 1 else cost.TILE_ROWS
    return min((registers - 1 - vectors) // vectors, most)


def shares_columns(total: int, depth: Dim, rows: Dim) -> bool:
    """Whether threads share the columns, as a sample has too few rows for them."""
    few_rows = isinstance(rows, Batch) and multiple(rows) < cost.MANY_ROWS
    return few_rows and isinstance(depth, int) and total * depth >= cost.SHARED_OPERAND


def main_tile(total: int, depth: Dim, rows: Dim, lanes: int, registers: int) -> int:
    """Vectors of the main tile of a contraction, and so of the panels in which B is packed."""
    vectors = ceil_div(total, lanes)
    if shares_columns(total, depth, rows) and multiple(rows) > 1:
        return few_rows_tile(multiple(rows), vectors, registers)
    return tile_vectors(vectors, lanes, registers)


def within_panels(tile: int, panel: int) -> int:
    """Vectors of a main tile where panels have so many (0: there are none): whole panels, or a part that
    divides one; so are tiles of twice as many, and what they leave over of the columns."""
    if not panel or tile % panel == 0:
        return tile
    if panel & (panel - 1):  # no power of two
        return panel
    return tile if panel % tile == 0 else min(2, panel)


def few_rows_tile(rows: int, vectors: int, registers: int) -> int:
    """Vectors of the main tile where so many rows share a large B, and threads its columns: what takes the
    fewest cycles for two threads, with what the tiles leave over of the rows and of the columns."""

    def cycles(height: int, wide: int) -> float:
        """Of one summed element: multiply-adds, loads, or the latency of one multiply-add."""
        return max(height * wide / cost.MULTIPLY_ADDS, (height + wide) / cost.LOADS, cost.LATENCY)

    def total(wide: int) -> float:
        main = min(most_rows(wide, registers), rows)
        rest = rows % main
        of_rows = rows // main * cycles(main, wide)
        of_rows += sum(cycles(height, wide) * count for height, count in leftover(rest))
        parts = ceil_div(vectors, wide)
        return of_rows * ceil_div(parts, 2)

    return min(range(1, min(vectors, registers // 4) + 1), key=lambda wide: (total(wide), abs(wide - 2)))


def leftover(rows: int) -> list[tuple[int, int]]:
    """Rows less than a main tile's as (height, how many) of small tiles: fours, a pair and a single row."""
    return [(4, rows // 4), (2, rows % 4 // 2), (1, rows % 2)]


def row_tile_vectors(rows: int, columns: Columns, registers: int) -> int:
    """Vectors of a tile of few rows: wide enough to hide the latency of multiply-adds."""
    vectors = columns.tile
    while (
        2 * vectors <= min(8, columns.part)
        and rows * 2 * vectors <= max(registers // 2, 8)
        and rows < 2 * vectors * 4
    ):
        vectors *= 2
    return vectors


def choose_columns(
    total: int, depth: Dim, rows: Dim, dtype: str, target: Target, panels: int | None = None
) -> Columns:
    """Columns in tiles, parts and blocks. `part` is less than all where threads share columns. panels: the
    columns of the panels that B was packed in, if it was: they make the tile, unless they are several
    processors'."""
    lanes = target.lanes(dtype)
    vectors = ceil_div(total, lanes)
    tile = panels // lanes if panels else 0
    if not panels or target.panel_bits:
        tile = within_panels(main_tile(total, depth, rows, lanes, target.registers), tile)
    part = block = vectors
    if vectors * lanes > cost.MANY_COLUMNS:
        part = block = _doubled(tile, cost.COLUMN_BLOCK // lanes)
    if shares_columns(total, depth, rows):
        part = tile if multiple(rows) > 1 else _doubled(tile, cost.SHARED_COLUMNS // lanes)
    return Columns(total, lanes, vectors, tile, min(part, vectors), min(block, vectors), dtype)


def _doubled(tile: int, limit: int) -> int:
    """tile * 2^i, at most `limit` (but at least the tile)."""
    while 2 * tile <= limit:
        tile *= 2
    return tile


# ---------------------------------------------------------------- rows


@dataclass(frozen=True)
class Tile:
    """A register tile: how many rows of the output by how many vectors."""

    rows: int
    vectors: int


@dataclass(frozen=True)
class FlatRows:
    """Rows that A steps through evenly. An iteration of the parallel loop is one row; a thread's
    range is rounded to the main tile, so that every row has one owner.

    tiles: the main tile and the ones for what it leaves over, in falling number of rows.
    block_items: rows of one block, a multiple of the main tile's.
    """

    size: Dim
    stride: int
    tiles: tuple[Tile, ...]
    block_items: int

    @property
    def items(self) -> Dim:
        """What an iteration of the parallel loop has of the rows is one of these: a row."""
        return self.size

    @property
    def sums_rows(self) -> int:
        """Rows of scratch for an item."""
        return 1


def choose_flat(size: Dim, stride: int, columns: Columns, registers: int, block_items: int) -> FlatRows:
    """Tiles for rows in one run of any length; `block_items` is the wanted rows of a block. What the main
    tile leaves over is done by fours, a pair and a single row: more sizes gain little and cost
    code, and single rows alone would read all of B for each."""
    main = most_rows(columns.tile, registers)
    if isinstance(size, int) and size <= 4 * main:
        main = ceil_div(size, ceil_div(size, main))
    left = [size % main] if isinstance(size, int) else range(0, main, math.gcd(multiple(size), main))
    sizes = sorted({rows for rest in left for rows, count in leftover(rest) if count}, reverse=True)
    tiles = [Tile(main, columns.tile)]
    tiles += [Tile(rows, row_tile_vectors(rows, columns, registers)) for rows in sizes]
    return FlatRows(size, stride, tuple(tiles), max(block_items // main, 1) * main)


@dataclass(frozen=True)
class Strip:
    """Tiles of equal size in an item of a `GridRows`: `count` of them side by side from `start` in each line.
    lines: whole lines in one tile, where more than one. after: these are the lines that tiles of `after`
    lines leave over (0: all lines)."""

    tile: Tile
    start: int = 0
    count: int = 1
    lines: int = 1
    after: int = 0


@dataclass(frozen=True)
class GridRows:
    """Rows as outer variables x lines x width. An iteration of the parallel loop is an *item*: one
    index of `outer` and `item_lines` neighbouring lines; `block_items` items make one block in the cache."""

    outer: tuple[Axis, ...]
    lines: Axis
    width: Axis
    item_lines: int
    strips: tuple[Strip, ...]
    block_items: int

    @property
    def line_blocks(self) -> int:
        return ceil_div(multiple(self.lines.size), self.item_lines)

    @property
    def items(self) -> Dim:
        """What an iteration of the parallel loop has of the rows is one of these: some lines."""
        lines = self.lines.size
        count = lines if isinstance(lines, Batch) else self.line_blocks
        return numel([*(x.size for x in self.outer), count])

    @property
    def sums_rows(self) -> int:
        """Rows of scratch for an item."""
        return self.item_lines * multiple(self.width.size)


def choose_strips(
    width: int, lines: Dim, item_lines: int, columns: Columns, registers: int, alone: bool = False
) -> tuple[Strip, ...]:
    """Tiles that cover lines of so many rows: two sizes at most, or several short lines at once (alone: not
    that)."""
    most = most_rows(columns.tile, registers)
    joined = 1 if alone else min(most // width, item_lines)
    if joined >= 2:
        strips = [Strip(Tile(joined * width, columns.tile), lines=joined)]
        if item_lines % joined or multiple(lines) % item_lines % joined:
            strips.append(Strip(Tile(width, row_tile_vectors(width, columns, registers)), after=joined))
        return tuple(strips)
    count = ceil_div(width, most)
    rows = ceil_div(width, count)
    short = count * rows - width
    vectors = row_tile_vectors(rows, columns, registers)
    strips = [Strip(Tile(rows, vectors), 0, count - short)]
    if short:
        strips.append(Strip(Tile(rows - 1, vectors), (count - short) * rows, short))
    return tuple(strips)


def items_buffer(name: str, dtype: str, rows: FlatRows | GridRows, each: int) -> Buffer:
    """Memory for a block of items, `each` elements for one; of fewer where there are not as many."""
    return block_buffer(name, dtype, rows.items, rows.block_items, each)


def block_buffer(name: str, dtype: str, items: Dim, most: int, each: int, before: int = 0) -> Buffer:
    """Memory for `most` of so many items, `each` elements for one, behind `before` others; of fewer where
    there are not as many."""
    if isinstance(items, int):
        return Buffer(name, dtype, "scratch", before + min(most, items) * each)
    return Buffer(name, dtype, "scratch", before + most * each, used=(before, items.multiple * each))


# ---------------------------------------------------------------- depth


@dataclass(frozen=True)
class DepthBlocks:
    """The summed axes: those before `cut` are stepped one by one, axis `cut` in chunks of `chunk`,
    those after it are whole in every block."""

    axes: tuple[Axis, ...]
    cut: int
    chunk: int

    @property
    def single(self) -> bool:
        """Whether one block holds everything."""
        return self.cut == 0 and isinstance(self.axes[0].size, int) and (self.chunk >= self.axes[0].size)

    @property
    def longest(self) -> int:
        """The summed elements of a full block."""
        return self.chunk * math.prod(multiple(x.size) for x in self.axes[self.cut + 1 :])


def choose_depth(axes: Sequence[Axis], longest: int) -> DepthBlocks:
    """Blocks of about `longest` summed elements; the batch is always stepped or cut."""
    first = max((i for i, x in enumerate(axes) if isinstance(x.size, Batch)), default=0)
    cut, inner = len(axes) - 1, 1
    while cut > first and inner * multiple(axes[cut].size) <= longest:
        inner *= multiple(axes[cut].size)
        cut -= 1
    chunk, size = max(longest // inner, 1), axes[cut].size
    if isinstance(size, int):
        chunk = ceil_div(size, ceil_div(size, chunk))
    return DepthBlocks(tuple(axes), cut, chunk)


def whole_depth(axes: Sequence[Axis]) -> DepthBlocks:
    return DepthBlocks(tuple(axes), 0, multiple(axes[0].size))


def aliases(stride: int, lines: int) -> bool:
    """Whether so many cache lines, `stride` elements apart, fall into too few sets of L1."""
    return lines >= cost.L1_WAYS and stride * FLOAT % cost.L1_PERIOD == 0


def crowds(stride: int) -> bool:
    """Whether lines `stride` elements apart fall into two sets of L1, or one."""
    return stride * FLOAT % (cost.L1_PERIOD // 2) == 0


def cache_elements(target: Target) -> int:
    """Elements that the block of one operand may have, so that it stays in L2 beside the others'."""
    return target.l2 // 4 // FLOAT

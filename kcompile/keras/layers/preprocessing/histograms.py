"""ContrastLimitedAdaptiveHistogramEqualization: values spread tile by tile, by how often they occur there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import static
from kcompile.keras import images
from kcompile.keras.layers.preprocessing.augmenting import Images
from kcompile.keras.layers.preprocessing.colours import BYTES, scaled

__all__ = ["ContrastLimitedAdaptiveHistogramEqualization"]

LEVELS = 256


class ContrastLimitedAdaptiveHistogramEqualization(Images):
    """Each channel of each image spread over the value_range, in inference too: by the counts of 256 levels
    in the tiles of a grid (rows, columns), of which what is above clip_limit times their mean is shared by
    all levels (0: all count), and between the middles of tiles by interpolation."""

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        clip_limit: float = 4.0,
        tile_grid_size: Any = (8, 8),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self.value_range = self.value_range_of(value_range)
        self.clip_limit = self.number("clip_limit", clip_limit)
        self.tile_grid_size = self.positives("tile_grid_size", tile_grid_size, 2)

    def of_images(self, x: Tensor) -> Tensor:
        given = x.dtype
        x = scaled(self.floats(x), self.value_range, BYTES)
        made = scaled(self._spread(x), BYTES, self.value_range)
        return made if given.startswith("float") else ops.cast(made, given)

    def _spread(self, x: Tensor) -> Tensor:
        """Values from 0 to 255."""
        n, channels = x.shape[0], static(x.shape[3:])[0]
        sizes, grid = static(x.shape[1:3]), self.tile_grid_size
        tile = [-(-size // count) for size, count in zip(sizes, grid)]
        high, wide = (count * size for count, size in zip(grid, tile))
        # Beyond the edges is the mirror image
        at = [
            ops.constant(x.graph, _mirrored(np.arange(full), size), "int32")
            for full, size in zip((high, wide), sizes)
        ]
        padded = ops.take(ops.take(x, at[0], 1), at[1], 2)
        levels = ops.cast(ops.clip(padded, *BYTES), "int32")
        tiles = ops.reshape(levels, (n, grid[0], tile[0], grid[1], tile[1], channels))
        tiles = ops.reshape(
            ops.transpose(tiles, (0, 1, 3, 5, 2, 4)), (n, grid[0], grid[1], channels, tile[0] * tile[1])
        )
        table = self._table(ops.reduce_sum(ops.one_hot(tiles, LEVELS, x.dtype), 4), tile[0] * tile[1])
        for axis in (1, 2):  # tiles at the edges count beyond them too
            ends = [
                ops.part_of(table, axis, 0, 1),
                ops.part_of(table, axis, grid[axis - 1] - 1, grid[axis - 1]),
            ]
            table = ops.concatenate([ends[0], table, ends[1]], axis)
        table = ops.reshape(table, (n, (grid[0] + 2) * (grid[1] + 2) * channels * LEVELS))
        pixels = images.cropped(levels, (0, 0), sizes)
        total: Tensor | None = None
        for row, row_weight in _between(sizes[0], tile[0], grid[0]):
            for column, column_weight in _between(sizes[1], tile[1], grid[1]):
                place = (row[:, None] * (grid[1] + 2) + column[None, :])[..., None] * channels
                place = (place + np.arange(channels)) * LEVELS
                rows = pixels + ops.constant(x.graph, place[None], "int32")
                flat = ops.reshape(rows, (n, sizes[0] * sizes[1] * channels))
                found = ops.reshape(ops.gather_each(ops.reshape(table, (*table.shape, 1)), flat), rows.shape)
                weight = (row_weight[:, None] * column_weight[None, :])[None, ..., None]
                part = found * ops.constant(x.graph, weight, x.dtype)
                total = part if total is None else total + part
        assert total is not None
        return total

    def _table(self, counts: Tensor, pixels: int) -> Tensor:
        """What becomes of each level [..., 256], of how often it occurs."""
        if self.clip_limit > 0:
            clipped = ops.clip(counts, 0.0, self.clip_limit * pixels / LEVELS)
            rest = ops.reduce_sum(counts - clipped, -1, keepdims=True)
            counts = clipped + rest / float(LEVELS)
        until = ops.constant(counts.graph, np.triu(np.ones((LEVELS, LEVELS))), counts.dtype)
        sums = ops.dot_general(counts, until, ([counts.rank - 1], [0]))
        first = ops.reduce_min(sums, -1, keepdims=True)
        span = float(pixels) - first
        span = ops.select(ops.equal(span, 0.0), ops.ones_like(span), span)
        return ops.clip((sums - first) * 255.0 / span, *BYTES)


def _mirrored(places: np.ndarray, size: int) -> np.ndarray:
    """Places inside, of those beyond the end too."""
    part = places % (2 * size)
    return np.minimum(part, 2 * size - 1 - part)


def _between(size: int, tile: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each pixel the tile before it and that behind, counted with one at each edge, and their weights."""
    at = (np.arange(size) - tile / 2.0) / tile + 1.0
    before = np.floor(at)
    share = (at - before).astype(np.float32)
    first, second = (np.clip(b, 0, count + 1).astype(np.int64) for b in (before, before + 1))
    return [(first, 1 - share), (second, share)]

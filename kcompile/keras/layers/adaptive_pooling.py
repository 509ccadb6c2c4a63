"""Pooling to an output of a given size, whatever that of the input is, for any number of spatial axes.

Of n elements along an axis, output i of k is made of those from floor(i n / k) to ceil((i + 1) n / k).
Windows are products of ranges, so the axes are pooled one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.engine import InputSpec, KerasShape, Layer
from kcompile.keras.layers.kernel import known_channels
from kcompile.keras.settings import checked_data_format
from kcompile.keras.spatial import channels_back, channels_to_last

__all__ = [
    "AdaptiveAveragePooling1D",
    "AdaptiveAveragePooling2D",
    "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D",
    "AdaptiveMaxPooling2D",
    "AdaptiveMaxPooling3D",
]


def windows(size: int, count: int) -> list[tuple[int, int]]:
    """Where the windows of `count` outputs begin and end."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


class _Adaptive(Layer):
    """output_size: one for all spatial axes, or one for each."""

    rank: int

    def __init__(
        self, output_size: int | Sequence[int], data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.output_size = self.positives("output_size", output_size, self.rank)
        with self.named_errors():
            self.data_format = checked_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def build(self, input_shape: KerasShape) -> None:
        first = 1 if self.data_format == "channels_last" else 2
        for axis in range(first, first + self.rank):
            known_channels(input_shape, axis)

    def call(self, x: Tensor) -> Tensor:
        x = channels_to_last(x, self.data_format)
        for axis, count in enumerate(self.output_size, 1):
            size = x.shape[axis]
            assert isinstance(size, int)
            x = self.pool(x, axis, windows(size, count))
        return channels_back(x, self.data_format)

    def pool(self, x: Tensor, axis: int, parts: Sequence[tuple[int, int]]) -> Tensor:
        """x with the windows of an axis in place of its elements."""
        raise NotImplementedError


class _Average(_Adaptive):
    """The mean of each channel over each window."""

    def pool(self, x: Tensor, axis: int, parts: Sequence[tuple[int, int]]) -> Tensor:
        shares = np.zeros((len(parts), parts[-1][1]))
        for row, (low, high) in zip(shares, parts):
            row[low:high] = 1 / (high - low)
        mean = ops.dot_general(x, ops.constant(x.graph, shares, x.dtype), ([axis], [1]))
        return ops.transpose(mean, [*range(axis), mean.rank - 1, *range(axis, mean.rank - 1)])


class _Max(_Adaptive):
    """The largest of each channel in each window."""

    def pool(self, x: Tensor, axis: int, parts: Sequence[tuple[int, int]]) -> Tensor:
        def part(low: int, high: int) -> Tensor:
            start = [low if i == axis else 0 for i in range(x.rank)]
            stop = [high if i == axis else d for i, d in enumerate(x.shape)]
            return ops.reduce_max(ops.slice_(x, start, stop), axis, keepdims=True)

        return ops.concatenate([part(low, high) for low, high in parts], axis)


class AdaptiveAveragePooling1D(_Average):
    """[batch, steps, channels], or with channels first."""

    rank = 1


class AdaptiveAveragePooling2D(_Average):
    """[batch, rows, columns, channels], or with channels first."""

    rank = 2


class AdaptiveAveragePooling3D(_Average):
    """[batch, three axes, channels], or with channels first."""

    rank = 3


class AdaptiveMaxPooling1D(_Max):
    """[batch, steps, channels], or with channels first."""

    rank = 1


class AdaptiveMaxPooling2D(_Max):
    """[batch, rows, columns, channels], or with channels first."""

    rank = 2


class AdaptiveMaxPooling3D(_Max):
    """[batch, three axes, channels], or with channels first."""

    rank = 3

"""Convolutions whose weights differ from place to place."""

from __future__ import annotations

from math import prod
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import spatial
from kcompile.keras.engine import KerasShape
from kcompile.keras.layers.convolutional import Sliding
from kcompile.keras.layers.kernel import KernelLayer
from kcompile.keras.spatial import channels_back, channels_to_last
from kcompile_runtime.errors import ModelError, describe

__all__ = ["LocallyConnected1D", "LocallyConnected2D"]


class _LocallyConnected(Sliding, KernelLayer):
    """activation(what each window sees, times weights of its own, + a bias of its own).

    kernel [windows, taps * channels, filters], bias [windows..., filters]. The sizes of the input are known.
    """

    paddings = ("valid",)

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.filters = self.positive("filters", filters)
        self.slide(kernel_size, strides, padding, data_format, 1)

    def build(self, input_shape: KerasShape) -> None:
        first = 2 if self.data_format == "channels_first" else 1
        places = range(first, first + self.rank)
        channels = self.check_input(input_shape, *places)
        windows = tuple(
            ops.window_size(input_shape[i], taps, stride, (0, 0))
            for i, taps, stride in zip(places, self.kernel_size, self.strides)
        )
        if min(windows) < 1:
            raise ModelError(
                describe("kernel_size", f"no more than the input {input_shape}", str(self.kernel_size))
            )
        kernel = (prod(windows), prod(self.kernel_size) * channels, self.filters)
        self.add_kernel(kernel, (*windows, self.filters))

    def call(self, x: Tensor) -> Tensor:
        first = self.data_format == "channels_first"
        kernel, last = self.kernel.__tensor__(x.graph), channels_to_last(x, self.data_format)
        y = spatial.local(last, kernel, self.kernel_size, self.strides, self.padding, first)
        y = channels_back(y, self.data_format)
        if self.bias is not None:  # which is read, not moved, as a bias with the channels first
            y = y + ops.reshape(self.bias.__tensor__(x.graph), y.shape[1:])
        return self.activation(y)


class LocallyConnected1D(_LocallyConnected):
    """Over [batch, steps, channels]."""

    rank = 1

    def build(self, input_shape: KerasShape) -> None:
        self.one_of("data_format", self.data_format, ("channels_last",))
        super().build(input_shape)


class LocallyConnected2D(_LocallyConnected):
    """Over images."""

    rank = 2

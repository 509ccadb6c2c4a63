"""Convolutions, written for any number of spatial axes."""

from __future__ import annotations

from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.engine import InputSpec, KerasShape
from kcompile.keras.layers.kernel import KernelLayer
from kcompile.keras.settings import checked_data_format
from kcompile.keras.spatial import channels_back, channels_to_last, pads
from kcompile_runtime.errors import ModelError, describe

__all__ = ["Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D"]


class _Conv(KernelLayer):
    """activation(convolution of x with kernel [spatial..., channels, filters] + bias).

    (filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1, groups=1,
    and the arguments of `KernelLayer`). Sizes are integers or one for each axis.
    """

    rank: int
    paddings: tuple[str, ...] = ("valid", "same")

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        *args: Any,
        groups: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.filters = self.positive("filters", filters)
        self.kernel_size = self.positives("kernel_size", kernel_size, self.rank)
        self.strides = self.positives("strides", strides, self.rank)
        self.dilation_rate = self.positives("dilation_rate", dilation_rate, self.rank)
        self.padding = self.one_of("padding", padding, self.paddings)
        self.groups = self.positive("groups", groups)
        with self.named_errors():
            self.data_format = checked_data_format(data_format)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ModelError(
                describe(
                    f"{self.label}",
                    "strides or dilation_rate of 1",
                    f"strides={self.strides}, dilation_rate={self.dilation_rate}",
                )
            )

    def build(self, input_shape: KerasShape) -> None:
        InputSpec(ndim=self.rank + 2).check(input_shape)
        axis = 1 if self.data_format == "channels_first" else self.rank + 1
        channels = input_shape[axis]
        if channels is None:
            raise ModelError(
                describe(
                    "input",
                    f"a known number of channels (axis {axis})",
                    f"shape {input_shape}",
                    "Give the Input this size",
                )
            )
        if channels % self.groups or self.filters % self.groups:
            raise ModelError(
                describe(
                    "groups",
                    f"a divisor of the input's channels ({channels}) and of filters ({self.filters})",
                    str(self.groups),
                )
            )
        self.add_kernel((*self.kernel_size, channels // self.groups, self.filters))
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})

    def call(self, x: Tensor) -> Tensor:
        x = channels_to_last(x, self.data_format)
        padding = pads(self.padding, x.shape[1:-1], self.kernel_size, self.strides, self.dilation_rate)
        parts = [
            ops.conv(part, kernel, self.strides, padding, self.dilation_rate)
            for part, kernel in self._groups(x)
        ]
        y = channels_back(self.add_bias(ops.concatenate(parts)), self.data_format)
        return self.activation(y)  # as the user's axes are: softmax goes along the last one

    def _groups(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The channels of each group with the part of the kernel that sees them."""
        kernel = self.kernel.__tensor__(x.graph)
        depth, filters = self.kernel.shape[-2], self.filters // self.groups
        return [(_last(x, i * depth, depth), _last(kernel, i * filters, filters)) for i in range(self.groups)]


def _last(x: Tensor, start: int, size: int) -> Tensor:
    """`size` elements of the last axis from `start`."""
    return ops.slice_(x, (0,) * (x.rank - 1) + (start,), (*x.shape[:-1], start + size))


class Conv1D(_Conv):
    """Over [batch, steps, channels]; padding may be "causal", which sees the past alone."""

    rank = 1
    paddings = ("valid", "same", "causal")


class Conv2D(_Conv):
    """Over images [batch, rows, columns, channels], or channels before rows."""

    rank = 2


class Conv3D(_Conv):
    """Over volumes [batch, three spatial axes, channels], or channels before them."""

    rank = 3


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D

"""Convolutions, written for any number of spatial axes."""

from __future__ import annotations

from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import spatial
from kcompile.keras.engine import InputSpec, KerasShape
from kcompile.keras.layers.kernel import KernelLayer, Weighted, known_channels
from kcompile.keras.layers.low_rank import _LowRank
from kcompile.keras.settings import checked_data_format
from kcompile.keras.spatial import channels_back, channels_to_last, pads
from kcompile_runtime.errors import ModelError, describe

__all__ = [
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "Convolution1D",
    "Convolution1DTranspose",
    "Convolution2D",
    "Convolution2DTranspose",
    "Convolution3D",
    "Convolution3DTranspose",
    "Deconvolution2D",
    "Deconvolution3D",
]


class Windowed(Weighted):
    """A layer with a kernel that slides over `rank` spatial axes. Sizes are integers or one for each axis."""

    rank: int
    paddings: tuple[str, ...] = ("valid", "same")

    def slide(
        self, kernel_size: Any, strides: Any, padding: str, data_format: str | None, dilation_rate: Any
    ) -> None:
        """Keep how the kernel moves."""
        self.kernel_size = self.positives("kernel_size", kernel_size, self.rank)
        self.strides = self.positives("strides", strides, self.rank)
        self.dilation_rate = self.positives("dilation_rate", dilation_rate, self.rank)
        self.padding = self.word("padding", padding, self.paddings)
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

    def check_input(self, input_shape: KerasShape, *fixed: int) -> int:
        """The number of channels. From now on inputs have as many, and the sizes of these axes."""
        InputSpec(ndim=self.rank + 2).check(input_shape)
        axis = 1 if self.data_format == "channels_first" else self.rank + 1
        axes: dict[int, int | None] = {i: known_channels(input_shape, i) for i in (*fixed, axis)}
        self.input_spec = InputSpec(ndim=self.rank + 2, axes=axes)
        return known_channels(input_shape, axis)


class Sliding(Windowed):
    """activation(what a sliding kernel makes of x + bias)."""

    def call(self, x: Tensor) -> Tensor:
        y = self.add_bias(self.product(channels_to_last(x, self.data_format)))
        return self.activation(channels_back(y, self.data_format))  # softmax goes along the user's last axis

    def product(self, x: Tensor) -> Tensor:
        """What the kernel makes of x, channels last in both."""
        raise NotImplementedError


class _Conv(Sliding, _LowRank, KernelLayer):
    """activation(convolution of x with kernel [spatial..., channels, filters] + bias).

    (filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1, groups=1,
    and the arguments of `KernelLayer`). Sizes are integers or one for each axis.
    """

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
        self.slide(kernel_size, strides, padding, data_format, dilation_rate)
        self.groups = self.positive("groups", groups)

    def build(self, input_shape: KerasShape) -> None:
        channels = self.check_input(input_shape)
        if channels % self.groups or self.filters % self.groups:
            raise ModelError(
                describe(
                    "groups",
                    f"a divisor of the input's channels ({channels}) and of filters ({self.filters})",
                    str(self.groups),
                )
            )
        self.add_kernel((*self.kernel_size, channels // self.groups, self.filters))
        self.add_adapters()

    def product(self, x: Tensor) -> Tensor:
        padding = pads(self.padding, x.shape[1:-1], self.kernel_size, self.strides, self.dilation_rate)
        kernel = self.kernel_in(x.graph)
        return ops.conv(x, kernel, self.strides, padding, self.dilation_rate, self.groups)


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


class _ConvTranspose(Sliding, KernelLayer):
    """activation(the transpose of a convolution, applied to x, + bias): each element of x spreads its
    products with the kernel [spatial..., filters, channels] over the output.

    (filters, kernel_size, strides=1, padding="valid", output_padding=None, data_format=None,
    dilation_rate=1, and the arguments of `KernelLayer`). output_padding: elements added to each axis
    of the output, fewer than strides; None: as many as make `same` outputs strides times the input.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.filters = self.positive("filters", filters)
        self.slide(kernel_size, strides, padding, data_format, dilation_rate)
        self.output_padding = (
            None if output_padding is None else self.counts("output_padding", output_padding, self.rank)
        )
        if self.output_padding is not None and any(
            more >= stride for more, stride in zip(self.output_padding, self.strides)
        ):
            raise ModelError(
                describe(
                    f"{self.label}: output_padding", f"less than strides={self.strides}", str(output_padding)
                )
            )

    def build(self, input_shape: KerasShape) -> None:
        channels = self.check_input(input_shape)
        self.add_kernel((*self.kernel_size, self.filters, channels), (self.filters,))

    def product(self, x: Tensor) -> Tensor:
        more = self.output_padding or (None,) * self.rank
        sizes = tuple(
            spatial.transposed_size(size, kernel, stride, self.padding, extra, dilation)
            for size, kernel, stride, extra, dilation in zip(
                x.shape[1:-1], self.kernel_size, self.strides, more, self.dilation_rate
            )
        )
        kernel = self.kernel.__tensor__(x.graph)
        return spatial.conv_transpose(x, kernel, sizes, self.strides, self.padding, self.dilation_rate)


class Conv1DTranspose(_ConvTranspose):
    """Over [batch, steps, channels]; for Keras 3 and tf.keras."""

    rank = 1


class Conv2DTranspose(_ConvTranspose):
    """Over images, as a decoder has it: from few pixels to many."""

    rank = 2


class Conv3DTranspose(_ConvTranspose):
    """Over volumes."""

    rank = 3


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
Deconvolution2D, Deconvolution3D = Conv2DTranspose, Conv3DTranspose
Convolution1DTranspose, Convolution2DTranspose, Convolution3DTranspose = (
    Conv1DTranspose,
    Conv2DTranspose,
    Conv3DTranspose,
)

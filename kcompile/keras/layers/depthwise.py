"""Convolutions that treat each channel by itself: depthwise, and separable, which then mix the channels."""

from __future__ import annotations

from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import spatial
from kcompile.keras.engine import KerasShape
from kcompile.keras.layers.convolutional import Sliding

__all__ = [
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
    "SeparableConvolution1D",
    "SeparableConvolution2D",
]


class _Depthwise(Sliding):
    """Each channel convolved with `depth_multiplier` kernels of its own, depthwise_kernel [spatial...,
    channels, depth_multiplier]; what comes of a channel stands side by side."""

    depth_multiplier: int

    def add_depthwise(self, input_shape: KerasShape) -> int:
        """Create `depthwise_kernel`. The number of channels that it makes."""
        channels = self.check_input(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.depthwise_kernel = self.add("depthwise_kernel", shape)
        return channels * self.depth_multiplier

    def product(self, x: Tensor) -> Tensor:
        kernel = self.depthwise_kernel.__tensor__(x.graph)
        return spatial.depthwise(x, kernel, self.strides, self.padding, self.dilation_rate)


class _DepthwiseConv(_Depthwise):
    """activation(depthwise convolution + bias)."""

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.choose(
            activation=activation,
            depthwise_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            bias_regularizer=bias_regularizer,
            depthwise_constraint=depthwise_constraint,
            bias_constraint=bias_constraint,
        )
        self.use_bias = self.flag("use_bias", use_bias)
        self.slide(kernel_size, strides, padding, data_format, dilation_rate)
        self.depth_multiplier = self.positive("depth_multiplier", depth_multiplier)

    def build(self, input_shape: KerasShape) -> None:
        self.add_bias_weight((self.add_depthwise(input_shape),))


class DepthwiseConv1D(_DepthwiseConv):
    """Over [batch, steps, channels]; for Keras 3 and tf.keras."""

    rank = 1


class DepthwiseConv2D(_DepthwiseConv):
    """Over images."""

    rank = 2


class _SeparableConv(_Depthwise):
    """activation(the channels of a depthwise convolution mixed by pointwise_kernel [1..., channels *
    depth_multiplier, filters] + bias)."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.choose(
            activation=activation,
            depthwise_initializer=depthwise_initializer,
            pointwise_initializer=pointwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            pointwise_regularizer=pointwise_regularizer,
            bias_regularizer=bias_regularizer,
            depthwise_constraint=depthwise_constraint,
            pointwise_constraint=pointwise_constraint,
            bias_constraint=bias_constraint,
        )
        self.use_bias = self.flag("use_bias", use_bias)
        self.filters = self.positive("filters", filters)
        self.slide(kernel_size, strides, padding, data_format, dilation_rate)
        self.depth_multiplier = self.positive("depth_multiplier", depth_multiplier)

    def build(self, input_shape: KerasShape) -> None:
        channels = self.add_depthwise(input_shape)
        self.pointwise_kernel = self.add("pointwise_kernel", (*(1,) * self.rank, channels, self.filters))
        self.add_bias_weight((self.filters,))

    def product(self, x: Tensor) -> Tensor:
        ones = (1,) * self.rank
        kernel = self.pointwise_kernel.__tensor__(x.graph)
        return ops.conv(super().product(x), kernel, ones, ((0, 0),) * self.rank, ones)


class SeparableConv1D(_SeparableConv):
    """Over [batch, steps, channels]; padding may be "causal", which sees the past alone."""

    rank = 1
    paddings = ("valid", "same", "causal")


class SeparableConv2D(_SeparableConv):
    """Over images."""

    rank = 2


SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D

"""Recurrent layers whose products are convolutions: images (or sequences, volumes) over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.engine import InputSpec, KerasShape
from kcompile.keras.layers.cells import LongShortTerm, Result
from kcompile.keras.layers.convolutional import Windowed
from kcompile.keras.layers.recurrent import RNN, OverCells, constructor
from kcompile.keras.spatial import channels_back, channels_to_last, pads
from kcompile_runtime.errors import InputTypeError, describe

__all__ = ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM2DCell", "ConvLSTM3D", "ConvRNN2D"]


class _ConvLSTMCell(LongShortTerm, Windowed):
    """A step of convolutional long short-term memory (Shi 2015): the input's convolution is as strides,
    padding and dilation_rate say, the state's keeps its size."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "hard_sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = self.positive("filters", filters)
        self.choose(
            activation=activation,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
        )
        self.use_bias = self.flag("use_bias", use_bias)
        self.slide(kernel_size, strides, padding, data_format, dilation_rate)
        self.choose_gates(recurrent_activation, unit_forget_bias)
        self.choose_dropout(dropout, recurrent_dropout, seed)

    @property
    def units(self) -> int:  # type: ignore[override]
        return self.filters

    def state_shapes(self, sample: Sequence[Any]) -> list[tuple[Any, ...]]:
        first = self.data_format == "channels_first"
        sizes = sample[1:] if first else sample[:-1]
        around = pads(self.padding, sizes, self.kernel_size, self.strides, self.dilation_rate)
        places = tuple(
            ops.window_size(*args)
            for args in zip(sizes, self.kernel_size, self.strides, around, self.dilation_rate)
        )
        return [(self.filters, *places) if first else (*places, self.filters)] * 2

    def build(self, input_shape: KerasShape) -> None:
        self.sample = tuple(input_shape[1:])
        width = self.gates * self.filters
        self.add_weights(
            (*self.kernel_size, self.check_input(input_shape), width),
            (*self.kernel_size, self.filters, width),
        )

    def of_input(self, x: Tensor, masks: Sequence[Tensor]) -> Tensor:
        around = pads(self.padding, x.shape[1:-1], self.kernel_size, self.strides, self.dilation_rate)
        return self.project(
            x,
            self.weight("kernel", x),
            masks,
            lambda part, kernel: ops.conv(part, kernel, self.strides, around, self.dilation_rate),
        )

    def of_state(self, h: Tensor, masks: Sequence[Tensor]) -> Tensor:
        ones = (1,) * self.rank
        around = pads("same", h.shape[1:-1], self.kernel_size, ones)
        return self.project(
            h,
            self.weight("recurrent_kernel", h),
            masks,
            lambda part, kernel: ops.conv(part, kernel, ones, around, ones),
        )

    def step(self, x: Tensor, states: list[Tensor], masks: Sequence[Tensor]) -> Result:
        """With channels last inside, whatever the user has."""
        x, *states = (channels_to_last(v, self.data_format) for v in (x, *states))
        masks = [channels_to_last(mask, self.data_format) for mask in masks]
        _, states = super().step(x, states, masks)
        states = [channels_back(v, self.data_format) for v in states]
        return states[0], states

    def activated(self, activation: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Softmax goes along the user's last axis."""
        return channels_to_last(activation(channels_back(x, self.data_format)), self.data_format)


class _ConvLSTM(OverCells):
    """The cell of this rank over the time axis of [batch, time, spatial..., channels], or channels before the
    spatial axes. As in Keras, the cell does not hear of `trainable`, so that Keras 3, where each weight has a
    flag of its own, trains what a constructor froze; `layer.trainable = False` freezes it."""

    freezes_cell = False

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        rank = self.cell.rank
        shape, _, _ = self.split(input_shape)
        axis = 2 if self.cell.data_format == "channels_first" else rank + 2
        self.input_spec = InputSpec(ndim=rank + 3, axes={axis: shape[axis]})


class ConvLSTM1DCell(_ConvLSTMCell):
    rank = 1


class ConvLSTM2DCell(_ConvLSTMCell):
    """The step of `ConvLSTM2D`, over images."""

    rank = 2


class ConvLSTM3DCell(_ConvLSTMCell):
    rank = 3


class ConvLSTM1D(_ConvLSTM):
    """Over sequences; for Keras 3 and tf.keras."""

    cell_class = ConvLSTM1DCell
    __init__ = constructor(ConvLSTM1DCell)


class ConvLSTM2D(_ConvLSTM):
    """Over images, frame after frame."""

    cell_class = ConvLSTM2DCell
    __init__ = constructor(ConvLSTM2DCell)


class ConvLSTM3D(_ConvLSTM):
    """Over volumes; for Keras 3 and tf.keras."""

    cell_class = ConvLSTM3DCell
    __init__ = constructor(ConvLSTM3DCell)


class ConvRNN2D(RNN):
    """An RNN over a cell of images, as Keras 2 calls it."""

    def __init__(self, cell: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(cell, (list, tuple)):
            raise InputTypeError(describe("ConvRNN2D", "one cell", "several", "Stack layers instead"))
        super().__init__(cell, *args, **kwargs)

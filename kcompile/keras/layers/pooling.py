"""Pooling, written for any number of spatial axes."""

from __future__ import annotations

from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.engine import InputSpec, Layer
from kcompile.keras.settings import checked_data_format
from kcompile.keras.spatial import channels_back, channels_to_last, pads

__all__ = [
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "AvgPool1D",
    "AvgPool2D",
    "AvgPool3D",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
]


class Spatial(Layer):
    """A layer over [batch, `rank` spatial axes, channels], or channels before them."""

    rank: int

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.named_errors():
            self.data_format = checked_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    @property
    def axes(self) -> range:
        """The spatial axes."""
        first = 2 if self.data_format == "channels_first" else 1
        return range(first, first + self.rank)


class _Pooling(Spatial):
    """(pool_size=2, strides=None, padding="valid", data_format=None); strides default to pool_size."""

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self.pool_size = self.positives("pool_size", pool_size, self.rank)
        self.strides = self.positives("strides", pool_size if strides is None else strides, self.rank)
        self.padding = self.word("padding", padding, ("valid", "same"))

    def call(self, x: Tensor) -> Tensor:
        x = channels_to_last(x, self.data_format)
        around = pads(self.padding, x.shape[1:-1], self.pool_size, self.strides)
        return channels_back(self.pool(x, self.pool_size, self.strides, around), self.data_format)

    def pool(self, x: Tensor, size: Any, strides: Any, pads: Any) -> Tensor:
        raise NotImplementedError


class _Max(_Pooling):
    """The largest element under each window."""

    def pool(self, x: Tensor, size: Any, strides: Any, pads: Any) -> Tensor:
        return ops.max_pool(x, size, strides, pads)


class _Average(_Pooling):
    """The mean of the elements under each window; padding is not counted."""

    wants_floats = True

    def pool(self, x: Tensor, size: Any, strides: Any, pads: Any) -> Tensor:
        return ops.average_pool(x, size, strides, pads)


class _Global(Spatial):
    """(data_format=None, keepdims=False): reduces all spatial axes."""

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(data_format, **kwargs)
        self.keepdims = self.flag("keepdims", keepdims)


class _GlobalMax(_Global):
    """The largest element of each channel."""

    def call(self, x: Tensor) -> Tensor:
        return ops.reduce_max(x, self.axes, self.keepdims)


class _GlobalAverage(_Global):
    """The mean of each channel."""

    wants_floats = True

    def call(self, x: Tensor) -> Tensor:
        return ops.reduce_mean(x, self.axes, self.keepdims)


class MaxPooling1D(_Max):
    """The largest element under each window over the steps of [batch, steps, channels]."""

    rank = 1


class MaxPooling2D(_Max):
    """The largest element under each window over images [batch, rows, columns, channels]."""

    rank = 2


class MaxPooling3D(_Max):
    """The largest element under each window over volumes [batch, three axes, channels]."""

    rank = 3


class AveragePooling1D(_Average):
    """The mean under each window over the steps of [batch, steps, channels]; padding is not counted."""

    rank = 1


class AveragePooling2D(_Average):
    """The mean under each window over images [batch, rows, columns, channels]; padding is not counted."""

    rank = 2


class AveragePooling3D(_Average):
    """The mean under each window over volumes [batch, three axes, channels]; padding is not counted."""

    rank = 3


class GlobalMaxPooling1D(_GlobalMax):
    """The largest element of each channel over the steps of [batch, steps, channels]."""

    rank = 1


class GlobalMaxPooling2D(_GlobalMax):
    """The largest element of each channel over images [batch, rows, columns, channels]."""

    rank = 2


class GlobalMaxPooling3D(_GlobalMax):
    """The largest element of each channel over volumes [batch, three axes, channels]."""

    rank = 3


class GlobalAveragePooling1D(_GlobalAverage):
    """The mean of each channel, over the steps that a mask leaves."""

    rank = 1
    supports_masking = True

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return super().call(x)
        (steps,) = self.axes
        shape = [d if i in (0, steps) else 1 for i, d in enumerate(x.shape)]
        there = ops.reshape(ops.cast(mask, x.dtype), shape)
        return ops.reduce_sum(x * there, steps, self.keepdims) / ops.reduce_sum(there, steps, self.keepdims)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        return None


class GlobalAveragePooling2D(_GlobalAverage):
    """The mean of each channel over images [batch, rows, columns, channels]."""

    rank = 2


class GlobalAveragePooling3D(_GlobalAverage):
    """The mean of each channel over volumes [batch, three axes, channels]."""

    rank = 3


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalMaxPool1D, GlobalMaxPool2D, GlobalMaxPool3D = (
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
)
GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D = (
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
)

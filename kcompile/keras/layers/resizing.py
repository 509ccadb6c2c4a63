"""Layers that cut, surround or repeat what lies along spatial axes."""

from __future__ import annotations

from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import static
from kcompile.keras import spatial
from kcompile.keras.layers.pooling import Spatial
from kcompile_runtime.errors import ModelError, describe

__all__ = [
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
]


class _Edged(Spatial):
    """A layer with numbers of elements before and behind each spatial axis. Configurations hold pairs, and
    one pair alone where there is one axis."""

    def keep(self, pairs: tuple[tuple[int, int], ...]) -> Any:
        return pairs[0] if self.rank == 1 else pairs

    def pairs(self, kept: Any) -> tuple[tuple[int, int], ...]:
        return (kept,) if self.rank == 1 else kept


class _Cropping(_Edged):
    """Without the first and last elements of each spatial axis.

    cropping: how many; one number, or for each axis a number or a pair (before, behind)."""

    def __init__(self, cropping: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format, **kwargs)
        self.cropping = self.keep(self.sides("cropping", cropping, self.rank))

    def call(self, x: Tensor) -> Tensor:
        start, stop = [0] * x.rank, list(x.shape)
        for axis, (before, behind) in zip(self.axes, self.pairs(self.cropping)):
            (size,) = static(x.shape[axis : axis + 1])
            start[axis], stop[axis] = before, size - behind
            if before + behind >= size:
                raise ModelError(
                    describe("cropping", f"less than the input {x.type} has", str(self.cropping))
                )
        return ops.slice_(x, start, stop)


class _ZeroPadding(_Edged):
    """With zeros before and behind each spatial axis.

    padding: how many; one number, or for each axis a number or a pair (before, behind)."""

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format, **kwargs)
        self.padding = self.keep(self.sides("padding", padding, self.rank))

    def call(self, x: Tensor) -> Tensor:
        low, high = [0] * x.rank, [0] * x.rank
        for axis, pair in zip(self.axes, self.pairs(self.padding)):
            low[axis], high[axis] = pair
        return ops.pad(x, low, high)


class _UpSampling(Spatial):
    """Each spatial axis `size` times as long, its elements repeated."""

    def __init__(self, size: Any = 2, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format, **kwargs)
        factors = self.positives("size", size, self.rank)
        self.size = factors[0] if self.rank == 1 else factors

    def call(self, x: Tensor) -> Tensor:
        factors = dict(zip(self.axes, self.positives("size", self.size, self.rank)))
        return spatial.repeated(x, [factors.get(i, 1) for i in range(x.rank)], True)


class _OfSteps(Spatial):
    """Over the steps of [batch, steps, channels]. Other orders of axes are Keras 3's, which configurations
    say where they are asked for."""

    rank = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if len(args) < 2 and kwargs.get("data_format") is None:
            kwargs["data_format"] = "channels_last"
        super().__init__(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.data_format == "channels_last":
            del config["data_format"]
        return config


class Cropping1D(_OfSteps, _Cropping):
    """Of [batch, steps, channels]."""


class Cropping2D(_Cropping):
    """Of images. By default nothing is cut, as in every Keras."""

    rank = 2

    def __init__(self, cropping: Any = 0, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(cropping, data_format, **kwargs)


class Cropping3D(_Cropping):
    """Of volumes."""

    rank = 3


class ZeroPadding1D(_OfSteps, _ZeroPadding):
    """Of [batch, steps, channels]."""


class ZeroPadding2D(_ZeroPadding):
    """Of images."""

    rank = 2


class ZeroPadding3D(_ZeroPadding):
    """Of volumes."""

    rank = 3


class UpSampling1D(_OfSteps, _UpSampling):
    """Of [batch, steps, channels]."""


class UpSampling2D(_UpSampling):
    """Of images. interpolation: "nearest" repeats pixels, "bilinear" goes from one to the next in a line."""

    rank = 2

    def __init__(
        self, size: Any = 2, data_format: str | None = None, interpolation: str = "nearest", **kwargs: Any
    ) -> None:
        super().__init__(size, data_format, **kwargs)
        self.interpolation = self.word("interpolation", interpolation, ("nearest", "bilinear"))

    def call(self, x: Tensor) -> Tensor:
        if self.interpolation == "nearest":
            return super().call(x)
        for axis, factor in zip(self.axes, self.positives("size", self.size, self.rank)):
            x = spatial.enlarged(x, axis, factor, self.semantics.bilinear == "middles")
        return x


class UpSampling3D(_UpSampling):
    """Of volumes."""

    rank = 3

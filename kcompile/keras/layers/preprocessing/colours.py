"""Layers that change the colours of images, most of them in training alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import numel, static
from kcompile.keras import images
from kcompile.keras.layers.preprocessing.augmenting import Augmentation, Drawn, Images, where
from kcompile.keras.settings import epsilon
from kcompile.keras.tracing import trace_of
from kcompile_runtime.errors import ModelError, describe

__all__ = [
    "AutoContrast",
    "Equalization",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomErasing",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPosterization",
    "RandomSaturation",
    "RandomSharpness",
    "Solarization",
]


def scaled(x: Tensor, before: Sequence[float], after: Sequence[float]) -> Tensor:
    """Values of one range in another."""
    if tuple(before) == tuple(after):
        return x
    return (x - before[0]) / (before[1] - before[0]) * (after[1] - after[0]) + after[0]


BYTES = (0.0, 255.0)


class _Coloured(Augmentation):
    """value_range: the least and the largest value of a pixel."""

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.value_range = self.value_range_of(value_range)

    def clipped(self, x: Tensor) -> Tensor:
        return ops.clip(x, *self.value_range)


class RandomContrast(_Coloured):
    """In training, (x - mean) * c + mean, with the mean of each image's channel: c of each sample in Keras 3,
    of the whole batch in tf.keras, between 1 - the first and 1 + the second of `factor`."""

    def __init__(
        self, factor: Any, value_range: Sequence[float] = (0, 255), seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(value_range, seed, **kwargs)
        self.factor = factor
        low, high = self.pair("factor", factor, 0.0, 1.0)
        both = self.semantics.contrast == "of the batch" and not isinstance(factor, (list, tuple))
        self._bounds = 1.0 - (high if both else low), 1.0 + high

    def drawn(self, x: Tensor) -> Drawn:
        samples = x.shape[0] if self.semantics.contrast == "of each sample" else 1
        return {"contrast_factor": self.uniform(x, (samples, 1, 1, 1), self._bounds)}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        mean = ops.reduce_mean(x, [1, 2], keepdims=True)
        return self.clipped((x - mean) * drawn["contrast_factor"] + mean)


class RandomBrightness(_Coloured):
    """In training, each sample brighter by a part of the value_range that is drawn from `factor`."""

    def __init__(
        self, factor: Any, value_range: Sequence[float] = (0, 255), seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(value_range, seed, **kwargs)
        self.factor = factor
        self._bounds = self.pair("factor", factor, -1.0, 1.0)

    def drawn(self, x: Tensor) -> Drawn:
        low, high = self.value_range
        return {"rgb_delta": self.each(x, [b * (high - low) for b in self._bounds])}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        return self.clipped(x + drawn["rgb_delta"])


class RandomGrayscale(Augmentation):
    """In training, samples become grey with probability `factor`."""

    channels = (1, 3)

    def __init__(
        self, factor: float = 0.5, data_format: str | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = self.number("factor", factor, 0.0, np.nextafter(1.0, 2.0))

    def drawn(self, x: Tensor) -> Drawn:
        return {"chosen": self.each(x) < self.factor}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        return where(drawn["chosen"], ops.broadcast_to(images.grey(x), x.shape), x)


class RandomInvert(_Coloured):
    """In training, samples become their negatives, with a probability drawn from `factor`."""

    def __init__(
        self,
        factor: Any = 1.0,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed, data_format, **kwargs)
        self.factor = self.pair("factor", factor, 0.0, 1.0)

    def drawn(self, x: Tensor) -> Drawn:
        return {"chosen": self.chosen(x, self.factor)}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        return where(drawn["chosen"], self.value_range[1] - x, x)


class _OfColour(_Coloured):
    """One factor."""

    least = 0.0

    def __init__(
        self,
        factor: Any,
        value_range: Sequence[float] = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed, data_format, **kwargs)
        self.factor = self.pair("factor", factor, self.least, 1.0)

    def drawn(self, x: Tensor) -> Drawn:
        return {"factor": self.each(x, self.factor)}


class RandomHue(_OfColour):
    """In training, hues turned to either side, by half of a number drawn from `factor`."""

    channels = (3,)

    def drawn(self, x: Tensor) -> Drawn:
        side = ops.cast(ops.select(self.each(x) > 0.5, -1.0, 1.0), x.dtype)
        return {"factor": side * self.each(x, self.factor) * 0.5}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        x = images.to_hsv(scaled(x, self.value_range, (0.0, 1.0)))
        hue = x[..., :1] + drawn["factor"]
        hue = ops.select(hue > 1.0, hue - 1.0, hue)
        hue = ops.select(hue < 0.0, hue + 1.0, hue)
        x = images.from_hsv(ops.concatenate([hue, x[..., 1:]], 3))
        return scaled(ops.clip(x, 0.0, 1.0), (0.0, 1.0), self.value_range)


class RandomSaturation(_OfColour):
    """In training, saturations times f / (1 - f), of a number f drawn from `factor`."""

    channels = (3,)

    least = -1.0

    def drawn(self, x: Tensor) -> Drawn:
        factor = self.each(x, self.factor)
        return {"factor": factor / (1.0 - factor + epsilon())}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        x = images.to_hsv(x)
        saturation = self.clipped(x[..., 1:2] * drawn["factor"])
        return images.from_hsv(ops.concatenate([x[..., :1], saturation, x[..., 2:]], 3))


class RandomSharpness(_OfColour):
    """In training, between the smoothed image (a factor of 0), the image (0.5) and what is sharper (1)."""

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        wide, total = ops.pad(x, (0, 1, 1, 0), (0, 1, 1, 0)), x * (5.0 / 13.0)
        size = static(x.shape[1:3])
        for row, column in ((i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)):
            total = total + images.cropped(wide, (row, column), size) * (1.0 / 13.0)
        return self.clipped(x + (1.0 - drawn["factor"] * 2.0) * (total - x))


class RandomColorDegeneration(_OfColour):
    """In training, a part of the way to grey, drawn from `factor`; away from it, where that is negative."""

    channels = (1, 3)

    least = -1.0

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        grey = ops.broadcast_to(images.grey(x), x.shape)
        return self.clipped(x + drawn["factor"] * (grey - x))


class RandomColorJitter(_Coloured):
    """In training brightness, contrast, saturation and hue, one after the other, each with its factor, where
    it is not None."""

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        brightness_factor: Any = None,
        contrast_factor: Any = None,
        saturation_factor: Any = None,
        hue_factor: Any = None,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed, data_format, **kwargs)
        self.brightness_factor = brightness_factor
        self.contrast_factor = contrast_factor
        self.saturation_factor = saturation_factor
        self.hue_factor = hue_factor
        kinds: tuple[tuple[Callable[..., _Coloured], Any], ...] = (
            (RandomBrightness, brightness_factor),
            (RandomContrast, contrast_factor),
            (RandomSaturation, saturation_factor),
            (RandomHue, hue_factor),
        )
        given = {"value_range": value_range, "seed": seed, "vintage": self.vintage, "dtype": self.dtype}
        with self.named_errors():
            self._steps = [
                make(factor, **given, name=f"{self.name}_{make.__name__}")
                for make, factor in kinds
                if factor is not None
            ]

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        for step in self._steps:
            x = step.changed(x, step.drawn(x))
        return x


class RandomGaussianBlur(_Coloured):
    """In training, samples smoothed with a probability drawn from `factor`; kernel_size: of the window, odd
    numbers (across, down); the deviations are drawn from `sigma` for the batch."""

    def __init__(
        self,
        factor: Any = 1.0,
        kernel_size: Any = 3,
        sigma: Any = 1.0,
        value_range: Sequence[float] = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed, data_format, **kwargs)
        self.factor = self.pair("factor", factor, 0.0, 1.0)
        self.kernel_size = self.positives("kernel_size", kernel_size, 2)
        if any(k % 2 == 0 for k in self.kernel_size):
            raise ModelError(describe(f"{self.label}: kernel_size", "odd numbers", repr(kernel_size)))
        self.sigma = self.pair("sigma", sigma, 0.0, 1.0)

    def drawn(self, x: Tensor) -> Drawn:
        return {
            "chosen": self.chosen(x, self.factor),
            "blur_factor": self.uniform(x, (2,), self.sigma) + 1e-6,
        }

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        across, down = (
            images.bell(size, drawn["blur_factor"][k : k + 1]) for k, size in enumerate(self.kernel_size)
        )
        return self.clipped(where(drawn["chosen"], images.blurred(x, down, across), x))


class RandomErasing(_Coloured):
    """In training, a rectangle of each sample filled, with a probability drawn from `factor`; its sides are
    roots of numbers drawn from `scale`, as parts of the image's. fill_value: a number, or one for each
    channel; None: normal noise."""

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = (0.02, 0.33),
        fill_value: Any = None,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed, data_format, **kwargs)
        self.factor = self.pair("factor", factor, 0.0, 1.0)
        self.scale = self.pair("scale", scale, 0.0, 1.0)
        if isinstance(fill_value, (list, tuple)):
            self.fill_value: Any = [self.number("fill_value", value) for value in fill_value]
        else:
            self.fill_value = None if fill_value is None else self.number("fill_value", fill_value)

    def drawn(self, x: Tensor) -> Drawn:
        made: dict[str, Tensor] = {"chosen": self.chosen(x, self.factor)}
        height, width = static(x.shape[1:3])
        for side, size in (("column", width), ("row", height)):
            length = ops.sqrt(self.each(x, self.scale)) * float(size)
            first = self.each(x) * (float(size) - length)
            made |= {side: first, f"{side}_end": first + length}
        if self.fill_value is None:
            trace = trace_of(x)
            noise = ops.random_normal(self.seed_of(x), trace.step, trace.stream(), x.shape)
            made["fill"] = ops.cast(noise, x.dtype) * self.value_range[1]
        return made

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        height, width = static(x.shape[1:3])
        rows = ops.constant(x.graph, np.arange(height).reshape(1, -1, 1, 1), x.dtype)
        columns = ops.constant(x.graph, np.arange(width).reshape(1, 1, -1, 1), x.dtype)
        inside = [
            ops.logical_and(places >= drawn[side], places < drawn[f"{side}_end"])
            for side, places in (("row", rows), ("column", columns))
        ]
        hit = ops.logical_and(ops.logical_and(*inside), drawn["chosen"])
        fill = drawn.get("fill")
        if fill is None:
            fill = ops.constant(x.graph, np.asarray(self.fill_value), x.dtype)
        return where(hit, ops.broadcast_to(self.clipped(fill), x.shape), x)


class RandomPosterization(_OfColour):
    """In training, pixels of fewer bits: how many is drawn from `factor`, whole numbers in [1, 8]."""

    def __init__(self, factor: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(1.0, *args, **kwargs)
        self.factor = self.pair("factor", factor, 1, 8)
        if any(f != int(f) for f in self.factor):
            raise ModelError(describe(f"{self.label}: factor", "whole numbers in [1, 8]", repr(factor)))

    def drawn(self, x: Tensor) -> Drawn:
        low, high = self.factor
        bits = ops.floor(self.each(x, self.factor))
        bits = ops.clip(bits, low, max(high - 1.0, low))  # as integers that are drawn, without the last
        return {"step": ops.pow(ops.constant(x.graph, 2.0, x.dtype), 8.0 - bits)}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        step = drawn["step"]
        pixels = ops.floor(ops.clip(scaled(x, self.value_range, BYTES), *BYTES))
        return scaled(ops.floor(pixels / step) * step, BYTES, self.value_range)


class Solarization(_Coloured):
    """In training, of each sample, to which a number is added, what reaches a threshold is inverted.
    addition_factor, threshold_factor: of which 255 times are drawn."""

    def __init__(
        self,
        addition_factor: Any = 0.0,
        threshold_factor: Any = 0.0,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed, **kwargs)
        self.addition_factor = self.pair("addition_factor", addition_factor, 0.0, 1.0)
        self.threshold_factor = self.pair("threshold_factor", threshold_factor, 0.0, 1.0)

    def drawn(self, x: Tensor) -> Drawn:
        factors = {"additions": self.addition_factor, "thresholds": self.threshold_factor}
        return {name: self.each(x, (low, high * 255.0)) for name, (low, high) in factors.items()}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        y = ops.clip(scaled(x, self.value_range, BYTES) + drawn["additions"], *BYTES)
        y = ops.select(y < drawn["thresholds"], y, 255.0 - y)
        return scaled(y, BYTES, self.value_range)


class AutoContrast(Images):
    """Each channel of each sample stretched over the value_range, also in inference; those of one value as
    they are."""

    def __init__(self, value_range: Sequence[float] = (0, 255), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value_range = self.value_range_of(value_range)

    def of_images(self, x: Tensor) -> Tensor:
        x = self.floats(x)
        # Keras 3.15 takes the axes 1 and 2 together, where channels stand first too
        axes = [1, 3] if self.data_format == "channels_first" else [1, 2]
        low, high = (f(x, axes, keepdims=True) for f in (ops.reduce_min, ops.reduce_max))
        flat = ops.equal(low, high)
        span = ops.select(flat, ops.ones_like(low), high - low)
        y = scaled(ops.clip((x - low) / span, 0.0, 1.0), (0.0, 1.0), self.value_range)
        return where(flat, x, y)


class Equalization(_Coloured):
    """In training, the values of each channel, those of all samples of a batch together, spread so that all
    occur as often. bins: in how many steps."""

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        bins: int = 256,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, None, data_format, **kwargs)
        self.bins = self.positive("bins", bins)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["seed"]
        return config

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        x = scaled(x, self.value_range, BYTES)
        (channels,) = static(x.shape[3:])
        parts = [self._equalized(x[..., k : k + 1]) for k in range(channels)]
        return scaled(ops.concatenate(parts, 3), BYTES, self.value_range)

    def _equalized(self, x: Tensor) -> Tensor:
        last = float(self.bins - 1)
        flat = ops.reshape(x, (numel(x.shape),))
        places = ops.cast(ops.clip(flat * last / 255.0, 0.0, last), "int32")
        ones = ops.broadcast_to(ops.ones_like(flat), flat.shape)
        counts = ops.scatter_rows(ones, places, self.bins)
        steps = np.tril(np.ones((self.bins, self.bins)))
        sums = ops.matmul(ops.constant(x.graph, steps, x.dtype), ops.reshape(counts, (self.bins, 1)))
        sums = ops.reshape(sums, (self.bins,))
        found = sums > 0.0
        first = ops.reduce_min(ops.select(found, sums, float(2**31)))
        rest = ops.reduce_max(sums) - first
        alone = ops.equal(rest, 0.0)
        table = (sums - first) * 255.0 / ops.select(alone, ops.ones_like(rest), rest)
        table = ops.clip(ops.round_to_even(table), *BYTES)
        made = ops.reshape(ops.gather(table, places), x.shape)
        return where(alone, x, made)

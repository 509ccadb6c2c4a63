"""Layers that give images another size, or move what is in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import static
from kcompile.keras import images
from kcompile.keras.editions import edition
from kcompile.keras.layers.preprocessing.augmenting import Augmentation, Drawn, Images, where
from kcompile.keras.tracing import trace_of
from kcompile_runtime.errors import ModelError, describe

__all__ = [
    "CenterCrop",
    "RandomCrop",
    "RandomElasticTransform",
    "RandomFlip",
    "RandomPerspective",
    "RandomRotation",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Resizing",
]

FILL_MODES = ("reflect", "wrap", "constant", "nearest")
BOTH = "horizontal_and_vertical"


class _Sized(Images):
    """A layer that makes images of a height and a width."""

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.height, self.width = self.positive("height", height), self.positive("width", width)

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


class Resizing(_Sized):
    """Images of another size, by interpolation.

    crop_to_aspect_ratio: the largest part in the middle that has the ratio. pad_to_aspect_ratio: with
    fill_value at two sides, so that they have it. antialias: smoothed, where they become smaller. Integers
    stay integers in Keras 3, rounded, and become floats in tf.keras.
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(height, width, data_format=data_format, **kwargs)
        known = images.INTERPOLATIONS if self.semantics.resized_integers == "stay" else images.OF_TF
        lower = interpolation.lower() if isinstance(interpolation, str) else interpolation
        self.interpolation = self.one_of("interpolation", lower, known)
        self.crop_to_aspect_ratio = self.flag("crop_to_aspect_ratio", crop_to_aspect_ratio)
        self.pad_to_aspect_ratio = self.flag("pad_to_aspect_ratio", pad_to_aspect_ratio)
        self.fill_mode = self.one_of("fill_mode", fill_mode, ("constant",))
        self.fill_value = self.number("fill_value", fill_value)
        self.antialias = self.flag("antialias", antialias)
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            raise ModelError(
                describe(self.label, "one of crop_to_aspect_ratio and pad_to_aspect_ratio", "both")
            )

    def of_images(self, x: Tensor) -> Tensor:
        kept = x.dtype if self.semantics.resized_integers == "stay" else self.float_dtype
        x = self.floats(x)
        if self.crop_to_aspect_ratio:
            x = images.middle(x, self.size)
        if self.pad_to_aspect_ratio:
            x = images.padded_to_ratio(x, self.size, self.fill_value)
        return _as(images.resized(x, self.size, self.interpolation, self.antialias), kept)


def _as(x: Tensor, dtype: str) -> Tensor:
    """x in another type; in one of integers rounded, and what is out of its range at its ends."""
    if x.dtype == dtype or dtype.startswith("float"):
        return ops.cast(x, dtype) if x.dtype != dtype else x
    x = ops.round_to_even(x)
    ends = {"uint8": (0.0, 255.0), "bool": (0.0, 1.0)}.get(dtype)
    return ops.cast(ops.clip(x, *ends) if ends else x, dtype)


class CenterCrop(_Sized):
    """The middle of images. Those that are smaller are resized: the largest part of them that has the
    ratio."""

    def __init__(self, height: int, width: int, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(height, width, data_format=data_format, **kwargs)

    def of_images(self, x: Tensor) -> Tensor:
        x = self.floats(x)
        height, width = static(x.shape[1:3])
        if height < self.height or width < self.width:
            return images.resized(images.middle(x, self.size), self.size, "bilinear")
        start = (height - self.height) // 2, (width - self.width) // 2
        return images.cropped(x, start, self.size)


class RandomCrop(Augmentation):
    """In training, a part of all images of a batch at one random place. In inference, and of images that are
    not larger, the middle, resized. (Keras 3.15 leaves images of another size as they are in inference, where
    its documentation says this.)"""

    def __init__(
        self, height: int, width: int, seed: int | None = None, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.height, self.width = self.positive("height", height), self.positive("width", width)

    def of_images(self, x: Tensor) -> Tensor:
        x, size = self.floats(x), (self.height, self.width)
        part = images.middle(x, size)
        if not trace_of(x).training:
            return images.resized(part, size, "bilinear")
        have, fits = static(x.shape[1:3]), self.semantics.crops == "what fits"
        if all(h >= s if fits else h > s for h, s in zip(have, size)):
            return self.changed(x, self.drawn(x))
        if not fits:  # begins where the middle does, and is as large as it can be
            start = [int((h - m) / 2) for h, m in zip(have, static(part.shape[1:3]))]
            part = images.cropped(x, start, [min(s, h - a) for s, h, a in zip(size, have, start)])
        return images.resized(part, size, "bilinear")

    def drawn(self, x: Tensor) -> Drawn:
        spare = [have - want for have, want in zip(static(x.shape[1:3]), (self.height, self.width))]
        first, second = (ops.floor(self.uniform(x, (1,), (0.0, s + 1.0))) for s in spare)
        return {"top": ops.minimum(first, float(spare[0])), "left": ops.minimum(second, float(spare[1]))}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        for axis, size, start in ((1, self.height, drawn["top"]), (2, self.width, drawn["left"])):
            steps = ops.iota(x.graph, (size,), 0, "int32")
            places = ops.cast(ops.broadcast_to(start, (size,)), "int32") + steps
            x = ops.take(x, places, axis)
        return x


class RandomFlip(Augmentation):
    """In training, half of the images turned round: left to right, top to bottom, or both. mode:
    "horizontal", "vertical", "horizontal_and_vertical"; in Keras 3 that turns an image in both ways or in
    none, in tf.keras each way has a chance of its own."""

    def __init__(
        self, mode: str = BOTH, seed: int | None = None, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        capitals = edition(self.vintage).operations and isinstance(mode, str)  # Keras 3 takes them
        self.mode = self.one_of("mode", mode.lower() if capitals else mode, ("horizontal", "vertical", BOTH))

    def drawn(self, x: Tensor) -> Drawn:
        first = self.each(x) <= 0.5
        apart = self.semantics.flips == "apart" and self.mode == BOTH
        return {"across": first, "down": self.each(x) <= 0.5 if apart else first}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        if self.mode != "vertical":
            x = where(drawn["across"], ops.reverse(x, (2,)), x)
        return x if self.mode == "horizontal" else where(drawn["down"], ops.reverse(x, (1,)), x)


class _Moving(Augmentation):
    """Images of which each pixel comes from another place.

    fill_mode: what is beyond the edges ("reflect": the mirror image, "wrap": the other side, "constant":
    fill_value, "nearest": the last pixel). interpolation: "bilinear" or "nearest"."""

    def __init__(
        self,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.fill_mode = self.one_of("fill_mode", fill_mode, FILL_MODES)
        self.interpolation = self.one_of("interpolation", interpolation, ("bilinear", "nearest"))
        self.fill_value = self.number("fill_value", fill_value)

    def moved(self, x: Tensor, *row_and_row: Any) -> Tensor:
        """Images by six numbers of each sample [batch, 1], or of all (`images.moved`)."""
        samples = next(v.shape[0] for v in row_and_row if isinstance(v, Tensor))
        parts = [
            ops.broadcast_to(v if isinstance(v, Tensor) else ops.constant(x.graph, v, x.dtype), (samples, 1))
            for v in row_and_row
        ]
        matrix = ops.concatenate(parts, 1)
        return images.moved(x, matrix, self.interpolation, self.fill_mode, self.fill_value)


class RandomRotation(_Moving):
    """In training, images turned about their middle, by a part of a full turn that is drawn from `factor`."""

    def __init__(self, factor: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.factor = factor
        self._bounds = self.pair("factor", factor, -1.0, 1.0)

    def drawn(self, x: Tensor) -> Drawn:
        return {"angle": self.uniform(x, (x.shape[0], 1), [b * 360.0 for b in self._bounds])}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        angle = drawn["angle"] * (math.pi / 180.0)
        height, width = static(x.shape[1:3])
        cos, sin = ops.cos(angle), ops.sin(angle)
        column, row = (width - 1) * 0.5, (height - 1) * 0.5
        return self.moved(
            x, cos, -sin, column - cos * column + sin * row, sin, cos, row - sin * column - cos * row
        )


class _OfHeightAndWidth(_Moving):
    """Two factors, one for each axis."""

    least = -1.0

    def __init__(self, height_factor: Any, width_factor: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height = self.pair("height_factor", height_factor, self.least, 1.0, -1.0)
        self._width = (
            None if width_factor is None else self.pair("width_factor", width_factor, self.least, 1.0, -1.0)
        )


class RandomZoom(_OfHeightAndWidth):
    """In training, images nearer or farther: the part that is seen is 1 + a number drawn from height_factor
    as high, and from width_factor as wide (None: as high)."""

    def __init__(self, height_factor: Any, width_factor: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(height_factor, width_factor, *args, **kwargs)

    def drawn(self, x: Tensor) -> Drawn:
        def zoom(bounds: Sequence[float]) -> Tensor:
            return self.uniform(x, (x.shape[0], 1), [1.0 + b for b in bounds])

        high = zoom(self._height)
        return {"height_zoom": high, "width_zoom": high if self._width is None else zoom(self._width)}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        high, wide = drawn["height_zoom"], drawn["width_zoom"]
        height, width = static(x.shape[1:3])
        row, column = (1.0 - high) * ((height - 1) / 2.0), (1.0 - wide) * ((width - 1) / 2.0)
        return self.moved(x, wide, 0.0, column, 0.0, high, row)


class RandomTranslation(_OfHeightAndWidth):
    """In training, images moved down and to the right by parts of their height and width, drawn from
    height_factor and width_factor."""

    def drawn(self, x: Tensor) -> Drawn:
        def part(bounds: Sequence[float] | None, size: int) -> Tensor:
            return self.uniform(x, (x.shape[0], 1), bounds or (0.0, 0.0)) * float(size)

        height, width = static(x.shape[1:3])
        return {"down": part(self._height, height), "across": part(self._width, width)}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        return self.moved(x, 1.0, 0.0, -drawn["across"], 0.0, 1.0, -drawn["down"])


class RandomShear(_Moving):
    """In training, images whose rows slide by x_factor of their distance from the top, and whose columns by
    y_factor; to either side."""

    def __init__(
        self,
        x_factor: Any = 0.0,
        y_factor: Any = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.x_factor = x_factor
        self.y_factor = y_factor
        self._x, self._y = (
            self._factor(name, f) for name, f in (("x_factor", x_factor), ("y_factor", y_factor))
        )

    def _factor(self, argument: str, value: Any) -> tuple[float, float]:
        several = isinstance(value, (list, tuple))
        return self.pair(argument, value, -1.0 if several else 0.0, 1.0, -1.0)

    def drawn(self, x: Tensor) -> Drawn:
        column = (x.shape[0], 1)
        side = ops.select(self.uniform(x, column) > 0.5, -1.0, 1.0)
        side = ops.cast(side, x.dtype)
        return {"x": self.uniform(x, column, self._x) * side, "y": self.uniform(x, column, self._y) * side}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        return self.moved(x, 1.0, drawn["x"], 0.0, drawn["y"], 1.0, 0.0)


class RandomPerspective(Augmentation):
    """In training, images seen from another side, with a probability drawn from `factor`: their corners move
    by parts of their coordinates up to half of `scale`. fill_value: what is beyond the edges."""

    def __init__(
        self,
        factor: Any = 1.0,
        scale: float = 1.0,
        interpolation: str = "bilinear",
        fill_value: float = 0.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = self.pair("factor", factor, 0.0, 1.0)
        self.scale = self.number("scale", scale, 0.0, math.nextafter(1.0, 2.0))
        self.interpolation = self.one_of("interpolation", interpolation, ("bilinear", "nearest"))
        self.fill_value = self.number("fill_value", fill_value)

    def drawn(self, x: Tensor) -> Drawn:
        moves = self.uniform(x, (x.shape[0], 8), (-0.5 * self.scale, 0.5 * self.scale))
        return {"chosen": self.chosen(x, self.factor), "moves": moves}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        height, width = static(x.shape[1:3])
        if height == 1 or width == 1:  # which has no sides to be seen from
            return x
        across, down = float(width - 1), float(height - 1)
        corners = [(0.0, 0.0), (across, 0.0), (0.0, down), (across, down)]
        part = drawn["moves"]
        ends = [
            tuple((part[:, 2 * k + i : 2 * k + i + 1] + 1.0) * at for i, at in enumerate(corner))
            for k, corner in enumerate(corners)
        ]
        matrix = ops.concatenate(images.homography(ends, (across, down)), 1)
        made = images.moved(x, matrix, self.interpolation, "constant", self.fill_value)
        return where(drawn["chosen"], made, x)


class RandomElasticTransform(Augmentation):
    """In training, images whose pixels move by smoothed noise, with a probability drawn from `factor`. For a
    number f drawn from `scale` for the batch, the noise and its window have the deviation 0.05 f of the
    shorter side, and moves are 0.1 f of the longer side times it; along the diagonal, as Keras 3.15 draws
    both coordinates from one seed."""

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = 1.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = self.pair("factor", factor, 0.0, 1.0)
        self.scale = self.pair("scale", scale, 0.0, 1.0)
        self.interpolation = self.one_of("interpolation", interpolation, ("bilinear", "nearest"))
        self.fill_mode = self.one_of("fill_mode", fill_mode, images.FILL_MODES)
        self.fill_value = self.number("fill_value", fill_value)
        self.value_range = self.value_range_of(value_range)

    def drawn(self, x: Tensor) -> Drawn:
        trace = trace_of(x)
        shape = (*x.shape[:3], 1)
        noise = ops.random_normal(self.seed_of(x), trace.step, trace.stream(), shape)
        return {
            "chosen": self.chosen(x, self.factor),
            "scale": self.uniform(x, (1,), self.scale),
            "noise": ops.cast(noise, x.dtype),
        }

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        if self.scale[1] == 0 or self.factor[1] == 0:
            return x
        height, width = static(x.shape[1:3])
        deviation = ops.maximum(drawn["scale"] * (0.05 * min(height, width)), 1e-6)
        widest = int(6 * 0.05 * min(height, width) * self.scale[1]) | 1
        window = images.bell(widest, deviation)
        places = ops.constant(x.graph, abs(np.arange(widest) - widest // 2), x.dtype)
        # The window is int(6 deviation), or one more where that is even, wide
        reach = ops.floor(ops.floor(deviation * 6.0) / 2.0)
        inside = ops.broadcast_to(places, window.shape) <= ops.reshape(reach, (1, 1))
        window = ops.select(inside, window, ops.zeros_like(window))
        window = window / ops.reduce_sum(window, -1, keepdims=True)
        noise = images.blurred(drawn["noise"] * ops.reshape(deviation, (1, 1, 1, 1)), window, window)
        by = ops.reshape(drawn["scale"] * (0.1 * max(height, width)), (1, 1, 1))
        moves = ops.reshape(noise, noise.shape[:3]) * by
        rows = moves + ops.constant(x.graph, np.arange(height).reshape(1, -1, 1), x.dtype)
        columns = moves + ops.constant(x.graph, np.arange(width).reshape(1, 1, -1), x.dtype)
        made = images.sampled(x, (rows, columns), self.interpolation, self.fill_mode, self.fill_value)
        return ops.clip(where(drawn["chosen"], made, x), *self.value_range)

"""Layers that mix the images of a batch, or several augmentations of each image, in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Dim, static
from kcompile.keras import gamma
from kcompile.keras.layers.preprocessing.augmenting import Augmentation, Drawn, Images, where
from kcompile.keras.layers.preprocessing.colours import (
    AutoContrast,
    Equalization,
    RandomBrightness,
    RandomColorDegeneration,
    RandomContrast,
    RandomPosterization,
    RandomSharpness,
    Solarization,
)
from kcompile.keras.layers.preprocessing.geometry import RandomRotation, RandomShear, RandomTranslation
from kcompile.keras.settings import new_seed
from kcompile.keras.tracing import trace_of
from kcompile_runtime.errors import ModelError, describe

__all__ = ["AugMix", "CutMix", "MixUp", "RandAugment"]


class _Drawing(Augmentation):
    """Draws of the gamma family."""

    def normal(self, x: Tensor, shape: Sequence[Dim]) -> Tensor:
        """Normal numbers."""
        trace = trace_of(x)
        numbers = ops.random_normal(self.seed_of(x), trace.step, trace.stream(), tuple(shape))
        return ops.cast(numbers, x.dtype)

    def beta(self, x: Tensor, shape: Sequence[Dim], alpha: Any) -> Tensor:
        """Numbers of the beta distribution with alpha twice."""
        return gamma.beta(lambda s: self.uniform(x, s), lambda s: self.normal(x, s), shape, alpha, alpha)


class _Mixing(_Drawing):
    """Samples meet in the batch: each with another one. On arrays, which one is a random order; in compiled
    models, whose batches are of any size, the sample that is a random number of places behind.

    Of {"images", "labels"} as arrays, labels [batch, ...] are mixed by the shares of the images."""

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        if not isinstance(inputs, dict) or "labels" not in inputs:
            return super().__call__(inputs, **arguments)
        images, labels = self.images_and_labels(inputs)
        made = super().__call__([images, labels], **arguments)
        return {**inputs, "images": made[0], "labels": made[1]}

    @property
    def meets_samples(self) -> bool:
        return True

    def call(self, inputs: Any) -> Any:
        if not isinstance(inputs, list):
            return super().call(inputs)
        images, labels = inputs
        if images.rank != 4 or labels.rank < 2:
            wanted = "images [batch, height, width, channels] and labels [batch, classes]"
            raise ModelError(describe("input", wanted, f"{images.type} and {labels.type}"))
        if not trace_of(images).training:
            return [super().call(images), self.floats(labels)]
        self._labels = self.floats(labels)
        try:
            made = super().call(images)
            return [made, self._labels]
        finally:
            self._labels = None

    _labels: Tensor | None = None  # while a call goes on

    def partners(self, x: Tensor) -> Tensor:
        """The number of the sample that each one meets: int32 [batch]."""
        count = x.shape[0]
        if isinstance(count, int):
            return ops.cast(ops.ranks(self.uniform(x, (count,))), "int32")
        size = ops.extent(x.graph, count)
        by = ops.minimum(
            ops.floor(self.uniform(x, ()) * ops.cast(size, x.dtype)), ops.cast(size, x.dtype) - 1.0
        )
        there = ops.iota(x.graph, (count,), 0, "int32") + ops.cast(by, "int32")
        whole = ops.cast(size, "int32")
        return ops.select(there >= whole, there - whole, there)

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        partner, share = drawn["partners"], drawn["share"]
        if self._labels is not None:
            labels = self._labels
            part = ops.reshape(share, (share.shape[0], *[1] * (labels.rank - 1)))
            self._labels = labels * part + ops.gather(labels, partner) * (1.0 - part)
        return self.mixed(x, ops.gather(x, partner), drawn)

    def mixed(self, x: Tensor, other: Tensor, drawn: Drawn) -> Tensor:
        """What becomes of images and those that they meet."""
        raise NotImplementedError


class MixUp(_Mixing):
    """In training, the mean of each image and another one, by a share of the beta distribution with alpha."""

    def __init__(
        self, alpha: float = 0.2, data_format: str | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.alpha = self.number("alpha", alpha, 1e-6)

    def drawn(self, x: Tensor) -> Drawn:
        return {"partners": self.partners(x), "share": self.beta(x, (x.shape[0], 1, 1, 1), self.alpha)}

    def mixed(self, x: Tensor, other: Tensor, drawn: Drawn) -> Tensor:
        return x * drawn["share"] + other * (1.0 - drawn["share"])


class CutMix(_Mixing):
    """In training, a rectangle of each image is that of another one. Its part of the image is of the beta
    distribution with an alpha that is drawn from `factor`."""

    def __init__(
        self, factor: Any = 1.0, seed: int | None = None, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = self.pair("factor", factor, 0.0, 1.0)

    def drawn(self, x: Tensor) -> Drawn:
        alpha = self.uniform(x, (), self.factor) + 1e-6
        side = ops.sqrt(1.0 - self.beta(x, (x.shape[0], 1, 1, 1), alpha))
        made: dict[str, Tensor] = {}
        height, width = static(x.shape[1:3])
        for name, size in (("column", width), ("row", height)):
            length = side * float(size)
            made[name] = self.each(x) * (float(size) - length)
            made[f"{name}_end"] = made[name] + length
        area = (made["column_end"] - made["column"]) * (made["row_end"] - made["row"])
        return {**made, "partners": self.partners(x), "share": 1.0 - area / float(height * width)}

    def mixed(self, x: Tensor, other: Tensor, drawn: Drawn) -> Tensor:
        height, width = static(x.shape[1:3])
        rows = ops.constant(x.graph, np.arange(height).reshape(1, -1, 1, 1), x.dtype)
        columns = ops.constant(x.graph, np.arange(width).reshape(1, 1, -1, 1), x.dtype)
        inside = [
            ops.logical_and(places >= drawn[side], places < drawn[f"{side}_end"])
            for side, places in (("row", rows), ("column", columns))
        ]
        return where(ops.logical_and(*inside), other, x)


class _Several(_Drawing):
    """Augmentations of several kinds, each with the factor; their names are those that Keras has."""

    channels = (1, 3)

    def kinds(self, names: Sequence[str]) -> list[Images]:
        """The layers."""
        made: dict[str, tuple[Any, dict[str, Any]]] = {
            "random_shear": (RandomShear, {"x_factor": self.factor, "y_factor": self.factor}),
            "random_translation": (
                RandomTranslation,
                {"height_factor": self.factor, "width_factor": self.factor},
            ),
            "random_rotation": (RandomRotation, {"factor": self.factor}),
            "random_brightness": (RandomBrightness, {"factor": self.factor}),
            "random_color_degeneration": (RandomColorDegeneration, {"factor": self.factor}),
            "random_contrast": (RandomContrast, {"factor": self.factor}),
            "random_sharpness": (RandomSharpness, {"factor": self.factor}),
            "random_posterization": (RandomPosterization, {"factor": max(1, int(8 * self.factor[1]))}),
            "solarization": (Solarization, {"addition_factor": self.factor, "threshold_factor": self.factor}),
            "auto_contrast": (AutoContrast, {}),
            "equalization": (Equalization, {}),
        }
        layers: list[Images] = []
        for name in names:
            kind, given = made[name]
            options: dict[str, Any] = {**given, "vintage": self.vintage, "dtype": self.dtype}
            if name in MOVING:
                options["interpolation"] = self.interpolation
            else:
                options["value_range"] = self.value_range
            if name not in ("auto_contrast", "equalization"):
                options["seed"] = self.seed
            with self.named_errors():
                layers.append(kind(**options, name=f"{self.name}_{name}"))
        return layers

    factor: tuple[float, float]
    interpolation: str
    value_range: tuple[float, float]


MOVING = ("random_shear", "random_translation", "random_rotation")
FIRST = (*MOVING, "random_posterization", "solarization", "auto_contrast", "equalization")
REST = ("random_brightness", "random_color_degeneration", "random_contrast", "random_sharpness")
OF_RAND_AUGMENT = (*MOVING, *REST, "random_posterization", "solarization", "auto_contrast", "equalization")


def _drawn(layer: Images, x: Tensor) -> Drawn:
    return layer.drawn(x) if isinstance(layer, Augmentation) else {}


def _changed(layer: Images, x: Tensor, drawn: Drawn) -> Tensor:
    return layer.changed(x, drawn) if isinstance(layer, Augmentation) else layer.of_images(x)


class RandAugment(_Several):
    """In training, num_ops augmentations one after another, each drawn for the batch from eleven kinds, whose
    factor is `factor`."""

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        num_ops: int = 2,
        factor: Any = 0.5,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.value_range = self.value_range_of(value_range)
        self.num_ops = self.positive("num_ops", num_ops)
        self.factor = self.pair("factor", factor, 0.0, 1.0)
        self.interpolation = self.one_of("interpolation", interpolation, ("bilinear", "nearest"))
        self._kinds = self.kinds(OF_RAND_AUGMENT)

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        count = len(self._kinds)
        numbers = ops.floor(self.uniform(x, (self.num_ops,), (0.0, float(count))))
        parts = [_drawn(layer, x) for layer in self._kinds]
        for k in range(self.num_ops):
            chosen = ops.reshape(ops.minimum(numbers[k : k + 1], float(count - 1)), (1, 1, 1, 1))
            for number, (layer, part) in enumerate(zip(self._kinds, parts)):
                x = where(ops.equal(chosen, float(number)), _changed(layer, x, part), x)
        return x


class AugMix(_Several):
    """In training, between each image and the mean of num_chains chains of chain_depth augmentations: by a
    share of the beta distribution, and shares of the chains of Dirichlet's, with alpha. Of which kinds the
    chains are is drawn when the layer is made; all_ops: colours are among them."""

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        num_chains: int = 3,
        chain_depth: int = 3,
        factor: Any = 0.3,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.value_range = self.value_range_of(value_range)
        self.num_chains = self.positive("num_chains", num_chains)
        self.chain_depth = self.positive("chain_depth", chain_depth)
        self.factor = self.pair("factor", factor, 0.0, 1.0)
        self.alpha = self.number("alpha", alpha, 1e-6)
        self.all_ops = self.flag("all_ops", all_ops)
        self.interpolation = self.one_of("interpolation", interpolation, ("bilinear", "nearest"))
        self._kinds = self.kinds((*FIRST, *REST) if self.all_ops else FIRST)
        self._chosen_by = new_seed(31) if self.seed is None else self.seed % 2**32

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        shares = gamma.dirichlet(
            lambda s: self.uniform(x, s), lambda s: self.normal(x, s), self.num_chains, self.alpha
        )
        total = ops.zeros_like(x)
        choices = np.random.default_rng(self._chosen_by)  # the same chains whenever the layer is traced
        for k in range(self.num_chains):
            y = x
            for number in choices.integers(len(self._kinds) + 1, size=self.chain_depth):
                if number < len(self._kinds):
                    layer = self._kinds[number]
                    y = _changed(layer, y, _drawn(layer, y))
            total = total + y * ops.reshape(shares[k : k + 1], (1, 1, 1, 1))
        share = self.beta(x, (1, 1, 1, 1), self.alpha)
        return ops.clip(x * share + total * (1.0 - share), *self.value_range)

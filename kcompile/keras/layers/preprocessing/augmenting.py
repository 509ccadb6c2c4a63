"""What layers over images have in common: the order of their axes, and numbers that are drawn in training.

A layer that draws says what (`drawn`, for each sample), and what becomes of images then (`changed`). In
inference images stay as they are. Numbers follow from the seed, the step and the place, as those of Dropout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Dim
from kcompile.keras import spatial
from kcompile.keras.layers.preprocessing.data import Preprocessing
from kcompile.keras.settings import checked_data_format, fixed_phase
from kcompile.keras.tracing import trace_of
from kcompile_runtime.checks import finite
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

Drawn = Mapping[str, Tensor]  # numbers of each sample, by their meaning


class Images(Preprocessing):
    """A layer over images [batch, height, width, channels], or one image alone, in a data_format."""

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.named_errors():
            self.data_format = checked_data_format(data_format)

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        if isinstance(inputs, dict):  # labels stay as they are
            images, _ = self.images_and_labels(inputs)
            return {**inputs, "images": super().__call__(images, **arguments)}
        return super().__call__(inputs, **arguments)

    def images_and_labels(self, inputs: dict[str, Any]) -> tuple[Any, Any]:
        """The two parts of a dict. Raises UnsupportedError for others."""
        if "images" not in inputs or set(inputs) - {"images", "labels"}:
            raise UnsupportedError(
                describe(
                    f"{self.label}: images in a dict",
                    "'images', and 'labels'",
                    ", ".join(map(repr, inputs)),
                    "Boxes and masks of images are not supported",
                )
            )
        return inputs["images"], inputs.get("labels")

    def call(self, x: Tensor) -> Tensor:
        if x.rank not in (3, 4) or (x.rank == 3 and not isinstance(x.shape[0], int)):
            raise ModelError(
                describe("input", "images [batch, height, width, channels]", f"{x.rank} axes, {x.type}")
            )
        alone = x.rank == 3
        images = ops.reshape(x, (1, *x.shape)) if alone else x
        y = self.of_images(spatial.channels_to_last(images, self.data_format))
        y = spatial.channels_back(y, self.data_format)
        return ops.reshape(y, y.shape[1:]) if alone else y

    def pair(
        self, argument: str, value: Any, low: float, high: float, below: float | None = None
    ) -> tuple[float, float]:
        """Two bounds in [low, high], in order; of one number f, -f (at least `below`, default low) and f.
        Raises ModelError."""
        given = value if isinstance(value, (list, tuple)) else (value,)
        numbers = [finite(v) for v in given]
        if len(given) > 2 or not given or any(n is None or not low <= n <= high for n in numbers):
            wanted = f"a number in [{low:g}, {high:g}], or two of them"
            raise ModelError(describe(f"{self.label}: {argument}", wanted, repr(value)))
        known = [n for n in numbers if n is not None]
        if isinstance(value, (list, tuple)):
            return min(known), max(known)
        size = abs(known[0])
        return max(-size, low if below is None else below), size

    def value_range_of(self, value: Any) -> tuple[float, float]:
        """The least and the largest value of a pixel."""
        given = [finite(v) for v in value] if isinstance(value, (list, tuple)) else []
        if len(given) != 2 or None in given:
            raise ModelError(describe(f"{self.label}: value_range", "two numbers", repr(value)))
        first, last = sorted(n for n in given if n is not None)
        return first, last

    def of_images(self, x: Tensor) -> Tensor:
        """What becomes of [batch, height, width, channels]."""
        raise NotImplementedError


class Augmentation(Images):
    """Images that are drawn anew in training.

    seed: of this layer alone; default the model's. A call on arrays counts as training, unless it is told
    otherwise (training=False)."""

    channels: tuple[int, ...] | None = None  # how many there may be

    def __init__(self, seed: int | None = None, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format, **kwargs)
        self.seed = self.random_seed(seed)

    def _now(self, arrays: Sequence[np.ndarray], single: bool, arguments: dict[str, Any]) -> Any:
        if arguments.get("training") is None:
            arguments = {**arguments, "training": fixed_phase() is None or bool(fixed_phase())}
        return super()._now(arrays, single, arguments)

    def of_images(self, x: Tensor) -> Tensor:
        x = self.floats(x)
        if self.channels is not None and x.shape[-1] not in self.channels:
            raise ModelError(
                describe("input", " or ".join(map(str, self.channels)) + " channels", str(x.shape[-1]))
            )
        return self.changed(x, self.drawn(x)) if trace_of(x).training else x

    def drawn(self, x: Tensor) -> Drawn:
        """Numbers for these images."""
        return {}

    def changed(self, x: Tensor, drawn: Drawn) -> Tensor:
        """What becomes of images with these numbers."""
        raise NotImplementedError

    def uniform(self, x: Tensor, shape: Sequence[Dim], bounds: Sequence[float] = (0.0, 1.0)) -> Tensor:
        """Uniform numbers between two bounds."""
        trace = trace_of(x)
        low, high = bounds
        numbers = ops.random_uniform(self.seed_of(x), trace.step, trace.stream(), tuple(shape))
        return ops.cast(numbers, x.dtype) * (high - low) + low

    def seed_of(self, x: Tensor) -> Tensor:
        """The seed, as the draws take it."""
        return trace_of(x).seed(self.seed)

    def each(self, x: Tensor, bounds: Sequence[float] = (0.0, 1.0)) -> Tensor:
        """A uniform number for each sample: [batch, 1, 1, 1]."""
        return self.uniform(x, (x.shape[0], 1, 1, 1), bounds)

    def chosen(self, x: Tensor, bounds: Sequence[float]) -> Tensor:
        """Whether a sample is changed, with a probability drawn between two bounds: [batch, 1, 1, 1]."""
        probability = self.each(x, bounds)
        return self.each(x) < probability


def where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """x or y, by a condition that broadcasts to them."""
    return ops.select(ops.broadcast_to(condition, x.shape), x, y)

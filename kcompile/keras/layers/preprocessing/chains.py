"""Pipeline, a chain of layers that is one; MaxNumBoundingBoxes, which leaves images as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.eager import as_eager
from kcompile.keras.engine import Layer
from kcompile.keras.layers.held import Holder, as_layer
from kcompile.keras.layers.preprocessing.augmenting import Images
from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import ModelError, describe

__all__ = ["MaxNumBoundingBoxes", "Pipeline"]


class Pipeline(Holder):
    """Layers one after another, each on what the one before gives."""

    supports_masking = True

    def __init__(self, layers: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(layers, (list, tuple)) or not layers:
            raise ModelError(describe(f"{self.label}: layers", "a list of layers", repr(layers)[:80]))
        self.layers = [as_layer(self, "layers", layer) for layer in layers]

    @property
    def parts(self) -> list[Layer]:
        return self.layers

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        if not isinstance(inputs, dict):
            return super().__call__(inputs, **arguments)
        for layer in self.layers:
            inputs = layer(inputs, **arguments)
        return inputs

    def _now(self, arrays: Sequence[np.ndarray], single: bool, arguments: dict[str, Any]) -> Any:
        made: Any = arrays[0] if single else list(arrays)
        given = {"training": True, **arguments}  # as Keras has it where it computes at once
        for layer in self.layers:
            made = layer(made, **({} if layer.runs_on_arrays else given))
        return made

    def call(self, inputs: Any) -> Any:
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs


class MaxNumBoundingBoxes(Images):
    """Images as they are; of {"images", "labels", "bounding_boxes"} as arrays, at most max_number boxes
    [batch, boxes, 4] with their labels [batch, boxes], filled up with fill_value."""

    def __init__(self, max_number: int, fill_value: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_number = self.positive("max_number", max_number)
        self.fill_value = int(self.number("fill_value", fill_value))

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        boxes = inputs.get("bounding_boxes") if isinstance(inputs, dict) else None
        if boxes is None:
            return super().__call__(inputs, **arguments)
        if not isinstance(boxes, dict) or set(boxes) != {"boxes", "labels"}:
            found = ", ".join(map(repr, boxes)) if isinstance(boxes, dict) else type(boxes).__name__
            raise ModelError(describe(f"{self.label}: bounding_boxes", "'boxes' and 'labels'", found))
        made = {name: self._filled(name, as_array(boxes[name], name)) for name in boxes}
        rest = {name: value for name, value in inputs.items() if name != "bounding_boxes"}
        return {**super().__call__(rest, **arguments), "bounding_boxes": made}

    def _filled(self, name: str, array: np.ndarray) -> Any:
        if array.ndim != (3 if name == "boxes" else 2):
            wanted = "[batch, boxes, 4], and labels [batch, boxes]"
            raise ModelError(describe(f"{self.label}: {name}", wanted, f"shape {array.shape}"))
        kept = array[:, : self.max_number]
        spare = [(0, 0), (0, self.max_number - kept.shape[1]), (0, 0)][: array.ndim]
        return as_eager(np.pad(kept, spare, constant_values=self.fill_value), self.vintage)

    def of_images(self, x: Tensor) -> Tensor:
        return ops.cast(x, x.dtype)

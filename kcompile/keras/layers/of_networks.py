"""Layers that networks of keras.applications alone have, so that they are no names of keras.layers.

Files know them by the names of their classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.engine import KerasShape, Layer
from kcompile.keras.initializers import Constant
from kcompile.keras.tracing import trace_of

__all__ = ["CustomScaleLayer", "LayerScale", "StochasticDepth"]

# The modules in which Keras 3 has them
HOMES = {
    "CustomScaleLayer": "keras.src.applications.inception_resnet_v2",
    "LayerScale": "keras.src.applications.convnext",
    "StochasticDepth": "keras.src.applications.convnext",
}


class CustomScaleLayer(Layer):
    """x + scale * y, of a pair, as in InceptionResNetV2."""

    wants_list = True

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = self.number("scale", scale)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, y = inputs
        return x + y * self.scale


class LayerScale(Layer):
    """x times a weight for each of projection_dim channels, which begins as init_values (Touvron 2021)."""

    def __init__(self, init_values: float, projection_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.init_values = self.number("init_values", init_values)
        self.projection_dim = self.positive("projection_dim", projection_dim)

    def build(self, input_shape: KerasShape) -> None:
        start = Constant(self.init_values)
        self.gamma = self.add_weight("gamma", (self.projection_dim,), initializer=start)

    def call(self, x: Tensor) -> Tensor:
        return x * self.gamma


class StochasticDepth(Layer):
    """In training, whole samples become 0 with probability drop_path_rate, and the others grow by
    1 / (1 - drop_path_rate) (Huang 2016)."""

    def __init__(self, drop_path_rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.drop_path_rate = self.number("drop_path_rate", drop_path_rate, 0, 1)

    def call(self, x: Tensor) -> Tensor:
        trace, rate = trace_of(x), self.drop_path_rate
        if not trace.training or not rate:
            return x
        shape = [x.shape[0], *(1,) * (x.rank - 1)]
        kept = ops.dropout_mask(trace.seed(), trace.step, trace.stream(), shape, rate)
        return ops.select(kept, x * (1 / (1 - rate)), ops.zeros_like(x))

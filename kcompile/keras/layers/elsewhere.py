"""Layers of tf.keras and Keras 3 that are refused when they are made, in scripts, files and live models, each
with what to use instead: in them is code of another library, or a size that each batch draws.
"""

from __future__ import annotations

from typing import Any

from kcompile.keras.engine import Layer
from kcompile_runtime.errors import UnsupportedError

__all__ = [
    "DenseFeatures",
    "FlaxLayer",
    "JaxLayer",
    "RandomHeight",
    "RandomWidth",
    "TFSMLayer",
    "TorchModuleWrapper",
]


class _Elsewhere(Layer):
    """A layer that is refused. instead: why, and what to use."""

    instead = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise UnsupportedError(f"keras.layers.{type(self).__name__} is not supported: {self.instead}")


class DenseFeatures(_Elsewhere):
    """Refused: feature columns are TensorFlow's."""

    instead = (
        "feature columns are TensorFlow's. Use keras.utils.FeatureSpace, or the layers Normalization, "
        "CategoryEncoding, Discretization, StringLookup and Embedding"
    )


class JaxLayer(_Elsewhere):
    """Refused: its function is JAX's."""

    instead = (
        "its function is JAX's. Compile the function by kcompile.compile_jax(function, examples), or give "
        "the live model of Keras to kcompile.compile, which traces it"
    )


class FlaxLayer(JaxLayer):
    """Refused: its module is Flax's."""


class RandomHeight(_Elsewhere):
    """Refused: its images have another height in each batch."""

    instead = (
        "its images have another size in each batch, and code is made for sizes that are known. Use "
        "RandomZoom, or change images by Dataset.map, before the model"
    )


class RandomWidth(RandomHeight):
    """Refused: its images have another width in each batch."""


class TFSMLayer(_Elsewhere):
    """Refused: what it computes is in a SavedModel of TensorFlow."""

    instead = (
        "what it computes is in a SavedModel of TensorFlow. Load the model in Keras, and save it as "
        ".keras or .h5"
    )


class TorchModuleWrapper(_Elsewhere):
    """Refused: its module is PyTorch's."""

    instead = "its module is PyTorch's. Write it by layers of Keras, and give these its weights (set_weights)"

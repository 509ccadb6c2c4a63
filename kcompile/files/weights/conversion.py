"""How classes stored their weights in other times and with other libraries.

Enters: the arrays of a layer as a file has them. Leaves: the arrays as the layer has them. What Keras 1
stored is in the table `KERAS1`, which kernels Theano turns in `FLIPPED`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile.files import cudnn
from kcompile.files.vintage import Vintage
from kcompile.files.weights.inside import inner_layers
from kcompile_runtime.arrays import Array


@dataclass(frozen=True)
class Stored1:
    """How Keras 1 stored a class: the number of arrays (None: as many as now), and the change."""

    count: int | None
    convert: Callable[[list[Array], Any], list[Array]]


def _first_axes(layer: Any) -> bool:
    return bool(getattr(layer, "data_format", "channels_last") == "channels_first")


def _conv1d(arrays: list[Array], layer: Any) -> list[Array]:
    """(length, 1, inputs, filters), or earlier (filters, inputs, length, 1)."""
    kernel, *rest = arrays
    if kernel.ndim == 4:
        if kernel.shape[1] == 1 and kernel.shape[0] == layer.kernel_size[0]:
            kernel = kernel[:, 0]
        else:
            kernel = kernel.transpose(2, 3, 1, 0)[:, 0]
    return [kernel, *rest]


def _conv(*order: int) -> Callable[[list[Array], Any], list[Array]]:
    """Ordering "th" put filters and channels first."""

    def convert(arrays: list[Array], layer: Any) -> list[Array]:
        kernel, *rest = arrays
        fits = _first_axes(layer) and kernel.ndim == len(order)
        return [kernel.transpose(order) if fits else kernel, *rest]

    return convert


def _transposed(arrays: list[Array], layer: Any) -> list[Array]:
    kernel, *rest = arrays
    return [kernel.transpose((2, 3, 0, 1) if _first_axes(layer) else (0, 1, 3, 2)), *rest]


def _gates(*order: int) -> Callable[[list[Array], Any], list[Array]]:
    """One kernel, recurrent kernel and bias for each gate, put side by side in Keras 2's order."""

    def convert(arrays: list[Array], layer: Any) -> list[Array]:
        if len(arrays) == 3:  # consume_less="gpu"
            return arrays
        return [np.concatenate([arrays[3 * gate + part] for gate in order], -1) for part in range(3)]

    return convert


def _convolved(arrays: list[Array], layer: Any) -> list[Array]:
    """`_gates` of kernels, as `_conv` has them."""
    turned = [_conv(2, 3, 1, 0)([array], layer)[0] for array in arrays]
    return _gates(0, 2, 1, 3)(turned, layer)


KERAS1: dict[str, Stored1] = {
    "Conv1D": Stored1(None, _conv1d),
    "Conv2D": Stored1(None, _conv(2, 3, 1, 0)),
    "Conv2DTranspose": Stored1(None, _transposed),
    "Conv3D": Stored1(None, _conv(2, 3, 4, 1, 0)),
    "ConvLSTM2D": Stored1(12, _convolved),
    "GRU": Stored1(9, _gates(0, 1, 2)),
    "LSTM": Stored1(12, _gates(0, 2, 1, 3)),  # input, cell, forget, output
}

# Kernels that Theano turns by 180 degrees: their places among the weights of a class.
FLIPPED = {
    "Conv1D": (0,),
    "Conv2D": (0,),
    "Conv3D": (0,),
    "Conv2DTranspose": (0,),
    "Conv3DTranspose": (0,),
    "ConvLSTM2D": (0, 1),
}


def stored_count(layer: Any) -> int | None:
    """How many arrays Keras 1 stored for a layer, where that differs."""
    inner = [stored_count(part) for part in inner_layers(layer)]
    if inner and all(count is not None for count in inner):
        return sum(count for count in inner if count is not None)
    rule = KERAS1.get(type(layer).__name__)
    return rule.count if rule is not None else None


def convert(arrays: list[Array], layer: Any, vintage: Vintage) -> list[Array]:
    """The arrays of a layer as Keras 2 with TensorFlow has them, and as this layer has them: a file may
    hold those of a layer of cuDNN, or of a plain one."""
    inner = inner_layers(layer)
    if inner and len(arrays) % len(inner) == 0:  # else they are one layer's, as Keras 3 stores them
        share = len(arrays) // len(inner)
        return [
            array
            for i, part in enumerate(inner)
            for array in convert(arrays[i * share : (i + 1) * share], part, vintage)
        ]
    kind = type(layer).__name__
    if len(arrays) == 3 and cudnn.converts(layer, arrays[2].shape):
        arrays = cudnn.convert(arrays, layer)
    if vintage.keras1 and kind in KERAS1:
        arrays = KERAS1[kind].convert(arrays, layer)
    if vintage.backend == "theano":
        for place in FLIPPED.get(kind, ()):
            if place < len(arrays):
                arrays[place] = flip(arrays[place])
    return arrays


def flip(kernel: Array) -> Array:
    """A kernel [spatial..., inputs, filters] turned by 180 degrees: Theano convolves, the others
    correlate."""
    return kernel[(slice(None, None, -1),) * (kernel.ndim - 2)]

"""Weights of Keras 2's CuDNNLSTM and CuDNNGRU as those of LSTM and GRU, and the other way.

Enters: the three arrays of a layer, as a file has them. Leaves: those that the layer of the model takes.
cuDNN stores the transpose of each gate's kernel, row by row, and a bias for each of the two products.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile_runtime.arrays import Array

GATES = {"LSTM": 4, "CuDNNLSTM": 4, "GRU": 3, "CuDNNGRU": 3}


def converts(layer: Any, bias: tuple[int, ...]) -> bool:
    """Whether arrays with a bias of this shape are those of the other kind of such a layer."""
    kind = type(layer).__name__
    if kind not in GATES or len(layer.weights) != 3:
        return False
    plain, both = (GATES[kind] * layer.units,), (2 * GATES[kind] * layer.units,)
    of_cudnn = kind.startswith("CuDNN")
    return layer.weights[2].shape != bias and bias == (
        both if not of_cudnn else plain if "LSTM" in kind else (2, *plain)
    )


def refusal(layer: Any) -> str | None:
    """The property that a layer lacks for weights of cuDNN to mean the same in it; None if it has all."""
    right = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    if type(layer).__name__.startswith("CuDNN") or all(
        getattr(getattr(layer, key), "__name__", "") == name for key, name in right.items()
    ):
        return None
    return "activation='tanh' and recurrent_activation='sigmoid', as cuDNN has them"


def convert(arrays: list[Array], layer: Any) -> list[Array]:
    """The arrays of the other kind as those of this layer."""
    kernel, recurrent, bias = arrays
    kind = type(layer).__name__
    to_plain = not kind.startswith("CuDNN")

    def gates(matrix: Array) -> Array:
        parts = np.split(matrix, GATES[kind], -1)
        return np.concatenate(
            [part.reshape(part.shape[::-1]).T if to_plain else part.T.reshape(part.shape) for part in parts],
            -1,
        )

    if "GRU" in kind:
        bias = bias.reshape(2, -1) if to_plain else bias.reshape(-1)
    else:
        bias = bias.reshape(2, -1).sum(0) if to_plain else np.tile(bias * 0.5, 2)
    return [gates(kernel), gates(recurrent), bias]

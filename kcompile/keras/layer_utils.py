"""Layers of models that were made otherwise: their inputs, their sizes, kernels and feature maps turned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.keras.tensors import KerasTensor, as_list
from kcompile.keras.topology import back_from
from kcompile.keras.utils.conv_utils import convert_kernel
from kcompile_runtime.errors import InputError, describe

__all__ = [
    "convert_all_kernels_in_model",
    "convert_dense_weights_data_format",
    "count_params",
    "get_source_inputs",
]

_CONVOLUTIONS = frozenset({"Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose"})


def count_params(weights: Any) -> int:
    """The number of elements of variables, each counted once."""
    return int(sum(np.prod(w.shape, dtype=np.int64) for w in {id(w): w for w in as_list(weights)}.values()))


def get_source_inputs(tensor: Any, layer: Any = None, node_index: int | None = None) -> list[Any]:
    """The inputs that a tensor of a model depends on; of a layer's call, where one is named."""
    if layer is not None and node_index is not None:
        wanted = as_list(layer.get_output_at(node_index))
    else:
        wanted = as_list(tensor)
    if not all(isinstance(x, KerasTensor) for x in wanted):
        raise InputError(describe("get_source_inputs", "a tensor of a model", repr(tensor)))
    return [x for node in back_from(wanted)[0] if node.layer.is_input for x in node.outputs]


def convert_all_kernels_in_model(model: Any) -> None:
    """Turn all kernels of convolutions around, as between Theano and TensorFlow."""
    for layer in model.layers:
        if _CONVOLUTIONS & {c.__name__ for c in type(layer).__mro__}:
            kernel, *rest = layer.get_weights()
            layer.set_weights([convert_kernel(kernel), *rest])


def convert_dense_weights_data_format(
    dense: Any, previous_feature_map_shape: Sequence[int], target_data_format: str = "channels_first"
) -> None:
    """Order the rows of a Dense layer's kernel as a flattened feature map of the target format comes.
    previous_feature_map_shape: of the map in that format, without the batch."""
    if target_data_format not in ("channels_first", "channels_last"):
        raise InputError(
            describe("target_data_format", "channels_first or channels_last", repr(target_data_format))
        )
    sizes = tuple(previous_feature_map_shape)
    kernel, *rest = dense.get_weights()
    if len(sizes) != 3 or np.prod(sizes) != len(kernel):
        raise InputError(
            describe("previous_feature_map_shape", f"three sizes of {len(kernel)} elements", repr(sizes))
        )
    if target_data_format == "channels_first":
        given, order = (*sizes[1:], sizes[0]), (2, 0, 1, 3)
    else:
        given, order = (sizes[2], *sizes[:2]), (1, 2, 0, 3)
    turned = kernel.reshape(*given, -1).transpose(order)
    dense.set_weights([turned.reshape(kernel.shape), *rest])

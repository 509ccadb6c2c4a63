"""Masks that the caller of a layer gives it, as `layer(x, mask=m)`, where they are tensors of a model.

Enters: the tensors and the arguments of a call. Leaves: a node's inputs, the last of which are the masks, and
its arguments, which say how many these are; and, where the node is run, both apart again.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.keras.names_of_scripts import is_ours
from kcompile.keras.tensors import KerasTensor, as_list
from kcompile.keras.written_masks import COUNT as COUNT
from kcompile_runtime.errors import ModelError, describe


def joined(
    inputs: Sequence[KerasTensor], single: bool, arguments: Mapping[str, Any], wants_list: bool
) -> tuple[list[KerasTensor], bool, dict[str, Any]]:
    """The inputs of a node, whether all but the masks are one tensor, and its arguments. Raises ModelError
    where masks do not belong to the inputs."""
    rest, flat = dict(arguments), list(inputs)
    masks = as_list(rest.get("mask"))
    if any(isinstance(m, KerasTensor) for m in masks):
        if len(masks) > len(flat) or not all(isinstance(m, KerasTensor) for m in masks):
            raise ModelError(describe("call: mask", "one mask for each input", repr(rest["mask"])))
        del rest["mask"]
        return [*flat, *masks], single, {**rest, COUNT: len(masks)}
    if COUNT in rest:  # as a file has it
        count = rest[COUNT]
        if not isinstance(count, int) or not 0 < count < len(flat):
            raise ModelError(describe(f"call: {COUNT}", "how many of the tensors are masks", repr(count)))
        single = len(flat) - count == 1 and not wants_list
    return flat, single, rest


def apart(inputs: Sequence[Tensor], arguments: dict[str, Any]) -> tuple[Sequence[Tensor], list[Any] | None]:
    """The inputs without the masks, and these as they are given; None where the call has none. Both are taken
    out of the arguments."""
    count = arguments.pop(COUNT, 0)
    if count:
        return inputs[:-count], list(inputs[-count:])
    masks = arguments.pop("mask", None)
    if masks is None:
        return inputs, None
    return inputs, [_tensor(inputs[0].graph, m) for m in as_list(masks)]


def numeric(layer: Any, masks: list[Any] | None) -> list[Any] | None:
    """The masks, where they are numbers and `call` is a script's own, which gets them as they are; else
    None: they say what is there."""
    ours = is_ours(type(layer).call)
    if masks is None or ours or all(m is None or m.dtype == "bool" for m in masks):
        return None
    return masks if "mask" in inspect.signature(layer.call).parameters else None


def as_bool(mask: Tensor) -> Tensor:
    """A mask that may be of numbers, where 0 leaves out."""
    return mask if mask.dtype == "bool" else ops.not_equal(mask, 0)


def _tensor(graph: Graph, mask: Any) -> Tensor | None:
    if mask is None or isinstance(mask, Tensor):
        return mask
    return as_tensor(graph, mask if hasattr(mask, "__tensor__") else np.asarray(mask))

"""`Merge` and `merge` of Keras 1: one name for all ways to make one tensor of several.

Enters: a mode. Leaves: the layer of Keras 2 that does it. A Merge of models, its branches, is the first
layer of a Sequential, whose inputs are then those of the branches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kcompile.keras.engine import InputSpec, KerasTensor, Layer, as_list
from kcompile.keras.layers.lambda_ import Lambda
from kcompile.keras.layers.merge import Add, Average, Concatenate, Dot, Maximum, Multiply
from kcompile.keras.topology import back_from
from kcompile_runtime.errors import ModelError, describe

__all__ = ["Merge", "merge"]

MODES: dict[str, type[Layer]] = {
    "sum": Add,
    "mul": Multiply,
    "concat": Concatenate,
    "ave": Average,
    "max": Maximum,
    "dot": Dot,
    "cos": Dot,
}


@dataclass(frozen=True)
class Branches:
    """The branches that a Merge joins: their inputs, their outputs, and their layers."""

    inputs: list[KerasTensor]
    outputs: list[KerasTensor]
    layers: list[Layer]


def Merge(
    layers: Sequence[Any] | None = None,
    mode: Any = "sum",
    concat_axis: int = -1,
    dot_axes: Any = -1,
    output_shape: Any = None,
    output_mask: Any = None,
    arguments: Any = None,
    node_indices: Sequence[int] | None = None,
    tensor_indices: Sequence[int] | None = None,
    name: str | None = None,
) -> Layer:
    """The layer for a mode: "sum", "mul", "concat" (along concat_axis), "ave", "max", "dot" and "cos"
    (along dot_axes; the cosine of two vectors a sample), or a function of the list of tensors, with
    arguments, output_shape and output_mask as a Lambda has them.

    layers: models, or layers that were called (at node_indices, of whose outputs tensor_indices are
    taken): then the layer is the first of a Sequential. Raises ModelError.
    """
    layer = _of_mode(mode, concat_axis, dot_axes, output_shape, output_mask, arguments, name)
    if layers:
        places = zip(layers, node_indices or [0] * len(layers), tensor_indices or [0] * len(layers))
        found = [_branch(layer, *place) for place in places]
        layer.branches = Branches(
            [x for inputs, _, _ in found for x in inputs],
            [y for _, y, _ in found],
            list({id(part): part for _, _, parts in found for part in parts}.values()),
        )
    return layer


def merge(
    inputs: Sequence[Any],
    mode: Any = "sum",
    concat_axis: int = -1,
    dot_axes: Any = -1,
    output_shape: Any = None,
    output_mask: Any = None,
    arguments: Any = None,
    name: str | None = None,
) -> Any:
    """The tensors merged, as `Merge` says."""
    return Merge(None, mode, concat_axis, dot_axes, output_shape, output_mask, arguments, name=name)(inputs)


def _of_mode(
    mode: Any,
    concat_axis: int,
    dot_axes: Any,
    output_shape: Any,
    output_mask: Any,
    arguments: Any,
    name: str | None,
) -> Layer:
    if callable(mode):
        return Lambda(mode, output_shape, _mask(output_mask), arguments, name=name)
    if mode not in MODES:
        raise ModelError(
            describe("Merge: mode", "a function, or one of " + ", ".join(map(repr, MODES)), repr(mode))
        )
    given = {"output_shape": output_shape, "output_mask": output_mask, "arguments": arguments}
    if any(value is not None for value in given.values()):
        raise ModelError(
            describe(
                f"Merge: {', '.join(given)}",
                "None, but for a function as mode",
                ", ".join(map(repr, given.values())),
            )
        )
    if mode == "concat":
        return Concatenate(concat_axis, name=name)
    if mode not in ("dot", "cos"):
        return MODES[mode](name=name)
    pair = [a for axis in as_list(dot_axes) for a in as_list(axis)]  # early Keras wrote ([1], [2])
    layer = Dot(pair if len(pair) > 1 else pair[0], mode == "cos", name=name)
    if mode == "cos":  # of matrices, Keras 1 gave numbers that are no cosines
        layer.input_spec = [InputSpec(ndim=2)] * 2
    return layer


def _mask(given: Any) -> Any:
    """A Lambda's mask of what Keras 1 has as output_mask: a function of the masks alone."""
    if not callable(given):
        return given
    function: Callable[[Any], Any] = given
    return lambda inputs, mask: function(mask)


def _branch(
    owner: Layer, branch: Any, node: int, tensor: int
) -> tuple[list[KerasTensor], KerasTensor, list[Layer]]:
    """The inputs, the output and the layers of a branch."""
    if not isinstance(branch, Layer) or not branch.nodes_made:
        raise ModelError(
            describe(
                f"{owner.label}: Merge: layers",
                "models whose input shape is known, or layers that were called",
                repr(branch),
            )
        )
    output = as_list(branch.get_output_at(node))[tensor]
    nodes, met = back_from([output])
    inputs = [n.outputs[0] for n in nodes if not n.inputs]
    parts = getattr(branch, "layers", met)  # a model's, in its own order
    return list(getattr(branch, "inputs", inputs)), output, list(parts)

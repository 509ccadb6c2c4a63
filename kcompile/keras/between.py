"""Models from tensors that layers gave.

Enters: inputs and outputs, as a model is given them. Leaves: inputs that are Inputs, and outputs that follow
from these.
"""

from __future__ import annotations

from typing import Any

from kcompile.keras.engine import KerasTensor, as_list
from kcompile.keras.inputs import Input, InputLayer
from kcompile.keras.topology import back_from


def from_between(inputs: list[Any], outputs: list[Any]) -> tuple[list[Any], list[Any]]:
    """Inputs and outputs, where tensors that layers gave may be inputs since tf.keras: a new Input for each,
    from which the calls behind it are made again."""
    tensors = [*inputs, *outputs]
    if not all(isinstance(x, KerasTensor) for x in tensors) or all(
        isinstance(x.layer, InputLayer) for x in inputs
    ):
        return inputs, outputs
    values: dict[KerasTensor, Any] = {
        x: x
        if isinstance(x.layer, InputLayer)
        else Input(batch_shape=x.shape, dtype=x.dtype, vintage=x.layer.vintage)
        for x in inputs
    }
    for node in back_from(outputs, values)[0]:
        operands = [values.get(x, x) for x in node.inputs]
        if all(new is x for new, x in zip(operands, node.inputs)):
            values.update((y, y) for y in node.outputs)
            continue
        values.update(zip(node.outputs, as_list(node.made_on(operands))))
    return [values[x] for x in inputs], [values[y] for y in outputs]

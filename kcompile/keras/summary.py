"""`model.summary()`, laid out as Keras 2 prints it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def print_summary(model: Any, line_length: int | None = None,
                  positions: Sequence[float] | None = None,
                  print_fn: Callable[[str], Any] | None = None) -> None:
    """Print a table of the layers with output shapes and numbers of parameters.

    A model that is not a chain gets a fourth column, the tensors that each layer is called on.
    positions: where columns end, as shares of line_length (default 65, or 98 with connections) or
    absolute. print_fn: called with each line.
    """
    show = print if print_fn is None else print_fn
    chain = _is_chain(model)
    width = line_length or (65 if chain else 98)
    shares = positions or ((0.45, 0.85, 1.0) if chain else (0.33, 0.55, 0.67, 1.0))
    ends = [int(width * p) if shares[-1] <= 1 else int(p) for p in shares]
    columns = ["Layer (type)", "Output Shape", "Param #", "Connected to"][:3 if chain else 4]

    show(f'Model: "{model.name}"')
    show("_" * width)
    show(_row(columns, ends))
    show("=" * width)
    for number, layer in enumerate(model.layers, 1):
        sources = [] if chain else _sources(model, layer)
        shape = _output_shape(layer)
        label = f"{layer.name} ({type(layer).__name__})"
        show(_row([label, shape, layer.count_params(), *sources[:1]], ends))
        for source in sources[1:]:
            show(_row(["", "", "", source], ends))
        show(("=" if number == len(model.layers) else "_") * width)
    trainable = sum(v.value.size for v in model.trainable_weights)
    fixed = sum(v.value.size for v in model.non_trainable_weights)
    show(f"Total params: {trainable + fixed:,}")
    show(f"Trainable params: {trainable:,}")
    show(f"Non-trainable params: {fixed:,}")
    show("_" * width)


def _row(fields: Sequence[Any], ends: Sequence[int]) -> str:
    """Each field cut off before its column's end, with a space between columns."""
    line = ""
    for number, (field, end) in enumerate(zip(fields, ends)):
        line = f"{line[:-1]} {field}" if number else str(field)
        line = line[:end].ljust(end)
    return line


def _is_chain(model: Any) -> bool:
    """Whether each layer is called once, on the output of the one before."""
    calls = [node for node in model.nodes if node.inputs]
    once = len({id(node.layer) for node in model.nodes}) == len(model.nodes)
    ends = [y for node in calls for y in node.inputs]
    return (once and len(model.nodes) == len(calls) + 1
            and all(len(node.inputs) == 1 for node in calls)
            and len({id(y) for y in ends}) == len(ends))


def _output_shape(layer: Any) -> Any:
    try:
        return layer.output_shape
    except AttributeError:
        return "multiple"


def _sources(model: Any, layer: Any) -> list[str]:
    """`layer[node][tensor]` for each tensor that the layer is called on in this model."""
    return [f"{x.layer.name}[{x.node_index}][{x.tensor_index}]"
            for node in model.nodes if node.layer is layer for x in node.inputs]

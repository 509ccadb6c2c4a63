"""The part of a model that runs on arrays, before its graphs: layers of texts and hashes, behind its inputs.

Enters: a model's calls. Leaves: the tensors between the two parts, which are the inputs of its graphs, and
their arrays for a user's data. Texts are looked up and split here, in numpy; everything else is compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.keras.phases import differs
from kcompile.keras.standardize import by_name
from kcompile.keras.tensors import KerasTensor, Node, as_list, one_or_list
from kcompile.keras.topology import back_from
from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import InputError, UnsupportedError, describe


class _Head:
    """What runs on arrays of a model inside another: a layer that gives what that model's graphs are fed."""

    is_input = False

    def __init__(self, model: Any) -> None:
        self.model = model

    def on_arrays(self, arrays: Sequence[Any], single: bool, arguments: dict[str, Any]) -> list[Any]:
        return as_list(self.model.prelude.arrays(list(arrays)))


def _halves(node: Node) -> tuple[Node, Node]:
    """The call of a model that begins with texts, as its two parts, and tensors between them."""
    model: Any = node.layer
    between = [_copied(x) for x in model.fed]
    head = Node(_Head(model), node.index, node.inputs, node.single, {}, between)  # type: ignore[arg-type]
    single = len(between) == 1
    return head, Node(model, node.index, tuple(between), single, node.arguments, node.outputs, fed=True)


def _copied(x: KerasTensor) -> KerasTensor:
    made = KerasTensor(x.type, x.layer, x.node_index, x.tensor_index, x.batch_size, x.second_type)
    made.mask, made.second_mask = x.mask, x.second_mask
    return made


class Prelude:
    """nodes: the calls that run on arrays, in order. cut: calls of models that begin with such layers, whose
    other part is compiled. fed: the inputs of the graphs; names: of these."""

    def __init__(self, model: Any, nodes: Sequence[Node], cut: Sequence[Node] = ()) -> None:
        self.model = model
        own = {id(node) for node in nodes}
        halves = {id(node): _halves(node) for node in cut}
        self.nodes = [*nodes, *(head for head, _ in halves.values())]
        nodes = self.nodes
        rest = [
            halves[id(node)][1] if id(node) in halves else node for node in model.nodes if id(node) not in own
        ]
        used = {x for node in rest for x in node.inputs} | {y for y in model.outputs}
        used_here = {x for node in nodes for x in node.inputs}
        inputs = [x for x in model.inputs if x in used or not (x in used_here or x.texts)]
        made = [y for node in nodes for y in node.outputs if y in used]
        self.fed: list[KerasTensor] = [*inputs, *dict.fromkeys(made)]
        known = set(self.fed)
        self.rest = [node for node in rest if node.inputs or not _of_data(node) or node.outputs[0] in known]
        self.names: list[str] = []
        given = dict(zip(model.inputs, model.input_names))
        for x in self.fed:
            name = given.get(x, x.name)
            while name in self.names:
                name += "_1"
            self.names.append(name)
        if not self.fed:
            raise UnsupportedError(
                f"Model {model.name!r}: nothing of it is computed of numbers. Call its layers on the data"
            )
        for x in self.fed:
            if x.texts:
                raise UnsupportedError(
                    f"Model {model.name!r}: {x.layer.label} gives texts, and what follows takes numbers. "
                    "Put StringLookup, TextVectorization or Hashing behind it. Where texts are an output, "
                    "let the model give numbers, and call the layer on what predict returns"
                )

    def arrays(self, x: Any) -> list[Any]:
        """The data of the graphs' inputs, for that of the model's. Raises InputError."""
        model = self.model
        given = by_name(x, model.input_names, "input")
        known = set(self.fed)
        values: dict[KerasTensor, Any] = dict(zip(model.inputs, given))
        for name, tensor in zip(model.input_names, model.inputs):
            values[tensor] = _checked(name, tensor, values[tensor], tensor not in known)
        for node in self.nodes:
            operands = [values[t] for t in node.inputs]
            made = node.layer.on_arrays(operands, node.single, node.arguments)
            values.update(zip(node.outputs, made))
        return one_or_list([values[tensor] for tensor in self.fed])


def _of_data(node: Node) -> bool:
    """Whether a call is an input of data."""
    return node.layer.is_input and node.layer.input_tensor is None


def _checked(name: str, tensor: KerasTensor, value: Any, mine: bool) -> Any:
    """An input's data, as an array of its rank where it is for the prelude."""
    if not mine:
        return value
    array = np.asarray(value) if tensor.texts else as_array(value, f"input {name!r}")
    if array.ndim == len(tensor.shape) - 1 and tensor.shape[-1] == 1:
        array = array[..., None]
    sizes = tensor.shape[1:]
    if array.ndim != len(tensor.shape) or any(s not in (None, d) for s, d in zip(sizes, array.shape[1:])):
        kind = "texts" if tensor.texts else "numbers"
        raise InputError(
            describe(f"input {name!r}", f"{kind} of shape {tensor.shape}", f"shape {array.shape}")
        )
    return array if tensor.texts else array.astype(tensor.dtype)


def prelude_of(model: Any) -> Prelude | None:
    """The prelude of a model; None where it computes of numbers alone. Raises UnsupportedError where it needs
    what is learned or drawn in the model."""
    heads = [node for node in model.nodes if node.layer.runs_on_arrays]
    if not heads and not any(x.texts for x in model.inputs):
        return None
    models = [node for node in heads if getattr(node.layer, "prelude", None) is not None]
    needed = _behind([y for node in heads if node not in models for y in node.outputs])
    needed |= _behind([x for node in models for x in node.inputs])
    cut = [node for node in models if id(node) not in needed]
    nodes = [node for node in model.nodes if id(node) in needed and node.inputs]
    for node in nodes:
        _check(model, node)
    return Prelude(model, nodes, cut)


def _behind(tensors: Sequence[KerasTensor]) -> set[int]:
    """The calls that tensors follow from."""
    return {id(node) for node in back_from(tensors)[0]} if tensors else set()


def _check(model: Any, node: Node) -> None:
    """Raises UnsupportedError for a call that cannot be made on arrays."""
    layer = node.layer
    why = ""
    if layer.trainable_weights:
        why = "has weights to train"
    elif layer.state_variables or differs(node):
        why = "computes something else in training"
    if why:
        raise UnsupportedError(
            f"Model {model.name!r}: {layer.label} {why}, and layers behind it run on arrays alone (texts, "
            "hashes). Let them stand behind the inputs; or call them on the data, or on what predict "
            "returns"
        )

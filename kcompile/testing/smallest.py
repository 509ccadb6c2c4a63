"""The smallest model that still fails: layers are taken away for as long as it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kcompile.keras.layers import Input
from kcompile.keras.models import Model
from kcompile.keras.topology import back_from, sort_nodes
from kcompile_runtime.errors import InputError, describe

TRIES = 1000  # models that are tried at the most


def find_smallest(model: Any, predicate: Callable[[Any], Any], tries: int = TRIES) -> Any:
    """A model made of some of the layers of `model`, with their weights, that fails as it does and from which
    no layer can be taken without its failing no more.

    predicate(model): fails where it gives true or raises an exception, and makes data of its own, as inputs
    change: `lambda m: assert_agrees(m, make_inputs(m))`. Where it raises for `model`, smaller ones have to
    raise the same kind. Tried are: one output alone, or a tensor inside as the output; a tensor inside as an
    input; a layer passed over whose input and output have one shape. tries: models tried at the most.
    Raises InputError for a model that does not fail.
    """
    how = _failure(predicate, model)
    if how is None:
        raise InputError(describe("find_smallest", "a model for which the predicate fails", repr(model.name)))
    found, left = model, tries
    progress = True
    while progress and left > 0:
        progress = False
        for candidate in _smaller(found):
            left -= 1
            if left < 0:
                break
            if _failure(predicate, candidate) == how:
                found, progress = candidate, True
                break
    return found


def _failure(predicate: Callable[[Any], Any], model: Any) -> type | None:
    """bool where the predicate gives true, the class of what it raises, None where it does not fail."""
    try:
        return bool if predicate(model) else None
    except Exception as error:
        return type(error)


def _smaller(model: Any) -> Iterator[Any]:
    """Models with fewer layers, the smallest first of each kind."""
    nodes = [node for node in sort_nodes(model.name, model.inputs, model.outputs)[0] if node.inputs]
    tensors = [x for node in nodes for x in node.outputs]
    ends = [x for x in tensors if len(model.outputs) > 1 or x is not model.outputs[0]]
    choices: list[tuple[Sequence[Any], Sequence[Any], Any]] = [((), [y], None) for y in ends]
    choices += [([x], model.outputs, None) for x in reversed(tensors) if x not in model.outputs]
    choices += [((), model.outputs, node) for node in nodes if _passes_over(node)]
    for cuts, outputs, skipped in choices:
        try:
            made = _rebuilt(cuts, outputs, skipped)
        except Exception:  # its layers do not fit without the others: not a model
            continue
        if made is not None and _layers(made) < _layers(model):
            yield made


def _layers(model: Any) -> int:
    return len(sort_nodes(model.name, model.inputs, model.outputs)[0])


def _passes_over(node: Any) -> bool:
    first, last = node.inputs[0], node.outputs[0]
    return len(node.outputs) == 1 and (first.shape, first.dtype) == (last.shape, last.dtype)


def _rebuilt(cuts: Sequence[Any], outputs: Sequence[Any], skipped: Any) -> Any | None:
    """A model of copies of the layers between `cuts` (which become inputs), inputs, and `outputs`; without a
    call. None where an output is an input."""
    nodes, _ = back_from(outputs, cuts)
    table: dict[Any, Any] = {}
    inputs, copies = [], {}
    starts = [*cuts, *(node.outputs[0] for node in nodes if not node.inputs)]
    for x in starts:
        batch = {"batch_shape": x.shape} if x.shape[0] is not None else {"shape": x.shape[1:]}
        table[x] = Input(**batch, dtype=x.dtype)
        inputs.append(table[x])
    weights = []
    for node in nodes:
        if not node.inputs:
            continue
        given = [table[x] for x in node.inputs]
        if node is skipped:
            table[node.outputs[0]] = given[0]
            continue
        layer = node.layer
        if layer not in copies:
            copies[layer] = type(layer).from_config(layer.get_config())
            weights.append((copies[layer], layer.get_weights()))
        made = node.made_on(given, copies[layer])
        table.update(zip(node.outputs, made if isinstance(made, (list, tuple)) else [made]))
    ends = [table[y] for y in outputs]
    if any(y in inputs for y in ends):
        return None
    model = Model(inputs, ends)
    for layer, values in weights:
        layer.set_weights(values)
    return model

"""A training step as updates of variables: what `K.function(updates=...)` makes when it is called.

Enters: a loss, a tensor of models, placeholders and variables, and the variables to be trained. Leaves:
gradients as such tensors, and `Update`s of the variables and of the optimizer's state. Also the losses and
updates that calls of layers leave behind, as such tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from kcompile.ir import ops
from kcompile.ir.gradient import gradient
from kcompile.ir.graph import Source
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.keras import constraints
from kcompile.keras.operands import floating, graph, record, tensor
from kcompile.keras.operators import identity
from kcompile.keras.settings import floatx
from kcompile.keras.tensors import KerasTensor, Node, Variable
from kcompile.keras.tracing import Trace, trace_of
from kcompile_runtime.errors import InputTypeError, ModelError, describe


class Update(NamedTuple):
    """The result of K.update, for `Layer.add_update` and K.function."""

    variable: Any
    value: Any


def arguments(
    kind: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Any, list[Variable], dict[Variable, Any]]:
    """(loss, variables, constraints by variable) of `get_updates` in the orders (loss, params) of Keras
    2.1 on, and (params, constraints, loss) of Keras 1 and 2.0. Raises InputTypeError."""
    order = ("params", "constraints", "loss") if len(args) == 3 else ("loss", "params")
    given = {**dict(zip(order, args)), **kwargs}
    loss, params = given.pop("loss", None), given.pop("params", None)
    limits = given.pop("constraints", None) or {}
    if isinstance(loss, (list, tuple)) and not isinstance(params, (list, tuple)):
        loss, params = params, loss
    wanted = "loss, a tensor, and params, a list of variables (or params, constraints and loss)"
    if (
        given
        or len(args) > 3
        or not isinstance(loss, (KerasTensor, Variable))
        or not params
        or not (isinstance(params, (list, tuple)) and all(isinstance(v, Variable) for v in params))
    ):
        raise InputTypeError(
            describe(
                f"{kind}.get_updates",
                wanted,
                ", ".join([*(type(x).__name__ for x in args), *kwargs]) or "nothing",
            )
        )
    if not isinstance(limits, Mapping):
        raise InputTypeError(describe(f"{kind}.get_updates: constraints", "a dict by variable", repr(limits)))
    return loss, list(params), {v: constraints.get(limits[v]) for v in params if v in limits}


def get_gradients(optimizer: Any, loss: Any, params: Sequence[Variable]) -> list[Any]:
    """The gradients of the loss, limited as the optimizer says (clipnorm, clipvalue)."""
    made: list[Any] = record(_gradients, (optimizer, loss, list(params)), {}, params)
    return made


def get_updates(
    optimizer: Any, loss: Any, params: Sequence[Variable], limits: Mapping[Variable, Any]
) -> list[Update]:
    """The new values of the variables, and of the optimizer's state, after one step."""
    optimizer.build(params)
    state = optimizer.weights
    values = record(_step, (optimizer, loss, list(params), dict(limits), state), {}, [*params, *state])
    return [Update(variable, value) for variable, value in zip([*params, *state], values)]


def _gradients(optimizer: Any, loss: Any, params: list[Variable]) -> list[Tensor]:
    return list(optimizer.clip(_slopes(loss, params), optimizer.rules))


def _step(
    optimizer: Any, loss: Any, params: list[Variable], limits: dict[Variable, Any], state: list[Variable]
) -> list[Tensor]:
    trace = trace_of(graph())
    before = dict(trace.graph.updates)
    values = optimizer.new_values(trace, list(zip(params, _slopes(loss, params))), optimizer.rules)
    for number, variable in enumerate(params):
        limit = limits.get(variable, variable.constraint)
        values[number] = values[number] if limit is None else limit(values[number])
    values += [trace.read(variable) for variable in state]
    trace.graph.updates = before  # they are made where K.function is given them
    return list(values)


def _slopes(loss: Any, params: Sequence[Variable]) -> list[Tensor]:
    found = gradient(ops.reduce_sum(tensor(loss)), [tensor(v) for v in params])
    for variable, slope in zip(params, found):
        if slope is None:
            raise ModelError(
                f"the loss does not depend on {variable.path!r}, or through operations without "
                "a gradient alone. Leave it out of params"
            )
    return [slope for slope in found if slope is not None]


# ---------------------------------------------------------------- of layers


def losses_of_weights(layer: Any) -> list[Any]:
    """The penalties on a layer's weights."""
    counted = layer.weights if layer.semantics.penalty_of_frozen else layer.trainable_weights
    found: list[Any] = [cast(Any, v.regularizer)(v) for v in counted if v.regularizer]
    return [x if hasattr(x, "__tensor__") or isinstance(x, np.ndarray) else identity(x) for x in found]


def losses_in_step(layer: Any, trace: Trace) -> list[Any]:
    """The penalties on a layer's weights, and what its latest call in a trace added to losses, or those of
    the layers inside it."""
    counted = layer.weights if layer.semantics.penalty_of_frozen else layer.trainable_weights
    found = [as_tensor(trace.graph, v.regularizer(trace.read(v)), v.dtype) for v in counted if v.regularizer]
    return [*found, *_added(layer, trace)]


def _added(layer: Any, trace: Trace) -> list[Tensor]:
    if layer in trace.added:
        return [ops.reduce_mean(x) if x.rank else x for x in trace.added[layer]]
    return [x for inner in layer.inside for x in _added(inner, trace)]


def losses_of_calls(calls: Sequence[Node]) -> list[Any]:
    """The scalars that calls of a layer (or of the layers in a model) add to a loss."""
    return [loss for node in calls for loss in _recorded(_losses, node)]


def updates_of_calls(calls: Sequence[Node]) -> list[Update]:
    """The new values of moving statistics after calls of a layer, as in training."""
    made: list[Update] = []
    for node in calls:
        scratch = Trace("shape inference", training=True)
        _call(scratch, node, [scratch.input(f"x{i}", x.type) for i, x in enumerate(node.inputs)])
        changed = [scratch.captured[name] for name in scratch.graph.updates]
        values = record(_changed, (node, changed, list(node.inputs)), {}, changed)
        made += [Update(variable, value) for variable, value in zip(changed, values)]
    return made


def _recorded(function: Any, node: Node) -> list[Any]:
    made: list[Any] = record(function, (node, list(node.inputs)), {})
    return made


def _call(trace: Trace, node: Node, inputs: Sequence[Tensor]) -> None:
    with trace.source(Source(node.layer.name, node.index)):
        node.layer.trace(list(inputs), node.single, node.arguments)


def _losses(node: Node, inputs: list[Tensor]) -> list[Tensor]:
    trace = trace_of(graph())
    before = trace.losses, dict(trace.graph.updates)
    trace.losses = []
    _call(trace, node, inputs)
    found, (trace.losses, trace.graph.updates) = trace.losses, before
    return [floating(ops.reduce_mean(x) if x.rank else x, floatx()) for x in found]


def _changed(node: Node, variables: list[Variable], inputs: list[Tensor]) -> list[Tensor]:
    trace = trace_of(graph())
    before = list(trace.losses), dict(trace.graph.updates)
    with trace.mode(training=True):
        _call(trace, node, inputs)
        values = [trace.read(variable) for variable in variables]
    trace.losses, trace.graph.updates = before
    return values

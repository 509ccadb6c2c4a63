"""Models made again with weights of their own, layer by layer, by a function of the user's if they give one.

Enters: a model, and what to make of each layer and each call. Leaves: a new model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kcompile.keras.configurations import make_layers, own_arguments
from kcompile.keras.editions import edition
from kcompile.keras.engine import KerasTensor, Layer, Node, as_list
from kcompile.keras.expressions import TensorFunction
from kcompile.keras.functional import Model
from kcompile.keras.inputs import InputLayer
from kcompile.keras.layers.custom import Custom
from kcompile.keras.layers.forms import FORM
from kcompile.keras.layers.operation import Operation
from kcompile.keras.metric import Metric
from kcompile.keras.operands import leaves, map_leaves
from kcompile.keras.optimizer import Optimizer
from kcompile.keras.sequential import Sequential
from kcompile.keras.utils.serialization import custom_object_scope
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError, describe


def clone_model(
    model: Model,
    input_tensors: Any = None,
    clone_function: Callable[[Layer], Layer] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Model:
    """A model of the same layers and calls, whose weights are its own and fresh; compiled as the model is in
    Keras 3.

    input_tensors: what Input gave, to take the place of the model's inputs. clone_function(layer): gives what
    takes the place of each layer but inputs, once for a layer that is called often; by default, one from its
    configuration. Functions of K, which have no weights, are called again. call_function(layer, *args,
    **kwargs): makes each call of a functional model; by default, the layer is called. recursive: whether
    models inside are cloned so too, instead of being given to clone_function. Raises InputError for what is
    no model or no function, for call_function of a Sequential, and for any function beside a model whose
    class has a `call` of its own.
    """
    if not isinstance(model, Model):
        raise InputError(describe("clone_model", "a model", repr(model)))
    for what, function in (("clone_function", clone_function), ("call_function", call_function)):
        if function is not None and not callable(function):
            raise InputError(describe(f"clone_model: {what}", "a function, or None", repr(function)))
    given = clone_function is not None or call_function is not None
    with custom_object_scope(*(layer.classes() for layer in model.owned_layers)):
        if given or (any(map(_only_called, model.owned_layers)) and not model.added_losses):
            made = _Cloning(clone_function or _again, call_function, recursive).of(model, input_tensors)
        else:
            made = _of_configuration(model, input_tensors)
    if edition(model.vintage).clones_compiled and model.trainer.arguments is not None:
        made.compile(**map_leaves(_own, model.trainer.arguments))
    return made


def _own(value: Any) -> Any:
    """An argument of `compile` for another model: what has variables is made again."""
    return value.from_config(value.get_config()) if isinstance(value, (Optimizer, Metric)) else value


def _of_configuration(model: Model, input_tensors: Any) -> Model:
    config = model.get_config()
    if input_tensors is None:
        return type(model).from_config(config)
    given = _inputs(model, input_tensors)
    if not model.functional:
        made = make_layers([e for e in config["layers"] if e["class_name"] != "InputLayer"])
        return type(model)([given[0], *made], **own_arguments(config))
    replaced = {x.layer.name: y for x, y in zip(model.inputs, given)}
    return type(model).from_config(config, inputs=replaced)


def _inputs(model: Model, given: Any) -> list[KerasTensor]:
    """The tensors in the places of the model's inputs; a dict has the keys of the model's."""
    keys = model.input_keys
    if isinstance(given, Mapping) and keys is not None and set(given) == set(keys):
        given = [given[key] for key in keys]
    found = as_list(given)
    if len(found) != len(model.inputs) or not all(
        isinstance(x, KerasTensor) and isinstance(x.layer, InputLayer) for x in found
    ):
        raise ModelError(
            describe(
                "clone_model: input_tensors", f"{len(model.inputs)} tensors that Input gave", repr(given)
            )
        )
    return found


def _only_called(layer: Layer) -> bool:
    """Whether it is a call of a function of K, which has no weights, and which no configuration holds."""
    return isinstance(layer, TensorFunction) and not isinstance(layer, Operation)


def _again(layer: Layer) -> Layer:
    return type(layer).from_config(layer.get_config())


def _call(layer: Layer, *args: Any, **kwargs: Any) -> Any:
    return layer(*args, **kwargs)


class _Cloning:
    """One call of `clone_model`: what became of each layer, in the models inside too."""

    def __init__(
        self,
        clone_function: Callable[[Layer], Layer],
        call_function: Callable[..., Any] | None,
        recursive: bool,
    ) -> None:
        self.clone_function = clone_function
        self.call_function = call_function
        self.recursive = recursive
        self.made: dict[int, Layer] = {}

    def of(self, model: Model, input_tensors: Any = None) -> Model:
        if model.subclassed or not (model.built or isinstance(model, Sequential)):
            wanted = "a functional model or a Sequential, beside a function"
            raise InputError(describe("clone_model", wanted, f"{model.label}, which has a call of its own"))
        if isinstance(model, Sequential) and not model.functional:
            return self._sequential(model, input_tensors)
        return self._functional(model, input_tensors)

    def layer(self, layer: Layer) -> Layer:
        """What takes its place."""
        if id(layer) not in self.made:
            if self.recursive and isinstance(layer, Model) and not layer.subclassed:
                function = None if isinstance(layer, Sequential) else self.call_function
                inner = _Cloning(self.clone_function, function, True)
                inner.made = self.made
                found: Any = inner.of(layer)
            else:
                found = self.clone_function(layer)
            if not isinstance(found, Layer):
                what = f"clone_model: clone_function({layer.label})"
                raise InputError(describe(what, "a layer", repr(found)))
            self.made[id(layer)] = found
        return self.made[id(layer)]

    def _sequential(self, model: Any, input_tensors: Any) -> Model:
        if self.call_function is not None:
            raise InputError(
                f"clone_model: call_function: Model {model.name!r} is a Sequential, whose layers are listed "
                "rather than called. Give clone_function alone, or put the layers together by calls"
            )
        layers: list[Any] = [self.layer(layer) for layer in model.layers]
        if input_tensors is not None:
            layers = [*_inputs(model, input_tensors), *layers]
        elif isinstance(model._added[0] if model._added else None, InputLayer):
            layers = [_again(model._added[0]), *layers]
        elif model.built and model._build_shape is None:
            layers = [_again(model.inputs[0].layer), *layers]
        return Sequential(layers, name=model.name, trainable=model.trainable, vintage=model.vintage)

    def _functional(self, model: Model, input_tensors: Any) -> Model:
        if model.added_losses:
            remedy = "Add the loss to the clone instead"
            raise UnsupportedError(
                describe("clone_model with a function", "a model without add_loss", model.label, remedy)
            )
        if input_tensors is None:
            inputs = [_again(x.layer).nodes_made[0].outputs[x.tensor_index] for x in model.inputs]
        else:
            inputs = _inputs(model, input_tensors)
        tensors = dict(zip(map(id, model.inputs), inputs))
        for node in model.nodes:
            if node.inputs and not all(id(y) in tensors for y in node.outputs):
                found = self._called(node, [tensors[id(x)] for x in node.inputs])
                tensors.update(zip(map(id, node.outputs), found))
        ends = [inputs, [tensors[id(y)] for y in model.outputs]]
        keys = (model.input_keys, model.output_keys)
        given: list[Any] = [
            (x[0] if len(x) == 1 else x) if k is None else dict(zip(k, x)) for k, x in zip(keys, ends)
        ]
        given[1] = model.trainer.in_order(given[1])
        make: Any = type(model) if _takes_tensors(type(model)) else Model
        return make(*given, name=model.name, vintage=model.vintage)

    def _called(self, node: Node, tensors: Sequence[KerasTensor]) -> list[KerasTensor]:
        """The results of the same call on these tensors."""
        call = self.call_function or _call
        if _only_called(node.layer):
            return as_list(node.made_on(tensors))
        layer = self.layer(node.layer)
        if FORM in node.arguments and isinstance(node.layer, Custom):
            options = {name: value for name, value in node.arguments.items() if name != FORM}
            args, kwargs = node.layer.written_call(node.arguments[FORM], tensors)
            return list(leaves([call(layer, *args, **kwargs, **options)]))
        alone = node.single and len(tensors) == 1
        found = call(layer, tensors[0] if alone else list(tensors), **node.arguments)
        return list(leaves([found]))


def _takes_tensors(kind: type) -> bool:
    """Whether the class's constructor is that of a functional model, inputs and outputs."""
    if issubclass(kind, Sequential):
        return False
    spec = inspect.getfullargspec(kind.__init__)
    return spec.args[1:3] == ["inputs", "outputs"] or (
        len(spec.args) == 1 and spec.varargs is not None and spec.varkw is not None
    )

"""What a layer class of a user's is too: it holds the layers and variables in its attributes, and its `call`
takes any arguments that are tensors, or hold some.

Enters: a class whose `call` runs over symbolic tensors. Leaves: the same class with `Custom` among its bases.
A call of a plain form, one tensor or a list of them, is that of `Layer`. Of any other, the tensors among the
arguments are the inputs of a node, in their order, and the node keeps the arguments with numbers in their
places.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor, constant
from kcompile.ir.types import TensorType
from kcompile.keras import backend
from kcompile.keras.editions import edition
from kcompile.keras.engine import KerasShape, KerasTensor, Layer, Variable, as_list, one_or_list
from kcompile.keras.layer_arguments import ConfigurationError, parameters
from kcompile.keras.layers.held import Holder, forget_place, layers_in
from kcompile.keras.layers.operation import OPERAND, operand
from kcompile.keras.names_of_scripts import kept_for_us
from kcompile.keras.operands import leaves, map_leaves
from kcompile.keras.tracing import current
from kcompile_runtime.errors import ModelError, OperandError, describe

FORM = "call_arguments"  # of a node: those of its call, with numbers in the places of tensors
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
OPTIONS = ("training", "mask")  # which every layer is given


_OF_LAYER = frozenset(inspect.signature(Layer.__init__).parameters)
_SIMPLE = (type(None), bool, int, float, str)


class Custom(Holder):
    """The part of a user's layer that is about what it holds and how it is called."""

    _form: Mapping[str, Any] | None = None  # of the call that is being made
    _results: Any = None  # the last results of `call` where they are nested: numbers in the places of tensors

    _given: Mapping[str, Any] = {}  # the arguments of the constructor

    def __new__(cls, *args: Any, **kwargs: Any) -> Custom:
        made: Custom = super().__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(made, *args, **kwargs)
        except (TypeError, ValueError):
            return made  # the constructor says what is wrong
        bound.apply_defaults()
        kinds = bound.signature.parameters
        several = inspect.Parameter.VAR_POSITIONAL
        own = [
            k
            for k in list(bound.arguments)[1:]
            if k not in _OF_LAYER and (kinds[k].kind in _NAMED or kinds[k].kind is several)
        ]
        given = {k: bound.arguments[k] for k in own if kinds[k].kind in _NAMED or bound.arguments[k]}
        vars(made)["_given"] = given
        return made

    def get_config(self) -> dict[str, Any]:
        """With what the constructor was given, of a class that does not define it itself, as tf.keras and
        Keras 3 have it. Raises ConfigurationError in these for an argument that JSON does not hold, and for
        arguments without names."""
        config = super().get_config()
        if type(self).get_config is not Custom.get_config:
            return config
        eager, names = edition(self.vintage).eager, parameters(type(self))
        if odd := [k for k, v in self._given.items() if not _is_simple(v) or k not in names] if eager else []:
            raise ConfigurationError(
                f"{self.label}: its configuration cannot hold the argument {odd[0]!r} of its constructor: "
                f"{self._given[odd[0]]!r}. Define get_config (and from_config, where the constructor "
                "does not take what it gives)"
            )
        known = set(parameters(Layer)) if eager else {*config, *parameters(Layer)}
        kept = {k: v for k, v in self._given.items() if k not in known and _is_simple(v)}
        return config | {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}

    # ---- what it holds

    @property
    def parts(self) -> list[Layer]:
        """The layers in the attributes, in the order in which these were first set; none in Keras 2.2, and in
        Keras 2.3 those that are attributes themselves."""
        known = self.semantics.layers_in_layers
        values = [value for name, value in vars(self).items() if name != "_given" and not kept_for_us(name)]
        found = (
            list(layers_in(values, self.semantics))
            if known.startswith("nested")
            else [value for value in values if known == "attributes" and isinstance(value, Layer)]
        )
        return list({id(layer): layer for layer in found if layer is not self}.values())

    def __setattr__(self, name: str, value: Any) -> None:
        """A variable in an attribute is a weight of the layer."""
        forget_place(self, name, value)
        super().__setattr__(name, value)
        if not isinstance(value, Variable) or "_non_trainable" not in vars(self):
            return
        known = self.semantics.layers_in_layers != "none"
        if known and not any(value is v for v in (*self._trainable, *self._non_trainable)):
            (self._trainable if value.trainable else self._non_trainable).append(value)

    @property
    def trainable_weights(self) -> list[Variable]:
        found: list[Variable] = Holder.trainable_weights.fget(self)  # type: ignore[attr-defined]
        return found

    @trainable_weights.setter
    def trainable_weights(self, variables: Sequence[Variable]) -> None:
        """The layer's own, as custom layers of Keras 1 and 2 set them in `build`."""
        held = {id(v) for part in self.parts for v in part.weights}
        self._trainable = [v for v in variables if id(v) not in held]

    # ---- how it is called

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`call` with these arguments, which may be tensors of a model, symbolic tensors, variables and
        arrays, and hold some in lists, tuples and dicts."""
        if FORM in kwargs:  # as a model is made again
            return self._nested(self._called_on(as_list(args[0]), kwargs))
        if _plain(args, kwargs):
            return self._nested(super().__call__(*args, **kwargs))
        options = {name: kwargs.pop(name) for name in OPTIONS if name in kwargs}
        given = inspect.signature(self.call).bind_partial(*args, **kwargs).arguments
        options |= {name: given.pop(name) for name in OPTIONS if name in given}
        options = {name: value for name, value in options.items() if value is not None}
        flat = list({id(x): x for x in leaves(dict(given)) if _is_tensor(x)}.values())
        numbers = {id(x): operand(k) for k, x in enumerate(flat)}
        form = {name: map_leaves(lambda x: numbers.get(id(x), x), value) for name, value in given.items()}
        before, self._form = self._form, form
        try:
            return self._nested(self._called_on(flat, {FORM: form, **options}))
        finally:
            self._form = before

    def _called_on(self, flat: list[Any], arguments: dict[str, Any]) -> Any:
        graph = next((x.graph for x in flat if isinstance(x, Tensor)), current())
        if flat and graph is not None:
            made = [_traced(graph, x) for x in flat]
            self.ensure_built([x.type for x in made], False)
            return one_or_list(self.trace(made, False, arguments))
        if flat and all(isinstance(x, np.ndarray) for x in flat):
            return self._now(flat, False, arguments)
        if not any(isinstance(x, KerasTensor) for x in flat):
            wanted = "tensors of a model, or arrays, among the arguments"
            raise OperandError(describe(f"{self.label}: call", wanted, ", ".join(map(repr, flat)) or "none"))
        return one_or_list(self._add_node([_of_model(x) for x in flat], False, arguments).outputs)

    def _check_arguments(self, arguments: dict[str, Any]) -> None:
        super()._check_arguments({name: value for name, value in arguments.items() if name != FORM})

    def trace(
        self, inputs: Sequence[Tensor], single: bool, arguments: dict[str, Any], regularized: bool = True
    ) -> list[Tensor]:
        before, self._form = self._form, arguments.get(FORM)
        try:
            return super().trace(inputs, single, arguments, regularized)
        finally:
            self._form = before

    def _called(self, inputs: Sequence[Tensor], single: bool, given: dict[str, Any]) -> list[Any]:
        form = given.pop(FORM, None)
        if form is None:
            found = self.call(inputs[0] if single else list(inputs), **given)
        else:
            bound = self._bound(form, inputs)
            if isinstance(given.get("mask"), list):
                count = len(_first(bound))
                given["mask"] = given["mask"][0] if count == 1 else given["mask"][:count]
            found = self.call(*bound.args, **{**bound.kwargs, **given})
        self._results = None
        if not isinstance(found, Mapping) and not any(map(_holds, as_list(found))):
            return as_list(found)
        flat = list(leaves(found))
        numbers = iter(range(len(flat)))
        self._results = map_leaves(lambda y: next(numbers), found)
        return flat

    def _nested(self, found: Any) -> Any:
        """Results as `call` nests them."""
        flat = as_list(found)
        return found if self._results is None else map_leaves(lambda k: flat[k], self._results)

    def _bound(self, form: Mapping[str, Any], inputs: Sequence[Any]) -> inspect.BoundArguments:
        """The arguments of `call`, with these in the places of tensors."""
        signature = inspect.signature(self.call)
        bound = signature.bind_partial()
        for name, value in form.items():
            made = filled(value, inputs)
            several = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
            bound.arguments[name] = tuple(made) if several else made
        return bound

    def written_call(
        self, form: Mapping[str, Any], inputs: Sequence[Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a call of this form: the first by position, and the others by name where all have
        one."""
        bound = self._bound(form, inputs)
        kinds = {name: p.kind for name, p in bound.signature.parameters.items() if name in bound.arguments}
        if not set(kinds.values()) <= {*_NAMED, inspect.Parameter.VAR_KEYWORD} or not bound.args:
            return list(bound.args), dict(bound.kwargs)
        named = {name: x for name, x in bound.arguments.items() if kinds[name] in _NAMED}
        first = next(iter(named))
        return [named.pop(first)], {**bound.kwargs, **named}

    def _build_on(
        self, shapes: list[KerasShape], types: Sequence[TensorType], single: bool, batch_size: int | None
    ) -> None:
        """`build` for the shapes of the first argument; where it asks for several, of as many arguments."""
        if self._form is None:
            return super()._build_on(shapes, types, single, batch_size)
        if not self.built:
            given = list(self._bound(self._form, shapes).arguments.values())
            wanted = len(inspect.signature(self.build).parameters)
            with self.named_errors():
                self._build_from(given[: max(1, wanted)])
        return None

    def output_masks(
        self,
        inputs: Sequence[Tensor],
        single: bool,
        masks: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """Those for the tensors of the first argument."""
        if self._form is not None:
            known = {id(x): mask for x, mask in zip(inputs, masks)}
            inputs = [x for x in _first(self._bound(self._form, inputs)) if id(x) in known]
            single, masks = len(inputs) == 1, [known[id(x)] for x in inputs]
        return super().output_masks(inputs, single, masks, outputs)


def _plain(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether there is one argument, a tensor or a list of them, besides options without tensors."""
    if len(args) != 1 or any(map(_is_tensor, leaves(dict(kwargs)))):
        return False
    flat = as_list(args[0])
    return bool(flat) and not isinstance(args[0], Mapping) and all(map(_is_tensor, flat))


def _is_tensor(x: Any) -> bool:
    return isinstance(x, (KerasTensor, Tensor, Variable, np.ndarray))


def _is_simple(x: Any) -> bool:
    """Whether JSON holds it."""
    if isinstance(x, Mapping):
        return all(isinstance(key, str) and _is_simple(value) for key, value in x.items())
    return all(map(_is_simple, x)) if isinstance(x, (list, tuple)) else isinstance(x, _SIMPLE)


def _holds(x: Any) -> bool:
    return isinstance(x, (list, tuple, Mapping))


def _first(bound: inspect.BoundArguments) -> list[Any]:
    """The tensors of the first argument."""
    return list(leaves(next(iter(bound.arguments.values()), [])))


def filled(value: Any, inputs: Sequence[Any]) -> Any:
    """An argument, with inputs in the places of their numbers."""
    if isinstance(value, Mapping):
        if value.get("class_name") == OPERAND:
            return inputs[_number(value, len(inputs))]
        return {key: filled(part, inputs) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(filled(part, inputs) for part in value)
    return value


def _number(value: Mapping[str, Any], count: int) -> int:
    """Which input stands there. Raises ModelError for none, as files may say."""
    config = value.get("config")
    number = config.get("index") if isinstance(config, Mapping) else None
    if type(number) is not int or not 0 <= number < count:
        raise ModelError(describe("call", f"the number of one of {count} inputs", repr(config)[:40]))
    return number


def _traced(graph: Graph, x: Any) -> Tensor:
    """x in a graph."""
    if isinstance(x, np.ndarray):
        return constant(graph, x, x.dtype.name)
    made: Tensor = x if isinstance(x, Tensor) else x.__tensor__(graph)
    return made


def _of_model(x: Any) -> KerasTensor:
    """x as a tensor of a model: of an array, a constant."""
    if isinstance(x, KerasTensor):
        return x
    made: KerasTensor = backend.identity(x) if isinstance(x, Variable) else backend.constant(x, x.dtype.name)
    return made


def adopt(cls: Any) -> None:
    """Make a class `Custom` too, if it holds no layers of its own."""
    if not issubclass(cls, Holder):
        cls.__bases__ = (Custom, *cls.__bases__)


Layer.adopt_layer = staticmethod(adopt)

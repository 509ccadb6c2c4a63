"""Calls of layers and models of a script's own, whose `call` takes any arguments that are or hold tensors.

Enters: the arguments of a call. Leaves: its results, nested as `call` nests them. A call of a plain form, one
tensor or a list of them, is that of `Layer`. Of any other, the tensors among the arguments are the inputs of
a node, in their order, and the node keeps the arguments with numbers in their places.
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
from kcompile.keras.engine import KerasShape, KerasTensor, Layer, Variable, as_list, one_or_list
from kcompile.keras.layers.operation import OPERAND, operand
from kcompile.keras.operands import here, leaves, map_leaves, numbered_leaves
from kcompile.keras.tracing import current
from kcompile_runtime.errors import ModelError, OperandError, describe

FORM = "call_arguments"  # of a node: those of its call, with numbers in the places of tensors
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
OPTIONS = ("training", "mask")  # which every layer is given


class Formed(Layer):
    """The part of a user's layer or model that is about how it is called."""

    _has_plain_calls = True  # whether calls on one tensor or a list of them are those of `Layer`
    _form: Mapping[str, Any] | None = None  # of the call that is being made
    _results: Any = None  # the last results of `call` where they are nested: numbers in the places of tensors

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`call` with these arguments, which may be tensors of a model, symbolic tensors, variables and
        arrays, and hold some in lists, tuples and dicts."""
        args, kwargs = map_leaves(here, args), map_leaves(here, kwargs)
        if FORM in kwargs:  # as a model is made again
            return self._nested(self._called_on(as_list(args[0]), kwargs))
        if self._has_plain_calls and _plain(args, kwargs):
            return self._nested(super().__call__(*args, **kwargs))
        options = {name: kwargs.pop(name) for name in OPTIONS if name in kwargs}
        signature = inspect.signature(self.call)
        given = signature.bind_partial(*args, **kwargs).arguments
        options |= {name: given.pop(name) for name in OPTIONS if name in given}
        if options.get("mask", 0) is None and signature.parameters["mask"].default is inspect.Parameter.empty:
            given["mask"] = None  # which `call` asks for
        options = {name: value for name, value in options.items() if value is not None}
        flat = list({id(x): x for x in leaves(dict(given)) if is_tensor(x)}.values())
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
            wanted = inspect.signature(self.call).parameters.get("mask")
            if wanted is not None and wanted.default is inspect.Parameter.empty:
                given.setdefault("mask", None)
            found = self.call(inputs[0] if single else list(inputs), **given)
        else:
            bound = self._bound(form, inputs)
            if isinstance(given.get("mask"), list):
                count = len(_first(bound))
                given["mask"] = given["mask"][0] if count == 1 else given["mask"][:count]
            if "mask" in given:
                bound.arguments.pop("mask", None)
            found = self.call(*bound.args, **{**bound.kwargs, **given})
        self._results = None
        nested = isinstance(found, Mapping) or type(found) is tuple
        if not nested and not any(map(_holds, as_list(found))):
            return as_list(found)
        flat, self._results = numbered_leaves(found)
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
    if len(args) != 1 or any(map(is_tensor, leaves(dict(kwargs)))):
        return False
    flat = as_list(args[0])
    return bool(flat) and not isinstance(args[0], Mapping) and all(map(is_tensor, flat))


def is_tensor(x: Any) -> bool:
    return isinstance(x, (KerasTensor, Tensor, Variable, np.ndarray))


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

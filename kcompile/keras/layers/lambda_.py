"""Lambda: a layer made of one function over K and Python's operators."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.keras.engine import Layer, as_list, keras_shape, one_or_list
from kcompile.keras.utils.serialization import FunctionName, deserialize, serialize
from kcompile_runtime.errors import InputTypeError, ModelError, UnsupportedError, describe

__all__ = ["Lambda"]


class Lambda(Layer):
    """function(inputs, **arguments), traced into the model: written over K, operators and indexing.

    output_shape: of a sample, or a function from the input's shape (with the batch) to the output's;
    shapes follow from the function, so it is checked. mask: a function of (inputs, mask), or a mask.
    The function is given `mask` and `training` where it takes arguments of these names. In the text of a
    configuration functions are known by their names, and found again through custom_objects; a configuration
    that never left the process knows them.
    """

    def __init__(
        self,
        function: Any,
        output_shape: Any = None,
        mask: Any = None,
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        with self.named_errors():
            self.function = self._function(function)
            self.output_shape_given = _known(output_shape)
            self.mask = _known(mask)
        if not isinstance(arguments, (Mapping, type(None))):
            raise InputTypeError(
                describe(
                    f"{self.label}: arguments", "a dict of further arguments of the function", repr(arguments)
                )
            )
        self.arguments = dict(arguments or {})
        self.supports_masking = mask is not None
        self.built = True

    def _function(self, function: Any) -> Callable[..., Any]:
        found = _known(function)
        if not callable(found):
            raise UnsupportedError(
                describe(
                    "function",
                    "a function, or the name of one among custom_objects",
                    repr(function),
                    "Functions that a file holds as bytecode are never run",
                )
            )
        return found

    def call(self, inputs: Any, mask: Any = None, training: Any = None) -> Any:
        given = dict(self.arguments)
        try:
            taken = set(inspect.signature(self.function).parameters)
        except ValueError:  # a builtin: it takes the inputs alone
            taken = set()
        for name, value in (("mask", mask), ("training", training)):
            if name in taken and name not in given:
                given[name] = value
        graph = as_list(inputs)[0].graph
        outputs = [
            as_tensor(graph, y) if hasattr(y, "__tensor__") else y
            for y in as_list(self.function(inputs, **given))
        ]
        self._check_shape(as_list(inputs), outputs, isinstance(inputs, Tensor))
        return one_or_list(outputs)

    def _check_shape(self, inputs: list[Tensor], outputs: list[Any], single: bool) -> None:
        given = self.output_shape_given
        if given is None or len(outputs) != 1 or not isinstance(outputs[0], Tensor):
            return
        shape = keras_shape(outputs[0].type)
        if callable(given):
            shapes = [keras_shape(x.type) for x in inputs]
            wanted = tuple(given(shapes[0] if single else shapes))
        else:
            wanted = (shape[0] if shape else None, *as_list(given))
        if len(wanted) != len(shape) or any(
            w is not None and d is not None and w != d for w, d in zip(wanted, shape)
        ):
            raise ModelError(
                describe("output_shape", f"{shape}, which is what the function gives", str(wanted))
            )

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask that the argument `mask` gives; none without it, as in Keras 2."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def get_config(self) -> dict[str, Any]:
        functions = {"function": self.function, "output_shape": self.output_shape_given, "mask": self.mask}
        return {**super().get_config(), **{name: _named(value) for name, value in functions.items()}}


def _known(value: Any) -> Any:
    """The function of a name in a configuration; anything else as it is. Raises UnsupportedError."""
    if isinstance(value, FunctionName):
        return value.function
    return deserialize(value, {}, "function of a Lambda layer") if isinstance(value, str) else value


def _named(value: Any) -> Any:
    return FunctionName(value) if callable(value) else serialize(value)

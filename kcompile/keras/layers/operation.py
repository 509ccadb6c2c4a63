"""Operation: a call of a function of keras.ops on tensors of a model, kept as a layer as in Keras 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.keras.expressions import TensorFunction, depends
from kcompile.keras.layer_calls import numbered, with_mask
from kcompile.keras.lazy import lazily
from kcompile.keras.operands import leaves, map_leaves
from kcompile.keras.settings import dtype_name, running, snake_case
from kcompile.keras.tensors import KerasTensor
from kcompile.keras.tracing import tracing
from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import InputTypeError, ModelError, UnsupportedError, describe

__all__ = ["Operation"]

_late, _ = lazily("kcompile.keras", "keras3_ops", CLASSES="keras3_ops.classes")
OPERAND = "__operand__"  # in place of the tensor of this number among the inputs


class Operation(TensorFunction):
    """function(**arguments) of keras.ops. In the arguments, as Keras 3 writes them in its files, stand the
    numbers of the inputs. It passes no mask on."""

    consumes = True
    listed = False

    def __init__(self, function: str, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        self.function = function
        super(TensorFunction, self).__init__(**kwargs)
        if not isinstance(function, str) or function not in _late("keras3_ops").OPERATIONS:
            raise UnsupportedError(
                describe(self.label, "a function of keras.ops that is supported", repr(function)[:80])
            )
        if not isinstance(arguments, Mapping):
            raise InputTypeError(describe(f"{self.label}: arguments", "a dict by name", repr(arguments)[:80]))
        self.arguments = dict(arguments)
        self.signature = self.called.signature
        if unknown := sorted(set(map(str, arguments)) - set(self.signature.parameters)):
            raise ModelError(
                describe(
                    f"{self.label}: arguments", ", ".join(self.signature.parameters), ", ".join(unknown)[:80]
                )
            )
        self.built, self.structure, self.evaluations = True, None, 0

    @property
    def called(self) -> Any:
        """The function."""
        found = _late("keras3_ops").OPERATIONS[self.function]
        return found

    @property
    def kind(self) -> str:
        """The class that it is of in Keras 3."""
        return _class_name(self.function)

    @property
    def label(self) -> str:
        return f"Layer {self.name!r} ({self.kind})"

    def _new_name(self) -> str:
        return numbered(snake_case(self.kind), self.vintage)

    def compute(self, graph: Graph, tensors: Sequence[Tensor]) -> list[Tensor]:
        arguments = {name: decoded(value, tensors) for name, value in self.arguments.items()}
        bound = self.signature.bind_partial()
        bound.arguments.update(
            {name: arguments[name] for name in self.signature.parameters if name in arguments}
        )
        with self.named_errors(), running(self.vintage), tracing(graph):
            self.structure = self.called(*bound.args, **bound.kwargs)
        return [y for y in leaves([self.structure]) if isinstance(y, Tensor)]

    def trace(
        self, inputs: Sequence[Tensor], single: bool, arguments: dict[str, Any], regularized: bool = True
    ) -> list[Tensor]:
        return [with_mask(y, None, inputs) for y in super().trace(inputs, single, arguments)]

    def get_config(self) -> dict[str, Any]:
        if any(hasattr(x, "__tensor__") for x in leaves(self.arguments)):
            raise UnsupportedError(
                f"{self.label} was called with a variable, which no configuration holds. Make a layer of it"
            )
        return super(TensorFunction, self).get_config()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in super().__getstate__().items() if key != "signature"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.signature = self.called.signature


def _class_name(function: Any) -> str:
    """The class that the function's calls are of in Keras 3."""
    row = _late("CLASSES").get(function) if isinstance(function, str) else None
    return "Operation" if row is None else str(row[0].partition(".")[2])


def recorded(function: str, arguments: Mapping[str, Any]) -> Any:
    """The results of a call on tensors of a model, nested as the function nests them."""
    operands: list[KerasTensor] = list(
        dict.fromkeys(x for x in leaves(arguments) if isinstance(x, KerasTensor) and depends(x))
    )
    layer = Operation(
        function, {name: encoded(value, operands) for name, value in arguments.items()}, vintage="keras3"
    )
    node = layer._add_node(operands, len(operands) == 1, {})
    results = iter(node.outputs)
    found = map_leaves(lambda y: next(results) if isinstance(y, Tensor) else y, layer.structure)
    layer.structure = None
    return found


# ---------------------------------------------------------------- arguments in Keras 3's words


def encoded(value: Any, operands: Sequence[KerasTensor]) -> Any:
    """An argument, made of what JSON can hold, where it holds no variable."""
    if isinstance(value, KerasTensor) and value in operands:
        return operand(operands.index(value))
    if isinstance(value, (list, tuple)):
        return [encoded(v, operands) for v in value]
    if isinstance(value, slice):
        return _object("__slice__", start=value.start, stop=value.stop, step=value.step)
    if value is Ellipsis:
        return _object("__ellipsis__")
    if isinstance(value, np.ndarray):
        return _object("__numpy__", value=value.tolist(), dtype=value.dtype.name)
    if value is None or isinstance(value, (bool, int, float, str)) or hasattr(value, "__tensor__"):
        return value
    if isinstance(value, dict) and all(isinstance(key, str) and key != "class_name" for key in value):
        return {key: encoded(v, operands) for key, v in value.items()}
    raise InputTypeError(
        describe("an operation on tensors of a model", "tensors, arrays, numbers and text", repr(value)[:80])
    )


def operand(number: int) -> dict[str, Any]:
    """What stands in arguments for the input of this number."""
    return _object(OPERAND, index=number)


def _object(kind: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": config}


def decoded(value: Any, tensors: Sequence[Any]) -> Any:
    """The argument, with these tensors as the inputs. Raises ModelError for what `encoded` does not give."""
    if isinstance(value, list):
        return [decoded(v, tensors) for v in value]
    if not isinstance(value, Mapping):
        return value
    if "class_name" not in value:
        return {str(key): decoded(v, tensors) for key, v in value.items()}
    kind, config = value.get("class_name"), value.get("config")
    config = config if isinstance(config, Mapping) else {}
    number = config.get("index")
    if kind == OPERAND and isinstance(number, int) and 0 <= number < len(tensors):
        return tensors[number]
    if kind == "__slice__":
        return slice(*(decoded(config.get(key), tensors) for key in ("start", "stop", "step")))
    if kind == "__ellipsis__":
        return Ellipsis
    if kind in ("__numpy__", "__tensor__"):
        return as_array(np.asarray(config.get("value"), dtype_name(config.get("dtype"))), "an argument")
    raise ModelError(describe("an argument of an operation", "a value that Keras 3 writes", repr(value)[:80]))

"""How a function of keras.ops meets its operands, and the dtype that operands have in common.

Enters: tensors of a graph, tensors of a functional model, variables, arrays, numbers. Leaves: where a graph
is being traced, a tensor of it; of tensors of a model, one that an `Operation` makes, as in Keras 3; of
values alone, the value, computed at once.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import BYTES, FLOATS
from kcompile.keras.eager import as_eager
from kcompile.keras.evaluation import performed
from kcompile.keras.explain import explained
from kcompile.keras.expressions import depends
from kcompile.keras.layers.operation import recorded
from kcompile.keras.operands import check_operands, here, leaves, map_leaves, plain, tensor, traced, value_of
from kcompile.keras.policies import common_dtype
from kcompile.keras.settings import floatx, keeps_widths, running
from kcompile.keras.tensors import KerasTensor
from kcompile.keras.tracing import current, tracing

VINTAGE = "keras3"  # the Keras that has these functions


def operation(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function over tensors of a graph, as keras.ops has it: of anything that is an operand."""
    signature, name = inspect.signature(function), function.__name__

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.arguments = {key: map_leaves(plain, value) for key, value in bound.arguments.items()}
        given = list(leaves(list(bound.arguments.values())))
        check_operands(given)
        graph = next((x.graph for x in given if isinstance(x, Tensor)), current())
        with explained(f"ops.{name}"):
            if graph is not None:
                with tracing(graph), running(VINTAGE):
                    return function(*bound.args, **bound.kwargs)
            if any(isinstance(x, KerasTensor) and depends(x) for x in given):
                return recorded(name, bound.arguments)
            return now(function, *bound.args, **bound.kwargs)

    call.signature = signature  # type: ignore[attr-defined]
    return call


def anywhere(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that no file names, as it is given functions or draws numbers: traced in a graph, computed
    at once on values, and on tensors of a model a call that no configuration holds."""
    remembered = traced(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = map_leaves(here, args), map_leaves(here, kwargs)
        given = list(leaves([args, kwargs]))
        inside = current() is not None or any(isinstance(x, (Tensor, KerasTensor)) for x in given)
        return remembered(*args, **kwargs) if inside else now(function, *args, **kwargs)

    return call


def with_values(compute: Callable[..., Any], eagerly: bool = False) -> Callable[[Any], Any]:
    """Makes a function that is given functions run these one after the other where all else is values: by
    `compute`, of the same arguments, that may ask for what values are. eagerly: also where a tape notes,
    whose tensors have values."""

    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = map_leaves(here, args), map_leaves(here, kwargs)
            given = list(leaves([args, kwargs]))
            graph = current()
            eager = eagerly and graph is not None and graph.eager > 0
            symbolic = any(
                isinstance(x, Tensor) or (isinstance(x, KerasTensor) and depends(x)) for x in given
            )
            if not eager and (graph is not None or symbolic):
                return function(*args, **kwargs)
            with explained(f"ops.{function.__name__}"):
                return compute(*args, **kwargs)

        return call

    return decorate


def now(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a function that builds tensors gives for values, as arrays."""
    with running(VINTAGE):
        made, values = performed(lambda: function(*args, **kwargs))
    found = iter(values)
    return map_leaves(lambda y: as_eager(next(found), VINTAGE) if isinstance(y, Tensor) else y, made)


def on_values(compute: Callable[..., Any]) -> Callable[[Any], Any]:
    """Makes an operation one that `compute` is asked of first where all operands are values: a function of
    numpy's arrays with the same arguments, that gives arrays, or NotImplemented to leave it to the graph."""

    def decorate(function: Any) -> Any:
        signature = function.signature

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = map_leaves(here, args), map_leaves(here, kwargs)
            bound = signature.bind(*args, **kwargs)
            given = list(leaves(list(bound.arguments.values())))
            if current() is None and not any(
                isinstance(x, Tensor) or (isinstance(x, KerasTensor) and depends(x)) for x in given
            ):
                bound.apply_defaults()
                with explained(f"ops.{function.__name__}"):
                    made = compute(**{key: as_value(value) for key, value in bound.arguments.items()})
                if made is not NotImplemented:
                    return map_leaves(lambda y: as_eager(narrow(np.asarray(y)), VINTAGE), made)
            return function(*args, **kwargs)

        call.signature = signature  # type: ignore[attr-defined]
        return call

    return decorate


def as_value(x: Any) -> Any:
    """An operand that is a value, as an array or a number of Python's."""
    if hasattr(x, "__tensor__") or isinstance(x, KerasTensor):
        return np.asarray(value_of(x))
    if isinstance(x, np.ndarray):
        return narrow(np.asarray(x))
    return x


def narrow(x: np.ndarray) -> np.ndarray:
    """Numbers in the types that Keras 3 has where nothing is said."""
    known = {"int64": "int32", "float64": "float32", "complex128": "complex64"}
    return x if keeps_widths() else x.astype(known.get(x.dtype.name, x.dtype))


# ---------------------------------------------------------------- dtypes


def alike(*operands: Any) -> list[Tensor]:
    """Operands in the dtype that they have in common, where Python's numbers ask for no width."""
    numbers = [isinstance(x, (bool, int, float)) for x in operands]
    made = [x if number else tensor(x) for x, number in zip(operands, numbers)]
    dtypes = [x.dtype for x, number in zip(made, numbers) if not number]
    kinds = {type(x) for x, number in zip(made, numbers) if number}
    dtype = common_dtype(dtypes) if dtypes else "bool"
    if float in kinds and dtype not in FLOATS:
        dtype = floatx()
    if int in kinds and dtype == "bool":
        dtype = "int32"
    return [tensor(x, dtype) if number else to(x, dtype) for x, number in zip(made, numbers)]


def to(x: Tensor, dtype: str) -> Tensor:
    """x in a dtype; as bool, whether it is not 0."""
    if x.dtype == dtype:
        return x
    return ops.not_equal(x, 0) if dtype == "bool" else ops.cast(x, dtype)


def real(x: Any) -> Tensor:
    """An operand of a float type: others as the default one."""
    x = tensor(x)
    return x if x.dtype in FLOATS else ops.cast(x, floatx())


def reals(*operands: Any) -> list[Tensor]:
    """Operands of one float type."""
    made = alike(*operands)
    return made if made[0].dtype in FLOATS else [ops.cast(x, floatx()) for x in made]


def number(x: Any) -> Tensor:
    """An operand, of bools as int32."""
    x = tensor(x)
    return ops.cast(x, "int32") if x.dtype == "bool" else x


def summed(x: Any) -> Tensor:
    """An operand to be added up: bools and narrow integers as 32 bits, with a sign if they have one."""
    x = number(x)
    if x.dtype in FLOATS or BYTES[x.dtype] >= BYTES["int32"]:
        return x
    return ops.cast(x, common_dtype([x.dtype, "uint32" if x.dtype[0] == "u" else "int32"]))


def flag(x: Any) -> Tensor:
    """An operand as bool: whether it is not 0."""
    return to(tensor(x), "bool")


def places(x: Any) -> Tensor:
    """An operand that numbers elements, as int32."""
    return ops.cast(tensor(x), "int32")


def alike_everywhere(x: Tensor, value: float) -> Tensor:
    """A value in the shape and the dtype of x."""
    return ops.broadcast_to(ops.constant(x.graph, value, x.dtype), x.shape)


def unary(name: str, function: Callable[[Tensor], Tensor], doc: str, convert: Any = real) -> Any:
    """A function of keras.ops of one operand."""

    def apply(x: Any) -> Any:
        return function(convert(x))

    return _named(name, apply, doc)


def binary(
    name: str, function: Callable[[Tensor, Tensor], Tensor], doc: str, convert: Any = alike
) -> Callable[..., Any]:
    """`unary` for two operands."""

    def apply(x1: Any, x2: Any) -> Any:
        return function(*convert(x1, x2))

    return _named(name, apply, doc)


def _named(name: str, apply: Callable[..., Any], doc: str) -> Any:
    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return operation(apply)


def shape_of(x: Any) -> tuple[Any, ...]:
    """The sizes of an operand."""
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)

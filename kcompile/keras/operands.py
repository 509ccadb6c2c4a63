"""How a function of K, or a loss, a metric, an activation, ..., finds its graph and its operands.

Enters: tensors of a graph, variables, tensors of a model (`KerasTensor`), numbers, arrays. Inside the
tracing of a layer, loss, metric, ... the result is a tensor of that graph. Outside, where Keras 2
would extend its one graph, it is a `KerasTensor` that remembers the function and its operands: what
`K.eval` computes and `K.function` compiles.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.ir.types import FLOATS, Batch, Dim
from kcompile.keras.eager import EagerArray
from kcompile.keras.settings import dtype_name, keeps_widths
from kcompile.keras.tracing import current, tracing
from kcompile_runtime.arrays import as_array, is_array
from kcompile_runtime.errors import InputTypeError, ModelError, describe

F = TypeVar("F", bound=Callable[..., Any])


class Outside(Protocol):
    """The calls of functions of K where no graph is being traced. A remembered call is a layer, and layers
    are written over functions of K: so the module that remembers calls (`expressions`) is above this one,
    and registers itself here."""

    def record(
        self, function: Callable[..., Any], args: Any, kwargs: Any, like: Sequence[Any] | None = None
    ) -> Any: ...

    def evaluate(self, x: Any) -> np.ndarray: ...

    def is_constant(self, x: Any) -> bool: ...


_outside: Outside


def remember_with(outside: Outside) -> None:
    """Calls outside a graph go to this module from now on."""
    global _outside
    _outside = outside


def record(function: Callable[..., Any], args: Any, kwargs: Any, like: Sequence[Any] | None = None) -> Any:
    """The results of a call that is to be made later, nested as the function nests them.

    like: tensors that a list of results have the types of, where they cannot be told from the
    operands' types alone.
    """
    return _outside.record(function, args, kwargs, like)


def evaluate(x: Any) -> np.ndarray:
    """The value of an expression that depends on no input. Raises ModelError."""
    return _outside.evaluate(x)


def value_of(x: Any) -> np.ndarray:
    """The value of x now, which must depend on no input: a variable, an expression over variables, constants
    and random numbers, or numbers. Raises ModelError, InputTypeError."""
    if isinstance(x, Tensor):
        raise ModelError(
            "eval: a symbolic tensor of a model has no value while it is being traced. "
            "Make it an output, or use K.function"
        )
    found: np.ndarray = x.numpy() if hasattr(x, "__tensor__") else as_array(x, "K.eval")
    return scalar(found)


def scalar(x: np.ndarray) -> Any:
    """An array of rank 0 as numpy's number, as TensorFlow gives it; any other as it is."""
    return x if x.ndim else x[()]


def leaves(tree: Any) -> Iterator[Any]:
    """The values in nested lists, tuples and dicts."""
    if isinstance(tree, (list, tuple)):
        for part in tree:
            yield from leaves(part)
    elif isinstance(tree, dict):
        yield from leaves(list(tree.values()))
    else:
        yield tree


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same nesting of lists, tuples and dicts, each leaf replaced."""
    if isinstance(tree, list) or type(tree) is tuple:
        return type(tree)(map_leaves(function, part) for part in tree)
    if isinstance(tree, dict):
        return {key: map_leaves(function, part) for key, part in tree.items()}
    return function(tree)


def numbered_leaves(tree: Any) -> tuple[list[Any], Any]:
    """The values in nested lists, tuples and dicts, and the same nesting with numbers in their places."""
    flat = list(leaves(tree))
    numbers = iter(range(len(flat)))
    return flat, map_leaves(lambda _: next(numbers), tree)


def here(x: Any) -> Any:
    """A tensor that has a value, and is none of the graph that is being traced, as an array; anything else as
    it is."""
    elsewhere = isinstance(x, Tensor) and x.graph.eager and x.graph is not (graph := current())
    elsewhere = elsewhere and not (graph is not None and graph.region)
    return np.asarray(x).view(EagerArray) if elsewhere else x


def plain(x: Any) -> Any:
    """numpy's numbers as Python's, which sizes, factors and operands alike may be; its dtypes by name;
    tensors as `here` has them."""
    return x.item() if isinstance(x, np.generic) else dtype_name(here(x))


def check_operands(*given: Any) -> None:
    """Raises InputTypeError for what numpy would ask for items, which may have no end."""
    for x in leaves(given):
        if hasattr(type(x), "__getitem__") and not (
            isinstance(x, (str, bytes, range, type)) or hasattr(x, "__tensor__") or is_array(x)
        ):
            raise InputTypeError(
                describe(
                    "an operand",
                    "a tensor, a list, or what converts itself to one",
                    f"{type(x).__module__}.{type(x).__qualname__}",
                )
            )


def known(x: Any) -> Any:
    """The numbers of a tensor of constants, which says no more than they do; anything else as it is."""
    return evaluate(x).tolist() if _outside.is_constant(x) else x


def sizes(x: Any) -> Any:
    """numpy's arrays as lists of Python's numbers, and tensors that are made of sizes and numbers alone as
    what they hold; anything else as it is."""
    if isinstance(x, np.ndarray):
        return x.tolist()
    if isinstance(x, Tensor):
        found = dims_in(x)
        return x if found is None else found if x.rank else found[0]
    if isinstance(x, (list, tuple)):
        return type(x)(map(sizes, x)) if type(x) in (list, tuple) else x
    return x


# Ops whose elements are those of their operand, in the same order where there are as many
_SAME_ELEMENTS = ("reshape", "cast", "broadcast_to", "transpose", "stop_gradient")


def dims_in(x: Tensor) -> list[Dim] | None:
    """The elements of a scalar or vector that says sizes: numbers, and the number of samples, put together.
    None for one that is made of data."""
    node = x.graph.nodes[x.value.node]
    inputs = [Tensor(x.graph, value) for value in node.inputs]
    if x.rank > 1:
        return None
    if node.op.origin == "constant":
        return [int(d) for d in np.ravel(node.attrs["value"].array)]
    if node.op.origin == "size":
        return [node.attrs["dim"]]
    if node.op.name in _SAME_ELEMENTS:
        return dims_in(inputs[0]) if inputs[0].type.numel == x.type.numel else None
    if node.op.name == "concatenate":
        parts = [dims_in(part) for part in inputs]
        return None if None in parts else [d for part in parts for d in part or ()]
    return None


def traced(function: F) -> F:
    """A function over operands, that builds its result in their graph, in the current one, or (where
    there is none) remembers the call."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = map_leaves(plain, args), map_leaves(plain, kwargs)
        check_operands(args, kwargs)
        graph = next((x.graph for x in leaves([args, kwargs]) if isinstance(x, Tensor)), current())
        if graph is None:
            return record(function, args, kwargs)
        with tracing(graph):
            return function(*args, **kwargs)

    return cast(F, call)


def over(*names: str) -> Callable[[F], F]:
    """Makes a function of tensors one of anything that is an operand: its parameters of these names."""

    def lifted(function: F) -> F:
        places = [k for k, name in enumerate(inspect.signature(function).parameters) if name in names]

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            given = [tensor(x) if k in places and x is not None else x for k, x in enumerate(args)]
            named = {key: tensor(x) if key in names and x is not None else x for key, x in kwargs.items()}
            return function(*given, **named)

        return traced(cast(F, call))

    return lifted


def lift(module: dict[str, Any], *names: str) -> None:
    """Do that to every public function that a module has defined so far and whose first parameters have
    these names. module: its `globals()`."""
    for key, function in list(module.items()):
        if (
            inspect.isfunction(function)
            and function.__module__ == module["__name__"]
            and not key.startswith("_")
            and tuple(inspect.signature(function).parameters)[: len(names)] == names
        ):
            module[key] = over(*names)(function)


def graph() -> Graph:
    """The graph that the function being called builds in."""
    found = current()
    assert found is not None
    return found


def tensor(x: Any, dtype: str | None = None) -> Tensor:
    """An operand in the graph. Python's integers and numpy's int64 become int32. A list may hold batch sizes
    and scalar tensors."""
    if isinstance(x, (list, tuple)) and any(isinstance(d, (Batch, Tensor)) for d in x):
        parts = [
            ops.reshape(d if isinstance(d, Tensor) else as_tensor(graph(), d, dtype or "int32"), (1,))
            for d in x
        ]
        return ops.concatenate(parts, 0)
    if isinstance(x, (list, tuple, int, np.ndarray, np.generic)) and dtype is None:
        array = as_array(x, "an operand")
        if not keeps_widths() or type(x) is int or isinstance(x, (list, tuple)):
            dtype = "int32" if array.dtype == np.int64 else None
        elif array.dtype in (np.int64, np.float64):
            dtype = array.dtype.name
    return as_tensor(graph(), x, dtype)


def floating(x: Tensor, dtype: str) -> Tensor:
    """x where it is of a float type, else its values in this one."""
    return x if x.dtype in FLOATS else ops.cast(x, dtype)


def pair(x: Any, y: Any) -> tuple[Any, Any]:
    """Two operands, at least one of them a tensor: a number takes the dtype of the other."""
    x, y = (tensor(v) if hasattr(v, "__tensor__") else v for v in (x, y))
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        x = tensor(x)
    return x, y


def axes_of(x: Tensor, axis: Any) -> list[int]:
    """The axes that an `axis` argument means (None: all), counted from 0. Raises ValueError."""
    axis = sizes(axis)
    chosen = range(x.rank) if axis is None else axis if isinstance(axis, (list, tuple)) else [axis]
    if any(not -x.rank <= a < x.rank for a in chosen):
        raise ValueError(f"axis {axis} is not an axis of {x.type}")
    return [int(a) % x.rank for a in chosen]


def fixed_size(x: Tensor, axis: int) -> int:
    """The size of an axis that must not be the batch. Raises ValueError."""
    size = x.shape[axis]
    if isinstance(size, Batch):
        raise ValueError(f"expected a size that is no batch on axis {axis} of {x.type}")
    return size

"""What surrounds a call of a layer: where its methods run, masks of its results, errors that say more.

Enters: methods, tensors and errors of a call. Leaves: the same, as the callers of layers see them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from kcompile.ir.described import TensorShape
from kcompile.ir.tensor import Tensor
from kcompile.keras.editions import edition
from kcompile.keras.names_of_scripts import is_ours
from kcompile.keras.operands import leaves, map_leaves, record, tensor
from kcompile.keras.settings import get_uid
from kcompile.keras.tensors import PROBE_SIZES, KerasTensor, Variable
from kcompile.keras.tracing import current, trace_of
from kcompile.keras.written_masks import marked
from kcompile_runtime.errors import KcompileError


def anywhere(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method over tensors of a graph, that outside any graph is a function of K on tensors of a model, and
    on arrays gives values, where the layer's Keras computes at once."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = list(leaves([args, kwargs])) if current() is None else []
        if any(isinstance(x, (KerasTensor, Variable)) for x in given):
            return record(method, (self, *args), kwargs)
        arrays = any(isinstance(x, np.ndarray) for x in given)
        if arrays and not any(isinstance(x, Tensor) for x in given) and edition(self.vintage).eager:
            return record(lambda *a, **k: method(self, *_tensors(list(a)), **_tensors(k)), args, kwargs)
        return method(self, *args, **kwargs)

    return call


def _tensors(arguments: Any) -> Any:
    """The same, with tensors of the graph that is being traced for arrays."""
    return map_leaves(lambda x: tensor(x) if isinstance(x, np.ndarray) else x, arguments)


def builds(build: Callable[..., Any]) -> Callable[..., Any]:
    """`build`, after which the layer is built, whoever called it; a class of the user's, since Keras 3."""

    @functools.wraps(build)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_ours(build) and edition(self.vintage).eager == "tensors":
            args = tuple(map(_as_shape, args))
        made = build(self, *args, **kwargs)
        if is_ours(build) or edition(self.vintage).operations:
            self.built = True
        return made

    return call


def _as_shape(given: Any) -> Any:
    """Shapes as TensorFlow has them, in lists and dicts; anything else as it is."""
    if isinstance(given, tuple) and all(d is None or isinstance(d, (int, np.integer)) for d in given):
        return TensorShape(given)
    if isinstance(given, (list, tuple)):
        return type(given)(map(_as_shape, given)) if type(given) in (list, tuple) else given
    return {key: _as_shape(shape) for key, shape in given.items()} if type(given) is dict else given


def wrap_methods(cls: Any) -> None:
    """The methods of a class of layers that scripts call themselves, as `anywhere` and `builds` have them."""
    for name in ("call", "compute_mask", "get_initial_state"):
        if inspect.isfunction(vars(cls).get(name)):
            setattr(cls, name, anywhere(vars(cls)[name]))
    ours = is_ours(cls)
    if (not ours or cls.__module__.startswith("kcompile.keras.layers.")) and "build" in vars(cls):
        cls.build = builds(vars(cls)["build"])


@contextmanager
def probing(unknown: bool) -> Iterator[None]:
    """Adds to errors about shapes, where some size of an input is unknown, the sizes that were tried."""
    try:
        yield
    except KcompileError as error:
        if not unknown or "unknown" in str(error):
            raise
        text = str(error).removesuffix(".")
        raise type(error)(
            f"{text}. Sizes unknown before there are data were tried as {PROBE_SIZES[0]} and "
            f"{PROBE_SIZES[1]}: if others are needed, give the Input these sizes"
        ) from error


def with_mask(y: Tensor, mask: Tensor | None, inputs: Sequence[Tensor]) -> Tensor:
    """y, with this mask in its trace: another value, where y is an input that has another mask."""
    return marked(trace_of(y).masks, y, mask, inputs)


def describe_types(values: Sequence[Any]) -> str:
    return ", ".join(type(v).__name__ for v in values) or "nothing"


def numbered(prefix: str, vintage: str) -> str:
    """An automatic name: dense_1, dense_2, ... in Keras 2, dense, dense_1, ... since tf.keras."""
    number = get_uid(prefix) - (0 if edition(vintage).numbers_first else 1)
    return f"{prefix}_{number}" if number else prefix

"""`tf.function`: a function of a script that is traced for each form of its arguments, and compiled.

Enters: a function over tensors, variables, models and optimizers. Leaves: for each form of arguments (types
and shapes of arrays; what else there is, itself) first a call as Python has it, then a graph: its results,
and the updates of variables that it makes. What cannot be traced (a branch on a tensor's value, a loop over a
data set) is called as Python has it each time. So are calls from inside of other traces.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile.ir.tensor import Tensor
from kcompile.ir.types import DTYPES, TensorType
from kcompile.keras.eager import EagerTensor
from kcompile.keras.eager_trace import code_of
from kcompile.keras.engine import Layer
from kcompile.keras.functional import Model
from kcompile.keras.gradient_tape import TF_KERAS
from kcompile.keras.operands import here, leaves, map_leaves, tensor
from kcompile.keras.settings import running
from kcompile.keras.tensors import KerasTensor, Variable, new_random_state
from kcompile.keras.tracing import Trace, current, tracing

_switches = {"eager": False}  # whether functions run as Python has them
MOST_NODES = 30_000  # of a graph that is compiled: loops of Python's are written out in it
FORMS = 32  # of arguments that one function is compiled for


def run_eagerly(run_eagerly: Any) -> None:
    """Whether functions run as Python has them from now on."""
    _switches["eager"] = bool(run_eagerly)


@dataclass(frozen=True)
class _Input:
    """An array among the arguments: its number among them, and its type."""

    number: int
    type: TensorType


@dataclass
class _Form:
    """What is known of calls with arguments of one form. kept: what they hold besides arrays, so that its
    identity stays its own. code: None before the second call, and where there can be none."""

    kept: Any
    calls: int = 0
    code: Callable[..., Any] | None = None


class Function:
    """See the module. python_function: the function itself."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.python_function = function
        self._forms: dict[Any, _Form] = {}
        self._bound: weakref.WeakKeyDictionary[Any, Function] = weakref.WeakKeyDictionary()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """A method of an object."""
        if instance is None:
            return self
        if instance not in self._bound:
            this, function = weakref.ref(instance), self.python_function

            @functools.wraps(function)
            def method(*args: Any, **kwargs: Any) -> Any:
                return function(this(), *args, **kwargs)

            method.__signature__ = inspect.signature(function.__get__(instance))  # type: ignore[attr-defined]
            self._bound[instance] = Function(method)
        return self._bound[instance]

    def __set_name__(self, owner: Any, name: str) -> None:
        """What a class of layers or models defines in place of Keras' methods is traced with them."""
        if issubclass(owner, Layer) and hasattr(Model, name):
            setattr(owner, name, self.python_function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = map_leaves(here, args), map_leaves(here, kwargs)
        eager = current() is not None or _switches["eager"]
        if eager or any(isinstance(x, (Tensor, KerasTensor)) for x in leaves([args, kwargs])):
            return self.python_function(*args, **kwargs)
        arrays: list[np.ndarray] = []
        form = map_leaves(functools.partial(_taken, arrays), [args, kwargs])
        try:
            key = _key(form)
            hash(key)
        except TypeError:
            return self.python_function(*args, **kwargs)
        if key not in self._forms and len(self._forms) == FORMS:
            return self.python_function(*args, **kwargs)
        known = self._forms.setdefault(key, _Form(form))
        known.calls += 1
        if known.calls == 2:
            known.code = self._compiled(form)
        return self.python_function(*args, **kwargs) if known.code is None else known.code(arrays)

    def get_concrete_function(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself, for arguments of any form."""
        return self

    def _compiled(self, form: Any) -> Callable[..., Any] | None:
        """Code for arguments of a form; None where the function cannot be traced."""
        trace = Trace("function")
        trace.measures = trace.stepping = trace.once = True
        trace.draws_from(new_random_state(), False)
        types = [x.type for x in leaves(form) if isinstance(x, _Input)]
        inputs = [trace.input(f"x{k}", type) for k, type in enumerate(types)]
        args, kwargs = map_leaves(lambda x: inputs[x.number] if isinstance(x, _Input) else x, form)
        try:
            with tracing(trace.graph), running(TF_KERAS):
                found = self.python_function(*args, **kwargs)
                made = map_leaves(_as_result, found)
            trace.count_draws()
            if len(trace.graph.nodes) > MOST_NODES:
                return None
            results = [y for y in leaves([made]) if isinstance(y, Tensor)]
            trace.graph.outputs = {f"y{k}": y.value for k, y in enumerate(results)}
            code = code_of(trace.traced)
        except Exception:  # whatever a function does with tensors that have no values yet
            return None

        def run(arrays: list[np.ndarray]) -> Any:
            values = iter(code(1, arrays))
            return map_leaves(lambda y: next(values).view(EagerTensor) if isinstance(y, Tensor) else y, made)

        return run


def _taken(arrays: list[np.ndarray], x: Any) -> Any:
    """An argument: of an array of numbers its type, and the array is added to the list."""
    if not isinstance(x, np.ndarray) or x.dtype.name not in DTYPES:
        return x
    arrays.append(np.asarray(x))
    return _Input(len(arrays) - 1, TensorType(tuple(x.shape), x.dtype.name))


def _key(x: Any) -> Any:
    """What a form is known by: types, Python's numbers and texts by their value, objects by what they are."""
    if isinstance(x, (list, tuple)):
        return type(x).__name__, *map(_key, x)
    if isinstance(x, dict):
        return "dict", *((name, _key(value)) for name, value in x.items())
    if isinstance(x, _Input) or x is None or type(x) in (bool, int, float, str, bytes):
        return type(x).__name__, x
    return type(x).__name__, id(x)


def _as_result(x: Any) -> Any:
    """A result of the function, where it is traced: variables as what they are then."""
    return tensor(x) if isinstance(x, Variable) else x


def function(
    func: Any = None,
    input_signature: Any = None,
    autograph: bool = True,
    jit_compile: Any = None,
    reduce_retracing: bool = False,
    experimental_implements: Any = None,
    experimental_autograph_options: Any = None,
    experimental_attributes: Any = None,
    experimental_relax_shapes: Any = None,
    experimental_compile: Any = None,
    experimental_follow_type_hints: Any = None,
) -> Any:
    """tf.function: a decorator, or makes one. Its options say how TensorFlow traces and compiles; here each
    form of arguments is traced."""
    return Function if func is None else Function(func)


NAMES: dict[str, Any] = {
    "function": function,
    "config.run_functions_eagerly": run_eagerly,
    "config.functions_run_eagerly": lambda: _switches["eager"],
    "config.experimental_run_functions_eagerly": run_eagerly,
}

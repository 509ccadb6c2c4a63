"""The base of metrics that keep state: variables, an update for each batch, and a result.

Enters: labels, outputs and weights of a batch. Leaves, where a graph is being traced (of a model that is
trained or evaluated): updates of the metric's variables in it, and the result as a tensor after them; the
variables' values are written by compiled code, batch after batch. `fit` and `evaluate` reset them at the
beginning of an epoch or of a pass, and report the result of the last batch. Outside of a graph, on arrays:
the same now, by the interpreter (in a script of Keras 2, which has no eager mode, `update_state` gives
updates for K.eval or K.function).

A metric is a subclass of `Metric`, with `add_weight` in its constructor, and `update_state` and `result`
over functions of K (`variable.assign_add(x)` in the former, or updates that it returns). Keras 2.2's way, a
`Layer` that says `stateful`, whose call gives the result and adds its updates, comes to the same:
`keeps_state`, `measured` and `reset` are for both. Nothing here knows what a metric computes: those of Keras
are in `metrics`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS
from kcompile.keras import initializers
from kcompile.keras.backend.values import constant
from kcompile.keras.editions import edition
from kcompile.keras.engine import Layer
from kcompile.keras.evaluation import performed
from kcompile.keras.expressions import depends
from kcompile.keras.layer_calls import numbered
from kcompile.keras.layer_weights import filled, unique
from kcompile.keras.moving import each_update
from kcompile.keras.operands import graph, leaves, map_leaves, record, tensor, value_of
from kcompile.keras.policies import dtype_here, named
from kcompile.keras.settings import OfScript, dtype_name, floatx, running, snake_case, vintage_made
from kcompile.keras.tensors import KerasTensor, Variable, as_list, is_integer
from kcompile.keras.tracing import Trace, current, trace_of, tracing
from kcompile.keras.updates import Update
from kcompile_runtime.arrays import as_array, is_array
from kcompile_runtime.checks import check_text
from kcompile_runtime.errors import InputError, InputTypeError, ModelError, UnsupportedError, describe


class Metric:
    """Base of metrics with a state. name: it is reported by; default: made of the class's name. dtype: of its
    variables, default floatx. vintage: whose rules where they differ, default the script's.

    Subclasses define `update_state(y_true, y_pred, sample_weight=None)` (with other arguments, where it is
    not given to `compile`) and `result()`: a tensor, or a dict of them by name. Both are written over
    functions of K.
    """

    vintage = OfScript()
    stateful = True
    trainable = False

    def __init__(self, name: str | None = None, dtype: str | None = None, **unknown: Any) -> None:
        kind = type(self).__name__
        if unknown:
            raise InputTypeError(describe(kind, "name and dtype", ", ".join(map(repr, unknown))))
        name = check_text(f"{kind}: name", name, optional=True)
        dtype = floatx() if dtype is None else dtype_here(named(dtype_name(dtype)))
        if not isinstance(dtype, str) or dtype not in (*FLOATS, "int32"):
            raise ModelError(describe(f"{kind}: dtype", ", ".join((*FLOATS, "int32")), repr(dtype)))
        self._variables: list[Variable] = []
        self.vintage = vintage_made(self)
        self.name = name or numbered(snake_case(kind, self.vintage), self.vintage)
        self.dtype = dtype

    def __init_subclass__(cls) -> None:
        """What a class defines is called in a trace, wherever it is called from."""
        super().__init_subclass__()
        for name, way in (("update_state", _updating), ("result", _resulting)):
            if name in vars(cls):
                setattr(cls, name, way(vars(cls)[name]))

    # ---- variables

    def add_weight(self, *args: Any, **kwargs: Any) -> Variable:
        """A variable of the state. Arguments: name, shape (default: a number), initializer (default: zeros),
        dtype (default: the metric's); or, as in Keras 3, shape, initializer, dtype, name. Raises ModelError,
        InputTypeError."""
        by_name = bool(args) and isinstance(args[0], str)
        order = ("name", "shape") if by_name else ("shape",)
        given = {**dict(zip((*order, "initializer", "dtype", "name"), args)), **kwargs}
        known = {"name", "shape", "initializer", "dtype", "trainable", "aggregation", "synchronization"}
        if given.keys() - known or len(args) > 4:
            raise InputTypeError(
                describe(
                    f"{self.label}: add_weight",
                    "name, shape, initializer and dtype",
                    ", ".join(sorted(map(str, given))),
                )
            )
        shape = tuple(as_list(given.get("shape", ()) if given.get("shape") is not None else ()))
        if not all(is_integer(size) and size > 0 for size in shape):
            raise ModelError(describe(f"{self.label}: add_weight", "positive sizes", f"shape={shape}"))
        initializer, dtype = given.get("initializer"), str(dtype_name(given.get("dtype")) or self.dtype)
        fill = initializers.get("zeros" if initializer is None else initializer)
        with tracing(None), running(self.vintage):  # first values are computed now
            values = value_of(filled(fill, shape, floatx()))
        name = f"{self.name}/{given.get('name') or 'variable'}"
        variable = Variable(values, unique(name, {v.path for v in self.variables}), False, dtype)
        variable.shared = True  # it belongs to no layer
        self._variables.append(variable)
        return variable

    add_variable = add_weight

    @property
    def label(self) -> str:
        """How errors speak of the metric."""
        return f"Metric {self.name!r} ({type(self).__name__})"

    @property
    def variables(self) -> list[Variable]:
        """Its own, then those of metrics that it holds."""
        held = [m for m in leaves(list(vars(self).values())) if isinstance(m, Metric) and m is not self]
        return [*self._variables, *(v for metric in held for v in metric.variables)]

    @property
    def weights(self) -> list[Variable]:
        return self.variables

    non_trainable_weights = non_trainable_variables = variables

    @property
    def trainable_weights(self) -> list[Variable]:
        return []

    trainable_variables = trainable_weights

    def get_weights(self) -> list[np.ndarray]:
        return [v.numpy() for v in self.variables]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Write the state. Raises InputError for arrays that do not fit."""
        variables = self.variables
        if len(weights) != len(variables):
            wanted = f"{len(variables)} arrays"
            raise InputError(describe(f"{self.label}: set_weights", wanted, str(len(weights))))
        for variable, array in zip(variables, weights):
            variable.assign(array)

    # ---- the state

    def is_averaged(self) -> bool:
        """Whether a model averages what the metric gives for each sample, and leaves the state alone."""
        return False

    def update_state(self, *args: Any, **kwargs: Any) -> Any:
        """Count a batch in."""
        raise NotImplementedError(f"{self.label}: the class must define update_state(y_true, y_pred, ...)")

    def result(self) -> Any:
        """The value over all that was counted in: a tensor, or a dict of them."""
        raise NotImplementedError(f"{self.label}: the class must define result()")

    def add_update(self, updates: Any, inputs: Any = None) -> None:
        """Make updates (results of K.update, one or a list), in `update_state`."""
        _write(trace_of(graph()), updates, self.label)

    def reset_state(self) -> None:
        """Make the state what it was before all batches: zeros."""
        if type(self).reset_states is not Metric.reset_states:
            self.reset_states()  # as classes of Keras 2 name it
        else:
            self._zero()

    def reset_states(self) -> None:
        """Keras 2's name of `reset_state`."""
        if type(self).reset_state is not Metric.reset_state:
            self.reset_state()
        else:
            self._zero()

    def merge_state(self, metrics: Sequence[Any]) -> None:
        """Count in what other metrics of the class have counted, as tf.keras does: their states are added."""
        for metric in metrics:
            if type(metric) is not type(self) or len(metric.variables) != len(self.variables):
                wanted = f"metrics of the class {type(self).__name__}"
                raise InputError(describe(f"{self.label}: merge_state", wanted, repr(metric)))
            for own, other in zip(self.variables, metric.variables):
                own.assign(own.array + other.array)

    # ---- Keras 3's functions of a state that is given, on arrays

    def stateless_update_state(self, metric_variables: Sequence[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """The state after a batch is counted into another one; the metric's own stays."""
        with self._lent(metric_variables):
            self.update_state(*args, **kwargs)
            return self.get_weights()

    def stateless_result(self, metric_variables: Sequence[Any]) -> Any:
        """The value of a state."""
        with self._lent(metric_variables):
            return self.result()

    def stateless_reset_state(self) -> list[Any]:
        """The state before all batches."""
        with self._lent(self.get_weights()):
            self.reset_state()
            return self.get_weights()

    @contextmanager
    def _lent(self, state: Sequence[Any]) -> Iterator[None]:
        """Another state for the time being. Raises UnsupportedError inside a graph that is traced."""
        if current() is not None:
            remedy = "Call update_state and result there"
            raise UnsupportedError(describe(f"{self.label}: stateless methods", "arrays", "tensors", remedy))
        before = self.get_weights()
        try:
            self.set_weights([np.asarray(array) for array in state])
            yield
        finally:
            self.set_weights(before)

    def _zero(self) -> None:
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Count a batch in, and give the result after it. On tensors that depend on inputs, outside of a
        model's own metrics: a tensor that is computed with them, over the state as it is then."""
        symbolic = any(isinstance(x, KerasTensor) and depends(x) for x in leaves([args, kwargs]))
        if symbolic and current() is None:
            return record(_counted, (self, list(args), kwargs), {})
        if current() is None:
            return _now(self, _counted, args, kwargs)
        return _counted(self, args, kwargs)

    # ---- configuration

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


# ---------------------------------------------------------------- metrics in a model's graph


def keeps_state(metric: Any) -> bool:
    """Whether a metric has a state of its own, rather than values that are averaged."""
    if isinstance(metric, Metric):
        return not metric.is_averaged()
    return isinstance(metric, Layer) and bool(metric.stateful)


def measured(metric: Any, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Any:
    """The result of a metric after a batch, in the graph of the batch, which updates its state."""
    with trace_of(y_pred).measuring():
        if not isinstance(metric, Metric):
            return metric(y_true, y_pred)
        weight = {} if sample_weight is None else {"sample_weight": sample_weight}
        return _counted(metric, (y_true, y_pred), weight)


def reset(metric: Any) -> None:
    """Begin the state of a metric anew, by its own method."""
    if isinstance(metric, Metric):
        metric.reset_state()
    elif hasattr(metric, "reset_states"):
        metric.reset_states()


def _counted(metric: Metric, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    metric.update_state(*args, **kwargs)
    result = metric.result()
    if isinstance(result, Tensor):
        return CountedTensor(metric, result)
    return CountedDict(metric, result) if isinstance(result, Mapping) else result


class CountedTensor(Tensor):
    """What a metric gives after it counted a batch in, which `add_metric` takes for the metric."""

    __slots__ = ("counted_by",)

    def __init__(self, counted_by: Metric, result: Tensor) -> None:
        super().__init__(result.graph, result.value)
        self.counted_by = counted_by


class CountedDict(dict):
    """The same, of several results by name."""

    def __init__(self, counted_by: Metric, result: Mapping[str, Any]) -> None:
        super().__init__(result)
        self.counted_by = counted_by


def _write(trace: Trace, updates: Any, label: str) -> None:
    """Make updates in a trace: one, or a list of them. Nothing else that an `update_state` returns counts."""
    if updates is None or isinstance(updates, (Tensor, Variable)):
        return
    for update in each_update([updates] if isinstance(updates, tuple) else as_list(updates)):
        if isinstance(update, tuple) and len(update) == 2 and isinstance(update[0], Variable):
            with trace.measuring():
                update[0].assign(update[1])
        elif update is not None and not isinstance(update, (Tensor, Variable)):
            raise ModelError(describe(f"{label}: updates", "results of K.update", repr(update)))


# ---------------------------------------------------------------- on arrays


def _updating(function: Callable[..., Any]) -> Callable[..., Any]:
    """An `update_state` that is called anywhere: its updates are made in the graph being traced; outside at
    once, or in Keras 2 when K.eval or K.function make them."""

    @functools.wraps(function)
    def update_state(self: Any, *args: Any, **kwargs: Any) -> Any:
        if current() is not None:
            trace = trace_of(graph())
            with trace.measuring():
                _write(trace, function(self, *args, **kwargs), self.label)
            return None
        if edition(self.vintage).eager:
            return _now(self, _called(update_state), args, kwargs)
        return _updates(self, _called(update_state), args, kwargs)

    return update_state


def _resulting(function: Callable[..., Any]) -> Callable[..., Any]:
    """A `result` that is called anywhere: outside of a graph it is what the state is now; in Keras 2 a tensor
    that is computed when it is asked for."""

    @functools.wraps(function)
    def result(self: Any) -> Any:
        if current() is not None:
            return map_leaves(tensor, function(self))
        if edition(self.vintage).eager:
            return _now(self, _called(result), (), {})
        return record(result, (self,), {})

    return result


Call = Callable[["Metric", Sequence[Any], Mapping[str, Any]], Any]


def _called(method: Callable[..., Any]) -> Call:
    return lambda metric, args, kwargs: method(metric, *args, **kwargs)


def _converted(x: Any) -> Any:
    """An argument: lists and arrays as tensors of the graph, anything else as it is."""
    if isinstance(x, (bool, int, float)) or x is None or isinstance(x, Tensor):
        return x
    numbers = isinstance(x, (list, tuple)) or hasattr(x, "__tensor__") or is_array(x)
    return tensor(x if hasattr(x, "__tensor__") else as_array(x, "an operand")) if numbers else x


def _now(metric: Metric, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a call on arrays gives, from the state as it is now, which it updates."""

    def make() -> Any:
        named = {key: _converted(x) for key, x in kwargs.items()}
        return call(metric, [_converted(x) for x in args], named)

    with running(metric.vintage):
        found, values = performed(make)
    made = (constant(value, value.dtype.name) for value in values)
    return map_leaves(lambda x: next(made) if isinstance(x, Tensor) else x, found)


def _updates(metric: Metric, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The updates that a call makes, for K.eval and K.function: one, or a list."""
    scratch = Trace("shape inference")
    numbers = itertools.count()

    def known(x: Any) -> Any:
        return scratch.input(f"x{next(numbers)}", x.type) if isinstance(x, KerasTensor) else x

    with tracing(scratch.graph), running(metric.vintage):
        call(metric, map_leaves(known, list(args)), map_leaves(known, dict(kwargs)))
    changed = [scratch.captured[name] for name in scratch.graph.updates]
    values = record(_changed, (metric, call, changed, list(args), dict(kwargs)), {}, changed)
    made = [Update(variable, value) for variable, value in zip(changed, values)]
    return made[0] if len(made) == 1 else made


def _changed(
    metric: Metric, call: Call, variables: Sequence[Variable], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[Tensor]:
    """The values of variables after a call, which leaves them in the graph as they are."""
    trace = trace_of(graph())
    before = dict(trace.graph.updates)
    call(metric, [_converted(x) for x in args], {key: _converted(x) for key, x in kwargs.items()})
    values = [trace.read(variable) for variable in variables]
    trace.graph.updates = before
    return values

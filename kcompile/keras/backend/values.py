"""Values: variables, constants, what computes them now, and what differs between the phases."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.gradient import gradient
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, numel
from kcompile.keras import expressions
from kcompile.keras.backend.arrange import filled, int_shape
from kcompile.keras.backend.elementwise import switch
from kcompile.keras.editions import edition
from kcompile.keras.expressions import TensorFunction
from kcompile.keras.inputs import InputLayer
from kcompile.keras.moving import followed
from kcompile.keras.operands import graph, leaves, record, sizes, tensor, traced, value_of
from kcompile.keras.operators import identity
from kcompile.keras.settings import (
    PHASE,
    LearningPhase,
    dtype_of,
    fixed_phase,
    get_uid,
    meaning,
    new_seed,
    vintage,
)
from kcompile.keras.tensors import KerasTensor, Variable, as_list, is_integer
from kcompile.keras.tracing import current, find_trace
from kcompile.keras.updates import Update
from kcompile_runtime import arrays
from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import InputError, UnsupportedError, describe

# ---------------------------------------------------------------- variables


def variable(value: Any, dtype: str | None = None, name: str | None = None, constraint: Any = None) -> Any:
    """A new variable that no layer owns: any model may read it, and training leaves it as it is.
    The weights that a layer trains are made by its `add_weight`. value: also a sparse matrix."""

    sparse = arrays.is_sparse(value)
    if sparse:
        value = value.toarray()
    elif is_tensor(value):
        value = eval(value)
    made = Variable(
        as_array(value, "K.variable"),
        name if edition(vintage()).eager and name else _numbered(name or "Variable"),
        True,
        dtype_of(dtype),
        constraint=constraint,
    )
    made.shared, made.sparse = True, sparse
    return made


def _numbered(name: str) -> str:
    """As TensorFlow's graphs tell names apart."""
    number = get_uid(f"variable {name}") - 1
    return f"{name}_{number}" if number else name


def is_variable(x: Any) -> bool:
    """Whether x is a variable."""
    return isinstance(x, Variable)


def is_tensor(x: Any) -> bool:
    """Whether x is a tensor: of a graph, a variable, or one with a value."""
    return isinstance(x, Tensor) or hasattr(x, "__tensor__")


def is_keras_tensor(x: Any) -> bool:
    """Whether x came out of Input or of a layer. Raises InputError for what is no tensor."""
    if not is_tensor(x):
        raise InputError(describe("is_keras_tensor", "a tensor", type(x).__name__))
    return isinstance(x, KerasTensor) and not (
        isinstance(x.layer, TensorFunction) or expressions.is_placeholder(x)
    )


def is_placeholder(x: Any) -> bool:
    """Whether x came out of `Input` or `K.placeholder`."""
    return isinstance(x, KerasTensor) and isinstance(x.layer, InputLayer) and x.layer.input_tensor is None


def is_sparse(x: Any) -> bool:
    """Whether x was made as a sparse tensor. It holds its zeros as any other does: sparse tensors are
    computed with as dense ones."""
    return bool(getattr(x, "sparse", False))


def to_dense(x: Any) -> Any:
    """x as a tensor that is not sparse."""
    return identity(x) if is_sparse(x) else x


@traced
def constant(
    value: Any, dtype: str | None = None, shape: Sequence[int] | None = None, name: str | None = None
) -> Any:
    """A tensor of these numbers; shape: another one for them, or of a single number, repeated."""
    made = ops.constant(graph(), as_array(value, "K.constant"), dtype_of(dtype))
    if shape is None:
        return made
    wanted = tuple(sizes(shape))
    same = numel(wanted) == made.type.numel and made.rank
    return ops.reshape(made, wanted) if same else ops.broadcast_to(made, wanted)


def _full(value: float, shape: Sequence[Any], dtype: str | None, name: str | None) -> Any:
    if current() is not None or any(isinstance(d, Batch) for d in shape):
        return _filled(value, shape, dtype_of(dtype))
    return variable(np.full(tuple(shape), value), dtype, name)


@traced
def _filled(value: float, shape: Sequence[Any], dtype: str) -> Any:
    return filled(value, shape, dtype)


def zeros(shape: Sequence[Any], dtype: str | None = None, name: str | None = None) -> Any:
    """Zeros: outside a model a variable, as in Keras 2."""
    return _full(0, shape, dtype, name)


def ones(shape: Sequence[Any], dtype: str | None = None, name: str | None = None) -> Any:
    """Ones: outside a model a variable, as in Keras 2."""
    return _full(1, shape, dtype, name)


def eye(size: int | Sequence[int], dtype: str | None = None, name: str | None = None) -> Any:
    """The identity matrix; size: of its sides, or (rows, columns)."""
    return constant(np.eye(*as_list(size)), dtype)


def random_uniform_variable(
    shape: Sequence[int],
    low: float,
    high: float,
    dtype: str | None = None,
    name: str | None = None,
    seed: int | None = None,
) -> Any:
    """A variable of uniform numbers from low to high; shape, dtype and seed as in
    `random_normal_variable`."""
    generator = np.random.default_rng(new_seed(31) if seed is None else seed)
    return variable(generator.uniform(low, high, tuple(shape)), dtype, name)


def random_normal_variable(
    shape: Sequence[int],
    mean: float,
    scale: float,
    dtype: str | None = None,
    name: str | None = None,
    seed: int | None = None,
) -> Any:
    """A variable of normal numbers. shape: without the batch; mean, scale: of the distribution, scale is its
    standard deviation; dtype: by default floatx; seed: by default drawn from numpy's global generator."""
    generator = np.random.default_rng(new_seed(31) if seed is None else seed)
    return variable(generator.normal(mean, scale, tuple(shape)), dtype, name)


def placeholder(
    shape: Sequence[Any] | None = None,
    ndim: int | None = None,
    dtype: str | None = None,
    sparse: bool = False,
    name: str | None = None,
) -> Any:
    """An input for K.function, of a shape in which None is a size that may differ from call to call; or
    of ndim such sizes. sparse: see `is_sparse`."""

    if shape is None and is_integer(ndim):
        shape = (None,) * int(ndim)
    axes = None if shape is None else as_list(sizes(shape))
    if axes is None or not all(d is None or (is_integer(d) and d > 0) for d in axes):
        raise UnsupportedError(
            describe(
                "placeholder", "a shape of positive sizes and None, or ndim", f"shape={shape}, ndim={ndim}"
            )
        )
    made = expressions.placeholder(axes, dtype_of(dtype), name)
    made.sparse = bool(sparse)
    return made


# ---------------------------------------------------------------- now


def eval(x: Any) -> np.ndarray:
    """The value of x now, which must depend on no input: a variable, or an expression over
    variables, constants and random numbers. An update is made, and its new value given."""
    if isinstance(x, Update):
        x.variable.assign(value_of(x.value))
        return x.variable.numpy()
    return value_of(x)


def get_value(x: Any) -> np.ndarray:
    """A copy of a variable's value."""
    return eval(x)


def set_value(x: Any, value: Any) -> None:
    """Write a variable."""
    x.assign(value)


def batch_get_value(tensors: Sequence[Any]) -> list[np.ndarray]:
    """The values of tensors or variables, an array each."""
    return [eval(x) for x in tensors]


def batch_set_value(tuples: Sequence[tuple[Any, Any]]) -> None:
    """Write (variable, value) pairs."""
    for x, value in tuples:
        x.assign(value)


def function(inputs: Sequence[Any], outputs: Any, updates: Any = (), **kwargs: Any) -> Callable[..., Any]:
    """A compiled function from values of `inputs` to those of `outputs`, lists both.

    inputs: tensors of models (inputs or intermediate results), placeholders, K.learning_phase().
    updates: (variable, new value) pairs, made when it is called. name, feed_dict, fetches: see
    `expressions.Function`. Raises UnsupportedError for keywords of other backends.
    """
    known = ("name", "feed_dict", "fetches")
    if kwargs.keys() - set(known):
        raise UnsupportedError(
            describe("K.function", f"inputs, outputs, updates, {', '.join(known)}", ", ".join(sorted(kwargs)))
        )
    return expressions.Function(inputs, outputs, updates, **kwargs)


def gradients(loss: Any, variables: Any) -> Any:
    """The gradient of the sum of `loss` by each of the variables (or tensors), a list; one of them gives a
    list of one. Outside a model it is None for what the loss is not made of. A layer may ask for the gradient
    of one of its inputs by another that the former is made of (of a pooled tensor by the one before, which
    says where the maxima are). Raises ValueError where the loss does not depend on one."""

    wanted = list(leaves([variables]))
    if current() is not None or any(isinstance(x, Tensor) for x in (loss, *wanted)):
        return _gradients(loss, wanted)
    behind = expressions.behind(loss)
    found = [x for x in wanted if x in behind]
    made = iter(record(_gradients, (loss, found), {}, found) if found else ())
    return [next(made) if x in behind else None for x in wanted]


@traced
def _gradients(loss: Any, wanted: list[Any]) -> list[Tensor]:

    tensors = [tensor(x) for x in wanted]
    found: list[Tensor] = []
    for x, part in zip(wanted, gradient(ops.reduce_sum(tensor(loss)), tensors)):
        if part is None and _is_given_alone(x):
            part = x * 0.0  # of its type; what is between it and the loss is known in the model
        if part is None:
            raise ValueError(
                f"gradients: the loss does not depend on {x!r}, or through operations "
                "without a gradient alone"
            )
        found.append(part)
    return found


def _is_given_alone(x: Any) -> bool:
    """Whether x is an input of a layer that is traced for the types of its outputs alone."""
    found = find_trace(x.graph) if isinstance(x, Tensor) else None
    return found is not None and found.alone and x.value in found.graph.inputs.values()


# ---------------------------------------------------------------- updates


def update(x: Any, new_x: Any) -> Update:
    """The variable's next value. Where a metric counts a batch in, it is that from here on."""
    graph = current()
    trace = None if graph is None else find_trace(graph)
    if trace is not None and trace.measures:
        x.assign(new_x)
        return Update(x, trace.read(x))
    return Update(x, new_x)


def update_add(x: Any, increment: Any) -> Update:
    """What adds increment to a variable x at each step, for `add_update` and `K.function`."""
    return update(x, x + increment)


def update_sub(x: Any, decrement: Any) -> Update:
    """What takes decrement from a variable x at each step, for `add_update` and `K.function`."""
    return update(x, x - decrement)


def moving_average_update(x: Any, value: Any, momentum: float) -> Update | list[Update]:
    """x * momentum + value * (1 - momentum); in Keras 2.2 the average of all values so far, with the updates
    of what it is made of."""
    made = [Update(*pair) for pair in followed(x, value, momentum, meaning())]
    return made[0] if len(made) == 1 else made


# ---------------------------------------------------------------- phases


def learning_phase() -> Any:
    """1 in training and 0 in inference, inside a model; outside what `set_learning_phase` set, or an
    input for K.function."""
    graph = current()
    trace = None if graph is None else find_trace(graph)
    if trace is not None:
        return int(trace.training)
    phase = fixed_phase()
    return PHASE if phase is None else int(phase)


def in_train_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """x in training and alt in inference; both may be functions without arguments. training: says it
    instead of the phase; of a tensor, its value."""
    if current() is None and (training is None or isinstance(training, LearningPhase)):
        training = fixed_phase()
    return _in_phase(x, alt, training)


@traced
def _in_phase(x: Any, alt: Any, training: Any) -> Any:
    if training is None or isinstance(training, LearningPhase):
        training = learning_phase()
    if is_tensor(training):
        return switch(training, x, alt)
    chosen = x if training in (1, True) else alt
    return tensor(chosen() if callable(chosen) else chosen)


def in_test_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """x in inference and alt in training."""
    return in_train_phase(alt, x, training)


# ---------------------------------------------------------------- what Keras 2 has for TensorFlow's sake


def print_tensor(x: Any, message: str = "") -> Any:
    """x. Warns: compiled code does not print; K.function gives the values of any tensor."""
    text = f"K.print_tensor({message!r}): compiled code does not print. K.function gives the values"
    warnings.warn(text, stacklevel=3)
    return identity(x)


def manual_variable_initialization(value: bool) -> None:
    """Nothing: variables have their first values as soon as they are made."""


def get_variable_shape(x: Any) -> tuple[int | None, ...]:
    """The sizes of a variable."""
    return int_shape(x)


def is_symbolic(x: Any) -> bool:
    """Whether x has no value yet."""
    return isinstance(x, (Tensor, KerasTensor))

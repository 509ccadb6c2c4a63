"""Functions of K outside a layer: remembered calls, computed by K.eval and compiled by K.function.

Enters: a function of the backend with its operands, where no graph is being traced. Leaves: tensors of
a model (`KerasTensor`) whose layer, a `TensorFunction`, is that one call. A model may hold such calls.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras.eager import EagerArray, EagerTensor
from kcompile.keras.editions import edition
from kcompile.keras.engine import Layer
from kcompile.keras.evaluation import computed, performed
from kcompile.keras.inputs import InputLayer
from kcompile.keras.lazy import lazily
from kcompile.keras.lengths import LruCache
from kcompile.keras.moving import each_update
from kcompile.keras.operands import leaves, map_leaves, remember_with, scalar, tensor, value_of
from kcompile.keras.settings import (
    LearningPhase,
    computes_at_once,
    fixed_phase,
    running,
    samples_of,
    values_at_once,
    vintage_running,
)
from kcompile.keras.tensors import PROBE_SIZES, KerasTensor, Node, Variable, as_list, new_random_state
from kcompile.keras.tracing import Trace, Traced, emit, find_trace, tracing
from kcompile_runtime.arrays import as_array, is_sparse
from kcompile_runtime.errors import InputError, KcompileError, ModelError, UnsupportedError, describe

_late, _ = lazily("kcompile.keras", "keras3_ops")  # whose functions are made of those here

FUNCTION_MODULES = ("activations", "losses", "metrics")  # besides K, of functions that take tensors


class TensorFunction(Layer):
    """One call of a function of K. Operands that depend on inputs are the node's inputs."""

    computes_in_dtype = False
    consumes = False

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        super().__init__(vintage=vintage_running())
        self.function: Any = function
        self.arguments: Any = (args, kwargs)
        self.built = True
        self.operands = list(
            dict.fromkeys(x for x in leaves([args, kwargs]) if isinstance(x, KerasTensor) and depends(x))
        )
        self.structure: Any = None
        self.evaluations = 0  # by K.eval

    @property
    def label(self) -> str:
        """The function's name as users write it: K.sum, losses.mean_squared_error, MaxNorm."""
        name, module = self.function.__name__.lstrip("_"), self.function.__module__.rpartition(".")[2]
        if name == "call__":
            return type(self.arguments[0][0]).__name__
        return f"{module if module in FUNCTION_MODULES else 'K'}.{name}"

    def compute(self, graph: Graph, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The results in a graph, as a flat list; `structure` is how they were nested."""
        table = dict(zip(self.operands, tensors))
        args, kwargs = map_leaves(
            lambda x: table.get(x, x) if isinstance(x, KerasTensor) else x, self.arguments
        )
        with self.named_errors(), running(self.vintage), tracing(graph):
            self.structure = self.function(*args, **kwargs)
        return [y for y in leaves([self.structure]) if isinstance(y, Tensor)]

    def infer_types(
        self, types: Sequence[TensorType], single: bool, arguments: dict[str, Any]
    ) -> list[TensorType]:
        scratch = Trace("shape inference")
        inputs = [scratch.input(f"x{i}", t) for i, t in enumerate(types)]
        return [y.type for y in self.compute(scratch.graph, inputs)]

    def trace(
        self, inputs: Sequence[Tensor], single: bool, arguments: dict[str, Any], regularized: bool = True
    ) -> list[Tensor]:
        return self.compute(inputs[0].graph, inputs)

    def emit(self, graph: Graph, node: Node, operands: Sequence[Tensor]) -> list[Tensor]:
        """The results of the call. One that depends on no input is made once in a graph: it may draw random
        numbers, and whoever reads it has the same ones."""
        trace = None if node.inputs else find_trace(graph)
        known = {} if trace is None else trace.known
        if any(y not in known for y in node.outputs):
            known.update(zip(node.outputs, self.compute(graph, operands)))
        return [known[y] for y in node.outputs]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "structure": None}  # of tensors of a graph

    def get_config(self) -> dict[str, Any]:
        raise UnsupportedError(
            f"{self.label} was called on a tensor of a model outside a layer, which no "
            "configuration can hold. Put it into a Lambda layer"
        )


class OnValues(TensorFunction):
    """A call that computes on arrays, and has no code: K.function computes its operands, and then the call.
    In a model, and below other functions, it is refused."""

    def compute(self, graph: Graph, tensors: Sequence[Tensor]) -> list[Tensor]:
        raise UnsupportedError(
            f"{self.label} works on values, which K.function has where it is one of the outputs. In a model, "
            "or under another function, there are none: give it what predict gives"
        )

    def run(self, values: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        """The results, for the values of its operands, which are given by their id."""
        args, kwargs = map_leaves(lambda x: values.get(id(x), x), self.arguments)
        return [value_of(y) for y in leaves([self.function(*args, **kwargs)])]


def on_values(function: Callable[..., Any], args: Any, kwargs: Any, types: Sequence[TensorType]) -> list[Any]:
    """The results of a call on arrays, of these types, that K.function is to make."""
    layer = OnValues(function, args, kwargs)
    return list(layer._record(layer.operands, False, {}, types, types).outputs)


def depends(x: KerasTensor) -> bool:
    """Whether a tensor depends on an input, rather than on variables and constants alone."""
    return not isinstance(x.layer, TensorFunction) or bool(x.node.inputs)


def record(function: Callable[..., Any], args: Any, kwargs: Any, like: Sequence[Any] | None = None) -> Any:
    """The results of a call that is to be made later, nested as the function nests them.

    like: tensors that a list of results have the types of, where they cannot be told from the
    operands' types alone.
    """
    if function.__module__ == "kcompile.keras.operators" and _of_keras3([args, kwargs]):
        return _operation(function, args, kwargs)
    if function.__module__ == "kcompile.keras.activations" and _of_keras3([args, kwargs]):
        operation = activation_operation(function, args, kwargs)
        if operation is not None:
            return operation()
    if like is None and _at_once([args, kwargs]):
        return _values(function, args, kwargs)
    layer = TensorFunction(function, args, kwargs)
    if like is None:
        first, second = [x.type for x in layer.operands], [x.second_type for x in layer.operands]
        with samples_of(layer.operands):
            try:
                types = layer.infer_types(first, False, {})
            except (KcompileError, ValueError):
                if not _with_all_samples(function, layer.operands):
                    raise
                return _operation(function, args, kwargs)
            second_types = types if first == second else layer.infer_types(second, False, {})
    else:
        types = [type_of(x) for x in like]
        second_types = [x.second_type if isinstance(x, KerasTensor) else type_of(x) for x in like]
        layer.structure = list(types)
    node = layer._record(layer.operands, False, {}, types, second_types)
    results = iter(node.outputs)
    return map_leaves(lambda y: next(results) if isinstance(y, (Tensor, TensorType)) else y, layer.structure)


def _operation(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The call of keras.ops that an operator is."""
    operations = _late("keras3_ops")
    return getattr(operations, operations.OPERATORS[function.__name__])(*args, **kwargs)


def _with_all_samples(function: Callable[..., Any], operands: Sequence[KerasTensor]) -> bool:
    """Whether an operator may meet a value for each sample of a batch, whose number an Input of tf.keras
    fixed: keras.ops know it then."""
    fixed = any(x.batch_size and edition(_vintage_behind(x)).eager for x in operands)
    return fixed and function.__module__ == "kcompile.keras.operators"


def _vintage_behind(x: KerasTensor) -> str:
    """The vintage of the layer that a tensor, or the first that it is computed of, comes from."""
    while isinstance(x.layer, TensorFunction) and x.node.inputs:
        x = x.node.inputs[0]
    return x.layer.vintage


def _of_keras3(operands: Any) -> bool:
    """Whether Python's operators on the operands make layers, as they do in Keras 3."""
    given = [x for x in leaves(operands) if isinstance(x, KerasTensor) and depends(x)]
    return any(edition(x.layer.vintage).operations and x.layer.consumes for x in given)


# Activations that have another name among keras.ops
OPERATIONS = {"exponential": "exp", "linear": "identity"}


def activation_operation(function: Callable[..., Any], args: Any, kwargs: Any) -> Callable[[], Any] | None:
    """The call of keras.ops that an activation of a model's tensors is in Keras 3; else None."""
    name = function.__name__
    operation = getattr(_late("keras3_ops"), OPERATIONS.get(name, name), None)
    if operation is None or (name == "relu" and len(args) + len(kwargs) > 1):
        return None
    try:
        return functools.partial(operation, **inspect.signature(function).bind(*args, **kwargs).arguments)
    except TypeError:
        return None


def _at_once(operands: Any) -> bool:
    """Whether operands are values alone, and the script, or a variable, of a Keras that computes at once."""
    given = list(leaves(operands))
    eager = computes_at_once() or any(isinstance(x, Variable) and edition(x.vintage).eager for x in given)
    return eager and not any(isinstance(x, KerasTensor) or hasattr(x, "nodes_made") for x in given)


def _values(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What a call on values gives, as arrays."""
    made, values = performed(lambda: function(*args, **kwargs))
    found = iter(values)
    kind = EagerArray if values_at_once() == "arrays" else EagerTensor
    return map_leaves(lambda y: next(found).view(kind) if isinstance(y, Tensor) else y, made)


def type_of(x: Any) -> TensorType:
    """The type of a tensor of a model, or of a variable."""
    return x.type if isinstance(x, KerasTensor) else TensorType(x.shape, x.dtype)


class _Placeholder(InputLayer):
    """The layer behind K.placeholder."""


def is_placeholder(x: KerasTensor) -> bool:
    """Whether K.placeholder made it."""
    return isinstance(x.layer, _Placeholder)


def placeholder(shape: Sequence[Any], dtype: str, name: str | None) -> KerasTensor:
    """An input of this shape: a None in the first place is the batch, others are sizes not known yet."""
    layer = _Placeholder(batch_input_shape=(None,), dtype=dtype, name=name)
    first, second = (
        TensorType(
            tuple(int(d) if d is not None else probe if place else Batch() for place, d in enumerate(shape)),
            dtype,
        )
        for probe in PROBE_SIZES
    )
    layer.nodes_made[0].outputs[0] = KerasTensor(first, layer, 0, 0, second_type=second)
    return layer.nodes_made[0].outputs[0]


# ---------------------------------------------------------------- values


def behind(x: Any) -> set[Any]:
    """The tensors and variables that a tensor is made of, itself included."""
    found: set[Any] = set()
    left = [x]
    while left:
        x = left.pop()
        if x in found:
            continue
        found.add(x)
        if isinstance(x, KerasTensor):
            if isinstance(x.layer, TensorFunction):
                given = leaves([x.layer.arguments, x.node.inputs])
            else:
                given = leaves(
                    [
                        getattr(x.layer, "input_tensor", None),
                        x.node.inputs,
                        x.node.arguments,
                        x.layer.weights,
                        x.layer.state_variables,
                    ]
                )
            left += [y for y in given if hasattr(y, "__tensor__")]
    return found


def is_constant(x: Any) -> bool:
    """Whether x is a tensor of K.constant, outside of any graph."""
    return (
        isinstance(x, KerasTensor) and isinstance(x.layer, TensorFunction) and x.layer.label == "K.constant"
    )


def _calls(x: KerasTensor) -> set[TensorFunction]:
    """The calls that an expression is made of."""
    made = [y for y in behind(x) if isinstance(y, KerasTensor)]
    return {y.layer for y in made if isinstance(y.layer, TensorFunction)}


def evaluate(x: Any) -> np.ndarray:
    """The value of an expression that depends on no input, by the interpreter. Calls with a seed of
    their own draw the same first numbers in every run, and others in every evaluation."""
    calls = _calls(x)
    number = max((layer.evaluations for layer in calls), default=0)
    for layer in calls:
        layer.evaluations = number + 1
    return computed(lambda graph: [x.__tensor__(graph)], number)[0]


# ---------------------------------------------------------------- K.function


class Function:
    """The result of K.function: a callable from a list of values (one for each input) to a list of arrays.
    It is compiled on the first call in each phase.

    feed_dict: of inputs that a call is not given, their values, which are looked up in each call. fetches:
    updates, and tensors that are computed and not given back.
    """

    def __init__(
        self,
        inputs: Any,
        outputs: Any,
        updates: Any = (),
        name: str | None = None,
        feed_dict: dict[Any, Any] | None = None,
        fetches: Any = (),
    ) -> None:
        self.name = name
        self.feed_dict = {} if feed_dict is None else feed_dict
        given = [*as_list(inputs), *self.feed_dict]
        for x in given:
            if not isinstance(x, (KerasTensor, LearningPhase)):
                raise ModelError(
                    describe(
                        "K.function: inputs",
                        "tensors of a model, placeholders, and K.learning_phase()",
                        repr(x),
                    )
                )
        self.inputs = given
        self.single = not isinstance(outputs, (list, tuple))
        self.outputs = as_list(outputs)
        fetched = as_list(fetches or ())
        self.wanted = self.outputs  # of which some are computed from the others' values
        self.outputs = [
            x
            for y in self.wanted
            for x in (y.layer.operands if isinstance(getattr(y, "layer", None), OnValues) else [y])
        ]
        self.count = len(self.outputs)
        self.outputs += [x for x in fetched if not isinstance(x, tuple)]
        made = (*each_update(updates or ()), *(x for x in fetched if isinstance(x, tuple)))
        self.updates = list(map(_pair, made))
        self.random_state = new_random_state()
        self._fixed = False  # whether code is for fixed numbers of samples
        self._compiled: LruCache[Any] = LruCache(lambda code: code.nbytes)

    def __call__(self, inputs: Sequence[Any] = ()) -> Any:
        """Raises InputError for values that do not fit."""
        values = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        values += self.feed_dict.values()
        if len(values) != len(self.inputs):
            raise InputError(
                describe("K.function", f"{len(self.inputs)} values, as it has inputs", str(len(values)))
            )
        training, arrays = bool(fixed_phase()), []
        for x, value in zip(self.inputs, values):
            if isinstance(x, LearningPhase):
                training = bool(value)
                continue
            value = cast(Any, value).toarray() if is_sparse(value) else value
            arrays.append(np.asarray(as_array(value, x.name), x.dtype, "C"))
        tensors = [x for x in self.inputs if isinstance(x, KerasTensor)]
        n, types = _sizes(tensors, arrays, self._fixed)
        code = self._compiled.get((training, tuple(types)))
        if code is None:
            try:
                code = self._compile(training, types)
            except ValueError:
                if self._fixed or not any(x.type.shape[:1] == (Batch(),) for x in tensors):
                    raise
                # As placeholders' sizes are one batch, it may come twice into a result, and gives no samples
                # by number; not so fixed sizes
                self._fixed = True
                n, types = _sizes(tensors, arrays, True)
                code = self._compile(training, types)
            self._compiled.put((training, tuple(types)), code)
        results = code(n, arrays)
        draws = self.random_state.draws
        draws.assign(draws.array + np.uint32(1))
        results = self._from_values(list(map(scalar, results[: self.count])))
        return results[0] if self.single else results

    def _from_values(self, results: list[Any]) -> list[Any]:
        """The outputs, from the results of the code: some are computed on values."""
        if all(a is b for a, b in zip(self.wanted, self.outputs)) and len(self.wanted) == self.count:
            return results
        values = {id(x): value for x, value in zip(self.outputs, results)}
        made: dict[int, list[Any]] = {}
        for y in self.wanted:
            if id(y) not in values and id(y.layer) not in made:
                made[id(y.layer)] = y.layer.run(values)
        return [values[id(y)] if id(y) in values else made[id(y.layer)][y.tensor_index] for y in self.wanted]

    def graph(self, training: bool = False, types: Sequence[TensorType] | None = None) -> Traced:
        """The graph of a phase, for inputs of these types."""
        trace = Trace("function", training)
        trace.draws_from(self.random_state, False)
        tensors = [x for x in self.inputs if isinstance(x, KerasTensor)]
        known = {
            x: trace.input(f"x{i}", type)
            for i, (x, type) in enumerate(zip(tensors, types or [x.type for x in tensors]))
        }
        trace.known.update(known)  # for inputs that are tensors
        updated = [value for _, value in self.updates]
        made = self._in(trace, [*self.outputs, *updated], known)
        trace.graph.updates.clear()  # moving statistics change in training alone
        trace.graph.outputs = {f"y{i}": y.value for i, y in enumerate(made[: len(self.outputs)])}
        for (variable, _), value in zip(self.updates, made[len(self.outputs) :]):
            same = value.dtype == variable.dtype
            trace.update(variable, value if same else ops.cast(value, variable.dtype))
        return trace.traced

    def _in(self, trace: Trace, wanted: Sequence[Any], known: dict[KerasTensor, Tensor]) -> list[Tensor]:
        """Everything in one go, so that what is shared is computed once."""
        symbolic = [x for x in wanted if isinstance(x, KerasTensor)]
        table = dict(zip(map(id, symbolic), emit(trace.graph, symbolic, known)))
        with tracing(trace.graph):
            return [table[id(x)] if id(x) in table else tensor(x) for x in wanted]

    def _compile(self, training: bool, types: Sequence[TensorType]) -> Callable[..., list[np.ndarray]]:
        import kcompile

        compiled: Callable[..., list[np.ndarray]] = kcompile.compile_trace(self.graph(training, types))
        return compiled


def _pair(update: Any) -> tuple[Variable, Any]:
    """A (variable, new value) pair. Raises ModelError."""
    if not (isinstance(update, (list, tuple)) and len(update) == 2 and isinstance(update[0], Variable)):
        raise ModelError(
            describe("K.function: updates", "pairs (variable, new value), as K.update gives", repr(update))
        )
    return update[0], update[1]


def _sizes(
    inputs: Sequence[KerasTensor], arrays: Sequence[np.ndarray], fixed: bool
) -> tuple[int, list[TensorType]]:
    """The number of samples, and the types of the inputs at their arrays' sizes. fixed: without a batch, and
    so where inputs have different numbers of samples. Raises InputError."""
    counts = set()
    for x, array in zip(inputs, arrays):
        shape = x.type.shape
        if (
            array.ndim != len(shape)
            or 0 in array.shape
            or not all(
                size % d.multiple == 0 if isinstance(d, Batch) else d == size or axis in x.unknown_axes
                for axis, (d, size) in enumerate(zip(shape, array.shape))
            )
        ):
            raise InputError(
                describe(f"K.function: input {x.name!r}", f"shape {x.shape}", f"shape {array.shape}")
            )
        counts |= {size // d.multiple for d, size in zip(shape, array.shape) if isinstance(d, Batch)}
    if fixed or len(counts) > 1:
        return 1, [x.type.with_shape(array.shape) for x, array in zip(inputs, arrays)]
    types = [x.at([array.shape[axis] for axis in x.unknown_axes]) for x, array in zip(inputs, arrays)]
    return (counts or {1}).pop(), types


remember_with(sys.modules[__name__])

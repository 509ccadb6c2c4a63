"""Layers, and the nodes that their calls leave behind.

A layer is its configuration (the arguments of its constructor), `build` (creates variables) and
`call` (written over symbolic tensors). Calling a layer on a `KerasTensor` records a `Node` and gives
tensors whose types come from tracing `call` once: shapes are the IR's rules, stated nowhere else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from math import prod
from typing import Any

import numpy as np

from kcompile.ir.tensor import Tensor, as_tensor, emit
from kcompile.ir.types import DTYPES, TensorType
from kcompile.keras import backend, constraints, initializers, regularizers
from kcompile.keras.explain import explained
from kcompile.keras.tensors import (
    PROBES,
    InputSpec,
    KerasShape,
    KerasTensor,
    Node,
    Variable,
    as_list,
    is_integer,
    keras_shape,
    one_or_list,
    type_of_shape,
    types_of_shapes,
)
from kcompile.keras.tracing import Trace, current, tracing
from kcompile.keras.utils.serialization import serialize
from kcompile_runtime.errors import (
    InputError,
    InputTypeError,
    KcompileError,
    ModelError,
    UnsupportedError,
    describe,
)

__all__ = ["Input", "InputLayer", "InputSpec", "KerasShape", "KerasTensor", "Layer", "Node",
           "Variable", "as_list", "is_integer", "keras_shape", "one_or_list", "type_of_shape",
           "unique", "weight_budget"]

VINTAGES = ("keras2", "keras3")

# Bytes of weights that may still be made, None: as many as there is room for.
_budget: ContextVar[int | None] = ContextVar("budget", default=None)
_blank: ContextVar[bool] = ContextVar("blank", default=False)


@contextmanager
def weight_budget(limit: int, blank: bool = False) -> Iterator[None]:
    """Inside, layers make at most `limit` bytes of weights: a file must not ask for more than there
    is. What is too large raises ModelError before it is allocated. blank: first values are not drawn,
    as all of them are about to be overwritten."""
    tokens = _budget.set(limit), _blank.set(blank)
    try:
        yield
    finally:
        _budget.reset(tokens[0])
        _blank.reset(tokens[1])


# ---------------------------------------------------------------- layers


class Layer:
    """Base of all layers.

    name: default the class's name with a number. trainable: whether training changes the weights.
    input_shape (without the batch), batch_input_shape, input_dim, input_length, batch_size, dtype:
    the input of the first layer of a Sequential. weights: initial values. activity_regularizer: a
    loss on the outputs, divided by the batch size. vintage: which Keras' semantics where they differ
    ("keras2", "keras3"). Raises UnsupportedError for any other keyword.
    """

    vintage = VINTAGES[0]
    input_spec: InputSpec | Sequence[InputSpec] | None = None
    supports_masking = False
    wants_list = False  # of one tensor too, as layers that merge do

    def __init__(self, name: str | None = None, trainable: bool = True, dtype: str | None = None,
                 activity_regularizer: Any = None, weights: Sequence[Any] | None = None,
                 vintage: str | None = None, **kwargs: Any) -> None:
        self.name = _new_name(type(self)) if name is None else _checked_name(name)
        if vintage is not None:
            self.vintage = self.one_of("vintage", vintage, VINTAGES)
        self.batch_input_shape = _input_shape_argument(kwargs)
        if kwargs:
            known = ", ".join(sorted(_parameters(type(self))))
            raise UnsupportedError(f"{self.label}: unknown or unsupported keyword. Expected: "
                                   f"{known}. Received: {', '.join(sorted(kwargs))}")
        # The dtype of the input that the layer stands for; weights and results are float32
        options = DTYPES if self.batch_input_shape else (backend.FLOAT,)
        self.dtype = self.one_of("dtype", dtype or backend.FLOAT, options)
        self.trainable = trainable
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.built = False
        self.nodes_made: list[Node] = []
        self._initial_weights = weights
        self._trainable: list[Variable] = []
        self._non_trainable: list[Variable] = []

    @property
    def label(self) -> str:
        """How errors speak of the layer."""
        return f"Layer {self.name!r} ({type(self).__name__})"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    # ---- for subclasses

    def build(self, input_shape: Any) -> None:
        """Create the variables. input_shape: a Keras shape, or a list of them for several inputs."""

    def call(self, inputs: Any) -> Any:
        """The outputs, as an expression over symbolic tensors."""
        return inputs

    def add_weight(self, name: str | None = None, shape: Sequence[int] | None = None,
                   dtype: str | None = None, initializer: Any = None, regularizer: Any = None,
                   trainable: bool = True, constraint: Any = None) -> Variable:
        """A new variable of this layer, filled by `initializer` (default glorot_uniform)."""
        sizes, name = tuple(shape or ()), "weight" if name is None else name
        if None in sizes:
            raise ModelError(describe(f"{self.label}: weights {name!r}", "a shape that is known",
                                      f"shape {sizes}, with sizes that the model's inputs leave "
                                      "unknown", "Give the Input these sizes"))
        if not isinstance(name, str) or not all(is_integer(d) and d > 0 for d in sizes):
            raise ModelError(describe(f"{self.label}: add_weight", "a name and positive sizes",
                                      f"name={name!r}, shape={shape}"))
        kind = self.one_of("dtype of add_weight", dtype or backend.FLOAT,
                           (backend.FLOAT, "int32", "uint32"))
        self._spend(4 * prod(map(int, sizes)), sizes)
        fill = initializers.get("glorot_uniform" if initializer is None else initializer)
        fill = np.zeros if _blank.get() else fill
        taken = {v.name for v in (*self._trainable, *self._non_trainable)}
        with tracing(None):  # first values are computed now
            values = backend.eval(fill(sizes))
        variable = Variable(values, unique(f"{self.name}/{name}", taken), trainable,
                            kind, regularizers.get(regularizer), constraints.get(constraint))
        if variable.shape != sizes:
            raise ModelError(describe(f"{self.label}: initializer of {name!r}", f"shape {sizes}",
                                      f"shape {variable.shape}"))
        (self._trainable if trainable else self._non_trainable).append(variable)
        return variable

    def _spend(self, size: int, shape: Sequence[int]) -> None:
        left = _budget.get()
        if left is None:
            return
        if size > left:
            raise ModelError(describe(f"{self.label}: weights", f"at most {left} bytes more",
                                      f"shape {tuple(shape)}, which is {size} bytes"))
        _budget.set(left - size)

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """In `call`: add scalars (or tensors, which are summed) to the loss of the model."""
        from kcompile.ir import ops

        for loss in as_list(losses):
            if not isinstance(loss, Tensor):
                raise UnsupportedError(describe(f"{self.label}: add_loss", "a tensor computed in "
                                                "call", repr(loss)))
            loss.graph.losses.append(ops.reduce_sum(loss))  # type: ignore[attr-defined]

    def add_update(self, updates: Any, tensor: Any = None) -> None:
        """In `call`: (variable, its value after this call), unless the layer is frozen. Or as Keras 2
        has it, what K.update and the like gave, one or a list (`tensor` is the input then): it
        happens in training alone."""
        if isinstance(updates, Variable):
            graph = tensor.graph
            assert isinstance(graph, Trace)
            if not graph.frozen:
                graph.update(updates, tensor)
            return
        trace = current()
        if not isinstance(trace, Trace):
            raise UnsupportedError(f"{self.label}: add_update: expected to be called in `call`")
        pairs = [updates] if isinstance(updates, tuple) else updates
        for variable, value in pairs if trace.training and not trace.frozen else ():
            trace.update(variable, as_tensor(trace, value, variable.dtype))

    def one_of(self, argument: str, value: Any, options: Sequence[Any]) -> Any:
        """The value of an argument that has few. Raises ModelError naming the layer."""
        if isinstance(value, (str, int)) and value in options:
            return value
        raise ModelError(describe(f"{self.label}: {argument}", "one of "
                                  + ", ".join(map(repr, options)), repr(value)))

    def positive(self, argument: str, value: Any) -> int:
        """The value of an argument that counts something. Raises ModelError naming the layer."""
        if is_integer(value) and value > 0:
            return int(value)
        raise ModelError(describe(f"{self.label}: {argument}", "a positive integer", repr(value)))

    def positives(self, argument: str, value: Any, count: int) -> tuple[int, ...]:
        """One positive integer for each of `count` axes; a single one stands for all."""
        values = as_list(value) if isinstance(value, (list, tuple)) else [value] * count
        if len(values) == count and all(is_integer(v) and v > 0 for v in values):
            return tuple(map(int, values))
        wanted = "a positive integer" + (f" or {count} of them" if count > 1 else "")
        raise ModelError(describe(f"{self.label}: {argument}", wanted, repr(value)))

    def number(self, argument: str, value: Any, low: float = -np.inf, high: float = np.inf) -> float:
        """A finite number in [low, high). Raises ModelError naming the layer."""
        numeric = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if numeric and np.isfinite(value) and low <= value < high:
            return float(value)
        bounds = "" if low == -np.inf else f" in [{low:g}, {high:g})"
        raise ModelError(describe(f"{self.label}: {argument}", f"a number{bounds}", repr(value)))

    # ---- calling

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        """On tensors of a model: record a node. On symbolic tensors, inside another layer's `call`:
        the result. Raises ModelError, which names the layer, where shapes do not fit."""
        flat, single = as_list(inputs), not isinstance(inputs, (list, tuple))
        if flat and all(isinstance(x, Tensor) for x in flat):
            self.ensure_built([x.type for x in flat], single)
            return one_or_list(self.trace(flat, single, arguments))
        if not flat or not all(isinstance(x, KerasTensor) for x in flat):
            raise InputTypeError(describe(
                self.label, "the output of Input(...) or of another layer", _describe_types(flat),
                "Data goes into predict, fit or evaluate of a model"))
        self._check_arguments(arguments)
        types, seconds = [x.type for x in flat], [x.second for x in flat]
        with _probing(types != seconds):
            self.ensure_built(types, single,
                              next((x.batch_size for x in flat if x.batch_size), None), seconds)
            found = self._outline(types, single, arguments, [x.mask for x in flat])
            again = found if types == seconds else self._outline(
                seconds, single, arguments, [x.second_mask for x in flat])
        node = self._record(flat, single, arguments, found[0], again[0])
        for output, mask, second in zip(node.outputs, found[1], again[1]):
            output.mask, output.second_mask = mask, second
        return one_or_list(node.outputs)

    def _record(self, inputs: Sequence[KerasTensor], single: bool, arguments: dict[str, Any],
                types: Sequence[TensorType], seconds: Sequence[TensorType]) -> Node:
        """A node, whose outputs have these types at the two probes."""
        if [t.rank for t in types] != [t.rank for t in seconds]:
            raise ModelError(f"{self.label}: the number of axes depends on sizes that the model's "
                             "inputs leave unknown. Give the Input these sizes")
        index = len(self.nodes_made)
        size = next((x.batch_size for x in inputs if x.batch_size), None)
        node = Node(self, index, tuple(inputs), single, arguments)
        node.outputs.extend(KerasTensor(t, self, index, i, size, second)
                            for i, (t, second) in enumerate(zip(types, seconds)))
        self.nodes_made.append(node)
        return node

    def _check_arguments(self, arguments: dict[str, Any]) -> None:
        known = {*inspect.signature(self.call).parameters, "training"}
        for name, value in arguments.items():
            if name not in known or isinstance(value, KerasTensor):
                raise UnsupportedError(describe(f"{self.label}: call", "arguments among "
                                                + ", ".join(sorted(known)), f"{name}={value!r}"))

    def build_for(self, *shapes: KerasShape) -> None:
        """`ensure_built` for Keras shapes."""
        types, seconds = types_of_shapes(shapes)
        size = shapes[0][0] if shapes else None
        self.ensure_built(types, len(shapes) == 1, size, seconds)

    def ensure_built(self, types: Sequence[TensorType], single: bool,
                     batch_size: int | None = None, seconds: Sequence[TensorType] | None = None
                     ) -> None:
        """Check the inputs against `input_spec`, and create the variables on the first call.
        seconds: the types at the second probe."""
        shapes = [keras_shape(t, batch_size, second) for t, second in zip(types, seconds or types)]
        with self.named_errors():
            if not self.built:
                with tracing(None):
                    self.build(shapes[0] if single else shapes)
                self.built = True
            for spec, shape in zip(as_list(self.input_spec), shapes):
                if spec is not None:
                    spec.check(shape)
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)
            self._initial_weights = None

    def outline(self, types: Sequence[TensorType], single: bool, arguments: dict[str, Any]
                ) -> list[TensorType]:
        """The types of the outputs, by tracing `call` into a graph that is thrown away."""
        return self._outline(types, single, arguments, ())[0]

    def _outline(self, types: Sequence[TensorType], single: bool, arguments: dict[str, Any],
                 masks: Sequence[TensorType | None]
                 ) -> tuple[list[TensorType], list[TensorType | None]]:
        """The types of the outputs and of their masks."""
        scratch = Trace("outline")
        inputs = [Tensor(scratch, scratch.input(f"x{i}", t)) for i, t in enumerate(types)]
        for i, mask in enumerate(masks):
            if mask is not None:
                scratch.masks[inputs[i].value] = Tensor(scratch, scratch.input(f"mask{i}", mask))
        outputs = self.trace(inputs, single, arguments)
        found = [scratch.masks.get(y.value) for y in outputs]
        return [y.type for y in outputs], [None if m is None else m.type for m in found]

    def trace(self, inputs: Sequence[Tensor], single: bool, arguments: dict[str, Any]
              ) -> list[Tensor]:
        """Run `call` in the graph of the inputs; activity regularisation goes to its losses, masks of
        the outputs to its masks."""
        graph = inputs[0].graph
        assert isinstance(graph, Trace)
        given = dict(arguments)
        masks = [graph.masks.get(x.value) for x in inputs]
        with self.named_errors(), graph.mode(given.pop("training", None), not self.trainable):
            wanted = inspect.signature(self.call).parameters
            if "training" in wanted:
                given["training"] = graph.training
            if "mask" in wanted and any(m is not None for m in masks):
                given.setdefault("mask", masks[0] if single else masks)
            outputs = as_list(self.call(inputs[0] if single else list(inputs), **given))
            if not outputs or not all(isinstance(y, Tensor) for y in outputs):
                raise InputTypeError(describe("call", "to return a tensor or a list of tensors",
                                              _describe_types(outputs)))
            if self.activity_regularizer is not None:
                self._regularize(graph, outputs)
            made = self.output_masks(inputs, single, masks, outputs)
            return [_with_mask(y, m, inputs) for y, m in zip(outputs, made)]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask(s) of the output(s), for those of the inputs: bool tensors, or None.

        Here: the input's, where the layer sets `supports_masking`. Else Keras 2 raises (ModelError),
        and Keras 3 drops it.
        """
        if self.supports_masking or all(m is None for m in as_list(mask)):
            return mask
        if self.vintage == "keras3":
            return None
        raise ModelError("this layer does not support masking, but its input has a mask (from "
                         "Masking or Embedding(mask_zero=True)). Put it before them, or leave the "
                         "mask out")

    def output_masks(self, inputs: Sequence[Tensor], single: bool, masks: Sequence[Tensor | None],
                     outputs: Sequence[Tensor]) -> list[Tensor | None]:
        """The mask of each output."""
        mask = None if all(m is None for m in masks) else masks[0] if single else list(masks)
        made = as_list(self.compute_mask(inputs[0] if single else list(inputs), mask))
        return made if len(made) == len(outputs) else [None] * len(outputs)

    def _regularize(self, graph: Trace, outputs: Sequence[Tensor]) -> None:
        """Keras 2.3 and later divide by the batch size."""
        from kcompile.ir import ops

        assert self.activity_regularizer is not None
        for output in outputs:
            penalty = self.activity_regularizer(output)
            graph.losses.append(penalty / ops.count(output, [0]))

    def named_errors(self) -> AbstractContextManager[None]:
        """Errors raised inside name this layer (the innermost one, where layers are nested)."""
        return explained(self.label)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Keras shape(s) of the output for Keras shape(s) of the input; builds nothing."""
        single = not input_shape or not isinstance(input_shape[0], (list, tuple))
        shapes = [input_shape] if single else list(input_shape)
        types, seconds = types_of_shapes(shapes)
        layer = self
        if not self.built:
            state = np.random.get_state()  # the copy's initial values must not move the seeds
            layer = type(self).from_config(self.get_config())
            layer.ensure_built(types, single, None, seconds)
            np.random.set_state(state)
        with _probing(types != seconds):
            found, again = (layer.outline(t, single, {}) for t in (types, seconds))
        return one_or_list([keras_shape(t, None, second) for t, second in zip(found, again)])

    # ---- weights

    @property
    def trainable_weights(self) -> list[Variable]:
        return list(self._trainable) if self.trainable else []

    @trainable_weights.setter
    def trainable_weights(self, variables: Sequence[Variable]) -> None:
        """Make these the layer's trained weights, as custom layers of Keras 1 and 2 do in `build`."""
        self._trainable = list(variables)

    @property
    def non_trainable_weights(self) -> list[Variable]:
        return [*([] if self.trainable else self._trainable), *self._non_trainable]

    @property
    def state_variables(self) -> list[Variable]:
        """What outlives calls and is no weight: the states of a stateful recurrent layer."""
        return []

    @property
    def weights(self) -> list[Variable]:
        """The trainable ones first."""
        return self.trainable_weights + self.non_trainable_weights

    def get_weights(self) -> list[np.ndarray]:
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Write all weights, in the order of `get_weights`, or none. Raises InputError."""
        variables, arrays = self.weights, [np.asarray(w) for w in weights]
        if len(arrays) != len(variables):
            remedy = "" if self.built else "It has none before it is built: give it an input shape"
            raise InputError(describe(f"{self.label}: set_weights", f"{len(variables)} arrays",
                                      f"{len(arrays)}", remedy))
        for variable, array in zip(variables, arrays):
            if array.shape != variable.shape:
                raise InputError(describe(f"{self.label}: set_weights", f"shape {variable.shape} "
                                          f"for {variable.name!r}", f"shape {array.shape}"))
        for variable, array in zip(variables, arrays):
            variable.assign(array)

    def count_params(self) -> int:
        """The number of elements of all weights. Raises ModelError before the layer is built."""
        if not self.built:
            raise ModelError(f"{self.label}: count_params: the layer has no weights yet. Call it on "
                             "an input, or give it an input_shape in a Sequential")
        return sum(v.value.size for v in self.weights)

    # ---- configuration

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs: the constructor's arguments, made of what JSON can hold.

        Every argument that the layer keeps in an attribute of the same name is included, so layers
        need not write this method.
        """
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable,
                                  "dtype": self.dtype}
        if self.batch_input_shape is not None:
            config["batch_input_shape"] = list(self.batch_input_shape)
        if self.vintage != VINTAGES[0]:
            config["vintage"] = self.vintage
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = serialize(self.activity_regularizer)
        kept = vars(self)
        config.update((name, serialize(kept[name])) for name in _parameters(type(self), Layer)
                      if name in kept and name not in config)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        return cls(**config)

    # ---- nodes, as Keras shows them

    def get_input_at(self, node_index: int) -> Any:
        return self._at(node_index, "input")

    def get_output_at(self, node_index: int) -> Any:
        return self._at(node_index, "output")

    def get_input_shape_at(self, node_index: int) -> Any:
        return _shapes(self._at(node_index, "input shape"))

    def get_output_shape_at(self, node_index: int) -> Any:
        return _shapes(self._at(node_index, "output shape"))

    @property
    def input(self) -> Any:
        return self.get_input_at(self._only("input"))

    @property
    def output(self) -> Any:
        return self.get_output_at(self._only("output"))

    @property
    def input_shape(self) -> Any:
        return self._common("input_shape", self.get_input_shape_at)

    @property
    def output_shape(self) -> Any:
        return self._common("output_shape", self.get_output_shape_at)

    def _at(self, index: int, what: str) -> Any:
        if not self.nodes_made:
            raise RuntimeError(f"{self.label} was never called, and so has no {what}")
        if not -len(self.nodes_made) <= index < len(self.nodes_made):
            raise ModelError(describe(f"{self.label}: {what} at a node", f"an index below "
                                      f"{len(self.nodes_made)}", str(index)))
        node = self.nodes_made[index]
        if what.startswith("output"):
            return one_or_list(node.outputs)
        # An Input is its own input, as Keras has it
        return one_or_list(node.inputs or node.outputs)

    def _only(self, what: str) -> int:
        if len(self.nodes_made) > 1:
            raise AttributeError(f"{self.label} was called {len(self.nodes_made)} times, so it has "
                                 f"no single {what}. Use get_{what}_at(node_index)")
        if not self.nodes_made:
            raise AttributeError(f"{self.label} was never called, and so has no {what}")
        return 0

    def _common(self, what: str, at: Callable[[int], Any]) -> Any:
        if not self.nodes_made:
            raise AttributeError(f"{self.label} was never called, and so has no {what}")
        found = [at(i) for i in range(len(self.nodes_made))]
        if any(shape != found[0] for shape in found):
            raise AttributeError(f"{self.label} has nodes with different {what}s. Use "
                                 f"get_{what}_at(node_index)")
        return found[0]


@contextmanager
def _probing(unknown: bool) -> Iterator[None]:
    """Errors raised inside say, where sizes are unknown, what they were tried as."""
    try:
        yield
    except KcompileError as error:
        if not unknown or "unknown" in str(error):
            raise
        text = str(error).removesuffix(".")
        raise type(error)(f"{text}. Sizes unknown before there are data were tried as {PROBES[0]} and "
                          f"{PROBES[1]}: if others are needed, give the Input these sizes") from error


def _with_mask(y: Tensor, mask: Tensor | None, inputs: Sequence[Tensor]) -> Tensor:
    """y, with this mask in its trace: another value, where y is an input that has another mask."""
    masks: dict[Any, Tensor] = y.graph.masks  # type: ignore[attr-defined]
    if masks.get(y.value) is not mask:
        if y.value in [x.value for x in inputs]:
            y = emit("reshape", [y], shape=y.shape)
        masks.pop(y.value, None)
        if mask is not None:
            masks[y.value] = mask
    return y


def _shapes(tensors: Any) -> Any:
    return one_or_list([x.shape for x in as_list(tensors)])


def _parameters(cls: type, stop: type = object) -> dict[str, None]:
    """Names of the constructor arguments of a class and of its bases below `stop`, in order."""
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if base is stop or base is object:
            break
        if "__init__" in vars(base):
            names.update((p.name, None) for p in inspect.signature(vars(base)["__init__"]).parameters.values()
                         if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self")
    return names


def unique(name: str, taken: set[str]) -> str:
    """The name, or the name with the first number that makes it new."""
    number, found = 0, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def _new_name(cls: type) -> str:
    prefix = backend.snake_case(cls.__name__)
    return f"{prefix}_{backend.get_uid(prefix)}"


def _checked_name(name: Any) -> str:
    if isinstance(name, str) and name:
        return name
    raise ModelError(describe("the name of a layer", "text", repr(name)))


def _input_shape_argument(kwargs: dict[str, Any]) -> KerasShape | None:
    """Take the ways to state the first layer's input out of kwargs: a shape with the batch."""
    batch = kwargs.pop("batch_size", None)
    dim, length = kwargs.pop("input_dim", None), kwargs.pop("input_length", None)
    shape = kwargs.pop("input_shape", None)
    full = kwargs.pop("batch_input_shape", kwargs.pop("batch_shape", None))
    if shape is None and dim is not None:
        shape = (dim,) if length is None else (length, dim)
    if full is None and shape is None:
        return None
    given = full if full is not None else (batch, *(shape if isinstance(shape, (list, tuple))
                                                    else [shape]))
    if not isinstance(given, (list, tuple)) or not given or any(
            d is not None and not (is_integer(d) and d > 0) for d in given):
        raise ModelError(describe("input_shape", "positive sizes", str(given)))
    return tuple(None if d is None else int(d) for d in given)


def _describe_types(values: Sequence[Any]) -> str:
    return ", ".join(type(v).__name__ for v in values) or "nothing"


# ---------------------------------------------------------------- inputs


class InputLayer(Layer):
    """The entry of a model: a node without inputs. Made by `Input`."""

    def __init__(self, **kwargs: Any) -> None:
        if kwargs.pop("sparse", False) or kwargs.pop("input_tensor", None) is not None:
            raise UnsupportedError("InputLayer: sparse inputs and input_tensor are not supported")
        if kwargs.get("name") is None:
            kwargs["name"] = f"input_{backend.get_uid('input')}"
        super().__init__(**kwargs)
        if self.batch_input_shape is None:
            raise ModelError(f"{self.label}: expected input_shape or batch_input_shape. "
                             "Received: neither")
        self.built = True
        with self.named_errors():
            self._record((), True, {}, *([type_of_shape(self.batch_input_shape, self.dtype, probe)]
                                         for probe in (0, 1)))
        self.nodes_made[0].outputs[0].batch_size = self.batch_input_shape[0]


def Input(shape: Sequence[int | None] | None = None, batch_shape: Sequence[Any] | None = None,
          name: str | None = None, dtype: str | None = None, sparse: bool = False,
          tensor: Any = None, batch_size: int | None = None) -> Any:
    """The input of a functional model: a tensor of `shape`, which leaves the batch out.

    batch_shape: the shape with the batch. None is a size that may differ from call to call; code is
    made for each size that comes. Raises ModelError without a shape, and UnsupportedError for sparse
    and tensor.
    """
    if shape is None and batch_shape is None:
        raise ModelError("Input: expected shape=(...) or batch_shape=(None, ...). Received: neither")
    full = batch_shape if batch_shape is not None else (batch_size, *as_list(shape))
    layer = InputLayer(batch_input_shape=full, dtype=dtype, sparse=sparse, input_tensor=tensor,
                       name=name)
    return layer.output

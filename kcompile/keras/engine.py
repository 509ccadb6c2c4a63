"""Layers, and the nodes that their calls leave behind.

A layer is its configuration (the arguments of its constructor), `build` (creates variables) and
`call` (written over symbolic tensors). Calling a layer on a `KerasTensor` records a `Node` and gives
tensors whose types come from tracing `call` once: shapes are the IR's rules, stated nowhere else.
What a layer does with its arguments, its variables and its nodes stands in `layer_arguments`,
`layer_weights` and `layer_nodes`; what it adds to losses and updates in `layer_additions`.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.graph import Graph, Source
from kcompile.ir.tensor import Tensor, as_tensor, constant
from kcompile.ir.types import FLOATS, Batch, TensorType
from kcompile.keras import argument_orders, given_masks, keras1, regularizers, settings
from kcompile.keras.copying import restore, state_of
from kcompile.keras.counted import at_probes
from kcompile.keras.eager import as_eager
from kcompile.keras.editions import edition
from kcompile.keras.evaluation import computed
from kcompile.keras.layer_additions import Additions
from kcompile.keras.layer_arguments import checked_name, input_shape_argument, parameters
from kcompile.keras.layer_calls import describe_types, numbered, probing, with_mask, wrap_methods
from kcompile.keras.layer_nodes import Nodes
from kcompile.keras.layer_weights import Weights, kept_random_state, unique, weight_budget
from kcompile.keras.names_of_scripts import is_ours
from kcompile.keras.newer_members import LayerMembers
from kcompile.keras.operands import here, tensor
from kcompile.keras.operators import identity
from kcompile.keras.policies import dtype_here
from kcompile.keras.scopes import scope
from kcompile.keras.semantics import VINTAGES, Semantics, semantics
from kcompile.keras.settings import OfScript, floatx, running, samples_of, snake_case
from kcompile.keras.step_data import check_pairs
from kcompile.keras.tensors import (
    InputSpec,
    KerasShape,
    KerasTensor,
    Node,
    Variable,
    as_batch,
    as_list,
    is_integer,
    keras_shape,
    one_or_list,
    refuse_texts,
    type_of_shape,
    types_of_shapes,
)
from kcompile.keras.tracing import Inferred, Trace, current, trace_of, tracing
from kcompile.keras.utils.serialization import custom_object_scope, serialize
from kcompile_runtime.errors import (
    InputTypeError,
    KeywordError,
    KindError,
    ModelError,
    OperandError,
    UnsupportedError,
    describe,
)
from kcompile_runtime.texts import printable

__all__ = [
    "InputSpec",
    "KerasShape",
    "KerasTensor",
    "Layer",
    "Node",
    "Variable",
    "as_list",
    "is_integer",
    "keras_shape",
    "one_or_list",
    "type_of_shape",
    "unique",
    "weight_budget",
]


def in_graph(x: np.ndarray) -> Any:
    """An array as a constant of the graph that is being traced, where one is: what a layer makes of it there
    follows from its weights."""
    graph = current()
    return x if graph is None else tensor(x)


_calls_made = itertools.count()  # on arrays


class Layer(Weights, Additions, Nodes, LayerMembers):
    """Base of all layers.

    name: default the class's name with a number. trainable: whether training changes the weights.
    input_shape (without the batch), batch_input_shape, input_dim, input_length, batch_size, dtype:
    the input of the first layer of a Sequential. weights: initial values. activity_regularizer: a
    loss on the outputs. vintage: which Keras' semantics where they differ, one of
    `semantics.VINTAGES`; default that of `set_version`. Raises UnsupportedError for any other keyword.
    """

    vintage = OfScript()
    input_spec: InputSpec | Sequence[InputSpec] | None = None
    supports_masking = False
    stateful = False  # whether its state goes on from one batch to the next
    is_input = False  # the entry of a model
    computes_in_dtype = True  # else in the type of its inputs
    wants_floats = False  # so that whole numbers become numbers of its dtype
    listed = True  # among the layers of a model
    runs_on_arrays = False  # in a model too, before its graphs (`prelude`)
    takes_texts = False  # tensors that stand for texts
    takes_mask = False  # in its call, beside the layers whose `call` has it among its arguments
    masks_of_tensors = False  # where a mask of `call` is no argument in Keras 3
    wants_list = False  # of one tensor too, as layers that merge do
    branches: Any = None  # of a Merge that holds some
    adopt_layer: Any = (
        None  # takes in a class of a user's; set by `layers.custom`, which is above this module
    )
    likely_shape: KerasShape | None = None  # of the input, where the first layer of a Sequential says none

    def __init__(
        self,
        name: str | None = None,
        trainable: bool = True,
        dtype: str | None = None,
        activity_regularizer: Any = None,
        weights: Sequence[Any] | None = None,
        vintage: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.name = type(self).__name__ if name is None else checked_name(name)
        self.vintage = self.vintage if vintage is None else self.one_of("vintage", vintage, VINTAGES)
        if name is None:
            self.name = self._new_name()
        kwargs = keras1.renamed("Layer", kwargs)
        dtype = kwargs.pop("dtype", dtype)
        self.batch_input_shape = input_shape_argument(kwargs)
        neutral = edition(self.vintage).neutral
        kwargs = {
            k: v
            for k, v in kwargs.items()
            if k not in neutral or isinstance(v, np.ndarray) or v not in neutral[k]
        }
        if kwargs:
            known = ", ".join(sorted(parameters(type(self))))
            raise KeywordError(
                f"{self.label}: unknown or unsupported keyword. Expected: "
                f"{known}. Received: {', '.join(sorted(kwargs))}"
            )
        self.dtype_policy = self.policy(dtype, bool(self.batch_input_shape))
        # Of its weights, where it is a float type, and of the input that the layer stands for
        self.dtype = dtype_here(self.dtype_policy.compute_dtype)
        self._is_trainable = self.flag("trainable", trainable)
        with running(self.vintage):
            self.activity_regularizer = regularizers.get(activity_regularizer)
        self.built = False
        self.nodes_made: list[Node] = []
        self.consumers: list[Node] = []
        self._initial_weights = weights
        self._trainable: list[Variable] = []
        self._non_trainable: list[Variable] = []

    def __repr__(self) -> str:
        name, newer = printable(self.name), edition(self.vintage).operations
        return f"<{type(self).__name__} {f'name={name}, built={self.built}' if newer else name}>"

    def _new_name(self) -> str:
        """The name of a layer that is given none: its class's, with a number."""
        return numbered(snake_case(type(self).__name__, self.vintage), self.vintage)

    @property
    def input_tensor(self) -> Any:
        """None, but for the entry of a model that stands for a tensor of K."""
        return None

    @property
    def input_dtype(self) -> str:
        """The dtype of the input that the layer stands for as the first of a Sequential."""
        return self.dtype

    @property
    def semantics(self) -> Semantics:
        """How the layer behaves where the Kerases differ."""
        return semantics(self.vintage)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Methods that scripts call themselves take tensors of a model too."""
        super().__init_subclass__(**kwargs)
        wrap_methods(cls)
        if not is_ours(cls) and not hasattr(cls, "subclassed"):
            cls.adopt_layer(cls)
        if cls.__module__.startswith("kcompile.keras."):
            if cls.__name__ in argument_orders.ORDERS["keras2"]:
                argument_orders.accept(cls)
            if cls.__name__ in keras1.LAYERS:
                keras1.accept(cls)

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights."""
        return self._is_trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        """After Keras 2, it is set for all layers inside too, and in Keras 3 for each variable."""
        self._is_trainable = self.flag("trainable", value)
        for variable in self._trainable if self.semantics.trained_weights == "own flag" else ():
            variable.trainable = self._is_trainable
        if self.semantics.trainable_of_model == "each layer":
            for layer in self.inside:
                layer.trainable = value

    # ---- for subclasses

    @property
    def meets_samples(self) -> bool:
        """Whether, in training, samples of a batch meet, or one call follows from the one before."""
        return False

    def build(self, input_shape: Any) -> None:
        """Create the variables. input_shape: a Keras shape, or a list of them for several inputs."""
        self.built = True

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The outputs, as an expression over symbolic tensors. Each layer names the arguments it takes."""
        return inputs

    # ---- calling

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        """On tensors of a model: record a node. On symbolic tensors, inside another layer's `call`:
        the result. On variables as on the tensors they are there. On arrays: the values, where the
        layer's Keras computes at once. Raises ModelError, which names the layer, where shapes do not fit."""
        flat, single = list(map(here, as_list(inputs))), not isinstance(inputs, (list, tuple))
        arguments = {key: here(x) for key, x in arguments.items()}
        if any(isinstance(x, Variable) for x in flat):
            flat = [identity(x) if isinstance(x, Variable) else x for x in flat]
        flat = [x if not isinstance(x, np.ndarray) else in_graph(x) for x in flat]
        if flat and all(isinstance(x, Tensor) for x in flat):
            self.ensure_built([x.type for x in flat], single)
            return one_or_list(self.trace(flat, single, arguments))
        if flat and edition(self.vintage).eager and all(isinstance(x, np.ndarray) for x in flat):
            return self._now(flat, single, arguments)
        if not flat or not all(isinstance(x, KerasTensor) for x in flat):
            raise OperandError(
                describe(
                    self.label,
                    "the output of Input(...) or of another layer",
                    describe_types(flat),
                    "Data goes into predict, fit or evaluate of a model",
                )
            )
        return one_or_list(self._add_node(flat, single, arguments).outputs)

    def _add_node(self, flat: Sequence[KerasTensor], single: bool, arguments: dict[str, Any]) -> Node:
        """A call on tensors of a model, whose outputs' types and masks are inferred at both probes."""
        self._check_arguments(arguments)
        with self.named_errors():
            flat, single, arguments = given_masks.joined(flat, single, arguments, self.wants_list)
        types, second_types = [x.type for x in flat], [x.second_type for x in flat]
        if any(t.shape[:1] == (Batch(),) for t in types):  # beside them, given tensors are batches too
            types, second_types = (
                [as_batch(t, x.batch_size) for t, x in zip(several, flat)]
                for several in (types, second_types)
            )
        with probing(types != second_types), samples_of(flat):
            own = slice(len(flat) - int(arguments.get(given_masks.COUNT, 0)))
            size = next((x.batch_size for x in flat if x.batch_size), None)
            self.ensure_built(types[own], single, size, second_types[own])
            found, again, counted = at_probes(self, flat, (types, second_types), single, arguments)
        node = self._record(flat, single, arguments, found[0], again[0], counted)
        for output, mask, second_mask in zip(node.outputs, found[1], again[1]):
            output.mask, output.second_mask = mask, second_mask
        return node

    def _now(self, arrays: Sequence[np.ndarray], single: bool, arguments: dict[str, Any]) -> Any:
        """The values for arrays, without a node."""
        self._check_arguments(arguments)
        given = [np.asarray(a, floatx()) if a.dtype.kind == "f" else a for a in arrays]
        self.ensure_built([TensorType(a.shape, a.dtype.name) for a in given], single)
        counts: dict[Any, int] = {}

        def make(graph: Graph) -> list[Tensor]:
            trace = trace_of(graph)
            trace.untold = "training" not in arguments
            trace.stepping = True  # so that it knows which layer added what to the loss
            outputs = self.trace([constant(graph, a, a.dtype.name) for a in given], single, arguments)
            losses = [ops.reduce_mean(x) if x.rank else x for added in trace.added.values() for x in added]
            counts.update((layer, len(added)) for layer, added in trace.added.items())
            return [*outputs, *losses]

        found = [as_eager(y, self.vintage) for y in computed(make, next(_calls_made), True)]
        added = found[len(found) - sum(counts.values()) :]
        for layer, count in reversed(counts.items()):
            layer.called_losses = added[len(added) - count :]
            added = added[: len(added) - count]
        return one_or_list(found[: len(found) - sum(counts.values())])

    def on_arrays(
        self, arrays: Sequence[np.ndarray], single: bool, arguments: dict[str, Any]
    ) -> list[np.ndarray]:
        """The outputs for arrays, as in inference."""
        return as_list(self._now(arrays, single, {**arguments, "training": False}))

    def _record(
        self,
        inputs: Sequence[KerasTensor],
        single: bool,
        arguments: dict[str, Any],
        types: Sequence[TensorType],
        second_types: Sequence[TensorType],
        counted: bool = False,
    ) -> Node:
        """A node, whose outputs have these types at the two probes."""
        refuse_texts(self, inputs)
        if [t.rank for t in types] != [t.rank for t in second_types]:
            raise ModelError(
                f"{self.label}: the number of axes depends on sizes that the model's "
                "inputs leave unknown. Give the Input these sizes"
            )
        index = len(self.nodes_made)
        size = next((x.batch_size for x in inputs if x.batch_size), None)
        node = Node(self, index, tuple(inputs), single, arguments, counted=counted)
        node.outputs.extend(
            KerasTensor(first, self, index, i, size, second)
            for i, (first, second) in enumerate(zip(types, second_types))
        )
        self.nodes_made.append(node)
        for layer in {x.layer for x in inputs} if self.consumes else ():
            layer.consumers.append(node)
        return node

    def _check_arguments(self, arguments: dict[str, Any]) -> None:
        known = {*inspect.signature(self.call).parameters, "training"}
        if self.takes_mask:
            known.add("mask")
        for name, value in arguments.items():
            if name == given_masks.COUNT and "mask" in known:
                continue
            if name not in known or (name != "mask" and isinstance(value, KerasTensor)):
                raise UnsupportedError(
                    describe(
                        f"{self.label}: call",
                        "arguments among " + ", ".join(sorted(known)),
                        f"{name}={value!r}",
                    )
                )

    def build_for(self, *shapes: KerasShape) -> None:
        """`ensure_built` for Keras shapes."""
        types, second_types = types_of_shapes(shapes)
        size = shapes[0][0] if shapes else None
        self.ensure_built(types, len(shapes) == 1, size, second_types)

    def ensure_built(
        self,
        types: Sequence[TensorType],
        single: bool,
        batch_size: int | None = None,
        second_types: Sequence[TensorType] | None = None,
    ) -> None:
        """Check the inputs against `input_spec`, and create the variables on the first call.
        second_types: the types at the second probe."""
        shapes = [
            keras_shape(first, batch_size, second) for first, second in zip(types, second_types or types)
        ]
        self._build_on(shapes, types, single, batch_size)
        if self._initial_weights is not None:
            with tracing(None):
                self.set_weights(self._initial_weights)
            self._initial_weights = None

    def _build_on(
        self, shapes: list[KerasShape], types: Sequence[TensorType], single: bool, batch_size: int | None
    ) -> None:
        """`build` for the shapes of these types, where it was not called, and the check of the inputs."""
        with self.named_errors():
            if not self.built:
                self._build_from([shapes[0] if single else shapes])
            self._check_inputs(shapes)

    def _build_from(self, shapes: Sequence[Any]) -> None:
        with tracing(None), scope(self):
            self.build(*shapes)
        self.built = True

    def _check_inputs(self, shapes: Sequence[KerasShape]) -> None:
        for spec, shape in zip(as_list(self.input_spec), shapes):
            if spec is not None:
                spec.check(shape)

    def assert_input_compatibility(self, inputs: Any) -> None:
        """Raises ModelError for tensors of a model that `input_spec` does not allow."""
        with self.named_errors():
            self._check_inputs([x.shape for x in as_list(inputs)])

    def infer_types(
        self, types: Sequence[TensorType], single: bool, arguments: dict[str, Any]
    ) -> list[TensorType]:
        """The types of the outputs, by tracing `call` into a graph that is thrown away."""
        return self._infer(types, single, arguments, ())[0]

    def _infer(
        self,
        types: Sequence[TensorType],
        single: bool,
        arguments: dict[str, Any],
        masks: Sequence[TensorType | None],
    ) -> Inferred:
        """The types of the outputs and of their masks."""
        scratch = Trace("shape inference")
        scratch.alone, scratch.penalizes = True, False
        inputs = [scratch.input(f"x{i}", t) for i, t in enumerate(types)]
        for i, mask in enumerate(masks):
            if mask is not None:
                scratch.masks[inputs[i].value] = scratch.input(f"mask{i}", mask)
        outputs = self.trace(inputs, single, arguments)
        if edition(self.vintage).eager and not is_ours(type(self)):
            check_pairs(scratch.graph)
        found = [scratch.masks.get(y.value) for y in outputs]
        return [y.type for y in outputs], [None if m is None else m.type for m in found]

    def trace(
        self, inputs: Sequence[Tensor], single: bool, arguments: dict[str, Any], regularized: bool = True
    ) -> list[Tensor]:
        """Run `call` in the graph of the inputs; activity regularisation goes to its losses, masks of
        the outputs to its masks."""
        trace = trace_of(inputs[0])
        given = dict(arguments)
        inputs, told = given_masks.apart(inputs, given)
        masks = implicit = [trace.masks.get(x.value) for x in inputs]
        numbers = given_masks.numeric(self, told)
        if told is not None and numbers is None:  # layers inside find them at the tensors
            told = [None if m is None else given_masks.as_bool(m) for m in told]
            masks = [*told, *[None] * (len(inputs) - len(told))]
            inputs = [with_mask(x, mask, [x]) for x, mask in zip(inputs, masks)]
            trace.told |= {mask.value for mask in told if mask is not None}
        with (
            self.named_errors(),
            running(self.vintage),
            scope(self),
            trace.mode(
                trace.told_or_default(given.pop("training", None), self.call),
                not self.trainable,
                self.semantics.moving_statistics == "all flags",
            ),
        ):
            wanted = inspect.signature(self.call).parameters
            if "training" in wanted:
                given["training"] = self._training_argument(trace, arguments.get("training"))
            passed = masks if numbers is None else numbers
            if "mask" in wanted and any(m is not None for m in passed):
                given["mask"] = passed[0] if single or (told and len(told) == 1) else passed
            if self.semantics.layers_cast_floats and self.computes_in_dtype and self.dtype in FLOATS:
                inputs = [
                    ops.cast(x, self.dtype) if self.wants_floats or x.dtype in FLOATS else x for x in inputs
                ]
            before = len(trace.losses)
            outputs = self._called(inputs, single, given)
            outputs = [tensor(y) if isinstance(y, (Variable, np.ndarray)) else y for y in outputs]
            if not outputs or not all(isinstance(y, Tensor) for y in outputs):
                raise InputTypeError(
                    describe("call", "to return a tensor or a list of tensors", describe_types(outputs))
                )
            if self.activity_regularizer is not None and regularized and trace.penalizes:
                self._regularize(trace, outputs)
            if trace.stepping:
                trace.added[self] = trace.losses[before:]
            kept = masks if self.semantics.given_masks_go_on else implicit
            made = self.output_masks(inputs, single, kept, outputs)
            return [with_mask(y, m, inputs) for y, m in zip(outputs, made)]

    def _called(self, inputs: Sequence[Tensor], single: bool, given: dict[str, Any]) -> list[Any]:
        """What `call` returns, as a list."""
        return as_list(self.call(inputs[0] if single else list(inputs), **given))

    def _training_argument(self, trace: Trace, given: bool | None) -> bool | None:
        """`training` as `call` sees it. given: by the caller."""
        return trace.training

    def emit(self, graph: Graph, node: Node, operands: Sequence[Tensor]) -> list[Tensor]:
        """The results of a call of this layer in a graph. Raises ModelError for an input, which has none."""
        if not node.inputs:
            raise ModelError(
                f"the value of input {self.name!r} is needed here. Give it among the "
                "inputs of K.function; inside a layer, use the tensors that `call` is given"
            )
        with graph.source(Source(self.name, node.index)):
            return self.trace(operands, node.single, node.arguments)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask(s) of the output(s), for those of the inputs: bool tensors, or None.

        Here: the input's, where the layer sets `supports_masking`. Else Keras 2 raises (ModelError),
        and its successors drop it.
        """
        if self.supports_masking or all(m is None for m in as_list(mask)):
            return mask
        if self.semantics.unsupported_mask == "dropped":
            return None
        raise KindError(
            "this layer does not support masking, but its input has a mask (from "
            "Masking or Embedding(mask_zero=True)). Put it before them, or leave the "
            "mask out"
        )

    def output_masks(
        self,
        inputs: Sequence[Tensor],
        single: bool,
        masks: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """The mask of each output, in their order: masks that `compute_mask` gives beyond them are none's."""
        mask = None if all(m is None for m in masks) else masks[0] if single else list(masks)
        made = self.compute_mask(inputs[0] if single else list(inputs), mask)
        rest = None if isinstance(made, (list, tuple)) or not self.semantics.one_mask_for_all else made
        return [*as_list(made), *[rest] * len(outputs)][: len(outputs)]

    def _regularize(self, trace: Trace, outputs: Sequence[Tensor]) -> None:
        """The penalties on the outputs, of all samples together."""
        assert self.activity_regularizer is not None
        for output in outputs:
            penalty = as_tensor(trace.graph, self.activity_regularizer(output), output.dtype)
            divided = self.semantics.activity_by_sample and output.rank
            trace.losses.append(penalty / ops.count(output, [0]) if divided else penalty)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Keras shape(s) of the output for Keras shape(s) of the input; builds nothing."""
        if not isinstance(input_shape, (list, tuple)) or not input_shape:
            raise ModelError(
                describe(
                    f"{self.label}: compute_output_shape", "a shape, or a list of them", repr(input_shape)
                )
            )
        single = not isinstance(input_shape[0], (list, tuple))
        shapes: list[Any] = [input_shape] if single else list(input_shape)
        types, second_types = types_of_shapes(shapes)
        layer = self
        if not self.built:
            with kept_random_state():
                layer = self.twin()
                layer.ensure_built(types, single, None, second_types)
        with probing(types != second_types):
            found, again = (layer.infer_types(t, single, {}) for t in (types, second_types))
        size = shapes[0][0] if is_integer(shapes[0][0]) else None
        return one_or_list([keras_shape(first, size, second) for first, second in zip(found, again)])

    # ---- configuration

    def twin(self, **changes: Any) -> Any:
        """A layer of the same configuration, but for `changes`, that is not built."""
        with custom_object_scope(self.classes()):
            return type(self).from_config({**self.get_config(), **changes})

    def classes(self) -> dict[str, type]:
        """The classes by name that its configuration speaks of, which may be the user's own."""
        return {type(self).__name__: type(self)}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments for `from_config`, made of what JSON can hold. Every one that the layer
        keeps in an attribute of the same name is included, so layers need not write this method."""
        config: dict[str, Any] = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": self.dtype_policy.name,
        }
        if self.batch_input_shape is not None:
            config["batch_input_shape"] = list(self.batch_input_shape)
        if self.vintage != settings.vintage():
            config["vintage"] = self.vintage
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = serialize(self.activity_regularizer)
        kept = vars(self)
        config.update(
            (name, serialize(kept[name]))
            for name in parameters(type(self), Layer)
            if name in kept and name not in config
        )
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        return cls(**config)

    # ---- pickle and copy

    def __getstate__(self) -> dict[str, Any]:
        """Calls belong to the models that they are in, which keep them."""
        return {**state_of(self, "consumers"), "nodes_made": [n for n in self.nodes_made if not n.inputs]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state, consumers=[])

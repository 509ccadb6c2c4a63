"""`Model`: layers put together, called, described, written as configurations and read back.

A model holds the nodes from its inputs to its outputs, in Keras' order, and is a layer itself. Training and
prediction are in `training`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import keras1
from kcompile.keras.between import from_between
from kcompile.keras.configured import Configured
from kcompile.keras.copying import restore, state_of
from kcompile.keras.eager import as_eager
from kcompile.keras.editions import edition
from kcompile.keras.engine import (
    KerasShape,
    KerasTensor,
    Layer,
    Node,
    Variable,
    as_list,
    in_graph,
    is_integer,
    one_or_list,
)
from kcompile.keras.expressions import TensorFunction
from kcompile.keras.inputs import Input, InputLayer
from kcompile.keras.layer_calls import numbered
from kcompile.keras.layer_weights import distinct, distinguish, weights_of_others
from kcompile.keras.layers.held import check_nesting
from kcompile.keras.layers.registry import register
from kcompile.keras.lengths import shapes_of
from kcompile.keras.names_of_scripts import is_ours
from kcompile.keras.network import Network
from kcompile.keras.newer_members import ModelMembers
from kcompile.keras.operands import here, leaves, map_leaves
from kcompile.keras.operators import identity
from kcompile.keras.outputs import Outputs, form_of, keys_of
from kcompile.keras.prelude import Prelude, prelude_of
from kcompile.keras.saving import Saving
from kcompile.keras.settings import snake_case
from kcompile.keras.standardize import by_name
from kcompile.keras.summary import print_summary, summary_as_html
from kcompile.keras.tensors import is_number, new_random_state
from kcompile.keras.topology import back_from, count_runs, sort_nodes
from kcompile.keras.tracing import Inferred, current, infer_nodes, trace_nodes, trace_of
from kcompile.keras.trainer import Trainer
from kcompile.keras.training import Training
from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import ModelError, UnsupportedError, describe


class Model(Training, Saving, Configured, Network, Outputs, ModelMembers, Layer):  # type: ignore[override]
    """A graph of layers from `inputs` to `outputs`: tensors, lists of them, or dicts.

    Those of a dict are in the order of its keys, which are then the names of inputs or outputs, and outputs
    of a dict are given as one. nodes: the calls in the order they run. layers: in the order Keras lists
    them. random_state: the variables "seed" and "step", which random layers draw from. Raises ModelError
    when an output does not follow from the inputs, and for layers of the same name.
    """

    input_keys: tuple[str, ...] | None = None
    computes_in_dtype = False
    takes_mask = True
    calls_as_written = False  # whether calls are told of training what they say in every vintage
    subclassed = False  # whether a `call` of the class's own says what it computes
    adopt: Any = None  # takes in such a class; set by `subclassing`, which is above this module
    without_call: Any = None  # makes one of a class that defines steps alone; set there too

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A class of a user's that defines `call` is a `SubclassedModel` too."""
        super().__init_subclass__(**kwargs)
        if (cls.subclassed or "call" in vars(cls)) and not cls.__module__.startswith("kcompile.keras."):
            cls.adopt(cls)

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, **kwargs: Any
    ) -> None:
        kwargs = keras1.renamed("Model", kwargs)
        inputs, outputs = kwargs.pop("inputs", inputs), kwargs.pop("outputs", outputs)
        if inputs is self and outputs is None:  # super().__init__(self), as a guide of TensorFlow's has it
            inputs = None
        if inputs is None and outputs is None and not self.subclassed and not is_ours(type(self)):
            self.__class__ = self.without_call(type(self))  # its other methods say what it does
        if (inputs is None and outputs is None) != self.subclassed or (inputs is None) != (outputs is None):
            wanted = "inputs and outputs, or neither for a class that defines `call`"
            raise UnsupportedError(f"{type(self).__name__}: expected {wanted}")
        self._begin(name, kwargs)
        if self.subclassed:
            return
        self.input_keys, self.output_keys = keys_of(inputs, "inputs"), keys_of(outputs, "outputs")
        self.gives = form_of(outputs)
        given = [
            as_list(value) if keys is None else [value[key] for key in keys]
            for value, keys in ((inputs, self.input_keys), (outputs, self.output_keys))
        ]
        if edition(self.vintage).eager:
            given[0] = list(leaves(given[0]))  # Model([model.inputs], ...)
        self._connect(*(from_between(*given) if edition(self.vintage).eager else given))

    def _begin(self, name: str | None, kwargs: dict[str, Any]) -> None:
        Layer.__init__(self, name=name, **kwargs)
        self.check_own_steps()
        self.trainer = Trainer(self)
        self.random_state = new_random_state()
        self.inputs: list[KerasTensor] = []
        self.outputs: list[KerasTensor] = []
        self.nodes: list[Node] = []
        self.added_losses: list[KerasTensor] = []
        self._layers: list[Layer] = []
        self._shown: tuple[list[Layer], list[Layer]] = self._layers, []
        self._by_call: dict[bool, tuple[list[Node], Model]] = {}  # see `_as_called`
        self._runs = 1
        self._inferred: dict[Any, Inferred] = {}
        self.prelude: Prelude | None = None

    def _connect(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Take the nodes between inputs and outputs as this model's."""
        for x in (*inputs, *outputs):
            if not isinstance(x, KerasTensor):
                raise ModelError(
                    describe(
                        f"Model {self.name!r}",
                        "tensors that Input or layers gave, as inputs and outputs",
                        repr(x),
                    )
                )
        for x in inputs:
            if not isinstance(x.layer, InputLayer):
                raise ModelError(
                    describe(
                        f"Model {self.name!r}", "inputs made by Input(...)", f"an output of {x.layer.label}"
                    )
                )
        if len({id(x) for x in inputs}) < len(inputs):
            raise ModelError(
                describe(f"Model {self.name!r}", "inputs that differ", ", ".join(x.name for x in inputs))
            )
        self.nodes, self._layers = sort_nodes(f"Model {self.name!r}", inputs, outputs)
        check_nesting(self, self._layers)
        self._runs, self._inferred = count_runs(f"Model {self.name!r}", self.nodes), {}
        self.inputs, self.outputs = list(inputs), list(outputs)
        self._check_names(self._layers)
        self.prelude = prelude_of(self)
        distinguish(self.weights)
        self.built = True
        # A model is a layer whose first node is itself, as Keras has it
        self.nodes_made[:1] = [Node(self, 0, tuple(inputs), len(inputs) == 1, {}, self.outputs)]

    def add_loss(self, losses: Any = None, inputs: Any = None, *, loss: Any = None) -> None:
        """Add scalars (of others, the mean) to the loss: functions of K over tensors of this model."""
        given = as_list(loss if losses is None else losses)
        found = [identity(x) if isinstance(x, Variable) or is_number(x) else x for x in given]
        for loss in found:
            if not isinstance(loss, KerasTensor):
                raise ModelError(
                    describe(
                        f"Model {self.name!r}: add_loss",
                        "numbers, and tensors computed by K from tensors of the model",
                        repr(loss),
                    )
                )
        if self.semantics.losses_bring_layers:
            self._take([*self.added_losses, *found])
        self.added_losses += found
        self.structure_changed()

    def add_metric(self, value: Any, name: str | None = None, aggregation: str | None = "mean") -> None:
        """As of a layer. Metrics count from now on."""
        super().add_metric(value, name, aggregation)
        if self.built:
            self.structure_changed(("test", "train"))

    def _take(self, tensors: Sequence[KerasTensor]) -> None:
        """Make the layers that `tensors` need, and the model's outputs do not, layers of the model, behind
        the others. Functions of K that no such layer needs stay outside."""
        known = set(self.nodes)
        needed = [
            node
            for node in back_from(tensors)[0]
            if node not in known and not isinstance(node.layer, TensorFunction)
        ]
        found, met = back_from([y for node in needed for y in node.outputs])
        nodes = [*self.nodes, *(node for node in found if node not in known)]
        layers = [*self._layers, *(layer for layer in met if layer not in self._layers)]
        if foreign := self._foreign_inputs(tensors):
            raise ModelError(
                f"Model {self.name!r}: graph disconnected: a loss needs {foreign[0].label}, "
                "which is not among the inputs"
            )
        self._check_names(layers)
        self._runs, self._inferred = count_runs(f"Model {self.name!r}", nodes), {}
        self.nodes, self._layers = nodes, layers
        distinguish(self.weights)

    def _foreign_inputs(self, tensors: Sequence[KerasTensor]) -> list[Layer]:
        """Inputs that tensors need, and that are not this model's."""
        return [
            node.layer
            for node in back_from(tensors)[0]
            if isinstance(node.layer, InputLayer) and node not in self.nodes
        ]

    def _check_names(self, layers: Sequence[Layer]) -> None:
        names = Counter(layer.name for layer in layers)
        if twice := sorted(name for name, count in names.items() if count > 1):
            raise ModelError(
                describe(
                    f"Model {self.name!r}",
                    "a name of its own for each layer",
                    f"several layers called {', '.join(map(repr, twice))}",
                )
            )

    def _new_name(self) -> str:
        kind = snake_case(type(self).__name__, self.vintage)
        return numbered(edition(self.vintage).model if kind == "model" else kind, self.vintage)

    # ---- parts

    @property
    def layers(self) -> list[Layer]:
        """The layers. After Keras 2 the list is the model's own: layers.pop() shows in it, and leaves what
        the model computes as it is."""
        if not edition(self.vintage).own_layers:
            return [layer for layer in self._layers if layer.listed]
        if self._shown[0] is not self._layers:
            self._shown = self._layers, list(self._layers)
        return self._shown[1]

    @property
    def operations(self) -> list[Layer]:
        """The layers, and the calls of functions of keras.ops among them."""
        return self.owned_layers

    @property
    def owned_layers(self) -> list[Layer]:
        """The layers that the model is of, whatever a script did with the list `layers`."""
        return list(self._layers)

    @property
    def input_names(self) -> list[str]:
        return [x.name for x in self.inputs] if self.input_keys is None else list(self.input_keys)

    # ---- what runs on arrays, and what is compiled

    @property
    def runs_on_arrays(self) -> bool:  # type: ignore[override]
        """Whether a part of it does: then all of it does, inside another model."""
        return self.prelude is not None

    @property
    def takes_texts(self) -> bool:  # type: ignore[override]
        """Whether an input is of texts."""
        return any(x.texts for x in self.inputs)

    @property
    def fed(self) -> list[KerasTensor]:
        """The inputs of the graphs: those of the model, or what its prelude gives."""
        return self.inputs if self.prelude is None else self.prelude.fed

    @property
    def fed_names(self) -> list[str]:
        """Their names."""
        return self.input_names if self.prelude is None else self.prelude.names

    @property
    def compiled_nodes(self) -> list[Node]:
        """The calls that are compiled."""
        return self.nodes if self.prelude is None else self.prelude.rest

    def on_arrays(self, arrays: Sequence[Any], single: bool, arguments: dict[str, Any]) -> list[Any]:
        """The predictions for arrays."""
        found = self.predict_on_batch(list(arrays))
        return as_list(found if self.output_keys is None else [found[key] for key in self.output_keys])

    @property
    def input(self) -> Any:
        self._need_inputs("input")
        return (
            one_or_list(self.inputs) if self.input_keys is None else dict(zip(self.input_keys, self.inputs))
        )

    @property
    def output(self) -> Any:
        self._need_inputs("output")
        return self.trainer.formed(self.outputs)

    @property
    def input_shape(self) -> Any:
        self._need_inputs("input_shape")
        return one_or_list([x.shape for x in self.inputs])

    @property
    def output_shape(self) -> Any:
        self._need_inputs("output_shape")
        shapes = [y.shape for y in self.outputs]
        formed = edition(self.vintage).eager == "tensors"
        return self.trainer.formed(shapes) if formed else one_or_list(shapes)

    @property
    def batch_size(self) -> int | None:
        """The number of samples that an Input fixed, or None."""
        return next((x.batch_size for x in self.inputs if x.batch_size), None)

    @property
    def functional(self) -> bool:
        """Whether its configuration lists calls, as it is no chain of layers."""
        return True

    @property
    def varies(self) -> bool:
        """Whether sizes of the inputs, besides the batch, are unknown until there are data."""
        return any(x.unknown_axes for x in self.fed)

    def _need_inputs(self, what: str) -> None:
        if not self.built:
            raise AttributeError(
                f"Model {self.name!r} has no {what} yet: its input shape is not "
                "known. Give the first layer an input_shape, or call build"
            )

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by name or by its place in `layers`. Raises ModelError."""
        if index is not None:
            if not is_integer(index) or not -len(self.layers) <= index < len(self.layers):
                raise ModelError(
                    describe(
                        f"Model {self.name!r}: get_layer", f"an index below {len(self.layers)}", repr(index)
                    )
                )
            return self.layers[index]
        for layer in self._layers:
            if isinstance(name, str) and layer.name == name:
                return layer
        raise ModelError(
            describe(
                f"Model {self.name!r}: get_layer",
                "the name of a layer, one of " + ", ".join(layer.name for layer in self.layers),
                repr(name),
            )
        )

    def build_for_data(self, x: Any) -> None:
        """Build the layers for the first data."""
        value = next(iter(x.values())) if isinstance(x, Mapping) and len(x) == 1 else x
        only = by_name(value, ["x"], "input")[0]
        texts = self._layers and self._layers[0].takes_texts
        self.build((None, *(np.asarray(only) if texts else as_array(only, "x")).shape[1:]))

    # ---- as a layer

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        """On tensors of a model: a node. On arrays: predictions for this batch; training=True: with layers as
        in training (dropout, statistics of the batch), but for what training updates."""
        inputs = map_leaves(here, inputs)
        if current() is not None:
            inputs = map_leaves(lambda x: in_graph(x) if isinstance(x, np.ndarray) else x, inputs)
        values = list(inputs.values()) if isinstance(inputs, Mapping) else as_list(inputs)
        if values and all(isinstance(x, (KerasTensor, Tensor, Variable)) for x in values):
            if isinstance(inputs, Mapping):
                inputs = one_or_list(by_name(inputs, self.input_names, "input"))
            return self.trainer.formed(as_list(super().__call__(inputs, **arguments)))
        training = arguments.pop("training", None)
        if arguments or training not in (None, False, True):
            raise UnsupportedError(
                describe(
                    f"Model {self.name!r} called on arrays",
                    "no arguments but training=True or False",
                    ", ".join(arguments) or repr(training),
                )
            )
        if edition(self.vintage).eager:
            single = not isinstance(inputs, (list, tuple, Mapping))
            self.called_on = [np.asarray(x) for x in values], single, bool(training)
        told = self.semantics.training_of_calls == "of the model"
        if told and training is None and any("training" in node.arguments for node in self.nodes):
            return self._now([np.asarray(x) for x in values], len(values) == 1, {})
        apart = training or "predict" in self.own_steps  # a call is none of a predict_step of one's own
        if apart and not self.built:
            self.build_for_data(inputs)
        if training and edition(self.vintage).eager:  # moving statistics move
            found = as_list(self._now([np.asarray(x) for x in values], single, {"training": True}))
            return self.trainer.formed(found)
        model = self._as_called(bool(training)) if apart else self
        return as_eager(self.trainer.in_order(model.predict_on_batch(inputs)), self.vintage)

    def _as_called(self, training: bool) -> Model:
        """A model that is a call of this one, over the same weights and random numbers."""
        if training not in self._by_call or self._by_call[training][0] != self.nodes:
            if not self.built:  # no data said it
                raise ModelError(f"Model {self.name!r} is not built: its input shape is not known")
            inputs = [Input(batch_shape=x.shape, dtype=x.dtype, vintage=self.vintage) for x in self.inputs]
            outputs = self(one_or_list(inputs), training=training)
            model = Model(inputs, outputs, name=f"{self.name}_called", vintage=self.vintage)
            model.random_state = self.random_state
            model.calls_as_written = True
            self._by_call[training] = list(self.nodes), model
        return self._by_call[training][1]

    def ensure_built(
        self,
        types: Sequence[Any],
        single: bool,
        batch_size: int | None = None,
        second_types: Sequence[Any] | None = None,
    ) -> None:
        super().ensure_built(types, single, batch_size, second_types)
        for given in (types, second_types or types):
            self.widened_to([(None, *t.shape[1:]) for t in given])
        expected = [x.batch_type for x in self.inputs]
        fits = len(types) == len(expected) and all(
            _fits(x, t.shape) for given in (types, second_types or types) for x, t in zip(self.inputs, given)
        )
        if not fits and not (self.subclassed and not expected):  # in a step, called on what is no batch
            wanted = "inputs " + ", ".join(map(str, expected))
            raise ModelError(describe(f"Model {self.name!r}", wanted, ", ".join(map(str, types))))

    def widened_to(self, shapes: Sequence[KerasShape]) -> bool:
        """Whether the sizes of the inputs follow from first data or a first call, and not all of these shapes
        have them: then the model is put together anew, for inputs whose sizes there only the data say."""
        return False

    def widened_for(self, x: Any) -> bool:
        """`widened_to`, for data of the model."""
        return self.built and self.widened_to(shapes_of(x, self.input_keys, len(self.inputs)))

    def _add_node(self, flat: Sequence[KerasTensor], single: bool, arguments: dict[str, Any]) -> Node:
        if self.prelude is None:
            return super()._add_node(flat, single, arguments)
        self.ensure_built([x.type for x in flat], single, None, [x.second_type for x in flat])
        return self._record(
            flat, single, arguments, [y.type for y in self.outputs], [y.second_type for y in self.outputs]
        )

    def call(self, inputs: Any) -> Any:
        tensors = as_list(inputs)
        if self.prelude is not None and id(self) not in trace_of(tensors[0]).fed:
            raise UnsupportedError(
                f"Model {self.name!r}: its layers of texts or hashes run on arrays, and here are tensors of "
                "what is compiled. Call the model on the data"
            )
        return one_or_list(trace_nodes(self, trace_of(tensors[0]), tensors))

    def _infer(
        self,
        types: Sequence[TensorType],
        single: bool,
        arguments: dict[str, Any],
        masks: Sequence[TensorType | None],
    ) -> Inferred:
        """One for each signature, from those of the layers: models in models, each called twice, would
        be traced over and over."""
        given = tuple(itertools.zip_longest(types, masks)), arguments.get("training")
        if given not in self._inferred:
            with self.named_errors():
                self._inferred[given] = infer_nodes(self, *given)
        return self._inferred[given]

    @property
    def inside(self) -> list[Layer]:
        return self._layers

    @property
    def runs(self) -> int:
        return self._runs

    @property
    def trainable_weights(self) -> list[Variable]:
        if not self.trainable:
            return []
        if self.semantics.trained_weights == "own flag":
            return distinct(self.flagged_weights)
        found = [v for layer in self._layers for v in layer.trainable_weights]
        return distinct([*found, *self._trainable])

    @trainable_weights.setter
    def trainable_weights(self, variables: Sequence[Variable]) -> None:
        raise weights_of_others(self)

    @property
    def non_trainable_weights(self) -> list[Variable]:
        trained = {id(v) for v in self.trainable_weights}
        if self.semantics.trained_weights == "own flag":
            return [v for v in self.weights if id(v) not in trained]
        fixed = distinct(v for layer in self._layers for v in layer.non_trainable_weights)
        if not self.trainable:
            fixed = [*distinct(v for layer in self._layers for v in layer.trainable_weights), *fixed]
        fixed += [*self._trainable, *self._non_trainable]
        return [v for v in distinct(fixed) if id(v) not in trained]

    @property
    def weights(self) -> list[Variable]:
        """Layer by layer. A model inside gives, in Keras 2, its trainable weights before the others. Those of
        the model itself are behind them, and before them in Keras 3."""

        def of(layer: Layer) -> list[Variable]:
            nested = isinstance(layer, Model) and self.semantics.weights_of_inner == "trainable first"
            return layer.trainable_weights + layer.non_trainable_weights if nested else layer.weights

        inner, own = (
            [v for layer in self._layers for v in of(layer)],
            [*self._trainable, *self._non_trainable],
        )
        first = self.semantics.trained_weights == "own flag"
        return distinct([*own, *inner] if first else [*inner, *own])

    def output_masks(
        self,
        inputs: Sequence[Tensor],
        single: bool,
        masks: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """The masks that the layers inside gave the outputs."""
        return [trace_of(y).masks.get(y.value) for y in outputs]

    # ---- pickle and copy

    def __getstate__(self) -> dict[str, Any]:
        """Calls come first and in their order: what they lead to is in the state by then, and no model is
        too deep. Losses that were added have calls of their own."""
        calls = list(
            dict.fromkeys([*self.nodes, *(back_from(self.added_losses, {})[0] if self.added_losses else [])])
        )
        own = state_of(self, "nodes_made", "consumers", "trainer", "prelude", "called_on")
        return {"calls": calls, **own, "training": self.trainer.saved_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        calls, training = state.pop("calls"), state.pop("training")
        restore(self, state, nodes_made=[], consumers=[], prelude=None)
        if self.built and not self.subclassed:
            self.nodes_made.append(Node(self, 0, tuple(self.inputs), len(self.inputs) == 1, {}, self.outputs))
        for node in calls:
            if node not in node.layer.nodes_made:
                object.__setattr__(node, "index", len(node.layer.nodes_made))
                for y in node.outputs:
                    y.node_index = node.index
                node.layer.nodes_made.append(node)
                for layer in {x.layer for x in node.inputs} if node.layer.consumes else ():
                    layer.consumers.append(node)
        self.prelude = prelude_of(self)
        self.trainer = Trainer(self)
        self.trainer.take(training)

    # ---- description

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print the layers with their output shapes and numbers of parameters; `print_summary` says more.
        Raises ModelError before the input shape is known, but in Keras 3."""
        if not self.built and edition(self.vintage).summary != "boxed":
            raise ModelError(
                f"Model {self.name!r} is not built: its input shape is not known. Give "
                "the first layer an input_shape, call build, or fit it first"
            )
        print_summary(self, line_length, positions, print_fn, expand_nested, show_trainable, layer_range)

    def _repr_html_(self) -> str | None:
        """The summary as notebooks show it; they print `repr` where this is None."""
        return summary_as_html(self) if self.built else None


def _fits(x: KerasTensor, shape: Sequence[Any]) -> bool:
    """Whether a tensor of this shape can take the place of an input; its number of samples may be fixed."""
    return len(shape) == x.ndim and all(
        i in x.unknown_axes or a == b or (i == 0 and a == Batch() and isinstance(b, int))
        for i, (a, b) in enumerate(zip(x.batch_type.shape, shape))
    )


register({"Model": Model, "Functional": Model})

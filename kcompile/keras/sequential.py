"""`Sequential`: a model that is a chain of layers, and grows by `add`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from kcompile.keras.configurations import check_config, make_layers, own_arguments
from kcompile.keras.editions import edition
from kcompile.keras.engine import KerasShape, KerasTensor, Layer
from kcompile.keras.functional import Model
from kcompile.keras.inputs import Input, InputLayer
from kcompile.keras.layers.held import check_nesting
from kcompile.keras.layers.registry import register
from kcompile.keras.lengths import wider
from kcompile.keras.scopes import chained
from kcompile.keras.settings import get_uid
from kcompile.keras.utils.serialization import custom_object_scope
from kcompile_runtime.errors import InputTypeError, KindError, ModelError, describe


class Sequential(Model):
    """A chain of layers. The input's shape comes from the first layer (input_shape, ...), from an
    InputLayer, or with the first data or `build`. Or the first layer is a Merge (of Keras 1), whose
    branches' layers are then the model's too, and whose inputs are the model's inputs."""

    def __init__(self, layers: Sequence[Any] | None = None, name: str | None = None, **kwargs: Any) -> None:
        self._begin(name, kwargs)
        self._added: list[Layer] = []  # those of branches too
        self._heads: list[KerasTensor] = []  # the inputs
        self._chain: list[Any] = []  # what the first layer is called on, then the output of each layer
        self._build_shape: list[Any] | None = None
        self._guessed = False  # whether the input's shape is what the first layer usually gets
        for layer in layers or ():
            self._append(layer)
        if self._added:
            self._settle()

    @property
    def layers(self) -> list[Layer]:
        return [layer for layer in self._added if not isinstance(layer, InputLayer)]

    @property
    def owned_layers(self) -> list[Layer]:
        return self.layers

    @property
    def functional(self) -> bool:
        return bool(self._chain) and isinstance(self._chain[0], list)

    def add(self, layer: Layer) -> None:
        """Append a layer (an Input tensor may be the first). Raises ModelError."""
        self._append(layer)
        self._settle()

    def _append(self, layer: Any) -> None:
        """To the chain, of which the model does not know yet."""
        if isinstance(layer, KerasTensor) and isinstance(layer.layer, InputLayer):
            layer = layer.layer
        if not isinstance(layer, Layer):
            raise KindError(describe(f"Model {self.name!r}: add", "a layer", repr(layer)))
        if any(layer.name == other.name for other in self._added):
            raise ModelError(
                describe(f"Model {self.name!r}: add", "a layer of another name", f"a second {layer.name!r}")
            )
        check_nesting(self, [layer])
        if isinstance(layer, InputLayer):
            if self._added:
                raise KindError(f"Model {self.name!r}: add: {layer.label} must be the first layer")
            self._heads, self._chain = layer.nodes_made[0].outputs[:1], layer.nodes_made[0].outputs[:1]
        elif not self._added:
            self._start(layer)
        elif layer.branches is not None:
            raise ModelError(f"Model {self.name!r}: add: a Merge of models must be the first layer")
        if self._chain and not isinstance(layer, InputLayer):
            try:
                self._extend(layer)
            except ModelError:
                if not self._withdraw():
                    raise
        self._added.append(layer)

    def _start(self, layer: Layer) -> None:
        """Make the Input that the first layer speaks of, if it does, or take those of its branches."""
        if layer.branches is not None:
            self._heads, self._chain = layer.branches.inputs, [layer.branches.outputs]
            self._added += layer.branches.layers
            return
        shape, dtype = layer.batch_input_shape, layer.input_dtype
        if isinstance(layer, Model) and layer.inputs:
            shape, dtype = layer.inputs[0].shape, layer.inputs[0].dtype
        if shape is None and self.semantics.builds_embedding_first and layer.likely_shape is not None:
            shape, self._guessed = layer.likely_shape, True
        if shape is not None:
            self._open(layer, shape, dtype)

    def _open(self, layer: Layer, shape: Any, dtype: str) -> None:
        """Begin the chain with an Input for its first layer."""
        name = f"{layer.name}_input" if edition(self.vintage).input == "input" else None
        self._heads = [Input(batch_shape=shape, name=name, dtype=dtype, vintage=self.vintage)]
        self._chain = list(self._heads)

    def _withdraw(self) -> bool:
        """Undo the calls on an input whose shape was guessed: the data will say it. False where it was
        given, or a layer has been called elsewhere since."""
        nodes = [x.node for x in self._chain[1:]]
        if not self._guessed or any(node is not node.layer.nodes_made[-1] for node in nodes):
            return False
        for node in nodes:
            node.layer.nodes_made.pop()
        self._heads, self._chain, self._guessed = [], [], False
        return True

    def _extend(self, layer: Layer) -> None:
        with chained(self):
            output = layer(self._chain[-1])
        if not isinstance(output, KerasTensor):
            raise ModelError(
                describe(
                    f"Model {self.name!r}: add",
                    "layers with one output",
                    f"{layer.label}, which has {len(output)}",
                )
            )
        self._chain.append(output)

    def _settle(self) -> None:
        """Take over what the chain is now."""
        if len(self._chain) > 1:
            self._connect(self._heads, self._chain[-1:])
            if edition(self.vintage).operations:  # which makes a functional model here, that takes a number
                get_uid("functional")
        else:
            self.inputs, self.outputs, self.nodes, self.built = [], [], [], False
            self.prelude = None
        if not self.functional:  # an Input that was not added by name is no layer of a chain
            self._layers = list(self._added)
        self.structure_changed()

    def pop(self) -> None:
        """Remove the last layer. Raises InputTypeError when there is none."""
        if not self.layers:
            raise InputTypeError(f"Model {self.name!r}: pop: there are no layers")
        self._added.pop()
        if self._chain:
            self._chain.pop()
        if self.functional and len(self._chain) == 1:  # the Merge: its branches go with it
            self._added = []
        if not self._added:
            self._heads, self._chain, self._guessed = [], [], False
        else:
            self._added[-1].consumers.clear()
        self._settle()

    def build(self, input_shape: Any = None) -> None:
        """Build the layers for inputs of this shape, whose first dim is the batch; if the model is built
        already, for an input whose shape was given, nothing happens."""
        if self.built and (input_shape is None or not self._withdraw()):
            return
        if not self.layers:
            raise ModelError(f"Model {self.name!r} has no layers. Add some before it is used")
        if input_shape is None:
            raise ModelError(f"Model {self.name!r}: build: expected an input shape. Received: None")
        self._build_shape = list(input_shape)
        first = self._added[0]
        self._open(first, tuple(input_shape), first.input_dtype)
        for layer in self._added:
            self._extend(layer)
        self._settle()

    def widened_to(self, shapes: Sequence[KerasShape]) -> bool:
        """That of a model whose input nobody said: Keras 2 has one for the first data."""
        found = wider(self.inputs, shapes) if self._build_shape is not None and self.built else None
        if found is None or not edition(self.vintage).eager:
            return False
        for x in self._chain[1:]:
            made = x.layer.nodes_made
            if x.node is made[-1]:
                made.pop()
        self._heads, self._chain = [], []
        self._open(self._added[0], found[0], self.inputs[0].dtype)
        for layer in self._added:
            self._extend(layer)
        self._settle()
        return True

    def predict_proba(self, x: Any, batch_size: int | None = None, verbose: Any = 0) -> Any:
        """The output for all samples, which should be probabilities: warns where it is none."""
        found = self.predict(x, batch_size, verbose)
        if found.min(initial=0) < 0 or found.max(initial=0) > 1:
            warnings.warn(
                f"Model {self.name!r}: predict_proba: its output is not in [0, 1], so these are "
                "no probabilities. End with softmax or sigmoid",
                stacklevel=2,
            )
        return found

    def predict_classes(self, x: Any, batch_size: int | None = None, verbose: Any = 0) -> Any:
        """The number of the likeliest class of each sample; for a single output, int32 1 above 0.5."""
        found = self.predict(x, batch_size, verbose)
        return found.argmax(-1) if found.shape[-1] > 1 else (found > 0.5).astype("int32")

    def get_config(self) -> dict[str, Any]:
        if self.functional:
            return super().get_config()
        entries = [
            {"class_name": type(layer).__name__, "config": layer.get_config()} for layer in self._added
        ]
        config = {**self._own_config(), "layers": entries}
        return config if self._build_shape is None else {**config, "build_input_shape": self._build_shape}

    @classmethod
    def from_config(
        cls,
        config: Any,
        custom_objects: Mapping[str, Any] | None = None,
        inputs: Mapping[str, KerasTensor] | None = None,
    ) -> Model:
        """The model of a configuration; early Keras 2 wrote the bare list of layers. A model with branches is
        made a `Model`."""
        if isinstance(config, Mapping) and "input_layers" in config:
            return Model.from_config(config, custom_objects, inputs)
        if not isinstance(config, list):
            check_config(config, "layers")
        entries = config if isinstance(config, list) else config["layers"]
        with custom_object_scope(custom_objects):
            made = make_layers(entries)
        model = cls(made, **({} if isinstance(config, list) else own_arguments(config)))
        shape = None if isinstance(config, list) else config.get("build_input_shape")
        if shape:
            model.build(shape)
        return model


register({"Sequential": Sequential})

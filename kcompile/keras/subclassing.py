"""Models by subclassing: layers are attributes, and `call` says what the model computes.

Enters: a class whose `call` runs over symbolic tensors, and the first data or shapes. Leaves: a model of one
node, the call itself, which is traced, trained and compiled as any other.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import saving
from kcompile.keras.counted import at_probes
from kcompile.keras.editions import edition
from kcompile.keras.engine import KerasShape, KerasTensor, Layer, Variable, as_list, keras_shape, one_or_list
from kcompile.keras.functional import Model
from kcompile.keras.inputs import Input
from kcompile.keras.layer_arguments import ConfigurationError
from kcompile.keras.layer_weights import distinct, distinguish
from kcompile.keras.layers.custom import check_given, constructor_arguments
from kcompile.keras.layers.forms import FORM, OPTIONS, Formed, is_tensor
from kcompile.keras.layers.held import check_nesting, forget_place, layers_in
from kcompile.keras.lengths import wider
from kcompile.keras.method_orders import of_vintage
from kcompile.keras.names_of_scripts import kept_for_us, set_by_script
from kcompile.keras.operands import leaves
from kcompile.keras.outputs import form_of, nested, nests
from kcompile.keras.semantics import Semantics
from kcompile.keras.settings import floatx
from kcompile.keras.tracing import Inferred, Trace, trace_of
from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import ModelError, UnsupportedError, describe


class SubclassedModel(Formed, Model):  # type: ignore[override]
    """What a class that derives from `Model` and defines `call` is too: `Model` puts it among its bases.

    Layers are found in the attributes, in the order in which these were first set, and in lists, tuples and
    dicts there. Inputs are known with the first data, shapes or tensors: `call` is then traced.
    """

    subclassed = True
    computes_in_dtype = True
    _has_plain_calls = False  # `__call__` sees to them
    _given: Mapping[str, Any] = {}  # the arguments of the constructor

    def __new__(cls, *args: Any, **kwargs: Any) -> SubclassedModel:
        made: SubclassedModel = super().__new__(cls)
        vars(made)["_given"] = constructor_arguments(made, args, kwargs)
        return made

    def _begin(self, name: str | None, kwargs: dict[str, Any]) -> None:
        self._prepared = False  # whether a `build` of the class's own has run
        self._opening = False  # whether `call` is being traced on the inputs
        super()._begin(name, kwargs)
        self._not_tracked = frozenset(vars(self))

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Layer) and "_prepared" not in vars(self):
            raise ModelError(
                f"{type(self).__name__}: call super().__init__() before layers are made attributes of a model"
            )
        forget_place(self, name, value)
        super().__setattr__(name, value)

    # ---- parts

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes that are the class's own."""
        mine = vars(self)
        hidden = frozenset(mine.get("_not_tracked", mine)) - set_by_script(self)
        return {k: value for k, value in mine.items() if k not in hidden and not kept_for_us(k)}

    @property
    def _layers(self) -> list[Layer]:
        found = layers_in(list(self.attributes.values()), self.semantics)
        return list({id(layer): layer for layer in found if layer is not self}.values())

    @_layers.setter
    def _layers(self, layers: Any) -> None:
        """They follow from the attributes."""

    @property
    def built(self) -> bool:
        """Whether the inputs are known."""
        return bool(getattr(self, "nodes", None))

    @built.setter
    def built(self, value: bool) -> None:
        """It follows from the inputs; a `build` of one's own sets it too."""

    @property
    def functional(self) -> bool:
        return False

    @property
    def runs(self) -> int:
        return 1 + sum(layer.runs for layer in self._layers)

    @property
    def output_names(self) -> list[str]:
        if self.output_keys is not None:
            return list(self.output_keys)
        return [f"output_{k + 1}" for k in range(len(self.outputs))]

    @property
    def output_labels(self) -> list[str]:
        return self.output_names

    @property
    def result_names(self) -> list[str]:
        return self.output_names

    @property
    def weights(self) -> list[Variable]:
        """Those of layers; those of the model itself are behind them, and before them in Keras 3. tf.keras
        has the trainable ones of a list or dict of layers before its others."""
        if self.semantics.trained_weights == "own flag" or not edition(self.vintage).eager:
            found: list[Variable] = Model.weights.fget(self)  # type: ignore[attr-defined]
            return found
        inner = [v for value in self.attributes.values() for v in _weights_in(value, self.semantics)]
        return distinct([*inner, *self._trainable, *self._non_trainable])

    @property
    def _called_node(self) -> Any:
        """The first call on tensors of another model: since tf.keras `input` and `output` are of that."""
        known = {id(node) for node in getattr(self, "nodes", ())}
        calls = (node for node in self.nodes_made if id(node) not in known)
        return next(calls, None) if edition(self.vintage).eager else None

    @property
    def input(self) -> Any:
        node = self._called_node
        return Model.input.fget(self) if node is None else one_or_list(node.inputs)  # type: ignore[attr-defined]

    @property
    def output(self) -> Any:
        node = self._called_node
        found = Model.output.fget(self) if node is None else self.trainer.formed(node.outputs)  # type: ignore[attr-defined]
        return found

    # ---- inputs

    def build(self, input_shape: Any = None) -> None:
        """Trace `call` for inputs of these shapes, whose first dim is the batch: a shape, a list or a dict
        of them."""
        if self.built or self._opening:
            return
        if not isinstance(input_shape, (Mapping, list, tuple)) or not input_shape:
            raise ModelError(describe(f"{self.label}: build", "a shape, or several", repr(input_shape)))
        keys = tuple(input_shape) if isinstance(input_shape, Mapping) else None
        shapes: Any = list(input_shape.values()) if isinstance(input_shape, Mapping) else input_shape
        several = isinstance(shapes[0], (list, tuple))
        entries = [(tuple(shape), floatx()) for shape in (shapes if several else [shapes])]
        self._open(entries, not several, keys)

    def build_for_data(self, x: Any) -> None:
        keys = tuple(x) if isinstance(x, Mapping) else None
        several = isinstance(x, (list, tuple)) and bool(x) and all(hasattr(v, "shape") for v in x)
        values = list(x.values()) if isinstance(x, Mapping) else list(x) if several else [x]
        arrays = [as_array(value, "x") for value in values]
        self._open([self._entry(a) for a in arrays], not several and len(arrays) == 1, keys)

    def widened_to(self, shapes: Sequence[KerasShape]) -> bool:
        """Keras 2 has one model for the first data."""
        found = wider(self.inputs, shapes) if self.built and not self._opening else None
        if found is None or not edition(self.vintage).eager:
            return False
        entries = [(shape, x.dtype) for shape, x in zip(found, self.inputs)]
        seen = [(x.type, x.type.with_shape((x.type.shape[0], *s[1:]))) for x, s in zip(self.inputs, shapes)]
        try:
            self._open(entries, self._single, self.input_keys)
        except ModelError:  # a table of positions may be shorter than the sizes that are tried
            self._open(entries, self._single, self.input_keys, seen)
        self.structure_changed()
        return True

    def _entry(self, array: np.ndarray) -> tuple[tuple[Any, ...], str]:
        """The shape and dtype of the input that takes such arrays. In Keras 2, all are numbers of floatx."""
        sizes = array.shape[1:]
        if array.ndim == 1 and self.semantics.trained_weights != "own flag":
            sizes = (1,)
        whole = {"i": "int32", "u": "int32", "b": "bool"} if edition(self.vintage).eager else {}
        return (None, *sizes), whole.get(array.dtype.kind, floatx())

    def _build_on(
        self, shapes: list[KerasShape], types: Sequence[TensorType], single: bool, batch_size: int | None
    ) -> None:
        """With the first call, the inputs are known. Later calls may be on other shapes: layers say which."""
        if self._form is not None:
            if not self._prepared and type(self).build is not SubclassedModel.build:
                super()._build_on(shapes, types, single, batch_size)
            return
        if not self.built and all(t.rank and t.shape[0] == Batch() for t in types):
            self._open([(s, t.dtype) for s, t in zip(shapes, types)], single, self.input_keys)
        self._prepare([keras_shape(t, batch_size) for t in types], single)

    def _open(
        self,
        entries: Sequence[tuple[tuple[Any, ...], str]],
        single: bool,
        keys: tuple[str, ...] | None,
        tried: Sequence[tuple[TensorType, TensorType]] | None = None,
    ) -> None:
        """Make the inputs, and trace `call` on them. tried: types in place of those at the probes."""
        if keys is not None:
            order = sorted(range(len(keys)), key=keys.__getitem__)
            keys, entries = tuple(sorted(keys)), [entries[k] for k in order]
        names = keys or [f"input_{k + 1}" for k in range(len(entries))]
        inputs: list[KerasTensor] = [
            Input(batch_shape=shape, dtype=dtype, name=name, vintage=self.vintage)
            for name, (shape, dtype) in zip(names, entries)
        ]
        for x, types in zip(inputs, tried or ()):
            x.type, x.second_type = types
        before, self.input_keys, self._opening, self._single = self.input_keys, keys, True, single
        try:
            self._prepare([shape for shape, _ in entries], single)
            check_nesting(self, self._layers)
            node = self._add_node_of(inputs, single)
        except BaseException:
            self.input_keys = before
            raise
        finally:
            self._opening = False
        self.inputs, self.outputs = inputs, node.outputs
        self.nodes = [*(x.node for x in inputs), node]
        self._check_names(self._layers)
        distinguish(self.weights)

    def _add_node_of(self, inputs: Sequence[KerasTensor], single: bool) -> Any:
        """The call on the inputs themselves."""
        types = [x.type for x in inputs], [x.second_type for x in inputs]
        found, again, counted = at_probes(self, inputs, types, single, {})
        node = self._record(inputs, single, {}, found[0], again[0], counted)
        for y, mask, second_mask in zip(node.outputs, found[1], again[1]):
            y.mask, y.second_mask = mask, second_mask
        return node

    def _prepare(self, shapes: Sequence[Any], single: bool) -> None:
        """Run a `build` of the class's own, once."""
        if not self._prepared and type(self).build is not SubclassedModel.build:
            named = None if self.input_keys is None else dict(zip(self.input_keys, shapes))
            self.build(named or (shapes[0] if single else list(shapes)))

    # ---- as a layer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`call` on the inputs of the model: one argument. Any other call is as that of a layer, and says
        nothing of the inputs."""
        first, options, others = self._arguments_of(*args, **kwargs)
        if others or nests(first):
            return super().__call__(*args, **kwargs)
        if isinstance(first, Mapping) and not self.built:
            self.input_keys = tuple(sorted(first))
        return Model.__call__(self, first, **options)

    def _arguments_of(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any], bool]:
        """The first argument of a call, options, and whether there are others than those `call` has for
        defaults."""
        if FORM in kwargs:
            return args[0], {}, True
        kept = {name: kwargs.pop(name) for name in OPTIONS if name in kwargs}
        bound = inspect.signature(self.call).bind_partial(*args, **kwargs)
        given = dict(bound.arguments)
        first = given.pop(next(iter(given)), None) if given else None
        options = {name: given.pop(name) for name in OPTIONS if name in given} | kept
        defaults = {name: p.default for name, p in bound.signature.parameters.items()}
        others = any(value is not defaults[name] for name, value in given.items())
        masked = any(map(is_tensor, leaves(options.get("mask"))))
        return first, {k: v for k, v in options.items() if v is not None}, others or masked

    def ensure_built(
        self,
        types: Sequence[Any],
        single: bool,
        batch_size: int | None = None,
        second_types: Sequence[Any] | None = None,
    ) -> None:
        if self._form is not None:
            return Layer.ensure_built(self, types, single, batch_size, second_types)
        return super().ensure_built(types, single, batch_size, second_types)

    def _infer(
        self,
        types: Sequence[TensorType],
        single: bool,
        arguments: dict[str, Any],
        masks: Sequence[TensorType | None],
    ) -> Inferred:
        return Layer._infer(self, types, single, arguments, masks)

    def _called(self, inputs: Sequence[Tensor], single: bool, given: dict[str, Any]) -> list[Any]:
        if FORM in given:
            return super()._called(inputs, single, given)
        value: Any = inputs[0] if single else list(inputs)
        if self.input_keys is not None:
            value = dict(zip(self.input_keys, inputs))
        found = self.call(value, **given)
        inside = nested(found) if edition(self.vintage).eager else None
        if inside is not None:
            self.gives, flat = inside
            return flat
        self.gives = form_of(found)
        if not isinstance(found, Mapping):
            return as_list(found)
        self.output_keys = tuple(sorted(found))
        return [found[key] for key in self.output_keys]

    def _training_argument(self, trace: Trace, given: bool | None) -> bool | None:
        """In Keras 2, the phase is none of Python's while `call` runs: None, unless the caller says it."""
        return trace.training if edition(self.vintage).eager else given

    def output_masks(
        self,
        inputs: Sequence[Tensor],
        single: bool,
        masks: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """What a `compute_mask` of the class's own says; else none in Keras 2, and later what layers gave."""
        if type(self).compute_mask is not Layer.compute_mask and self._form is None:
            return Layer.output_masks(self, inputs, single, masks, outputs)
        if not edition(self.vintage).eager:
            return [None] * len(outputs)
        return [trace_of(y).masks.get(y.value) for y in outputs]

    def add_loss(self, losses: Any = None, inputs: Any = None, *, loss: Any = None) -> None:
        """In `call`, scalars of symbolic tensors; outside, functions of K over tensors of this model."""
        losses = loss if losses is None else losses
        inside = all(isinstance(loss, Tensor) for loss in as_list(losses))
        (Layer if inside else Model).add_loss(self, losses, inputs)

    # ---- configurations

    def get_config(self) -> dict[str, Any]:
        """What the constructor was given, of a class that does not define it itself. Raises
        ConfigurationError (a NotImplementedError) where JSON does not hold that, and in Keras 2."""
        if not edition(self.vintage).eager:
            raise ConfigurationError(
                f"{type(self).__name__}: a model by subclassing has no configuration. Define get_config and "
                "from_config, or keep its weights with save_weights"
            )
        if type(self).get_config is not SubclassedModel.get_config:
            return {}
        check_given(self, self._given)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in self._given.items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None, inputs: Any = None) -> Any:
        """The model that the constructor makes of a configuration."""
        return cls(**config)

    def _check_vintage(self, vintage: str | None) -> None:
        """A configuration of the user's own is in one form."""
        if vintage is not None:
            raise UnsupportedError(describe(f"{self.label}: vintage", "None", repr(vintage)))

    def to_json(self, vintage: str | None = None, **kwargs: Any) -> str:
        self._check_vintage(vintage)
        return json.dumps({"class_name": type(self).__name__, "config": self.get_config()}, **kwargs)

    def to_yaml(self, vintage: str | None = None, **kwargs: Any) -> str:
        text: str = saving.files().json_as_yaml(self.to_json(vintage), **kwargs)
        return text

    @of_vintage
    def save(self, filepath: Any, overwrite: bool = True, **options: Any) -> None:
        """Write a .keras file, which is loaded with the class among custom_objects, where the class has a
        configuration. Raises ConfigurationError (a NotImplementedError) for other files, and in Keras 2: no
        file has the code of `call`."""
        if edition(self.vintage).eager and str(filepath).endswith(".keras"):
            self.get_config()  # raises
            return super().save(filepath, overwrite=overwrite, **options)
        raise ConfigurationError(
            f"{type(self).__name__}: save: a model by subclassing is code, which no file holds. Use "
            "save_weights, and load_weights into a new model of the class"
        )


def adopt(cls: Any) -> None:
    """Make a class a `SubclassedModel` too, if it is none, and note when its own `build` has run."""
    if not cls.subclassed:
        cls.__bases__ = (SubclassedModel, *cls.__bases__)
    if "build" in vars(cls):
        cls.build = _noted(vars(cls)["build"])


@functools.cache
def without_call(cls: Any) -> Any:
    """The class of the models of a class that defines steps, and no `call`: they compute nothing by
    themselves."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise ModelError(
            f"{cls.__name__}: the class defines no call(self, inputs), so that it has no outputs"
        )

    members = {"call": call, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls)(cls.__name__, (cls,), members)


def _noted(build: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(build)
    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._prepared = True
        return build(self, *args, **kwargs)

    return noted


def _weights_in(value: Any, semantics: Semantics) -> list[Variable]:
    """The weights of a layer; of several, first those that are trained."""
    found = list(layers_in(value, semantics))
    if isinstance(value, Layer):
        return value.weights
    fixed = [v for layer in found for v in layer.non_trainable_weights]
    return [*(v for layer in found for v in layer.trainable_weights), *fixed]


Model.adopt = staticmethod(adopt)
Model.without_call = staticmethod(without_call)

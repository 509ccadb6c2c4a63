"""A live Keras 3 model on JAX as one layer: what its code computes, whatever its classes are.

Enters: the live model, of which JAX traces `stateless_call`, and examples of its inputs where it does not say
what it takes. Leaves: a model of ours with one layer, `LiveLayer`, whose variables stand for the live
model's. It trains by the gradient of our graph, and is exported like any other. Nothing of the live model is
changed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import DTYPES, TensorType
from kcompile.jaxpr.keys import State, boxed
from kcompile.jaxpr.primitives import Replay
from kcompile.jaxpr.programs import jax, traced
from kcompile.jaxpr.sizes import Pair, Sizes
from kcompile.keras import constraints, models
from kcompile.keras.engine import Layer
from kcompile.keras.inputs import Input
from kcompile.keras.layers.core import Activation
from kcompile.keras.policies import dtype_here
from kcompile.keras.tensors import Variable, as_list
from kcompile.keras.tracing import trace_of
from kcompile_runtime.errors import ModelError, UnsupportedError

VINTAGE = "keras3"


def backend_of(model: Any) -> tuple[Any, str]:
    """The package of a live model, also of a class of the user's own, and what it computes by."""
    roots = [kind.__module__.partition(".")[0] for kind in type(model).__mro__]
    if "keras" not in roots:
        return sys.modules[roots[0]], "another library"
    package = sys.modules["keras"]
    return package, getattr(getattr(package, "config", None), "backend", lambda: "another library")()


def keras_of(model: Any) -> Any:
    """The package of a live model. Raises UnsupportedError for one that does not compute by JAX."""
    package, backend = backend_of(model)
    if backend != "jax":
        raise UnsupportedError(
            f"a model with code of its own is traced by JAX, and this Keras computes by {backend}. Set "
            "KERAS_BACKEND=jax before keras is imported"
        )
    return package


class LiveModel:
    """A live model seen as a function of its variables and inputs.

    names, types: of the inputs, in the order of its tree. variables: those that are trained, then the others
    but for the states of seed generators, which are no numbers here. structure: of the outputs, once the
    model was traced, with 0 in place of each.
    """

    structure: Any = None

    def __init__(self, model: Any, examples: Any = None) -> None:
        self.keras, self.model = keras_of(model), model
        self._tree = self.keras.tree
        self.inputs = _inputs(self, examples)
        self.trained = list(model.trainable_variables)
        held = list(model.non_trainable_variables)
        self.others = [v for v in held if not is_seed(v)]
        self._seeds = [v for v in held if is_seed(v)]
        self._held = held
        self._programs: dict[Any, tuple[Pair, Any]] = {}
        self.flags = self.flags_now()

    def flags_now(self) -> list[tuple[Any, bool]]:
        """What each layer says of being trained: another answer is another program."""
        return [(layer, bool(layer.trainable)) for layer in self.model._flatten_layers()]

    def program(self, types: Sequence[TensorType], training: bool, sizes: Sizes) -> tuple[Pair, Any]:
        """Of (trained, held, *inputs) -> (outputs, held, losses, masks)."""
        key = tuple(types), training
        if key not in self._programs:
            self._programs[key] = traced(self._function(training), self._arguments(), types, sizes)
        return self._programs[key]

    def _arguments(self) -> Any:
        """The variables, as shapes."""
        shape = jax().ShapeDtypeStruct
        return [[shape(v.shape, v.value.dtype) for v in group] for group in (self.trained, self._held)]

    def _function(self, training: bool) -> Callable[..., Any]:
        def function(variables: Any, *inputs: Any) -> Any:
            trained, held = variables
            args = self.inputs.packed(inputs)
            outputs, new, losses = self.model.stateless_call(
                trained, held, *args, return_losses=True, **self._mode(training)
            )
            self.structure = self._tree.map_structure(lambda _: 0, outputs)
            flat = self._tree.flatten(outputs)
            masks = [self._mask_of(y) for y in flat]
            return flat, new, losses, {i: m for i, m in enumerate(masks) if m is not None}

        return function

    def _mask_of(self, output: Any) -> Any:
        """The mask of an output, which later Kerases keep elsewhere than at the array: a tracer may take no
        attribute."""
        asked = getattr(getattr(self.keras, "src", None), "backend", None)
        known = getattr(asked, "get_keras_mask", None)
        return getattr(output, "_keras_mask", None) if known is None else known(output)

    def _mode(self, training: bool) -> dict[str, bool]:
        """The argument of `call`, where it has it: Keras trains by it alone."""
        return {"training": training} if self.model._call_has_training_arg else {}

    def call(self, variables: Sequence[Any], inputs: Sequence[Tensor], training: bool) -> tuple[Any, ...]:
        """Outputs, new values of the variables that are not trained, losses, and masks by number of the
        output. variables: values of `trained` and `others`."""
        sizes = Sizes()
        trace = trace_of(inputs[0])
        programs, tree = self.program([x.type for x in inputs], training, sizes)
        given = dict(zip([id(v) for v in (*self.trained, *self.others)], variables))
        for number, seed in enumerate(self._seeds):
            given[id(seed)] = boxed(State((f"generator {number}",)))
        replay = Replay(trace.graph, sizes, trace, rules=trace.training)
        values = replay.run(programs, [*(given[id(v)] for v in (*self.trained, *self._held)), *inputs])
        avals = zip(values, programs.first.out_avals, programs.second.out_avals)
        made = [v if is_state(v) else replay.tensor(v, sizes.type(a, b)) for v, a, b in avals]
        outputs, held, losses, masks = tree
        a, b, c = len(outputs), len(outputs) + len(held), len(outputs) + len(held) + len(losses)
        news = {id(v): value for v, value in zip(self._held, made[a:b])}
        return made[:a], [news[id(v)] for v in self.others], made[b:c], dict(zip(sorted(masks), made[c:]))


def is_seed(variable: Any) -> bool:
    return str(variable.path).rpartition("/")[2] == "seed_generator_state"


def is_state(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == object


# ---------------------------------------------------------------- inputs


class LiveInputs:
    """What a live model takes: names, shapes (None for the batch), dtypes, and how they are packed."""

    def __init__(
        self,
        names: Sequence[str],
        shapes: Sequence[Any],
        dtypes: Sequence[str],
        pack: Any,
        structure: Any = None,
    ) -> None:
        self.shapes = [tuple(s) for s in shapes]
        # The keys of a dict, which are the names of its arrays
        self.keys = (
            sorted(structure) if isinstance(structure, dict) and len(structure) == len(shapes) else None
        )
        self.names = list(names) if self.keys is None else self.keys
        self.dtypes = [dtype_here(d) for d in dtypes]
        self._pack = pack
        for dtype in self.dtypes:
            if dtype not in DTYPES:
                raise UnsupportedError(f"inputs of {dtype}: strings and complex numbers are not supported")

    def packed(self, arrays: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments of `call`."""
        made: tuple[Any, ...] = self._pack(list(arrays))
        return made


def _inputs(live: LiveModel, examples: Any) -> LiveInputs:
    model, tree = live.model, live.keras.tree
    functional = getattr(model, "_functional", None) or model  # of a Sequential
    if examples is not None:
        structure = examples if isinstance(examples, tuple) else (examples,)
        arrays = [np.asarray(a) for a in tree.flatten(structure)]
        kinds = {"float64": "float32", "int64": "int32"}
        return LiveInputs(
            [f"input_{i}" for i in range(len(arrays))],
            [(None, *a.shape[1:]) for a in arrays],
            [kinds.get(a.dtype.name, a.dtype.name) for a in arrays],
            lambda flat: tree.pack_sequence_as(structure, flat),
            structure[0] if len(structure) == 1 else None,
        )
    struct = getattr(functional, "_inputs_struct", None)
    if struct is not None:
        tensors = tree.flatten(struct)
        names = [t.name for t in tensors]
        return LiveInputs(
            names,
            [t.shape for t in tensors],
            [str(t.dtype) for t in tensors],
            lambda flat: (tree.pack_sequence_as(struct, flat),),
            struct,
        )
    shapes = getattr(model, "_build_shapes_dict", None)
    if not shapes:
        raise ModelError(
            f"model {model.name!r} does not say what it takes. Call it on data once, or give examples to "
            "kcompile.compile(model, examples=...)"
        )
    return _of_shapes(live, list(shapes.values()))


def _of_shapes(live: LiveModel, shapes: Any) -> LiveInputs:
    """From the shapes that the model was built for, which say nothing of dtypes: floats, or integers where
    the code takes no floats."""
    tree = live.keras.tree

    def is_shape(value: Any) -> bool:
        return isinstance(value, (tuple, list)) and all(d is None or isinstance(d, int) for d in value)

    leaves: list[Any] = []

    def mark(value: Any) -> Any:
        if is_shape(value):
            leaves.append(tuple(value))
            return len(leaves) - 1
        if isinstance(value, dict):
            return {k: mark(value[k]) for k in sorted(value)}
        return type(value)(mark(v) for v in value)

    structure = tuple(mark(s) for s in shapes)
    return LiveInputs(
        [f"input_{i}" for i in range(len(leaves))],
        [(None, *s[1:]) for s in leaves],
        ["float32"] * len(leaves),
        lambda flat: tree.pack_sequence_as(structure, flat),
        structure[0] if len(structure) == 1 else None,
    )


# ---------------------------------------------------------------- the model


class LiveLayer(Layer):
    """All that a live model computes. Its weights have the names of the live ones."""

    computes_in_dtype = False

    def __init__(self, live: LiveModel, **kwargs: Any) -> None:
        super().__init__(vintage=VINTAGE, **kwargs)
        self.live = live
        self.pairs: list[tuple[Variable, Any]] = []

    @property
    def meets_samples(self) -> bool:
        return True

    def build(self, input_shape: Any) -> None:
        if self.pairs:
            return
        for group, trainable in ((self.live.trained, True), (self.live.others, False)):
            for theirs in group:
                value = np.asarray(theirs.value)
                name = dtype_here(value.dtype.name)
                made = self.add_weight(
                    theirs.path,
                    value.shape,
                    name,
                    initializer=lambda *_, v=value, **__: v,
                    trainable=trainable,
                    constraint=_constraint(theirs) if trainable else None,
                )
                self.pairs.append((made, theirs))
        super().build(input_shape)

    def call(self, inputs: Any) -> list[Tensor]:
        given = as_list(inputs)
        trace = trace_of(given[0])
        ours = [trace.read(v) for v, _ in self.pairs]
        outputs, news, losses, masks = self.live.call(ours, given, trace.training)
        for (variable, theirs), old, new in zip(
            self.pairs[len(self.live.trained) :], ours[len(self.live.trained) :], news
        ):
            if new.value == old.value:
                continue
            if not trace.training:
                raise UnsupportedError(
                    f"weights {theirs.path!r} are updated when the model predicts. Update them in training "
                    "alone"
                )
            if not trace.frozen:
                trace.update(variable, ops.cast(new, variable.dtype))
        trace.losses += [ops.reduce_sum(x) for x in losses]
        for number, mask in masks.items():
            trace.masks[outputs[number].value] = mask
        return list(outputs)

    def output_masks(self, inputs: Any, single: Any, masks: Any, outputs: Sequence[Tensor]) -> list[Any]:
        return [trace_of(y).masks.get(y.value) for y in outputs]

    def get_config(self) -> dict[str, Any]:
        raise UnsupportedError(
            f"model {self.live.model.name!r} has code of its own, which no file holds. Save the live model"
        )


def _constraint(variable: Any) -> Any:
    """Our constraint for that of a live variable."""
    given = variable.constraint
    if given is None:
        return None
    if type(given).__module__.partition(".")[0] != "keras":
        raise UnsupportedError(
            f"weights {variable.path!r} have a constraint of your own class, {type(given).__name__}"
        )
    return constraints.get({"class_name": type(given).__name__, "config": given.get_config()})


def model_of(live_model: Any, examples: Any = None, kind: Any = models.Model) -> Any:
    """Our model of a live one, by tracing. kind: its class. Raises UnsupportedError, which names the
    primitive of JAX and the layer, for what is not supported."""
    live = LiveModel(live_model, examples)
    entries = [
        Input(batch_shape=shape, dtype=dtype, name=name, vintage=VINTAGE)
        for shape, dtype, name in zip(live.inputs.shapes, live.inputs.dtypes, live.inputs.names)
    ]
    layer = LiveLayer(live, name=f"{live_model.name}_code")
    outputs = as_list(layer(entries[0] if len(entries) == 1 else entries))
    structure = live.structure
    if isinstance(structure, dict):
        keys = sorted(structure)
        if any(isinstance(structure[k], (dict, list, tuple)) for k in keys):
            raise UnsupportedError(f"model {live_model.name!r}: outputs in dicts of lists or of dicts")
        named: Any = dict(zip(keys, outputs))
    else:
        own = getattr(live_model, "output_names", None)
        names = own if isinstance(own, list) and len(own) == len(outputs) else None
        named = [
            Activation("linear", name=name, vintage=VINTAGE)(y)
            for name, y in zip(names or [f"output_{i + 1}" for i in range(len(outputs))], outputs)
        ]
        named = named[0] if len(named) == 1 and not isinstance(structure, (list, tuple)) else named
    given = entries if live.inputs.keys is None else dict(zip(live.inputs.keys, entries))
    made: Any = kind(given, named, name=live_model.name, vintage=VINTAGE)
    made.live_layer = layer
    return made


def function_of(function: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """A function over arrays of Keras 3, such as a loss of the user's own, as one over symbolic tensors."""

    def over_tensors(*tensors: Tensor) -> Tensor:
        sizes = Sizes()
        programs, _ = traced(lambda _, *values: function(*values), (), [x.type for x in tensors], sizes)
        trace = trace_of(tensors[0])
        replay = Replay(trace.graph, sizes, trace)
        (made,) = replay.run(programs, list(tensors))
        return replay.tensor(made, sizes.type(programs.first.out_avals[0], programs.second.out_avals[0]))

    over_tensors.__name__ = name
    over_tensors.traced = True  # type: ignore[attr-defined]
    return over_tensors

"""The configuration of a model in the words of other Keras: Keras 2's and tf.keras', or Keras 3's.

Enters: a built model of ours. Leaves: `{"class_name", "config"}` trees of plain values that real Keras
reads, and what they have no place for: the vintage of each layer.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from kcompile.files import attention_calls, custom_calls, further_calls, keras2_words, own_classes, weights
from kcompile.files.operation_layers import as_layer
from kcompile.files.operations import written
from kcompile.files.sharing import HELD
from kcompile.keras import layers as keras_layers
from kcompile.keras import losses, metrics
from kcompile.keras.editions import edition
from kcompile.keras.engine import Layer
from kcompile.keras.inputs import InputLayer
from kcompile.keras.layers.of_networks import HOMES
from kcompile.keras.models import Model
from kcompile.keras.optimizer import COMMON
from kcompile.keras.optimizer_configs import for_files
from kcompile.keras.policies import DEFAULT_POLICY, MIXED
from kcompile.keras.semantics import DEFAULT, semantics
from kcompile.keras.utils.serialization import serialize
from kcompile_runtime.errors import ModelError, describe
from kcompile_runtime.texts import printable

Config = dict[str, Any]
# Whose words: those that Keras 2.2 and 2.3 read (as tf_keras does), those of tf.keras, or those of Keras 3
Dialect = Literal["keras2", "tf_keras", "keras3"]
# Where Keras 3 has the objects that stand under an argument.
_MODULES = {
    "_initializer": "keras.initializers",
    "_regularizer": "keras.regularizers",
    "_constraint": "keras.constraints",
}


# Classes that Keras 3 writes by the names under which it shows them, and does not find by these in .h5
PUBLIC = {"GroupedQueryAttention": "GroupQueryAttention"}
REGISTERED = {"CustomScaleLayer": "Custom>CustomScaleLayer"}  # names that tf.keras has for classes
WITHOUT_FLAG = ("Discretization", "Pipeline", "SpatialDropout")  # do not take `trainable` in Keras 3
LONGEST_NAME = 1000  # characters, of the names in a configuration


def check_names(model: Any) -> None:
    """Raises ModelError for names that no reader would take."""
    layers = [model, *weights.all_layers(model)]
    layers += [x.layer for part in layers if isinstance(part, Model) for x in part.inputs]
    for layer in layers:
        if len(layer.name) > LONGEST_NAME or any("\ud800" <= c <= "\udfff" for c in layer.name):
            raise ModelError(
                describe(
                    f"model {model.name[:80]!r}",
                    f"names of at most {LONGEST_NAME} characters, all of which Unicode has",
                    repr(layer.name)[:80],
                )
            )


def check_built(model: Any, what: str) -> None:
    """Raises ModelError for a model without weights."""
    if not model.built:
        raise ModelError(
            f"model {model.name!r}: {what}: the model has no weights yet, as its input "
            "shape is not known. Give the first layer an input_shape, or call build"
        )


def configuration(model: Any, dialect: Dialect) -> tuple[Config, Config]:
    """The model as Keras 3 writes it to .keras, or as its predecessors write it to .h5 and JSON; and what
    is ours alone: the vintages of the model and its layers, by path, and which layers are operators."""
    check_names(model)
    writer = _Writer(dialect, False)
    made = writer.model(model, True, "")
    writer.warn()
    return made, writer.ours


def layer_entry(layer: Any) -> Config:
    """A layer alone, in the words of Keras 3."""
    return _Writer("keras3", True).layer(layer, True, "")


def in_archive(made: Config) -> Config:
    """A model in the words of tf.keras as its .keras files have it, which name a class of every tf.keras."""
    kind = "Sequential" if made["class_name"] == "Sequential" else "Model"
    return {**made, "class_name": kind, "module": "keras", "registered_name": None}


def architecture(model: Any, dialect: Dialect) -> tuple[Config, Config]:
    """The same for JSON and YAML, with the flags of frozen layers as they are."""
    check_names(model)
    writer = _Writer(dialect, True)
    made = writer.model(model, True, "")
    writer.warn()
    return in_archive(made), writer.ours


def _warn_of(strange: Iterable[str], level: int, reader: str = "Keras 2") -> None:
    """Says what only we, and not the Keras whose words these are, will read."""
    if names := ", ".join(sorted(set(strange))):
        text = f"{reader} will not open what is written, as it does not have {names}"
        warnings.warn(text, stacklevel=level + 1)


class _Writer:
    """dialect: in whose words. plain: a frozen model does not make the layers inside frozen.
    ours: the vintages that were met and are not the default, the operators, and layers whose flag has no
    place. strange: what the dialect has no words for."""

    def __init__(self, dialect: Dialect, plain: bool) -> None:
        self.dialect = dialect
        self.keras3 = dialect == "keras3"
        self.plain = plain
        self.ours: Config = {"vintages": {}}
        self.strange: list[str] = []

    def warn(self) -> None:
        """Says what only we, and not the Keras whose words these are, will read."""
        _warn_of(self.strange, 5, "Keras 2" if self.dialect == "keras2" else "tf.keras")

    def model(self, model: Any, trainable: bool, path: str, held: bool = False) -> Config:
        """trainable: whether the model around it is. Keras hands that on to the layers inside. held: a
        wrapper or a Sequential holds it."""
        self.met(model.vintage, path)
        own = self.plain or model.semantics.trained_weights == "own flag"
        config: Config = {"name": model.name, "trainable": model.trainable and (own or trainable)}
        trainable = own or config["trainable"]
        if model.functional:
            config |= self.graph(model, trainable, path, held)
            kind = "Model" if self.dialect == "keras2" else "Functional"
            return self.entry(kind, config, "keras.src.models.functional")
        made = [self.layer(layer, trainable, path, True) for layer in model._layers]
        if model.built and not isinstance(model._layers[0], InputLayer):
            made.insert(0, self.layer(model.inputs[0].layer, trainable, path))
        if self.keras3 and model.dtype_policy.name != DEFAULT_POLICY:  # of a functional model no file tells
            config["dtype"] = model.dtype_policy.name
        return self.entry("Sequential", {**config, "layers": made}, "keras")

    def graph(self, model: Any, trainable: bool, path: str, held: bool) -> Config:
        """The layers of a functional model with their calls, its inputs and its outputs."""
        given = model.get_config()
        config: Config = {
            "layers": [
                {
                    **self.layer(layer, trainable, path),
                    "name": layer.name,
                    "inbound_nodes": [
                        self.node(model, layer, call)
                        for call in entry["inbound_nodes"]
                        for _ in range(self.times(layer))
                    ],
                }
                for layer, entry in zip(model._layers, given["layers"])
            ]
        }
        for key in ("input_layers", "output_layers"):
            places = [self.place(model, place, True) for place in given[key]]
            keys = given.get(key.replace("layers", "keys"))
            # Keras 3 takes a list of one for something else than the tensor
            alone = len(places) == 1 and (self.keras3 or held)
            config[key] = dict(zip(keys, places)) if keys is not None else places[0] if alone else places
        return config

    def layer(self, layer: Any, trainable: bool, path: str, held: bool = False) -> Config:
        path = f"{path}/{layer.name}"
        if isinstance(layer, Model):
            return self.model(layer, trainable, path, held)
        if isinstance(layer, keras_layers.Operation) and self.keras3:
            self.met(layer.vintage, path)
            home, kind, given, _ = written(layer, [])
            return self.entry(kind, {"name": layer.name, **given}, home)
        if isinstance(layer, keras_layers.Operation):
            if (same := as_layer(layer)) is not None:
                kind, given = same
                if not given:
                    self.ours.setdefault("operators", []).append(path)
                self.met(layer.vintage, path)
                self.strange += keras2_words.layer_config(kind, given) if self.dialect == "keras2" else []
                return self.entry(
                    kind,
                    {"name": layer.name, "trainable": True, "dtype": layer.dtype, **given},
                    "keras.layers",
                )
            self.strange.append("calls of keras.ops as layers")
        config = self.arguments(layer, trainable, path)
        if "trainable" in config or not own_classes.is_own(layer):
            config["trainable"] = trainable and layer.trainable
        if type(layer).__name__.startswith(WITHOUT_FLAG) and self.dialect != "keras2":
            if not config.pop("trainable"):
                self.ours.setdefault("frozen", []).append(path)
        shape = config.pop("batch_input_shape", None)
        if isinstance(layer, InputLayer):
            config.pop("trainable")
            config["batch_shape" if self.keras3 else "batch_input_shape"] = shape
        kind = type(layer).__name__
        module = self.home(kind)
        if self.dialect == "tf_keras" and not edition(layer.vintage).newer_networks:
            kind = REGISTERED.get(kind, kind)
        if _is_operator(layer) and self.keras3:
            config, module = {"name": layer.name}, "keras.src.ops.numpy"
        made = self.entry(kind, config, module, registered=own_classes.name_of(layer))
        return made | own_classes.build_config(layer) if self.keras3 else made

    def home(self, kind: str) -> str | None:
        """The module of a layer class of Keras, None for the user's own."""
        return "keras.layers" if isinstance(vars(keras_layers).get(kind), type) else HOMES.get(kind)

    def met(self, vintage: str, path: str) -> None:
        if vintage != DEFAULT:
            self.ours["vintages"][path] = vintage

    def arguments(self, layer: Any, trainable: bool, path: str) -> Config:
        """The arguments of a layer's constructor, with the layers that it holds."""
        kind, config = type(layer).__name__, layer.get_config()
        if own_classes.is_own(layer):
            config = own_classes.written(config, lambda inner: self._held(inner, trainable, path))
        self.met(layer.vintage, path)
        made = {
            key: self.held(key, getattr(layer, key), trainable, path)
            if value is not None and _holds(getattr(layer, key, None), key in HELD)
            else self.value(key, value)
            for key, value in config.items()
            if key not in ("vintage", "operator")
        }
        if config.get("operator"):
            self.ours.setdefault("operators", []).append(path)
        if kind == "MultiHeadAttention" and not self.keras3 and layer.semantics.masked_scores == "lowered":
            shapes = zip(("query_shape", "value_shape", "key_shape"), layer.shapes)
            made |= {name: list(shape) for name, shape in shapes}  # without which tf.keras does not read it
        if isinstance(layer, keras_layers.Bidirectional) and self.keras3:  # it writes what is run
            made["backward_layer"] = self.held("backward_layer", layer.backward_layer, trainable, path)
            made["layer"]["config"]["trainable"] = layer.forward_layer.trainable
        if kind == "Discretization" and not self.keras3 and made["bin_boundaries"] is not None:
            made["num_bins"] = None  # tf.keras takes one of both
        if (
            kind in ("HashedCrossing", "Hashing")
            and made["output_mode"] == "int"
            and layer.whole_dtype is None
        ):
            made["dtype"] = "int64"  # Keras takes no type of floats for bins
        if kind in ("IntegerLookup", "StringLookup"):  # whose newer arguments not every Keras has
            made = {
                k: v for k, v in made.items() if (k, v) not in (("salt", None), ("oov_method", "floormod"))
            }
        if kind == "TextVectorization" and not self.keras3:
            made["dtype"] = "string"  # the only one that tf.keras takes
        if kind == "LeakyReLU" and self.keras3:
            made["negative_slope"] = made.pop("alpha")
        if kind == "Pipeline":
            made = {"name": made["name"], "layers": made["layers"]}  # which is all that Keras takes
        made.pop("implementation", None)  # which Keras 3 does not take
        if self.keras3:  # where nothing depends on them
            made.pop("robust_masking", None)
            made.pop("softmax_robust_masking", None)
        if self.keras3 or made.get("input_length") is None:
            made.pop("input_length", None)  # which it warns of
        if kind == "Lambda" and not self.keras3:
            made = _with_types(made)
        if self.dialect == "keras2" and str(config.get("dtype")).startswith(MIXED):
            self.strange.append(f"the policy {config['dtype']}")
        if self.dialect == "keras2":
            self.strange += keras2_words.layer_config(kind, made)
        elif self.dialect == "tf_keras":
            later = keras2_words.without_later(kind, made, keras2_words.LATER_THAN_TF)
            self.strange += later if layer.semantics.trained_weights != "own flag" else []
        return made

    def held(self, key: str, value: Any, trainable: bool, path: str) -> Any:
        """The layers that an argument holds, with their modules, without which Keras 3 does not read them
        in files of Keras 2 either."""
        if isinstance(value, (list, tuple)):
            return [self._held(layer, trainable, f"{path}/{key}/{i}") for i, layer in enumerate(value)]
        return self._held(value, trainable, f"{path}/{key}/0")

    def _held(self, layer: Any, trainable: bool, path: str) -> Config:
        kind = type(layer).__name__
        if isinstance(layer, Model):
            made = self.model(layer, trainable, path, True)
            module = "keras" if made["class_name"] == "Sequential" else "keras.src.models.functional"
            return self.entry(made["class_name"], made["config"], module, True)
        arguments, name = self.arguments(layer, trainable, path), own_classes.name_of(layer)
        made = self.entry(kind, arguments, self.home(kind), True, name)
        return made | own_classes.build_config(layer) if self.keras3 else made

    def entry(
        self, kind: str, config: Config, module: str | None, held: bool = False, registered: str | None = None
    ) -> Config:
        """held: inside a layer. There Keras 3 needs the module even in files of Keras 2. registered: the name
        under which a class of the user's is found."""
        kind = PUBLIC.get(kind, kind) if self.keras3 else kind
        made: Config = {"class_name": kind, "config": config}
        if self.keras3 or (held and module is not None):
            known = module in ("keras", "keras.layers")
            made.update(module=module, registered_name=None if known else registered or kind)
        return made

    def value(self, key: str, value: Any) -> Any:
        """An argument; objects in it with the module that Keras 3 wants."""
        module = next((m for end, m in _MODULES.items() if key.endswith(end)), None)
        if self.keras3 and module is not None and isinstance(value, Mapping):
            return {
                "module": module,
                "class_name": value["class_name"],
                "config": value["config"],
                "registered_name": None,
            }
        return value

    # ---- nodes

    def times(self, layer: Any) -> int:
        """How often a call is written. Keras 2 counts the calls of a model inside from 1, Keras 3 from
        0, in files of Keras 2 too. Written twice, a call has a number at which both find it."""
        return 2 if isinstance(layer, Model) and not self.keras3 else 1

    def place(self, model: Any, place: Any, output: bool = False) -> list[Any]:
        """output: of the model, where Keras 3 too counts the calls of a functional model from 1."""
        name, node, index = place[:3]
        source = model.get_layer(name)
        if isinstance(source, Model) and self.keras3:
            node -= not (output and source.functional)
        elif isinstance(source, Model):
            node = 2 * node - 1
        return [name, node, index]

    def node(self, model: Any, layer: Any, call: Any) -> Any:
        kind = type(layer).__name__
        if kind in attention_calls.ORDERS:
            return self.attention(model, layer, call)
        arguments = call[0][3] if call and len(call[0]) > 3 else {}
        # Keras 3 finds no further tensors in the other form, and has its own in .h5 too
        newer = self.keras3 or layer.semantics.trained_weights == "own flag"
        tensors = [self.tensor(model, place) if newer else self.place(model, place) for place in call]
        if custom_calls.FORM in arguments:
            return custom_calls.written(arguments, tensors, newer)
        further = further_calls.written(layer, arguments, tensors, newer)
        if further is not None:
            return further
        if not self.keras3:
            return [[*self.place(model, place), *place[3:]] for place in call]
        if isinstance(layer, keras_layers.Operation):
            return written(layer, tensors)[3]
        several = (len(tensors) > 1 or layer.wants_list) and not _is_operator(layer)
        return {"args": [tensors] if several else tensors, "kwargs": arguments}

    def tensor(self, model: Any, place: Any) -> Config:
        """A tensor of the model as Keras 3 writes it."""
        source = model.get_layer(place[0])
        shape = source.get_output_at(0) if not isinstance(source, Model) else None
        number, index = self.place(model, place)[1:]
        outputs = source.outputs if shape is None else (shape if isinstance(shape, list) else [shape])
        return {
            "class_name": "__keras_tensor__",
            "config": {
                "shape": list(outputs[index].shape),
                "dtype": outputs[index].dtype,
                "keras_history": [place[0], number, index],
            },
        }

    def attention(self, model: Any, layer: Any, call: Any) -> Any:
        """A call whose tensors have names. That of a layer of Keras 3 is written in its form in .h5 too, as
        it finds no such tensors in the other."""
        old = layer.semantics.masked_scores == "lowered" and not self.keras3
        places = [self.place(model, place) if old else self.tensor(model, place) for place in call]
        first, named = attention_calls.written(type(layer).__name__, call, places, not old)
        if old:
            return [[*place, named] for place in first]
        return {"args": first if len(first) == 1 else [first], "kwargs": named}


def _holds(value: Any, several: bool) -> bool:
    """Whether an argument is a layer, or where there may be several a list of layers."""
    if several and isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(x, Layer) for x in value)
    return isinstance(value, Layer)


def _with_types(config: Config) -> Config:
    """The configuration of a Lambda with the kinds of its functions, which stand there by their names."""
    named = {name: config[name] for name in ("function", "output_shape", "mask")}
    if config["mask"] is None:
        del config["mask"], named["mask"]
    types = {f"{name}_type": "function" if isinstance(value, str) else "raw" for name, value in named.items()}
    return {**config, **types}


def _is_operator(layer: Any) -> bool:
    return bool(getattr(layer, "operator", False))


# ---------------------------------------------------------------- vintages


def warn_of_activations(model: Any, keras3: bool) -> None:
    """hard_sigmoid is another function in Keras 3 than before, under the same name."""
    theirs = semantics("keras3" if keras3 else "tf_keras").hard_sigmoid
    wrong = sorted(
        {
            layer.name
            for layer in _leaves(model)
            if any(
                getattr(function, "__name__", "") == "hard_sigmoid" and layer.semantics.hard_sigmoid != theirs
                for function in vars(layer).values()
            )
        }
    )
    if wrong:
        others = "Keras 3" if keras3 else "Keras 2 and tf_keras"
        warnings.warn(
            f"hard_sigmoid is another function in {others}: there these layers will compute "
            f"other numbers (not here): {', '.join(map(printable, wrong))}",
            stacklevel=4,
        )


def _leaves(model: Any) -> list[Any]:
    """All layers that are no models, and the layers that they hold."""
    found, waiting = [], list(model._layers)
    while waiting:
        layer = waiting.pop(0)
        if isinstance(layer, Model):
            waiting = [*layer._layers, *waiting]
            continue
        found.append(layer)
        held = [getattr(layer, name, None) for name in HELD]
        waiting = [
            inner
            for one in held
            for inner in (one if isinstance(one, list) else [one])
            if isinstance(inner, Layer)
        ] + waiting
    return found


# ---------------------------------------------------------------- compile


def compile_config(model: Any, dialect: Dialect, archive: bool = False) -> Config | None:
    """The arguments of `compile`, or None: `compile_config` of .keras files (archive), `training_config` of
    others."""
    keras3 = dialect == "keras3"
    arguments = model.trainer.arguments
    if arguments is None:
        return None
    optimizer = _optimizer(arguments["optimizer"])
    silent = {"decay": 0.0, "schedule_decay": 0.004}  # which not all vintages know
    config = {
        key: value
        for key, value in optimizer["config"].items()
        if key != "vintage" and (key not in silent or (value != silent[key] and not keras3))
    }
    rules = semantics(arguments["optimizer"].vintage or model.vintage)
    if keras3 and rules.clipnorm == "together" and "clipnorm" in config:  # Keras 3 limits each
        config["global_clipnorm"] = min(config.pop("clipnorm"), config.get("global_clipnorm", math.inf))
    if dialect == "keras2":
        config = keras2_words.optimizer_config(optimizer["class_name"], config)
        _warn_of(keras2_words.later_options(optimizer["class_name"], config, COMMON), 4)
    old = rules.old_optimizer_options
    if dialect == "tf_keras" and old and not archive and is_newer(arguments["optimizer"]):
        config["is_legacy_optimizer"] = False  # tf_keras takes it for an optimizer of 2.10 otherwise
    optimizer = {"class_name": optimizer["class_name"], "config": config}
    if "inner_optimizer" in config and dialect == "tf_keras" and rules.old_optimizer_options:
        optimizer = _around_in_tf(config)
    made: Config = {
        key: _serialized(arguments[key], key, archive) for key in ("loss", "metrics", "weighted_metrics")
    }
    made["loss_weights"] = serialize(arguments["loss_weights"])
    if archive and not keras3:
        legacy = rules.optimizer_variables == "by slot" and not is_newer(arguments["optimizer"])
        home = "keras.optimizers.legacy" if legacy else "keras.optimizers"
        return {**made, "optimizer": _with_module(optimizer, home)}
    if not keras3:
        # Keras 2 wants one, Keras 3 has none: there the data say it
        if dialect == "keras2" or arguments["sample_weight_mode"] is not None:
            made["sample_weight_mode"] = serialize(arguments["sample_weight_mode"])
        return {**made, "optimizer_config": optimizer}
    if getattr(arguments["optimizer"], "decay", 0):
        warnings.warn(
            "decay of the learning rate is not known to Keras 3: there it will stay constant (not here)",
            stacklevel=4,
        )
    return {
        **made,
        "optimizer": _with_module(optimizer, "keras.optimizers"),
        "run_eagerly": False,
        "steps_per_execution": 1,
        "jit_compile": "auto",
    }


def _around_in_tf(config: Mapping[str, Any]) -> Config:
    """A LossScaleOptimizer in the words of tf.keras since 2.11."""
    inner = config["inner_optimizer"]
    kept = {k: v for k, v in inner["config"].items() if k not in ("decay", "schedule_decay", "vintage")}
    made = {"inner_optimizer": {**inner, "config": {**kept, "is_legacy_optimizer": False}}, "dynamic": True}
    options = {key: config[key] for key in ("initial_scale", "dynamic_growth_steps")}
    return {"class_name": "LossScaleOptimizerV3", "config": {**made, **options}}


def is_newer(optimizer: Any) -> bool:
    """Whether optimizers of tf.keras up to 2.10 cannot be what it is."""
    options = {key for key, nothing in COMMON.items() if getattr(optimizer, key) != nothing}
    options -= {
        "clipnorm",
        "clipvalue",
        "global_clipnorm",
        "vintage",
        "ema_momentum",
        "ema_overwrite_frequency",
    }
    older = [*keras2_words.OPTIMIZERS, *(["Ftrl"] if optimizer.vintage else [])]  # theirs follows other rules
    return bool(options) or type(optimizer).__name__ not in older


def _optimizer(optimizer: Any) -> Config:
    """An optimizer with its configuration, whose learning rate has the name that it has since Keras 2.3."""
    kept = for_files(optimizer)
    config = {"learning_rate" if key == "lr" else key: value for key, value in kept.items()}
    return {"class_name": type(optimizer).__name__, "config": config}


def own_compile_config(model: Any) -> Config | None:
    """The same in our words."""
    made = compile_config(model, "tf_keras")
    if made is None:
        return None
    optimizer = _optimizer(model.trainer.arguments["optimizer"])
    return {**{k: v for k, v in made.items() if k != "optimizer_config"}, "optimizer": optimizer}


# Short names of losses, which Keras 3 writes into .h5 and cannot read from there.
_FULL = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
}


def _serialized(value: Any, what: str, archive: bool) -> Any:
    if value is None or isinstance(value, str):
        return _FULL.get(str(value).lower(), value) if what == "loss" else value
    if isinstance(value, (list, tuple)):
        return [_serialized(v, what, archive) for v in value]
    if isinstance(value, Mapping):
        return {k: _serialized(v, what, archive) for k, v in value.items()}
    made = losses.serialize(value) if what == "loss" else metrics.serialize(value)
    if archive and isinstance(made, Mapping):
        made = _with_module(made, "keras.losses" if isinstance(value, losses.Loss) else "keras.metrics")
    return made


def _with_module(made: Mapping[str, Any], module: str) -> Config:
    return {"module": module, **made, "registered_name": None}

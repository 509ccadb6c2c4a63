"""Configurations of Keras 2, Keras 3 and tf_keras, as ours: the form of Keras 2, with the vintage said.

Enters: what `get_config` and `get_compile_config` of other Keras give (dicts that JSON can hold), live
or from a file; Keras 1 comes here through `vintage.upgrade`. Nothing in it is trusted.
Leaves: configurations that our `from_config` and `compile` take. What is not supported is noted in a
`Problems`, which reports all of it in one error.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kcompile.files.vintage import MAX_LAYERS
from kcompile.keras import layers, losses, metrics, optimizers
from kcompile.keras.engine import Layer, is_integer
from kcompile.keras.utils.serialization import custom_object_scope
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

VINTAGE = "keras3"
PACKAGES = ("keras", "tf_keras", "tensorflow", "builtins")

# Arguments that ours do not have, with the values at which they do nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "quantization_config": (None,), "lora_rank": (None,), "lora_alpha": (None,), "groups": (1,),
    "synchronized": (False, None), "renorm": (False, None), "renorm_clipping": (None,),
    "keepdims": (False, None), "sparse": (False, None), "ragged": (False, None),
    "optional": (False, None), "activity_regularizer": (None,), "seed": (None,),
    "noise_shape": (None,), "autocast": (True,), "virtual_batch_size": (None,),
    "adjustment": (None,), "time_major": (False, None), "query_shape": (None,),
    "zero_output_for_mask": (False, None)}
IGNORED = {"renorm_momentum", "build_input_shape"}  # say nothing by themselves
# Names that classes had in other versions.
ALIASES = {"BatchNormalizationV1": "BatchNormalization", "BatchNormalizationV2": "BatchNormalization"}
# Operations of Keras 3 on two tensors that are layers too, of the same name.
OPERATIONS = ("Add", "Multiply", "Subtract", "Maximum", "Minimum")
MODELS = ("Sequential", "Functional", "Model")
# An initializer's options that only say how its fans were counted.
INITIALIZER_NEUTRAL = ("input_axes", "output_axes", "dtype")


class Problems:
    """What of a model is not supported, or wrong, to be told together."""

    def __init__(self, model: str, verb: str = "compiled") -> None:
        self.model = model
        self.verb = verb
        self.found: list[str] = []
        self._wrong: list[str] = []

    def add(self, text: str, wrong: bool = False) -> None:
        """wrong: no Keras could take it."""
        if text not in self.found:
            self.found.append(text)
            if wrong:
                self._wrong.append(text)

    def report(self) -> None:
        """Raises UnsupportedError when there is any; ModelError when all of it is plainly wrong."""
        if self.found:
            lines = "".join(f"\n- {text}" for text in self.found)
            if len(self._wrong) == len(self.found):
                raise ModelError(f"model {self.model!r} cannot be {self.verb}:{lines}")
            raise UnsupportedError(
                f"model {self.model!r} cannot be {self.verb}. Not supported:{lines}")


# ---------------------------------------------------------------- models


@dataclass(frozen=True)
class _Reading:
    """How a configuration is to be read. custom: the user's own classes and functions by name."""

    problems: Problems
    old_activations: bool
    vintage: str
    custom: Mapping[str, Any] = field(default_factory=dict)


def translate_model(entry: Mapping[str, Any], old_activations: bool, problems: Problems,
                    vintage: str = VINTAGE, custom: Mapping[str, Any] | None = None
                    ) -> dict[str, Any]:
    """A Sequential or functional model, `{"class_name", "config"}`, with the models inside it.

    vintage: whose semantics it has. custom: custom_objects. Raises ModelError for what is no
    configuration at all; everything else goes to `problems`.
    """
    return _model(entry, _Reading(problems, old_activations, vintage, custom or {}))


def _model(entry: Mapping[str, Any], reading: _Reading) -> dict[str, Any]:
    config = _checked_config(entry)
    functional = "input_layers" in config
    if functional:
        config = _without_mask_ops(config)
    made: dict[str, Any] = {"name": config.get("name"), "trainable": config.get("trainable", True),
                            "vintage": config.get("vintage", reading.vintage), "layers": []}
    for layer in config["layers"]:
        made["layers"].append(_translate_entry(layer, functional, reading))
    _check_names(made, functional)
    if functional:
        for key in ("input_layers", "output_layers"):
            made[key] = _tensors(config[key], key, reading.problems)
        if any(isinstance(node, Mapping) for layer in config["layers"]
               for node in layer.get("inbound_nodes", ())):
            _count_models_from_one(made)
        _check_places(made)
    elif config.get("build_input_shape") and not _says_input(made["layers"]):
        made["build_input_shape"] = config["build_input_shape"]
    return {"class_name": "Model" if functional else "Sequential", "config": made}


# Operations that Keras 3 writes for the masks of a functional model.
MASK_OPS = frozenset(("NotEqual", "Any", "All", "LogicalOr", "LogicalAnd", "ExpandDims", "ZerosLike",
                      "OnesLike", "Concatenate"))


def _without_mask_ops(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A functional model without the masks that Keras 3 writes out, as operations and as arguments of
    calls. They begin at Masking and Embedding(mask_zero=True); ours follow from these by themselves."""
    def masks(layer: Mapping[str, Any]) -> bool:
        return layer["class_name"] == "Masking" or (
            layer["class_name"] == "Embedding" and layer["config"].get("mask_zero") is True)

    if not any(isinstance(layer["config"], Mapping) and masks(layer) for layer in config["layers"]):
        return config
    kept = [{**layer, "inbound_nodes": [_without_mask(n) for n in layer.get("inbound_nodes", ())]}
            for layer in config["layers"]]
    while True:
        read = set(_names_read([layer["inbound_nodes"] for layer in kept]))
        read |= {str(x[0]) for key in ("input_layers", "output_layers")
                 for x in _tensors(config[key], key, Problems(""))}
        left = [layer for layer in kept if layer.get("name") in read
                or layer["class_name"] not in MASK_OPS
                or not str(layer.get("module", "")).startswith("keras.src.ops")]
        if len(left) == len(kept):
            return {**config, "layers": kept}
        kept = left


def _without_mask(node: Any) -> Any:
    named = node.get("kwargs") if isinstance(node, Mapping) else None
    if not isinstance(named, Mapping) or not _names_read(named.get("mask")):
        return node
    return {**node, "kwargs": {k: v for k, v in named.items() if k != "mask"}}


def _names_read(value: Any) -> list[str]:
    """The layers that the tensors in a part of a configuration come from."""
    if _is_keras_tensor(value):
        return [value["config"]["keras_history"][0]]
    if isinstance(value, Mapping):
        return [name for v in value.values() for name in _names_read(v)]
    if isinstance(value, (list, tuple)):
        return [name for v in value for name in _names_read(v)]
    return []


def _checked_config(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of a model, with a list of layers in it. Raises ModelError."""
    config = entry.get("config")
    if isinstance(config, list):  # a Sequential of Keras up to 2.2
        config = {"layers": config}
    if not isinstance(config, Mapping) or not isinstance(config.get("layers"), list):
        raise ModelError(describe("configuration", "a model with a list of layers",
                                  repr(config)[:80]))
    if len(config["layers"]) > MAX_LAYERS:
        raise ModelError(describe("configuration", f"at most {MAX_LAYERS} layers",
                                  str(len(config["layers"]))))
    for layer in config["layers"]:
        if not (isinstance(layer, Mapping) and isinstance(layer.get("class_name"), str)
                and isinstance(layer.get("config"), (Mapping, list))):
            raise ModelError(describe("configuration", "layers with a class_name and a config",
                                      repr(layer)[:80]))
    if "input_layers" in config and "output_layers" not in config:
        raise ModelError("configuration: expected output_layers. Received: none")
    return config


def _check_names(made: Mapping[str, Any], functional: bool) -> None:
    names = [_name(layer) for layer in made["layers"]]
    for name in (made["name"], *names):
        if name is not None and (not isinstance(name, str) or not 0 < len(name) <= 1000):
            raise ModelError(describe("configuration", "names of 1 to 1000 characters",
                                      repr(name)[:80]))
    given = [name for name in names if name is not None]
    if twice := sorted(name for name, count in Counter(given).items() if count > 1):
        raise ModelError(describe("configuration", "a name of its own for each layer",
                                  f"several layers called {', '.join(map(repr, twice))}"))
    if functional and len(given) < len(names):
        raise ModelError("configuration: expected a name for each layer. Received: layers without")


def _name(layer: Mapping[str, Any]) -> Any:
    return layer.get("name", layer["config"].get("name"))


def _check_places(made: Mapping[str, Any]) -> None:
    """Every tensor that the configuration speaks of must come from a layer in it."""
    known = {layer["name"] for layer in made["layers"]}
    calls = [call for layer in made["layers"] for call in layer["inbound_nodes"]]
    for place in (*made["input_layers"], *made["output_layers"],
                  *(place for call in calls for place in call)):
        if not (place[0] in known and all(is_integer(n) and 0 <= n <= MAX_LAYERS
                                          for n in place[1:3])):
            raise ModelError(describe("configuration", "tensors of its own layers, as [layer, node, "
                                      "tensor]", repr(list(place[:3]))[:200]))


def _says_input(entries: list[dict[str, Any]]) -> bool:
    """Whether the first layer of a Sequential says what its input is."""
    first: dict[str, Any] = entries[0] if entries else {"class_name": "", "config": {}}
    config = first["config"]
    return (first["class_name"] in ("InputLayer", "Model") or "batch_input_shape" in config
            or (first["class_name"] == "Sequential" and _says_input(config["layers"])))


def _count_models_from_one(config: dict[str, Any]) -> None:
    """Keras 3 counts the calls of a model inside from 0; Keras 2, where it is its own first, from 1."""
    inside = {layer["name"] for layer in config["layers"] if "layers" in layer["config"]}
    calls = [call for layer in config["layers"] for call in layer["inbound_nodes"]]
    for place in (*config["input_layers"], *config["output_layers"],
                  *(place for call in calls for place in call)):
        if place[0] in inside and is_integer(place[1]):
            place[1] += 1


def _translate_entry(entry: Mapping[str, Any], functional: bool, reading: _Reading
                     ) -> dict[str, Any]:
    kind, config = entry["class_name"], entry["config"]
    if kind in MODELS and (isinstance(config, list) or "layers" in config):
        made = _model(entry, reading)
        config = made["config"]
    elif isinstance(config, list):
        raise ModelError(describe(f"configuration of a {kind}", "arguments by name", "a list"))
    else:
        kind = ALIASES.get(kind, kind)
        made = {"class_name": kind, "config": _translate_layer(kind, entry, reading)}
    if functional:
        name = entry.get("name") or config.get("name")
        made["name"] = name
        nodes = entry.get("inbound_nodes", ())
        if not isinstance(nodes, (list, tuple)):
            raise ModelError(describe(f"Layer {name!r}", "a list of inbound_nodes",
                                      repr(nodes)[:80]))
        known = kind in MODELS or _class(kind, entry, reading) is not None
        problems = reading.problems if known else Problems("")  # one complaint a layer is enough
        operation = str(entry.get("module")).startswith("keras.src.ops.") and kind in OPERATIONS
        ours = reading.vintage == "keras2"
        made["inbound_nodes"] = [_node(node, f"Layer {name!r} ({kind})", problems, operation, ours)
                                 for node in nodes]
    return made


# ---------------------------------------------------------------- layers


def _lambda(label: str, given: dict[str, Any], reading: _Reading) -> None:
    """The function of a Lambda: bytecode in files is never run, the user gives it by the layer's name."""
    function = reading.custom.get(str(given.get("name")))
    if function is None and isinstance(given.get("function"), str):  # one that had a name
        function = reading.custom.get(given["function"])
    if function is None:
        reading.problems.add(
            f"{label}: its function is stored as bytecode, which is never run. Give the function: "
            f"custom_objects={{{given.get('name')!r}: function}}")
    given["function"] = function or (lambda x: x)  # so that the rest of the layer is still checked
    for key in ("function_type", "module", "output_shape", "output_shape_type",
                "output_shape_module"):
        given.pop(key, None)


def _one_axis(label: str, given: dict[str, Any], reading: _Reading) -> None:
    """tf_keras writes the axis of a BatchNormalization as a list."""
    if isinstance(given.get("axis"), (list, tuple)) and len(given["axis"]) == 1:
        (given["axis"],) = given["axis"]


def _reset_before(label: str, given: dict[str, Any], reading: _Reading) -> None:
    """A GRU of before reset_after existed."""
    given.setdefault("reset_after", False)


def _backward(label: str, given: dict[str, Any], reading: _Reading) -> None:
    """Keras 3 writes the layer that goes backwards too; here it is made from the first one."""
    first, second = given.get("layer"), given.pop("backward_layer", None)
    own = ("name", "go_backwards", "build_config", "dtype")
    if second is not None and not (
            isinstance(first, Mapping) and isinstance(second, Mapping)
            and first.get("class_name") == second.get("class_name")
            and _without(first.get("config"), own) == _without(second.get("config"), own)):
        reading.problems.add(f"{label}: a backward_layer that is no copy of layer")


def _without(config: Any, names: tuple[str, ...]) -> Any:
    """A configuration without what differs between copies."""
    if isinstance(config, Mapping):
        return {k: _without(v, ("shared_object_id",)) for k, v in config.items() if k not in names}
    return config


# What of a class is more than its arguments by name: class -> change of its configuration. A class
# that needs no change needs no line: it is found in `kcompile.keras.layers`.
CHANGES = {"BatchNormalization": _one_axis, "Bidirectional": _backward, "GRU": _reset_before,
           "GRUCell": _reset_before, "Lambda": _lambda}
# Arguments that are layers, or lists of them.
HELD = ("layer", "cell", "cells")


def _translate_layer(kind: str, entry: Mapping[str, Any], reading: _Reading) -> dict[str, Any]:
    """The configuration of a layer. It is tried here, so that a bad value is reported with the rest."""
    given, problems = dict(entry["config"]), reading.problems
    label = f"Layer {given.get('name', kind)!r} ({kind})"
    cls = _class(kind, entry, reading)
    if kind in CHANGES and kind not in reading.custom:
        CHANGES[kind](label, given, reading)
    if cls is None:
        problems.add(f"{label}: layers of this class")
        return given
    dtype = _dtype(given.pop("dtype", None))
    if dtype not in ("float32", "int32", "int64", "uint8", "bool"):
        problems.add(f"{label}: dtype {dtype}. Use float32")
        dtype = "float32"
    config: dict[str, Any] = {"dtype": dtype}
    if "batch_shape" in given:
        given["batch_input_shape"] = given.pop("batch_shape")
    known = _parameters(cls)
    for key, value in given.items():
        if key in known and not _wrong_switch(known[key], value):
            switch = isinstance(getattr(known[key], "default", None), bool)
            config[key] = (bool(value) if switch else _held(value, label, reading) if key in HELD
                           else _plain(value))
        elif key in known:
            problems.add(f"{label}: {key}: expected True or False. Received: {value!r}", wrong=True)
        elif key not in IGNORED and value not in NEUTRAL.get(key, ()):
            problems.add(f"{label}: the argument {key}={value!r}")
    if "data_format" in known and config.get("data_format") is None:
        config["data_format"] = "channels_last"  # not what this machine's keras.json says
    if "vintage" in known:
        config.setdefault("vintage", reading.vintage)
        if reading.old_activations and "activation" in config and "vintage" not in given:
            config["vintage"] = "keras2"
    try:
        with custom_object_scope(reading.custom):
            cls.from_config(dict(config))
    except (ValueError, TypeError) as error:
        text = str(error) if str(error).startswith("Layer") else f"{label}: {error}"
        problems.add(text, wrong=not isinstance(error, UnsupportedError))
    return config


def _class(kind: str, entry: Mapping[str, Any], reading: _Reading) -> type[Layer] | None:
    """The class of a layer: the user's own, or one of ours. Files cannot name any other."""
    registered = entry.get("registered_name")
    for name in (registered, kind, str(registered).rpartition(">")[2]):
        found = reading.custom.get(name) if isinstance(name, str) else None
        if isinstance(found, type) and issubclass(found, Layer):
            return found
    foreign = str(entry.get("module", "keras")).partition(".")[0] not in PACKAGES
    known = vars(layers).get(kind)
    if foreign or registered not in (None, kind) or known is Layer or not (
            isinstance(known, type) and issubclass(known, Layer)):
        return None
    return known


def _held(value: Any, label: str, reading: _Reading) -> Any:
    """The layers inside a wrapper, translated as layers."""
    if isinstance(value, (list, tuple)):
        return [_held(v, label, reading) for v in value]
    if not (isinstance(value, Mapping) and isinstance(value.get("class_name"), str)
            and isinstance(value.get("config"), (Mapping, list))):
        raise ModelError(describe(label, "the configuration of the layer inside", repr(value)[:80]))
    return _translate_entry(value, False, reading)


def _wrong_switch(parameter: inspect.Parameter | None, value: Any) -> bool:
    """Whether a parameter that is a switch has a value that is none: bool("no") would be True. Some
    scripts wrote 0 and 1."""
    return (parameter is not None and isinstance(parameter.default, bool)
            and not (isinstance(value, (bool, int)) and value in (0, 1)))


def _parameters(cls: type) -> dict[str, inspect.Parameter | None]:
    """What the constructor of a layer class takes, by name."""
    made = [vars(base)["__init__"] for base in reversed(cls.__mro__[:-1]) if "__init__" in vars(base)]
    known: dict[str, inspect.Parameter | None] = {"batch_input_shape": None}
    known.update((name, parameter) for init in made
                 for name, parameter in inspect.signature(init).parameters.items()
                 if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY))
    known.pop("weights", None)  # no configuration holds them
    known.pop("self", None)
    return known


def _dtype(policy: Any) -> str:
    """The name of a dtype, or of a policy in any of its spellings."""
    if isinstance(policy, Mapping):
        config = policy.get("config")
        policy = (config.get("name") if isinstance(config, Mapping) else None) or policy.get(
            "class_name")
    return str(policy or "float32")


def _plain(value: Any) -> Any:
    """A value of a configuration; objects in it without what only Keras 3 has."""
    if not isinstance(value, Mapping) or "class_name" not in value:
        return value
    config = value.get("config")
    if isinstance(config, Mapping):
        config = {k: v for k, v in config.items()
                  if not (k in INITIALIZER_NEUTRAL and v in (None, "float32"))}
    return {"class_name": value["class_name"], "config": config}


# ---------------------------------------------------------------- nodes


def _node(node: Any, label: str, problems: Problems, operation: bool = False, ours: bool = False
          ) -> list[Any]:
    """An inbound node as Keras 2 writes it: [[layer, node index, tensor index, {}], ...]. operation:
    it is one of Keras 3 on two tensors (x + y), which a merging layer computes. ours: we wrote it."""
    node = _with_states(node)
    if not isinstance(node, Mapping):  # that is how Keras 1 and 2 write it, with the arguments inside
        if not (isinstance(node, (list, tuple)) and node and all(map(_is_place, node))):
            problems.add(f"{label}: a call of another form than [[layer, node, tensor, arguments], ...]")
            return []
        for _, _, _, *arguments in node:
            _arguments(arguments[0] if arguments else {}, label, problems)
        return [[*place[:3], _training(place[3] if len(place) == 4 else {})] for place in node]
    _arguments(node.get("kwargs", {}), label, problems)
    kept = _training(node.get("kwargs", {})) if ours else {}
    arguments = node.get("args") or [None]
    if operation and len(arguments) == 2 and all(map(_is_keras_tensor, arguments)):
        ranks = {len(x["config"].get("shape", ())) for x in arguments}
        arguments = [arguments] if len(ranks) == 1 else arguments
    first, *more = arguments
    tensors = first if isinstance(first, (list, tuple)) else [first]
    if any(x is not None for x in more) or not all(map(_is_keras_tensor, tensors)):
        problems.add(f"{label}: a call with other arguments than one tensor, or a list of them")
        return []
    return [[*x["config"]["keras_history"], kept] for x in tensors]


def _training(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The training flag of a call, which Keras 2 and tf.keras heed. Keras 3 runs a model with its own,
    whatever a call says of it."""
    value = arguments.get("training")
    return {"training": value} if isinstance(value, bool) else {}


def _with_states(node: Any) -> Any:
    """The call of a recurrent layer, with its initial_state as further inputs, as Keras 2 has it."""
    if isinstance(node, Mapping):
        named, given = _mapping(node.get("kwargs")), node.get("args") or [None]
        states = named.get("initial_state")
        states = list(states) if isinstance(states, (list, tuple)) else [states]
        if not all(map(_is_keras_tensor, [given[0], *states])):
            return node
        return {**node, "args": [[given[0], *states], *given[1:]],
                "kwargs": {k: v for k, v in named.items() if k != "initial_state"}}
    if not (isinstance(node, list) and len(node) == 1 and _is_place(node[0]) and len(node[0]) == 4):
        return node
    *place, named = node[0]
    states = named.get("initial_state")
    states = [states] if _is_place(states) else states
    if not isinstance(states, (list, tuple)) or not states or not all(map(_is_place, states)):
        return node
    return [[*place, {k: v for k, v in named.items() if k != "initial_state"}],
            *([*state[:3], {}] for state in states)]


def _is_place(place: Any) -> bool:
    return (isinstance(place, (list, tuple)) and len(place) in (3, 4) and isinstance(place[0], str)
            and (len(place) == 3 or isinstance(place[3], Mapping)))


def _is_keras_tensor(x: Any) -> bool:
    if not isinstance(x, Mapping) or x.get("class_name") != "__keras_tensor__":
        return False
    history = x["config"].get("keras_history") if isinstance(x.get("config"), Mapping) else None
    return isinstance(history, (list, tuple)) and len(history) == 3 and isinstance(history[0], str)


def _arguments(arguments: Mapping[str, Any], label: str, problems: Problems) -> None:
    """Arguments of a call other than the training flag are not supported."""
    if not isinstance(arguments, Mapping):
        problems.add(f"{label}: a call with arguments that have no names")
        return
    for key, value in arguments.items():
        if key != "training" and value is not None:
            problems.add(f"{label}: a call with the argument {key}")


def _tensors(given: Any, what: str, problems: Problems) -> list[list[Any]]:
    """Inputs or outputs of a model: a list of [layer, node index, tensor index]."""
    if isinstance(given, Mapping):
        problems.add(f"{what} as a dict. Use a list")
        return []
    if not isinstance(given, (list, tuple)) or not given:
        raise ModelError(describe(f"configuration: {what}", "a list of tensors", repr(given)[:80]))
    if len(given) == 3 and isinstance(given[0], str):
        return [list(given)]
    if not all(isinstance(x, (list, tuple)) and len(x) == 3 and isinstance(x[0], str)
               for x in given):
        problems.add(f"{what} as nested lists. Use a flat list")
        return []
    return [list(x) for x in given]


# ---------------------------------------------------------------- compile


def translate_compilation(config: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """The arguments of `compile` from `get_compile_config`, or the `training_config` of a file: objects,
    or names, of ours.

    `run_eagerly`, `jit_compile` and `steps_per_execution` say how another Keras computes, and mean
    nothing here.
    """
    made: dict[str, Any] = {"loss_weights": config.get("loss_weights")}
    made["optimizer"] = _optimizer(config.get("optimizer", config.get("optimizer_config")), problems)
    made["loss"] = _nested("loss", config.get("loss"), losses.get, problems)
    for key in ("metrics", "weighted_metrics"):
        made[key] = _nested(key, config.get(key), metrics.get, problems, ("accuracy", "acc",
                                                                          "crossentropy", "ce"))
    if config.get("auto_scale_loss") and config.get("loss_scale_factor"):
        problems.add("compile: loss scaling")
    if config.get("sample_weight_mode") not in (None, [None], {}):
        problems.add(f"compile: sample_weight_mode={config['sample_weight_mode']!r}")
    return made


def _optimizer(value: Any, problems: Problems) -> Any:
    config = value.get("config") if isinstance(value, Mapping) else None
    rate = config.get("learning_rate") if isinstance(config, Mapping) else None
    if isinstance(rate, Mapping):
        problems.add(f"compile: optimizer: the learning rate as a schedule "
                     f"({rate.get('class_name')}). Use callbacks.LearningRateScheduler")
        return None
    if isinstance(config, Mapping) and not config.get("use_ema"):
        value = {**value, "config": {k: v for k, v in config.items() if not k.startswith("ema_")}}
    return _object("optimizer", value, optimizers.get, problems)


def _nested(what: str, value: Any, get: Any, problems: Problems, names: tuple[str, ...] = ()
            ) -> Any:
    """Names and objects in lists and dicts, by output. `names` have a meaning only in a model."""
    if value is None or (isinstance(value, str) and value in names):
        return value
    if isinstance(value, (list, tuple)):
        return [_nested(what, v, get, problems, names) for v in value]
    if isinstance(value, Mapping) and "class_name" not in value:
        return {k: _nested(what, v, get, problems, names) for k, v in value.items()}
    if isinstance(value, Mapping) and value["class_name"] == "MeanMetricWrapper":
        config = value.get("config")
        config = config if isinstance(config, Mapping) else {}
        named = config.get("name") if config.get("name") in names else config.get("fn")
        return _nested(what, named, get, problems, names)  # what tf.keras makes of a name or function
    if isinstance(value, str):
        _object(what, value, get, problems)  # the name stays, as results are reported under it
        return value
    return _object(what, value, get, problems)


def _object(what: str, value: Any, get: Any, problems: Problems) -> Any:
    """An object from its configuration, without options that say nothing."""
    if isinstance(value, Mapping) and value.get("class_name") == "function":
        if str(value.get("module")).partition(".")[0] in PACKAGES and _known(get, value["config"]):
            return get(value["config"])
        problems.add(f"compile: {what} {value.get('config')!r}, a function of your own. Write it "
                     "over kcompile.keras.backend and compile a kcompile.keras model with it")
        return None
    if isinstance(value, Mapping):
        given = _mapping(value.get("config"))
        silent = {"axis": (-1,), "dtype": (None, "float32")}
        # "fn" is the function of a loss class, which tf_keras writes beside it
        config = {k: _plain(v) for k, v in given.items()
                  if v is not None and k != "fn" and v not in silent.get(k, ())}
        value = {"class_name": str(value["class_name"]).rpartition(">")[2], "config": config}
    try:
        return get(value)
    except (ValueError, TypeError) as error:
        problems.add(f"compile: {what}: {error}")
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _known(get: Any, name: Any) -> bool:
    try:
        return isinstance(name, str) and get(name) is not None
    except (ValueError, TypeError):
        return False

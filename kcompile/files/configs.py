"""Configurations of Keras 2, Keras 3 and tf_keras, as ours: the form of Keras 2, with the vintage said.

Enters: what `get_config` of other Keras gives (dicts that JSON can hold), live or from a file; Keras 1
comes here through `vintage.upgrade`. Nothing in it is trusted. Leaves: configurations that our
`from_config` takes. What is not supported is noted in a `Problems`, which reports all of it in one error.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kcompile.files import own_classes
from kcompile.files.calls import is_keras_tensor, mapping, translate_call, translate_tensors, without_mask_ops
from kcompile.files.keras2_words import named_object
from kcompile.files.learned import take_lines
from kcompile.files.operations import as_resizing, is_call, translate_call_layer
from kcompile.files.parameters import parameters_of
from kcompile.files.problems import HOMES, MODELS, Problems
from kcompile.files.sharing import HELD
from kcompile.files.tf_operations import KINDS
from kcompile.files.vintage import MAX_LAYERS
from kcompile.keras import activations, layers
from kcompile.keras.editions import NEUTRAL
from kcompile.keras.engine import Layer, is_integer
from kcompile.keras.layers import of_networks
from kcompile.keras.layers.custom import Custom
from kcompile.keras.layers.preprocessing.geometry import Resizing
from kcompile.keras.layers.registry import SHARED
from kcompile.keras.names_of_scripts import is_ours
from kcompile.keras.policies import FLOAT_NAMES, NAMES, REMEDY, is_quantized, named
from kcompile.keras.settings import uncounted
from kcompile.keras.topology import MAX_RUNS
from kcompile.keras.utils.serialization import custom_object_scope
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

IGNORED = {"build_input_shape"}  # say nothing by themselves
# Names that classes had in other versions.
ALIASES = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "Custom>CustomScaleLayer": "CustomScaleLayer",  # as tf.keras registers it
}
# Operations of Keras 3 on two tensors that are layers too, of the same name.
OPERATIONS = ("Add", "Multiply", "Subtract", "Maximum", "Minimum")
# An initializer's options that only say how its fans were counted.
INITIALIZER_NEUTRAL = ("input_axes", "output_axes", "dtype")


# ---------------------------------------------------------------- models


@dataclass(frozen=True)
class _Reading:
    """How a configuration is to be read. custom: the user's own classes and functions by name."""

    problems: Problems
    vintage: str
    ours: bool
    custom: Mapping[str, Any] = field(default_factory=dict)
    spent: Counter[str] = field(default_factory=Counter)

    def spend(self, what: str, count: int, limit: int) -> None:
        """One budget for all models of a file. Raises ModelError, before anything is made."""
        self.spent[what] += count
        if self.spent[what] > limit:
            raise ModelError(describe("configuration", f"at most {limit} {what}", "more"))


def translate_model(
    entry: Mapping[str, Any],
    problems: Problems,
    vintage: str,
    ours: bool = False,
    custom: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A Sequential or functional model, `{"class_name", "config"}`, with the models inside it.

    vintage: whose semantics it has. ours: we wrote it. custom: custom_objects. Raises ModelError for
    what is no configuration at all; everything else goes to `problems`.
    """
    return _model(entry, _Reading(problems, vintage, ours, custom or {}))


def _model(entry: Mapping[str, Any], reading: _Reading) -> dict[str, Any]:
    config, keys = _without_keys(_checked_config(entry))
    reading.spend("layers", len(config["layers"]), MAX_LAYERS)
    policy = _check_arguments(config, reading.problems)
    functional = "input_layers" in config
    if functional:
        config = without_mask_ops(config)
    made: dict[str, Any] = {
        "name": config.get("name"),
        "trainable": config.get("trainable", True),
        "vintage": config.get("vintage", reading.vintage),
        "layers": [],
        **({} if config.get("dtype") is None else {"dtype": policy}),
        **keys,
    }
    for layer in config["layers"]:
        made["layers"].append(_translate_entry(layer, functional, reading))
    _check_names(made, functional)
    if functional:
        for key in ("input_layers", "output_layers"):
            made[key] = translate_tensors(config[key], key, reading.problems)
        if any(
            isinstance(node, Mapping) for layer in config["layers"] for node in layer.get("inbound_nodes", ())
        ):
            _count_models_from_one(made)
        _check_places(made)
        _drop_second_calls(made)
    elif config.get("build_input_shape") and not _says_input(made["layers"]):
        made["build_input_shape"] = config["build_input_shape"]
    result = {"class_name": "Model" if functional else "Sequential", "config": made}
    if _runs(result) > MAX_RUNS:
        raise ModelError(
            describe(
                f"model {made['name']!r}",
                f"at most {MAX_RUNS} layers to run, those of models inside in each of their calls",
                "more",
            )
        )
    return result


def _runs(entry: Mapping[str, Any]) -> int:
    """How many layers run when a layer does: a model that calls the one inside twice, and so on, doubles
    it at each level."""
    config = entry["config"]
    inside = (
        config["layers"]
        if _is_list_of_layers(config.get("layers"))
        else [held for key in HELD for held in _listed(config.get(key)) if isinstance(held, Mapping)]
    )
    return 1 + sum(max(1, len(layer.get("inbound_nodes", ()))) * _runs(layer) for layer in inside)


def _is_list_of_layers(value: Any) -> bool:
    """Whether it may be the layers of a model, and no list of something else."""
    return isinstance(value, list) and all(isinstance(layer, Mapping) for layer in value)


def _plain(value: Any) -> bool:
    """Whether there is no configuration in it."""
    return not any(isinstance(part, Mapping) for part in _listed(value))


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


def _checked_config(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of a model, with a list of layers in it. Raises ModelError."""
    config = entry.get("config")
    if isinstance(config, list):  # a Sequential of Keras up to 2.2
        config = {"layers": config}
    if not isinstance(config, Mapping) or not isinstance(config.get("layers"), list):
        raise ModelError(describe("configuration", "a model with a list of layers", repr(config)[:80]))
    if len(config["layers"]) > MAX_LAYERS:
        raise ModelError(
            describe("configuration", f"at most {MAX_LAYERS} layers", str(len(config["layers"])))
        )
    for layer in config["layers"]:
        if not (
            isinstance(layer, Mapping)
            and isinstance(layer.get("class_name"), str)
            and isinstance(layer.get("config"), (Mapping, list))
        ):
            raise ModelError(
                describe("configuration", "layers with a class_name and a config", repr(layer)[:80])
            )
    if "input_layers" in config and "output_layers" not in config:
        raise ModelError("configuration: expected output_layers. Received: none")
    return config


def _without_keys(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, list[str]]]:
    """The configuration with inputs and outputs as lists, and the keys of those that are dicts of tensors:
    inputs are in the order of their keys, outputs in that of the dict."""
    listed, keys = dict(config), {}
    for kind in ("input", "output"):
        given = config.get(f"{kind}_layers")
        if (
            isinstance(given, Mapping)
            and given
            and all(
                isinstance(place, list) and place and isinstance(place[0], str) for place in given.values()
            )
        ):
            keys[f"{kind}_keys"] = list(given) if kind == "output" else sorted(given)
            listed[f"{kind}_layers"] = [given[key] for key in keys[f"{kind}_keys"]]
    return listed, keys


# What a model is configured with, but for its dtype.
_OF_MODELS = {"name", "layers", "input_layers", "output_layers", "trainable", "vintage", "build_input_shape"}


def _check_arguments(config: Mapping[str, Any], problems: Problems) -> str:
    """Report problems of what a model says of itself beside its layers. Gives its policy."""
    label = f"model {config.get('name')!r}"
    if not isinstance(config.get("trainable", True), bool):
        problems.add(
            f"{label}: trainable: expected True or False. Received: {config['trainable']!r}"[:200], wrong=True
        )
    policy = _policy(config.get("dtype"), FLOAT_NAMES, label, problems)
    for key in sorted(set(config) - _OF_MODELS - {"dtype"}):
        if config[key] is not None:
            problems.add(f"{label}: the argument {key}={config[key]!r}"[:200])
    return policy


def _check_names(made: Mapping[str, Any], functional: bool) -> None:
    names = [_name(layer) for layer in made["layers"]]
    for name in (made["name"], *names):
        if name is not None and (not isinstance(name, str) or not 0 < len(name) <= 1000):
            raise ModelError(describe("configuration", "names of 1 to 1000 characters", repr(name)[:80]))
    given = [name for name in names if name is not None]
    if twice := sorted(name for name, count in Counter(given).items() if count > 1):
        raise ModelError(
            describe(
                "configuration",
                "a name of its own for each layer",
                f"several layers called {', '.join(map(repr, twice))}",
            )
        )
    if functional and len(given) < len(names):
        raise ModelError("configuration: expected a name for each layer. Received: layers without")


def _name(layer: Mapping[str, Any]) -> Any:
    return layer.get("name", layer["config"].get("name"))


def _check_places(made: Mapping[str, Any]) -> None:
    """Every tensor that the configuration speaks of must come from a layer in it."""
    known = {layer["name"] for layer in made["layers"]}
    calls = [call for layer in made["layers"] for call in layer["inbound_nodes"]]
    for place in (
        *made["input_layers"],
        *made["output_layers"],
        *(place for call in calls for place in call),
    ):
        if not (place[0] in known and all(is_integer(n) and 0 <= n <= MAX_LAYERS for n in place[1:3])):
            raise ModelError(
                describe(
                    "configuration",
                    "tensors of its own layers, as [layer, node, tensor]",
                    repr(list(place[:3]))[:200],
                )
            )


def _says_input(entries: list[dict[str, Any]]) -> bool:
    """Whether the first layer of a Sequential says what its input is."""
    first: dict[str, Any] = entries[0] if entries else {"class_name": "", "config": {}}
    config = first["config"]
    return (
        first["class_name"] in ("InputLayer", "Model")
        or "batch_input_shape" in config
        or (first["class_name"] == "Sequential" and _says_input(config["layers"]))
    )


def _is_model(entry: Mapping[str, Any]) -> bool:
    """Whether it is a model that has layers, and not a layer with an argument of this name."""
    return _is_list_of_layers(entry["config"].get("layers")) and not hasattr(layers, entry["class_name"])


def _count_models_from_one(config: dict[str, Any]) -> None:
    """Number the calls of a model inside from 1, as Keras 2 does: a model is its own call 0. Keras 3 counts
    so where a functional model is an output (`Functional.get_config`), else from 0."""
    kinds = {layer["name"]: layer["class_name"] for layer in config["layers"] if _is_model(layer)}
    calls = [call for layer in config["layers"] for call in layer["inbound_nodes"]]
    chains = {name for name, kind in kinds.items() if kind == "Sequential"}
    for places, from_zero in ((config["output_layers"], chains), *((call, kinds) for call in calls)):
        for place in places:
            if place[0] in from_zero and is_integer(place[1]):
                place[1] += 1


def _drop_second_calls(config: dict[str, Any]) -> None:
    """The calls of models inside that `emit` writes twice, so that all Keras find them, once."""
    places = [
        place
        for call in (
            config["output_layers"],
            *(call for layer in config["layers"] for call in layer["inbound_nodes"]),
        )
        for place in call
    ]
    for layer in config["layers"]:
        calls, read = layer["inbound_nodes"], [p for p in places if p[0] == layer["name"]]
        if _is_model(layer) and calls and calls[::2] == calls[1::2] and all(place[1] % 2 for place in read):
            layer["inbound_nodes"] = calls[::2]
            for place in read:
                place[1] = (place[1] + 1) // 2


def _translate_entry(entry: Mapping[str, Any], functional: bool, reading: _Reading) -> dict[str, Any]:
    kind, config = entry["class_name"], entry["config"]
    if kind in MODELS and (isinstance(config, list) or "layers" in config):
        made = _model(entry, reading)
        config = made["config"]
    elif isinstance(config, list):
        raise ModelError(describe(f"configuration of a {kind}", "arguments by name", "a list"))
    else:
        kind = ALIASES.get(kind, kind)
        if functional and is_call(kind, entry) and not _is_operation(kind, entry):
            return _translate_operation(kind, entry, reading)
        if _is_operation(kind, entry):
            entry = {**entry, "config": {**config, "operator": True}}
        made = {"class_name": kind, "config": _translate_layer(kind, entry, reading)}
        if own_classes.builds_itself(_class(kind, entry, reading)) and entry.get("build_config"):
            made["build_config"] = own_classes.read(mapping(entry["build_config"]), dict)
    if SHARED in entry:
        made[SHARED] = entry[SHARED]
    if functional:
        name = entry.get("name") or config.get("name")
        made["name"] = name
        nodes = entry.get("inbound_nodes", ())
        if not isinstance(nodes, (list, tuple)):
            raise ModelError(describe(f"Layer {name!r}", "a list of inbound_nodes", repr(nodes)[:80]))
        reading.spend("calls of layers", len(nodes), MAX_RUNS)
        found = None if kind in MODELS else _class(kind, entry, reading)
        known = kind in MODELS or found is not None
        call = found.call if isinstance(found, type) and issubclass(found, Custom) else None
        problems = reading.problems if known else Problems("")  # one complaint a layer is enough
        operation = _is_operation(kind, entry)
        label = f"Layer {name!r} ({kind})"
        made["inbound_nodes"] = [
            translate_call(node, label, problems, operation, reading.ours, kind, call) for node in nodes
        ]
    return made


def _translate_operation(kind: str, entry: Mapping[str, Any], reading: _Reading) -> dict[str, Any]:
    """The call of a function in a functional model, as one of ours."""
    name = entry.get("name") or entry["config"].get("name")
    label = f"Layer {name!r} ({kind})"
    config, calls = translate_call_layer(kind, entry, label, reading.problems)
    reading.spend("calls of layers", len(calls), MAX_RUNS)
    config["vintage"] = entry["config"].get("vintage", reading.vintage)
    if config.get("function") == "resize" and kind in KINDS:
        if config["arguments"]["interpolation"] != "nearest":
            config = as_resizing(config)
            _try(Resizing, config, label, reading)
            return {"class_name": "Resizing", "config": config, "name": name, "inbound_nodes": calls}
    if "function" in config:
        _try(layers.Operation, config, label, reading)
    return {"class_name": "Operation", "config": config, "name": name, "inbound_nodes": calls}


def _is_operation(kind: str, entry: Mapping[str, Any]) -> bool:
    """Whether it is an operation of Keras 3 on two tensors that a merging layer computes. In .h5, only its
    two arguments tell."""
    if kind not in OPERATIONS or not str(entry.get("module", "keras.src.ops.")).startswith("keras.src.ops."):
        return False
    nodes = entry.get("inbound_nodes")
    return isinstance(nodes, list) and any(
        isinstance(node, Mapping)
        and isinstance(node.get("args"), (list, tuple))
        and len(node["args"]) == 2
        and all(map(is_keras_tensor, node["args"]))
        for node in nodes
    )


# ---------------------------------------------------------------- layers


def _lambda(label: str, given: dict[str, Any], reading: _Reading) -> None:
    """The function of a Lambda: bytecode in files is never run, the user gives it by the layer's name."""
    function = reading.custom.get(str(given.get("name")))
    if function is None and isinstance(given.get("function"), str):  # one that had a name
        function = reading.custom.get(given["function"])
    if function is None:
        reading.problems.add(
            f"{label}: its function is stored as bytecode, which is never run. Give the function: "
            f"custom_objects={{{given.get('name')!r}: function}}"
        )
    given["function"] = function or (lambda x: x)  # so that the rest of the layer is still checked
    shape = given.get("output_shape")
    if not isinstance(shape, list) or not all(d is None or type(d) is int for d in shape):
        given.pop(
            "output_shape", None
        )  # a function, as bytecode or by its name: shapes follow from the other
    mask = given.get("mask")
    if isinstance(mask, str) and mask not in reading.custom:
        reading.problems.add(
            f"{label}: its mask is a function. Give it: custom_objects={{{mask!r}: function}}"
        )
        given["mask"] = None
    for key in ("function_type", "module", "output_shape_type", "output_shape_module"):
        given.pop(key, None)


def _of_tf(label: str, given: dict[str, Any], reading: _Reading) -> None:
    """tf.keras writes the axis of a BatchNormalization as a list."""
    if isinstance(given.get("axis"), (list, tuple)) and len(given["axis"]) == 1:
        (given["axis"],) = given["axis"]


def _slope(label: str, given: dict[str, Any], reading: _Reading) -> None:
    """Keras 3's name of alpha."""
    if "negative_slope" in given:
        given.setdefault("alpha", given.pop("negative_slope"))


def _of_whole_kernel(label: str, given: dict[str, Any], reading: _Reading) -> None:
    """tf.keras says of a separable convolution's kernel, which it has none of, what any convolution says."""
    for kind in ("initializer", "regularizer", "constraint"):
        given.pop(f"kernel_{kind}", None)


def _shapes(label: str, given: dict[str, Any], reading: _Reading) -> None:
    """tf.keras says for which shapes it was built."""
    for name in ("query_shape", "key_shape", "value_shape"):
        given.pop(name, None)


def _reset_before(label: str, given: dict[str, Any], reading: _Reading) -> None:
    """A GRU of before reset_after existed."""
    given.setdefault("reset_after", False)


def _backward(label: str, given: dict[str, Any], reading: _Reading) -> None:
    """Keras 3 writes the layer that goes backwards always. Where it is a copy, it is made from the other."""
    first, second = given.get("layer"), given.get("backward_layer")
    own = ("name", "go_backwards", "build_config", "dtype", "zero_output_for_mask")
    if second is None or (
        isinstance(first, Mapping)
        and isinstance(second, Mapping)
        and first.get("class_name") == second.get("class_name")
        and _without(first.get("config"), own) == _without(second.get("config"), own)
    ):
        given.pop("backward_layer", None)


def _without(config: Any, names: tuple[str, ...]) -> Any:
    """A configuration without what differs between copies."""
    if isinstance(config, Mapping):
        return {k: _without(v, ("shared_object_id",)) for k, v in config.items() if k not in names}
    return config


# What of a class is more than its arguments by name: class -> change of its configuration. A class
# that needs no change needs no line: it is found in `kcompile.keras.layers`.
def _vocabulary(label: str, given: dict[str, Any], reading: _Reading) -> None:
    take_lines(label, given, reading.custom, reading.problems)


CHANGES = {
    "BatchNormalization": _of_tf,
    "Bidirectional": _backward,
    "GRU": _reset_before,
    "GRUCell": _reset_before,
    "LeakyReLU": _slope,
    "IntegerLookup": _vocabulary,
    "Lambda": _lambda,
    "MultiHeadAttention": _shapes,
    "SeparableConv1D": _of_whole_kernel,
    "SeparableConv2D": _of_whole_kernel,
    "StringLookup": _vocabulary,
    "TextVectorization": _vocabulary,
}


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
    if own_classes.makes_itself(cls):
        whole = own_classes.read(given, lambda inner: _held(inner, label, reading))
        _try(cls, whole, label, reading)
        return whole
    own = kind in reading.custom or not is_ours(cls)
    silent = own and "dtype" not in given
    said = given.pop("dtype", None)  # texts are an input's, and of what takes them
    texts = dtype_of(said) == "string"
    config: dict[str, Any] = {"dtype": "string" if texts else _policy(said, NAMES, label, problems)}
    if "batch_shape" in given:
        given["batch_input_shape"] = given.pop("batch_shape")
    known = parameters_of(cls)
    config |= _translate_arguments(given, known, label, reading, own)
    if "data_format" in known and config.get("data_format") is None:
        config["data_format"] = "channels_last"  # not what this machine's keras.json says
    if silent:  # its constructor may take no dtype
        del config["dtype"]
    if own:
        config = own_classes.read(config, lambda inner: _held(inner, label, reading))
    if "vintage" in known and not silent:
        config.setdefault("vintage", reading.vintage)
    _try(cls, config, label, reading)
    return config


def _translate_arguments(
    given: Mapping[str, Any],
    known: Mapping[str, inspect.Parameter | None],
    label: str,
    reading: _Reading,
    own: bool,
) -> dict[str, Any]:
    """The arguments that a constructor knows, in our form. Others are problems, unless they mean nothing.
    own: it is a class of the user's, whose `layers` may be anything."""
    config: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            if key not in IGNORED and value not in NEUTRAL.get(key, ()):
                reading.problems.add(f"{label}: the argument {key}={value!r}")
        elif _wrong_switch(known[key], value):
            reading.problems.add(f"{label}: {key}: expected True or False. Received: {value!r}", wrong=True)
        elif isinstance(getattr(known[key], "default", None), bool):
            config[key] = bool(value)
        else:
            holds = (key in HELD and not (own and _plain(value))) or (
                key.endswith("activation") and _is_layer(value)
            )
            config[key] = _held(value, label, reading) if holds else named_object(plain(value))
    return config


def _try(cls: type[Layer], config: Mapping[str, Any], label: str, reading: _Reading) -> None:
    """Make a layer, whose errors are problems of the file, and whose parts take no automatic names."""
    try:
        with custom_object_scope(reading.custom), uncounted():
            cls.from_config(dict(config))
    except (ValueError, TypeError) as error:
        text = str(error) if str(error).startswith("Layer") else f"{label}: {error}"
        reading.problems.add(text, wrong=not isinstance(error, UnsupportedError))


def _class(kind: str, entry: Mapping[str, Any], reading: _Reading) -> type[Layer] | None:
    """The class of a layer: the user's own, or one of ours. Files cannot name any other."""
    registered = entry.get("registered_name")
    for name in (registered, kind, str(registered).rpartition(">")[2]):
        found = reading.custom.get(name) if isinstance(name, str) else None
        if isinstance(found, type) and issubclass(found, Layer):
            return found
    foreign = str(entry.get("module", "keras")).partition(".")[0] not in HOMES
    known = vars(layers).get(kind) or vars(of_networks).get(kind)
    if (
        foreign
        or ALIASES.get(str(registered), registered) not in (None, kind)
        or known is Layer
        or not (isinstance(known, type) and issubclass(known, Layer))
    ):
        return None
    return known


def _is_layer(value: Any) -> bool:
    """Whether an activation is the configuration of a layer."""
    return isinstance(value, Mapping) and value.get("class_name") in activations.LAYERS


def _held(value: Any, label: str, reading: _Reading) -> Any:
    """The layers inside a wrapper, translated as layers."""
    if isinstance(value, (list, tuple)):
        return [_held(v, label, reading) for v in value]
    if not (
        isinstance(value, Mapping)
        and isinstance(value.get("class_name"), str)
        and isinstance(value.get("config"), (Mapping, list))
    ):
        raise ModelError(describe(label, "the configuration of the layer inside", repr(value)[:80]))
    return _translate_entry(value, False, reading)


def _wrong_switch(parameter: inspect.Parameter | None, value: Any) -> bool:
    """Whether a parameter that is a switch has a value that is none: bool("no") would be True. Some
    scripts wrote 0 and 1."""
    return (
        parameter is not None
        and isinstance(parameter.default, bool)
        and not (isinstance(value, (bool, int)) and value in (0, 1))
    )


def dtype_of(policy: Any) -> str:
    """The name of a dtype, or of a policy in any of its spellings; that of what says none."""
    return str(named(policy) or "float32")


def _policy(given: Any, known: Sequence[str], label: str, problems: Problems) -> str:
    """The policy of a layer or model, by its name. One that is not known is a problem."""
    policy = dtype_of(given)
    if policy in known:
        return policy
    quantized = is_quantized(policy)
    problems.add(f"{label}: dtype {policy}. {REMEDY if quantized else 'Use float32 or float64'}"[:300])
    return "float32"


def plain(value: Any) -> Any:
    """A value of a configuration; objects in it without what only Keras 3 has."""
    if not isinstance(value, Mapping) or "class_name" not in value:
        return value
    config = value.get("config")
    if isinstance(config, Mapping):
        config = {
            k: v for k, v in config.items() if not (k in INITIALIZER_NEUTRAL and v in (None, "float32"))
        }
    return {"class_name": value["class_name"], "config": config}

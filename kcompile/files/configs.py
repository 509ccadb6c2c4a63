"""Configurations of Keras 3 and tf_keras, as ours: the form of Keras 2, with the vintage said.

Enters: what `get_config` and `get_compile_config` of other Keras give (dicts that JSON can hold).
Leaves: configurations that our `from_config` and `compile` take. What is not supported is noted in a
`Problems`, which reports all of it in one error.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from kcompile.keras import layers, losses, metrics, optimizers
from kcompile.keras.engine import Layer
from kcompile_runtime.errors import UnsupportedError

VINTAGE = "keras3"
PACKAGES = ("keras", "tf_keras", "tensorflow", "builtins")

# Arguments that ours do not have, with the values at which they do nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "quantization_config": (None,), "lora_rank": (None,), "lora_alpha": (None,), "groups": (1,),
    "synchronized": (False, None), "renorm": (False, None), "renorm_clipping": (None,),
    "keepdims": (False, None), "sparse": (False, None), "ragged": (False, None),
    "optional": (False, None), "activity_regularizer": (None,), "seed": (None,),
    "noise_shape": (None,), "autocast": (True,), "virtual_batch_size": (None,),
    "adjustment": (None,)}
IGNORED = {"renorm_momentum", "build_input_shape"}  # say nothing by themselves
# An initializer's options that only say how its fans were counted.
INITIALIZER_NEUTRAL = ("input_axes", "output_axes", "dtype")


class Problems:
    """What of a model is not supported, to be told together."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.found: list[str] = []

    def add(self, text: str) -> None:
        if text not in self.found:
            self.found.append(text)

    def report(self) -> None:
        """Raises UnsupportedError when there is any."""
        if self.found:
            lines = "".join(f"\n- {text}" for text in self.found)
            raise UnsupportedError(f"model {self.model!r} cannot be compiled. Not supported:{lines}")


# ---------------------------------------------------------------- models


def translate_model(entry: Mapping[str, Any], old_activations: bool, problems: Problems
                    ) -> dict[str, Any]:
    """A Sequential or functional model, `{"class_name", "config"}`, with the models inside it."""
    config = entry["config"]
    functional = "input_layers" in config
    made: dict[str, Any] = {"name": config.get("name"), "vintage": VINTAGE,
                            "trainable": config.get("trainable", True), "layers": []}
    for layer in config["layers"]:
        made["layers"].append(_translate_entry(layer, old_activations, functional, problems))
    if functional:
        for key in ("input_layers", "output_layers"):
            made[key] = _tensors(config[key], key, problems)
        if any(isinstance(node, Mapping) for layer in config["layers"]
               for node in layer.get("inbound_nodes", ())):
            _count_models_from_one(made)
    return {"class_name": "Model" if functional else "Sequential", "config": made}


def _count_models_from_one(config: dict[str, Any]) -> None:
    """Keras 3 counts the calls of a model inside from 0; Keras 2, where it is its own first, from 1."""
    inside = {layer["name"] for layer in config["layers"] if "layers" in layer["config"]}
    calls = [call for layer in config["layers"] for call in layer["inbound_nodes"]]
    for place in (*config["input_layers"], *config["output_layers"],
                  *(place for call in calls for place in call)):
        if place[0] in inside:
            place[1] += 1


def _translate_entry(entry: Mapping[str, Any], old_activations: bool, functional: bool,
                     problems: Problems) -> dict[str, Any]:
    kind, config = entry["class_name"], entry["config"]
    name = entry.get("name") or config.get("name", kind)
    if kind in ("Sequential", "Functional", "Model") and "layers" in config:
        made = translate_model(entry, old_activations, problems)
    else:
        made = {"class_name": kind, "config": _translate_layer(entry, old_activations, problems)}
    if functional:
        made["name"] = name
        made["inbound_nodes"] = [_node(node, f"Layer {name!r} ({kind})", problems)
                                 for node in entry.get("inbound_nodes", ())]
    return made


def _translate_layer(entry: Mapping[str, Any], old_activations: bool, problems: Problems
                     ) -> dict[str, Any]:
    """The configuration of a layer. It is tried here, so that a bad value is reported with the rest."""
    kind, given = entry["class_name"], dict(entry["config"])
    label = f"Layer {given.get('name', kind)!r} ({kind})"
    cls = getattr(layers, kind, None)
    foreign = str(entry.get("module", "keras")).partition(".")[0] not in PACKAGES
    if foreign or entry.get("registered_name") not in (None, kind) or not (
            isinstance(cls, type) and issubclass(cls, Layer)):
        problems.add(f"{label}: layers of this class")
        return given
    if _dtype(given.get("dtype")) not in ("float32", "int32", "int64", "uint8", "bool"):
        problems.add(f"{label}: dtype {_dtype(given['dtype'])}. Use float32")
    config: dict[str, Any] = {"dtype": _dtype(given.pop("dtype", None))}
    if "batch_shape" in given:
        given["batch_input_shape"] = given.pop("batch_shape")
    if kind == "BatchNormalization" and isinstance(given.get("axis"), (list, tuple)):
        (given["axis"],) = given["axis"]  # tf_keras writes a list
    known = _parameters(cls)
    for key, value in given.items():
        if key in known:
            config[key] = _plain(value)
        elif key not in IGNORED and value not in NEUTRAL.get(key, ()):
            problems.add(f"{label}: the argument {key}={value!r}")
    config["vintage"] = VINTAGE
    if old_activations and "activation" in config:
        config["vintage"] = "keras2"
    try:
        cls.from_config(dict(config))
    except (ValueError, TypeError) as error:
        problems.add(str(error) if str(error).startswith("Layer") else f"{label}: {error}")
    return config


def _parameters(cls: type) -> set[str]:
    """The names that the constructor of a layer class takes."""
    made = [vars(base)["__init__"] for base in cls.__mro__[:-1] if "__init__" in vars(base)]
    return {name for init in made for name in inspect.signature(init).parameters} | {
        "batch_input_shape"}


def _dtype(policy: Any) -> str:
    """The name of a dtype, or of a policy in any of its spellings."""
    if isinstance(policy, Mapping):
        policy = policy.get("config", {}).get("name", policy.get("class_name"))
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


def _node(node: Any, label: str, problems: Problems) -> list[Any]:
    """An inbound node as Keras 2 writes it: [[layer, node index, tensor index, {}], ...]."""
    if not isinstance(node, Mapping):  # that is how tf_keras writes it, with the arguments inside
        for _, _, _, *arguments in node:
            _arguments(arguments[0] if arguments else {}, label, problems)
        return [[*tensor[:3], {}] for tensor in node]
    _arguments(node.get("kwargs", {}), label, problems)
    first, *more = node["args"] or [None]
    tensors = first if isinstance(first, (list, tuple)) else [first]
    if any(x is not None for x in more) or not all(
            isinstance(x, Mapping) and x.get("class_name") == "__keras_tensor__" for x in tensors):
        problems.add(f"{label}: a call with other arguments than one tensor, or a list of them")
        return []
    return [[*x["config"]["keras_history"], {}] for x in tensors]


def _arguments(arguments: Mapping[str, Any], label: str, problems: Problems) -> None:
    """Keras 3 and tf_keras run a model with their own training flag, whatever a node says of it."""
    for key, value in arguments.items():
        if key != "training" and value is not None:
            problems.add(f"{label}: a call with the argument {key}")


def _tensors(given: Any, what: str, problems: Problems) -> list[list[Any]]:
    """Inputs or outputs of a model: a list of [layer, node index, tensor index]."""
    if isinstance(given, Mapping):
        problems.add(f"{what} as a dict. Use a list")
        return []
    if len(given) == 3 and isinstance(given[0], str):
        return [list(given)]
    if not all(len(x) == 3 and isinstance(x[0], str) for x in given):
        problems.add(f"{what} as nested lists. Use a flat list")
        return []
    return [list(x) for x in given]


# ---------------------------------------------------------------- compile


def translate_compilation(config: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """The arguments of `compile` from `get_compile_config`: objects, or names, of ours.

    `run_eagerly`, `jit_compile` and `steps_per_execution` say how another Keras computes, and mean
    nothing here.
    """
    made: dict[str, Any] = {"loss_weights": config.get("loss_weights")}
    made["optimizer"] = _optimizer(config.get("optimizer"), problems)
    made["loss"] = _nested("loss", config.get("loss"), losses.get, problems)
    for key in ("metrics", "weighted_metrics"):
        made[key] = _nested(key, config.get(key), metrics.get, problems, ("accuracy", "acc",
                                                                          "crossentropy", "ce"))
    if config.get("auto_scale_loss") and config.get("loss_scale_factor"):
        problems.add("compile: loss scaling")
    return made


def _optimizer(value: Any, problems: Problems) -> Any:
    rate = value["config"].get("learning_rate") if isinstance(value, Mapping) else None
    if isinstance(rate, Mapping):
        problems.add(f"compile: optimizer: the learning rate as a schedule "
                     f"({rate.get('class_name')}). Use callbacks.LearningRateScheduler")
        return None
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
    if isinstance(value, str):
        _object(what, value, get, problems)  # the name stays, as results are reported under it
        return value
    return _object(what, value, get, problems)


def _object(what: str, value: Any, get: Any, problems: Problems) -> Any:
    """An object from its configuration, without options that say nothing."""
    if isinstance(value, Mapping) and value.get("class_name") == "function":
        problems.add(f"compile: {what} {value.get('config')!r}, a function of your own. Write it "
                     "over kcompile.keras.backend and compile a kcompile.keras model with it")
        return None
    if isinstance(value, Mapping):
        silent = {"axis": (-1,), "dtype": (None, "float32")}
        config = {k: _plain(v) for k, v in value["config"].items()
                  if v is not None and v not in silent.get(k, ())}
        value = {"class_name": value["class_name"], "config": config}
    try:
        return get(value)
    except (ValueError, TypeError) as error:
        problems.add(f"compile: {what}: {error}")
        return None

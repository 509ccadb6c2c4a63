"""Calls of functions in functional models, which other Keras write as layers: as ours, and back.

Enters: the layer of a call with its nodes, as Keras 3 (`keras.src.ops`) or tf.keras (TFOpLambda and its kin,
`tf_operations`) writes it; nothing in it is trusted. Leaves: an `Operation` of ours. And the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompile.files.calls import is_keras_tensor, is_operation, mapping
from kcompile.files.problems import Problems
from kcompile.files.tf_operations import KINDS, translated
from kcompile.keras.keras3_ops import OPERATIONS
from kcompile.keras.keras3_ops.classes import CLASSES
from kcompile.keras.layers.operation import OPERAND, operand
from kcompile_runtime.errors import UnsupportedError

# What a layer's configuration says that is none of a function's arguments
_OF_LAYERS = ("name", "trainable", "vintage")
_FUNCTIONS = {row[0]: name for name, row in reversed(CLASSES.items())}
_NAMES = {path.partition(".")[2]: path for path in _FUNCTIONS}

Places = list[list[Any]]


def is_call(kind: str, entry: Mapping[str, Any]) -> bool:
    """Whether an entry is a call of a function of keras.ops. In .h5 no module tells: there it is one where
    Keras has no such layer, or where the configuration is none of a layer."""
    if kind in KINDS:
        return True
    if "module" in entry:
        return str(entry["module"]).startswith("keras.src.ops.")
    return (
        kind in _NAMES
        and is_operation(entry)
        and "dtype" not in (set(mapping(entry["config"])) - set(_parameters(kind)))
    )


def _parameters(kind: str) -> Sequence[str]:
    name = _FUNCTIONS.get(_NAMES.get(kind, ""))
    return () if name is None else list(OPERATIONS[name].signature.parameters)


def translate_call_layer(
    kind: str, entry: Mapping[str, Any], label: str, problems: Problems
) -> tuple[dict[str, Any], list[Places]]:
    """The configuration of an `Operation`, and its inbound nodes in the form of Keras 2."""
    if kind in KINDS:
        return _of_tensorflow(kind, entry, label, problems)
    module = str(entry.get("module", "")).rpartition(".")[2]
    path = f"{module}.{kind}" if module else _NAMES.get(kind, "")
    function = _FUNCTIONS.get(path)
    config = mapping(entry["config"])
    config = {"name": entry.get("name"), **config}  # which the classes of few functions leave out
    if function is None or function not in OPERATIONS:
        problems.add(f"{label}: operations of this class")
        return {"name": config.get("name")}, []
    known = OPERATIONS[function].signature.parameters
    given = {key: value for key, value in config.items() if key in known or key not in _OF_LAYERS}
    given = {k: v for k, v in given.items() if k in known or (k != "dtype" and v not in (None, False))}
    arguments: Any = None
    calls: list[Places] = []
    nodes = entry.get("inbound_nodes")
    for node in nodes if isinstance(nodes, (list, tuple)) else ():
        places: Places = []
        made = _bound(function, mapping(node), places)
        if made is None or not places:
            problems.add(f"{label}: a call of another form than args and kwargs with tensors")
            return {"name": config.get("name")}, []
        made = {**given, **made}
        if arguments is not None and made != arguments:
            problems.add(f"{label}: calls with other arguments than its first")
        arguments = made
        calls.append(places)
    if unknown := sorted(set(arguments or {}) - set(known)):
        problems.add(f"{label}: the arguments {', '.join(unknown)}"[:200])
        return {"name": config.get("name")}, []
    if arguments and arguments.get("sparse"):
        problems.add(f"{label}: sparse arrays")
    return {"name": config.get("name"), "function": function, "arguments": arguments or {}}, calls


def _of_tensorflow(
    kind: str, entry: Mapping[str, Any], label: str, problems: Problems
) -> tuple[dict[str, Any], list[Places]]:
    config, nodes = mapping(entry["config"]), entry.get("inbound_nodes")
    made: dict[str, Any] = {"name": entry.get("name") or config.get("name")}
    calls: list[Places] = []
    for node in nodes if isinstance(nodes, (list, tuple)) else ():
        try:
            function, arguments, places = translated(kind, config, node)
        except UnsupportedError as error:
            problems.add(f"{label}: {error}")
            return made, []
        if made.get("arguments", arguments) != arguments or not places:
            problems.add(f"{label}: a call on no tensor, or with other arguments than its first")
            return made, []
        made.update(function=function, arguments=arguments)
        calls.append(places)
    return made, calls


def as_resizing(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a Resizing layer that does what a call of tf.image.resize does: it gives floats of
    integers, which keras.ops rounds."""
    arguments = config["arguments"]
    height, width = arguments["size"]
    made = {"height": height, "width": width, "interpolation": arguments["interpolation"]}
    kept = {"name": config["name"], "vintage": config["vintage"]}
    return {**made, **kept, "antialias": bool(arguments.get("antialias"))}


def _bound(function: str, node: Mapping[str, Any], places: Places) -> dict[str, Any] | None:
    """The arguments of a call by name, whose tensors go to `places`; None for a call of another form."""
    args, kwargs = node.get("args", []), node.get("kwargs", {})
    if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
        return None
    names = CLASSES[function][1].split()
    values = [numbered(x, places) for x in args]
    made: dict[str, Any] = {}
    for i, name in enumerate(names):
        if name.startswith("**"):
            break
        if name.startswith("*"):
            made[name[1:]] = values[i:]
            values = values[:i]
        elif i < len(values):
            made[name] = values[i]
    if len(values) > len(names):
        return None
    named = {str(k): numbered(v, places) for k, v in kwargs.items()}
    if names[-1].startswith("**"):  # what has no name of its own
        known = OPERATIONS[function].signature.parameters
        others = {k: v for k, v in named.items() if k not in known}
        named = {k: v for k, v in named.items() if k in known}
        made.update({names[-1][2:]: others} if others else {})
    return {**made, **named}


def numbered(value: Any, places: Places) -> Any:
    """A value with numbers of inputs in place of tensors, which go to `places`."""
    if is_keras_tensor(value):
        place = [*value["config"]["keras_history"], {}]
        if place not in places:
            places.append(place)
        return operand(places.index(place))
    if isinstance(value, (list, tuple)):
        return [numbered(v, places) for v in value]
    if isinstance(value, Mapping):
        return {str(k): numbered(v, places) for k, v in value.items()}
    return value


# ---------------------------------------------------------------- back


def written(layer: Any, tensors: Sequence[Any]) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """The class of an `Operation` in Keras 3 with its module, the arguments of the class, and the node."""
    path, names = CLASSES[layer.function]
    module, _, kind = path.partition(".")
    arguments = {key: _back(value, tensors) for key, value in layer.arguments.items()}
    args: list[Any] = []
    named: dict[str, Any] = {}
    for name in names.split():
        if name.startswith("**"):
            named = arguments.pop(name[2:], {})
        elif name.startswith("*"):
            args += arguments.pop(name[1:], [])
        else:  # those that were not given too, as the function of Keras gives them to the class
            args.append(arguments.pop(name, layer.signature.parameters[name].default))
    return f"keras.src.ops.{module}", kind, arguments, {"args": args, "kwargs": named}


def _back(value: Any, tensors: Sequence[Any]) -> Any:
    if isinstance(value, list):
        return [_back(v, tensors) for v in value]
    if isinstance(value, Mapping):
        if value.get("class_name") == OPERAND:
            return tensors[value["config"]["index"]] if tensors else None
        return {k: _back(v, tensors) for k, v in value.items()}
    return value

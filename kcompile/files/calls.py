"""The calls of layers that make a functional model (its inbound nodes), as ours: the form of Keras 2.

Enters: nodes, inputs and outputs as Keras 1, 2 or 3 writes them; nothing in them is trusted. Leaves:
lists of [layer, node index, tensor index, arguments]; what is not supported goes to `Problems`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompile.files import attention_calls, custom_calls, further_calls
from kcompile.files.problems import Problems
from kcompile_runtime.errors import ModelError, describe


def translate_call(
    node: Any,
    label: str,
    problems: Problems,
    operation: bool = False,
    ours: bool = False,
    kind: str = "",
    call: Any = None,
) -> list[Any]:
    """An inbound node as Keras 2 writes it: [[layer, node index, tensor index, {}], ...]. operation:
    it is one of Keras 3 on two tensors (x + y), which a merging layer computes. ours: we wrote it. kind: the
    class of the layer. call: its method, of a class of the user's own."""
    if kind in attention_calls.ORDERS:
        return attention_calls.translate(node, kind, label, problems, _place, ours)
    custom = None if call is None else custom_calls.translate(node, call, label, problems, _place)
    if custom is not None:
        return custom
    node, masks = further_calls.translate(node, _place)
    if not isinstance(node, Mapping):  # that is how Keras 1 and 2 write it, with the arguments inside
        if not (isinstance(node, (list, tuple)) and node and all(map(_is_place, node))):
            problems.add(f"{label}: a call of another form than [[layer, node, tensor, arguments], ...]")
            return []
        for _, _, _, *arguments in node:
            _arguments(arguments[0] if arguments else {}, kind, label, problems)
        named = [_flags(place[3] if len(place) == 4 else {}, kind) for place in node]
        return [[*place[:3], {**given, **masks}] for place, given in zip(node, named)]
    _arguments(node.get("kwargs", {}), kind, label, problems)
    tensors = _tensors(node.get("args") or [None], operation)
    if tensors is None:
        problems.add(f"{label}: a call with other arguments than one tensor, or a list of them")
        return []
    flags = _flags(node.get("kwargs", {}), kind)
    if not ours:
        flags.pop("training", None)
    return [[*x["config"]["keras_history"], {**flags, **masks}] for x in tensors]


def _tensors(arguments: Sequence[Any], operation: bool) -> Sequence[Any] | None:
    """The tensors of a call of Keras 3, None where its arguments are others too."""
    if operation and len(arguments) == 2 and all(map(is_keras_tensor, arguments)):
        ranks = {len(x["config"].get("shape", ())) for x in arguments}
        arguments = [arguments] if len(ranks) == 1 else arguments
    first, *more = arguments
    tensors = first if isinstance(first, (list, tuple)) else [first]
    if any(x is not None for x in more) or not all(map(is_keras_tensor, tensors)):
        return None
    return tensors


def _flags(arguments: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The training flag of a call, which Keras 2 and tf.keras heed (Keras 3 runs a model with its own,
    whatever a call says of it), and those of a class."""
    given = mapping(arguments)
    names = ("training", *FLAGS.get(kind, ()))
    return {name: given[name] for name in names if isinstance(given.get(name), bool)}


def _is_place(place: Any) -> bool:
    return (
        isinstance(place, (list, tuple))
        and len(place) in (3, 4)
        and isinstance(place[0], str)
        and (len(place) == 3 or isinstance(place[3], Mapping))
    )


def _place(x: Any) -> list[Any] | None:
    """The [layer, node, tensor] that a value means."""
    if is_keras_tensor(x):
        return list(x["config"]["keras_history"])
    return list(x[:3]) if _is_place(x) else None


def is_keras_tensor(x: Any) -> bool:
    if not isinstance(x, Mapping) or x.get("class_name") != "__keras_tensor__":
        return False
    history = x["config"].get("keras_history") if isinstance(x.get("config"), Mapping) else None
    return isinstance(history, (list, tuple)) and len(history) == 3 and isinstance(history[0], str)


def _arguments(arguments: Mapping[str, Any], kind: str, label: str, problems: Problems) -> None:
    """Arguments of a call other than flags are not supported."""
    if not isinstance(arguments, Mapping):
        problems.add(f"{label}: a call with arguments that have no names")
        return
    for key, value in arguments.items():
        flag = key in FLAGS.get(kind, ()) and isinstance(value, bool)
        if key != "training" and not flag and value is not None:
            problems.add(f"{label}: a call with the argument {key}")


def translate_tensors(given: Any, what: str, problems: Problems) -> list[list[Any]]:
    """Inputs or outputs of a model: a list of [layer, node index, tensor index]."""
    if isinstance(given, Mapping):
        problems.add(f"{what} as a dict. Use a list")
        return []
    if not isinstance(given, (list, tuple)) or not given:
        raise ModelError(describe(f"configuration: {what}", "a list of tensors", repr(given)[:80]))
    if len(given) == 3 and isinstance(given[0], str):
        return [list(given)]
    if not all(isinstance(x, (list, tuple)) and len(x) == 3 and isinstance(x[0], str) for x in given):
        problems.add(f"{what} as nested lists. Use a flat list")
        return []
    return [list(x) for x in given]


# ---------------------------------------------------------------- masks

# Operations that Keras 3 writes for the masks of a functional model.
MASK_OPS = frozenset(
    (
        "NotEqual",
        "Any",
        "All",
        "LogicalOr",
        "LogicalAnd",
        "ExpandDims",
        "ZerosLike",
        "OnesLike",
        "Concatenate",
        "ConvertToTensor",
    )
)
# True and False in calls, by class
FLAGS = {"ReversibleEmbedding": ("reverse",)}
# Layers to whose calls Keras 3 adds no masks: one that stands there was given
GIVEN_MASKS = ("AdditiveAttention", "Attention")


def without_mask_ops(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A functional model without the masks that Keras 3 writes out, as operations and as arguments of
    calls. They begin at Masking and Embedding(mask_zero=True); ours follow from these by themselves."""
    made = _made_masks(config["layers"])
    if not made:
        return config
    kept = [
        {**layer, "inbound_nodes": [_without_mask(n, made) for n in layer.get("inbound_nodes", ())]}
        if layer["class_name"] not in GIVEN_MASKS
        else layer
        for layer in config["layers"]
    ]
    while True:
        read = set(_names_read([layer["inbound_nodes"] for layer in kept]))
        read |= {
            str(x[0])
            for key in ("input_layers", "output_layers")
            for x in translate_tensors(config[key], key, Problems(""))
        }
        left = [
            layer
            for layer in kept
            if layer.get("name") in read or layer["class_name"] not in MASK_OPS or not is_operation(layer)
        ]
        if len(left) == len(kept):
            return {**config, "layers": kept}
        kept = left


def is_operation(layer: Mapping[str, Any]) -> bool:
    """Whether a layer of such a class is an operation of Keras 3, which names no module in .h5."""
    nodes = layer["inbound_nodes"]
    return (
        str(layer["module"]).startswith("keras.src.ops")
        if "module" in layer
        else any(isinstance(node, Mapping) for node in nodes)
    )


def _made_masks(layers: Sequence[Mapping[str, Any]]) -> set[Any]:
    """The operations that Keras 3 made of masks, by name: not those of the model itself, of which a user may
    have given one to a call as its mask."""
    begin = [
        (tensor, layer["config"].get("mask_value", 0))
        for layer in layers
        if isinstance(layer["config"], Mapping)
        if layer["class_name"] == "Masking"
        or (layer["class_name"] == "Embedding" and layer["config"].get("mask_zero") is True)
        for node in layer.get("inbound_nodes", ())
        for tensor in _tensors_read(node)
    ]
    operations = [
        layer for layer in layers if begin and layer["class_name"] in MASK_OPS and is_operation(layer)
    ]
    made: set[Any] = set()
    likes = {layer.get("name") for layer in operations if layer["class_name"] in ("OnesLike", "ZerosLike")}
    while True:
        found = {layer.get("name") for layer in operations if _made_of(layer, begin, made, likes)}
        if found <= made:
            return made
        made |= found


def _made_of(layer: Mapping[str, Any], begin: Sequence[Any], made: set[Any], likes: set[Any]) -> bool:
    """Whether an operation compares what a layer masks with its value, or joins masks that were made."""
    if layer["class_name"] == "NotEqual":
        calls = (mapping(node).get("args") for node in layer["inbound_nodes"])
        return any(
            isinstance(args, (list, tuple)) and (_tensors_read(args), *args[1:]) == ([tensor], value)
            for args in calls
            for tensor, value in begin
        )
    read = set(_names_read(layer["inbound_nodes"]))
    return bool(read & made) and read <= made | likes


def _tensors_read(value: Any) -> list[Any]:
    """The [layer, node, tensor] that a part of a configuration reads."""
    if is_keras_tensor(value):
        return [list(value["config"]["keras_history"])]
    if isinstance(value, Mapping):
        return [place for v in value.values() for place in _tensors_read(v)]
    if isinstance(value, (list, tuple)):
        return [place for v in value for place in _tensors_read(v)]
    return []


def _without_mask(node: Any, made: set[Any]) -> Any:
    named = node.get("kwargs") if isinstance(node, Mapping) else None
    if not isinstance(named, Mapping):
        return node
    left_out = {
        k
        for k in ("mask", "query_mask", "value_mask", "key_mask")
        if (names := _names_read(named.get(k))) and made.issuperset(names)
    }
    return {**node, "kwargs": {k: v for k, v in named.items() if k not in left_out}}


def _names_read(value: Any) -> list[str]:
    """The layers that the tensors in a part of a configuration come from."""
    return [place[0] for place in _tensors_read(value)]


# ---------------------------------------------------------------- parts of configurations


def mapping(value: Any) -> Mapping[str, Any]:
    """The value, or an empty mapping for any other."""
    return value if isinstance(value, Mapping) else {}

"""From a model to a file: .keras (Keras 3), .h5 (as tf.keras writes it), weights, JSON, YAML.

Enters: a built model and a path. Leaves: a file that real Keras reads, and that `load` gives back the same
model from. A file appears whole or not at all: it is written beside its place, synced, and renamed.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

import numpy as np

from kcompile.files import emit, feature_spaces, keras2_words, own_classes, weights
from kcompile.files.optimizer_state import OWN_STATE
from kcompile.files.reader import PathLike
from kcompile.files.reader.json_texts import parse_json
from kcompile.keras.engine import Variable, unique
from kcompile.keras.models import Model
from kcompile.keras.optimizer import COMMON_SLOTS
from kcompile.keras.optimizer_variables import in_order_of_tf
from kcompile.keras.optimizers import SGD
from kcompile.keras.utils.hdf5_dict import in_parts
from kcompile.keras.utils.serialization import serialize
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError, describe
from kcompile_runtime.replacing import replacing
from kcompile_runtime.texts import printable


@dataclass(frozen=True)
class Words:
    """dialect: in whose words a file is written. version: of the Keras that, as it says, wrote it; the last
    whose form it has. keeps_state: whether the state of an optimizer stands where no Keras looks for it:
    Keras 3, also for files of its own, makes an optimizer of no weights of such a state, which cannot train
    any (legacy/saving/legacy_h5_format.py, load_model_from_hdf5)."""

    dialect: emit.Dialect
    version: str
    keeps_state: bool = False


_LATER = Words("tf_keras", "2.15.0")  # what Keras 3 reads in an .h5 too
WORDS = {
    "keras2.2": Words("keras2", "2.2.4"),
    "keras2": Words("keras2", "2.3.1"),
    "tf_keras": _LATER,
    "keras3": replace(_LATER, keeps_state=True),
}
ARCHIVE = Words("keras3", "3.8.0")
ARCHIVES = {"keras3": ARCHIVE, "tf_keras": _LATER, "tf_keras2.10": _LATER}  # whose files .keras are
OTHER_KINDS = (".json", ".yaml", ".yml", ".npz", ".onnx", ".pb")  # no names of HDF5 files


def save(
    model: Any,
    path: PathLike,
    overwrite: bool = True,
    include_optimizer: bool = True,
    vintage: str | None = None,
) -> None:
    """The whole model: architecture, weights, training configuration, state of the optimizer.

    path: ends in .keras, .h5 or .hdf5; for Keras 2 another name is of an HDF5 file too. overwrite: without it
    an existing file is an error. vintage: which Keras is to open it: "keras2" (an .h5 for 2.3, 2.2, and
    tf_keras), "keras2.2" (2.2, with the state of the optimizer as it has it), "tf_keras", "keras3"; default
    the model's own, of Keras 2 a .keras for Keras 3. Raises InputError, ModelError for a model without
    weights, OSError; an older file is then as it was.
    """
    emit.check_built(model, "save")
    suffix = Path(path).suffix.lower()
    words = _words(model, vintage)
    if suffix == ".keras":
        if vintage is not None and vintage not in ARCHIVES:
            wanted = "'keras3' or 'tf_keras', or a path that ends in .h5"
            raise InputError(describe("save: vintage", wanted, repr(vintage)))
        words = ARCHIVES.get(model.vintage if vintage is None else vintage, ARCHIVE)
        emit.warn_of_activations(model, words is ARCHIVE)
        _write(path, overwrite, lambda file: _write_keras(model, file, include_optimizer, words))
    elif _is_hdf5(path, words):
        emit.warn_of_activations(model, False)
        _check_places(model)
        _write(path, overwrite, lambda file: _write_h5(model, file, include_optimizer, words))
    else:
        raise InputError(
            describe(
                "save",
                "a path that ends in .keras, .h5 or .hdf5",
                repr(str(path)),
                "model.to_json() and to_yaml() give the architecture alone, save_weights the weights",
            )
        )


def save_weights(model: Any, path: PathLike, overwrite: bool = True) -> None:
    """The weights alone: by path for a name that ends in .weights.h5 (Keras 3), since tf.keras with the state
    of the optimizer; in order for .npz, by layer for .h5, .hdf5 and, in Keras 2, any other. Raises as
    `save`."""
    if not model.has_weights:
        emit.check_built(model, "save_weights")
    name, words = str(path).lower(), _words(model, None)
    if name.endswith(".weights.h5"):
        _write(path, overwrite, lambda file: _hdf5(file, lambda h: _by_path(model, h, _state_beside(model))))
    elif name.endswith(".npz"):
        _write(path, overwrite, lambda file: np.savez(file, *model.get_weights()))
    elif _is_hdf5(path, words):
        _check_places(model)
        _write(path, overwrite, lambda file: _hdf5(file, lambda h: _by_layer(model, h, words)))
    else:
        raise InputError(
            describe("save_weights", "a path that ends in .weights.h5, .h5, .hdf5 or .npz", repr(str(path)))
        )


def _words(model: Any, vintage: str | None) -> Words:
    """In whose words .h5, JSON and YAML are written."""
    if vintage is not None and not (isinstance(vintage, str) and vintage in WORDS):
        raise InputError(describe("vintage", "one of " + ", ".join(map(repr, WORDS)), repr(vintage)))
    return WORDS.get(model.vintage if vintage is None else vintage, _LATER)


def _is_hdf5(path: PathLike, words: Words) -> bool:
    """Whether a name is of an HDF5 file: until tf.keras any is that is of no other kind."""
    suffix = Path(path).suffix.lower()
    return suffix in (".h5", ".hdf5") or (
        words.dialect == "keras2" and suffix not in (*OTHER_KINDS, ".keras")
    )


def to_json(model: Any, vintage: str | None = None, **options: Any) -> str:
    """The architecture as JSON. vintage: which Keras is to read it, as for `save`. options: those of
    json.dumps."""
    return _text(_architecture(model, vintage), **options)


def _text(value: Any, **options: Any) -> str:
    """A configuration as JSON that `load` takes: what no reader would is refused before a file is written."""
    try:
        text = json.dumps(value, **options)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(describe("save", "configurations of JSON's kinds of values", str(error))) from error
    parse_json(text, "save: the configuration")
    return text


def to_yaml(model: Any, vintage: str | None = None, **options: Any) -> str:
    """The architecture as YAML. options: those of yaml.safe_dump."""
    return json_as_yaml(to_json(model, vintage), **options)


def json_as_yaml(text: str, **options: Any) -> str:
    """A configuration that is JSON as YAML. options: those of yaml.safe_dump."""
    import yaml

    made: str = yaml.safe_dump(json.loads(text), **options)
    return made


def _architecture(model: Any, vintage: str | None) -> dict[str, Any]:
    words = _words(model, vintage)
    config, ours = emit.architecture(model, words.dialect)
    return {**config, "keras_version": words.version, "backend": "kcompile", "kcompile": ours}


# ---------------------------------------------------------------- whole or not at all


def _write(path: PathLike, overwrite: bool, fill: Callable[[IO[bytes]], Any]) -> None:
    """Fill a new file, which takes its place when it is whole and on disk."""
    with replacing(path, overwrite) as part, open(part, "w+b") as file:
        fill(file)


# ---------------------------------------------------------------- formats


def _write_keras(model: Any, file: IO[bytes], include_optimizer: bool, words: Words) -> None:
    for _, layer in weights.groups(model):
        own_classes.check_assets(layer)
    config, ours = (_of_class(model), None) if model.subclassed else emit.configuration(model, words.dialect)
    if words is not ARCHIVE and ours is not None:
        config = emit.in_archive(config)
    compiled = emit.compile_config(model, words.dialect, True) if include_optimizer else None
    own = compiled is not None and own_classes.compiles_itself(model)
    if compiled is not None:
        config["compile_config"] = _own_compile(model) if own else compiled
        if ours is not None:
            ours["compile"] = emit.own_compile_config(model)
    metadata = _metadata(words)
    if ours is not None:  # a class of the user's is read by its own from_config
        metadata["kcompile"] = ours
    trained = [] if compiled is None else model.compile_arguments.trainable
    state = None if compiled is None else model.optimizer.stored_state(trained)
    if compiled is not None and words is not ARCHIVE:
        state = _in_order_of_tf(model.optimizer, trained)
    _archive(file, metadata, config, lambda h: _by_path(model, h, state))


def _own_compile(model: Any) -> Any:
    return own_classes.written(model.get_compile_config(), serialize)


def save_space(space: Any, path: PathLike) -> None:
    """A FeatureSpace of Keras 3, in a .keras file. Raises InputError for another suffix, UnsupportedError for
    what is in no such file, OSError."""
    if Path(path).suffix != ".keras":
        raise InputError(describe("FeatureSpace.save: filepath", "the suffix .keras", str(path)))
    if ARCHIVES.get(space.vintage) is not ARCHIVE:
        raise UnsupportedError(
            "FeatureSpace.save is supported in Keras 3. Save the model over get_inputs(), which has its "
            "layers, or keep json.dumps(space.get_config()) for FeatureSpace.from_config"
        )
    config, metadata = feature_spaces.configuration(space), _metadata(ARCHIVE)
    _write(path, True, lambda file: _archive(file, metadata, config, lambda h: h.create_group("vars")))


def _metadata(words: Words) -> dict[str, Any]:
    saved = datetime.now(timezone.utc).strftime("%Y-%m-%d@%H:%M:%S")
    return {"keras_version": words.version, "date_saved": saved}


def _archive(file: IO[bytes], metadata: Any, config: Any, fill: Callable[[Any], Any]) -> None:
    """The parts of a .keras file."""
    data = io.BytesIO()
    _hdf5(data, fill)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.json", _text(metadata))
        archive.writestr("config.json", _text(config))
        archive.writestr("model.weights.h5", data.getbuffer())


def _of_class(model: Any) -> dict[str, Any]:
    """The configuration of a model by subclassing, which its class makes and reads."""
    name = type(model).__name__
    shapes = [list(x.shape) for x in model.inputs]
    return {
        "module": None,
        "class_name": name,
        "config": model.get_config(),
        "registered_name": name,
        "build_config": {"input_shape": shapes[0] if len(shapes) == 1 else shapes},
    }


def _write_h5(model: Any, file: IO[bytes], include_optimizer: bool, words: Words) -> None:
    def fill(h5: Any) -> None:
        h5.attrs["keras_version"] = words.version
        h5.attrs["backend"] = "tensorflow"
        config, ours = emit.configuration(model, words.dialect)
        compiled = emit.compile_config(model, words.dialect) if include_optimizer else None
        if compiled is not None and model.optimizer.vintage is not None:
            ours["optimizer_vintage"] = model.optimizer.vintage
        if compiled is not None:
            ours["steps"] = int(model.optimizer._iterations.array)  # which not every Keras has a place for
        h5.attrs["kcompile"] = _text(ours)
        h5.attrs["model_config"] = _text(config)
        _by_layer(model, h5.create_group("model_weights"), words)
        if compiled is not None:
            h5.attrs["training_config"] = _text(compiled)
            group = h5.create_group(OWN_STATE if words.keeps_state else "optimizer_weights")
            written = compiled["optimizer_config"]
            # That of LossScaleOptimizer is Keras 3's, with a state of its own
            if words.keeps_state or written["class_name"] == "LossScaleOptimizer":
                state = model.optimizer.stored_state(model.compile_arguments.trainable)
                _arrays(group, [(f"state/{i}", v) for i, v in enumerate(state)])
                return
            newer = "inner_optimizer" in written["config"] or (
                written["config"].get("is_legacy_optimizer") is False
            )
            _arrays(group, _state_in_order(model) if newer else _named_state(model, words))

    _hdf5(file, fill)


def _hdf5(file: IO[bytes], fill: Callable[[Any], Any]) -> None:
    import h5py

    with h5py.File(file, "w") as h5:
        fill(h5)


def _by_layer(model: Any, group: Any, words: Words) -> None:
    """Weights by layer name, as Keras 2 and tf.keras have them."""
    group.attrs["keras_version"] = words.version
    group.attrs["backend"] = "tensorflow"
    named = [(weights.place_of(layer.name), layer) for layer in model.owned_layers]
    _names(group, "layer_names", [name for name, _ in named])
    for name, layer in named:
        variables = [v for part in _effective_parts(layer) for v in part]
        _arrays(group.require_group(name), [(v.path, v) for v in variables])


def _check_places(model: Any) -> None:
    """Raises ModelError where two names lead to one place of an HDF5 file, before anything is written."""
    groups: set[str] = set()
    arrays: set[str] = set()
    for layer in model.owned_layers:
        group = weights.place_of(layer.name)
        inside = [f"{group}/{place}" for place in _places(v.path for v in layer.weights)]
        around = {path[:at] for path in (f"{group}/", *inside) for at, c in enumerate(path) if c == "/"}
        if (
            group in groups
            or arrays & {*inside, *around}
            or set(inside) & groups
            or (len(set(inside)) < len(inside))
        ):
            raise ModelError(
                describe(
                    f"model {model.name!r}",
                    "names that are different places in an HDF5 file",
                    f"the layer {layer.name!r} beside the others"[:200],
                    "Give it another name, or save as .keras or .weights.h5",
                )
            )
        groups.add(group)
        arrays.update(inside)


def _effective_parts(layer: Any) -> list[list[Variable]]:
    """Trainable weights before the others, where a frozen model freezes the layers inside."""
    if weights.run_inside(layer) is None:
        return [[*layer.trainable_weights, *layer.non_trainable_weights]]
    trainable: list[list[Variable]] = []
    fixed: list[list[Variable]] = []
    _split(layer, False, trainable, fixed)
    seen: set[int] = set()
    parts = []
    for part in (*trainable, *fixed):
        parts.append([v for v in part if id(v) not in seen])
        seen.update(id(v) for v in part)
    return parts


def _split(layer: Any, frozen: bool, trainable: list[list[Variable]], fixed: list[list[Variable]]) -> None:
    frozen = frozen or not layer.trainable
    inside = weights.run_inside(layer)
    if inside is not None:
        for inner in inside:
            _split(inner, frozen, trainable, fixed)
        return
    split = layer.trainable_weights
    trainable.append([] if frozen else split)
    fixed.append(layer.weights if frozen else layer.non_trainable_weights)


def _state_beside(model: Any) -> list[Variable] | None:
    """The state of the optimizer that .weights.h5 has since tf.keras: of one that has not begun, the number
    of steps and in Keras 3 the rate; None for a model that is not compiled."""
    order = model.semantics.optimizer_variables
    if model.optimizer is None or order == "by slot":
        return None
    optimizer = model.optimizer
    if order == "by variable":
        return _in_order_of_tf(optimizer, optimizer.built_for)
    scalars = list(optimizer.scalars_kept.values())
    return optimizer.stored_state(optimizer.built_for) if optimizer.built else scalars


def _in_order_of_tf(optimizer: Any, variables: Sequence[Variable]) -> list[Variable]:
    """The number of steps and the slots, as tf.keras has them since 2.11: SGD has momenta there that it may
    not use."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    state = [optimizer._iterations, *in_order_of_tf(optimizer, variables)]
    if isinstance(optimizer, SGD) and not optimizer.momentum:
        state += [Variable(np.zeros(v.shape), "momentum", False) for v in variables]
    return state


def _by_path(model: Any, h5: Any, state: Sequence[Variable] | None) -> None:
    """Weights by path, as Keras 3 has them. state: of the optimizer."""
    if model.subclassed:
        h5.create_group("layers")
        for path, layer in weights.groups(model):
            _own(layer, h5.require_group(path) if path else h5)
    else:
        _container(model, h5)
    if state is not None:
        group = h5.create_group("optimizer")
        _vars(group, state, model.optimizer.name.lower())
        inner = getattr(model.optimizer, "inner_optimizer", None)
        if inner is not None and any(v is inner.learning_rate_variable for v in state):  # both have it there
            behind = state[len(model.optimizer.scalars_kept) :]
            _vars(group.create_group("inner_optimizer"), behind, inner.name.lower())


def _container(layer: Any, group: Any) -> None:
    """A layer and those inside it. One that is in several models is written with each: readers make one
    of each entry of the configuration."""
    _own(layer, group)
    if isinstance(getattr(layer, "idf_weights", None), np.ndarray):
        _tables(group, layer)
    inside = weights.held(layer)
    if isinstance(layer, Model):
        group.create_group("layers")
        inside = [
            (f"layers/{name}", inner) for name, inner in zip(weights.path_names(layer._layers), layer._layers)
        ]
    for place, inner in inside:
        _container(inner, group.require_group(place))


def _own(layer: Any, group: Any) -> None:
    """The layer's own weights, adapters as a part of what they adapt; or what its class stores instead."""
    if not own_classes.stores(layer):
        adapted = getattr(layer, layer.adapted) if getattr(layer, "adapters", ()) else None
        own = weights.own_variables(layer)
        own = [v if v is not adapted else Variable(layer.merged(), v.path) for v in own]
        return _vars(group, own, layer.name)
    store: dict[str, Any] = {}
    layer.save_own_variables(store)
    _vars(group, (), layer.name)
    for name, value in store.items():
        group["vars"].create_dataset(str(name), data=np.asarray(value))
    return None


def _vars(group: Any, variables: Sequence[Variable], name: str) -> None:
    made = group.create_group("vars")
    made.attrs["name"] = printable(name)
    for i, variable in enumerate(variables):
        made.create_dataset(str(i), data=variable.array)


def _tables(group: Any, layer: Any) -> None:
    """The weights of a lookup's tokens, which Keras 3 reads here though the configuration has them; of
    TextVectorization in two places."""
    table = layer.idf_weights.astype(np.float32)
    group["vars"].create_dataset("idf_weights", data=table)
    if not hasattr(layer, "oov_token"):
        group.create_group("_lookup_layer/vars").create_dataset("idf_weights", data=table)


def _state_in_order(model: Any) -> list[tuple[str, Variable]]:
    """The optimizer's state in the order that tf.keras gives it since 2.11."""
    iterations, *slots = _in_order_of_tf(model.optimizer, model.compile_arguments.trainable)
    return [("iteration", iterations), *((f"slots/{i}", v) for i, v in enumerate(slots))]


def _named_state(model: Any, words: Words) -> list[tuple[str, Variable]]:
    """The optimizer's state in the order and with the names that tf.keras up to 2.10 gives it in .h5,
    slot by slot. Later ones read that too, with the optimizers of then, as the configuration does not
    deny it (`is_legacy_optimizer`, which Keras 3 would not take). Keras 2.3 has that order too, and for
    Adam a number for each variable where the largest v is not kept (optimizers.py, Adam.get_updates); Keras
    2.2 has less, and wants momenta of SGD that are not used."""
    optimizer, variables = model.optimizer, model.compile_arguments.trainable
    optimizer.build(variables)
    kind = type(optimizer).__name__
    state = [(f"{kind}/iter", optimizer._iterations)]
    state += [(f"{kind}/momentum_cache", v) for v in optimizer.state()]
    names = {slot.name: slot.stored for slot in (*COMMON_SLOTS, *optimizer.known_slots)}
    slots = [
        (f"{kind}/{v.path}/{names.get(slot, slot)}", optimizer._slots[v][slot])
        for slot in (*optimizer.common_slots(), *optimizer.slots())
        for v in variables
        if slot in optimizer._slots[v]
    ]
    unused = []
    if words.dialect == "keras2" and kind == "Adam" and not optimizer.amsgrad:
        unused = [(f"{kind}/{v.path}/vhat", Variable(np.zeros(1), "vhat", False)) for v in variables]
    if words == WORDS["keras2.2"]:
        state = state[: int(kind in keras2_words.COUNTING_2_2)]
        if kind == "SGD" and not slots:
            zeros = [(v, Variable(np.zeros(v.shape), "momentum", False)) for v in variables]
            unused = [(f"{kind}/{v.path}/momentum", zero) for v, zero in zeros]
    return state + slots + unused


def _places(names: Iterable[str]) -> list[str]:
    """Where the arrays of a layer are in its group; layers inside a user's own may have the same names."""
    taken: list[str] = []
    for name in names:
        taken.append(unique(name, set(taken)))
    return [weights.place_of(f"{name}:0") for name in taken]


def _arrays(group: Any, named: Sequence[tuple[str, Variable]]) -> None:
    names = _places(name for name, _ in named)
    _names(group, "weight_names", names)
    for name, (_, variable) in zip(names, named):
        group.create_dataset(name, data=variable.array)


def _names(group: Any, attribute: str, names: Sequence[str]) -> None:
    """A list of names, in parts that object headers hold."""
    group.attrs.update(in_parts(attribute, np.asarray([n.encode("utf-8") for n in names], dtype=np.bytes_)))

"""From a file to a model: `load`, `load_weights`, and models from texts.

Enters: a path (or a text), and what a file cannot hold: the user's own classes and functions, the backend
of a Keras 1 file. Leaves: a `kcompile.keras` model with the file's weights, semantics of the vintage that
wrote it, and, where the file has one, its training configuration with the optimizer's state.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kcompile.files import feature_spaces, learned, own_classes, reader, weights
from kcompile.files.calls import mapping
from kcompile.files.compile_configs import translate_compile_config
from kcompile.files.configs import dtype_of, translate_model
from kcompile.files.optimizer_state import OWN_STATE, load_optimizer, load_state_beside
from kcompile.files.problems import MODELS, Problems, last_resort
from kcompile.files.reader import Hdf5, PathLike, limits
from kcompile.files.sharing import HELD, mark_said
from kcompile.files.vintage import BACKENDS, OURS, Vintage, parse_version, upgrade, vintage_of
from kcompile.keras import layers, models
from kcompile.keras.layer_weights import kept_random_state, weight_budget
from kcompile.keras.loss_scaling import scaling
from kcompile.keras.semantics import LEGACY_OPTIMIZERS, VINTAGES
from kcompile.keras.utils.serialization import custom_names, custom_object_scope
from kcompile_runtime.checks import check_path
from kcompile_runtime.errors import InputError, KcompileError, ModelError, UnsupportedError, describe

Custom = Mapping[str, Any] | None
SUFFIXES = {".keras": "zip", ".h5": "hdf5", ".hdf5": "hdf5", ".json": "text", ".yaml": "text", ".yml": "text"}


def load(
    path: PathLike,
    weights: PathLike | None = None,
    backend: str | None = None,
    custom_objects: Custom = None,
    compile: bool = True,
    isolated: bool = False,
) -> Any:
    """The model in a file: .keras, .h5, .hdf5, or an architecture in .json, .yaml.

    weights: a file of weights for an architecture: .h5 of any Keras, .weights.h5, .weights.json with its
    shards, .keras, or an .npz made by `numpy.savez(path, *model.get_weights())`; without it weights are
    initialised anew. backend: "tensorflow" or "theano", what a Keras 1 model computed with, for files do
    not say; kernels of Theano are turned by 180 degrees. By default it is read off the names of the
    weights, which end in ":0" under TensorFlow, and a warning says so where it matters. custom_objects:
    the user's own classes and functions by name; the function of a Lambda by the name of the layer.
    compile: whether to take over the training configuration and the state of the optimizer, which are
    left out with a warning where they are not supported. isolated: HDF5 is read by another process, with
    limits of time and memory, so that a file that makes the HDF5 library crash, or never come to an end,
    is an error here (half a second more).

    Raises UnsupportedError listing all that is not supported, ModelError for damaged, unfitting or
    dangerous files, InputError for another backend, OSError. Nothing that a file holds is run, imported or
    followed.
    """
    file = Path(check_path("load: path", path))
    if backend is not None and not (isinstance(backend, str) and backend in BACKENDS):
        raise InputError(describe("load: backend", " or ".join(map(repr, BACKENDS)), repr(backend)))
    kind = reader.kind_of(file)
    expected = SUFFIXES.get(file.suffix.lower())
    if expected is not None:
        reader.check_kind(file, expected)
    elif kind not in ("hdf5", "zip", "text"):
        reader.check_kind(file, "hdf5")
    custom = custom_names(custom_objects)
    with custom_object_scope(custom), last_resort(file, custom):
        if kind == "zip":
            model = _load_keras(file, backend, custom, compile, isolated)
        elif kind == "hdf5":
            model = _load_hdf5(file, backend, custom, compile, isolated)
        else:
            yaml = file.suffix.lower() in (".yaml", ".yml")
            entry = reader.read_yaml(file) if yaml else reader.read_json(file)
            return _with_weights(_entry(entry, file), file, weights, backend, custom, isolated)
        if weights is not None:
            _load_weights(model, weights, None, isolated=isolated)
        return model


# ---------------------------------------------------------------- formats


def _load_keras(
    file: Path, backend: str | None, custom: Mapping[str, Any], compiled: bool, isolated: bool
) -> Any:
    if reader.is_archive_of_arrays(file):
        raise ModelError(
            describe(
                str(file), "a .keras model", "an .npz of arrays", "Give it as weights= of an architecture"
            )
        )
    with reader.open_keras(file, isolated) as archive:
        entry = _entry(archive.config, file)
        metadata = mapping(archive.metadata)
        vintage = vintage_of(entry, metadata.get("keras_version"), None)
        _check_backend(file, vintage, backend)
        ours = metadata.get("kcompile")
        if isinstance(ours, Mapping):
            entry, vintage = _restore(entry, ours), OURS
        if entry.get("class_name") == feature_spaces.KIND:
            return feature_spaces.read(entry, archive, vintage.semantics, custom)
        taken = learned.from_archive(entry, archive.assets, archive.weights)
        model = _build(entry, vintage, custom, file, True)
        weights.load_by_path(model, archive.weights, known=taken)
        training = ours.get("compile") if isinstance(ours, Mapping) else None
        training = training or entry.get("compile_config")
        own = own_classes.compiles_itself(model)
        if compiled and isinstance(training, Mapping) and (own or training.get("optimizer")):
            if own:
                model.compile_from_config(own_classes.read(training, dict))
            paths = weights.vars_of(archive.weights, "optimizer")
            scaled = bool(weights.vars_of(archive.weights, "optimizer/inner_optimizer"))
            _compile(
                model,
                training,
                file,
                vintage,
                lambda: not paths or load_optimizer(model, archive.weights, paths, vintage),
                scaled,
                own,
            )
        return model


def _load_hdf5(
    file: Path, backend: str | None, custom: Mapping[str, Any], compiled: bool, isolated: bool
) -> Any:
    with reader.open_hdf5(file, isolated) as opened:
        text = opened.text("", "model_config")
        if text is None:
            what = "weights alone" if opened.datasets else "HDF5 without a model"
            raise ModelError(
                describe(
                    str(file),
                    "a model with its configuration",
                    what,
                    "Give the architecture, and this file as weights=" if opened.datasets else "",
                )
            )
        entry = _entry(reader.parse_json(text, f"{file}: model_config"), file)
        vintage = vintage_of(entry, opened.text("", "keras_version"), opened.text("", "backend"))
        if not vintage.keras1:
            _check_backend(file, vintage, backend)
        else:
            vintage = replace(vintage, backend=backend)
        text = opened.text("", "kcompile")
        ours = mapping(None if text is None else reader.parse_json(text, f"{file}: kcompile"))
        if text is not None:
            entry, vintage = _restore(entry, ours), OURS
        taken = learned.from_layers(entry, opened, "model_weights")
        model = _build(entry, vintage, custom, file, True)
        vintage = _settled(opened, "model_weights", vintage, model)
        weights.load_by_layer(model, opened, "model_weights", vintage, taken=taken)
        training = opened.text("", "training_config")
        if compiled and training is not None:
            given = reader.parse_json(training, f"{file}: training_config")
            paths = [
                f"{group}/{name}"
                for group in ("optimizer_weights", OWN_STATE)
                for name in opened.names(group, "weight_names") or []
            ]
            steps = ours.get("steps")
            _compile(
                model,
                given,
                file,
                vintage,
                lambda: not paths or load_optimizer(model, opened, paths, vintage, steps),
            )
            if model.compile_arguments is not None and ours.get("optimizer_vintage") in VINTAGES:
                model.optimizer.vintage = ours["optimizer_vintage"]
                if model.optimizer.vintage == LEGACY_OPTIMIZERS and model.optimizer.home is None:
                    model.optimizer.settle_in("tf_keras")
        return model


def lacks_training(path: PathLike) -> bool:
    """Whether a file is HDF5 that does not say how to train its model."""
    if reader.kind_of(Path(path)) != "hdf5":
        return False
    with reader.open_hdf5(Path(path), False) as opened:
        return opened.text("", "training_config") is None


def _with_weights(
    entry: dict[str, Any],
    file: PathLike,
    given: PathLike | None,
    backend: str | None,
    custom: Mapping[str, Any],
    isolated: bool = False,
) -> Any:
    """The model of an architecture, with the weights of another file."""
    vintage = vintage_of(entry, None, None)
    ours = entry.get("kcompile")
    if isinstance(ours, Mapping):
        entry, vintage = _restore(entry, ours), OURS
    if vintage.backend in BACKENDS and backend is not None and not vintage.keras1:
        _check_backend(file, vintage, backend)
    model = _build(entry, vintage, custom, file, given is not None)
    if given is not None:
        if str(given).endswith(".npz"):
            weights.load_in_order(model, reader.read_arrays(given), str(given))
        else:
            _load_weights(
                model, given, replace(vintage, backend=backend or vintage.backend), isolated=isolated
            )
    return model


def _entry(value: Any, file: PathLike) -> dict[str, Any]:
    """The configuration of a model: `{"class_name", "config"}`, or Keras 0.3's form."""
    if reader.is_index(file):
        raise ModelError(
            describe(
                str(file), "a model", "an index of weights alone", "Give it as weights= of an architecture"
            )
        )
    if isinstance(value, Mapping) and isinstance(value.get("keras_model"), str):
        value = reader.parse_json(value["keras_model"], f"{file}: keras_model")
    if isinstance(value, dict) and (
        "class_name" in value
        or (isinstance(value.get("layers"), list) and value.get("name", "Sequential") == "Sequential")
    ):
        return value
    raise ModelError(
        describe(
            str(file),
            "the configuration of a model",
            _about(value),
            ("Give what to_json() or to_yaml() gave, as it is" if isinstance(value, str) else ""),
        )
    )


def _about(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping with " + (", ".join(map(repr, list(value)[:5])) or "nothing")
    return "a text inside the text" if isinstance(value, str) else type(value).__name__


# ---------------------------------------------------------------- building


def _build(
    entry: dict[str, Any], vintage: Vintage, custom: Mapping[str, Any], file: PathLike, overwritten: bool
) -> Any:
    """The model of a configuration. overwritten: its weights come from the file, and their first values
    must not move the user's random numbers."""
    if vintage.keras1:
        entry = upgrade(entry)
    mark_said(entry)
    kind = entry.get("class_name")
    own = custom.get(str(entry.get("registered_name"))) or custom.get(str(kind))
    if isinstance(own, type) and issubclass(own, models.Model) and own.subclassed:
        return _build_own(own, entry, file, overwritten)
    if (
        not isinstance(kind, str)
        or kind in vars(layers)
        or not isinstance(entry.get("config"), (Mapping, list))
    ):
        raise ModelError(describe(str(file), "the configuration of a model", f"that of {kind!r}"[:80]))
    if kind not in MODELS:
        raise UnsupportedError(describe(str(file), "a Sequential or functional model", repr(kind)))
    config = entry["config"]
    name = config.get("name") if isinstance(config, Mapping) else None
    problems = Problems(str(name or Path(file).name), "loaded")
    translated = translate_model(entry, problems, vintage.semantics, vintage == OURS, custom)
    problems.report()
    with weight_budget(limits.MAX_ARRAYS, overwritten), kept_random_state() if overwritten else nullcontext():
        model = models.model_from_config(translated)
    if overwritten and not model.built:
        raise ModelError(
            f"{file}: model {model.name!r} does not say what its input is, so its "
            "weights have no place. Save it after it was built"
        )
    _check_reached(translated["config"], model)
    _check_sizes(model)
    return model


def _build_own(own: Any, entry: Mapping[str, Any], file: PathLike, overwritten: bool) -> Any:
    """A model by subclassing, of a class that the user gave: what its own `from_config` makes, for inputs as
    the file says."""
    config = dict(mapping(entry.get("config")))
    if "dtype" in config:
        config["dtype"] = dtype_of(config["dtype"])
    with kept_random_state() if overwritten else nullcontext():
        model = own.from_config(config)
        shape = mapping(entry.get("build_config")).get("input_shape")
        if not model.built and isinstance(shape, (list, tuple)) and shape:
            single = not isinstance(shape[0], (list, tuple))
            shapes = [(None, *one[1:]) for one in ([shape] if single else shape)]
            model.build(shapes[0] if single else shapes)
    if overwritten and not model.built:
        raise ModelError(f"{file}: {own.__name__}: the file does not say what the model's input is")
    return model


def _check_reached(config: Mapping[str, Any], model: Any) -> None:
    """Layers between no input and output would be lost silently."""
    if "input_layers" in config:
        lost = {layer["name"] for layer in config["layers"]} - {x.name for x in model._layers}
        if lost:
            raise ModelError(
                describe(
                    f"model {model.name!r}",
                    "every layer on a way from the inputs to the outputs",
                    "disconnected layers " + ", ".join(map(repr, sorted(lost)[:10])),
                )
            )


def _check_sizes(model: Any) -> None:
    """Shapes of a file may be such that no memory holds a single sample, or that sizes overflow."""
    parts = [model, *(part for part in weights.all_layers(model) if isinstance(part, models.Model))]
    for node in (node for part in parts for node in part.nodes):
        for y in node.outputs:
            size = 4 * math.prod(d for d in y.shape if d is not None)
            if size > limits.MAX_ARRAYS:
                raise ModelError(
                    describe(
                        f"{node.layer.label}: its output {tuple(y.shape)}",
                        f"at most {limits.MAX_ARRAYS} bytes for a sample",
                        f"{size} bytes",
                    )
                )


def _check_theano(model: Any) -> None:
    """Theano pads otherwise where padding is "same" and windows are even or strides above 1. Raises
    UnsupportedError naming the layers."""
    problems = Problems(model.name, "loaded")
    for part in weights.all_layers(model):
        pools = hasattr(part, "pool_size")
        window = getattr(part, "pool_size", getattr(part, "kernel_size", None))
        if getattr(part, "padding", None) != "same" or window is None:
            continue
        if any(s != 1 for s in part.strides) or any(k % 2 == 0 or (pools and k > 3) for k in window):
            problems.add(
                f"{part.label}: Theano's padding 'same' with windows {window} and strides {part.strides}"
            )
    problems.report()


def _check_backend(file: PathLike, vintage: Vintage, backend: str | None) -> None:
    written = "theano" if vintage.backend == "theano" else "tensorflow"
    if backend is not None and backend != written:
        raise ModelError(
            describe(str(file), f"backend={written!r}, which the file says, or none", repr(backend))
        )


def _settled(file: Hdf5, group: str, vintage: Vintage, model: Any) -> Vintage:
    """The vintage with a backend. Keras 1 did not write it; names of weights end in ":0" under
    TensorFlow."""
    if vintage.backend is None and vintage.keras1:
        names = [path for layer in weights.saved_layers(file, group) for path in layer.paths]
        guess = "tensorflow" if any(name.endswith(":0") for name in names) else "theano"
        if any(map(_flips, weights.all_layers(model))):
            warnings.warn(
                f"{file.name}: Keras 1 does not say with which backend a model computed, and "
                "convolutions of Theano turn their kernels. By the names of its weights it was "
                f"{guess}. Say backend={guess!r} if that is right",
                stacklevel=4,
            )
        vintage = replace(vintage, backend=guess)
    if vintage.backend == "theano":
        _check_theano(model)
    return vintage


def _flips(layer: Any) -> bool:
    """Whether a layer computes otherwise under Theano: a kernel of more than one tap."""
    return type(layer).__name__ in weights.FLIPPED and max(np.ravel(layer.kernel_size)) > 1


Switch = tuple[str, bool, list[Any]]  # an argument, a value, and the paths of the layers that have it


def _restore(entry: dict[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """What Keras' form of a configuration has no place for, put back."""
    switches = [
        (key, value, paths)
        for name, key, value in (("operators", "operator", True), ("frozen", "trainable", False))
        if isinstance(paths := ours.get(name), list)
    ]
    _put(entry, "", mapping(ours.get("vintages")), switches)
    return entry


def _put(entry: Any, path: str, vintages: Mapping[str, Any], switches: list[Switch]) -> None:
    """The paths are those of `emit`: names of layers, and arguments that are layers."""
    config = entry.get("config") if isinstance(entry, dict) else None
    if not isinstance(config, dict):
        return
    if isinstance(vintages.get(path), str):
        config["vintage"] = vintages[path]
    config.update((key, value) for key, value, paths in switches if path in paths)
    if entry.get("class_name") in MODELS:
        layers = config.get("layers")
        for layer in layers if isinstance(layers, list) else ():
            inner = layer.get("config") if isinstance(layer, dict) else None
            if isinstance(inner, dict):
                _put(layer, f"{path}/{inner.get('name')}", vintages, switches)
        return
    for key in HELD:
        held = config.get(key)
        for i, inner in enumerate(held if isinstance(held, list) else [held]):
            _put(inner, f"{path}/{key}/{i}", vintages, switches)


# ---------------------------------------------------------------- training configuration


def _compile(
    model: Any,
    training: Any,
    file: PathLike,
    vintage: Vintage,
    state: Callable[[], bool],
    scaled: bool = False,
    done: bool = False,
) -> None:
    """Compile the model as it was, and take over the optimizer's state. What is not supported leaves
    the model as it is, with a warning: its predictions do not depend on it. scaled: the state is of an
    optimizer that Keras put into one that scales the loss, of which the configuration does not speak. done:
    the class has compiled the model itself."""
    problems = Problems(model.name)
    try:
        if not done:
            arguments = translate_compile_config(training, problems, model.vintage, vintage.tf)
            problems.report()
            arguments["optimizer"] = scaling(arguments["optimizer"], scaled)
            model.compile(**arguments)
    except (KcompileError, ValueError, TypeError, AttributeError, KeyError) as error:
        warnings.warn(
            f"{file}: loaded without its training configuration; compile the model to train it. {error}",
            stacklevel=4,
        )
        return
    if not state():
        warnings.warn(
            f"{file}: the state of the optimizer is not one that is read here; it starts afresh", stacklevel=4
        )


# ---------------------------------------------------------------- weights alone


def load_weights(
    model: Any,
    path: PathLike,
    by_name: bool = False,
    skip_mismatch: bool = False,
    backend: str | None = None,
    isolated: bool = False,
    reshape: bool = False,
) -> None:
    """Weights of a file into a built model.

    path: .h5 of any Keras (a whole model too), .weights.h5, .weights.json with its shards, .keras, or
    .npz. by_name: only layers whose names are in the file, which must be laid out by layer.
    skip_mismatch: leave layers that do not fit as they are, with a warning. backend, isolated: as in
    `load`. reshape: kernels of convolutions of as many numbers are taken in their order, as in Keras 2.
    Raises ModelError, with nothing changed.
    """
    if backend is not None and backend not in BACKENDS:
        raise InputError(describe("load_weights: backend", " or ".join(map(repr, BACKENDS)), repr(backend)))
    if not model.has_weights:
        raise ModelError(
            f"model {model.name!r} has no weights yet: its input shape is not known. Give "
            "the first layer an input_shape, or call build"
        )
    if str(path).endswith(".npz"):
        if by_name or skip_mismatch or reshape:
            raise InputError("load_weights: by_name, skip_mismatch and reshape need a file with names (.h5)")
        weights.load_in_order(model, reader.read_arrays(path), str(path))
        return
    vintage = Vintage((2,), False, backend) if backend else None
    with last_resort(path):
        _load_weights(model, path, vintage, by_name, skip_mismatch, isolated, reshape)


def _load_weights(
    model: Any,
    path: PathLike,
    vintage: Vintage | None,
    by_name: bool = False,
    skip: bool = False,
    isolated: bool = False,
    reshape: bool = False,
) -> None:
    """vintage: of the architecture, where it says more than the file."""
    if reader.kind_of(path) == "zip" and not by_name:
        with reader.open_keras(path, isolated) as archive:
            weights.load_by_path(model, archive.weights, skip, reshape)
            load_state_beside(model, archive.weights, weights.vars_of(archive.weights, "optimizer"))
        return
    opened = reader.open_shards if reader.is_index(path) else reader.open_hdf5
    with opened(path, isolated) as file:
        if weights.is_by_path(file):
            if by_name:
                raise UnsupportedError(
                    f"{path}: by_name needs weights that are stored by layer name, "
                    "as .h5 of Keras 2 has them; these are stored by path"
                )
            weights.load_by_path(model, file, skip, reshape)
            load_state_beside(model, file, weights.vars_of(file, "optimizer"))
            return
        group = weights.weights_group(file)
        found = _weights_vintage(file, group, vintage)
        found = _settled(file, group, found, model)
        weights.load_by_layer(model, file, group, found, by_name, skip, reshape)


def _weights_vintage(file: Hdf5, group: str, architecture: Vintage | None) -> Vintage:
    """Weights say their own vintage from Keras 2 on; those that do not are of Keras 1."""
    version, backend = (file.text(group, key) or file.text("", key) for key in ("keras_version", "backend"))
    given = architecture.backend if architecture is not None else None
    given = given if given in BACKENDS else None
    if version is None:
        return Vintage((1,), False, given)
    numbers, tf = parse_version(version)
    if given is not None and backend is not None and given != backend and "theano" in (given, backend):
        raise ModelError(
            describe(file.name, f"backend={backend!r}, which the file says, or none", repr(given))
        )
    return Vintage(numbers, tf, backend or given)


def converted_weights(
    layer: Any, arrays: Sequence[Any], version: str | None, backend: str | None, reshape: bool
) -> list[Any]:
    """Arrays of a layer, or of a model, that a Keras of this version stored with this backend, as it has them
    here. version: "1" is Keras 1; None: of now. Raises ModelError."""
    numbers, tf = ((2,), False) if version is None else parse_version(version)
    return weights.converted(layer, list(map(np.asarray, arrays)), Vintage(numbers, tf, backend), reshape)


# ---------------------------------------------------------------- texts


def model_from_json(text: str, custom_objects: Custom = None) -> Any:
    """The model that `to_json` of any Keras wrote, with fresh weights. Raises ModelError."""
    return _from_text(reader.parse_json(text, "model_from_json"), "model_from_json", custom_objects)


def model_from_yaml(text: str, custom_objects: Custom = None) -> Any:
    """The model that `to_yaml` of Keras 1 or 2 wrote, with fresh weights. Raises ModelError."""
    return _from_text(reader.parse_yaml(text, "model_from_yaml"), "model_from_yaml", custom_objects)


def _from_text(value: Any, name: str, custom_objects: Custom) -> Any:
    custom = custom_names(custom_objects)
    with custom_object_scope(custom), last_resort(name, custom):
        return _with_weights(_entry(value, name), name, None, None, custom)

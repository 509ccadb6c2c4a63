"""Weights between HDF5 files and the variables of a model.

Enters: a checked HDF5 file (`reader.Hdf5`), a built model, and the vintage of the file. Leaves: the
model's variables assigned, all of them or none. Two layouts exist: by layer name (Keras 1, 2, tf.keras,
and .h5 of Keras 3), and by path (Keras 3's .keras and .weights.h5). How a class stored its weights in
other times is in the tables `KERAS1`, `FLIPPED` and `HELD`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile.files import cudnn
from kcompile.files.reader import Hdf5, Stored
from kcompile.files.vintage import Vintage
from kcompile.keras.engine import Layer, Variable
from kcompile.keras.models import Model, Sequential
from kcompile.keras.settings import snake_case
from kcompile_runtime.errors import ModelError, describe
from kcompile_runtime.texts import printable

Array = np.ndarray
Variables = list[Variable]


# ---------------------------------------------------------------- how classes stored weights


@dataclass(frozen=True)
class Stored1:
    """How Keras 1 stored a class: the number of arrays (None: as many as now), and the change."""

    count: int | None
    convert: Callable[[list[Array], Any], list[Array]]


def _first_axes(layer: Any) -> bool:
    return bool(getattr(layer, "data_format", "channels_last") == "channels_first")


def _conv1d(arrays: list[Array], layer: Any) -> list[Array]:
    """(length, 1, inputs, filters), or earlier (filters, inputs, length, 1)."""
    kernel, *rest = arrays
    if kernel.ndim == 4:
        if kernel.shape[1] == 1 and kernel.shape[0] == layer.kernel_size[0]:
            kernel = kernel[:, 0]
        else:
            kernel = kernel.transpose(2, 3, 1, 0)[:, 0]
    return [kernel, *rest]


def _conv(*order: int) -> Callable[[list[Array], Any], list[Array]]:
    """Ordering "th" put filters and channels first."""

    def convert(arrays: list[Array], layer: Any) -> list[Array]:
        kernel, *rest = arrays
        fits = _first_axes(layer) and kernel.ndim == len(order)
        return [kernel.transpose(order) if fits else kernel, *rest]

    return convert


def _transposed(arrays: list[Array], layer: Any) -> list[Array]:
    kernel, *rest = arrays
    return [kernel.transpose((2, 3, 0, 1) if _first_axes(layer) else (0, 1, 3, 2)), *rest]


def _gates(*order: int) -> Callable[[list[Array], Any], list[Array]]:
    """One kernel, recurrent kernel and bias for each gate, put side by side in Keras 2's order."""

    def convert(arrays: list[Array], layer: Any) -> list[Array]:
        if len(arrays) == 3:  # consume_less="gpu"
            return arrays
        return [np.concatenate([arrays[3 * gate + part] for gate in order], -1) for part in range(3)]

    return convert


KERAS1: dict[str, Stored1] = {
    "Conv1D": Stored1(None, _conv1d),
    "Conv2D": Stored1(None, _conv(2, 3, 1, 0)),
    "Conv2DTranspose": Stored1(None, _transposed),
    "Conv3D": Stored1(None, _conv(2, 3, 4, 1, 0)),
    "GRU": Stored1(9, _gates(0, 1, 2)),
    "LSTM": Stored1(12, _gates(0, 2, 1, 3)),  # input, cell, forget, output
}
# Kernels that Theano turns by 180 degrees: their places among the weights of a class.
FLIPPED = {
    "Conv1D": (0,),
    "Conv2D": (0,),
    "Conv3D": (0,),
    "Conv2DTranspose": (0,),
    "Conv3DTranspose": (0,),
    "ConvLSTM2D": (0, 1),
}
# Layers that hold layers: the attributes that have the weights, in their order. Keras 3 names groups so.
HELD: dict[str, tuple[str, ...]] = {
    "Bidirectional": ("forward_layer", "backward_layer"),
    "GRU": ("cell",),
    "LSTM": ("cell",),
    "RNN": ("cell",),
    "SimpleRNN": ("cell",),
    "ConvLSTM2D": ("cell",),
    "TimeDistributed": ("layer",),
    "StackedRNNCells": ("cells",),
    "Wrapper": ("layer",),
    "MultiHeadAttention": ("query_dense", "key_dense", "value_dense", "output_dense"),
}


def holders(layer: Any) -> tuple[str, ...]:
    """The attributes of a wrapper or a recurrent layer that hold layers."""
    return next((HELD[c.__name__] for c in type(layer).__mro__ if c.__name__ in HELD), ())


def held(layer: Any) -> list[tuple[str, Any]]:
    """The layers that a wrapper or a recurrent layer holds, each with its place below the group that
    Keras 3 gives to the layer."""
    found: list[tuple[str, Any]] = []
    for name in holders(layer):
        inner = getattr(layer, name)
        several = isinstance(inner, (list, tuple))
        found += (
            [(f"{name}/{below}", part) for below, part in zip(path_names(inner), inner)]
            if several
            else [(name, inner)]
        )
    return found


def own_variables(layer: Any) -> Variables:
    """The weights of a layer that are not of the layers inside it."""
    if isinstance(layer, Model):
        return []
    others = {id(v) for _, part in held(layer) for v in part.weights}
    return [v for v in layer.weights if id(v) not in others]


def run_inside(layer: Any) -> list[Any] | None:
    """The layers of a model, or the model that a wrapper is around; None for any other layer."""
    if isinstance(layer, Model):
        return list(layer._layers)
    inner = getattr(layer, "layer", None)
    return [inner] if isinstance(inner, Model) else None


def inner_layers(layer: Any) -> list[Any]:
    """The layers inside a wrapper that have its weights, in their order."""
    pair = [getattr(layer, name, None) for name in ("forward_layer", "backward_layer")]
    if all(isinstance(part, Layer) for part in pair):
        return pair
    inner = getattr(layer, "layer", None)
    return [inner] if isinstance(inner, Layer) else []


def _count1(layer: Any) -> int | None:
    """How many arrays Keras 1 stored for a layer, where that differs."""
    inner = [_count1(part) for part in inner_layers(layer)]
    if inner and all(count is not None for count in inner):
        return sum(count for count in inner if count is not None)
    rule = KERAS1.get(type(layer).__name__)
    return rule.count if rule is not None else None


def convert(arrays: list[Array], layer: Any, vintage: Vintage) -> list[Array]:
    """The arrays of a layer as Keras 2 with TensorFlow has them, and as this layer has them: a file may
    hold those of a layer of cuDNN, or of a plain one."""
    inner = inner_layers(layer)
    if inner and len(arrays) % len(inner) == 0:  # else they are one layer's, as Keras 3 stores them
        share = len(arrays) // len(inner)
        return [
            array
            for i, part in enumerate(inner)
            for array in convert(arrays[i * share : (i + 1) * share], part, vintage)
        ]
    kind = type(layer).__name__
    if len(arrays) == 3 and cudnn.converts(layer, arrays[2].shape):
        arrays = cudnn.convert(arrays, layer)
    if vintage.keras1 and kind in KERAS1:
        arrays = KERAS1[kind].convert(arrays, layer)
    if vintage.backend == "theano":
        for place in FLIPPED.get(kind, ()):
            if place < len(arrays):
                arrays[place] = flip(arrays[place])
    return arrays


def flip(kernel: Array) -> Array:
    """A kernel [spatial..., inputs, filters] turned by 180 degrees: Theano convolves, the others
    correlate."""
    return kernel[(slice(None, None, -1),) * (kernel.ndim - 2)]


# ---------------------------------------------------------------- from a file to a model


@dataclass(frozen=True)
class Group:
    """Arrays of a file that belong together: paths of datasets, in order."""

    name: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """Weights of one layer that stand together in a file."""

    layer: Any
    variables: Variables


class Assignment:
    """Arrays to be assigned once everything fits; what does not fit is told together."""

    def __init__(self, file: Hdf5, vintage: Vintage, skip_mismatch: bool = False) -> None:
        self.file = file
        self.vintage = vintage
        self.skip = skip_mismatch
        self.values: list[tuple[Variable, Array]] = []
        self.wrong: list[str] = []
        self.not_finite: list[str] = []

    def mismatch(self, what: str, expected: str, found: str) -> None:
        self.wrong.append(f"{what}: expected {expected}. Found: {found}")

    def part(self, part: Part, paths: Sequence[str]) -> None:
        """Read the weights of a part, if number, dtypes and shapes are as expected."""
        stored = [self.file.datasets.get(path) for path in paths]
        label, wanted = part.layer.label, [v.shape for v in part.variables]
        if None in stored:
            lost = [path for path, found in zip(paths, stored) if found is None]
            return self.mismatch(label, "its arrays in the file", f"none at {', '.join(lost[:3])}")
        given = [found for found in stored if found is not None]
        shapes = [found.shape for found in given]
        if not self._fits(part, given):
            return self.mismatch(label, f"shapes {wanted}", f"{shapes} in {self.file.name}")
        for inner, bias in self._other_biases(part, given):
            needed = cudnn.refusal(inner)
            if needed is not None:
                return self.mismatch(inner.label, needed, f"weights of cuDNN, with a bias {bias}")
        kinds = {"f": "f", "i": "iu", "u": "iu", "b": "b"}  # of a variable: of what it takes
        for variable, found in zip(part.variables, given):
            if found.dtype.kind not in kinds[variable.value.dtype.kind]:
                return self.mismatch(label, f"{variable.dtype} for {variable.name!r}", f"{found.dtype}")
        read = [self.file.read(path) for path in paths]
        try:
            arrays = convert(read, part.layer, self.vintage)
        except (IndexError, ValueError):  # of axes that are not there
            return self.mismatch(label, f"shapes {wanted}", f"{shapes}")
        if [a.shape for a in arrays] != wanted:
            return self.mismatch(label, f"shapes {wanted}", f"{[a.shape for a in arrays]}")
        with np.errstate(over="ignore"):  # told by layer
            arrays = [np.asarray(a, v.dtype) for v, a in zip(part.variables, arrays)]
        if part.layer.name not in self.not_finite and any(
            a.dtype.kind == "f" and not np.isfinite(a).all() for a in arrays
        ):
            self.not_finite.append(part.layer.name)
        self.values.extend(zip(part.variables, arrays))
        return None

    def _fits(self, part: Part, stored: Sequence[Stored]) -> bool:
        """Before a byte is read: the very shapes, or, of a class that was stored otherwise, as many
        numbers."""
        if [s.shape for s in stored] == [v.shape for v in part.variables]:
            return True
        if len(stored) == len(part.variables) and self._other_biases(part, stored):
            return True
        classes = {type(layer).__name__ for layer in (part.layer, *inner_layers(part.layer))}
        return (
            self.vintage.keras1
            and not classes.isdisjoint(KERAS1)
            and sum(s.size for s in stored) == sum(v.value.size for v in part.variables)
        )

    def _other_biases(self, part: Part, stored: Sequence[Stored]) -> list[tuple[Any, tuple[int, ...]]]:
        """The layers whose arrays are those of cuDNN and they are not, or the other way."""
        layers = inner_layers(part.layer) or [part.layer]
        share = len(stored) // len(layers)
        biases = [stored[k * share + 2].shape for k in range(len(layers))] if share == 3 else []
        return [pair for pair in zip(layers, biases) if cudnn.converts(*pair)]

    def finish(self) -> None:
        """Assign. Raises ModelError, with nothing assigned, where something did not fit."""
        if self.wrong and not self.skip:
            raise ModelError(
                f"{self.file.name}: the weights do not fit the model:"
                + "".join(f"\n- {text}" for text in self.wrong)
            )
        if self.wrong:
            warnings.warn(
                f"{self.file.name}: weights that do not fit were left out:"
                + "".join(f"\n- {text}" for text in self.wrong),
                stacklevel=4,
            )
        for variable, array in self.values:
            variable.assign(array)
        if self.not_finite:
            warnings.warn(
                f"{self.file.name}: weights that are NaN or infinite, in the layers "
                + ", ".join(map(repr, self.not_finite)),
                stacklevel=4,
            )


_RESERVED = ("top_level_model_weights",)  # Keras keeps weights of no layer there


def place_of(name: str) -> str:
    """The path of an HDF5 group or dataset for a name: HDF5 passes over empty parts and ".", a leading
    slash leads out of the group, and NUL ends a name. Most names are their own place."""
    parts = [part for part in printable(name).split("/") if part not in ("", ".")]
    place = "/".join(parts) or "_"
    return f"{place}_" if place in _RESERVED else place


def weights_group(file: Hdf5) -> str:
    """The group of a file that has weights by layer: that of a whole model, or the file itself."""
    alone = file.names("", "layer_names") is not None
    return "model_weights" if "model_weights" in file.attributes and not alone else ""


def is_by_path(file: Hdf5) -> bool:
    """Whether a weights file is laid out by path, as Keras 3 does it."""
    if file.names("", "layer_names") is not None:  # whatever its layers are called
        return False
    return (
        "layers" in file.attributes
        or "_layer_checkpoint_dependencies" in file.attributes
        or ("vars" in file.attributes and file.names("", "layer_names") is None)
    )


# ---------------------------------------------------------------- by layer name


def all_layers(model: Any) -> list[Any]:
    """The layers of a model, of the models inside it, and of their wrappers."""
    found: list[Any] = []
    waiting = list(model._layers)
    while waiting:
        layer = waiting.pop(0)
        waiting = [*(layer._layers if isinstance(layer, Model) else inner_layers(layer)), *waiting]
        found.append(layer)
    return found


def trainable_parts(layer: Any) -> list[Part]:
    """`layer.trainable_weights`, layer by layer."""
    return _parts(layer, {id(v) for v in layer.trainable_weights})


def _parts(layer: Any, wanted: set[int]) -> list[Part]:
    inside = run_inside(layer)
    if inside is None:
        return [Part(layer, [v for v in layer.weights if id(v) in wanted])]
    return [p for inner in inside for p in _parts(inner, wanted)]


def fixed_parts(layer: Any) -> list[Part]:
    """`layer.non_trainable_weights`, layer by layer."""
    inside = run_inside(layer)
    if inside is None:
        return [Part(layer, layer.non_trainable_weights)]
    frozen = layer.semantics.weights_of_inner == "by layer" and not layer.trainable
    if frozen or layer.semantics.trained_weights == "own flag":
        return _parts(layer, {id(v) for v in layer.non_trainable_weights})
    fixed = [p for inner in inside for p in fixed_parts(inner)]
    return fixed if layer.trainable else [*(p for inner in inside for p in trainable_parts(inner)), *fixed]


def parts_of(layer: Any) -> list[Part]:
    """The weights of a layer as all vintages store them: trainable ones before the others."""
    if run_inside(layer) is None:
        return [Part(layer, layer.weights)]
    seen: set[int] = set()
    parts = []
    for part in (*trainable_parts(layer), *fixed_parts(layer)):
        new = [v for v in part.variables if id(v) not in seen]
        seen.update(map(id, new))
        if new:
            parts.append(Part(part.layer, new))
    return parts


def saved_layers(file: Hdf5, group: str) -> list[Group]:
    """The layers of a weights group in the order they were saved, those without weights too."""
    names = file.names(group, "layer_names")
    prefix = f"{group}/" if group else ""
    if names is None:
        count = file.attributes.get(group, {}).get("nb_layers")  # Keras 0.3
        if not isinstance(count, int) or not 0 <= count <= len(file.attributes):
            raise ModelError(describe(file.name, "weights of Keras", "HDF5 without layer_names"))
        return [
            Group(
                f"layer_{k}",
                tuple(f"{prefix}layer_{k}/param_{p}" for p in range(_count(file, f"{prefix}layer_{k}"))),
            )
            for k in range(count)
        ]
    found = []
    for name in names:
        name = place_of(name)
        weights = file.names(prefix + name, "weight_names")
        if weights is None:
            raise ModelError(f"{file.name}: the file is damaged: no weight_names for layer {name!r}")
        found.append(Group(name, tuple(f"{prefix}{name}/{place_of(weight)}" for weight in weights)))
    extra = file.names(f"{prefix}top_level_model_weights", "weight_names")
    if extra:
        raise ModelError(
            describe(file.name, "weights of layers", "weights of the model itself, " + ", ".join(extra[:3]))
        )
    return found


def _count(file: Hdf5, group: str) -> int:
    count = file.attributes.get(group, {}).get("nb_params", 0)
    return count if isinstance(count, int) and 0 <= count <= len(file.datasets) else 0


def load_by_layer(
    model: Any, file: Hdf5, group: str, vintage: Vintage, by_name: bool = False, skip_mismatch: bool = False
) -> None:
    """Weights that are stored by layer. Layers are paired by name where all names agree, or with
    by_name (whose others stay as they are), else in order. Raises ModelError."""
    saved = [layer for layer in saved_layers(file, group) if layer.paths]
    targets = [layer for layer in model.layers if layer.weights]
    assignment = Assignment(file, vintage, skip_mismatch)
    known = {place_of(layer.name): layer for layer in targets}
    if by_name:
        pairs = [(known[s.name], s) for s in saved if s.name in known]
    elif sorted(known) == sorted(s.name for s in saved):
        pairs = [(known[s.name], s) for s in saved]
    elif len(saved) != len(targets):
        raise ModelError(
            describe(
                file.name,
                f"weights of {len(targets)} layers ({_some(t.name for t in targets)})",
                f"weights of {len(saved)} layers ({_some(s.name for s in saved)})",
            )
        )
    else:
        pairs = list(zip(targets, saved))
    for layer, stored in pairs:
        _pair(assignment, layer, stored)
    assignment.finish()


def _pair(assignment: Assignment, layer: Any, stored: Group) -> None:
    """The weights of a layer, or of all layers of a model inside, from one group."""
    parts = parts_of(layer)
    counts = [len(p.variables) for p in parts]
    if assignment.vintage.keras1 and sum(counts) != len(stored.paths):
        counts = [_count1(p.layer) or n for p, n in zip(parts, counts)]
    if sum(counts) != len(stored.paths):
        assignment.mismatch(layer.label, f"{sum(counts)} arrays", str(len(stored.paths)))
        return
    start = 0
    for part, count in zip(parts, counts):
        assignment.part(part, stored.paths[start : start + count])
        start += count


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")


# ---------------------------------------------------------------- in the order of get_weights


def load_in_order(model: Any, arrays: Sequence[Array], name: str) -> None:
    """Arrays as `get_weights` gives them, checked as those of an HDF5 file. Raises ModelError."""
    stored = {str(i): Stored(a.shape, a.dtype) for i, a in enumerate(arrays)}
    assignment = Assignment(Hdf5(name, {}, stored, lambda path: arrays[int(path)]), Vintage((3,)))
    if len(arrays) != len(model.weights):
        raise ModelError(
            describe(name, f"{len(model.weights)} arrays, as {model.label} has weights", str(len(arrays)))
        )
    owners = {id(v): layer for layer in all_layers(model) for v in layer.weights}
    for i, variable in enumerate(model.weights):
        assignment.part(Part(owners[id(variable)], [variable]), [str(i)])
    assignment.finish()


# ---------------------------------------------------------------- by path


_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")


def path_names(layers: Sequence[Any]) -> list[str]:
    """The names Keras 3 gives to the groups of layers: the class, with a number behind."""
    used: dict[str, int] = {}
    names = []
    for layer in layers:
        name = _snake(layer)
        names.append(f"{name}_{used[name]}" if name in used else name)
        used[name] = used.get(name, 0) + 1
    return names


def _snake(layer: Any) -> str:
    if isinstance(layer, Model):
        merged = isinstance(layer, Sequential) and layer.functional  # it is read again as a Model
        return "functional" if type(layer) is Model or merged else snake_case(type(layer).__name__)
    return snake_case(type(layer).__name__)


def load_by_path(model: Any, file: Hdf5, skip_mismatch: bool = False) -> None:
    """Weights that are stored by path. Raises ModelError, also for weights that no layer takes."""
    assignment = Assignment(file, Vintage((3,)), skip_mismatch)
    taken: set[str] = set()
    owned: dict[int, list[Any]] = {}
    _claim(model, {id(model)}, owned)
    _load_container(model, "", assignment, taken, owned)
    left = [
        path
        for container in _CONTAINERS
        for path in file.inside(container)
        if path not in taken and "seed_generator" not in path
    ]
    if left and not assignment.wrong:
        assignment.mismatch(model.label, "no other weights", _some(left))
    assignment.finish()


def _claim(layer: Any, seen: set[int], owned: dict[int, list[Any]]) -> bool:
    """Which layers have their weights in the group of the model or wrapper that holds them: a shared one
    where it is first met. Gives whether there are any."""
    inside = layer._layers if isinstance(layer, Model) else [part for _, part in held(layer)]
    mine = owned[id(layer)] = []
    for inner in inside:
        if id(inner) not in seen:
            seen.add(id(inner))
            if _claim(inner, seen, owned):
                mine.append(inner)
    return bool(mine) or bool(own_variables(layer))


def _load_group(
    layer: Any, owner: Any, group: str, assignment: Assignment, taken: set[str], owned: dict[int, list[Any]]
) -> None:
    """The weights of a layer and of those that it holds. owner: whom errors name."""
    if isinstance(layer, Model):
        return _load_container(layer, group, assignment, taken, owned)
    if own := own_variables(layer):
        paths = vars_of(assignment.file, group)
        taken.update(paths)
        assignment.part(Part(owner, own), paths)
    for place, part in held(layer):
        if f"{group}/{place}" in assignment.file.filled or any(part is mine for mine in owned[id(layer)]):
            _load_group(part, owner, f"{group}/{place}", assignment, taken, owned)
    return None


def _load_container(
    model: Any, path: str, assignment: Assignment, taken: set[str], owned: dict[int, list[Any]]
) -> None:
    """The layers of a model, class by class: the n-th group of a class that has weights belongs to the
    n-th such layer. A layer that another model holds too has them in both groups where we wrote the
    file, where Keras did in the first alone."""
    prefix = f"{path}/" if path else ""
    container = next(
        (f"{prefix}{name}" for name in _CONTAINERS if f"{prefix}{name}" in assignment.file.attributes), None
    )
    layers: dict[str, list[Any]] = {}
    for layer in model._layers:
        if layer.weights:
            layers.setdefault(_snake(layer), []).append(layer)
    for name, members in layers.items():
        groups = _numbered(assignment.file, container, name) if container else []
        if not groups and name == "functional" and container:
            groups = _numbered(assignment.file, container, "model")
        if len(groups) != len(members):
            members = [layer for layer in members if any(layer is mine for mine in owned[id(model)])]
        if len(groups) != len(members):
            for layer in members:
                assignment.mismatch(
                    layer.label, f"one of {len(members)} groups {name!r} in the file", f"{len(groups)}"
                )
            continue
        for layer, group in zip(members, groups):
            _load_group(layer, layer, group, assignment, taken, owned)


def _numbered(file: Hdf5, container: str, name: str) -> list[str]:
    """The groups name, name_1, name_2, ... that hold weights, in the order of their numbers."""
    found = {}
    pattern = re.compile(re.escape(f"{container}/{name}") + r"(?:_(\d{1,9}))?")
    for path in file.filled:
        if matched := pattern.fullmatch(path):
            found[int(matched.group(1) or 0)] = path
    return [path for _, path in sorted(found.items())]


def vars_of(file: Hdf5, group: str) -> list[str]:
    """The paths of the arrays 0, 1, 2, ... of a group."""
    paths: list[str] = []
    while (path := f"{group}/vars/{len(paths)}") in file.datasets:
        paths.append(path)
    return paths

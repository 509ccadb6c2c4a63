"""Weights that a file has by the names of layers: Keras 1, 2, tf.keras, and .h5 of Keras 3.

Enters: a checked HDF5 file, a built model and the vintage of the file. Leaves: the weights assigned; names of
groups and datasets for those who write such a file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from kcompile.files.reader import Hdf5
from kcompile.files.vintage import Vintage
from kcompile.files.weights.assignment import Assignment, Part
from kcompile.files.weights.conversion import FLIPPED, convert, stored_count
from kcompile.files.weights.inside import run_inside
from kcompile_runtime.arrays import Array
from kcompile_runtime.errors import ModelError, describe
from kcompile_runtime.texts import printable


@dataclass(frozen=True)
class Group:
    """Arrays of a file that belong together: paths of datasets, in order."""

    name: str
    paths: tuple[str, ...]


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
        return [Part(layer, [*layer.trainable_weights, *layer.non_trainable_weights])]
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
    model: Any,
    file: Hdf5,
    group: str,
    vintage: Vintage,
    by_name: bool = False,
    skip_mismatch: bool = False,
    reshape: bool = False,
    taken: Collection[str] = (),
) -> None:
    """Weights that are stored by layer. taken: paths of arrays that are none. Layers are paired by
    name where all names agree, or with by_name (whose others stay as they are), else in order. Raises
    ModelError."""
    found = [(s.name, tuple(p for p in s.paths if p not in taken)) for s in saved_layers(file, group)]
    saved = [Group(name, paths) for name, paths in found if paths]
    targets = [layer for layer in model.owned_layers if layer.weights]
    assignment = Assignment(file, vintage, skip_mismatch, reshape)
    known = {place_of(layer.name): layer for layer in targets}
    if by_name:
        pairs = [(known[s.name], s) for s in saved if s.name in known]
    elif sorted(known) == sorted(s.name for s in saved):
        pairs = [(known[s.name], s) for s in saved]
    elif len(saved) != len(targets):
        raise ModelError(
            describe(
                file.name,
                f"weights of {len(targets)} layers ({some(t.name for t in targets)})",
                f"weights of {len(saved)} layers ({some(s.name for s in saved)})",
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
        counts = [stored_count(p.layer) or n for p, n in zip(parts, counts)]
    if sum(counts) != len(stored.paths):
        assignment.mismatch(layer.label, f"{sum(counts)} arrays", str(len(stored.paths)))
        return
    start = 0
    for part, count in zip(parts, counts):
        assignment.part(part, stored.paths[start : start + count])
        start += count


def converted(layer: Any, arrays: Sequence[Array], vintage: Vintage, reshape: bool) -> list[Array]:
    """The weights of a layer, or of all layers of a model, as it has them. reshape: kernels take another
    shape for as many numbers. Raises ModelError."""
    parts, found, start = parts_of(layer), [], 0
    counts = [len(p.variables) for p in parts]
    if vintage.keras1 and sum(counts) != len(arrays):
        counts = [stored_count(p.layer) or n for p, n in zip(parts, counts)]
    if sum(counts) != len(arrays):
        raise ModelError(describe(layer.label, f"{sum(counts)} arrays", str(len(arrays))))
    for part, count in zip(parts, counts):
        made = convert(list(arrays[start : start + count]), part.layer, vintage)
        start += count
        for place in FLIPPED.get(type(part.layer).__name__, ()):
            made[place] = _kernel(made[place], part.shapes[place], part.layer.label, reshape)
        found += made
    return found


def _kernel(array: Array, shape: tuple[int, ...], label: str, reshape: bool) -> Array:
    """A kernel of this shape; of another shape, one of images in Theano's order."""
    if array.shape == shape:
        return array
    if reshape and array.size == prod(shape):
        return array.reshape(shape)
    turned = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
    if reshape or turned.shape != shape:
        raise ModelError(describe(f"{label}: weights", f"shape {shape}", f"shape {array.shape}"))
    return turned


def some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")

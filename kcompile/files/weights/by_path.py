"""Weights that a file has by path: Keras 3's .keras and .weights.h5.

Enters: a checked HDF5 file and a built model. Leaves: the weights assigned. A group is found by the class of
its layer and a number, in the order of the model's layers.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from kcompile.files import own_classes
from kcompile.files.reader import Hdf5
from kcompile.files.vintage import Vintage
from kcompile.files.weights.assignment import Assignment, Part
from kcompile.files.weights.by_layer import some
from kcompile.files.weights.inside import class_group, groups, held, own_variables
from kcompile.keras.models import Model
from kcompile.keras.settings import snake_case


def is_by_path(file: Hdf5) -> bool:
    """Whether a weights file is laid out by path, as Keras 3 does it."""
    if file.names("", "layer_names") is not None:  # whatever its layers are called
        return False
    return (
        "layers" in file.attributes
        or "_layer_checkpoint_dependencies" in file.attributes
        or "vars" in file.attributes
    )


_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")


def load_by_path(
    model: Any, file: Hdf5, skip_mismatch: bool = False, reshape: bool = False, known: Collection[str] = ()
) -> None:
    """Weights that are stored by path. known: paths of arrays that are none, and were taken.
    Raises ModelError, also for weights that no layer takes."""
    assignment = Assignment(file, Vintage((3,)), skip_mismatch, reshape)
    taken: set[str] = set(known)
    owned: dict[int, list[Any]] = {}
    if model.subclassed and _by_attribute(model, assignment, taken):
        assignment.finish()
        return
    _claim(model, {id(model)}, owned)
    _load_container(model, "", assignment, taken, owned)
    left = [
        path
        for container in _CONTAINERS
        for path in file.inside(container)
        if path not in taken and "seed_generator" not in path
    ]
    if left and not assignment.wrong:
        assignment.mismatch(model.label, "no other weights", some(left))
    assignment.finish()


def _by_attribute(model: Any, assignment: Assignment, taken: set[str]) -> bool:
    """The weights of a model by subclassing, whose groups are the attributes of the class. False for a file
    of another layout, as this version wrote it first."""
    file = assignment.file
    placed = list(groups(model))
    wanted = [
        (path, layer, own)
        for path, layer in placed
        if (own := own_variables(layer)) and not own_classes.stores(layer)
    ]
    if not any(path in file.filled for path, _, _ in wanted):
        return False
    for path, layer in placed:
        if own_classes.stores(layer):
            taken.update(_stored(layer, path, assignment))
    for path, layer, own in wanted:
        paths = vars_of(file, path)
        taken.update(paths)
        if path and not paths:
            assignment.mismatch(layer.label, f"a group {path!r} in the file", "none")
        else:
            assignment.part(Part(layer, own), paths)
            assignment.part_of_kernel(layer)
    others = ("optimizer", "seed_generator")
    left = [p for p in file.datasets if p not in taken and not any(word in p for word in others)]
    if left and not assignment.wrong:
        assignment.mismatch(model.label, "no other weights", some(left))
    return True


def _stored(layer: Any, group: str, assignment: Assignment) -> list[str]:
    """Lets a class of the user's read what it stored, once the rest fits. Gives the paths of the arrays."""
    file, inside = assignment.file, f"{group}/vars/".lstrip("/")
    paths = [path for path in file.datasets if path.startswith(inside)]
    assignment.later.append(
        lambda: layer.load_own_variables({p.removeprefix(inside): file.read(p) for p in paths})
    )
    return paths


def _claim(layer: Any, seen: set[int], owned: dict[int, list[Any]]) -> bool:
    """Note in `owned` which layers have their weights in the group of the model or wrapper that holds them:
    a shared layer where it is first met. Gives whether the layer has any weights of its own or below."""
    inside = layer._layers if isinstance(layer, Model) else [part for _, part in held(layer)]
    mine = owned[id(layer)] = []
    for inner in inside:
        if id(inner) not in seen:
            seen.add(id(inner))
            if _claim(inner, seen, owned):
                mine.append(inner)
    return bool(mine) or bool(own_variables(layer)) or own_classes.stores(layer)


def _load_group(
    layer: Any, owner: Any, group: str, assignment: Assignment, taken: set[str], owned: dict[int, list[Any]]
) -> None:
    """The weights of a layer and of those that it holds. owner: whom errors name."""
    if isinstance(layer, Model):
        return _load_container(layer, group, assignment, taken, owned)
    if own_classes.stores(layer):
        taken.update(_stored(layer, group, assignment))
    elif own := own_variables(layer):
        paths = vars_of(assignment.file, group)
        taken.update(paths)
        assignment.part(Part(owner, own), paths)
        assignment.part_of_kernel(layer)
    for place, part in held(layer):
        names = (f"{group}/{place}", f"{group}/_{place}")  # tf.keras has private attributes
        path = next((path for path in names if path in assignment.file.filled), None)
        if path is not None or any(part is mine for mine in owned[id(layer)]):
            _load_group(part, owner, path or names[0], assignment, taken, owned)
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
        if layer.weights or own_classes.stores(layer):
            layers.setdefault(class_group(layer), []).append(layer)
    for name, members in layers.items():
        groups = _numbered(assignment.file, container, name) if container else []
        if not groups and container:  # in files of earlier Kerases, and of kcompile 0.1
            older = "model" if name == "functional" else snake_case(type(members[0]).__name__)
            groups = _numbered(assignment.file, container, older)
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
    while (path := f"{group}/vars/{len(paths)}".lstrip("/")) in file.datasets:
        paths.append(path)
    return paths

"""The data of a step of a model's own: structures of arrays, as they are given.

Enters: what fit, evaluate, train_on_batch, ... are given, or a batch that an object of batches gives. Leaves:
the arrays at the ends of the structure, in order, and a `Signature`, which says where they stand and of which
types they are: for each signature the step is traced once, with tensors in place of the arrays. Floats are in
floatx, whole numbers in 32 bits, and nothing else is changed: labels [n] stay so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kcompile.ir.graph import Graph
from kcompile.ir.types import Batch, TensorType, numel
from kcompile.keras.settings import floatx
from kcompile_runtime.arrays import Array, aligned_copy, as_array
from kcompile_runtime.errors import InputError, ModelError, describe


def check_pairs(graph: Graph) -> None:
    """Raises ModelError where a tensor has a value for each pair of samples, whose number is not known."""
    try:
        for node in graph.nodes.values():
            for type in node.types:
                numel(type.shape)
    except ValueError as error:
        raise ModelError(str(error)) from error


@dataclass(frozen=True)
class Part:
    """The k-th array."""

    number: int


@dataclass(frozen=True)
class Tree:
    """A list, a tuple or a dict (with its keys) of parts, of None and of such."""

    kind: str
    members: tuple[Any, ...]
    keys: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Signature:
    """Of which structure data are, and of which types their arrays. samples: None where the step is for
    batches of any size, else the size that it is for (of the first array)."""

    tree: Any
    types: tuple[TensorType, ...]
    samples: int | None = None

    @property
    def names(self) -> list[str]:
        """The names of the arrays, as inputs of a graph."""
        return [f"data:{k}" for k in range(len(self.types))]

    def of_size(self, n: int) -> Signature:
        """The same for batches of one size."""
        fixed = tuple(t.with_shape((n, *t.shape[1:])) for t in self.types)
        return replace(self, types=fixed, samples=n)

    def filled(self, values: Sequence[Any]) -> Any:
        """The structure, with values in place of the arrays."""
        return _filled(self.tree, values)


def packed(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """x, y and sample_weight as the data of a step: x alone, (x, y), or all three."""
    if y is None and sample_weight is None:
        return (x,) if isinstance(x, (list, tuple)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpacked(data: Any) -> tuple[Any, Any, Any]:
    """(x, y, sample_weight) of the data of a step, None for what there is not. Raises InputError."""
    if not isinstance(data, (list, tuple)):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise InputError(
            describe("data of a step", "x, (x,), (x, y) or (x, y, sample_weight)", str(len(data)))
        )
    x, y, weight = (*data, None, None)[:3]
    return x, y, weight


def weighted(data: Any, class_weight: Any) -> Any:
    """The data, with the weights of classes for weights of samples. Raises InputError."""
    if class_weight is None:
        return data
    x, y, weight = unpacked(data)
    if weight is not None:
        raise InputError("class_weight and sample_weight cannot be given at once, as in Keras")
    if not isinstance(class_weight, Mapping) or not all(
        isinstance(w, (int, float)) for w in class_weight.values()
    ):
        raise InputError(describe("class_weight", "a dict from class to weight", repr(class_weight)))
    if y is None or isinstance(y, (list, tuple, dict)):
        raise InputError("class_weight: the data must have labels of one output. Give sample_weight")
    labels = as_array(y, "labels")
    classes = labels.argmax(-1) if labels.ndim > 1 and labels.shape[-1] > 1 else labels.reshape(len(labels))
    return x, y, np.array([class_weight.get(int(c), 1.0) for c in classes], floatx())


def taken(data: Any, uneven: bool = False) -> tuple[Signature, list[Array], int]:
    """The signature and the arrays of data, and the number of samples. uneven: a batch may be of arrays of
    several numbers, as of labelled and unlabelled samples: the signature is then of these numbers alone.
    Raises InputError, InputTypeError.
    """
    arrays: list[Array] = []
    tree = _tree(data, lambda x: arrays.append(_array(x, len(arrays))))
    counts = {len(a) for a in arrays}
    if not counts or 0 in counts or (len(counts) > 1 and not uneven):
        found = ", ".join(str(a.shape) for a in arrays) or "no arrays"
        raise InputError(describe("data", "arrays of the same number of samples, at least one", found))
    if len(counts) > 1:
        fixed = tuple(TensorType(a.shape, a.dtype.name) for a in arrays)
        return Signature(tree, fixed, len(arrays[0])), arrays, len(arrays[0])
    types = tuple(TensorType((Batch(), *a.shape[1:]), a.dtype.name) for a in arrays)
    return Signature(tree, types), arrays, counts.pop()


def _array(x: Any, number: int) -> Array:
    found = as_array(x, f"data: array {number + 1}")
    if not found.ndim:
        raise InputError(describe(f"data: array {number + 1}", "an axis of samples", "a number"))
    if found.dtype.kind in "iu":
        limits = np.iinfo(np.int32)
        if (
            found.dtype.itemsize > 2
            and found.size
            and not (limits.min <= found.min() and found.max() <= limits.max)
        ):
            wanted = "whole numbers of 32 bits"
            raise InputError(describe(f"data: array {number + 1}", wanted, f"{found.min()} to {found.max()}"))
        return np.ascontiguousarray(found, np.int32)
    kind = "bool" if found.dtype.kind == "b" else floatx()
    return aligned_copy(found.astype(kind)) if found.dtype != kind else np.ascontiguousarray(found)


def _tree(data: Any, take: Callable[[Any], None]) -> Any:
    """The structure of data, whose arrays are taken one after the other; dicts by their sorted keys."""
    count = 0

    def walk(x: Any) -> Any:
        nonlocal count
        if x is None:
            return None
        if isinstance(x, Mapping):
            keys = tuple(sorted(x))
            return Tree("dict", tuple(walk(x[key]) for key in keys), keys)
        if isinstance(x, (list, tuple)) and not _is_numbers(x):
            return Tree("list" if isinstance(x, list) else "tuple", tuple(map(walk, x)))
        take(x)
        count += 1
        return Part(count - 1)

    return walk(data)


def _is_numbers(x: Sequence[Any]) -> bool:
    """Whether a list is an array written out."""
    return bool(x) and isinstance(x[0], (int, float, bool, np.generic))


def _filled(tree: Any, values: Sequence[Any]) -> Any:
    if isinstance(tree, Part):
        return values[tree.number]
    if not isinstance(tree, Tree):
        return tree
    members = [_filled(member, values) for member in tree.members]
    if tree.kind == "dict":
        return dict(zip(tree.keys, members))
    return members if tree.kind == "list" else tuple(members)

"""Sizes that only the data say: axes of inputs, besides the batch, that are None.

While a model is put together such an axis has two sizes in turn, the probes, and each tensor has a
type for both: what differs between them is unknown. Graphs are made for sizes in earnest, the
`Lengths` of a call: for each input, the sizes of its unknown axes; `()` where all sizes are known.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

import numpy as np

from kcompile.ir.types import TensorType
from kcompile.keras.tensors import is_integer
from kcompile_runtime.errors import InputError, describe

Lengths = tuple[tuple[int, ...], ...]
T = TypeVar("T")
Keyed = TypeVar("Keyed", bound=tuple[Hashable, Any])

KEPT = 16  # programs of an entry, for as many different lengths


def lengths_of(model: Any, arrays: Sequence[np.ndarray]) -> Lengths:
    """The lengths of arrays that fit the model's inputs; more arrays may follow."""
    if not model.varies:
        return ()
    return tuple(tuple(array.shape[axis] for axis in x.unknown_axes)
                 for x, array in zip(model.inputs, arrays))


def probe_lengths(model: Any) -> Lengths:
    """Those of the first probe: results have the names that they have at any others."""
    return tuple(tuple(x.type.shape[axis] for axis in x.unknown_axes)
                 for x in model.inputs) if model.varies else ()


def checked_lengths(model: Any, given: Any) -> Lengths:
    """What a user gives as lengths: the unknown sizes in the order of inputs and their axes, as a
    number, or a list that may be nested. Raises InputError."""
    axes = [x.unknown_axes for x in model.inputs]
    count = sum(map(len, axes))
    sizes = [] if given is None else _flat(given)
    if len(sizes) != count or not all(is_integer(d) and d > 0 for d in sizes):
        unknown = ", ".join(f"input {x.name!r} of shape {x.shape}" for x in model.inputs
                            if x.unknown_axes)
        wanted = (f"lengths={count} positive sizes, for those not known of {unknown}" if count
                  else "no lengths, as all sizes are known")
        raise InputError(describe(
            f"model {model.name!r}", wanted, "none" if given is None else f"lengths={given!r}",
            "Give lengths=, or build the model with fixed sizes" if count else ""))
    if not count:
        return ()
    rest = iter(map(int, sizes))
    return tuple(tuple(next(rest) for _ in each) for each in axes)


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        return [value]
    return [x for part in value for x in _flat(part)]


def types_at(model: Any, lengths: Lengths) -> list[TensorType]:
    """The types of the inputs at these lengths."""
    if not lengths:
        return [x.type for x in model.inputs]
    return [x.at(sizes) for x, sizes in zip(model.inputs, lengths)]


def recent(table: dict[Keyed, T], key: Keyed) -> T | None:
    """The value of a key, which is now the one used last; None where there is none."""
    value = table.pop(key, None)
    if value is not None:
        table[key] = value
    return value


def keep(table: dict[Keyed, T], key: Keyed, value: T) -> T:
    """Put a value in. Of keys that begin alike, the `KEPT` used last remain."""
    table[key] = value
    alike = [k for k in table if k[0] == key[0]]
    for old in alike[:-KEPT]:
        del table[old]
    return value

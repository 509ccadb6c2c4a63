"""Sizes that only the data say: axes of inputs, besides the batch, that are None.

While a model is put together such an axis has two sizes in turn, the probes, and each tensor has a
type for both: what differs between them is unknown. Graphs are made for sizes in earnest, the
`Lengths` of a call: for each input, the sizes of its unknown axes; `()` where all sizes are known.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from kcompile.ir.graph import Graph
from kcompile.ir.types import TensorType
from kcompile.keras.step_data import Signature
from kcompile.keras.tensors import KerasShape, KerasTensor, as_batch, is_integer
from kcompile_runtime.errors import InputError, describe

Lengths = tuple[tuple[int, ...], ...]
T = TypeVar("T")
Key = tuple[Hashable, Any]

MEMORY = 512 * 1024 * 1024  # bytes that an engine keeps for all lengths, beside variables
NODE = 6000  # bytes of a node of a graph with what belongs to it, as measured


def lengths_of(model: Any, arrays: Sequence[np.ndarray], entry: str = "predict") -> Any:
    """The lengths of arrays that fit the model's inputs; more arrays may follow. Of a step of the model's own
    the signature of the data seen last."""
    if entry in model.own_steps:
        return model.signature(entry, len(arrays[0]))
    if not model.varies:
        return ()
    return tuple(tuple(array.shape[axis] for axis in x.unknown_axes) for x, array in zip(model.fed, arrays))


def probe_lengths(model: Any) -> Lengths:
    """The lengths of the first probe, for what does not depend on them (the names of results)."""
    return (
        tuple(tuple(x.type.shape[axis] for axis in x.unknown_axes) for x in model.fed) if model.varies else ()
    )


def checked_lengths(model: Any, given: Any, entry: str = "predict") -> Any:
    """The lengths that a user gives: the unknown sizes in the order of inputs and their axes, as a number,
    or a list that may be nested; of a step of the model's own the signature of data. Raises InputError."""
    if entry in model.own_steps:
        return given if isinstance(given, Signature) else model.signature(entry)
    axes = [x.unknown_axes for x in model.fed]
    count = sum(map(len, axes))
    sizes = [] if given is None else _flat(given)
    if len(sizes) != count or not all(is_integer(d) and d > 0 for d in sizes):
        unknown = ", ".join(f"input {x.name!r} of shape {x.shape}" for x in model.fed if x.unknown_axes)
        wanted = (
            f"lengths={count} positive sizes, for those not known of {unknown}"
            if count
            else "no lengths, as all sizes are known"
        )
        raise InputError(
            describe(
                f"model {model.name!r}",
                wanted,
                "none" if given is None else f"lengths={given!r}",
                "Give lengths=, or build the model with fixed sizes" if count else "",
            )
        )
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
        return [x.batch_type for x in model.fed]
    return [as_batch(x.at(sizes), x.batch_size) for x, sizes in zip(model.fed, lengths)]


def graph_bytes(graph: Graph) -> int:
    """About what a graph takes, with its bodies."""
    return sum(
        NODE + sum(graph_bytes(v) for v in node.attrs.values() if isinstance(v, Graph))
        for node in graph.live()
    )


class LruCache(Generic[T]):
    """A least-recently-used cache by (entry, lengths), bounded by `MEMORY`; the latest value of each entry
    stays, however large.

    size: the bytes of a value. They may grow in use, as workspaces do, so a value is measured when
    another one is used. shared: bytes that belong to several.
    """

    def __init__(self, size: Callable[[T], int], shared: Callable[[], int] = lambda: 0) -> None:
        self._values: OrderedDict[Key, T] = OrderedDict()  # used longest ago first
        self._sizes: dict[Key, int] = {}
        self._size, self._shared = size, shared
        self._latest: Key | None = None

    def get(self, key: Key) -> T | None:
        """The value of a key, which is now the one used last; None where there is none."""
        value = self._values.get(key)
        if value is not None and key != self._latest:
            self._use(key)
        return value

    def put(self, key: Key, value: T) -> T:
        self._values[key] = value
        self._use(key)
        return value

    def forget(self, entries: Iterable[Hashable]) -> None:
        """Forget the values of these entries."""
        gone = set(entries)
        for key in [k for k in list(self._values) if k[0] in gone]:
            self._drop(key)

    def values(self) -> list[T]:
        return list(self._values.values())

    def order(self) -> list[Key]:
        """The keys, those used longest ago first."""
        return list(self._values)

    def measure(self, key: Key | None) -> None:
        """Note what the value of a key takes now, and make room."""
        value = None if key is None else self._values.get(key)
        if key is not None and value is not None:
            self._sizes[key] = self._size(value)
        total = self._shared() + sum(list(self._sizes.values()))
        if total <= MEMORY:
            return
        keys = list(self._values)
        last = {k[0]: k for k in keys}
        for old in keys:
            if total > MEMORY and last[old[0]] != old:
                total -= self._sizes.get(old, 0)
                self._drop(old)

    def _use(self, key: Key) -> None:
        try:
            self._values.move_to_end(key)
        except KeyError:  # another thread forgot it
            return
        before, self._latest = self._latest, key
        if key not in self._sizes:
            self.measure(key)
        self.measure(before)

    def _drop(self, key: Key) -> None:
        self._values.pop(key, None)
        self._sizes.pop(key, None)


def shapes_of(x: Any, keys: Sequence[str] | None, count: int) -> list[KerasShape]:
    """The shapes of the arrays of so many inputs, by these keys where they are named."""
    if isinstance(x, Mapping):
        values = [x[key] for key in keys or () if key in x]
    else:
        values = list(x) if isinstance(x, (list, tuple)) and len(x) == count > 1 else [x]
    return [tuple(getattr(value, "shape", ())) for value in values]


def wider(inputs: Sequence[KerasTensor], shapes: Sequence[KerasShape]) -> list[KerasShape] | None:
    """The shapes of inputs that take these too: None stands where sizes differ. None where all fit, or
    numbers of axes differ."""
    if [len(shape) for shape in shapes] != [x.ndim for x in inputs]:
        return None
    pairs = [list(zip(x.shape[1:], shape[1:])) for x, shape in zip(inputs, shapes)]
    if all(a is None or a == b for pair in pairs for a, b in pair):
        return None
    return [(x.shape[0], *(a if a == b else None for a, b in pair)) for x, pair in zip(inputs, pairs)]

"""Arrays that a `GradientTape` watches: inside it, operators on them are those of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kcompile.ir.tensor import UFUNCS
from kcompile.keras.eager import EagerArray, EagerTensor
from kcompile.keras.operands import tensor
from kcompile.keras.tracing import current


class WatchedArray(EagerArray):
    """An array with the operators of tensors, where a tape notes."""


class WatchedTensor(EagerTensor):
    """The same of a tensor of TensorFlow."""


WATCHED: dict[type, type] = {EagerArray: WatchedArray, EagerTensor: WatchedTensor}


def _operator(kind: type, name: str) -> Callable[..., Any]:
    of_arrays = getattr(kind, name)

    def apply(self: Any, *operands: Any) -> Any:
        graph = current()
        if graph is None or not graph.eager:
            return of_arrays(self, *operands)
        return getattr(tensor(self), name)(*operands)

    return apply


_BINARY = [*UFUNCS.values()]
_REFLECTED = [f"r{name}" for name in _BINARY if hasattr(EagerArray, f"__r{name}__")]
for _kind, _watched in WATCHED.items():
    for _name in (*_BINARY, *_REFLECTED, "neg", "abs", "invert", "getitem"):
        setattr(_watched, f"__{_name}__", _operator(_kind, f"__{_name}__"))

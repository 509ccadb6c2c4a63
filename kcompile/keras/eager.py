"""Arrays as calls on arrays give them: since tf.keras they are tensors, which have a method `numpy`.

`EagerArray`: those of Keras 3. `EagerTensor`: those of TensorFlow, of which functions of tf, elements of
tf.data and models of tf.keras are; they are printed as TensorFlow prints them, and their dtype holds where
they meet numbers and arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kcompile.ir.described import StaticShape, TensorShape
from kcompile.keras.editions import edition
from kcompile.keras.settings import computes_at_once, values_at_once


class EagerArray(np.ndarray):
    """An array with the method `numpy` of tensors. Parts of it are such arrays too, single numbers among
    them."""

    def set_shape(self, shape: object) -> None:
        """Nothing: it has its shape."""

    def get_shape(self) -> StaticShape:
        """TensorFlow's name of `shape`."""
        return TensorShape(self.shape)

    def numpy(self) -> Any:
        """The array; of rank 0 numpy's number; texts as bytes."""
        found = as_bytes(self.view(np.ndarray))
        return found if found.ndim else found[()]

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Functions of numpy's give numpy's arrays and numbers."""
        return func(*_plain(args), **_plain(kwargs))

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return found if isinstance(found, np.ndarray) else np.asarray(found, self.dtype).view(type(self))

    def __iter__(self) -> Iterator[Any]:
        if not self.ndim:
            raise TypeError("a tensor of rank 0 cannot be iterated over")
        return (self[k] for k in range(len(self)))


def _plain(given: Any) -> Any:
    """Arrays as numpy has them, in lists, tuples and dicts."""
    if isinstance(given, EagerArray):
        return given.view(np.ndarray)
    if type(given) in (list, tuple):
        return type(given)(map(_plain, given))
    return {key: _plain(value) for key, value in given.items()} if type(given) is dict else given


def as_bytes(array: np.ndarray) -> np.ndarray:
    """Texts as bytes, as TensorFlow gives them; numbers as they are."""
    if array.dtype.kind not in "UO":
        return array
    made = np.empty(array.size, object)
    made[:] = [x.encode() if isinstance(x, str) else x for x in array.ravel().tolist()]
    return made.reshape(array.shape)


class EagerTensor(EagerArray):
    """An array as a tensor of TensorFlow."""

    @property  # type: ignore[misc]
    def shape(self) -> TensorShape:  # type: ignore[override]
        """The sizes, which say more of themselves than a tuple does."""
        return TensorShape(self.view(np.ndarray).shape)

    def __repr__(self) -> str:
        return f"<tf.Tensor: shape={tuple(self.shape)}, dtype={_kind(self)}, numpy={_printed(self)}>"

    def __str__(self) -> str:
        text = repr(self.numpy()) if not self.ndim and _kind(self) == "string" else str(self.numpy())
        lines = f"\n{text}" if "\n" in text else text
        return f"tf.Tensor({lines}, shape={tuple(self.shape)}, dtype={_kind(self)})"

    def __format__(self, spec: str) -> str:
        return format(self.numpy(), spec)

    def ref(self) -> Any:
        """What stands for it in sets and dicts."""
        return _Reference(self)

    @property
    def device(self) -> Any:
        """Where it is, in TensorFlow's words."""
        return "/job:localhost/replica:0/task:0/device:CPU:0"

    def gpu(self) -> Any:
        """The tensor: there is one place."""
        return self

    def cpu(self) -> Any:
        """The tensor: there is one place."""
        return self


class _Reference:
    """What stands for a tensor in sets and dicts."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor

    def deref(self) -> Any:
        """The tensor."""
        return self._tensor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reference) and self._tensor is other._tensor

    def __hash__(self) -> int:
        return id(self._tensor)


def _kind(array: np.ndarray) -> str:
    return "string" if array.dtype.kind in "USO" else array.dtype.name


def _printed(array: EagerTensor) -> str:
    found = array.numpy()
    if isinstance(found, np.ndarray):
        text = repr(found)
        return f"\n{text}" if "\n" in text else text
    return repr(found) if isinstance(found, bytes) else str(found)


def _operator(name: str) -> Callable[[Any, Any], Any]:
    of_arrays: Callable[[Any, Any], Any] = getattr(np.ndarray, name)

    def operator(self: EagerTensor, other: Any) -> Any:
        numbers = self.dtype.kind in "fiub"
        if (numbers and type(other) in (np.ndarray, list, tuple)) or isinstance(other, np.generic):
            other = np.asarray(other)
            fits = other.dtype.kind in "fiub" and np.can_cast(other.dtype, self.dtype, "same_kind")
            other = other.astype(self.dtype) if fits else other
        elif not numbers and isinstance(other, bytes):
            other = other.decode()
        made = of_arrays(self, other)
        of_a_variable = hasattr(other, "assign") and hasattr(made, "layer")  # a value, outside of any graph
        return np.asarray(made).view(EagerTensor) if of_a_variable or isinstance(made, np.generic) else made

    operator.__name__ = name
    return operator


def _anew(name: str) -> Callable[[Any, Any], Any]:
    """x += y, which makes another tensor: whoever else holds x keeps it as it is."""

    def operator(self: EagerArray, other: Any) -> Any:
        return getattr(self, name)(other)

    return operator


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    for _side in ("", "r"):
        setattr(EagerTensor, f"__{_side}{_name}__", _operator(f"__{_side}{_name}__"))
    setattr(EagerArray, f"__i{_name}__", _anew(f"__{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(EagerTensor, f"__{_name}__", _operator(f"__{_name}__"))


class CalledArray(EagerTensor):
    """The array of a variable, which `variable.value()` gives once more."""

    def __call__(self) -> np.ndarray:
        return self


def as_eager(found: Any, vintage: str) -> Any:
    """An array, or a list, tuple or dict of them, as a call in this vintage gives it."""
    if not edition(vintage).eager:
        return found
    kind = EagerTensor if edition(vintage).eager == "tensors" else EagerArray
    if isinstance(found, dict):
        return {key: as_eager(a, vintage) for key, a in found.items()}
    if isinstance(found, (list, tuple)):
        return type(found)(as_eager(a, vintage) for a in found)
    return found.view(kind)


def at_once(array: np.ndarray) -> np.ndarray:
    """An array as what values are in the script's Keras, where it computes at once."""
    if not computes_at_once():
        return array
    return array.view(EagerArray if values_at_once() == "arrays" else EagerTensor)


def as_tensors(found: Any) -> Any:
    """Arrays, nested in lists, tuples and dicts, as tensors of TensorFlow; anything else as it is."""
    if isinstance(found, np.ndarray):
        return found if isinstance(found, EagerTensor) else found.view(EagerTensor)
    if isinstance(found, np.generic):
        return np.asarray(found).view(EagerTensor)
    if isinstance(found, dict):
        return {key: as_tensors(value) for key, value in found.items()}
    if isinstance(found, (list, tuple)):
        made = [as_tensors(value) for value in found]
        return type(found)(*made) if hasattr(found, "_fields") else type(found)(made)
    return found

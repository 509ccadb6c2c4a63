"""`tf.TensorArray`: tensors that a loop of Python's writes one by one."""

from __future__ import annotations

from typing import Any

from kcompile.keras.eager import as_tensors
from kcompile.tensorflow.functions import o
from kcompile_runtime.errors import ModelError, describe


class TensorArray:
    """A list of tensors of one dtype. size: places; dynamic_size: whether more are added by writing behind
    them. Methods give the array itself, as scripts go on with what they give."""

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: bool | None = None,
        clear_after_read: bool | None = None,
        tensor_array_name: str | None = None,
        handle: Any = None,
        flow: Any = None,
        infer_shape: bool = True,
        element_shape: Any = None,
        colocate_with_first_write_call: bool = True,
        name: str | None = None,
    ) -> None:
        self.dtype, self.dynamic_size = dtype, bool(dynamic_size)
        self.element_shape = element_shape
        self._parts: list[Any] = [None] * int(0 if size is None else size)

    def write(self, index: Any, value: Any, name: Any = None) -> TensorArray:
        """Put a tensor in a place."""
        place = int(index)
        if place >= len(self._parts) and self.dynamic_size:
            self._parts += [None] * (place + 1 - len(self._parts))
        self._check(place)
        self._parts[place] = o.convert_to_tensor(value, str(self.dtype))
        return self

    def read(self, index: Any, name: Any = None) -> Any:
        """The tensor of a place."""
        self._check(int(index))
        return self._all()[int(index)]

    def stack(self, name: Any = None) -> Any:
        """All of them, along a new first axis."""
        return as_tensors(o.stack(self._all(), 0))

    def concat(self, name: Any = None) -> Any:
        """All of them, one behind the other along their first axis."""
        return as_tensors(o.concatenate(self._all(), 0))

    def gather(self, indices: Any, name: Any = None) -> Any:
        """Those of these places, along a new first axis."""
        parts = self._all()
        return as_tensors(o.stack([parts[int(i)] for i in indices], 0))

    def unstack(self, value: Any, name: Any = None) -> TensorArray:
        """Be the parts of a tensor along its first axis."""
        self._parts = [value[i] for i in range(int(value.shape[0]))]
        return self

    def size(self, name: Any = None) -> int:
        """How many places there are."""
        return len(self._parts)

    __len__ = size

    def mark_used(self) -> None:
        """Nothing: nothing is missed."""

    def identity(self) -> TensorArray:
        return self

    def _check(self, place: int) -> None:
        if not 0 <= place < len(self._parts):
            wanted = f"a place below {len(self._parts)}"
            raise ModelError(describe("tf.TensorArray", wanted, str(place), "Or give dynamic_size=True"))

    def _all(self) -> list[Any]:
        """The tensors; places that were not written are zeros, where another says their shape."""
        first = next((part for part in self._parts if part is not None), None)
        if first is None and self._parts:
            raise ModelError("tf.TensorArray: nothing was written")
        return [o.zeros_like(first) if part is None else part for part in self._parts]


NAMES: dict[str, Any] = {"TensorArray": TensorArray}

"""Layers that work on arrays alone, as what they compute has no place in a compiled graph: texts, hashes.

Scripts call them on their data, or put them directly behind the inputs of a model (`kcompile.keras.prelude`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir.tensor import Tensor, constant
from kcompile.keras.eager import as_eager
from kcompile.keras.engine import KerasTensor, Layer, Node, as_list, is_integer
from kcompile.keras.evaluation import computed
from kcompile.keras.layers.preprocessing.data import as_plain_array
from kcompile.keras.tracing import trace_of
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError, describe


class OnArrays(Layer):
    """A layer that is called on arrays, and lists; in models, directly behind the inputs."""

    takes = "texts have no place in a compiled graph"
    runs_on_arrays = True
    takes_texts = True
    needs_texts = True
    gives_texts = False

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        if not self.runs_on_arrays:
            return super().__call__(inputs, **arguments)
        if arguments:
            raise UnsupportedError(describe(f"{self.label}: call", "its inputs", ", ".join(arguments)))
        flat = as_list(inputs)
        if flat and all(isinstance(x, KerasTensor) for x in flat):
            return self._add_node(flat, not isinstance(inputs, (list, tuple)), {}).outputs[0]
        given = [as_plain_array(x) for x in inputs] if self.wants_list else as_plain_array(inputs)
        if not all(isinstance(x, np.ndarray) for x in (given if self.wants_list else [given])):
            raise self.refusal()
        return as_eager(self.of_arrays(given), self.vintage)

    def _add_node(self, flat: Sequence[KerasTensor], single: bool, arguments: dict[str, Any]) -> Node:
        if self.takes_texts and self.needs_texts and not all(x.texts for x in flat):
            raise ModelError(
                describe(self.label, "texts: Input(..., dtype='string')", f"numbers of {flat[0].layer.label}")
            )
        node = super()._add_node(flat, single, arguments)
        node.outputs[0].texts = self.gives_texts
        return node

    def on_arrays(
        self, arrays: Sequence[np.ndarray], single: bool, arguments: dict[str, Any]
    ) -> list[np.ndarray]:
        with self.named_errors():
            return [self.of_arrays(arrays[0] if single else list(arrays))]

    def refusal(self) -> UnsupportedError:
        """Why it is in no model, and what to do."""
        return UnsupportedError(
            f"{self.label}: {self.takes}. Call the layer on the data before the model "
            f"(x = layer(x), as arrays), and give the model what it returns; or call it on an Input of a "
            "functional model or Sequential"
        )

    def call(self, inputs: Any) -> Any:
        """A tensor of the type of what it makes, where types alone are asked for."""
        tensors = as_list(inputs)
        if not trace_of(tensors[0]).inferring:
            raise self.refusal()
        return self.stand_in(tensors[0])

    def stand_in(self, x: Tensor) -> Tensor:
        """A tensor of the type of what it makes of x, whose shape alone counts."""
        raise NotImplementedError

    def of_arrays(self, array: Any) -> Any:
        """What the layer makes of an array (or a list of them)."""
        raise NotImplementedError

    def computed_now(self, array: np.ndarray, function: Callable[[Tensor], Tensor]) -> np.ndarray:
        """The values of a function over tensors, of an array."""
        with self.named_errors():
            return computed(lambda graph: [function(constant(graph, array, array.dtype.name))])[0]


def texts(layer: Layer, array: Any) -> np.ndarray:
    """An array of str, of texts or bytes. Raises InputError."""
    encoding = getattr(layer, "encoding", "utf-8")
    given = np.asarray(array)
    if given.dtype.kind == "U":
        return given
    parts = [x.decode(encoding) if isinstance(x, bytes) else x for x in given.ravel().tolist()]
    if not all(isinstance(x, str) for x in parts):
        odd = next(x for x in parts if not isinstance(x, str))
        raise InputError(describe(f"{layer.label}: input", "texts", repr(odd)))
    return np.array(parts, dtype=object).reshape(given.shape)


def salt_of(layer: Layer, value: Any) -> list[int] | None:
    """A key of two numbers, of two or one. Raises ModelError."""
    given = value if isinstance(value, (list, tuple)) else [value, value]
    if value is None:
        return None
    if len(given) == 2 and all(map(is_integer, given)):
        return [int(v) for v in given]
    raise ModelError(describe(f"{layer.label}: salt", "a whole number, or two of them", repr(value)))

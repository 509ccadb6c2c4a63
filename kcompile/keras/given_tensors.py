"""Models whose inputs are tensors of K, `Input(tensor=...)`, as Keras 2 trains and runs them.

Such an input takes no data: before each batch its tensor is computed, and its samples are the batch. Enters:
what `fit` and the other methods were given. Leaves: data with the values of these tensors filled in. In a
compiled graph, and in a library, they are inputs like the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile.keras.expressions import Function, depends
from kcompile.keras.standardize import by_name
from kcompile.keras.tensors import Variable
from kcompile_runtime.arrays import Array, as_array
from kcompile_runtime.errors import InputError, UnsupportedError, describe


def given_tensors(model: Any) -> dict[str, Any]:
    """The tensors that inputs of a model are, by the names of the inputs."""
    tensors = ((name, x.layer.input_tensor) for name, x in zip(model.input_names, model.inputs))
    return {name: tensor for name, tensor in tensors if tensor is not None}


def takes_data(model: Any) -> bool:
    """Whether every input of a model takes data, and none is a tensor of K."""
    return all(x.layer.is_placeholder for x in model.inputs)


def _nothing(x: Any) -> bool:
    return x is None or (isinstance(x, (list, tuple, Mapping)) and not x)


class GivenTensors:
    """The values of a model's given tensors. Code for a tensor is made when it is first computed."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.tensors = given_tensors(model)
        self.fed = [name for name in model.input_names if name not in self.tensors]
        self._code: dict[str, Function] = {}

    def filled(self, x: Any) -> dict[str, Any]:
        """Data for all inputs: x is of those that take data. Raises InputError for data of others."""
        if not self.fed and not _nothing(x):
            raise InputError(
                describe("x", "no data, as all inputs are tensors (Input(tensor=...))", type(x).__name__)
            )
        named = dict(zip(self.fed, by_name(x, self.fed, "input"))) if self.fed else {}
        return {**named, **{name: self._value(name) for name in self.tensors}}

    def _value(self, name: str) -> Array:
        tensor = self.tensors[name]
        if isinstance(tensor, Variable):
            return tensor.array
        if depends(tensor):
            raise UnsupportedError(
                f"model {self.model.name!r}: input {name!r} is a tensor that depends on a placeholder or an "
                "Input, and takes no data. Compute with K.function, which is given theirs"
            )
        if name not in self._code:
            self._code[name] = Function([], [tensor])
        found: Array = self._code[name]([])[0]
        return found

    @property
    def samples(self) -> int:
        """The number of samples that the tensors hold. Raises InputError where it is not one number."""
        counts = {t.shape[0] if t.shape else None for t in self.tensors.values()}
        found = counts.pop() if len(counts) == 1 else None
        if found is None:
            shapes = ", ".join(f"{name!r} of shape {t.shape}" for name, t in self.tensors.items())
            raise InputError(describe("inputs that are tensors", "one known number of samples", shapes))
        return int(found)

    def batches(
        self, x: Any, y: Any, weight: Any, size: int | None, steps: Any, name: str, shuffle: bool
    ) -> tuple[Any, Any]:
        """(object of batches, how many are a pass). size: of batches, if it was said. name: of the argument
        that says how many there are."""
        if size not in (None, self.samples) and (self.fed or steps is not None):
            wanted = f"{self.samples}, the samples of the tensors that are inputs"
            raise InputError(describe("batch_size", wanted, str(size)))
        if self.fed and steps is None:
            return Slices(x, y, weight, self.samples, shuffle), None
        if not self.fed:
            self.filled(x)
            if steps is None and y is None:
                raise InputError(describe(name, "the number of steps, as all data are tensors", "None"))
        return itertools.repeat((x, y, weight)), 1 if steps is None else steps


@dataclass
class Slices:
    """Arrays cut in batches of one size. shuffle: whether the rows change places after each epoch."""

    x: Any
    y: Any
    weight: Any
    size: int
    shuffle: bool

    def __post_init__(self) -> None:
        counts = {len(a) for a in map(np.asarray, _leaves((self.x, self.y, self.weight)))}
        count = counts.pop() if len(counts) == 1 else 0
        if not count or count % self.size:
            wanted = f"arrays of as many samples, which {self.size}, those of the given tensors, divide"
            raise InputError(describe("data", wanted, f"{sorted({count, *counts})} samples"))
        self.order = np.arange(count)
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self.order) // self.size

    def __getitem__(self, index: int) -> Any:
        rows = self.order[index * self.size : (index + 1) * self.size]
        return tuple(
            _mapped(lambda a: as_array(a, "data")[rows], part) for part in (self.x, self.y, self.weight)
        )

    def on_epoch_end(self) -> None:
        if self.shuffle:
            np.random.shuffle(self.order)


def _mapped(function: Any, data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _mapped(function, value) for key, value in data.items()}
    if isinstance(data, (list, tuple)) and any(hasattr(a, "shape") for a in data):
        return [_mapped(function, value) for value in data]
    return None if data is None else function(data)


def _leaves(parts: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for part in parts:
        _mapped(found.append, part)
    return found

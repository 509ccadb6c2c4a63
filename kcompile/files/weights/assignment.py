"""Arrays of a file for the variables of a model: checked one by one, assigned all together or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from kcompile.files import cudnn
from kcompile.files.reader import Hdf5, Stored
from kcompile.files.vintage import Vintage
from kcompile.files.weights.conversion import FLIPPED, KERAS1, convert
from kcompile.files.weights.inside import Variables, all_layers, inner_layers
from kcompile.keras.engine import Variable
from kcompile_runtime.arrays import Array
from kcompile_runtime.errors import ModelError, describe


@dataclass(frozen=True)
class Part:
    """Weights of one layer that are neighbours in a file."""

    layer: Any
    variables: Variables

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [v.shape for v in self.variables]


# Kinds of dtypes, as numpy has them: of a variable -> of arrays that it takes
_TAKES = {"f": "f", "i": "iu", "u": "iu", "b": "b"}


class Assignment:
    """Arrays to be assigned once everything fits; what does not fit is reported in one error."""

    def __init__(
        self, file: Hdf5, vintage: Vintage, skip_mismatch: bool = False, reshape: bool = False
    ) -> None:
        self.file = file
        self.vintage = vintage
        self.skip = skip_mismatch
        self.reshape = reshape
        self.values: list[tuple[Variable, Array]] = []
        self.wrong: list[str] = []
        self.later: list[Callable[[], Any]] = []  # what classes of the user's read themselves
        self.not_finite: list[str] = []

    def mismatch(self, what: str, expected: str, found: str) -> None:
        self.wrong.append(f"{what}: expected {expected}. Found: {found}")

    def part(self, part: Part, paths: Sequence[str]) -> None:
        """Read the weights of a part, if number, dtypes and shapes are as expected."""
        found = [self.file.datasets.get(path) for path in paths]
        stored = [one for one in found if one is not None]
        if len(stored) < len(paths):
            lost = [path for path, one in zip(paths, found) if one is None]
            self.mismatch(part.layer.label, "its arrays in the file", f"none at {', '.join(lost[:3])}")
            return
        problem = self._problem(part, stored)
        if problem is not None:
            self.mismatch(*problem)
            return
        arrays = self._converted(part, paths, [one.shape for one in stored])
        if arrays is not None:
            self._take(part, arrays)

    def part_of_kernel(self, layer: Any) -> None:
        """Make adapters zeros, which archives hold as a part of the kernel."""
        self.values += [(v, np.zeros(v.shape, v.dtype)) for v in getattr(layer, "adapters", ())]

    def _problem(self, part: Part, stored: Sequence[Stored]) -> tuple[str, str, str] | None:
        """Before a byte is read: why these arrays cannot be the part's, as (what, expected, found)."""
        label = part.layer.label
        if not self._fits(part, stored):
            shapes = [one.shape for one in stored]
            return label, f"shapes {part.shapes}", f"{shapes} in {self.file.name}"
        for inner, bias in _other_biases(part, stored):
            needed = cudnn.refusal(inner)
            if needed is not None:
                return inner.label, needed, f"weights of cuDNN, with a bias {bias}"
        for variable, one in zip(part.variables, stored):
            if one.dtype.kind not in _TAKES[variable.array.dtype.kind]:
                return label, f"{variable.dtype} for {variable.path!r}", f"{one.dtype}"
        return None

    def _converted(
        self, part: Part, paths: Sequence[str], shapes: list[tuple[int, ...]]
    ) -> list[Array] | None:
        """The arrays as the layer has them; None, and a mismatch, where they are of other shapes."""
        read = [self.file.read(path) for path in paths]
        try:
            arrays = convert(read, part.layer, self.vintage)
            shapes = [a.shape for a in arrays]
        except (IndexError, ValueError):  # of axes that are not there
            arrays = None
        if arrays is not None and self._reshapes(part, shapes):
            arrays = [arrays[0].reshape(part.shapes[0]), *arrays[1:]]
            shapes = part.shapes
        if arrays is None or shapes != part.shapes:
            self.mismatch(part.layer.label, f"shapes {part.shapes}", f"{shapes}")
            return None
        return arrays

    def _take(self, part: Part, arrays: Sequence[Array]) -> None:
        """Keep arrays for `finish`, in the dtypes of the variables."""
        with np.errstate(over="ignore"):  # told by layer
            arrays = [np.asarray(a, v.dtype) for v, a in zip(part.variables, arrays)]
        finite = all(a.dtype.kind != "f" or np.isfinite(a).all() for a in arrays)
        if not finite and part.layer.name not in self.not_finite:
            self.not_finite.append(part.layer.name)
        self.values.extend(zip(part.variables, arrays))

    def _reshapes(self, part: Part, shapes: Sequence[tuple[int, ...]]) -> bool:
        """Whether the kernel of a convolution is taken in the order of its numbers."""
        return (
            self.reshape
            and type(part.layer).__name__ in FLIPPED
            and bool(shapes)
            and prod(shapes[0]) == prod(part.shapes[0])
            and list(shapes[1:]) == part.shapes[1:]
        )

    def _fits(self, part: Part, stored: Sequence[Stored]) -> bool:
        """Whether shapes are the variables', or, of a class that was stored otherwise, as many numbers."""
        if [s.shape for s in stored] == part.shapes or self._reshapes(part, [s.shape for s in stored]):
            return True
        if len(stored) == len(part.variables) and _other_biases(part, stored):
            return True
        classes = {type(layer).__name__ for layer in (part.layer, *inner_layers(part.layer))}
        return (
            self.vintage.keras1
            and not classes.isdisjoint(KERAS1)
            and sum(s.size for s in stored) == sum(v.array.size for v in part.variables)
        )

    def finish(self) -> None:
        """Assign. Raises ModelError, with nothing assigned, where something did not fit."""
        if self.wrong and not self.skip:
            raise ModelError(
                f"{self.file.name}: the weights do not fit the model:"
                + "".join(f"\n- {text}" for text in self.wrong)
            )
        if self.wrong:
            warnings.warn(
                f"{self.file.name}: weights that do not fit were left out:"
                + "".join(f"\n- {text}" for text in self.wrong),
                stacklevel=4,
            )
        for variable, array in self.values:
            variable.assign(array)
        for read in self.later:
            read()
        if self.not_finite:
            warnings.warn(
                f"{self.file.name}: weights that are NaN or infinite, in the layers "
                + ", ".join(map(repr, self.not_finite)),
                stacklevel=4,
            )


def _other_biases(part: Part, stored: Sequence[Stored]) -> list[tuple[Any, tuple[int, ...]]]:
    """Layers of a part with the biases that the file has for them, where one of the two is cuDNN's and the
    other is not."""
    layers = inner_layers(part.layer) or [part.layer]
    share = len(stored) // len(layers)
    biases = [stored[k * share + 2].shape for k in range(len(layers))] if share == 3 else []
    return [pair for pair in zip(layers, biases) if cudnn.converts(*pair)]


def load_in_order(model: Any, arrays: Sequence[Array], name: str) -> None:
    """Arrays as `get_weights` gives them, checked as those of an HDF5 file. Raises ModelError."""
    stored = {str(i): Stored(a.shape, a.dtype) for i, a in enumerate(arrays)}
    assignment = Assignment(Hdf5(name, {}, stored, lambda path: arrays[int(path)]), Vintage((3,)))
    if len(arrays) != len(model.weights):
        raise ModelError(
            describe(name, f"{len(model.weights)} arrays, as {model.label} has weights", str(len(arrays)))
        )
    owners = {id(v): layer for layer in all_layers(model) for v in layer.weights}
    for i, variable in enumerate(model.weights):
        assignment.part(Part(owners[id(variable)], [variable]), [str(i)])
    assignment.finish()

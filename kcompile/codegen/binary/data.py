"""The read-only data of an exported file: weights, constants, samples.

Enters: a model, as the code of a target has it, and others. Leaves: pieces of bytes, one after the other,
and where each part lies in them. What several need is there once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kcompile.codegen.binary import c_step, link
from kcompile.codegen.binary.c_interface import DataOffsets, Place
from kcompile.codegen.binary.exported import Model, Step
from kcompile.codegen.program import Entry
from kcompile_runtime.layout import ALIGNMENT, round_up


class Data:
    """All read-only data, as pieces that lie one after the other. What is there already is not added."""

    def __init__(self) -> None:
        self.pieces: list[bytes | memoryview] = []
        self.end = 0
        self.known: dict[tuple[int, bytes], int] = {}

    @property
    def whole(self) -> list[bytes | memoryview]:
        """The pieces; a symbol needs a section to lie in, so that there is one."""
        return self.pieces or [bytes(ALIGNMENT)]

    def add(self, part: bytes | NDArray[np.generic]) -> int:
        """The offset of the bytes of an array."""
        view = memoryview(part) if isinstance(part, bytes) else _bits(part).data
        key = (len(view), hashlib.sha256(view).digest())
        if key not in self.known:
            self.known[key] = self.end
            self.pieces.extend([view, bytes(round_up(len(view)) - len(view))])
            self.end += round_up(len(view))
        return self.known[key]

    def add_model(self, model: Model, entry: Entry) -> DataOffsets:
        """The offset of each part of a model's data."""
        prepared, constants = self.add(model.prepared), self.add(model.program.constants)
        used = {ref.index for launch in entry.launches for ref in launch.buffers if ref.region == "variable"}
        given = () if model.draws is None else (model.draws.number, model.draws.seed)
        used -= set(given)
        variables = []
        for index, value in enumerate(model.variables):
            if index in used and value is None:
                raise ValueError(f"export: 'predict' reads variable {index}, which is not given")
            variables.append(self.add(value) if index in used and value is not None else None)
        if used and max(used) >= len(variables):
            raise ValueError(f"export: expected {max(used) + 1} variables. Received: {len(variables)}")
        inputs = [self.add(a) for a in model.sample.inputs]
        outputs = [self.add(a) for a in model.sample.outputs]
        return DataOffsets(prepared, constants, tuple(variables), tuple(inputs), tuple(outputs))

    def add_step(self, model: Model, step: Step) -> c_step.StepData:
        """The offset of each part of a training step's data."""
        starts, _ = c_step.offsets_of(step.state)

        def place(found: int | NDArray[np.generic]) -> Place:
            if isinstance(found, int):
                return "%state", starts[found]
            return f"@{link.DATA_SYMBOL}", self.add(found)

        values = [self.add(t.value) if np.any(_bits(t.value)) else None for t in step.state]
        refs = (r for e in model.program.entries for launch in e.launches for r in launch.buffers)
        read = {ref.index for ref in refs if ref.region == "variable"}
        predicted = [place(found) if i in read else None for i, found in enumerate(step.predicted)]
        inputs = [self.add(a) for a in step.sample.inputs]
        return c_step.StepData(
            self.add(step.program.constants),
            tuple(values),
            tuple(map(place, step.variables)),
            tuple(predicted),
            tuple(inputs),
            self.add(np.stack(step.sample.outputs)),
        )


@dataclass(frozen=True)
class Places:
    """Where the data of a model lie, for the code of one target."""

    model: DataOffsets
    step: c_step.StepData | None

    @staticmethod
    def of(data: Data, model: Model, entry: Entry) -> Places:
        """Add them. entry: the one that predicts. Raises ValueError where values are missing."""
        step = None if model.step is None else data.add_step(model, model.step)
        return Places(data.add_model(model, entry), step)


def _bits(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """The bytes of an array: minus zero is none of zeros."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)

"""The description of an exported model: plain records, from which the artifact's library, its C interface and
its header are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kcompile.codegen.program import Program
from kcompile.ir.types import TensorType


@dataclass(frozen=True)
class Tensor:
    """An input or output: its name as users know it, and its type."""

    name: str
    type: TensorType


def described(tensors: Sequence[Tensor]) -> list[dict[str, object]]:
    """What metadata say of tensors: name, dtype, and shape, in which a dim with the batch is text."""
    return [
        {
            "name": t.name,
            "dtype": t.type.dtype,
            "shape": [d if isinstance(d, int) else str(d) for d in t.type.shape],
        }
        for t in tensors
    ]


@dataclass(frozen=True)
class Sample:
    """Arrays that the artifact carries to test itself: inputs for n samples, and the outputs they
    must give, within |got - expected| <= tolerance * (1 + |expected|)."""

    n: int
    inputs: tuple[NDArray[np.generic], ...]
    outputs: tuple[NDArray[np.generic], ...]
    tolerance: float = 1e-4


@dataclass(frozen=True)
class Draws:
    """The variables from which a model draws random numbers: the number of the draw and the seed, by their
    index among the variables, None for one that the model does not read. A library keeps no state, so its
    caller gives their values."""

    number: int | None
    seed: int | None


@dataclass(frozen=True)
class StateTensor:
    """What a training step keeps in its caller's memory: a weight, what the optimizer keeps of one, a number
    of the step. value: at first. resets: it belongs to a metric, which begins anew with its value."""

    name: str
    type: TensorType
    value: NDArray[np.generic]
    resets: bool = False


@dataclass(frozen=True)
class Step:
    """A model's training step, and predictions with what it trained.

    program: has the entry "train", which writes variables of the state alone. inputs: what a caller gives:
    the inputs of the model, labels, and at last the weights of samples, as many as `weights`, each of which
    may be left out; they are the program's first inputs. told: for each further input of the program, the
    number of the weights that it says of whether they are given. outputs: of the program, one vector. report:
    what that holds, as `kcompile_runtime.training.Results` has it, for JSON. state: in the order of the
    caller's memory. variables: of each of the program's variables its number in the state, or an array that
    stays as it is. predicted: likewise for the variables of `Model.program`, whose "prepare", if it has one,
    makes what depends on the state of the bytes of `Model.prepared`. sample: inputs without weights, and the
    vectors of steps on them, one after the other, of which the losses are compared.
    """

    program: Program
    inputs: tuple[Tensor, ...]
    weights: int
    told: tuple[int, ...]
    outputs: tuple[Tensor, ...]
    report: Mapping[str, object]
    state: tuple[StateTensor, ...]
    variables: tuple[int | NDArray[np.generic], ...]
    predicted: tuple[int | NDArray[np.generic], ...]
    sample: Sample


@dataclass(frozen=True)
class Model:
    """An exported model.

    name: prefixes the C functions, made safe (`kc_<name>_run`). program: has the entry "predict",
    which must write no variable; other entries are left out. prepared: the bytes that its "prepare"
    made, as many as `program.prepared`. variables: in the program's order; those that "predict"
    does not read, and those of `draws`, may be None. batch: the only batch size accepted, None for any.
    draws: of a model that draws random numbers; in the sample both are 0. precision: of its contractions.
    states: how many of the last inputs are states of layers, whose next values are the last outputs.
    step: of a model that is trained where it is used.
    """

    name: str
    program: Program
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    prepared: bytes
    variables: Sequence[NDArray[np.generic] | None]
    sample: Sample
    batch: int | None = None
    draws: Draws | None = None
    precision: str = "float32"
    states: int = 0
    step: Step | None = None

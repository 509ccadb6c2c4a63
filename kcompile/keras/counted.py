"""Calls that need the number of samples: parts of a batch, its order, a value for each pair of samples.

Enters: a call on tensors of a model whose first axis is the batch. Leaves: the types of its results. Where
the call cannot be traced for a batch of any size, it is traced for two numbers of samples, and what grows
with them is the batch. The graphs of a model with such a call are those of Keras' own steps, one for each
number of samples that comes (`steps.py`), so this is for the Kerases that have steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kcompile.ir.types import Batch, Dim, TensorType, bind, numel
from kcompile.keras.editions import edition
from kcompile.keras.tensors import KerasTensor
from kcompile.keras.tracing import Inferred
from kcompile_runtime.errors import KcompileError

NUMBERS = (12, 24)  # of samples: divisible by what batches are mostly cut into

Types = Sequence[Any]


def at_probes(
    layer: Any, tensors: Sequence[KerasTensor], types: tuple[Types, Types], single: bool, arguments: Any
) -> tuple[Inferred, Inferred, bool]:
    """The types of the results of a call on tensors of a model and of their masks, for the types that the
    tensors have at both probes of unknown sizes; and whether the call is traced for one number of samples at
    a time. Raises what the call raises for a batch of any size."""
    size = next((x.batch_size for x in tensors if x.batch_size), None)

    def at(given: Types, masks: Types) -> tuple[Inferred, bool]:
        return _inferred(layer, given, masks, size, lambda t, m: layer._infer(t, single, arguments, m))

    found, counted = at(types[0], [x.mask for x in tensors])
    if types[0] == types[1]:
        return found, found, counted
    return found, at(types[1], [x.second_mask for x in tensors])[0], counted


def _inferred(
    layer: Any, types: Types, masks: Types, size: int | None, infer: Callable[[Types, Types], Inferred]
) -> tuple[Inferred, bool]:
    """size: of the batch, where the Input fixed it."""
    given = [t for t in (*types, *masks) if t is not None]
    if not edition(layer.vintage).eager or not any(isinstance(d, Batch) for t in given for d in t.shape):
        return infer(types, masks), False
    try:
        found = infer(types, masks)
        for type in found[0]:
            numel(type.shape)  # raises for pairs of samples
        return found, False
    except (KcompileError, ValueError):
        numbers = NUMBERS if size is None else (size,)
        try:
            each = [infer(_of(types, n), _of(masks, n)) for n in numbers]
            return _merged(each, numbers), True
        except (KcompileError, ValueError, TypeError):
            pass  # the first error is about what the script says
        raise


def _of(types: Types, n: int) -> list[Any]:
    """The types for so many samples."""
    return [None if t is None else t.with_shape(bind(t.shape, n)) for t in types]


def _merged(each: Sequence[Inferred], numbers: Sequence[int]) -> Inferred:
    """The types for any number of samples, of those for these numbers. Raises ValueError."""
    outputs = [_one(types, numbers) for types in zip(*(found[0] for found in each))]
    masks = [
        None if types[0] is None else _one(types, numbers) for types in zip(*(found[1] for found in each))
    ]
    return outputs, masks


def _one(types: Sequence[TensorType], numbers: Sequence[int]) -> TensorType:
    if len({t.rank for t in types}) > 1:
        raise ValueError("the number of axes depends on the number of samples")
    sizes = list(zip(*(t.shape for t in types)))
    return types[0].with_shape(tuple(_size(d, numbers, k) for k, d in enumerate(sizes)))


def _size(sizes: Sequence[Dim], numbers: Sequence[int], axis: int) -> Dim:
    """One axis: the batch, or some of it for each sample, where it grows with the number of samples. Raises
    ValueError where it grows otherwise."""
    first, n = int(sizes[0]), numbers[0]
    many = first // n
    if len(numbers) == 1:
        return Batch(many) if axis == 0 and many * n == first else first
    if len(set(sizes)) == 1:
        return first
    if [many * k for k in numbers] != list(sizes):
        raise ValueError(f"axis {axis} is of {sizes} for {numbers} samples")
    return Batch(many)

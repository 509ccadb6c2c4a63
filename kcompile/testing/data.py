"""Data for a model: numbers that its inputs can take."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from kcompile.keras.layers import Embedding
from kcompile.model import CompiledModel
from kcompile.testing.ranges import sizes
from kcompile_runtime.errors import InputError, describe

WORDS = 10  # numbers that an input of integers takes, where no Embedding says it


def make_inputs(model: Any, n: int = 3, seed: int = 0, length: int = 7) -> list[np.ndarray]:
    """An array [n, ...] for each input of a model of kcompile.keras or a compiled model: floats in [-1, 1],
    integers below the vocabulary of the Embedding that reads them, a third of them 0 (padding, to some) but
    never all of a sample. seed: of the numbers. length: of axes whose size the model leaves unknown. Raises
    InputError where the model has a batch size of its own that is not n."""
    model = _described(model)
    if model.batch_size not in (None, n):
        raise InputError(describe("n", f"the model's own batch size, {model.batch_size}", str(n)))
    generator = np.random.default_rng(seed)
    arrays = []
    for x in model.inputs:
        shape = (n, *(length if size is None else size for size in x.shape[1:]))
        if x.dtype.startswith("float"):
            arrays.append(generator.uniform(-1, 1, shape).astype(x.dtype))
            continue
        numbers = generator.integers(0, _words(model, x), shape)
        padded = generator.random(shape) < 1 / 3
        padded[:, :1] = False
        arrays.append(np.where(padded, 0, numbers).astype(x.dtype))
    return arrays


def inputs_for(
    model: Any, batch: st.SearchStrategy[int] | None = None, length: st.SearchStrategy[int] | None = None
) -> st.SearchStrategy[list[np.ndarray]]:
    """A strategy of `make_inputs` for batches and unknown lengths of the range of real use. batch, length:
    other strategies of these. A model's own batch size is kept."""
    own = _described(model).batch_size
    batches = st.just(own) if own else (batch if batch is not None else sizes("batch", 64))
    lengths = length if length is not None else sizes("steps", 48)
    seeds = st.integers(0, 2**31 - 1)
    return st.builds(lambda n, seed, steps: make_inputs(model, n, seed, steps), batches, seeds, lengths)


def _described(model: Any) -> Any:
    """The model of kcompile.keras."""
    return model.model if isinstance(model, CompiledModel) else model


def _words(model: Any, x: Any) -> int:
    """How many numbers an input may take."""
    tables = [layer for layer in model.layers if isinstance(layer, Embedding)]
    read = [t.input_dim for t in tables if any(x in node.inputs for node in t.nodes_made)]
    return min(read or [t.input_dim for t in tables] or [WORDS])

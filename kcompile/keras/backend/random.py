"""Random tensors. In a model, numbers are a function of its seed, the training step and the place of
the call; outside, of a seed that is drawn from numpy's global generator when they are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import initializers
from kcompile.keras.backend.values import constant
from kcompile.keras.operands import graph, sizes, tensor, traced
from kcompile.keras.settings import dtype_of
from kcompile.keras.tracing import current, find_trace
from kcompile_runtime.errors import UnsupportedError


def drawn(source: Callable[..., Tensor], shape: Sequence[Any], seed: int | None) -> Tensor:
    """The numbers of a source: uniform in [0, 1), or normal."""
    trace = find_trace(graph())
    if trace is None or trace.loop:
        raise UnsupportedError(
            "random numbers inside the step of a recurrent layer would be the same at "
            "all steps: draw them before, and give them as a sequence"
        )
    key = trace.seed(None if seed is None else int(seed))
    return source(key, trace.step, trace.stream(), tuple(sizes(shape)))


@traced
def random_uniform(
    shape: Sequence[Any],
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: str | None = None,
    seed: int | None = None,
) -> Any:
    """Uniform numbers in [minval, maxval)."""
    numbers = drawn(ops.random_uniform, shape, seed)
    return ops.cast(numbers * (maxval - minval) + minval, dtype_of(dtype))


@traced
def random_normal(
    shape: Sequence[Any],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: str | None = None,
    seed: int | None = None,
) -> Any:
    """Normal numbers (Box and Muller 1958)."""
    return ops.cast(drawn(ops.random_normal, shape, seed) * stddev + mean, dtype_of(dtype))


@traced
def random_binomial(
    shape: Sequence[Any], p: float = 0.0, dtype: str | None = None, seed: int | None = None
) -> Any:
    """1 with probability p, else 0."""
    return ops.cast(drawn(ops.random_uniform, shape, seed) < p, dtype_of(dtype))


def truncated_normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: str | None = None,
    seed: int | None = None,
) -> Any:
    """Normal numbers, none further than two standard deviations off: of an initializer. Raises
    UnsupportedError inside a model."""
    if current() is not None:
        raise UnsupportedError(
            "truncated_normal is for first values of weights. Inside a model use K.random_normal"
        )
    values = initializers.TruncatedNormal(mean, stddev, seed)(tuple(shape))
    return constant(np.asarray(values), dtype)


@traced
def dropout(x: Any, level: float, noise_shape: Sequence[Any] | None = None, seed: int | None = None) -> Any:
    """x with a share `level` of its elements 0 and the others larger by 1 / (1 - level)."""
    x = tensor(x)
    if not 0 <= level < 1:
        raise ValueError(f"dropout: expected a level in [0, 1). Received: {level}")
    noise = noise_shape or (None,) * x.rank
    shape = [d if given is None else given for given, d in zip(noise, x.shape)]
    kept = drawn(ops.random_uniform, shape, seed) >= level
    return ops.select(kept, x * (1 / (1 - level)), ops.zeros_like(x))

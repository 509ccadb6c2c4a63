"""keras.random: numbers drawn on values, and in traced code, where every call of a model draws others.

Names and arguments are those of Keras 3. An integer seed gives the same numbers in every call on values, a
`SeedGenerator` others in each, None those of a seed that is drawn. In a model numbers follow from the seed
(default the model's), the number of the batch and the place of the call.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS, Batch, axis_of
from kcompile.keras.backend.random import drawn
from kcompile.keras.eager import EagerArray
from kcompile.keras.gamma import log_gamma
from kcompile.keras.keras3_ops.calls import anywhere, real, to
from kcompile.keras.keras3_ops.elementwise import dtype_of
from kcompile.keras.operands import graph, leaves, sizes, tensor
from kcompile.keras.settings import new_seed
from kcompile.keras.tensors import KerasTensor, is_integer
from kcompile.keras.tracing import current
from kcompile_runtime.errors import InputError, InputTypeError, UnsupportedError, describe

__all__ = [
    "SeedGenerator",
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]


class SeedGenerator:
    """A seed that is another one in each draw on values. seed: an integer; default drawn."""

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        if seed is not None and not is_integer(seed):
            raise InputTypeError(describe("SeedGenerator: seed", "an integer, or None", repr(seed)))
        _check("SeedGenerator", seed)
        self.name = "seed_generator" if name is None else name
        self.seed = int(new_seed(31) if seed is None else seed)
        self.count = 0

    def next(self, ordered: bool = True) -> np.ndarray:
        """The seed and the number of the draw, which counts on."""
        made = np.array([self.seed % 2**32, self.count], np.uint32)
        self.count += 1
        return made

    @property
    def state(self) -> np.ndarray:
        """The seed, and the number of the next draw: uint32 (2,)."""
        return np.array([self.seed % 2**32, self.count], np.uint32).view(EagerArray)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        return cls(**config)


def _check(what: str, seed: Any) -> None:
    """Raises InputError for a seed that is no number of 32 bits."""
    if is_integer(seed) and not 0 <= seed < 2**32:
        raise InputError(describe(f"{what}: seed", "an integer from 0 to 2**32 - 1", repr(seed)))


def _seeded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose seed is an integer, None or a generator."""
    inside, signature = anywhere(function), inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        arguments = signature.bind(*args, **kwargs).arguments
        seed = arguments.pop("seed", None)
        if isinstance(seed, SeedGenerator):
            given = list(leaves(arguments))
            if current() is not None or any(isinstance(x, (Tensor, KerasTensor)) for x in given):
                seed = seed.seed
            else:
                seed = int(np.random.default_rng(seed.next()).integers(2**31))
        elif seed is not None and not is_integer(seed):
            raise InputTypeError(
                describe(
                    f"random.{function.__name__}: seed", "an integer, a SeedGenerator or None", repr(seed)
                )
            )
        _check(f"random.{function.__name__}", seed)
        return inside(**arguments, seed=seed)

    return call


def _shape(shape: Any) -> tuple[Any, ...]:
    shape = sizes(shape)
    return tuple(shape) if isinstance(shape, (list, tuple)) else (shape,)


@_seeded
def uniform(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Uniform numbers in [minval, maxval)."""
    kind = dtype_of(dtype)
    if kind not in FLOATS:
        raise ValueError(f"uniform: expected a float type, integers are drawn by randint. Received: {dtype}")
    return to(drawn(ops.random_uniform, _shape(shape), seed) * (maxval - minval) + minval, kind)


@_seeded
def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Normal numbers."""
    return to(drawn(ops.random_normal, _shape(shape), seed) * stddev + mean, dtype_of(dtype))


@_seeded
def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Normal numbers, none further than two standard deviations off: by the inverse of their distribution."""
    share = (drawn(ops.random_uniform, _shape(shape), seed) * 2.0 - 1.0) * math.erf(math.sqrt(2.0))
    return to(ops.erf_inv(share) * math.sqrt(2.0) * stddev + mean, dtype_of(dtype))


@_seeded
def randint(shape: Any, minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None) -> Any:
    """Whole numbers from minval up to maxval, without maxval."""
    span = ops.floor(drawn(ops.random_uniform, _shape(shape), seed) * (maxval - minval))
    return to(ops.minimum(span, float(maxval - minval - 1)) + minval, dtype_of(dtype))


@_seeded
def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Any:
    """So many classes [batch, num_samples], drawn for each row of logits (Gumbel's trick)."""
    x = real(logits)
    rows, classes = x.shape
    noise = drawn(ops.random_uniform, (rows, num_samples, classes), seed)
    noise = -ops.log(-ops.log(ops.maximum(noise, 1e-30)))
    return to(ops.argmax(ops.reshape(x, (rows, 1, classes)) + noise, -1), dtype_of(dtype))


@_seeded
def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """x with a share `rate` of its elements 0, and the others larger by 1 / (1 - rate)."""
    x = real(inputs)
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: expected a rate in [0, 1). Received: {rate}")
    wanted = (None,) * x.rank if noise_shape is None else _shape(noise_shape)
    shape = tuple(d if given is None else given for given, d in zip(wanted, x.shape))
    kept = drawn(ops.random_uniform, shape, seed) >= rate
    return ops.select(kept, x * (1 / (1 - rate)), ops.zeros_like(x))


@_seeded
def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
    """The parts along an axis, which must not be the batch, in a random order."""
    x = tensor(x)
    place = axis_of(axis, x.rank)
    count = x.shape[place]
    if isinstance(count, Batch):
        raise UnsupportedError("random.shuffle: the samples of a batch keep their order")
    order = ops.ranks(drawn(ops.random_uniform, (count,), seed))
    return ops.take(x, order, place)


def _log_gamma(shape: tuple[Any, ...], alpha: Any, seed: int | None) -> Tensor:
    """Logarithms of numbers of the gamma distribution. No gradient flows."""
    return ops.stop_gradient(
        log_gamma(
            lambda s: drawn(ops.random_uniform, tuple(s), seed),
            lambda s: drawn(ops.random_normal, tuple(s), seed),
            shape,
            ops.broadcast_to(real(alpha), shape),
        )
    )


@_seeded
def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Numbers of the gamma distribution of this shape parameter and the scale 1."""
    return to(ops.exp(_log_gamma(_shape(shape), alpha, seed)), dtype_of(dtype))


@_seeded
def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Numbers of the beta distribution, in [0, 1]."""
    size = _shape(shape)
    one, other = _log_gamma(size, alpha, seed), _log_gamma(size, beta, seed)
    return to(ops.sigmoid(one - other), dtype_of(dtype))


MOST = 4096  # draws that are counted for one binomial number


@_seeded
def binomial(shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None) -> Any:
    """How many of `counts` draws succeed, each with this probability. counts: known now, up to 4096."""
    if isinstance(counts, Tensor) or hasattr(counts, "__tensor__"):
        raise UnsupportedError("random.binomial: counts are numbers that are known when a model is compiled")
    most = int(np.max(np.asarray(counts)))
    if most > MOST:
        raise UnsupportedError(f"random.binomial: counts up to {MOST}. Draw them by numpy, as an input")
    size = _shape(shape)
    tried = ops.iota(graph(), (most, *(1,) * len(size)), 0, "int32")
    within = ops.cast(tried, "float32") < real(counts)
    hits = ops.logical_and(drawn(ops.random_uniform, (most, *size), seed) < real(probabilities), within)
    return to(ops.reduce_sum(ops.cast(hits, "float32"), 0), dtype_of(dtype))

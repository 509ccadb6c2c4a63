"""Random numbers as a pure function of (seed, stream, step, element): see `kcompile.ir.random`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir.op import Case, Op, register
from kcompile.ir.random import normal, random_bits, random_words, uniform
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import Dim, Shape, TensorType

__all__ = ["dropout_mask", "random_normal", "random_uniform"]


def _infer(seed: TensorType, step: TensorType, stream: int, shape: Shape, dtype: str) -> TensorType:
    if (seed.shape, seed.dtype, step.shape, step.dtype) != ((), "uint32", (), "uint32"):
        raise TypeError(f"random: seed and step are uint32 scalars. Received: {seed}, {step}")
    return TensorType(shape, dtype)


def _uniform(
    seed: np.ndarray, step: np.ndarray, stream: int, shape: tuple[int, ...], dtype: str
) -> np.ndarray:
    bits = random_bits(int(seed), stream, int(step), int(np.prod(shape)))
    numbers: np.ndarray = uniform(bits).reshape(shape).astype(dtype)
    return numbers


def _normal(
    seed: np.ndarray, step: np.ndarray, stream: int, shape: tuple[int, ...], dtype: str
) -> np.ndarray:
    words = random_words(int(seed), stream, int(step), int(np.prod(shape)))
    return normal(*words).reshape(shape).astype(dtype)


def _register(
    name: str, meaning: Callable[..., np.ndarray], element: Callable[..., Any], tolerance: float
) -> None:
    """A source of random numbers. element(b, seed, stream, step, number): that of this number."""
    register(
        Op(
            name,
            "random",
            _infer,
            meaning,
            lower=lambda b, call, index, seed, step: element(
                b, seed(()), call.attrs["stream"], step(()), b.flatten(index, call.type.shape)
            ),
            cases=lambda draw: Case(
                (TensorType((), "uint32"),) * 2,
                {"stream": draw.integer(0, 9), "shape": draw.shape(1, 3), "dtype": "float32"},
                low=0,
                high=1000,
            ),
            tolerance=tolerance,
        )
    )


_register("random_uniform", _uniform, lambda b, *words: b.random_uniform(*words), 0.0)
_register("random_normal", _normal, lambda b, *words: b.random_normal(*words), 1e-6)


def random_uniform(
    seed: Tensor, step: Tensor, stream: int, shape: Sequence[Dim], dtype: str = "float32"
) -> Tensor:
    """Uniform numbers in [0, 1); a `stream` of its own for each use in a model."""
    return emit("random_uniform", [seed, step], stream=stream, shape=tuple(shape), dtype=dtype)


def random_normal(
    seed: Tensor, step: Tensor, stream: int, shape: Sequence[Dim], dtype: str = "float32"
) -> Tensor:
    """Numbers of mean 0 and variance 1; a `stream` of its own for each use in a model."""
    return emit("random_normal", [seed, step], stream=stream, shape=tuple(shape), dtype=dtype)


def dropout_mask(
    seed: Tensor, step: Tensor, stream: int, shape: Sequence[Dim], rate: float, dtype: str = "float32"
) -> Any:
    """bool: True for the elements that are kept, each with probability 1 - rate."""
    return random_uniform(seed, step, stream, shape, dtype) >= rate

"""Random numbers as a pure function of (seed, stream, step, element): see `kcompile.ir.random`. A third
operand, where there is one, is the number of the first element: that of a part of a larger array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir.op import Case, Op, register
from kcompile.ir.random import normal, random_words, uniform
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import Dim, Shape, TensorType

__all__ = ["dropout_mask", "random_normal", "random_uniform"]


def _infer(*scalars: TensorType, stream: int, shape: Shape, dtype: str) -> TensorType:
    if len(scalars) not in (2, 3) or any((t.shape, t.dtype) != ((), "uint32") for t in scalars):
        given = ", ".join(map(str, scalars))
        raise TypeError(f"random: seed, step and the first number are uint32 scalars. Received: {given}")
    return TensorType(shape, dtype)


def _uniform(*scalars: np.ndarray, stream: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    numbers: np.ndarray = uniform(_words(scalars, stream, shape)[0]).reshape(shape).astype(dtype)
    return numbers


def _normal(*scalars: np.ndarray, stream: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return normal(*_words(scalars, stream, shape)).reshape(shape).astype(dtype)


def _words(
    scalars: Sequence[np.ndarray], stream: int, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    seed, step, first = (int(x) for x in (*scalars, np.uint32(0))[:3])
    return random_words(seed, stream, step, int(np.prod(shape)), first)


def _element(element: Callable[..., Any]) -> Callable[..., Any]:
    """The lowering: element(b, seed, stream, step, number) for each element."""

    def lower(b: Any, call: Any, index: Any, seed: Any, step: Any, *first: Any) -> Any:
        number = b.flatten(index, call.type.shape)
        if first:
            number = b.add(b.cast(number, "uint32"), first[0](()))
        return element(b, seed(()), call.attrs["stream"], step(()), number)

    return lower


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
            lower=_element(element),
            cases=lambda draw: Case(
                (TensorType((), "uint32"),) * draw.integer(2, 3),
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

"""Random numbers of tf by a state or a seed of their own: `tf.random.Generator`, `tf.random.stateless_*`,
`tf.image.stateless_random_*`, on values.

Numbers are drawn by numpy, and so are others than TensorFlow's; the same seed gives the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.keras.eager import EagerTensor
from kcompile.keras.settings import new_seed
from kcompile.keras.tracing import check_repeats
from kcompile.tensorflow.augmenting import FUNCTIONS as AUGMENTING
from kcompile.tensorflow.further import adjust_jpeg_quality
from kcompile_runtime.errors import InputError, describe


def _sizes(shape: Any) -> tuple[int, ...]:
    return tuple(int(d) for d in np.ravel(np.asarray(shape)))


def _normal(draws: np.random.Generator, shape: Any, mean: Any, stddev: Any, dtype: Any) -> Any:
    made = draws.standard_normal(_sizes(shape)) * np.asarray(stddev) + np.asarray(mean)
    return np.asarray(made).astype(str(dtype)).view(EagerTensor)


def _truncated(draws: np.random.Generator, shape: Any, mean: Any, stddev: Any, dtype: Any) -> Any:
    made = draws.standard_normal(_sizes(shape))
    while (outside := np.abs(made) > 2).any():
        made = np.where(outside, draws.standard_normal(made.shape), made)
    return np.asarray(made * np.asarray(stddev) + np.asarray(mean)).astype(str(dtype)).view(EagerTensor)


def _uniform(draws: np.random.Generator, shape: Any, minval: Any, maxval: Any, dtype: Any) -> Any:
    low = np.asarray(minval)
    if "int" in str(dtype):
        if maxval is None:
            raise InputError(describe("uniform: maxval", "a number, of whole numbers", "None"))
        return (
            np.asarray(draws.integers(low, np.asarray(maxval), _sizes(shape)))
            .astype(str(dtype))
            .view(EagerTensor)
        )
    high = np.asarray(1.0 if maxval is None else maxval)
    made = draws.random(_sizes(shape)) * (high - low) + low
    return np.asarray(made).astype(str(dtype)).view(EagerTensor)


class Generator:
    """Random numbers one after another. seed: the first state."""

    def __init__(self, seed: Any = None) -> None:
        self._seed = [
            int(s) % 2**64 for s in np.ravel(np.asarray(new_seed(32, np.uint32) if seed is None else seed))
        ]
        self._generator = np.random.default_rng(self._seed)

    @property
    def _draws(self) -> np.random.Generator:
        check_repeats("tf.random.Generator")
        return self._generator

    @classmethod
    def from_seed(cls, seed: Any, alg: Any = None) -> Generator:
        """One that begins with a seed."""
        return cls(seed)

    @classmethod
    def from_non_deterministic_state(cls, alg: Any = None) -> Generator:
        """One that begins anywhere."""
        return cls()

    def reset_from_seed(self, seed: Any) -> None:
        """Begin again."""
        self.__init__(seed)  # type: ignore[misc]

    def normal(
        self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", name: Any = None
    ) -> Any:
        """Normal numbers."""
        return _normal(self._draws, shape, mean, stddev, dtype)

    def truncated_normal(
        self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", name: Any = None
    ) -> Any:
        """Normal numbers within two deviations."""
        return _truncated(self._draws, shape, mean, stddev, dtype)

    def uniform(
        self, shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = "float32", name: Any = None
    ) -> Any:
        """Uniform numbers; whole ones in an integer dtype."""
        return _uniform(self._draws, shape, minval, maxval, dtype)

    def binomial(self, shape: Any, counts: Any, probs: Any, dtype: Any = "int32", name: Any = None) -> Any:
        """How many of so many trials succeed."""
        made = self._draws.binomial(np.asarray(counts), np.asarray(probs), _sizes(shape))
        return np.asarray(made).astype(str(dtype)).view(EagerTensor)

    def make_seeds(self, count: int = 1) -> Any:
        """Seeds [2, count] for stateless functions."""
        return self._draws.integers(0, 2**31, (2, int(count))).view(EagerTensor)

    def split(self, count: int = 1) -> list[Generator]:
        """Other generators."""
        return [Generator(seeds) for seeds in self._draws.integers(0, 2**31, (int(count), 2))]


_global: list[Generator] = []


def global_generator() -> Generator:
    """The one that scripts share."""
    if not _global:
        _global.append(Generator())
    return _global[0]


def set_global_generator(generator: Generator) -> None:
    """Let scripts share another one."""
    _global[:] = [generator]


def _of(seed: Any) -> np.random.Generator:
    numbers = [int(s) % 2**64 for s in np.ravel(np.asarray(seed))]
    if len(numbers) != 2:
        raise InputError(describe("a stateless function: seed", "two numbers", repr(seed)))
    return np.random.default_rng(numbers)


def _stateless_normal(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Normal numbers that follow from a seed, as draw makes them."""

    def function(
        shape: Any,
        seed: Any,
        mean: Any = 0.0,
        stddev: Any = 1.0,
        dtype: Any = "float32",
        name: Any = None,
        alg: Any = "",
    ) -> Any:
        return draw(_of(seed), shape, mean, stddev, dtype)

    return function


def stateless_uniform(
    shape: Any,
    seed: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = "float32",
    name: Any = None,
    alg: Any = "",
) -> Any:
    """Uniform numbers that follow from a seed."""
    return _uniform(_of(seed), shape, minval, maxval, dtype)


def poisson(shape: Any, lam: Any, dtype: Any = "float32", seed: Any = None, name: Any = None) -> Any:
    """Numbers of events, of this shape for each rate."""
    rate = np.asarray(lam)
    draws = np.random.default_rng(int(new_seed(32, np.uint32)) if seed is None else int(seed))
    return draws.poisson(rate, (*_sizes(shape), *rate.shape)).astype(str(dtype)).view(EagerTensor)


def _stateless(name: str) -> Callable[..., Any]:
    """A function of tf.image that draws, by a seed of two numbers."""
    function = AUGMENTING[f"image.random_{name}"]

    def number(seed: Any) -> int:
        return int(_of(seed).integers(2**31))

    if name.startswith("flip"):
        return lambda image, seed: function(image, seed=number(seed))
    if name in ("brightness", "hue"):
        return lambda image, max_delta, seed: function(image, max_delta, seed=number(seed))
    if name == "crop":
        return lambda value, size, seed, name=None: function(value, size, seed=number(seed))
    return lambda image, lower, upper, seed=None: function(image, lower, upper, seed=number(seed))


def random_jpeg_quality(image: Any, min_jpeg_quality: int, max_jpeg_quality: int, seed: Any = None) -> Any:
    """What is left of an image that was written as JPEG of a quality between the two."""
    draws = np.random.default_rng(
        int(new_seed(32, np.uint32)) if seed is None else int(np.sum(np.asarray(seed)))
    )
    return adjust_jpeg_quality(image, int(draws.integers(min_jpeg_quality, max_jpeg_quality)))


_RANDOM = ("brightness", "contrast", "crop", "flip_left_right", "flip_up_down", "hue", "saturation")
FUNCTIONS: dict[str, Any] = {
    **{f"image.stateless_random_{name}": _stateless(name) for name in _RANDOM},
    "image.random_jpeg_quality": random_jpeg_quality,
    "image.stateless_random_jpeg_quality": random_jpeg_quality,
    "random.poisson": poisson,
    "random.stateless_normal": _stateless_normal(_normal),
    "random.stateless_truncated_normal": _stateless_normal(_truncated),
    "random.stateless_uniform": stateless_uniform,
}
NAMES: dict[str, Any] = {
    "random.Generator": Generator,
    "random.experimental.Generator": Generator,
    "random.get_global_generator": global_generator,
    "random.set_global_generator": set_global_generator,
}

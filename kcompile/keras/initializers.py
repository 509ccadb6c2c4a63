"""First values of weights. An initializer is called with a shape and gives a numpy array.

A seed that is not given is drawn from numpy's global generator at each call, so `np.random.seed`
repeats a script; a given seed makes every call give the same values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.keras.eager import at_once
from kcompile.keras.orthonormal import orthonormal
from kcompile.keras.settings import DATA_FORMATS, checked_data_format, floatx, meaning, new_seed
from kcompile.keras.signal_windows import window_name, window_of
from kcompile.keras.utils.serialization import deserialize as _deserialize
from kcompile.keras.utils.serialization import deserializer, serialize
from kcompile_runtime.arrays import as_array
from kcompile_runtime.checks import check_flag
from kcompile_runtime.errors import ModelError, describe

Shape = Sequence[int]
# standard deviation of a unit normal cut off at two of them
TRUNCATED_STDDEV = 0.87962566103423978


class Initializer:
    """Base: called with a shape. Subclasses keep each constructor argument as an attribute."""

    seed: int | None = None

    def __call__(self, shape: Shape, dtype: str | None = None) -> np.ndarray:
        made = np.asarray(self.fill(tuple(map(int, shape))), str(dtype or floatx()))
        return at_once(made)

    def fill(self, shape: tuple[int, ...]) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} must define fill(shape) or __call__")

    def generator(self) -> np.random.Generator:
        seed = new_seed(31) if self.seed is None else self.seed
        if meaning().seeds == "of 32 bits" and not 0 <= seed < 2**32:
            wanted = "an integer from 0 to 2**32 - 1, or None"
            raise ModelError(describe(f"{type(self).__name__}: seed", wanted, repr(seed)))
        return np.random.default_rng(seed if seed >= 0 else [0, -seed])

    def get_config(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        return cls(**{k: v for k, v in config.items() if k != "dtype"})


class Zeros(Initializer):
    """Zeros."""

    def fill(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.zeros(shape)


class Ones(Initializer):
    """Ones."""

    def fill(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.ones(shape)


def _finite(name: str, value: Any, low: float = -math.inf) -> Any:
    """A number of at least `low`. Raises ModelError."""
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and value >= low):
        least = "" if low == -math.inf else f" of at least {low:g}"
        raise ModelError(describe(f"initializer: {name}", f"a finite number{least}", repr(value)))
    return value


class Constant(Initializer):
    """A number, or an array of the weight's shape."""

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def fill(self, shape: tuple[int, ...]) -> np.ndarray:
        array = as_array(self.value, "Constant")
        if array.ndim and array.shape != shape:
            raise ModelError(describe("Constant", f"shape {shape}", f"shape {array.shape}"))
        return np.broadcast_to(array, shape)

    def get_config(self) -> dict[str, Any]:
        return {"value": serialize(self.value)}


class RandomNormal(Initializer):
    """Normal numbers. mean, stddev: of the distribution; seed: by default drawn from numpy's generator."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean, self.stddev, self.seed = _finite("mean", mean), _finite("stddev", stddev, 0), seed

    def fill(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.generator().normal(self.mean, self.stddev, shape)


class RandomUniform(Initializer):
    """Uniform numbers from minval to maxval; seed: by default drawn from numpy's generator."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        self.minval, self.maxval, self.seed = _finite("minval", minval), _finite("maxval", maxval), seed

    def fill(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.generator().uniform(self.minval, self.maxval, shape)


class TruncatedNormal(Initializer):
    """Normal values; those beyond two standard deviations are drawn again."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean, self.stddev, self.seed = _finite("mean", mean), _finite("stddev", stddev, 0), seed

    def fill(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.mean + self.stddev * _truncated(self.generator(), shape)


def _truncated(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(generator.standard_normal(shape))
    while (far := np.abs(values) > 2).any():
        values[far] = generator.standard_normal(int(far.sum()))
    return values


class VarianceScaling(Initializer):
    """Variance `scale / n`, n being fan_in, fan_out or their mean (Glorot 2010, He 2015).

    distribution: "uniform", "normal" or "truncated_normal" (cut off at two standard deviations),
    "untruncated_normal". input_axes, output_axes (both, or neither): the axes whose sizes make up fan_in and
    fan_out, where they are others than those of a kernel.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "normal",
        seed: int | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        distributions = ("uniform", "normal", "truncated_normal", "untruncated_normal")
        named = isinstance(mode, str) and isinstance(distribution, str)
        if (
            _finite("scale", scale) <= 0
            or not named
            or mode not in ("fan_in", "fan_out", "fan_avg")
            or distribution not in distributions
        ):
            raise ModelError(
                describe(
                    "VarianceScaling",
                    "a positive scale, a mode of fan_in, fan_out, fan_avg, and a "
                    f"distribution of {', '.join(distributions)}",
                    f"scale={scale}, mode={mode!r}, distribution={distribution!r}",
                )
            )
        self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, seed
        self.input_axes, self.output_axes = _axes("input_axes", input_axes), _axes("output_axes", output_axes)
        if (self.input_axes is None) != (self.output_axes is None):
            wanted = "both input_axes and output_axes, or neither"
            raise ModelError(describe(type(self).__name__, wanted, "one of them"))

    def get_config(self) -> dict[str, Any]:
        own = {k: v for k, v in vars(self).items() if not k.endswith("_axes")}
        return {**own, **self._axes_config()}

    def _axes_config(self) -> dict[str, Any]:
        if self.input_axes is None or self.output_axes is None:
            return {}
        return {"input_axes": list(self.input_axes), "output_axes": list(self.output_axes)}

    def _fans(self, shape: tuple[int, ...]) -> tuple[float, float]:
        if self.input_axes is None or self.output_axes is None:
            return _fans(shape)
        sizes = [[shape[k] for k in axes] for axes in (self.input_axes, self.output_axes)]
        return math.prod(sizes[0]), math.prod(sizes[1])

    def fill(self, shape: tuple[int, ...]) -> np.ndarray:
        fan_in, fan_out = self._fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance, generator = self.scale / max(1.0, fan), self.generator()
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return generator.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return generator.normal(0, math.sqrt(variance), shape)
        return _truncated(generator, shape) * (math.sqrt(variance) / TRUNCATED_STDDEV)


def _axes(name: str, value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    axes = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not all(isinstance(axis, (int, np.integer)) and not isinstance(axis, bool) for axis in axes):
        raise ModelError(describe(f"VarianceScaling: {name}", "a list of axes", repr(value)))
    return tuple(int(axis) for axis in axes)


def _fans(shape: Sequence[int], data_format: str = DATA_FORMATS[0]) -> tuple[float, float]:
    """How many inputs an output sums, and how many outputs an input reaches. data_format: where a kernel has
    its channels, which in those of layers are last."""
    if len(shape) > 2 and checked_data_format(data_format) == "channels_first":
        shape = (*shape[2:], shape[1], shape[0])
    if len(shape) < 2:
        size = float(math.prod(shape))
        fan = math.sqrt(size) if meaning().vector_fans == "root" else size
        return fan, fan
    taps = math.prod(shape[:-2])
    return shape[-2] * taps, shape[-1] * taps


def _scaling(name: str, scale: float, mode: str, distribution: str) -> type[VarianceScaling]:
    """A VarianceScaling with only its seed left to choose."""

    def __init__(
        self: VarianceScaling,
        seed: int | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        VarianceScaling.__init__(self, scale, mode, distribution, seed, input_axes, output_axes)

    def get_config(self: VarianceScaling) -> dict[str, Any]:
        return {"seed": self.seed, **self._axes_config()}

    return type(
        name,
        (VarianceScaling,),
        {
            "__init__": __init__,
            "get_config": get_config,
            "__module__": __name__,
            "__doc__": f"VarianceScaling({scale:g}, {mode!r}, {distribution!r}).",
        },
    )


GlorotUniform = _scaling("GlorotUniform", 1.0, "fan_avg", "uniform")
GlorotNormal = _scaling("GlorotNormal", 1.0, "fan_avg", "normal")
HeUniform = _scaling("HeUniform", 2.0, "fan_in", "uniform")
HeNormal = _scaling("HeNormal", 2.0, "fan_in", "normal")
LecunUniform = _scaling("LecunUniform", 1.0, "fan_in", "uniform")
LecunNormal = _scaling("LecunNormal", 1.0, "fan_in", "normal")


class Orthogonal(Initializer):
    """Orthonormal columns (or rows, whichever are fewer) of the weight as a matrix whose columns
    are its last axis, times gain (Saxe et al. 2014)."""

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain, self.seed = _finite("gain", gain), seed

    def fill(self, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) < 2:
            raise ModelError(describe("Orthogonal", "a weight of rank 2 or more", f"shape {shape}"))
        rows, columns = math.prod(shape[:-1]), shape[-1]
        # Q where R has a positive diagonal: the distribution is uniform
        q = orthonormal(self.generator().standard_normal((max(rows, columns), min(rows, columns))))
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


class Identity(Initializer):
    """The identity matrix times gain; where the sides differ, see `Semantics.identity`."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = _finite("gain", gain)

    def fill(self, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) != 2:
            raise ModelError(describe("Identity", "a weight of rank 2", f"shape {shape}"))
        if meaning().identity != "tiled":
            return self.gain * np.eye(*shape)
        if max(shape) % min(shape):
            raise ModelError(describe("Identity", "a side that is a multiple of the other", f"shape {shape}"))
        return self.gain * self.tiled(shape)

    @staticmethod
    def tiled(shape: tuple[int, ...]) -> np.ndarray:
        """Identity matrices of the shorter side, beside or below each other."""
        side = min(shape)
        return np.tile(np.eye(side), [size // side for size in shape])


class STFT(Initializer):
    """Kernels [frame, 1, frequencies] of a convolution that is a short-time Fourier transform: the cosines
    (side "real") or sines ("imag") of each frequency, times a window.

    window: a name of `signal_windows`, the numbers, or None. scaling: the window has the length 1
    ("density"), the sum 1 ("spectrum"), or is as it is (None). periodic: the window is one of a period, and
    not symmetric.
    """

    def __init__(
        self,
        side: str = "real",
        window: Any = "hann",
        scaling: str | None = "density",
        periodic: bool = False,
    ) -> None:
        if not isinstance(side, str) or side not in ("real", "imag"):
            raise ModelError(describe("STFT: side", "'real' or 'imag'", repr(side)))
        window_name("STFT", window)
        if scaling is not None and (not isinstance(scaling, str) or scaling not in ("density", "spectrum")):
            raise ModelError(describe("STFT: scaling", "'density', 'spectrum' or None", repr(scaling)))
        if window is not None and not isinstance(window, str):
            window = as_array(window, "STFT: window").tolist()
        self.side, self.window, self.scaling = side, window, scaling
        self.periodic = check_flag("STFT: periodic", periodic)

    def __call__(self, shape: Shape, dtype: str | None = None) -> np.ndarray:
        """Angles are rounded as Keras rounds them: of the highest frequency all sines are rounding errors,
        and their signs say by which of two equal angles a wave is turned."""
        frame, _, frequencies = shape
        kind = np.dtype(dtype or floatx()).type
        share = np.arange(frequencies, dtype=kind) / kind(max(2 * (frequencies - 1), 1))
        angles = np.outer(-2 * np.arange(frame, dtype=kind), share) * kind(np.pi)
        made = (np.cos if self.side == "real" else np.sin)(angles)[:, None, :]
        return np.asarray(self._weighted(made.astype(float), frame), kind)

    def _weighted(self, made: np.ndarray, frame: int) -> np.ndarray:
        if self.window is None:
            return made
        weights = self.window
        if isinstance(weights, str):
            weights = window_of(weights, frame, self.periodic)
        weights = np.asarray(weights, float)
        if weights.shape != (frame,):
            raise ModelError(describe("STFT: window", f"{frame} numbers", f"{weights.shape}"))
        size = {"density": np.sqrt(np.sum(weights**2)), "spectrum": np.abs(weights).sum(), None: 1.0}
        return made * weights[:, None, None] / size[self.scaling]


zero = zeros = Zeros
one = ones = Ones
constant = Constant
normal = random_normal = RandomNormal
uniform = random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
orthogonal = OrthogonalInitializer = Orthogonal
identity = IdentityInitializer = Identity
stft = STFTInitializer = STFT
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
he_uniform, he_normal = HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal

_KNOWN = {
    name: value
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, Initializer)
}


def get(identifier: Any) -> Callable[[Shape], np.ndarray]:
    """The initializer for a name, an object, a function of the shape, or a configuration."""
    found: Callable[[Shape], np.ndarray] | None = _deserialize(identifier, _KNOWN, "initializer")
    if found is None:
        raise ModelError(describe("initializer", "a name or an object", "None"))
    return found


deserialize = deserializer(get)

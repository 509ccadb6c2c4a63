"""Spectra of signals over time: short-time Fourier transforms, by a transform or by kernels that train."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS, static
from kcompile.keras.engine import InputSpec, KerasShape, Layer, Variable
from kcompile.keras.initializers import STFT
from kcompile.keras.layers.kernel import known_channels
from kcompile.keras.layers.preprocessing.data import Preprocessing
from kcompile.keras.settings import checked_data_format, epsilon
from kcompile.keras.signal_windows import window_name, window_of_parts
from kcompile.keras.spatial import pads
from kcompile_runtime.arrays import as_array
from kcompile_runtime.checks import check_count, check_number
from kcompile_runtime.errors import InputTypeError, ModelError, describe

__all__ = ["MelSpectrogram", "STFTSpectrogram"]

MODES = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")
SCALES = ("density", "spectrum")


class MelSpectrogram(Preprocessing):
    """How loud each band of the mel scale is over time: signals [..., time] as [..., num_mel_bins, parts].

    Parts of the signal, `sequence_stride` apart, times a window of `sequence_length` ("hann", "hamming", the
    numbers, or None), are transformed (`fft_length` samples); magnitudes to the power of mag_exp are added up
    over triangles, whose corners are evenly apart in mel, 1127 ln(1 + f / 700), from min_freq to max_freq
    (None: half of the sampling_rate). power_to_db: 10 log10 of this over ref_power, each at least min_power,
    and at most top_db below the loudest of the batch.
    """

    def __init__(
        self,
        fft_length: int = 2048,
        sequence_stride: int = 512,
        sequence_length: int | None = None,
        window: Any = "hann",
        sampling_rate: int = 16000,
        num_mel_bins: int = 128,
        min_freq: float = 20.0,
        max_freq: float | None = None,
        power_to_db: bool = True,
        top_db: float = 80.0,
        mag_exp: float = 2.0,
        min_power: float = 1e-10,
        ref_power: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)

        def count(name: str, value: Any) -> int:
            return check_count(f"{self.label}: {name}", value)

        def number(name: str, value: Any) -> float:
            return check_number(f"{self.label}: {name}", value)

        self.fft_length = count("fft_length", fft_length)
        self.sequence_stride = count("sequence_stride", sequence_stride)
        if sequence_length is None:
            sequence_length = self.fft_length
        self.sequence_length = count("sequence_length", sequence_length)
        self.num_mel_bins = count("num_mel_bins", num_mel_bins)
        self.sampling_rate = number("sampling_rate", sampling_rate)
        self.min_freq = number("min_freq", min_freq)
        if max_freq is None:
            max_freq = int(self.sampling_rate / 2)
        self.max_freq = number("max_freq", max_freq)
        self.power_to_db = self.flag("power_to_db", power_to_db)
        self.top_db, self.mag_exp = number("top_db", top_db), number("mag_exp", mag_exp)
        self.min_power, self.ref_power = number("min_power", min_power), number("ref_power", ref_power)
        self.window = _kept(self, window)
        with self.named_errors():
            self._weights = window_of_parts(self.window, self.sequence_length, self.fft_length)

    def call(self, x: Tensor) -> Tensor:
        x = self.floats(x)
        a, b = ops.short_time_fourier(x, self._weights, self.sequence_stride, center=True)
        loud = ops.pow(ops.sqrt(ops.square(a) + ops.square(b)), self.mag_exp)
        bands = ops.constant(x.graph, self._bands(), x.dtype)
        made = ops.dot_general(loud, bands, ([loud.rank - 1], [0]))
        if self.power_to_db:
            made = self._decibels(made)
        return ops.transpose(made, (*range(made.rank - 2), made.rank - 1, made.rank - 2))

    def _bands(self) -> np.ndarray:
        """[frequencies, num_mel_bins]: the triangle of each band, with the height 1; the constant part of the
        signal is in none."""
        frequencies = np.linspace(0, self.sampling_rate / 2, self.fft_length // 2 + 1)[1:]
        ends = _mel(np.array([self.min_freq, self.max_freq]))
        corners = np.linspace(ends[0], ends[1], self.num_mel_bins + 2)
        low, middle, high = corners[:-2], corners[1:-1], corners[2:]
        at = _mel(frequencies)[:, None]
        sides = np.minimum((at - low) / (middle - low), (high - at) / (high - middle))
        return np.pad(np.maximum(sides, 0), ((1, 0), (0, 0)))

    def _decibels(self, x: Tensor) -> Tensor:
        least = self.min_power
        made = ops.log(ops.maximum(x, least)) * (10 / math.log(10))
        made = made - 10 * math.log10(max(abs(self.ref_power), least))
        return ops.maximum(made, ops.reduce_max(made, tuple(range(made.rank))) - self.top_db)


class STFTSpectrogram(Layer):
    """Short-time Fourier transforms of the channels of [batch, time, channels], or channels before time, by a
    convolution whose kernels begin as sines and cosines times a window, and train.

    mode: "real", "imag", the parts of the transform; "stft", both, behind each other; "angle"; "magnitude";
    "log", its logarithm; "psd", the power, doubled where a frequency has a twin. Parts are frame_length long
    and frame_step apart (default half of it), and transformed as if they were fft_length (default the next
    power of two). window, scaling, periodic: see `initializers.STFT`. The result is [batch, parts, channels *
    frequencies], with expand_dims [batch, parts, frequencies, channels]; channels_first: the channels, or
    channels * frequencies, come second.
    """

    real_kernel: Variable | None = None
    imag_kernel: Variable | None = None

    def __init__(
        self,
        mode: str = "log",
        frame_length: int = 256,
        frame_step: int | None = None,
        fft_length: int | None = None,
        window: Any = "hann",
        periodic: bool = False,
        scaling: str | None = "density",
        padding: str = "valid",
        expand_dims: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mode = self.one_of("mode", mode, MODES)
        self.frame_length = check_count(f"{self.label}: frame_length", frame_length)
        self.frame_step = self.fft_length = None
        if frame_step is not None:
            self.frame_step = check_count(f"{self.label}: frame_step", frame_step)
            if self.frame_step > self.frame_length:
                raise ModelError(
                    describe(f"{self.label}: frame_step", f"at most {frame_length}", str(frame_step))
                )
        if fft_length is not None:
            self.fft_length = check_count(f"{self.label}: fft_length", fft_length)
            if self.fft_length < self.frame_length:
                raise ModelError(
                    describe(f"{self.label}: fft_length", f"at least {frame_length}", str(fft_length))
                )
        self._step = self.frame_step or max(self.frame_length // 2, 1)
        self._size = self.fft_length or 2 ** math.ceil(math.log2(self.frame_length))
        window_name(self.label, window)
        self.window, self.periodic = _kept(self, window), self.flag("periodic", periodic)
        self.scaling = None if scaling is None else self.one_of("scaling", scaling, SCALES)
        self.padding = self.one_of("padding", padding, ("valid", "same"))
        self.expand_dims = self.flag("expand_dims", expand_dims)
        with self.named_errors():
            self.data_format = checked_data_format(data_format)
        self.input_spec = InputSpec(ndim=3)

    def build(self, input_shape: KerasShape) -> None:
        axis = 1 if self.data_format == "channels_first" else 2
        self.input_spec = InputSpec(ndim=3, axes={axis: known_channels(input_shape, axis)})
        shape = (self.frame_length, 1, self._size // 2 + 1)
        for side, unused in (("real", "imag"), ("imag", "real")):
            if self.mode != unused:
                start = STFT(side, self.window, self.scaling, self.periodic)
                setattr(self, f"{side}_kernel", self.add_weight(f"{side}_kernel", shape, initializer=start))

    def call(self, x: Tensor) -> Tensor:
        if x.dtype not in FLOATS:
            raise InputTypeError(describe(f"{self.label}: input", "float32 or float64", x.dtype))
        if self.data_format == "channels_last":
            x = ops.transpose(x, (0, 2, 1))
        x = ops.reshape(x, (*x.shape, 1))
        a, b = (self._side(x, kernel) for kernel in (self.real_kernel, self.imag_kernel))
        if a is None or b is None:
            made = a if b is None else b
            assert made is not None
        elif self.mode == "stft":
            made = ops.concatenate([a, b], 3)
        elif self.mode == "angle":
            made = ops.atan2(b, a)
        else:
            made = self._size_of(ops.square(a) + ops.square(b))
        return self._arranged(made)

    def _side(self, x: Tensor, kernel: Variable | None) -> Tensor | None:
        """[batch, channels, time, 1] as [batch, channels, parts, frequencies]."""
        if kernel is None:
            return None
        weights = kernel.__tensor__(x.graph)
        window, steps = (1, self.frame_length), (1, self._step)
        padding = pads(self.padding, x.shape[1:-1], window, steps)
        return ops.conv(x, ops.reshape(weights, (*window, 1, weights.shape[-1])), steps, padding, (1, 1), 1)

    def _size_of(self, power: Tensor) -> Tensor:
        if self.mode == "psd":
            twins = np.ones(self._size // 2 + 1)
            twins[1:-1] = 2
            return power * ops.constant(power.graph, twins, power.dtype)
        made = ops.sqrt(ops.maximum(power, epsilon()))
        return made if self.mode == "magnitude" else ops.log(ops.maximum(made, epsilon()))

    def _arranged(self, x: Tensor) -> Tensor:
        """[batch, channels, parts, frequencies] as the layer gives it."""
        batch, (channels, parts, frequencies) = x.shape[0], static(x.shape[1:])
        last = self.data_format == "channels_last"
        if self.expand_dims:
            return ops.transpose(x, (0, 2, 3, 1)) if last else x
        if last:
            return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (batch, parts, channels * frequencies))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2)), (batch, channels * frequencies, parts))


def _kept(layer: Layer, window: Any) -> Any:
    """A window as a configuration holds it: a name, None, or a list of numbers."""
    if isinstance(window, dict) and window.get("class_name") == "__numpy__":  # how Keras 3 writes an array
        window = window["config"]["value"]
    if window is None or isinstance(window, str):
        return window
    with layer.named_errors():
        return as_array(window, "window").tolist()


def _mel(frequency: np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(frequency / 700.0)

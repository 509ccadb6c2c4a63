"""Spectra of signals over time beside recorded values of Keras 3.15 on JAX, and windows beside scipy 1.17."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras3
from kcompile.ir import ops
from kcompile.ir.gradient import gradient
from kcompile.keras.evaluation import computed
from kcompile.keras.signal_windows import window_of
from kcompile_runtime.errors import InputTypeError, ModelError

L = keras3.layers
SIGNALS = np.cos(np.arange(48) * np.linspace(0.1, 3, 48)).reshape(2, 24).astype("float32")
MEL = {"fft_length": 10, "sequence_stride": 9, "sequence_length": 8, "num_mel_bins": 3, "sampling_rate": 800}
# The first half of symmetric windows of six samples
WINDOWS = {
    "barthann": (0.0, 0.358574, 0.879426),
    "bartlett": (0.0, 0.4, 0.8),
    "blackman": (0.0, 0.20077, 0.84923),
    "blackmanharris": (6e-05, 0.103011, 0.793834),
    "bohman": (0.0, 0.179124, 0.834311),
    "boxcar": (1.0, 1.0, 1.0),
    "cosine": (0.258819, 0.707107, 0.965926),
    "exponential": (0.082085, 0.22313, 0.606531),
    "flattop": (-0.000421, -0.067714, 0.606872),
    "hamming": (0.08, 0.397852, 0.912148),
    "hann": (0.0, 0.345492, 0.904508),
    "lanczos": (0.0, 0.504551, 0.935489),
    "nuttall": (0.000363, 0.110515, 0.798258),
    "parzen": (0.009259, 0.25, 0.861111),
    "taylor": (0.306347, 0.662065, 0.957002),
    "triang": (0.166667, 0.5, 0.833333),
    "tukey": (0.0, 0.904508, 1.0),
}


def test_windows_are_those_of_scipy() -> None:
    for name, half in WINDOWS.items():
        np.testing.assert_allclose(window_of(name, 6, False), half + half[::-1], atol=1e-6, err_msg=name)
        np.testing.assert_allclose(window_of(name, 5, True), window_of(name, 6, False)[:5], err_msg=name)


def test_bands_of_the_mel_scale() -> None:
    wanted = [
        [[7.1335, 4.06413, -9.717], [-5.56202, 5.28567, 1.49022], [-22.8665, -0.83597, 6.03354]],
        [[-22.8665, -5.73801, 5.15243], [-8.60381, 3.54581, 4.14046], [6.73321, 5.98759, -4.1521]],
    ]
    layer = L.MelSpectrogram(**MEL, top_db=30.0)
    np.testing.assert_allclose(layer(SIGNALS), wanted, atol=1e-4)
    assert layer(SIGNALS[0]).shape == (3, 3)
    weights = np.arange(18, dtype="float32").reshape(2, 3, 3)

    def slopes(graph: Any) -> Any:
        x = ops.constant(graph, SIGNALS)
        return gradient(ops.reduce_sum(layer.call(x) * weights, (0, 1, 2)), [x])

    wanted = [[90.4109, 0.0, 12.2236, -1.6852, 18.5148], [191.5045, 0.0, 211.8298, 15.1269, -69.2515]]
    np.testing.assert_allclose(computed(slopes)[0][:, ::5], wanted, rtol=1e-3, atol=1e-3)


def test_kernels_that_transform() -> None:
    x = SIGNALS[..., None]
    wanted = [
        [3.15413, 3.01217, 0.08522, 0.24123, 0.01405],
        [0.01962, 0.42933, 1.88941, 1.48762, 0.00792],
        [0.07741, 0.04877, 0.39167, 1.71085, 1.29054],
    ]
    layer = L.STFTSpectrogram("psd", frame_length=6, frame_step=5, window="tukey", padding="same")
    np.testing.assert_allclose(layer(x)[0, ::2], wanted, atol=1e-5)
    layer = L.STFTSpectrogram("angle", frame_length=4, fft_length=4, periodic=True, scaling="spectrum")
    wanted = [[0.0, -2.96011, 0.0], [0.0, -2.24532, 0.0], [3.14159, -0.10226, 3.14159]]
    np.testing.assert_allclose(layer(x)[0, ::4], wanted, atol=1e-4)
    last, first = (
        L.STFTSpectrogram(frame_length=8, data_format=f"channels_{at}") for at in ("last", "first")
    )
    stereo = np.concatenate([x, x * 2], -1)
    np.testing.assert_allclose(last(stereo).transpose(0, 2, 1), first(stereo.transpose(0, 2, 1)), atol=1e-5)


def test_what_has_no_spectrum_is_refused() -> None:
    with pytest.raises(ModelError, match="smaller than sequence_length"):
        L.MelSpectrogram(fft_length=8, sequence_length=9)
    with pytest.raises(ModelError, match="window: expected 'hann'"):
        L.MelSpectrogram(window="blackman")
    with pytest.raises(ModelError, match="the name of a window"):
        L.STFTSpectrogram(window="gaussian")
    with pytest.raises(ModelError, match="frame_step: expected at most 8"):
        L.STFTSpectrogram(frame_length=8, frame_step=9)
    with pytest.raises(InputTypeError, match="expected float32 or float64"):
        L.STFTSpectrogram(frame_length=8)(np.ones((1, 9, 1), "int32"))

"""Windows: weights of the samples of a part of a signal, by their names in scipy.signal.

Enters: a name and a number of samples. Leaves: weights, in float64. Formulas: Harris, "On the use of windows
for harmonic analysis" (1978); of `taylor`, Carrara, Goodman and Majewski (1995), with scipy's 4 terms and
30 dB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile_runtime.errors import ModelError, describe

# Amplitudes of cosines of 0, 1, 2, ... turns along the window
_COSINES = {
    "blackman": (0.42, 0.5, 0.08),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "boxcar": (1.0,),
    "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
    "hamming": (0.54, 0.46),
    "hann": (0.5, 0.5),
    "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411),
}
_FURTHER_NAMES = {
    "barthann": "brthan bth",
    "bartlett": "bart brt",
    "blackman": "black blk",
    "blackmanharris": "blackharr bkh",
    "bohman": "bman bmn",
    "boxcar": "box ones rect rectangular",
    "cosine": "halfcosine",
    "exponential": "poisson",
    "flattop": "flat flt",
    "hamming": "hamm ham",
    "hann": "han",
    "lanczos": "sinc",
    "nuttall": "nutl nut",
    "parzen": "parz par",
    "taylor": "taylorwin",
    "triang": "triangle tri",
    "tukey": "tuk",
}
_NAMES = {name: name for name in _FURTHER_NAMES}
_NAMES.update({other: name for name, others in _FURTHER_NAMES.items() for other in others.split()})


def window_name(where: str, window: Any) -> None:
    """Raises ModelError where a window is a text that names none."""
    if isinstance(window, str) and window not in _NAMES:
        wanted = f"the name of a window ({', '.join(sorted(_FURTHER_NAMES))}), numbers or None"
        raise ModelError(describe(f"{where}: window", wanted, repr(window)))


def window_of(name: str, size: int, periodic: bool) -> np.ndarray:
    """`size` weights. periodic: the window is one period, else it is symmetric."""
    if size <= 1:
        return np.ones(size)
    name, points = _NAMES[name], size + 1 if periodic else size
    place = np.arange(points)
    at = 2 * place / (points - 1) - 1  # from -1 to 1
    if name in _COSINES:
        made = sum(a * np.cos(k * np.pi * at) for k, a in enumerate(_COSINES[name]))
        return np.asarray(made + np.zeros(points))[:size]
    return _OTHERS[name](at, place, points)[:size]


def window_of_parts(window: Any, length: int, size: int) -> np.ndarray:
    """`size` weights of the parts of a short-time Fourier transform: those of a window of `length`, zeros
    around them. window: "hann", "hamming", the numbers, or None for ones. Raises ValueError."""
    if size < length:
        raise ValueError(f"fft_length={size} is smaller than sequence_length={length}")
    if window is None:
        return np.ones(size)
    if isinstance(window, str):
        if window not in ("hann", "hamming"):
            raise ValueError(f"window: expected 'hann', 'hamming', an array or None. Received: {window!r}")
        values = window_of(window, length, periodic=True)
    else:
        values = np.asarray(window, np.float64)
    if values.shape != (length,):
        raise ValueError(f"window: expected [{length}]. Received: {list(values.shape)}")
    before = (size - length) // 2
    return np.pad(values, (before, size - length - before))


def _bohman(at: np.ndarray, place: np.ndarray, points: int) -> np.ndarray:
    far = np.abs(at)
    made = (1 - far) * np.cos(np.pi * far) + np.sin(np.pi * far) / np.pi
    return np.where(far >= 1, 0.0, made)


def _parzen(at: np.ndarray, place: np.ndarray, points: int) -> np.ndarray:
    middle = (points - 1) / 2
    far = np.abs(place - middle) / (points / 2)
    near = np.abs(place - middle) <= middle / 2
    return np.where(near, 1 - 6 * far**2 + 6 * far**3, 2 * (1 - far) ** 3)


def _taylor(at: np.ndarray, place: np.ndarray, points: int) -> np.ndarray:
    terms = 4
    a = np.arccosh(10 ** (30 / 20)) / np.pi
    widened = terms**2 / (a**2 + (terms - 0.5) ** 2)
    orders = np.arange(1, terms)
    amplitudes = [
        (-1) ** (m + 1)
        * np.prod(1 - m**2 / widened / (a**2 + (orders - 0.5) ** 2))
        / (2 * np.prod([1 - m**2 / other**2 for other in orders if other != m]))
        for m in orders
    ]

    def at_places(n: Any) -> Any:
        turns = np.multiply.outer(orders, (n - points / 2 + 0.5) / points)
        return 1 + 2 * np.tensordot(amplitudes, np.cos(2 * np.pi * turns), 1)

    return np.asarray(at_places(place) / at_places((points - 1) / 2))


def _tukey(at: np.ndarray, place: np.ndarray, points: int) -> np.ndarray:
    past = np.maximum(np.abs(at) - 0.5, 0) / 0.5
    return np.asarray(0.5 * (1 + np.cos(np.pi * past)))


_OTHERS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "barthann": lambda at, _, points: 0.62 - 0.24 * np.abs(at) + 0.38 * np.cos(np.pi * at),
    "bartlett": lambda at, _, points: 1 - np.abs(at),
    "bohman": _bohman,
    "cosine": lambda _, place, points: np.sin(np.pi / points * (place + 0.5)),
    "exponential": lambda _, place, points: np.exp(-np.abs(place - (points - 1) / 2)),
    "lanczos": lambda at, _, points: np.sinc(at),
    "parzen": _parzen,
    "taylor": _taylor,
    "triang": lambda _, place, points: 1 - np.abs(2 * place - (points - 1)) / (points + points % 2),
    "tukey": _tukey,
}

"""Sounds of WAV files as arrays.

Enters: the bytes of a file. Leaves: float32 [samples, channels] from -1 to 1, and the samples of a second.
"""

from __future__ import annotations

import io
import wave

import numpy as np

from kcompile_runtime.errors import InputError, UnsupportedError, describe


def decoded(held: bytes) -> tuple[np.ndarray, int]:
    """The samples. Raises InputError for what is no such file, UnsupportedError for other than 16 bits."""
    try:
        with wave.open(io.BytesIO(held)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise InputError(describe("a WAV file", "samples of 16 bits", str(error) or "an end")) from error
    if width != 2:
        raise UnsupportedError(f"a WAV file of samples of {8 * width} bits: those of 16 bits are read")
    whole = len(frames) // (2 * channels) * 2 * channels
    found = np.frombuffer(frames[:whole], "<i2").reshape(-1, channels)
    return found.astype(np.float32) / np.float32(32768), rate


def of_length(samples: np.ndarray, count: int) -> np.ndarray:
    """So many of the samples, with zeros behind them where there are fewer."""
    return np.pad(samples[:count], ((0, max(0, count - len(samples))), (0, 0)))

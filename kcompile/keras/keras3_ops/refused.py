"""Functions of keras.ops that are not supported, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from kcompile_runtime.errors import UnsupportedError

_COMPLEX = "complex numbers are not supported"
_MATRICES = "there is no op that factorises or inverts matrices"
_DATA = "the size of its result depends on the data, and sizes are known when a model is compiled"
_BITS = "there are no ops on the bits of integers"

REASONS = {
    **dict.fromkeys(
        (
            "fft",
            "fft2",
            "ifft2",
            "rfft",
            "irfft",
            "stft",
            "istft",
            "polar",
            "view_as_complex",
            "view_as_real",
        ),
        _COMPLEX,
    ),
    **dict.fromkeys(
        (
            "cholesky",
            "cholesky_inverse",
            "det",
            "eig",
            "eigh",
            "inv",
            "logdet",
            "lstsq",
            "lu_factor",
            "matrix_rank",
            "pinv",
            "qr",
            "slogdet",
            "solve",
            "solve_triangular",
            "svd",
        ),
        _MATRICES,
    ),
    **dict.fromkeys(("bincount", "histogram", "nonzero", "unique"), _DATA),
    **dict.fromkeys(
        ("bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_right_shift", "gcd", "lcm"), _BITS
    ),
    **dict.fromkeys(("left_shift", "nextafter", "right_shift"), _BITS),
    "ctc_decode": "paths are searched on values. Use kcompile.keras.backend.ctc_decode on what predict gives",
    "ctc_loss": "use kcompile.keras.backend.ctc_batch_cost",
    "custom_gradient": "gradients follow from the ops. Use ops.stop_gradient where none shall flow",
    "fold": "windows that overlap are added up in gradients alone. Use ops.conv_transpose",
    "jvp": "gradients are taken of the loss of a model",
    "nanargmax": "NaN decides whether it fails. Use ops.argmax of ops.nan_to_num",
    "nanargmin": "NaN decides whether it fails. Use ops.argmin of ops.nan_to_num",
    "vectorize": "use ops.vectorized_map",
}


def refusing(name: str, reason: str) -> Callable[..., NoReturn]:
    """A function of this name that says so."""

    def refused(*args: Any, **kwargs: Any) -> NoReturn:
        raise UnsupportedError(f"ops.{name}: {reason}")

    refused.__name__ = refused.__qualname__ = name
    refused.__doc__ = f"Not supported: {reason}."
    return refused

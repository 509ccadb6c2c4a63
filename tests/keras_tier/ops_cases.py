"""Calls of every function of keras.ops, for comparing ours with Keras'.

CASES: by function, calls as (args, kwargs). Arrays are drawn, of values that the function is defined for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_draw = np.random.default_rng(11)


def A(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Numbers in [low, high)."""
    return _draw.uniform(low, high, shape).astype(np.float32)


def I(*shape: int, low: int = 0, high: int = 4) -> np.ndarray:  # noqa: E743
    """Whole numbers."""
    return _draw.integers(low, high, shape).astype(np.int32)


def B(*shape: int) -> np.ndarray:
    """Bools."""
    return _draw.random(shape) < 0.5


def N(*shape: int) -> np.ndarray:
    """Numbers with NaN and infinities among them."""
    x = A(*shape)
    x.flat[1], x.flat[3] = np.nan, np.nan
    return x


X, Y = A(3, 4), A(3, 4)
P = A(3, 4, low=0.1)
U = A(3, 4, low=-0.9, high=0.9)
CUBE = A(2, 3, 4)
SPECIAL = np.array([[1.0, np.nan, np.inf], [-np.inf, -0.0, 2.5]], np.float32)
COUNTS = I(3, 4, low=1)
SIGNED = I(3, 4, low=-3)
IMAGES = A(2, 6, 5, 3)
FIRST = np.transpose(IMAGES, (0, 3, 1, 2)).copy()
SQUARE, MATRICES = A(4, 4), A(2, 3, 3, 3)
TALL, WIDE = A(5, 3), A(3, 5)
POSITIVE = SQUARE @ SQUARE.T + np.eye(4, dtype=np.float32)
WHOLE, SHIFTS = I(3, 4, low=-40, high=40), I(3, 4, high=7)
COLOURS = A(2, 6, 5, 3, low=0.0, high=1.0)
BYTES = I(2, 6, 5, 3, high=256).astype(np.uint8)
MOVES = np.array([[1.1, 0.1, -0.7, 0.05, 0.9, 0.4, 0, 0], [1, 0, 1.2, 0, 1, -2.3, 0, 0]], np.float32)
CORNERS = np.array([[0, 0], [0, 4], [3, 0], [4, 4]], np.float32)
Q, KV = A(2, 3, 4, 8), A(2, 5, 4, 8)

Call = tuple[tuple[Any, ...], dict[str, Any]]


def c(*args: Any, **kwargs: Any) -> Call:
    return args, kwargs


def _each(names: str, *calls: Call) -> dict[str, list[Call]]:
    return {name: list(calls) for name in names.split()}


CASES: dict[str, list[Call]] = {
    **_each("abs absolute negative sign square", c(X), c(SIGNED)),
    **_each(
        "ceil floor fabs trunc exp exp2 expm1 sin cos tan arctan sinh cosh tanh arcsinh "
        "deg2rad rad2deg erfc cbrt sinc i0 angle conj conjugate imag real isreal relu relu6 "
        "softplus softsign log_sigmoid hard_sigmoid hard_silu hard_swish hard_tanh tanh_shrink "
        "selu sparse_plus sparse_sigmoid leaky_relu elu celu gelu squareplus hard_shrink "
        "soft_shrink softmax log_softmax",
        c(X * 3),
        c(SIGNED),
    ),
    **_each("log log10 log2 log1p sqrt reciprocal", c(P), c(COUNTS)),
    "rsqrt": [c(P)],
    **_each("erf sigmoid silu swish", c(X * 3)),  # which Keras has of floats alone
    **_each("arcsin arccos arctanh erfinv", c(U)),
    **_each("isnan isfinite isinf isposinf isneginf signbit", c(SPECIAL)),
    "arccosh": [c(P + 1)],
    "signbit": [c(X), c(SPECIAL[0])],
    "round": [c(X * 3), c(X * 3, 1), c(np.array([0.5, 1.5, -0.5, 2.5], np.float32)), c(SIGNED)],
    "clip": [c(X, -1, 0.5), c(SIGNED, -1, 2), c(X, Y - 3, Y + 1)],
    "nan_to_num": [c(SPECIAL), c(SPECIAL, 3.0, 4.0, -5.0), c(SIGNED)],
    **_each("logical_not", c(B(3, 4)), c(X)),
    **_each(
        "add subtract multiply maximum minimum equal not_equal greater greater_equal less less_equal",
        c(X, Y),
        c(X, 2),
        c(SIGNED, 1.5),
        c(SIGNED, COUNTS),
        c(X, SIGNED),
        c(X, Y[0]),
        c(2, X),
    ),
    **_each("logical_and logical_or logical_xor", c(B(3, 4), B(3, 4)), c(SIGNED, True)),
    **_each("divide true_divide", c(X, P), c(SIGNED, COUNTS), c(1, P), c(SIGNED, 2)),
    **_each("divide_no_nan", c(X, I(3, 4, low=0, high=2).astype(np.float32))),
    **_each("floor_divide mod fmod", c(X, P), c(SIGNED, COUNTS), c(SIGNED, 2)),
    **_each("fmax fmin", c(N(2, 3), A(2, 3)), c(A(2, 3), N(2, 3))),
    "power": [c(P, Y), c(X, 2), c(X, 3), c(SIGNED, 2), c(SIGNED, 3), c(P, -1.5), c(2, X)],
    **_each("arctan2 hypot logaddexp logaddexp2", c(X, Y)),
    "heaviside": [c(np.array([-1.0, 0.0, 2.0], np.float32), 0.5)],
    "ldexp": [c(X, SIGNED)],
    **_each("bitwise_and bitwise_or bitwise_xor", c(B(3, 4), B(3, 4)), c(WHOLE, SHIFTS), c(BYTES, 15)),
    **_each("bitwise_invert bitwise_not", c(WHOLE), c(BYTES), c(B(3, 4))),
    **_each(
        "bitwise_left_shift bitwise_right_shift left_shift right_shift",
        c(WHOLE, SHIFTS),
        c(WHOLE, 2),
        c(BYTES, I(3, high=8).astype(np.uint8)),
    ),
    **_each("gcd lcm", c(WHOLE, SHIFTS), c(I(3, 1, high=90), I(4, high=60)), c(WHOLE * 1000, 360)),
    "nextafter": [c(X, Y), c(SPECIAL, np.float32(0)), c(np.zeros(2, np.float32), np.float32([1, -1]))],
    **_each(
        "isclose allclose", c(X, X + 1e-6), c(X, X + 1e-3, rtol=1e-2), c(N(2, 3), N(2, 3), equal_nan=True)
    ),
    "where": [c(X > 0, X, Y), c(X > 0, SIGNED, 0.5), c(X > 0, 1, 0)],
    "select": [c([X > 1, X > 0], [X, Y], 7.0)],
    **_each("cast saturate_cast", c(X, "int32"), c(X, "bool"), c(SIGNED, "float32"), c(P, "uint8")),
    "saturate_cast": [c(X * 200, "uint8"), c(SIGNED, "uint8"), c(X, "int32")],
    # ---- made
    **_each("zeros ones", c((2, 3)), c((2,), "int32"), c(3)),
    "full": [c((2, 3), 1.5), c((2,), 3, "int32")],
    **_each("zeros_like ones_like", c(X), c(SIGNED), c(X, "int32")),
    "full_like": [c(X, 2.0), c(SIGNED, 2)],
    "eye": [c(3), c(3, 4, 1), c(2, dtype="int32")],
    "identity": [c(3)],
    "tri": [c(3), c(3, 4, -1)],
    "arange": [c(5), c(1, 7, 2), c(0.5, 3.0, 0.5), c(4, dtype="float32")],
    "linspace": [
        c(0, 1, 5),
        c(X, Y, 3),
        c(X, Y, 3, axis=-1),
        c(0.0, 2.0, 4, endpoint=False),
        c(0.0, 2.0, 4, retstep=True),
    ],
    "logspace": [c(0, 2, 5), c(0.0, 1.0, 3, base=2)],
    "geomspace": [c(1.0, 100.0, 5)],
    "array": [c([[1.0, 2.0]]), c(X, "int32")],
    "convert_to_tensor": [c([1, 2]), c(X)],
    "copy": [c(X)],
    "stop_gradient": [c(X)],
    **_each("bartlett blackman hamming hanning", c(6)),
    "kaiser": [c(6, 3.0)],
    # ---- shapes
    "reshape": [c(X, (2, 6)), c(X, (-1, 2)), c(X, -1)],
    "ravel": [c(CUBE)],
    "transpose": [c(CUBE), c(CUBE, (1, 0, 2))],
    "swapaxes": [c(CUBE, 0, -1)],
    "moveaxis": [c(CUBE, 0, -1), c(CUBE, [0, 1], [-1, 0])],
    "expand_dims": [c(X, 0), c(X, -1), c(X, (0, 2))],
    "squeeze": [c(A(2, 1, 3, 1)), c(A(2, 1, 3, 1), 1)],
    "broadcast_to": [c(A(4), (3, 4))],
    "view": [c(X)],
    **_each("size ndim", c(CUBE)),
    "shape": [c(CUBE)],
    "concatenate": [c([X, Y]), c([X, SIGNED], axis=-1)],
    "append": [c(X, Y), c(X, Y, 1)],
    "stack": [c([X, Y]), c([X, Y], -1)],
    **_each("hstack vstack dstack", c([X, Y]), c([A(3), A(3)]), c([CUBE, CUBE])),
    "split": [c(X, 2, 1), c(X, [1, 3], 1), c(CUBE, 3, axis=1)],
    "array_split": [c(X, 3, 1), c(X, 2)],
    "hsplit": [c(X, 2)],
    "vsplit": [c(CUBE, 2)],
    "dsplit": [c(CUBE, 2)],
    "unstack": [c(X), c(X, axis=1)],
    "meshgrid": [c(A(3), A(2)), c(A(3), A(2), indexing="ij"), c(A(3), A(2), A(4))],
    "repeat": [c(X, 2), c(X, 3, axis=1), c(X, np.array([1, 2, 0]), axis=0)],
    "tile": [c(X, 2), c(X, (2, 1)), c(A(3), (2, 2))],
    "flip": [c(X), c(X, 1), c(CUBE, (0, 2))],
    **_each("fliplr flipud", c(X)),
    "rot90": [c(X), c(X, 2), c(CUBE, 3, axes=(1, 2)), c(CUBE, -1)],
    "roll": [c(X, 1), c(X, 1, axis=1), c(X, (1, 2), axis=(0, 1)), c(X, -1, axis=0)],
    "pad": [
        c(X, 1),
        c(X, ((1, 2), (0, 1))),
        c(X, 1, constant_values=2.0),
        c(X, 1, "reflect"),
        c(X, 1, "symmetric"),
        c(X, ((0, 0), (2, 1)), "edge"),
        c(X, (1, 2)),
    ],
    # ---- places
    "get_item": [
        c(X, (slice(None), 0)),
        c(X, (Ellipsis, None, 1)),
        c(X, slice(1, None)),
        c(X, 1),
        c(X, -1),
        c(X, (slice(None, None, 2), slice(None, None, -1))),
        c(X, np.array([2, 0])),
        c(X, (slice(None), np.array([3, -1]))),
    ],
    "take": [c(X, [0, 5]), c(X, np.array([[2, 0]]), axis=1), c(X, -1, axis=0)],
    "take_along_axis": [c(X, I(3, 2), axis=1), c(X, I(1, 4, high=3), axis=0), c(X, np.array([0, 11]))],
    "slice": [c(X, (1, 1), (2, 3)), c(X, np.array([1, 0]), (2, 2))],
    "slice_update": [c(X, (1, 1), A(2, 2))],
    "scatter": [c(np.array([[0], [2], [0]]), A(3, 4), (4, 4)), c(np.array([[0, 1], [1, 2]]), A(2), (2, 3))],
    "scatter_update": [
        c(X, np.array([[0, 1], [2, 3]]), A(2)),
        c(X, np.array([[0], [2]]), A(2, 4)),
        c(X, np.array([[0, 1], [0, 1]]), A(2), reduction="add"),
        c(X, np.array([[0, 1], [2, 1]]), A(2), reduction="max"),
    ],
    "unravel_index": [c(np.array([1, 5, 7]), (2, 4))],
    "diag": [c(A(3)), c(X), c(A(3), 1), c(X, -1)],
    "diagflat": [c(A(2, 2)), c(A(3), -1)],
    "diagonal": [c(CUBE), c(CUBE, 1, 1, 2), c(X, -1)],
    **_each("tril triu", c(X), c(CUBE, 1), c(X, -1)),
    "vander": [c(A(3)), c(A(3), 2, increasing=True)],
    "isin": [c(SIGNED, np.array([1, 2])), c(SIGNED, np.array([1, 2]), invert=True)],
    # ---- reductions
    **_each(
        "sum mean var std amax amin ptp max min prod median logsumexp",
        c(X),
        c(CUBE, 1),
        c(CUBE, (0, 2), keepdims=True),
        c(CUBE, -1, True),
        c(SIGNED, 0),
    ),
    "max": [c(X), c(CUBE, 1), c(CUBE, (0, 2), keepdims=True), c(X, initial=1.5), c(SIGNED, 0)],
    "min": [c(X), c(CUBE, 1), c(X, axis=0, initial=-1.5)],
    **_each("all any", c(B(3, 4)), c(X), c(B(3, 4), 1), c(SIGNED, 0, True)),
    "count_nonzero": [c(SIGNED), c(SIGNED, 1)],
    "average": [c(X), c(X, 1), c(X, 1, A(4, low=0.1)), c(X, weights=P)],
    **_each(
        "nansum nanprod nanmean nanvar nanstd nanmax nanmin nanmedian",
        c(N(3, 4)),
        c(N(3, 4), 1),
        c(N(3, 4), 0, True),
    ),
    **_each("argmax argmin", c(X), c(CUBE, 1), c(CUBE, -1, True), c(SIGNED, 0)),
    **_each("cumsum cumprod", c(X), c(CUBE, 1), c(SIGNED, 0), c(SIGNED, 1, "float32")),
    **_each("nancumsum nancumprod", c(N(3, 4)), c(N(3, 4), 1)),
    "diff": [c(X), c(X, 2), c(X, axis=0)],
    "trapezoid": [c(X), c(X, dx=0.5, axis=0), c(X, A(4))],
    "sort": [c(X), c(X, 0), c(CUBE, 1), c(N(3, 4)), c(SIGNED)],
    "argsort": [c(X), c(X, 0)],
    "argpartition": [c(np.array([3.0, 1.0], np.float32), 1)],
    "top_k": [c(X, 2), c(SIGNED, 3)],
    "in_top_k": [c(np.array([0, 2, 3]), X, 2)],
    "searchsorted": [c(np.sort(A(5)), A(4)), c(np.array([1, 2, 2, 3]), np.array([2, 3]), "right")],
    "digitize": [c(X, np.array([-1.0, 0.0, 1.0], np.float32))],
    **_each(
        "quantile",
        c(X, 0.3),
        c(X, np.array([0.25, 0.8], np.float32), 1),
        c(X, 0.5, 0, keepdims=True),
        *(c(A(7), 0.4, method=m) for m in ("lower", "higher", "midpoint", "nearest")),
    ),
    "percentile": [c(X, 30.0), c(X, np.array([25.0, 80.0], np.float32), 1)],
    **_each("nanquantile", c(N(3, 4), 0.3), c(N(3, 4), 0.3, 1)),
    "nanpercentile": [c(N(3, 4), 30.0, 1)],
    **_each(
        "segment_sum segment_max segment_min segment_prod", c(A(4, 2), np.array([0, 0, 2, 1]), num_segments=3)
    ),
    **_each("nanargmax nanargmin", c(N(3, 4)), c(N(3, 4), 1), c(N(3, 4), 0, True), c(SIGNED, 1)),
    "histogram": [c(A(20)), c(A(20), 4, (-1.0, 1.0)), c(np.ones(3, np.float32), 3), c(I(9), 3)],
    # ---- of values alone
    "nonzero": [c(SIGNED), c(X > 0)],
    "unique": [
        c(SIGNED),
        c(SIGNED, return_index=True, return_inverse=True, return_counts=True),
        c(np.array([[1, 2], [1, 2], [0, 1]]), axis=0, return_counts=True),
        c(SIGNED, size=9, fill_value=7, return_counts=True),
    ],
    "bincount": [c(I(9)), c(I(9), A(9), 6), c(I(2, 5), minlength=5)],
    "polar": [c(P, X)],
    "view_as_complex": [c(A(3, 2))],
    "view_as_real": [c(np.array([1 + 2j, -3j], np.complex64))],
    # ---- matrices
    **_each("det slogdet inv lu_factor", c(SQUARE), c(MATRICES)),
    "lu_factor": [c(SQUARE), c(MATRICES), c(TALL), c(WIDE)],
    "logdet": [c(POSITIVE)],
    "cholesky": [c(POSITIVE), c(POSITIVE, True)],
    "cholesky_inverse": [c(np.linalg.cholesky(POSITIVE)), c(np.linalg.cholesky(POSITIVE).T.copy(), True)],
    "solve": [c(SQUARE, A(4)), c(SQUARE, A(4, 2)), c(MATRICES, A(2, 3, 3, 2))],
    "solve_triangular": [c(SQUARE, A(4, 2)), c(SQUARE, A(4), True)],
    "qr": [c(x, mode) for x in (SQUARE, TALL, WIDE, MATRICES) for mode in ("reduced", "complete")],
    "matrix_rank": [c(TALL), c(np.ones((2, 3, 3), np.float32)), c(SQUARE, 0.5)],
    "pinv": [c(TALL), c(WIDE), c(MATRICES), c(np.ones((3, 2), np.float32)), c(SQUARE, 0.3)],
    "lstsq": [c(TALL, A(5)), c(WIDE, A(3, 2)), c(TALL, A(5, 2), 0.5)],
    "svd": [c(TALL, False, False), c(MATRICES, compute_uv=False)],  # the vectors: see below
    # ---- Fourier
    **_each("fft", c((X, Y)), c((A(2, 96), A(2, 96))), c((A(7), A(7)))),
    **_each("fft2 ifft2", c((CUBE, CUBE + 1)), c((A(6, 80), A(6, 80)))),
    "rfft": [c(X), c(A(2, 7)), c(A(2, 100)), c(X, 6), c(X, 3)],
    "irfft": [c((A(2, 5), A(2, 5))), c((A(2, 5), A(2, 5)), 9), c((A(2, 5), A(2, 5)), 6), c((A(2), A(2)))],
    "stft": [
        c(A(2, 40), 8, 4, 8),
        c(A(40), 6, 3, 8, "hamming", False),
        c(A(2, 2, 40), 6, 3, 9, None),
        c(A(40), 4, 2, 4, np.array([0.1, 0.5, 1.0, 0.5], np.float32)),
    ],
    "istft": [
        c((A(2, 9, 5), A(2, 9, 5)), 8, 4, 8),
        c((A(9, 5), A(9, 5)), 6, 2, 8, 20, "hamming"),
        c((A(9, 5), A(9, 5)), 8, 4, 8, None, None, False),
    ],
    # ---- products
    "matmul": [
        c(X, A(4, 2)),
        c(CUBE, A(2, 4, 5)),
        c(CUBE, A(4, 5)),
        c(A(4), A(4, 2)),
        c(X, A(4)),
        c(A(4), A(4)),
        c(A(2, 1, 3, 4), A(5, 4, 2)),
        c(A(4), A(3, 4, 2)),
        c(SIGNED, I(4, 2)),
    ],
    "dot": [c(X, A(4, 2)), c(CUBE, A(3, 4, 2)), c(A(4), A(4)), c(X, 2.0)],
    "vdot": [c(X, Y)],
    "inner": [c(X, A(2, 4)), c(A(4), A(4))],
    "outer": [c(A(3), A(4)), c(X, A(2))],
    "tensordot": [
        c(CUBE, A(3, 4, 2)),
        c(CUBE, A(4, 2), 1),
        c(CUBE, A(4, 3), axes=([1, 2], [1, 0])),
        c(A(2), A(3), 0),
    ],
    "einsum": [
        c("ij,jk->ik", X, A(4, 2)),
        c("bij->bji", CUBE),
        c("ij,ij->", X, Y),
        c("...i,ij->...j", CUBE, A(4, 2)),
    ],
    "cross": [c(A(2, 3), A(2, 3)), c(A(3, 2), A(3, 2), axis=0), c(A(2), A(2))],
    "kron": [c(A(2, 2), A(2, 3)), c(A(2), A(3))],
    "trace": [c(X), c(CUBE, 1, 1, 2)],
    "correlate": [c(A(6), A(3)), c(A(6), A(3), "same"), c(A(6), A(3), "full"), c(A(3), A(6), "full")],
    "corrcoef": [c(X)],
    "cdist": [c(A(3, 4), A(2, 4))],
    "norm": [
        *(c(X, o) for o in (2, -2, "nuc")),
        c(MATRICES, "nuc", (1, 3), True),
        c(X),
        c(X, axis=1),
        c(X, 1, axis=1),
        c(X, 2, axis=1),
        c(X, np.inf, axis=0, keepdims=True),
        c(X, 3, axis=1),
        c(X, "fro"),
        c(X, 1),
        c(X, -np.inf),
        c(X, 0, axis=1),
    ],
    # ---- networks
    "glu": [c(X), c(A(4, 3), 0)],
    "threshold": [c(X, 0.5, -1.0)],
    "sparsemax": [c(X)],
    "softmax": [c(X), c(CUBE, 1), c(CUBE, (1, 2)), c(CUBE, None)],
    "log_softmax": [c(CUBE, 1)],
    "gelu": [c(X), c(X, False)],
    "conv": [
        c(A(2, 7, 3), A(3, 3, 4)),
        c(IMAGES, A(3, 2, 3, 4), 2, "same"),
        c(IMAGES, A(2, 2, 3, 4), dilation_rate=2),
        c(A(1, 4, 4, 4, 2), A(2, 2, 2, 2, 3)),
        c(IMAGES, A(2, 2, 1, 6)),
    ],
    "depthwise_conv": [c(IMAGES, A(3, 2, 3, 2)), c(A(2, 7, 3), A(3, 3, 2), padding="same")],
    "separable_conv": [c(IMAGES, A(3, 2, 3, 2), A(1, 1, 6, 4))],
    "conv_transpose": [
        c(IMAGES, A(3, 2, 4, 3), 2),
        c(A(2, 5, 3), A(3, 4, 3), 2, "same"),
        c(A(2, 5, 3), A(3, 4, 3), 2, "same", 1),
    ],
    **_each(
        "max_pool average_pool",
        c(IMAGES, (2, 2), (2, 2)),
        c(IMAGES, (2, 2), (1, 1), "same"),
        c(A(2, 7, 3), 3, 2),
    ),
    **_each("adaptive_average_pool adaptive_max_pool", c(IMAGES, 3), c(IMAGES, (4, 2))),
    "depth_to_space": [c(A(2, 3, 2, 8), 2)],
    "space_to_depth": [c(A(2, 4, 6, 3), 2)],
    "one_hot": [c(I(3), 4), c(I(3, 2), 4, axis=0), c(I(3), 3, dtype="int32")],
    "multi_hot": [c(I(3, 2), 5), c(I(4), 5)],
    "categorical_crossentropy": [c(np.eye(4, dtype=np.float32)[:3], P / 3), c(P, X, from_logits=True)],
    "sparse_categorical_crossentropy": [c(I(3), P / 3), c(I(3), X, from_logits=True)],
    "binary_crossentropy": [c(B(3, 4).astype(np.float32), P / 3), c(B(3, 4).astype(np.float32), X, True)],
    "moments": [c(X, 0), c(CUBE, (0, 1), True)],
    "batch_normalization": [c(X, A(4), A(4, low=0.1), -1), c(X, A(3), A(3, low=0.1), 0, A(3), A(3))],
    "layer_normalization": [c(X), c(X, A(4), A(4))],
    "rms_normalization": [c(X), c(X, A(4))],
    "normalize": [c(X), c(X, 0), c(X, order=1), c(X, order=3)],
    "dot_product_attention": [
        c(Q, KV, KV),
        c(Q, Q, Q, is_causal=True),
        c(Q, KV, KV, mask=B(2, 1, 3, 5) | True),
        c(Q, KV, KV, bias=A(2, 4, 3, 5), scale=0.5),
        c(Q, KV[:, :, :2], KV[:, :, :2]),
    ],
    "fold": [c(A(2, 12, 20), (6, 5), 2), c(A(2, 18, 12), (5, 4), (2, 3), 1, 1, (2, 1))],
    "ctc_loss": [
        c(I(2, 3, low=1, high=5), A(2, 8, 5), np.array([3, 2]), np.array([8, 7])),
        c(np.array([[0, 2, 2], [1, 3, 4]]), A(2, 8, 6), np.array([2, 3]), np.array([8, 8]), mask_index=5),
    ],
    "ctc_decode": [
        c(A(2, 7, 4), np.array([7, 5])),
        c(A(2, 7, 4), np.array([7, 5]), merge_repeated=False, mask_index=2),
        c(A(2, 5, 4), np.array([5, 3]), "beam_search", 20, 2),
    ],
    "psnr": [c(X, Y, 2.0)],
    "unfold": [c(FIRST, 2), c(FIRST, (2, 3), padding=1, stride=2), c(FIRST, 2, dilation=2)],
    "extract_sequences": [c(X, 2, 1), c(A(2, 7), 3, 2)],
    "rearrange": [c(X, "a b -> b a"), c(CUBE, "a b (c d) -> a (b c) d", c=2)],
}

# Of keras.ops.image, which draw nothing
IMAGE_CASES: dict[str, list[Call]] = {
    **_each("rgb_to_grayscale", c(COLOURS), c(COLOURS[0]), c(BYTES), c(FIRST, "channels_first")),
    **_each("rgb_to_hsv hsv_to_rgb", c(COLOURS), c(COLOURS[0]), c(FIRST * 0.2 + 0.5, "channels_first")),
    "resize": [
        c(IMAGES, (4, 7)),
        c(IMAGES[0], (9, 3), "nearest"),
        c(IMAGES, (3, 3), "bicubic", True),
        c(BYTES, (3, 10)),
        c(BYTES, (4, 7), "lanczos3"),
        c(BYTES, (4, 7), "nearest"),
        c(FIRST, (4, 4), "lanczos5", data_format="channels_first"),
        c(IMAGES, (4, 6), crop_to_aspect_ratio=True),
        c(IMAGES, (3, 6), pad_to_aspect_ratio=True, fill_value=0.5),
    ],
    "affine_transform": [
        c(IMAGES, MOVES),
        c(IMAGES[0], MOVES[0], "nearest", "reflect"),
        c(FIRST, MOVES, fill_mode="wrap", data_format="channels_first"),
        c(IMAGES, MOVES, fill_value=2.0),
        c(BYTES, MOVES, fill_mode="nearest"),
        c(IMAGES, MOVES + np.float32([0] * 6 + [0.3, 0.6]), fill_mode="mirror"),
    ],
    "extract_patches": [
        c(IMAGES, 2),
        c(IMAGES[0], (3, 2), 1),
        c(IMAGES, 3, 2, 1, "same"),
        c(IMAGES, 2, 1, 2),
        c(FIRST, 2, 2, data_format="channels_first"),
        c(A(1, 4, 4, 4, 2), (2, 2, 2)),
    ],
    "extract_patches_3d": [c(A(1, 4, 4, 4, 2), 2), c(A(4, 4, 4, 2), (2, 3, 2), 1)],
    "map_coordinates": [
        c(IMAGES[0, :, :, 0], A(2, 4, 3, low=-1, high=6), 1),
        c(CUBE, A(3, 5, low=-1, high=4), 1, "reflect"),
        c(CUBE, A(3, 5, low=-1, high=4), 0, "nearest"),
        c(BYTES[0, :, :, 0], A(2, 7, low=0, high=5), 1, "constant", 9),
    ],
    "pad_images": [
        c(IMAGES, 1, 2, target_height=9, target_width=8),
        c(FIRST, 1, 0, 1, 3, data_format="channels_first"),
        c(BYTES[0], bottom_padding=2, right_padding=0, target_height=8, target_width=5),
    ],
    "crop_images": [
        c(IMAGES, 1, 2, target_height=3, target_width=2),
        c(FIRST, 1, 0, 1, 3, data_format="channels_first"),
        c(BYTES[0], bottom_cropping=2, right_cropping=0, target_height=3, target_width=5),
    ],
    "perspective_transform": [
        c(IMAGES[:1], CORNERS, CORNERS + A(4, 2, low=-0.5, high=0.5)),
        c(IMAGES[0], CORNERS + A(4, 2, low=-0.5, high=0.5), CORNERS, "nearest", 1.0),
        c(FIRST, np.stack([CORNERS] * 2), A(2, 4, 2) * 0.3 + CORNERS, data_format="channels_first"),
    ],
    "gaussian_blur": [
        c(IMAGES, (3, 3), (1.0, 1.0), "channels_last"),
        c(IMAGES[0], (3, 5), (0.7, 1.5), "channels_last"),
        c(FIRST, (4, 3), (0.7, 1.5), "channels_first"),
    ],
    "elastic_transform": [c(IMAGES, 0.0, 1.0)],
    "scale_and_translate": [
        c(IMAGES, (2, 8, 9, 3), np.float32([1.5, 1.8]), np.float32([0.3, -1.0]), (1, 2), m)
        for m in ("linear", "cubic", "lanczos3", "lanczos5")
    ]
    + [c(IMAGES, (2, 3, 5, 3), np.float32([0.5]), np.float32([0.1]), (1,), "bilinear", False)],
    "sobel_edges": [c(IMAGES), c(FIRST, "channels_first")],
    "ssim": [
        c(COLOURS, COLOURS**2, filter_size=3),
        c(COLOURS[0], COLOURS[1], 1.0, 4, 1.0, 0.02, 0.05),
        c(FIRST, FIRST + 0.1, 2.0, 5, data_format="channels_first"),
    ],
}

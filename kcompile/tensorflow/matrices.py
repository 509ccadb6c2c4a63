"""Functions of tf.linalg that factorise matrices, of tf.bitwise, and of images and labels, by keras.ops.

FUNCTIONS is a table as that of `functions`. Vectors of eigenvalues and singular values have any sign.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kcompile.tensorflow.functions import matmul, o
from kcompile_runtime.errors import UnsupportedError

Function = Callable[..., Any]
_images = o.SUBMODULES["image"]


def inv(input: Any, adjoint: bool = False, name: Any = None) -> Any:
    """The inverse; adjoint: of the matrix turned."""
    return o.inv(o.swapaxes(input, -1, -2) if adjoint else input)


def solve(matrix: Any, rhs: Any, adjoint: bool = False, name: Any = None) -> Any:
    """The solution of a system of equations."""
    return o.solve(o.swapaxes(matrix, -1, -2) if adjoint else matrix, rhs)


def triangular_solve(
    matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False, name: Any = None
) -> Any:
    """The same of a triangle, whose other side is not read."""
    if adjoint:
        matrix, lower = o.swapaxes(matrix, -1, -2), not lower
    return o.solve_triangular(matrix, rhs, lower)


def cholesky_solve(chol: Any, rhs: Any, name: Any = None) -> Any:
    """The solution of L L^T x = rhs, of the lower triangle L."""
    half = o.solve_triangular(chol, rhs, True)
    return o.solve_triangular(o.swapaxes(chol, -1, -2), half, False)


def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: Any = None) -> Any:
    """The singular values, U, and V, whose columns are the vectors."""
    if not compute_uv:
        return o.svd(tensor, compute_uv=False)
    u, values, v = o.svd(tensor, full_matrices)
    return values, u, o.swapaxes(v, -1, -2)


def pinv(a: Any, rcond: Any = None, validate_args: bool = False, name: Any = None) -> Any:
    """The pseudo-inverse. validate_args checks nothing more here."""
    return o.pinv(a, rcond)


def lstsq(matrix: Any, rhs: Any, l2_regularizer: float = 0.0, fast: bool = True, name: Any = None) -> Any:
    """The x for which matrix x is nearest to rhs. fast: how TensorFlow computes it."""
    if l2_regularizer:
        raise UnsupportedError("tensorflow.linalg.lstsq: l2_regularizer. Use tf.linalg.solve of A^T A + l I")
    return o.matmul(o.pinv(matrix), rhs)


def matrix_rank(a: Any, tol: Any = None, validate_args: bool = False, name: Any = None) -> Any:
    """How many singular values are not 0."""
    if tol is not None:
        raise UnsupportedError("tensorflow.linalg.matrix_rank: tol. Count tf.linalg.svd's values")
    return o.matrix_rank(a)


def _bits(function: str) -> Function:
    twin = getattr(o, function)
    return lambda x, y, name=None: twin(x, y)


def ctc_loss(
    labels: Any,
    logits: Any,
    label_length: Any,
    logit_length: Any,
    logits_time_major: bool = True,
    unique: Any = None,
    blank_index: Any = None,
    name: Any = None,
) -> Any:
    """-log P(labels) of each sample. unique: labels that differ, from which TensorFlow is faster."""
    scores = o.transpose(logits, (1, 0, 2)) if logits_time_major else logits
    blank = 0 if blank_index is None else int(blank_index)
    classes = scores.shape[-1]
    return o.ctc_loss(labels, scores, label_length, logit_length, blank % classes)


def extract_patches(images: Any, sizes: Any, strides: Any, rates: Any, padding: str, name: Any = None) -> Any:
    """The elements of each patch, as channels."""
    size, steps, apart = (tuple(int(n) for n in v[1:3]) for v in (sizes, strides, rates))
    return _images["extract_patches"](images, size, steps, apart, padding.lower())


def ssim(
    img1: Any,
    img2: Any,
    max_val: Any,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    return_index_map: bool = False,
) -> Any:
    """How alike images are."""
    if return_index_map:
        raise UnsupportedError("tensorflow.image.ssim: return_index_map")
    return _images["ssim"](img1, img2, max_val, filter_size, filter_sigma, k1, k2)


def sobel_edges(image: Any) -> Any:
    """How images change downwards and to the right; beyond the edges they are mirrored."""
    around = [(0, 0), (1, 1), (1, 1), (0, 0)]
    return _images["sobel_edges"](o.pad(image, around, "reflect"))[:, 1:-1, 1:-1]


def set_diag(input: Any, diagonal: Any, name: str = "set_diag", k: int = 0, align: str = "RIGHT_LEFT") -> Any:
    """Matrices with these numbers on the main diagonal."""
    if k or align != "RIGHT_LEFT":
        raise UnsupportedError("tensorflow.linalg.set_diag: k and align. Use tf.where(mask, a, b)")
    rows, columns = input.shape[-2:]
    wide = o.expand_dims(diagonal, -1 if rows <= columns else -2)
    return o.where(o.eye(rows, columns, dtype="bool"), wide, input)


def colours(function: str) -> Function:
    twin = _images[function]
    return lambda images, name=None: twin(images)


def matvec(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    adjoint_a: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: Any = None,
) -> Any:
    """The product of matrices and vectors."""
    return o.squeeze(matmul(a, o.expand_dims(b, -1), transpose_a, adjoint_a=adjoint_a), -1)


def band_part(input: Any, num_lower: int, num_upper: int, name: Any = None) -> Any:
    """Matrices with zeros outside a band; -1: all diagonals on that side."""
    made = input if num_lower < 0 else o.triu(input, -num_lower)
    return made if num_upper < 0 else o.tril(made, num_upper)


def diagonal(
    diagonal: Any,
    name: str = "diag",
    k: Any = 0,
    num_rows: int = -1,
    num_cols: int = -1,
    padding_value: Any = 0,
    align: str = "RIGHT_LEFT",
) -> Any:
    """Matrices with a vector on the k-th diagonal, and zeros elsewhere."""
    if not isinstance(k, int) or num_rows != -1 or num_cols != -1 or padding_value:
        raise UnsupportedError(
            "tensorflow.linalg.diag: bands, num_rows, num_cols, padding_value. Use k alone"
        )
    count = diagonal.shape[-1]
    made = o.multiply(o.expand_dims(diagonal, -1), o.eye(count, dtype=str(diagonal.dtype)))
    side = [(0, 0)] * (len(made.shape) - 2)
    return o.pad(made, [*side, (max(-k, 0), max(k, 0)), (max(k, 0), max(-k, 0))]) if k else made


def tensor_diag(values: Any) -> Any:
    """A vector as a matrix with it on the diagonal."""
    if len(values.shape) != 1:
        raise UnsupportedError("tensorflow.linalg.tensor_diag: more axes than one. Use tf.linalg.diag")
    return diagonal(values)


def diag_part(
    input: Any, name: str = "diag_part", k: int = 0, padding_value: Any = 0, align: str = "RIGHT_LEFT"
) -> Any:
    """The k-th diagonal of matrices."""
    return o.diagonal(input, k, -2, -1)


FUNCTIONS: dict[str, Function] = {
    "linalg.band_part": band_part,
    "linalg.diag": diagonal,
    "linalg.diag_part": diag_part,
    "linalg.tensor_diag": lambda diagonal, name=None: tensor_diag(diagonal),
    "linalg.matvec": matvec,
    "linalg.matrix_transpose": lambda a, name="matrix_transpose", conjugate=False: o.swapaxes(a, -1, -2),
    "linalg.trace": lambda x, name=None: o.trace(x, 0, -2, -1),
    "bitwise.bitwise_and": _bits("bitwise_and"),
    "bitwise.bitwise_or": _bits("bitwise_or"),
    "bitwise.bitwise_xor": _bits("bitwise_xor"),
    "bitwise.invert": lambda x, name=None: o.bitwise_not(x),
    "bitwise.left_shift": _bits("left_shift"),
    "bitwise.right_shift": _bits("right_shift"),
    "custom_gradient": lambda f=None: o.custom_gradient(f),
    "image.extract_patches": extract_patches,
    "image.hsv_to_rgb": colours("hsv_to_rgb"),
    "image.rgb_to_hsv": colours("rgb_to_hsv"),
    "image.sobel_edges": sobel_edges,
    "image.ssim": ssim,
    "linalg.cholesky": lambda input, name=None: o.cholesky(input),
    "linalg.cholesky_solve": cholesky_solve,
    "linalg.det": lambda input, name=None: o.det(input),
    "linalg.eigh": lambda tensor, name=None: o.eigh(tensor),
    "linalg.eigvalsh": lambda tensor, name=None: o.eigh(tensor)[0],
    "linalg.inv": inv,
    "linalg.logdet": lambda matrix, name=None: o.logdet(matrix),
    "linalg.lstsq": lstsq,
    "linalg.matrix_rank": matrix_rank,
    "linalg.pinv": pinv,
    "linalg.qr": lambda input, full_matrices=False, name=None: o.qr(
        input, "complete" if full_matrices else "reduced"
    ),
    "linalg.set_diag": set_diag,
    "linalg.slogdet": lambda input, name=None: o.slogdet(input),
    "linalg.solve": solve,
    "linalg.svd": svd,
    "linalg.triangular_solve": triangular_solve,
    "math.bessel_i0": lambda x, name=None: o.i0(x),
    "math.nextafter": lambda x1, x2, name=None: o.nextafter(x1, x2),
    "nn.ctc_loss": ctc_loss,
}

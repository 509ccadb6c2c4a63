"""Functions of tf, tf.math and tf.linalg, by functions of keras.ops.

FUNCTIONS is the one table: the name below `tensorflow` -> a function with TensorFlow's arguments. `name`,
which names an op of TensorFlow's graph, says nothing here.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from kcompile.ir.tensor import Tensor
from kcompile.keras import keras3_ops
from kcompile.keras.eager import EagerTensor
from kcompile.keras.operands import leaves
from kcompile.keras.tensors import KerasTensor
from kcompile.keras.tracing import current
from kcompile_runtime.errors import UnsupportedError

o = cast(Any, keras3_ops)
TopK = collections.namedtuple("TopK", ("values", "indices"))
Function = Callable[..., Any]


def on_values(*given: Any) -> bool:
    """Whether operands are values, and no tensors that are computed later."""
    return not any(isinstance(x, (Tensor, KerasTensor)) for x in leaves(list(given)))


# Functions of values, through whose results no gradient would flow where a tape notes
_FLOWING = frozenset(
    [
        "py_function",
        "math.lgamma",
        "linalg.expm",
        "image.adjust_jpeg_quality",
        "image.draw_bounding_boxes",
        "image.crop_and_resize",
        "boolean_mask",
        "dynamic_stitch",
        "scan",
        "foldl",
        "foldr",
        "bitcast",
    ]
)


def of_values(name: str, remedy: str, *given: Any) -> None:
    """Raises UnsupportedError where operands are not known now. name: of a function whose result has a size
    that follows from them. Where a tape notes, tensors have values: they do where no gradient is lost."""
    lost = name in _FLOWING or name.startswith("math.segment")
    if not all(on_values(x) or (isinstance(x, Tensor) and x.graph.eager and not lost) for x in leaves(given)):
        raise UnsupportedError(
            f"tensorflow.{name}: the size of its result depends on the data, and sizes are known when "
            f"a model is compiled. {remedy}"
        )


# ---------------------------------------------------------------- of one and of two operands


def one(function: str, first: str = "x") -> Function:
    """A function of one operand, which TensorFlow calls `first`."""
    twin = getattr(o, function)
    if first == "features":
        return lambda features, name=None: twin(features)
    if first == "input":
        return lambda input, name=None: twin(input)
    return lambda x, name=None: twin(x)


def _two(function: str) -> Function:
    twin = getattr(o, function)
    return lambda x, y, name=None: twin(x, y)


def _reduced(function: str) -> Function:
    twin = getattr(o, function)

    def reduced(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: Any = None) -> Any:
        made = twin(input_tensor, axis, keepdims)
        kind = str(getattr(input_tensor, "dtype", ""))
        return o.cast(made, kind) if function == "mean" and "int" in kind else made  # a whole number too

    return reduced


def _words(text: str) -> list[str]:
    return text.split()


_ONES = {
    **dict.fromkeys(
        _words(
            "abs exp expm1 log log1p sqrt rsqrt square sin cos tan sinh cosh tanh sigmoid sign floor "
            "ceil reciprocal erf erfc logical_not negative round"
        )
    ),
    "acos": "arccos",
    "acosh": "arccosh",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atanh": "arctanh",
    "erfinv": None,
    "is_finite": "isfinite",
    "is_inf": "isinf",
    "is_nan": "isnan",
    "log_sigmoid": None,
    "rint": "round",
}
_TWOS = {
    **dict.fromkeys(
        _words(
            "add subtract multiply divide maximum minimum greater greater_equal less less_equal equal "
            "not_equal logical_and logical_or logical_xor divide_no_nan mod"
        )
    ),
    "floordiv": "floor_divide",
    "floormod": "mod",
    "pow": "power",
    "truediv": "true_divide",
    "multiply_no_nan": "multiply",
}
_REDUCED = {
    "reduce_all": "all",
    "reduce_any": "any",
    "reduce_logsumexp": "logsumexp",
    "reduce_max": "max",
    "reduce_mean": "mean",
    "reduce_min": "min",
    "reduce_prod": "prod",
    "reduce_std": "std",
    "reduce_sum": "sum",
    "reduce_variance": "var",
}
_IN_TF = _words(
    "abs acos acosh add argmax argmin asin asinh atan atan2 atanh cos cosh cumsum divide "
    "equal exp floor greater greater_equal less less_equal logical_and logical_not logical_or "
    "maximum minimum multiply negative not_equal pow reduce_all reduce_any reduce_logsumexp "
    "reduce_max reduce_mean reduce_min reduce_prod reduce_sum round scalar_mul sigmoid sign "
    "sin sinh sqrt square subtract tan tanh truediv"
)


def _squared_difference(x: Any, y: Any, name: Any = None) -> Any:
    return o.square(o.subtract(x, y))


def argmax(input: Any, axis: Any = None, output_type: Any = "int64", name: Any = None) -> Any:
    """The place of the largest, along the first axis where none is given."""
    return as_type(o.argmax(input, 0 if axis is None else axis), output_type, input)


def argmin(input: Any, axis: Any = None, output_type: Any = "int64", name: Any = None) -> Any:
    """The place of the least."""
    return as_type(o.argmin(input, 0 if axis is None else axis), output_type, input)


def as_type(found: Any, dtype: Any, given: Any) -> Any:
    """Values in the dtype that TensorFlow gives; graphs count in int32."""
    return o.cast(found, str(dtype)) if on_values(given) and str(dtype) == "int64" else found


def _running(function: str) -> Function:
    twin = getattr(o, function)

    def running(
        x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: Any = None
    ) -> Any:
        made = o.flip(twin(o.flip(x, axis), axis), axis) if reverse else twin(x, axis)
        if exclusive and function == "cumsum":
            return o.subtract(made, x)
        if exclusive:  # the product of the others so far: 1, and then without the last
            axis = axis % len(made.shape)
            part = slice(1, None) if reverse else slice(None, -1)
            kept = made[(*[slice(None)] * axis, part)]
            one = o.ones_like(made[(*[slice(None)] * axis, slice(0, 1))])
            return o.concatenate([kept, one] if reverse else [one, kept], axis)
        return made

    return running


def normalize_l2(x: Any, axis: Any = None, epsilon: float = 1e-12, name: Any = None, dim: Any = None) -> Any:
    """x divided by the root of its sum of squares, which is at least epsilon."""
    axis = dim if axis is None else axis
    return o.multiply(x, o.rsqrt(o.maximum(o.sum(o.square(x), axis, True), epsilon)))


# ---------------------------------------------------------------- arrays


def cast_to(x: Any, dtype: Any, name: Any = None) -> Any:
    """x in another dtype."""
    return o.cast(x, str(dtype))


def transpose(a: Any, perm: Any = None, conjugate: bool = False, name: Any = None) -> Any:
    """The axes of a in another order."""
    return o.transpose(a, perm)


def concat(values: Any, axis: int, name: Any = None) -> Any:
    """Tensors one behind another along an axis."""
    return o.concatenate(list(values), axis)


def split(value: Any, num_or_size_splits: Any, axis: int = 0, num: Any = None, name: Any = "split") -> Any:
    """Parts along an axis: as many as a number says, or of these sizes."""
    sizes = num_or_size_splits
    if isinstance(sizes, (list, tuple, np.ndarray)):
        rest = value.shape[axis] - sum(int(d) for d in sizes if d >= 0) if -1 in list(sizes) else 0
        sizes = [int(d) if d >= 0 else rest for d in sizes]
        return o.split(value, [int(d) for d in np.cumsum(sizes)[:-1]], axis)
    return o.split(value, int(sizes), axis)


def where(condition: Any, x: Any = None, y: Any = None, name: Any = None) -> Any:
    """x where a condition holds, else y; of a condition alone, where it holds, on values."""
    if x is None and y is None:
        of_values("where", "Give x and y", condition)
        return np.argwhere(np.asarray(condition)).astype(np.int64)
    return o.where(condition, x, y)


def pad(
    tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0, name: Any = None
) -> Any:
    """The tensor with margins."""
    widths = [tuple(map(int, pair)) for pair in paddings]
    kind = mode.lower()
    return o.pad(tensor, widths, kind, constant_values) if kind == "constant" else o.pad(tensor, widths, kind)


def gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    axis: Any = None,
    batch_dims: int = 0,
    name: Any = None,
) -> Any:
    """The parts of these numbers along an axis; with batch_dims, of each row its own."""
    rank = len(params.shape)
    if not batch_dims:
        return o.take(params, indices, 0 if axis is None else axis)
    if batch_dims == rank - 1 and len(np.shape(indices)) == rank:
        return o.take_along_axis(params, indices, rank - 1)
    if batch_dims in (axis, None) and batch_dims == len(indices.shape) - 1:
        # Each sample's own parts [..., k], of what has further axes behind the one that is taken from
        places = o.reshape(indices, (*o.shape(indices), *(1,) * (rank - batch_dims - 1)))
        wide = o.broadcast_to(places, (*o.shape(indices), *o.shape(params)[batch_dims + 1 :]))
        return o.take_along_axis(params, wide, batch_dims)
    raise UnsupportedError(
        "tensorflow.gather: batch_dims other than the axis, with indices of one axis more. Use "
        "take_along_axis"
    )


def one_hot(
    indices: Any,
    depth: int,
    on_value: Any = None,
    off_value: Any = None,
    axis: Any = None,
    dtype: Any = None,
    name: Any = None,
) -> Any:
    """Rows with a 1 (on_value) in the place of a number, and 0 (off_value) elsewhere."""
    made = o.one_hot(
        indices, int(depth), -1 if axis is None else axis, dtype="float32" if dtype is None else str(dtype)
    )
    if on_value is None and off_value is None:
        return made
    on, off = 1 if on_value is None else on_value, 0 if off_value is None else off_value
    return o.add(o.multiply(made, on - off), off)


def fill(dims: Any, value: Any, name: Any = None) -> Any:
    """A tensor of one value, in the dtype of the value."""
    whole = isinstance(value, (bool, int)) and on_values(dims)
    return o.full(dims, value, "bool" if isinstance(value, bool) else "int32" if whole else None)


def made_of(function: str) -> Function:
    twin = getattr(o, function)
    return lambda shape, dtype="float32", name=None, layout=None: twin(shape, dtype=str(dtype))


def made_like(function: str) -> Function:
    twin = getattr(o, function)
    return lambda input, dtype=None, name=None, layout=None: twin(
        input, None if dtype is None else str(dtype)
    )


def range_of(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Any:
    """Numbers from start up to limit."""
    start, limit = (0, start) if limit is None else (start, limit)
    return o.arange(start, limit, delta, None if dtype is None else str(dtype))


def linspace(start: Any, stop: Any, num: int, name: Any = None, axis: int = 0) -> Any:
    """So many numbers from start to stop."""
    return o.linspace(start, stop, int(num), axis=axis)


def eye(
    num_rows: int, num_columns: Any = None, batch_shape: Any = None, dtype: Any = "float32", name: Any = None
) -> Any:
    """The identity matrix, in each place of batch_shape."""
    made = o.eye(num_rows, num_columns, dtype=str(dtype))
    return made if batch_shape is None else o.broadcast_to(made, (*batch_shape, *made.shape))


def shape_of(input: Any, out_type: Any = "int32", name: Any = None) -> Any:
    """The sizes: of values as an array, of tensors as numbers and what stands for the batch."""
    known = current() is None and on_values(input)
    return (
        np.array(np.shape(input), "int32" if out_type is None else str(out_type)) if known else o.shape(input)
    )


def broadcast_shape(shape_x: Any, shape_y: Any) -> Any:
    """The shape that two shapes have in common: of values, and of tensors that hold one batch."""
    sizes = [list(s) for s in (shape_x, shape_y)]
    longest = max(map(len, sizes))
    padded = [[1] * (longest - len(s)) + s for s in sizes]

    def is_one(d: Any) -> bool:
        return isinstance(d, (int, np.ndarray, np.integer)) and int(d) == 1

    found = [b if is_one(a) else a for a, b in zip(*padded)]
    known = all(isinstance(d, (int, np.ndarray, np.integer)) for d in found)
    return np.array(found, np.int32).view(EagerTensor) if known else tuple(found)


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = "bool", name: Any = None) -> Any:
    """Whether a step is before the end of its sequence."""
    if maxlen is None:
        of_values("sequence_mask", "Give maxlen", lengths)
        maxlen = int(np.max(np.asarray(lengths)))
    made = o.less(o.arange(maxlen), o.expand_dims(lengths, -1))
    return made if str(dtype) == "bool" else o.cast(made, str(dtype))


def sliced(input_: Any, begin: Any, size: Any, name: Any = None) -> Any:
    """The part that begins somewhere, of a size; -1: up to the end."""
    key = tuple(slice(int(b), None if s == -1 else int(b) + int(s)) for b, s in zip(begin, size))
    return o.get_item(input_, key) if not on_values(input_) else np.asarray(input_)[key]


def argsort(
    values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = False, name: Any = None
) -> Any:
    """The order that sorts values."""
    return o.argsort(values if direction == "ASCENDING" else o.negative(values), axis)


def sort(values: Any, axis: int = -1, direction: str = "ASCENDING", name: Any = None) -> Any:
    """Values in order."""
    return o.sort(values, axis) if direction == "ASCENDING" else o.negative(o.sort(o.negative(values), axis))


def scatter_update(tensor: Any, indices: Any, updates: Any, name: Any = None) -> Any:
    """The tensor with other elements in some places."""
    return o.scatter_update(tensor, indices, updates)


def scatter_add(
    tensor: Any, indices: Any, updates: Any, bad_indices_policy: str = "", name: Any = None
) -> Any:
    """The tensor with something added in some places."""
    if bad_indices_policy not in ("", "DEFAULT", "ERROR"):
        raise UnsupportedError("tensorflow.tensor_scatter_nd_add: bad_indices_policy. Places must be there")
    return o.scatter_update(tensor, indices, updates, "add")


def unique(x: Any, out_idx: Any = "int32", name: Any = None) -> Any:
    """The values that differ, in the order in which they come, and which of them each is; on values."""
    of_values("unique", "Use it on arrays", x)
    found, first, numbers = np.unique(np.asarray(x), return_index=True, return_inverse=True)
    order = np.argsort(first)
    return found[order], np.argsort(order)[numbers].astype(str(out_idx))


def mapped(
    fn: Any,
    elems: Any,
    dtype: Any = None,
    parallel_iterations: Any = None,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: Any = None,
    fn_output_signature: Any = None,
) -> Any:
    """What a function gives for each part along the first axis, of a known size. Arguments behind `elems` say
    how TensorFlow computes it, and mean nothing here."""
    return o.map(fn, elems)


def while_loop(
    cond: Any,
    body: Any,
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    maximum_iterations: Any = None,
    name: Any = None,
) -> Any:
    """body(*vars) while cond(*vars) holds: on values; in a model, maximum_iterations times at most."""
    if maximum_iterations is None and on_values(list(loop_vars)):
        values = tuple(loop_vars)
        while bool(np.asarray(cond(*values))):
            found = body(*values)
            values = tuple(found) if isinstance(found, (list, tuple)) else (found,)
        return list(values)
    return o.while_loop(cond, body, loop_vars, maximum_iterations)


def top_k(input: Any, k: int = 1, sorted: bool = True, index_type: Any = "int32", name: Any = None) -> Any:
    """The k largest of the last axis, and their places."""
    values, indices = o.top_k(input, int(k), sorted)
    return TopK(values, as_type(indices, index_type, input))


# ---------------------------------------------------------------- products


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    output_type: Any = None,
    grad_a: bool = False,
    grad_b: bool = False,
    name: Any = None,
) -> Any:
    """The product of matrices, either of which may be turned. The other arguments say how TensorFlow stores
    and computes it."""
    turned = [
        o.swapaxes(x, -1, -2) if flag else x
        for x, flag in ((a, transpose_a or adjoint_a), (b, transpose_b or adjoint_b))
    ]
    made = o.matmul(*turned)
    return made if output_type is None else o.cast(made, str(output_type))


def einsum(equation: str, *inputs: Any, **kwargs: Any) -> Any:
    """Products and sums by the letters of axes."""
    return o.einsum(equation, *inputs)


def norm(
    tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: Any = None, name: Any = None
) -> Any:
    """The length; of all elements where no axis is given."""
    keep = bool(keepdims)
    if ord == "euclidean":
        return o.sqrt(o.sum(o.square(tensor), axis, keep))
    return o.norm(o.ravel(tensor) if axis is None else tensor, ord, 0 if axis is None else axis, keep)


def _math() -> dict[str, Function]:
    return {
        **{name: one(twin or name) for name, twin in _ONES.items()},
        **{name: _two(twin or name) for name, twin in _TWOS.items()},
        "squared_difference": _squared_difference,
        **{name: _reduced(twin) for name, twin in _REDUCED.items()},
        "argmax": argmax,
        "argmin": argmin,
        "atan2": lambda y, x, name=None: o.arctan2(y, x),
        "add_n": lambda inputs, name=None: functools.reduce(o.add, inputs),
        "scalar_mul": lambda scalar, x, name=None: o.multiply(x, scalar),
        "cumsum": _running("cumsum"),
        "cumprod": _running("cumprod"),
        "l2_normalize": normalize_l2,
        "softplus": one("softplus", "features"),
        "softsign": one("softsign", "features"),
        "top_k": top_k,
        "in_top_k": lambda targets, predictions, k, name=None: o.in_top_k(targets, predictions, k),
        "unsorted_segment_sum": lambda data, segment_ids, num_segments, name=None: o.segment_sum(
            data, segment_ids, num_segments
        ),
        "count_nonzero": lambda input, axis=None, keepdims=None, dtype="int64", name=None: as_type(
            o.sum(o.cast(o.not_equal(input, 0), "int32"), axis, bool(keepdims)), dtype, input
        ),
        "zero_fraction": lambda value, name=None: o.mean(o.cast(o.equal(value, 0), "float32")),
    }


_ARRAYS: dict[str, Function] = {
    "argsort": argsort,
    "broadcast_to": lambda input, shape, name=None: o.broadcast_to(input, shape),
    "cast": cast_to,
    "concat": concat,
    "cond": lambda pred, true_fn=None, false_fn=None, name=None: o.cond(pred, true_fn, false_fn),
    "einsum": einsum,
    "ensure_shape": lambda x, shape, name=None: x,
    "expand_dims": lambda input, axis, name=None: o.expand_dims(input, axis),
    "eye": eye,
    "fill": fill,
    "gather": gather,
    "identity": lambda input, name=None: o.copy(input),
    "linspace": linspace,
    "map_fn": mapped,
    "matmul": matmul,
    "meshgrid": lambda *args, **kwargs: o.meshgrid(*args, **kwargs),
    "norm": norm,
    "one_hot": one_hot,
    "ones": made_of("ones"),
    "ones_like": made_like("ones_like"),
    "pad": pad,
    "range": range_of,
    "rank": lambda input, name=None: np.int32(np.ndim(input)) if on_values(input) else len(input.shape),
    "repeat": lambda input, repeats, axis=None, name=None: o.repeat(input, repeats, axis),
    "reshape": lambda tensor, shape, name=None: o.reshape(tensor, shape),
    "reverse": lambda tensor, axis, name=None: o.flip(tensor, axis),
    "roll": lambda input, shift, axis, name=None: o.roll(input, shift, axis),
    "searchsorted": lambda sorted_sequence, values, side="left", out_type="int32", name=None: o.searchsorted(
        sorted_sequence, values, side
    ),
    "sequence_mask": sequence_mask,
    "shape": shape_of,
    "size": lambda input, out_type=None, name=None: o.size(input),
    "slice": sliced,
    "sort": sort,
    "split": split,
    "squeeze": lambda input, axis=None, name=None: o.squeeze(input, axis),
    "stack": lambda values, axis=0, name="stack": o.stack(list(values), axis),
    "stop_gradient": lambda input, name=None: o.stop_gradient(input),
    "tensor_scatter_nd_add": scatter_add,
    "tensor_scatter_nd_update": scatter_update,
    "tensordot": lambda a, b, axes, name=None: o.tensordot(a, b, axes),
    "tile": lambda input, multiples, name=None: o.tile(input, multiples),
    "transpose": transpose,
    "unique": unique,
    "unstack": lambda value, num=None, axis=0, name="unstack": o.unstack(value, num, axis),
    "vectorized_map": lambda fn, elems, fallback_to_while_loop=True, warn=True: o.vectorized_map(fn, elems),
    "where": where,
    "while_loop": while_loop,
    "zeros": made_of("zeros"),
    "zeros_like": made_like("zeros_like"),
}
_LINALG: dict[str, Function] = {
    "cross": lambda a, b, name=None: o.cross(a, b),
    "einsum": einsum,
    "eye": eye,
    "l2_normalize": normalize_l2,
    "matmul": matmul,
    "norm": norm,
    "tensordot": _ARRAYS["tensordot"],
}
_MATH = _math()
FUNCTIONS: dict[str, Any] = {
    **_ARRAYS,
    **{name: _MATH[name] for name in (*_IN_TF, "add_n")},
    **{f"math.{name}": function for name, function in _MATH.items()},
    **{f"linalg.{name}": function for name, function in _LINALG.items()},
    "newaxis": None,
    "sigmoid": _MATH["sigmoid"],
}

"""Rules for what is computed element by element, and for what moves elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir.graph import Node, Value
from kcompile.ir.types import FLOATS, Batch, numel
from kcompile.to_onnx.writer import Made, Rule, Second, Writer

Build = Callable[..., str]
LOW = np.iinfo(np.int64).min
NARROW = ("int8", "uint8", "int16", "uint16")


def elementwise(build: Build) -> Rule:
    """The rule of an elementwise op: `build(writer, node, names of operands)`. Where operands have their
    channels second, so has the result."""

    def rule(w: Writer, node: Node) -> Made:
        rank = node.types[0].rank
        if rank >= 3 and any(w.has_second(v) for v in node.inputs):
            if all(_goes_along(w, v, rank) for v in node.inputs):
                return Second(build(w, node, *(_second(w, v, rank) for v in node.inputs)))
        return build(w, node, *map(w.name, node.inputs))

    return rule


def _goes_along(w: Writer, value: Value, rank: int) -> bool:
    return w.array(value) is not None or w.type(value).rank in (0, rank)


def _second(w: Writer, value: Value, rank: int) -> str:
    array = w.array(value)
    if array is None:
        return w.second(value) if w.type(value).rank else w.name(value)
    if array.size == 1 and array.ndim < rank:
        return w.constant(array.reshape(()))
    return w.constant(np.moveaxis(array.reshape((1,) * (rank - array.ndim) + array.shape), -1, 1))


def _plain(kind: str) -> Rule:
    return elementwise(lambda w, node, *names: w.op(kind, *names))


def _composed(function: Callable[..., str]) -> Rule:
    return elementwise(lambda w, node, *names: function(w, node.types[0].dtype, *names))


def _expm1(w: Writer, dtype: str, x: str) -> str:
    """tanh(x / 2) (exp(x) + 1), which is exact near 0."""
    half = w.op("Tanh", w.op("Mul", x, w.scalar(0.5, dtype)))
    made: str = w.op("Mul", half, w.op("Add", w.op("Exp", x), w.scalar(1, dtype)))
    return made


def _log1p(w: Writer, dtype: str, x: str) -> str:
    """log(u) x / (u - 1) for u = 1 + x; x itself where that is 1, u where it is infinite."""
    one = w.scalar(1, dtype)
    u = w.op("Add", x, one)
    exact = w.op("Div", w.op("Mul", w.op("Log", u), x), w.op("Sub", u, one))
    small = w.op("Where", w.op("Equal", u, one), x, exact)
    made: str = w.op("Where", w.op("Equal", u, w.scalar(np.inf, dtype)), u, small)
    return made


def _rsqrt(w: Writer, dtype: str, x: str) -> str:
    made: str = w.op("Reciprocal", w.op("Sqrt", x))
    return made


def _not_equal(w: Writer, dtype: str, x: str, y: str) -> str:
    made: str = w.op("Not", w.op("Equal", x, y))
    return made


def _select(w: Writer, dtype: str, condition: str, x: str, y: str) -> str:
    if dtype != "bool":
        return str(w.op("Where", condition, x, y))
    other = w.op("And", w.op("Not", condition), y)
    return str(w.op("Or", w.op("And", condition, x), other))


def data_type(dtype: str) -> int:
    """The number of a dtype in ONNX."""
    from onnx.helper import np_dtype_to_tensor_dtype

    return int(np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _cast(w: Writer, node: Node, x: str) -> str:
    """ONNX leaves open what floats beyond an integer's range become; ours are its ends."""
    given, made = w.type(node.inputs[0]).dtype, node.types[0].dtype
    if given in FLOATS and made in NARROW:
        ends = np.iinfo(made)
        x = w.op("Clip", x, w.scalar(ends.min, given), w.scalar(ends.max, given))
    return str(w.op("Cast", x, to=data_type(made)))


def _rounded(w: Writer, node: Node, x: str) -> str:
    from onnx import TensorProto

    half = w.op("Cast", x, to=int(TensorProto.BFLOAT16))
    return str(w.op("Cast", half, to=data_type(node.types[0].dtype)))


def _same(w: Writer, node: Node) -> Made:
    form = w.forms[node.inputs[0]]
    w.forms[Value(node.id)] = form
    return None


def _divided(w: Writer, node: Node) -> Made:
    """x / y; a softmax where it is one."""
    found = softmax(w, node)
    if found is None:
        return _plain("Div")(w, node)
    x, axis = found
    return str(w.op("Softmax", w.name(x), axis=axis))


def softmax(w: Writer, node: Node) -> tuple[Value, int] | None:
    """What a softmax is taken of and its axis, where a quotient is one: exp(x - max) / sum."""
    e = w.made_by(node.inputs[0], "exp")
    total = _along(w, node.inputs[1], "reduce_sum")
    if e is None or total is None or total[0].node != e.id:
        return None
    shifted = w.made_by(e.inputs[0], "sub")
    largest = None if shifted is None else _along(w, shifted.inputs[1], "reduce_max")
    if shifted is None or largest is None or largest != (shifted.inputs[0], total[1]):
        return None
    return largest


def _along(w: Writer, value: Value, op: str) -> tuple[Value, int] | None:
    """The operand and axis of a reduction along one axis, which the result keeps as 1."""
    kept = w.made_by(value, "reshape")
    node = None if kept is None else w.made_by(kept.inputs[0], op)
    if node is None or kept is None or len(node.attrs["axes"]) != 1:
        return None
    (axis,), x = node.attrs["axes"], node.inputs[0]
    shape = w.type(x).shape
    fits = kept.types[0].shape == (*shape[:axis], 1, *shape[axis + 1 :])
    return (x, axis) if fits else None


# ---------------------------------------------------------------- movement


def _iota(w: Writer, node: Node) -> Made:
    shape, axis, dtype = (node.attrs[k] for k in ("shape", "axis", "dtype"))
    size = shape[axis]
    if isinstance(size, Batch):
        end = w.reshaped(w.file.size(size), ())
        steps = w.op(
            "Cast", w.op("Range", w.scalar(0, "int64"), end, w.scalar(1, "int64")), to=data_type(dtype)
        )
    else:
        steps = w.constant(np.arange(size).astype(dtype))
    column = w.reshaped(steps, [size if i == axis else 1 for i in range(len(shape))])
    return str(w.op("Expand", column, w.file.shape(shape)))


def _extent(w: Writer, node: Node) -> Made:
    name = w.reshaped(w.file.size(node.attrs["dim"]), ())
    return str(w.op("Cast", name, to=data_type(node.attrs["dtype"])))


def _reshape(w: Writer, node: Node) -> Made:
    return w.reshaped(w.name(node.inputs[0]), node.attrs["shape"])


def _broadcast(w: Writer, node: Node) -> Made:
    given, shape = w.type(node.inputs[0]).shape, node.attrs["shape"]
    lead = len(shape) - len(given)
    own = [1 if i >= lead and given[i - lead] == d else d for i, d in enumerate(shape)]
    return str(w.op("Expand", w.name(node.inputs[0]), w.file.shape(own)))


def _reverse(w: Writer, node: Node) -> Made:
    axes = node.attrs["axes"]
    if not axes:
        return _same(w, node)
    back = [-1] * len(axes)
    ends = w.ints([LOW] * len(axes))
    return str(w.op("Slice", w.name(node.inputs[0]), w.ints(back), ends, w.ints(axes), w.ints(back)))


def _pad(w: Writer, node: Node) -> Made:
    (x,), (low, high, interior, value) = (
        node.inputs,
        (node.attrs[k] for k in ("low", "high", "interior", "value")),
    )
    type, dtype = w.type(x), node.types[0].dtype
    along = w.has_second(x) and not any(interior) and min(*low, *high) >= 0
    name, shape = (w.second(x) if along else w.name(x)), list(type.shape)
    fill = w.scalar(value, dtype)
    for axis, between in enumerate(interior):
        if between and (size := shape[axis]) != 0:
            assert isinstance(size, int)
            name = w.reshaped(name, [*shape[: axis + 1], 1, *shape[axis + 1 :]])
            ends = [between if i == axis + 1 else 0 for i in range(len(shape) + 1)]
            name = w.op("Pad", name, w.ints([*[0] * len(ends), *ends]), fill)
            shape[axis] = size * (between + 1)
            name, shape[axis] = w.reshaped(name, shape), size + (size - 1) * between
            name = w.op("Slice", name, w.ints([0]), w.ints([-between]), w.ints([axis]))
    cut = [i for i in range(len(shape)) if low[i] < 0 or high[i] < 0]
    if any(low[i] > 0 or high[i] > 0 for i in range(len(shape))):
        ends = [max(e, 0) for e in (*low, *high)]
        if along:
            ends = [
                e for part in (ends[: len(low)], ends[len(low) :]) for e in (part[0], part[-1], *part[1:-1])
            ]
        name = w.op("Pad", name, w.ints(ends), fill)
    if cut:
        starts = [max(-low[i], 0) for i in cut]
        stops = [s + node.types[0].shape[i] for s, i in zip(starts, cut)]
        name = w.op("Slice", name, w.ints(starts), w.ints(stops), w.ints(cut))
    return Second(name) if along else str(name)


def _slice(w: Writer, node: Node) -> Made:
    (x,), (start, stop, step) = node.inputs, (node.attrs[k] for k in ("start", "stop", "step"))
    axes = [i for i, d in enumerate(w.type(x).shape) if (start[i], stop[i], step[i]) != (0, d, 1)]
    parts = [[each[i] for i in axes] for each in (start, stop)]
    return str(w.op("Slice", w.name(x), *map(w.ints, [*parts, axes, [step[i] for i in axes]])))


def _concatenate(w: Writer, node: Node) -> Made:
    axis, rank = node.attrs["axis"], node.types[0].rank
    if rank >= 3 and axis != 0 and any(w.has_second(v) for v in node.inputs):
        place = 1 if axis == rank - 1 else axis + 1
        return Second(w.op("Concat", *map(w.second, node.inputs), axis=place))
    return str(w.op("Concat", *map(w.name, node.inputs), axis=axis))


def _clamped(w: Writer, places: Value, rows: Any) -> str:
    """Row numbers within a table of so many rows, int64."""
    wide = w.op("Cast", w.name(places), to=data_type("int64"))
    last = (
        w.op("Sub", w.reshaped(w.file.size(rows), ()), w.scalar(1, "int64"))
        if isinstance(rows, Batch)
        else None
    )
    return str(w.op("Clip", wide, w.scalar(0, "int64"), last or w.scalar(rows - 1, "int64")))


def _gather(w: Writer, node: Node) -> Made:
    table, places = node.inputs
    return str(w.op("Gather", w.name(table), _clamped(w, places, w.type(table).shape[0]), axis=0))


def _gather_each(w: Writer, node: Node) -> Made:
    table, places = node.inputs
    rows = _clamped(w, places, w.type(table).shape[1])
    at = w.reshaped(rows, (*w.type(places).shape, 1))
    return str(w.op("GatherND", w.name(table), at, batch_dims=1))


def _scatter(w: Writer, node: Node) -> Made:
    values, places = node.inputs
    shape = node.types[0].shape
    zeros = w.op("Expand", w.scalar(0, node.types[0].dtype), w.file.shape(shape))
    at = w.reshaped(_clamped(w, places, shape[0]), (*w.type(places).shape, 1))
    return str(w.op("ScatterND", zeros, at, w.name(values), reduction="add"))


def _windows(w: Writer, node: Node) -> Made:
    """Where each element comes from is known: from a place among those of a sample, or it is 0."""
    (x,) = node.inputs
    given, made = w.type(x), node.types[0]
    rank = 2 * len(node.attrs["strides"])
    inner, rest = given.shape[1 : 1 + rank], given.shape[1 + rank :]
    count = numel(inner)
    if not isinstance(count, int):
        raise w.refused("windows over the batch cannot be written to ONNX")
    numbers = np.arange(1, count + 1).reshape(1, *inner)
    places = node.op.numpy(numbers[..., None], **node.attrs)[0, ..., 0]
    flat = w.reshaped(w.name(x), (given.shape[0], count, *rest))
    ends = [int(i == 1) for i in range(2 + len(rest))]
    wide = w.op("Pad", flat, w.ints([*[0] * len(ends), *ends]), w.scalar(0, made.dtype))
    return str(
        w.op("Gather", wide, w.constant(np.where(places > 0, places - 1, count).astype(np.int64)), axis=1)
    )


RULES: dict[str, Rule] = {
    **{
        name: _plain(kind)
        for name, kind in {
            "add": "Add",
            "sub": "Sub",
            "mul": "Mul",
            "pow": "Pow",
            "maximum": "Max",
            "minimum": "Min",
            "neg": "Neg",
            "abs": "Abs",
            "sign": "Sign",
            "floor": "Floor",
            "sqrt": "Sqrt",
            "exp": "Exp",
            "log": "Log",
            "tanh": "Tanh",
            "sigmoid": "Sigmoid",
            "softplus": "Softplus",
            "erf": "Erf",
            "sin": "Sin",
            "cos": "Cos",
            "relu": "Relu",
            "equal": "Equal",
            "less": "Less",
            "less_equal": "LessOrEqual",
            "greater": "Greater",
            "greater_equal": "GreaterOrEqual",
            "logical_and": "And",
            "logical_or": "Or",
            "logical_not": "Not",
            "bitwise_and": "BitwiseAnd",
            "bitwise_or": "BitwiseOr",
            "bitwise_xor": "BitwiseXor",
        }.items()
    },
    "div": _divided,
    "square": elementwise(lambda w, node, x: w.op("Mul", x, x)),
    "expm1": _composed(_expm1),
    "log1p": _composed(_log1p),
    "rsqrt": _composed(_rsqrt),
    "not_equal": _composed(_not_equal),
    "select": _composed(_select),
    "cast": elementwise(_cast),
    "round_bfloat16": elementwise(_rounded),
    "stop_gradient": _same,
    "copy": _same,
    "iota": _iota,
    "extent": _extent,
    "reshape": _reshape,
    "transpose": lambda w, node: w.permuted(node.inputs[0], node.attrs["axes"]),
    "broadcast_to": _broadcast,
    "reverse": _reverse,
    "pad": _pad,
    "slice": _slice,
    "concatenate": _concatenate,
    "gather": _gather,
    "gather_each": _gather_each,
    "scatter_rows": _scatter,
    "to_windows": _windows,
    "from_windows": _windows,
}

"""Calls of TensorFlow's functions in models of tf.keras, which are layers there: as calls of keras.ops.

Enters: TFOpLambda (a function by its name), SlicingOpLambda (x[key]) and TensorFlowOpLayer (an op of a graph,
in files of TensorFlow 2.0 to 2.3), with their nodes; nothing in them is trusted. Leaves: the function of
keras.ops that computes the same, its arguments, and the tensors that it is called on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kcompile.files.calls import mapping
from kcompile.files.tf_graph_ops import call_of
from kcompile.keras.layers.operation import OPERAND
from kcompile_runtime.errors import UnsupportedError

KINDS = ("SlicingOpLambda", "TFOpLambda", "TensorFlowOpLayer")
Arguments = dict[str, Any]
Places = list[list[Any]]
CONSTANT = "_CONSTANT_VALUE"


class Twin(NamedTuple):
    """A function of keras.ops that computes what one of TensorFlow does. first: what its first argument is
    called. renamed: other arguments of TensorFlow's -> ours. given: arguments that it has otherwise. change:
    what else the arguments need."""

    function: str
    first: str = "x"
    renamed: Mapping[str, str] = {}
    given: Mapping[str, Any] = {}
    change: Callable[[Arguments], tuple[str | None, Arguments]] | None = None


def _two(function: str) -> Twin:
    return Twin(function, "x1", {"y": "x2"})


def _same(names: str) -> dict[str, Twin]:
    return {name: Twin(name) for name in names.split()}


def _axes(function: str) -> Twin:
    return Twin(function, "x", {"axis": "axis", "keepdims": "keepdims"})


def _split(arguments: Arguments) -> tuple[str | None, Arguments]:
    """Sizes of parts are places where they end."""
    parts = arguments.get("indices_or_sections")
    if isinstance(parts, (list, tuple)):
        ends = list(itertools.accumulate(parts))[:-1]
        return None, {**arguments, "indices_or_sections": ends}
    return None, arguments


def _product(arguments: Arguments) -> tuple[str | None, Arguments]:
    """Matrices may be turned."""
    flags = [bool(arguments.pop(key, False)) for key in ("transpose_a", "transpose_b")]
    if not any(flags):
        return None, arguments
    left, right = ("ji" if flags[0] else "ij"), ("kj" if flags[1] else "jk")
    equation = f"...{left},...{right}->...ik"
    return "einsum", {"subscripts": equation, "operands": [arguments["x1"], arguments["x2"]]}


def _length(arguments: Arguments) -> tuple[str | None, Arguments]:
    epsilon = arguments.get("epsilon", 1e-12)
    return None, {**arguments, "epsilon": math.sqrt(epsilon), "order": 2}


def _padding(arguments: Arguments) -> tuple[str | None, Arguments]:
    mode = str(arguments.get("mode", "constant")).lower()
    made = {**arguments, "mode": mode}
    if mode != "constant":
        made.pop("constant_values", None)
    return None, made


def _forward(arguments: Arguments) -> tuple[str | None, Arguments]:
    if arguments.pop("exclusive", False) or arguments.pop("reverse", False):
        raise UnsupportedError("exclusive and reverse running results")
    return None, {"axis": 0, **arguments}


def _one_axis(arguments: Arguments) -> tuple[str | None, Arguments]:
    return None, {"axis": 0, **arguments}


def _gather(arguments: Arguments) -> tuple[str | None, Arguments]:
    if arguments.pop("batch_dims", 0):
        raise UnsupportedError("batch_dims")
    axis = arguments.get("axis")
    return None, {**arguments, "axis": 0 if axis is None else axis}


_MATH = {
    **{
        name: _two(name)
        for name in (
            "add",
            "subtract",
            "multiply",
            "divide",
            "divide_no_nan",
            "maximum",
            "minimum",
            "greater",
            "greater_equal",
            "less",
            "less_equal",
            "equal",
            "not_equal",
            "logical_and",
            "logical_or",
            "logical_xor",
        )
    },
    "truediv": _two("true_divide"),
    "floordiv": _two("floor_divide"),
    "floormod": _two("mod"),
    "mod": _two("mod"),
    "pow": _two("power"),
    "atan2": Twin("arctan2", "x1", {"x": "x2"}),
    **_same(
        "exp expm1 log log1p sqrt rsqrt square sin cos tan sinh cosh tanh sigmoid softplus sign floor ceil"
    ),
    **_same("reciprocal erf logical_not"),
    "softsign": Twin("softsign"),
    "abs": Twin("absolute"),
    "negative": Twin("negative"),
    "round": Twin("round"),
    "rint": Twin("round"),
    "is_nan": Twin("isnan"),
    "is_finite": Twin("isfinite"),
    "log_sigmoid": Twin("log_sigmoid"),
    "reduce_sum": _axes("sum"),
    "reduce_mean": _axes("mean"),
    "reduce_max": _axes("max"),
    "reduce_min": _axes("min"),
    "reduce_prod": _axes("prod"),
    "reduce_any": _axes("any"),
    "reduce_all": _axes("all"),
    "reduce_std": _axes("std"),
    "reduce_variance": _axes("var"),
    "reduce_logsumexp": _axes("logsumexp"),
    "argmax": Twin("argmax", "x", {"axis": "axis"}, change=_one_axis),
    "argmin": Twin("argmin", "x", {"axis": "axis"}, change=_one_axis),
    "cumsum": Twin("cumsum", "x", {k: k for k in ("axis", "exclusive", "reverse")}, change=_forward),
    "cumprod": Twin("cumprod", "x", {k: k for k in ("axis", "exclusive", "reverse")}, change=_forward),
    "l2_normalize": Twin("normalize", "x", {"axis": "axis", "epsilon": "epsilon"}, change=_length),
}
_NN = {
    **_same("relu relu6 elu selu silu tanh sigmoid softplus softsign"),
    "swish": Twin("silu"),
    "gelu": Twin("gelu", "x", {"approximate": "approximate"}, {"approximate": False}),
    "leaky_relu": Twin("leaky_relu", "x", {"alpha": "negative_slope"}),
    "softmax": Twin("softmax", "x", {"axis": "axis"}, {"axis": -1}),
    "log_softmax": Twin("log_softmax", "x", {"axis": "axis"}, {"axis": -1}),
    "l2_normalize": _MATH["l2_normalize"],
    "bias_add": Twin("add", "x1", {"bias": "x2"}),
}
_ARRAYS = {
    "concat": Twin("concatenate", "xs", {"axis": "axis"}),
    "stack": Twin("stack", "x", {"axis": "axis"}),
    "unstack": Twin("unstack", "x", {"num": "num", "axis": "axis"}),
    "split": Twin("split", "x", {"num_or_size_splits": "indices_or_sections", "axis": "axis"}, change=_split),
    "reshape": Twin("reshape", "x", {"shape": "newshape"}),
    "transpose": Twin("transpose", "x", {"perm": "axes"}),
    "squeeze": Twin("squeeze", "x", {"axis": "axis"}),
    "expand_dims": Twin("expand_dims", "x", {"axis": "axis"}),
    "cast": Twin("cast", "x", {"dtype": "dtype"}),
    "zeros_like": Twin("zeros_like", "x", {"dtype": "dtype"}),
    "ones_like": Twin("ones_like", "x", {"dtype": "dtype"}),
    "where": Twin("where", "condition", {"x": "x1", "y": "x2"}),
    "clip_by_value": Twin("clip", "x", {"clip_value_min": "x_min", "clip_value_max": "x_max"}),
    "pad": Twin(
        "pad",
        "x",
        {"paddings": "pad_width", "mode": "mode", "constant_values": "constant_values"},
        change=_padding,
    ),
    "tile": Twin("tile", "x", {"multiples": "repeats"}),
    "repeat": Twin("repeat", "x", {"repeats": "repeats", "axis": "axis"}),
    "gather": Twin(
        "take", "x", {"indices": "indices", "axis": "axis", "batch_dims": "batch_dims"}, change=_gather
    ),
    "reverse": Twin("flip", "x", {"axis": "axis"}),
    "roll": Twin("roll", "x", {"shift": "shift", "axis": "axis"}),
    "one_hot": Twin("one_hot", "x", {"depth": "num_classes", "axis": "axis", "dtype": "dtype"}),
    "identity": Twin("copy"),
    "stop_gradient": Twin("stop_gradient", "variable"),
    "matmul": Twin(
        "matmul",
        "x1",
        {"b": "x2", "transpose_a": "transpose_a", "transpose_b": "transpose_b"},
        change=_product,
    ),
    "tensordot": Twin("tensordot", "x1", {"b": "x2", "axes": "axes"}),
    **{name: _MATH[name] for name in ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "abs", "pow")},
    **_same("exp sqrt square tanh sigmoid sin cos floor round"),
}


def _euclidean(arguments: Arguments) -> tuple[str | None, Arguments]:
    """A norm: the length of all elements by default."""
    plain = str(arguments.get("ord", "euclidean")) == "euclidean"
    if not plain and arguments.get("axis") is None:
        raise UnsupportedError("a norm by its order, over all elements")
    made = {**arguments, "keepdims": bool(arguments.get("keepdims") or False)}
    return None, {**made, "ord": None} if plain else made


_LINALG = {
    **_same("det inv logdet cholesky eigh"),
    "qr": Twin("qr"),
    "solve": Twin("solve", "a", {"rhs": "b"}),
    "triangular_solve": Twin("solve_triangular", "a", {"rhs": "b", "lower": "lower"}, {"lower": True}),
    "norm": Twin("norm", "x", {k: k for k in ("ord", "axis", "keepdims")}, change=_euclidean),
    "diag_part": Twin("diagonal", "x", given={"axis1": -2, "axis2": -1}),
    "matmul": _ARRAYS["matmul"],
    "l2_normalize": _MATH["l2_normalize"],
}


def _resize(arguments: Arguments) -> tuple[str | None, Arguments]:
    """Images in a size that is numbers."""
    if arguments.pop("preserve_aspect_ratio", False):
        raise UnsupportedError("preserve_aspect_ratio. Use a Resizing layer with pad_to_aspect_ratio")
    size = arguments.get("size")
    size = mapping(size.get("config")).get("value") if isinstance(size, Mapping) else size
    if not isinstance(size, (list, tuple)) or not all(type(n) is int for n in size):
        raise UnsupportedError("a size that is no two numbers")
    method = str(arguments.get("interpolation", "bilinear")).rpartition(".")[2].lower()
    return None, {**arguments, "size": list(size), "interpolation": method}


_RESIZED = {"method": "interpolation"} | {k: k for k in ("size", "antialias", "preserve_aspect_ratio")}
_OTHERS = {
    **{f"bitwise.bitwise_{name}": Twin(f"bitwise_{name}", "x", {"y": "y"}) for name in ("and", "or", "xor")},
    "norm": _LINALG["norm"],
    "math.real": Twin("real"),
    "bitwise.invert": Twin("bitwise_not"),
    "bitwise.left_shift": Twin("left_shift", "x", {"y": "y"}),
    "bitwise.right_shift": Twin("right_shift", "x", {"y": "y"}),
    "image.flip_left_right": Twin("flip", given={"axis": -2}),
    "image.flip_up_down": Twin("flip", given={"axis": -3}),
    "image.resize": Twin("resize", "images", _RESIZED, change=_resize),
    "image.hsv_to_rgb": Twin("hsv_to_rgb", "images"),
    "image.rgb_to_hsv": Twin("rgb_to_hsv", "images"),
}
# Names as files have them, without the modules that hold a function twice
TWINS: dict[str, Twin] = {
    **{f"math.{name}": twin for name, twin in _MATH.items()},
    **{f"nn.{name}": twin for name, twin in _NN.items()},
    **_ARRAYS,
    "floor_div": _two("floor_divide"),
    **{f"linalg.{name}": twin for name, twin in _LINALG.items()},
    **_OTHERS,
    **{
        f"__operators__.{name}": _two(ours)
        for name, ours in {"add": "add", "subtract": "subtract", "multiply": "multiply"}.items()
    },
}
# Arguments of TensorFlow's that say nothing of the values, with what they may be
NEUTRAL: dict[str, tuple[Any, ...] | None] = {
    "name": None,
    "conjugate": (False,),
    "axis": (None,),
    "dtype": (None,),
    "data_format": (None, "NHWC", "N...C"),
    "output_type": None,
    "validate_indices": None,
    "optimize": (True,),
    "num": (None,),
    **dict.fromkeys(
        ("adjoint_a", "adjoint_b", "a_is_sparse", "b_is_sparse", "grad_a", "grad_b"), (False, None)
    ),
    "output_dtype": (None,),
    "adjoint": (False,),
    "full_matrices": (False,),
    "keep_dims": (None,),
    "squeeze_dims": (None,),
    "layout": (None,),
}


def translated(kind: str, config: Mapping[str, Any], node: Any) -> tuple[str, Arguments, Places]:
    """The function of keras.ops, its arguments with numbers of tensors, and these. Raises UnsupportedError,
    which says what is not supported."""
    places: Places = []
    if kind == "TensorFlowOpLayer":
        return (*_graph_op(config, node, places), places)
    name = str(config.get("function")).removeprefix("compat.v1.")
    first, named = _call(node, places)
    if name == "__operators__.getitem":
        return "get_item", {"x": first, "key": _key(named.get("slice_spec"))}, places
    twin = TWINS.get(name)
    if twin is None:
        raise UnsupportedError(f"the function tf.{name}. Write it in a layer of your own, or by keras.ops")
    made: Arguments = {twin.first: first, **twin.given}
    for key, value in named.items():
        if key in twin.renamed:
            made[twin.renamed[key]] = value
        elif not _says_nothing(key, value):
            raise UnsupportedError(f"tf.{name} with the argument {key}={value!r}"[:200])
    function, made = (None, made) if twin.change is None else twin.change(made)
    return function or twin.function, made, places


def _graph_op(config: Mapping[str, Any], node: Any, places: Places) -> tuple[str, Arguments]:
    definition, constants = config.get("node_def"), mapping(config.get("constants"))
    if not isinstance(definition, Mapping):
        raise UnsupportedError("an op of a graph as TensorFlow 2.0 wrote it. Save the model by a later one")
    first, _ = _call(node, places)
    operands = list(first) if isinstance(first, list) else [first]
    try:
        given = sorted((int(index), value) for index, value in constants.items())
    except (TypeError, ValueError):
        raise UnsupportedError("constants without their places") from None
    for index, value in given:
        operands.insert(index, value.tolist() if hasattr(value, "tolist") else value)
    return call_of(definition.get("op"), definition.get("attr"), operands)


def _says_nothing(key: str, value: Any) -> bool:
    allowed = NEUTRAL.get(key, ())
    return allowed is None or any(value is one or (isinstance(one, str) and value == one) for one in allowed)


def _call(node: Any, places: Places) -> tuple[Any, Mapping[str, Any]]:
    """The first argument of a call and the others by name, with numbers in place of tensors."""
    if _is_place(node, 4):
        named = mapping(node[3])
        first = _value(node[2], places) if node[0] == CONSTANT else _operand(node, places)
    elif isinstance(node, (list, tuple)) and node and all(_is_place(part, 4) for part in node):
        named = mapping(node[0][3])
        first = [_value(part[2], places) if part[0] == CONSTANT else _operand(part, places) for part in node]
    else:
        raise UnsupportedError("a call of another form than [layer, node, tensor, arguments]")
    return first, {str(key): _value(value, places) for key, value in named.items()}


def _is_place(value: Any, length: int) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == length
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def _operand(place: Sequence[Any], places: Places) -> dict[str, Any]:
    made = [*place[:3], {}]
    if made not in places:
        places.append(made)
    return {"class_name": OPERAND, "config": {"index": places.index(made)}}


def _value(value: Any, places: Places) -> Any:
    """An argument, with numbers in place of tensors, and names of dtypes."""
    if _is_place(value, 3):
        return _operand(value, places)
    if isinstance(value, (list, tuple)):
        return [_value(v, places) for v in value]
    if isinstance(value, Mapping) and {"start", "stop", "step"} <= set(value):
        parts = {key: _value(value[key], places) for key in ("start", "stop", "step")}
        return {"class_name": "__slice__", "config": parts}
    if hasattr(value, "as_numpy_dtype"):  # of a live model
        return value.name
    if isinstance(value, slice):
        return _value({key: getattr(value, key) for key in ("start", "stop", "step")}, places)
    if value is Ellipsis or (isinstance(value, Mapping) and value.get("class_name") == "__ellipsis__"):
        return {"class_name": "__ellipsis__", "config": {}}
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return {"class_name": "__numpy__", "config": {"value": value.tolist(), "dtype": str(value.dtype)}}
    return value


def _key(spec: Any) -> list[Any]:
    return spec if isinstance(spec, list) else [spec]

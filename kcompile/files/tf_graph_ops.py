"""Ops of TensorFlow's graphs (TensorFlowOpLayer of TensorFlow 2.0 to 2.3) as calls of keras.ops.

Enters: the op with its attributes, as JSON writes a NodeDef, and its operands, constants among them. Leaves:
the function of keras.ops that computes the same, and its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompile.files.calls import mapping
from kcompile_runtime.errors import UnsupportedError

Call = tuple[str, dict[str, Any]]

_TWO = {
    "Add": "add",
    "AddV2": "add",
    "Atan2": "arctan2",
    "BiasAdd": "add",
    "Equal": "equal",
    "FloorDiv": "floor_divide",
    "FloorMod": "mod",
    "Greater": "greater",
    "GreaterEqual": "greater_equal",
    "Less": "less",
    "LessEqual": "less_equal",
    "LogicalAnd": "logical_and",
    "LogicalOr": "logical_or",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Mul": "multiply",
    "NotEqual": "not_equal",
    "Pow": "power",
    "RealDiv": "true_divide",
    "Sub": "subtract",
}
_ONE = {
    "Abs": "absolute",
    "Ceil": "ceil",
    "Cos": "cos",
    "Elu": "elu",
    "Erf": "erf",
    "Exp": "exp",
    "Expm1": "expm1",
    "Floor": "floor",
    "Identity": "copy",
    "Log": "log",
    "Log1p": "log1p",
    "LogSoftmax": "log_softmax",
    "LogicalNot": "logical_not",
    "Neg": "negative",
    "OnesLike": "ones_like",
    "Reciprocal": "reciprocal",
    "Relu": "relu",
    "Relu6": "relu6",
    "Round": "round",
    "Rsqrt": "rsqrt",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Softmax": "softmax",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sqrt": "sqrt",
    "Square": "square",
    "Tanh": "tanh",
    "ZerosLike": "zeros_like",
}
_REDUCED = {
    "All": "all",
    "Any": "any",
    "Max": "max",
    "Mean": "mean",
    "Min": "min",
    "Prod": "prod",
    "Sum": "sum",
}
# Of an operand and a constant: the function, and what it calls the constant
_WITH = {
    "ExpandDims": ("expand_dims", "axis"),
    "Reshape": ("reshape", "newshape"),
    "Tile": ("tile", "repeats"),
    "Transpose": ("transpose", "axes"),
}
_DTYPES = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_BOOL": "bool",
}
_COUNTS = {
    **dict.fromkeys(("ConcatV2", "Pack"), 0),
    **dict.fromkeys(_ONE, 1),
    **dict.fromkeys(("Cast", "LeakyRelu", "Squeeze"), 1),
    **dict.fromkeys((*_TWO, *_REDUCED, *_WITH, "MatMul", "BatchMatMul", "BatchMatMulV2", "Pad"), 2),
    "Split": 2,
    "StridedSlice": 4,
}


def call_of(op: Any, attributes: Any, operands: Sequence[Any]) -> Call:
    """Raises UnsupportedError for another op, and for attributes or operands that it cannot have."""
    count = _COUNTS.get(op) if isinstance(op, str) else None
    if count is None:
        raise UnsupportedError(
            f"the op {op!r} of TensorFlow. Write it in a layer of your own, or by keras.ops"[:200]
        )
    if len(operands) < 1 or (count and len(operands) != count):
        raise UnsupportedError(f"the op {op} with {len(operands)} operands")
    attrs = {key: _attribute(value) for key, value in mapping(attributes).items()}
    if op in _ONE:
        return _ONE[op], {"x": operands[0]}
    if op in _TWO:
        if attrs.get("data_format") not in (None, "NHWC", "TkhXQw=="):  # as text, or as bytes in base 64
            raise UnsupportedError(f"the op {op} with channels first")
        return _TWO[op], dict(zip(("x1", "x2"), operands))
    if op in _REDUCED:
        return _REDUCED[op], {"x": operands[0], "axis": operands[1], "keepdims": bool(attrs.get("keep_dims"))}
    if op in _WITH:
        function, name = _WITH[op]
        return function, {"x": operands[0], name: operands[1]}
    return _other(op, attrs, operands)


def _other(op: str, attrs: Mapping[str, Any], operands: Sequence[Any]) -> Call:
    first, *rest = operands
    if op == "ConcatV2":
        return "concatenate", {"xs": list(operands[:-1]), "axis": operands[-1]}
    if op == "Pack":
        return "stack", {"x": list(operands), "axis": attrs.get("axis", 0)}
    if op == "Cast":
        dtype = _DTYPES.get(str(attrs.get("DstT")))
        if dtype is None:
            raise UnsupportedError(f"the op Cast to {attrs.get('DstT')}")
        return "cast", {"x": first, "dtype": dtype}
    if op == "LeakyRelu":
        return "leaky_relu", {"x": first, "negative_slope": attrs.get("alpha", 0.2)}
    if op == "Squeeze":
        return "squeeze", {"x": first, "axis": attrs.get("squeeze_dims") or None}
    if op == "Pad":
        return "pad", {"x": first, "pad_width": rest[0]}
    if op == "Split":  # the axis comes first
        return "split", {"x": rest[0], "indices_or_sections": attrs.get("num_split"), "axis": first}
    if op == "StridedSlice":
        return "get_item", {"x": first, "key": _key(attrs, *rest)}
    turned = [
        bool(attrs.get(a) or attrs.get(b)) for a, b in (("transpose_a", "adj_x"), ("transpose_b", "adj_y"))
    ]
    equation = f"...{'ji' if turned[0] else 'ij'},...{'kj' if turned[1] else 'jk'}->...ik"
    return "einsum", {"subscripts": equation, "operands": list(operands)}


def _attribute(value: Any) -> Any:
    """The value of an attribute: JSON writes 64-bit integers as text."""
    (kind, found), *_ = [*mapping(value).items(), ("", None)]
    if kind == "i":
        return int(found)
    if kind == "list":
        return [int(v) for v in mapping(found).get("i", ())]
    return found


def _key(attrs: Mapping[str, Any], begin: Any, end: Any, strides: Any) -> list[Any]:
    """Numbers of a strided slice as the key of x[key]; bits of masks say what else a place means."""
    if not all(isinstance(v, list) for v in (begin, end, strides)):
        raise UnsupportedError("the op StridedSlice with places that are no constants")

    def is_set(mask: str, place: int) -> bool:
        return bool(int(attrs.get(mask) or 0) >> place & 1)

    key: list[Any] = []
    for place, (start, stop, step) in enumerate(zip(begin, end, strides)):
        if is_set("ellipsis_mask", place):
            key.append({"class_name": "__ellipsis__", "config": {}})
        elif is_set("new_axis_mask", place):
            key.append(None)
        elif is_set("shrink_axis_mask", place):
            key.append(start)
        else:
            parts = {
                "start": None if is_set("begin_mask", place) else start,
                "stop": None if is_set("end_mask", place) else stop,
                "step": step,
            }
            key.append({"class_name": "__slice__", "config": parts})
    return key

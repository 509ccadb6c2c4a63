"""Rules for products, convolutions, windows and reductions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np

from kcompile.ir.contraction import Access
from kcompile.ir.graph import Node, Value
from kcompile.ir.types import Dim, static
from kcompile.to_onnx.writer import Form, Made, Rule, Second, Writer


def _biased(w: Writer, node: Node) -> tuple[np.ndarray | None, Value]:
    """The bias that is added to a product and nothing else is made of, with the value that is then made."""
    value = Value(node.id)
    reader = w.alone(value)
    if reader is None or reader.op.signs != (1, 1) or reader.types != node.types:
        return None, value
    (other,) = [v for v in reader.inputs if v != value]
    array, columns = w.array(other), node.types[0].shape[-1]
    if array is None or array.shape[-1:] != (columns,) or array.size != columns:
        return None, value
    return array.reshape(-1), Value(reader.id)


def _put(w: Writer, value: Value, made: Form) -> None:
    w.forms[value] = made


def _matmul(w: Writer, node: Node) -> Made:
    a, b = node.inputs
    turned = node.attrs["transpose_a"], node.attrs["transpose_b"]
    bias, value = _biased(w, node)
    names = [w.name(a), w.name(b)]
    if bias is None and not any(turned):
        return str(w.op("MatMul", *names))
    more = [] if bias is None else [w.constant(bias)]
    _put(w, value, Form(plain=w.op("Gemm", *names, *more, transA=int(turned[0]), transB=int(turned[1]))))
    if value.node != node.id:
        _put(w, Value(node.id), Form())
    return None


def _batch_matmul(w: Writer, node: Node) -> Made:
    names = []
    for value, turned in zip(node.inputs, (node.attrs["transpose_a"], node.attrs["transpose_b"])):
        rank = w.type(value).rank
        names.append(w.permuted(value, [*range(rank - 2), rank - 1, rank - 2]) if turned else w.name(value))
    return str(w.op("MatMul", *names))


def _spread(w: Writer, x: str, padding: Sequence[tuple[int, int]], value: float, dtype: str) -> str:
    """x [batch, channels, sizes...] with the spatial axes padded; below 0: cut off."""
    if not any(map(any, padding)):
        return x
    low, high = zip(*padding)
    ends = [0, 0, *low, 0, 0, *high]
    return str(w.op("Pad", x, w.ints(ends), w.scalar(value, dtype)))


def _conv(w: Writer, node: Node) -> Made:
    x, kernel = node.inputs
    rank = len(node.attrs["strides"])
    padding = node.attrs["padding"]
    bias, value = _biased(w, node)
    image = w.second(x)
    if min(map(min, padding)) < 0:
        image, padding = _spread(w, image, padding, 0, node.types[0].dtype), ((0, 0),) * rank
    inputs = [image, w.permuted(kernel, [rank + 1, rank, *range(rank)])]
    if bias is not None:
        inputs.append(w.constant(bias))
        _put(w, Value(node.id), Form())
    made = w.op("Conv", *inputs, **_window(node, padding), **_kernel(w, kernel, rank))
    _put(w, value, Form(second=made))
    return None


def _window(node: Node, padding: Sequence[tuple[int, int]]) -> dict[str, Any]:
    groups = {"group": node.attrs["groups"]} if "groups" in node.attrs else {}
    return {
        "strides": list(node.attrs["strides"]),
        "dilations": list(node.attrs["dilation"]),
        "pads": [p[0] for p in padding] + [p[1] for p in padding],
        **groups,
    }


def _kernel(w: Writer, kernel: Value, rank: int) -> dict[str, Any]:
    return {"kernel_shape": list(w.type(kernel).shape[:rank])}


def _conv_transpose(w: Writer, node: Node) -> Made:
    """What is beyond the last tap is 0, and what is before the first, or cut off, too."""
    g, kernel = node.inputs
    rank, dtype = len(node.attrs["strides"]), node.types[0].dtype
    padding, more = [], []
    for i, (low, _) in enumerate(node.attrs["padding"]):
        size, taps = static((w.type(g).shape[1 + i], w.type(kernel).shape[i]))
        stride, dilation = node.attrs["strides"][i], node.attrs["dilation"][i]
        full = (size - 1) * stride + (taps - 1) * dilation + 1
        high = full - low - node.attrs["sizes"][i]
        padding.append((max(low, 0), max(high, 0)))
        more.append((max(-low, 0), max(-high, 0)))
    columns = w.permuted(kernel, [rank + 1, rank, *range(rank)])
    bias, value = (None, Value(node.id)) if any(map(any, more)) else _biased(w, node)
    inputs = [w.second(g), columns]
    if bias is not None:
        inputs.append(w.constant(bias))
        _put(w, Value(node.id), Form())
    made = w.op("ConvTranspose", *inputs, **_window(node, padding), **_kernel(w, kernel, rank))
    _put(w, value, Form(second=_spread(w, made, more, 0, dtype)))
    return None


def _einsum(w: Writer, node: Node) -> Made:
    """A contraction whose operands are read in full, by letters for its dims."""
    maps = node.op.contraction
    assert maps is not None
    spec = maps(*(w.type(v) for v in node.inputs), **node.attrs)
    dims = (*spec.m, *spec.k, *spec.j, *spec.g)
    if len(dims) > len(ascii_letters):
        raise w.refused("a product of so many axes cannot be written to ONNX")
    starts = np.cumsum([0, len(spec.m), len(spec.k), len(spec.j)])
    operands, terms = [], []
    for access in (spec.a, spec.b):
        value = node.inputs[access.operand]
        shape, letters = _letters(w, access, dims, w.type(value).shape)
        operands.append(w.reshaped(w.name(value), shape))
        terms.append(letters)
    m, _, j, g = (
        [i for i in range(a, a + len(d)) if dims[i] != 1]
        for a, d in zip(starts, (spec.m, spec.k, spec.j, spec.g))
    )
    result = "".join(ascii_letters[i] for i in (*g, *m, *j))
    missing = set(result) - set("".join(terms))
    if missing:
        raise w.refused("a product that repeats its operands cannot be written to ONNX")
    made = w.op("Einsum", *operands, equation=f"{','.join(terms)}->{result}")
    return w.reshaped(made, node.types[0].shape)


def _letters(w: Writer, access: Access, dims: Sequence[Dim], shape: Sequence[Dim]) -> tuple[list[Dim], str]:
    """The shape of an operand with one axis for each dim that it is read by, and their letters."""
    split: list[Dim] = []
    letters = ""
    for affine, size in zip(access.index, shape):
        terms = sorted((t for t in affine.terms if dims[t[0]] != 1), key=lambda t: -t[1])
        step: Dim = 1
        for number, coefficient in reversed(terms):
            if coefficient != step:
                raise w.refused("a gradient of a convolution cannot be written to ONNX")
            step = dims[number] * coefficient
        if step != size or affine.offset or affine.divisor != 1:
            raise w.refused("a gradient of a convolution cannot be written to ONNX")
        split += [dims[number] for number, _ in terms]
        letters += "".join(ascii_letters[number] for number, _ in terms)
    return split, letters


# ---------------------------------------------------------------- windows, reductions


def _pool(node: Node) -> dict[str, Any]:
    padding = node.attrs["padding"]
    return {
        "kernel_shape": list(node.attrs["size"]),
        "strides": list(node.attrs["strides"]),
        "pads": [p[0] for p in padding] + [p[1] for p in padding],
    }


def _max_pool(w: Writer, node: Node) -> Made:
    attributes, x = _pool(node), w.second(node.inputs[0])
    if _wide(node):
        dtype = node.types[0].dtype
        x = _spread(w, x, node.attrs["padding"], 0 if dtype == "uint8" else -np.inf, dtype)
        attributes["pads"] = [0] * len(attributes["pads"])
    return Second(w.op("MaxPool", x, **attributes))


def _wide(node: Node) -> bool:
    """Whether a window may see padding alone, which poolings of ONNX do not take."""
    return any(max(p) >= size for p, size in zip(node.attrs["padding"], node.attrs["size"]))


def _sum_pool(w: Writer, node: Node) -> Made:
    """The mean times the number of elements; a mean of ours is this again times the inverse."""
    dtype, count = node.types[0].dtype, prod(node.attrs["size"])
    attributes, x = _pool(node), w.second(node.inputs[0])
    if _wide(node):
        x = _spread(w, x, node.attrs["padding"], 0, dtype)
        attributes["pads"] = [0] * len(attributes["pads"])
    made = w.op("AveragePool", x, count_include_pad=1, **attributes)
    reader = w.alone(Value(node.id))
    if reader is not None and reader.op.is_product:
        others = [w.array(v) for v in reader.inputs if v.node != node.id]
        if len(others) == 1 and others[0] is not None and others[0].size == 1:
            if abs(float(others[0].reshape(())) * count - 1) < 1e-6:
                _put(w, Value(node.id), Form())
                _put(w, Value(reader.id), Form(second=made))
                return None
    return Second(w.op("Mul", made, w.scalar(count, dtype)))


def _reduction(kind: str) -> Rule:
    def rule(w: Writer, node: Node) -> Made:
        (x,), axes = node.inputs, node.attrs["axes"]
        rank = w.type(x).rank
        if not axes:
            return str(w.op("Identity", w.name(x)))
        if w.has_second(x) and (rank - 1 in axes or (len(axes) == rank - 2 and 0 not in axes)):
            places = sorted(1 if a == rank - 1 else a + 1 if a else 0 for a in axes)
            return str(w.op(kind, w.second(x), w.ints(places), keepdims=0))
        return str(w.op(kind, w.name(x), w.ints(axes), keepdims=0))

    return rule


RULES: dict[str, Rule] = {
    "matmul": _matmul,
    "batch_matmul": _batch_matmul,
    "conv": _conv,
    "conv_data_gradient": _conv_transpose,
    "conv_filter_gradient": _einsum,
    "window_max": _max_pool,
    "window_sum": _sum_pool,
    "reduce_sum": _reduction("ReduceSum"),
    "reduce_prod": _reduction("ReduceProd"),
    "reduce_max": _reduction("ReduceMax"),
    "reduce_min": _reduction("ReduceMin"),
}

"""The contraction family: matrix product, convolution of any rank, and its two gradients.

Layouts: activations [batch, spatial..., channels], kernels [spatial..., in, out]. `padding` is a pair
(before, after) for each spatial axis. Meaning and code both come from the index maps
(`ir.contraction`); `contract` is any of them with its maps written out, which is the form the pass
that chooses algorithms leaves behind, with B perhaps packed in panels (`pack_panels`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from kcompile.ir import contraction as maps
from kcompile.ir.contraction import Access, Affine, Contraction, PanelLayout, halved, variable
from kcompile.ir.op import Call, Case, Draw, Op, register
from kcompile.ir.ops.halves import nearest_bfloat16, numbers_of, words_of
from kcompile.ir.ops.movement import broadcast_to, reshape, transpose
from kcompile.ir.ops.reduction import reduce_sum
from kcompile.ir.tensor import Operand, Tensor, emit, promote
from kcompile.ir.types import FLOATS, Batch, Dim, Shape, TensorType, numel, static

__all__ = ["batch_matmul", "conv", "conv_transpose", "matmul", "same_padding", "window_size"]

Pads = tuple[tuple[int, int], ...]
WORK = 1 << 16  # products of a sample that a property test makes


def _meaning(spec: Callable[..., Contraction]) -> Callable[..., np.ndarray]:
    """numpy semantics of index maps: the batch is bound in the types of the concrete operands."""

    def meaning(*arrays: np.ndarray, **attrs: Any) -> np.ndarray:
        types = [TensorType(a.shape, a.dtype.name) for a in arrays]
        return maps.reference(spec(*types, **attrs), *arrays)

    return meaning


def _infer(spec: Callable[..., Contraction]) -> Callable[..., TensorType]:
    def infer(*types: TensorType, **attrs: Any) -> TensorType:
        if len({t.dtype for t in types}) > 1 or types[0].dtype not in FLOATS:
            raise TypeError(
                "contraction: operands must be of one floating point dtype. Received: "
                + ", ".join(map(str, types))
            )
        made = spec(*types, **attrs)
        return types[0].with_shape(made.shape)

    return infer


def _register(
    name: str, spec: Callable[..., Contraction], gradient: Any, cases: Any, meaning: Any = None, **traits: Any
) -> None:
    register(
        Op(
            name,
            "contraction",
            _infer(spec),
            meaning or _meaning(spec),
            gradient=gradient,
            contraction=spec,
            cases=cases,
            tolerance=1e-5,
            expensive=True,
            linear=(0, 1),
            **traits,
        )
    )


# ---------------------------------------------------------------- matrix product


def _matmul(a: TensorType, b: TensorType, transpose_a: bool, transpose_b: bool) -> Contraction:
    if a.rank != 2 or b.rank != 2:
        raise ValueError(f"matmul: expected two matrices. Received: {a}, {b}")
    return maps.matmul(a, b, transpose_a, transpose_b)


def _matmul_gradient(product: Callable[..., Tensor]) -> Callable[..., Sequence[Tensor | None]]:
    """The gradient rule of `product`, which is `matmul` or `batch_matmul`."""

    def rule(call: Call, g: Tensor) -> Sequence[Tensor | None]:
        a, b = call.inputs
        ta, tb = call.attrs["transpose_a"], call.attrs["transpose_b"]
        da = product(b, g, tb, True) if ta else product(g, b, False, not tb)
        db = product(g, a, True, ta) if tb else product(a, g, not ta, False)
        return da, db

    return rule


def _matrix_sizes(draw: Draw, work: int = WORK) -> tuple[int, int, int]:
    """Rows, summed, columns: no more products than `work`."""
    k = draw.size("units", work // 8)
    j = draw.size("units", work // (4 * k))
    return draw.size("units", work // (k * j)), k, j


def _matmul_case(draw: Draw) -> Case:
    m, k, j = _matrix_sizes(draw)
    ta, tb = draw.choice((True, False)), draw.choice((True, False))
    rows: Dim = Batch() if draw.choice((True, False)) else m
    depth: Dim = Batch() if not isinstance(rows, Batch) and draw.choice((True, False)) else k
    return Case(
        (TensorType((depth, rows) if ta else (rows, depth)), TensorType((j, depth) if tb else (depth, j))),
        {"transpose_a": ta, "transpose_b": tb},
    )


def _batch_matmul_case(draw: Draw) -> Case:
    m, k, j = _matrix_sizes(draw, WORK // 8)
    ta, tb = draw.choice((True, False)), draw.choice((True, False))
    g: Shape = draw.choice(((Batch(),), (Batch(), 2), (3,)))
    return Case(
        (TensorType((*g, k, m) if ta else (*g, m, k)), TensorType((*g, j, k) if tb else (*g, k, j))),
        {"transpose_a": ta, "transpose_b": tb},
    )


def _product(a: np.ndarray, b: np.ndarray, transpose_a: bool, transpose_b: bool) -> np.ndarray:
    product: np.ndarray = (a.swapaxes(-1, -2) if transpose_a else a) @ (
        b.swapaxes(-1, -2) if transpose_b else b
    )
    return product


def matmul(a: Operand, b: Operand, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """The product of two matrices, either of them transposed first. Code has the batch among the rows or
    what is summed, so where it would be the columns, the transpose is computed."""
    a, b = promote(a, b)
    columns, rows = b.rank == 2 and b.shape[0 if transpose_b else 1], a.shape[1 if transpose_a else 0]
    if isinstance(columns, Batch) and not isinstance(rows, Batch):
        return transpose(matmul(b, a, not transpose_b, not transpose_a), (1, 0))
    return emit("matmul", [a, b], transpose_a=transpose_a, transpose_b=transpose_b)


def batch_matmul(a: Tensor, b: Tensor, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """The product of two matrices for each sample: the last two dims, in front of which both have the
    same dims. Either is transposed first. What is no more than sums of products along the memory, or
    single products, is written so: it goes with what is around it."""
    spec = maps.batch_matmul(a.type, b.type, transpose_a, transpose_b)
    (m,), (k,), (j,) = spec.m, spec.k, spec.j
    if k == 1:
        return reshape(a, (*spec.g, m, 1)) * reshape(b, (*spec.g, 1, j))
    if 1 in (m, j) and (m == 1 or not transpose_a) and (j == 1 or transpose_b):
        return reshape(reduce_sum(reshape(a, (*spec.g, m, k)) * reshape(b, (*spec.g, j, k)), -1), spec.shape)
    if j == 1:
        return reshape(batch_matmul(b, a, not transpose_b, not transpose_a), spec.shape)
    return emit("batch_matmul", [a, b], transpose_a=transpose_a, transpose_b=transpose_b)


_register(
    "matmul",
    _matmul,
    _matmul_gradient(matmul),
    _matmul_case,
    _product,
    columnwise=lambda transpose_a, transpose_b: None if transpose_b else 1,
    rowwise=lambda transpose_a, transpose_b: () if transpose_a else (0,),
    sums_rows=lambda transpose_a, transpose_b: transpose_a and not transpose_b,
)
_register("batch_matmul", maps.batch_matmul, _matmul_gradient(batch_matmul), _batch_matmul_case, _product)


# ---------------------------------------------------------------- convolution


def window_size(size: Any, window: int, stride: int, pads: tuple[int, int], dilation: int = 1) -> int:
    """Output positions of a window along one axis."""
    return int(size + sum(pads) - (window - 1) * dilation - 1) // stride + 1


def same_padding(size: Any, window: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Keras' padding='same': ceil(size / stride) positions, the odd element at the end."""
    total = max((-(-size // stride) - 1) * stride + (window - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


_FAR, _MOST = 64, 2**36  # times the size, and elements looked at for one channel of a sample


def check_windows(
    sizes: Sequence[Any], positions: Sequence[Any], taps: Sequence[Any], dilation: Sequence[int]
) -> None:
    """Raises ValueError for windows that reach far beyond the input, or would take days."""
    for size, tap, step in zip(sizes, taps, dilation):
        reach = (tap - 1) * step + 1
        if reach > _FAR * (size + _FAR):
            raise ValueError(
                f"expected windows near the size of the input, {size}. Received: one of {reach} elements"
            )
    if (work := prod(positions) * prod(taps)) > _MOST:
        raise ValueError(
            f"expected windows that look at no more than {_MOST} elements of a channel. Received: {work}"
        )


def _inside(low: int, high: int, size: Dim) -> bool:
    return low >= 0 and isinstance(size, int) and high < size


def _window_index(
    positions: Sequence[int],
    taps: Sequence[int],
    sizes: Sequence[Dim],
    first: tuple[int, int],
    strides: Sequence[int],
    pads: Pads,
    dilation: Sequence[int],
) -> tuple[tuple[Affine, ...], tuple[bool, ...]]:
    """The coordinate o * stride + t * dilation - pad of each spatial axis, and whether it is guarded. The
    positions o are the variables from first[0] on, the taps t those from first[1] on."""
    index, guarded = [], []
    for i, (o, t, size) in enumerate(zip(positions, taps, sizes)):
        offset = -pads[i][0]
        index.append(Affine(((first[0] + i, strides[i]), (first[1] + i, dilation[i])), offset))
        last = (o - 1) * strides[i] + (t - 1) * dilation[i] + offset
        guarded.append(not _inside(offset, last, size))
    return tuple(index), tuple(guarded)


def _positions(
    x: TensorType, taps: Sequence[int], strides: Sequence[int], padding: Pads, dilation: Sequence[int]
) -> tuple[int, ...]:
    sizes = tuple(window_size(*args) for args in zip(x.shape[1:-1], taps, strides, padding, dilation))
    if any(s < 1 for s in sizes):
        raise ValueError(
            f"convolution: the window {tuple(taps)} is larger than the input {x} with padding {padding}"
        )
    check_windows(x.shape[1:-1], sizes, taps, dilation)
    return sizes


def _channel(groups: int, group: int, each: int, number: int) -> Affine:
    """The coordinate of channel `number` (a variable) of a group of `each`; `group` is the group's variable,
    where there is more than one."""
    if groups == 1:
        return variable(number)
    return variable(group) if each == 1 else Affine(((group, each), (number, 1)))


def _in_groups(columns: int, groups: int) -> tuple[int, ...]:
    """The dims of the columns: groups and a group's, where there is more than one of each."""
    return tuple(size for size in (groups, columns) if size > 1) or (1,)


def _grouped(x: TensorType, w: TensorType, rank: int, groups: int) -> tuple[tuple[int, ...], int, int]:
    """(taps, channels and filters of a group) of a kernel [taps..., channels of a group, filters]."""
    (channels, each, filters) = static((x.shape[-1], *w.shape[-2:]))
    if x.rank != rank + 2 or w.rank != rank + 2 or channels != each * groups or filters % groups:
        many = f" of {groups} groups" if groups > 1 else ""
        raise ValueError(f"convolution{many}: channels or ranks do not fit. Received: {x}, kernel {w}")
    return static(w.shape[:rank]), each, filters // groups


def conv_maps(
    x: TensorType,
    w: TensorType,
    strides: tuple[int, ...],
    padding: Pads,
    dilation: tuple[int, ...],
    groups: int = 1,
) -> Contraction:
    """The index maps of a convolution."""
    rank = len(strides)
    taps, channels, filters = _grouped(x, w, rank, groups)
    out = _positions(x, taps, strides, padding, dilation)
    index, guarded = _window_index(out, taps, x.shape[1:-1], (1, rank + 1), strides, padding, dilation)
    depth, group = 2 * rank + 1, 2 * rank + 2
    column = group + (groups > 1)
    kernel = (*map(variable, range(rank + 1, depth + 1)), _channel(groups, group, filters, column))
    return Contraction(
        (x.shape[0], *out),
        (*taps, channels),
        _in_groups(filters, groups),
        Access(0, (variable(0), *index, _channel(groups, group, channels, depth)), (False, *guarded, False)),
        Access(1, kernel, (False,) * (rank + 2)),
    )


def conv_transpose_maps(
    g: TensorType,
    w: TensorType,
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Pads,
    dilation: tuple[int, ...],
    groups: int = 1,
) -> Contraction:
    """The index maps of the gradient of a convolution by its input, of these sizes: its transpose."""
    rank = len(strides)
    taps, (channels, filters) = static(w.shape[:rank]), static(w.shape[rank:])
    filters //= groups
    index, guarded = [], []
    for i, (t, size) in enumerate(zip(taps, sizes)):
        terms = ((1 + i, 1), (rank + 1 + i, -dilation[i]))
        index.append(Affine(terms, padding[i][0], strides[i]))
        low = padding[i][0] - (t - 1) * dilation[i]
        guarded.append(strides[i] > 1 or not _inside(low, size - 1 + padding[i][0], g.shape[1 + i]))
    # kernel [taps..., in, out]: in is the column, out the last of the summed dims
    depth, group = 2 * rank + 1, 2 * rank + 2
    made = _channel(groups, group, filters, depth)
    column = variable(group + (groups > 1)) if channels > 1 else Affine(())
    kernel = (*(variable(rank + 1 + i) for i in range(rank)), column, made)
    return Contraction(
        (g.shape[0], *sizes),
        (*taps, filters),
        _in_groups(channels, groups),
        Access(0, (variable(0), *index, made), (False, *guarded, False)),
        Access(1, kernel, (False,) * (rank + 2)),
    )


def _conv_filter_gradient(
    x: TensorType,
    g: TensorType,
    taps: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Pads,
    dilation: tuple[int, ...],
    groups: int = 1,
) -> Contraction:
    rank = len(strides)
    out = static(g.shape[1:-1])
    index, guarded = _window_index(out, taps, x.shape[1:-1], (rank + 2, 0), strides, padding, dilation)
    channels, filters = (size // groups for size in static((x.shape[-1], g.shape[-1])))
    row, group = rank, 2 * rank + 2
    made = _channel(groups, group, filters, group + (groups > 1))
    return Contraction(
        (*taps, channels),
        (x.shape[0], *out),
        _in_groups(filters, groups),
        Access(
            0, (variable(rank + 1), *index, _channel(groups, group, channels, row)), (False, *guarded, False)
        ),
        Access(1, (*(variable(rank + 1 + i) for i in range(rank + 1)), made), (False,) * (rank + 2)),
    )


def _window_attrs(call: Call) -> dict[str, Any]:
    names = ("strides", "padding", "dilation", "groups")
    return {name: call.attrs[name] for name in names if name in call.attrs}


def _conv_gradient(call: Call, g: Tensor) -> Sequence[Tensor | None]:
    x, w = call.inputs
    attrs = _window_attrs(call)
    return (
        emit("conv_data_gradient", [g, w], sizes=x.shape[1:-1], **attrs),
        emit("conv_filter_gradient", [x, g], taps=w.shape[:-2], **attrs),
    )


def _conv_data_gradient_rule(call: Call, h: Tensor) -> Sequence[Tensor | None]:
    g, w = call.inputs
    attrs = _window_attrs(call)
    return (emit("conv", [h, w], **attrs), emit("conv_filter_gradient", [h, g], taps=w.shape[:-2], **attrs))


def _conv_filter_gradient_rule(call: Call, h: Tensor) -> Sequence[Tensor | None]:
    x, g = call.inputs
    attrs = _window_attrs(call)
    return (emit("conv_data_gradient", [g, h], sizes=x.shape[1:-1], **attrs), emit("conv", [x, h], **attrs))


def _conv_shapes(draw: Draw) -> tuple[TensorType, TensorType, dict[str, Any], tuple[int, ...]]:
    rank = draw.size("rank")
    most = {1: 13, 2: 9, 3: 5}[rank]
    taps = tuple(draw.size("kernel", most) for _ in range(rank))
    strides = tuple(draw.choice((1, draw.size("stride"))) for _ in range(rank))
    dilation = tuple(1 if s > 1 else draw.choice((1, draw.size("dilation"))) for s in strides)
    same = draw.choice((True, False))
    extents = tuple((t - 1) * d + 1 for t, d in zip(taps, dilation))
    positions = tuple(draw.size("size", 12 // rank) for _ in range(rank))
    sizes = tuple(
        draw.size("size", e) if same and draw.choice((False, True)) else e + (p - 1) * s
        for e, p, s in zip(extents, positions, strides)
    )
    padding = tuple(same_padding(*args) if same else (0, 0) for args in zip(sizes, taps, strides, dilation))
    batch = draw.choice((Batch(), 2))
    made = [window_size(*args) for args in zip(sizes, taps, strides, padding, dilation)]
    work = WORK // math.prod((*taps, *made))
    groups = draw.choice((1, draw.size("channels", max(work // 4, 1))))
    work //= groups
    channels = 1 if draw.choice((False, groups > 1)) else draw.size("channels", max(work // 2, 1))
    filters = 1 if draw.choice((False, groups > 1)) else draw.size("channels", max(work // channels, 1))
    x = TensorType((batch, *sizes, groups * channels))
    w = TensorType((*taps, channels, groups * filters))
    return x, w, conv_attributes(strides, padding, dilation, groups), sizes


def _conv_case(draw: Draw) -> Case:
    x, w, attrs, _ = _conv_shapes(draw)
    return Case((x, w), attrs)


def _conv_data_gradient_case(draw: Draw) -> Case:
    x, w, attrs, sizes = _conv_shapes(draw)
    return Case((_infer(conv_maps)(x, w, **attrs), w), {"sizes": sizes, **attrs})


def _conv_filter_gradient_case(draw: Draw) -> Case:
    x, w, attrs, _ = _conv_shapes(draw)
    return Case((x, _infer(conv_maps)(x, w, **attrs)), {"taps": w.shape[:-2], **attrs})


_register("conv", conv_maps, _conv_gradient, _conv_case, columnwise=lambda **_: 1, rowwise=lambda **_: (0,))
_register(
    "conv_data_gradient",
    conv_transpose_maps,
    _conv_data_gradient_rule,
    _conv_data_gradient_case,
    rowwise=lambda **_: (0,),
)
_register(
    "conv_filter_gradient",
    _conv_filter_gradient,
    _conv_filter_gradient_rule,
    _conv_filter_gradient_case,
    sums_rows=lambda **_: True,
)


def conv(
    x: Operand, w: Operand, strides: Sequence[int], padding: Pads, dilation: Sequence[int], groups: int = 1
) -> Tensor:
    """Cross-correlation of x [batch, spatial..., in] with w [spatial..., in / groups, out], as Keras has it:
    each group of channels makes a group of `out`. Zeros that were put around x just before are padding of the
    convolution itself, so that no array is made of them."""
    x, padding = _with_own_padding(x, padding)
    attrs = conv_attributes(strides, padding, dilation, groups)
    if groups > 1 and isinstance(x, Tensor) and isinstance(w, Tensor):
        filters, *rest = static((w.shape[-1], w.shape[-2]))
        if rest == [1] and filters > groups:  # of one channel each: groups of one filter, of copies
            copies = broadcast_to(reshape(x, (*x.shape, 1)), (*x.shape, filters // groups))
            return conv(reshape(copies, (*x.shape[:-1], filters)), w, strides, padding, dilation, filters)
    return emit("conv", [x, w], **attrs)


def _with_own_padding(x: Operand, padding: Pads) -> tuple[Operand, Pads]:
    """x without the zeros that a `pad` of its spatial axes put around it, perhaps before a transpose of them,
    and the padding with these."""
    if not isinstance(x, Tensor):
        return x, padding
    axes, found = tuple(range(x.rank)), x.graph.nodes[x.value.node]
    if found.op.permutes:
        axes, found = found.attrs["axes"], x.graph.nodes[found.inputs[0].node]
    if found.op.name != "pad":
        return x, padding
    (low, high), inner = ([found.attrs[name][a] for a in axes] for name in ("low", "high")), found.attrs
    around = (*zip(low, high),)
    plain = inner["value"] == 0 and not any(inner["interior"]) and min(*low, *high) >= 0
    if not plain or any(around[0]) or any(around[-1]):
        return x, padding
    before = Tensor(x.graph, found.inputs[0])
    own = tuple((a + c, b + d) for (a, b), (c, d) in zip(padding, around[1:-1]))
    return (before if axes == tuple(range(x.rank)) else transpose(before, axes)), own


def conv_attributes(
    strides: Sequence[int], padding: Pads, dilation: Sequence[int], groups: int
) -> dict[str, Any]:
    """The attributes of a convolution; the number of groups where there is more than one."""
    attrs = {"strides": tuple(strides), "padding": tuple(padding), "dilation": tuple(dilation)}
    return {**attrs, "groups": groups} if groups > 1 else attrs


def conv_transpose(
    x: Tensor,
    w: Tensor,
    sizes: tuple[Dim, ...],
    strides: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
) -> Tensor:
    """The transpose of `conv` by its input of these spatial sizes, applied to x [batch, spatial..., out],
    with w [spatial..., in, out]."""
    return emit("conv_data_gradient", [x, w], sizes=sizes, **conv_attributes(strides, padding, dilation, 1))


# ---------------------------------------------------------------- chosen algorithms


def _depth(spec: Contraction, words: bool) -> tuple[Dim, ...]:
    """The dims of k as panels have them."""
    return (*spec.k[:-1], halved(*static(spec.k[-1:]))) if words else spec.k


def _infer_pack(b: TensorType, spec: Contraction, width: int, words: bool = False) -> TensorType:
    _, columns, _ = spec.sizes
    if isinstance(columns, Batch):
        raise ValueError("pack_panels: the columns may not hold the batch")
    shape = PanelLayout(width).shape(numel(_depth(spec, words)), columns)
    return TensorType(shape, "uint32" if words else b.dtype)


def _pack(b: np.ndarray, spec: Contraction, width: int, words: bool = False) -> np.ndarray:
    k, j = static(spec.k), static(spec.j)
    matrix = maps.gather(spec.b, b, (*k, *j), range(len(spec.m), len(spec.m) + len(k) + len(j)))
    if words:
        matrix = words_of(matrix.reshape(-1, k[-1], prod(j)))
    return PanelLayout(width).pack(matrix.reshape(-1, prod(j)))


def _lower_pack(b: Any, call: Any, index: Any, x: Any) -> Any:
    spec, width, words = call.attrs["spec"], call.attrs["width"], call.attrs.get("words", False)
    panel, depth, lane = index
    column = PanelLayout(width).column(panel, lane)
    _, columns, _ = spec.sizes
    *outer, last = b.unflatten(depth, _depth(spec, words))

    def element(last: Any) -> Any:
        at = dict(enumerate((*outer, last, *b.unflatten(column, spec.j)), len(spec.m)))
        return x(tuple(affine.at(at, b.const(affine.offset, "int64")) for affine in spec.b.index))

    def entry() -> Any:
        if not words:
            return element(last)
        (size,) = static(spec.k[-1:])
        second, none = last + halved(size), b.const(0, "float32")
        there = b.less(second, b.const(size, "int64"))
        high = b.guard(there, lambda: element(second), none) if size % 2 else element(second)
        return b.halves(element(last), high)

    if columns % width == 0:
        return entry()
    inside = b.less(column, b.const(columns, "int64"))
    return b.guard(inside, entry, b.const(0, call.type.dtype))


register(
    Op("pack_panels", "movement", _infer_pack, _pack, lower=_lower_pack, cases=lambda draw: _pack_case(draw))
)


def _pack_case(draw: Draw) -> Case:
    k, j, tb = draw.integer(1, 9), draw.integer(1, 40), draw.choice((True, False))
    b = TensorType((j, k) if tb else (k, j))
    attrs = {"spec": _matmul(TensorType((2, k)), b, False, tb), "width": 16}
    return Case((b,), attrs | ({"words": True} if draw.choice((True, False)) else {}))


def _contract_meaning(
    *arrays: np.ndarray, spec: Contraction, panels: int | None, words: bool = False
) -> np.ndarray:
    if panels is None:
        return maps.reference(spec, *(map(nearest_bfloat16, arrays) if words else arrays))
    a, matrix = (
        arrays[spec.a.operand],
        PanelLayout(panels).unpack(arrays[spec.b.operand], prod(static(spec.j))),
    )
    if words:
        depth = static(spec.k)[-1]
        matrix = numbers_of(matrix.reshape(-1, halved(depth), matrix.shape[-1]), depth)
        a, matrix = nearest_bfloat16(a), matrix.reshape(-1, matrix.shape[-1]).astype(a.dtype)
    return maps.product(spec, a, matrix)


def _infer_contract(
    a: TensorType, b: TensorType, spec: Contraction, panels: int | None, words: bool = False
) -> TensorType:
    return TensorType(spec.shape, "int32" if a.dtype == "uint8" else a.dtype)


# words: both operands are rounded to bfloat16, and multiplied in words (`Contraction.in_halves`)
register(
    Op(
        "contract",
        "contraction",
        _infer_contract,
        _contract_meaning,
        contraction=lambda a, b, spec, panels, words=False: spec,
        tolerance=1e-5,
        expensive=True,
    )
)

"""Whole numbers of 8 bits in place of floats: `quantize`, the contraction of such numbers, and `dequantize`.

    q = clip(round(x * rate) + zero, 0, 255)     unsigned, `rate` steps to one; x is about (q - zero) / rate

Halves are rounded to the even neighbour. Weights are signed bytes, packed by `pack_words` so that four
neighbouring channels are one int32: a word, what processors multiply and add at once. Sums are of 32 bits
and exact (the maps: `ir.contraction`), so every target has the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kcompile.ir import contraction as maps
from kcompile.ir.contraction import Contraction
from kcompile.ir.elements import Element, Elements
from kcompile.ir.op import Case, Draw, Op, register
from kcompile.ir.ops.contraction import (
    Pads,
    conv_attributes,
    conv_maps,
    conv_transpose_maps,
    same_padding,
    window_size,
)
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import Batch, TensorType, broadcast_shapes, static

__all__ = ["conv_bytes", "conv_transpose_bytes", "dequantize", "quantize"]

WORD = 4  # bytes in a word
LEVELS = 255  # the largest unsigned byte
MOST_DEPTH = (2**31 - 1) // (LEVELS * 127)  # products of bytes that a sum of 32 bits holds
_MAGIC = 1.5 * 2.0**23  # a float of at most 2^22 plus this one is rounded, and stands in its lower bits


# ---------------------------------------------------------------- floats to bytes


def _infer_quantize(x: TensorType, rate: float, zero: int) -> TensorType:
    if x.dtype != "float32":
        raise TypeError(f"quantize: expected float32. Received: {x}")
    return x.with_dtype("uint8")


def _quantize_meaning(x: np.ndarray, rate: float, zero: int) -> np.ndarray:
    steps = x * x.dtype.type(rate)
    low, high = (x.dtype.type(v) for v in (-zero, LEVELS - zero))
    steps = np.where(steps > low, steps, low)
    steps = np.where(steps < high, steps, high)
    made: np.ndarray = (np.rint(steps) + zero).astype(np.uint8)
    return made


def _quantize_element(b: Elements, x: Element, rate: float, zero: int) -> Element:
    """NaN fails the first comparison, and so is the lowest level."""
    steps = b.mul(x, b.const(rate, x.dtype))
    low, high = (b.const(v, x.dtype) for v in (-zero, LEVELS - zero))
    steps = b.select(b.greater(steps, low), steps, low)
    steps = b.select(b.less(steps, high), steps, high)
    whole = b.bitcast(b.add(steps, b.const(_MAGIC, x.dtype)), "int32")
    return b.cast(b.add(whole, b.const(zero, "int32")), "uint8")


register(
    Op(
        "quantize",
        "elementwise",
        _infer_quantize,
        _quantize_meaning,
        scalar=_quantize_element,
        exact=True,
        cases=lambda draw: Case(
            (TensorType(draw.shape()),), {"rate": 2.0 * draw.integer(1, 90), "zero": draw.integer(0, 255)}
        ),
    )
)


def quantize(x: Tensor, rate: float, zero: int) -> Tensor:
    """float32 as uint8, see the module; NaN is 0. rate: a float32, as Python has it. zero: the byte that 0.0
    is, of 0 to 255."""
    return emit("quantize", [x], rate=rate, zero=zero)


# ---------------------------------------------------------------- sums to floats


def _infer_dequantize(sums: TensorType, *numbers: TensorType) -> TensorType:
    if [t.dtype for t in (sums, *numbers)] not in (["int32", "float32"], ["int32", "int32", "float32"]):
        received = ", ".join(map(str, (sums, *numbers)))
        raise TypeError(
            f"dequantize: expected sums and corrections of int32, float32 scales. Received: {received}"
        )
    return TensorType(broadcast_shapes(sums.shape, *(t.shape for t in numbers)), "float32")


def _dequantize_meaning(sums: np.ndarray, *numbers: np.ndarray) -> np.ndarray:
    *corrections, scales = numbers
    for correction in corrections:
        sums = sums - correction
    made: np.ndarray = sums.astype(scales.dtype) * scales
    return made


def _dequantize_element(b: Elements, sums: Element, *numbers: Element) -> Element:
    *corrections, scales = numbers
    for correction in corrections:
        sums = b.sub(sums, correction)
    return b.mul(b.cast(sums, "float32"), scales)


def _dequantize_case(draw: Draw) -> Case:
    shape = draw.shape(1, 3)
    columns = shape[-1:] if isinstance(shape[-1], int) else ()
    whole = (TensorType(columns, "int32"),) * draw.integer(0, 1)
    low = (-(2.0**30), *[-(2.0**30)] * len(whole), -1.0)
    high = tuple(-x for x in low)
    return Case((TensorType(shape, "int32"), *whole, TensorType(columns)), low=low, high=high)


register(
    Op(
        "dequantize",
        "elementwise",
        _infer_dequantize,
        _dequantize_meaning,
        scalar=_dequantize_element,
        exact=True,
        cases=_dequantize_case,
    )
)


def dequantize(sums: Tensor, scales: Tensor, corrections: Tensor | None = None) -> Tensor:
    """float32(sums - corrections) * scales. sums, corrections: int32; the difference wraps. scales: float32.
    Both broadcast to the sums."""
    return emit("dequantize", [sums, scales] if corrections is None else [sums, corrections, scales])


# ---------------------------------------------------------------- products


def pack_words(weights: np.ndarray) -> np.ndarray:
    """Signed bytes [..., channels, columns] in words, int32 [..., channels / 4, columns]: the byte of the
    first of four channels is the lowest. Zeros follow channels that do not fill a word."""
    *taps, channels, columns = weights.shape
    count = -(-channels // WORD)
    padded = np.zeros((*taps, count * WORD, columns), np.int8)
    padded[..., :channels, :] = weights
    split = padded.reshape(*taps, count, WORD, columns)
    return np.ascontiguousarray(np.moveaxis(split, -2, -1)).view("<i4")[..., 0].astype(np.int32)


def _maps(
    x: TensorType,
    w: TensorType,
    strides: tuple[int, ...],
    padding: Pads,
    dilation: tuple[int, ...],
    outside: int,
    groups: int = 1,
) -> Contraction:
    """The maps of a convolution of words."""
    return _padded(conv_maps(_of_words(x), w, strides, padding, dilation, groups), outside)


def _transposed_maps(
    x: TensorType,
    w: TensorType,
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Pads,
    dilation: tuple[int, ...],
    outside: int,
) -> Contraction:
    """The maps of the transpose of one. With strides no tap meets the places between elements, so what is
    there is 0, and so must be what is outside."""
    if outside and any(s > 1 for s in strides):
        raise ValueError(f"conv_transpose_bytes: expected outside=0 with strides. Received: {outside}")
    return _padded(conv_transpose_maps(_of_words(x), w, sizes, strides, padding, dilation), outside)


def _of_words(x: TensorType) -> TensorType:
    (channels,) = static(x.shape[-1:])
    if channels % WORD:
        raise ValueError(f"expected channels in words of {WORD}. Received: {x}")
    return x.with_shape((*x.shape[:-1], channels // WORD))


def _padded(spec: Contraction, outside: int) -> Contraction:
    """The maps with this byte, in every channel, where A has no element."""
    return replace(spec, outside=int(np.full(WORD, outside, np.uint8).view("<i4")[0]))


def _infer_conv(spec: Callable[..., Contraction]) -> Callable[..., TensorType]:
    def infer(x: TensorType, w: TensorType, **attrs: Any) -> TensorType:
        if (x.dtype, w.dtype) != ("uint8", "int32"):
            raise TypeError(f"expected uint8, and words of int32. Received: {x}, {w}")
        return TensorType(spec(x, w, **attrs).shape, "int32")

    return infer


def _conv_meaning(spec: Callable[..., Contraction]) -> Callable[..., np.ndarray]:
    def meaning(x: np.ndarray, w: np.ndarray, **attrs: Any) -> np.ndarray:
        found = spec(TensorType(x.shape, "uint8"), TensorType(w.shape, "int32"), **attrs)
        return maps.reference(found, x, w)

    return meaning


def _conv_case(draw: Draw, transposed: bool = False) -> Case:
    rank = draw.integer(0, 2)
    taps = tuple(draw.integer(1, 3) for _ in range(rank))
    strides = tuple(draw.integer(1, 2) for _ in range(rank))
    dilation = tuple(1 if s > 1 else draw.integer(1, 2) for s in strides)
    sizes = tuple((t - 1) * d + draw.integer(1, 6) for t, d in zip(taps, dilation))
    same = draw.choice((True, False))
    padding = tuple(same_padding(*a) if same else (0, 0) for a in zip(sizes, taps, strides, dilation))
    words, columns, groups = draw.integer(1, 6), draw.choice((1, 3, 16, 40)), draw.choice((1, 1, 2, 5))
    if transposed:
        made = [window_size(*a) for a in zip(sizes, taps, strides, padding, dilation)]
        outside = 0 if any(s > 1 for s in strides) else draw.choice((0, 255, 128))
        return Case(
            (
                TensorType((Batch(), *made, WORD * words), "uint8"),
                TensorType((*taps, columns, words), "int32"),
            ),
            {"sizes": sizes, **conv_attributes(strides, padding, dilation, 1), "outside": outside},
            low=(0.0, -(2.0**31)),
            high=(256.0, 2.0**31),
        )
    return Case(
        (
            TensorType((Batch(), *sizes, WORD * words * groups), "uint8"),
            TensorType((*taps, words, columns * groups), "int32"),
        ),
        {**conv_attributes(strides, padding, dilation, groups), "outside": draw.choice((0, 255, 128))},
        low=(0.0, -(2.0**31)),
        high=(256.0, 2.0**31),
    )


def _register(name: str, spec: Callable[..., Contraction], cases: Callable[[Draw], Case]) -> None:
    infer, meaning = _infer_conv(spec), _conv_meaning(spec)
    register(Op(name, "contraction", infer, meaning, contraction=spec, cases=cases, expensive=True))


_register("conv_bytes", _maps, _conv_case)
_register("conv_transpose_bytes", _transposed_maps, lambda draw: _conv_case(draw, True))


def conv_bytes(
    x: Tensor,
    w: Tensor,
    strides: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
    outside: int,
    groups: int = 1,
) -> Tensor:
    """The convolution of bytes x, uint8 [batch, spatial..., channels], by words w, int32 [spatial...,
    channels / 4, out] (`pack_words`): int32 sums. Without spatial dims it is a product of matrices. outside:
    the byte that x has where there is padding. groups: as `conv` has them, of whole words."""
    return emit("conv_bytes", [x, w], **conv_attributes(strides, padding, dilation, groups), outside=outside)


def conv_transpose_bytes(
    x: Tensor,
    w: Tensor,
    sizes: Sequence[int],
    strides: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
    outside: int,
) -> Tensor:
    """The transpose of a convolution, whose result has these sizes: of bytes x, uint8 [batch, spatial...,
    out], by words w, int32 [spatial..., in, out / 4]: int32 sums. outside: as `conv_bytes` has it; 0 with
    strides."""
    attrs = conv_attributes(strides, padding, dilation, 1)
    return emit("conv_transpose_bytes", [x, w], sizes=tuple(sizes), **attrs, outside=outside)

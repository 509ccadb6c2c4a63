"""float32 rounded to bfloat16: 8 bits of mantissa behind float32's exponent.

`nearest_bfloat16` is the rule in numpy, `bits_of` the same in expressions: to the nearest, ties to even;
numbers below 2^-126 are zero, with their sign, as they are for the instructions that compute in bfloat16;
what is beyond the largest is infinite, and a NaN stays one.
"""

from __future__ import annotations

import numpy as np

from kcompile.ir.contraction import halved
from kcompile.ir.elements import Element, Elements
from kcompile.ir.op import Case, Draw, Op, register
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import TensorType

__all__ = ["round_bfloat16"]

_SMALLEST = 2.0**-126  # normal
_SIGN, _KEPT, _QUIET = 1 << 31, 0xFFFF0000, 1 << 22


def nearest_bfloat16(x: np.ndarray) -> np.ndarray:
    """The nearest number of bfloat16 to each of x, which is float32, or float64 that stands for it."""
    single = np.asarray(x, np.float32)
    bits = single.view(np.uint32)
    near = bits + (np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1)))
    near = np.where(np.isnan(single), bits | np.uint32(_QUIET), near)
    near = np.where(np.abs(single) < _SMALLEST, bits & np.uint32(_SIGN), near)
    made: np.ndarray = (near & np.uint32(_KEPT)).view(np.float32).astype(x.dtype)
    return made


def words_of(x: np.ndarray) -> np.ndarray:
    """Words of two numbers, of an array [..., size, columns]: uint32 [..., halved(size), columns]. Element i
    is the lower half of word i, element i + halved(size) the upper one, or zero where there is none."""
    near = nearest_bfloat16(x).astype(np.float32).view(np.uint32)
    half = halved(x.shape[-2])
    words = near[..., :half, :] >> np.uint32(16)
    words[..., : x.shape[-2] - half, :] |= near[..., half:, :]
    return words


def numbers_of(words: np.ndarray, size: int) -> np.ndarray:
    """The numbers of `words_of` again, of an axis of this size."""
    both = np.concatenate([words << np.uint32(16), words & np.uint32(_KEPT)], -2)
    made: np.ndarray = both.view(np.float32)[..., :size, :]
    return made


def bits_of(b: Elements, x: Element) -> Element:
    """The bits of the nearest number of bfloat16, as uint32 of which the lower half is zero."""

    def word(value: int) -> Element:
        return b.const(value, "uint32")

    bits = b.bitcast(x, "uint32")
    odd = b.logical_and(b.shift_right(bits, word(16)), word(1))
    near = b.add(bits, b.add(odd, word(0x7FFF)))
    near = b.select(b.not_equal(x, x), b.logical_or(bits, word(_QUIET)), near)
    small = b.less(b.abs(x), b.const(_SMALLEST, "float32"))
    return b.logical_and(b.select(small, b.logical_and(bits, word(_SIGN)), near), word(_KEPT))


def _infer(x: TensorType) -> TensorType:
    if x.dtype != "float32":
        raise TypeError(f"round_bfloat16: expected float32. Received: {x}")
    return x


def _case(draw: Draw) -> Case:
    return Case((TensorType(draw.shape()),))


register(
    Op(
        "round_bfloat16",
        "elementwise",
        _infer,
        nearest_bfloat16,
        scalar=lambda b, x: b.bitcast(bits_of(b, x), "float32"),
        cases=_case,
        exact=True,
        rounds=True,
    )
)


def round_bfloat16(x: Tensor) -> Tensor:
    """x, which is float32, with the mantissa of bfloat16; no gradient flows."""
    return emit("round_bfloat16", [x])

"""keras.quantizers: numbers of few bits as arrays and tensors, and training as if weights had few bits.

Layers that keep such weights are refused (`keras3_absent`). Names and arguments are those of Keras 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from kcompile.keras import keras3_ops
from kcompile.keras.settings import epsilon as fuzz
from kcompile.keras.tensors import is_integer
from kcompile.keras.utils.newer import standardize_dtype
from kcompile_runtime.errors import InputTypeError, ModelError, describe

__all__ = [
    "AbsMaxQuantizer",
    "Quantizer",
    "abs_max_quantize",
    "compute_float8_amax_history",
    "compute_float8_scale",
    "deserialize",
    "fake_quant_with_min_max_vars",
    "get",
    "pack_int4",
    "serialize",
    "unpack_int4",
]

o = cast(Any, keras3_ops)


class Quantizer:
    """Base: what makes numbers of `output_dtype` of floats. Called, it gives its operand."""

    def __init__(self, output_dtype: str = "int8") -> None:
        self.output_dtype = output_dtype

    def __call__(self, x: Any) -> Any:
        return x

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError(f"{type(self).__name__} must define get_config")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        return cls(**config)


class AbsMaxQuantizer(Quantizer):
    """Scales the largest size along axes to the end of a range, and rounds; gives numbers and scales."""

    def __init__(
        self,
        axis: Any = None,
        value_range: Any = (-127, 127),
        epsilon: float = 1e-7,
        output_dtype: str = "int8",
    ) -> None:
        super().__init__(output_dtype)
        self.axis = None if axis is None else (axis,) if is_integer(axis) else tuple(axis)
        low, high = value_range
        if output_dtype == "int8" and (low < -128 or high > 127):
            raise ModelError(describe("AbsMaxQuantizer: value_range", "numbers of int8", repr(value_range)))
        self.value_range, self.epsilon = value_range, epsilon

    def __call__(self, x: Any, axis: Any = None, to_numpy: bool = False) -> Any:
        axis = next((a for a in (axis, self.axis) if a is not None), -1)
        return abs_max_quantize(x, axis, self.value_range, self.output_dtype, self.epsilon, to_numpy)

    def get_config(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "value_range": self.value_range,
            "epsilon": self.epsilon,
            "output_dtype": self.output_dtype,
        }
        return made if self.axis is None else {**made, "axis": self.axis}


def serialize(quantizer: Quantizer) -> dict[str, Any]:
    """The configuration of a quantizer."""
    if not isinstance(quantizer, Quantizer):
        raise InputTypeError(describe("quantizers.serialize", "a Quantizer", repr(quantizer)))
    kind = type(quantizer).__name__
    return {
        "module": "keras.quantizers",
        "class_name": kind,
        "config": quantizer.get_config(),
        "registered_name": None,
    }


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Quantizer:
    """The inverse of `serialize`."""
    known = {"AbsMaxQuantizer": AbsMaxQuantizer, **(custom_objects or {})}
    kind = config.get("class_name") if isinstance(config, Mapping) else None
    if kind not in known:
        raise ModelError(describe("quantizers.deserialize", ", ".join(known), repr(config)[:80]))
    made: Quantizer = known[kind].from_config(config["config"])
    return made


def get(identifier: Any, **options: Any) -> Any:
    """A quantizer by its configuration or its name; an object as it is; None as None."""
    if identifier is None or callable(identifier):
        return identifier() if isinstance(identifier, type) else identifier
    if identifier in ("abs_max_quantizer", "AbsMaxQuantizer"):
        return AbsMaxQuantizer(**options)
    return deserialize(identifier)


def abs_max_quantize(
    inputs: Any,
    axis: Any,
    value_range: Any = (-127, 127),
    dtype: str = "int8",
    epsilon: float | None = None,
    to_numpy: bool = False,
) -> Any:
    """x times a scale, rounded, and the scale: of each part along axes. to_numpy: where Keras computes it."""
    low, high = value_range
    size = o.max(o.abs(inputs), axis=axis, keepdims=True)
    scale = o.divide(float(high), o.add(size, fuzz() if epsilon is None else epsilon))
    scale = o.cast(scale, standardize_dtype(inputs.dtype))
    return o.cast(o.clip(o.round(o.multiply(inputs, scale)), low, high), dtype), scale


def _nudged(low: Any, high: Any, bits: int, narrow: bool) -> tuple[Any, Any, Any, Any]:
    """Bounds moved so that 0 is one of the numbers between them; the distance of two, and its inverse."""
    first, last = float(narrow), float(2**bits - 1)
    low, high = o.cast(low, "float32"), o.cast(high, "float32")
    span = high - low
    scale = span / (last - first)
    zero = o.round(o.clip(first - low / scale, first, last))
    return (first - zero) * scale, (last - zero) * scale, scale, (last - first) / span


def fake_quant_with_min_max_vars(
    inputs: Any, min_vals: Any, max_vals: Any, num_bits: int = 8, narrow_range: bool = False, axis: Any = None
) -> Any:
    """x as numbers of so many bits between two bounds would have it. Gradients flow to x inside of the
    bounds, and to the bounds outside. axis: that of bounds for each channel."""
    bits, narrow = int(num_bits), bool(narrow_range)

    def rounded(x: Any, low: Any, high: Any) -> Any:
        least, most, scale, inverse = _nudged(low, high, bits, narrow)
        zero = o.floor(-least * inverse + 0.5)
        inside = o.clip(o.cast(x, "float32"), least, most) - least
        made = o.cast(o.floor(inside * inverse - zero + 0.5) * scale, x.dtype)
        place = None if axis is None else axis % len(x.shape)
        others = None if place is None else [i for i in range(len(x.shape)) if i != place]

        def part(upstream: Any, here: Any, bound: Any) -> Any:
            return o.reshape(o.sum(o.where(here, upstream, 0.0), axis=others), bound.shape)

        def gradient(upstream: Any) -> Any:
            between = o.logical_and(o.greater_equal(x, least), o.less_equal(x, most))
            return (
                o.where(between, upstream, 0.0),
                part(upstream, o.less_equal(x, least), low),
                part(upstream, o.greater_equal(x, most), high),
            )

        return made, gradient

    return o.custom_gradient(rounded)(inputs, min_vals, max_vals)


def compute_float8_scale(amax: Any, scale: Any, dtype_max: float, margin: int = 0) -> Any:
    """The scale of float8 for a largest size; where that is none, the scale as it was."""
    factor = o.divide(o.divide(dtype_max, amax), 2**margin)
    usable = o.logical_and(o.greater(amax, 0.0), o.isfinite(amax))
    return o.reciprocal(o.where(usable, factor, o.reciprocal(scale)))


def compute_float8_amax_history(x: Any, amax_history: Any) -> Any:
    """The largest sizes seen, moved on by one, with that of x in front."""
    size = o.cast(o.max(o.abs(x)), amax_history.dtype)
    return o.concatenate([o.reshape(size, (1,)), o.roll(amax_history, -1)[1:]], 0)


def _check_bytes(name: str, dtype: Any) -> None:
    if str(dtype) not in ("int8", "uint8"):
        raise ModelError(describe(f"{name}: dtype", "'int8' or 'uint8'", repr(dtype)))


def pack_int4(arr: Any, axis: int = 0, dtype: str = "int8") -> Any:
    """Two numbers of 4 bits in each byte, of an array: the bytes, their shape, and how many there were."""
    _check_bytes("pack_int4", dtype)
    array = np.asarray(o.convert_to_numpy(arr))
    if array.dtype != dtype:
        raise InputTypeError(describe("pack_int4", f"an array of {dtype}", str(array.dtype)))
    moved = np.moveaxis(array, axis, 0)
    count = len(moved)
    moved = np.concatenate([moved, np.zeros((count % 2, *moved.shape[1:]), dtype)])
    low, high = (part & np.asarray(15, dtype) for part in (moved[::2], moved[1::2]))
    packed = np.moveaxis((low | (high << np.asarray(4, dtype))).astype(dtype), 0, axis)
    return o.convert_to_tensor(packed), packed.shape, count


def unpack_int4(packed: Any, orig_len: int, axis: int = 0, dtype: str = "int8") -> Any:
    """The numbers of `pack_int4`."""
    _check_bytes("unpack_int4", dtype)
    _check_bytes("unpack_int4: packed", packed.dtype)
    rank = len(packed.shape)
    place = axis % rank
    order = [place, *(i for i in range(rank) if i != place)]
    x = o.transpose(packed, order)
    four = np.asarray([4], str(packed.dtype))
    low, high = (o.bitwise_and(part, four * 0 + 15) for part in (x, o.right_shift(x, four)))
    if dtype == "int8":
        eight = four * 2
        low, high = (o.subtract(o.bitwise_xor(part, eight), eight) for part in (low, high))
    pairs = o.stack([o.cast(low, dtype), o.cast(high, dtype)], axis=1)
    made = o.reshape(pairs, (-1, *x.shape[1:]))[:orig_len]
    return o.transpose(made, [order.index(i) for i in range(rank)])

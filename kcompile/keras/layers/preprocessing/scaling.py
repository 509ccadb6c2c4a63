"""Rescaling and Normalization: a scale and a shift, given or learned from data."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.eager import as_eager
from kcompile.keras.engine import InputSpec, KerasShape, Variable, is_integer
from kcompile.keras.layers.preprocessing.data import Preprocessing, batches
from kcompile.keras.operands import leaves
from kcompile.keras.settings import epsilon, image_data_format
from kcompile_runtime.checks import finite
from kcompile_runtime.errors import InputError, ModelError, describe

__all__ = ["Normalization", "Rescaling"]


class _Scaling(Preprocessing):
    @property
    def supports_masking(self) -> bool:  # type: ignore[override]
        return self.semantics.scaling_keeps_masks


class Rescaling(_Scaling):
    """x * scale + offset, in floats. scale, offset: numbers, or arrays that broadcast to x (where K's
    image_data_format is channels_first, a scale's first axis is that of the channels)."""

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = self._factor("scale", scale)
        self.offset = self._factor("offset", offset)

    def _factor(self, argument: str, value: Any) -> Any:
        """A number, or a list of them. Raises ModelError."""
        return as_numbers(self, argument, value)

    def call(self, x: Tensor) -> Tensor:
        scale = np.asarray(self.scale)
        if scale.ndim and image_data_format() == "channels_first":
            scale = scale.reshape(scale.shape + (1,) * (3 - scale.ndim))
        x = self.floats(x)
        shift = np.asarray(self.offset)
        return x * ops.constant(x.graph, scale, x.dtype) + ops.constant(x.graph, shift, x.dtype)


class Normalization(_Scaling):
    """(x - mean) / sqrt(variance) along axes, of `adapt`'s data or as given; the largest of the divisor and
    K.epsilon() counts.

    axis: one or several that keep a mean of their own, None for one mean of all. mean, variance: numbers that
    broadcast along these axes; both or none. invert: x * sqrt(variance) + mean.
    """

    def __init__(
        self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        given = () if axis is None else tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
        if not all(map(is_integer, given)):
            raise ModelError(describe(f"{self.label}: axis", "an integer, several, or None", repr(axis)))
        self.axis = tuple(map(int, given))
        self.invert = self.flag("invert", invert)
        if (mean is None) != (variance is None):
            raise ModelError(describe(self.label, "mean and variance, or none of them", "one"))
        self.input_mean: Any = None if mean is None else as_numbers(self, "mean", mean)
        self.input_variance: Any = None if variance is None else as_numbers(self, "variance", variance)
        shapes = np.asarray(self.input_mean).shape, np.asarray(self.input_variance).shape
        if mean is not None and (shapes[0] != shapes[1] or len(shapes[0]) > len(self.axis)):
            raise ModelError(
                describe(
                    f"{self.label}: mean and variance",
                    f"one shape, of at most {len(self.axis)} axes",
                    f"shapes {shapes[0]} and {shapes[1]}",
                )
            )
        self.adapt_mean: Variable | None = None
        self._shape: tuple[int, ...] = ()

    def build(self, input_shape: KerasShape) -> None:
        rank = len(input_shape)
        kept = sorted(a % rank for a in self.axis if -rank <= a < rank)
        if len(set(kept)) != len(self.axis) or any(input_shape[a] is None for a in kept):
            raise ModelError(
                describe(
                    f"{self.label}: axis",
                    f"axes of known size, each once, of the input {tuple(input_shape)}",
                    str(self.axis),
                )
            )
        sizes = tuple(int(input_shape[a] or 0) for a in kept)
        self._reduced = tuple(a for a in range(rank) if a not in kept)
        self._shape = tuple(int(input_shape[a] or 0) if a in kept else 1 for a in range(rank))
        if self.input_mean is None:
            self.adapt_mean = self.add_weight("mean", sizes, initializer="zeros", trainable=False)
            self.adapt_variance = self.add_weight("variance", sizes, initializer="ones", trainable=False)
            self.count = self.add_weight("count", (), "int32", "zeros", trainable=False)
        else:
            self._given = tuple(
                self._along(value, kept, sizes) for value in (self.input_mean, self.input_variance)
            )
        self.input_spec = InputSpec(ndim=rank, axes={a: self._shape[a] for a in kept})

    def _along(self, value: Any, kept: Sequence[int], sizes: tuple[int, ...]) -> np.ndarray:
        """A mean that was given, in the shape that broadcasts to the input."""
        array = np.asarray(value)
        try:
            return np.broadcast_to(array, sizes).reshape(self._shape)
        except ValueError as error:
            wanted = f"a shape that broadcasts to {sizes}"
            raise ModelError(describe(f"{self.label}: mean", wanted, f"shape {array.shape}")) from error

    @property
    def mean(self) -> Any:
        """The mean, in a shape that broadcasts to the input; None before the layer is built."""
        return self._value(0)

    @property
    def variance(self) -> Any:
        """The variance, as `mean`."""
        return self._value(1)

    def _value(self, place: int) -> Any:
        if not self.built:
            return None
        if self.adapt_mean is None:
            return as_eager(self._given[place].astype(self.float_dtype), self.vintage)
        kept = (self.adapt_mean, self.adapt_variance)[place].numpy()
        return as_eager(kept.reshape(self._shape), self.vintage)

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Take mean and variance of data: an array, or an object of batches, of which the first part counts.

        batch_size, steps: those of tf.keras, how much of the data counts. Raises InputError where mean and
        variance were given, and for data of other sizes than the layer was built for."""
        if self.input_mean is not None:
            raise InputError(f"{self.label}: adapt: mean and variance were given, nothing is left to learn")
        count, mean, variance = 0, np.zeros(()), np.zeros(())
        for batch in batches(data, f"{self.label}: adapt", batch_size, steps):
            shape = batch.shape
            if not self.built:
                with self.named_errors():
                    self.build(tuple(shape))
            with self.named_errors():
                self._check_inputs([tuple(shape)])
            values = batch.astype("float64")
            new = prod(shape[a] for a in self._reduced)
            own_mean, own_variance = values.mean(self._reduced), values.var(self._reduced)
            # Of both parts together, by the law of total variance
            share = new / (count + new)
            variance = (1 - share) * variance + share * own_variance
            variance = variance + share * (1 - share) * np.square(own_mean - mean)
            mean = (1 - share) * mean + share * own_mean
            count += new
        assert self.adapt_mean is not None
        self.adapt_mean.assign(mean)
        self.adapt_variance.assign(variance)
        self.count.assign(np.int32(min(count, 2**31 - 1)))

    def call(self, x: Tensor) -> Tensor:
        x = self.floats(x)
        if self.adapt_mean is None:
            mean, variance = (ops.constant(x.graph, value, x.dtype) for value in self._given)
        else:
            mean, variance = (
                ops.reshape(v.__tensor__(x.graph), self._shape)
                for v in (self.adapt_mean, self.adapt_variance)
            )
        scale = ops.maximum(ops.sqrt(variance), epsilon())
        return x * scale + mean if self.invert else (x - mean) / scale

    def get_config(self) -> dict[str, Any]:
        given = {"mean": self.input_mean, "variance": self.input_variance}
        return {**super().get_config(), **given, "axis": list(self.axis) or None}


def as_numbers(layer: Preprocessing, argument: str, value: Any) -> Any:
    """A number, or numbers in lists, as a configuration holds them. Raises ModelError naming the layer."""
    if isinstance(value, dict) and value.get("class_name") == "__numpy__":  # how Keras 3 writes an array
        value = value["config"]["value"]
    value = value.array if isinstance(value, Variable) else value
    listed = isinstance(value, (bool, int, float, np.generic, np.ndarray)) or all(
        isinstance(v, (int, float, np.generic)) for v in leaves([value])
    )
    try:
        array = np.asarray(value if listed else "")
    except ValueError:  # lists of several lengths
        array = np.asarray("")
    number = finite(array.item()) if array.ndim == 0 and array.dtype.kind in "fiu" else None
    if number is not None:
        return number
    if array.ndim and array.size and array.dtype.kind in "fiu" and np.isfinite(array).all():
        return array.astype("float64").tolist() if array.dtype.kind != "f" else array.tolist()
    raise ModelError(describe(f"{layer.label}: {argument}", "a number, or an array of numbers", repr(value)))

"""Dense, Activation, ActivityRegularization, and the layers that only arrange what they are given."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import numel
from kcompile.keras import activations, regularizers
from kcompile.keras.engine import InputSpec, KerasShape, Layer, is_integer
from kcompile.keras.layers.kernel import KernelLayer
from kcompile.keras.layers.low_rank import _LowRank
from kcompile.keras.operands import sizes
from kcompile.keras.settings import checked_data_format
from kcompile.keras.spatial import channels_to_last
from kcompile_runtime.errors import KeywordError, ModelError, describe

__all__ = [
    "Activation",
    "ActivityRegularization",
    "Dense",
    "Flatten",
    "Identity",
    "Permute",
    "RepeatVector",
    "Reshape",
]


class Dense(_LowRank, KernelLayer):
    """activation(x @ kernel + bias), along the last axis of x [batch, ..., inputs].

    Dense(units, activation=None, use_bias=True, kernel_initializer="glorot_uniform", ...): the
    arguments after units are those of `KernelLayer`. lora_rank, lora_alpha: `_LowRank`.
    """

    supports_masking = True
    alpha_is_of_calls = True

    def __init__(self, units: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.units = self.positive("units", units)

    def build(self, input_shape: KerasShape) -> None:
        InputSpec(min_ndim=2).check(input_shape)
        self.add_kernel((input_shape[-1], self.units))
        self.add_adapters()
        self.input_spec = InputSpec(min_ndim=2, axes={-1: input_shape[-1]})

    def call(self, x: Tensor) -> Tensor:
        rows = ops.reshape(x, (numel(x.shape[:-1]), x.shape[-1]))
        product = self.add_bias(ops.matmul(rows, self.kernel_in(x.graph)))
        return self.activation(ops.reshape(product, (*x.shape[:-1], self.units)))


class Activation(Layer):
    """A function of each tensor: a name, or a function over symbolic tensors."""

    supports_masking = True

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.named_errors():
            self.activation = activations.get(activation, self.semantics)
        self.wants_floats = self.activation not in (activations.linear, activations.relu)

    def call(self, x: Tensor) -> Tensor:
        return self.activation(x)


class ActivityRegularization(Layer):
    """Its input; l1 * sum(|x|) + l2 * sum(x^2) is added to the loss."""

    supports_masking = True
    wants_floats = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.l1, self.l2 = self.number("l1", l1), self.number("l2", l2)
        if self.activity_regularizer is not None:
            raise KeywordError(describe(self.label, "l1 and l2", "activity_regularizer"))
        with self.named_errors():
            self.activity_regularizer = regularizers.L1L2(self.l1, self.l2)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["activity_regularizer"]
        return config


class Identity(Layer):
    """Its inputs, one tensor or several, with their masks."""

    @property
    def supports_masking(self) -> bool:  # type: ignore[override]
        return self.semantics.identity_keeps_masks

    def call(self, inputs: Any) -> Any:
        return inputs


class Flatten(Layer):
    """[batch, ...] as [batch, elements]; channels_first moves the channels last before."""

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.named_errors():
            self.data_format = checked_data_format(data_format)

    def call(self, x: Tensor) -> Tensor:
        if x.rank > 2:
            x = channels_to_last(x, self.data_format)
        return ops.reshape(x, (x.shape[0], numel(x.shape[1:])))


class Reshape(Layer):
    """[batch, ...] as [batch, *target_shape]; one size may be -1, which is what remains."""

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        given = sizes(target_shape)
        given = tuple(given) if isinstance(given, (list, tuple)) else (given,)
        if given.count(-1) > 1 or not all(is_integer(d) and (d > 0 or d == -1) for d in given):
            raise ModelError(
                describe(
                    f"{self.label}: target_shape", "positive sizes, at most one of them -1", str(target_shape)
                )
            )
        self.target_shape = tuple(map(int, given))

    def call(self, x: Tensor) -> Tensor:
        known, total = prod(d for d in self.target_shape if d != -1), numel(x.shape[1:])
        assert isinstance(total, int)
        if total % known or (-1 not in self.target_shape and total != known):
            raise ModelError(
                describe(
                    "target_shape",
                    f"{total} elements, as the input {x.type} has for each sample",
                    str(self.target_shape),
                )
            )
        return ops.reshape(x, (x.shape[0], *(total // known if d == -1 else d for d in self.target_shape)))


class Permute(Layer):
    """The axes of a sample in another order: dims are their numbers, from 1, in the order of the output."""

    def __init__(self, dims: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        given = sizes(dims)
        whole = isinstance(given, (list, tuple)) and all(map(is_integer, given))
        if not whole or sorted(given) != list(range(1, len(given) + 1)):
            raise ModelError(
                describe(f"{self.label}: dims", "the numbers 1, 2, ... in some order", repr(dims))
            )
        self.dims = tuple(map(int, given))
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, x: Tensor) -> Tensor:
        return ops.transpose(x, (0, *self.dims))


class RepeatVector(Layer):
    """[batch, features] as [batch, n, features], n times the same."""

    input_spec = InputSpec(ndim=2)

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = self.positive("n", n)

    def call(self, x: Tensor) -> Tensor:
        return ops.broadcast_to(ops.reshape(x, (x.shape[0], 1, x.shape[1])), (x.shape[0], self.n, x.shape[1]))

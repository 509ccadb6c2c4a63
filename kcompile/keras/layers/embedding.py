"""Embedding: whole numbers to vectors."""

from __future__ import annotations

from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.ir.types import FLOATS, numel
from kcompile.keras.engine import KerasShape, as_list
from kcompile.keras.layers.low_rank import _LowRank
from kcompile.keras.settings import dtype_name
from kcompile_runtime.errors import ModelError, describe

__all__ = ["Embedding", "ReversibleEmbedding"]


WHOLE = ("int32", "int64", "uint32", "uint8")


class Embedding(_LowRank):
    """Numbers [batch, ...] to rows of a table [input_dim, output_dim]: [batch, ..., output_dim].

    mask_zero: 0 stands for padding, and the output has a mask. input_length: the length of the
    sequences, for a first layer of a Sequential (without it: any). A number below 0 or from input_dim
    on is an error wherever the layer runs, with its place and before anything is computed from it.
    """

    wants_floats = False
    adapted = "embeddings"
    alpha_is_of_calls = True

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        activity_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        input_length: Any = None,
        **kwargs: Any,
    ) -> None:
        given = {"input_shape", "batch_input_shape", "batch_shape"} & set(kwargs)
        if input_length is not None and not given:
            kwargs["input_shape"] = tuple(as_list(input_length))
        dtype = dtype_name(kwargs.get("dtype"))
        if isinstance(dtype, str) and dtype in WHOLE:
            del kwargs["dtype"]  # of the numbers: any whole ones are taken
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.input_dim = self.positive("input_dim", input_dim)
        self.output_dim = self.positive("output_dim", output_dim)
        self.choose(
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
        )
        self.mask_zero = self.flag("mask_zero", mask_zero)
        self.input_length = input_length
        self.likely_shape = (None, None)

    @property
    def input_dtype(self) -> str:
        return "int32"

    def build(self, input_shape: KerasShape) -> None:
        expected = () if self.input_length is None else tuple(as_list(self.input_length))
        if expected and (
            len(expected) != len(input_shape) - 1
            or any(a not in (None, b) for a, b in zip(expected, input_shape[1:]))
        ):
            raise ModelError(
                describe(
                    "call",
                    f"sequences of length {self.input_length}, its input_length",
                    f"shape {input_shape}",
                )
            )
        self.embeddings = self.add("embeddings", (self.input_dim, self.output_dim))
        self.add_adapters()

    def call(self, x: Tensor) -> Tensor:
        numbers = ops.cast(x, "int32")
        y = ops.gather(as_tensor(x.graph, self.embeddings), numbers)
        if not self.adapters:
            return y
        rows = ops.gather(as_tensor(x.graph, self.adapters[0]), numbers)
        return self.plus_adapters(y, rows)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Tensor | None:
        return ops.not_equal(ops.cast(inputs, "int32"), 0) if self.mask_zero else None


class ReversibleEmbedding(Embedding):
    """An Embedding that is called with reverse=True as well: vectors [..., output_dim] to scores of the
    numbers [..., input_dim], by the transposed table (Press and Wolf 2016) or, without tie_weights, by one
    of their own.

    reverse_dtype: of the scores. logit_soft_cap: s makes of scores x s * tanh(x / s). As Keras 3 has it.
    """

    embeddings_initializer: Any

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: str | None = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer,
            embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
            mask_zero=mask_zero,
            **kwargs,
        )
        self.tie_weights = self.flag("tie_weights", tie_weights)
        given = dtype_name(reverse_dtype)
        self.reverse_dtype = None if given is None else self.one_of("reverse_dtype", given, FLOATS)
        self.logit_soft_cap = (
            None if logit_soft_cap is None else self.number("logit_soft_cap", logit_soft_cap)
        )
        if self.logit_soft_cap == 0:
            raise ModelError(describe(f"{self.label}: logit_soft_cap", "a number other than 0, or None", "0"))
        self._backwards = False

    def build(self, input_shape: KerasShape) -> None:
        super().build(input_shape)
        self.reverse_embeddings = None
        if not self.tie_weights:
            self.reverse_embeddings = self.add_weight(
                "reverse_embeddings",
                (self.output_dim, self.input_dim),
                initializer=self.embeddings_initializer,
            )

    def call(self, x: Tensor, reverse: bool = False) -> Tensor:
        self._backwards = self.flag("reverse", reverse)
        if not self._backwards:
            return super().call(x)
        other, dtype = self.reverse_embeddings, self.reverse_dtype or self.dtype
        kernel = self.kernel_in(x.graph) if other is None else as_tensor(x.graph, other)
        rows = ops.reshape(ops.cast(x, dtype), (numel(x.shape[:-1]), x.shape[-1]))
        y = ops.matmul(rows, ops.cast(kernel, dtype), transpose_b=other is None)
        y, cap = ops.reshape(y, (*x.shape[:-1], self.input_dim)), self.logit_soft_cap
        return y if cap is None else ops.tanh(y / cap) * cap

    def compute_mask(self, inputs: Any, mask: Any = None) -> Tensor | None:
        """That of the numbers; scores have none."""
        return None if self._backwards else super().compute_mask(inputs, mask)

"""Embedding: whole numbers to vectors."""

from __future__ import annotations

from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.keras.engine import KerasShape, as_list
from kcompile.keras.layers.kernel import Weighted
from kcompile.keras.settings import dtype_name
from kcompile_runtime.errors import ModelError, describe

__all__ = ["Embedding"]


WHOLE = ("int32", "int64", "uint32", "uint8")


class Embedding(Weighted):
    """Numbers [batch, ...] to rows of a table [input_dim, output_dim]: [batch, ..., output_dim].

    mask_zero: 0 stands for padding, and the output has a mask. input_length: the length of the
    sequences, for a first layer of a Sequential (without it: any). A number below 0 or from input_dim
    on is an error wherever the layer runs, with its place and before anything is computed from it.
    """

    wants_floats = False

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

    def call(self, x: Tensor) -> Tensor:
        return ops.gather(as_tensor(x.graph, self.embeddings), ops.cast(x, "int32"))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Tensor | None:
        return ops.not_equal(ops.cast(inputs, "int32"), 0) if self.mask_zero else None

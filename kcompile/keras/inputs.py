"""The entries of models: `Input`, and the layer behind it.

Enters: a shape, or a tensor of K that takes the place of data. Leaves: a tensor of a model, which a node
without inputs made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import TensorType
from kcompile.keras.editions import edition
from kcompile.keras.engine import Layer
from kcompile.keras.layer_calls import numbered
from kcompile.keras.operands import sizes
from kcompile.keras.settings import get_uid, said_floatx
from kcompile.keras.tensors import KerasTensor, Node, Variable, as_list, type_of_shape
from kcompile_runtime.checks import check_flag
from kcompile_runtime.errors import InputTypeError, ModelError, describe


class InputLayer(Layer):
    """The entry of a model: a node without inputs. Made by `Input`."""

    is_input = True
    computes_in_dtype = False

    def __init__(
        self,
        input_shape: Any = None,
        batch_size: int | None = None,
        batch_input_shape: Any = None,
        dtype: Any = None,
        input_tensor: Any = None,
        sparse: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if batch_input_shape is not None and input_shape is not None:
            raise ModelError("InputLayer: expected input_shape or batch_input_shape. Received: both")
        self.sparse = check_flag("InputLayer: sparse", sparse)
        self.texts = dtype is str or (isinstance(dtype, str) and dtype in ("string", "str"))
        dtype = "int64" if self.texts else dtype  # their shapes alone count in what is compiled
        if input_tensor is not None and not isinstance(input_tensor, (KerasTensor, Variable)):
            wanted = "a variable, a placeholder or a tensor of K"
            raise InputTypeError(describe("InputLayer: input_tensor", wanted, repr(input_tensor)))
        self._tensor = input_tensor
        if input_tensor is not None:
            batch_input_shape, dtype = input_tensor.shape, input_tensor.dtype
        shapes = dict(input_shape=input_shape, batch_size=batch_size, batch_input_shape=batch_input_shape)
        kwargs.update({key: value for key, value in shapes.items() if value is not None})
        super().__init__(name=name, dtype=said_floatx() if dtype is None else dtype, **kwargs)
        if self.batch_input_shape is None:
            raise ModelError(f"{self.label}: expected input_shape or batch_input_shape. Received: neither")
        self.built = True
        with self.named_errors():
            types = [type_of_shape(self.batch_input_shape, self.dtype, probe) for probe in (0, 1)]
            if isinstance(input_tensor, KerasTensor):
                types = [input_tensor.type, input_tensor.second_type]
            elif input_tensor is not None:
                types = [TensorType(input_tensor.shape, input_tensor.dtype)] * 2
            self._record((), True, {}, types[:1], types[1:])
        self.nodes_made[0].outputs[0].batch_size = self.batch_input_shape[0]
        self.nodes_made[0].outputs[0].sparse = self.sparse
        self.nodes_made[0].outputs[0].texts = self.texts

    @property
    def input_tensor(self) -> Any:
        """The tensor of K that it stands for, None for data. Configurations are of inputs of data."""
        return self._tensor

    def emit(self, graph: Graph, node: Node, operands: Sequence[Tensor]) -> list[Tensor]:
        """What its tensor is in the graph; of an input of data, nothing."""
        if self.input_tensor is None:
            return super().emit(graph, node, operands)
        return [self.input_tensor.__tensor__(graph)]

    @property
    def takes_texts(self) -> bool:  # type: ignore[override]
        """Whether its data are texts."""
        return self.texts

    @property
    def input_dtype(self) -> str:
        """The dtype of its data."""
        return "string" if self.texts else self.dtype

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "dtype": "string"} if self.texts else config

    @property
    def is_placeholder(self) -> bool:
        """Whether it takes data."""
        return self.input_tensor is None

    def _new_name(self) -> str:
        prefix = edition(self.vintage).input
        return f"input_{get_uid(prefix)}" if prefix == "input" else numbered(prefix, self.vintage)


def Input(
    shape: Sequence[int | None] | None = None,
    batch_shape: Sequence[Any] | None = None,
    name: str | None = None,
    dtype: str | None = None,
    sparse: bool = False,
    tensor: Any = None,
    batch_size: int | None = None,
    vintage: str | None = None,
) -> Any:
    """The input of a functional model: a tensor of `shape`, which leaves the batch out.

    batch_shape: the shape with the batch. None is a size that may differ from call to call; code is made
    for each size that comes. tensor: of K, which it is in K.function; a model over it takes no data. sparse:
    see `K.is_sparse`. vintage: see `Layer`. Raises ModelError without a shape.
    """
    if tensor is not None:
        return InputLayer(input_tensor=tensor, sparse=sparse, name=name, vintage=vintage).output
    if shape is None and batch_shape is None:
        raise ModelError("Input: expected shape=(...) or batch_shape=(None, ...). Received: neither")
    full = batch_shape if batch_shape is not None else (batch_size, *as_list(sizes(shape)))
    return InputLayer(batch_input_shape=full, dtype=dtype, sparse=sparse, name=name, vintage=vintage).output

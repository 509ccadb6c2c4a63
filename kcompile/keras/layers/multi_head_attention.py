"""Attention of several heads, each with projections of its own: as many of keys as of queries, or fewer."""

from __future__ import annotations

import copy
import math
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import regularizers
from kcompile.keras.editions import edition
from kcompile.keras.engine import Layer, as_list, is_integer
from kcompile.keras.given_masks import as_bool
from kcompile.keras.layer_calls import numbered
from kcompile.keras.layer_weights import distinguish
from kcompile.keras.layers.attention import (
    LOW,
    _Attending,
    given_tensors,
    joined,
    reachable,
    softmax_over,
    with_axis,
    without_masks,
)
from kcompile.keras.layers.einsum_dense import EinsumDense
from kcompile.keras.layers.held import Holder
from kcompile.keras.layers.kernel import Weighted
from kcompile.keras.operands import sizes
from kcompile.keras.settings import running
from kcompile.keras.utils.serialization import serialize
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

__all__ = ["GroupQueryAttention", "GroupedQueryAttention", "MultiHeadAttention"]

_MASKS = ("value_mask", "key_mask", "attention_mask")


class _Heads(_Attending, Holder, Weighted):
    """Called on a query, a value, and perhaps a key, and masks by name."""

    wants_list = True
    masks_of_tensors = True
    softmax_robust_masking = False
    strips_masks = False  # off its tensors, where an attention does
    wants_floats = False  # masks are among its inputs; its projections do
    _PARTS: tuple[str, ...]  # attributes of the projections, as Keras 3 names their groups
    key_dim: int
    value_dim: int
    kernel_initializer: Any
    kernel_regularizer: Any
    bias_regularizer: Any
    kernel_constraint: Any
    bias_constraint: Any

    def choose_all(
        self,
        use_bias: bool,
        dropout: float,
        sliding_window: int | None,
        flash_attention: bool | None,
        activity_regularizer: Any,
        use_gate: bool,
        seed: int | None,
        **choices: Any,
    ) -> None:
        """The arguments that all kinds have."""
        self.use_bias, self.use_gate = self.flag("use_bias", use_bias), self.flag("use_gate", use_gate)
        self.add_dropout(dropout, seed)
        self.sliding_window = (
            None if sliding_window is None else self.positive("sliding_window", sliding_window)
        )
        self._flash = self.flag("flash_attention", flash_attention)  # by which kernels; the same numbers
        if self._flash and self.dropout:
            raise ModelError(f"{self.label}: flash_attention and dropout are not possible together")
        with running(self.vintage):
            self._penalty = regularizers.get(activity_regularizer)  # of the projections
        if not self.semantics.projections_penalised:
            self.activity_regularizer = self._penalty
        self.choose(**choices)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "activity_regularizer": serialize(self._penalty)}
        silent = {
            "use_gate": False,
            "sliding_window": None,
            "seed": None,
            "softmax_robust_masking": False,
        }  # which not all Kerases know
        return {k: v for k, v in config.items() if k not in silent or v != silent[k]}

    def number_parts(self) -> None:
        """Take the automatic names of the layers that Keras 3 makes when it builds one: later ones go on."""
        if edition(self.vintage).operations:
            for kind in ("softmax", "dropout"):
                numbered(kind, self.vintage)

    @property
    def parts(self) -> list[Layer]:
        found = (getattr(self, name, None) for name in self._PARTS)
        return [part for part in found if part is not None]

    def __call__(  # type: ignore[override]
        self,
        query: Any,
        value: Any = None,
        key: Any = None,
        *,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        **arguments: Any,
    ) -> Any:
        """attention_mask: of [batch, queries, keys], beside those of the tensors; a tensor or an array.
        value_mask, key_mask: in place of those of these tensors. query_mask: nothing, as in Keras 3, which
        takes the mask of the query itself."""
        if isinstance(query, (list, tuple)):  # as nodes are made again
            if attention_mask is not None:
                arguments["attention_mask"] = attention_mask
            return super().__call__(list(query), **arguments)
        if query_mask is not None and self.semantics.masked_scores == "lowered":
            raise ModelError(f"{self.label}: query_mask: tf.keras has no such argument. Give attention_mask")
        if value is None:
            raise ModelError(describe(f"{self.label}: call", "a query and a value", "a query"))
        if isinstance(attention_mask, (list, tuple, np.ndarray)) and not isinstance(query, np.ndarray):
            arguments["attention_mask"] = np.asarray(attention_mask).astype(bool).tolist()
            attention_mask = None
        masks = {"value_mask": value_mask, "key_mask": key_mask, "attention_mask": attention_mask}
        inputs, names = given_tensors(query, value, key, masks)
        if names:
            arguments["extra"] = names
        return super().__call__(inputs, **arguments)

    def projection(
        self, name: str, equation: str, shape: Sequence[int], bias: str, given: Any
    ) -> EinsumDense:
        """A built projection. Its initializers are copies, which draw as if each were the first."""
        length = equation.index("->") + 2
        whole = len(equation) - length - len(bias)
        layer = EinsumDense(
            equation,
            [*(None for _ in range(whole - 1)), *shape],
            activation="sigmoid" if name == "gate" else None,
            bias_axes=bias if self.use_bias else None,
            kernel_initializer=copy.copy(self.kernel_initializer),
            bias_initializer=copy.copy(self.bias_initializer),
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            activity_regularizer=self._penalty,
            kernel_constraint=self.kernel_constraint,
            bias_constraint=self.bias_constraint,
            name=name,
            dtype=self.dtype,
            vintage=self.vintage,
        )
        layer.build_for(tuple(given))
        return layer

    def call(
        self,
        inputs: Sequence[Tensor],
        mask: Sequence[Tensor | None] | None = None,
        extra: Sequence[str] | None = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        if return_attention_scores and self._flash:
            raise ModelError("flash_attention and return_attention_scores are not possible together")
        query, value, key = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else inputs[1]
        given = {**dict.fromkeys(_MASKS), **dict(zip(extra or (), inputs[3:]))}
        own: list[Tensor | None] = [*(mask or (None, None)), None][:3]
        if attention_mask is not None:
            given["attention_mask"] = ops.constant(query.graph, np.asarray(attention_mask, bool), "bool")
        known = self._mask(query, value, own, given, use_causal_mask)
        with without_masks(inputs[:3], self.strips_masks and self.semantics.attention_takes_masks):
            heads = [part.trace([x], True, {})[0] for part, x in zip(self.projections, (query, key, value))]
            gate = None if self.gate is None else self.gate.trace([query], True, {})[0]
        plain = query.rank == 3 and not self.dropout and not return_attention_scores
        keys, values = map(self.spread, heads[1:])
        made, scores = self.attend(heads[0], keys, values, known, plain)
        y = self.parts[-1].trace([made if gate is None else made * gate], True, {})[0]
        return [y, scores] if return_attention_scores else y

    def _mask(
        self, query: Tensor, value: Tensor, own: list[Tensor | None], given: Any, causal: bool
    ) -> Tensor | None:
        """Which keys [batch, queries, keys] each query may look at."""
        axis = self.axes[0]
        rows, columns = query.shape[axis], value.shape[axis]
        of_value, of_key = (
            mine if given[name] is None else as_bool(given[name])
            for name, mine in (("value_mask", own[1]), ("key_mask", own[2]))
        )
        if len(self.axes) > 1 and (causal or self.sliding_window is not None):
            raise UnsupportedError("use_causal_mask and sliding_window along more than one of attention_axes")
        return joined(
            with_axis(own[0], -1),
            with_axis(of_value, -2),
            with_axis(of_key, -2),
            reachable(query, rows, columns, causal, self.sliding_window),
            None if given["attention_mask"] is None else as_bool(given["attention_mask"]),
        )

    @property
    def axes(self) -> Sequence[int]:
        """Those of the query along which it attends."""
        return (1,)

    @property
    def projections(self) -> list[EinsumDense]:
        """Of query, key and value."""
        raise NotImplementedError

    @property
    def gate(self) -> Any:
        return getattr(self, "_gate_dense", None)

    def spread(self, x: Tensor) -> Tensor:
        """Keys or values with as many heads as the query has."""
        return x

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, plain: bool
    ) -> tuple[Tensor, Tensor]:
        """The output of all heads [batch, queries, heads, features], and the scores. plain: Keras 3 computes
        it as one function, which leaves masked keys out; else queries without keys attend to nothing."""
        to_scores, to_values = equations(query.rank, self.axes)
        scores = ops.einsum(to_scores, key, query * (1.0 / math.sqrt(self.key_dim)))
        lowered = self.semantics.masked_scores == "lowered"
        robust = self.softmax_robust_masking
        if mask is not None:
            while mask.rank < scores.rank:
                found = with_axis(mask, -2 * len(self.axes) - 1)
                assert found is not None
                mask = found
            mask = ops.broadcast_to(mask, scores.shape)
            scores = ops.select(mask, scores, scores - LOW if lowered and not robust else -LOW)
        weights = softmax_over(scores, len(self.axes))
        if mask is not None and not lowered and not plain:
            weights = ops.select(mask, weights, ops.zeros_like(weights))
        return ops.einsum(to_values, self.dropped(weights), value), weights


def equations(rank: int, axes: Sequence[int]) -> tuple[str, str]:
    """From keys and queries of this rank (the last axes of which are heads and features) to scores, and from
    scores and values to outputs. axes: those of the queries and keys."""
    query = string.ascii_lowercase[:rank]
    others = iter(string.ascii_lowercase[rank:])
    key = "".join(next(others) if i in axes else name for i, name in enumerate(query))
    scores = "".join(name for i, name in enumerate(query[:-1]) if i not in axes)
    scores += "".join(query[i] for i in axes) + "".join(key[i] for i in axes)
    return f"{key},{query}->{scores}", f"{scores},{key}->{query}"


class MultiHeadAttention(_Heads):
    """output(attention of `num_heads` heads of projected queries, keys and values) (Vaswani et al. 2017).

    key_dim, value_dim: of each head, for queries and keys, and for values. output_shape: of the result's last
    axes, by default the query's features. attention_axes: along which queries attend, by default all but the
    batch and the features. sliding_window: keys that many places away are left out. use_gate: outputs of
    heads are multiplied by a sigmoid of a projection of the query.
    """

    strips_masks = True
    _PARTS = ("query_dense", "key_dense", "_gate_dense", "value_dense", "output_dense")

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        softmax_robust_masking: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.softmax_robust_masking = self.flag("softmax_robust_masking", softmax_robust_masking)
        self.num_heads, self.key_dim = (
            self.positive("num_heads", num_heads),
            self.positive("key_dim", key_dim),
        )
        self.value_dim = self.key_dim if value_dim is None else self.positive("value_dim", value_dim)
        shape = None if output_shape is None else as_list(sizes(output_shape))
        self._output = None if shape is None else [self.positive("output_shape", d) for d in shape]
        axes = None if attention_axes is None else as_list(sizes(attention_axes))
        if axes is not None and (not axes or not all(map(is_integer, axes))):
            raise ModelError(describe(f"{self.label}: attention_axes", "axes", repr(attention_axes)))
        self.attention_axes = axes
        self.choose_all(
            use_bias,
            dropout,
            sliding_window,
            flash_attention,
            activity_regularizer,
            use_gate,
            seed,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "output_shape": self._output}

    @property
    def projections(self) -> list[EinsumDense]:
        return [self.query_dense, self.key_dense, self.value_dense]

    @property
    def axes(self) -> Sequence[int]:
        assert self.attention_axes is not None
        return self.attention_axes

    def build(self, input_shape: Any) -> None:
        query, value = input_shape[:2]
        key = input_shape[2] if len(input_shape) > 2 else value
        rank = len(query)
        if len({rank, len(value), len(key)}) > 1 or rank < 3 or tuple(value[1:-1]) != tuple(key[1:-1]):
            raise ModelError(
                describe(
                    "call", "a query, a value and a key of one rank, the last two alike", f"{input_shape}"
                )
            )
        axes = self.attention_axes or list(range(1, rank - 1))
        places = [a + rank if a < 0 else a for a in axes]
        if not all(0 < a < rank - 1 for a in places):
            raise ModelError(
                describe("attention_axes", f"axes between batch and features of {query}", f"{axes}")
            )
        self.attention_axes = places
        self.shapes = query, value, key
        letters = list(string.ascii_lowercase)
        free = "".join(letters[: rank - 1])
        one, head, each = letters[rank - 1 : rank + 2]
        into = f"{free}{one},{one}{head}{each}->{free}{head}{each}"

        def projected(name: str, size: int, shape: Any) -> EinsumDense:
            return self.projection(name, into, (self.num_heads, size), head + each, shape)

        self.query_dense = projected("query", self.key_dim, query)
        self.key_dense = projected("key", self.key_dim, key)
        self._gate_dense = projected("gate", self.value_dim, query) if self.use_gate else None
        self.value_dense = projected("value", self.value_dim, value)
        shape = self._output or [query[-1]]
        made = "".join(letters[rank + 1 : rank + 1 + len(shape)])
        self.output_dense = self.projection(
            "attention_output",
            f"{free}{one}{head},{one}{head}{made}->{free}{made}",
            shape,
            made,
            (*query[:-1], self.num_heads, self.value_dim),
        )
        self.number_parts()
        distinguish(self.weights)


class GroupedQueryAttention(_Heads):
    """The same with fewer heads of keys and values, each of which serves several heads of queries
    (Ainslie et al. 2023). Keras 3 calls it GroupQueryAttention."""

    _PARTS = ("_query_dense", "_key_dense", "_gate_dense", "_value_dense", "_output_dense")

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.head_dim = self.positive("head_dim", head_dim)
        self.num_query_heads = self.positive("num_query_heads", num_query_heads)
        self.num_key_value_heads = self.positive("num_key_value_heads", num_key_value_heads)
        if self.num_query_heads % self.num_key_value_heads:
            raise ModelError(
                describe(
                    f"{self.label}: num_query_heads",
                    f"a multiple of the {self.num_key_value_heads} num_key_value_heads",
                    str(num_query_heads),
                )
            )
        self.key_dim = self.value_dim = self.head_dim
        self.choose_all(
            use_bias,
            dropout,
            sliding_window,
            flash_attention,
            activity_regularizer,
            use_gate,
            seed,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )
        self.activity_regularizer = self._penalty  # of its own output too, as Keras has it

    @property
    def projections(self) -> list[EinsumDense]:
        return [self._query_dense, self._key_dense, self._value_dense]

    def build(self, input_shape: Any) -> None:
        query, value = input_shape[:2]
        key = input_shape[2] if len(input_shape) > 2 else value
        if any(len(shape) != 3 for shape in (query, value, key)):
            raise ModelError(describe("call", "a query, a value and a key of three axes", f"{input_shape}"))

        def projected(name: str, heads: int, shape: Any) -> EinsumDense:
            return self.projection(name, "abc,cde->abde", (heads, self.head_dim), "de", shape)

        many, few = self.num_query_heads, self.num_key_value_heads
        self._query_dense = projected("query", many, query)
        self._key_dense = projected("key", few, key)
        self._gate_dense = projected("gate", many, query) if self.use_gate else None
        self._value_dense = projected("value", few, value)
        shape = (*query[:-1], many, self.head_dim)
        self._output_dense = self.projection("attention_output", "abcd,cde->abe", query[-1:], "e", shape)
        self.number_parts()
        distinguish(self.weights)

    def spread(self, x: Tensor) -> Tensor:
        batch, steps, heads, features = x.shape
        each = self.num_query_heads // self.num_key_value_heads
        wide = ops.broadcast_to(
            ops.reshape(x, (batch, steps, heads, 1, features)), (batch, steps, heads, each, features)
        )
        return ops.reshape(wide, (batch, steps, self.num_query_heads, features))


GroupQueryAttention = GroupedQueryAttention

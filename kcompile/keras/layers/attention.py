"""Attention of queries to keys, and what all kinds of it share: masks, scores, tensors by name.

A call has a query, a value, and perhaps a key and masks. A node's inputs are [query, value], or [query,
value, key, *masks] with the names of the masks in its argument `extra`: so that a call is a list of tensors,
as any other. `extra` is None where no mask is given; then those of the tensors themselves count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Dim, numel, static
from kcompile.keras.engine import Layer, as_list
from kcompile.keras.given_masks import as_bool
from kcompile.keras.layers.noise import Dropout
from kcompile.keras.tracing import trace_of
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

__all__ = ["AdditiveAttention", "Attention"]

LOW = 1e9  # what scores of masked keys are lowered by


def given_tensors(query: Any, value: Any, key: Any, masks: Mapping[str, Any]) -> tuple[list[Any], list[str]]:
    """The inputs of a call, and the names of the masks among them."""
    names = [name for name, mask in masks.items() if mask is not None]
    if key is None and not names:
        return [query, value], names
    return [query, value, value if key is None else key, *(masks[name] for name in names)], names


def joined(*masks: Tensor | None) -> Tensor | None:
    """Where all masks that there are hold; they broadcast."""
    found = None
    for mask in masks:
        if mask is not None:
            found = mask if found is None else ops.logical_and(found, mask)
    return found


def with_axis(mask: Tensor | None, axis: int) -> Tensor | None:
    """The mask with an axis of size 1 more."""
    if mask is None:
        return None
    place = axis % (mask.rank + 1)
    return ops.reshape(mask, (*mask.shape[:place], 1, *mask.shape[place:]))


def reachable(x: Tensor, rows: Dim, columns: Dim, causal: bool, window: int | None) -> Tensor | None:
    """The mask [1, rows, columns] of the keys that a query may look at: none behind its place, none `window`
    places away."""
    if not causal and window is None:
        return None
    at, of = (np.arange(size) for size in static((rows, columns)))
    at = at[:, None]
    allowed = (at >= of) if causal else np.ones((rows, columns), bool)
    if window is not None:
        allowed = allowed & (abs(at - of) < window)
    return ops.constant(x.graph, allowed[None], "bool")


def softmax_over(scores: Tensor, count: int) -> Tensor:
    """The softmax over the last `count` axes together."""
    rest = scores.shape[: scores.rank - count]
    flat = ops.reshape(scores, (*rest, numel(scores.shape[scores.rank - count :])))
    return ops.reshape(ops.softmax(flat), scores.shape)


@contextmanager
def without_masks(tensors: Sequence[Tensor], ever: bool = False) -> Iterator[None]:
    """Inside the `with`, these tensors have no masks. ever: nor after it."""
    masks = trace_of(tensors[0]).masks
    kept = {x.value: masks.pop(x.value) for x in tensors if x.value in masks}
    try:
        yield
    finally:
        masks.update({} if ever else kept)


class _Attending(Layer):
    """The mask of its output is the query's; scores have none."""

    supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> Tensor | None:
        return None if mask is None else mask[0]

    def output_masks(
        self,
        inputs: Sequence[Tensor],
        single: bool,
        masks: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
    ) -> list[Tensor | None]:
        return [self.compute_mask(inputs, masks), *(None for _ in outputs[1:])]

    def add_dropout(self, dropout: float, seed: int | None) -> None:
        self.dropout, self.seed = self.number("dropout", dropout, 0, 1), seed
        with self.named_errors():
            self._dropping = Dropout(self.dropout, seed=seed, name="dropout")

    def dropped(self, x: Tensor) -> Tensor:
        """In training, without some elements."""
        return self._dropping.call(x) if self.dropout else x


class Attention(_Attending):
    """softmax(scores) @ value, for each query (Luong et al. 2015). Called on [query, value] or [query, value,
    key], each [batch, steps, features].

    scores: products of query and key; with score_mode="concat" sums of tanh(query + key), times a weight.
    use_scale: times one more. A mask of the value leaves out keys, one of the query makes its outputs zeros.
    causal (tf.keras before 2.10): as the argument use_causal_mask of a call.
    """

    wants_list = True

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        causal: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.use_scale, self.causal = self.flag("use_scale", use_scale), self.flag("causal", causal)
        self.score_mode = self.one_of("score_mode", score_mode, ("dot", "concat"))
        self.add_dropout(dropout, seed)

    def get_config(self) -> dict[str, Any]:
        """Kerases of today have no such argument as causal, and tf.keras none as seed; Keras 3 takes the
        name of the usual scores in .h5 for that of a function."""
        config = super().get_config()
        silent = {"causal": False, "seed": None, "score_mode": "dot"}
        return {k: v for k, v in config.items() if k not in silent or v != silent[k]}

    def __call__(self, inputs: Any, mask: Any = None, **arguments: Any) -> Any:
        """mask: of query and value, in place of those that they have."""
        flat = as_list(inputs)
        if mask is not None:
            several = isinstance(mask, (list, tuple)) and len(mask) in (2, 3)
            if not several or len(flat) not in (2, 3):
                raise ModelError(describe(f"{self.label}: mask", "masks of query and value", repr(mask)))
            masks = {"query_mask": mask[0], "value_mask": mask[1]}
            query, value, key = (*flat, None)[:3]
            inputs, arguments["extra"] = given_tensors(query, value, key, masks)
        return super().__call__(inputs, **arguments)

    def build(self, input_shape: Any) -> None:
        several = isinstance(input_shape, list)
        if not several or len(input_shape) < 2 or any(len(shape) < 3 for shape in input_shape[:3]):
            raise UnsupportedError(
                describe(
                    "call", "[query, value] or [query, value, key] of three axes", f"shapes {input_shape}"
                )
            )
        self.add_weights(input_shape[0])

    def add_weights(self, query_shape: Any) -> None:
        self.scale = self.add_weight("scale", (), initializer="ones") if self.use_scale else None
        concat = self.score_mode == "concat"
        self.concat_score_weight = (
            self.add_weight("concat_score_weight", (), initializer="ones") if concat else None
        )

    def call(
        self,
        inputs: Sequence[Tensor],
        mask: Sequence[Tensor | None] | None = None,
        extra: Sequence[str] | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        query, value, key = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else inputs[1]
        given = dict(zip(extra or (), inputs[3:]))
        of_query, of_value = mask[:2] if mask is not None and extra is None else (None, None)
        of_query, of_value = (
            None if found is None else as_bool(found)
            for found in (given.get("query_mask", of_query), given.get("value_mask", of_value))
        )
        scores = self.scores(query, key)
        causal = self.causal or use_causal_mask
        known = joined(
            with_axis(of_value, -2), reachable(query, query.shape[-2], key.shape[-2], causal, None)
        )
        if known is not None:
            scores = ops.select(ops.broadcast_to(known, scores.shape), scores, scores - LOW)
        weights = self.dropped(ops.softmax(scores))
        y = product(weights, value, False)
        if of_query is not None:
            there = with_axis(of_query, -1)
            assert there is not None
            y = ops.select(ops.broadcast_to(there, y.shape), y, ops.zeros_like(y))
        return [y, weights] if return_attention_scores else y

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        if self.score_mode == "dot":
            found = product(query, key, True)
            return found if self.scale is None else found * self.scale
        assert self.concat_score_weight is not None
        added = sums(query, key)
        return ops.reduce_sum(ops.tanh(added if self.scale is None else added * self.scale), -1) * (
            self.concat_score_weight.__tensor__(query.graph)
        )


class AdditiveAttention(Attention):
    """The same with scores that are sums of scale * tanh(query + key), by a scale for each feature
    (Bahdanau et al. 2014)."""

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("score_mode", None)
        return config

    def add_weights(self, query_shape: Any) -> None:
        self.scale = self.add_weight("scale", query_shape[-1:]) if self.use_scale else None

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        found = ops.tanh(sums(query, key))
        return ops.reduce_sum(found if self.scale is None else found * self.scale, -1)


def product(a: Tensor, b: Tensor, transposed: bool) -> Tensor:
    """The products of the last two axes of both, for each place of the others; b transposed first."""
    return ops.einsum("...ij,...kj->...ik" if transposed else "...ij,...jk->...ik", a, b)


def sums(query: Tensor, key: Tensor) -> Tensor:
    """Each query plus each key."""
    a = ops.reshape(query, (*query.shape[:-1], 1, query.shape[-1]))
    return a + ops.reshape(key, (*key.shape[:-2], 1, *key.shape[-2:]))

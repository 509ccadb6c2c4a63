"""tf.clip_by_value, clip_by_norm, clip_by_global_norm and linalg.global_norm, by functions of keras.ops.

The gradient that a tape gives of an Embedding is IndexedSlices in TensorFlow, of which these take the values
as they are before they are added up, and give IndexedSlices again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

from kcompile.ir.tensor import Tensor
from kcompile.keras import keras3_ops, sparse_gradients
from kcompile.keras.eager_trace import written_with
from kcompile.keras.operands import leaves
from kcompile.keras.tracing import current

o = cast(Any, keras3_ops)


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: Any = None) -> Any:
    """t within bounds."""
    return _of_values(t, lambda x: o.clip(x, clip_value_min, clip_value_max))


def global_norm(t_list: Any, name: Any = None) -> Any:
    """The length of all tensors as one vector; None is none."""
    return o.sqrt(functools.reduce(o.add, [_square_sum(t) for t in t_list if t is not None]))


def clip_by_global_norm(t_list: Any, clip_norm: Any, use_norm: Any = None, name: Any = None) -> Any:
    """The tensors, made shorter where all together are longer than clip_norm; and that length."""
    length = global_norm(t_list) if use_norm is None else use_norm
    share = o.divide(clip_norm, o.maximum(length, clip_norm))
    return [None if t is None else _marked(t, o.multiply(t, share)) for t in t_list], length


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: Any = None) -> Any:
    """t, made shorter where it is longer than clip_norm."""
    if axes is not None:
        return _of_values(t, lambda x: _shortened(x, o.sum(o.square(x), axes, True), clip_norm))
    return _marked(t, _shortened(t, _square_sum(t), clip_norm))


def _shortened(t: Any, square_sum: Any, norm: Any) -> Any:
    return o.divide(o.multiply(t, norm), o.maximum(o.sqrt(square_sum), norm))


def _slices(t: Any) -> tuple[sparse_gradients.IndexedSlices, ...]:
    """The slices of a tape's gradient; none of any other tensor."""
    return sparse_gradients.slices_of(t) if sparse_gradients.is_of_tape(t) else ()


def _square_sum(t: Any) -> Any:
    parts = [slices.values for slices in _slices(t)]
    return functools.reduce(o.add, [o.sum(o.square(x)) for x in parts or [t]])


def _of_values(t: Any, function: Callable[[Any], Any]) -> Any:
    """A function of a tensor, or of the values of its slices."""
    parts = _slices(t)
    if not parts:
        return function(t)
    return _marked(t, sparse_gradients.of_values(parts, function))


def _marked(t: Any, result: Any) -> Any:
    """The result, sparse as t is."""
    if sparse_gradients.is_of_tape(t) and isinstance(result, Tensor):
        sparse_gradients.of_tape(result)
    return result


def before_values(function: Callable[..., Any], on_values: Callable[..., Any]) -> Callable[..., Any]:
    """The function, computed where gradients were noted, also outside of the tape: there they are sums of
    slices, and values elsewhere. on_values: the function of anything else."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = list(leaves([args, kwargs]))
        if current() is not None or not any(map(sparse_gradients.is_of_tape, given)):
            return on_values(*args, **kwargs)
        with written_with(given):
            return function(*args, **kwargs)

    return call


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "clip_by_global_norm": clip_by_global_norm,
    "clip_by_norm": clip_by_norm,
    "clip_by_value": clip_by_value,
    "linalg.global_norm": global_norm,
}

"""Functions of tf that read and write at places, and sums over segments: see `functions`."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch
from kcompile.tensorflow.functions import Function, o, of_values
from kcompile_runtime.errors import UnsupportedError


def gather_nd(
    params: Any, indices: Any, batch_dims: int = 0, name: Any = None, bad_indices_policy: str = ""
) -> Any:
    """The parts of params [b.., d.., rest..] at the places indices [b.., m.., k], k of the axes d. Raises
    UnsupportedError where samples are picked out of a batch, but for tf.range of the batch: each its own."""
    _check_policy("gather_nd", bad_indices_policy)
    if isinstance(indices, (list, tuple)):
        indices = o.convert_to_tensor(indices)
    if not batch_dims and _numbers_samples(indices, params):
        batch_dims, indices = 1, indices[..., 1:]
    shape = list(params.shape)
    depth = indices.shape[-1]
    inner = shape[batch_dims : batch_dims + depth]
    if any(d is None or isinstance(d, Batch) for d in inner):
        raise UnsupportedError(
            "tensorflow.gather_nd: samples are not picked out of a batch. Use batch_dims=1, without the "
            "places of samples"
        )
    flat: Any = 0
    for axis, size in enumerate(inner):
        flat = flat * size + indices[..., axis]
    lead, rest = o.shape(params)[:batch_dims], shape[batch_dims + depth :]
    table = o.reshape(params, (*lead, int(np.prod(inner)), *rest))
    if not batch_dims:
        return o.take(table, flat, 0)
    if batch_dims > 1:
        raise UnsupportedError("tensorflow.gather_nd: batch_dims above 1. Use take_along_axis")
    many = o.shape(flat)[1:]
    places = o.reshape(flat, (lead[0], int(np.prod([1, *many])), *(1,) * len(rest)))
    wide = o.broadcast_to(places, (lead[0], int(np.prod([1, *many])), *rest))
    return o.reshape(o.take_along_axis(table, wide, 1), (lead[0], *many, *rest))


def _numbers_samples(indices: Any, params: Any) -> bool:
    """Whether the first of the places [n, .., k] are the numbers of the samples, each beside its own: what is
    made of tf.range of the batch by new shapes in which no axis is before that of the samples."""
    if not isinstance(indices, Tensor) or not isinstance(params, Tensor) or params.shape[:1] != (Batch(),):
        return False
    nodes = indices.graph.nodes
    node = nodes[indices.value.node]
    if len(node.inputs) > 1 and node.attrs.get("axis") == indices.rank - 1:  # stacked: the first part
        node = nodes[node.inputs[0].node]
    while node.op.name in ("reshape", "broadcast_to", "cast"):
        if next((d for d in node.types[0].shape if d != 1), None) != Batch():
            return False
        node = nodes[node.inputs[0].node]
    counted = node.op.kind == "source" and "axis" in node.attrs  # positions along it, as in tf.range
    return counted and node.types[0].shape == (Batch(),)


def _check_policy(function: str, policy: Any) -> None:
    if policy not in ("", "DEFAULT", "ERROR"):
        raise UnsupportedError(f"tensorflow.{function}: bad_indices_policy. Places must be there")


def scatter_nd(indices: Any, updates: Any, shape: Any, bad_indices_policy: str = "", name: Any = None) -> Any:
    """Zeros of a shape, to which updates are added at places."""
    _check_policy("scatter_nd", bad_indices_policy)
    return o.scatter(indices, updates, shape)


def scattered(how: str) -> Function:
    """tf.tensor_scatter_nd_*: what is there and what is new, in one."""

    def scatter(
        tensor: Any, indices: Any, updates: Any, bad_indices_policy: str = "", name: Any = None
    ) -> Any:
        _check_policy(f"tensor_scatter_nd_{how}", bad_indices_policy)
        return o.scatter_update(tensor, indices, updates, how)

    return scatter


def segments(function: str) -> Function:
    """tf.math.unsorted_segment_*, of a known number of segments."""
    twin = getattr(o, function)
    bound = {"segment_max": (o.maximum, "min"), "segment_min": (o.minimum, "max")}.get(function)

    def segment(data: Any, segment_ids: Any, num_segments: Any, name: Any = None) -> Any:
        made = twin(data, segment_ids, num_segments)
        if bound is None or not str(made.dtype).startswith("float"):
            return made
        return bound[0](made, getattr(np.finfo(str(made.dtype)), bound[1]))  # of nothing: the last number

    return segment


def _mean(data: Any, segment_ids: Any, num_segments: Any, name: Any = None) -> Any:
    """The means of segments; 0 of those with nothing."""
    total = o.segment_sum(data, segment_ids, num_segments)
    count = o.segment_sum(o.ones_like(data), segment_ids, num_segments)
    return o.divide(total, o.maximum(count, o.ones_like(count)))


def bincount(
    arr: Any,
    weights: Any = None,
    minlength: Any = None,
    maxlength: Any = None,
    dtype: Any = "int32",
    name: Any = None,
    axis: Any = None,
    binary_output: bool = False,
) -> Any:
    """How often each number from 0 on is there, or the sum of its weights; on values."""
    if axis is not None or binary_output:
        raise UnsupportedError("tensorflow.math.bincount: axis and binary_output. Use tf.one_hot")
    of_values("math.bincount", "Use tf.reduce_sum(tf.one_hot(arr, classes), axis)", arr, weights)
    numbers = np.asarray(arr).ravel()
    share = None if weights is None else np.asarray(weights).ravel()
    if maxlength is not None:
        inside = numbers < int(maxlength)
        numbers, share = numbers[inside], None if share is None else share[inside]
    least = 0 if minlength is None else int(minlength)
    found = np.bincount(numbers, share, least if maxlength is None else min(least, int(maxlength)))
    return o.convert_to_tensor(found.astype(str(dtype) if share is None else share.dtype))


FUNCTIONS: dict[str, Any] = {
    "gather_nd": gather_nd,
    "math.bincount": bincount,
    "math.unsorted_segment_max": segments("segment_max"),
    "math.unsorted_segment_mean": _mean,
    "math.unsorted_segment_min": segments("segment_min"),
    "math.unsorted_segment_prod": segments("segment_prod"),
    "scatter_nd": scatter_nd,
    "tensor_scatter_nd_max": scattered("max"),
    "tensor_scatter_nd_min": scattered("min"),
    "tensor_scatter_nd_sub": scattered("sub"),
}
